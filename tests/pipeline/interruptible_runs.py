"""Run upscaling in this process, interrupt it after a frame, resume it, and compare outputs."""

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
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.system.files import workdir_for

FAST = EncodeOptions(preset="ultrafast")


class StopRunError(Exception):
    """Interrupts a run."""


@dataclass
class RunLog:
    """What a run reported.

    Attributes:
        notices: in order.
        frame_numbers: of the frames that it wrote.
        result: None if it was interrupted.
    """

    notices: list[str] = field(default_factory=list)
    frame_numbers: list[int] = field(default_factory=list)
    result: Result | None = None


def upscale_until(
    source: Path,
    target: Path,
    options: Options,
    *,
    stop_after: int | None = None,
    after_frame: Callable[[Progress], None] = lambda progress: None,
) -> RunLog:
    """Upscale, or stop after so many frames; ``after_frame`` is called after every frame."""
    log = RunLog()

    def on_progress(progress: Progress) -> None:
        if progress.done > progress.resumed:
            log.frame_numbers.append(progress.done)
        after_frame(progress)
        if stop_after is not None and progress.done >= stop_after:
            raise StopRunError

    job = prepare_job(source, target, options)
    with contextlib.suppress(StopRunError):
        log.result = run_job(job, CallbackReporter(on_progress, log.notices.append))
    return log


def journal_content(target: Path) -> dict:
    """Return the journal of an unfinished target."""
    return json.loads((workdir_for(target) / "journal.json").read_text(encoding="utf-8"))


def frame_hashes(path: Path) -> list[str]:
    """Return a line for each decoded frame: its timestamp and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    assert not done.stderr, done.stderr
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]
