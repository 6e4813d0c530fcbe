"""Uploads: tus 1.0.0, interrupted, resumed, refused."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from visiting import TUS, Site, Visitor, cut_off, go_on, patch_headers, refused

import media_samples as media

Sample = Callable[..., Path]


@pytest.fixture
def visitor(site: Site) -> Visitor:
    return site.visitor()


@pytest.fixture
def film(sample: Sample) -> bytes:
    return sample(media.cfr).read_bytes()


def stored(site: Site, where: str) -> bytes:
    """What lies on the server's disk."""
    (file,) = (site.settings.data / "films" / where.rpartition("/")[2]).iterdir()
    return file.read_bytes()


def test_what_the_server_knows(visitor: Visitor, site: Site) -> None:
    told = visitor.options("/files")
    assert told.status_code == 204
    assert told.headers["Tus-Version"] == told.headers["Tus-Resumable"] == "1.0.0"
    assert told.headers["Tus-Extension"] == "creation,expiration,termination"
    assert told.headers["Tus-Max-Size"] == str(site.settings.max_upload)


def test_a_film_in_pieces(visitor: Visitor, site: Site, film: bytes) -> None:
    begun = visitor.begin(len(film), "나비 – Сад.mp4")
    assert begun.status_code == 201
    where = begun.headers["Location"]
    assert "Upload-Expires" in begun.headers
    told = visitor.head(where, headers=TUS)
    assert told.headers["Upload-Offset"] == "0"
    assert told.headers["Upload-Length"] == str(len(film))
    assert told.headers["Cache-Control"] == "no-store"
    assert visitor.films()[-1]["state"] == "uploading"
    third = len(film) // 3
    for begin, end in ((0, third), (third, third), (third, len(film))):
        sent = visitor.bring(where, begin, film[begin:end])
        assert sent.status_code == 204, sent.text
        assert sent.headers["Upload-Offset"] == str(end)
    assert stored(site, where) == film
    known = visitor.films()[-1]
    assert known["name"] == "나비 – Сад.mp4"
    assert known["state"] == "ready"
    assert known["received"] == known["size"] == len(film)
    assert (known["width"], known["height"], known["frames"], known["sound"]) == (64, 48, 12, True)
    assert known["fps"] == pytest.approx(24000 / 1001, abs=1e-3)
    assert known["duration"] == pytest.approx(
        12 * 1001 / 24000, abs=0.03
    )  # the sound's last packet may be longer
    assert visitor.bring(where, len(film), b"").status_code == 204  # the last byte again does no harm


@pytest.mark.parametrize("seed", range(4))
def test_interrupted_anywhere_and_resumed(seed: int, visitor: Visitor, site: Site) -> None:
    chance = random.Random(seed)
    data = chance.randbytes(chance.randrange(150_000, 290_000))
    where = visitor.begin(len(data)).headers["Location"]
    offset = reached = 0
    for _ in range(3):
        stop = chance.randrange(offset, len(data))
        cut_off(visitor, where, offset, data[offset:stop], len(data) - offset).close()
        reached = max(reached, stop)
        offset = visitor.offset(where)
        assert offset <= reached
    cut = chance.randrange(reached, len(data))
    assert go_on(visitor, where, data[:cut]).status_code == 204
    assert stored(site, where) == data[:cut]
    refused(visitor.bring(where, cut, data[cut:]), 422, "not_a_film")  # these bytes are no film


def test_a_connection_that_hangs_is_taken_over(visitor: Visitor, site: Site, film: bytes) -> None:
    where = visitor.begin(len(film)).headers["Location"]
    with cut_off(visitor, where, 0, film[:1000], len(film)):
        assert go_on(visitor, where, film).status_code == 204
    assert stored(site, where) == film


def test_wrong_offsets(visitor: Visitor, film: bytes) -> None:
    where = visitor.begin(len(film)).headers["Location"]
    visitor.bring(where, 0, film[:100])
    for wrong in (0, 99, 101, len(film), 10**15):
        values = refused(visitor.bring(where, wrong, film[100:200]), 409, "offset")
        assert values == {"offset": 100}
    for nonsense in ("-1", "1.5", "x", "", "9" * 30):
        refused(visitor.bring(where, 0, b"", **{"Upload-Offset": nonsense}), 400, "bad_request")
    assert visitor.offset(where) == 100


