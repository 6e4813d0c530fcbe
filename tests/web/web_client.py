"""Clients of the web application (httpx with tus on top), and servers to connect to."""

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
from vsrcli.web.settings import JOBS, UPLOADS, Settings

TUS = {"Tus-Resumable": "1.0.0"}
TIMEOUT = 240.0  # seconds for anything, on a machine that is busy with something else
OPEN_CLIENTS: list[WebClient] = []  # closed after every test
FINAL_STATES = ("done", "failed", "cancelled")


class WebClient(httpx.Client):
    """A client with a session, which sends the page's own requests."""

    def __init__(self, url: str, *, session: bool = True, **options: Any) -> None:
        super().__init__(base_url=url, timeout=TIMEOUT, trust_env=False, **options)
        OPEN_CLIENTS.append(self)
        if session:
            assert self.get("/").status_code == 200

    def start_upload(self, size: int, name: str = "video.mp4", **headers: str) -> httpx.Response:
        """Create an upload; its URL is in ``Location``."""
        metadata = f"filename {encoded(name)},filetype {encoded('video/mp4')}"
        return self.post(
            "/files", headers=TUS | {"Upload-Length": str(size), "Upload-Metadata": metadata} | headers
        )

    def append(self, url: str, offset: int, data: bytes, **headers: str) -> httpx.Response:
        """Send bytes of an upload."""
        return self.patch(url, content=data, headers=patch_headers(offset) | headers)

    def offset(self, url: str) -> int:
        """Return how many bytes of an upload the server has."""
        response = self.head(url, headers=TUS)
        assert response.status_code == 200
        return int(response.headers["Upload-Offset"])

    def upload(self, data: bytes, name: str = "video.mp4") -> httpx.Response:
        """Upload a file; return the response to its last byte. The URL is that of its request."""
        created = self.start_upload(len(data), name)
        assert created.status_code == 201, created.text
        return self.append(created.headers["Location"], 0, data)

    def upload_video(self, data: bytes, name: str = "video.mp4") -> dict[str, Any]:
        """Upload a valid video; return its JSON."""
        assert self.upload(data, name).status_code == 204
        return self.videos()[-1]

    def videos(self) -> list[dict[str, Any]]:
        """Return all videos of the session."""
        return self.get("/api/videos").json()["videos"]

    def convert(self, video: dict[str, Any], **options: Any) -> dict[str, Any]:
        """Queue a conversion, by interpolation unless ``options`` say otherwise; return the job."""
        body = {"model": "bicubic", "scale": 2} | options
        response = self.post(f"/api/videos/{video['id']}/jobs", json=body)
        assert response.status_code == 201, response.text
        return response.json()

    def wait_for(self, job: dict[str, Any], *states: str, done: int = 0) -> dict[str, Any]:
        """Return the job once it is in one of ``states`` with at least ``done`` frames, or has ended."""
        for _, data in self.events():
            for record in data.get("jobs", [data]):
                if record.get("id") != job["id"]:
                    continue
                if record["state"] in FINAL_STATES or (record["state"] in states and record["done"] >= done):
                    return record
        raise AssertionError("the events have ended")

    def wait_for_video(self, state: str) -> dict[str, Any]:
        """Return the first video of the session that is in a state, once it is."""
        for name, video in self.events():
            if name == "video" and video["state"] == state:
                return video
        raise AssertionError("the events have ended")

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield names and data of server-sent events, endlessly."""
        with self.stream("GET", "/api/events") as stream:
            assert stream.status_code == 200
            name = ""
            for line in stream.iter_lines():
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    yield name, json.loads(value)


def resume(client: WebClient, url: str, data: bytes) -> httpx.Response:
    """Send the missing bytes; repeat while an older, broken request is read only now and takes over."""
    while True:
        response = client.append(url, offset := client.offset(url), data[offset:])
        if response.status_code != 409:
            return response
        assert_error(response, 409, "offset")


def patch_headers(offset: int) -> dict[str, str]:
    return TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def assert_error(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check an error response, whose message is a sentence without paths; return its values."""
    assert response.status_code == status, response.text
    content = response.json()
    assert content["code"] == code
    assert content["error"].endswith(".")
    assert len(content["error"].split()) >= 4
    assert "/tmp" not in content["error"]
    return content["values"]


