"""Losses by name, of frames and of changes between them.

Losses take frames in [0, 1]; each is a mean over all values, ``psnr`` and ``rmse`` over all frames.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

from keras import ops

from vsrcli.train.config import LOSSES, TrainConfig

CHARBONNIER_EPSILON = 1e-3
PSNR_EPSILON = 255.0**-2  # added to the squared error: one 8-bit code is as good as no error
HUBER_DELTA = 0.01  # of Jo et al., CVPR 2018
FEATURES_WEIGHT, FEATURES_BLOCKS = 0.1, 2  # of --loss features


def mse(truth, output):
    """Return the mean squared error."""
    return ops.mean(ops.square(truth - output))


def mae(truth, output):
    """Return the mean absolute error."""
    return ops.mean(ops.abs(truth - output))


def charbonnier(truth, output):
    """Return the Charbonnier loss, mean of sqrt(d**2 + epsilon**2) (Lai et al., CVPR 2017, section 3.3)."""
    return ops.mean(ops.sqrt(ops.square(truth - output) + CHARBONNIER_EPSILON**2))


def psnr(truth, output):
    """Return what is missing to a PSNR of 100 dB, divided by 100; the mean over frames (Chen et al., "Simple
    baselines for image restoration", ECCV 2022).

    Each frame counts alike, as in a mean of PSNR, whereas :func:`mse` learns from the worst ones. Frames are
    the last three axes.
    """
    return 1.0 + ops.mean(ops.log10(_errors_of_frames(truth, output) + PSNR_EPSILON)) / 10


def rmse(truth, output):
    """Return the root of each frame's mean squared error; the mean over frames.

    Between :func:`mse`, which learns from the worst frames, and :func:`psnr`, which learns as much from those
    that are nearly perfect: a frame counts by its error, not by its square.
    """
    return ops.mean(ops.sqrt(_errors_of_frames(truth, output) + PSNR_EPSILON))


def _errors_of_frames(truth, output):
    return ops.mean(ops.square(truth - output), axis=(-3, -2, -1))


def huber(truth, output, delta: float = HUBER_DELTA):
    """Return the Huber loss, quadratic below ``delta`` (Jo et al., CVPR 2018, section 3.4)."""
    difference = ops.abs(truth - output)
    quadratic = ops.minimum(difference, delta)
    return ops.mean(0.5 * ops.square(quadratic) + delta * (difference - quadratic))


def frame_loss(name: str, huber_delta: float = HUBER_DELTA, dtype: str = "float32") -> Callable:
    """Return the loss on frames of this name.

    ``features`` is the Charbonnier loss and, at the weight that adversarial training gives it, the feature
    distance of :mod:`vsrcli.evaluate.features`; that alone would not hold colours.

    Args:
        name: one of ``LOSSES``.
        huber_delta: of ``huber``, on values in [0, 1].
        dtype: of the feature network.

    Raises:
        UsageError: the package with the feature network is not installed.
        DataError: its weights cannot be read.
    """
    if name == "features":
        return _feature_loss(dtype)
    plain = {"charbonnier": charbonnier, "huber": partial(huber, delta=huber_delta)}
    plain |= {"mse": mse, "mae": mae, "psnr": psnr, "rmse": rmse}
    assert {*plain, "features"} == set(LOSSES)
    return plain[name]


def _feature_loss(dtype: str) -> Callable:
    from vsrcli.evaluate.features import EdgeFeatures

    features = EdgeFeatures(FEATURES_BLOCKS, dtype=dtype)

    def loss(truth, output):
        pictures = (ops.reshape(frames, (-1, *frames.shape[-3:])) for frames in (truth, output))
        return charbonnier(truth, output) + FEATURES_WEIGHT * features.distance(*pictures)

    return loss


def loss_of(config: TrainConfig) -> Callable:
    """Return the loss on frames of a run, see :func:`frame_loss`."""
    dtype = "bfloat16" if config.precision == "bf16" else "float32"
    return frame_loss(config.loss, config.huber_delta, dtype)


def sequence_loss(on_frames: Callable, temporal_weight: float = 0.0, output_count: int = 1) -> Callable:
    """Return a loss of sequences: on frames, plus a weighted loss on frame differences.

    The second term, the Charbonnier loss of ``(output_t - output_{t-1}) - (truth_t - truth_{t-1})``,
    penalizes flicker and swimming, to which a mean over single frames is nearly blind.

    Args:
        on_frames: loss on frames, from :func:`frame_loss`.
        temporal_weight: weight of the second term; 0: none.
        output_count: output frames per sequence, at least 2 with a ``temporal_weight``. The loss takes
            (B, outputs, H, W, 3), or (outputs*B, H, W, 3) ordered by time and then by sequence.
    """
    if not temporal_weight:
        return on_frames

    def loss(truth, output):
        if len(output.shape) == 5:
            return on_frames(truth, output) + temporal_weight * temporal_loss(truth, output)
        by_time = [ops.reshape(x, (output_count, -1, *x.shape[1:])) for x in (truth, output)]
        return on_frames(truth, output) + temporal_weight * temporal_loss(*by_time, axis=0)

    return loss


def temporal_loss(truth, output, axis: int = 1):
    """Return the Charbonnier loss of the changes between consecutive frames, a mean over all of them.

    Args:
        truth, output: frames in [0, 1], of the same shape.
        axis: time, with at least two frames.
    """
    errors = ops.unstack(output - truth, axis=axis)  # slices' gradients would take longer than convolutions
    changes = ops.stack([following - error for error, following in pairwise(errors)])
    return charbonnier(0.0, changes)
