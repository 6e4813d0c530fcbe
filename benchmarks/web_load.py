"""How the web application answers while many use it: uploads, polling pages, and a job, all at once.

    python benchmarks/web_load.py [--uploaders 20] [--pollers 200] [--every 2] [--seconds 30]

Starts ``vsr serve`` on a free loopback port with a fresh data folder, gives it a job that lasts, lets every
uploader send films in pieces again and again (each is looked at when it has arrived), and every poller ask
for its films as the page does where it gets no events. The yardstick is the same server before anybody
uploads or a job runs: one visitor who asks for the same, one request after another. All are loopback
connections; the script takes its own part of the processor.

Prints one JSON object: number of answers, errors (any status but the right one), median, 95th and 99th
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
PIECE = 256 * 1024  # bytes of one PATCH


class Tally:
    """Times of answers, and what went wrong."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.wrong: Counter[str] = Counter()

    async def ask(self, client: httpx.AsyncClient, right: int, method: str, path: str, **rest: Any) -> Any:
        """One request; its answer, or None."""
        began = time.perf_counter()
        try:
            answer = await client.request(method, path, **rest)
        except httpx.HTTPError as error:
            self.wrong[type(error).__name__] += 1
            return None
        self.seconds.append(time.perf_counter() - began)
        if answer.status_code != right:
            self.wrong[f"{method} {answer.status_code}"] += 1
        return answer

    def told(self) -> dict[str, Any]:
        """In milliseconds."""
        cuts = statistics.quantiles(self.seconds, n=100) if len(self.seconds) > 1 else [0.0] * 99
        return {
            "answers": len(self.seconds),
            "errors": dict(self.wrong),
            **{
                f"{name}_ms": round(1000 * cuts[at], 2)
                for name, at in (("p50", 49), ("p95", 94), ("p99", 98))
            },
        }


def film(folder: Path, name: str, *, frames: int, size: str, noise: bool) -> Path:
    """A small film."""
    import imageio_ffmpeg

    path = folder / name
    source = f"testsrc2=s={size}:r=25,trim=end_frame={frames}" + (",noise=alls=60:allf=t" if noise else "")
    line = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264"]
    subprocess.run([*line, "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", path], check=True)
    return path


async def upload(client: httpx.AsyncClient, data: bytes, tally: Tally) -> str | None:
    """One film in pieces; its id."""
    about = "filename " + base64.b64encode(b"load.mp4").decode()
    headers = TUS | {"Upload-Length": str(len(data)), "Upload-Metadata": about}
    begun = await tally.ask(client, 201, "POST", "/files", headers=headers)
    if begun is None or begun.status_code != 201:
        return None
    where, offset = begun.headers["Location"], 0
    while offset < len(data):
        piece = data[offset : offset + PIECE]
        kind = {"Upload-Offset": str(offset), "Content-Type": "application/offset+octet-stream"}
        if await tally.ask(client, 204, "PATCH", where, headers=TUS | kind, content=piece) is None:
            return None
        offset += len(piece)
    return where.rpartition("/")[2]


async def keep_uploading(url: str, data: bytes, until: float, tally: Tally) -> None:
    """A session that uploads a film, deletes it, and begins anew."""
    async with visitor(url) as client:
        await client.get("/")
        while time.monotonic() < until:
            if (uploaded := await upload(client, data, tally)) is not None:
                await tally.ask(client, 204, "DELETE", f"/api/films/{uploaded}")


async def keep_polling(url: str, cookie: str, first: float, every: float, until: float, tally: Tally) -> None:
    """A page that asks for its films; ``first``: seconds before the first time."""
    async with visitor(url, cookies={"vsr_session": cookie}) as client:
        await asyncio.sleep(first)
        while time.monotonic() < until:
            await tally.ask(client, 200, "GET", "/api/films")
            await asyncio.sleep(every)


