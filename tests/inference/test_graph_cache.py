"""The graph cache: verified before use, optional, and fast."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'vsrcli[openvino]'")

from random_networks import noise_frames, run_stream

from tiny_networks import tiny_weights
from vsrcli.errors import OutputError
from vsrcli.inference import openvino
from vsrcli.inference.graph_cache import GraphCache
from vsrcli.inference.openvino import OpenvinoEngine
from vsrcli.inference.precision import IDENTICAL, MIN_PSNR, choose_cpu_precision, psnr_between
from vsrcli.models.weights import Weights, file_sha256, load_model, read_weights

FRAMES = noise_frames(4)
fp32_engine = partial(OpenvinoEngine, precision="fp32")  # "auto" would look at graphs in bf16, too

RUN = """
import sys
from pathlib import Path
import numpy as np
from vsrcli.inference.selection import choose_models, open_engine
from fractions import Fraction
choice = choose_models(sys.argv[1], Fraction(2))[0]
engine = open_engine(choice, device="cpu", precision=sys.argv[3], on_notice=print)
stream = engine.open(10, 12)
frames = np.random.default_rng(4).random((4, 10, 12, 3)).astype(np.float32)
for frame in frames:
    result = stream.push(frame)
np.save(sys.argv[2], result)
forbidden = ("keras", "tensorflow", "jax", "torch", "openvino_telemetry.main")  # the last sends usage data
print("loaded:", *(name for name in forbidden if sys.modules.get(name)))
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


def start_process(weights: Weights, result_file: Path, precision: str) -> subprocess.Popen[str]:
    """Start a process that computes a frame."""
    arguments = [sys.executable, "-c", RUN, str(weights.path), str(result_file), precision]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def output_lines(process: subprocess.Popen[str]) -> list[str]:
    out, err = process.communicate(timeout=250)
    assert process.returncode == 0, err
    return out.splitlines()


