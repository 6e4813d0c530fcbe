"""Files as PyTorch and safetensors write them, and tiny networks with random weights."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Arrays = dict[str, np.ndarray]
_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "float64": "DoubleStorage"}
_STORAGES |= {"bfloat16": "BFloat16Storage"}
_SAFE = {"float32": "F32", "float16": "F16", "float64": "F64", "bfloat16": "BF16"}


def text(value: str) -> bytes:
    """Return the instruction that pushes a text."""
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    """Return the instruction that pushes a whole number."""
    data = value.to_bytes(12, "little", signed=True)
    return b"\x8a" + bytes([len(data)]) + data


def numbers(values: tuple[int, ...]) -> bytes:
    """Return the instructions that push a tuple."""
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(
    key: str,
    count: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...] | None = None,
    offset: int = 0,
    storage: str = "FloatStorage",
    view: bytes = b"",
) -> bytes:
    """Return the instructions that push a tensor of a storage of ``count`` numbers."""
    if strides is None:
        strides = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    place = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text(key) + text("cpu") + number(count)
    place += view + b"tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n"
    return (
        rebuild
        + b"("
        + place
        + number(offset)
        + numbers(shape)
        + numbers(strides)
        + b"\x89"
        + _ORDERED
        + b"tR"
    )


_ORDERED = b"ccollections\nOrderedDict\n)R"


def dictionary(items: Mapping[str, bytes]) -> bytes:
    """Return the instructions that push an ordered dictionary."""
    return _ORDERED + b"(" + b"".join(text(key) + value for key, value in items.items()) + b"u"


def pickled(value: bytes) -> bytes:
    """Return a pickle that pushes a value."""
    return b"\x80\x02" + value + b"."


def as_stored(array: np.ndarray, dtype: str) -> bytes:
    """Return an array's bytes; bfloat16 is the upper half of float32."""
    if dtype == "bfloat16":
        return (np.ascontiguousarray(array, "<f4").view("<u4") >> 16).astype("<u2").tobytes()
    return array.astype(dtype).tobytes()


def tensors(arrays: Arrays, dtype: str = "float32", prefix: str = "", view: bytes = b"") -> bytes:
    """Return the instructions that push a dictionary of tensors of :func:`storages`."""
    return dictionary(
        {
            name: tensor(f"{prefix}{key}", array.size, array.shape, storage=_STORAGES[dtype], view=view)
            for key, (name, array) in enumerate(arrays.items())
        }
    )


def storages(arrays: Arrays, dtype: str = "float32", prefix: str = "") -> dict[str, bytes]:
    """Return the numbers of arrays by the names of their storages: a prefix and 0, 1, ..."""
    return {f"{prefix}{key}": as_stored(array, dtype) for key, array in enumerate(arrays.values())}


def write_archive(path: Path, value: bytes, data: Mapping[str, bytes], **members: bytes) -> Path:
    """Write the form of today: a pickle and storages in a zip archive."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", pickled(value))
        for key, content in data.items():
            archive.writestr(f"net/data/{key}", content)
        for name, content in members.items():
            archive.writestr(f"net/{name}", content)
    return path


def write_pth(path: Path, arrays: Arrays, dtype: str = "float32", inside: tuple[str, ...] = ()) -> Path:
    """Write weights as an archive, in dictionaries within dictionaries of the keys ``inside``."""
    value = tensors(arrays, dtype)
    for key in reversed(inside):
        value = dictionary({"epoch": number(7), key: value})
    return write_archive(path, value, storages(arrays, dtype), version=b"3\n", byteorder=b"little")


def write_legacy(path: Path, arrays: Arrays) -> Path:
    """Write weights in the form before PyTorch 1.6."""
    keys = [str(key) for key in range(len(arrays))]
    system = b"}(" + text("protocol_version") + number(1001) + text("little_endian") + b"\x88u"
    data = b"".join(
        [
            pickled(number(0x1950A86A20F9469CFC6C)),
            pickled(number(1001)),
            pickled(system),
            pickled(tensors(arrays, view=b"N")),
            pickled(b"](" + b"".join(map(text, keys)) + b"e"),
            *(struct.pack("<q", array.size) + as_stored(array, "float32") for array in arrays.values()),
        ]
    )
    path.write_bytes(data)
    return path


def write_safetensors(path: Path, arrays: Arrays, dtype: str = "float32", **metadata: str) -> Path:
    """Write weights as safetensors."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    body = b""
    for name, array in arrays.items():
        data = as_stored(array, dtype)
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": _SAFE[dtype], "shape": list(array.shape), "data_offsets": offsets}
        body += data
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return path


