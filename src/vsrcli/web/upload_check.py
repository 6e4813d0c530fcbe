"""Whether an uploaded file is a film that the server takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vsrcli.web.errors import ApiError
from vsrcli.web.settings import Settings
from vsrcli.web.subprocesses import ChildTimeoutError, inspect_file, python, run_json


def check(path: Path, name: str, settings: Settings) -> dict[str, Any]:
    """Look at the file in a process of its own, and at what it holds.

    Args:
        path: the file.
        name: as its owner calls it.
        settings: the limits.

    Returns:
        Facts, see :func:`vsrcli.web.inspection.examine`.

    Raises:
        Refusal: it is no film, or more than the server takes.
    """
    try:
        found = run_json(
            python("vsrcli.web.inspection", str(path)),
            seconds=settings.check_seconds,
            memory=settings.check_memory,
        )
    except ChildTimeoutError:
        raise ApiError(
            422,
            "check_time",
            f"{name}: nothing was found out about it in {settings.check_seconds:g} s; "
            "convert it to a common format first, such as MP4.",
        ) from None
    if (error := inspect_file(found, "error")) is not None:
        raise ApiError(422, "not_a_film", _sentence(error, path, name))
    film = inspect_file(found, "film")
    if film is None:
        raise ApiError(
            422,
            "not_a_film",
            f"{name} could not be read: it took more memory than a film does; check the file.",
        )
    _check_limits(film, name, settings)
    return film


def _check_limits(film: dict[str, Any], name: str, settings: Settings) -> None:
    width, height, duration = film["width"], film["height"], film["duration"]
    if width * height > settings.max_pixels:
        raise ApiError(
            422,
            "too_many_pixels",
            f"{name} has {width}x{height} pixels, more than this server takes "
            f"({settings.max_pixels:,}); shrink it first.",
            limit=settings.max_pixels,
            width=width,
            height=height,
        )
    if duration > settings.max_duration:
        raise ApiError(
            422,
            "too_long",
            f"{name} lasts {duration:,.0f} s, more than this server takes "
            f"({settings.max_duration:,.0f} s); cut it first.",
            limit=settings.max_duration,
            duration=duration,
        )
    if not film["frames"]:
        raise ApiError(422, "not_a_film", f"{name} holds no frame; check the file.")


def _sentence(error: str, path: Path, name: str) -> str:
    """The library's words, with the owner's name of the file instead of the server's."""
    text = error.replace(repr(str(path)), name).replace(str(path), name)
    return text if text.endswith(".") else f"{text}."
