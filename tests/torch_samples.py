"""Tiny networks in PyTorch's files, written without PyTorch."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

Tensors = dict[str, np.ndarray]
STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def _random(shapes: Mapping[str, tuple[int, ...]]) -> Tensors:
    rng = np.random.default_rng(5)
    return {name: rng.normal(0, 0.1, shape).astype(np.float32) for name, shape in shapes.items()}


def _conv(name: str, inputs: int, outputs: int, side: int = 3) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, side, side), f"{name}.bias": (outputs,)}


def compact(scale: int = 2, width: int = 4) -> Tensors:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (inputs, outputs) in enumerate([(3, width), (width, width), (width, 3 * scale**2)]):
        shapes |= _conv(f"body.{2 * number}", inputs, outputs)
        if number < 2:
            shapes[f"body.{2 * number + 1}.weight"] = (width,)
    return _random(shapes)


def span(scale: int = 2, width: int = 4, norm: bool = True) -> Tensors:
    names = ["conv_1", *(f"block_{i}.c{j}_r" for i in range(1, 7) for j in (1, 2, 3)), "conv_2"]
    shapes: dict[str, tuple[int, ...]] = {} if norm else {"no_norm": (1,)}
    for name in names:
        inputs = 3 if name == "conv_1" else width
        shapes |= _conv(f"{name}.sk", inputs, width, 1) | _conv(f"{name}.conv.0", inputs, 2 * inputs, 1)
        shapes |= _conv(f"{name}.conv.1", 2 * inputs, 2 * width) | _conv(
            f"{name}.conv.2", 2 * width, width, 1
        )
        shapes |= _conv(f"{name}.eval_conv", inputs, width)
    return _random(
        shapes | _conv("conv_cat", 4 * width, width, 1) | _conv("upsampler.0", width, 3 * scale**2)
    )


def esrgan(doublings: int = 1, shuffle: int = 1, plus: bool = False, width: int = 4) -> Tensors:
    """Return the first ESRGAN's tensors; 32 channels grow in a dense block."""
    shapes = _conv("model.0", 3 * shuffle**2, width)
    for block in range(1):
        for dense in (1, 2, 3):
            name = f"model.1.sub.{block}.RDB{dense}"
            if plus:
                shapes[f"{name}.conv1x1.weight"] = (32, width, 1, 1)
            for number in range(1, 6):
                outputs = 32 if number < 5 else width
                shapes |= _conv(f"{name}.conv{number}.0", width + 32 * (number - 1), outputs)
    shapes |= _conv("model.1.sub.1", width, width)
    for number in range(doublings):
        shapes |= _conv(f"model.{3 * number + 3}", width, width)
    last = 3 * doublings + 4
    return _random(shapes | _conv(f"model.{last - 2}", width, width) | _conv(f"model.{last}", width, 3))


def real_esrgan(tensors: Tensors) -> Tensors:
    """Return tensors of :func:`esrgan` with two doublings by Real-ESRGAN's names."""
    names = {
        "model.0": "conv_first",
        "model.1.sub.1": "conv_body",
        "model.3": "conv_up1",
        "model.6": "conv_up2",
    }
    names |= {"model.8": "conv_hr", "model.10": "conv_last"}
    result = {}
    for name, array in tensors.items():
        layer, kind = name.rsplit(".", 1)
        new = names.get(layer) or layer.replace("model.1.sub.", "body.").replace("RDB", "rdb")[:-2]
        result[f"{new}.{kind}"] = array
    return result


def natural(tensors: Tensors) -> Tensors:
    """Return Compact's tensors with small weights, so that the result resembles the frame."""
    return {name: array * np.float32(0.1) for name, array in tensors.items()}


def write_zip(path: Path, content: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """Write what ``torch.save`` writes; arrays are tensors."""
    storages: list[np.ndarray] = []
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled(content, storages))
        archive.writestr("archive/byteorder", "little")
        for key, array in enumerate(storages):
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return path


def write_legacy(path: Path, content: Any) -> Path:
    """Write what ``torch.save`` wrote before PyTorch 1.6."""
    storages: list[np.ndarray] = []
    body = pickled(content, storages, legacy=True)
    with path.open("wb") as file:
        for each in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(each, file, 2)
        file.write(body)
        pickle.dump([str(key) for key in range(len(storages))], file, 2)
        for array in storages:
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def write_safetensors(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None) -> Path:
    header: dict[str, Any] = {"__metadata__": dict(metadata or {})}
    content = b""
    for name, array in tensors.items():
        dtype = {"float32": "F32", "float16": "F16", "uint16": "BF16"}[array.dtype.name]
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": offsets}
        content += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content)
    return path


def bfloat16(tensors: Tensors) -> Tensors:
    return {name: (array.view(np.uint32) >> 16).astype(np.uint16) for name, array in tensors.items()}


class _Reference:
    """Pickled as a call of PyTorch's function on a storage."""

    def __init__(self, storage: _Storage, array: np.ndarray, arguments: tuple[Any, ...] | None) -> None:
        strides = tuple(stride // array.itemsize for stride in array.strides)
        self.arguments = arguments or (0, array.shape, strides)
        self.storage = storage

    def __reduce__(self) -> Any:
        function = sys.modules["torch._utils"]._rebuild_tensor_v2  # type: ignore[attr-defined]
        return function, (self.storage, *self.arguments, False, OrderedDict())


class _Storage:
    def __init__(self, key: int, array: np.ndarray) -> None:
        self.key, self.count, self.kind = str(key), array.size, STORAGES[array.dtype.name]


def pickled(
    content: Any,
    storages: list[np.ndarray],
    *,
    legacy: bool = False,
    arguments: tuple[Any, ...] | None = None,
) -> bytes:
    """Return a pickle; the arrays that it refers to are appended to ``storages``."""

    def convert(each: Any) -> Any:
        if isinstance(each, Mapping):
            return OrderedDict((key, convert(value)) for key, value in each.items())
        if not isinstance(each, np.ndarray):
            return each
        storages.append(np.ascontiguousarray(each))
        return _Reference(_Storage(len(storages) - 1, each), storages[-1], arguments)

    class Pickler(pickle.Pickler):
        def persistent_id(self, each: Any) -> Any:
            if isinstance(each, _Storage):
                kind = getattr(sys.modules["torch"], each.kind)
                return ("storage", kind, each.key, "cpu", each.count, *((None,) if legacy else ()))
            return None

    stream = io.BytesIO()
    with _stand_ins():
        Pickler(stream, 2).dump(convert(content))
    return stream.getvalue()


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Let pickle find PyTorch's names."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
