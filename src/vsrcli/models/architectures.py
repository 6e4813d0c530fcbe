"""The table of architectures by name, their costs and receptive fields. Importable without Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from inspect import signature
from typing import TYPE_CHECKING, Any

from vsrcli.errors import ModelError
from vsrcli.models import costs
from vsrcli.models.costs import DUF_DEPTHS

if TYPE_CHECKING:
    import keras


DEFAULT_MODEL = "duf-r"
MODEL_PRESETS = {"fast": "duf-r-xxs", "balanced": "duf-r", "quality": "duf-r"}  # by the cards' figures
_CHANNEL_OPTIONS = ("width", "head")  # options that memory is proportional to
_LEAST_ONE = (*_CHANNEL_OPTIONS, "poolings", "cells", "stacks", "recurrent")  # sizes that are never 0


@dataclass(frozen=True)
class Architecture:
    """A network or an interpolation, independent of scale and weights.

    Attributes:
        name: as on the command line.
        summary: one line for people.
        kind: ``resample`` (no weights), ``window`` (the full window anew for every frame), ``cached``
            (features of each frame computed once) or ``recurrent`` (the same, and a recurrent state).
        scales: native factors.
        frames: frames that a result depends on, without those that enter through a recurrent state only.
        module: file in ``vsrcli.models`` with ``build``, and key of the cost table at the end of this file;
            None without a network.
        options: keyword arguments of ``build`` and of the cost functions.
        bytes_per_pixel: peak memory on TensorFlow per low-resolution pixel at x4, see benchmarks/memory.py.
        openvino_bytes: the same on OpenVINO, where measured: per pixel of a tile, and per pixel of its
            result.
        measured: multiply-adds and radius of a network that has no entry in the cost table.
        multiple: tiles begin at multiples of this.
        max_size: height and width of the largest tile; None: no limit.
        tile_pixels: that are computed for each tile however small it is; 0: those that it has.
        whole_frames: why tiles change the result however much context they have; empty: they do not.
        aligned: a window's outer frames are moved onto its centre frame first, see
            :mod:`vsrcli.frames.flow`.
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
    measured: tuple[int, int] | None = None
    multiple: int = 1
    max_size: tuple[int, int] | None = None
    tile_pixels: int = 0
    whole_frames: str = ""
    aligned: bool = False

    @property
    def has_state(self) -> bool:
        """Whether results depend on all frames before, through a recurrent state."""
        return self.kind == "recurrent"

    def build(self, scale: int, *, phase: str = "centre") -> keras.Model:
        """Build the network with fresh random weights. Imports Keras.

        Raises:
            ModelError: the network does not enlarge by this factor.
        """
        self.check_scale(scale)
        return import_module(f"vsrcli.models.{self.module}").build(scale, phase=phase, **self.options)

    def takes_frames(self, height: int, width: int) -> bool:
        """Return whether frames of a size are no larger than the largest tile."""
        return self.max_size is None or (height <= self.max_size[0] and width <= self.max_size[1])

    def check_scale(self, scale: int) -> None:
        """Raise ModelError if the network does not enlarge by this factor."""
        if scale not in self.scales:
            known = ", ".join(f"x{each}" for each in self.scales)
            raise ModelError(f"{self.name} has no x{scale}: it enlarges by {known}")

    def with_sizes(self, sizes: Mapping[str, int]) -> Architecture:
        """Return the architecture with other sizes.

        Args:
            sizes: values of ``options`` to replace, such as ``{"width": 54, "levels": 1}``.

        Raises:
            ModelError: no such option, or an impossible value.
        """
        if not sizes:
            return self
        known = list(signature(_COSTS[self.module][0]).parameters)[1:] if self.module else []
        if unknown := [name for name in sizes if name not in known]:
            available = f"it has {', '.join(known)}" if known else "it has no network"
            raise ModelError(f"{self.name} has no size {unknown[0]!r}: {available}")
        if empty := [name for name in _LEAST_ONE if sizes.get(name, 1) < 1]:
            raise ModelError(f"{self.name} needs a {empty[0]} of 1 or more")
        options = {**self.options, **sizes}
        if options.get("depth", 16) not in DUF_DEPTHS:
            depths = ", ".join(map(str, DUF_DEPTHS))
            raise ModelError(f"{self.name} has no depth {options['depth']}: take one of {depths}")
        ratios = [options[name] / self.options[name] for name in _CHANNEL_OPTIONS if name in self.options]
        growth = max([1.0, *ratios])
        openvino = self.openvino_bytes and (round(self.openvino_bytes[0] * growth), self.openvino_bytes[1])
        return replace(
            self,
            options=options,
            frames=2 * options["levels"] + 1 if "levels" in options else self.frames,
            multiple=2 ** options["poolings"] if "poolings" in options else self.multiple,
            bytes_per_pixel=round(self.bytes_per_pixel * growth),
            openvino_bytes=openvino,
        )

    def multiply_adds(self, scale: int) -> int:
        """Return the multiply-adds per low-resolution pixel and frame; 0 for interpolation."""
        if self.measured:
            return self.measured[0]
        return _COSTS[self.module][0](scale, **self.options) if self.module else 0

    def state_channels(self, scale: int) -> int:
        """Return the channels of the recurrent state between two frames, float32 each; 0 without one."""
        if self.kind != "recurrent":
            return 0
        if self.module == "convlstm":
            return 2 * int(self.options["cells"]) * int(self.options["width"])
        feedback = 3 * scale**2 if self.options.get("feedback", True) else 0
        return int(self.options["width"]) + feedback

    def memory(self, engine: str, scale: int) -> int:
        """Return the peak memory in bytes per low-resolution pixel of a tile, on an engine."""
        if self.openvino_bytes is None or engine != "openvino":
            return self.bytes_per_pixel
        per_pixel, per_result_pixel = self.openvino_bytes
        return per_pixel + scale**2 * per_result_pixel

    def radius(self) -> int:
        """Return the context in low-resolution pixels with which tiles give the untiled result.

        Without a recurrent state that is the receptive field radius. With one the receptive field grows with
        every frame, but influence fades with distance. Tiles of random recurrent networks stay within 2e-3 of
        the untiled result over 60 frames with the radius of one step, within 2e-4 with twice that, as here,
        and within 2e-5 with three times (tests/inference/test_recurrent.py; one level of 8 bits is 4e-3).
        """
        if self.measured:
            return self.measured[1]
        if self.module is None:
            return 3
        steps = 2 if self.kind == "recurrent" else 1
        return steps * _COSTS[self.module][1](**self.options)


