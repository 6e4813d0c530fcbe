"""Whether a network may run in bfloat16: only where the CPU computes in it, and nobody could see it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vsrcli._version import __version__
from vsrcli.inference.backend import Backend
from vsrcli.inference.engine import compile_stream
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.models.weights import Weights

MAX_DIFFERENCE = 1 / 510  # half a step of 8 bits
_FRAMES, _HEIGHT, _WIDTH = 12, 48, 64


def choose_cpu_precision(
    weights: Weights, capabilities: tuple[str, ...], make: Callable[[str], Backend]
) -> str:
    """``bf16`` or ``fp32``; found out once for each network, then remembered in the cache.

    Args:
        weights: which network.
        capabilities: precisions that the CPU has.
        make: a precision to the network in it.
    """
    if "bf16" not in capabilities:
        return "fp32"

    def measure(folder: Path) -> None:
        gap = max_abs_difference(make("fp32"), make("bf16"))
        (folder / "bf16.json").write_text(json.dumps({"gap": gap}), encoding="utf-8")

    key = {
        "bf16": weights.card["sha256"],
        "openvino": version("openvino"),
        "vsr": __version__,
    }
    found = GraphCache(cache_folder() / "precision").get(key, measure)
    return "bf16" if json.loads(found["bf16.json"])["gap"] <= MAX_DIFFERENCE else "fp32"


def max_abs_difference(one: Backend, other: Backend) -> float:
    """Between the pictures of two networks, over a short pan across a made-up picture."""
    pictures = []
    for network in (one, other):
        stream = compile_stream(network, _HEIGHT, _WIDTH)()
        answers = [stream.push(frame) for frame in _pan()]
        pictures.append(np.stack([answer for answer in answers if answer is not None] + stream.flush()))
    return float(np.abs(pictures[0] - pictures[1]).max())


def _pan() -> np.ndarray:
    """Edges and noise that move a pixel a frame: (12, 48, 64, 3) float32."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((8, 12, 3)), np.ones((8, 8, 1)))[:_HEIGHT]
    picture = np.clip(blocks + rng.normal(0, 0.05, blocks.shape), 0, 1).astype(np.float32)
    return np.stack([picture[:, start : start + _WIDTH] for start in range(_FRAMES)])
