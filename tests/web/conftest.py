"""Web servers to test: one in this process without a worker, and real ones."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from web_client import OPEN_CLIENTS, LocalServer, ServerProcess, free_port, is_listening

from vsrcli.web.app import create_app, uvicorn_config
from vsrcli.web.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def close_clients() -> Iterator[None]:
    """Close all clients after every test."""
    yield
    while OPEN_CLIENTS:
        OPEN_CLIENTS.pop().close()


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., LocalServer]]:
    """``open_server(max_upload=1000)``: a server without a worker, until the module's tests have ended; with
    ``data=FOLDER`` on that data folder."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def start(**options: object) -> LocalServer:
        data = options.pop("data", None) or tmp_path_factory.mktemp("server")
        settings = Settings(data=data, worker=False, **options)  # type: ignore[arg-type]
        app, listener = create_app(settings), socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn_config(app, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread, listener))
        while not server.started and thread.is_alive():
            thread.join(0.01)
        return LocalServer(settings, f"http://127.0.0.1:{listener.getsockname()[1]}")

    yield start
    for server, _, _ in running:
        server.should_exit = True
    for _, thread, listener in running:
        thread.join()
        listener.close()


@pytest.fixture(scope="module")
def server(open_server: Callable[..., LocalServer]) -> LocalServer:
    """A server without a worker that accepts small videos only."""
    return open_server(max_upload=300_000, max_duration=2.0, max_pixels=100 * 100, check_timeout=200.0)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """``serve("--keep", "1h")``: a real server with its worker, on the same data folder every time."""
    running: list[ServerProcess] = []

    def start(*options: str, **environment: str) -> ServerProcess:
        running.append(ServerProcess(tmp_path / "data", *options, **environment))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    from chromium import chromium

    with chromium() as launched:
        yield launched


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """An empty Redis server."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server (Debian: apt-get install redis-server)")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert is_listening(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.terminate()
        child.wait()


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def queue_url(request: pytest.FixtureRequest) -> str:
    """The queue of jobs: once in a file, once in Redis."""
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
