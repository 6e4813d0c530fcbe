"""Run the program, and keep of its answer what does not depend on the moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from golden_rows import Row

LISTENING, WORKING = "listening", "worker ready"  # in the server's log
VOLATILE = (
    "position",
    "started",
    "fps",
    "eta",
    "total",
    "message",
    "state",
    "done",
    "finished",
)  # of a job on its way

TIMEOUT = 180.0  # seconds for one command
TIMED = ("seconds", "fps", "eta", "time", "start_seconds")  # keys whose values depend on the clock


@dataclass(frozen=True)
class Done:
    """What a process came to."""

    status: int
    out: bytes
    err: str


class Runner:
    """Runs the program under test in a folder of its own.

    Args:
        vsr: the program.
        ffmpeg: of the same installation.
        work: an empty folder.
    """

    def __init__(self, vsr: Path, ffmpeg: str, work: Path) -> None:
        self.vsr, self.ffmpeg, self.work = vsr, ffmpeg, work
        self.media = work / "media"
        for name in ("media", "home", "tmp", "out"):
            (work / name).mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("VSR_", "XDG_"))}
        for name in ("PYTHONPATH", "KERAS_BACKEND", "PYTHONHOME", "VIRTUAL_ENV"):
            kept.pop(name, None)
        self.environment = kept | {
            "VSR_CONFIG": "", "VSR_CACHE": str(work / "cache"), "HOME": str(work / "home"),
            "TMPDIR": str(work / "tmp"), "COLUMNS": "400", "NO_COLOR": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
        }  # fmt: skip
        self._numbers = 0
        self._replaced = (
            (re.escape(ffmpeg), "<ffmpeg>"),
            (r"(?:file:)?" + re.escape(str(work)), "<work>"),
            (re.escape(str(vsr.parent)), "<bin>"),
            (r"[^\s\"']*/weights/", "<weights>/"),
            (r"\bout/\d+", "<out>"),
            (r"\bvsr-(\w+-)?[a-z0-9_]{8}\b", r"vsr-\1<random>"),
            (r"\.[0-9a-f]{8}\.part", ".<random>.part"),
            (r"\.(\d{6})-[0-9a-f]{16}\b", r".\1-<state>"),
            (r"@ 0x[0-9a-f]+", "@ <address>"),
            (r"in (?:\d+:)*\d+(?:\.\d+)?(?: s)? \(\d+\.\d+ fps\)", "in <time>"),
            (r"(done, \d+ \w+) in (?:\d+:)*\d+(?:\.\d+)?(?: s)?", r"\1 in <time>"),
            (r"about \S+ here and", "about <time> here and"),
            (r"\d+\.\d+ (ms|us per)\b", r"<time> \1"),
            (r"^\d{4}-\d\d-\d\dT[\d:.]+Z", "<moment>"),
            (r"(\d+ \w+) in \d+\.\d s:", r"\1 in <time>:"),
            (r"((?:done|stopped) +\d+) +[\d:]+ +[\d.]+(?= |$)", r"\1  <time>"),  # in batch's table
            (r"(?<=\S) {2,}", "  "),  # columns are as wide as their widest word
            (r"─+", "─"),
        )

    def folder(self) -> Path:
        """A new, empty one."""
        self._numbers += 1
        folder = self.work / "out" / f"{self._numbers:03d}"
        folder.mkdir()
        return folder

    def arguments(self, line: str, folder: Path) -> list[str]:
        """A row's line as a list."""
        here = str(folder.relative_to(self.work))
        return [part.format(m="media", o=here) for part in shlex.split(line)]

    def run(self, arguments: Sequence[str], *, stdin: Path | None = None, cwd: Path | None = None) -> Done:
        """The program, until its end."""
        with contextlib.ExitStack() as stack:
            source: Any = subprocess.DEVNULL
            feeder = None
            if stdin is not None:  # a real pipe, not a file
                feeder = stack.enter_context(
                    subprocess.Popen(["cat", str(stdin)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                )
                source = feeder.stdout
            done = subprocess.run(
                [str(self.vsr), *arguments], stdin=source, capture_output=True, timeout=TIMEOUT, check=False,
                cwd=cwd or self.work, env=self.environment,
            )  # fmt: skip
            if feeder is not None and feeder.stdout is not None:
                feeder.stdout.close()
        return Done(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

    def text(self, text: str, *, limited: bool = False) -> str:
        """Without what depends on moment and folder; ``limited``: the allowed memory was chosen."""
        for pattern, words in self._replaced:
            text = re.sub(pattern, words, text, flags=re.MULTILINE)
        return text if limited else re.sub(r"of [\d.]+ [MG]iB allowed", "of <memory> allowed", text)

    def value(self, value: Any) -> Any:
        """The same for every text in a JSON value; keys in TIMED keep only their type."""
        if isinstance(value, dict):
            return {
                key: schema(each) if key in TIMED else self.value(each) for key, each in sorted(value.items())
            }
        if isinstance(value, list):
            return [self.value(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def look(self, *arguments: str) -> str:
        """What ffmpeg writes to stdout, or else its complaint."""
        line = [self.ffmpeg, "-nostdin", "-v", "error", *arguments]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        return done.stdout if done.returncode == 0 else f"ffmpeg: {self.text(done.stderr.strip())}"

    def checksums(self, path: Path) -> dict[str, Any]:
        """Of the decoded frames, with their times, and of all other packets."""
        before = ["-c:v", "libvpx-vp9"] if path.suffix == ".webm" else []
        source = [*before, "-copyts", "-i", f"file:{path}"]
        frames = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"]
        packets = ["-map", "0:a?", "-map", "0:s?", "-c", "copy", "-f", "framemd5", "-"]
        return {
            "frames": _lines(self.look(*source, *frames)),
            "packets": _lines(self.look("-copyts", "-i", f"file:{path}", *packets)),
        }

    def streams(self, path: Path) -> list[str]:
        """What ffmpeg says that a file holds: streams, tags, chapters, side data."""
        line = [self.ffmpeg, "-nostdin", "-hide_banner", "-i", f"file:{path}"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=TIMEOUT)
        lines = self.text(done.stderr).splitlines()
        return [each.rstrip() for each in lines if not each.startswith(("At least one", "Error opening"))]

    def results(self, folder: Path) -> dict[str, Any]:
        """What has appeared in a folder."""
        found: dict[str, Any] = {}
        for path in sorted(each for each in folder.rglob("*") if each.is_file()):
            name = str(path.relative_to(folder))
            if path.suffix in (".log", ".jsonl", ".toml", ".json", ".html"):
                found[name] = "a text"
            elif path.suffix in (".png", ".webp", ".tif", ".tiff", ".exr", ".jpg"):
                whole = hashlib.md5(path.read_bytes()).hexdigest()
                found[name] = {
                    "checksums": {"file": whole, **self.checksums(path)},
                    "streams": self.streams(path),
                }
            else:
                found[name] = {"checksums": self.checksums(path), "streams": self.streams(path)}
        return found


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith(("#software", "#format", "#version"))]


def schema(value: Any, volatile: Sequence[str] = ()) -> Any:
    """Names of keys and types, all the way down; of a list that of all its items together.

    Args:
        value: a JSON value.
        volatile: keys whose values are of changing types.
    """
    if isinstance(value, dict):
        return {
            key: "any" if key in volatile else schema(each, volatile) for key, each in sorted(value.items())
        }
    if isinstance(value, list):
        kinds: list[Any] = []
        for each in value:
            kind = schema(each, volatile)
            if kind not in kinds:
                kinds.append(kind)
        return kinds
    return {bool: "bool", int: "number", float: "number", str: "text", type(None): "null"}[type(value)]


def parts(err: str) -> tuple[list[str], list[str]]:
    """stderr of ``-v``: what was said in its order, and the sorted command lines of ffmpeg."""
    lines = err.splitlines()
    passing = re.compile(r"(\d+/\d+|\d+) \w+, [\d.]+ fps|  timings: ")
    said = [line for line in lines if not line.startswith("  $ ") and not passing.match(line)]
    return said, sorted(line for line in lines if line.startswith("  $ "))


Outcome = dict[str, Any]


def prepared(runner: Runner, row: Row) -> tuple[Path, list[str], Path | None, Path | None]:
    folder = runner.folder()
    for name, content in row.files:
        (folder / name).write_text(content, "utf-8")
    for line in row.before:
        runner.run(runner.arguments(line, folder))
    stdin = runner.media / row.stdin if row.stdin else None
    return folder, runner.arguments(row.line, folder), stdin, folder if row.here else None


def record_run(runner: Runner, row: Row) -> Outcome:
    """A real run: its results, its words, its commands."""
    folder, line, stdin, cwd = prepared(runner, row)
    done = runner.run([*line, "-v"], stdin=stdin, cwd=cwd)
    if row.stdout is not None:
        (folder / row.stdout).write_bytes(done.out)
    said, commands = parts(runner.text(done.err, limited="--max-memory" in line))
    found = {
        "status": done.status,
        "said": said,
        "commands": commands,
        "out": None if row.stdout else runner.text(done.out.decode("utf-8", "replace")).splitlines(),
        "results": runner.results(folder),
    }
    if "-j" in line:  # side by side, whoever is first speaks first
        found["said in any order"] = sorted(found.pop("said"))
    log = folder / "told.log"
    if log.exists():
        told = runner.text(log.read_text("utf-8")).splitlines()
        found["log"] = [each for each in told if " on Linux-" not in each and "frames, " not in each]
    return found


def record_texts(runner: Runner, row: Row) -> Outcome:
    """Status and texts."""
    folder, line, stdin, cwd = prepared(runner, row)
    done = runner.run(line, stdin=stdin, cwd=cwd)
    limited = "--max-memory" in line
    out = runner.text(done.out.decode("utf-8", "replace"), limited=limited)
    found: Outcome = {
        "status": done.status,
        "out": [without_times(each).rstrip() for each in out.splitlines()],
        "err": [each.rstrip() for each in runner.text(done.err, limited=limited).splitlines()],
    }
    there = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return found | ({"files": there} if there else {})


def without_times(line: str) -> str:
    """A row of Markdown's table of methods, without its two columns of times."""
    cells = line.split(" | ")
    if len(cells) == 9 and line.startswith("| ") and cells[6].strip().replace(".", "").isdigit():
        cells[6:8] = ["<time>", "<time>"]
    return " | ".join(cells)


def record_plan(runner: Runner, row: Row) -> Outcome:
    """``--dry-run``."""
    return record_texts(runner, Row(row.name, f"{row.line} --dry-run", row.stdin))


def record_messages(runner: Runner, row: Row) -> Outcome:
    """JSON messages: types in their order, keys, and values that do not depend on the moment."""
    _, line, stdin, _ = prepared(runner, row)
    done = runner.run(line, stdin=stdin)
    messages = [json.loads(each) for each in done.err.splitlines()]
    order: list[str] = []
    found: dict[str, Any] = {}
    for message in messages:
        kind = message.get("message_type", "?")
        if not order or order[-1] != kind:
            order.append(kind)
        if kind == "progress":  # how many there are is a matter of speed: the last one counts
            whole = message["done"] == message["total"]
            found[kind] = [{"keys": sorted(message), "total": message["total"], "reached": whole}]
        else:
            found.setdefault(kind, []).append(runner.value(message))
    order = [
        each for number, each in enumerate(order) if each != "progress" or "progress" not in order[:number]
    ]
    return {"status": done.status, "order": order, "messages": found, "out": done.out.decode()}


def record_document(runner: Runner, row: Row) -> Outcome:
    """A JSON document."""
    folder, line, stdin, _ = prepared(runner, row)
    done = runner.run(line, stdin=stdin)
    file = folder / "x.json"
    text = file.read_text("utf-8") if file.exists() else done.out.decode()
    return {"status": done.status, "document": runner.value(json.loads(text))}
