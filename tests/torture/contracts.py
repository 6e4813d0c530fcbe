"""What a finished film owes to its source."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe


def frame_md5(path: Path) -> list[str]:
    """One line for each decoded picture: its time and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def shown_at(path: Path) -> list[Fraction]:
    """Presentation times of the picture, from where sound begins, or else from the first picture."""
    with av.open(str(path)) as container:
        times = _times(container, container.streams[probe(path).video.index])
    with av.open(str(path)) as container:
        tracks = container.streams.audio
        zero = min(_times(container, tracks[0])) if tracks else times[0]
    return [time - zero for time in times]


def _times(container: Any, stream: Any) -> list[Fraction]:
    base = Fraction(stream.time_base)
    return sorted(packet.pts * base for packet in container.demux(stream) if packet.pts is not None)


def sound_of(path: Path) -> list[list[bytes]]:
    """The packets of every sound track."""
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        found: dict[int, list[bytes]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                found[packet.stream_index].append(bytes(packet))
        return list(found.values())


def assert_contract(source: Path, target: Path) -> None:
    """As many frames as the source has, each at its time, with the same sound; and they can be decoded."""
    wanted, found = shown_at(source), shown_at(target)
    assert len(found) == len(wanted)
    # Matroska's clock ticks in milliseconds, for pictures and for sound
    tick = Fraction(0) if {source.suffix, target.suffix} <= {".mp4", ".mov"} else Fraction(1, 500)
    assert max(abs(a - b) for a, b in zip(found, wanted, strict=True)) <= tick
    assert sound_of(target) == sound_of(source)
    assert len(frame_md5(target)) == len(wanted)