@contextlib.contextmanager
def log_to(file: Path) -> Iterator[None]:
    """Let a server in this process write its log to a file during the block."""
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


def broken_patch(client: WebClient, url: str, offset: int, data: bytes, length: int) -> socket.socket:
    """Return the open connection of a PATCH that announces ``length`` bytes and sends only ``data``."""
    base_url = client.base_url
    connection = socket.create_connection((base_url.host, base_url.port or 80), timeout=TIMEOUT)
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    headers = patch_headers(offset) | {
        "Host": f"{base_url.host}:{base_url.port}",
        "Cookie": cookies,
        "Content-Length": str(length),
    }
    head = f"PATCH {url} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    connection.sendall(head.encode() + b"\r\n" + data)
    return connection


@dataclass(frozen=True)
class LocalServer:
    """A server in this process.

    Attributes:
        settings: of the server.
        url: of its page.
    """

    settings: Settings
    url: str

    def client(self, **options: object) -> WebClient:
        """Return a new client."""
        return WebClient(self.url, **options)  # type: ignore[arg-type]

    def same_client(self, client: WebClient) -> WebClient:
        """Return a client with the session of another one, of a server on the same data folder."""
        return self.client(session=False, cookies={"vsr_session": client.cookies["vsr_session"]})

    def stored_files(self) -> list[Path]:
        """Return all files and folders of uploads and jobs."""
        folders = [self.settings.data / UPLOADS, self.settings.data / JOBS]
        return [path for folder in folders for path in folder.rglob("*")]


class ServerProcess:
    """``vsr serve`` as a child process, with a worker; its log is read as it comes."""

    def __init__(self, data: Path, *options: str, **environment: str) -> None:
        command = ("serve", "--port", "0", "--data", data, "--gpu", "cpu", "--nice", "0", *options)
        self.child = spawn(*command, cwd=None, **environment)
        self.log: list[dict[str, Any]] = []
        self._lines: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        try:
            self.url = self.wait_for_event("listening")["url"]
            self.wait_for_event("worker ready")
        except BaseException:
            self.stop()
            raise

    def _read(self) -> None:
        assert self.child.stderr is not None
        for line in self.child.stderr:
            with contextlib.suppress(ValueError):
                self._lines.put(json.loads(line))
        self._lines.put(None)

    def wait_for_event(self, name: str) -> dict[str, Any]:
        """Return the next line of the log with this event."""
        while (line := self._lines.get(timeout=TIMEOUT)) is not None:
            self.log.append(line)
            if line["event"] == name:
                return line
        raise AssertionError(f"the server ended without {name!r}; its log: {self.log}")

    def kill(self) -> list[psutil.Process]:
        """Kill it with SIGKILL; return all processes that it had."""
        processes = (
            psutil.Process(self.child.pid).children(recursive=True) if self.child.poll() is None else []
        )
        self.child.kill()
        self._wait()
        return processes

    def stop(self) -> int:
        """Send SIGTERM; return the exit status."""
        if self.child.poll() is None:
            os.kill(self.child.pid, signal.SIGTERM)
        self._wait()
        return self.child.returncode

    def _wait(self) -> None:
        try:
            self.child.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._reader.join(TIMEOUT)
        for pipe in (self.child.stdout, self.child.stderr):
            assert pipe is not None
            pipe.close()


def descendants(process: psutil.Process, argument: str) -> list[psutil.Process]:
    """Return the descendants of a process with this argument in their command line."""
    matches = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            if argument in child.cmdline():
                matches.append(child)
    return matches


def have_ended(processes: list[psutil.Process]) -> bool:
    """Return whether all processes end within ten seconds."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    return not alive


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_listening(port: int) -> bool:
    """Return whether something starts to listen on a port before the timeout."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    return False
