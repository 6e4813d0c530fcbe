"""Where the server itself fails: what is told then, what is not, and what its log says."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from visiting import PATIENCE, Site, logged, refused

from vsrcli.web.auth import HEADERS
from vsrcli.web.serializers import Serializer
from vsrcli.web.store import Store

SECRET = "no such table at /srv/secret"


@pytest.fixture
def breaks(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], None]:
    """``breaks(Store, "films")``: this raises from now on."""

    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError(SECRET)

    return lambda owner, name: monkeypatch.setattr(owner, name, fail)


def guarded(answer: httpx.Response) -> bool:
    """Whether it carries the headers of every answer, and nothing of what went wrong."""
    said = answer.text + str(answer.headers)
    assert not any(word in said for word in ("Traceback", "RuntimeError", "secret", ".py"))
    assert "server" not in answer.headers
    return all(answer.headers.get(name) == value for name, value in HEADERS.items())


def test_for_scripts_it_is_json(site: Site, breaks: Callable[[type, str], None], tmp_path: Path) -> None:
    visitor = site.visitor()
    breaks(Store, "films")
    with logged(tmp_path / "log"):
        answer = visitor.get("/api/films")
        visitor.get("/healthz")  # the line of the request comes after its answer
    assert refused(answer, 500, "error") == {}
    assert guarded(answer)
    assert answer.headers["Cache-Control"] == "no-store"
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (told,) = [line for line in lines if line["event"] == "error"]
    assert told["route"] == "/api/films"
    assert SECRET in told["traceback"]
    assert any(line["event"] == "request" and line["status"] == 500 for line in lines)
    figures = visitor.get("/metrics").text
    assert 'vsr_http_requests_total{method="GET",route="/api/films",status="500"} 1.0' in figures


def test_for_uploads_too(site: Site, breaks: Callable[[type, str], None]) -> None:
    visitor = site.visitor()
    breaks(Store, "add_film")
    answer = visitor.begin(10)
    refused(answer, 500, "error")
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert guarded(answer)


def test_for_people_it_is_a_page(site: Site, breaks: Callable[[type, str], None]) -> None:
    visitor = site.visitor(session=False)
    breaks(Store, "used")
    answer = visitor.get("/")
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "Something went wrong on the server." in answer.text
    assert "서버에서 문제가 발생했습니다." in answer.text
    assert guarded(answer)


def test_half_an_answer_is_not_taken_for_a_whole_one(site: Site, breaks: Callable[[type, str], None]) -> None:
    visitor = site.visitor()
    breaks(Serializer, "films")  # which events ask for after their headers have gone
    with visitor.stream("GET", "/api/events") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    assert site.visitor(session=False).get("/healthz").status_code == 200


def test_events_go_on_after_a_failure(
    open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site, failed, look = open_site(), threading.Event(), Store.changes
    visitor = site.visitor()
    first = visitor.begin(10, "first.mp4").headers["Location"].rpartition("/")[2]
    events = visitor.events()
    assert next(events)[1]["id"] == first

    def fail_once(self: Store, since: int) -> tuple[int, set[str]]:
        if self._path != site.settings.database or failed.is_set():
            return look(self, since)
        failed.set()
        raise RuntimeError(SECRET)

    monkeypatch.setattr("vsrcli.web.events._PAUSE", 0.0)
    with logged(tmp_path / "log"):
        monkeypatch.setattr(Store, "changes", fail_once)
        assert failed.wait(PATIENCE)
        second = visitor.begin(10, "second.mp4").headers["Location"].rpartition("/")[2]
        while (told := next(events)[1])["id"] != second:
            pass
    assert told["name"] == "second.mp4"
    assert '"event": "watching failed"' in (tmp_path / "log").read_text()


def test_planning_that_ends_without_a_word(
    open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, sample: Callable[..., Path]
) -> None:
    import media_samples as media

    site = open_site()
    visitor = site.visitor()
    film = visitor.film(sample(media.cfr).read_bytes())
    before = site.kept()
    monkeypatch.setattr("vsrcli.web.jobs.upscale", lambda *_: [sys.executable, "-c", ""])
    refused(visitor.post(f"/api/films/{film['id']}/jobs", json={}), 500, "error")
    assert site.kept() == before
    assert visitor.films()[0]["jobs"] == []


def test_web_sockets_are_answered_as_all_others(site: Site) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
    }
    visitor = site.visitor(session=False)
    answer = visitor.get("/nothing", headers=headers)
    refused(answer, 404, "not_found")
    assert guarded(answer)
    refused(visitor.get("/", headers=headers | {"Host": "evil.example"}), 421, "host")
