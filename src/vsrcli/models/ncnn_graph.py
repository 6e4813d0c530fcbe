"""ncnn's two files of a network: the graph as text, ``.param``, and the weights beside it, ``.bin``.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure. Only NumPy reads them here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import ModelError

Value = int | float | tuple[int | float, ...]

_MAGIC = "7767517"
_ARRAY_KEY = -23300  # keys from here on downwards are arrays: -23303 is the array of key 3
_MAX_PARAM_BYTES, _MAX_BIN_BYTES = 2**24, 2**32
_FLOAT16, _INT8, _FLOAT32 = 0x01306B47, 0x000D4B38, 0x0002C056  # tags before a layer's weights


@dataclass(frozen=True)
class NcnnLayer:
    """A layer of a graph.

    Attributes:
        kind: such as ``Convolution``.
        name: of the layer.
        inputs, outputs: names of blobs.
        parameters: values by ncnn's number.
        weights: arrays in the order of the file, float32, flat.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    parameters: Mapping[int, Value]
    weights: tuple[np.ndarray, ...] = ()

    def integer(self, key: int, default: int = 0) -> int:
        """Return a parameter as an integer."""
        value = self.parameters.get(key, default)
        if isinstance(value, tuple) or value != int(value):
            raise ModelError(f"layer {self.name} ({self.kind}): parameter {key} is {value}, not an integer")
        return int(value)

    def number(self, key: int, default: float = 0.0) -> float:
        """Return a parameter as a number."""
        value = self.parameters.get(key, default)
        if isinstance(value, tuple):
            raise ModelError(f"layer {self.name} ({self.kind}): parameter {key} is an array")
        return float(value)

    def array(self, key: int) -> tuple[int | float, ...]:
        """Return a parameter as an array, empty if there is none."""
        value = self.parameters.get(key, ())
        return value if isinstance(value, tuple) else (value,)

    def convolution(self) -> Convolution:
        """Return the parameters of a convolution."""
        kernel = self.integer(11, self.integer(1)), self.integer(1)
        left = self.integer(4)
        top = self.integer(14, left)
        pads = (top, self.integer(16, top)), (left, self.integer(15, left))
        dilation = self.integer(12, self.integer(2, 1)), self.integer(2, 1)
        stride = self.integer(13, self.integer(3, 1)), self.integer(3, 1)
        outputs, weights, groups = self.integer(0), self.integer(6), self.integer(7, 1)
        sizes = outputs * math.prod(kernel)
        if min(*kernel, *dilation, *stride, outputs, groups) < 1 or weights % sizes or outputs % groups:
            raise ModelError(f"layer {self.name} ({self.kind}): impossible sizes of a convolution")
        inputs = weights // sizes * groups
        return Convolution(inputs, outputs, kernel, pads, stride, dilation, groups)


@dataclass(frozen=True)
class Convolution:
    """Parameters of a convolution; pairs are (rows, columns), pads are (before, after) of each.

    A negative pad, ncnn's -233 and -234, keeps the size: the odd pixel after, or before.
    """

    inputs: int
    outputs: int
    kernel: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    def padding(self, axis: int) -> tuple[int, int]:
        """Return the pixels added before and after, along rows (0) or columns (1)."""
        if self.pads[axis][0] >= 0:
            return self.pads[axis]
        total = self.extent(axis) - 1
        less, more = total // 2, total - total // 2
        return (less, more) if self.pads[axis][0] == -233 else (more, less)

    def extent(self, axis: int) -> int:
        """Return the pixels that a result depends on, along rows (0) or columns (1)."""
        return self.dilation[axis] * (self.kernel[axis] - 1) + 1


@dataclass(frozen=True)
class NcnnGraph:
    """A network.

    Attributes:
        path: of the ``.param``.
        layers: in the order in which they are computed.
        input, output: names of blobs.
    """

    path: Path
    layers: tuple[NcnnLayer, ...]
    input: str
    output: str

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(array.size for layer in self.layers for array in layer.weights)


