"""The contract of a finished output: frames, timestamps and audio of its source."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe


def frame_md5(path: Path) -> list[str]:
    """Return a line for each decoded frame: its timestamp and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def presentation_times(path: Path) -> list[Fraction]:
    """Return presentation times of frames, relative to the first audio packet or else to the first frame."""
    with av.open(str(path)) as container:
        times = _times(container, container.streams[probe(path).video.index])
    with av.open(str(path)) as container:
        tracks = container.streams.audio
        zero = min(_times(container, tracks[0])) if tracks else times[0]
    return [time - zero for time in times]


def _times(container: Any, stream: Any) -> list[Fraction]:
    base = Fraction(stream.time_base)
    return sorted(packet.pts * base for packet in container.demux(stream) if packet.pts is not None)


def audio_packets(path: Path) -> list[list[bytes]]:
    """Return the packets of every audio track."""
    with av.open(str(path)) as container:
        streams = list(container.streams.audio)
        by_stream: dict[int, list[bytes]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size:
                by_stream[packet.stream_index].append(bytes(packet))
        return list(by_stream.values())


def assert_contract(source: Path, target: Path) -> None:
    """Assert that target has source's frame count, presentation times and audio, and can be decoded."""
    expected, actual = presentation_times(source), presentation_times(target)
    assert len(actual) == len(expected)
    # Matroska's timestamps are in milliseconds, for video and for audio
    tick = Fraction(0) if {source.suffix, target.suffix} <= {".mp4", ".mov"} else Fraction(1, 500)
    assert max(abs(a - b) for a, b in zip(actual, expected, strict=True)) <= tick
    assert audio_packets(target) == audio_packets(source)
    assert len(frame_md5(target)) == len(expected)
