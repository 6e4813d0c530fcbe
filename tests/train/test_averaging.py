"""The mean of weights, as a file that is used like others."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from tiny_networks import tiny_weights
from vsrcli.errors import DataError
from vsrcli.models.weights import file_sha256, load_model, read_weights
from vsrcli.train import averaging
from vsrcli.train.averaging import average_files


def change(path: Path, factor: float) -> None:
    """Multiply all weights of a file."""
    with h5py.File(path, "r+") as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        for array in arrays:
            array[...] = factor * array[...]


def test_the_mean_is_a_network_that_names_its_origin(tmp_path: Path) -> None:
    first = tiny_weights(tmp_path, "fast")
    second, out = tmp_path / "second.weights.h5", tmp_path / "mean.weights.h5"
    shutil.copyfile(first, second)
    shutil.copyfile(next(tmp_path.glob("*.json")), tmp_path / "second.json")
    change(second, 3.0)
    average_files(out, [first, second])
    mean = read_weights(out)
    assert mean.card["mean_of"] == [file_sha256(first), file_sha256(second)]
    for ours, before in zip(load_model(mean).weights, load_model(read_weights(first)).weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), 2 * before.numpy(), rtol=1e-6)


def test_another_network_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "mean.weights.h5"
    with pytest.raises(DataError, match="another network than the first: architecture, options"):
        average_files(out, [tiny_weights(tmp_path, "fast"), tiny_weights(tmp_path, "recurrent")])
    assert not out.exists()


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    first, out = tiny_weights(tmp_path, "fast"), tmp_path / "new" / "mean.weights.h5"
    monkeypatch.setattr(sys, "argv", ["averaging", str(out), str(first), str(first)])
    averaging.main()
    assert "the mean of 2 files" in capsys.readouterr().out
    assert read_weights(out).card["mean_of"] == [file_sha256(first)] * 2
    monkeypatch.setattr(sys, "argv", ["averaging", str(out), str(tmp_path / "none.weights.h5")])
    with pytest.raises(SystemExit, match=r"none\.weights\.h5"):
        averaging.main()