def test_more_bytes_than_announced(visitor: Visitor, site: Site, film: bytes) -> None:
    where = visitor.begin(50).headers["Location"]
    refused(visitor.bring(where, 0, film[:51]), 413, "too_large")
    assert stored(site, where) == b""
    pieces = iter([film[:30], film[30:60]])  # no length is told
    refused(visitor.patch(where, content=pieces, headers=patch_headers(0)), 413, "too_large")
    assert len(stored(site, where)) <= 50


def test_limits_before_the_first_byte(visitor: Visitor, site: Site) -> None:
    before = site.kept()
    limit = site.settings.max_upload
    assert refused(visitor.begin(limit + 1), 413, "too_large") == {"limit": limit}
    refused(visitor.begin(0), 422, "empty")
    for nonsense in ("-1", "x", "1e3", "9" * 19):
        refused(visitor.begin(1, **{"Upload-Length": nonsense}), 400, "bad_request")
    refused(visitor.begin(1, **{"Upload-Defer-Length": "1"}), 400, "bad_request")
    refused(visitor.begin(1, **{"Upload-Metadata": "filename !"}), 400, "bad_request")
    refused(visitor.begin(1, **{"Tus-Resumable": "0.2.2"}), 412, "bad_request")
    assert site.kept() == before
    assert visitor.films() == []


def test_protocol_errors(visitor: Visitor, film: bytes) -> None:
    where = visitor.begin(len(film)).headers["Location"]
    refused(visitor.bring(where, 0, film, **{"Content-Type": "video/mp4"}), 415, "bad_request")
    refused(visitor.bring(where, 0, film, **{"Tus-Resumable": "2.0.0"}), 412, "bad_request")
    refused(visitor.put(where, content=film), 405, "method")
    assert visitor.offset(where) == 0


def test_stopping_an_upload(visitor: Visitor, site: Site, film: bytes) -> None:
    where = visitor.begin(len(film)).headers["Location"]
    visitor.bring(where, 0, film[:1000])
    folder = site.settings.data / "films" / where.rpartition("/")[2]
    assert folder.exists()
    assert visitor.delete(where, headers=TUS).status_code == 204
    assert not folder.exists()
    assert visitor.head(where, headers=TUS).status_code == 404
    refused(visitor.bring(where, 1000, film[1000:]), 404, "not_found")
    assert visitor.films() == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/passwd.mp4", "passwd.mp4"),
        ("C:\\films\\a.mp4", "a.mp4"),
        ("new\nline\x00.mp4", "newline.mp4"),
        ("", "film"),
        ("...", "film"),
        ("한" * 300 + ".mp4", "한" * 65 + ".mp4"),
    ],
)
def test_names_are_only_names(given: str, kept: str, visitor: Visitor, site: Site) -> None:
    where = visitor.begin(10, given).headers["Location"]
    assert visitor.films()[-1]["name"] == kept
    (file,) = (site.settings.data / "films" / where.rpartition("/")[2]).iterdir()
    assert file.name in ("film.mp4", "film.film")


def test_room_for_what_was_announced_only(open_site: Callable[..., Site]) -> None:
    site = open_site(quota=1000, films=3)
    visitor, other = site.visitor(), site.visitor()
    assert visitor.begin(600).status_code == 201
    assert refused(other.begin(401), 413, "quota") == {"left": 400}
    where = other.begin(400).headers["Location"]
    refused(visitor.begin(1), 413, "quota")
    assert other.get("/api/options").json()["quota"] == {"bytes": 1000, "used": 1000, "left": 0}
    other.delete(where, headers=TUS)
    for _ in range(2):
        assert visitor.begin(100).status_code == 201
    assert refused(visitor.begin(100), 429, "too_many_films") == {"limit": 3}
