"""Run one job: ``vsr upscale`` in a process group of its own, watched until it ends or has to be stopped."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import queue
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from vsrcli.system.files import workdir_for
from vsrcli.system.processes import python_command
from vsrcli.system.signals import CancelToken
from vsrcli.web.errors import (
    DISK_FULL,
    INTERNAL_ERROR,
    INTERRUPTED,
    NO_MESSAGE,
    StatusMessage,
    without_message,
)
from vsrcli.web.metrics import LOGGER, anonymize_id, log_event
from vsrcli.web.settings import Settings
from vsrcli.web.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, JobRecord, Store, Upload, now
from vsrcli.web.subprocesses import (
    ChildCancelledError,
    ChildTimeoutError,
    first_value,
    kill_process_tree,
    parse_message,
    run_json,
    start_child,
)

_PREVIEW_TIMEOUT = 300.0  # seconds for inspecting a result and writing its previews
_POLL_INTERVAL = 0.25  # seconds between two checks whether the job has to be stopped
_PROGRESS_INTERVAL = 0.5  # seconds between two updates of its progress
_SIZE_INTERVAL = 5.0  # seconds between two checks of its size on disk
_STOP_TIMEOUT = 5.0  # seconds after SIGTERM; then it is killed
_MAX_NOTICES = 20
_MAX_RESTARTS = 2  # of a command that was killed, in one attempt at its job


def job_command(source: Path, target: Path, arguments: list[str], device: str) -> list[str]:
    """Return the command line of a job: the same every time, so that an interrupted one resumes."""
    return python_command("vsrcli", "upscale", str(source), str(target), *arguments, "--gpu", device, "-q")


def hide_paths(text: str, source: Path, target: Path, name: str) -> str:
    """Return a message of the command without paths of the server and hints at command line options.

    Args:
        text: the message.
        source, target: paths of the server.
        name: replaces the path of the source.
    """
    for path, replacement in ((target, "the result"), (source, name)):
        text = text.replace(repr(str(path)), replacement).replace(str(path), replacement)
    text = re.sub(rf"{re.escape(str(target.parent))}(?:/[\w.-]+)*", "the server", text)  # and its workdir
    text = text.partition("; see `vsr")[0].partition("; -v -v")[0]
    text = re.sub(r"'/(?:[^'/]+/)+([^'/]+)'", r"\1", text)  # such as that of a network
    if text.startswith("Invalid value for "):
        text = text.partition(": ")[2]
    return text.rstrip(".")


def folder_size(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.lstat().st_size
    return total


def kept_bytes(target: Path) -> int:
    """Return the bytes on disk of a failed job if the command can go on with them; otherwise delete them.

    Args:
        target: path of the job's result.
    """
    if target.exists() or workdir_for(target).exists():
        return folder_size(target.parent)
    shutil.rmtree(target.parent, ignore_errors=True)
    return 0


class JobRunner:
    """Run jobs, one at a time in each thread that calls it.

    Args:
        store: uploads and jobs.
        settings: of the server.
        cancel: set when the worker has to end; jobs go back to the queue then.

    Attributes:
        active: ids of the jobs that threads run.
    """

    def __init__(self, store: Store, settings: Settings, cancel: CancelToken) -> None:
        self._store, self._settings, self._cancel = store, settings, cancel
        self.active: set[str] = set()
        self._repeated: set[str] = set()  # ids that came again while they were active
        self._lock = threading.Lock()
        self._devices: queue.Queue[str] = queue.Queue()
        for device in settings.devices:
            self._devices.put(device)

    def __call__(self, job_id: str) -> None:
        """Run a job if it is still queued.

        Raises:
            sqlite3.Error: the database could not be written; the job is still recorded as running, and goes
                on with what it has finished once :func:`~vsrcli.web.worker.requeue_interrupted` queues it.
        """
        with self._lock:  # an id may come twice at once
            if self._cancel.is_cancelled:
                return
            if job_id in self.active:
                self._repeated.add(job_id)
                return
            self.active.add(job_id)  # before the record says that it runs
        try:
            if self._store.transition_job(job_id, QUEUED, RUNNING, started=now(), **NO_MESSAGE.job_columns()):
                self._run(job_id)
        finally:
            with self._lock:
                is_repeated = job_id in self._repeated
                self._repeated.discard(job_id)
                self.active.discard(job_id)
        if is_repeated:  # perhaps it had failed, and was queued again before it was inactive
            self(job_id)

    def _run(self, job_id: str) -> None:
        device, job = self._devices.get(), None
        try:
            job = self._store.get_job(job_id)
            upload = None if job is None else self._store.get_upload(job.upload_id)
            if job is None or upload is None:
                self._store.transition_job(job_id, RUNNING, CANCELLED, **NO_MESSAGE.job_columns())
            else:
                log_event("job started", job=anonymize_id(job.id), device=device)
                _JobProcess(job, upload, self._store, self._settings, self._cancel).run(device)
        except sqlite3.Error:
            log_event("job interrupted", level=logging.WARNING, job=anonymize_id(job_id))
            raise
        except Exception:
            LOGGER.exception("job failed", extra={"values": {"job": anonymize_id(job_id)}})
            kept = kept_bytes(self._settings.result_path(job_id, job.suffix)) if job else 0
            columns = INTERNAL_ERROR.job_columns()
            self._store.transition_job(job_id, RUNNING, FAILED, disk_bytes=kept, **columns)
        finally:
            self._devices.put(device)


class _JobProcess:
    """One attempt at one job."""

    def __init__(
        self, job: JobRecord, upload: Upload, store: Store, settings: Settings, cancel: CancelToken
    ) -> None:
        self._job, self._upload = job, upload
        self._store, self._settings, self._cancel = store, settings, cancel
        self._source = settings.upload_path(upload.id, upload.suffix)
        self._target = settings.result_path(job.id, job.suffix)
        self._notices, self._error = [*job.notices], ""
        self._must_begin_anew = False  # the command cannot go on with what it has finished
        self._progress = dict[str, Any]()
        self._stop_reason = ""  # one of stopping, cancelled, quota, once it has to be stopped

    def run(self, device: str) -> None:
        """Run the command, unless the worker was killed between its result and the record of it.

        If the command was killed, such as for the memory that it took, it is run again: it resumes.
        """
        self._target.parent.mkdir(parents=True, exist_ok=True)
        status = 0 if self._target.exists() else self._upscale(device)
        for _ in range(_MAX_RESTARTS):
            if status >= 0 or self._target.exists() or self._stop_reason or self._must_stop():
                break
            log_event("job restarted", level=logging.WARNING, job=anonymize_id(self._job.id), status=status)
            status = self._upscale(device)
        if self._target.exists():
            self._finish_with_result()
        else:
            self._finish_without_result(status)

    def _upscale(self, device: str) -> int:
        """Run the command; return its exit status, minus the signal that killed it."""
        self._notices, self._error = [*self._job.notices], ""  # not also those of a command that was killed
        read_end, write_end = os.pipe()
        command = job_command(self._source, self._target, self._job.arguments, device)
        with self._target.with_name("errors.txt").open("wb") as errors:
            child = start_child(
                [*command, "--progress-fd", str(write_end)],
                nice=self._settings.nice,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(write_end,),
                cwd=self._target.parent,
            )
        os.close(write_end)
        try:
            started = psutil.Process(child.pid).create_time()
            self._store.update_job(self._job.id, process={"pid": child.pid, "started": started})
            self._read_messages(read_end, child)
            return child.wait()
        finally:
            os.close(read_end)
            if child.poll() is None:
                kill_process_tree(child.pid)
                child.wait()

    def _read_messages(self, read_end: int, child: subprocess.Popen[bytes]) -> None:
        """Read messages until the child closes its end; stop the child if it has to be stopped."""
        buffer, updated, size_checked, deadline = b"", 0.0, time.monotonic(), math.inf
        while True:
            readable, _, _ = select.select([read_end], [], [], _POLL_INTERVAL)
            clock = time.monotonic()
            if readable:
                data = os.read(read_end, 65536)
                if not data:
                    return
                *lines, buffer = (buffer + data).split(b"\n")
                for line in lines:
                    self._handle_message(line)
            if clock >= updated + _PROGRESS_INTERVAL and self._progress:
                self._store.update_job(self._job.id, **self._progress)
                self._progress, updated = {}, clock
            check_size = clock >= size_checked + _SIZE_INTERVAL
            size_checked = clock if check_size else size_checked
            if deadline == math.inf and self._must_stop(check_size):
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGTERM)
                deadline = clock + _STOP_TIMEOUT
            if clock >= deadline:
                kill_process_tree(child.pid)
                return

    def _must_stop(self, check_size: bool = False) -> bool:
        """Return whether the job has to be stopped; remember why."""
        if self._store.is_cancel_requested(self._job.id):
            self._stop_reason = "cancelled"
        elif self._cancel.is_cancelled:
            self._stop_reason = "stopping"
        elif check_size:
            left = self._job.disk_bytes + self._store.bytes_left(self._settings.quota)
            if folder_size(self._target.parent) > left:
                self._stop_reason = "quota"
        return bool(self._stop_reason)

    def _handle_message(self, line: bytes) -> None:
        message = parse_message(line)
        kind, text = message.get("message_type"), str(message.get("text", ""))
        if kind == "progress":
            self._progress |= {key: message.get(key) for key in ("done", "fps", "eta")}
            if message.get("total"):
                self._progress["total"] = message["total"]
        elif kind == "engine":
            self._progress["message"] = text
        elif kind == "notice" and len(self._notices) < _MAX_NOTICES:
            self._notices.append(self._hide_paths(text))
        elif kind == "done":
            self._notices += [self._hide_paths(each) for each in message.get("warnings", [])][:_MAX_NOTICES]
        elif kind == "error":
            self._error = self._hide_paths(text)
            self._must_begin_anew = "--no-resume" in text  # the remedy, whatever the error

    def _hide_paths(self, text: str) -> str:
        return hide_paths(text, self._source, self._target, self._upload.name)

    def _finish_without_result(self, status: int) -> None:
        """Put the job back into the queue if the worker stops; otherwise record why there is no result.

        What a failed job has finished is kept, unless that took too much space or cannot be used.
        """
        job, store = self._job, self._store
        if self._stop_reason == "stopping":
            store.transition_job(job.id, RUNNING, QUEUED, **INTERRUPTED.job_columns())
            log_event("job interrupted", job=anonymize_id(job.id))
            return
        state, message = FAILED, without_message(status)
        if self._stop_reason == "cancelled":
            state, message = CANCELLED, NO_MESSAGE
        elif self._stop_reason == "quota":
            message = DISK_FULL
        elif self._error:  # the command's own message, which is not translated
            message = StatusMessage("command", self._error)
        kept = 0
        if self._stop_reason or self._must_begin_anew:
            shutil.rmtree(self._target.parent, ignore_errors=True)
        else:
            kept = kept_bytes(self._target)
        store.transition_job(job.id, RUNNING, state, disk_bytes=kept, **message.job_columns())
        log_event(f"job {state}", job=anonymize_id(job.id), status=status)

    def _finish_with_result(self) -> None:
        """Inspect and record the result, unless the job is cancelled or the worker stops meanwhile."""
        job, finished, self._stop_reason = self._job, now(), ""
        try:
            messages = self._inspect()
        except ChildCancelledError:
            self._finish_without_result(0)
            return
        # If that took too long, there are no previews, and the plan says what the video is.
        video: dict[str, Any] = first_value(messages, "video") or {**(job.result or {}), "frames": job.total}
        width, height, frames = video["width"], video["height"], video["frames"]
        result = {
            "name": f"{Path(self._upload.name).stem}-{width}x{height}{job.suffix}",
            "size": self._target.stat().st_size,
            "width": width,
            "height": height,
            "pixel_aspect": video.get("pixel_aspect", 1.0),
            "frames": frames,
            "elapsed_seconds": round(finished - (job.started or finished), 1),
            "preview_times": first_value(messages, "preview_times") or [],
        }
        if not self._store.transition_job(
            job.id,
            RUNNING,
            DONE,
            unless_cancelled=True,
            **self._progress | {"done": frames, "total": frames, "fps": None, "eta": None},
            result=result,
            notices=self._notices,
            disk_bytes=folder_size(self._target.parent),
        ):
            self._stop_reason = "cancelled"
            self._finish_without_result(0)
            return
        self._store.increase_counter("frames", frames or 0)
        log_event(
            "job done",
            job=anonymize_id(job.id),
            frames=frames,
            seconds=result["elapsed_seconds"],
            previews=len(result["preview_times"]),
        )

    def _inspect(self) -> list[dict[str, Any]]:
        """Have :mod:`vsrcli.web.inspection` write previews; return its messages, none if it takes too long.

        Raises:
            ChildCancelledError: the job is cancelled, or the worker has to end.
        """
        arguments = (self._source, self._target, self._target.parent, self._settings.preview_count)
        with contextlib.suppress(ChildTimeoutError):
            return run_json(
                python_command("vsrcli.web.inspection", *map(str, arguments)),
                timeout=_PREVIEW_TIMEOUT,
                memory=self._settings.check_memory,
                is_cancelled=self._must_stop,
            )
        return []
