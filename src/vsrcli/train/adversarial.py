"""Adversarial training: PSNR-trained weights become sharp ones.

A loss on pixels alone is least for the mean of everything that the truth could be, and that mean is blurred.
So the network is also asked to stay close to the truth in *features*, and to make frames that a
*discriminator* takes for truth. The generator's loss is ::

    pixel_weight       * loss on pixels (Charbonnier)
  + color_weight       * Charbonnier loss on the mean colours of blocks of 4x4 low-resolution pixels
  + grid_weight        * Charbonnier loss on the mean of each sub-pixel position over the crop
  + evenness_weight    * how unevenly detail is spread over sub-pixel positions
  + temporal_weight    * Charbonnier loss on changes between frames
  + ping_pong_weight   * Charbonnier loss between a sequence and its way back
  + feature_weight     * feature distance on some frames, see ``evaluate.features``
  + adversarial_weight * relativistic loss on some triples of frames, see ``discriminator``

Neither features nor a discriminator care much for a shade, and the errors of single pixels hide a small one
that they share: without the loss on mean colours, pictures became two codes darker within 260 steps. And the
cheapest answer to a discriminator that misses detail is the same fine pattern everywhere, which a few biases
of the last layer can make; the loss on sub-pixel positions forbids it. That loss is on means, and detail has
none: within 2,000 steps lines became strings of beads, one for each low-resolution pixel, since each pixel
made its own detail. So the *strength* of detail must not depend on the sub-pixel position either. In real
frames it varies by 6 % of its mean over the positions, in the beads by 50 %.

Features and discriminator see the output's brightness with the truth's colours (``judge``): asked to make up
colours, too, the network drew red and white dots along edges, within 2,000 steps. Colours are left to the
loss on pixels; eyes resolve them less than brightness. Brightness is the mean of R', G' and B', so that what
is asked for is grey: with luma's weights most of it went to green, and edges got green and purple fringes.

*Ping-pong* (Chu et al., TecoGAN, SIGGRAPH 2020, section 3.3): a sequence is followed by its reverse, and each
frame must look the same both times. What a recurrent state invents and carries along would differ, so it
cannot drift.

The loss is *relativistic* (Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019): the
discriminator says how much more real the truth is than the output. Output and truth show the same scene, so
they are compared pixel by pixel, and what they share cancels. Huang et al., "The GAN is dead; long live the
GAN!", NeurIPS 2024, prefer the paired form too, since every truth keeps its own output from collapsing.

All of this is one Keras model with one optimizer for both networks, so that a step is a step as in other
training: on every backend, compiled, and stored in the same checkpoint. Gradients are kept apart by
``stop_gradient``: the discriminator's loss takes the output, and the generator's loss the discriminator's
weights, as constants.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
from keras import ops

from vsrcli.evaluate.features import EdgeFeatures
from vsrcli.models.architectures import Architecture
from vsrcli.train.config import AdversarialConfig, TrainConfig, temporal_margin
from vsrcli.train.discriminator import Discriminator
from vsrcli.train.losses import charbonnier, loss_of, temporal_loss
from vsrcli.train.optimizers import Adam
from vsrcli.train.schedules import make_rate

DISCRIMINATOR_LOSS = "discriminator"  # the one part that is not the generator's
_LEAST_DETAIL = 1e-3  # a quarter of a code, below which strength does not count


class AdversarialTrainer(keras.Model):
    """Generator, discriminator and losses as one model, to be trained by ``train_on_batch``.

    Args:
        generator: the network, built.
        architecture: what it is; its kind says how batches are shaped.
        config: configuration of the run; ``config.adversarial`` is set.

    Attributes:
        generator: the network.
        discriminator: None with an ``adversarial_weight`` of 0.

    Raises:
        UsageError: the feature distance needs a package that is not installed.
        DataError: its weights cannot be read.
    """

    def __init__(self, generator: keras.Model, architecture: Architecture, config: TrainConfig):
        super().__init__(name="adversarial_trainer")
        assert config.adversarial is not None
        self._settings: AdversarialConfig = config.adversarial
        if architecture.frames == 1 and architecture.kind == "window":  # there is nothing to play back
            self._settings = replace(self._settings, ping_pong_weight=0.0)
        self._kind, self._margin = architecture.kind, temporal_margin(architecture)
        self._outputs, self._scale = config.frames - 2 * self._margin, config.scale
        self._pixel_loss = loss_of(config)
        self.generator, self.discriminator, self._features = generator, None, None
        if self._settings.feature_weight:
            dtype = "bfloat16" if config.precision == "bf16" else "float32"
            self._features = EdgeFeatures(self._settings.feature_blocks, dtype=dtype)
        if self._settings.adversarial_weight:
            self.discriminator = Discriminator(self._settings.discriminator_width)
            side = config.scale * config.crop
            self.discriminator(ops.zeros((1, side, side, 12)))
        self._weights_by_part = {
            "pixel": self._settings.pixel_weight,
            "color": self._settings.color_weight,
            "grid": self._settings.grid_weight,
            "evenness": self._settings.evenness_weight,
            "temporal": config.temporal_weight,
            "ping_pong": self._settings.ping_pong_weight,
            "feature": self._settings.feature_weight,
            "adversarial": self._settings.adversarial_weight,
            DISCRIMINATOR_LOSS: self._settings.adversarial_weight and 1.0,
        }
        self._means = [keras.metrics.Mean(name) for name, weight in self._weights_by_part.items() if weight]
        # Frames are taken in turn; their number is part of the checkpoint.
        self.turn = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="turn"
        )
        self.built = True

    def call(self, low):
        """Upscale sequences, there and back. Batch normalization keeps the statistics that it has.

        Args:
            low: as :func:`~vsrcli.train.config.shape_batch` gives it.

        Returns:
            ``(forward, backward)``, (B, outputs, sH, sW, 3) each, in the same order of time; ``backward`` is
            ``forward`` where nothing is played back.
        """
        played_back = bool(self._settings.ping_pong_weight)
        if self._kind == "window":  # the way back shows each window in reverse
            forward = self._sequences(self.generator(low))
            return forward, self._sequences(self.generator(ops.flip(low, 1))) if played_back else forward
        if not played_back:
            forward = self.generator(low)
            return forward, forward
        there_and_back = ops.concatenate([low, ops.flip(low[:, :-1], 1)], axis=1)
        output = self.generator(there_and_back)
        moments = ops.unstack(output, axis=1)
        backward = moments[-1 : -self._outputs - 1 : -1]
        return ops.stack(moments[: self._outputs], axis=1), ops.stack(backward, axis=1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight=None, training=True
    ):
        """Return the sum of all losses, weighted; each is also kept as a metric."""
        (forward, backward), truth = y_pred, self._sequences(y)
        parts = {"pixel": self._pixel_loss(truth, forward)}
        if self._settings.color_weight:
            parts["color"] = charbonnier(*(_block_means(x, 4 * self._scale) for x in (truth, forward)))
        if self._settings.grid_weight:
            parts["grid"] = charbonnier(*(_grid_means(x, self._scale) for x in (truth, forward)))
        if self._settings.evenness_weight:
            parts["evenness"] = _unevenness(forward, self._scale)
        if self._weights_by_part["temporal"]:
            parts["temporal"] = temporal_loss(truth, forward)
        if self._settings.ping_pong_weight:
            parts["ping_pong"] = charbonnier(forward, backward)
        judged = _with_colours_of(truth, forward) if self._settings.judge == "brightness" else forward
        if self._features is not None:
            frames = self._in_turn(self._settings.feature_frames, 0, self._outputs)
            parts["feature"] = self._features.distance(_take(truth, frames), _take(judged, frames))
        if self.discriminator is not None:
            parts |= self._adversarial_parts(self._centres(x), truth, judged)
        self.turn.assign(self.turn + 1)
        for mean in self._means:
            mean.update_state(parts[mean.name])
        return sum(self._weights_by_part[name] * part for name, part in parts.items())

    def _adversarial_parts(self, low, truth, output) -> dict:
        """Return the losses of generator and discriminator; (B, outputs, ...) each."""
        assert self.discriminator is not None
        centres = self._in_turn(self._settings.discriminator_clips, 1, self._outputs - 1)
        context = ops.image.resize(_take(low, centres), truth.shape[2:4], interpolation="bicubic")
        real, fake = (_triples(frames, centres, context) for frames in (truth, output))
        both = ops.concatenate([real, ops.stop_gradient(fake)], axis=0)
        real_score, fake_score = ops.split(self.discriminator(both, iterate=True), 2, axis=0)
        judged = self.discriminator(fake, frozen=True)
        return {
            DISCRIMINATOR_LOSS: ops.mean(ops.softplus(fake_score - real_score)),
            "adversarial": ops.mean(ops.softplus(ops.stop_gradient(real_score) - judged)),
        }

    def _in_turn(self, count: int, first: int, end: int):
        """Return ``count`` indices from ``first`` to before ``end``, evenly spaced, others at each step."""
        count = min(count, end - first)
        return first + (self.turn + ops.arange(count) * ((end - first) // count)) % (end - first)

    def _sequences(self, frames):
        """Return (B, outputs, ...) from the order of windows, by time and then by sequence."""
        if self._kind != "window":
            return frames
        return ops.swapaxes(ops.reshape(frames, (self._outputs, -1, *frames.shape[1:])), 0, 1)

    def _centres(self, low):
        """Return the low resolution of the output frames, (B, outputs, H, W, 3)."""
        if self._kind == "window":
            return self._sequences(low[:, self._margin])
        return low[:, self._margin : self._margin + self._outputs]


class JointOptimizer(keras.optimizers.Optimizer):
    """Several optimizers as one, each for its own variables, with its own rate and its own clipping.

    Args:
        optimizers: the first is the generator's, whose average of weights is validated and exported.
        counts: number of consecutive variables of each.
    """

    def __init__(self, optimizers: Sequence[keras.optimizers.Optimizer], counts: Sequence[int]):
        super().__init__(learning_rate=0.0, name="joint")
        self._optimizers, self._counts = list(optimizers), list(counts)

    def build(self, variables):
        if self.built:
            return
        for optimizer, part in zip(self._optimizers, self._split(variables), strict=True):
            optimizer.build(part)
        super().build(variables)

    @property
    def variables(self):
        return self._variables + [v for optimizer in self._optimizers for v in optimizer.variables]

    def apply(self, grads, trainable_variables=None):
        for optimizer, part in zip(self._optimizers, self._split(grads), strict=True):
            optimizer.apply(part)
        self._iterations.assign_add(1)

    def averaged(self) -> list | None:
        """Return the averages of the generator's weights; None if there are none."""
        return self._optimizers[0].averaged()

    def _split(self, items) -> list[list]:
        items, parts = list(items), []
        for count in self._counts:
            parts.append(items[:count])
            items = items[count:]
        return parts


