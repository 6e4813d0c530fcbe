"""Jobs whose process never ends, ends without a message, or writes too much; databases of other versions."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from data_folder import DataFolder
from web_client import TIMEOUT

from vsrcli.errors import OutputError
from vsrcli.system.signals import CancelToken, current_token
from vsrcli.web import conversion
from vsrcli.web.app import create_app
from vsrcli.web.cleanup import cancel_job
from vsrcli.web.conversion import JobRunner
from vsrcli.web.errors import DISK_FULL, INTERNAL_ERROR, INTERRUPTED, without_message
from vsrcli.web.settings import Settings
from vsrcli.web.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, JobRecord, Store
from vsrcli.web.subprocesses import run_json, start_child
from vsrcli.web.worker import requeue_interrupted, run_worker

CONNECT = "import socket; s = socket.create_connection(('127.0.0.1', {port})); s.recv(1)"


class EndlessProgram:
    """A program that connects to the test when it has started, and never ends by itself."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)

    def command(self, first: str = "pass") -> list[str]:
        """Return its command line; ``first`` is a statement that it executes before."""
        connect = CONNECT.format(port=self._listener.getsockname()[1])
        return [sys.executable, "-I", "-c", f"{first}; {connect}"]

    def wait_for_start(self) -> socket.socket:
        """Return its connection."""
        connection, _ = self._listener.accept()
        connection.settimeout(TIMEOUT)
        return connection

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def endless() -> Iterator[EndlessProgram]:
    program = EndlessProgram()
    yield program
    program.close()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path)


def add_queued_job(folder: DataFolder) -> JobRecord:
    """Add a job without a result, as after a killed run."""
    job = folder.add_job("job", folder.add_upload("video"), QUEUED)
    folder.settings.result_path(job.id, job.suffix).unlink()
    return job


def reload(folder: DataFolder, job: JobRecord) -> JobRecord:
    present = folder.store.get_job(job.id)
    assert present is not None
    return present


def start_runner(folder: DataFolder, job: JobRecord, cancel: CancelToken) -> threading.Thread:
    thread = threading.Thread(target=JobRunner(folder.store, folder.settings, cancel), args=(job.id,))
    thread.start()
    return thread


