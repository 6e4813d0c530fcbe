"""Files of a training run: checkpoints, exported weights with their model card, initial weights, the log.

A checkpoint is one file with everything that a run needs to resume exactly. :class:`WeightExporter` writes
the weight file and card for users, and keeps those of the last validations in ``states/``;
:func:`initialize_from` starts a run from weights of another scale or degradation, and :class:`TrainingLog`
writes ``log.csv``, one line per step (and TensorBoard summaries, where TensorFlow is the backend and
TensorBoard is installed).
"""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, UsageError
from vsrcli.models.weights import SUFFIX, file_sha256, load_model, read_weights
from vsrcli.system.files import atomic_write
from vsrcli.system.locks import FileLock, LockHeldError
from vsrcli.train.averaging import average_files, write_card
from vsrcli.train.config import CHECKPOINT_NAME, StepReport, TrainConfig, config_differences
from vsrcli.train.widening import silence_new_blocks, widened_weights

# Layers whose bias encodes the position of each sub-pixel, see interpolating_bias.
FILTER_LAYERS = ("filters", "filters2")
LOG_COLUMNS = ("step", "loss", "learning_rate", "seconds", "waited", "validation", "parts")


@contextlib.contextmanager
def locked_run(run_folder: Path) -> Iterator[None]:
    """Create a run's folder, and keep other trainings out of it: two would write one log and one checkpoint.

    Raises:
        DataError: another process trains in it, or it cannot be written.
    """
    lock = FileLock(run_folder / "lock")
    try:
        run_folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except LockHeldError as error:
        raise DataError(
            f"{str(run_folder)!r}: {error} trains in it; stop it first, or choose another --run"
        ) from None
    except OSError as error:
        raise DataError(
            f"{str(run_folder)!r} cannot be written ({error.strerror}): choose another --run"
        ) from error
    try:
        yield
    finally:
        lock.release()


def save_checkpoint(path: Path, model: keras.Model, optimizer: Any, state: Mapping[str, Any]) -> None:
    """Write weights, optimizer variables (moments, step) and ``state`` atomically.

    Args:
        path: ``.npz`` file. A killed process leaves the previous one.
        model, optimizer: both built.
        state: serializable as JSON: step, seed, configuration. Batches depend on (seed, step) alone, so these
            two are the random state.
    """
    arrays = {f"model{i:04}": np.asarray(v) for i, v in enumerate(model.get_weights())}
    arrays |= {f"optimizer{i:04}": _to_numpy(v) for i, v in enumerate(optimizer.variables)}
    arrays["state"] = np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)
    atomic_write(path, lambda file: np.savez(file, **arrays))  # type: ignore[arg-type]


def read_state(path: Path) -> dict[str, Any]:
    """Read the ``state`` of a checkpoint.

    Raises:
        DataError: the file is not a checkpoint.
    """
    try:
        with np.load(path) as archive:
            return json.loads(archive["state"].tobytes())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{str(path)!r} is not a checkpoint of vsr train: {error}; move it away") from error


def read_resumable_state(run_folder: Path, config: TrainConfig, init: Path | None) -> dict[str, Any] | None:
    """Read the ``state`` that a run resumes from; None if its folder has no checkpoint.

    Args:
        run_folder: folder of the run.
        config: what it is to be resumed with.
        init: initial weights that were named, if any.

    Raises:
        DataError: the folder holds a run of another configuration, or a damaged checkpoint.
        UsageError: it has more steps than wanted.
        ModelError: ``init`` cannot be read.
    """
    checkpoint = run_folder / CHECKPOINT_NAME
    if not checkpoint.exists():
        return None
    state = read_state(checkpoint)
    differing = config_differences(config, state["config"])
    if not same_initial_weights(init, state.get("init")):
        differing.append("init")
    if differing:
        raise DataError(
            f"{str(run_folder)!r} holds a run with another {', '.join(differing)}: "
            f"use a new --run folder, or the options that it was started with"
        )
    if config.steps < (done := state["step"]):
        raise UsageError(
            f"{str(run_folder)!r} has {done} steps already: give --steps {done} or more, or a new --run "
            "folder"
        )
    return state


def restore_checkpoint(path: Path, model: keras.Model, optimizer: Any) -> None:
    """Fill a model and its built optimizer from a checkpoint of the same architecture.

    Raises:
        DataError: shapes differ.
    """
    with np.load(path) as archive:
        weights = [archive[name] for name in sorted(archive.files) if name.startswith("model")]
        moments = [archive[name] for name in sorted(archive.files) if name.startswith("optimizer")]
    try:
        model.set_weights(weights)
        for variable, value in zip(optimizer.variables, moments, strict=True):
            variable.assign(value)
    except ValueError as error:
        raise DataError(
            f"{str(path)!r} belongs to another network: {error}; name a new --run folder"
        ) from error


