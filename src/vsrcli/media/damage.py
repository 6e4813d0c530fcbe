"""What ffmpeg says while it decodes, and what of it means that the film is damaged."""

from __future__ import annotations

import re

_SIZE = re.compile(r"video parameters changed to .*?(\d+)x(\d+)")
_DAMAGE = re.compile(
    r"corrupt input packet|corrupt decoded frame|Error submitting packet to decoder|Decoding error"
    r"|Non-monotonic DTS|File ended prematurely|partial file"
    r"|\[in#\d+[^\]]*\] \[(?:error|fatal)\]"
    r"|\[mjpeg[^\]]*\] \[error\] error (?:y=|count:)"
)


def is_damage_message(line: str) -> bool:
    """Whether a line of ffmpeg's stderr tells of data that is missing or wrong."""
    return _DAMAGE.search(line) is not None


def parse_size_change(line: str) -> tuple[int, int] | None:
    """(width, height) as coded, if the line says that the picture changes to it."""
    found = _SIZE.search(line)
    return (int(found[1]), int(found[2])) if found else None
