"""Fixtures for all tests: an ffmpeg to run, and tiny videos that are made once per session."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

# A shell that starts the tests in the background makes them and their children ignore SIGINT; nohup, SIGHUP.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``pytest -m slow --slow-part 20000/10``: a tenth of the slow tests; 20001: another one."""
    parser.addoption("--slow-part", metavar="N/M", help="run only the Nth (modulo M) of M parts")


@pytest.hookimpl(trylast=True)  # after -m and -k
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose the part that ``--slow-part`` names: every Mth test."""
    if part := config.getoption("--slow-part"):
        number, count = map(int, part.split("/"))
        chosen = items[number % count :: count]
        config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
        items[:] = chosen


def pytest_configure(config: pytest.Config) -> None:
    """Store OpenVINO graphs next to pytest's own cache, not in the user's; compute on one thread.

    Where all cores are busy, threads of one process wait for each other; tiny networks gain nothing by them.
    Hundreds of children are started, which may keep the bytecode of the package; and nothing here outlives a
    power failure, so this process does not wait for the disk.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.fsync = lambda fd: None
    os.environ["VSR_CACHE"] = str(config.rootpath / ".pytest_cache" / "vsr")
    os.environ |= {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None]:
    """After each test, exempt what lives then from garbage collection.

    pytest, Keras and TensorFlow make a million objects, which every full collection would search for half a
    second. imageio asks for one whenever it closes an image.
    """
    result = yield
    gc.collect()
    gc.freeze()
    return result


@pytest.fixture(scope="session", autouse=True)
def graph_exports() -> Iterator[None]:
    """One process exports all OpenVINO graphs of this one, and each is compiled once."""
    from graph_exports import share_compiled_graphs, share_exporter

    with pytest.MonkeyPatch.context() as patch:
        share_exporter(patch)
        share_compiled_graphs(patch)
        yield


@pytest.fixture(scope="session")
def ffmpeg() -> Any:
    """The ffmpeg that the program itself would choose."""
    from vsrcli.media.ffmpeg import find_ffmpeg

    return find_ffmpeg()


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``sample(media_samples.rich, suffix=".mp4")``: the video, made at first use. Treat it as read-only."""
    made: dict[tuple[object, ...], Path] = {}

    def make(function: Callable[..., Path], **options: Any) -> Path:
        key = (function, *sorted(options.items()))
        if key not in made:
            made[key] = function(tmp_path_factory.mktemp(function.__name__), **options)
        return made[key]

    return make


@pytest.fixture
def vsr(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """``vsr("upscale", path, target, "-y")``: a command line run in this process; its Outcome."""
    from terminal import Outcome
    from vsrcli.cli.main import run

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    return call
