"""Learning rate schedules by name: functions of the step, so a resumed run goes on where it was.

Every schedule rises linearly over ``warmup`` steps first, and never falls below ``final_rate``.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vsrcli.train.config import TrainConfig


def make_rate(config: TrainConfig, peak: float) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate schedule of a run, with another peak: a function of the step.

    - ``cosine``: falls to ``final_rate`` at the end of the run.
    - ``cosine-restarts`` (Loshchilov and Hutter, "SGDR", ICLR 2017): falls so within ``decay_steps``, then
      begins again; each period is ``period_factor`` times as long as the last, and its peak
      ``restart_factor`` times as high.
    - ``step``: multiplied by ``step_factor`` every ``decay_steps``.
    - ``constant``: stays at the peak.
    """
    schedules, alpha = keras.optimizers.schedules, config.final_rate / config.learning_rate
    if config.schedule == "cosine":
        return schedules.CosineDecay(
            0.0,
            max(config.steps - config.warmup, 1),
            alpha=alpha,
            warmup_target=peak,
            warmup_steps=config.warmup,
        )
    decay: Any = None  # a constant rate
    if config.schedule == "cosine-restarts":
        decay = schedules.CosineDecayRestarts(
            peak, config.decay_steps, config.period_factor, config.restart_factor, alpha
        )
    elif config.schedule == "step":
        decay = schedules.ExponentialDecay(peak, config.decay_steps, config.step_factor, staircase=True)
    return WarmedUp(decay, peak, alpha * peak if decay is not None else 0.0, config.warmup)


class WarmedUp(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that begins after a linear rise.

    Args:
        decay: the schedule, from its own step 0 on; None: a constant rate.
        peak: that the rise ends at.
        least: rate below which the schedule does not fall.
        warmup: steps of the rise.
    """

    def __init__(self, decay: Any, peak: float, least: float, warmup: int) -> None:
        self._decay, self._peak, self._least, self._warmup = decay, peak, least, warmup

    def __call__(self, step):
        step = ops.cast(step, "float32")
        rate: Any = self._peak
        if self._decay is not None:
            rate = ops.maximum(self._decay(ops.maximum(step - self._warmup, 0.0)), self._least)
        if not self._warmup:
            return ops.convert_to_tensor(rate, "float32")
        return ops.where(step < self._warmup, self._peak * step / self._warmup, rate)
