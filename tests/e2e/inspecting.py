"""Ways to look into a video, by PyAV or the program's own decoder."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

import media_samples as media
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe

LOSSLESS = ("--codec", "ffv1", "--pix-fmt", "bgr0")


def times(path: Path) -> list[Fraction]:
    """Presentation times of the image, from the container's start."""
    source = probe(path)
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams[source.video.index]
        base = Fraction(stream.time_base or 1)
        return sorted(p.pts * base - source.start for p in container.demux(stream) if p.pts is not None)


def packets(path: Path, kind: str) -> list[list[bytes]]:
    """The packets of every stream of a kind."""
    with av.open(str(path), metadata_errors="replace") as container:
        streams = list(getattr(container.streams, kind))
        found: dict[int, list[bytes]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                found[packet.stream_index].append(bytes(packet))
        return list(found.values())


def pixels(path: Path) -> np.ndarray:
    """All frames, (T, H, W, 3)."""
    with Decoder(probe(path), ffmpeg=find_ffmpeg()) as decoder:
        return np.stack([frame.pixels for frame in decoder])


def shots(folder: Path, *sources: str, frames: int = 6) -> Path:
    """A lossless video, every source a shot of its own."""
    path = folder / f"{'-'.join(sources)}.mkv"
    inputs = [argument for source in sources for argument in media.moving_pattern(frames, source=source)]
    prepared = "".join(f"[{i}:v]format=gbrp[v{i}];" for i in range(len(sources)))
    joined = "".join(f"[v{i}]" for i in range(len(sources))) + f"concat=n={len(sources)}:v=1"
    media.run_ffmpeg(*inputs, "-filter_complex", prepared + joined, "-c:v", "ffv1", path)
    return path
