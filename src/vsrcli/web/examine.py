"""Look at one file: ``python -m vsrcli.web.examine FILE`` prints what film it holds, as one JSON object.

In a process of its own, since what strangers send goes through native readers: whatever they do, it ends
here. It says ``{"film": {...}}`` or ``{"error": sentence}``.
"""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import VsrError


def examine(path: Path) -> dict[str, Any]:
    """What the page tells of a film: its picture as shown, and frames and seconds as counted, not as claimed.

    Raises:
        VsrError: it is no film, or none that can be read.
    """
    from vsrcli.media.probe import probe
    from vsrcli.media.timing import frame_ticks

    source = probe(path)
    video = source.video
    ticks = frame_ticks(source)
    span = Fraction(int(ticks[-1] - ticks[0])) * video.time_base if len(ticks) else Fraction(0)
    rate = video.frame_rate or (Fraction(len(ticks) - 1) / span if span else None)
    counted = span + (1 / rate if rate else 0)  # the last picture is shown for a while, too
    return {
        "width": video.width,
        "height": video.height,
        "fps": None if rate is None else round(float(rate), 3),
        "frames": len(ticks),
        "duration": round(float(max(counted, video.duration or 0)), 3),
        "sound": any(other.kind == "audio" for other in source.others),
        "container": source.container,
        "codec": video.codec,
    }


def print_inspection(path: Path) -> None:
    """Print what is found."""
    try:
        answer: dict[str, Any] = {"film": examine(path)}
    except VsrError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))
