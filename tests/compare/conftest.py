"""Three versions of a video: low resolution, enlarged, and the original."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import media_samples as media

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    from chromium import chromium

    with chromium() as launched:
        yield launched


@pytest.fixture(scope="session")
def trio(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Return 12 frames with audio at 64x48, the same at 128x96 by pixel repetition, and the original."""
    folder = tmp_path_factory.mktemp("trio")
    small, large, truth = (folder / f"{name}.mkv" for name in ("small", "large", "truth"))
    lossless = ("-c:v", "ffv1", "-pix_fmt", "yuv420p")
    media.run_ffmpeg(
        *media.moving_pattern(size="128x96"), *media.sine_tone(), *lossless, "-c:a", "flac", truth
    )
    media.run_ffmpeg("-i", truth, "-vf", "scale=64:48:flags=area", *lossless, "-c:a", "copy", small)
    media.run_ffmpeg("-i", small, "-vf", "scale=128:96:flags=neighbor", *lossless, "-c:a", "copy", large)
    return small, large, truth
