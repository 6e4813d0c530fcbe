"""What the inputs of somebody else's network say it takes, frames to probe it, and its raw results.

Names and shapes in files lie, so nothing is believed but the numbers of channels and fixed sides.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.frames.resample import resize
from vsrcli.inference.functions import TensorSpec
from vsrcli.models.imported import ModelDescription, NetworkFile, TensorInfo
from vsrcli.models.network_files import build_network
from vsrcli.system.resources import release_free_memory
from vsrcli.system.text import last_line

_INTERPOLATED = 48.0  # dB between a result and an interpolation, which differs from other programs' by 51
_KEPT_SIZES = 2  # a large network takes gigabytes for each
NAMES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


class UnusableError(Exception):
    """Why a network cannot be used: the middle of a sentence."""


class RuntimeRefusedError(UnusableError):
    """The runtime cannot read the network, or run it on the sizes that it must take; another one may."""


def format_interface(file: NetworkFile) -> str:
    """Return inputs and outputs as a file states them, for the message of an error."""

    def listed(tensors: Iterable[TensorInfo]) -> str:
        return ", ".join(f"{e.name} {e.dtype} {list(e.shape)}".replace("'", "") for e in tensors)

    return f"inputs: {listed(file.inputs)}; outputs: {listed(file.outputs)}"


def read_interface(file: NetworkFile, sha256: str) -> ModelDescription:
    """Return what the input says: kind, layout, frames and fixed sides; of outputs, the first one's name.

    Raises:
        UnusableError: they are not those of an upscaler.
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
        raise UnusableError(f"it has {len(file.inputs)} inputs, and one is needed (state needs a manifest)")
    source, result = file.inputs[0], file.outputs[0]
    if source.dtype not in ("float32", "float16"):
        raise UnusableError(f"its input is {source.dtype}, and float32 or float16 is needed")
    shape = source.shape
    if len(shape) == 5:
        layout, sides, frames, channels = "ntchw", shape[3:], shape[1], shape[2]
        total = 3 * frames if isinstance(frames, int) and channels == 3 else None
    elif len(shape) == 4:
        last = shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4)
        layout, sides, total = ("nhwc", shape[1:3], shape[3]) if last else ("nchw", shape[2:], shape[1])
    else:
        raise UnusableError(f"its input has {len(shape)} dimensions, and 4 or 5 are needed")
    if total == 4:
        raise UnusableError(
            "it takes 4 channels: R, G and B with transparency (RGBA), or with a plane of noise levels; a "
            "video has neither"
        )
    if total in (8, 11):
        raise UnusableError(f"it takes {total} channels: it interpolates frames in time, like RIFE")
    if not isinstance(total, int) or (total != 1 and (total % 6 != 3 or total > 45)):
        raise UnusableError(f"it takes {total} channels, and 1, 3 or an odd number of frames x 3 is needed")
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


def installed_runtimes() -> list[str]:
    """Return the runtimes for ONNX files that are installed, in the order to try them.

    Raises:
        UnusableError: there is none.
    """
    found = [name for name in NAMES if find_spec(name)]
    if not found:
        raise UnusableError("nothing here runs ONNX: pip install 'vsrcli[openvino]'")
    return found


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


def luma(frames: np.ndarray) -> np.ndarray:
    """Return the brightness (..., 1) of frames (..., 3)."""
    return (frames @ np.array([0.299, 0.587, 0.114], np.float32))[..., None]


def psnr(result: np.ndarray, expected: np.ndarray) -> float:
    """Return the PSNR of values from 0 to 1, 120 dB at most; minus infinity if the error is not finite."""
    error = float(np.mean((result - expected) ** 2))
    return -10 * math.log10(max(error, 1e-12)) if math.isfinite(error) else -math.inf


def is_interpolation(result: np.ndarray, frame: np.ndarray, found: ModelDescription) -> bool:
    """Return whether a network's result is about that of a usual kernel alone."""
    start, (rows, columns) = found.margin // 2, result.shape[:2]
    sides = found.scale * frame.shape[0], found.scale * frame.shape[1]
    enlarged = (resize(frame, *sides, kernel) for kernel in ("nearest", "linear", "bicubic"))
    parts = (each[start : start + rows, start : start + columns] for each in enlarged)
    return any(psnr(result, part) > _INTERPOLATED for part in parts)


def _keep(compiled: dict[tuple[int, ...], Any], shape: tuple[int, ...], network: Any) -> None:
    """Add a network that was compiled for a shape; forget those before the last two.

    Their memory goes back to the system: what is free here would hide what later runs take.
    """
    compiled[shape] = network
    while len(compiled) > _KEPT_SIZES:
        del compiled[next(iter(compiled))]
        release_free_memory()


class OnnxRunner:
    """An ONNX file on a runtime.

    Args:
        path: of the file.
        file: what was read from it.
        engine: ``openvino`` or ``onnxruntime``, which is installed.

    Attributes:
        engine: that runs it.
        output: number of the output that :meth:`run` returns.

    Raises:
        RuntimeRefusedError: the runtime cannot read it.
    """

    def __init__(self, path: Path, file: NetworkFile, engine: str) -> None:
        self._dtype = np.dtype(file.inputs[0].dtype)
        self._input, self._outputs = file.inputs[0].name, [each.name for each in file.outputs]
        self.output, self.engine = 0, engine
        self._compiled: dict[tuple[int, ...], Any] = {}
        if engine == "openvino":
            from vsrcli.inference.openvino import openvino_core

            self._core = openvino_core()
        try:
            if engine == "openvino":
                self._model = self._core.read_model(str(path))
            else:
                import onnxruntime

                options = onnxruntime.SessionOptions()
                options.log_severity_level = 3
                # memory that earlier, larger runs took would hide what a run takes
                options.enable_cpu_mem_arena = options.enable_mem_pattern = False
                providers = ["CPUExecutionProvider"]
                self._session = onnxruntime.InferenceSession(str(path), options, providers=providers)
        except MemoryError:
            raise
        except Exception as error:  # of many classes
            raise RuntimeRefusedError(f"{NAMES[engine]} cannot read it ({last_line(error)})") from error

    def run(self, array: np.ndarray) -> np.ndarray:
        """Return the output for an input array, in float32."""
        array = array.astype(self._dtype)
        if self.engine == "onnxruntime":
            name = self._outputs[self.output]
            return np.asarray(self._session.run([name], {self._input: array})[0], np.float32)
        if array.shape not in self._compiled:
            graph = self._model.clone()
            graph.reshape(list(array.shape))
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            _keep(self._compiled, array.shape, self._core.compile_model(graph, "CPU", exact))
        return np.array(self._compiled[array.shape](array)[self.output], np.float32)


class KerasRunner:
    """A network in ``keras.ops`` on OpenVINO, else on Keras itself; see :class:`OnnxRunner`.

    Attributes:
        multiply_adds: per pixel; 0 if they are unknown.
    """

    output = 0

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
        """Return the output for an input array, in float32."""
        if self.engine == "keras":
            return np.asarray(self._network(array[:, None]), np.float32)
        if array.shape not in self._compiled:
            from vsrcli.inference.openvino import openvino_core
            from vsrcli.inference.openvino_export import trace
            from vsrcli.inference.openvino_passes import optimize_graph

            spec = TensorSpec((1, *array.shape), "float32")
            graph = optimize_graph(trace(self._network, (spec,)))
            exact = {"INFERENCE_PRECISION_HINT": "f32"}
            _keep(self._compiled, array.shape, openvino_core().compile_model(graph, "CPU", exact))
        return np.array(self._compiled[array.shape](array[:, None])[0], np.float32)
