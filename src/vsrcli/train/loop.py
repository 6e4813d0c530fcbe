"""The training loop, to be read from top to bottom.

All defaults are in :class:`~vsrcli.train.config.TrainConfig`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, SignalInterruptError
from vsrcli.models.architectures import Architecture
from vsrcli.system.signals import current_token
from vsrcli.train.adversarial import DISCRIMINATOR_LOSS, AdversarialTrainer, join_optimizers
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.checkpoints import (
    TrainingLog,
    WeightExporter,
    initialize_from,
    read_resumable_state,
    restore_checkpoint,
    save_checkpoint,
)
from vsrcli.train.config import (
    CHECKPOINT_NAME,
    StepReport,
    TrainConfig,
    check_sequences,
    require_initial_weights,
    temporal_margin,
)
from vsrcli.train.device_data import open_dataset
from vsrcli.train.hardware import data_parallel, dtype_policy
from vsrcli.train.losses import loss_of, sequence_loss
from vsrcli.train.optimizers import evaluation_weights, make_optimizer
from vsrcli.train.pairs import TrainingPair, footage_digest
from vsrcli.train.revival import dead_channels, revive
from vsrcli.train.validation import Validation

__all__ = ["StepReport", "TrainConfig", "train"]

LOOKED_AT = 4  # batches that channels which are always zero are looked for on


def train(
    config: TrainConfig,
    pairs: Sequence[TrainingPair],
    run_folder: Path,
    *,
    validation: Validation | None = None,
    card: dict[str, Any] | None = None,
    init: Path | None = None,
    revive_dead: bool = False,
    on_step: Callable[[StepReport], None] = lambda report: None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Path:
    """Train a network; resume if the run folder has a checkpoint.

    Args:
        config: see :class:`TrainConfig`. A resumed run may change ``RESUMABLE_CHANGES`` only; with other
            ``steps``, a cosine of the learning rate is stretched over the new length.
        pairs: training footage, see :func:`~vsrcli.train.pairs.prepare_pairs`.
        run_folder: folder for ``checkpoint.npz``, ``log.csv``, ``tensorboard/`` (where TensorFlow is the
            backend) and, after each validation and at the end, the weight file with its card.
        validation: scored every ``validate_every`` steps and at the end, when the mean of the kept states
            (``config.keep``) is scored and written, too.
        card: further entries of the model card (data, licence, command).
        init: weights that a new run starts from, see :func:`~vsrcli.train.checkpoints.initialize_from`.
        revive_dead: give channels of ``init`` that are always zero new kernels
            (:mod:`~vsrcli.train.revival`); otherwise a notice counts them.
        on_step: called with the progress after each step.
        on_notice: called with one-line notices for people.

    Returns:
        The weight file.

    Raises:
        UsageError: sizes do not fit the network, or the batch not the number of GPUs; adversarial training
            without ``init``, or without the package of its feature distance; fewer steps than the run has.
        EngineError: fewer GPUs than requested.
        DataError: the folder holds a run of another configuration or on other footage, ``init`` does not fit,
            or the loss is not finite.
        ModelError: ``init`` cannot be read.
        SignalInterruptError: a signal arrived; a checkpoint is written, if this run has done a step.
    """
    # Network and optimizer.
    architecture, preset = config.architecture, PRESETS[config.degradation]
    check_sequences(config, architecture)
    parallel = data_parallel(config.gpus, config.batch)
    checkpoint = run_folder / CHECKPOINT_NAME
    require_initial_weights(config, init, checkpoint)
    state = read_resumable_state(run_folder, config, init)
    run_folder.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(config.seed)
    with parallel():
        model, optimizer, rate = build_trainer(config, architecture, preset.phase)
    network = getattr(model, "generator", model)
    plan = BatchPlan(
        config.batch,
        config.frames,
        temporal_margin(architecture),
        config.crop,
        config.scale,
        phase=preset.phase,
        uncompressed=preset.uncompressed_count,
        compressed_share=config.compressed_share,
    )

    data = open_dataset(config.data, pairs, plan, preset, architecture)

    # Resume from the checkpoint, or initialize from other weights.
    step, total_seconds, init_record = 0, 0.0, None
    digest = footage_digest(pairs)
    if state is not None:
        init_record = state.get("init")
        if state.get("footage", digest) != digest:  # checkpoints of before do not say
            raise DataError(
                f"{str(run_folder)!r} holds a run on other footage: use that which it was started with, or a "
                "new --run folder and --init to go on from its weights"
            )
        restore_checkpoint(checkpoint, model, optimizer)
        step, total_seconds = state["step"], state["seconds"]
    elif init is not None:
        transfer = initialize_from(init, network, preset.phase)
        on_notice(str(transfer))
        looked_at = [make_batch(pairs, plan, config.seed, number)[0] for number in range(LOOKED_AT)]
        if dead := dead_channels(network, looked_at):
            counts = {name: int(channels.sum()) for name, channels in dead.items()}
            if revive_dead:
                revive(network, dead, config.seed)
                transfer = replace(transfer, revived=counts)
            what = "new kernels for" if revive_dead else "consider --revive: there are"
            listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
            on_notice(f"{what} channels that are always zero: {listed}")
        init_record = asdict(transfer)

    def save() -> None:
        state = {"config": asdict(config), "step": step, "seconds": total_seconds, "seed": config.seed}
        save_checkpoint(checkpoint, model, optimizer, state | {"init": init_record, "footage": digest})

    exporter = WeightExporter(
        config, run_folder, (card or {}) | ({"init": init_record} if init_record else {})
    )

    def validate_and_export() -> dict[str, float] | None:
        exporter.set_weights(evaluation_weights(network, optimizer))
        scores = validation(exporter.network, architecture) if validation else None
        exporter.write(step, total_seconds, scores)
        return scores

    exporter.remove_states(step)
    log, first = TrainingLog(run_folder, step), step + 1
    batches = data.batches(config.seed, step, config.steps)

    # Steps. Once the first is done, a stop is not forced any more: it writes a checkpoint.
    saved, cancel = step, current_token()
    try:
        for number in range(first, config.steps + 1):
            cancel.raise_if_cancelled()
            started = time.perf_counter()
            low, high = next(batches)
            wait_seconds = time.perf_counter() - started
            with parallel():
                parts = model.train_on_batch(low, high, return_dict=True)  # type: ignore[arg-type]
            loss = float(parts.pop("loss")) - float(parts.get(DISCRIMINATOR_LOSS, 0.0))  # type: ignore[union-attr]
            if not np.isfinite(loss):
                raise DataError(
                    f"the loss became {loss} at step {number}: lower --learning-rate and start a new run"
                )
            step, cancel.force_exit_after = number, None
            seconds = time.perf_counter() - started
            total_seconds += seconds
            last = step == config.steps
            is_due = last or (validation and step % config.validate_every == 0)
            scores = validate_and_export() if is_due else None
            losses = {name: float(value) for name, value in parts.items()}  # type: ignore[union-attr]
            report = StepReport(
                step, config.steps, loss, float(rate(step - 1)), seconds, wait_seconds, scores, losses
            )
            log.write(report)
            if last or step % config.save_every == 0:
                save()
                saved = step
            on_step(report)
    except SignalInterruptError as stop:
        if step > saved:
            save()
        message = f"stopped at step {step} of {config.steps}; the same command resumes"
        raise SignalInterruptError(message, signum=stop.signum) from None
    finally:
        batches.close()
        log.close()
    if not exporter.path.exists():  # a finished run whose weight file is missing
        validate_and_export()
    if validation and step >= first:
        mean = exporter.write_mean(lambda scored: validation(scored, architecture))
        if mean is not None:
            gains = ", ".join(f"{name} {value:+.2f}" for name, value in mean[1].items() if "gain" in name)
            on_notice(f"the mean of the kept states is {mean[0]}: {gains}")
    return exporter.path


def build_trainer(
    config: TrainConfig, architecture: Architecture, phase: str
) -> tuple[keras.Model, Any, Any]:
    """Build what trains a network.

    Returns:
        ``(model, optimizer, rate)``: the network, compiled with loss and optimizer, or an
        :class:`~vsrcli.train.adversarial.AdversarialTrainer` of it; the optimizer, built; and the learning
        rate as a function of the step.
    """
    with dtype_policy(config.precision):
        model = architecture.build(config.scale, phase=phase)
    model.autocast = False  # the layers convert their features; frames stay in float32
    optimizer, rate = make_optimizer(config)
    if config.adversarial is None:
        output_count = config.frames - 2 * temporal_margin(architecture)
        loss = sequence_loss(loss_of(config), config.temporal_weight, output_count)
    else:
        model, loss = AdversarialTrainer(model, architecture, config), None
        optimizer = join_optimizers(optimizer, model, config)
    # Compiled by XLA on JAX only: on CPUs, TensorFlow's own kernels are six times faster.
    jit = keras.backend.backend() == "jax"
    model.compile(optimizer=optimizer, loss=loss, jit_compile=jit, auto_scale_loss=False)
    optimizer.build(model.trainable_variables)
    return model, optimizer, rate
