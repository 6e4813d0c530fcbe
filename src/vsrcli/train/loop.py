"""The training loop, to be read from top to bottom. All defaults stand in
:class:`~vsrcli.train.config.TrainConfig`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, SignalInterruptError
from vsrcli.models.architectures import Architecture
from vsrcli.train.batches import BatchPlan
from vsrcli.train.checkpoints import (
    TrainingLog,
    WeightExporter,
    initialize_from,
    read_state,
    restore_checkpoint,
    same_initial_weights,
    save_checkpoint,
)
from vsrcli.train.config import StepReport, TrainConfig, check_sequences, config_differences, temporal_margin
from vsrcli.train.device_data import open_dataset
from vsrcli.train.footage import TrainingPair
from vsrcli.train.hardware import data_parallel, dtype_policy
from vsrcli.train.optimizers import make_optimizer, sequence_loss, weights_to_keep
from vsrcli.train.validation import Validation

__all__ = ["StepReport", "TrainConfig", "train"]


def train(
    config: TrainConfig,
    pairs: Sequence[TrainingPair],
    run: Path,
    *,
    validation: Validation | None = None,
    card: dict[str, Any] | None = None,
    init: Path | None = None,
    stop: Callable[[], int] = lambda: 0,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Path:
    """Train, or go on training: a run folder that holds a checkpoint is continued.

    Args:
        config: see :class:`TrainConfig`. ``steps`` may be changed when a run is continued (the cosine is then
            stretched over the new length); everything else must be as it was.
        pairs: training footage, see :func:`~vsrcli.train.footage.prepare_pairs`.
        run: folder for ``checkpoint.npz``, ``log.csv``, ``tensorboard/`` (where TensorFlow is the backend)
            and, after each validation and at the end, ``JOURNAL_NAME.weights.h5`` with its card.
        validation: scored every ``validate_every`` steps and at the end.
        card: what the model card shall say besides what is known here (data, licence, command).
        init: weights that a new run starts from, see :func:`~vsrcli.train.checkpoints.initialize_from`.
        stop: polled after each step; a signal number ends the run with a checkpoint.
        on_step: progress.
        on_note: told what someone should know, in one line.

    Returns:
        The weight file.

    Raises:
        UsageError: sizes that do not fit the network, or the number of GPUs.
        EngineError: fewer GPUs than asked for.
        DataError: the folder holds a run of another configuration, or ``init`` does not fit.
        ModelError: ``init`` cannot be read.
        Interrupted: ``stop`` said so; the checkpoint is written.
    """
    chosen, preset = config.architecture, PRESETS[config.degradation]
    check_sequences(config, chosen)
    shared = data_parallel(config.gpus, config.batch)
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "checkpoint.npz"
    keras.utils.set_random_seed(config.seed)
    with shared():
        model, optimizer, rate = build_trainer(config, chosen, preset.phase)

    step, spent, origin = 0, 0.0, None
    if checkpoint.exists():
        state = read_state(checkpoint)
        origin = state.get("init")
        differing = config_differences(config, state["config"]) + ["init"] * (
            not same_initial_weights(init, origin)
        )
        if differing:
            raise DataError(
                f"{str(run)!r} holds a run with another {', '.join(differing)}: "
                f"name a new --run folder, or give the options that it was started with"
            )
        restore_checkpoint(checkpoint, model, optimizer)
        step, spent = state["step"], state["seconds"]
    elif init is not None:
        transfer = initialize_from(init, model, preset.phase)
        origin = asdict(transfer)
        on_note(str(transfer))

    def save() -> None:
        state = {"config": asdict(config), "step": step, "seconds": spent, "seed": config.seed}
        save_checkpoint(checkpoint, model, optimizer, state | {"init": origin})

    export = WeightExporter(config, run, (card or {}) | ({"init": origin} if origin else {}))

    def give(score: bool) -> dict[str, float] | None:
        export.set_weights(weights_to_keep(model, optimizer))
        scores = validation(export.network, chosen) if validation and score else None
        export.write(step, spent, scores)
        return scores

    plan = BatchPlan(
        config.batch, config.frames, temporal_margin(chosen), config.crop, config.scale, phase=preset.phase
    )
    data = open_dataset(config.data, pairs, plan, preset, chosen)
    log, resumed = TrainingLog(run, step), step
    ahead = data.batches(config.seed, step, config.steps)
    try:
        for step in range(resumed + 1, config.steps + 1):
            began = time.perf_counter()
            low, high = next(ahead)
            waited = time.perf_counter() - began
            with shared():
                loss = float(model.train_on_batch(low, high))  # type: ignore[arg-type]
            if not np.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at step {step}: lower --learning-rate and start afresh"
                )
            seconds = time.perf_counter() - began
            spent += seconds
            last = step == config.steps
            scores = give(True) if last or (validation and step % config.validate_every == 0) else None
            report = StepReport(step, config.steps, loss, float(rate(step)), seconds, waited, scores)
            log.write(report)
            signum = stop()
            if signum or last or step % config.save_every == 0:
                save()
            on_step(report)
            if signum:
                raise SignalInterruptError(
                    f"stopped at step {step} of {config.steps}; the same command goes on", signum=signum
                )
    finally:
        ahead.close()
        log.close()
    if not export.path.exists():  # a finished run called again: nothing to train, but the result is owed
        give(True)
    return export.path


def build_trainer(config: TrainConfig, chosen: Architecture, phase: str) -> tuple[keras.Model, Any, Any]:
    """The network, compiled with its optimizer; the optimizer, built; the learning rate of a step."""
    with dtype_policy(config.precision):
        model = chosen.build(config.scale, phase=phase)
    model.autocast = False  # the layers convert their features; pictures stay in float32
    optimizer, rate = make_optimizer(config)
    loss = sequence_loss(config.loss, config.temporal_weight, config.frames - 2 * temporal_margin(chosen))
    # compiled by XLA only where it is the backend's way: on CPUs TensorFlow's own kernels are six times
    # faster
    jit = keras.backend.backend() == "jax"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=jit, auto_scale_loss=False)
    optimizer.build(model.trainable_variables)
    return model, optimizer, rate
