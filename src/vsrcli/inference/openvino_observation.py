"""Observation of a network's activations on OpenVINO: what goes into each convolution, on real video."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from vsrcli.inference.int8_ranges import LEVELS, Range
from vsrcli.inference.openvino import OpenvinoBackend
from vsrcli.inference.openvino_passes import layer_of
from vsrcli.inference.openvino_quantization import SHOWN
from vsrcli.inference.openvino_templates import Variant
from vsrcli.inference.streams import compile_stream
from vsrcli.models.weights import Weights

_COLOURS = 3
_SAMPLES = 512  # pixels of each tensor and frame that are kept
_STEP, _STEPS = 0.97, 60  # limits: the largest value, 0.97 of it, 0.97**2 of it, ...
_DIGITS = 5


class ObservingBackend(OpenvinoBackend):
    """A network in float32 whose convolutions' inputs are observed; features lie as in eight bits.

    Args:
        weights: of the network.

    Attributes:
        samples: random pixels of each convolution's input, by its name, float32 arrays (channels, pixels).
        signed: whether any value is below zero.
        on_frames: names of convolutions that read frames.

    Raises:
        EngineError: networks of this kind do not compute in eight bits.
        ModelError: the weight file is damaged.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights, "int8", ranges={})
        self._variant = Variant(shows_inputs=True)
        self.samples: dict[str, list[np.ndarray]] = defaultdict(list)
        self.signed: dict[str, bool] = defaultdict(bool)
        self.on_frames: set[str] = set()
        self._sharing: set[str] = set()  # layers whose parts read the same features of several frames
        self._rng = np.random.default_rng(0)

    def watch(self, clip: np.ndarray) -> None:
        """Observe the network on a clip, uint8 (T, H, W, 3)."""
        stream = compile_stream(self, *clip.shape[1:3])()
        for frame in clip:
            stream.push(frame.astype(np.float32) / 255)

    def ranges(self, *, by_channel: bool = True) -> dict[str, Range | None]:
        """Return the range of each convolution's input that rounds with the least error; None for frames,
        which may have more than eight bits.

        Parts of a layer that read the same features of several frames have one range together.

        Args:
            by_channel: a limit of each channel, else one for all.
        """
        groups: dict[str, list[str]] = defaultdict(list)
        for name in self.samples.keys() - self.on_frames:
            groups[layer_of(name) if layer_of(name) in self._sharing else name].append(name)
        found: dict[str, Range | None] = dict.fromkeys(self.on_frames)
        for names in groups.values():
            values = np.concatenate([part for name in names for part in self.samples[name]], axis=1)
            signed = any(self.signed[name] for name in names)
            channels = values if by_channel else values.reshape(1, -1)
            limits = [round(best_limit(channel, signed), _DIGITS) for channel in channels]
            coarsest = max(limits) or 1.0  # also of channels that are always zero
            found |= dict.fromkeys(names, Range(signed, tuple(limit or coarsest for limit in limits)))
        return dict(sorted(found.items()))

    def _compile(self, name: str, graph: Any) -> Callable[..., Any]:
        compiled: Any = super()._compile(name, graph)
        names = [each.removeprefix(SHOWN) for each in compiled.names if each.startswith(SHOWN)]
        if not names:
            return compiled
        count = len(compiled.names) - len(names)
        if name == "advance":  # all its layers but the first
            self._sharing |= {layer_of(each) for each in names}

        def run(*arguments: np.ndarray) -> Any:
            results = compiled(*arguments)
            for convolution, values in zip(names, results[count:], strict=True):
                self._record(convolution, values)
            return results[:count] if count > 1 else results[0]

        return run

    def _record(self, name: str, values: np.ndarray) -> None:
        self.signed[name] |= bool(values.min() < 0)
        if values.shape[1] == _COLOURS:
            self.on_frames.add(name)
        channels = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
        self.samples[name].append(channels[:, self._rng.integers(channels.shape[1], size=_SAMPLES)])


def best_limit(values: np.ndarray, signed: bool) -> float:
    """Return the limit that rounds values to eight bits with the least square error.

    What lies beyond is clipped: a few large values would make the steps of all others coarse. Zero if all
    values are.
    """
    limits = float(np.abs(values).max()) * _STEP ** np.arange(_STEPS)
    if limits[0] == 0:
        return 0.0
    first, count = (-128, 127) if signed else (0, LEVELS - 1)
    errors = []
    for limit in limits:
        step = limit / count
        errors.append(float(np.mean((np.clip(np.rint(values / step), first, count) * step - values) ** 2)))
    return float(limits[int(np.argmin(errors))])
