"""Lose workers, machines and drivers at random moments; the video must be the same each time.

    python tests/torture/losses.py [--times 10] [--only NAME,...] [--ways workers,cluster]

Not part of the suite, since it takes long: each kind of loss is tried on ``--workers 2`` and, with
``vsrcli[cluster]``, on a Ray cluster of two raylets on this machine. After each, the video must have the
bytes that one process writes, and no worker and no file of the run may be left.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))

import media_samples as media
from ray_cluster import RayCluster, ray_cluster

WORKER = "vsrcli.cluster.worker"
END_SECONDS = 120.0  # for a run after its loss
LEFT_SECONDS = 15.0  # until a worker whose driver was killed must be gone


@dataclass
class Trial:
    """A command that is to suffer a loss.

    Attributes:
        line: its arguments.
        target: its output.
        expected: bytes that this has to have.
        seconds: that it takes undisturbed.
        cluster: that it runs on, if any.
        environment: of the command.
    """

    line: list[str]
    target: Path
    expected: bytes
    seconds: float
    cluster: RayCluster | None = None
    environment: dict[str, str] = field(default_factory=dict)

    def start(self) -> subprocess.Popen[bytes]:
        environment = {**os.environ, **self.environment}
        return subprocess.Popen(self.line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def workers() -> list[psutil.Process]:
    """Return all worker processes on this machine."""
    found = []
    for each in psutil.process_iter():
        with suppress(psutil.Error):
            if WORKER in each.cmdline() and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
    return found


def lose_worker(trial: Trial, run: subprocess.Popen[bytes], signum: int) -> bool:
    """Send a worker a signal; return whether there was one."""
    present = workers()
    if present:
        with suppress(psutil.Error):
            random.choice(present).send_signal(signum)
            return True
    return False


def lose_machine(trial: Trial, run: subprocess.Popen[bytes], signum: int) -> bool:
    """Send all processes of the second raylet a signal."""
    assert trial.cluster is not None
    trial.cluster.signal(len(trial.cluster.raylets) - 1, signum)
    return True


def lose_driver(trial: Trial, run: subprocess.Popen[bytes], signum: int) -> bool:
    """Kill the command itself."""
    run.send_signal(signum)
    return True


Loss = Callable[[Trial, "subprocess.Popen[bytes]", int], bool]
LOSSES: dict[str, tuple[Loss, int]] = {
    "worker-killed": (lose_worker, signal.SIGKILL),
    "worker-stopped": (lose_worker, signal.SIGSTOP),
    "machine-killed": (lose_machine, signal.SIGKILL),
    "machine-stopped": (lose_machine, signal.SIGSTOP),
    "driver-killed": (lose_driver, signal.SIGKILL),
    "driver-ctrl-c": (lose_driver, signal.SIGINT),
}


def wait_for_workers() -> None:
    """Wait until all workers have ended, for a while."""
    deadline = time.monotonic() + LEFT_SECONDS
    while workers() and time.monotonic() < deadline:
        time.sleep(0.1)


def disturb(trial: Trial, name: str) -> str:
    """Run a trial with a loss at a random moment; return what is wrong, or nothing."""
    lose, signum = LOSSES[name]
    moment = random.uniform(0.2, trial.seconds)
    run = trial.start()
    time.sleep(moment)  # the moment is the point
    has_lost = run.poll() is None and lose(trial, run, signum)
    lost_at = time.monotonic()
    try:
        _, errors = run.communicate(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        run.kill()
        return f"at {moment:.1f} s: it did not end"
    took = time.monotonic() - lost_at
    if lose is lose_machine and signum == signal.SIGSTOP:
        lose_machine(trial, run, signal.SIGCONT)  # what was frozen with the machine must end when it is back
        wait_for_workers()
    if lose is lose_driver and has_lost:
        wait_for_workers()
        if workers():
            return f"at {moment:.1f} s: {len(workers())} workers are left"
        run = trial.start()
        _, errors = run.communicate(timeout=END_SECONDS)
    if run.returncode:
        return f"at {moment:.1f} s: status {run.returncode}: {errors.decode()[-500:]}"
    wrong = []
    if trial.target.read_bytes() != trial.expected:
        wrong.append("other bytes")
    if workers():
        wrong.append(f"{len(workers())} workers left")
    if left := [path.name for path in trial.target.parent.glob(".*")]:
        wrong.append(f"left: {left}")
    trial.target.unlink()
    print(f"  {name} at {moment:.1f} s, then {took:.1f} s: {'; '.join(wrong) or 'equal'}", flush=True)
    return "; ".join(wrong)


@contextmanager
def trials(folder: Path, cluster: RayCluster | None) -> Iterator[Trial]:
    """Prepare the command on workers, or on a cluster, with the bytes of one process."""
    source, target = folder / "in.mkv", folder / "out.mp4"
    if not source.exists():
        media.run_ffmpeg(
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=128x96:r=2:d=360",
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            source,
        )
    base = [sys.executable, "-m", "vsrcli", "upscale", str(source), str(target), "-m", "bicubic", "-y"]
    base += ["-e", "preset=ultrafast", "--progress", "lines"]
    subprocess.run([*base, "--segment", "shots"], check=True, capture_output=True)
    expected = target.read_bytes()
    way = ["--workers", "2"] if cluster is None else ["--cluster", cluster.address]
    trial = Trial([*base, *way], target, expected, 0.0, cluster, cluster.variables if cluster else {})
    start = time.monotonic()
    subprocess.run(trial.line, check=True, capture_output=True, env={**os.environ, **trial.environment})
    trial.seconds = time.monotonic() - start
    assert target.read_bytes() == expected, "the undisturbed run has other bytes"
    target.unlink()
    print(f"{' '.join(way)}: {trial.seconds:.1f} s undisturbed", flush=True)
    yield trial


def main() -> None:
    """Try all losses, and exit with status 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", default=",".join(LOSSES), help="kinds of losses")
    parser.add_argument("--ways", default="workers,cluster")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    random.seed(arguments.seed)
    names, failures, count = arguments.only.split(","), [], 0
    ways = arguments.ways.split(",")
    if importlib.util.find_spec("ray") is None and "cluster" in ways:
        ways.remove("cluster")
        print("without a cluster: pip install 'vsrcli[cluster]'")
    for way in ways:
        on_cluster = way == "cluster"
        with tempfile.TemporaryDirectory(prefix="l", dir="/tmp") as folder:
            path = Path(folder)
            with (
                ray_cluster(path) if on_cluster else nullcontext() as cluster,
                trials(path, cluster) as trial,
            ):
                for name in names:
                    if LOSSES[name][0] is lose_machine and cluster is None:
                        continue
                    for _ in range(arguments.times):
                        count += 1
                        if wrong := disturb(trial, name):
                            failures.append(f"{'cluster' if cluster else 'workers'}, {name}: {wrong}")
                        if cluster is not None and LOSSES[name][0] is lose_machine:
                            cluster.replace_last()
    print(f"{count} losses, {len(failures)} wrong")
    print("\n".join(failures))
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
