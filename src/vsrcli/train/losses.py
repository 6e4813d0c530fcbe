"""Losses on pictures in [0, 1], by name; each is a mean over every value. Importing this imports no Keras."""

from __future__ import annotations

from collections.abc import Callable

CHARBONNIER_EPSILON = 1e-3
HUBER_DELTA = 0.01


def charbonnier(truth, output):
    """A differentiable L1: mean of sqrt(d**2 + epsilon**2) (Lai et al., CVPR 2017, section 3.3)."""
    from keras import ops

    return ops.mean(ops.sqrt(ops.square(truth - output) + CHARBONNIER_EPSILON**2))


def huber(truth, output):
    """Quadratic below ``HUBER_DELTA``, linear above (Jo et al., CVPR 2018, section 3.4: delta 0.01)."""
    from keras import ops

    difference = ops.abs(truth - output)
    quadratic = ops.minimum(difference, HUBER_DELTA)
    return ops.mean(0.5 * ops.square(quadratic) + HUBER_DELTA * (difference - quadratic))


LOSSES: dict[str, Callable] = {"charbonnier": charbonnier, "huber": huber}
