"""Tiny ncnn networks with random weights, as files."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FLOAT16 = struct.pack("<I", 0x01306B47)
FLOAT32 = struct.pack("<I", 0)


class NcnnWriter:
    """Collects layers; a layer's output is named by its number.

    Args:
        half: whether weights are stored as float16.
        seed: of the weights.
    """

    def __init__(self, *, half: bool = False, seed: int = 0) -> None:
        self.lines = ["Input input 0 1 data"]
        self.weights = b""
        self._half = half
        self._random = np.random.default_rng(seed)

    def add(self, kind: str, inputs: str, parameters: str = "", outputs: int = 1) -> str:
        """Add a layer without weights; inputs and returned outputs are separated by spaces."""
        number = len(self.lines)
        names = [f"b{number}"] if outputs == 1 else [f"b{number}_{i}" for i in range(outputs)]
        count = len(inputs.split())
        self.lines.append(
            " ".join([kind, f"layer{number}", str(count), str(outputs), *inputs.split(), *names, parameters])
        )
        return " ".join(names)

    def convolution(
        self,
        source: str,
        inputs: int,
        outputs: int,
        parameters: str = "1=3 4=1",
        kernel: int = 3,
        groups: int = 1,
    ) -> str:
        """Add a convolution with bias."""
        count = inputs * outputs * kernel**2 // groups
        deviation = (inputs * kernel**2 / groups) ** -0.5
        self._append(self._random.normal(0, deviation, count), tagged=True)
        self._append(self._random.normal(0, 0.1, outputs))
        kind = "Convolution" if groups == 1 else "ConvolutionDepthWise"
        more = "" if groups == 1 else f" 7={groups}"
        return self.add(kind, source, f"0={outputs} {parameters} 5=1 6={count}{more}")

    def prelu(self, source: str, channels: int) -> str:
        """Add a PReLU with a slope for each channel."""
        self._append(self._random.uniform(-0.5, 1.5, channels))
        return self.add("PReLU", source, f"0={channels}")

    def memory(self, shape: Sequence[int]) -> str:
        """Add constants of a shape (width, height, channels)."""
        self._append(self._random.normal(0.3, 0.2, int(np.prod([max(side, 1) for side in shape]))))
        return self.add("MemoryData", "", " ".join(f"{key}={side}" for key, side in enumerate(shape)))

    def write(self, path: Path) -> Path:
        """Write the files; return the path of the ``.param``."""
        lines = _with_splits(self.lines)
        blobs = sum(int(line.split()[3]) for line in lines)
        text = "\n".join(["7767517", f"{len(lines)} {blobs}", *lines])
        path.write_text(text + "\n")
        path.with_suffix(".bin").write_bytes(self.weights)
        return path

    def _append(self, array: np.ndarray, *, tagged: bool = False) -> None:
        if tagged and self._half:
            data = array.astype("<f2").tobytes()
            self.weights += FLOAT16 + data + b"\0" * (-len(data) % 4)
        else:
            self.weights += (FLOAT32 if tagged else b"") + array.astype("<f4").tobytes()


def _with_splits(lines: list[str]) -> list[str]:
    """Return the layers with a ``Split`` after each blob that several inputs take, as ncnn needs it."""
    rows = [line.split() for line in lines]
    inputs = [name for row in rows for name in row[4 : 4 + int(row[2])]]
    copies = {name: [f"{name}_{i}" for i in range(inputs.count(name))] for name in inputs}
    result = []
    for row in rows:
        first, last = 4, 4 + int(row[2])
        for place in range(first, last):
            if inputs.count(row[place]) > 1:
                row[place] = copies[row[place]].pop(0)
        result.append(" ".join(row))
        for name in row[last : last + int(row[3])]:
            if (count := inputs.count(name)) > 1:
                result.append(" ".join(["Split", f"split_{name}", "1", str(count), name, *copies[name]]))
    return result


def compact(path: Path, scale: int = 2, *, channels: int = 8, inner: int = 2, half: bool = True) -> Path:
    """Write a Compact network: convolutions with PReLU, pixel shuffle, plus the enlarged frame."""
    writer = NcnnWriter(half=half)
    x = writer.prelu(writer.convolution("data", 3, channels), channels)
    for _ in range(inner):
        x = writer.prelu(writer.convolution(x, channels, channels), channels)
    x = writer.add("PixelShuffle", writer.convolution(x, channels, 3 * scale**2), f"0={scale}")
    writer.add("BinaryOp", f"{x} {writer.add('Interp', 'data', f'0=1 1={scale}.0 2={scale}.0')}", "0=0")
    return writer.write(path)


def rrdb(path: Path, scale: int = 4) -> Path:
    """Write an ESRGAN of one small block."""
    writer = NcnnWriter(half=True)
    leaky = "1=3 4=1 9=2 -23310=1,2.000000e-01"
    first = writer.convolution("data", 3, 8)
    features: list[str] = []
    for _ in range(4):
        source = first
        if features:
            source = writer.add("Concat", " ".join([source, *features]))
        grown = writer.convolution(source, 8 + 4 * len(features), 4, leaky)
        features = [*features, grown]
    x = writer.convolution(writer.add("Concat", " ".join([first, *features])), 24, 8)
    x = writer.add("Eltwise", f"{x} {first}", "0=1 -23301=2,2.000000e-01,1.000000e+00")
    x = writer.add("BinaryOp", f"{first} {x}", "0=0")
    for _ in range(scale.bit_length() - 1):
        x = writer.convolution(writer.add("Interp", x, "0=1 1=2.0 2=2.0"), 8, 8, leaky)
    writer.convolution(x, 8, 3)
    return writer.write(path)


def span(path: Path, scale: int = 2) -> Path:
    """Write a SPAN of three blocks, whose features are gated by a sigmoid of themselves."""
    writer = NcnnWriter(half=True)
    x = writer.add("BinaryOp", f"data {writer.memory((1, 1, 3))}", "0=1")
    x = first = writer.convolution(writer.add("BinaryOp", x, "0=2 1=1 2=2.5e+00"), 3, 8)
    outputs = []
    for _ in range(3):
        inner = writer.add("Swish", writer.convolution(x, 8, 8))
        inner = writer.convolution(inner, 8, 8)
        gate = writer.add("BinaryOp", writer.add("Sigmoid", inner), "0=1 1=1 2=5.000000e-01")
        x = writer.add("BinaryOp", f"{writer.add('BinaryOp', f'{inner} {x}', '0=0')} {gate}", "0=2")
        outputs.append(x)
    x = writer.convolution(writer.add("Concat", " ".join([first, *outputs])), 32, 8, "1=1", 1)
    x = writer.convolution(x, 8, 3 * scale**2)
    writer.add("PixelShuffle", x, f"0={scale}")
    return writer.write(path)


def bytes_in_and_out(path: Path) -> Path:
    """Write an enlargement by 2 to which 0.4 is added: far from the frame
    where white is 1, and close to it where white is 255."""
    writer = NcnnWriter()
    enlarged = writer.add("Interp", "data", "0=1 1=2.0 2=2.0")
    writer.add("BinaryOp", enlarged, "0=0 1=1 2=4.000000e-01")
    return writer.write(path)
