"""SMPTE time codes: the clock that editors burn into a film, ``01:02:03:04`` or ``01:02:03;04``.

With ``;`` (drop frame) the numbers 0 and 1 are left out at every full minute but the tenth, so that 30
numbers a second keep up with 29.97 frames.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

_CODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)")
_DAY = 24 * 60


def timecode_at(code: str | None, rate: Fraction | None, time: Fraction) -> str | None:
    """The time code of a frame.

    Args:
        code: of the first frame; None: there is none.
        rate: frames per second.
        time: of the frame in question, seconds after the first.

    Returns:
        None if ``code`` cannot be read, or the rate is unknown.
    """
    found = _CODE.fullmatch(code or "")
    if found and time <= 0:
        return code
    if not found or rate is None:
        return None
    hours, minutes, seconds, frames = (int(found[group]) for group in (1, 2, 3, 5))
    each, dropped = round(rate), _dropped(round(rate)) if found[4] in ";." else 0
    minute = 60 * hours + minutes
    number = (60 * minute + seconds) * each + frames - dropped * (minute - minute // 10)
    return _spelled(number + math.ceil(time * rate), each, dropped, found[4])


def _dropped(each: int) -> int:
    """Numbers left out in a minute: 2 at 30 frames a second, 4 at 60."""
    return each // 15


def _spelled(number: int, each: int, dropped: int, mark: str) -> str:
    per_minute = 60 * each - dropped
    per_ten = 10 * per_minute + dropped
    tens, rest = divmod(number, per_ten)
    if rest >= 60 * each:  # the first minute of ten is whole
        into = (rest - 60 * each) // per_minute
        minute, rest = 1 + into, (rest - 60 * each) % per_minute + dropped
    else:
        minute = 0
    minute = (10 * tens + minute) % _DAY
    seconds, frames = divmod(rest, each)
    return f"{minute // 60:02}:{minute % 60:02}:{seconds:02}{mark}{frames:02}"
