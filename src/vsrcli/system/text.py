"""Text for people: sizes, durations, natural sort order; and the file name extensions of media."""

from __future__ import annotations

import math
import re
import sys

VIDEO_EXTENSIONS = frozenset(
    f".{name}"
    for name in (
        *("3g2", "3gp", "asf", "avi", "divx", "dv", "f4v", "flv", "m2ts", "m2v", "m4v", "mkv", "mov", "mp4"),
        *("mpeg", "mpg", "mts", "mxf", "nut", "ogm", "ogv", "qt", "rm", "rmvb", "ts", "vob", "webm", "wmv"),
        "y4m",
    )
)
"""Lower-case extensions of files that count as videos in a folder; a file named explicitly may have any."""

IMAGE_EXTENSIONS = frozenset({".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp"})
"""Lower-case extensions of the files that count as images in a folder of training or evaluation footage."""


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Return a sort key for natural order: ``Frame 2`` before ``Frame 10``; case is ignored."""
    parts = re.split(r"([0-9]+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]


def replace_undecodable(text: str) -> str:
    """Return text that can be written: what is no text in file names becomes U+FFFD.

    That is bytes that are not UTF-8, or on Windows halves of surrogate pairs.
    """
    return re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", text)


def encode_text(text: str) -> bytes:
    """Return text as UTF-8, whatever the locale; file names that are no text stay what they are."""
    return text.encode("utf-8", sys.getfilesystemencodeerrors())  # Windows: halves of pairs, elsewhere bytes


def format_bytes(count: float, *, round_up: bool = False) -> str:
    """Return ``812 bytes``, ``4.2 KiB``, ``812 MiB``, ``16.0 GiB``, in binary units.

    Args:
        count: bytes, 0 or more.
        round_up: never show less than ``count``.
    """
    units = ("bytes", "KiB", "MiB", "GiB", "TiB")
    number = 0
    while count >= 1000 and number < len(units) - 1:
        count, number = count / 1024, number + 1
    digits = 1 if number >= 3 or (number and count < 10) else 0
    steps = count * 10**digits
    steps = math.ceil(steps) if round_up else round(steps)
    return f"{steps / 10**digits:.{digits}f} {units[number]}"


def format_duration(seconds: float) -> str:
    """Return ``1:02:03`` or ``2:03``, rounded to seconds."""
    total = round(seconds)
    hours, minutes = total // 3600, total // 60 % 60
    return f"{hours}:{minutes:02}:{total % 60:02}" if hours else f"{minutes}:{total % 60:02}"


def format_timestamp(seconds: float, *, digits: int = 3, hours: bool = False) -> str:
    """Return a time in a video: ``1:02:03.400`` or ``2:03.400``.

    Args:
        seconds: negative values are shown as 0.
        digits: decimals of the seconds, 0 to 3.
        hours: show hours even if they are 0.
    """
    ticks = max(round(seconds * 10**digits), 0)
    minutes, remainder = divmod(ticks, 60 * 10**digits)
    seconds_text = f"{remainder / 10**digits:0{digits + 3 if digits else 2}.{digits}f}"
    number, minutes = divmod(minutes, 60)
    return f"{number}:{minutes:02}:{seconds_text}" if number or hours else f"{minutes}:{seconds_text}"


def last_line(error: Exception, most: int = 200) -> str:
    """Return what a library says of an error: the last line of its text, as places in its code come first."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    return lines[-1][:most] if lines else type(error).__name__
