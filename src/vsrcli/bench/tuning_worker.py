"""A child process of :mod:`vsrcli.bench.tuning` that measures one engine.

    python -m vsrcli.bench.tuning_worker < request.json

The request is an object with ``model``, ``scale``, ``device``, ``engine``, ``seconds`` (of each measurement),
``log``, ``reference`` (a file of frames in fp32, which the first one writes; or null) and ``work``: a list
of ``precision``, ``threads`` (or null) and ``size`` (height and width). A line is appended to the log for
each piece of work: its ``number`` in the list, and ``frames``, ``seconds``, ``start_seconds`` and
``max_codes``; or ``error``. The seconds are those of the fastest frame. The answer (see
:mod:`vsrcli.system.child`) is null: the log holds what was measured when the time was over.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import VsrError
from vsrcli.inference.precision import IDENTICAL, psnr_of
from vsrcli.inference.selection import ModelChoice, choose_models, open_engine
from vsrcli.inference.types import Engine, Stream
from vsrcli.system.child import answer_request

_LEAST_FRAMES, _ENOUGH_FRAMES, _ENOUGH_SECONDS = 2, 12, 1.0
_COMPARED_FRAMES = 2
_PERIOD = 8  # frames of the moving picture


def main() -> None:
    """Handle the request on stdin."""
    answer_request(_measure_all)


def _measure_all(request: dict[str, Any]) -> None:
    choice = choose_models(request["model"], Fraction(request["scale"]))[0]
    engines: dict[tuple[str, int | None], Engine] = {}
    with Path(request["log"]).open("a", encoding="utf-8") as log:
        for number, work in enumerate(request["work"]):
            try:
                result = _measure(choice, request, work, engines)
            except (VsrError, MemoryError) as error:
                result = {"error": (str(error).splitlines() or ["not enough memory"])[0]}
            log.write(json.dumps({"number": number, **result}) + "\n")
            log.flush()


def _measure(
    choice: ModelChoice,
    request: dict[str, Any],
    work: dict[str, Any],
    engines: dict[tuple[str, int | None], Engine],
) -> dict[str, Any]:
    started = time.perf_counter()
    if work["threads"] is not None:
        _limit_threads(request["engine"], work["threads"])
    key = work["precision"], work["threads"]
    if key not in engines:
        requested = {"device": request["device"], "engine": request["engine"], "precision": key[0]}
        engines[key] = open_engine(choice, **requested)
    height, width = work["size"]
    next_frame = _moving_picture(height, width)
    stream = engines[key].open(height, width)
    results: list[np.ndarray] = []
    while not results:  # fill the window
        _push(stream, next_frame, results)
    start_seconds = time.perf_counter() - started
    times: list[float] = []
    while True:
        started = time.perf_counter()
        _push(stream, next_frame, results)
        times.append(time.perf_counter() - started)
        is_enough = sum(times) >= min(request["seconds"], _ENOUGH_SECONDS) and len(times) >= _ENOUGH_FRAMES
        if is_enough or (sum(times) >= request["seconds"] and len(times) >= _LEAST_FRAMES):
            break
    compared = np.stack(results[:_COMPARED_FRAMES])
    psnr = None
    if request["reference"] is not None:
        psnr = _psnr(compared, Path(request["reference"]), work["precision"])
    figures = {"frames": len(times), "seconds": min(times), "start_seconds": start_seconds}
    return {**figures, "psnr": psnr}


def _push(stream: Stream, next_frame: Callable[[], np.ndarray], results: list[np.ndarray]) -> None:
    result = stream.push(next_frame())
    if result is not None and len(results) < _COMPARED_FRAMES:
        results.append(result)


def _psnr(frames: np.ndarray, reference: Path, precision: str) -> float | None:
    """Return the PSNR in dB against the reference; write it if there is none."""
    if reference.exists():
        return psnr_of(frames - np.load(reference))
    if precision == "fp32":
        np.save(reference, frames)
        return IDENTICAL
    return None


def _moving_picture(height: int, width: int) -> Callable[[], np.ndarray]:
    """Return a function that gives the next frame of edges and noise that move by a pixel per frame."""
    rng = np.random.default_rng(0)
    rows, columns = -(-height // 8), -(-(width + _PERIOD) // 8)
    blocks = np.kron(rng.random((rows, columns, 3)), np.ones((8, 8, 1)))[:height, : width + _PERIOD]
    image = np.clip(blocks + rng.normal(0, 0.05, blocks.shape), 0, 1).astype(np.float32)
    frames = [np.ascontiguousarray(image[:, start : start + width]) for start in range(_PERIOD)]
    number = -1

    def next_frame() -> np.ndarray:
        nonlocal number
        number += 1
        return frames[number % _PERIOD]

    return next_frame


def _limit_threads(engine: str, threads: int) -> None:
    """Limit the threads of an engine that is opened after this."""
    if engine == "openvino":
        from vsrcli.inference.openvino import openvino_core

        openvino_core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
    elif engine == "onnxruntime":
        from vsrcli.inference.onnxruntime_session import limit_threads

        limit_threads(threads)


if __name__ == "__main__":
    main()
