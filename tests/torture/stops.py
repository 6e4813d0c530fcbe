"""Stop commands at random moments, from right after the start to the end, and check what they leave.

    python tests/torture/stops.py --count 1000 --load 4 --seed 1 --jobs 2

Each stop is SIGINT, SIGTERM, or SIGHUP with closed standard streams: half of these by closing the terminal,
half by a signal to a program whose messages nobody reads any more. Afterwards the program must have exited
within ten seconds with a documented status; no process that it started may be left, no temporary file, and
nothing but the documented files next to the target. Then the same command runs again, until it is stopped
again or finishes; every finished output must equal the one of an uninterrupted run.

Prints a table of all stops, and every failure with the arguments that repeat it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import pty
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from contracts import frame_md5

import media_samples as media
from terminal import environment
from tiny_networks import tiny_weights
from vsrcli.pipeline.checkpoint import JOURNAL_NAME, read_journal
from vsrcli.system.files import workdir_for
from vsrcli.web.settings import JOBS, UPLOADS, Settings
from vsrcli.web.store import DONE, QUEUED, READY, RUNNING, JobRecord, Store, Upload, now

MAX_SECONDS = 10.0  # from the signal to the exit
SLOW_SECONDS = 6.0  # after the signal; then the child writes what its threads are doing
HANG_SECONDS = 40.0  # then it is killed
SITE = """
import faulthandler, os, signal
faulthandler.register(signal.SIGUSR1, open(f"{os.environ['VSR_TORTURE_DUMPS']}/{os.getpid()}", "w"))
"""
MARKER = "VSR_TORTURE"  # environment variable by which all descendants of a child are found
MAX_STOPS = 4  # of one output, before it may finish
KINDS = ("SIGINT", "SIGTERM", "hangup", "SIGHUP")  # a terminal that is closed; closed pipes and a signal
FRAMES = 60
_FORKING = threading.Lock()  # a process that is being started still has all descriptors, terminals included


@dataclass
class Stop:
    """One stop and what was wrong with it.

    Attributes:
        scenario, kind, delay: of the stop; seconds since the start.
        status: exit status; negative: killed by that signal; None: it had ended before.
        seconds: from the signal to the exit.
        problems: what was wrong.
        output: of the program.
    """

    scenario: str
    kind: str
    delay: float
    status: int | None = None
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    output: str = ""


class Scenario:
    """A command to stop.

    Attributes:
        name: of the scenario.
        weight: how often it is chosen, relative to others.
        duration: seconds of an uninterrupted run.
        has_caches: whether a first run takes longer, since it builds graphs.
    """

    name, weight = "", 1.0
    finished_status = (0,)
    has_caches = True

    def __init__(self, samples: Samples) -> None:
        self.samples, self.duration = samples, 0.0

    def prepare(self, folder: Path) -> None:
        """Put what the command reads and changes into an empty folder."""

    def command(self, folder: Path) -> list[str]:
        """Return the arguments of ``vsr``."""
        raise NotImplementedError

    def stdin(self) -> Path | None:
        """Return the file that is fed to the command, slowly."""
        return None

    def result(self, folder: Path) -> Any:
        """Return what has to be equal in all finished runs; None if there is no result."""
        raise NotImplementedError

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        """Return what is wrong with the files after a stop."""
        return []

    def measure(self, folder: Path) -> None:
        """Run the command to its end; measure its duration, with caches that were built before, and keep its
        result."""
        for number in range(2 if self.has_caches else 1):
            run = folder / f"{self.name}-{number}"
            run.mkdir(parents=True)
            self.prepare(run)
            started = time.monotonic()
            output = finish(self, run)
            self.duration = time.monotonic() - started
            self.reference = self.result(run)
            if self.reference is None:
                raise RuntimeError(f"{self.name}: {output}")


class Upscale(Scenario):
    """``vsr upscale`` of one video; ``options`` choose network and segments."""

    def __init__(self, samples: Samples, name: str, weight: float, *options: str, source: str = "") -> None:
        super().__init__(samples)
        self.name, self.weight, self._options, self._source = name, weight, options, source
        self.has_caches = "bicubic" not in options

    def command(self, folder: Path) -> list[str]:
        source = "-" if self._source else str(self.samples.video)
        return [
            "upscale",
            source,
            str(folder / "out.mp4"),
            "-s",
            "2",
            *self._options,
            "-e",
            "preset=ultrafast",
        ]

    def stdin(self) -> Path | None:
        return {"": None, "y4m": self.samples.y4m, "mp4": self.samples.video}[self._source]

    def result(self, folder: Path) -> Any:
        target = folder / "out.mp4"
        return frame_md5(target) if target.exists() else None

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        return target_problems(folder / "out.mp4", stop) + unexpected(folder, {"out.mp4", ".out.mp4.vsr"})


class Images(Scenario):
    """``vsr upscale`` of an image sequence."""

    name, weight = "images", 1.5

    def command(self, folder: Path) -> list[str]:
        options = ("-m", str(self.samples.cached), "--engine", "openvino", "-s", "2", "--segment", "6")
        return ["upscale", str(self.samples.images), f"{folder / 'out'}/%05d.png", *options]

    def result(self, folder: Path) -> Any:
        images = checksums(folder / "out")
        return images if len(images) == FRAMES else None

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        hidden = {path.name for path in folder.glob("out/.*")}
        if stop.status:
            hidden -= {".%05d.png.vsr"}
        return unexpected(folder, {"out"}) + [f"{name} is left" for name in hidden]


class Batch(Scenario):
    """``vsr batch`` of three videos, two at a time."""

    name, weight, finished_status = "batch", 1.5, (0,)

    def command(self, folder: Path) -> list[str]:
        options = ("-m", "bicubic", "-s", "2", "-t", "64", "--overlap", "3", "--segment", "10")
        return ["batch", str(self.samples.videos), str(folder / "out"), "-j", "2", *options]

    def result(self, folder: Path) -> Any:
        targets = sorted((folder / "out").glob("*.mp4"))
        return [frame_md5(target) for target in targets] if len(targets) == 3 else None

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        found = unexpected(folder, {"out"})
        names = {path.name for path in self.samples.videos.iterdir()}
        allowed = {*names, *(f".{name}.vsr" for name in names), ".vsr-batch.jsonl"}
        for path in (folder / "out").iterdir() if (folder / "out").exists() else ():
            if path.name not in allowed:
                found.append(f"out/{path.name} is left")
        for name in names:
            found += journal_problems(folder / "out" / name, stop)
        return found


class Train(Scenario):
    """``vsr train`` of a tiny run."""

    name, weight = "train", 0.7

    def command(self, folder: Path) -> list[str]:
        tiny = ("--degradation", "bi", "--batch", "1", "--crop", "8", "--frames", "7", "--save-every", "5")
        cache = str(self.samples.folder / "footage-cache")
        return [
            *(
                "train",
                str(self.samples.footage),
                "--run",
                str(folder / "run"),
                "--cache",
                cache,
                "--no-blur",
            ),
            *("--model", "duf-r-xs", "--steps", "30", *tiny),
        ]

    def result(self, folder: Path) -> Any:
        checkpoint = folder / "run" / "checkpoint.npz"
        if not checkpoint.exists() or not list(folder.glob("run/*.weights.h5")):
            return None
        with np.load(checkpoint) as archive:
            names = [name for name in sorted(archive.files) if name.startswith("model")]
            return hashlib.sha256(b"".join(archive[name].tobytes() for name in names)).hexdigest()

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        found = unexpected(folder, {"run"})
        checkpoint = folder / "run" / "checkpoint.npz"
        if checkpoint.exists():
            from vsrcli.train.checkpoints import read_state

            try:
                read_state(checkpoint)
                with np.load(checkpoint) as archive:
                    for name in archive.files:
                        archive[name]
            except Exception as error:
                found.append(f"the checkpoint cannot be read: {error!r}")
        return found + [f"{path} is left" for path in folder.glob("run/**/*.part*")]


class Serve(Scenario):
    """``vsr serve`` with a job in the queue."""

    name, weight = "serve", 1.5
    finished_status = ()  # it never ends by itself

    def prepare(self, folder: Path) -> None:
        data = folder / "data"
        for name in (UPLOADS, JOBS):
            (data / name).mkdir(parents=True)
        settings = Settings(data=data, keep=3600.0)
        store = Store(settings.database)
        upload = Upload(
            id="u", session="s", name="u.mp4", suffix=".mp4", media_type="video/mp4",
            size=self.samples.video.stat().st_size, state=READY, reason=None, code=None, properties={},
            created=now(), last_used=now(), deleted=False,
        )  # fmt: skip
        assert store.add_upload(upload, max_count=99, quota=settings.quota) is None
        path = settings.upload_path("u", ".mp4")
        path.parent.mkdir()
        shutil.copy(self.samples.video, path)
        arguments = ["-m", "bicubic", "-s", "2", "-t", "64", "--overlap", "3", "--segment", "10"]
        job = JobRecord(
            id="j", upload_id="u", session="s", options={}, arguments=arguments, suffix=".mp4",
            state=QUEUED, cancel_requested=False, done=0, total=None, fps=None, eta=None, message="",
            code=None, details={}, notices=[], result=None, process=None, disk_bytes=500,
            created=now(), started=None, finished=None, deleted=False,
        )  # fmt: skip
        assert store.add_job(job, max_count=99, quota=settings.quota) is None
        settings.job_dir("j").mkdir(exist_ok=True)

    def command(self, folder: Path) -> list[str]:
        return ["serve", "--port", "0", "--data", str(folder / "data"), "--gpu", "cpu", "--nice", "0"]

    def job(self, folder: Path) -> JobRecord | None:
        return Store(Settings(data=folder / "data").database).get_job("j")

    def result(self, folder: Path) -> Any:
        target = Settings(data=folder / "data").result_path("j", ".mp4")
        job = self.job(folder)
        return frame_md5(target) if job is not None and job.state == DONE else None

    def problems(self, folder: Path, stop: Stop) -> list[str]:
        found, job = unexpected(folder, {"data"}), self.job(folder)
        allowed = (
            (QUEUED, DONE) if stop.status == 0 else (QUEUED, DONE, RUNNING)
        )  # requeued at the next start
        if job is None or job.state not in allowed:
            found.append(f"the job is {job and job.state}")
        return found


class Samples:
    """Videos, image sequences, footage and networks.

    Args:
        folder: to write them to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        inputs = [
            each
            for source, frames in (("testsrc2", 25), ("mandelbrot", 15), ("smptehdbars", 20))
            for each in media.moving_pattern(frames, source=source, size="160x96")
        ]
        self.video = folder / "video.mp4"
        media.run_ffmpeg(
            *inputs, *media.sine_tone(FRAMES * 1001 / 24000),
            "-filter_complex", "[0:v][1:v][2:v]concat=n=3:v=1[v]", "-map", "[v]", "-map", "3:a",
            "-c:v", "libx264", "-preset", "ultrafast", "-g", "9", "-bf", "2", "-pix_fmt", "yuv420p",
            "-c:a", "aac", self.video,
        )  # fmt: skip
        self.y4m, self.images = folder / "video.y4m", folder / "images"
        media.run_ffmpeg("-i", self.video, "-an", "-pix_fmt", "yuv420p", self.y4m)
        self.images.mkdir()
        media.run_ffmpeg("-i", self.video, "-an", self.images / "%05d.png")
        self.videos, self.footage = folder / "videos", folder / "footage"
        self.videos.mkdir()
        for name in ("a", "b", "c"):
            shutil.copy(self.video, self.videos / f"{name}.mp4")
        self.footage.mkdir()
        media.run_ffmpeg("-i", self.video, "-an", "-c:v", "copy", self.footage / "clip.mp4")
        (folder / "weights").mkdir()
        self.cached = tiny_weights(folder / "weights", "cached")
        self.recurrent = tiny_weights(folder / "weights", "recurrent")
        for name in ("site", "dumps"):
            (folder / name).mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE)


