"""Choice of a precision on a CPU: bfloat16 or eight bits where they are supported and cost no quality.

Quality is against the truth, which either result misses by far more than they differ: at a PSNR of P against
the truth, a difference of PSNR D costs ``10 * log10(1 + 10 ** ((P - D) / 10))`` dB if it is independent. The
synthetic video that D is measured on is as hard as any; of real ones it is about 10 dB higher, 75 dB for the
shipped networks, which costs a picture of 40 dB 0.001 dB.
"""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from vsrcli._version import __version__
from vsrcli.inference.functions import Backend
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.int8_ranges import find_good_calibration
from vsrcli.inference.openvino_templates import shipped_psnr
from vsrcli.inference.streams import compile_stream
from vsrcli.models.imported import ImportedModel
from vsrcli.models.weights import Weights
from vsrcli.system.processor import has_matrix_unit

MIN_PSNR = 55.0  # dB of the synthetic video
IDENTICAL = 200.0  # dB of equal results
X86 = ("x86_64", "amd64")  # on other processors, shipped differences may not hold
_FRAMES, _HEIGHT, _WIDTH = 12, 48, 64


def choose_cpu_precision(
    weights: Weights | ImportedModel, capabilities: tuple[str, ...], create_backend: Callable[[str], Backend]
) -> str:
    """Return ``bf16``, ``int8`` or ``fp32``.

    A unit that multiplies matrices in bfloat16 makes that as fast as eight bits, and it is closer to float32.
    Without one, eight bits are faster; with layers that stay in float32, as fast as bfloat16.

    Args:
        weights: of the network.
        capabilities: precisions of the CPU.
        create_backend: returns the network in a precision.
    """
    is_x86 = platform.machine().lower() in X86  # where the loss was measured
    calibration = find_good_calibration(weights) if "int8" in capabilities and is_x86 else None
    if calibration and calibration.is_whole and not has_matrix_unit():
        return "int8"
    if "bf16" in capabilities and _bf16_is_close(weights, create_backend):
        return "bf16"
    return "int8" if calibration else "fp32"


def _bf16_is_close(weights: Weights | ImportedModel, create_backend: Callable[[str], Backend]) -> bool:
    """Return whether bfloat16 costs no quality; for shipped weights known, else measured once and cached."""

    def measure(folder: Path) -> None:
        psnr = psnr_between(create_backend("fp32"), create_backend("bf16"))
        (folder / "bf16.json").write_text(json.dumps({"psnr": psnr}), encoding="utf-8")

    known = shipped_psnr(weights) if platform.machine().lower() in X86 else None
    if known is not None:
        return known >= MIN_PSNR
    key = {
        "measure": "psnr",
        "weights": weights.card["sha256"],
        "openvino": version("openvino"),
        "vsr": __version__,
    }
    if isinstance(weights, ImportedModel) and weights.description.bgr:
        key["order"] = "bgr"
    files = GraphCache(cache_folder() / "precision").get(key, measure)
    return json.loads(files["bf16.json"])["psnr"] >= MIN_PSNR


def psnr_between(one: Backend, other: Backend) -> float:
    """Return the PSNR in dB of one network's results against another's, over a short synthetic pan."""
    outputs = []
    for backend in (one, other):
        stream = compile_stream(backend, _HEIGHT, _WIDTH)()
        results = [stream.push(frame) for frame in _synthetic_pan()]
        outputs.append(np.stack([result for result in results if result is not None] + stream.flush()))
    return psnr_of(outputs[0] - outputs[1])


def psnr_of(difference: np.ndarray) -> float:
    """Return the PSNR in dB of a difference of pixels in 0..1; ``IDENTICAL`` if there is none."""
    error = float(np.square(difference, dtype=np.float64).mean())
    return -10 * math.log10(error) if error > 0 else IDENTICAL


def _synthetic_pan() -> np.ndarray:
    """Return edges and noise that move by a pixel per frame: (12, 48, 64, 3) float32."""
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.random((8, 12, 3)), np.ones((8, 8, 1)))[:_HEIGHT]
    image = np.clip(blocks + rng.normal(0, 0.05, blocks.shape), 0, 1).astype(np.float32)
    return np.stack([image[:, start : start + _WIDTH] for start in range(_FRAMES)])
