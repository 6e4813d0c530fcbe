"""Films upscaled in this process: interrupted where a test wants it, gone on with, and compared."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from vsrcli import Options, Progress, Result, prepare_job, run_job
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.system.files import workdir_for

FAST = EncodeOptions(preset="ultrafast")


class Cut(Exception):
    """The run ends here."""


@dataclass
class Told:
    """What a run said.

    Attributes:
        notices: one after the other.
        frames: numbers of those that it made.
        result: None if it did not come to its end.
    """

    notices: list[str] = field(default_factory=list)
    frames: list[int] = field(default_factory=list)
    result: Result | None = None


def upscaled(
    source: Path,
    target: Path,
    options: Options,
    *,
    until: int | None = None,
    at: Callable[[Progress], None] = lambda progress: None,
) -> Told:
    """Run until the end, or until a frame has been written; ``at`` is called after every frame."""
    told = Told()

    def on_progress(progress: Progress) -> None:
        if progress.done > progress.resumed:
            told.frames.append(progress.done)
        at(progress)
        if until is not None and progress.done >= until:
            raise Cut

    job = prepare_job(source, target, options)
    with contextlib.suppress(Cut):
        told.result = run_job(job, on_progress=on_progress, on_notice=told.notices.append)
    return told


def journal(target: Path) -> dict:
    """What lies beside a target that is not finished."""
    return json.loads((workdir_for(target) / "journal.json").read_text(encoding="utf-8"))


def frame_hashes(path: Path) -> list[str]:
    """One line for each decoded picture: its time and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]
