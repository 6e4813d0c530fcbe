"""kill -9: uploads and jobs resume where they were, and no process is left."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from web_client import ServerProcess, WebClient, broken_patch, descendants, have_ended

import media_samples as media

Sample = Callable[..., Path]
Serve = Callable[..., ServerProcess]
SEGMENTS = {"VSR_UPSCALE_SEGMENT": "40"}  # by default, a segment takes a minute
SLOW = {"scale": 4, "encode_preset": "hevc"}


def reconnect(client: WebClient, server: ServerProcess) -> WebClient:
    """Return a client with the same session, after a restart of the server."""
    return WebClient(server.url, session=False, cookies={"vsr_session": client.cookies["vsr_session"]})


def frame_hashes(path: Path) -> list[str]:
    """Return hash and time of every decoded frame."""
    hash_file = path.with_suffix(".framemd5")
    media.run_ffmpeg("-i", path, "-map", "0:v", "-f", "framemd5", hash_file)
    return [line for line in hash_file.read_text().splitlines() if not line.startswith("#")]


def download(client: WebClient, job: dict, folder: Path) -> Path:
    path = folder / f"{job['id']}.mp4"
    path.write_bytes(client.get(f"/api/jobs/{job['id']}/download").content)
    return path


def test_killed_during_a_job(serve: Serve, queue_url: str, sample: Sample, tmp_path: Path) -> None:
    server = serve("--queue", queue_url, **SEGMENTS)
    client = WebClient(server.url)
    video = client.upload_video(sample(media.cfr, frames=400).read_bytes())
    job = client.convert(video, **SLOW)
    queued = client.convert(video, **SLOW)
    running = client.wait_for(job, "running", done=100)
    assert running["state"] == "running"
    processes = server.kill()
    assert len(processes) >= 3  # the worker, the job, its ffmpeg
    assert have_ended(processes)

    server = serve("--queue", queue_url, **SEGMENTS)
    client = reconnect(client, server)
    done = client.wait_for(job, "done")
    assert done["state"] == "done", done["message"]
    assert any(notice.startswith("resuming at frame") for notice in done["result"]["notices"]), done
    undisturbed = client.wait_for(queued, "done")
    assert undisturbed["result"]["notices"] == []
    first, second = (download(client, each, tmp_path) for each in (done, undisturbed))
    assert len(frame_hashes(first)) == 400
    assert frame_hashes(first) == frame_hashes(second)


def test_stopped_during_a_job(serve: Serve, sample: Sample) -> None:
    server = serve(**SEGMENTS)
    client = WebClient(server.url)
    video = client.upload_video(sample(media.cfr, frames=400).read_bytes())
    job = client.convert(video, **SLOW)
    client.wait_for(job, "running", done=100)
    assert server.stop() == 0
    assert server.wait_for_event("stopped")
    server = serve(**SEGMENTS)
    assert reconnect(client, server).wait_for(job, "done")["state"] == "done"


def test_worker_that_dies_is_restarted(serve: Serve, sample: Sample) -> None:
    import psutil

    server = serve(**SEGMENTS)
    client = WebClient(server.url)
    video = client.upload_video(sample(media.cfr, frames=400).read_bytes())
    job = client.convert(video, **SLOW)
    client.wait_for(job, "running", done=20)
    (worker,) = psutil.Process(server.child.pid).children()
    descendants = worker.children(recursive=True)
    worker.kill()
    assert have_ended(descendants)
    assert server.wait_for_event("worker died")["status"] == -9
    server.wait_for_event("worker ready")
    assert client.wait_for(job, "done")["state"] == "done"


def test_command_that_is_killed_resumes(serve: Serve, sample: Sample) -> None:
    """As when the system is out of memory: the page and its worker go on. Slow: a real conversion."""
    import psutil

    server = serve(**SEGMENTS)
    client = WebClient(server.url)
    job = client.convert(client.upload_video(sample(media.cfr, frames=400).read_bytes()), **SLOW)
    client.wait_for(job, "running", done=100)
    (command,) = descendants(psutil.Process(server.child.pid), "upscale")
    command.kill()
    done = client.wait_for(job, "done")
    assert done["state"] == "done", done["message"]
    assert any(notice.startswith("resuming at frame") for notice in done["result"]["notices"]), done


@pytest.mark.parametrize("seed", range(2))
def test_killed_during_an_upload(seed: int, serve: Serve, tmp_path: Path, sample: Sample) -> None:
    data = sample(media.cfr, frames=600).read_bytes()
    cut = random.Random(seed).randrange(1, len(data))
    server = serve()
    client = WebClient(server.url)
    url = client.start_upload(len(data)).headers["Location"]
    with broken_patch(client, url, 0, data[:cut], len(data)):
        server.kill()
    server = serve()
    client = reconnect(client, server)
    offset = client.offset(url)
    assert offset <= cut
    assert client.append(url, offset, data[offset:]).status_code == 204
    (file,) = (tmp_path / "data" / "uploads" / url.rpartition("/")[2]).iterdir()
    assert file.read_bytes() == data
    assert client.videos()[0]["state"] == "ready"
