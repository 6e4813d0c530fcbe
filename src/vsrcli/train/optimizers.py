"""Optimizers with a moving average of the weights, and losses.

The optimizer holds the average, so that it is updated inside the compiled step, skipped with a step that
overflowed in float16, and stored with every checkpoint. Losses take frames in [0, 1]; each is a mean over all
values.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import keras
from keras import ops

from vsrcli.train.config import LOSSES, TrainConfig

OUTPUT_LAYERS = {"filters", "residual", "filters2", "residual2"}  # last layers of the networks
# Jordan et al.: steepest at zero; singular values end between 0.7 and 1.2.
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BACKEND_ADAM = type(keras.optimizers.Adam())  # on PyTorch, a subclass that updates all variables at once
CHARBONNIER_EPSILON = 1e-3
HUBER_DELTA = 0.01


def make_rate(config: TrainConfig, peak: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate schedule of a run, with another peak: a function of the step."""
    return keras.optimizers.schedules.CosineDecay(
        0.0,
        max(config.steps - config.warmup, 1),
        alpha=config.final_rate / config.learning_rate,
        warmup_target=peak,
        warmup_steps=config.warmup,
    )


def make_optimizer(config: TrainConfig):
    """Create the optimizer and the learning rate schedule of a run.

    Returns:
        ``(optimizer, rate)``, ``rate`` a function of the step. In fp16 the optimizer scales the loss, so that
        small gradients survive, and skips steps that overflow.
    """
    rate = make_rate(config, config.learning_rate)
    optimizer = {"adam": Adam, "muon": Muon}[config.optimizer](
        rate, global_clipnorm=config.clip_norm, average=config.ema
    )
    if config.precision == "fp16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer, rate


def evaluation_weights(model: keras.Model, optimizer) -> list:
    """Return the weights to validate and export, as arrays in the order of ``model.get_weights()``.

    These are the averages where the optimizer has them, else the model's own (such as the statistics of batch
    normalization).
    """
    averaged = getattr(optimizer, "inner_optimizer", optimizer).averaged()
    if averaged is None:
        return model.get_weights()
    by_variable = {id(v): a for v, a in zip(model.trainable_variables, averaged, strict=True)}
    return [ops.convert_to_numpy(by_variable.get(id(v), v).value) for v in model.weights]


def frame_loss(name: str) -> Callable:
    """Return the loss on frames of this name, one of ``LOSSES``."""
    return _LOSS_FUNCTIONS[name]


def sequence_loss(name: str, temporal_weight: float = 0.0, output_count: int = 1) -> Callable:
    """Return a loss of sequences: on frames, plus a weighted loss on frame differences.

    The second term, the Charbonnier loss of ``(output_t - output_{t-1}) - (truth_t - truth_{t-1})``,
    penalizes flicker and swimming, to which a mean over single frames is nearly blind.

    Args:
        name: loss on frames, one of ``LOSSES``.
        temporal_weight: weight of the second term; 0: none.
        output_count: output frames per sequence, at least 2 with a ``temporal_weight``. The loss takes
            (B, outputs, H, W, 3), or (outputs*B, H, W, 3) ordered by time and then by sequence.
    """
    on_frames = frame_loss(name)
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


class _WeightAveraging:
    """Mixin for Keras optimizers: an exponential moving average of the variables.

    The decay of the n-th step is the smaller of ``average`` and (n-1)/(n+9), so that the random initial
    weights do not dominate a young average.
    """

    def __init__(self, *arguments, average: float = 0.0, **options):
        super().__init__(*arguments, **options)
        self.average = average
        self._averages: list = []

    def build(self, variables):
        if self.built:  # type: ignore[attr-defined]
            return
        super().build(variables)  # type: ignore[misc]
        if self.average:
            self._averages = [self.add_variable_from_reference(v, name="average") for v in variables]  # type: ignore[attr-defined]

    def apply(self, grads, trainable_variables=None):
        super().apply(grads, trainable_variables)  # type: ignore[misc]
        if not self.average:
            return
        n = ops.cast(self.iterations, "float32")  # type: ignore[attr-defined]
        update_rate = 1 - ops.minimum(self.average, (n - 1) / (n + 9))
        for variable, average in zip(self._trainable_variables, self._averages, strict=True):  # type: ignore[attr-defined]
            average.assign(average + update_rate * (variable - average))

    def averaged(self) -> list | None:
        """Return the averages in the order of the built variables; None if there is no average."""
        return self._averages or None


class Adam(_WeightAveraging, BACKEND_ADAM):
    """Adam (Kingma and Ba, ICLR 2015) with an average of the weights."""


class Muon(_WeightAveraging, keras.optimizers.Adam):
    """Orthogonalized momentum for the hidden convolutions, Adam for everything else.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: the update of a matrix is
    the orthogonal matrix nearest to its (Nesterov) momentum, so that all directions are learnt at one pace. A
    kernel is treated as a matrix from kernel positions and input channels to output channels. Liu et al.,
    "Muon is Scalable for LLM Training", 2025, section 2.2: scaled by 0.2 * sqrt(longer side), such an update
    is about as large as Adam's, so one learning rate serves both.

    Adam updates biases, the first layer and the output layers, as both papers advise.
    """

    MOMENTUM = 0.95
    RMS = 0.2

    def build(self, variables):
        super().build(variables)
        self._hidden = tuple(is_hidden_kernel(variable) for variable in variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if not self._hidden[index]:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[index]
        gradient = ops.cast(gradient, variable.dtype)
        self.assign(momentum, self.MOMENTUM * momentum + gradient)
        nesterov = gradient + self.MOMENTUM * momentum
        inputs, outputs = math.prod(variable.shape[:-1]), variable.shape[-1]
        update = newton_schulz(ops.reshape(nesterov, (inputs, outputs)))
        step_size = self.RMS * math.sqrt(max(inputs, outputs)) * ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, step_size * ops.reshape(update, variable.shape))


def is_hidden_kernel(variable) -> bool:
    """Return whether Muon's rule applies: the variable is a kernel of a convolution between features."""
    layer = variable.path.split("/")[-2] if "/" in variable.path else ""
    return len(variable.shape) > 3 and variable.shape[-2] > 3 and layer not in OUTPUT_LAYERS


def newton_schulz(matrix, steps: int = 5):
    """Return approximately the orthogonal matrix nearest to ``matrix``, (n, m); singular values end near 1.

    Newton-Schulz iteration with the quintic polynomial of Jordan et al.; it needs matrix products only.
    """
    a, b, c = NEWTON_SCHULZ_COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def charbonnier(truth, output):
    """Return the Charbonnier loss, mean of sqrt(d**2 + epsilon**2) (Lai et al., CVPR 2017, section 3.3)."""
    return ops.mean(ops.sqrt(ops.square(truth - output) + CHARBONNIER_EPSILON**2))


def huber(truth, output):
    """Return the Huber loss, quadratic below ``HUBER_DELTA`` (Jo et al., CVPR 2018, section 3.4)."""
    difference = ops.abs(truth - output)
    quadratic = ops.minimum(difference, HUBER_DELTA)
    return ops.mean(0.5 * ops.square(quadratic) + HUBER_DELTA * (difference - quadratic))


_LOSS_FUNCTIONS: dict[str, Callable] = {"charbonnier": charbonnier, "huber": huber}
assert tuple(_LOSS_FUNCTIONS) == LOSSES