# Networks of the course projects that this program grew from, and of their sources.
_FLOW_TILES = "its optical flow sees no further than a tile: borders may show"
_DELTA = {"stacks": 3, "width": 12, "blocks": 3, "recurrent": 16, "head": 20, "bounded": False}
_FIVE_PARALLEL = {"stacks": 5, "width": 16, "blocks": 4, "recurrent": 32, "head": 32, "bounded": True}
_COURSE_NETWORKS = (
    Architecture(
        "fsrcnn",
        "single frames: small, ends in a transposed convolution",
        "window",
        frames=1,
        module="fsrcnn",
        options={"width": 56, "head": 12, "blocks": 4},
        bytes_per_pixel=2_500,
    ),
    Architecture(
        "sr-unet",
        "single frames: a U-Net that goes on to twice or four times the size",
        "window",
        scales=(2, 4),
        frames=1,
        module="unet",
        options={"width": 32, "poolings": 3, "residual": False},
        multiple=8,
        bytes_per_pixel=7_000,
    ),
    Architecture(
        "runet",
        "single frames: sr-unet with residual blocks on the way down",
        "window",
        scales=(2, 4),
        frames=1,
        module="unet",
        options={"width": 32, "poolings": 3, "residual": True},
        multiple=8,
        bytes_per_pixel=7_000,
    ),
    Architecture(
        "srgan",
        "single frames: SR-ResNet, the generator of SRGAN",
        "window",
        frames=1,
        module="srgan",
        options={"width": 64, "blocks": 16},
        bytes_per_pixel=19_000,
    ),
    Architecture(
        "convlstm",
        "recurrent: ConvLSTM modules behind a residual network",
        "recurrent",
        frames=1,
        module="convlstm",
        options={"width": 32, "blocks": 5, "cells": 2},
        bytes_per_pixel=4_200,
    ),
    *(
        Architecture(
            f"{name}{'-flow' * aligned}",
            f"{stacks} stacks side by side, recurrent and 3-D, on three enlarged frames"
            + ", aligned by optical flow" * aligned,
            "window",
            frames=3,
            module="parallel",
            options=options,
            bytes_per_pixel=bytes_per_pixel,
            whole_frames=_FLOW_TILES * aligned,
            aligned=aligned,
        )
        for name, stacks, options, bytes_per_pixel in (
            ("delta", "three", _DELTA, 30_000),
            ("five-parallel", "five", _FIVE_PARALLEL, 80_000),
        )
        for aligned in (False, True)
    ),
)

