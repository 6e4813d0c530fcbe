"""Files that are no video, limits, and invalid requests: an error message, and nothing stored."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from web_client import TUS, LocalServer, assert_error

import media_samples as media
from vsrcli.models.architectures import MODEL_PRESETS
from vsrcli.web import jobs
from vsrcli.web.cleanup import cancel_job
from vsrcli.web.options import parse_job_request
from vsrcli.web.store import DONE, FAILED, QUEUED, RUNNING, JobRecord, Store

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
        (b"RIFF" + bytes(4) + b"WAVE" + bytes(100), "audio.mp4"),
    ],
)
def test_no_video(data: bytes, name: str, server: LocalServer) -> None:
    client = server.client()
    before = server.stored_files()
    created = client.start_upload(len(data), name)
    url = created.headers["Location"]
    assert_error(client.append(url, 0, data), 422, "not_a_video")
    assert server.stored_files() == before
    (video,) = client.videos()
    assert video["state"] == "rejected"
    assert name in video["reason"]
    assert_error(client.append(url, len(data), b""), 410, "gone")
    assert client.head(url, headers=TUS).status_code == 410
    assert_error(client.post(f"/api/videos/{video['id']}/jobs", json={}), 409, "not_ready")
    assert client.delete(f"/api/videos/{video['id']}").status_code == 204
    assert client.videos() == []


def test_too_long(server: LocalServer, sample: Sample) -> None:
    client, before = server.client(), server.stored_files()
    values = assert_error(client.upload(sample(media.cfr, frames=60).read_bytes()), 422, "too_long")
    assert values["limit"] == 2.0
    assert values["duration"] == pytest.approx(60 * 1001 / 24000, abs=0.05)
    assert server.stored_files() == before


def test_longer_than_its_header_claims(server: LocalServer, sample: Sample) -> None:
    """A video of 2.5 s whose header claims a tenth of that: its frames are counted."""
    data = bytearray(sample(media.cfr, frames=60, audio=False).read_bytes())
    for box, at in ((b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):  # version 0: position of the duration
        place = data.index(box) + at
        (duration,) = struct.unpack(">I", data[place : place + 4])
        data[place : place + 4] = struct.pack(">I", duration // 10)
    assert_error(server.client().upload(bytes(data)), 422, "too_long")


def test_too_many_pixels(server: LocalServer, sample: Sample) -> None:
    video = sample(media.encoded, name="wide.mp4", filters="null", encoder=("-c:v", "libx264"), size="256x64")
    client, before = server.client(), server.stored_files()
    values = assert_error(client.upload(video.read_bytes()), 422, "too_many_pixels")
    assert values == {"limit": 10_000, "width": 256, "height": 64}
    assert server.stored_files() == before


def test_audio_only_and_attached_picture(server: LocalServer, sample: Sample, tmp_path: Path) -> None:
    tone = tmp_path / "tone.mp4"
    media.run_ffmpeg(*media.sine_tone(0.3), "-c:a", "aac", tone)
    for path in (tone, sample(media.cover_image)):
        assert_error(server.client().upload(path.read_bytes(), "video.mp4"), 422, "not_a_video")


def test_truncated_video(server: LocalServer, sample: Sample) -> None:
    whole = sample(media.cfr).read_bytes()  # its index is at the end
    assert_error(server.client().upload(whole[: len(whole) // 2]), 422, "not_a_video")


def test_check_that_takes_too_long(open_server: Callable[..., LocalServer], sample: Sample) -> None:
    server = open_server(check_timeout=0.001)
    assert_error(server.client().upload(sample(media.cfr).read_bytes()), 422, "check_timeout")
    assert server.stored_files() == []


def test_check_that_takes_too_much_memory(open_server: Callable[..., LocalServer], sample: Sample) -> None:
    server = open_server(check_memory=2**24)
    assert_error(server.client().upload(sample(media.cfr).read_bytes()), 422, "not_a_video")
    assert server.stored_files() == []


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
        ({"preset": [], "model": "bicubic"}, "preset"),
        ({"model": "duf-52l"}, "model"),
        ({"encode_preset": "nonsense"}, "encode_preset"),
        ({"look": "loud"}, "look"),
        ({"look": "sharp", "model": "bicubic"}, "body"),
        ({"strength": 1.5}, "strength"),
        ({"strength": "0.5; rm"}, "strength"),
        ({"strength": True}, "strength"),
        ({"keep_color": "yes"}, "keep_color"),
        ({"codec": "libx264"}, "codec"),
        ([], "body"),
    ],
)
def test_invalid_options(body: object, option: str, ready: tuple[LocalServer, str, str]) -> None:
    server, cookie, video = ready
    client = server.client(session=False, cookies={"vsr_session": cookie})
    response = client.post(f"/api/videos/{video}/jobs", json=body)
    assert assert_error(response, 422, "unknown_option") == {"option": option}
    assert list((server.settings.data / "jobs").iterdir()) == []


@pytest.mark.parametrize("preset", sorted(MODEL_PRESETS))
def test_options_of_a_job_can_be_requested_again(preset: str) -> None:
    """As the page's "Convert again" does: they hold a preset and the network that it chose."""
    job = parse_job_request({"preset": preset, "look": "natural", "strength": 0.5})
    assert job.options["model"] == MODEL_PRESETS[preset]
    assert parse_job_request(job.options) == job


