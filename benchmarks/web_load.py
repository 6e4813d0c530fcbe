"""Response times of the web application under load: uploads, polling pages, and a job, all at once.

    python benchmarks/web_load.py [--uploaders 20] [--pollers 200] [--every 2] [--seconds 30]

Starts ``vsr serve`` on a free loopback port with a new data folder, queues a long job, lets every uploader
send videos in chunks again and again (each is checked when it is complete), and every poller request its
videos as the page does without events. The baseline is the same server without uploads and jobs: one client
that sends the same requests, one after another. All connections are loopback; the script itself uses the
processor, too.

Prints one JSON object: number of responses, errors (any unexpected status), median, 95th and 99th
percentile in milliseconds, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil

TUS = {"Tus-Resumable": "1.0.0"}
_CERTIFICATES = ssl.create_default_context()
CHUNK_SIZE = 256 * 1024  # bytes of one PATCH


class Tally:
    """Response times and errors."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.errors: Counter[str] = Counter()

    async def send(
        self, client: httpx.AsyncClient, expected: int, method: str, path: str, **options: Any
    ) -> Any:
        """Send a request; return the response, or None."""
        started = time.perf_counter()
        try:
            response = await client.request(method, path, **options)
        except httpx.HTTPError as error:
            self.errors[type(error).__name__] += 1
            return None
        self.seconds.append(time.perf_counter() - started)
        if response.status_code != expected:
            self.errors[f"{method} {response.status_code}"] += 1
        return response

    def summary(self) -> dict[str, Any]:
        """Return counts, and percentiles in milliseconds."""
        percentiles = statistics.quantiles(self.seconds, n=100) if len(self.seconds) > 1 else [0.0] * 99
        return {
            "responses": len(self.seconds),
            "errors": dict(self.errors),
            **{
                f"{name}_ms": round(1000 * percentiles[at], 2)
                for name, at in (("p50", 49), ("p95", 94), ("p99", 98))
            },
        }


def make_video(folder: Path, name: str, *, frames: int, size: str, noise: bool) -> Path:
    """Encode a small video."""
    import imageio_ffmpeg

    path = folder / name
    source = f"testsrc2=s={size}:r=25,trim=end_frame={frames}" + (",noise=alls=60:allf=t" if noise else "")
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    subprocess.run([*command, "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", path], check=True)
    return path


async def upload(client: httpx.AsyncClient, data: bytes, tally: Tally) -> str | None:
    """Upload a video in chunks; return its id, or None."""
    metadata = "filename " + base64.b64encode(b"load.mp4").decode()
    creation = TUS | {"Upload-Length": str(len(data)), "Upload-Metadata": metadata}
    created = await tally.send(client, 201, "POST", "/files", headers=creation)
    if created is None or created.status_code != 201:
        return None
    url, offset = created.headers["Location"], 0
    while offset < len(data):
        chunk = data[offset : offset + CHUNK_SIZE]
        headers = TUS | {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        if await tally.send(client, 204, "PATCH", url, headers=headers, content=chunk) is None:
            return None
        offset += len(chunk)
    return url.rpartition("/")[2]


async def keep_uploading(url: str, data: bytes, until: float, tally: Tally) -> None:
    """Upload a video, delete it, and repeat, with one session."""
    async with make_client(url) as client:
        await client.get("/")
        while time.monotonic() < until:
            if (uploaded := await upload(client, data, tally)) is not None:
                await tally.send(client, 204, "DELETE", f"/api/videos/{uploaded}")


async def keep_polling(url: str, cookie: str, first: float, every: float, until: float, tally: Tally) -> None:
    """Poll the videos of a session as a page does; ``first``: seconds before the first request."""
    async with make_client(url, cookies={"vsr_session": cookie}) as client:
        await asyncio.sleep(first)
        while time.monotonic() < until:
            await tally.send(client, 200, "GET", "/api/videos")
            await asyncio.sleep(every)


def cpu_seconds(server: int) -> dict[str, float]:
    """Return the CPU time of the web server, of its present and past children, and of this script."""
    process, script = psutil.Process(server), psutil.Process()
    times, own = process.cpu_times(), script.cpu_times()
    running = [child.cpu_times() for child in process.children(recursive=True)]
    others = sum(each.user + each.system + each.children_user + each.children_system for each in running)
    return {
        "server": times.user + times.system,
        "jobs_and_checks": times.children_user + times.children_system + others,
        "this_script": own.user + own.system,
    }


def make_client(url: str, **options: Any) -> httpx.AsyncClient:
    """Return a client; the certificates that none of them needs are read only once."""
    return httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, verify=_CERTIFICATES, **options)


async def load(url: str, server: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the baseline, then everything at once."""
    small = make_video(folder, "small.mp4", frames=25, size="320x240", noise=True).read_bytes()
    long = make_video(folder, "long.mp4", frames=3000, size="160x120", noise=False).read_bytes()
    baseline, uploads, polls = Tally(), Tally(), Tally()
    async with make_client(url) as owner:
        await owner.get("/")
        cookie = owner.cookies["vsr_session"]
        uploaded = await upload(owner, long, baseline)
        baseline.seconds.clear()
        for _ in range(200):
            await baseline.send(owner, 200, "GET", "/api/videos")
        response = await owner.post(f"/api/videos/{uploaded}/jobs", json={"model": "bicubic", "scale": 4})
        response.raise_for_status()
        job = f"/api/jobs/{response.json()['id']}"
        while (await owner.get(job)).json()["done"] == 0:
            await asyncio.sleep(0.2)
        before, started = cpu_seconds(server), time.monotonic()
        until = started + arguments.seconds
        clients = [keep_uploading(url, small, until, uploads) for _ in range(arguments.uploaders)]
        for number in range(arguments.pollers):
            first = arguments.every * number / arguments.pollers
            clients.append(keep_polling(url, cookie, first, arguments.every, until, polls))
        await asyncio.gather(*clients)
        state, elapsed = (await owner.get(job)).json(), time.monotonic() - started
        after = cpu_seconds(server)
    return {
        "uploaders": arguments.uploaders,
        "pollers": arguments.pollers,
        "every_s": arguments.every,
        "video_bytes": len(small),
        "job": {key: state[key] for key in ("state", "done", "total", "fps")},
        "cpu_cores": {name: round((after[name] - before[name]) / elapsed, 2) for name in before},
        "baseline": baseline.summary(),
        "polls": polls.summary(),
        "uploads": uploads.summary(),
        "ratio_of_medians": round(polls.summary()["p50_ms"] / baseline.summary()["p50_ms"], 2),
    }


def main() -> None:
    """Start the server, measure, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--uploaders", type=int, default=20)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two requests of a poller")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        command = ["-m", "vsrcli", "serve", "--port", "0", "--data", f"{folder}/data", "--log", str(log)]
        server = subprocess.Popen([sys.executable, *command])
        try:
            url = wait_until_ready(server, log)
            print(json.dumps(asyncio.run(load(url, server.pid, Path(folder), arguments)), indent=2))
        except BaseException:
            print(f"exit status of the server: {server.poll()}; end of its log:", file=sys.stderr)
            print(*log.read_text().splitlines()[-10:], sep="\n", file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait()


def wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> str:
    """Return the URL once the server and its worker are ready."""
    url = ""
    while server.poll() is None:
        for line in log.read_text().splitlines() if log.exists() else ():
            entry = json.loads(line)
            url = entry.get("url", url)
            if entry["event"] == "worker ready":
                return url
        time.sleep(0.1)
    raise RuntimeError("the server has ended")


if __name__ == "__main__":
    main()
