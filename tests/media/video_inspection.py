"""A minimal upscaler, and functions that read frames and packets with PyAV instead of the tested code."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vsrcli.media.probe import probe
from vsrcli.media.types import Frame


def upscale_nearest(frame: Frame, scale: int) -> Frame:
    """Return the frame upscaled by nearest neighbour."""
    return replace(frame, pixels=frame.pixels.repeat(scale, 0).repeat(scale, 1))


def relative_times(path: Path) -> list[Fraction]:
    """Return the presentation times of frames, relative to the container's start."""
    source = probe(path)
    with av.open(str(path)) as container:
        stream = container.streams[source.video.index]
        base = Fraction(stream.time_base or 1)
        return sorted(p.pts * base - source.start for p in container.demux(stream) if p.pts is not None)


def relative_packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Return, for each stream of a kind, (time relative to the container's start, bytes) of its packets."""
    start = probe(path).start
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size and packet.pts is not None:
                time = packet.pts * Fraction(packet.time_base) - start
                found[packet.stream_index].append((time, bytes(packet)))
        return [found[stream.index] for stream in streams]


def tick(path: Path) -> Fraction:
    """Return the time base of the video."""
    return probe(path).video.time_base


def absolute_packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Return what ``relative_packets`` does, with times on the container's clock."""
    start = probe(path).start
    return [[(time + start, data) for time, data in track] for track in relative_packets(path, kind)]


def decoded_planes(path: Path, *, index: int = 0) -> list[np.ndarray]:
    """Return the planes of one decoded frame, as coded."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
                return [
                    np.frombuffer(memoryview(plane), kind)  # type: ignore[arg-type]
                    .reshape(plane.height, -1)[:, : plane.width]
                    .astype(int)
                    for plane in frame.planes
                ]
    raise AssertionError(f"{path} has no frame {index}")
