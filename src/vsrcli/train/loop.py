"""The training loop, to be read from top to bottom. All defaults stand in
:class:`~vsrcli.train.config.TrainConfig`."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vsrcli.errors import DataError, Interrupted, UsageError
from vsrcli.models.registry import SUFFIX, architecture, sha256
from vsrcli.train.batches import BatchPlan, batches
from vsrcli.train.checkpoint import read_state, restore_checkpoint, save_checkpoint
from vsrcli.train.clips import Pair
from vsrcli.train.config import Report, TrainConfig
from vsrcli.train.degrade import PRESETS
from vsrcli.train.losses import LOSSES
from vsrcli.train.validate import Validation

__all__ = ["Report", "TrainConfig", "train"]

# Options that may differ when a run is continued: the length, and how often it reports.
_MAY_CHANGE = {"steps", "validate_every", "save_every"}


def train(
    config: TrainConfig,
    pairs: Sequence[Pair],
    run: Path,
    *,
    validation: Validation | None = None,
    card: dict[str, Any] | None = None,
    stop: Callable[[], int] = lambda: 0,
    on_step: Callable[[Report], None] = lambda report: None,
) -> Path:
    """Train, or go on training: a run folder that holds a checkpoint is continued.

    Args:
        config: see :class:`TrainConfig`. ``steps`` may be changed when a run is continued (the cosine is then
            stretched over the new length); everything else must be as it was.
        pairs: training footage, see :func:`~vsrcli.train.clips.prepare_pairs`.
        run: folder for ``checkpoint.npz``, ``log.csv``, ``tensorboard/`` (where TensorFlow is the backend)
            and, after each validation and at the end, ``NAME.weights.h5`` with its card.
        validation: scored every ``validate_every`` steps and at the end.
        card: what the model card shall say besides what is known here (data, licence, command).
        stop: polled after each step; a signal number ends the run with a checkpoint.
        on_step: progress.

    Returns:
        The weight file.

    Raises:
        UsageError: sizes that do not fit the network.
        DataError: the folder holds a run of another configuration.
        Interrupted: ``stop`` said so; the checkpoint is written.
    """
    if config.frames < 7:
        raise UsageError(f"--frames {config.frames} is shorter than the network's window: take 7 or more")
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.npz"
    keras.utils.set_random_seed(config.seed)
    chosen, preset = architecture(config.model), PRESETS[config.degradation]
    model = chosen.build(config.scale, phase=preset.phase)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(config.steps - config.warmup, 1),
        alpha=config.final_rate / config.learning_rate,
        warmup_target=config.learning_rate,
        warmup_steps=config.warmup,
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=config.clip_norm)
    # compiled by XLA only where it is the backend's way: on CPUs TensorFlow's own kernels are six times
    # faster
    jit = keras.backend.backend() == "jax"
    model.compile(optimizer=optimizer, loss=LOSSES[config.loss], jit_compile=jit)
    optimizer.build(model.trainable_variables)

    step, spent = 0, 0.0
    if checkpoint.exists():
        state = read_state(checkpoint)
        differing = {
            k for k, v in asdict(config).items() if k not in _MAY_CHANGE and state["config"].get(k) != v
        }
        if differing:
            raise DataError(
                f"{str(run)!r} holds a run with another {', '.join(sorted(differing))}: "
                f"name a new --run folder, or give the options that it was started with"
            )
        restore_checkpoint(checkpoint, model, optimizer)
        step, spent = state["step"], state["seconds"]

    def save() -> None:
        state = {"config": asdict(config), "step": step, "seconds": spent, "seed": config.seed}
        save_checkpoint(checkpoint, model, optimizer, state)

    weights = run / f"{config.model}-x{config.scale}-{config.degradation}{SUFFIX}"

    def export(measured: dict[str, float] | None) -> None:
        bare = chosen.build(
            config.scale, phase=preset.phase
        )  # a compiled model would write its optimizer, too
        bare.set_weights(model.get_weights())
        bare.save_weights(weights)
        content = {
            "architecture": config.model,
            "options": dict(chosen.options),
            "scale": config.scale,
            "degradation": config.degradation,
            "degradation_summary": preset.summary,
            "phase": preset.phase,
            "parameters": model.count_params(),
            "multiply_adds_per_lr_pixel": chosen.macs(config.scale),
            **(card or {}),
            "training": {**asdict(config), "step": step, "hours": round(spent / 3600, 2)},
            "validation": measured,
            "sha256": sha256(weights),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        weights.with_name(weights.name.removesuffix(SUFFIX) + ".json").write_text(text, encoding="utf-8")

    plan = BatchPlan(config.batch, config.frames, 3, config.crop, config.scale)
    log, resumed = _Log(run, step), step
    ahead = batches(pairs, plan, config.seed, step, config.steps)
    try:
        for step in range(resumed + 1, config.steps + 1):
            began = time.perf_counter()
            low, high = next(ahead)
            waited = time.perf_counter() - began
            loss = float(model.train_on_batch(*_shaped(low, high, config.model)))  # type: ignore[arg-type]
            if not np.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at step {step}: lower --learning-rate and start afresh"
                )
            seconds = time.perf_counter() - began
            spent += seconds
            scores = None
            if validation and (step % config.validate_every == 0 or step == config.steps):
                scores = validation(model, chosen)
            log.write(step, loss, float(rate(step)), seconds, waited, scores)
            signum = stop()
            if scores or step == config.steps:
                export(scores)
            if signum or step % config.save_every == 0 or step == config.steps:
                save()
            on_step(Report(step, config.steps, loss, float(rate(step)), seconds, waited, scores))
            if signum:
                raise Interrupted(
                    f"stopped at step {step} of {config.steps}; the same command goes on", signum=signum
                )
    finally:
        ahead.close()
        log.close()
    if not weights.exists():  # a finished run called again: nothing to train, but the result is owed
        export(validation(model, chosen) if validation else None)
    return weights


def _shaped(low: np.ndarray, high: np.ndarray, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as they are for networks that take any length; single windows for the paper's DUF."""
    if model == "duf-s":
        return low, high
    windows = [low[:, i : i + 7] for i in range(high.shape[1])]
    return np.concatenate(windows), np.concatenate(list(np.moveaxis(high, 1, 0)))