class _Weights:
    """Random weights of convolutions, by name."""

    def __init__(self, seed: int) -> None:
        self.arrays: Arrays = {}
        self._random = np.random.default_rng(seed)

    def conv(self, name: str, inputs: int, outputs: int, size: int = 3, gain: float = 1.0, bias: bool = True):
        deviation = gain / (inputs * size * size) ** 0.5
        weight = self._random.normal(0, deviation, (outputs, inputs, size, size))
        self.arrays[f"{name}.weight"] = weight.astype(np.float32)
        if bias:
            self.arrays[f"{name}.bias"] = self._random.normal(0, 0.02, outputs).astype(np.float32)

    def slopes(self, name: str, count: int) -> None:
        self.arrays[f"{name}.weight"] = self._random.uniform(-0.3, 1.2, count).astype(np.float32)


def compact(
    scale: int = 2, channels: int = 4, convolutions: int = 2, inputs: int = 3, last: float = 0.2
) -> Arrays:
    """Return weights of a Compact network; ``last`` is how strong its result is."""
    weights = _Weights(scale)
    for layer in range(convolutions + 1):
        weights.conv(f"body.{2 * layer}", channels if layer else inputs, channels)
        weights.slopes(f"body.{2 * layer + 1}", channels)
    weights.conv(f"body.{2 * convolutions + 2}", channels, inputs * scale**2, gain=last)
    return weights.arrays


def natural(arrays: Arrays) -> Arrays:
    """Return Compact's weights so small that the result resembles the frame."""
    return {name: array * np.float32(0.1) for name, array in arrays.items()}


def span(scale: int = 2, channels: int = 4, normalised: bool = True, deployed: bool = False) -> Arrays:
    """Return weights of a SPAN network, as trained or (``deployed``) fused only."""
    weights = _Weights(scale)
    names = ["conv_1", *(f"block_{block}.c{i}_r" for block in range(1, 7) for i in (1, 2, 3)), "conv_2"]
    for name in names:
        inputs = 3 if name == "conv_1" else channels
        gain = 0.004 if name == "conv_1" and normalised else 1.0
        if deployed:
            weights.conv(f"{name}.eval_conv", inputs, channels, gain=gain)
            continue
        weights.conv(f"{name}.sk", inputs, channels, 1, gain=gain)
        weights.conv(f"{name}.conv.0", inputs, 2 * inputs, 1, gain=gain)
        weights.conv(f"{name}.conv.1", 2 * inputs, 2 * channels)
        weights.conv(f"{name}.conv.2", 2 * channels, channels, 1)
        weights.conv(f"{name}.eval_conv", inputs, channels, gain=9.0)  # out of date, as in real files
    weights.conv("conv_cat", 4 * channels, channels, 1)
    weights.conv("upsampler.0", channels, 3 * scale**2)
    if not normalised:
        weights.arrays["no_norm"] = np.zeros(1, np.float32)
    return weights.arrays


def rrdb(
    ups: int = 1, unshuffle: int = 1, blocks: int = 1, channels: int = 4, growth: int = 2, plus: bool = False
) -> Arrays:
    """Return weights of an RRDBNet by the names of Real-ESRGAN's files."""
    weights = _Weights(ups)
    weights.conv("conv_first", 3 * unshuffle**2, channels)
    for block in range(blocks):
        for part in (1, 2, 3):
            name = f"body.{block}.rdb{part}"
            for layer in range(1, 6):
                inputs, outputs = channels + (layer - 1) * growth, channels if layer == 5 else growth
                weights.conv(f"{name}.conv{layer}", inputs, outputs, gain=2.0)
            if plus:
                weights.conv(f"{name}.conv1x1", channels, growth, 1, bias=False)
    weights.conv("conv_body", channels, channels)
    for layer in range(1, ups + 1):
        weights.conv(f"conv_up{layer}", channels, channels)
    weights.conv("conv_hr", channels, channels)
    weights.conv("conv_last", channels, 3)
    return weights.arrays


def old_names(arrays: Arrays, ups: int, blocks: int) -> Arrays:
    """Return an RRDBNet's weights by the names of the first ESRGAN files."""
    tail = 3 * ups
    plain = {"conv_first": "model.0", "conv_body": f"model.1.sub.{blocks}", "conv_hr": f"model.{tail + 2}"}
    plain |= {"conv_last": f"model.{tail + 4}"} | {f"conv_up{i}": f"model.{3 * i}" for i in range(1, ups + 1)}

    def renamed(key: str) -> str:
        layer, kind = key.rsplit(".", 1)
        if layer in plain:
            return f"{plain[layer]}.{kind}"
        _, block, part, conv = layer.split(".")
        inner = conv if conv == "conv1x1" else f"{conv}.0"
        return f"model.1.sub.{block}.{part.upper()}.{inner}.{kind}"

    return {renamed(key): array for key, array in arrays.items()}


def bsrgan_names(arrays: Arrays) -> Arrays:
    """Return an RRDBNet's weights by the names of BSRGAN's and RealSR's files."""
    names = {
        "conv_body": "trunk_conv",
        "conv_hr": "HRconv",
        "body.": "RRDB_trunk.",
        "rdb": "RDB",
        "conv_up": "upconv",
    }
    renamed = {}
    for key, array in arrays.items():
        for new, old in names.items():
            key = key.replace(new, old)
        renamed[key] = array
    return renamed