def scenarios(samples: Samples) -> list[Scenario]:
    cached, recurrent = ("-m", str(samples.cached)), ("-m", str(samples.recurrent))
    openvino, keras = ("--engine", "openvino"), ("--engine", "keras")
    segments, slow = ("--segment", "6"), ("-t", "64", "--overlap", "3")
    return [
        Upscale(samples, "segments", 3.0, *recurrent, *openvino, *segments),
        Upscale(samples, "direct", 1.5, *cached, *openvino, "--segment", "none"),
        Upscale(samples, "bicubic", 1.5, "-m", "bicubic", *slow, *segments),
        Upscale(samples, "keras", 0.8, *cached, *keras, *segments),
        Upscale(samples, "stdin", 1.0, *cached, *openvino, source="y4m"),
        Upscale(samples, "spooled", 0.7, "-m", "bicubic", *segments, source="mp4"),
        Images(samples),
        Batch(samples),
        Train(samples),
        Serve(samples),
    ]


class Child:
    """A command under test, with its output; see :meth:`stop`.

    Args:
        scenario: whose command it is.
        folder: of its files.
        terminal: whether its standard streams are a terminal of its own; otherwise a pipe.
    """

    def __init__(self, scenario: Scenario, folder: Path, *, terminal: bool = False) -> None:
        self.marker, self.output = uuid.uuid4().hex, b""
        self.dumps = scenario.samples.folder / "dumps"
        temporary = folder / "tmp"
        temporary.mkdir(exist_ok=True)
        stdin = scenario.stdin()
        self._reader, writer = pty.openpty() if terminal else os.pipe()
        self._terminal = terminal
        variables = {
            MARKER: self.marker,
            "TMPDIR": str(temporary),
            "VSR_CACHE": str(scenario.samples.folder / "cache"),
            "VSR_CONFIG": "",
            "VSR_TORTURE_DUMPS": str(self.dumps),
        }
        variables = environment(**variables)
        variables["PYTHONPATH"] += f"{os.pathsep}{scenario.samples.folder / 'site'}"
        with _FORKING:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "vsrcli", *scenario.command(folder)],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                env=variables,
                cwd=folder,
                start_new_session=True,
                preexec_fn=(lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 0) and None) if terminal else None,
            )
        os.close(writer)
        if stdin:
            threading.Thread(target=self._feed, args=(stdin.read_bytes(),), daemon=True).start()

    def _feed(self, data: bytes) -> None:
        pipe = self.process.stdin
        assert pipe is not None
        size = max(len(data) // 40, 1)
        with contextlib.suppress(OSError, ValueError):
            for start in range(0, len(data), size):
                pipe.write(data[start : start + size])
                pipe.flush()
                time.sleep(0.03)
        with contextlib.suppress(OSError):
            pipe.close()

    def read_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Read output until a condition is true; return False after so many seconds, or if it has ended."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if condition():
                return True
            if self.process.poll() is not None:
                break
            self._read(min(left, 0.02))
        return condition()

    def _read(self, timeout: float) -> bool:
        if self._reader < 0:
            time.sleep(timeout)
            return False
        if not select.select([self._reader], [], [], timeout)[0]:
            return False
        try:
            data = os.read(self._reader, 65536)
        except OSError:  # the terminal's last writer has gone
            data = b""
        self.output += data
        if not data:
            self.close_output()
        return bool(data)

    def close_output(self) -> None:
        with _FORKING:
            if self._reader >= 0:
                os.close(self._reader)
                self._reader = -1

    def stop(self, kind: str) -> float:
        """Stop it; return the seconds that it took, or raise TimeoutError."""
        started = time.monotonic()
        if kind in ("hangup", "SIGHUP"):
            self.close_output()  # which signals SIGHUP if it was a terminal
        if kind != "hangup":
            self.process.send_signal(getattr(signal, kind))
        if not self.read_until(lambda: self.process.poll() is not None, SLOW_SECONDS):
            self.process.send_signal(signal.SIGUSR1)
        if not self.read_until(lambda: self.process.poll() is not None, HANG_SECONDS):
            raise TimeoutError
        return time.monotonic() - started

    def end(self) -> None:
        """Read what is left of the output, and make sure that it has ended."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        while self._reader >= 0 and self._read(0.1):
            pass
        self.close_output()
        if self.process.stdin is not None:
            with contextlib.suppress(OSError):
                self.process.stdin.close()

    def descendants(self) -> dict[int, str]:
        """Return pids and command lines of all processes that it started, by their environment."""
        needle, found = f"{MARKER}={self.marker}".encode(), {}
        for path in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                if needle in (path / "environ").read_bytes():
                    line = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                    if line:
                        found[int(path.name)] = line.strip()
        return found


def finish(scenario: Scenario, folder: Path) -> str:
    """Run a command to its end, or until a server has done its job; return its output."""
    child = Child(scenario, folder)
    if isinstance(scenario, Serve):
        done = child.read_until(lambda: (job := scenario.job(folder)) is not None and job.state == DONE, 300)
        if done:
            child.stop("SIGTERM")
    else:
        child.read_until(lambda: False, 300)
    child.end()
    return child.output.decode("utf-8", "replace")


def stop_once(scenario: Scenario, folder: Path, kind: str, delay: float) -> Stop:
    """Run a command, stop it after ``delay`` seconds, and check everything."""
    stop = Stop(scenario.name, kind, delay)
    child = Child(scenario, folder, terminal=kind == "hangup")
    try:
        child.read_until(lambda: False, delay)
        if child.process.poll() is not None:
            child.end()
            stop.output = child.output.decode("utf-8", "replace")
            if child.process.returncode not in scenario.finished_status:
                stop.status = child.process.returncode
                stop.problems.append(f"failed before the signal: status {stop.status}")
            return stop
        try:
            stop.seconds = child.stop(kind)
        except TimeoutError:
            stop.seconds = HANG_SECONDS
            stop.problems.append("hangs")
        child.end()
    finally:
        if child.process.poll() is None:
            child.process.kill()
    stop.status, stop.output = child.process.returncode, child.output.decode("utf-8", "replace")
    dump = child.dumps / str(child.process.pid)
    stop.output += dump.read_text() if dump.exists() else ""
    signum = signal.SIGHUP if kind == "hangup" else getattr(signal, kind)
    if stop.status not in (0, 128 + signum, -signum):
        stop.problems.append(f"status {stop.status}")
    if stop.seconds > MAX_SECONDS:
        stop.problems.append(f"took {stop.seconds:.1f} s")
    early = stop.status in (-signum, 128 + signum) and stop.output.rstrip().endswith("KeyboardInterrupt")
    if "Traceback" in stop.output and not (early and "vsrcli/cli/" not in stop.output):
        stop.problems.append("prints a traceback")
    left: dict[int, str] = {}
    for _ in range(30):
        if not (left := child.descendants()):
            break
        time.sleep(0.1)
    for pid, line in left.items():
        stop.problems.append(f"a process is left: {line[:200]}")
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
    temporary = [path.name for path in (folder / "tmp").iterdir()]
    if temporary and stop.status != -signum:
        stop.problems.append(f"temporary files are left: {temporary}")
    shutil.rmtree(folder / "tmp")
    cache = scenario.samples.folder / "cache"
    stop.problems += [f"{path.name} is left in the cache" for path in cache.glob(".new-*")]
    stop.problems += scenario.problems(folder, stop)
    return stop


def target_problems(target: Path, stop: Stop) -> list[str]:
    workdir = workdir_for(target)
    if target.exists():
        return [f"finished, but {workdir.name} is left"] if workdir.exists() else []
    return journal_problems(target, stop) + (["status 0, but no output"] if stop.status == 0 else [])


def journal_problems(target: Path, stop: Stop) -> list[str]:
    workdir = workdir_for(target)
    if (workdir / JOURNAL_NAME).exists() and read_journal(workdir) is None:
        return [f"the journal of {target.name} cannot be read"]
    parts = [path.name for path in workdir.glob("*part*")] + [path.name for path in workdir.glob(".*part*")]
    return [f"{workdir.name}/{name} is left" for name in parts] if stop.status else []


def unexpected(folder: Path, allowed: set[str]) -> list[str]:
    return [f"{path.name} is left" for path in folder.iterdir() if path.name not in allowed]


def checksums(folder: Path) -> dict[str, str]:
    """Return checksums of all files in a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("[!.]*"))}


