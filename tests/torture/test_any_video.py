"""Random videos: any size, length, rate and set of streams, any segment length, interrupted anywhere."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from contracts import assert_contract, frame_md5
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

import media_samples as media
from vsrcli import EncodeOptions, Options, Progress, upscale
from vsrcli.errors import OutputError
from vsrcli.media.probe import probe
from vsrcli.system.files import workdir_for

RATES = ("24", "25", "24000/1001", "30000/1001", "25/2", "60")


@dataclass(frozen=True)
class Recipe:
    """Properties of a video, and options and interruptions of its upscaling."""

    width: int
    height: int
    frames: int
    rate: str
    variable: bool
    audio_tracks: int
    subtitle: bool
    delayed: bool
    source_suffix: str
    target_suffix: str
    codec: str
    segment: int
    stops: tuple[int, ...]


RECIPES = st.builds(
    Recipe,
    width=st.integers(8, 40).map(lambda half: 2 * half),
    height=st.integers(8, 30).map(lambda half: 2 * half),
    frames=st.integers(1, 26),
    rate=st.sampled_from(RATES),
    variable=st.booleans(),
    audio_tracks=st.integers(0, 2),
    subtitle=st.booleans(),
    delayed=st.booleans(),
    source_suffix=st.sampled_from([".mp4", ".mkv"]),
    target_suffix=st.sampled_from([".mp4", ".mkv", ".mov"]),
    codec=st.sampled_from(["libx264", "libx264", "libx265", "mpeg4"]),
    segment=st.integers(1, 12),
    stops=st.lists(st.integers(1, 26), max_size=3).map(tuple),
)


def encode_video(recipe: Recipe, folder: Path) -> Path:
    """Encode the video of a recipe."""
    path, size = folder / f"video{recipe.source_suffix}", f"{recipe.width}x{recipe.height}"
    inputs = media.moving_pattern(recipe.frames, size=size, rate=recipe.rate)
    if recipe.delayed:
        inputs = ["-itsoffset", "0.423", *inputs]
    maps = ["-map", "0:v"]
    length = float(recipe.frames / Fraction(recipe.rate)) + 0.5
    for number in range(recipe.audio_tracks):
        inputs += media.sine_tone(length, frequency=300 + 100 * number)
        maps += ["-map", f"{number + 1}:a"]
    if recipe.subtitle:
        subtitles = folder / "subtitles.srt"
        subtitles.write_text("1\n00:00:00,100 --> 00:00:00,400\nWords\n", encoding="utf-8")
        inputs += ["-i", str(subtitles)]
        codec = "mov_text" if recipe.source_suffix == ".mp4" else "srt"
        maps += ["-map", f"{recipe.audio_tracks + 1}:s", "-c:s", codec]
    variable_times = ["-vf", "settb=1/90000,setpts='N*2970+N*N*70+mod(N,3)*180'", "-enc_time_base", "1/90000"]
    media.run_ffmpeg(
        *inputs, *maps, *(variable_times if recipe.variable else ()), "-fps_mode", "passthrough",
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "7",
        "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


class StopError(Exception):
    """Interrupts a run."""


def assert_resumable(recipe: Recipe) -> None:
    """Assert that a run with the recipe's interruptions and one without write the same output."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target, reference = (
            encode_video(recipe, folder),
            folder / f"out{recipe.target_suffix}",
            folder / f"reference{recipe.target_suffix}",
        )
        encode = EncodeOptions(codec=recipe.codec, preset=None if recipe.codec == "mpeg4" else "ultrafast")
        options = Options(Fraction(2), "bicubic", segment=recipe.segment, encode=encode)
        if recipe.codec == "mpeg4" and probe(source).video.time_base.denominator > 65535:
            # MPEG-4 Part 2 counts ticks in 16 bits: refused, with ffmpeg's reason, before the first frame
            with pytest.raises(OutputError, match="ffmpeg refuses to write mpeg4"):
                upscale(source, target, options)
            assert not target.exists()
            return
        for stop in (1 + number % recipe.frames for number in recipe.stops):

            def on_progress(progress: Progress, stop: int = stop) -> None:
                if progress.done >= stop:
                    raise StopError

            with pytest.raises(StopError):
                upscale(source, target, options, on_progress=on_progress)
            assert not target.exists()
        upscale(source, target, options)
        upscale(source, reference, options)
        assert_contract(source, target)
        assert frame_md5(target) == frame_md5(reference)
        assert not workdir_for(target).exists()


# no shrinking: every example takes a second
SETTINGS: dict[str, Any] = {
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "phases": [Phase.explicit, Phase.generate],
}


@given(RECIPES)
@settings(max_examples=4, derandomize=True, **SETTINGS)
def test_a_few_random_videos(recipe: Recipe) -> None:
    assert_resumable(recipe)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(6))
def test_many_random_videos(number: int) -> None:
    @seed(number)
    @given(RECIPES)
    @settings(max_examples=20, **SETTINGS)
    def run(recipe: Recipe) -> None:
        assert_resumable(recipe)

    run()
