"""SMPTE time codes: that of a frame, counted on from that of the first one."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
_MINUTES_PER_DAY = 24 * 60


def timecode_at(timecode: str | None, rate: Fraction | None, time: Fraction) -> str | None:
    """Return the SMPTE time code (ST 12-1) of a frame, ``01:02:03:04`` or, drop frame, ``01:02:03;04``.

    Drop frame skips the numbers 0 and 1 at every full minute but the tenth, so that 30 numbers a second keep
    up with 29.97 frames.

    Args:
        timecode: of the first frame; None: there is none.
        rate: frames per second.
        time: seconds from the first frame to this one.

    Returns:
        None if ``timecode`` cannot be parsed, or the rate is unknown.
    """
    match = _TIMECODE.fullmatch(timecode or "")
    if match and time <= 0:
        return timecode
    if not match or rate is None:
        return None
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    nominal_rate = round(rate)
    dropped = nominal_rate // 15 if match[4] in ";." else 0  # numbers a minute: 2 at 30 frames a second
    minute = 60 * hours + minutes
    number = (60 * minute + seconds) * nominal_rate + frames - dropped * (minute - minute // 10)
    return _format_timecode(number + math.ceil(time * rate), nominal_rate, dropped, match[4])


def _format_timecode(number: int, nominal_rate: int, dropped: int, separator: str) -> str:
    per_minute = 60 * nominal_rate - dropped
    per_ten = 10 * per_minute + dropped
    tens, remainder = divmod(number, per_ten)
    if remainder >= 60 * nominal_rate:  # the first of ten minutes skips nothing
        later_minutes = (remainder - 60 * nominal_rate) // per_minute
        minute, remainder = 1 + later_minutes, (remainder - 60 * nominal_rate) % per_minute + dropped
    else:
        minute = 0
    minute = (10 * tens + minute) % _MINUTES_PER_DAY
    seconds, frames = divmod(remainder, nominal_rate)
    return f"{minute // 60:02}:{minute % 60:02}:{seconds:02}{separator}{frames:02}"
