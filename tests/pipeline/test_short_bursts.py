"""Tiles in bursts, and memory that runs short all the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_engine import MixingEngine

from vsrcli.errors import OutOfMemoryError, VsrError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.pipeline import upscaler
from vsrcli.pipeline.upscaler import Upscaler

HEIGHT, WIDTH, COUNT, OVERLAP = 40, 56, 13, 2
FRAMES = np.random.default_rng(0).random((COUNT, HEIGHT, WIDTH, 3)).astype(np.float32)


def pictures(
    monkeypatch: pytest.MonkeyPatch, folder: Path, burst: int, first: int | None = None
) -> tuple[np.ndarray, list[str], MixingEngine]:
    """Of all frames; from the answer ``first`` on, nothing larger than 30 pixels fits."""
    asked, notices = 0, []

    def fail(height: int, width: int) -> VsrError | None:
        nonlocal asked
        asked += 1
        short = first is not None and asked > first and max(height, width) > 30
        return OutOfMemoryError("too large") if short else None

    engine = MixingEngine("fp32", fail)

    def load(model: Any, **asked_for: Any) -> MixingEngine:
        return engine

    monkeypatch.setattr(upscaler, "open_engine", load)
    job: Any = SimpleNamespace(
        model=SimpleNamespace(architecture=SimpleNamespace(kind="recurrent"), second_pass=None),
        options=SimpleNamespace(device="cpu", precision="fp32", engine="auto"),
        plan=SimpleNamespace(height=2 * HEIGHT, width=2 * WIDTH, target=folder / "out.mkv", to_stdout=False),
        overlap=OVERLAP,
        geometry=SimpleNamespace(visible_share=(1.0, 1.0)),
        fits_budget=lambda tiles: True,
    )
    tiles = replace(plan_tiles(HEIGHT, WIDTH, 44, OVERLAP), burst=burst)
    stream = Upscaler(job, tiles, notices.append).open_stream()
    results = [stream.push(frame) for frame in FRAMES]
    found = [result for result in results if result is not None] + stream.flush()
    return np.stack(found), notices, engine


@pytest.mark.parametrize("first", [0, 3, 9, 20, 2 * COUNT - 1])
def test_the_same_burst_again_with_smaller_tiles(
    first: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected, _, _ = pictures(monkeypatch, tmp_path, 1)
    found, notices, engine = pictures(monkeypatch, tmp_path, 4, first)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert len(notices) == 1
    assert "not enough memory for tiles of 32x40" in notices[0]
    assert max(engine.sizes[-1]) <= 30
    assert list(tmp_path.iterdir()) == []  # what waited on the disk has no name
