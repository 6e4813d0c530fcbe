"""Inspection of video files in a process of its own, since native readers open files of strangers.

``python -m vsrcli.web.inspection FILE`` prints ``{"video": {...}}`` or ``{"error": message}``.

``python -m vsrcli.web.inspection SOURCE RESULT FOLDER COUNT`` prints the properties of the result likewise,
writes pairs of frames as ``before-N.png`` and ``after-N.png``, and prints ``{"preview_times": [...]}``.
"""

from __future__ import annotations

import json
import math
import sys
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsrcli.errors import VsrError

if TYPE_CHECKING:
    from vsrcli.media.types import Source

_MIN_TIMED_SHARE = 0.9  # of the frames in the span of the times; if fewer have one, packets are counted
_COMPRESSION = 3  # of 9: half the time of the default 6, a tenth more bytes


def describe_video(path: Path) -> dict[str, Any]:
    """Return the properties of a video: size as displayed, frames and duration as counted, not as claimed.

    Raises:
        VsrError: the file is no video, or cannot be read.
    """
    from vsrcli.media.probe import probe
    from vsrcli.media.timing import frame_count, frame_ticks

    source = probe(path)
    video = source.video
    ticks = frame_ticks(source)
    shown = ticks[ticks >= math.ceil(video.start / video.time_base)]  # packets before show nothing
    span = Fraction(int(shown[-1] - shown[0])) * video.time_base if len(shown) else Fraction(0)
    rate = video.frame_rate or (Fraction(len(shown) - 1) / span if span else None)
    counted = span + (1 / rate if rate else 0)  # the last frame has a duration, too
    frames, spanned = len(shown), counted * rate if rate else Fraction(0)
    if not frames or frames < _MIN_TIMED_SHARE * spanned:  # a raw stream, or one with few times
        frames = frame_count(source) - (len(ticks) - len(shown))
        if len(shown) and video.field_order not in ("progressive", None):  # perhaps a packet for each field
            frames = min(frames, round(spanned))
        counted = max(counted, frames / rate) if rate else counted
    return {
        "width": video.width,
        "height": video.height,
        "pixel_aspect": float(video.sample_aspect_ratio),
        "fps": None if rate is None else round(float(rate), 3),
        "frames": frames,
        "duration": round(float(max(counted, video.duration or 0)), 3),
        "audio": any(other.kind == "audio" for other in source.other_streams),
        "container": source.container,
        "codec": video.codec,
    }


def write_previews(source_path: Path, result_path: Path, folder: Path, count: int) -> list[float]:
    """Write pairs of frames, spread evenly: one of the source, and the same frame of the result.

    Returns:
        Time of each pair in seconds from the start of the source.

    Raises:
        VsrError: a video cannot be read.
    """
    from vsrcli.media.probe import probe
    from vsrcli.media.timing import frame_times

    source, result = probe(source_path), probe(result_path)
    source_times, result_times = (frame_times(each, start=each.video.start) for each in (source, result))
    frames = min(len(source_times), len(result_times))
    indices = sorted({frames * (2 * number + 1) // (2 * count) for number in range(min(count, frames))})
    preview_times = []
    for number, index in enumerate(indices):
        _write_frame(source, source_times[index], folder / f"before-{number}.png")
        _write_frame(result, result_times[index], folder / f"after-{number}.png")
        preview_times.append(round(float(source_times[index] - source.start), 3))
    return preview_times


def _write_frame(source: Source, time: Fraction, path: Path) -> None:
    from PIL import Image

    from vsrcli.media.decoder import Decoder
    from vsrcli.media.ffmpeg import find_ffmpeg

    with Decoder(source, start=time - source.start, max_frames=1, ffmpeg=find_ffmpeg()) as frames:
        for frame in frames:
            pixels = frame.pixels if frame.pixels.dtype.itemsize == 1 else (frame.pixels >> 8).astype("uint8")
            Image.fromarray(pixels).save(path, compress_level=_COMPRESSION)


def main(path: Path, *previews: str) -> None:
    """Print the properties of a video, and write previews: see the head of this file."""
    try:
        if not previews:
            print(json.dumps({"video": describe_video(path)}))
            return
        result, folder, count = previews
        print(json.dumps({"video": describe_video(Path(result))}), flush=True)
        times = write_previews(path, Path(result), Path(folder), int(count))
        print(json.dumps({"preview_times": times}))
    except VsrError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