def join_optimizers(generator_optimizer, trainer: AdversarialTrainer, config: TrainConfig) -> JointOptimizer:
    """Return the optimizer of a trainer: the generator's own, and Adam for the discriminator.

    Adam's second moment is that of ESRGAN and Real-ESRGAN.
    """
    optimizers, counts = [generator_optimizer], [len(trainer.generator.trainable_variables)]
    if trainer.discriminator is not None:
        assert config.adversarial is not None
        rate = make_rate(config, config.adversarial.discriminator_rate)
        optimizers.append(Adam(rate, beta_2=0.99, global_clipnorm=config.clip_norm))
        counts.append(len(trainer.discriminator.trainable_variables))
    return JointOptimizer(optimizers, counts)


def _with_colours_of(truth, output):
    """Return the truth with the output's mean of R', G' and B': they differ in brightness alone."""
    return truth + ops.mean(output - truth, axis=-1, keepdims=True)


def _take(frames, indices):
    """Return the frames of each sequence at ``indices``: (B, T, H, W, 3) -> (B*n, H, W, 3)."""
    taken = ops.take(frames, indices, axis=1)
    return ops.reshape(taken, (-1, *frames.shape[2:]))


def _block_means(frames, side: int):
    """Return the means of blocks of ``side`` pixels: (B, T, H, W, 3) -> (B*T, H/side, W/side, 3)."""
    return ops.average_pool(ops.reshape(frames, (-1, *frames.shape[2:])), side)


