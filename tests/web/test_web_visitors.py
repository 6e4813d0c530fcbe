"""Who may do what: sessions, tokens, hosts, origins; and what a log tells of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from visiting import TUS, Site, Visitor, logged, refused

import media_samples as media

Sample = Callable[..., Path]
TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def closed(open_site: Callable[..., Site]) -> Site:
    """A server with a token, behind a proxy that is believed."""
    return open_site(token=TOKEN, allowed_hosts=("films.example.org",))


def test_two_sessions_cannot_see_each_other(site: Site, sample: Sample) -> None:
    owner, other = site.visitor(), site.visitor()
    film = owner.film(sample(media.cfr).read_bytes())
    job = owner.convert(film)
    assert other.films() == []
    upload = owner.begin(10).headers["Location"]
    for method, path in [
        ("GET", f"/api/films/{film['id']}"),
        ("DELETE", f"/api/films/{film['id']}"),
        ("POST", f"/api/films/{film['id']}/jobs"),
        ("GET", f"/api/jobs/{job['id']}"),
        ("DELETE", f"/api/jobs/{job['id']}"),
        ("POST", f"/api/jobs/{job['id']}/cancel"),
        ("GET", f"/api/jobs/{job['id']}/download"),
        ("GET", f"/api/jobs/{job['id']}/frames/0/before.png"),
        ("DELETE", upload),
    ]:
        body = {} if path.endswith("/jobs") else None
        refused(other.request(method, path, headers=TUS, json=body), 404, "not_found")
    refused(other.bring(upload, 0, bytes(10)), 404, "not_found")
    assert other.head(upload, headers=TUS).status_code == 404
    assert owner.offset(upload) == 0
    assert [each["id"] for each in owner.films()[0]["jobs"]] == [job["id"]]
    assert owner.get(f"/api/jobs/{job['id']}").json()["state"] == "queued"


def test_events_are_ones_own(site: Site) -> None:
    owner, other = site.visitor(), site.visitor()
    owner.begin(10, "mine.mp4")
    other.begin(10, "theirs.mp4")
    name, film = next(owner.events())
    assert (name, film["name"]) == ("film", "mine.mp4")


def test_without_a_session(site: Site) -> None:
    nobody = site.visitor(session=False)
    for path in ("/api/films", "/api/events", "/api/options", "/api/jobs/x"):
        refused(nobody.get(path), 401, "session")
    refused(nobody.begin(10), 401, "session")
    assert nobody.cookies.get("vsr_session") is None


def test_forged_cookies(site: Site, open_site: Callable[..., Site]) -> None:
    real = site.visitor().cookies["vsr_session"]
    elsewhere = open_site().visitor().cookies["vsr_session"]  # another server's key
    name, stamp, signature = real.rsplit(".", 2)
    for forged in (
        "x",
        name,
        f"{name}.{stamp}.",
        f"{name}.{stamp}.{signature[:-1]}",
        f"somebody.{stamp}.{signature}",
        f"{name}.AAAAAA.{signature}",
        elsewhere,
    ):
        visitor = site.visitor(session=False, cookies={"vsr_session": forged})
        refused(visitor.get("/api/films"), 401, "session")
    assert site.visitor(session=False, cookies={"vsr_session": real}).films() == []


def test_a_visitor_who_comes_back_is_the_same(site: Site) -> None:
    visitor = site.visitor()
    before = visitor.cookies["vsr_session"].rsplit(".", 2)[0]
    visitor.get("/")
    assert visitor.cookies["vsr_session"].rsplit(".", 2)[0] == before
    assert site.visitor().cookies["vsr_session"].rsplit(".", 2)[0] != before


@pytest.mark.parametrize("id", ["x", "%2e%2e%2fsecret", "a" * 500, "'; drop table films; --", "\u00e9"])
def test_forged_ids(id: str, site: Site) -> None:
    visitor = site.visitor()
    for path in (f"/api/films/{id}", f"/api/jobs/{id}", f"/api/jobs/{id}/download", f"/files/{id}"):
        method = "DELETE" if path.startswith("/files") else "GET"
        refused(visitor.request(method, path, headers=TUS), 404, "not_found")
    assert visitor.films() == []


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/nothing", "/static/../app.py", "/api/jobs/x/frames/0/x.png"]
)
def test_paths_that_lead_nowhere(path: str, site: Site) -> None:
    refused(site.visitor().get(path), 404, "not_found")


def test_cookies_and_headers(site: Site) -> None:
    visitor = site.visitor(session=False)
    page = visitor.get("/")
    (cookie,) = page.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    for answer in (page, visitor.get("/api/films"), visitor.get("/nothing"), visitor.get("/healthz")):
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "same-origin"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "server" not in answer.headers
    behind = site.visitor(session=False).get("/", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in behind.headers["set-cookie"]


def test_requests_from_other_pages(site: Site) -> None:
    visitor = site.visitor()
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": site.url, "Sec-Fetch-Site": "cross-site"},
    ):
        refused(visitor.begin(10, **headers), 403, "origin")
        refused(visitor.post("/api/jobs/x/cancel", headers=headers), 403, "origin")
    own = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    assert visitor.begin(10, **own).status_code == 201
    assert visitor.get("/api/films", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_names_of_the_server(site: Site, closed: Site) -> None:
    visitor = site.visitor(session=False)
    for host in ("evil.example", "127.0.0.1.evil.example", "192.168.0.1", "localhost.evil:80"):
        refused(visitor.get("/", headers={"Host": host}), 421, "host")
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1:5", "[::1]:80"):
        assert visitor.get("/", headers={"Host": host}).status_code == 200
    assert (
        closed.visitor(session=False).get("/healthz", headers={"Host": "films.example.org"}).status_code
        == 200
    )


def test_a_token_is_asked_for(closed: Site) -> None:
    visitor = closed.visitor(session=False)
    assert visitor.get("/").status_code == 401
    refused(visitor.get("/api/films"), 401, "token")
    refused(visitor.begin(10), 401, "token")
    assert visitor.post("/login", data={"token": "wrong"}).status_code == 403
    entered = visitor.post("/login", data={"token": TOKEN})
    assert (entered.status_code, entered.headers["Location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert TOKEN not in cookie
    assert visitor.get("/").status_code == 200
    assert visitor.films() == []


def test_a_token_in_the_address(closed: Site) -> None:
    visitor = closed.visitor(session=False)
    assert visitor.get("/", params={"token": "wrong"}).status_code == 403
    assert visitor.get("/", params={"token": TOKEN}).status_code == 303
    assert visitor.get("/").status_code == 200


def test_a_token_of_another_server_does_not_do(closed: Site, open_site: Callable[..., Site]) -> None:
    other = open_site(token=TOKEN).visitor(session=False)
    other.get("/", params={"token": TOKEN})
    visitor = closed.visitor(session=False, cookies={"vsr_access": other.cookies["vsr_access"]})
    assert visitor.get("/").status_code == 401


def test_guessing_tokens(open_site: Callable[..., Site]) -> None:
    visitor = open_site(token=TOKEN).visitor(session=False)
    answers = [visitor.post("/login", data={"token": str(number)}).status_code for number in range(11)]
    assert answers == [403] * 10 + [429]
    assert visitor.post("/login", data={"token": TOKEN}).status_code == 429
    assert visitor.get("/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_programs_send_the_token(closed: Site) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    program = closed.visitor(session=False, headers=bearer)
    assert program.get("/").status_code == 200
    assert program.films() == []


def test_figures_are_for_this_computer(closed: Site, site: Site) -> None:
    visitor = site.visitor()
    visitor.get("/api/films")
    text = visitor.get("/metrics").text
    assert 'vsr_http_requests_total{method="GET",route="/api/films",status="200"}' in text
    assert "vsr_disk_quota_bytes" in text
    assert "_created" not in text
    refused(visitor.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}), 403, "forbidden")
    far = closed.visitor(session=False, headers={"X-Forwarded-For": "203.0.113.9"})
    refused(far.get("/metrics"), 403, "forbidden")
    assert far.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_health(site: Site) -> None:
    told = site.visitor(session=False).get("/healthz")
    assert told.status_code == 200
    assert told.json() == {"status": "ok", "worker": False}


def test_languages(site: Site) -> None:
    from starlette.requests import Request

    from vsrcli.web.pages import language

    def asked(accept: str, query: str = "") -> str:
        headers = [(b"accept-language", accept.encode())]
        return language(Request({"type": "http", "headers": headers, "query_string": query.encode()}))

    assert asked("ko-KR,ko;q=0.9,en;q=0.8") == "ko"
    assert asked("de, en;q=0.5, ko;q=0.7") == "ko"
    assert asked("de") == "en"
    assert asked("en", "lang=ko") == "ko"
    assert asked("x;q=y", "lang=../x") == "en"


def test_a_log_names_nobody(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    with logged(file):
        visitor = site.visitor()
        film = visitor.begin(10, "private holiday.mp4").headers["Location"]
        refused(visitor.bring(film, 0, b"no film at"), 422, "not_a_film")
        visitor.get("/", params={"token": "secret"})
    text = file.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"upload begun", "film refused", "request"} <= {line["event"] for line in lines}
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    session = visitor.cookies["vsr_session"].rsplit(".", 2)[0]
    for secret in ("holiday", film.rpartition("/")[2], session, "secret"):
        assert secret not in text


def test_browsers_are_not_the_only_visitors(site: Site) -> None:
    """Neither Origin nor Sec-Fetch-Site: no browser sends that from another page."""
    assert Visitor(site.url).begin(10).status_code == 201
