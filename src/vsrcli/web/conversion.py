"""One job: ``vsr upscale`` in a process group of its own, watched until it ends or is unwanted.

What a finished job is told with: facts of its film, and the moments whose frames lie beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from vsrcli.web.errors import (
    DISK_FULL,
    INTERNAL_ERROR,
    INTERRUPTED,
    NO_MESSAGE,
    StatusMessage,
    from_command_output,
    without_message,
)
from vsrcli.web.launcher import with_parent_death_signal
from vsrcli.web.metrics import LOGGER, anonymize_id, event
from vsrcli.web.settings import Settings
from vsrcli.web.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, JobRecord, Store, Upload, now
from vsrcli.web.subprocesses import (
    ChildCancelledError,
    ChildTimeoutError,
    environment,
    inspect_file,
    kill_tree,
    python,
    run_json,
)

_SECONDS = 300.0  # that looking at a result, and making its previews, may take


def build_result(
    job: JobRecord, film: Upload, settings: Settings, *, seconds: float, unwanted: Callable[[], bool]
) -> dict[str, Any]:
    """Look at a job's film in a process of its own, which also writes the frames to compare.

    Args:
        job: whose film is there.
        film: that it was made from.
        settings: of the server.
        seconds: that the conversion took.
        unwanted: asked now and then; nothing is looked at any more where it says so.

    Returns:
        The job's ``result``, see docs/web.md.

    Raises:
        Unwanted: it was said so.
    """
    source, target = settings.film(film.id, film.suffix), settings.result(job.id, job.suffix)
    paths = [str(path) for path in (source, target, target.parent)]
    found: list[dict[str, Any]] = []
    with contextlib.suppress(
        ChildTimeoutError
    ):  # then there are no frames to look at; the film is there all the same
        found = run_json(
            python("vsrcli.web.inspection", *paths, str(settings.previews)),
            seconds=_SECONDS,
            memory=settings.check_memory,
            unwanted=unwanted,
        )
    facts: dict[str, Any] = inspect_file(found, "film") or dict(job.result or {}) | {"frames": job.total}
    moments = inspect_file(found, "moments") or []
    width, height = facts["width"], facts["height"]
    return {
        "name": f"{Path(film.name).stem}-{width}x{height}{job.suffix}",
        "size": target.stat().st_size,
        "width": width,
        "height": height,
        "frames": facts["frames"],
        "seconds": round(seconds, 1),
        "previews": len(moments),
        "moments": moments,
    }


_LOOK = 0.25  # seconds between two looks at whether it is still wanted
_TELL = 0.5  # seconds between two notes of its progress
_WEIGH = 5.0  # seconds between two looks at how much it has written
_PATIENCE = 10.0  # seconds to stop in; then it is killed
_NOTICES = 20


class JobRunner:
    """Does jobs, one at a time in each thread that calls it.

    Args:
        store: films and jobs.
        settings: of the server.
        stopping: set when the worker has to end; jobs go back to the queue then.
    """

    def __init__(self, store: Store, settings: Settings, stopping: threading.Event) -> None:
        self._store, self._settings, self._stopping = store, settings, stopping
        self._devices = [*settings.devices]
        self._lock = threading.Lock()

    def __call__(self, job_id: str) -> None:
        """Do a job, unless it is not waiting any more."""
        if self._stopping.is_set() or not self._store.transition_job(
            job_id, QUEUED, RUNNING, started=now(), **NO_MESSAGE.columns()
        ):
            return
        job, device = self._store.get_job(job_id), self._take_device()
        try:
            film = None if job is None else self._store.get_upload(job.film)
            if job is None or film is None:
                self._finish(job_id, CANCELLED)
            else:
                event("job begins", job=anonymize_id(job.id), device=device)
                _JobProcess(job, film, device, self._store, self._settings, self._stopping).run()
        except Exception:
            LOGGER.exception("job failed", extra={"values": {"job": anonymize_id(job_id)}})
            shutil.rmtree(self._settings.job(job_id), ignore_errors=True)
            self._finish(job_id, FAILED, INTERNAL_ERROR)
        finally:
            with self._lock:
                self._devices.append(device)

    def _take_device(self) -> str:
        with self._lock:
            return self._devices.pop(0)  # as many threads as devices

    def _finish(self, job: str, state: str, said: StatusMessage = NO_MESSAGE) -> None:
        self._store.transition_job(
            job, RUNNING, state, **said.columns(), finished=now(), runner=None, bytes=0, fps=None, eta=None
        )
        self._store.set_counter(f"jobs {state}", add=1)


class _JobProcess:
    """One attempt at one job."""

    def __init__(
        self,
        job: JobRecord,
        film: Upload,
        device: str,
        store: Store,
        settings: Settings,
        stopping: threading.Event,
    ) -> None:
        self._job, self._film, self._device = job, film, device
        self._store, self._settings, self._stopping = store, settings, stopping
        self._source, self._target = settings.film(film.id, film.suffix), settings.result(job.id, job.suffix)
        self._notices, self._error, self._progress = [*job.notices], "", dict[str, Any]()
        self._why = ""  # it was stopped: one of stopping, cancelled, quota

    def run(self) -> None:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        if not self._target.exists():  # a run that was killed between its last rename and our note of it
            status = self._upscale()
            if not self._target.exists():
                self._stopped(status)
                return
        self._done()

    def _upscale(self) -> int:
        mouth, ear = os.pipe()[::-1]
        command = job_command(self._source, self._target, self._job.arguments, self._device)
        with self._target.with_name("errors.txt").open("wb") as errors:
            child = subprocess.Popen(
                with_parent_death_signal([*command, "--progress-fd", str(mouth)], nice=self._settings.nice),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(mouth,),
                cwd=self._target.parent,
                env=environment(),
                process_group=0,
            )
        os.close(mouth)
        started = psutil.Process(child.pid).create_time()
        self._store.update_job(self._job.id, runner={"pid": child.pid, "started": started})
        try:
            self._listen(ear, child)
            return child.wait()
        finally:
            os.close(ear)
            if child.poll() is None:
                kill_tree(child.pid)
                child.wait()

    def _listen(self, ear: int, child: subprocess.Popen[bytes]) -> None:
        """Until it closes its end; ask it to stop if that is wanted, and make it if it does not."""
        rest, told, weighed, deadline = b"", 0.0, time.monotonic(), None
        while True:
            readable, _, _ = select.select([ear], [], [], _LOOK)
            clock = time.monotonic()
            if readable:
                data = os.read(ear, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._hear(line)
            if clock >= told + _TELL and self._progress:
                self._store.update_job(self._job.id, **self._progress)
                self._progress, told = {}, clock
            if deadline is None and self._unwanted(clock >= weighed + _WEIGH):
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGTERM)
                deadline = clock + _PATIENCE
            if clock >= weighed + _WEIGH:
                weighed = clock
            if deadline is not None and clock >= deadline:
                kill_tree(child.pid)
                return

    def _unwanted(self, weigh: bool) -> bool:
        if self._store.cancel_wanted(self._job.id):
            self._why = "cancelled"
        elif self._stopping.is_set():
            self._why = "stopping"
        elif weigh and folder_size(self._target.parent) > self._job.bytes + max(
            self._settings.quota - self._store.bytes_used(), 0
        ):
            self._why = "quota"
        return bool(self._why)

    def _hear(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            return
        kind, text = message.get("message_type"), str(message.get("text", ""))
        if kind == "progress":
            self._progress |= {key: message.get(key) for key in ("done", "fps", "eta")}
            if message.get("total"):
                self._progress["total"] = message["total"]
        elif kind == "engine":
            self._progress["message"] = text
        elif kind == "notice" and len(self._notices) < _NOTICES:
            self._notices.append(self._plain(text))
        elif kind == "done":
            self._notices += [self._plain(each) for each in message.get("warnings", [])][:_NOTICES]
        elif kind == "error":
            self._error = self._plain(text)

    def _plain(self, text: str) -> str:
        return without_paths(text, self._source, self._target, self._film.name)

    def _stopped(self, status: int) -> None:
        """There is no film: back to the queue, or over."""
        job, store = self._job, self._store
        if self._why == "stopping":
            store.transition_job(
                job.id, RUNNING, QUEUED, runner=None, fps=None, eta=None, **INTERRUPTED.columns()
            )
            event("job interrupted", job=anonymize_id(job.id))
            return
        state, said = FAILED, from_command_output(self._error) if self._error else without_message(status)
        if self._why == "cancelled":
            state, said = CANCELLED, NO_MESSAGE
        elif self._why == "quota":
            said = DISK_FULL
        shutil.rmtree(self._target.parent, ignore_errors=True)
        store.transition_job(
            job.id, RUNNING, state, **said.columns(), runner=None, bytes=0, finished=now(), fps=None, eta=None
        )
        store.set_counter(f"jobs {state}", add=1)
        event(f"job {state}", job=anonymize_id(job.id), status=status)

    def _done(self) -> None:
        """There is a film: over, unless its owner or the server ends while it is looked at."""
        job, made, self._why = self._job, now(), ""
        try:
            result = build_result(
                job,
                self._film,
                self._settings,
                seconds=made - (self._started() or made),
                unwanted=lambda: self._unwanted(weigh=False),
            )
        except ChildCancelledError:
            self._stopped(0)
            return
        frames = result["frames"]
        done = self._store.transition_job(
            job.id,
            RUNNING,
            DONE,
            if_wanted=True,
            **self._progress | {"done": frames, "total": frames, "fps": None, "eta": None},
            result=result,
            notices=self._notices,
            bytes=folder_size(self._target.parent),
            finished=now(),
            runner=None,
        )
        if not done:
            self._why = "cancelled"
            self._stopped(0)
            return
        self._store.set_counter(f"jobs {DONE}", add=1)
        self._store.set_counter("frames", add=frames or 0)
        told = {key: result[key] for key in ("frames", "seconds", "previews")}
        event("job done", job=anonymize_id(job.id), **told)

    def _started(self) -> float | None:
        job = self._store.get_job(self._job.id)
        return None if job is None else job.started


def folder_size(folder: Path) -> int:
    """Bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def job_command(source: Path, target: Path, arguments: tuple[str, ...] | list[str], device: str) -> list[str]:
    """The command line of a job: the same every time, so that an interrupted one is continued."""
    return python("vsrcli", "upscale", str(source), str(target), *arguments, "--gpu", device, "-q")


def without_paths(text: str, source: Path, target: Path, name: str) -> str:
    """The command's words for somebody who knows neither our files nor our options."""
    for path, shown in ((target, "the result"), (source, name)):
        text = text.replace(repr(str(path)), shown).replace(str(path), shown)
    text = text.replace(str(target.parent), "the server").partition("; see `vsr")[0].partition("; -v -v")[0]
    if text.startswith("Invalid value for "):
        text = text.partition(": ")[2]
    return text.rstrip(".")
