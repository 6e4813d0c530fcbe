"""The command: usage errors before it listens, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest
from web_client import TIMEOUT, ServerProcess, WebClient, have_ended

from terminal import Outcome, complete, spawn
from vsrcli.web.settings import Settings, is_loopback

Vsr = Callable[..., Outcome]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "--token", "--insecure"]),
        (["--host", "::"], ["--token"]),
        (["--host", "videos.example.org"], ["--token"]),
        (["--host", "0.0.0.0", "--token", "short"], ["--token", "eight"]),
        (["--queue", "http://x"], ["--queue", "redis://"]),
        (["--no-worker", "--worker-only"], ["--no-worker", "--worker-only"]),
        (["--keep", "soon"], ["--keep", "24h"]),
        (["--keep", "0h"], ["--keep"]),
        (["--max-pixels", "0x5"], ["--max-pixels"]),
        (["--quota", "much"], ["--quota"]),
        (["--gpu", "first"], ["first"]),
        (["--port", "70000"], ["--port"]),
    ],
)
def test_usage_errors(arguments: list[str], words: list[str], vsr: Vsr, tmp_path: Path) -> None:
    vsr("serve", "--data", tmp_path / "data", *arguments).fails(2, *words)
    assert not (tmp_path / "data").exists()


def test_token_from_the_environment(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_SERVE_TOKEN", "short")
    vsr("serve", "--data", tmp_path, "--host", "0.0.0.0").fails(2, "--token", "eight")


def test_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as blocker:
        port = str(blocker.getsockname()[1])
        ended = complete(spawn("serve", "--port", port, "--data", tmp_path / "data", "--no-worker"))
    ended.fails(1, port, "--port")


def test_unwritable_folder(vsr: Vsr, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    vsr("serve", "--data", tmp_path / "file" / "data").fails(1, "--data")


@pytest.mark.parametrize("role", ["--no-worker", "--worker-only"])
def test_no_usable_ffmpeg(role: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_FFMPEG", "/nowhere/ffmpeg")
    ended = complete(spawn("serve", "--data", tmp_path, role, "--port", "0"))
    ended.fails(1, "/nowhere/ffmpeg", "VSR_FFMPEG")


@pytest.mark.parametrize("role", ["--no-worker", "--worker-only"])
@pytest.mark.parametrize("content", [b"no database" * 100, None])
def test_unusable_database(content: bytes | None, role: str, vsr: Vsr, tmp_path: Path) -> None:
    """Broken, or a folder, which cannot be opened, as a file without rights."""
    database = Settings(data=tmp_path).database
    if content is None:
        database.mkdir()
    else:
        database.write_bytes(content)
    vsr("serve", "--data", tmp_path, role, "--port", 0).fails(1, str(tmp_path), "database", "--data")


def test_loopback_addresses() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9", "::ffff:127.0.0.1")))
    assert not any(
        map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "::ffff:192.168.0.1", "example.org", ""))
    )
    assert Settings(data=Path("x"), host="0.0.0.0").is_public


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ends_on_signals(number: signal.Signals, serve: Callable[..., ServerProcess]) -> None:
    server = serve()
    client = WebClient(server.url)
    assert client.get("/healthz").json() == {"status": "ok", "worker": True}
    processes = psutil.Process(server.child.pid).children(recursive=True)
    with client.stream("GET", "/api/events") as page:
        assert page.status_code == 200
        os.kill(server.child.pid, number)
        assert server.wait_for_event("worker stopped")
        assert server.wait_for_event("stopped")
    assert server.child.wait(TIMEOUT) == 0
    assert have_ended(processes)
    with pytest.raises(httpx.ConnectError):
        client.get("/healthz")


def test_one_worker_for_each_folder(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    """A second worker waits for the first one to end."""
    page = serve()
    second = spawn("serve", "--worker-only", "--data", tmp_path / "data")
    second.terminate()  # it would wait for the first to end
    complete(second)
    assert second.returncode != 0
    assert WebClient(page.url).get("/healthz").json()["worker"] is True


def test_secrets_are_readable_by_the_owner_only(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    serve().stop()
    data = tmp_path / "data"
    assert (data.stat().st_mode & 0o777) == 0o700
    assert ((data / "secret").stat().st_mode & 0o777) == 0o600
