"""Channels of a trained network that are always zero, and new kernels for them.

A channel behind a ReLU that is zero for every input has no gradient either, so training alone never brings it
back (Maas et al., "Rectifier nonlinearities improve neural network acoustic models", 2013). Large steps make
such channels: frames and features are positive everywhere, so a kernel whose sum has become too small is
below zero for all of them. :func:`revive` gives them new kernels in such a way that the network's results
hardly change at first: what reads a revived channel is set to zero, and has a gradient from the first step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from vsrcli.models.layers import FeatureModel, pad_border
from vsrcli.models.winograd import concat_conv

DEAD_BELOW = 0.02  # a channel is dead if its largest value is below this share of the layer's largest
SMALL = 0.2  # share of its size that a kernel gets whose results are added to features
CENTRE = 1  # of a 3x3 kernel, in rows and columns


def dead_channels(model: keras.Model, sequences: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Return which channels are dead, for each layer with a ReLU that has such channels.

    Args:
        model: DUF-S or DUF-R; of other networks nothing is known, and the result is empty.
        sequences: low resolution to look at, float32 (B, T, H, W, 3) in [0, 1] each.

    Returns:
        Layer name -> bool (channels,). ``fuse0`` means what is left of it after adding the frame's features.
    """
    if not isinstance(model, FeatureModel):
        return {}
    maxima: dict[str, np.ndarray] = {}

    def note(name: str, features: Any) -> Any:
        found = np.max(ops.convert_to_numpy(ops.cast(features, "float32")), axis=(0, 1, 2))
        maxima[name] = np.maximum(maxima.get(name, 0.0), found)
        return features

    def conv(layer: Any, *parts: Any) -> Any:
        return note(layer.name, concat_conv(layer, *parts))

    for low in sequences:
        frames = [low[:, number] for number in range(low.shape[1])]
        moments = [note(model.encoder.name, model.encode(frame)) for frame in frames]
        for level, layer in enumerate(model.fusions):
            triples = zip(moments, moments[1:], moments[2:], strict=False)
            moments = [note(layer.name, model.fuse(level, *triple)) for triple in triples]
        margin = len(model.fusions)
        _run_trunk(model, moments, frames[margin : len(frames) - margin], conv)
    rectified = {model.encoder, *model.fusions, *model.first, model.head}
    dead = {layer.name: maxima[layer.name] < DEAD_BELOW * maxima[layer.name].max() for layer in rectified}
    return {layer.name: dead[layer.name] for layer in model.layers if dead.get(layer.name, _NONE).any()}


_NONE = np.zeros(1, bool)


def _run_trunk(model: Any, features: Sequence[Any], centres: Sequence[np.ndarray], conv: Any) -> None:
    if not hasattr(model, "step"):
        for x in features:
            model.trunk(x, conv)
        return
    batch, height, width, _ = centres[0].shape
    hidden, feedback = model.empty_state(batch, height, width)
    for x, centre in zip(features, centres, strict=True):
        hidden, y = model.step(x, hidden, feedback, conv)
        if feedback is None:
            continue
        sub_pixels = model.reconstruct(y, pad_border(ops.cast(centre, "float32")))
        feedback = model.feedback(sub_pixels, centre)


def revive(model: Any, dead: Mapping[str, np.ndarray], seed: int) -> None:
    """Give dead channels new kernels, in place.

    Args:
        model: DUF-S or DUF-R.
        dead: from :func:`dead_channels`.
        seed: of the new kernels.

    A new kernel has a sum of zero for each input channel, so that it answers to detail and not to brightness,
    and is as large as the layer's other kernels; its bias is zero. Features are also added to those of the
    next temporal convolution, so that a revived channel is subtracted there again, by the kernel. What the
    last one of these gives is added to features that nothing is subtracted from: there, kernels are small.
    """
    rng = np.random.default_rng(seed)
    levels = [model.encoder, *model.fusions]
    for number, layer in enumerate(levels):
        channels, last = np.flatnonzero(dead.get(layer.name, _NONE)), number == len(levels) - 1
        _renew(layer, channels, rng, SMALL if last else 1.0)
        if last:
            _add_centre(layer, channels, -1.0)
            continue
        following = levels[number + 1]
        for part in range(3):
            _ignore(following, channels + part * model.width)
        others = np.setdiff1d(channels, np.flatnonzero(dead.get(following.name, _NONE)))
        _add_centre(following, others, -1.0)
    for first, second in zip(model.first, model.second, strict=True):
        channels = np.flatnonzero(dead.get(first.name, _NONE))
        _renew(first, channels, rng)
        _ignore(second, channels)
    channels = np.flatnonzero(dead.get(model.head.name, _NONE))
    _renew(model.head, channels, rng)
    for reader in (model.residual, model.filters):
        if reader is not None:
            _ignore(reader, channels)


def _renew(layer: Any, channels: np.ndarray, rng: np.random.Generator, share: float = 1.0) -> None:
    """Draw new kernels for output channels of a layer, a share of the size of its others."""
    if not len(channels):
        return
    kernel, bias = (np.array(each) for each in layer.get_weights())
    norms = np.sqrt(np.square(kernel).sum(axis=(0, 1, 2)))
    others = np.setdiff1d(np.arange(kernel.shape[-1]), channels)
    size = np.median(norms[others]) if len(others) else np.sqrt(2.0)
    new = rng.standard_normal((*kernel.shape[:3], len(channels)))
    new -= new.mean(axis=(0, 1), keepdims=True)
    kernel[..., channels] = share * size * new / np.sqrt(np.square(new).sum(axis=(0, 1, 2)))
    bias[channels] = 0.0
    layer.set_weights([kernel, bias])


def _ignore(layer: Any, channels: np.ndarray) -> None:
    """Let a layer not read some of its input channels."""
    weights = [np.array(each) for each in layer.get_weights()]
    weights[0][:, :, channels] = 0.0
    layer.set_weights(weights)


def _add_centre(layer: Any, channels: np.ndarray, value: float) -> None:
    """Add the frame's own features, times a value, to the results of a temporal convolution."""
    kernel, bias = (np.array(each) for each in layer.get_weights())
    width = kernel.shape[-1]
    kernel[CENTRE, CENTRE, width + channels, channels] += value
    layer.set_weights([kernel, bias])
