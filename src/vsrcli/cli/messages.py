"""One JSON object a line, for programs that run ``vsr``; docs/scripts.md is their description.

A line is written whole and at once. New types of messages and new keys may come with any version; what is
there keeps its name and meaning within a major version.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TextIO

import click

from vsrcli._version import __version__
from vsrcli.cli.help import option

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.run import Progress, Result

MESSAGES = "vsrcli.messages"  # key in the context's meta: the Messages in use, if any
STYLES = ("auto", "bar", "lines", "json", "none")


class JsonMessages:
    """Writes messages; what nobody reads any more is dropped.

    Args:
        file: where to; None: stderr.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self.alone = file is None  # nothing else may stand on stderr then

    def write(self, message_type: str, **content: Any) -> None:
        """One message; keys without a value are null."""
        line = json.dumps({"message_type": message_type, **content}, ensure_ascii=False)
        with contextlib.suppress(OSError, ValueError):
            print(line, file=self._file or sys.stderr, flush=True)


def start_message(job: Job) -> dict[str, Any]:
    """Content of ``start``: what will be made of what."""
    video, plan = job.source.video, job.plan
    return {
        "version": __version__,
        "source": str(job.source.path),
        "target": str(plan.target),
        "model": job.model.name,
        "scale": float(job.options.scale),
        "source_size": [video.width, video.height],
        "target_size": [plan.width, plan.height],
        "total": job.expected_frames,
        "container": plan.container.muxer,
        "codec": plan.codec,
        "pix_fmt": plan.pix_fmt,
        "memory": job.memory_estimate().total,
        "segmented": job.segmented,
        "streams": [
            {"index": stream.index, "kind": stream.kind, "codec": stream.codec, "action": stream.action}
            for stream in plan.streams
        ],
        "notices": list(plan.notices),
    }


def progress_message(progress: Progress) -> dict[str, Any]:
    """Content of ``progress``."""
    return {
        "done": progress.done,
        "total": progress.total,
        "fps": round(progress.fps, 3),
        "eta": None if progress.eta is None else round(progress.eta, 1),
        "seconds": round(progress.seconds, 2),
        "shots": progress.shots,
        "resumed": progress.resumed,
        "kept": progress.saved,
    }


def done_message(result: Result) -> dict[str, Any]:
    """Content of ``done``."""
    return {
        "target": str(result.target),
        "frames": result.frames,
        "seconds": round(result.seconds, 2),
        "shots": result.shots,
        "engine": result.engine,
        "resumed": result.resumed,
        "repeated": result.reused_frames,
        "warnings": list(result.warnings),
    }


def progress_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--progress`` and ``--progress-fd``; the command is given ``progress``, and finds its Messages in the
    context."""

    def opened(context: click.Context, parameter: click.Parameter, number: int | None) -> None:
        if number is not None:
            context.meta[MESSAGES] = JsonMessages(_descriptor(number, context, parameter))

    def chosen(context: click.Context, parameter: click.Parameter, style: str) -> str:
        if style == "json" and MESSAGES not in context.meta:
            context.meta[MESSAGES] = JsonMessages()
        return style

    for decorate in (
        option(
            "--progress-fd",
            type=click.IntRange(min=1),
            metavar="N",
            callback=opened,
            is_eager=True,
            expose_value=False,
            group="Messages",
            help="Also write JSON messages to this open file descriptor.",
        ),
        option(
            "--progress",
            type=click.Choice(STYLES),
            default="auto",
            show_default=True,
            callback=chosen,
            is_eager=True,  # known when another option turns out to be wrong
            metavar="STYLE",
            group="Messages",
            help="Show progress on stderr as bar, lines, json (see docs/scripts.md) or none.",
        ),
    ):
        command = decorate(command)
    return command


def _descriptor(number: int, context: click.Context, parameter: click.Parameter) -> TextIO:
    try:
        return os.fdopen(number, "w", encoding="utf-8", closefd=False)
    except OSError as error:
        raise click.BadParameter(
            f"{number} is no open file that can be written ({error.strerror}); in a shell: "
            f"--progress-fd 3 3> messages.jsonl",
            context,
            parameter,
        ) from error
