"""Weight files of tiny random networks, one for each kind of stream."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

COURSE_SIZES: dict[str, dict[str, int]] = {
    "fsrcnn": {"width": 6, "head": 4, "blocks": 1},
    "sr-unet": {"width": 4, "poolings": 1},
    "runet": {"width": 4, "poolings": 2},
    "srgan": {"width": 4, "blocks": 1},
    "convlstm": {"width": 4, "blocks": 1, "cells": 1},
    "delta": {"stacks": 2, "width": 3, "blocks": 1, "recurrent": 3, "head": 3},
    "five-parallel": {"stacks": 2, "width": 3, "blocks": 2, "recurrent": 3, "head": 3},
}
COURSE_SIZES["delta-flow"] = COURSE_SIZES["delta"]


def tiny_weights(folder: Path, kind: str, scale: int = 2) -> Path:
    """Write weights and card of a small network: ``cached``, ``recurrent``, ``fast`` (without filters
    and feedback), or one of ``COURSE_SIZES``."""
    name, weights, card = _network(kind, scale)
    path = folder / f"{name}.weights.h5"
    path.write_bytes(weights)
    path.with_name(f"{name}.json").write_text(card, encoding="utf-8")
    return path


@cache
def _network(kind: str, scale: int) -> tuple[str, bytes, str]:
    """Return name, weight file and card; Keras takes up to a second to build a network."""
    from vsrcli.models.architectures import ARCHITECTURES
    from vsrcli.models.weights import file_sha256

    known = ARCHITECTURES[{"cached": "duf-s", "recurrent": "duf-r-s", "fast": "duf-r-xs"}.get(kind, kind)]
    tiny = COURSE_SIZES.get(kind, {"width": 8, "head": 8, "blocks": 1})
    sizes = {key: tiny.get(key, value) for key, value in known.options.items()}
    sizes |= {"feedback": False} if kind == "fast" else {}
    model = replace(known, options=sizes).build(scale)
    rng: Any = np.random.default_rng(7)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:  # untrained ones hardly use their state
            fan_in = np.prod(variable.shape[:-1])
            gain = 0.7 if kind not in COURSE_SIZES or kind == "convlstm" else 2.0
            variable.assign(gain * rng.normal(size=variable.shape) / np.sqrt(fan_in))
        elif variable.shape == (3,):
            variable.assign(np.full(3, 0.5))  # of the last layer: colours in the middle of their range
    name = f"{known.name}-x{scale}-video"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.weights.h5"
        model.save_weights(path)
        digest, weights = file_sha256(path), path.read_bytes()
    card = {
        "architecture": known.name,
        "options": sizes,
        "scale": scale,
        "degradation": "video",
        "phase": "centre",
        "sha256": digest,
    }
    return name, weights, json.dumps(card)
