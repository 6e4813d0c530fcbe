"""Networks that others have trained, behind the same contract as the project's own.

Such a network takes frames in a layout, range and order of its own, perhaps only in sizes that are multiples
of something, and may return fewer pixels than it should (valid convolutions) or brightness alone. An
:class:`ImportedBackend` adapts all of that in NumPy, from a
:class:`~vsrcli.models.imported.ModelDescription`, around a function that an engine compiles: from the
network's own input array to its own output array. So every engine gives the same frames, and tiles, windows,
shots and resuming are those of all networks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from vsrcli.errors import EngineError
from vsrcli.frames.resample import interpolate
from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.functions import FLOAT32, NetworkShapes, RowBands, require_finite
from vsrcli.inference.types import Compiler, RawNetwork
from vsrcli.models.imported import ImportedModel, ModelDescription

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as these networks were trained


class ImportedBackend:
    """A network behind :class:`~vsrcli.inference.functions.Backend`, with the one function ``upscale``.

    Args:
        description: of the network.
        compile_raw: returns the network for frames of (height, width), sides that it takes.
    """

    band_pixels = 1 << 62  # no output stage of its own

    def __init__(self, description: ModelDescription, compile_raw: Callable[[int, int], RawNetwork]) -> None:
        self.shapes = NetworkShapes("window", description.scale, levels=description.frames // 2)
        self.dtype = FLOAT32
        self._description, self._compile_raw = description, compile_raw

    def compile(self, height: int, width: int, bands: RowBands) -> Mapping[str, Callable[..., Any]]:
        """Raise EngineError if the network takes no frames of this size."""
        found = self._description
        padding = plan_padding(found, height, width)
        network = self._compile_raw(padding.height, padding.width)

        def upscale(window: np.ndarray) -> np.ndarray:
            raw = network(to_network(found, pad_frames(window[0], padding)))
            result = crop_result(from_network(found, require_finite(raw)), padding, found.scale)
            if found.kind == "luma":
                result = add_color(result[..., 0], window[0, 0], found.scale)
            return result.clip(0.0, 1.0, out=result)[None]

        return {"upscale": upscale}

    def zeros(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        return np.zeros(shape, dtype)

    def to_device(self, array: np.ndarray, dtype: str) -> np.ndarray:
        return array.astype(dtype)

    def to_numpy(self, array: np.ndarray) -> np.ndarray:
        return array.copy()

    def read_result(self, result: np.ndarray) -> np.ndarray:
        return result  # checked before clipping, which would hide an infinity

    def reconstruct(
        self, function: Callable[..., Any], bands: RowBands, x: Any, padded: np.ndarray
    ) -> tuple[np.ndarray, Any]:
        raise NotImplementedError("no output stage")


class ImportedEngine(StreamingEngine):
    """A network of somebody else, see :class:`~vsrcli.inference.types.Engine`.

    Args:
        model: the file and its description.
        engine: ``keras``, ``openvino`` or ``onnxruntime``.
        device, precision: see :func:`~vsrcli.inference.engine_plan.plan_engine`.
        on_notice: receives the engine's notices.

    Raises:
        EngineError: the engine cannot start, or does not run this format.
        ModelError: the file has changed or is damaged.
    """

    def __init__(
        self,
        model: ImportedModel,
        engine: str,
        *,
        device: str = "auto",
        precision: str = "auto",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        model.verify()
        compilers = {"keras": _keras, "openvino": _openvino, "onnxruntime": _onnxruntime}
        compiler = compilers[engine](model, device, precision, cache(on_notice))
        super().__init__(ImportedBackend(model.description, compiler.compile_raw), model)
        self.precision, self.on_gpu = compiler.precision, compiler.on_gpu
        self.description = f"{model.name} on {compiler.place}, {compiler.precision}"


def _openvino(
    model: ImportedModel, device: str, precision: str, on_notice: Callable[[str], None]
) -> Compiler:
    from vsrcli.inference.openvino import OpenvinoNetwork, cpu_capabilities

    def create_backend(precision: str) -> ImportedBackend:
        return ImportedBackend(model.description, OpenvinoNetwork(model, precision, on_notice).compile_raw)

    if precision == "auto" and model.description.fixed_size:
        precision = "fp32"  # the comparison needs frames of its own size
    if precision == "auto":
        from vsrcli.inference.precision import choose_cpu_precision

        precision = choose_cpu_precision(model, cpu_capabilities(), create_backend)
    if precision == "int8":
        raise EngineError(f"{model.name} has no --precision int8: use fp32")
    network = OpenvinoNetwork(model, precision, on_notice)
    return Compiler(
        network.compile_raw, f"CPU, openvino{'' if device == 'cpu' else ' (no GPU found)'}", precision
    )


def _keras(model: ImportedModel, device: str, precision: str, on_notice: Callable[[str], None]) -> Compiler:
    from vsrcli.inference.keras import load_imported

    return load_imported(model, device, precision)


def _onnxruntime(
    model: ImportedModel, device: str, precision: str, on_notice: Callable[[str], None]
) -> Compiler:
    from vsrcli.inference.onnxruntime import load_imported

    return load_imported(model, device, precision, on_notice)


@dataclass(frozen=True)
class Padding:
    """How a frame becomes one that a network takes, and where the frame's result lies in the network's.

    Attributes:
        top, left, bottom, right: pixels added by reflection.
        height, width: of the padded frame.
        offset: first row and column of the frame's result, in result pixels.
        result_height, result_width: of the frame's result.
    """

    top: int
    left: int
    bottom: int
    right: int
    height: int
    width: int
    offset: tuple[int, int]
    result_height: int
    result_width: int


def plan_padding(found: ModelDescription, height: int, width: int) -> Padding:
    """Return the padding for frames of a size.

    Raises:
        EngineError: the network takes frames of one size only, and these are larger.
    """
    before = -(-found.margin // (2 * found.scale))  # of the frame, so that its first pixel has a result
    fixed = found.fixed_size or (None, None)
    sides = [
        _padded_side(side + 2 * before, found, limit)
        for side, limit in zip((height, width), fixed, strict=True)
    ]
    if found.fixed_size and (sides[0] > found.fixed_size[0] or sides[1] > found.fixed_size[1]):
        most = [side - 2 * before for side in found.fixed_size]
        raise EngineError(
            f"the network takes frames of {found.fixed_size[1]}x{found.fixed_size[0]} only, and these are "
            f"{width}x{height}: give --tile {min(most)} or less, or leave it out"
        )
    offset = found.scale * before - found.margin // 2
    return Padding(
        top=before,
        left=before,
        bottom=sides[0] - height - before,
        right=sides[1] - width - before,
        height=sides[0],
        width=sides[1],
        offset=(offset, offset),
        result_height=found.scale * height,
        result_width=found.scale * width,
    )


def _padded_side(side: int, found: ModelDescription, fixed: int | None) -> int:
    if fixed is not None:
        return max(side, fixed)
    side = max(side, found.min_side)
    return -(-side // found.multiple) * found.multiple


def pad_frames(frames: np.ndarray, padding: Padding) -> np.ndarray:
    """Pad frames (T, H, W, 3) by reflection."""
    if frames.shape[1:3] == (padding.height, padding.width):
        return frames
    rows, columns = (padding.top, padding.bottom), (padding.left, padding.right)
    return np.pad(frames, ((0, 0), rows, columns, (0, 0)), mode="reflect")


def to_network(found: ModelDescription, frames: np.ndarray) -> np.ndarray:
    """Return a network's input for frames (T, H, W, 3), float32 R'G'B' in [0, 1]: float32, in its layout."""
    if found.kind == "luma":
        frames = (frames @ _LUMA)[..., None]
    elif found.bgr:
        frames = frames[..., ::-1]
    if found.value_range != 1:
        frames = frames * np.float32(found.value_range)
    count, height, width, channels = frames.shape
    if found.layout == "nhwc":
        return np.ascontiguousarray(frames.transpose(1, 2, 0, 3)).reshape(1, height, width, count * channels)
    planes = np.ascontiguousarray(frames.transpose(0, 3, 1, 2))
    if found.layout == "ntchw":
        return planes[None]
    return planes.reshape(1, count * channels, height, width)


def from_network(found: ModelDescription, raw: np.ndarray) -> np.ndarray:
    """Return a network's output as (H, W, C) float32 R'G'B' (or Y'), white is 1; not clipped, writable."""
    picture = raw.reshape(raw.shape[-3:])
    if found.layout != "nhwc":
        picture = picture.transpose(1, 2, 0)
    if found.bgr:
        picture = picture[..., ::-1]
    scaled = np.empty(picture.shape, np.float32)
    np.multiply(picture, np.float32(1 / found.value_range), out=scaled)
    return scaled


def crop_result(result: np.ndarray, padding: Padding, scale: int) -> np.ndarray:
    """Return the frame's part of a padded frame's result.

    Raises:
        EngineError: the result is too small.
    """
    top, left = padding.offset
    cropped = result[top : top + padding.result_height, left : left + padding.result_width]
    if cropped.shape[:2] != (padding.result_height, padding.result_width):
        raise EngineError(
            f"the network returned {result.shape[1]}x{result.shape[0]} for {padding.width}x{padding.height}, "
            f"which is not x{scale}: its description does not fit this size; try another --tile"
        )
    return cropped


def add_color(luma: np.ndarray, frame: np.ndarray, scale: int) -> np.ndarray:
    """Return upscaled brightness (sH, sW) with the colour differences of a Lanczos interpolation."""
    color = interpolate(frame, scale, "lanczos3") if scale > 1 else frame.copy()
    color += (luma - color @ _LUMA)[..., None]
    return color
