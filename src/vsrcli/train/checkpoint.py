"""Checkpoints: one file that holds everything a run needs to go on as if it had never stopped."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.errors import DataError

if TYPE_CHECKING:
    import keras


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
