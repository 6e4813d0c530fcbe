"""Record the web API: uploads, jobs, events, downloads and refusals."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import queue
import re
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from golden_cases import case
from golden_runner import LISTENING, TIMEOUT, VOLATILE, WORKING, Runner, schema

# The web API in one place. Of several spellings the first that the server knows is used.
ROUTES: dict[str, tuple[str, ...]] = {
    "all": ("/api/films", "/api/videos"),
    "one": ("/api/films/{id}", "/api/videos/{id}"),
    "new job": ("/api/films/{id}/jobs", "/api/videos/{id}/jobs"),
    "uploads": ("/files",),
    "upload": ("/files/{id}",),
    "job": ("/api/jobs/{id}",),
    "cancel": ("/api/jobs/{id}/cancel",),
    "download": ("/api/jobs/{id}/download",),
    "before": ("/api/jobs/{id}/frames/{number}/before.png",),
    "after": ("/api/jobs/{id}/frames/{number}/after.png",),
    "options": ("/api/options",),
    "events": ("/api/events",),
    "health": ("/healthz",),
    "metrics": ("/metrics",),
    "page": ("/",),
}
KEYS: dict[str, tuple[str, ...]] = {"all": ("films", "videos")}  # in the server's JSON
LAST_EVENT = "gone"  # told when something has been deleted


class Server:
    """``vsr serve``, with its log read as it comes."""

    def __init__(self, runner: Runner, data: Path) -> None:
        line = ["serve", "--port", "0", "--data", str(data), "--gpu", "cpu", "--nice", "0"]
        self.child = subprocess.Popen(
            [str(runner.vsr), *line], cwd=runner.work, env=runner.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        self.lines: list[dict[str, Any]] = []
        self._news: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = self.event(LISTENING)["url"]
        self.event(WORKING)

    def _read(self) -> None:
        assert self.child.stderr is not None
        for text in self.child.stderr:
            with contextlib.suppress(ValueError):
                self._news.put(json.loads(text))
        self._news.put(None)

    def event(self, name: str) -> dict[str, Any]:
        """The next line of the log with this name."""
        while (line := self._news.get(timeout=TIMEOUT)) is not None:
            self.lines.append(line)
            if line["event"] == name:
                return line
        raise RuntimeError(f"the server ended without {name!r}: {self.lines}")

    def stop(self) -> int:
        """Ask it to end; its status, and the rest of the log in ``lines``."""
        if self.child.poll() is None:
            self.child.terminate()
        try:
            status = self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            status = self.child.wait()
        while (line := self._news.get(timeout=10)) is not None:
            self.lines.append(line)
        return status


@dataclass(frozen=True)
class Answer:
    """Of the server."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body; None if it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class Visitor:
    """Talks to a server with the session's cookie."""

    def __init__(self, url: str) -> None:
        self._where = urlsplit(url)
        self._cookie = ""
        self._spelled: dict[str, str] = {}

    def connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(self._where.hostname or "", self._where.port or 80, timeout=timeout)

    def headers(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """Those of every request."""
        return ({"Cookie": self._cookie} if self._cookie else {}) | (more or {})

    def path(self, route: str, **values: object) -> str:
        """Of a route, in the spelling that the server knows."""
        return self._spelled.get(route, ROUTES[route][0]).format(**values)

    def ask(
        self,
        method: str,
        route: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        **values: object,
    ) -> Answer:
        """One request. Where the first spelling is unknown (404, 405), the others are tried."""
        spellings = [self._spelled[route]] if route in self._spelled else ROUTES[route]
        answer = Answer(0, {}, b"")
        for spelling in spellings:
            answer = self._request(method, spelling.format(**values), body, headers)
            if answer.status < 400:
                self._spelled[route] = spelling
                for name, others in ROUTES.items():  # the others are spelled in the same manner
                    if len(others) == len(ROUTES[route]) > 1:
                        self._spelled[name] = others[ROUTES[route].index(spelling)]
            if answer.status not in (404, 405):
                break
        return answer

    def _request(self, method: str, path: str, body: Any, headers: dict[str, str] | None) -> Answer:
        sent = self.headers(headers)
        if body is not None and not isinstance(body, bytes):
            body, sent = json.dumps(body).encode(), {"Content-Type": "application/json"} | sent
        connection = self.connect()
        try:
            connection.request(method, path, body, sent)
            told = connection.getresponse()
            answer = Answer(told.status, {k.lower(): v for k, v in told.getheaders()}, told.read())
        finally:
            connection.close()
        if cookie := answer.headers.get("set-cookie"):
            self._cookie = cookie.split(";")[0]
        return answer

    def events(self, wanted: Callable[[str], bool], then: Callable[[], object] = lambda: None) -> list[Any]:
        """Follow the events until a wanted one; ``then`` is called after the first."""
        connection, found, name = self.connect(timeout=30), [], ""
        try:
            connection.request("GET", self.path("events"), headers=self.headers())
            stream = connection.getresponse()
            while line := stream.readline().decode().rstrip("\r\n") or stream.readline().decode().rstrip(
                "\r\n"
            ):
                key, _, value = line.partition(": ")
                if key == "event":
                    name = value
                elif key == "data":
                    found.append((name, json.loads(value)))
                    if wanted(name):
                        break
                    if len(found) == 1:
                        then()
        finally:
            connection.close()
        return found


TUS = {"Tus-Resumable": "1.0.0"}
OFFSET = {"Content-Type": "application/offset+octet-stream"}
BAD_JOBS: tuple[Any, ...] = (
    {"scale": 0}, {"scale": 99}, {"scale": "4; rm"}, {"scale": 2, "height": 1080}, {"size": "huge"},
    {"height": 10}, {"size": "720p"}, {"model": 4}, {"model": "duf-52l"}, {"preset": "placebo"},
    {"preset": "balanced", "model": "bicubic"}, {"encode_preset": "nonsense"}, {"codec": "libx264"}, [],
)  # fmt: skip


def metadata(name: str) -> dict[str, str]:
    """Of an upload."""
    words = (("filename", name), ("filetype", "video/mp4"))
    return {"Upload-Metadata": ",".join(f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in words)}


def refusal(answer: Answer) -> Any:
    """Status and body of what was refused."""
    return {"status": answer.status, "body": answer.json}


@case("web/serve")
def serve(runner: Runner) -> Any:
    """One clip, from the upload to the download, and what is refused on the way."""
    folder = runner.folder()
    data = folder / "data"
    data.mkdir()
    server = Server(runner, data)
    try:
        found = visit(runner, server, folder)
    finally:
        status = server.stop()
    logged: dict[str, set[str]] = {}
    for line in server.lines:
        logged.setdefault(line["event"], set()).update(line)
    files = [each for each in data.rglob("*") if each.is_file()]
    names = {re.sub(r"\b[\w-]{16,}\b", "<id>", str(each.relative_to(data))) for each in files}
    found["log"] = {name: sorted(keys) for name, keys in sorted(logged.items())}
    return found | {"exit status": status, "files": sorted(names)}


def visit(runner: Runner, server: Server, folder: Path) -> dict[str, Any]:
    """All requests, each under a name of its own."""
    visitor, found = Visitor(server.url), {}
    found["without a session"] = refusal(visitor.ask("GET", "all"))
    page = visitor.ask("GET", "page")
    security = ("content-security-policy", "x-frame-options", "referrer-policy", "content-type")
    found["page"] = {"status": page.status, "headers": {name: page.headers.get(name) for name in security}}
    found["page"]["ids"] = sorted(set(re.findall(r'\bid="([^"]+)"', page.body.decode())))
    found["health"] = refusal(visitor.ask("GET", "health"))
    offered = visitor.ask("GET", "options").json
    offered["quota"] = schema(offered["quota"])
    found["options"] = offered
    found["nothing yet"] = refusal(visitor.ask("GET", "all"))

    found["tus"] = {
        k: v for k, v in visitor.ask("OPTIONS", "uploads", headers=TUS).headers.items() if "tus" in k
    }
    clip, name = (runner.media / "clip.mp4").read_bytes(), metadata("나비.mp4")
    sizes = {"Upload-Length": str(len(clip))}
    found["upload without tus"] = refusal(visitor.ask("POST", "uploads", headers=sizes | name))
    found["upload of nothing"] = refusal(
        visitor.ask("POST", "uploads", headers=TUS | {"Upload-Length": "0"} | name)
    )
    found["upload too large"] = refusal(
        visitor.ask("POST", "uploads", headers=TUS | {"Upload-Length": str(2**50)} | name)
    )
    begun = visitor.ask("POST", "uploads", headers=TUS | sizes | name)
    clip_id = begun.headers["location"].rsplit("/", 1)[1]
    found["upload"] = {"status": begun.status, "headers": sorted(begun.headers)}
    found["while it uploads"] = schema(visitor.ask("GET", "one", id=clip_id).json)
    found["job too early"] = refusal(visitor.ask("POST", "new job", {}, id=clip_id))
    first = visitor.ask("PATCH", "upload", clip[:1000], TUS | OFFSET | {"Upload-Offset": "0"}, id=clip_id)
    found["first bytes"] = {"status": first.status, "offset": first.headers.get("upload-offset")}
    head = visitor.ask("HEAD", "upload", headers=TUS, id=clip_id)
    found["head"] = {"status": head.status, "headers": sorted(head.headers)}
    wrong = visitor.ask("PATCH", "upload", b"x", TUS | OFFSET | {"Upload-Offset": "5"}, id=clip_id)
    found["wrong offset"] = refusal(wrong)
    last = visitor.ask("PATCH", "upload", clip[1000:], TUS | OFFSET | {"Upload-Offset": "1000"}, id=clip_id)
    found["last bytes"] = {"status": last.status, "body": last.json}

    for case_name, file in (("rubbish", "rubbish.mp4"), ("sound", "tone.m4a"), ("half", "cut.mp4")):
        bad = (runner.media / file).read_bytes()
        told = visitor.ask("POST", "uploads", headers=TUS | metadata(file) | {"Upload-Length": str(len(bad))})
        where = told.headers["location"].rsplit("/", 1)[1]
        refused = visitor.ask("PATCH", "upload", bad, TUS | OFFSET | {"Upload-Offset": "0"}, id=where)
        found[f"upload of {case_name}"] = refusal(refused)
        found[f"{case_name}, afterwards"] = schema(visitor.ask("GET", "one", id=where).json)
        deleted = visitor.ask("DELETE", "one", id=where)
        found[f"{case_name}, deleted"] = deleted.status

    everything = visitor.ask("GET", "all").json
    found["all"] = schema(everything)
    key = next((each for each in KEYS["all"] if each in everything), KEYS["all"][0])
    shown = dict(everything[key][0])
    hidden = ("id", "created", "expires")
    found["the clip"] = {k: v for k, v in shown.items() if k not in hidden}
    found["one"] = schema(visitor.ask("GET", "one", id=clip_id).json)
    found["unknown"] = refusal(visitor.ask("GET", "one", id="x" * 22))
    found["unknown job"] = refusal(visitor.ask("GET", "job", id="x" * 22))
    found["bad jobs"] = [refusal(visitor.ask("POST", "new job", each, id=clip_id)) for each in BAD_JOBS]
    plain = visitor.ask("POST", "new job", b"{", {"Content-Type": "text/plain"}, id=clip_id)
    found["job in text"] = refusal(plain)

    asked = visitor.ask("POST", "new job", {"model": "lanczos", "scale": 2}, id=clip_id)
    found["new job"] = {
        "status": asked.status,
        "options": asked.json["options"],
        "schema": started(asked.json),
    }
    job = asked.json["id"]
    told = follow(visitor, job)
    found["finished job"] = {
        "schema": schema(told),
        "state": told["state"],
        "message": runner.text(told["message"]),
    }
    moving_on = ("seconds", "expires")
    found["result"] = {k: v for k, v in (told["result"] or {}).items() if k not in moving_on}
    got = visitor.ask("GET", "download", id=job)
    target = folder / "downloaded.mp4"
    target.write_bytes(got.body)
    names = ("content-type", "content-disposition", "accept-ranges", "cache-control")
    found["download"] = {
        "status": got.status, "headers": {each: got.headers.get(each) for each in names},
        "checksums": runner.checksums(target), "streams": runner.streams(target),
    }  # fmt: skip
    part = visitor.ask("GET", "download", headers={"Range": "bytes=100-199"}, id=job)
    found["part"] = {"status": part.status, "equal": part.body == got.body[100:200]}
    beyond = visitor.ask("GET", "download", headers={"Range": "bytes=99999999-"}, id=job)
    found["part beyond the end"] = beyond.status
    for side in ("before", "after"):
        for number in range(2):
            picture = visitor.ask("GET", side, id=job, number=number)
            file = folder / f"{side}{number}.png"
            file.write_bytes(picture.body)
            sums = {"checksums": runner.checksums(file), "type": picture.headers.get("content-type")}
            found[f"{side} {number}"] = {"status": picture.status, **sums}
    found["no such frame"] = refusal(visitor.ask("GET", "after", id=job, number=77))
    found["cancel too late"] = refusal(visitor.ask("POST", "cancel", id=job))

    second = visitor.ask("POST", "new job", {"preset": "fast", "height": 128}, id=clip_id).json
    found["second job"] = {"options": second["options"], "schema": started(second)}
    stopped = visitor.ask("POST", "cancel", id=second["id"])
    found["cancel"] = {"status": stopped.status, "schema": started(stopped.json)}
    found["cancelled"] = follow(visitor, second["id"])["state"]
    found["no download"] = refusal(visitor.ask("GET", "download", id=second["id"]))

    third = visitor.ask("POST", "new job", {"height": 160, "model": "bicubic"}, id=clip_id).json
    done = follow(visitor, third["id"])
    found["third job"] = {"options": done["options"], "state": done["state"], "name": done["result"]["name"]}

    deleting: list[int] = []

    def delete() -> None:
        deleting.append(visitor.ask("DELETE", "job", id=second["id"]).status)

    events = visitor.events(lambda name: name == LAST_EVENT, delete)
    ends = [events[0], events[-1]]
    found["events"] = [{"event": name, "schema": started(content)} for name, content in ends]
    found["kind of what is gone"] = events[-1][1].get("kind")
    found["job deleted"] = deleting
    metrics = visitor.ask("GET", "metrics")
    lines = [line for line in metrics.body.decode().splitlines() if line.startswith(("# HELP", "# TYPE"))]
    found["metrics"] = {"status": metrics.status, "lines": sorted(lines)}
    found["deleted"] = visitor.ask("DELETE", "one", id=clip_id).status
    found["gone"] = refusal(visitor.ask("GET", "one", id=clip_id))
    found["empty again"] = refusal(visitor.ask("GET", "all"))
    return found


def started(job: Any) -> Any:
    """Schema of a job that may or may not have begun, or of whatever holds jobs."""
    return schema(job, VOLATILE)


def follow(visitor: Visitor, job: str) -> dict[str, Any]:
    """Poll until a job is over."""
    told, deadline = {}, time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        told = visitor.ask("GET", "job", id=job).json
        if told["state"] in ("done", "failed", "cancelled"):
            return told
        time.sleep(0.2)
    raise TimeoutError(f"the job did not end: {told}")
