"""Checkpoints: one file that holds everything a run needs to go on as if it had never stopped.

What a run gives away: a weight file with its model card, and the network to score it with.

Starting from weights that something else was trained to: another scale, another degradation.

``log.csv``, one line a step, and the same for TensorBoard where TensorFlow and it are installed.
"""

from __future__ import annotations

import csv
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import keras
import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError
from vsrcli.models.weights import SUFFIX, file_sha256, load_model, read_weights
from vsrcli.train.config import StepReport, TrainConfig


def save_checkpoint(path: Path, model: keras.Model, optimizer: Any, state: Mapping[str, Any]) -> None:
    """Write weights, optimizer (moments, step) and ``state`` atomically.

    Args:
        path: ``.npz`` file; written beside it and renamed, so that a kill leaves the previous one.
        model, optimizer: built.
        state: whatever JSON can hold: step, seed, configuration, history. Batches depend on (seed, step)
            alone, so these two are the random state.
    """
    arrays = {f"model{i:04}": np.asarray(v) for i, v in enumerate(model.get_weights())}
    arrays |= {f"optimizer{i:04}": _numpy(v) for i, v in enumerate(optimizer.variables)}
    arrays["state"] = np.frombuffer(json.dumps(dict(state)).encode(), np.uint8)
    partial = path.with_name(path.name + ".part")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def read_state(path: Path) -> dict[str, Any]:
    """The ``state`` of a checkpoint.

    Raises:
        DataError: the file is no checkpoint.
    """
    try:
        with np.load(path) as archive:
            return json.loads(archive["state"].tobytes())
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"{str(path)!r} is no checkpoint of vsr train: {error}; move it away") from error


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


def _numpy(variable: Any) -> np.ndarray:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(variable.value))


class WeightExporter:
    """The bare network of a run, in float32 and without an optimizer, and the files made from it.

    Args:
        config: of the run.
        run: its folder.
        card: what the model card shall say besides what is known here (data, licence, command).

    Attributes:
        network: holds the weights of the last :meth:`fill`.
        path: ``JOURNAL_NAME.weights.h5``.
    """

    def __init__(self, config: TrainConfig, run: Path, card: Mapping[str, Any]) -> None:
        self.chosen = config.architecture
        self.network = self.chosen.build(config.scale, phase=PRESETS[config.degradation].phase)
        self.path = run / f"{config.model}-x{config.scale}-{config.degradation}{SUFFIX}"
        self._config, self._card = config, card

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Take the weights that a run has reached."""
        self.network.set_weights(list(weights))

    def write(self, step: int, seconds: float, measured: Mapping[str, float] | None) -> None:
        """Write the weights and their card.

        Args:
            step, seconds: how far the run is, and what it took.
            measured: scores of these weights.
        """
        config, preset = self._config, PRESETS[self._config.degradation]
        self.network.save_weights(self.path)
        content = {
            "architecture": config.model,
            "options": dict(self.chosen.options),
            "scale": config.scale,
            "degradation": config.degradation,
            "degradation_summary": preset.summary,
            "degradation_parameters": asdict(preset),
            "phase": preset.phase,
            "parameters": self.network.count_params(),
            "multiply_adds_per_lr_pixel": self.chosen.multiply_adds(config.scale),
            **self._card,
            "training": {**asdict(config), "step": step, "hours": round(seconds / 3600, 2)},
            "validation": measured,
            "sha256": file_sha256(self.path),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.path.with_name(self.path.name.removesuffix(SUFFIX) + ".json").write_text(text, encoding="utf-8")


FILTERS = ("filters", "filters2")  # layers whose bias says where each sub-pixel lies, see interpolating_bias


@dataclass(frozen=True)
class Transfer:
    """What was taken over.

    Attributes:
        name: of the weight file.
        sha256: of the weight file.
        fresh: names of layers that start untrained, or ``LAYER bias`` for part of one.
    """

    name: str
    sha256: str
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        return f"starting from {self.name}; fresh: {', '.join(self.fresh) or 'nothing'}"


def initialize_from(path: Path, model: keras.Model, phase: str) -> Transfer:
    """Fill the layers of a network that a weight file has under the same name and with the same shapes.

    Weights for the other pixel grid keep their filters, but not the filters' bias: it points at where the
    sub-pixels lay on that grid.

    Args:
        path: a ``.weights.h5`` file with its card beside it.
        model: freshly built, on the pixel grid ``phase``.
        phase: ``centre`` or ``zero``.

    Raises:
        ModelError: no such file, no card, or a damaged file.
        DataError: no layer agrees.
    """
    weights = read_weights(path)
    theirs = {layer.name: layer.get_weights() for layer in load_model(weights).layers}
    fresh, taken = [], 0
    for layer in model.layers:
        ours, other = layer.get_weights(), theirs.get(layer.name)
        if not ours:
            continue
        if other is None or [w.shape for w in ours] != [w.shape for w in other]:
            fresh.append(layer.name)
            continue
        if layer.name in FILTERS and weights.card.get("phase", "centre") != phase:
            other = [*other[:-1], ours[-1]]
            fresh.append(f"{layer.name} bias")
        layer.set_weights(other)
        taken += 1
    if not taken:
        raise DataError(
            f"{str(path)!r} ({weights.architecture.name}) shares no layer with this network: "
            "name weights of the same architecture and sizes"
        )
    return Transfer(path.name, str(weights.card["sha256"]), tuple(fresh))


def same_initial_weights(path: Path | None, recorded: dict[str, Any] | None) -> bool:
    """Whether a run that recorded its start may go on with ``path``; None asks for nothing."""
    if path is None:
        return True
    return recorded is not None and read_weights(path).card.get("sha256") == recorded["sha256"]


HEADINGS = ("step", "loss", "learning_rate", "seconds", "waited", "validation")


class TrainingLog:
    """The log of a run.

    Args:
        run: its folder.
        step: of the checkpoint that the run goes on from; lines after it are about to be done again and go.
    """

    def __init__(self, run: Path, step: int) -> None:
        path = run / "log.csv"
        kept: list[list[str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                kept = [row for row in list(csv.reader(file))[1:] if row and int(row[0]) <= step]
        self._file = path.open("w", newline="", encoding="utf-8")
        self._csv = csv.writer(self._file)
        self._csv.writerows([HEADINGS, *kept])
        self._board = None
        if keras.backend.backend() == "tensorflow" and find_spec("tensorboard"):
            import tensorflow as tf

            self._summary, self._board = tf.summary, tf.summary.create_file_writer(str(run / "tensorboard"))

    def write(self, report: StepReport) -> None:
        """Add the line of a step."""
        scores = report.validation or {}
        row = [report.step, f"{report.loss:.6f}", f"{report.learning_rate:.3e}"]
        row += [f"{report.seconds:.3f}", f"{report.waited:.3f}", json.dumps(scores) if scores else ""]
        self._csv.writerow(row)
        self._file.flush()
        if self._board:
            values = {"loss": report.loss, "learning_rate": report.learning_rate, "seconds": report.seconds}
            with self._board.as_default(step=report.step):
                for name, value in (values | scores).items():
                    self._summary.scalar(name, value)

    def close(self) -> None:
        self._file.close()
        if self._board:
            self._board.close()
