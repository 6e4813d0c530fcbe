"""Clips for several files, and compression that gives the same bytes every time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_samples import frames, write_image_folder

from vsrcli.degradations import presets, second_order
from vsrcli.evaluate import protocol


@pytest.fixture(scope="module")
def image_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips as folders of images."""
    folder = tmp_path_factory.mktemp("set")
    for number, name in enumerate(("calendar", "city")):
        write_image_folder(folder / name, frames(number, 9))
    return folder


@pytest.fixture(scope="module", autouse=True)
def steady_compression() -> Iterator[None]:
    """Compress equal clips once: on one thread, too, libx264 gives other bytes once in a hundred times."""
    results: dict[tuple[object, ...], np.ndarray] = {}
    compress = presets.recompress

    def recompress(frames: np.ndarray, **options: Any) -> np.ndarray:
        key = (frames.shape, frames.tobytes(), *sorted(options.items()))
        if key not in results:
            results[key] = compress(frames, **options)
        return results[key].copy()

    with pytest.MonkeyPatch.context() as patch:
        for module in (presets, second_order, protocol):
            patch.setattr(module, "recompress", recompress)
        yield
