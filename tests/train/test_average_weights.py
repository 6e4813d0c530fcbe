"""``benchmarks/average_weights.py``: the mean of weights, as a file that is used like others."""

from __future__ import annotations

import importlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from tiny_networks import tiny_weights
from vsrcli.models.weights import file_sha256, load_model, read_weights

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def average(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are part of the repository only")
    monkeypatch.syspath_prepend(BENCHMARKS)

    def run(*paths: Path) -> None:
        monkeypatch.setattr(sys, "argv", ["average_weights.py", *map(str, paths)])
        importlib.import_module("average_weights").main()

    return run


def change(path: Path, factor: float) -> None:
    """Multiply all weights of a file."""
    with h5py.File(path, "r+") as file:
        arrays: list[h5py.Dataset] = []
        file.visititems(lambda name, item: arrays.append(item) if isinstance(item, h5py.Dataset) else None)
        for array in arrays:
            array[...] = factor * array[...]


def test_the_mean_is_a_network_that_names_its_origin(average: Callable[..., None], tmp_path: Path) -> None:
    first = tiny_weights(tmp_path, "fast")
    second, out = tmp_path / "second.weights.h5", tmp_path / "mean.weights.h5"
    shutil.copyfile(first, second)
    shutil.copyfile(next(tmp_path.glob("*.json")), tmp_path / "second.json")
    change(second, 3.0)
    average(out, first, second)
    mean = read_weights(out)
    assert mean.card["mean_of"] == [file_sha256(first), file_sha256(second)]
    for ours, before in zip(load_model(mean).weights, load_model(read_weights(first)).weights, strict=True):
        np.testing.assert_allclose(ours.numpy(), 2 * before.numpy(), rtol=1e-6)


def test_another_network_is_refused(
    average: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mean.weights.h5"
    with pytest.raises(SystemExit):
        average(out, tiny_weights(tmp_path, "fast"), tiny_weights(tmp_path, "recurrent"))
    assert "another network than the first: architecture, options" in capsys.readouterr().err
    assert not out.exists()
