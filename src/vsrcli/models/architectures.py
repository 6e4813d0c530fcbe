"""Every network by name: what it is and what it costs. Importing this file does not import Keras.

What every network costs and how far it sees, from its sizes alone. Imports no Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from vsrcli.errors import ModelError

if TYPE_CHECKING:
    import keras


DEFAULT_MODEL = "duf-r-s"
MODEL_PRESETS = {"fast": "duf-r-xs", "balanced": "duf-r-s", "quality": "duf-r-s"}  # as the cards measured
_WIDTHS = ("width", "head")  # what memory grows with


@dataclass(frozen=True)
class Architecture:
    """A way to upscale, independent of scale and weights.

    Attributes:
        name: as on the command line.
        summary: one line for people.
        kind: ``resample`` (no weights), ``window`` (the whole window anew for every frame), ``cached``
            (features of each frame computed once) or ``recurrent`` (the same, and a state handed from frame
            to frame).
        scales: native factors.
        frames: how many frames a result is made from; those that a state remembers do not count.
        module: file in ``vsrcli.models`` with ``build``, and key of the cost table at the end of this file; None
            without a network.
        options: fixed keyword arguments of these functions.
        bytes_per_pixel: peak memory on TensorFlow per low-resolution pixel at x4, see benchmarks/memory.py.
        openvino_bytes: the same on OpenVINO, where that was measured: per pixel of a tile, and per pixel of
            its picture.
    """

    name: str
    summary: str
    kind: str
    scales: tuple[int, ...] = (2, 3, 4)
    frames: int = 7
    module: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    bytes_per_pixel: int = 800
    openvino_bytes: tuple[int, int] | None = None

    def build(self, scale: int, *, phase: str = "centre") -> keras.Model:
        """A network with fresh random weights."""
        return import_module(f"vsrcli.models.{self.module}").build(scale, phase=phase, **self.options)

    def with_sizes(self, sizes: Mapping[str, int]) -> Architecture:
        """The same kind of network with other sizes.

        Args:
            sizes: those of ``options`` that differ, such as ``{"width": 54, "levels": 1}``.

        Raises:
            ModelError: it has no such size, or not at that value.
        """
        if not sizes:
            return self
        known = list(signature(_COSTS[self.module][0]).parameters)[1:] if self.module else []
        if unknown := [name for name in sizes if name not in known]:
            there = f"it has {', '.join(known)}" if known else "it has no network"
            raise ModelError(f"{self.name} has no size {unknown[0]!r}: {there}")
        if none := [name for name in _WIDTHS if sizes.get(name, 1) < 1]:
            raise ModelError(f"{self.name} needs a {none[0]} of 1 or more")
        options = {**self.options, **sizes}
        if options.get("depth", 16) not in DUF_DEPTHS:
            depths = ", ".join(map(str, DUF_DEPTHS))
            raise ModelError(f"{self.name} has no depth {options['depth']}: take one of {depths}")
        more = max([1.0, *(options[name] / self.options[name] for name in _WIDTHS if name in self.options)])
        taken = self.openvino_bytes and (round(self.openvino_bytes[0] * more), self.openvino_bytes[1])
        return replace(
            self,
            options=options,
            frames=2 * options["levels"] + 1 if "levels" in options else self.frames,
            bytes_per_pixel=round(self.bytes_per_pixel * more),
            openvino_bytes=taken,
        )

    def multiply_adds(self, scale: int) -> int:
        """Multiply-adds per low-resolution pixel and frame; 0 for interpolation."""
        return _COSTS[self.module][0](scale, **self.options) if self.module else 0

    def memory(self, engine: str, scale: int) -> int:
        """Bytes per low-resolution pixel of a tile at work, on ``openvino`` or anything else."""
        if self.openvino_bytes is None or engine != "openvino":
            return self.bytes_per_pixel
        tile, picture = self.openvino_bytes
        return tile + scale**2 * picture

    def radius(self) -> int:
        """How far a result sees, in low-resolution pixels: what tiles must share to give the untiled picture.

        Without a state that is the receptive field radius. What a state remembers comes from ever further,
        but fades on the way. Tiles of random recurrent networks stay within 2e-3 of the whole frame over 60
        frames if they share the radius of one step, within 2e-4 if they share it twice, as here, and within
        2e-5 at three times (tests/inference/test_recurrent.py; one level of 8 bits is 4e-3).
        """
        if self.module is None:
            return 3
        steps = 2 if self.kind == "recurrent" else 1
        return steps * _COSTS[self.module][1](**self.options)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "duf-s",
            "fast: each frame encoded once, 5x5 dynamic filters",
            "cached",
            module="duf_s",
            options={"width": 48, "blocks": 3, "head": 64},
            bytes_per_pixel=7_600,
            openvino_bytes=(7_750, 25),
        ),
        Architecture(
            "duf-r-xs",
            "recurrent, for speed: a window of three frames, no dynamic filters",
            "recurrent",
            frames=3,
            module="duf_r",
            options={"width": 24, "levels": 1, "blocks": 2, "head": 32, "filters": False},
            bytes_per_pixel=3_500,
            openvino_bytes=(2_000, 122),
        ),
        Architecture(
            "duf-r-s",
            "recurrent, small: a window of seven frames and a state that remembers the others",
            "recurrent",
            module="duf_r",
            options={"width": 44, "levels": 3, "blocks": 3, "head": 56},
            bytes_per_pixel=7_600,
            openvino_bytes=(7_650, 35),
        ),
        Architecture(
            "duf-r-m",
            "recurrent, medium",
            "recurrent",
            module="duf_r",
            options={"width": 72, "levels": 3, "blocks": 5, "head": 80},
            bytes_per_pixel=11_000,
            openvino_bytes=(12_600, 32),
        ),
        Architecture(
            "duf-r-l",
            "recurrent, large: for GPUs",
            "recurrent",
            module="duf_r",
            options={"width": 100, "levels": 3, "blocks": 7, "head": 128},
            bytes_per_pixel=12_000,
            openvino_bytes=(17_600, 32),
        ),
        Architecture(
            "duf-16l",
            "DUF of the paper, 16 layers",
            "window",
            module="duf",
            options={"depth": 16},
            bytes_per_pixel=40_000,
            openvino_bytes=(36_000, 30),
        ),
        Architecture(
            "duf-28l",
            "DUF of the paper, 28 layers",
            "window",
            module="duf",
            options={"depth": 28},
            bytes_per_pixel=50_000,
            openvino_bytes=(41_000, 30),
        ),
        Architecture(
            "duf-52l",
            "DUF of the paper, 52 layers",
            "window",
            module="duf",
            options={"depth": 52},
            bytes_per_pixel=80_000,
            openvino_bytes=(65_000, 30),
        ),
        Architecture("bicubic", "interpolation, a = -0.5; needs no weights", "resample", frames=1),
        Architecture("lanczos", "interpolation, three lobes; needs no weights", "resample", frames=1),
    )
}


def architecture(name: str) -> Architecture:
    """Look a model up by name.

    Raises:
        ModelError: unknown name; the message lists the known ones.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(
            f"unknown model {name!r}: choose one of {known}, or name a .weights.h5 file"
        ) from None


