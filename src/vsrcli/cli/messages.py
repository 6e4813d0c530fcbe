"""Messages for programs that run ``vsr``: one JSON object per line, described in docs/scripts.md.

Each line is written in one piece and flushed. Any version may add message types and keys; existing ones do
not change their name or meaning within a major version.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, TextIO

import click

from vsrcli._version import __version__
from vsrcli.cli.help import option

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.progress import Progress, Result

MESSAGES = "vsrcli.messages"  # key in the context's meta: the JsonMessages in use, if any
STYLES = ("auto", "bar", "lines", "json", "none")


class JsonMessages:
    """Writes messages to a file, and drops them once its reader has left.

    Args:
        file: open for writing; None: stderr.

    Attributes:
        uses_stderr: whether messages go to stderr; then nothing else may be printed there.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self.uses_stderr = file is None

    def write(self, message_type: str, **content: Any) -> None:
        """Write one message; ``content`` must be serializable as JSON."""
        with contextlib.suppress(OSError, ValueError):
            print(_line(message_type, content), file=self._file or sys.stderr, flush=True)

    def report_stop(self, status: int | None, text: str) -> None:
        """Write a message about a stop, a ``vsrcli.system.signals.StopReport``."""
        from vsrcli.system.native_stderr import visible_stderr
        from vsrcli.system.signals import print_stop, write_line

        if not self.uses_stderr:
            print_stop(status, text)
        text = text.removeprefix("vsr: ") or "stopped"
        if status is None:
            line = _line("notice", {"text": text})
        else:
            line = _line("stopped", {"status": status, "text": text, "details": []})
        if self._file is not None:
            write_line(line, self._file.fileno())
            return
        with visible_stderr() as descriptor:
            write_line(line, descriptor)


def _line(message_type: str, content: dict[str, Any]) -> str:
    return json_text({"message_type": message_type, **content})


def json_text(content: Any, **options: Any) -> str:
    r"""Return JSON that can be written: a byte of a file name that is not UTF-8 becomes ``\udce9``, for e9.

    Where stdout has another encoding than UTF-8, all that it lacks is escaped so.

    Args:
        content: serializable as JSON.
        options: of ``json.dumps``.
    """
    text = json.dumps(content, ensure_ascii=False, **options)
    try:
        text.encode()
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(content, **options)
    return text


def start_message(job: Job) -> dict[str, Any]:
    """Return the content of a ``start`` message: source, target and everything that was decided."""
    video, plan = job.source.video, job.plan
    return {
        "version": __version__,
        "source": str(job.source.path),
        "target": str(plan.target),
        "model": job.model.name,
        "models": [each.name for each in job.models],
        "scale": 1.0 if job.options.same_size else float(job.geometry.factor),
        "look": job.look or None,
        "strength": job.options.strength,
        "keep_color": job.keep_color,
        "source_size": [video.width, video.height],
        "target_size": [plan.width, plan.height],
        "total": job.expected_frames,
        "container": plan.container.muxer,
        "codec": plan.codec,
        "pix_fmt": plan.pix_fmt,
        "memory": job.memory_estimate().total,
        "segmented": job.segmented,
        "streams": [
            {key: getattr(stream, key) for key in ("index", "kind", "codec", "action")}
            for stream in plan.streams
        ],
        "notices": list(plan.notices),
    }


def pieces_message(job: Job) -> dict[str, Any]:
    """Return ``pieces`` for a ``plan`` message: of each its first frame, its end and its warm-up."""
    from vsrcli.pipeline.pieces import plan_of

    pieces = plan_of(job)
    if not pieces:
        return {}
    return {"pieces": [[each.first_frame, each.end_frame, each.warmup_frames] for each in pieces]}


def progress_message(progress: Progress) -> dict[str, Any]:
    """Return the content of a ``progress`` message."""
    eta = None if progress.eta is None else round(progress.eta, 1)
    rounded = {"fps": round(progress.fps, 3), "eta": eta, "seconds": round(progress.seconds, 2)}
    content = {**asdict(progress), **rounded}
    if progress.pieces is None:
        del content["pieces"]
    return content


def done_message(result: Result) -> dict[str, Any]:
    """Return the content of a ``done`` message."""
    content = {**asdict(result), "target": str(result.target), "seconds": round(result.seconds, 2)}
    content["repeated"] = content.pop("reused_frames")
    return content


def progress_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--progress``, passed as ``progress``, and ``--progress-fd``.

    If one of them requests messages, the context's meta has a :class:`JsonMessages` at :data:`MESSAGES`.
    """

    def open_messages(context: click.Context, parameter: click.Parameter, number: int | None) -> None:
        if number is not None:
            context.meta[MESSAGES] = JsonMessages(_open_descriptor(number, context, parameter))

    def use_stderr(context: click.Context, parameter: click.Parameter, style: str) -> str:
        if style == "json" and MESSAGES not in context.meta:
            context.meta[MESSAGES] = JsonMessages()
        return style

    for decorate in (
        option(
            "--progress-fd",
            "Also write JSON messages to this open file descriptor.",
            type=click.IntRange(min=1),
            metavar="N",
            callback=open_messages,
            is_eager=True,
            expose_value=False,
            group="Messages",
        ),
        option(
            "--progress",
            "Show progress on stderr as bar, lines, json (see docs/scripts.md) or none.",
            type=click.Choice(STYLES),
            default="auto",
            callback=use_stderr,
            is_eager=True,
            metavar="STYLE",
            group="Messages",
        ),
    ):
        command = decorate(command)
    return command


def _open_descriptor(number: int, context: click.Context, parameter: click.Parameter) -> TextIO:
    try:
        return os.fdopen(number, "w", encoding="utf-8", closefd=False)
    except OSError as error:
        raise click.BadParameter(
            f"{number} is no open file that can be written ({error.strerror}); in a shell: "
            f"--progress-fd 3 3> messages.jsonl",
            context,
            parameter,
        ) from error
