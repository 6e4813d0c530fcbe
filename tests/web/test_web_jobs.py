"""From the upload to the download, with real workers; once with SQLite as the queue, once with Redis."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image
from visiting import Running, Visitor, called, gone, refused

import media_samples as media
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times

Sample = Callable[..., Path]
Serve = Callable[..., Running]


def pixels(path: Path) -> np.ndarray:
    """All frames, (T, H, W, 3)."""
    with Decoder(probe(path), ffmpeg=find_ffmpeg()) as decoder:
        return np.stack([frame.pixels for frame in decoder])


def test_the_whole_way(serve: Serve, queue_url: str, sample: Sample, tmp_path: Path) -> None:
    server = serve("--queue", queue_url)
    visitor, film = Visitor(server.url), sample(media.vfr)
    known = visitor.film(film.read_bytes(), "나비.mp4")
    job = visitor.convert(known, scale="2", encode_preset="web")
    assert job["options"] == {
        "scale": "2",
        "size": None,
        "height": None,
        "preset": None,
        "model": "bicubic",
        "encode_preset": "web",
    }
    done = visitor.until(job, "done")
    assert done["state"] == "done", done["message"]
    assert done["done"] == done["total"] == 12
    result = done["result"]
    assert result["name"] == "나비-128x96.mp4"
    assert (result["width"], result["height"], result["frames"]) == (128, 96, 12)
    assert result["expires"] > done["finished"]

    target = tmp_path / "downloaded.mp4"
    answer = visitor.get(f"/api/jobs/{job['id']}/download")
    target.write_bytes(answer.content)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert "filename*=utf-8''%EB%82%98%EB%B9%84-128x96.mp4" in answer.headers["Content-Disposition"]
    assert len(answer.content) == result["size"]
    old, new = probe(film), probe(target)
    assert [time - new.start for time in frame_times(new)] == [time - old.start for time in frame_times(old)]
    assert (new.video.width, new.video.height) == (128, 96)
    assert [other.kind for other in new.other_streams] == [other.kind for other in old.other_streams]

    part = visitor.get(f"/api/jobs/{job['id']}/download", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == answer.content[100:200]
    assert part.headers["Content-Range"] == f"bytes 100-199/{result['size']}"
    beyond = visitor.get(f"/api/jobs/{job['id']}/download", headers={"Range": f"bytes={result['size']}-"})
    assert beyond.status_code == 416

    assert result["previews"] == len(result["moments"]) == 5
    shown_before, shown_after = pixels(film), pixels(target)
    for number, moment in enumerate(result["moments"]):
        times = [float(time - old.start) for time in frame_times(old)]
        index = int(np.argmin(np.abs(np.array(times) - moment)))
        for side, frames in (("before", shown_before), ("after", shown_after)):
            picture = visitor.get(f"/api/jobs/{job['id']}/frames/{number}/{side}.png")
            assert picture.headers["Content-Type"] == "image/png"
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(picture.content))), frames[index])
    refused(visitor.get(f"/api/jobs/{job['id']}/frames/5/after.png"), 404, "not_found")

    again = visitor.convert(known, height=96, scale=None, encode_preset="archive")  # the same film once more
    assert visitor.until(again, "done")["result"]["name"] == "나비-128x96.mkv"
    assert visitor.get("/healthz").json() == {"status": "ok", "worker": True}
    figures = visitor.get("/metrics").text
    assert 'vsr_jobs_finished_total{state="done"} 2.0' in figures
    assert "vsr_frames_total 24.0" in figures

    folder = tmp_path / "data"
    assert visitor.delete(f"/api/films/{known['id']}").status_code == 204
    assert visitor.films() == []
    assert [*(folder / "films").iterdir(), *(folder / "jobs").iterdir()] == []
    assert server.stop() == 0


def test_cancel_and_the_queue(serve: Serve, sample: Sample, tmp_path: Path) -> None:
    server = serve()
    visitor = Visitor(server.url)
    film = visitor.film(sample(media.cfr, frames=1500, audio=False).read_bytes())
    first = visitor.convert(film, scale=8, encode_preset="archive")
    second, third = visitor.convert(film), visitor.convert(film)
    seen = visitor.until(first, "running", done=1)
    (runner,) = called(psutil.Process(server.child.pid), "upscale")
    runner.suspend()  # it is not done before all this has been looked at
    assert (seen["state"], seen["total"]) == ("running", 1500)
    assert visitor.get(f"/api/jobs/{second['id']}").json()["position"] == 1
    assert visitor.get(f"/api/jobs/{third['id']}").json()["position"] == 2
    assert os.getpgid(runner.pid) == runner.pid  # a process group of its own
    helpers = runner.children(recursive=True)
    assert visitor.post(f"/api/jobs/{third['id']}/cancel").json()["state"] == "cancelled"
    assert visitor.post(f"/api/jobs/{first['id']}/cancel").status_code == 200
    runner.resume()
    assert visitor.until(first, "cancelled")["state"] == "cancelled"
    assert gone([runner, *helpers])
    assert not (tmp_path / "data" / "jobs" / first["id"]).exists()
    refused(visitor.get(f"/api/jobs/{first['id']}/download"), 409, "not_finished")
    assert visitor.until(second, "done")["state"] == "done"  # whoever waits is next
    assert visitor.delete(f"/api/jobs/{second['id']}").status_code == 204
    assert [job["id"] for job in visitor.films()[0]["jobs"]] == [first["id"], third["id"]]


def test_a_film_that_cannot_be_decoded_to_its_end(serve: Serve, sample: Sample) -> None:
    server = serve()
    visitor = Visitor(server.url)
    film = visitor.film(media.damaged(sample(media.cfr, suffix=".mkv", frames=48)).read_bytes(), "hurt.mkv")
    job = visitor.until(visitor.convert(film), "done")
    assert job["state"] == "failed"
    assert "hurt.mkv" in job["message"]
    assert (job["code"], job["values"]) == ("command", {})  # its own words: English
    assert "/" not in job["message"].replace("24000/1001", "")
    assert job["result"] is None


def test_events_tell_what_changes(serve: Serve, sample: Sample) -> None:
    visitor, other = Visitor((server := serve()).url), Visitor(server.url)
    film = visitor.film(sample(media.cfr).read_bytes())
    events = visitor.events()
    assert next(events) == ("film", film)
    job = other_tab(visitor, server).convert(film)
    name, data = next(events)
    assert name == "film"
    assert [each["id"] for each in data["jobs"]] == [job["id"]]
    states = [data["jobs"][0]["state"]]
    while states[-1] != "done":
        name, data = next(events)
        if name == "job":
            states.append(data["state"])
    assert states == sorted(states, key=["queued", "running", "done"].index)
    assert other_tab(visitor, server).delete(f"/api/films/{film['id']}").status_code == 204
    names = [next(events)]
    while names[-1][0] != "gone":
        names.append(next(events))
    assert names[-1] == ("gone", {"kind": "film", "id": film["id"]})
    assert other.films() == []
    assert server.stop() == 0  # a page that listens does not hold it up for ever


def other_tab(visitor: Visitor, server: Running) -> Visitor:
    """The same person again."""
    return Visitor(server.url, session=False, cookies={"vsr_session": visitor.cookies["vsr_session"]})


@pytest.mark.parametrize("scale", ["1.5"])
def test_between_native_factors(scale: str, serve: Serve, sample: Sample) -> None:
    visitor = Visitor(serve().url)
    film = visitor.film(sample(media.rotated).read_bytes())
    assert (film["width"], film["height"]) == (48, 64)  # as it is shown
    result = visitor.until(visitor.convert(film, scale=scale), "done")["result"]
    assert (result["width"], result["height"]) == (72, 96)