_PLAIN = {"filters": False, "feedback": False}

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
            "duf-r-xxs",
            "recurrent, for speed above all: a window of three frames, no dynamic filters",
            "recurrent",
            frames=3,
            module="duf_r",
            options=_PLAIN | {"width": 16, "levels": 1, "blocks": 1, "head": 24},
            bytes_per_pixel=1_600,
            openvino_bytes=(1_450, 46),
        ),
        Architecture(
            "duf-r-xs",
            "recurrent, for speed: a window of three frames, no dynamic filters",
            "recurrent",
            frames=3,
            module="duf_r",
            options=_PLAIN | {"width": 24, "levels": 1, "blocks": 2, "head": 32},
            bytes_per_pixel=2_200,
            openvino_bytes=(2_150, 80),
        ),
        Architecture(
            "duf-r",
            "recurrent: seven frames and a state that carries detail of earlier ones; no dynamic filters",
            "recurrent",
            module="duf_r",
            options=_PLAIN | {"width": 32, "levels": 3, "blocks": 4, "head": 48},
            bytes_per_pixel=3_000,
            openvino_bytes=(5_150, 66),
        ),
        Architecture(
            "duf-r-s",
            "recurrent, small: the same window, with dynamic filters",
            "recurrent",
            module="duf_r",
            options={"width": 44, "levels": 3, "blocks": 3, "head": 56},
            bytes_per_pixel=7_600,
            openvino_bytes=(7_650, 35),
        ),
        Architecture(
            "duf-r-m",
            "recurrent, for quality: as duf-r, with more channels and blocks",
            "recurrent",
            module="duf_r",
            options=_PLAIN | {"width": 48, "levels": 3, "blocks": 6, "head": 64},
            bytes_per_pixel=4_500,
            openvino_bytes=(7_900, 30),
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
        *(
            Architecture(
                f"duf-{depth}l",
                f"DUF of the paper, {depth} layers",
                "window",
                module="duf",
                options={"depth": depth},
                bytes_per_pixel=bytes_per_pixel,
                openvino_bytes=(openvino_bytes, 30),
            )
            for depth, bytes_per_pixel, openvino_bytes in (
                (16, 40_000, 36_000),
                (28, 50_000, 41_000),
                (52, 80_000, 65_000),
            )
        ),
        *_COURSE_NETWORKS,
        Architecture("bicubic", "interpolation, a = -0.5; needs no weights", "resample", frames=1),
        Architecture("lanczos", "interpolation, three lobes; needs no weights", "resample", frames=1),
    )
}


def architecture(name: str) -> Architecture:
    """Return the architecture of this name.

    Raises:
        ModelError: unknown name; the message lists the known ones.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"unknown model {name!r}: choose one of {known}") from None


def stated_architecture(name: str, options: Mapping[str, Any]) -> Architecture:
    """Return the architecture that a card or a manifest states.

    Those of before ``feedback`` was an option list the others, and are of networks that have it. Without any
    options, the architecture's own sizes are meant.

    Raises:
        ModelError: unknown name or option, or an impossible value.
    """
    known = architecture(name)
    if options and known.module == "duf_r":
        options = {"feedback": True, **options}
    return known.with_sizes(options)


_COSTS: dict[str, tuple[Callable[..., int], Callable[..., int]]] = {
    "duf": (costs.duf_macs, costs.duf_radius),
    "duf_s": (costs.duf_s_macs, costs.streaming_radius),
    "duf_r": (costs.duf_r_macs, costs.streaming_radius),
    "fsrcnn": (costs.fsrcnn_macs, costs.fsrcnn_radius),
    "unet": (costs.unet_macs, costs.unet_radius),
    "srgan": (costs.srgan_macs, costs.srgan_radius),
    "convlstm": (costs.convlstm_macs, costs.convlstm_radius),
    "parallel": (costs.parallel_macs, costs.parallel_radius),
}
