"""What a network of somebody else's is and needs, found by running it on small frames in a child process.

    python -m vsrcli.inference.probing < request.json

Names and shapes in such files lie, so nothing is believed but the numbers of channels and fixed sides. A
network that crashes, hangs or takes all memory ends the child only. The request is an object with ``path``
and ``sha256``; the response, the last line on stdout, a description or ``error`` and ``message``.

A description is kept in the cache by the sums of the network's files.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.errors import ModelError, OutOfMemoryError, VsrError
from vsrcli.frames.tiling import min_tile_side
from vsrcli.inference.functions import TensorSpec
from vsrcli.inference.graph_cache import GraphCache, cache_folder
from vsrcli.inference.imported import from_network, to_network
from vsrcli.models.imported import (
    UNKNOWN_BYTES_PER_PIXEL,
    ModelDescription,
    NetworkFile,
    files_sha256,
    input_shape,
)
from vsrcli.models.network_files import build_network, read_network_file
from vsrcli.system.processes import run_process

PROBING_VERSION = 2
TIME_LIMIT = 600.0  # seconds, of a child
MAX_TILE_ERROR = 1e-3
_RESEMBLANCE = 20.0  # dB
_MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
_OVERLAPS = (8, 16, 24, 32, 40, 48, 64)
_WHOLE, _TILE = 160, 96  # sides of the frames by which the overlap is measured
_FILE = "description.json"
_GLOBAL_OPERATORS = {"InstanceNormalization", "GlobalAveragePool", "GlobalMaxPool"}


def describe_model(path: Path, *, on_notice: Callable[[str], None] = lambda text: None) -> ModelDescription:
    """Describe a network, from the cache if it was described before.

    Args:
        path: of the file; an ncnn network's ``.param``.
        on_notice: receives notices about the cache.

    Raises:
        ModelError: the file is damaged, or its network cannot be used; with its inputs and outputs.
        OutOfMemoryError: there is not enough memory to try.
    """
    file = read_network_file(path)
    sha256 = files_sha256(path, file.other_files)
    if manifest := file.metadata.get("manifest"):
        from vsrcli.inference.onnx_export import describe_export

        return describe_export(path, manifest)

    def probe(folder: Path) -> None:
        description = _probe_in_child(path, sha256, file)
        (folder / _FILE).write_text(json.dumps(description), encoding="utf-8")

    key = {"vsr": __version__, "probing": PROBING_VERSION, "sha256": sha256, "suffix": path.suffix.lower()}
    files = GraphCache(cache_folder() / "models", on_notice).get(key, probe)
    return ModelDescription.from_json(json.loads(files[_FILE]))


def _probe_in_child(path: Path, sha256: str, file: NetworkFile) -> dict[str, Any]:
    """Return a description as plain values."""
    try:
        child = run_process(
            [sys.executable, "-m", __name__],
            input=json.dumps({"path": str(path), "sha256": sha256}),
            timeout=TIME_LIMIT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as error:
        raise ModelError(
            f"{str(path)!r} cannot be used: it did not end within {TIME_LIMIT:.0f} s on small frames"
        ) from error
    try:
        response = json.loads(child.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        raise ModelError(
            f"{str(path)!r} cannot be used: the process that tried it ended with {child.returncode}; "
            f"{_interface(file)}",
            details=child.stderr[-2000:],
        ) from None
    if "error" in response:
        raise getattr(import_module("vsrcli.errors"), response["error"])(
            response["message"], details=child.stderr[-2000:]
        )
    return response


def main() -> None:
    """Handle the request on stdin."""
    request = json.loads(sys.stdin.read())
    path = Path(request["path"])
    response: dict[str, Any]
    with contextlib.redirect_stdout(sys.stderr):  # what libraries print is no response
        try:
            response = probe(path, request["sha256"]).to_json()
        except VsrError as error:
            response = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            response = {
                "error": OutOfMemoryError.__name__,
                "message": f"not enough memory to try {path.name}",
            }
        except Exception as error:  # of a runtime
            reason = (str(error).splitlines() or [""])[0]
            response = {
                "error": ModelError.__name__,
                "message": f"{str(path)!r} cannot be used: {type(error).__name__}: {reason}",
            }
    print(json.dumps(response), flush=True)


def probe(path: Path, sha256: str) -> ModelDescription:
    """Describe a network by running it in this process.

    Raises:
        ModelError: it cannot be used.
    """
    file = read_network_file(path)
    try:
        return _Probe(path, sha256, file).describe()
    except _UnusableError as error:
        raise ModelError(f"{str(path)!r} cannot be used: {error}; {_interface(file)}") from error


class _UnusableError(Exception):
    """Why a network cannot be used."""


def _interface(file: NetworkFile) -> str:
    def listed(tensors: Any) -> str:
        return ", ".join(f"{e.name} {e.dtype} {list(e.shape)}".replace("'", "") for e in tensors)

    return f"inputs: {listed(file.inputs)}; outputs: {listed(file.outputs)}"


class _Probe:
    def __init__(self, path: Path, sha256: str, file: NetworkFile) -> None:
        self.path, self.file = path, file
        self.found = _read_interface(file, sha256)
        self._runner = _OnnxRunner(path, file) if file.format == "onnx" else _KerasRunner(path)

    def describe(self) -> ModelDescription:
        self._find_sizes()
        self._find_range()
        self._find_overlap()
        self.found = replace(self.found, engine=self._runner.engine, multiply_adds=self._multiply_adds())
        return self.found

    def run(self, frames: np.ndarray) -> np.ndarray:
        """Return the result (H, W, C) for frames (T, H, W, 3)."""
        return from_network(self.found, self._runner.run(to_network(self.found, frames)))

    def _try(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the sides of the result, or None if the network fails at this size."""
        shape = input_shape(self.found, height, width)
        try:
            raw = self._runner.run(np.full(shape, 0.5, np.float32))
        except Exception as error:  # of a runtime, in many classes
            self._failure = (str(error).splitlines() or [""])[0][:200]
            return None
        sides = raw.shape[1:3] if self.found.layout == "nhwc" else raw.shape[-2:]
        channels = raw.shape[-1] if self.found.layout == "nhwc" else raw.shape[-3] if raw.ndim > 2 else 0
        expected = 1 if self.found.kind == "luma" else 3
        if (
            raw.ndim not in (4, 5)
            or channels != expected
            or math.prod(raw.shape) != channels * math.prod(sides)
        ):
            raise _UnusableError(f"its result {list(raw.shape)} is no frame of {expected} channels")
        return int(sides[0]), int(sides[1])

    def _find_sizes(self) -> None:
        """Find factor, margin, multiple and least side."""
        if fixed := self.found.fixed_size:
            result = self._try(*fixed)
            if result is None:
                raise _UnusableError(f"it does not run: {self._failure}")
            if result[0] % fixed[0] or result[0] * fixed[1] != result[1] * fixed[0]:
                raise _UnusableError(f"{fixed[1]}x{fixed[0]} become {result[1]}x{result[0]}, no whole factor")
            self.found = replace(self.found, scale=self._checked_scale(result[0] // fixed[0]))
            return
        large, larger = self._try(64, 64), self._try(128, 128)
        if large is None or larger is None:
            raise _UnusableError(f"it does not run on frames of 64x64 and 128x128: {self._failure}")
        scale, remainder = divmod(larger[0] - large[0], 64)
        margin = 64 * scale - large[0]
        if remainder or large[0] != large[1] or margin < 0:
            raise _UnusableError(f"64x64 become {large[1]}x{large[0]}, 128x128 {larger[1]}x{larger[0]}")
        self._checked_scale(scale)

        def fits(height: int, width: int) -> bool:
            return self._try(height, width) == (scale * height - margin, scale * width - margin)

        multiple = 1 if fits(63, 65) else next((m for m in _MULTIPLES[1:] if fits(64 - m, 64 + m)), 64)
        sides = sorted({multiple * -(-side // multiple) for side in (1, 4, 8, 16, 32)})
        least = next((s for s in sides if scale * s > margin and fits(s, s)), 64)
        self.found = replace(self.found, scale=scale, margin=margin, multiple=multiple, min_side=least)

    def _checked_scale(self, scale: int) -> int:
        if not 1 <= scale <= 8:
            raise _UnusableError(f"it scales by {scale}, and 1 to 8 are possible")
        return scale

    def _find_range(self) -> None:
        """Find value range and order by whether the result resembles the picture."""
        height, width = self.found.fixed_size or (64, 64)
        frames = moving_picture(height, width, self.found.frames)
        measured = {}
        for bgr in (False, True) if self.found.kind != "luma" else (False,):
            for white in (1.0, 255.0):
                self.found = replace(self.found, value_range=white, bgr=bgr)
                result = self.run(frames)
                likeness = [self._likeness(result, frame) for frame in frames]
                centre = likeness[len(frames) // 2]
                measured[white, bgr] = centre
                if centre > _RESEMBLANCE and centre == max(likeness):
                    return
        best = max(measured.values())
        raise _UnusableError(f"its result does not resemble the frame ({best:.1f} dB at best): no upscaler?")

    def _likeness(self, result: np.ndarray, frame: np.ndarray) -> float:
        """Return the PSNR of a result, shrunk to the frame's size."""
        scale, margin = self.found.scale, self.found.margin
        skipped = -(-margin // (2 * scale))  # pixels of the frame without a whole block of the result
        start = scale * skipped - margin // 2
        rows, columns = ((side - start) // scale for side in result.shape[:2])
        rows, columns = min(rows, frame.shape[0] - 2 * skipped), min(columns, frame.shape[1] - 2 * skipped)
        block = result[start : start + scale * rows, start : start + scale * columns]
        shrunk = block.reshape(rows, scale, columns, scale, -1).mean(axis=(1, 3))
        expected = frame[skipped : skipped + rows, skipped : skipped + columns]
        if self.found.kind == "luma":
            expected = (expected @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]
        error = float(np.mean((shrunk - expected) ** 2))
        return -10 * math.log10(max(error, 1e-12)) if math.isfinite(error) else -math.inf

    def _find_overlap(self) -> None:
        """Find overlap, memory and time from a frame and the tile in its corner."""
        if self.found.fixed_size:
            notice = "frames of one size only: the overlap of its tiles is not measured"
            side = min(self.found.fixed_size)  # half of a tile at most is context
            most = max(min(side // 4, (side - min_tile_side(0)) // 2), 0)
            self.found = replace(self.found, notices=(notice,), overlap=min(self.found.overlap, most))
            return
        tile, whole = (self._allowed_side(side) for side in (_TILE, _WHOLE))
        frames = moving_picture(whole, whole, self.found.frames)
        part = self.run(frames[:, :tile, :tile]).clip(0, 1)
        start = time.perf_counter()
        self.run(frames[:, :tile, :tile])
        seconds = time.perf_counter() - start
        bytes_per_pixel = UNKNOWN_BYTES_PER_PIXEL
        before = _reset_peak()
        complete = self.run(frames).clip(0, 1)
        if before and (grown := _peak_memory() - before) > 0:
            bytes_per_pixel = math.ceil(1.25 * grown / whole**2)
        rows, columns = part.shape[:2]
        error = np.abs(part - complete[:rows, :columns]).max(axis=2)
        scale, margin = self.found.scale, self.found.margin

        def error_at(overlap: int) -> float:
            kept = scale * (tile - overlap) - margin // 2
            return float(error[:kept, :kept].max())

        least = next((each for each in _OVERLAPS if error_at(each) <= MAX_TILE_ERROR), None)
        overlap = least or _OVERLAPS[-1]
        if least is None:
            codes = f"{255 * error_at(overlap):.1f} codes of 8 bits"
            notice = f"tiles with {overlap} pixels of context differ from whole frames by up to {codes}"
            self.found = replace(self.found, notices=(notice,))
        self.found = replace(
            self.found,
            overlap=overlap,
            tile_error=error_at(overlap),
            whole_frames=least is None and self._sees_whole_frame(error_at),
            bytes_per_pixel=bytes_per_pixel,
            seconds_per_pixel=seconds / tile**2,
        )

    def _sees_whole_frame(self, error_at: Callable[[int], float]) -> bool:
        """Return whether tiles differ however much context they have: an operator reads the whole frame.

        The influence of far pixels on a convolutional network fades; that of a mean over the frame does not.
        """
        if _GLOBAL_OPERATORS & set(self.file.operators):
            return True
        return error_at(_OVERLAPS[-1]) > 0.3 * error_at(_OVERLAPS[1])

    def _allowed_side(self, side: int) -> int:
        return -(-side // self.found.multiple) * self.found.multiple

    def _multiply_adds(self) -> int:
        if self.file.format != "onnx":
            return int(getattr(self._runner, "multiply_adds", 0))
        from vsrcli.models.onnx_files import count_multiply_adds

        height, width = self.found.fixed_size or (self._allowed_side(64),) * 2
        return count_multiply_adds(self.path, input_shape(self.found, height, width)) // (height * width)


def _read_interface(file: NetworkFile, sha256: str) -> ModelDescription:
    """Return what inputs and outputs say: kind, layout, frames and fixed sides.

    Raises:
        _UnusableError: they are not those of an upscaler.
    """
    found = ModelDescription(
        file.format,
        file.architecture,
        sha256,
        "image",
        1,
        file.parameters,
        other_files=file.other_files,
        licence=file.metadata.get("licence", ""),
        author=file.metadata.get("author", ""),
        source=file.metadata.get("source", ""),
        summary=file.metadata.get("summary", ""),
    )
    if file.format != "onnx":
        return found
    if len(file.inputs) != 1:
        raise _UnusableError(f"it has {len(file.inputs)} inputs, and one is needed (state needs a manifest)")
    source, result = file.inputs[0], file.outputs[0]
    if source.dtype not in ("float32", "float16"):
        raise _UnusableError(f"its input is {source.dtype}, and float32 or float16 is needed")
    shape = source.shape
    if len(shape) == 5:
        layout, sides, frames, channels = "ntchw", shape[3:], shape[1], shape[2]
        total = 3 * frames if isinstance(frames, int) and channels == 3 else None
    elif len(shape) == 4:
        last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        layout, sides, total = ("nhwc", shape[1:3], shape[3]) if last else ("nchw", shape[2:], shape[1])
    else:
        raise _UnusableError(f"its input has {len(shape)} dimensions, and 4 or 5 are needed")
    if total == 4:
        raise _UnusableError("it takes 4 channels: transparency (RGBA) or a plane of noise levels beside RGB")
    if total in (8, 11):
        raise _UnusableError(f"it takes {total} channels: it interpolates frames in time, like RIFE")
    if not isinstance(total, int) or (total != 1 and (total % 6 != 3 or total > 45)):
        raise _UnusableError(f"it takes {total} channels, and 1, 3 or an odd number of frames x 3 is needed")
    fixed = tuple(side for side in sides if isinstance(side, int))
    return replace(
        found,
        kind="luma" if total == 1 else "image" if total == 3 else "frames",
        frames=max(total // 3, 1),
        layout=layout,
        dtype=source.dtype,
        fixed_size=(fixed[0], fixed[1]) if len(fixed) == 2 else None,
        input_name=source.name,
        output_name=result.name,
    )


class _OnnxRunner:
    """An ONNX file on OpenVINO, else on ONNX Runtime; its first output, float32."""

    def __init__(self, path: Path, file: NetworkFile) -> None:
        self._dtype = np.dtype(file.inputs[0].dtype)
        self._input, self._output = file.inputs[0].name, file.outputs[0].name
        self.engine = "openvino" if find_spec("openvino") else "onnxruntime"
        if self.engine == "openvino":
            from vsrcli.system.resources import disable_openvino_telemetry

            disable_openvino_telemetry()
            import openvino

            self._core = openvino.Core()
            self._model = self._core.read_model(str(path))
            self._compiled: dict[tuple[int, ...], Any] = {}
        elif find_spec("onnxruntime"):
            import onnxruntime

            self._session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        else:
            raise _UnusableError("nothing here runs ONNX: pip install 'vsrcli[openvino]'")

    def run(self, array: np.ndarray) -> np.ndarray:
        array = array.astype(self._dtype)
        if self.engine == "onnxruntime":
            return np.asarray(self._session.run([self._output], {self._input: array})[0], np.float32)
        if array.shape not in self._compiled:
            graph = self._model.clone()
            graph.reshape(list(array.shape))
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            self._compiled[array.shape] = self._core.compile_model(graph, "CPU", exact)
        return np.array(self._compiled[array.shape](array)[0], np.float32)


class _KerasRunner:
    """A network in ``keras.ops`` on OpenVINO, else on Keras itself."""

    def __init__(self, path: Path) -> None:
        self.engine = "openvino" if find_spec("openvino") else "keras"
        if self.engine == "openvino":
            os.environ["KERAS_BACKEND"] = "openvino"
            sys.modules["tensorflow"] = None  # type: ignore[assignment] # Keras works without
            from vsrcli.system.resources import disable_openvino_telemetry

            disable_openvino_telemetry()
        self._network = build_network(path)
        self.multiply_adds = getattr(self._network, "multiply_adds", 0)
        self._compiled: dict[tuple[int, ...], Any] = {}

    def run(self, array: np.ndarray) -> np.ndarray:
        if self.engine == "keras":
            return np.asarray(self._network(array[:, None]), np.float32)
        if array.shape not in self._compiled:
            import openvino

            from vsrcli.inference.openvino_export import optimize_graph, trace

            spec = TensorSpec((1, *array.shape), "float32")
            graph = optimize_graph(trace(self._network, (spec,)))
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            self._compiled[array.shape] = openvino.Core().compile_model(graph, "CPU", exact)
        return np.array(self._compiled[array.shape](array[:, None])[0], np.float32)


def moving_picture(height: int, width: int, frames: int) -> np.ndarray:
    """Return frames (T, H, W, 3) of a picture that moves by 3 pixels a frame: colours, edges and texture."""
    random = np.random.default_rng(17)
    full = width + 3 * (frames - 1)
    y, x = np.mgrid[:height, :full].astype(np.float32)
    picture = np.empty((height, full, 3), np.float32)
    for channel, level in enumerate((0.65, 0.45, 0.25)):
        plane = level + 0.2 * (y / height - 0.5) + 0.2 * (x / full - 0.5)  # parts differ in their mean
        for size in (64, 32, 16, 8):
            angle, phase = random.uniform(0, 2 * np.pi, 2)
            wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / size + phase)
            plane += 0.002 * size * wave
        picture[..., channel] = plane
    for _ in range(12):
        row, column = random.uniform(0, height), random.uniform(0, full)
        inside = np.hypot(y - row, x - column) < random.uniform(4, 14)
        picture[inside] = 0.5 * picture[inside] + 0.5 * random.uniform(0.1, 0.9, 3).astype(np.float32)
    picture = picture.clip(0, 1)
    starts = range(0, full - width + 1, 3)
    return np.stack([picture[:, start : start + width] for start in starts])


def _reset_peak() -> int:
    """Start a new measurement of peak memory; return today's bytes, 0 if the system cannot tell."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
        return _peak_memory()
    except OSError:
        return 0


def _peak_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) << 10
    raise OSError("no VmHWM")


if __name__ == "__main__":
    main()
