"""A larger network from a trained smaller one, with the smaller one's results to begin with.

Chen, Goodfellow and Shlens, "Net2Net: Accelerating learning via knowledge transfer", ICLR 2016, copy channels
and divide what reads them. Here the channels that the smaller network lacks keep their random kernels, and
nothing that was there before reads them: its kernels for them are zero, and have a gradient from the first
step, as those for revived channels have (:mod:`vsrcli.train.revival`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from vsrcli.models.layers import FeatureModel


def widened_weights(
    layer: keras.layers.Layer, model: keras.Model, trained: keras.Model
) -> list[np.ndarray] | None:
    """Return a layer's weights with those of a narrower network inside.

    Args:
        layer: of ``model``, its weights fresh.
        model: the network to fill.
        trained: a network of the same class for the same scale, with fewer channels or as many.

    Returns:
        Kernel and bias; None if the networks, or their layers of this name, do not fit in this way.
    """
    if not isinstance(model, FeatureModel) or type(model) is not type(trained):
        return None
    source = next((each for each in trained.layers if each.name == layer.name), None)
    if source is None or model.scale != trained.scale:
        return None
    own, other = layer.get_weights(), source.get_weights()
    parts, other_parts = _input_parts(layer.name, own, model), _input_parts(layer.name, other, trained)
    fits = (
        len(own) == len(other) == 2
        and own[0].shape[:2] == other[0].shape[:2]
        and own[0].shape[3] >= other[0].shape[3]
        and len(parts) <= len(other_parts)
        and all(large >= small for large, small in zip(parts, other_parts, strict=False))
    )
    if not fits:
        return None
    bias = np.concatenate([other[1], own[1][len(other[1]) :]])
    return [_embed(own[0], other[0], parts, other_parts), bias]


def silence_new_blocks(model: keras.Model, trained: keras.Model) -> None:
    """Let residual blocks that ``trained`` lacks add nothing at first, in place."""
    known = {layer.name for layer in trained.layers}
    for layer in getattr(model, "second", ()):
        if layer.name not in known:
            layer.set_weights([np.zeros_like(each) for each in layer.get_weights()])


def _input_parts(name: str, weights: Sequence[np.ndarray], model: Any) -> list[int]:
    """Return how many input channels each of a layer's inputs has: several are read side by side."""
    channels = weights[0].shape[2]
    if name.startswith("fuse"):
        return [channels // 3] * 3
    if name == "recall":
        return [each for each in (model.width, channels - model.width) if each]
    return [channels]


def _embed(
    own: np.ndarray, trained: np.ndarray, parts: Sequence[int], trained_parts: Sequence[int]
) -> np.ndarray:
    kernel, outputs = np.array(own), trained.shape[3]
    kernel[..., :outputs] = 0.0
    at = trained_at = 0
    for size, trained_size in zip(parts, trained_parts, strict=False):
        kernel[:, :, at : at + trained_size, :outputs] = trained[:, :, trained_at : trained_at + trained_size]
        at, trained_at = at + size, trained_at + trained_size
    return kernel