WINDOW = 7
TAPS = 5  # side of a dynamic filter, as in the paper


def conv_macs(kernel: tuple[int, ...], inputs: int, outputs: int) -> int:
    """Multiply-adds of one output position of a convolution."""
    return math.prod(kernel) * inputs * outputs


def output_macs(scale: int) -> int:
    """Multiply-adds per low-resolution pixel of applying the filters to three colours."""
    return 3 * scale * scale * TAPS * TAPS


@dataclass(frozen=True)
class Depth:
    """``keeping`` blocks that keep seven frames, then three that shorten; each adds ``growth`` channels."""

    keeping: int
    growth: int


DUF_STEM = 64
DUF_ROWS = 6  # of a frame, computed together: see models/winograd.py
DUF_DEPTHS = {16: Depth(3, 32), 28: Depth(9, 16), 52: Depth(21, 16)}


def duf_radius(depth: int = 16) -> int:
    """Receptive field radius in low-resolution pixels: stem, one per block, head."""
    return DUF_DEPTHS[depth].keeping + 3 + 2


def duf_macs(scale: int, *, depth: int = 16) -> int:
    """Multiply-adds per low-resolution pixel and output frame, the whole window computed anew each time."""
    plan = DUF_DEPTHS[depth]
    total = WINDOW * conv_macs((3, 3), 3, DUF_STEM)
    channels, time = DUF_STEM, WINDOW
    for block in range(plan.keeping + 3):
        total += time * conv_macs((1,), channels, channels)
        time -= 2 if block >= plan.keeping else 0
        total += time * conv_macs((3, 3, 3), channels, plan.growth)
        channels += plan.growth
    total += conv_macs((3, 3), channels, 256)
    total += conv_macs((1,), 256, 256) + conv_macs((1,), 256, 3 * scale**2)
    total += conv_macs((1,), 256, 512) + conv_macs((1,), 512, TAPS**2 * scale**2)
    return total + output_macs(scale)


DUF_S_LEVELS = 3  # valid temporal convolutions, each shortens time by two frames
DUF_S_RADIUS_PER_BLOCK = 2


def duf_s_radius(*, blocks: int = 3, **other_sizes: int) -> int:
    """Receptive field radius in low-resolution pixels: encoder, three fusions, the blocks, the head."""
    return 1 + DUF_S_LEVELS + DUF_S_RADIUS_PER_BLOCK * blocks + 1


def duf_s_macs(scale: int, *, width: int = 48, blocks: int = 3, head: int = 64) -> int:
    """Multiply-adds per low-resolution pixel and frame of a stream."""
    total = conv_macs((3, 3), 3, width) + DUF_S_LEVELS * conv_macs((3, 3), 3 * width, width)
    total += 2 * blocks * conv_macs((3, 3), width, width) + conv_macs((3, 3), width, head)
    total += conv_macs((1,), head, (TAPS**2 + 3) * scale**2)
    return total + output_macs(scale)


def duf_r_radius(*, levels: int = 3, blocks: int = 3, **other_sizes: int) -> int:
    """How far one step sees in its frames, in low-resolution pixels: encoder, fusions, blocks, head.

    The state carries what earlier steps saw, so over many frames the field grows without limit; see
    ``Architecture.radius``.
    """
    return 1 + levels + 2 * blocks + 1


def duf_r_macs(
    scale: int, *, width: int = 44, levels: int = 3, blocks: int = 3, head: int = 56, filters: bool = True
) -> int:
    """Multiply-adds per low-resolution pixel and frame of a stream."""
    total = conv_macs((3, 3), 3, width) + levels * conv_macs((3, 3), 3 * width, width)
    total += conv_macs((3, 3), width + 3 * scale**2, width)
    total += 2 * blocks * conv_macs((3, 3), width, width) + conv_macs((3, 3), width, head)
    values = TAPS**2 + 3 if filters else 3
    return total + conv_macs((1,), head, values * scale**2) + output_macs(scale)


_COSTS: dict[str, tuple[Callable[..., int], Callable[..., int]]] = {
    "duf": (duf_macs, duf_radius),
    "duf_s": (duf_s_macs, duf_s_radius),
    "duf_r": (duf_r_macs, duf_r_radius),
}
