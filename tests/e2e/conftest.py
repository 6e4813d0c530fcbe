"""Whole command lines on whole videos; a tiny network with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No test may leave an ffmpeg behind."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()]
    assert left == []


@pytest.fixture(scope="session")
def make_weights(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``make_weights(change)``: a folder with tiny x4 networks, the default one and one without a state;
    ``change`` may alter them."""

    def make(change: Callable[[Any], None] = lambda model: None) -> Path:
        from vsrcli.models import duf_r, duf_s
        from vsrcli.models.weights import file_sha256

        folder, small = tmp_path_factory.mktemp("weights"), {"width": 8, "blocks": 1, "head": 8}
        for name, module, sizes in (("duf-r", duf_r, {**small, "filters": False}), ("duf-s", duf_s, small)):
            model = module.build(4, **sizes)
            rng = np.random.default_rng(7)
            for variable in model.trainable_variables:
                if "kernel" in variable.path:
                    fan_in = np.prod(variable.shape[:-1])
                    strength = 0.7 if "residual" in variable.path else 1.0
                    variable.assign(rng.normal(size=variable.shape) * strength / np.sqrt(fan_in))
            change(model)
            path = folder / f"{name}-x4-video.weights.h5"
            model.save_weights(path)
            card = {
                "architecture": name,
                "options": sizes,
                "scale": 4,
                "degradation": "video",
                "phase": "centre",
                "sha256": file_sha256(path),
            }
            path.with_name(f"{name}-x4-video.json").write_text(json.dumps(card))
        return folder

    return make


@pytest.fixture(scope="session")
def weights(make_weights: Callable[..., Path]) -> Path:
    """The tiny network's folder, for $VSR_WEIGHTS."""
    return make_weights()
