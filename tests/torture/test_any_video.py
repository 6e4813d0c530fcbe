"""Any size, length, rate and set of streams; any length of segments; interrupted anywhere."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from contracts import assert_contract, frame_md5
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import media_samples as media
from vsrcli import EncodeOptions, Options, Progress, upscale
from vsrcli.system.files import workdir_for

RATES = ("24", "25", "24000/1001", "30000/1001", "25/2", "60")


@dataclass(frozen=True)
class Recipe:
    """A film to be made, and what is done to it."""

    width: int
    height: int
    frames: int
    rate: str
    variable: bool
    sounds: int
    subtitle: bool
    late: bool
    before: str
    after: str
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
    sounds=st.integers(0, 2),
    subtitle=st.booleans(),
    late=st.booleans(),
    before=st.sampled_from([".mp4", ".mkv"]),
    after=st.sampled_from([".mp4", ".mkv", ".mov"]),
    codec=st.sampled_from(["libx264", "libx264", "libx265", "mpeg4"]),
    segment=st.integers(1, 12),
    stops=st.lists(st.integers(1, 26), max_size=3).map(tuple),
)


def make(recipe: Recipe, folder: Path) -> Path:
    """The film of a recipe."""
    path, size = folder / f"film{recipe.before}", f"{recipe.width}x{recipe.height}"
    inputs = media.moving_pattern(recipe.frames, size=size, rate=recipe.rate)
    if recipe.late:
        inputs = ["-itsoffset", "0.423", *inputs]
    maps = ["-map", "0:v"]
    length = float(recipe.frames / Fraction(recipe.rate)) + 0.5
    for number in range(recipe.sounds):
        inputs += media.sine_tone(length, frequency=300 + 100 * number)
        maps += ["-map", f"{number + 1}:a"]
    if recipe.subtitle:
        words = folder / "words.srt"
        words.write_text("1\n00:00:00,100 --> 00:00:00,400\nWords\n", encoding="utf-8")
        inputs += ["-i", str(words)]
        maps += ["-map", f"{recipe.sounds + 1}:s", "-c:s", "mov_text" if recipe.before == ".mp4" else "srt"]
    clock = ["-vf", "settb=1/90000,setpts='N*2970+N*N*70+mod(N,3)*180'", "-enc_time_base", "1/90000"]
    media.run_ffmpeg(
        *inputs, *maps, *(clock if recipe.variable else ()), "-fps_mode", "passthrough",
        "-c:v", "libx264", "-preset", "ultrafast", "-bf", "2", "-g", "7",
        "-pix_fmt", "yuv420p", "-c:a", "aac", path,
    )  # fmt: skip
    return path


class Stop(Exception):
    """Interrupted, as a signal would."""


def check(recipe: Recipe) -> None:
    """Stopped as often as the recipe says, then gone on with; beside it one that nobody stopped."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target, whole = (
            make(recipe, folder),
            folder / f"out{recipe.after}",
            folder / f"whole{recipe.after}",
        )
        encode = EncodeOptions(codec=recipe.codec, preset=None if recipe.codec == "mpeg4" else "ultrafast")
        options = Options(Fraction(2), "bicubic", segment=recipe.segment, encode=encode)
        for stop in (1 + number % recipe.frames for number in recipe.stops):

            def on_progress(progress: Progress, stop: int = stop) -> None:
                if progress.done >= stop:
                    raise Stop

            with pytest.raises(Stop):
                upscale(source, target, options, on_progress=on_progress)
            assert not target.exists()
        upscale(source, target, options)
        upscale(source, whole, options)
        assert_contract(source, target)
        assert frame_md5(target) == frame_md5(whole)
        assert not workdir_for(target).exists()


# every example takes a second: the first failure says enough
QUIETLY: dict[str, Any] = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow],
    "derandomize": True,
    "phases": [Phase.explicit, Phase.generate],
}


@given(RECIPES)
@settings(max_examples=4, **QUIETLY)
def test_a_few_films(recipe: Recipe) -> None:
    check(recipe)


@pytest.mark.slow
@pytest.mark.timeout(7200)
@given(RECIPES)
@settings(max_examples=120, **QUIETLY)
def test_many_films(recipe: Recipe) -> None:
    check(recipe)
