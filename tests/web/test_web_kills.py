"""kill -9: uploads and jobs go on where they were, and nothing is left running."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from visiting import Running, Visitor, cut_off, gone

import media_samples as media

Sample = Callable[..., Path]
Serve = Callable[..., Running]
SEGMENTS = {"VSR_UPSCALE_SEGMENT": "40"}  # else a segment is a minute's work
SLOW = {"scale": 4, "encode_preset": "hevc"}


def back(visitor: Visitor, server: Running) -> Visitor:
    """The same browser, after a reload."""
    return Visitor(server.url, session=False, cookies={"vsr_session": visitor.cookies["vsr_session"]})


def frame_hashes(path: Path) -> list[str]:
    """Of every decoded frame, with its time."""
    listed = path.with_suffix(".framemd5")
    media.run_ffmpeg("-i", path, "-map", "0:v", "-f", "framemd5", listed)
    return [line for line in listed.read_text().splitlines() if not line.startswith("#")]


def downloaded(visitor: Visitor, job: dict, folder: Path) -> Path:
    path = folder / f"{job['id']}.mp4"
    path.write_bytes(visitor.get(f"/api/jobs/{job['id']}/download").content)
    return path


def test_killed_during_a_job(serve: Serve, queue_url: str, sample: Sample, tmp_path: Path) -> None:
    server = serve("--queue", queue_url, **SEGMENTS)
    visitor = Visitor(server.url)
    film = visitor.film(sample(media.cfr, frames=400).read_bytes())
    job = visitor.convert(film, **SLOW)
    waiting = visitor.convert(film, **SLOW)
    seen = visitor.until(job, "running", done=100)
    assert seen["state"] == "running"
    processes = server.kill()
    assert len(processes) >= 3  # the worker, the job, its ffmpeg
    assert gone(processes)

    server = serve("--queue", queue_url, **SEGMENTS)
    visitor = back(visitor, server)
    done = visitor.until(job, "done")
    assert done["state"] == "done", done["message"]
    assert any(notice.startswith("resuming at frame") for notice in done["result"]["notices"]), done
    undisturbed = visitor.until(waiting, "done")
    assert undisturbed["result"]["notices"] == []
    first, second = (downloaded(visitor, each, tmp_path) for each in (done, undisturbed))
    assert len(frame_hashes(first)) == 400
    assert frame_hashes(first) == frame_hashes(second)


def test_stopped_during_a_job(serve: Serve, sample: Sample) -> None:
    server = serve(**SEGMENTS)
    visitor = Visitor(server.url)
    film = visitor.film(sample(media.cfr, frames=400).read_bytes())
    job = visitor.convert(film, **SLOW)
    visitor.until(job, "running", done=100)
    assert server.stop() == 0
    assert server.event("stopped")
    server = serve(**SEGMENTS)
    assert back(visitor, server).until(job, "done")["state"] == "done"


def test_a_worker_that_dies_is_started_again(serve: Serve, sample: Sample) -> None:
    import psutil

    server = serve(**SEGMENTS)
    visitor = Visitor(server.url)
    film = visitor.film(sample(media.cfr, frames=400).read_bytes())
    job = visitor.convert(film, **SLOW)
    visitor.until(job, "running", done=20)
    (worker,) = psutil.Process(server.child.pid).children()
    family = worker.children(recursive=True)
    worker.kill()
    assert gone(family)
    assert server.event("worker died")["status"] == -9
    server.event("worker ready")
    assert visitor.until(job, "done")["state"] == "done"


@pytest.mark.parametrize("seed", range(2))
def test_killed_during_an_upload(seed: int, serve: Serve, tmp_path: Path, sample: Sample) -> None:
    data = sample(media.cfr, frames=600).read_bytes()
    cut = random.Random(seed).randrange(1, len(data))
    server = serve()
    visitor = Visitor(server.url)
    where = visitor.begin(len(data)).headers["Location"]
    with cut_off(visitor, where, 0, data[:cut], len(data)):
        server.kill()
    server = serve()
    visitor = back(visitor, server)
    offset = visitor.offset(where)
    assert offset <= cut
    assert visitor.bring(where, offset, data[offset:]).status_code == 204
    (file,) = (tmp_path / "data" / "films" / where.rpartition("/")[2]).iterdir()
    assert file.read_bytes() == data
    assert visitor.films()[0]["state"] == "ready"
