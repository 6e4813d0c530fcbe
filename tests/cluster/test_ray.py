"""``--cluster``: the bytes of one process over two raylets, whatever happens to workers and machines."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import psutil
import pytest

import media_samples as media
from ray_cluster import RayCluster, ray_cluster
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job
from vsrcli.cluster import video
from vsrcli.cluster.driver import Driver, Limits
from vsrcli.cluster.ray_workers import RayWorkers
from vsrcli.cluster.run import run_on_workers
from vsrcli.pipeline import pieces
from vsrcli.pipeline.plan import PlanRules
from vsrcli.pipeline.progress import CallbackReporter

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs vsrcli[cluster]"),
]  # not imported here: Ray reads its token's variables when it is

Sample = Callable[..., Path]
RULES = PlanRules(Fraction(1), Fraction(2), warmup_frames=4)
SHOTS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="shots")
WORKER = "vsrcli.cluster.worker"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as folder, ray_cluster(Path(folder)) as started:
        before = dict(os.environ)
        os.environ.update(started.variables)
        try:
            yield started
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pieces, video):
        monkeypatch.setattr(module, "rules_for", lambda job: RULES)


def long_shot(folder: Path) -> Path:
    """A video of 20 s at 10 frames a second, one shot: ten pieces."""
    path = folder / "long.mkv"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=20", "-c:v", "libx264", path)
    return path


def reference(source: Path, folder: Path) -> bytes:
    """Return the bytes that one process writes."""
    run_job(prepare_job(source, folder / "reference.mp4", SHOTS))
    return (folder / "reference.mp4").read_bytes()


def worker_processes() -> list[psutil.Process]:
    """Return the workers that the raylets have started."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if WORKER in each.cmdline():
                found.append(each)
    return found


def test_two_machines_write_the_bytes_of_one(
    cluster: RayCluster, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the second one takes to start: the first one begins when both are ready."""
    source, target, seen = sample(long_shot), tmp_path / "out.mp4", list[Progress]()
    job = prepare_job(source, target, SHOTS)
    give = Driver.give
    monkeypatch.setattr(Driver, "give", lambda self, now: give(self, now) if len(self.workers) == 2 else [])
    run_on_workers(job, RayWorkers(cluster.address), CallbackReporter(seen.append, None))
    assert target.read_bytes() == reference(source, tmp_path)
    assert seen[-1].pieces is not None
    assert (seen[-1].pieces.done, seen[-1].pieces.nodes) == (10, 2)
    assert worker_processes() == []


def test_machines_without_the_work_folder_send_their_segments(
    cluster: RayCluster, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = sample(long_shot), tmp_path / "out.mp4"
    monkeypatch.setattr(video.PlannedVideo, "setup", _with_another_marker(video.PlannedVideo.setup))
    run_on_workers(prepare_job(source, target, SHOTS), RayWorkers(cluster.address))
    assert target.read_bytes() == reference(source, tmp_path)


def _with_another_marker(setup: Callable[..., video.Setup]) -> Callable[..., video.Setup]:
    from dataclasses import replace

    return lambda *arguments: replace(setup(*arguments), marker=(Path("/nowhere/marker"), "?"))


def test_a_killed_worker_costs_its_piece_only(cluster: RayCluster, sample: Sample, tmp_path: Path) -> None:
    source, target, killed, notices = sample(long_shot), tmp_path / "out.mp4", list[int](), list[str]()

    def kill_one(progress: Progress) -> None:
        if not killed and progress.done < 150:
            killed.append(worker_processes()[0].pid)
            os.kill(killed[0], signal.SIGKILL)

    job = prepare_job(source, target, SHOTS)
    run_on_workers(job, RayWorkers(cluster.address), CallbackReporter(kill_one, notices.append))
    assert target.read_bytes() == reference(source, tmp_path)
    assert killed


def test_doctor_looks_at_every_machine(cluster: RayCluster) -> None:
    command = [sys.executable, "-m", "vsrcli", "doctor", "--cluster", cluster.address, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [each["state"] for each in json.loads(result.stdout)] == ["ok", "ok"]


def test_another_token_is_one_line(cluster: RayCluster, sample: Sample, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "vsrcli", "upscale", str(sample(long_shot)), str(tmp_path / "out.mp4")]
    command += ["-m", "bicubic", "--cluster", cluster.address]
    environment = {**os.environ, "RAY_AUTH_TOKEN": "0" * 32}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("vsr: error: --cluster")
    assert "docs/cluster.md" in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_machine_that_hangs_or_dies_is_done_without(
    cluster: RayCluster, sample: Sample, tmp_path: Path
) -> None:
    source, target, hung = sample(long_shot), tmp_path / "out.mp4", list[int]()
    limits = Limits(silence=5)

    def hang(progress: Progress) -> None:
        if not hung and progress.done < 150:
            hung.append(1)
            cluster.signal(1, signal.SIGSTOP)

    job = prepare_job(source, target, SHOTS)
    run_on_workers(job, RayWorkers(cluster.address), CallbackReporter(hang, None), limits=limits)
    expected = reference(source, tmp_path)
    assert target.read_bytes() == expected
    assert hung
    cluster.signal(1, signal.SIGKILL)
    target.unlink()
    run_on_workers(prepare_job(source, target, SHOTS), RayWorkers(cluster.address), limits=limits)
    assert target.read_bytes() == expected
