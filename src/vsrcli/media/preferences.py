"""Options of a settings file, which apply to every video as far as it supports them.

A preferred option that does not fit a video is left out, with a notice; one that was requested on the command
line is an error.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from vsrcli.errors import OutputError, UsageError
from vsrcli.media.codecs import choose_codec
from vsrcli.media.containers import STDOUT_CONTAINERS
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.types import Source

Result = TypeVar("Result")


@dataclass(frozen=True)
class Preferences(EncodeOptions):
    """Requested and preferred options together.

    Attributes:
        fallbacks: (what is left out, such as ``--crf 18``; remaining options), to be tried in order if not
            all options fit; the last one leaves out everything that is only preferred.
        fps_optional: whether the frame rate of images is only preferred, so that it is ignored for a video.
    """

    fallbacks: tuple[tuple[str, EncodeOptions], ...] = ()
    fps_optional: bool = False


def without_preferences(options: EncodeOptions) -> EncodeOptions:
    """Return the requested options without the preferred ones."""
    return options.fallbacks[-1][1] if isinstance(options, Preferences) and options.fallbacks else options


def plan_with_preferences(
    source: Source, target: Path, *, options: EncodeOptions, ffmpeg: Ffmpeg, **arguments: Any
) -> OutputPlan:
    """Return :func:`~vsrcli.media.planning.plan_output`'s plan, with a notice of what was left out.

    Raises:
        OutputError, UsageError: see ``plan_output``; or a preferred encoder or pixel format does not exist.
    """
    if isinstance(options, Preferences):
        _check_names(options, source, target, ffmpeg)
    plan, preference_notices = try_preferences(
        options, lambda each: plan_output(source, target, options=each, ffmpeg=ffmpeg, **arguments)
    )
    return replace(plan, notices=(*preference_notices, *plan.notices))


def try_preferences(
    options: EncodeOptions, attempt: Callable[[EncodeOptions], Result]
) -> tuple[Result, tuple[str, ...]]:
    """Call ``attempt`` with the options, then with each fallback until it accepts one.

    Args:
        options: without fallbacks if they are not :class:`Preferences`.
        attempt: leaves nothing behind if it raises.

    Returns:
        Its result, and a notice if something was left out.

    Raises:
        OutputError, UsageError: the requested options alone are refused, too.
    """
    if not isinstance(options, Preferences) or not options.fallbacks:
        return attempt(options), ()
    try:
        return attempt(options), ()
    except (OutputError, UsageError) as error:
        reason = str(error).partition(";")[0]
    *steps, (all_preferred, requested) = options.fallbacks
    for left_out, remaining in steps:
        with contextlib.suppress(OutputError, UsageError):
            return attempt(remaining), (f"left out of your settings: {left_out} ({reason})",)
    return attempt(requested), (f"left out of your settings: {all_preferred} ({reason})",)


def _check_names(options: EncodeOptions, source: Source, target: Path, ffmpeg: Ffmpeg) -> None:
    """Raise if an encoder or pixel format does not exist, even if it is only preferred."""
    import av

    if options.codec is not None:
        choose_codec(
            options.codec, STDOUT_CONTAINERS["nut"], target, source.video, ffmpeg
        )  # NUT holds everything
    if options.pix_fmt is not None:
        try:
            av.VideoFormat(options.pix_fmt, 16, 16)
        except ValueError as error:
            raise UsageError(
                f"--pix-fmt {options.pix_fmt}: there is no such pixel format; `ffmpeg -pix_fmts` lists them"
            ) from error