def read_graph(path: Path) -> NcnnGraph:
    """Read a network.

    Args:
        path: of the ``.param``; the ``.bin`` of the same name lies beside it.

    Raises:
        ModelError: a file is missing, damaged or too large, or the graph has several inputs or outputs, or
            layers of kinds that are not known here; the message lists those.
    """
    try:
        layers = _parse(_read_text(path))
        unknown = sorted({layer.kind for layer in layers} - set(_WEIGHTS))
        if unknown:
            raise ModelError(f"layers of kinds that vsr does not know: {', '.join(unknown)}")
        source, result = _ends(layers)
        layers = _with_weights(layers, path.with_suffix(".bin"))
    except ModelError as error:
        raise ModelError(f"{str(path)!r} cannot be used: {error}") from error
    return NcnnGraph(path, layers, source, result)


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > _MAX_PARAM_BYTES:
            raise ModelError(f"its graph has more than {_MAX_PARAM_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ModelError(f"{error.strerror}; give the path of a .param file") from error
    except UnicodeDecodeError as error:
        raise ModelError("it is no text: ncnn's binary graphs are not read, only .param") from error


def _parse(text: str) -> tuple[NcnnLayer, ...]:
    lines = text.splitlines()
    if not lines or lines[0].strip() != _MAGIC:
        raise ModelError(f"it does not begin with {_MAGIC}, so it is no ncnn graph")
    try:
        layer_count, blob_count = map(int, lines[1].split())
    except (IndexError, ValueError):
        raise ModelError("line 2 does not state the numbers of layers and blobs") from None
    layers = [_parse_layer(line, number) for number, line in enumerate(lines[2:], 3) if line.strip()]
    blobs = [name for layer in layers for name in layer.outputs]
    if len(layers) != layer_count or len(blobs) > blob_count:
        raise ModelError(
            f"it states {layer_count} layers and {blob_count} blobs, and has {len(layers)} and {len(blobs)}: "
            "it is damaged, fetch it again"
        )
    defined: set[str] = set()
    for layer in layers:
        if missing := [name for name in layer.inputs if name not in defined]:
            raise ModelError(f"layer {layer.name} takes {missing[0]!r}, which no layer before it computes")
        if repeated := defined & set(layer.outputs):
            raise ModelError(f"layer {layer.name} computes {min(repeated)!r} a second time")
        defined |= set(layer.outputs)
    return tuple(layers)


def _parse_layer(line: str, number: int) -> NcnnLayer:
    words = line.split()
    try:
        kind, name, inputs, outputs = words[0], words[1], int(words[2]), int(words[3])
        blobs = words[4 : 4 + inputs + outputs]
        if min(inputs, outputs) < 0 or len(blobs) != inputs + outputs:
            raise ValueError
        parameters = dict(_parse_parameter(word) for word in words[4 + inputs + outputs :])
    except (IndexError, ValueError):
        raise ModelError(f"line {number} is damaged: {line[:60]!r}; fetch it again") from None
    return NcnnLayer(kind, name, tuple(blobs[:inputs]), tuple(blobs[inputs:]), parameters)


def _parse_parameter(word: str) -> tuple[int, Value]:
    left, right = word.split("=")
    key, texts = int(left), right.split(",")
    values = [_parse_number(text) for text in texts]
    if key <= _ARRAY_KEY:
        count, *values = values
        if count != len(values):
            raise ValueError
        return _ARRAY_KEY - key, tuple(values)
    return key, tuple(values) if len(values) > 1 else values[0]


def _parse_number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        value = float(text)
        if not math.isfinite(value):
            raise
        return value


def _ends(layers: tuple[NcnnLayer, ...]) -> tuple[str, str]:
    """Return the blobs in which a frame enters and its result leaves."""
    sources = [name for layer in layers if layer.kind == "Input" for name in layer.outputs]
    used = {name for layer in layers for name in layer.inputs}
    results = [name for layer in layers for name in layer.outputs if name not in used]
    if len(sources) != 1 or len(results) != 1:
        found = f"inputs {', '.join(sources) or 'none'} and the outputs {', '.join(results) or 'none'}"
        raise ModelError(f"it has the {found}, and must have one of each")
    return sources[0], results[0]


def _with_weights(layers: tuple[NcnnLayer, ...], path: Path) -> tuple[NcnnLayer, ...]:
    try:
        if path.stat().st_size > _MAX_BIN_BYTES:
            raise ModelError(f"{path.name} has more than {_MAX_BIN_BYTES >> 30} GiB")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"its weights belong beside it, in {path.name}: {error.strerror}") from error
    reader = _WeightReader(content, path.name)
    complete = []
    for layer in layers:
        arrays = []
        for count, tagged in _WEIGHTS[layer.kind](layer):
            array = reader.read(layer, count, tagged=tagged)
            if not np.isfinite(array).all():
                raise ModelError(
                    f"{path.name} is damaged: layer {layer.name} has weights that are no numbers"
                )
            arrays.append(array)
        complete.append(
            NcnnLayer(layer.kind, layer.name, layer.inputs, layer.outputs, layer.parameters, tuple(arrays))
        )
    reader.finish()
    return tuple(complete)


