"""The first pass over a video: its parts, each a run of frames of one shot, and all that is measured on them.

Nothing is decided here: a survey depends on the file and on the length of the parts alone, so it is stored,
and a build that was stopped does not decode the same video again.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

from vsrcli.datasets.decoding import converting, decode_frames
from vsrcli.datasets.measures import Box, blur_sums, perceptual_hash, picture_box
from vsrcli.datasets.motion import CELL, MotionMeter, cell_means, reduce, reduction
from vsrcli.frames.shots import ShotDetector
from vsrcli.system.signals import raise_if_cancelled

VERSION = 2  # raise when anything is measured differently
SAMPLES = 8  # frames of a part on which bars, brightness, blur and hashes are measured
THUMBNAIL = (240, 180)  # largest width and height
_REPEATED_CODES = 0.3  # largest mean change of a cell between two frames of which one repeats the other
_HDR_TRANSFERS = (16, 18)  # PQ and HLG
_REMEDY = "it is left out"
_ASSUMED_RATE, _LEAST_RATE = 25.0, 0.001  # of frames without times; of the slowest video


@dataclass(frozen=True)
class Part:
    """Consecutive frames of one shot, and what was measured on them.

    Attributes:
        shot: number of the shot in the video, from 0.
        first, count: the first frame's number in the video, and how many.
        start: time of the first frame in seconds from that of the video's first.
        width, height: of the frames.
        box: the picture without black bars.
        brightness: mean luma in the box, 0 to 255.
        repeated: share of frames that repeat the one before.
        interlaced, hdr: whether a frame is.
        cell: side of the cells in pixels.
        flow: (rows, columns), pixels per frame, see :mod:`vsrcli.datasets.motion`.
        blur: (4, rows, columns), see :func:`~vsrcli.datasets.measures.blur_sums`.
        hashes: uint64 (n,), of frames spread over the part.
        thumbnail: JPEG of the middle frame.
    """

    shot: int
    first: int
    count: int
    start: float
    width: int
    height: int
    box: Box
    brightness: float
    repeated: float
    interlaced: bool
    hdr: bool
    cell: int
    flow: np.ndarray
    blur: np.ndarray
    hashes: np.ndarray
    thumbnail: bytes = b""


@dataclass(frozen=True)
class Survey:
    """All parts of a video.

    Attributes:
        parts: in order.
        frames, fps: of the video.
        short: frames at the ends of shots that fill no part.
    """

    parts: tuple[Part, ...]
    frames: int
    fps: float
    short: int

    def to_json(self) -> str:
        """Return the survey as text."""
        content = {**vars(self), "parts": [_part_to_json(part) for part in self.parts]}
        return json.dumps({"version": VERSION, **content})

    @classmethod
    def from_json(cls, text: str, *, thumbnails: bool = False) -> Survey:
        """Read a survey.

        Raises:
            ValueError, KeyError, TypeError: it is none, or of another version.
        """
        content = json.loads(text)
        if content.pop("version") != VERSION:
            raise ValueError("another version")
        parts = tuple(_part_from_json(part, thumbnails=thumbnails) for part in content.pop("parts"))
        return cls(parts, **content)


@dataclass
class _Window:
    """A part that is being measured."""

    shot: int
    first: int
    start: float
    meter: MotionMeter
    every: int
    count: int = 0
    repeated: int = 0
    interlaced: bool = False
    hdr: bool = False
    last: np.ndarray | None = None
    samples: list[np.ndarray] = field(default_factory=list)
    picture: av.VideoFrame | None = None


def survey_video(
    path: Path, frame_count: int, on_frame: Callable[[int, float], None] = lambda done, time: None
) -> Survey:
    """Decode a video once and measure its parts. Holds a few frames at a time.

    Args:
        path: a video.
        frame_count: length of the parts. They follow each other from the start of each shot; what is
            left at its end is counted as short.
        on_frame: called with the number of frames read and the time in the video, in seconds.

    Raises:
        DataError: it cannot be decoded.
        SignalInterruptError: a signal arrived.
    """
    parts: list[Part] = []
    detector, size, shot, number, short, time = ShotDetector(), (0, 0), 0, 0, 0, 0.0
    first_time: float | None = None  # recordings of broadcasts start hours after zero
    window: _Window | None = None
    for number, frame in enumerate(decode_frames(path, _REMEDY)):
        raise_if_cancelled()
        with converting(path, _REMEDY):
            luma = frame.to_ndarray(format="gray")
        if frame.time is not None:
            first_time = frame.time if first_time is None else first_time
            time = frame.time - first_time
        else:
            time = number / _ASSUMED_RATE
        is_cut = detector.is_cut(np.broadcast_to(luma[..., None], (*luma.shape, 3)))
        if number and (is_cut or luma.shape != size):
            short += window.count if window else 0
            window, shot = None, shot + 1
        size = luma.shape
        if min(size) // reduction(*size) < 2 * CELL:  # too small for cells
            short += 1
            continue
        if window is None:
            window = _Window(shot, number, time, MotionMeter(*size), max(1, frame_count // SAMPLES))
        _add(window, frame, luma, middle=frame_count // 2)
        if window.count == frame_count:
            assert window.picture is not None
            with converting(path, _REMEDY):
                thumbnail = _thumbnail(window.picture)
            parts.append(_finish(window, thumbnail))
            window = None
        on_frame(number + 1, time)
    short += window.count if window else 0
    count = number + 1
    fps = number / time if time > 0 else _ASSUMED_RATE
    return Survey(tuple(parts), count, max(round(fps, 3), _LEAST_RATE), short)


def _add(window: _Window, frame: av.VideoFrame, luma: np.ndarray, middle: int) -> None:
    reduced = window.meter.add(luma)
    if window.last is not None:
        change = np.abs(reduced - window.last)
        window.repeated += bool(cell_means(change, window.meter.shape).max() < _REPEATED_CODES)
    window.last = reduced
    if window.count % window.every == 0:
        window.samples.append(luma)
    if window.count == middle:
        window.picture = frame
    window.interlaced |= bool(frame.interlaced_frame)
    window.hdr |= int(getattr(frame, "color_trc", 0) or 0) in _HDR_TRANSFERS
    window.count += 1


def _finish(window: _Window, thumbnail: bytes) -> Part:
    meter, samples = window.meter, window.samples
    height, width = samples[0].shape
    box = picture_box(samples)
    inside = [luma[box.top : box.bottom, box.left : box.right] for luma in samples]
    factor = reduction(box.height, box.width)
    sharpness = samples[:: max(1, len(samples) // 2)][:2]
    return Part(
        shot=window.shot,
        first=window.first,
        count=window.count,
        start=round(window.start, 3),
        width=width,
        height=height,
        box=box,
        brightness=round(float(np.mean([luma.mean() for luma in inside])), 1),
        repeated=window.repeated / window.count,
        interlaced=window.interlaced,
        hdr=window.hdr,
        cell=meter.cell_side,
        flow=meter.flow(),
        blur=np.sum([_fit(blur_sums(luma, meter.cell_side), meter.shape) for luma in sharpness], axis=0),
        hashes=np.array([perceptual_hash(reduce(luma, factor)) for luma in inside], np.uint64),
        thumbnail=thumbnail,
    )


def _fit(cells: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return cells[:, : shape[0], : shape[1]]


def _thumbnail(frame: av.VideoFrame) -> bytes:
    scale = min(THUMBNAIL[0] / frame.width, THUMBNAIL[1] / frame.height)
    size = max(2, round(frame.width * scale)), max(2, round(frame.height * scale))
    image = Image.fromarray(frame.to_ndarray(format="rgb24")).resize(size, Image.Resampling.BOX)
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _part_to_json(part: Part) -> dict[str, Any]:
    return vars(part) | {
        "box": vars(part.box),
        "flow": np.round(part.flow.astype(np.float64), 3).tolist(),
        "blur": np.round(part.blur.astype(np.float64), 1).tolist(),
        "hashes": [f"{value:016x}" for value in part.hashes.tolist()],
        "thumbnail": base64.b64encode(part.thumbnail).decode("ascii"),
    }


def _part_from_json(content: dict[str, Any], *, thumbnails: bool) -> Part:
    picture = content.pop("thumbnail")
    return Part(
        **content
        | {
            "box": Box(**content["box"]),
            "flow": np.array(content["flow"], np.float32),
            "blur": np.array(content["blur"], np.float32),
            "hashes": np.array([int(value, 16) for value in content["hashes"]], np.uint64),
            "thumbnail": base64.b64decode(picture) if thumbnails else b"",
        }
    )
