"""SMPTE time codes, with and without drop frame."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

import media_samples as media
from vsrcli.media.probe import probe
from vsrcli.media.timecode import timecode_at

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "rate", "frames", "expected"),
    [
        ("01:02:03:04", Fraction(25), 25, "01:02:04:04"),
        ("23:59:59:24", Fraction(25), 1, "00:00:00:00"),
        ("01:00:59:29", NTSC, 1, "01:01:00:00"),
        # SMPTE ST 12-1: numbers 00 and 01 are skipped at each minute but 00, 10, 20, 30, 40, 50
        ("01:00:59;29", NTSC, 1, "01:01:00;02"),
        ("01:09:59;29", NTSC, 1, "01:10:00;00"),
        ("00:00:00;00", NTSC, 17982, "00:10:00;00"),
        ("00:00:00;00", NTSC, 107892, "01:00:00;00"),
        ("00:00:59;59", 2 * NTSC, 1, "00:01:00;04"),
    ],
)
def test_timecode_at(timecode: str, rate: Fraction, frames: int, expected: str | None) -> None:
    assert timecode_at(timecode, rate, frames / rate) == expected
    assert timecode_at(timecode, rate, Fraction(0)) == timecode


def test_unknown_rate_or_timecode() -> None:
    assert timecode_at("01:02:03:04", None, Fraction(1)) is None
    assert timecode_at(None, NTSC, Fraction(1)) is None
    assert timecode_at("nonsense", NTSC, Fraction(0)) is None


@pytest.mark.parametrize("suffix", [".mov", ".mp4", ".mkv"])
def test_timecode_of_the_output(
    suffix: str, sample: Callable[..., Path], tmp_path: Path, upscale: Callable[..., Any]
) -> None:
    path = sample(media.timecoded)
    result = upscale(path, tmp_path / f"a{suffix}")
    assert probe(tmp_path / f"a{suffix}").video.timecode == "01:00:59;24"
    assert not any("tmcd" in text for text in result.notices)
    upscale(path, tmp_path / f"b{suffix}", span=(Fraction(1, 5), None))  # from the seventh frame on
    assert probe(tmp_path / f"b{suffix}").video.timecode == "01:01:00;02"


@pytest.mark.parametrize("name", ["camera.dv", "camera.mxf"])
def test_timecode_of_a_file(
    name: str, sample: Callable[..., Path], tmp_path: Path, upscale: Callable[..., Any]
) -> None:
    """DV and MXF state it of the file, not of the stream."""
    encoder = ("-c:v", "dvvideo" if name.endswith(".dv") else "mpeg2video", "-timecode", "01:00:59:24")
    path = sample(
        media.encoded, name=name, filters="fps=25,format=yuv420p", encoder=encoder, frames=8, size="720x576"
    )
    upscale(path, tmp_path / "a.mov", span=(Fraction(1, 5), None), scale=1)  # from the sixth frame on
    assert probe(tmp_path / "a.mov").video.timecode == "01:01:00:04"
    upscale(path, tmp_path / "a.mkv", span=(Fraction(1, 5), None), scale=1)
    assert probe(tmp_path / "a.mkv").video.timecode == "01:01:00:04"