@dataclass
class Series:
    """Stops of outputs that are chosen at random.

    Args:
        scenarios: to choose from.
        folder: to work in; an output with a failure stays there.
        rng: that chooses.
        on_stop: called with each.
    """

    scenarios: list[Scenario]
    folder: Path
    rng: random.Random
    on_stop: Callable[[Stop, str], None]

    def run_one_output(self, kinds: tuple[str, ...] = KINDS, at: float | None = None) -> None:
        """Stop one output several times, then let it finish and compare it."""
        scenario = self.rng.choices(self.scenarios, [each.weight for each in self.scenarios])[0]
        folder = self.folder / f"{scenario.name}-{self.rng.getrandbits(32):08x}"
        folder.mkdir()
        scenario.prepare(folder)
        failed = False
        for _ in range(self.rng.randint(1, MAX_STOPS)):
            kind = self.rng.choice(kinds)
            delay = self.rng.uniform(0, 1.05 * scenario.duration) if at is None else at
            stop = stop_once(scenario, folder, kind, delay)
            failed |= bool(stop.problems)
            self.on_stop(stop, f"--only {scenario.name} --kind {kind} --at {delay:.3f}")
            if scenario.result(folder) is not None:
                break
        output = "" if scenario.result(folder) is not None else finish(scenario, folder)
        if scenario.result(folder) != scenario.reference:
            failed = True
            end = Stop(scenario.name, "finish", 0.0, problems=["the finished output differs"], output=output)
            self.on_stop(end, f"--only {scenario.name}")
        if not failed:
            shutil.rmtree(folder)


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Keep so many processes busy during the block."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def table(stops: list[Stop]) -> str:
    """Return a table: stops by scenario, exit statuses, slowest exits, failures."""
    lines = [
        f"{'scenario':<10}{'stops':>7}{'ended before':>14}{'by default':>12}"
        f"{'99 %':>8}{'max s':>8}{'failures':>10}"
    ]
    for name in [*dict.fromkeys(stop.scenario for stop in stops), "all"]:
        rows = [stop for stop in stops if name in (stop.scenario, "all")]
        stopped = [stop for stop in rows if stop.status is not None]
        seconds = sorted(stop.seconds for stop in stopped) or [0.0]
        lines.append(
            f"{name:<10}{len(stopped):>7}{len(rows) - len(stopped):>14}"
            f"{sum((stop.status or 0) < 0 for stop in stopped):>12}"
            f"{seconds[int(0.99 * (len(seconds) - 1))]:>8.2f}{seconds[-1]:>8.2f}"
            f"{sum(bool(stop.problems) for stop in rows):>10}"
        )
    statuses = Counter((stop.kind, stop.status) for stop in stops if stop.status is not None)
    counts = [f"{kind} {status}: {count}" for (kind, status), count in sorted(statuses.items())]
    return "\n".join([*lines, "statuses: " + ", ".join(counts)])


