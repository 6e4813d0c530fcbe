"""Trouble in the engine in the middle of a film: told, survived, and remembered by the next run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from interruptible_runs import frame_hashes, journal, upscaled
from fake_engine import MixingEngine

import media_samples as media
from vsrcli import EncodeOptions, Options
from vsrcli.errors import EngineError, NonFiniteError, OutOfMemoryError, VsrError
from vsrcli.pipeline import upscaler

Sample = Callable[..., Path]
LOSSLESS = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
OPTIONS = Options(Fraction(2), "bicubic", encode=LOSSLESS, segment=5, overlap=2)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``engine(fail, precision)`` replaces the network; the list fills with the precisions asked for."""

    def replace_with(
        fail: Callable[[int, int], VsrError | None] = lambda h, w: None, precision: str = "fp32"
    ) -> list[str]:
        loaded: list[str] = []

        def load(model: Any, *, device: str, precision: str = precision, **others: Any) -> MixingEngine:
            loaded.append(precision)
            return MixingEngine(precision, fail if len(loaded) == 1 else lambda h, w: None)

        monkeypatch.setattr(upscaler, "open_engine", load)
        return loaded

    return replace_with


def no_room_from(answer: int) -> Callable[[int, int], VsrError | None]:
    """From this answer on, nothing larger than 32 pixels fits."""
    asked = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal asked
        asked += 1
        return (
            OutOfMemoryError("too large: give a smaller --tile") if asked >= answer and width > 32 else None
        )

    return fail


def test_memory_that_runs_short_under_way(
    engine: Callable[..., list[str]], sample: Sample, tmp_path: Path
) -> None:
    source, whole, target = sample(media.cfr, frames=24), tmp_path / "whole.mkv", tmp_path / "out.mkv"
    engine()
    upscaled(source, whole, OPTIONS)
    engine(no_room_from(8))
    told = upscaled(source, target, OPTIONS, until=13)
    assert told.notices == ["not enough memory for tiles of 64x48: going on with 27x28"]
    assert journal(target)["tiles"]["tile_width"] == 27
    engine(no_room_from(1))
    told = upscaled(source, target, OPTIONS)
    assert told.notices == ["resuming at frame 10 of 24"]  # with the tiles that fit
    assert frame_hashes(target) == frame_hashes(whole)


def test_no_tile_is_small_enough(engine: Callable[..., list[str]], sample: Sample, tmp_path: Path) -> None:
    engine(lambda height, width: OutOfMemoryError("too large: give a smaller --tile"))
    with pytest.raises(OutOfMemoryError, match="smaller --tile"):
        upscaled(sample(media.cfr, frames=24), tmp_path / "out.mkv", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_an_overflow_in_half_precision(
    engine: Callable[..., list[str]], sample: Sample, tmp_path: Path
) -> None:
    """The shot goes on in fp32, in the next run as well."""
    source, whole, target = sample(media.cfr, frames=24), tmp_path / "whole.mkv", tmp_path / "out.mkv"
    engine()
    upscaled(source, whole, OPTIONS)
    half, troubles = replace(OPTIONS, precision="fp16"), [None] * 6 + [NonFiniteError("NaN")]
    loaded = engine(lambda height, width: troubles.pop(0) if troubles else None)
    told = upscaled(source, target, half, until=13)
    assert told.notices == ["the network gave NaN or infinity in fp16: this shot goes on in fp32"]
    assert loaded == ["fp16", "fp32"]
    loaded = engine(lambda height, width: NonFiniteError("NaN"))
    told = upscaled(source, target, half)
    assert told.notices == ["resuming at frame 10 of 24"]
    assert loaded == ["fp16", "fp32"]
    assert frame_hashes(target) == frame_hashes(whole)


def test_an_error_of_another_kind_is_one(
    engine: Callable[..., list[str]], sample: Sample, tmp_path: Path
) -> None:
    count = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal count
        count += 1
        return EngineError("the device is gone") if count == 13 else None

    engine(fail)
    target = tmp_path / "out.mkv"
    with pytest.raises(EngineError, match="is gone") as raised:
        upscaled(sample(media.cfr, frames=24), target, OPTIONS)
    assert raised.value.saved_frames == 10
    assert upscaled(sample(media.cfr, frames=24), target, OPTIONS).notices == ["resuming at frame 10 of 24"]
