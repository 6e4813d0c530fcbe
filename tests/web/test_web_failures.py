"""Failures of the server itself: its responses, which hide details, and its log, which has them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_client import TIMEOUT, LocalServer, assert_error, log_to

import media_samples as media
from terminal import eventually
from vsrcli.system.processes import run_process
from vsrcli.system.signals import CancelToken
from vsrcli.web import jobs, uploads
from vsrcli.web.auth import SECURITY_HEADERS
from vsrcli.web.options import _try_encoder
from vsrcli.web.serializers import Serializer
from vsrcli.web.store import Store

SECRET = "no such table at /srv/secret"


@pytest.fixture
def make_fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], None]:
    """``make_fail(Store, "list_uploads")``: this method raises from now on."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(SECRET)

    return lambda owner, name: monkeypatch.setattr(owner, name, fail)


def is_safe(response: httpx.Response) -> bool:
    """Return whether a response has the security headers, and no details of the failure."""
    content = response.text + str(response.headers)
    assert not any(word in content for word in ("Traceback", "RuntimeError", "secret", ".py"))
    assert "server" not in response.headers
    return all(response.headers.get(name) == value for name, value in SECURITY_HEADERS.items())


def test_api_answers_json(
    server: LocalServer, make_fail: Callable[[type, str], None], tmp_path: Path
) -> None:
    client = server.client()
    make_fail(Store, "list_uploads")
    with log_to(tmp_path / "log"):
        response = client.get("/api/videos")
        client.get("/healthz")  # the line of the request is logged after its response
    assert assert_error(response, 500, "error") == {}
    assert is_safe(response)
    assert response.headers["Cache-Control"] == "no-store"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (logged,) = [line for line in lines if line["event"] == "error"]
    assert logged["route"] == "/api/videos"
    assert SECRET in logged["traceback"]
    assert any(line["event"] == "request" and line["status"] == 500 for line in lines)
    metrics = client.get("/metrics").text
    assert 'vsr_http_requests_total{method="GET",route="/api/videos",status="500"} 1.0' in metrics


def test_uploads_answer_json(server: LocalServer, make_fail: Callable[[type, str], None]) -> None:
    client = server.client()
    make_fail(Store, "add_upload")
    response = client.start_upload(10)
    assert_error(response, 500, "error")
    assert response.headers["Tus-Resumable"] == "1.0.0"
    assert is_safe(response)


def test_page_answers_html(server: LocalServer, make_fail: Callable[[type, str], None]) -> None:
    client = server.client(session=False)
    make_fail(Store, "bytes_used")
    response = client.get("/")
    assert response.status_code == 500
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Something went wrong on the server." in response.text
    assert "서버에서 문제가 발생했습니다." in response.text
    assert is_safe(response)


def test_incomplete_response_is_recognizable(
    server: LocalServer, make_fail: Callable[[type, str], None]
) -> None:
    client = server.client()
    make_fail(Serializer, "videos")  # called after the headers of the stream were sent
    with client.stream("GET", "/api/events") as response:
        assert response.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            response.read()
    assert server.client(session=False).get("/healthz").status_code == 200


def test_events_continue_after_a_failure(
    open_server: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server, failed, changes_since = open_server(), threading.Event(), Store.changes_since
    client = server.client()
    first = client.start_upload(10, "first.mp4").headers["Location"].rpartition("/")[2]
    events = client.events()
    assert next(events)[1]["id"] == first

    def fail_once(self: Store, number: int) -> tuple[int, set[str]]:
        if self._path != server.settings.database or failed.is_set():
            return changes_since(self, number)
        failed.set()
        raise RuntimeError(SECRET)

    monkeypatch.setattr("vsrcli.web.events._ERROR_DELAY", 0.0)
    with log_to(tmp_path / "log"):
        monkeypatch.setattr(Store, "changes_since", fail_once)
        assert failed.wait(TIMEOUT)
        second = client.start_upload(10, "second.mp4").headers["Location"].rpartition("/")[2]
        while (video := next(events)[1])["id"] != second:
            pass
    assert video["name"] == "second.mp4"
    assert '"event": "publishing events failed"' in (tmp_path / "log").read_text()


def end_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server have to end, while its programs would run for ever."""
    token, endless = CancelToken(), [sys.executable, "-c", "import signal; signal.pause()"]
    token.cancel()
    for module, command in ((uploads, "python_command"), (jobs, "job_command")):
        monkeypatch.setattr(module, "current_token", lambda: token)
        monkeypatch.setattr(module, command, lambda *_: endless)


def test_a_check_that_the_end_of_the_server_cancels_is_repeated(
    open_server: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch, sample: Callable[..., Path]
) -> None:
    server = open_server(check_timeout=1.0)
    client = server.client()
    with monkeypatch.context() as patches:
        end_server(patches)
        assert_error(client.upload(sample(media.cfr).read_bytes()), 503, "stopping")
    assert client.videos()[0]["state"] == "checking"
    restarted = open_server(data=server.settings.data)
    assert restarted.same_client(client).wait_for_video("ready")["frames"] == 12


@pytest.mark.parametrize(("server_ends", "status", "code"), [(False, 500, "error"), (True, 503, "stopping")])
def test_planning_that_ends_without_message(
    server_ends: bool,
    status: int,
    code: str,
    open_server: Callable[..., LocalServer],
    monkeypatch: pytest.MonkeyPatch,
    sample: Callable[..., Path],
) -> None:
    server = open_server()
    client = server.client()
    video = client.upload_video(sample(media.cfr).read_bytes())
    before = server.stored_files()
    if server_ends:
        end_server(monkeypatch)
    else:
        monkeypatch.setattr("vsrcli.web.jobs.job_command", lambda *_: [sys.executable, "-c", ""])
    assert_error(client.post(f"/api/videos/{video['id']}/jobs", json={}), status, code)
    assert server.stored_files() == before
    assert client.videos()[0]["jobs"] == []


def test_encoders_that_took_too_long_are_tried_again(
    open_server: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the processors are busy at the start: their presets are offered later."""
    late = {"libx264", "libsvtav1"}

    def run(command: list[str], **options: Any) -> Any:
        if codec := next((each for each in late if each in command), None):
            late.remove(codec)
            raise subprocess.TimeoutExpired(command, 0)
        return run_process(command, **options)

    monkeypatch.setattr("vsrcli.media.ffmpeg.run_process", run)
    monkeypatch.setattr("vsrcli.web.options._RETRY_INTERVAL", 0.01)
    _try_encoder.cache_clear()
    client = open_server().client()

    def presets() -> set[str]:
        return {each["name"] for each in client.get("/api/options").json()["encode_presets"]}

    eventually(lambda: presets() >= {"web", "hevc", "av1"})
    assert not late


def test_web_socket_requests_are_answered_as_others(server: LocalServer) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    client = server.client(session=False)
    response = client.get("/nothing", headers=headers)
    assert_error(response, 404, "not_found")
    assert is_safe(response)
    assert_error(client.get("/", headers=headers | {"Host": "evil.example"}), 421, "host")
