"""Check whether an uploaded file is a video that the server accepts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vsrcli.web.errors import ApiError
from vsrcli.web.settings import Settings
from vsrcli.web.subprocesses import ChildTimeoutError, first_value, python_command, run_json


def check_upload(path: Path, name: str, settings: Settings) -> dict[str, Any]:
    """Return the properties of an uploaded video, inspected in another process.

    Args:
        path: the file.
        name: file name for people.
        settings: the limits.

    Returns:
        See :func:`vsrcli.web.inspection.describe_video`.

    Raises:
        ApiError: the file is no video, or exceeds a limit.
    """
    try:
        messages = run_json(
            python_command("vsrcli.web.inspection", str(path)),
            timeout=settings.check_timeout,
            memory=settings.check_memory,
        )
    except ChildTimeoutError:
        raise ApiError(
            422,
            "check_timeout",
            f"{name}: checking it took longer than {settings.check_timeout:g} s; "
            "convert it to a common format first, such as MP4.",
        ) from None
    if (error := first_value(messages, "error")) is not None:
        raise ApiError(422, "not_a_video", _sentence(error, path, name))
    video = first_value(messages, "video")
    if video is None:
        raise ApiError(
            422,
            "not_a_video",
            f"{name} could not be read: it took more memory than a video does; check the file.",
        )
    _check_limits(video, name, settings)
    return video


def _check_limits(video: dict[str, Any], name: str, settings: Settings) -> None:
    width, height, duration = video["width"], video["height"], video["duration"]
    if width * height > settings.max_pixels:
        raise ApiError(
            422,
            "too_many_pixels",
            f"{name} has {width}x{height} pixels, more than this server accepts "
            f"({settings.max_pixels:,}); scale it down first.",
            limit=settings.max_pixels,
            width=width,
            height=height,
        )
    if duration > settings.max_duration:
        raise ApiError(
            422,
            "too_long",
            f"{name} lasts {duration:,.0f} s, longer than this server accepts "
            f"({settings.max_duration:,.0f} s); trim it first.",
            limit=settings.max_duration,
            duration=duration,
        )
    if not video["frames"]:
        raise ApiError(422, "not_a_video", f"{name} holds no frame; check the file.")


def _sentence(error: str, path: Path, name: str) -> str:
    """Return a message of the library with the name for people instead of the path on the server."""
    text = error.replace(repr(str(path)), name).replace(str(path), name)
    return text if text.endswith(".") else f"{text}."
