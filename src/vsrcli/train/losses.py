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


def sequence_loss(name: str, temporal_weight: float = 0.0, outputs: int = 1) -> Callable:
    """A loss of whole sequences: of the pictures, and of how they change.

    The second part, Charbonnier's of ``(output_t - output_{t-1}) - (truth_t - truth_{t-1})``, costs flicker
    and swimming, which a mean over single pictures hardly sees.

    Args:
        name: of the loss of pictures, a key of ``LOSSES``.
        temporal_weight: of the second part; 0 leaves it out.
        outputs: pictures of a sequence, at least 2 with a ``temporal_weight``. (B, outputs, H, W, 3) have
            time in their second axis, (outputs*B, H, W, 3) are single pictures, those of one time after those
            of the time before.
    """
    pictures = LOSSES[name]
    if not temporal_weight:
        return pictures

    def with_changes(truth, output):
        return pictures(truth, output) + temporal_weight * charbonnier(*map(changes, (truth, output)))

    def changes(images):
        from keras import ops

        if len(images.shape) == 5:
            return images[:, 1:] - images[:, :-1]
        images = ops.reshape(images, (outputs, -1, *images.shape[1:]))  # outputs, B, H, W, 3
        return images[1:] - images[:-1]

    return with_changes
