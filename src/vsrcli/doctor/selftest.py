"""A moment of film through the default network: is what comes out a picture, and how long does it take?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from vsrcli.doctor.finding import OK, PROBLEM, Finding
from vsrcli.inference.types import Engine

SIDE, FRAMES = 32, 10
_ALIKE = 24.0  # dB that a sharp picture and an interpolated one of a smooth scene have at least in common


def self_test() -> Iterator[Finding]:
    """The default model on the default engine and device."""
    from vsrcli.inference.selection import choose_model, open_engine
    from vsrcli.models.architectures import DEFAULT_MODEL

    began = time.perf_counter()
    engine = open_engine(choose_model(DEFAULT_MODEL, Fraction(4)))
    yield judge(engine, began)


def judge(engine: Engine, began: float) -> Finding:
    """Whether an engine upscales a smooth moving scene.

    Args:
        engine: to be tried.
        began: when its start began, of ``time.perf_counter``.
    """
    from vsrcli.inference.engine import ResampleEngine

    pictures = _upscaled(engine)
    seconds = time.perf_counter() - began
    expected = _upscaled(ResampleEngine("bicubic", engine.scale))
    error = float(np.mean((np.stack(pictures) - np.stack(expected)) ** 2))
    alike = 10 * np.log10(1 / max(error, 1e-12))
    if alike < _ALIKE:
        remedy = "try --engine keras, --precision fp32 and --gpu cpu, and report what helps"
        return Finding(
            "self-test", PROBLEM, f"{engine.description} gives a wrong picture ({alike:.0f} dB)", remedy
        )
    return Finding("self-test", OK, f"{len(pictures)} frames in {seconds:.1f} s, on {engine.description}")


def _upscaled(engine: Engine) -> list[np.ndarray]:
    stream = engine.open(SIDE, SIDE)
    pictures = [stream.push(frame) for frame in _scene()]
    return [picture for picture in pictures if picture is not None] + stream.flush()


def _scene() -> list[np.ndarray]:
    """Soft waves that move, (SIDE, SIDE, 3) float32 in [0, 1]."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    frames = []
    for t in range(FRAMES):
        waves = [
            0.5 + 0.4 * np.sin(2 * np.pi * (x * a + y * b + t / 30)) for a, b in ((1, 0), (0, 1), (1, 1))
        ]
        frames.append(np.stack(waves, axis=-1).astype(np.float32))
    return frames
