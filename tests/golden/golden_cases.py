"""Recordings that are more than one command line: options, doctor, bench, completion, stops and resuming."""

from __future__ import annotations

import json
import random
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from golden_rows import COMMANDS
from golden_runner import TIMEOUT, Runner, schema

CASES: dict[str, Callable[[Runner], Any]] = {}


def case(name: str) -> Callable[[Callable[[Runner], Any]], Callable[[Runner], Any]]:
    """Name a function that records something of its own."""

    def named(function: Callable[[Runner], Any]) -> Callable[[Runner], Any]:
        CASES[name] = function
        return function

    return named


def _saved(message: dict[str, Any]) -> int:
    """Frames that an interruption would not lose, by the key of the new or the old program."""
    return message.get("saved", message.get("kept", 0))


@case("other/options")
def options(runner: Runner) -> Any:
    """Names of all commands' options and arguments."""
    found = {}
    for command in ("", *COMMANDS):
        done = runner.run([*command.split(), "--help"])
        text = done.out.decode()
        usage = re.search(r"Usage: (.*(?:\n {8,}.*)*)", text)
        found[command or "vsr"] = {
            "status": done.status,
            "usage": " ".join(usage[1].split()) if usage else None,
            "options": sorted(set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", text))),
            "defaults": sorted(re.findall(r"\[default:\s+([^\]]*)\]", " ".join(text.split()))),
        }
    return found


@case("other/doctor")
def doctor(runner: Runner) -> Any:
    """Names and marks of the checks."""
    done = runner.run(["doctor"])
    lines = (done.out.decode() + done.err).splitlines()
    return {"status": done.status, "checks": [line[:19].rstrip() for line in lines if line.strip()]}


@case("other/bench")
def bench(runner: Runner) -> Any:
    """Keys of its JSON, and what it says on the way."""
    line = "bench -m duf-r-xs -s 2 --size 64x48 --frames 9 --json"
    done = runner.run(line.split())
    return {"status": done.status, "schema": schema(json.loads(done.out)), "err": done.err.splitlines()}


@case("other/bench of a clip")
def bench_clip(runner: Runner) -> Any:
    """The table, without its numbers."""
    done = runner.run(["bench", "--input", "media/clip.mkv", "-m", "lanczos", "-s", "2"])
    out = re.sub(r"\d+(?:[.:]\d+)*(?:e[+-]\d+)?", "<n>", runner.text(done.out.decode()))
    err = runner.text(done.err).splitlines()
    return {"status": done.status, "err": err, "out": [" ".join(line.split()) for line in out.splitlines()]}


@case("other/compare page")
def compare_page(runner: Runner) -> Any:
    """The page's texts; its pictures are only counted."""
    folder = runner.folder()
    target = folder / "x.html"
    done = runner.run(["compare", "media/mute.mkv", "media/larger.mkv", "-o", str(target), "--moments", "2"])
    page = target.read_text("utf-8")
    texts = re.sub(r"data:[\w/+]+;base64,[\w+/=]+", "<data>", page)
    code = re.compile(r"<(script|style)\b.*?</\1>", re.DOTALL)
    visible = [line.strip() for line in re.sub(r"<[^>]+>", "\n", code.sub("", texts)).splitlines()]
    return {
        "status": done.status,
        "err": runner.text(done.err).splitlines(),
        "data": texts.count("<data>"),
        "texts": [runner.text(line) for line in visible if line],
    }


@case("other/completion")
def completion(runner: Runner) -> Any:
    """What the shell is offered."""
    found = {}
    for words in (
        "vsr ",
        "vsr upscale --",
        "vsr upscale --preset ",
        "vsr batch --",
        "vsr compare --",
        "vsr serve --",
    ):
        environment = {
            "_VSR_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        }
        done = subprocess.run(
            [str(runner.vsr)], env=runner.environment | environment, capture_output=True, text=True,
            check=False, timeout=TIMEOUT,
        )  # fmt: skip
        found[words] = done.stdout.split()
    return found


@case("runs/resumed after SIGKILL")
def resumed(runner: Runner) -> Any:
    """A run that is killed at a random moment, and the same command again: the frames of a whole run."""
    folder = runner.folder()
    line = ["upscale", "media/long.mkv", "{}", "-s", "2", "--segment", "6", "--codec", "ffv1"]
    whole, target = folder / "whole.mkv", folder / "x.mkv"
    runner.run([part.format(whole) for part in line])
    command = [part.format(target) for part in line]
    own = folder / "tmp"  # what a killed process leaves
    own.mkdir()
    child = subprocess.Popen(
        [str(runner.vsr), *command, "--progress", "json"], cwd=runner.work,
        env=runner.environment | {"TMPDIR": str(own)},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    after = random.randint(16, 50)
    assert child.stderr is not None
    for text in child.stderr:
        if _saved(json.loads(text)) and json.loads(text)["done"] >= after:
            break
    child.kill()
    status = child.wait()
    child.stderr.close()
    left = target.exists()
    shutil.rmtree(own)
    done = runner.run([*command, "--progress", "json"])
    last = json.loads(done.err.splitlines()[-1])
    return {
        "killed": status == -signal.SIGKILL,
        "there too early": left,
        "status": done.status,
        "resumed": last.get("resumed", 0) > 0,
        "equal": runner.checksums(whole) == runner.checksums(target),
        "results": runner.results(folder),
    }


@case("runs/stopped by SIGINT")
def interrupted(runner: Runner) -> Any:
    """What is said, and the status."""
    folder = runner.folder()
    command = f"upscale media/long.mkv {folder}/x.mkv -s 2 --segment 6 --codec ffv1 --progress json".split()
    child = subprocess.Popen(
        [str(runner.vsr), *command], cwd=runner.work, env=runner.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert child.stderr is not None
    last = ""
    for text in child.stderr:
        last = text
        if _saved(json.loads(text)):
            child.send_signal(signal.SIGINT)
            break
    rest = child.stderr.read()
    child.stderr.close()
    message = json.loads((rest.splitlines() or [last])[-1])
    return {
        "status": child.wait(),
        "type": message["message_type"],
        "keys": sorted(message),
        "text": re.sub(r"\d+", "<n>", runner.text(str(message.get("text")))),
        "details": message.get("details"),
    }
