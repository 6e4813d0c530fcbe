"""Servers to visit: one in this process without a worker, and real ones."""

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
from visiting import VISITORS, Running, Site, answers, free_port

from vsrcli.web.app import create_app, load_settings
from vsrcli.web.settings import Settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(autouse=True)
def goodbye() -> Iterator[None]:
    """Visitors leave."""
    yield
    while VISITORS:
        VISITORS.pop().close()


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Site]]:
    """``open_site(max_upload=1000)``: a server without a worker, until the module's tests are over."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def open_one(**options: object) -> Site:
        settings = Settings(data=tmp_path_factory.mktemp("site"), worker=False, **options)  # type: ignore[arg-type]
        app, listening = create_app(settings), socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(load_settings(app, settings))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        running.append((server, thread, listening))
        return Site(settings, f"http://127.0.0.1:{listening.getsockname()[1]}")

    yield open_one
    for server, _, _ in running:
        server.should_exit = True
    for _, thread, listening in running:
        thread.join()
        listening.close()


@pytest.fixture(scope="module")
def site(open_site: Callable[..., Site]) -> Site:
    """A server without a worker that takes small films only."""
    return open_site(max_upload=300_000, max_duration=2.0, max_pixels=100 * 100, check_seconds=200.0)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """``serve("--keep", "1h")``: a real server with its worker, on the same data folder every time."""
    running: list[Running] = []

    def start(*options: str, **environment: str) -> Running:
        running.append(Running(tmp_path / "data", *options, **environment))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A Chromium without a window."""
    from page_browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis of our own, with nothing in it."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("there is no redis-server (Debian: apt-get install redis-server)")
    port = free_port()
    line = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert answers(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        child.terminate()
        child.wait()


@pytest.fixture(params=["sqlite", "redis"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """Where jobs wait: once in a file, once in Redis."""
    return "sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
