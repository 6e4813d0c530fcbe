"""Read a probed source: check it, measure a span of it, open its decoder."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Protocol

from vsrcli.errors import InputError
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.timing import (
    constant_frame_rate,
    counting_tick,
    frame_ticks,
    frame_times,
    has_frame_in,
    last_frame,
)
from vsrcli.media.truncation import find_bad_ts_packets
from vsrcli.media.types import MIXED, Source
from vsrcli.media.y4m import CONTAINER, Y4mHeader, Y4mReader
from vsrcli.system.files import sampled_sha256


@dataclass(frozen=True)
class Span:
    """The part of a source that is upscaled, and what must be read of it to plan an output.

    Attributes:
        start, end: seconds from the source's start; None: open.
        last_frame: (time on the source's clock, duration) of the last frame; None: not stated.
        y4m_header: of a source that is a YUV4MPEG2 stream.
        frame_rate: constant rate that reproduces the time of every frame; None: variable, or not determined.
        tick: seconds that a container which counts frames has to count, where the rate is variable; None:
            constant, or not determined.
    """

    start: Fraction | None = None
    end: Fraction | None = None
    last_frame: tuple[Fraction, Fraction] | None = None
    y4m_header: Y4mHeader | None = None
    frame_rate: Fraction | None = None
    tick: Fraction | None = None


class SourceReader(Protocol):
    """Reads a probed source. :func:`vsrcli.pipeline.preparation.open_source` chooses the kind once.

    Times are seconds from the source's start; None leaves a span open.
    """

    @property
    def source(self) -> Source: ...

    def open_decoder(
        self,
        *,
        start: Fraction | None = None,
        end: Fraction | None = None,
        max_frames: int | None = None,
        deinterlace: bool = True,
        alpha: bool = False,
        tolerant: bool = False,
        ffmpeg: Ffmpeg,
    ) -> Decoder:
        """Open a decoder of the frames with ``start <= time < end``, at most ``max_frames``."""
        ...

    def check_span(self, start: Fraction | None, end: Fraction | None) -> None:
        """Raise InputError if no frame begins in the span, as far as reading packets tells."""
        ...

    def check_damage(self) -> None:
        """Raise InputError for damage that the decoder would skip silently."""
        ...

    def read_span(
        self,
        start: Fraction | None,
        end: Fraction | None,
        max_frames: int | None = None,
        *,
        for_counting: bool = False,
    ) -> Span:
        """Read what planning needs of a span, which ends before the first frame beyond ``max_frames``.

        Args:
            start, end: of the span.
            max_frames: None: no limit.
            for_counting: also what an output needs that counts frames (YUV4MPEG2, AVI), which may take
                reading all packets.

        Raises:
            InputError: the source cannot be read.
        """
        ...

    def fingerprint(self) -> dict[str, str]:
        """Return what tells whether the source has changed, by name for people.

        Raises:
            OSError: it cannot be read.
        """
        ...


class VideoReader:
    """The :class:`SourceReader` of a video file."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def open_decoder(self, **options: Any) -> Decoder:
        return Decoder(self.source, **options)

    def check_span(self, start: Fraction | None, end: Fraction | None) -> None:
        source = self.source
        last = None if end is None else source.start + end
        if not (start or end) or has_frame_in(source, source.start + (start or 0), last):
            return
        to = "" if end is None else f" and before --end {float(end):g}"
        since = f"from --start {float(start or 0):g} s on{to}"
        length = source.video.duration or source.duration
        lasts = f", which is {float(length):.6g} s long" if length else ""
        raise InputError(f"{source.path}{lasts}, shows no frame in the chosen span, {since}; choose another")

    def check_damage(self) -> None:
        if damaged := find_bad_ts_packets(self.source.path):
            raise InputError(f"{self.source.path} is damaged: {damaged}; repair it, or use --keep-going")

    def read_span(
        self,
        start: Fraction | None,
        end: Fraction | None,
        max_frames: int | None = None,
        *,
        for_counting: bool = False,
    ) -> Span:
        source, video = self.source, self.source.video
        if max_frames is not None:
            first = max(source.start + (start or 0), video.start)  # packets before show nothing
            times = frame_times(source, start=first, max_count=max_frames + 1)
            ends = [time - source.start for time in times[max_frames:]]
            end = min(ends if end is None else [*ends, end], default=None)
        stop = None if end is None else source.start + end
        span = Span(start, end, last_frame(source, stop))
        if not for_counting:
            return span
        if source.container == CONTAINER:
            with source.path.open("rb") as file:
                return replace(span, y4m_header=Y4mReader(file.read, str(source.path)).header)
        ticks = frame_ticks(source)
        if start is not None:
            ticks = ticks[ticks >= math.ceil((source.start + start) / video.time_base)]
        if stop is not None:
            ticks = ticks[ticks < math.ceil(stop / video.time_base)]
        rate = constant_frame_rate(ticks, video.frame_rate, video.time_base)
        if rate is not None or video.frame_rate is None:
            return replace(span, frame_rate=rate)
        return replace(span, tick=counting_tick(ticks, video.frame_rate, video.time_base))

    def fingerprint(self) -> dict[str, str]:
        stat = self.source.path.stat()
        return {
            "the input's size": str(stat.st_size),
            "the input's modification time": str(stat.st_mtime_ns),
            "the input": sampled_sha256(self.source.path, stat.st_size),  # it may grow meanwhile
            **({"the input's fields": MIXED} if self.source.video.field_order == MIXED else {}),
        }
