"""Uploads: tus 1.0.0, interrupted, resumed, rejected."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from web_client import TUS, LocalServer, WebClient, assert_error, broken_patch, patch_headers, resume

import media_samples as media

Sample = Callable[..., Path]


@pytest.fixture
def client(server: LocalServer) -> WebClient:
    return server.client()


@pytest.fixture
def video(sample: Sample) -> bytes:
    return sample(media.cfr).read_bytes()


def stored(server: LocalServer, url: str) -> bytes:
    """Return the bytes on the server's disk."""
    (file,) = (server.settings.data / "uploads" / url.rpartition("/")[2]).iterdir()
    return file.read_bytes()


def test_protocol_support(client: WebClient, server: LocalServer) -> None:
    response = client.options("/files")
    assert response.status_code == 204
    assert response.headers["Tus-Version"] == response.headers["Tus-Resumable"] == "1.0.0"
    assert response.headers["Tus-Extension"] == "creation,expiration,termination"
    assert response.headers["Tus-Max-Size"] == str(server.settings.max_upload)


def test_upload_in_chunks(client: WebClient, server: LocalServer, video: bytes) -> None:
    created = client.start_upload(len(video), "나비 – Сад.mp4")
    assert created.status_code == 201
    url = created.headers["Location"]
    assert "Upload-Expires" in created.headers
    response = client.head(url, headers=TUS)
    assert response.headers["Upload-Offset"] == "0"
    assert response.headers["Upload-Length"] == str(len(video))
    assert response.headers["Cache-Control"] == "no-store"
    assert client.videos()[-1]["state"] == "uploading"
    third = len(video) // 3
    for start, end in ((0, third), (third, third), (third, len(video))):
        sent = client.append(url, start, video[start:end])
        assert sent.status_code == 204, sent.text
        assert sent.headers["Upload-Offset"] == str(end)
    assert stored(server, url) == video
    uploaded = client.videos()[-1]
    assert uploaded["name"] == "나비 – Сад.mp4"
    assert uploaded["state"] == "ready"
    assert uploaded["received"] == uploaded["size"] == len(video)
    assert (uploaded["width"], uploaded["height"], uploaded["frames"], uploaded["audio"]) == (
        64,
        48,
        12,
        True,
    )
    assert uploaded["fps"] == pytest.approx(24000 / 1001, abs=1e-3)
    assert uploaded["duration"] == pytest.approx(
        12 * 1001 / 24000, abs=0.03
    )  # the last audio packet may be longer
    assert client.append(url, len(video), b"").status_code == 204  # nothing more to send does no harm


def store_all(server: LocalServer, client: WebClient, video: bytes) -> str:
    """Return the URL of an upload as after kill -9: all bytes on the disk, but not so in its record."""
    url = client.start_upload(len(video)).headers["Location"]
    (file,) = (server.settings.data / "uploads" / url.rpartition("/")[2]).iterdir()
    file.write_bytes(video)
    return url


def test_complete_upload_whose_check_did_not_start(
    client: WebClient, server: LocalServer, video: bytes
) -> None:
    url = store_all(server, client, video)
    assert client.videos()[-1]["state"] == "uploading"
    assert client.offset(url) == len(video)  # clients send nothing more after that
    assert client.wait_for_video("ready")["received"] == len(video)


def test_complete_upload_is_checked_at_the_next_start(
    open_server: Callable[..., LocalServer], video: bytes
) -> None:
    server = open_server()
    client = server.client()
    store_all(server, client, video)
    partial = client.start_upload(len(video)).headers["Location"]
    restarted = open_server(data=server.settings.data).same_client(client)
    assert restarted.wait_for_video("ready")["received"] == len(video)
    assert restarted.offset(partial) == 0


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_anywhere_and_resumed(seed: int, client: WebClient, server: LocalServer) -> None:
    rng = random.Random(seed)
    data = rng.randbytes(rng.randrange(150_000, 290_000))
    url = client.start_upload(len(data)).headers["Location"]
    offset = reached = 0
    for _ in range(3):
        stop = rng.randrange(offset, len(data))
        broken_patch(client, url, offset, data[offset:stop], len(data) - offset).close()
        reached = max(reached, stop)
        offset = client.offset(url)
        assert offset <= reached
    cut = rng.randrange(reached, len(data))
    assert resume(client, url, data[:cut]).status_code == 204
    assert stored(server, url) == data[:cut]
    assert_error(client.append(url, cut, data[cut:]), 422, "not_a_video")  # these bytes are no video