def cpu_seconds(server: int) -> dict[str, float]:
    """What the web server, all that it has started, ended or not, and this script have used."""
    process, mine = psutil.Process(server), psutil.Process()
    times, own = process.cpu_times(), mine.cpu_times()
    running = [child.cpu_times() for child in process.children(recursive=True)]
    others = sum(each.user + each.system + each.children_user + each.children_system for each in running)
    return {
        "server": times.user + times.system,
        "jobs_and_checks": times.children_user + times.children_system + others,
        "this_script": own.user + own.system,
    }


def visitor(url: str, **options: Any) -> httpx.AsyncClient:
    """A browser; the certificates that none of them needs are read once only."""
    return httpx.AsyncClient(base_url=url, timeout=120, trust_env=False, verify=_CERTIFICATES, **options)


async def load(url: str, server: int, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything at once."""
    small = film(folder, "small.mp4", frames=25, size="320x240", noise=True).read_bytes()
    long = film(folder, "long.mp4", frames=3000, size="160x120", noise=False).read_bytes()
    alone, uploads, polls = Tally(), Tally(), Tally()
    async with visitor(url) as owner:
        await owner.get("/")
        cookie = owner.cookies["vsr_session"]
        uploaded = await upload(owner, long, alone)
        alone.seconds.clear()
        for _ in range(200):
            await alone.ask(owner, 200, "GET", "/api/films")
        asked = await owner.post(f"/api/films/{uploaded}/jobs", json={"model": "bicubic", "scale": 4})
        asked.raise_for_status()
        job = f"/api/jobs/{asked.json()['id']}"
        while (await owner.get(job)).json()["done"] == 0:
            await asyncio.sleep(0.2)
        before, began = cpu_seconds(server), time.monotonic()
        until = began + arguments.seconds
        visitors = [keep_uploading(url, small, until, uploads) for _ in range(arguments.uploaders)]
        for number in range(arguments.pollers):
            first = arguments.every * number / arguments.pollers
            visitors.append(keep_polling(url, cookie, first, arguments.every, until, polls))
        await asyncio.gather(*visitors)
        state, elapsed = (await owner.get(job)).json(), time.monotonic() - began
        after = cpu_seconds(server)
    return {
        "uploaders": arguments.uploaders,
        "pollers": arguments.pollers,
        "every_s": arguments.every,
        "film_bytes": len(small),
        "job": {key: state[key] for key in ("state", "done", "total", "fps")},
        "cpu_cores": {name: round((after[name] - before[name]) / elapsed, 2) for name in before},
        "alone": alone.told(),
        "polls": polls.told(),
        "uploads": uploads.told(),
        "ratio_of_medians": round(polls.told()["p50_ms"] / alone.told()["p50_ms"], 2),
    }


def main() -> None:
    """Start the server, load it, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--uploaders", type=int, default=20)
    parser.add_argument("--pollers", type=int, default=200)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two questions of a poller")
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.jsonl"
        line = ["-m", "vsrcli", "serve", "--port", "0", "--data", f"{folder}/data", "--log", str(log)]
        server = subprocess.Popen([sys.executable, *line])
        try:
            url = ready(server, log)
            print(json.dumps(asyncio.run(load(url, server.pid, Path(folder), arguments)), indent=2))
        except BaseException:
            print(f"the server's status: {server.poll()}; its last words:", file=sys.stderr)
            print(*log.read_text().splitlines()[-10:], sep="\n", file=sys.stderr)
            raise
        finally:
            server.terminate()
            server.wait()


def ready(server: subprocess.Popen[bytes], log: Path) -> str:
    """The address, once the server and its worker are there."""
    url = ""
    while server.poll() is None:
        for text in log.read_text().splitlines() if log.exists() else ():
            told = json.loads(text)
            url = told.get("url", url)
            if told["event"] == "worker ready":
                return url
        time.sleep(0.1)
    raise RuntimeError("the server has ended")


if __name__ == "__main__":
    main()