class _Log:
    """``log.csv``, one line a step, and the same for TensorBoard where TensorFlow and it are installed."""

    def __init__(self, run: Path, step: int) -> None:
        path = run / "log.csv"
        kept = [["step", "loss", "learning_rate", "seconds", "waited", "validation"]]
        if path.exists():  # steps after the last checkpoint are about to be done again
            with path.open(newline="", encoding="utf-8") as file:
                kept += [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= step]
        self.file = path.open("w", newline="", encoding="utf-8")
        self.csv = csv.writer(self.file)
        self.csv.writerows(kept)
        self.board = None
        if keras.backend.backend() == "tensorflow" and find_spec("tensorboard"):
            import tensorflow as tf

            self.summary, self.board = tf.summary, tf.summary.create_file_writer(str(run / "tensorboard"))

    def write(
        self,
        step: int,
        loss: float,
        rate: float,
        seconds: float,
        waited: float,
        scores: dict[str, float] | None,
    ) -> None:
        row = [step, f"{loss:.6f}", f"{rate:.3e}", f"{seconds:.3f}", f"{waited:.3f}"]
        self.csv.writerow([*row, json.dumps(scores) if scores else ""])
        self.file.flush()
        if self.board:
            values = {"loss": loss, "learning_rate": rate, "seconds": seconds, **(scores or {})}
            with self.board.as_default(step=step):
                for name, value in values.items():
                    self.summary.scalar(name, value)

    def close(self) -> None:
        self.file.close()
        if self.board:
            self.board.close()
