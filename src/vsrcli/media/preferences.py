"""Options that stand in a settings file hold for every film; one that cannot have them is made without them.

What was asked for of this very film is different: there, an option that does not suit it is an error.
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
    """What was asked for and what is merely preferred, together.

    Attributes:
        otherwise: what holds where a film cannot have all of it, after the words for what is left out then
            (``--crf 18``); the least first, at last all that is merely preferred.
        fps: whether the rate of pictures is merely preferred, so that it may be there for a film, too.
    """

    fallbacks: tuple[tuple[str, EncodeOptions], ...] = ()
    fps_optional: bool = False


def without_preferences(options: EncodeOptions) -> EncodeOptions:
    """Without all that is merely preferred."""
    return options.fallbacks[-1][1] if isinstance(options, Preferences) and options.fallbacks else options


def plan_with_preferences(
    source: Source, target: Path, *, options: EncodeOptions, ffmpeg: Ffmpeg, **arguments: Any
) -> OutputPlan:
    """As :func:`~vsrcli.media.planning.plan_output`; what gives way is told in a notice.

    Raises:
        OutputError, UsageError: see ``plan_output``; or what is preferred suits no film at all.
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
    """What ``attempt`` makes of the options, or else of the first of the others that it accepts.

    Args:
        options: those that are not :class:`Preferences` are taken as they are, or not at all.
        attempt: leaves nothing behind if it raises.

    Returns:
        That, and a notice if something was left out.

    Raises:
        OutputError, UsageError: what was asked for is refused, too.
    """
    if not isinstance(options, Preferences) or not options.fallbacks:
        return attempt(options), ()
    try:
        return attempt(options), ()
    except (OutputError, UsageError) as error:
        reason = str(error).partition(";")[0]
    *steps, (everything, asked) = options.fallbacks
    for gone, left in steps:
        with contextlib.suppress(OutputError, UsageError):
            return attempt(left), (f"left out of your settings: {gone} ({reason})",)
    return attempt(asked), (f"left out of your settings: {everything} ({reason})",)


def _check_names(options: EncodeOptions, source: Source, target: Path, ffmpeg: Ffmpeg) -> None:
    """An encoder or pixel format that there is not is a mistake, wherever it stands."""
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
