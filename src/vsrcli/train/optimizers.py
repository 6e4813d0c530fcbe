"""Optimizers by name, with an average of the weights beside them.

The average is kept by the optimizer, so it is updated inside the compiled step, skipped with a step that
overflowed in float16, and stored with every checkpoint.

Losses on pictures in [0, 1], by name; each is a mean over every value. Importing this imports no Keras.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import keras
from keras import ops

from vsrcli.train.config import TrainConfig

OUTPUTS = {"filters", "residual", "filters2", "residual2"}  # last layers of the networks
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan et al.: steepest at zero; ends between 0.7 and 1.2
ADAM = type(keras.optimizers.Adam())  # on PyTorch a class of its own that updates all variables at once


class _Averaging:
    """Mixin of a Keras optimizer: an exponential moving average of the variables.

    The decay of the n-th step is the smaller of ``average`` and (n-1)/(n+9), so that a young average is not
    held back by the random start.
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
        done = ops.cast(self.iterations, "float32")  # type: ignore[attr-defined]
        share = 1 - ops.minimum(self.average, (done - 1) / (done + 9))
        for variable, average in zip(self._trainable_variables, self._averages, strict=True):  # type: ignore[attr-defined]
            average.assign(average + share * (variable - average))

    def averaged(self) -> list | None:
        """The average of every variable, in the order that the optimizer was built with; None without one."""
        return self._averages or None


class Adam(_Averaging, ADAM):
    """Adam (Kingma and Ba, ICLR 2015) with an average of the weights."""


class Muon(_Averaging, keras.optimizers.Adam):
    """Momentum, made orthogonal: for the hidden convolutions; Adam for everything else.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: the update of a matrix is
    the nearest orthogonal one to its (Nesterov) momentum, so that all directions are learnt at one pace. A
    kernel counts as a matrix from kernel positions and input channels to output channels. Liu et al., "Muon
    is Scalable for LLM Training", 2025, section 2.2: times 0.2 * sqrt(longer side), such an update is as
    large as Adam's usually is, and one learning rate serves both.

    Biases, the first layer and the output layers are Adam's, as both papers advise.
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
        ahead = gradient + self.MOMENTUM * momentum
        inputs, outputs = math.prod(variable.shape[:-1]), variable.shape[-1]
        update = newton_schulz(ops.reshape(ahead, (inputs, outputs)))
        size = self.RMS * math.sqrt(max(inputs, outputs)) * ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, size * ops.reshape(update, variable.shape))


def is_hidden_kernel(variable) -> bool:
    """Whether Muon's rule is for this variable: a convolution between features."""
    layer = variable.path.split("/")[-2] if "/" in variable.path else ""
    return len(variable.shape) > 3 and variable.shape[-2] > 3 and layer not in OUTPUTS


def newton_schulz(matrix, steps: int = 5):
    """The orthogonal matrix nearest to ``matrix``, (n, m), roughly: singular values end near 1.

    Newton and Schulz's iteration, with the quintic polynomial of Jordan et al.; matrix products alone.
    """
    a, b, c = NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = ops.transpose(matrix) if tall else matrix
    x = x / (ops.norm(x) + 1e-7)
    for _ in range(steps):
        gram = ops.matmul(x, ops.transpose(x))
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return ops.transpose(x) if tall else x


def make_optimizer(config: TrainConfig):
    """The optimizer of a run, and its learning rate as a function of the step.

    Returns:
        ``(optimizer, rate)``. In fp16 the optimizer scales the loss, so that small gradients survive, and
        leaves out steps that overflow.
    """
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(config.steps - config.warmup, 1),
        alpha=config.final_rate / config.learning_rate,
        warmup_target=config.learning_rate,
        warmup_steps=config.warmup,
    )
    optimizer = {"adam": Adam, "muon": Muon}[config.optimizer](
        rate, global_clipnorm=config.clip_norm, average=config.ema
    )
    if config.precision == "fp16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer, rate


def weights_to_keep(model: keras.Model, optimizer) -> list:
    """The weights that a run is for, as arrays in the order of ``model.get_weights()``: averaged where the
    optimizer keeps an average, and the model's own where not (statistics of batch normalisation, say)."""
    averaged = getattr(optimizer, "inner_optimizer", optimizer).averaged()
    if averaged is None:
        return model.get_weights()
    by_variable = {id(v): a for v, a in zip(model.trainable_variables, averaged, strict=True)}
    return [ops.convert_to_numpy(by_variable.get(id(v), v).value) for v in model.weights]


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