class _WeightReader:
    """Reads arrays one after the other.

    Args:
        content: of the ``.bin``.
        name: of the file, for errors.
    """

    def __init__(self, content: bytes, name: str) -> None:
        self._content, self._name, self._offset = content, name, 0

    def read(self, layer: NcnnLayer, count: int, *, tagged: bool) -> np.ndarray:
        """Return ``count`` numbers as float32; ``tagged``: a tag in front says how they are stored."""
        if count < 1:
            raise ModelError(f"layer {layer.name} ({layer.kind}) states {count} weights")
        tag = int.from_bytes(self._take(layer, 4), "little") if tagged else 0
        if tag == _FLOAT16:
            data = self._take(layer, count * 2 + count * 2 % 4)
            return np.frombuffer(data, "<f2", count).astype(np.float32)
        if tag == _INT8 or (layer.integer(8) and layer.kind.startswith("Convolution")):
            raise ModelError(f"layer {layer.name} is quantized to int8: take the float model")
        if tag not in (0, _FLOAT32):
            raise ModelError(f"layer {layer.name}: weights in a form that vsr does not read (tag {tag:#x})")
        return np.frombuffer(self._take(layer, count * 4), "<f4").astype(np.float32)

    def finish(self) -> None:
        """Raise ModelError if something is left."""
        if rest := len(self._content) - self._offset:
            raise ModelError(
                f"{self._name} has {rest:,} bytes more than its layers need: it belongs to another .param"
            )

    def _take(self, layer: NcnnLayer, size: int) -> bytes:
        data = self._content[self._offset : self._offset + size]
        if len(data) != size:
            raise ModelError(
                f"{self._name} ends within layer {layer.name}: it is cut short or belongs to another .param"
            )
        self._offset += size
        return data


def _convolution_weights(layer: NcnnLayer) -> Iterator[tuple[int, bool]]:
    convolution = layer.convolution()
    yield layer.integer(6), True
    if layer.integer(5):
        yield convolution.outputs, False


def _memory_weights(layer: NcnnLayer) -> Iterator[tuple[int, bool]]:
    if layer.integer(11):
        raise ModelError(f"layer {layer.name} (MemoryData) has four dimensions")
    yield math.prod(max(layer.integer(key), 1) for key in (0, 1, 2)), layer.integer(21, 1) == 0


def _no_weights(layer: NcnnLayer) -> tuple[Any, ...]:
    return ()


_WEIGHTS: dict[str, Callable[[NcnnLayer], Any]] = {
    "Convolution": _convolution_weights,
    "ConvolutionDepthWise": _convolution_weights,
    "MemoryData": _memory_weights,
    "PReLU": lambda layer: [(layer.integer(0), False)],
    "Padding": lambda layer: [(layer.integer(6), False)] if layer.integer(6) else [],
    **dict.fromkeys(
        (
            *("Input", "Split", "Noop", "Dropout", "Concat", "Slice", "Crop", "Interp"),
            *("PixelShuffle", "Reorg", "BinaryOp", "Eltwise", "UnaryOp"),
            *("ReLU", "Sigmoid", "Swish", "Mish", "HardSwish", "HardSigmoid", "GELU", "TanH", "ELU", "Clip"),
        ),
        _no_weights,
    ),
}
"""Arrays in the file for each kind of layer: how many numbers, and whether a tag precedes them."""
