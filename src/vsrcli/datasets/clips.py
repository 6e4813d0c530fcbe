"""The second pass over a video: write the chosen areas as clips.

Pixels of 8-bit 4:2:0 are cut out as they are, without a conversion of colours, and encoded nearly without
loss: H.264 in MP4 at a low rate factor, groups of eight frames, so that a decoder may start anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.error import FFmpegError

from vsrcli.datasets.decoding import converting, decode_frames
from vsrcli.datasets.measures import Box
from vsrcli.errors import OutputError
from vsrcli.media.color import MATRICES
from vsrcli.media.conversion import EXACT, color_of_frame
from vsrcli.media.ffmpeg import file_url
from vsrcli.system.files import publish_file, remove_temporary, temporary_name
from vsrcli.system.signals import raise_if_cancelled

_BT709 = 1
_CODE_POINTS = {name: number for number, name in MATRICES.items()}
_GOP = 8
_REMEDY = "it is left out"
_TAGS = ("colorspace", "color_primaries", "color_trc", "color_range")


@dataclass(frozen=True)
class Cut:
    """A clip to be written.

    Attributes:
        path: of the clip; written atomically.
        first, count: the first frame's number in the video, and how many.
        box: the area, sides and corners multiples of 4.
    """

    path: Path
    first: int
    count: int
    box: Box


def write_clips(
    video: Path, cuts: Sequence[Cut], fps: float, crf: int, on_frame: Callable[[], None] = lambda: None
) -> None:
    """Write clips of a video, each of them complete or not at all; it is decoded once.

    Args:
        video: the source.
        cuts: what to write; clips that exist are replaced.
        fps: frames per second of the clips.
        crf: rate factor of libx264; 0: without loss.
        on_frame: called for every frame that is read.

    Raises:
        DataError: the video cannot be decoded.
        OutputError: a clip cannot be written.
        SignalInterruptError: a signal arrived.
    """
    last = max((cut.first + cut.count for cut in cuts), default=0)
    waiting = sorted(cuts, key=lambda cut: cut.first)
    writers: list[_ClipWriter] = []
    frames = decode_frames(video, _REMEDY)
    try:
        for number, frame in enumerate(_up_to(frames, last)):
            raise_if_cancelled()
            on_frame()
            while waiting and waiting[0].first == number:
                writers.append(_ClipWriter(waiting.pop(0), fps, crf, frame))
            if writers:
                with converting(video, _REMEDY):
                    planes = _planes(frame)
                for writer in writers:
                    writer.add(planes)
                writers = [writer for writer in writers if not writer.is_complete]
    except (FFmpegError, OSError) as error:
        raise OutputError(
            f"clips of {str(video)!r} cannot be written ({error}); "
            "free some space and run the same command again"
        ) from error
    finally:
        for writer in writers:
            writer.abandon()


def _up_to(frames: Iterator[av.VideoFrame], count: int) -> Iterator[av.VideoFrame]:
    for _ in range(count):
        frame = next(frames, None)
        if frame is None:
            return
        yield frame


class _ClipWriter:
    """Writes one clip, under a temporary name until it is complete."""

    def __init__(self, cut: Cut, fps: float, crf: int, frame: av.VideoFrame) -> None:
        self._cut, self._rate = cut, Fraction(fps).limit_denominator(1001)
        self._part, self._count = temporary_name(cut.path), 0
        self._container = av.open(file_url(self._part), "w", format="mp4")
        rate_control = {"crf": str(crf)} if crf else {"qp": "0"}
        # Macroblock trees give other bytes from run to run, and fewer bits to what moves.
        options = {"preset": "medium", "g": str(_GOP), "mbtree": "0", **rate_control}
        stream: Any = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.width, stream.height, stream.pix_fmt = cut.box.width, cut.box.height, "yuv420p"
        stream.codec_context.thread_count = 1  # the same bytes on every machine
        for tag in _TAGS:
            if value := getattr(frame, tag, None):
                with suppress(AttributeError, ValueError):
                    setattr(stream.codec_context, tag, int(value))
        if frame.format.is_rgb:
            stream.codec_context.colorspace = _BT709
        elif frame.colorspace not in MATRICES:  # by its own small size, a clip of HD would pass for SD
            stream.codec_context.colorspace = _CODE_POINTS[str(color_of_frame(frame).matrix)]
        self._stream = stream

    @property
    def is_complete(self) -> bool:
        """Whether the clip has its final name."""
        return self._count == self._cut.count

    def add(self, planes: Sequence[np.ndarray]) -> None:
        """Add a frame; the last one completes the clip."""
        box = self._cut.box
        luma = planes[0][box.top : box.bottom, box.left : box.right]
        rows, columns = slice(box.top // 2, box.bottom // 2), slice(box.left // 2, box.right // 2)
        chroma = [plane[rows, columns].reshape(-1, box.width) for plane in planes[1:]]
        frame = av.VideoFrame.from_ndarray(np.concatenate([luma, *chroma]), format="yuv420p")
        frame.pts, frame.time_base = self._count, 1 / self._rate
        self._container.mux(self._stream.encode(frame))
        self._count += 1
        if self.is_complete:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            publish_file(self._part, self._cut.path, overwrite=True)
            remove_temporary(self._part)

    def abandon(self) -> None:
        """Remove an incomplete clip."""
        with suppress(FFmpegError, OSError, ValueError):
            self._container.close()
        remove_temporary(self._part)


def _planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Return luma and chroma of a frame as 8-bit 4:2:0."""
    if frame.format.is_rgb:
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", interpolation=EXACT)
    elif frame.format.name not in ("yuv420p", "yuvj420p"):
        frame = frame.reformat(format="yuv420p", interpolation=EXACT)
    return [_pixels(plane) for plane in frame.planes]


def _pixels(plane: Any) -> np.ndarray:
    lines = np.frombuffer(plane, np.uint8)[: plane.height * plane.line_size]
    return lines.reshape(plane.height, plane.line_size)[:, : plane.width]
