"""Look at one file: ``python -m vsrcli.web.inspection FILE`` prints what film it holds, as one JSON object.

In a process of its own, since what strangers send goes through native readers: whatever they do, it ends
here. It says ``{"film": {...}}`` or ``{"error": sentence}``.

Frames of a film beside those of its result: ``python -m vsrcli.web.inspection FILM RESULT FOLDER COUNT``.

Writes ``before-N.png`` and ``after-N.png``, and prints what the result holds and when these frames are shown.
"""

from __future__ import annotations

import json
import sys
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
        "sound": any(other.kind == "audio" for other in source.other_streams),
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


_COMPRESSION = 3  # of 9: half the time of the usual 6, a tenth more bytes


def preview_times(source: Path, result: Path, folder: Path, count: int) -> list[float]:
    """Write the pairs; spread over the film, a result's frame beside the frame that it was made from.

    Returns:
        Seconds from the film's start, one for each pair.

    Raises:
        VsrError: a film cannot be read.
    """
    from vsrcli.media.probe import probe
    from vsrcli.media.timing import frame_times

    old, new = probe(source), probe(result)
    old_times, new_times = frame_times(old), frame_times(new)
    frames = min(len(old_times), len(new_times))
    chosen = sorted({frames * (2 * number + 1) // (2 * count) for number in range(min(count, frames))})
    shown = []
    for number, index in enumerate(chosen):
        _write(old, old_times[index], folder / f"before-{number}.png")
        _write(new, new_times[index], folder / f"after-{number}.png")
        shown.append(round(float(old_times[index] - old.start), 3))
    return shown


def _write(film: object, time: Fraction, path: Path) -> None:
    from PIL import Image

    from vsrcli.media.decoder import Decoder
    from vsrcli.media.ffmpeg import find_ffmpeg
    from vsrcli.media.types import Source

    assert isinstance(film, Source)
    with Decoder(film, start=time - film.start, max_frames=1, ffmpeg=find_ffmpeg()) as frames:
        for frame in frames:
            pixels = frame.pixels if frame.pixels.dtype.itemsize == 1 else (frame.pixels >> 8).astype("uint8")
            Image.fromarray(pixels).save(path, compress_level=_COMPRESSION)


def print_previews(source: Path, result: Path, folder: Path, count: int) -> None:
    """Print what the result holds, then the moments."""
    try:
        print(json.dumps({"film": examine(result)}), flush=True)
        print(json.dumps({"moments": preview_times(source, result, folder, count)}))
    except VsrError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print_inspection(Path(sys.argv[1]))
    else:
        print_previews(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
