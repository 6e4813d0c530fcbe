"""Optimizers with a moving average of the weights.

The optimizer holds the average, so that it is updated inside the compiled step, skipped with a step that
overflowed in float16, and stored with every checkpoint.
"""

from __future__ import annotations

import math

import keras
from keras import ops

from vsrcli.train.config import TrainConfig
from vsrcli.train.schedules import make_rate

# Last layers of the networks.
OUTPUT_LAYERS = {"filters", "residual", "filters2", "residual2", "colours", "difference", "enlarge"}
# Jordan et al.: steepest at zero; singular values end between 0.7 and 1.2.
NEWTON_SCHULZ_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
BACKEND_ADAM = type(keras.optimizers.Adam())  # on PyTorch, a subclass that updates all variables at once


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