def test_invalid_bodies(ready: tuple[LocalServer, str, str]) -> None:
    server, cookie, video = ready
    client, url = server.client(session=False, cookies={"vsr_session": cookie}), f"/api/videos/{video}/jobs"
    assert_error(client.post(url, data={"scale": "2"}), 415, "bad_request")
    json = {"Content-Type": "application/json"}
    assert_error(client.post(url, content=b"{", headers=json), 400, "bad_request")
    assert_error(client.post(url, content=b"[" * 20_000, headers=json), 413, "bad_request")


@pytest.mark.parametrize(("size", "result"), [("38x21", (112, 62)), ("37x22", (112, 66))])
def test_factor_that_makes_a_side_odd(
    size: str, result: tuple[int, int], open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    """Its result has even sides, which H.264 for browsers requires."""
    server = open_server()
    client, filters = server.client(), f"format=yuv444p,scale={size.replace('x', ':')}"
    video = sample(media.encoded, name="odd.mkv", filters=filters, encoder=("-c:v", "ffv1"))
    job = client.convert(client.upload_video(video.read_bytes(), "odd.mkv"), scale="3")
    assert job["options"]["scale"] == "3"
    (record,) = Store(server.settings.database).list_jobs()
    assert record.result == {"width": result[0], "height": result[1]}


def test_too_large_results(open_server: Callable[..., LocalServer], sample: Sample) -> None:
    server = open_server(max_result=64 * 48 * 4 - 1)
    client = server.client()
    video = client.upload_video(sample(media.cfr).read_bytes())
    values = assert_error(
        client.post(f"/api/videos/{video['id']}/jobs", json={"scale": 2, "model": "bicubic"}),
        413,
        "result_too_large",
    )
    assert (values["width"], values["height"]) == (128, 96)


def test_too_many_jobs(open_server: Callable[..., LocalServer], sample: Sample) -> None:
    server = open_server(max_jobs=2)
    client = server.client()
    video = client.upload_video(sample(media.cfr).read_bytes())
    first, second = client.convert(video), client.convert(video, encode_preset="archive")
    assert [first["position"], second["position"]] == [1, 2]
    response = client.post(f"/api/videos/{video['id']}/jobs", json={"model": "bicubic"})
    assert assert_error(response, 429, "too_many_jobs") == {"limit": 2}
    assert client.post(f"/api/jobs/{first['id']}/cancel").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{second['id']}").json()["position"] == 1
    assert_error(client.post(f"/api/jobs/{first['id']}/cancel"), 409, "finished")
    assert_error(client.get(f"/api/jobs/{second['id']}/download"), 409, "not_finished")


def test_no_space_for_the_result(open_server: Callable[..., LocalServer], sample: Sample) -> None:
    data = sample(media.cfr).read_bytes()
    server = open_server(quota=2 * len(data))
    client = server.client()
    video = client.upload_video(data)
    response = client.post(f"/api/videos/{video['id']}/jobs", json={"model": "bicubic"})
    assert assert_error(response, 413, "quota") == {"left": len(data)}
    assert list((server.settings.data / "jobs").iterdir()) == []


def test_space_of_a_deleted_result_is_free_at_once(
    open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    server = open_server()  # no worker: the test ends the job
    client, data = server.client(), sample(media.cfr).read_bytes()
    job = client.convert(client.upload_video(data))
    store = Store(server.settings.database)
    assert client.get("/api/options").json()["quota"]["used"] > len(data)
    folder = server.settings.job_dir(job["id"])
    folder.mkdir(exist_ok=True)
    assert store.transition_job(job["id"], QUEUED, RUNNING)
    assert store.transition_job(job["id"], RUNNING, DONE, result={"width": 128, "height": 96})
    assert client.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert client.get("/api/options").json()["quota"]["used"] == len(data)
    assert not folder.exists()


def test_failed_job_is_resumed_within_the_limits(
    open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    """It stays the same job, in the same folder: only there the command finds what it has finished."""
    data = sample(media.cfr).read_bytes()
    server = open_server(max_jobs=1, quota=12 * len(data))
    client = server.client()
    video = client.upload_video(data)
    job, store = client.convert(video), Store(server.settings.database)

    def fail(kept: int) -> None:
        assert store.transition_job(job["id"], QUEUED, RUNNING)
        failed = {"message": "It failed.", "code": "command", "disk_bytes": kept}
        assert store.transition_job(job["id"], RUNNING, FAILED, **failed)

    def resume() -> httpx.Response:
        return client.post(f"/api/jobs/{job['id']}/resume")

    fail(kept=5)
    assert client.get(f"/api/jobs/{job['id']}").json()["resumable"]
    resumed = resume()
    assert resumed.status_code == 200
    assert resumed.json() == client.get(f"/api/jobs/{job['id']}").json()
    expected = {"id": job["id"], "state": "queued", "position": 1, "message": "", "code": None}
    assert resumed.json() == resumed.json() | expected | {"finished": None, "resumable": False}
    assert resume().json()["state"] == "queued"  # from another page: it is resumed already
    assert client.get("/api/options").json()["quota"]["used"] == len(data) * 5  # the result is expected again

    fail(kept=5)
    record = store.get_job(job["id"])
    assert record is not None
    store.add_job(replace(record, id="other", state=QUEUED), max_count=1, quota=server.settings.quota)
    assert_error(resume(), 429, "too_many_jobs")
    store.delete_job("other")
    upload = client.start_upload(8 * len(data)).headers["Location"]
    assert_error(resume(), 413, "quota")
    client.delete(upload, headers=TUS)
    assert resume().json()["state"] == "queued"
    (server.settings.job_dir(job["id"]) / ".result.mp4.vsr").mkdir()
    assert client.post(f"/api/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
    assert not server.settings.job_dir(job["id"]).exists()
    assert not client.get(f"/api/jobs/{job['id']}").json()["resumable"]
    assert_error(resume(), 410, "gone")
    assert_error(server.client().post(f"/api/jobs/{job['id']}/resume"), 404, "not_found")


@pytest.fixture(scope="module")
def ready(server: LocalServer, sample: Sample) -> tuple[LocalServer, str, str]:
    """A video that is ready: the server, its owner's cookie, its id."""
    client = server.client()
    video = client.upload_video(sample(media.cfr).read_bytes())
    return server, client.cookies["vsr_session"], video["id"]


@pytest.mark.parametrize("state", [DONE, FAILED])
def test_job_that_ends_while_it_is_cancelled_keeps_its_files(
    state: str, open_server: Callable[..., LocalServer], sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = open_server()
    client, store = server.client(), Store(server.settings.database)
    job = client.convert(client.upload_video(sample(media.cfr).read_bytes()))
    kept = server.settings.job_dir(job["id"]) / ".result.mp4.vsr"
    kept.mkdir()
    assert store.transition_job(job["id"], QUEUED, RUNNING)

    def end_and_cancel(store: Store, record: JobRecord) -> bool:
        assert store.transition_job(record.id, RUNNING, state, disk_bytes=5)
        return cancel_job(store, record)

    monkeypatch.setattr(jobs, "cancel_job", end_and_cancel)
    assert client.post(f"/api/jobs/{job['id']}/cancel").json()["state"] == state
    assert kept.exists()