def test_stalled_request_is_replaced(client: WebClient, server: LocalServer, video: bytes) -> None:
    url = client.start_upload(len(video)).headers["Location"]
    with broken_patch(client, url, 0, video[:1000], len(video)):
        assert resume(client, url, video).status_code == 204
    assert stored(server, url) == video


def test_wrong_offsets(client: WebClient, video: bytes) -> None:
    url = client.start_upload(len(video)).headers["Location"]
    client.append(url, 0, video[:100])
    for wrong in (0, 99, 101, len(video), 10**15):
        values = assert_error(client.append(url, wrong, video[100:200]), 409, "offset")
        assert values == {"offset": 100}
    for nonsense in ("-1", "1.5", "x", "", "9" * 30):
        assert_error(client.append(url, 0, b"", **{"Upload-Offset": nonsense}), 400, "bad_request")
    assert client.offset(url) == 100


def test_more_bytes_than_announced(client: WebClient, server: LocalServer, video: bytes) -> None:
    url = client.start_upload(50).headers["Location"]
    assert_error(client.append(url, 0, video[:51]), 413, "too_large")
    assert stored(server, url) == b""
    chunks = iter([video[:30], video[30:60]])  # without Content-Length
    assert_error(client.patch(url, content=chunks, headers=patch_headers(0)), 413, "too_large")
    assert len(stored(server, url)) <= 50


def test_limits_before_the_first_byte(client: WebClient, server: LocalServer) -> None:
    before = server.stored_files()
    limit = server.settings.max_upload
    assert assert_error(client.start_upload(limit + 1), 413, "too_large") == {"limit": limit}
    assert_error(client.start_upload(0), 422, "empty")
    for nonsense in ("-1", "x", "1e3", "9" * 19):
        assert_error(client.start_upload(1, **{"Upload-Length": nonsense}), 400, "bad_request")
    assert_error(client.start_upload(1, **{"Upload-Defer-Length": "1"}), 400, "bad_request")
    assert_error(client.start_upload(1, **{"Upload-Metadata": "filename !"}), 400, "bad_request")
    assert_error(client.start_upload(1, **{"Tus-Resumable": "0.2.2"}), 412, "bad_request")
    assert server.stored_files() == before
    assert client.videos() == []


def test_protocol_errors(client: WebClient, video: bytes) -> None:
    url = client.start_upload(len(video)).headers["Location"]
    assert_error(client.append(url, 0, video, **{"Content-Type": "video/mp4"}), 415, "bad_request")
    assert_error(client.append(url, 0, video, **{"Tus-Resumable": "2.0.0"}), 412, "bad_request")
    assert_error(client.put(url, content=video), 405, "method")
    assert client.offset(url) == 0


def test_terminating_an_upload(client: WebClient, server: LocalServer, video: bytes) -> None:
    url = client.start_upload(len(video)).headers["Location"]
    client.append(url, 0, video[:1000])
    folder = server.settings.data / "uploads" / url.rpartition("/")[2]
    assert folder.exists()
    assert client.delete(url, headers=TUS).status_code == 204
    assert not folder.exists()
    assert client.head(url, headers=TUS).status_code == 404
    assert_error(client.append(url, 1000, video[1000:]), 404, "not_found")
    assert client.videos() == []


@pytest.mark.parametrize(
    ("name", "sanitized"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("C:\\videos\\a.mp4", "a.mp4"),
        ("new\nline\x00.mp4", "newline.mp4"),
        ("", "video"),
        ("...", "video"),
        ("한" * 300 + ".mp4", "한" * 65 + ".mp4"),
    ],
)
def test_sanitized_names(name: str, sanitized: str, client: WebClient, server: LocalServer) -> None:
    url = client.start_upload(10, name).headers["Location"]
    assert client.videos()[-1]["name"] == sanitized
    (file,) = (server.settings.data / "uploads" / url.rpartition("/")[2]).iterdir()
    assert file.name in ("video.mp4", "video.video")


def test_quota_includes_announced_uploads(open_server: Callable[..., LocalServer]) -> None:
    server = open_server(quota=1000, max_videos=3)
    client, other = server.client(), server.client()
    assert client.start_upload(600).status_code == 201
    assert assert_error(other.start_upload(401), 413, "quota") == {"left": 400}
    url = other.start_upload(400).headers["Location"]
    assert_error(client.start_upload(1), 413, "quota")
    assert other.get("/api/options").json()["quota"] == {"bytes": 1000, "used": 1000, "left": 0}
    other.delete(url, headers=TUS)
    for _ in range(2):
        assert client.start_upload(100).status_code == 201
    assert assert_error(client.start_upload(100), 429, "too_many_videos") == {"limit": 3}
