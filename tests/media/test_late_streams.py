"""Streams that begin late in a file whose header does not announce them (MPEG-PS, FLV)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.media import look_ahead, safety

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]
LANCZOS = ("-m", "lanczos", "-s", "2")
PART = ("--start", "0.5", "--end", "0.7")


def late_sound(folder: Path, *, length: float = 0.4) -> Path:
    """VOB of 8 MB with a second sound from 2 s on, behind the 5 MB that libavformat searches for streams.

    Args:
        folder: of the file.
        length: of that sound in seconds; the video ends at 2.4 s.
    """
    path = folder / "late.vob"
    noise = media.moving_pattern(60, size="352x288", rate="25", source="nullsrc")
    media.run_ffmpeg(
        *noise, *media.sine_tone(2.4), "-itsoffset", 2, *media.sine_tone(length),
        "-map", 0, "-map", 1, "-map", 2, "-vf", "noise=alls=100:allf=t",
        "-c:v", "mpeg2video", "-g", 1, "-q:v", 1, "-c:a", "ac3", path,
    )  # fmt: skip
    return path


def test_a_sound_that_begins_late_is_kept(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    done = vsr("upscale", sample(late_sound, length=0.2), tmp_path / "out.mkv", *LANCZOS, "-n")
    assert done.status == 0, done.err
    assert done.err.count("audio ac3: copied") == 2


@pytest.mark.parametrize("length", [0.2, 0.4])
def test_one_that_begins_later_is_dropped_with_a_notice(
    length: float, sample: Sample, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sample(late_sound, length=length)
    for module in (safety, look_ahead):
        monkeypatch.setattr(module, "PROBED_BYTES", 4_000_000)
    done = vsr("upscale", path, tmp_path / "out.mkv", *LANCZOS, "-n")
    assert done.status == 0, done.err
    assert "audio #2 (ac3) is dropped: it begins behind the first" in done.err
    assert (
        "audio #2 (ac3) is dropped" in vsr("upscale", path, tmp_path / "out.mkv", *LANCZOS, *PART, "-n").err
    )
    assert "#2, ac3" in vsr("info", path).out


def long_video(folder: Path, *, name: str, rate: int, seconds: int) -> Path:
    """A video whose sound, or second sound (VOB), lasts 1 s and begins 4.8 s before the end.

    What follows it in a VOB is more than the 250 kB that libavformat reads to find the duration.
    """
    path = folder / name
    late = ("-itsoffset", str(seconds - 4.8), *media.sine_tone(1))
    codecs, sounds = ("-c:v", "flv1", "-c:a", "libmp3lame"), late
    if name.endswith(".vob"):
        codecs = ("-vf", "noise=alls=100:allf=t", "-c:v", "mpeg2video", "-q:v", 2, "-c:a", "ac3")
        sounds = (*media.sine_tone(seconds), *late, "-map", 2)
    inputs = (*media.moving_pattern(rate * seconds, rate=str(rate)), *sounds, "-map", 0, "-map", 1)
    media.run_ffmpeg(*inputs, *codecs, path)
    return path


def test_a_sound_that_begins_after_minutes_is_kept(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path = sample(long_video, name="minutes.flv", rate=1, seconds=150)
    done = vsr("upscale", path, tmp_path / "out.mkv", *LANCZOS, "-n")
    assert done.status == 0, done.err
    assert "audio mp3: copied" in done.err


@pytest.mark.parametrize(
    ("name", "rate", "seconds", "sound"),
    [("minutes.flv", 1, 150, "audio #1 (unknown)"), ("end.vob", 25, 60, "audio #2 (ac3)")],
)
def test_one_near_the_end_or_announced_is_named(
    name: str, rate: int, seconds: int, sound: str,
    sample: Sample, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = sample(long_video, name=name, rate=rate, seconds=seconds)
    for module in (safety, look_ahead):
        monkeypatch.setattr(module, "PROBED_BYTES", 50_000)
    done = vsr("upscale", path, tmp_path / "out.mkv", *LANCZOS, "-n")
    assert done.status == 0, done.err
    assert f"{sound} is dropped: it begins behind the first" in done.err
