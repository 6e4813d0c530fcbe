"""Engine errors during a run: a notice, a retry, and the same tiles and precision after resuming."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from fake_engine import MixingEngine
from interruptible_runs import frame_hashes, journal_content, upscale_until

import media_samples as media
from vsrcli import EncodeOptions, Options
from vsrcli.errors import EngineError, NonFiniteError, OutOfMemoryError, VsrError
from vsrcli.pipeline import upscaler

Sample = Callable[..., Path]
LOSSLESS = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
OPTIONS = Options(Fraction(2), "bicubic", encode=LOSSLESS, segment=5, overlap=2)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """``engine(fail, precision)`` replaces the network; returns a list of requested precisions."""

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


def out_of_memory_from(number: int) -> Callable[[int, int], VsrError | None]:
    """From this result on, no tile larger than 32 pixels fits."""
    calls = 0

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal calls
        calls += 1
        return (
            OutOfMemoryError("too large: give a smaller --tile") if calls >= number and width > 32 else None
        )

    return fail


def test_out_of_memory_during_a_run(engine: Callable[..., list[str]], sample: Sample, tmp_path: Path) -> None:
    source, reference, target = sample(media.cfr, frames=24), tmp_path / "reference.mkv", tmp_path / "out.mkv"
    engine()
    upscale_until(source, reference, OPTIONS)
    engine(out_of_memory_from(8))
    log = upscale_until(source, target, OPTIONS, stop_after=13)
    assert log.notices == ["not enough memory for tiles of 64x48: going on with 27x28"]
    assert journal_content(target)["tiles"][0]["tile_width"] == 27
    engine(out_of_memory_from(1))
    log = upscale_until(source, target, OPTIONS)
    assert log.notices == ["resuming at frame 10 of 24"]  # with the tiles that fit
    assert frame_hashes(target) == frame_hashes(reference)


def test_no_tile_fits_a_run(engine: Callable[..., list[str]], sample: Sample, tmp_path: Path) -> None:
    engine(lambda height, width: OutOfMemoryError("too large: give a smaller --tile"))
    with pytest.raises(OutOfMemoryError, match="smaller --tile"):
        upscale_until(sample(media.cfr, frames=24), tmp_path / "out.mkv", OPTIONS)
    assert list(tmp_path.iterdir()) == []


def test_overflow_in_half_precision(engine: Callable[..., list[str]], sample: Sample, tmp_path: Path) -> None:
    """The shot continues in fp32, in the next run as well."""
    source, reference, target = sample(media.cfr, frames=24), tmp_path / "reference.mkv", tmp_path / "out.mkv"
    engine()
    upscale_until(source, reference, OPTIONS)
    half_precision, errors = replace(OPTIONS, precision="fp16"), [None] * 6 + [NonFiniteError("NaN")]
    loaded = engine(lambda height, width: errors.pop(0) if errors else None)
    log = upscale_until(source, target, half_precision, stop_after=13)
    assert log.notices == ["the network gave NaN or infinity in fp16: this shot goes on in fp32"]
    assert loaded == ["fp16", "fp32"]
    loaded = engine(lambda height, width: NonFiniteError("NaN"))
    log = upscale_until(source, target, half_precision)
    assert log.notices == ["resuming at frame 10 of 24"]
    assert loaded == ["fp16", "fp32"]
    assert frame_hashes(target) == frame_hashes(reference)


def test_other_engine_errors_are_raised(
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
        upscale_until(sample(media.cfr, frames=24), target, OPTIONS)
    assert raised.value.saved_frames == 10
    assert upscale_until(sample(media.cfr, frames=24), target, OPTIONS).notices == [
        "resuming at frame 10 of 24"
    ]