@pytest.mark.parametrize("reason", ["cancelled", "stopping"])
def test_endless_previews(
    reason: str, folder: DataFolder, endless: EndlessProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsrcli.web.conversion.python_command", lambda *_: endless.command())
    monkeypatch.setattr("vsrcli.web.conversion._PREVIEW_TIMEOUT", float("inf"))
    job = folder.add_job("job", folder.add_upload("video"), QUEUED)  # its result exists; its previews do not
    target, cancel = folder.settings.result_path(job.id, job.suffix), CancelToken()
    worker = start_runner(folder, job, cancel)
    with endless.wait_for_start() as connection:
        assert reload(folder, job).state == RUNNING
        if reason == "cancelled":
            cancel_job(folder.store, job)
        else:
            cancel.cancel()
        worker.join()
        assert connection.recv(1) == b""  # the program was ended
    after = reload(folder, job)
    if reason == "cancelled":
        assert (after.state, after.message, after.code) == (CANCELLED, "", None)
        assert not target.parent.exists()
    else:
        assert (after.state, after.message, after.code) == (QUEUED, INTERRUPTED.message, "interrupted")
        assert target.exists()  # only its previews are missing


KILLED_AFTER_A_SEGMENT = """
import os, pathlib, sys
workdir = pathlib.Path('.result.mp4.vsr')
workdir.mkdir(exist_ok=True)
segments = len(list(workdir.iterdir()))
(workdir / f'segment{segments}').write_bytes(bytes(100))
if segments < int(sys.argv[1]):
    os.kill(os.getpid(), 9)
sys.exit(3)
"""


@pytest.mark.parametrize(("kills", "segments", "status"), [(2, 3, 3), (9, 3, -9)])
def test_command_that_is_killed_is_run_again(
    kills: int, segments: int, status: int, folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when there is too little memory for a moment. What it has finished is kept, also when it fails."""
    job = add_queued_job(folder)
    command = [sys.executable, "-I", "-c", KILLED_AFTER_A_SEGMENT, str(kills)]
    monkeypatch.setattr(conversion, "job_command", lambda *_: command)
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    after = reload(folder, job)
    assert (after.state, after.code, after.details) == (FAILED, "stopped", {"status": status})
    assert len(list((folder.settings.job_dir(job.id) / ".result.mp4.vsr").iterdir())) == segments
    assert after.is_resumable
    assert folder.store.bytes_used() >= 1000 + 100 * segments  # the quota counts it


def test_what_the_command_cannot_go_on_with_is_deleted(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, each attempt to repeat it would resume it, and fail again."""
    job = add_queued_job(folder)
    error = {"message_type": "error", "text": "its segment is damaged; use --no-resume to start over"}
    code = "import os, sys; os.mkdir('.result.mp4.vsr'); os.write(int(sys.argv[-1]), sys.argv[1].encode())"
    command = [sys.executable, "-I", "-c", f"{code}; sys.exit(1)", f"{json.dumps(error)}\n"]
    monkeypatch.setattr(conversion, "job_command", lambda *_: command)
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    after = reload(folder, job)
    assert (after.state, after.message, after.disk_bytes) == (FAILED, error["text"], 0)
    assert not after.is_resumable
    assert not folder.settings.job_dir(job.id).exists()


def test_job_that_is_resumed_while_its_thread_ends_runs_again(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread takes its id from the queue before it is inactive, and must not lose it."""
    job, states = add_queued_job(folder), [FAILED, DONE]

    def attempt(*_: object) -> None:
        state = states.pop(0)
        assert folder.store.transition_job(job.id, RUNNING, state)
        if state == FAILED:
            assert folder.store.transition_job(job.id, FAILED, QUEUED)
            other = threading.Thread(target=runner, args=(job.id,))
            other.start()
            other.join()

    monkeypatch.setattr(conversion._JobProcess, "run", attempt)
    runner = JobRunner(folder.store, folder.settings, CancelToken())
    runner(job.id)
    assert reload(folder, job).state == DONE
    assert not runner.active


def test_killed_command_of_a_cancelled_job_is_not_run_again(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_queued_job(folder)
    command = [sys.executable, "-I", "-c", KILLED_AFTER_A_SEGMENT, "1"]
    monkeypatch.setattr(conversion, "job_command", lambda *_: command)
    monkeypatch.setattr(conversion._JobProcess, "_read_messages", lambda *_: cancel_job(folder.store, job))
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    assert reload(folder, job).state == CANCELLED
    assert not folder.settings.job_dir(job.id).exists()


def test_worker_that_fails_itself_keeps_what_is_finished(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = add_queued_job(folder)
    segment = folder.settings.job_dir(job.id) / ".result.mp4.vsr" / "segment"
    segment.parent.mkdir()
    segment.write_bytes(bytes(10))
    monkeypatch.setattr(conversion, "job_command", lambda *_: ["/nowhere", None])
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    assert reload(folder, job).is_resumable
    assert segment.exists()


def test_command_that_ends_without_message(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add_queued_job(folder)
    command = [sys.executable, "-I", "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(conversion, "job_command", lambda *_: command)
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    after = reload(folder, job)
    assert (after.state, after.message) == (FAILED, without_message(3).message)
    assert (after.code, after.details) == ("stopped", {"status": 3})
    assert not after.is_resumable
    assert not folder.settings.job_dir(job.id).exists()


def test_result_that_exceeds_the_quota(
    folder: DataFolder, endless: EndlessProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, size = add_queued_job(folder), folder.settings.quota + 1
    command = endless.command(f"open('part', 'wb').write(bytes({size}))")
    monkeypatch.setattr(conversion, "_SIZE_INTERVAL", 0.0)
    monkeypatch.setattr(conversion, "job_command", lambda *_: command)
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    after = reload(folder, job)
    assert (after.state, after.message, after.code) == (FAILED, DISK_FULL.message, "disk_full")
    assert not folder.settings.job_dir(job.id).exists()


def test_worker_that_fails_itself(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add_queued_job(folder)
    monkeypatch.setattr(conversion, "job_command", lambda *_: ["/nowhere", None])
    JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    after = reload(folder, job)
    assert (after.state, after.message, after.code) == (FAILED, INTERNAL_ERROR.message, "error")


def test_jobs_of_a_killed_worker_are_requeued(folder: DataFolder) -> None:
    job = folder.add_job("job", folder.add_upload("video"), RUNNING)
    requeue_interrupted(folder.store)
    after = reload(folder, job)
    assert (after.state, after.code) == (QUEUED, "interrupted")
    cancel_job(folder.store, after)
    assert (reload(folder, job).message, reload(folder, job).code) == ("", None)


def test_command_ends_if_the_database_cannot_be_written(
    folder: DataFolder, endless: EndlessProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(start_child(*arguments, **options))
        return started[0]

    monkeypatch.setattr(conversion, "start_child", start)
    monkeypatch.setattr(conversion, "job_command", lambda *_: endless.command())
    monkeypatch.setattr(Store, "update_job", disk_error)
    job = add_queued_job(folder)
    with pytest.raises(sqlite3.Error, match="disk I/O"):
        JobRunner(folder.store, folder.settings, CancelToken())(job.id)
    assert started[0].returncode == -signal.SIGKILL


def test_job_whose_record_cannot_be_written_goes_on(
    folder: DataFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the disk is full for a moment; what it has finished stays in its folder."""
    job, calls = add_queued_job(folder), []
    finished = folder.settings.job_dir(job.id) / "finished"

    def run(self: Any, device: str) -> None:
        calls.append(finished.exists())
        if len(calls) == 1:
            finished.parent.mkdir(parents=True, exist_ok=True)
            finished.touch()
            disk_error()
        self._store.transition_job(job.id, RUNNING, DONE)
        current_token().cancel()

    monkeypatch.setattr(conversion._JobProcess, "run", run)
    monkeypatch.setattr("vsrcli.web.worker.HEARTBEAT_INTERVAL", 0.05)
    run_worker(folder.settings)
    assert calls == [False, True]
    assert reload(folder, job).state == DONE


def disk_error(*_: Any, **__: Any) -> Any:
    raise sqlite3.OperationalError("disk I/O error")


def test_children_get_no_secrets_and_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("VSR_SERVE_TOKEN", "VSR_SERVE_QUEUE", "VSR_CONFIG", "VSR_PROFILE"):
        monkeypatch.setenv(name, "secret")
    code = "import json, os; print(json.dumps({'environment': dict(os.environ)}))"
    (message,) = run_json([sys.executable, "-I", "-c", code], timeout=TIMEOUT)
    assert "secret" not in message["environment"].values()


@pytest.mark.parametrize("version", [0, 99])
def test_database_of_another_version_is_refused(version: int, folder: DataFolder) -> None:
    """Nothing is deleted then, not even folders without a record."""
    folder.add_job("job", folder.add_upload("video"), FAILED)
    (folder.settings.data / "jobs" / "unknown").mkdir()
    before = {path for path in folder.settings.data.rglob("*") if "sqlite3" not in path.name}
    with sqlite3.connect(folder.settings.database) as db:
        db.execute(f"pragma user_version = {version}")
    db.close()
    with pytest.raises(OutputError, match="another version of vsr serve; give another folder with --data"):
        create_app(folder.settings)
    assert len(before) == 7
    assert before <= {*folder.settings.data.rglob("*")}


@pytest.mark.parametrize("name", ["uploads", "jobs"])
def test_folders_of_somebody_else_are_refused_and_kept(name: str, tmp_path: Path) -> None:
    (tmp_path / name / "family").mkdir(parents=True)
    (tmp_path / name / "family" / "photo.jpg").write_bytes(b"precious")
    with pytest.raises(OutputError, match=f"{name} is there already.*--data"):
        create_app(Settings(data=tmp_path))
    assert [path.name for path in tmp_path.rglob("*")] == [name, "family", "photo.jpg"]
