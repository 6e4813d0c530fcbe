"""Access control: sessions, tokens, hosts, origins; and a log without secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from web_client import TUS, LocalServer, WebClient, assert_error, log_to

import media_samples as media
from vsrcli.web.app import create_app, uvicorn_config
from vsrcli.web.settings import Settings

Sample = Callable[..., Path]
TOKEN = "correct horse battery"


@pytest.fixture(scope="module")
def protected(open_server: Callable[..., LocalServer]) -> LocalServer:
    """A server with a token, behind a trusted proxy."""
    return open_server(token=TOKEN, allowed_hosts=("videos.example.org",))


def test_two_sessions_cannot_see_each_other(server: LocalServer, sample: Sample) -> None:
    owner, other = server.client(), server.client()
    video = owner.upload_video(sample(media.cfr).read_bytes())
    job = owner.convert(video)
    assert other.videos() == []
    upload_url = owner.start_upload(10).headers["Location"]
    for method, path in [
        ("GET", f"/api/videos/{video['id']}"),
        ("DELETE", f"/api/videos/{video['id']}"),
        ("POST", f"/api/videos/{video['id']}/jobs"),
        ("GET", f"/api/jobs/{job['id']}"),
        ("DELETE", f"/api/jobs/{job['id']}"),
        ("POST", f"/api/jobs/{job['id']}/cancel"),
        ("POST", f"/api/jobs/{job['id']}/resume"),
        ("GET", f"/api/jobs/{job['id']}/download"),
        ("GET", f"/api/jobs/{job['id']}/frames/0/before.png"),
        ("DELETE", upload_url),
    ]:
        body = {} if path.endswith("/jobs") else None
        assert_error(other.request(method, path, headers=TUS, json=body), 404, "not_found")
    assert_error(other.append(upload_url, 0, bytes(10)), 404, "not_found")
    assert other.head(upload_url, headers=TUS).status_code == 404
    assert owner.offset(upload_url) == 0
    assert [each["id"] for each in owner.videos()[0]["jobs"]] == [job["id"]]
    assert owner.get(f"/api/jobs/{job['id']}").json()["state"] == "queued"


def test_events_of_the_own_session_only(server: LocalServer) -> None:
    owner, other = server.client(), server.client()
    owner.start_upload(10, "mine.mp4")
    other.start_upload(10, "theirs.mp4")
    name, video = next(owner.events())
    assert (name, video["name"]) == ("video", "mine.mp4")


def test_without_a_session(server: LocalServer) -> None:
    anonymous = server.client(session=False)
    for path in ("/api/videos", "/api/events", "/api/options", "/api/jobs/x"):
        assert_error(anonymous.get(path), 401, "session")
    assert_error(anonymous.start_upload(10), 401, "session")
    assert anonymous.cookies.get("vsr_session") is None


def test_forged_cookies(server: LocalServer, open_server: Callable[..., LocalServer]) -> None:
    real = server.client().cookies["vsr_session"]
    of_another_server = open_server().client().cookies["vsr_session"]  # another server's key
    id, timestamp, signature = real.rsplit(".", 2)
    for forged in (
        "x",
        id,
        f"{id}.{timestamp}.",
        f"{id}.{timestamp}.{signature[:-1]}",
        f"somebody.{timestamp}.{signature}",
        f"{id}.AAAAAA.{signature}",
        of_another_server,
    ):
        client = server.client(session=False, cookies={"vsr_session": forged})
        assert_error(client.get("/api/videos"), 401, "session")
    assert server.client(session=False, cookies={"vsr_session": real}).videos() == []


def test_returning_client_keeps_its_session(server: LocalServer) -> None:
    client = server.client()
    before = client.cookies["vsr_session"].rsplit(".", 2)[0]
    client.get("/")
    assert client.cookies["vsr_session"].rsplit(".", 2)[0] == before
    assert server.client().cookies["vsr_session"].rsplit(".", 2)[0] != before


@pytest.mark.parametrize("id", ["x", "%2e%2e%2fsecret", "a" * 500, "'; drop table uploads; --", "\u00e9"])
def test_forged_ids(id: str, server: LocalServer) -> None:
    client = server.client()
    for path in (f"/api/videos/{id}", f"/api/jobs/{id}", f"/api/jobs/{id}/download", f"/files/{id}"):
        method = "DELETE" if path.startswith("/files") else "GET"
        assert_error(client.request(method, path, headers=TUS), 404, "not_found")
    assert client.videos() == []


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/nothing", "/static/../app.py", "/api/jobs/x/frames/0/x.png"]
)
def test_unknown_paths(path: str, server: LocalServer) -> None:
    assert_error(server.client().get(path), 404, "not_found")


def test_cookies_and_headers(server: LocalServer) -> None:
    client = server.client(session=False)
    page = client.get("/")
    (cookie,) = page.headers.get_list("set-cookie")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    for response in (page, client.get("/api/videos"), client.get("/nothing"), client.get("/healthz")):
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "same-origin"
        assert response.headers["Cache-Control"] == "no-store"
        assert "server" not in response.headers
    through_https = server.client(session=False).get("/", headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in through_https.headers["set-cookie"]


def test_requests_from_other_sites(server: LocalServer) -> None:
    client = server.client()
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": server.url, "Sec-Fetch-Site": "cross-site"},
    ):
        assert_error(client.start_upload(10, **headers), 403, "origin")
        assert_error(client.post("/api/jobs/x/cancel", headers=headers), 403, "origin")
        assert_error(client.post("/login", data={"token": "x"}, headers=headers), 403, "origin")
    own = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    assert client.start_upload(10, **own).status_code == 201
    assert client.get("/api/videos", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_requests_through_a_proxy_on_another_port(protected: LocalServer) -> None:
    """The example for nginx passes ``Host`` as it came; its ``$host`` has no port, unlike ``Origin``."""
    client, origin = protected.client(session=False), "https://videos.example.org:8443"
    assert client.post("/login", data={"token": TOKEN}).status_code == 303
    assert client.get("/").status_code == 200
    host = {"Host": "videos.example.org:8443", "Origin": origin}
    assert client.start_upload(10, **host).status_code == 201
    assert_error(client.start_upload(10, **host | {"Host": "videos.example.org"}), 403, "origin")
    example = Path(__file__).parents[2] / "examples" / "deploy" / "nginx.conf"
    assert "proxy_set_header Host $http_host;" in example.read_text()


def test_allowed_hosts(server: LocalServer, protected: LocalServer) -> None:
    client = server.client(session=False)
    for host in ("evil.example", "127.0.0.1.evil.example", "192.168.0.1", "localhost.evil:80"):
        assert_error(client.get("/", headers={"Host": host}), 421, "host")
    for host in ("localhost", "LOCALHOST:99", "127.0.0.1:5", "[::1]:80"):
        assert client.get("/", headers={"Host": host}).status_code == 200
    assert (
        protected.client(session=False).get("/healthz", headers={"Host": "videos.example.org"}).status_code
        == 200
    )


def test_token_is_required(protected: LocalServer) -> None:
    client = protected.client(session=False)
    assert client.get("/").status_code == 401
    assert_error(client.get("/api/videos"), 401, "token")
    assert_error(client.start_upload(10), 401, "token")
    assert client.post("/login", data={"token": "wrong"}).status_code == 403
    accepted = client.post("/login", data={"token": TOKEN})
    assert (accepted.status_code, accepted.headers["Location"]) == (303, "/")
    cookie = accepted.headers["set-cookie"]
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert TOKEN not in cookie
    assert client.get("/").status_code == 200
    assert client.videos() == []


def test_token_in_the_url(protected: LocalServer) -> None:
    client = protected.client(session=False)
    assert client.get("/", params={"token": "wrong"}).status_code == 403
    assert client.get("/", params={"token": TOKEN}).status_code == 303
    assert client.get("/").status_code == 200


def test_token_cookie_of_another_server(
    protected: LocalServer, open_server: Callable[..., LocalServer]
) -> None:
    other = open_server(token=TOKEN).client(session=False)
    other.get("/", params={"token": TOKEN})
    client = protected.client(session=False, cookies={"vsr_access": other.cookies["vsr_access"]})
    assert client.get("/").status_code == 401


def test_guessed_tokens_are_rate_limited(open_server: Callable[..., LocalServer]) -> None:
    client = open_server(token=TOKEN).client(session=False)
    answers = [client.post("/login", data={"token": str(number)}).status_code for number in range(11)]
    assert answers == [403] * 10 + [429]
    assert client.post("/login", data={"token": TOKEN}).status_code == 429
    assert client.get("/healthz", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_the_password_of_a_proxy_is_no_guess(open_server: Callable[..., LocalServer]) -> None:
    client = open_server(token=TOKEN).client(session=False)
    assert client.get("/", params={"token": TOKEN}).status_code in (200, 303)
    basic = {"Authorization": "Basic dXNlcjpwYXNz"}
    assert {client.get("/", headers=basic).status_code for _ in range(12)} == {200}


@pytest.mark.parametrize("path", ["/", "/api/options", "/metrics"])
def test_programs_cannot_guess_faster_than_people(path: str, open_server: Callable[..., LocalServer]) -> None:
    client = open_server(token=TOKEN).client(session=False)
    for number in range(10):
        client.get(path, headers={"Authorization": f"Bearer {number}"})
    right = client.get(path, headers={"Authorization": f"Bearer {TOKEN}"})
    assert_error(right, 429, "too_many_attempts")
    assert client.post("/login", data={"token": TOKEN}).status_code == 429


def test_ipv4_behind_a_socket_for_ipv6(tmp_path: Path) -> None:
    """As with ``--host ::``: clients keep an address each, and a proxy on this computer is trusted."""
    settings = Settings(data=tmp_path, host="::", token=TOKEN, proxies=("127.0.0.1", "10.1.0.0/16"))
    config = uvicorn_config(create_app(settings), settings)
    config.load()

    def request(address: str, method: str, path: str, **options: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(config.loaded_app, client=(address, 5))  # type: ignore[arg-type]
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, **options)

        return asyncio.run(send())

    def enter(address: str, token: str, **headers: str) -> httpx.Response:
        return request(address, "POST", "/login", data={"token": token}, headers=headers)

    answers = [enter("::ffff:203.0.113.7", "wrong").status_code for _ in range(11)]
    assert answers == [403] * 10 + [429]
    assert enter("203.0.113.7", TOKEN).status_code == 429  # the same one
    assert enter("::ffff:203.0.113.8", TOKEN).status_code == 303
    assert request("::ffff:127.0.0.1", "GET", "/metrics").status_code == 200
    https = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "198.51.100.4"}
    for proxy, is_trusted in (("127.0.0.1", True), ("10.1.2.3", True), ("10.2.2.3", False)):
        cookie = enter(f"::ffff:{proxy}", TOKEN, **https).headers["set-cookie"]
        assert ("Secure" in cookie) == is_trusted


def test_bearer_token(protected: LocalServer) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    program = protected.client(session=False, headers=bearer)
    assert program.get("/").status_code == 200
    assert program.videos() == []


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_bearer_token_with_other_letters(encoding: str, open_server: Callable[..., LocalServer]) -> None:
    """As programs send it: curl what the terminal has, Python's ``requests`` Latin-1."""
    token = "schöne größe à"
    client = open_server(token=token).client(session=False)
    bearer = {b"Authorization": b"Bearer " + token.encode(encoding)}
    assert client.get("/", headers=bearer).status_code == 200
    wrong = {b"Authorization": "Bearer schöne grüße à".encode(encoding)}
    assert client.get("/", headers=wrong).status_code == 401
    assert client.post("/login", data={"token": token}).status_code == 303


