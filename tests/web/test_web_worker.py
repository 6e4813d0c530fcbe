"""What becomes of a job whose programs never end, end without a word, or write too much."""

from __future__ import annotations

import socket
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from house import House
from visiting import PATIENCE

from vsrcli.web import conversion
from vsrcli.web.cleanup import cancel
from vsrcli.web.conversion import JobRunner
from vsrcli.web.errors import DISK_FULL, INTERNAL_ERROR, INTERRUPTED, without_message
from vsrcli.web.store import CANCELLED, FAILED, QUEUED, RUNNING, JobRecord, Store
from vsrcli.web.worker import _recover

CALLS = "import socket; line = socket.create_connection(('127.0.0.1', {port})); line.recv(1)"


class Caller:
    """A program that calls when it has begun, and never ends by itself."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(PATIENCE)

    def program(self, first: str = "pass") -> list[str]:
        """Its command line; ``first`` is what it does before."""
        calls = CALLS.format(port=self._listening.getsockname()[1])
        return [sys.executable, "-I", "-c", f"{first}; {calls}"]

    def wait(self) -> socket.socket:
        """Until it has begun; the line to it."""
        line, _ = self._listening.accept()
        line.settimeout(PATIENCE)
        return line

    def close(self) -> None:
        """Nobody is there any more."""
        self._listening.close()


@pytest.fixture
def caller() -> Iterator[Caller]:
    found = Caller()
    yield found
    found.close()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def waiting(house: House) -> JobRecord:
    """A job whose folder is as a killed run has left it: with nothing in it."""
    job = house.job("job", house.film("film"), QUEUED)
    house.settings.result(job.id, job.suffix).unlink()
    return job


def now_of(house: House, job: JobRecord) -> JobRecord:
    found = house.store.get_job(job.id)
    assert found is not None
    return found


def begun(house: House, job: JobRecord, stopping: threading.Event) -> threading.Thread:
    thread = threading.Thread(target=JobRunner(house.store, house.settings, stopping), args=(job.id,))
    thread.start()
    return thread


@pytest.mark.parametrize("why", ["cancelled", "stopping"])
def test_previews_that_never_end(
    why: str, house: House, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vsrcli.web.conversion.python", lambda *_: caller.program())
    monkeypatch.setattr("vsrcli.web.conversion._SECONDS", float("inf"))
    job = house.job("job", house.film("film"), QUEUED)  # its film is there; the frames to compare are not
    target, stopping = house.settings.result(job.id, job.suffix), threading.Event()
    worker = begun(house, job, stopping)
    with caller.wait() as line:
        assert now_of(house, job).state == RUNNING
        if why == "cancelled":
            cancel(house.store, job)
        else:
            stopping.set()
        worker.join()
        assert line.recv(1) == b""  # it has been ended
    after = now_of(house, job)
    if why == "cancelled":
        assert (after.state, after.message, after.code) == (CANCELLED, "", None)
        assert not target.parent.exists()
    else:
        assert (after.state, after.message, after.code) == (QUEUED, INTERRUPTED.sentence, "interrupted")
        assert target.exists()  # only its previews are missing


def test_a_command_that_ends_without_a_word(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    job = waiting(house)
    monkeypatch.setattr(conversion, "upscale", lambda *_: [sys.executable, "-I", "-c", "raise SystemExit(3)"])
    JobRunner(house.store, house.settings, threading.Event())(job.id)
    after = now_of(house, job)
    assert (after.state, after.message) == (FAILED, without_message(3).sentence)
    assert (after.code, after.details) == ("stopped", {"status": 3})


def test_a_result_that_becomes_too_large(
    house: House, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, size = waiting(house), house.settings.quota + 1
    monkeypatch.setattr(conversion, "_WEIGH", 0.0)
    monkeypatch.setattr(
        conversion, "upscale", lambda *_: caller.program(f"open('part', 'wb').write(bytes({size}))")
    )
    JobRunner(house.store, house.settings, threading.Event())(job.id)
    after = now_of(house, job)
    assert (after.state, after.message, after.code) == (FAILED, DISK_FULL.sentence, "room")
    assert not house.settings.job(job.id).exists()


def test_a_worker_that_fails_itself(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    job = waiting(house)
    monkeypatch.setattr(conversion, "upscale", lambda *_: ["/nowhere", None])
    JobRunner(house.store, house.settings, threading.Event())(job.id)
    after = now_of(house, job)
    assert (after.state, after.message, after.code) == (FAILED, INTERNAL_ERROR.sentence, "error")


def test_what_a_killed_worker_was_doing_waits_again(house: House) -> None:
    job = house.job("job", house.film("film"), RUNNING)
    _recover(house.store)
    after = now_of(house, job)
    assert (after.state, after.code) == (QUEUED, "interrupted")
    cancel(house.store, after)
    assert (now_of(house, job).message, now_of(house, job).code) == ("", None)


def test_jobs_of_an_older_version(house: House) -> None:
    house.job("job", house.film("film"), FAILED)
    with sqlite3.connect(house.settings.database) as db:
        for column in ("code", "details"):
            db.execute(f"alter table jobs drop column {column}")
        db.execute("update jobs set message = 'It did not work.'")
    db.close()
    (job,) = Store(house.settings.database).list_all_jobs()
    assert (job.message, job.code, job.details) == ("It did not work.", None, {})