class WeightExporter:
    """Write a run's weight file and model card.

    Args:
        config: configuration of the run.
        run_folder: folder of the run; the files are written there.
        card: further entries of the model card (data, licence, command).

    Attributes:
        architecture: the trained architecture.
        network: a float32 network without optimizer, with the weights of the last :meth:`set_weights`.
        path: ``MODEL-xSCALE-DEGRADATION.weights.h5`` in ``run_folder``; for adversarial training,
            ``MODEL-xSCALE-DEGRADATION-sharp.weights.h5``.
        states: folder of the last ``config.keep`` of these files, as ``NAME-STEP.weights.h5`` with their
            cards, which ``vsr upscale -m`` and ``--init`` take as they are.
    """

    def __init__(self, config: TrainConfig, run_folder: Path, card: Mapping[str, Any]) -> None:
        self.architecture = config.architecture
        self.network = self.architecture.build(config.scale, phase=PRESETS[config.degradation].phase)
        name = f"{config.model}-x{config.scale}-{config.degradation}"
        self.path = run_folder / f"{name}{'-sharp' if config.adversarial else ''}{SUFFIX}"
        self.states = run_folder / "states"
        self._config, self._card = config, card

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set the network's weights, in the order of ``model.get_weights()``."""
        self.network.set_weights(list(weights))

    def write(self, step: int, seconds: float, scores: Mapping[str, float] | None) -> None:
        """Write the weights and their card.

        Args:
            step, seconds: steps trained so far, and the time they took.
            scores: validation scores of these weights, or None.
        """
        config, preset = self._config, PRESETS[self._config.degradation]
        self.network.save_weights(self.path)
        content = {
            "architecture": config.model,
            "options": dict(self.architecture.options),
            "scale": config.scale,
            "degradation": config.degradation,
            "degradation_summary": preset.summary,
            "degradation_parameters": asdict(preset),
            "look": config.look,
            "phase": preset.phase,
            "parameters": self.network.count_params(),
            "multiply_adds_per_lr_pixel": self.architecture.multiply_adds(config.scale),
            **self._card,
            "training": {**asdict(config), "step": step, "hours": round(seconds / 3600, 2)},
            "validation": scores,
            "sha256": file_sha256(self.path),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self._card_of(self.path).write_text(text, encoding="utf-8")
        if config.keep:
            self._keep(step)

    def _keep(self, step: int) -> None:
        self.states.mkdir(exist_ok=True)
        stem = self.path.name.removesuffix(SUFFIX)
        state = self.states / f"{stem}-{step:07}{SUFFIX}"
        shutil.copyfile(self._card_of(self.path), self._card_of(state))
        shutil.copyfile(self.path, state)
        for old in self._kept()[: -self._config.keep]:
            old.unlink()
            self._card_of(old).unlink(missing_ok=True)

    def remove_states(self, step: int) -> None:
        """Remove the states of steps after this one, which run again, or were another run's."""
        for state in self._kept():
            if int(state.name.removesuffix(SUFFIX)[-7:]) > step:
                state.unlink()
                self._card_of(state).unlink(missing_ok=True)

    def _kept(self) -> list[Path]:
        """Return the kept states, the oldest first."""
        stem = self.path.name.removesuffix(SUFFIX)
        return sorted(self.states.glob(f"{stem}-{'[0-9]' * 7}{SUFFIX}"))

    def write_mean(
        self, score: Callable[[keras.Model], Mapping[str, float]]
    ) -> tuple[Path, Mapping[str, float]] | None:
        """Write the mean of the kept states as ``states/NAME-mean.weights.h5``, validated.

        Args:
            score: returns the validation scores of a network.

        Returns:
            The file and its scores; None if fewer than two states are kept.
        """
        stem = self.path.name.removesuffix(SUFFIX)
        states = self._kept()
        if len(states) < 2:
            return None
        mean = self.states / f"{stem}-mean{SUFFIX}"
        average_files(mean, states)
        weights = read_weights(mean)
        scores = score(load_model(weights))
        write_card(mean, {**weights.card, "validation": scores})
        return mean, scores

    @staticmethod
    def _card_of(path: Path) -> Path:
        return path.with_name(path.name.removesuffix(SUFFIX) + ".json")


@dataclass(frozen=True)
class WeightTransfer:
    """Record of an initialization from a weight file; stored in checkpoint and model card.

    Attributes:
        name: file name.
        sha256: hash of the file.
        fresh: names of layers that start untrained; ``LAYER bias`` if only a layer's bias does.
        revived: layer -> number of its dead channels that have got new kernels.
        widened: names of layers that have the file's channels, and more.
    """

    name: str
    sha256: str
    fresh: tuple[str, ...]
    revived: Mapping[str, int] = field(default_factory=dict)
    widened: tuple[str, ...] = ()

    def __str__(self) -> str:
        widened = f"; more channels: {', '.join(self.widened)}" if self.widened else ""
        return f"starting from {self.name}; fresh: {', '.join(self.fresh) or 'nothing'}{widened}"


def initialize_from(path: Path, model: keras.Model, phase: str) -> WeightTransfer:
    """Copy every layer that the weight file has under the same name and with the same shapes.

    Of a narrower network for the same scale, layers become the first channels of this one's, which begins
    with its results (:mod:`vsrcli.train.widening`). Weights for the other pixel grid keep their filters, but
    not the filters' bias, which encodes the sub-pixel positions of that grid. The recall of a network without
    feedback takes what another one's does with the hidden state.

    Args:
        path: a ``.weights.h5`` file, its card in the same folder.
        model: freshly built, on the pixel grid ``phase``.
        phase: ``centre`` or ``zero``.

    Raises:
        ModelError: no such file, no card, or a damaged file.
        DataError: no layer matches.
    """
    weights = read_weights(path)
    trained = load_model(weights)
    source_weights = {layer.name: layer.get_weights() for layer in trained.layers}
    fresh, widened, copied_count = [], [], 0
    for layer in model.layers:
        own, other = layer.get_weights(), source_weights.get(layer.name)
        if not own:
            continue
        if other is not None and layer.name == "recall" and not getattr(model, "has_feedback", True):
            kernel, bias = other
            other = [kernel[:, :, : own[0].shape[2]], bias]
        if other is None or [w.shape for w in own] != [w.shape for w in other]:
            other = widened_weights(layer, model, trained)
            if other is None:
                fresh.append(layer.name)
                continue
            widened.append(layer.name)
        if layer.name in FILTER_LAYERS and weights.card.get("phase", "centre") != phase:
            other = [*other[:-1], own[-1]]
            fresh.append(f"{layer.name} bias")
        layer.set_weights(other)
        copied_count += 1
    if not copied_count:
        raise DataError(
            f"{str(path)!r} ({weights.architecture.name}) shares no layer with this network: "
            "use weights of the same architecture"
        )
    if getattr(model, "scale", None) == getattr(trained, "scale", None):
        silence_new_blocks(model, trained)
    return WeightTransfer(path.name, str(weights.card["sha256"]), tuple(fresh), widened=tuple(widened))


def same_initial_weights(path: Path | None, recorded: dict[str, Any] | None) -> bool:
    """Return whether ``path`` is the weight file that a run recorded as its start.

    A ``path`` of None matches any run: resuming does not require the option again.
    """
    if path is None:
        return True
    return recorded is not None and read_weights(path).card.get("sha256") == recorded["sha256"]


class TrainingLog:
    """Append to ``log.csv`` and TensorBoard summaries of a run.

    Args:
        run_folder: folder of the run.
        step: step of the checkpoint that the run resumes from; later lines are dropped, since those steps
            run again.
    """

    def __init__(self, run_folder: Path, step: int) -> None:
        path = run_folder / "log.csv"
        rows: list[list[str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                rows = [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= step]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._file)
        self._rows.writerows([LOG_COLUMNS, *rows])
        self._summary_writer = None
        if keras.backend.backend() == "tensorflow" and find_spec("tensorboard"):
            import tensorflow as tf

            self._summary, self._summary_writer = (
                tf.summary,
                tf.summary.create_file_writer(str(run_folder / "tensorboard")),
            )

    def write(self, report: StepReport) -> None:
        """Append the line of a step."""
        scores = report.validation or {}
        row = [report.step, f"{report.loss:.6f}", f"{report.learning_rate:.3e}"]
        row += [f"{report.seconds:.3f}", f"{report.wait_seconds:.3f}", json.dumps(scores) if scores else ""]
        parts = {name: round(value, 6) for name, value in report.parts.items()}
        row += [json.dumps(parts) if parts else ""]
        self._rows.writerow(row)
        self._file.flush()
        if self._summary_writer:
            values = {"loss": report.loss, "learning_rate": report.learning_rate, "seconds": report.seconds}
            with self._summary_writer.as_default(step=report.step):
                for name, value in (values | dict(report.parts) | scores).items():
                    self._summary.scalar(name, value)

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._summary_writer:
            self._summary_writer.close()


def _to_numpy(variable: Any) -> np.ndarray:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value))