def test_metrics_are_for_this_computer(protected: LocalServer, server: LocalServer) -> None:
    client = server.client()
    client.get("/api/videos")
    text = client.get("/metrics").text
    assert 'vsr_http_requests_total{method="GET",route="/api/videos",status="200"}' in text
    assert "vsr_disk_quota_bytes" in text
    assert "_created" not in text
    assert_error(client.get("/metrics", headers={"X-Forwarded-For": "203.0.113.9"}), 403, "forbidden")
    remote = protected.client(session=False, headers={"X-Forwarded-For": "203.0.113.9"})
    assert_error(remote.get("/metrics"), 403, "forbidden")
    assert remote.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_health(server: LocalServer) -> None:
    response = server.client(session=False).get("/healthz")
    assert response.status_code == 200
    assert response.json() == {"status": "ok", "worker": False}


def test_languages(server: LocalServer) -> None:
    from starlette.requests import Request

    from vsrcli.web.pages import preferred_language

    def language(accept: str, query: str = "") -> str:
        headers = [(b"accept-language", accept.encode())]
        return preferred_language(
            Request({"type": "http", "headers": headers, "query_string": query.encode()})
        )

    assert language("ko-KR,ko;q=0.9,en;q=0.8") == "ko"
    assert language("de, en;q=0.5, ko;q=0.7") == "ko"
    assert language("de") == "en"
    assert language("en", "lang=ko") == "ko"
    assert language("x;q=y", "lang=../x") == "en"


def test_log_has_no_secrets(server: LocalServer, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    with log_to(file):
        client = server.client()
        url = client.start_upload(10, "private holiday.mp4").headers["Location"]
        assert_error(client.append(url, 0, b"no video!!"), 422, "not_a_video")
        client.get("/", params={"token": "secret"})
    text = file.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert {"upload started", "video rejected", "request"} <= {line["event"] for line in lines}
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    session = client.cookies["vsr_session"].rsplit(".", 2)[0]
    for secret in ("holiday", url.rpartition("/")[2], session, "secret"):
        assert secret not in text


def test_clients_other_than_browsers(server: LocalServer) -> None:
    """Neither Origin nor Sec-Fetch-Site: no browser sends that from another page."""
    assert WebClient(server.url).start_upload(10).status_code == 201