def test_two_processes_at_once_and_a_later_one(cache: Path, weights: Weights, tmp_path: Path) -> None:
    """A warm start loads neither Keras nor its backends, nor do cold ones: another process builds graphs."""
    # with "auto", a CPU that has bfloat16 would compare the two, in graphs of another size
    processes = [start_process(weights, tmp_path / f"{number}.npy", "fp32") for number in range(2)]
    for process in processes:
        assert output_lines(process) == ["loaded:"]
    assert len(list((cache / "openvino").iterdir())) == 1  # one entry, and nothing half done
    assert output_lines(start_process(weights, tmp_path / "2.npy", "fp32")) == ["loaded:"]
    for number in (1, 2):
        np.testing.assert_array_equal(np.load(tmp_path / "0.npy"), np.load(tmp_path / f"{number}.npy"))


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing", "manifest"])
def test_a_damaged_entry_is_built_anew(cache: Path, weights: Weights, damage: str) -> None:
    notices: list[str] = []
    expected = run_stream(fp32_engine(weights).open(10, 12), FRAMES)
    (entry,) = (cache / "openvino").iterdir()
    file = entry / ("manifest.json" if damage == "manifest" else "reconstruct.bin")
    content = bytearray(file.read_bytes())
    if damage == "changed":
        content[len(content) // 2] ^= 255
    file.write_bytes(bytes(content[:-9] if damage in ("truncated", "manifest") else content))
    if damage == "missing":
        file.unlink()
    for _ in range(2):  # the second time, it is sound again
        actual = run_stream(fp32_engine(weights, on_notice=notices.append).open(10, 12), FRAMES)
        np.testing.assert_array_equal(np.stack(actual), np.stack(expected))
    assert len(notices) == 1
    assert "damaged" in notices[0]
    assert str(cache) in notices[0]


def test_a_cache_that_cannot_be_written_is_a_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: Weights
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file"))
    notices: list[str] = []
    actual = run_stream(fp32_engine(weights, on_notice=notices.append).open(10, 12), FRAMES)
    assert len(actual) == len(FRAMES)
    assert len(notices) == 1
    assert "cannot be written" in notices[0]
    assert "VSR_CACHE" in notices[0]


def test_one_entry_serves_all_frame_sizes_and_weights(
    cache: Path, weights: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other layers and other versions have entries of their own."""

    def count_entries(each: Weights) -> int:
        for height, width in ((4, 6), (13, 7)):
            fp32_engine(each)._backend.compile(height, width, openvino.RowBands((0,), height))
        return len(list((cache / "openvino").iterdir()))

    assert count_entries(weights) == 1
    path = tmp_path / "others.weights.h5"
    model = load_model(weights)
    model.set_weights([array + 1 for array in model.get_weights()])
    model.save_weights(path)
    card = {**weights.card, "sha256": file_sha256(path)}
    path.with_name("others.json").write_text(json.dumps(card), encoding="utf-8")
    assert count_entries(read_weights(path)) == 1
    for count, package in enumerate(("openvino", "keras", "vsr"), 2):
        inputs = {**openvino.build_inputs(), package: "0"}
        monkeypatch.setattr(openvino, "build_inputs", lambda inputs=inputs: inputs)
        assert count_entries(weights) == count
    assert count_entries(read_weights(tiny_weights(tmp_path, "fast"))) == 5


def test_networks_of_windows_have_entries_for_each_frame_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys: list[dict[str, object]] = []

    def get(self: GraphCache, key: dict[str, object], build: Callable[[Path], None]) -> dict[str, bytes]:
        keys.append(key)
        return {}

    monkeypatch.setattr(GraphCache, "get", get)
    weights = read_weights(tiny_weights(tmp_path, "fsrcnn"))
    backend = fp32_engine(weights)._backend
    bands = openvino.RowBands((0, 2), 2)
    backend.compile(4, 6, bands)
    backend.compile(4, 7, bands)
    for package in ("openvino", "keras", "vsr"):
        inputs = {**openvino.build_inputs(), package: "0"}
        monkeypatch.setattr(openvino, "build_inputs", lambda inputs=inputs: inputs)
        backend.compile(4, 6, bands)
    assert len({str(key) for key in keys}) == len(keys) == 5
    assert all(key["weights"] == weights.card["sha256"] for key in keys)


@pytest.mark.parametrize("damaged", [False, True])
def test_the_entry_of_a_faster_process_stays(tmp_path: Path, damaged: bool) -> None:
    key: dict[str, object] = {"name": "a"}

    def build(folder: Path) -> None:
        (folder / "graph").write_bytes(b"a graph")

    def build_slower(folder: Path) -> None:
        build(folder)
        GraphCache(tmp_path).get(key, build)
        (entry,) = tmp_path.iterdir()
        found.append(entry.stat().st_ino)
        if damaged:
            (entry / "graph").write_bytes(b"")

    found: list[int] = []
    assert GraphCache(tmp_path).get(key, build_slower) == {"graph": b"a graph"}
    (entry,) = tmp_path.iterdir()
    assert (entry.stat().st_ino == found[0]) != damaged
    assert GraphCache(tmp_path).find(key) == {"graph": b"a graph"}


def test_old_entries_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vsrcli.inference.graph_cache._MAX_ENTRIES", 2)
    graph_cache, built = GraphCache(tmp_path), []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "graph").write_bytes(b"a graph")

    for name in ("a", "b", "c"):
        graph_cache.get({"name": name}, build)
    assert len(list(tmp_path.iterdir())) == 2
    assert graph_cache.get({"name": "c"}, build) == {"graph": b"a graph"}
    assert len(built) == 3


@pytest.fixture
def other_user(tmp_path: Path) -> Iterator[None]:
    """Another user than the one that owns the temporary folders; skipped where this one cannot become it."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only the administrator can become another user")
    os.seteuid(65534)
    yield
    os.seteuid(0)


def build_graph(folder: Path) -> None:
    (folder / "graph").write_bytes(b"a graph")


@pytest.mark.skipif(sys.platform == "win32", reason="rights of Windows are inherited from the folder")
def test_entries_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    previous = os.umask(0o027)
    try:
        GraphCache(tmp_path).get({"name": "a"}, build_graph)
    finally:
        os.umask(previous)
    (entry,) = tmp_path.iterdir()
    assert stat.S_IMODE(entry.stat().st_mode) == 0o750
    assert stat.S_IMODE((entry / "graph").stat().st_mode) == 0o640


@pytest.mark.usefixtures("other_user")
def test_a_cache_that_must_not_be_read_is_a_notice(tmp_path: Path) -> None:
    """That of another user, whose folder cannot be searched."""
    notices: list[str] = []
    graph_cache = GraphCache(tmp_path / "cache", notices.append)
    assert graph_cache.get({"name": "a"}, build_graph) == {"graph": b"a graph"}
    assert len(notices) == 1
    assert f"{tmp_path / 'cache'} cannot be read (Permission denied)" in notices[0]
    assert "VSR_CACHE" in notices[0]
    assert graph_cache.find({"name": "a"}) is None


@pytest.mark.parametrize("full", [True, False])
def test_no_folder_for_temporary_files_is_one_clear_error(
    full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path if full else tmp_path / "missing"))

    def build(folder: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    reason = "No space left" if full else "No such file"
    with pytest.raises(OutputError, match=rf"written in {tmp_path}.*{reason}.*TMPDIR"):
        GraphCache(tmp_path / "cache").get({"name": "a"}, build)


@pytest.mark.parametrize("inside", [True, False])
def test_errors_of_a_build_are_not_those_of_the_folder(inside: bool, tmp_path: Path) -> None:
    def build(folder: Path) -> None:
        file = folder / "graph" if inside else tmp_path / "weights"
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))

    def start_process(folder: Path) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with pytest.raises(OutputError if inside else OSError, match="TMPDIR" if inside else "weights"):
        GraphCache(tmp_path / "cache").get({"name": "a"}, build)
    with pytest.raises(BlockingIOError):
        GraphCache(tmp_path / "cache").get({"name": "a"}, start_process)


def test_bf16_only_where_supported_and_invisible(
    cache: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    precisions: list[str] = []
    backend = fp32_engine(weights)._backend

    def create_backend(precision: str) -> openvino.OpenvinoBackend:
        precisions.append(precision)
        return backend  # type: ignore[return-value]

    assert choose_cpu_precision(weights, ("fp32",), create_backend) == "fp32"
    assert precisions == []
    for _ in range(2):
        assert choose_cpu_precision(weights, ("fp32", "bf16"), create_backend) == "bf16"
    assert precisions == ["fp32", "bf16"]  # once: the measurement is cached
    monkeypatch.setattr("vsrcli.inference.precision.MIN_PSNR", 300.0)
    assert choose_cpu_precision(weights, ("fp32", "bf16"), create_backend) == "fp32"


def test_the_difference_of_two_networks(weights: Weights, tmp_path: Path) -> None:
    other = read_weights(tiny_weights(tmp_path, "recurrent"))
    first, second = (fp32_engine(each)._backend for each in (weights, other))
    assert psnr_between(first, first) == IDENTICAL
    assert psnr_between(first, second) < MIN_PSNR
