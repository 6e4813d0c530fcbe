"""Three versions of a video: low resolution, enlarged, and the original."""

from __future__ import annotations

from pathlib import Path

import pytest

import media_samples as media


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