def _grid_means(frames, scale: int):
    """Return the mean of each sub-pixel position: (B, T, sH, sW, 3) -> (B*T, s, s, 3)."""
    height, width = (side // scale for side in frames.shape[2:4])
    return ops.mean(ops.reshape(frames, (-1, height, scale, width, scale, 3)), axis=(1, 3))


def _unevenness(frames, scale: int):
    """Return how much the strength of detail differs between sub-pixel positions, of (B, T, sH, sW, 3).

    Strength is the RMS of second differences along rows and along columns, at each position of a crop; the
    result is the mean of its distances from the mean over the positions.
    """
    grey = ops.mean(ops.cast(ops.reshape(frames, (-1, *frames.shape[2:])), "float32"), axis=-1)
    along_rows = grey[:, 1:-1, :-2] - 2 * grey[:, 1:-1, 1:-1] + grey[:, 1:-1, 2:]
    along_columns = grey[:, :-2, 1:-1] - 2 * grey[:, 1:-1, 1:-1] + grey[:, 2:, 1:-1]
    squares = ops.stack([ops.square(along_rows), ops.square(along_columns)], axis=-1)
    height, width = (side // scale - 2 for side in grey.shape[1:])  # blocks without those at the border
    first = scale - 1
    squares = squares[:, first : first + height * scale, first : first + width * scale]
    blocks = ops.reshape(squares, (-1, height, scale, width, scale, 2))
    strength = ops.sqrt(ops.mean(blocks, axis=(1, 3)) + _LEAST_DETAIL**2)
    return ops.mean(ops.abs(strength - ops.mean(strength, axis=(1, 2), keepdims=True)))


def _triples(frames, centres, context):
    """Return three consecutive frames around each centre and its enlarged low resolution, (B*n, H, W, 12)."""
    return ops.concatenate([*(_take(frames, centres + shift) for shift in (-1, 0, 1)), context], axis=-1)
