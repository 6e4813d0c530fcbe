"""Graphs are kept for the next run: never trusted blindly, never needed, and quick when they are there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from networks import answers, film

from tiny_networks import tiny_weights
from vsrcli.inference import openvino
from vsrcli.inference.graph_cache import GraphCache
from vsrcli.inference.openvino import OpenvinoEngine
from vsrcli.inference.precision import choose_cpu_precision, max_abs_difference
from vsrcli.models.weights import Weights, read_weights

FRAMES = film(4)
fp32_engine = partial(OpenvinoEngine, precision="fp32")  # "auto" would look at graphs in bf16, too

RUN = """
import sys
from pathlib import Path
import numpy as np
from vsrcli.inference.selection import choose, open_engine
from fractions import Fraction
engine = open_engine(choose(sys.argv[1], Fraction(2)), device="cpu", precision=sys.argv[3], on_notice=print)
stream = engine.open(10, 12)
frames = np.random.default_rng(4).random((4, 10, 12, 3)).astype(np.float32)
for frame in frames:
    picture = stream.push(frame)
np.save(sys.argv[2], picture)
unwanted = ("keras", "tensorflow", "jax", "torch", "openvino_telemetry.main")  # the last one calls its makers
print("loaded:", *(name for name in unwanted if sys.modules.get(name)))
"""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("VSR_CACHE", str(folder))
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return read_weights(tiny_weights(tmp_path_factory.mktemp("weights"), "cached"))


def started(weights: Weights, picture: Path, precision: str = "auto") -> subprocess.Popen[str]:
    """A process of its own that computes a picture."""
    arguments = [sys.executable, "-c", RUN, str(weights.path), str(picture), precision]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    return out.splitlines()


def test_a_warm_start_loads_neither_keras_nor_its_backends(
    cache: Path, weights: Weights, tmp_path: Path
) -> None:
    """Nor does a cold one: graphs are built by another process."""
    for run in ("cold", "warm"):
        assert said(started(weights, tmp_path / f"{run}.npy")) == ["loaded:"]
    np.testing.assert_array_equal(np.load(tmp_path / "cold.npy"), np.load(tmp_path / "warm.npy"))


def test_two_processes_at_once(cache: Path, weights: Weights, tmp_path: Path) -> None:
    # with "auto", a CPU that has bfloat16 would compare the two, in graphs of another size
    both = [started(weights, tmp_path / f"{number}.npy", "fp32") for number in range(2)]
    for process in both:
        assert said(process) == ["loaded:"]
    np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / "1.npy"))
    assert len(list((cache / "openvino").iterdir())) == 1  # one entry, and nothing half done


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "manifest"])
def test_a_damaged_entry_is_built_anew(cache: Path, weights: Weights, damage: str) -> None:
    notices: list[str] = []
    expected = answers(fp32_engine(weights).open(10, 12), FRAMES)
    (entry,) = (cache / "openvino").iterdir()
    file = entry / ("manifest.json" if damage == "manifest" else "paint.bin")
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content[:-9] if damage in ("truncated", "manifest") else content))
    if damage == "missing":
        file.unlink()
    for _ in range(2):  # the second time, it is sound again
        got = answers(fp32_engine(weights, on_notice=notices.append).open(10, 12), FRAMES)
        np.testing.assert_array_equal(np.stack(got), np.stack(expected))
    assert len(notices) == 1
    assert "damaged" in notices[0]
    assert str(cache) in notices[0]


def test_a_cache_that_cannot_be_written_costs_time_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file"))
    notices: list[str] = []
    got = answers(fp32_engine(weights, on_notice=notices.append).open(10, 12), FRAMES)
    assert len(got) == len(FRAMES)
    assert len(notices) == 1
    assert "cannot be written" in notices[0]
    assert "VSR_CACHE" in notices[0]


def test_other_sizes_weights_and_versions_have_entries_of_their_own(
    cache: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[dict[str, object]] = []

    def get(self: GraphCache, key: dict[str, object], build: Callable[[Path], None]) -> dict[str, bytes]:
        keys.append(key)
        return {}

    monkeypatch.setattr(GraphCache, "get", get)
    openers = [lambda: fp32_engine(weights)._network]
    bands = openvino.RowBands((0, 2), 2)
    openers[0]().compile(4, 6, bands)
    openers[0]().compile(4, 7, bands)
    openers[0]().compile(4, 6, openvino.RowBands((0,), 4))
    for package in ("openvino", "keras", "vsr"):
        makers = {**openvino._makers(), package: "0"}
        monkeypatch.setattr(openvino, "_makers", lambda makers=makers: makers)
        openers[0]().compile(4, 6, bands)
    assert len({str(key) for key in keys}) == len(keys) == 6
    assert all(key["weights"] == weights.card["sha256"] for key in keys)


def test_old_entries_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsrcli.inference.graph_cache._KEPT", 2)
    kept, built = GraphCache(tmp_path), []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "graph").write_bytes(b"a graph")

    for name in ("a", "b", "c"):
        kept.get({"name": name}, build)
    assert len(list(tmp_path.iterdir())) == 2
    assert kept.get({"name": "c"}, build) == {"graph": b"a graph"}
    assert len(built) == 3


def test_bf16_only_where_the_cpu_has_it_and_nobody_sees_it(
    cache: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    network = fp32_engine(weights)._network

    def make(precision: str) -> openvino.OpenvinoBackend:
        made.append(precision)
        return network  # type: ignore[return-value]

    assert choose_cpu_precision(weights, ("fp32",), make) == "fp32"
    assert made == []
    for _ in range(2):
        assert choose_cpu_precision(weights, ("fp32", "bf16"), make) == "bf16"
    assert made == ["fp32", "bf16"]  # once: the verdict is remembered
    monkeypatch.setattr("vsrcli.inference.precision.MAX_DIFFERENCE", -1.0)
    assert choose_cpu_precision(weights, ("fp32", "bf16"), make) == "fp32"


def test_the_gap_of_two_networks(weights: Weights, tmp_path: Path) -> None:
    other = read_weights(tiny_weights(tmp_path, "recurrent"))
    one, another = (fp32_engine(each)._network for each in (weights, other))
    assert max_abs_difference(one, one) == 0
    assert max_abs_difference(one, another) > 1 / 510
