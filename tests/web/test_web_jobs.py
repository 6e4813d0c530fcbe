"""From upload to download, with real workers; once with SQLite as the queue, once with Redis."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from web_client import ServerProcess, WebClient, assert_error, descendants, have_ended

import media_samples as media
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times

Sample = Callable[..., Path]
Serve = Callable[..., ServerProcess]


def decode(path: Path) -> np.ndarray:
    """Return all frames, (T, H, W, 3)."""
    with Decoder(probe(path), ffmpeg=find_ffmpeg()) as decoder:
        return np.stack([frame.pixels for frame in decoder])


@pytest.mark.parametrize("queue_url", ["sqlite", "redis"], indirect=True)  # both in the short suite, too
def test_upload_convert_download(serve: Serve, queue_url: str, sample: Sample, tmp_path: Path) -> None:
    server = serve("--queue", queue_url)
    client, video = WebClient(server.url), sample(media.vfr)
    uploaded = client.upload_video(video.read_bytes(), "나비.mp4")
    job = client.convert(uploaded, scale="2", encode_preset="web", strength=0.5, keep_color=True)
    assert job["options"] == {
        "scale": "2",
        "size": None,
        "height": None,
        "preset": None,
        "model": "bicubic",
        "look": None,
        "strength": 0.5,
        "keep_color": True,
        "encode_preset": "web",
    }
    done = client.wait_for(job, "done")
    assert done["state"] == "done", done["message"]
    assert done["done"] == done["total"] == 12
    result = done["result"]
    assert result["name"] == "나비-128x96.mp4"
    assert (result["width"], result["height"], result["frames"]) == (128, 96, 12)
    assert result["expires"] > done["finished"]

    target = tmp_path / "downloaded.mp4"
    response = client.get(f"/api/jobs/{job['id']}/download")
    target.write_bytes(response.content)
    assert response.headers["Content-Type"] == "video/mp4"
    assert "filename*=utf-8''%EB%82%98%EB%B9%84-128x96.mp4" in response.headers["Content-Disposition"]
    assert len(response.content) == result["size"]
    old, new = probe(video), probe(target)
    assert [time - new.start for time in frame_times(new)] == [time - old.start for time in frame_times(old)]
    assert (new.video.width, new.video.height) == (128, 96)
    assert [other.kind for other in new.other_streams] == [other.kind for other in old.other_streams]

    partial = client.get(f"/api/jobs/{job['id']}/download", headers={"Range": "bytes=100-199"})
    assert partial.status_code == 206
    assert partial.content == response.content[100:200]
    assert partial.headers["Content-Range"] == f"bytes 100-199/{result['size']}"
    beyond = client.get(f"/api/jobs/{job['id']}/download", headers={"Range": f"bytes={result['size']}-"})
    assert beyond.status_code == 416

    assert len(result["preview_times"]) == 5
    frames_before, frames_after = decode(video), decode(target)
    for number, preview_time in enumerate(result["preview_times"]):
        times = [float(time - old.start) for time in frame_times(old)]
        index = int(np.argmin(np.abs(np.array(times) - preview_time)))
        for side, frames in (("before", frames_before), ("after", frames_after)):
            image = client.get(f"/api/jobs/{job['id']}/frames/{number}/{side}.png")
            assert image.headers["Content-Type"] == "image/png"
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image.content))), frames[index])
    assert_error(client.get(f"/api/jobs/{job['id']}/frames/5/after.png"), 404, "not_found")

    again = client.convert(uploaded, height=96, scale=None, encode_preset="archive")  # the same video again
    assert client.wait_for(again, "done")["result"]["name"] == "나비-128x96.mkv"
    assert client.get("/healthz").json() == {"status": "ok", "worker": True}
    metrics = client.get("/metrics").text
    assert 'vsr_jobs_finished_total{state="done"} 2.0' in metrics
    assert "vsr_frames_total 24.0" in metrics

    folder = tmp_path / "data"
    assert client.delete(f"/api/videos/{uploaded['id']}").status_code == 204
    assert client.videos() == []
    assert [*(folder / "uploads").iterdir(), *(folder / "jobs").iterdir()] == []
    assert server.stop() == 0


def test_cancel_and_the_queue(serve: Serve, sample: Sample, tmp_path: Path) -> None:
    server = serve()
    client = WebClient(server.url)
    video = client.upload_video(sample(media.cfr, frames=1500, audio=False).read_bytes())
    first = client.convert(video, scale=8, encode_preset="archive")
    short = client.upload_video(sample(media.cfr).read_bytes())
    second, third = client.convert(short), client.convert(video)
    running = client.wait_for(first, "running", done=1)
    (runner,) = descendants(psutil.Process(server.child.pid), "upscale")
    runner.suspend()  # it must not finish before the checks below
    assert (running["state"], running["total"]) == ("running", 1500)
    assert client.get(f"/api/jobs/{second['id']}").json()["position"] == 1
    assert client.get(f"/api/jobs/{third['id']}").json()["position"] == 2
    assert os.getpgid(runner.pid) == runner.pid  # a process group of its own
    helpers = runner.children(recursive=True)
    assert client.post(f"/api/jobs/{third['id']}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/api/jobs/{first['id']}/cancel").status_code == 200
    runner.resume()
    assert client.wait_for(first, "cancelled")["state"] == "cancelled"
    assert have_ended([runner, *helpers])
    assert not (tmp_path / "data" / "jobs" / first["id"]).exists()
    assert_error(client.get(f"/api/jobs/{first['id']}/download"), 409, "not_finished")
    assert client.wait_for(second, "done")["state"] == "done"  # the next one in the queue
    assert client.delete(f"/api/jobs/{second['id']}").status_code == 204
    jobs = {each["id"]: [job["id"] for job in each["jobs"]] for each in client.videos()}
    assert jobs == {video["id"]: [first["id"], third["id"]], short["id"]: []}


def test_damaged_video(serve: Serve, sample: Sample) -> None:
    server = serve()
    client = WebClient(server.url)
    video = client.upload_video(
        media.damaged(sample(media.cfr, suffix=".mkv", frames=48)).read_bytes(), "damaged.mkv"
    )
    job = client.wait_for(client.convert(video), "done")
    assert job["state"] == "failed"
    assert "damaged.mkv" in job["message"]
    assert (job["code"], job["values"]) == ("command", {})  # a message of the command, in English
    assert "/" not in job["message"].replace("24000/1001", "")
    assert job["result"] is None


def test_events_report_changes(serve: Serve, sample: Sample) -> None:
    client, other = WebClient((server := serve()).url), WebClient(server.url)
    video = client.upload_video(sample(media.cfr).read_bytes())
    events = client.events()
    assert next(events) == ("video", video)
    job = other_tab(client, server).convert(video)
    name, data = next(events)
    assert name == "video"
    assert [each["id"] for each in data["jobs"]] == [job["id"]]
    states = [data["jobs"][0]["state"]]
    while states[-1] != "done":
        name, data = next(events)
        if name == "job":
            states.append(data["state"])
    assert states == sorted(states, key=["queued", "running", "done"].index)
    assert other_tab(client, server).delete(f"/api/videos/{video['id']}").status_code == 204
    event = next(events)
    while event[0] != "gone":
        event = next(events)
    assert event == ("gone", {"kind": "video", "id": video["id"]})
    assert other.videos() == []
    assert server.stop() == 0  # an open stream of events does not prevent it


def other_tab(client: WebClient, server: ServerProcess) -> WebClient:
    """Return another client with the same session."""
    return WebClient(server.url, session=False, cookies={"vsr_session": client.cookies["vsr_session"]})


@pytest.mark.parametrize("scale", ["1.5"])
def test_non_integer_scale(scale: str, serve: Serve, sample: Sample) -> None:
    client = WebClient(serve().url)
    video = client.upload_video(sample(media.rotated).read_bytes())
    assert (video["width"], video["height"]) == (48, 64)  # as displayed
    result = client.wait_for(client.convert(video, scale=scale), "done")["result"]
    assert (result["width"], result["height"]) == (72, 96)
