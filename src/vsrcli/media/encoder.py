"""Encode frames into a video that appears under its final name only when it is complete.

Frames go to an ffmpeg (:mod:`vsrcli.media.ffmpeg_writer`) as raw video in NUT, which carries their
presentation times exactly.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Self

import numpy as np

from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.ffmpeg_writer import Destination, FFmpegWriter, SegmentFile
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.types import Frame, Source
from vsrcli.system.threads import BackgroundWriter, queue_depth

DEFAULT_FRAME_RATE = Fraction(25)  # of a source without one
_PIXEL_FORMATS = {  # by dtype and whether there is alpha
    (np.dtype(np.uint8), False): "rgb24",
    (np.dtype("<u2"), False): "rgb48le",
    (np.dtype(np.uint8), True): "rgba",
    (np.dtype("<u2"), True): "rgba64le",
}


class FrameWriter:
    """A context manager that writes frames; a normal exit publishes the output, an exception discards it.

    This one ignores what it gets; kinds of writers override what they do.

    Attributes:
        segment: what was published, if it is a segment.
        warnings: damage in the source's other streams; complete after ``finish``.
    """

    segment: SegmentFile | None = None
    warnings: Sequence[str] = ()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    def start(self) -> None:
        """Begin to write."""

    def write(self, frame: Frame) -> None:
        """Append a frame."""

    def finish(self) -> None:
        """Publish the output, or nothing if that fails."""
        try:
            self.segment = self._publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what is not published. Can be called repeatedly, and after ``finish``."""

    def _publish(self) -> SegmentFile | None:
        return None


class VideoEncoder(FrameWriter):
    """A context manager that encodes frames, in order, and muxes them with the source's other streams.

    A normal exit waits for ffmpeg, checks that the output holds exactly the frames written, and publishes it.
    An exit by an exception kills ffmpeg and removes the unfinished file.

    Args:
        plan: what to write, from ``plan_output``.
        source: where audio and the other streams come from.
        destination: of the output; None: the plan's target.
        ffmpeg: the executable to run.

    Attributes:
        destination: as passed.
        writer: of its ffmpeg.

    Raises:
        EncodeError: on entering, writing or leaving: ffmpeg stopped, the disk is full, frames are missing.
    """

    def __init__(
        self, plan: OutputPlan, source: Source, destination: Destination | None = None, *, ffmpeg: Ffmpeg
    ) -> None:
        self.plan, self.source = plan, source
        self.destination = destination or Destination(plan, source)
        self.writer = FFmpegWriter(self.destination, ffmpeg)
        self.warnings = self.writer.warnings
        self._pts = array("q")
        self._last_time: Fraction | None = None
        self._pixel_format = ""
        self._stream: Any = None
        depth = queue_depth(plan.width * plan.height * (4 if plan.alpha else 3))
        self._background_writer = BackgroundWriter(self._mux_frame, depth)

    @property
    def frame_count(self) -> int:
        """Frames written so far."""
        return len(self._pts)

    def start(self) -> None:
        self.writer.start()

    def write(self, frame: Frame) -> None:
        """Append a frame. A background thread hands it to ffmpeg, up to a few frames later.

        Args:
            frame: pixels of shape (plan.height, plan.width, 3), uint8 or uint16 (the same for all frames),
                and the presentation time of the source frame; with ``alpha`` if ``plan.alpha``.

        Raises:
            EncodeError: ffmpeg has stopped, on this frame or an earlier one; ``details`` has the end of its
                stderr.
            ValueError: another size or dtype than before, or a time that is not later than the previous one.
        """
        self._background_writer.put((frame, self._validated_pixels(frame)))
        self._pts.append(frame.pts)

    def abort(self) -> None:
        self._background_writer.cancel(self.writer.kill)
        self.writer.discard()

    def _publish(self) -> SegmentFile | None:
        self._background_writer.drain()
        return self.writer.finish(self._pts)

    def _mux_frame(self, item: tuple[Frame, np.ndarray]) -> None:
        import av

        frame, pixels = item
        if self._stream is None:
            stream: Any = self.writer.open_pipe("nut").add_stream(
                "rawvideo", rate=self.source.video.frame_rate or DEFAULT_FRAME_RATE
            )
            stream.width, stream.height = self.plan.width, self.plan.height
            stream.pix_fmt = self._pixel_format
            stream.time_base = stream.codec_context.time_base = frame.time_base
            self._stream = stream
        packet: Any = av.Packet(pixels.data.cast("B"))  # type: ignore[arg-type]  # shares memory
        packet.pts = packet.dts = frame.pts + int(self.source.pts_offset / frame.time_base)
        packet.time_base = frame.time_base
        packet.is_keyframe = True
        packet.stream = self._stream
        self.writer.mux(packet)

    def _validated_pixels(self, frame: Frame) -> np.ndarray:
        plan, pixels = self.plan, frame.pixels
        if pixels.shape != (plan.height, plan.width, 3):
            raise ValueError(f"frame of shape {pixels.shape}, expected {(plan.height, plan.width, 3)}")
        if plan.alpha:
            if frame.alpha is None or frame.alpha.shape != pixels.shape[:2]:
                raise ValueError("frame without alpha of its own size, which the plan requires")
            pixels = np.dstack([pixels, frame.alpha])
        pixel_format = _PIXEL_FORMATS.get((pixels.dtype, plan.alpha))
        if pixel_format is None or (self._pixel_format and pixel_format != self._pixel_format):
            raise ValueError(
                f"frame of type {pixels.dtype}, expected {self._pixel_format or 'uint8 or uint16'}"
            )
        if self._last_time is not None and frame.time <= self._last_time:
            raise ValueError(
                f"frame at {frame.time} s is not later than the previous one ({self._last_time} s)"
            )
        self._pixel_format, self._last_time = pixel_format, frame.time
        return np.ascontiguousarray(pixels)
