"""What is no film, or more than is taken: told in a sentence, and nothing kept."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from visiting import TUS, Site, refused

import media_samples as media

Sample = Callable[..., Path]

PLAYLIST = b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:1/secret.ts\n#EXTINF:10,\nfile:///etc/passwd\n"
SCRIPT = b"ffconcat version 1.0\nfile '/etc/passwd'\nfile 'http://127.0.0.1:1/x.mp4'\n"
DASH = b'<?xml version="1.0"?><MPD><Period><BaseURL>http://127.0.0.1:1/</BaseURL></Period></MPD>'
HTML = b"<!doctype html><html><body><video src='http://127.0.0.1:1/x.mp4'></video></body></html>"
Y4M_BOMB = b"YUV4MPEG2 W100000 H100000 F25:1 Ip A1:1 C444\nFRAME\n" + bytes(1000)
IVF_BOMB = (
    b"DKIF" + struct.pack("<HH4sHHIIII", 0, 32, b"VP80", 65535, 65535, 25, 1, 1, 0)
    + struct.pack("<IQ", 10, 0) + b"\x10\x02\x00\x9d\x01\x2a\xff\xff\xff\xff"
)  # fmt: skip


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (bytes(range(256)) * 100, "noise.mp4"),
        (b"\0", "one byte.mp4"),
        (PLAYLIST, "playlist.mp4"),
        (PLAYLIST, "playlist.m3u8"),
        (SCRIPT, "script.mkv"),
        (DASH, "manifest.mp4"),
        (HTML, "page.mp4"),
        (Y4M_BOMB, "bomb.y4m"),
        (IVF_BOMB, "bomb.ivf"),
        (b"RIFF" + bytes(4) + b"WAVE" + bytes(100), "sound.mp4"),
    ],
)
def test_what_is_no_film(data: bytes, name: str, site: Site) -> None:
    visitor = site.visitor()
    before = site.kept()
    begun = visitor.begin(len(data), name)
    where = begun.headers["Location"]
    refused(visitor.bring(where, 0, data), 422, "not_a_film")
    assert site.kept() == before
    (film,) = visitor.films()
    assert film["state"] == "refused"
    assert name in film["reason"]
    refused(visitor.bring(where, len(data), b""), 410, "gone")
    assert visitor.head(where, headers=TUS).status_code == 410
    refused(visitor.post(f"/api/films/{film['id']}/jobs", json={}), 409, "not_ready")
    assert visitor.delete(f"/api/films/{film['id']}").status_code == 204
    assert visitor.films() == []


def test_too_long(site: Site, sample: Sample) -> None:
    visitor, before = site.visitor(), site.kept()
    values = refused(visitor.upload(sample(media.cfr, frames=60).read_bytes()), 422, "too_long")
    assert values["limit"] == 2.0
    assert values["duration"] == pytest.approx(60 * 1001 / 24000, abs=0.05)
    assert site.kept() == before


def test_longer_than_it_says(site: Site, sample: Sample) -> None:
    """A film of 2.5 s whose header claims a tenth of that: its frames are counted."""
    data = bytearray(sample(media.cfr, frames=60, audio=False).read_bytes())
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):  # version 0: where the duration lies
        place = data.index(box) + at
        (duration,) = struct.unpack(">I", data[place : place + 4])
        data[place : place + 4] = struct.pack(">I", duration // 10)
    refused(site.visitor().upload(bytes(data)), 422, "too_long")


def test_too_many_pixels(site: Site, sample: Sample) -> None:
    film = sample(media.encoded, name="wide.mp4", filters="null", encoder=("-c:v", "libx264"), size="256x64")
    visitor, before = site.visitor(), site.kept()
    values = refused(visitor.upload(film.read_bytes()), 422, "too_many_pixels")
    assert values == {"limit": 10_000, "width": 256, "height": 64}
    assert site.kept() == before


def test_sound_only_and_still_pictures(site: Site, sample: Sample, tmp_path: Path) -> None:
    tone = tmp_path / "tone.mp4"
    media.run_ffmpeg(*media.sine_tone(0.3), "-c:a", "aac", tone)
    for path in (tone, sample(media.cover_image)):
        refused(site.visitor().upload(path.read_bytes(), "film.mp4"), 422, "not_a_film")


def test_half_of_a_film(site: Site, sample: Sample) -> None:
    whole = sample(media.cfr).read_bytes()  # its index lies at the end
    refused(site.visitor().upload(whole[: len(whole) // 2]), 422, "not_a_film")


def test_a_look_that_takes_too_long(open_site: Callable[..., Site], sample: Sample) -> None:
    site = open_site(check_seconds=0.001)
    refused(site.visitor().upload(sample(media.cfr).read_bytes()), 422, "check_time")
    assert site.kept() == []


def test_a_look_that_takes_too_much_memory(open_site: Callable[..., Site], sample: Sample) -> None:
    site = open_site(check_memory=2**24)
    refused(site.visitor().upload(sample(media.cfr).read_bytes()), 422, "not_a_film")
    assert site.kept() == []


@pytest.mark.parametrize(
    ("body", "option"),
    [
        ({"scale": 0}, "body"),
        ({"scale": 99}, "body"),
        ({"scale": "4; rm"}, "scale"),
        ({"scale": True}, "scale"),
        ({"scale": 2, "height": 1080}, "height"),
        ({"size": "--help"}, "size"),
        ({"size": "huge"}, "size"),
        ({"height": -5}, "height"),
        ({"height": 10}, "body"),
        ({"model": "../../secret.weights.h5"}, "model"),
        ({"model": 4}, "model"),
        ({"preset": "placebo"}, "preset"),
        ({"preset": "balanced", "model": "bicubic"}, "model"),
        ({"model": "duf-52l"}, "model"),
        ({"encode_preset": "nonsense"}, "encode_preset"),
        ({"codec": "libx264"}, "codec"),
        ([], "body"),
    ],
)
def test_what_cannot_be_meant(body: object, option: str, ready: tuple[Site, str, str]) -> None:
    site, cookie, film = ready
    visitor = site.visitor(session=False, cookies={"vsr_session": cookie})
    answer = visitor.post(f"/api/films/{film}/jobs", json=body)
    assert refused(answer, 422, "unknown_option") == {"option": option}
    assert list((site.settings.data / "jobs").iterdir()) == []


def test_requests_that_are_none(ready: tuple[Site, str, str]) -> None:
    site, cookie, film = ready
    visitor, where = site.visitor(session=False, cookies={"vsr_session": cookie}), f"/api/films/{film}/jobs"
    refused(visitor.post(where, data={"scale": "2"}), 415, "bad_request")
    json = {"Content-Type": "application/json"}
    refused(visitor.post(where, content=b"{", headers=json), 400, "bad_request")
    refused(visitor.post(where, content=b"[" * 20_000, headers=json), 413, "bad_request")


def test_results_that_are_too_large(open_site: Callable[..., Site], sample: Sample) -> None:
    site = open_site(max_result=64 * 48 * 4 - 1)
    visitor = site.visitor()
    film = visitor.film(sample(media.cfr).read_bytes())
    values = refused(
        visitor.post(f"/api/films/{film['id']}/jobs", json={"scale": 2, "model": "bicubic"}),
        413,
        "result_too_large",
    )
    assert (values["width"], values["height"]) == (128, 96)


def test_jobs_that_are_too_many(open_site: Callable[..., Site], sample: Sample) -> None:
    site = open_site(jobs=2)
    visitor = site.visitor()
    film = visitor.film(sample(media.cfr).read_bytes())
    first, second = visitor.convert(film), visitor.convert(film, encode_preset="archive")
    assert [first["position"], second["position"]] == [1, 2]
    answer = visitor.post(f"/api/films/{film['id']}/jobs", json={"model": "bicubic"})
    assert refused(answer, 429, "too_many_jobs") == {"limit": 2}
    assert visitor.post(f"/api/jobs/{first['id']}/cancel").json()["state"] == "cancelled"
    assert visitor.get(f"/api/jobs/{second['id']}").json()["position"] == 1
    refused(visitor.post(f"/api/jobs/{first['id']}/cancel"), 409, "finished")
    refused(visitor.get(f"/api/jobs/{second['id']}/download"), 409, "not_finished")


def test_no_room_for_the_result(open_site: Callable[..., Site], sample: Sample) -> None:
    data = sample(media.cfr).read_bytes()
    site = open_site(quota=2 * len(data))
    visitor = site.visitor()
    film = visitor.film(data)
    answer = visitor.post(f"/api/films/{film['id']}/jobs", json={"model": "bicubic"})
    assert refused(answer, 413, "quota") == {"left": len(data)}
    assert list((site.settings.data / "jobs").iterdir()) == []


@pytest.fixture(scope="module")
def ready(site: Site, sample: Sample) -> tuple[Site, str, str]:
    """A film that could be converted: the server, its owner's cookie, its id."""
    visitor = site.visitor()
    film = visitor.film(sample(media.cfr).read_bytes())
    return site, visitor.cookies["vsr_session"], film["id"]