def run(
    count: int, *, load: int = 0, seed: int = 1, jobs: int = 1, only: tuple[str, ...] = (),
    kinds: tuple[str, ...] = KINDS, at: float | None = None, minutes: float = 1e9,
    folder: Path | None = None,
) -> list[Stop]:  # fmt: skip
    """Stop commands ``count`` times, or for so many minutes; print what happens; return all stops."""
    for signum in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # ignored under nohup; children inherit that
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.SIG_DFL)
    root = Path(tempfile.mkdtemp(prefix="vsr-stops-", dir=folder))
    samples, stops, lock = Samples(root / "samples"), list[Stop](), threading.Lock()
    chosen = [each for each in scenarios(samples) if not only or each.name in only]
    end = time.monotonic() + 60 * minutes

    def on_stop(stop: Stop, repeat: str) -> None:
        with lock:
            stops.append(stop)
            if stop.problems:
                print(f"FAILURE {'; '.join(stop.problems)}\n  repeat: {repeat} --seed {seed}", flush=True)
                lines = [line for line in stop.output.splitlines() if line.strip() and "\x1b" not in line]
                print("\n".join(f"  | {line}" for line in lines[-40:]), flush=True)
            if len(stops) % 50 == 0:
                print(f"{time.strftime('%H:%M:%S')}\n{table(stops)}", flush=True)

    def series(number: int) -> None:
        each = Series(chosen, root, random.Random(1000 * seed + number), on_stop)
        while sum(stop.status is not None for stop in stops) < count and time.monotonic() < end:
            each.run_one_output(kinds, at)

    with busy_processes(load):
        for scenario in chosen:
            scenario.measure(root / "reference")
            print(f"{scenario.name}: {scenario.duration:.1f} s", flush=True)
        with ThreadPoolExecutor(jobs) as pool:
            for done in [pool.submit(series, number) for number in range(jobs)]:
                done.result()
    print(table(stops), flush=True)
    if not any(stop.problems for stop in stops):
        shutil.rmtree(root)
    return stops


def main() -> None:
    parser = argparse.ArgumentParser(description="Stop commands at random moments.")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--load", type=int, default=0, help="number of busy processes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="number of commands at a time")
    parser.add_argument("--only", nargs="*", default=(), help="names of scenarios")
    parser.add_argument("--kind", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--at", type=float, help="seconds after the start, instead of random ones")
    parser.add_argument("--folder", type=Path, help="to work in")
    parser.add_argument("--json", type=Path, help="write all stops to this file")
    args = parser.parse_args()
    stops = run(
        args.count, load=args.load, seed=args.seed, jobs=args.jobs, only=tuple(args.only),
        kinds=tuple(args.kind), at=args.at, minutes=args.minutes, folder=args.folder,
    )  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps([vars(stop) for stop in stops], indent=1))
    sys.exit(any(stop.problems for stop in stops))


if __name__ == "__main__":
    main()
