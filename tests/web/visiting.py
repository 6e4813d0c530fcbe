"""A visitor of the page, as the tests need one: httpx with tus on top, and a server to visit."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from terminal import spawn
from vsrcli.web import metrics
from vsrcli.web.settings import Settings

TUS = {"Tus-Resumable": "1.0.0"}
PATIENCE = 240.0  # seconds for anything, on a machine that is busy with something else
VISITORS: list[Visitor] = []  # closed after every test
OVER = ("done", "failed", "cancelled")


class Visitor(httpx.Client):
    """A browser: a cookie, and the page's own requests."""

    def __init__(self, url: str, *, session: bool = True, **options: Any) -> None:
        super().__init__(base_url=url, timeout=PATIENCE, trust_env=False, **options)
        VISITORS.append(self)
        if session:
            assert self.get("/").status_code == 200

    def begin(self, size: int, name: str = "film.mp4", **headers: str) -> httpx.Response:
        """Announce an upload."""
        about = f"filename {encoded(name)},filetype {encoded('video/mp4')}"
        return self.post(
            "/files", headers=TUS | {"Upload-Length": str(size), "Upload-Metadata": about} | headers
        )

    def bring(self, where: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
        """Bytes of an upload."""
        return self.patch(where, content=data, headers=patch_headers(offset) | headers)

    def offset(self, where: str) -> int:
        """How far an upload has come."""
        told = self.head(where, headers=TUS)
        assert told.status_code == 200
        return int(told.headers["Upload-Offset"])

    def upload(self, data: bytes, name: str = "film.mp4") -> httpx.Response:
        """All of it; the answer to the last byte. ``where`` is in its request's URL."""
        begun = self.begin(len(data), name)
        assert begun.status_code == 201, begun.text
        return self.bring(begun.headers["Location"], 0, data)

    def film(self, data: bytes, name: str = "film.mp4") -> dict[str, Any]:
        """Upload a good film; what the server says of it."""
        assert self.upload(data, name).status_code == 204
        return self.films()[-1]

    def films(self) -> list[dict[str, Any]]:
        """All of this visitor's."""
        return self.get("/api/films").json()["films"]

    def convert(self, film: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Ask for a conversion, by interpolation unless something else is said."""
        asked = self.post(f"/api/films/{film['id']}/jobs", json={"model": "bicubic", "scale": 2} | options)
        assert asked.status_code == 201, asked.text
        return asked.json()

    def until(self, job: dict[str, Any], *states: str, done: int = 0) -> dict[str, Any]:
        """Follow the events until a job is in one of these states, or over; and has made ``done`` frames."""
        for _, data in self.events():
            for told in data.get("jobs", [data]):
                if told.get("id") != job["id"]:
                    continue
                if told["state"] in OVER or (told["state"] in states and told["done"] >= done):
                    return told
        raise AssertionError("the events have ended")

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and contents, for as long as somebody reads."""
        with self.stream("GET", "/api/events") as stream:
            assert stream.status_code == 200
            name = ""
            for line in stream.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)


def go_on(visitor: Visitor, where: str, data: bytes) -> httpx.Response:
    """Bring what is missing, as often as a request that was cut off is only read now and takes over."""
    while True:
        told = visitor.bring(where, offset := visitor.offset(where), data[offset:])
        if told.status_code != 409:
            return told
        refused(told, 409, "offset")


def patch_headers(offset: int) -> dict[str, str]:
    return TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """It was, in a sentence; the values."""
    assert answer.status_code == status, answer.text
    content = answer.json()
    assert content["code"] == code
    assert content["error"].endswith(".")
    assert len(content["error"].split()) >= 4
    assert "/tmp" not in content["error"]
    return content["values"]


@contextlib.contextmanager
def logged(file: Path) -> Iterator[None]:
    """A server in this process writes its log there, while the block lasts."""
    before = [*metrics.LOGGER.handlers], metrics.LOGGER.propagate
    metrics.configure_logging(file)
    try:
        yield
    finally:
        for handler in metrics.LOGGER.handlers:
            handler.close()
        metrics.LOGGER.handlers[:], metrics.LOGGER.propagate = before
        for name in ("uvicorn", "huey", "sse_starlette"):
            logging.getLogger(name).handlers[:] = []


def cut_off(visitor: Visitor, where: str, offset: int, data: bytes, promised: int) -> socket.socket:
    """A PATCH of ``promised`` bytes whose connection brings only ``data``, and is still open."""
    url = visitor.base_url
    connection = socket.create_connection((url.host, url.port or 80), timeout=PATIENCE)
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    headers = patch_headers(offset) | {
        "Host": f"{url.host}:{url.port}",
        "Cookie": cookies,
        "Content-Length": str(promised),
    }
    head = f"PATCH {where} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(head.encode() + b"\r\n" + data)
    return connection


@dataclass(frozen=True)
class Site:
    """A server in this process.

    Attributes:
        settings: it was started with.
        url: of its page.
    """

    settings: Settings
    url: str

    def visitor(self, **options: object) -> Visitor:
        """Somebody new."""
        return Visitor(self.url, **options)  # type: ignore[arg-type]

    def kept(self) -> list[Path]:
        """Everything that lies there of films and jobs."""
        folders = [self.settings.data / "films", self.settings.data / "jobs"]
        return [path for folder in folders for path in folder.rglob("*")]


class Running:
    """``vsr serve`` as a child, with a worker; its log is read as it comes."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        line = ("serve", "--port", "0", "--data", data, "--gpu", "cpu", "--nice", "0", *options)
        self.child = spawn(*line, cwd=None, **environment)
        self.lines: list[dict[str, Any]] = []
        self._news: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.url = self.event("listening")["url"]
            self.event("worker ready")
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            with contextlib.suppress(ValueError):
                self._news.put(json.loads(line))
        self._news.put(None)

    def event(self, name: str) -> dict[str, Any]:
        """The next line of the log with this name."""
        while (line := self._news.get(timeout=PATIENCE)) is not None:
            self.lines.append(line)
            if line["event"] == name:
                return line
        raise AssertionError(f"the server ended without {name!r}; it said {self.lines}")

    def kill(self) -> list[psutil.Process]:
        """Kill it without a word; all processes that it had."""
        processes = (
            psutil.Process(self.child.pid).children(recursive=True) if self.child.poll() is None else []
        )
        self.child.kill()
        self._end()
        return processes

    def stop(self) -> int:
        """Ask it to end; its status."""
        if self.child.poll() is None:
            os.kill(self.child.pid, signal.SIGTERM)
        self._end()
        return self.child.returncode

    def _end(self) -> None:
        try:
            self.child.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._reader.join(PATIENCE)
        for pipe in (self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()


def called(process: psutil.Process, word: str) -> list[psutil.Process]:
    """What it has started, directly or not, with this word in its command line."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if word in child.cmdline():
                found.append(child)
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether none of them is left, after a moment at most."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port: int) -> bool:
    """Whether somebody comes to listen there."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    return False
