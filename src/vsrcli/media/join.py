"""Lay finished segments end to end, without encoding them again, and mux them into the new film.

PyAV takes the packets out of the segments and pipes them, as MOV in fragments, into the very command that
would otherwise encode: sound, subtitles and all the rest come from the source as ever.

Presentation times are those of the segments, to the tick. Decoding times are made anew: inside a segment each
packet has one, but the next segment would begin before the last one has ended.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import EncodeError
from vsrcli.media.encode import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.mux import EncodedInput, mux_command
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.segment import SegmentFile, open_segment, segment_container, segment_timescale
from vsrcli.media.types import Source

_USUAL_RATE = Fraction(25)  # frames per second, where there is one frame only
_FRAGMENTS = "frag_every_frame+empty_moov+default_base_moof"


class SegmentConcatenator(VideoEncoder):
    """An :class:`VideoEncoder` whose frames are encoded already.

    Args:
        plan: what to write.
        source: where sound and the other streams come from.
        folder: where the segments lie; the new film grows there until it is complete.
        segments: all of them, in order.
        trial: read only a moment of the other streams, and keep nothing.
        ffmpeg: the executable to run.

    Raises:
        EncodeError: see ``VideoEncoder``; or a segment is not what it was when it was finished.
    """

    def __init__(
        self,
        plan: OutputPlan,
        source: Source,
        folder: Path,
        segments: Sequence[SegmentFile],
        *,
        trial: bool = False,
        ffmpeg: Ffmpeg,
    ) -> None:
        super().__init__(plan, source, ffmpeg=ffmpeg, trial=trial)
        self._folder, self._segments = folder, segments
        self._part = folder / f"film{plan.target.suffix}"
        self._format = segment_container(plan.codec) or ""
        self._clock = segment_timescale(source.video) or 0
        # Matroska states a frame rate, which ffmpeg reads off the first two decoding times: ours, then.
        self._delay = max(
            0 if plan.container.custom_timescale else 1, *(segment.delay for segment in segments)
        )
        self._step = max(round(self._clock / (source.video.frame_rate or _USUAL_RATE)), 1)
        self._hold = (
            self._step
            if plan.last_frame_duration is None
            else max(round(plan.last_frame_duration[1] * self._clock), 1)
        )
        # Decoding begins here, which is 0 in the pipe.
        self._zero = self._ticks(segments[0].first) - self._delay * self._step

    def write_packets(self) -> None:
        """Write all segments.

        Raises:
            EncodeError: ffmpeg has stopped, or a segment cannot be read.
        """
        import av

        process = self._running()
        try:
            self._start(process)
            for packet in self._timed():
                packet.stream = self._stream
                self._nut.mux_one(packet)
                self._muxed = self.count = self.count + 1
        except (OSError, av.FFmpegError) as error:
            raise self._stopped(process) from error

    def _command(self, scratch: Path) -> list[str]:
        seconds, ticks = divmod(self._zero - self.source.pts_offset * self._clock, self._clock)
        coded = EncodedInput(self._format, int(seconds), int(ticks))
        return mux_command(
            self.plan, self.source, self._part, scratch, coded=coded, trial=self._trial, ffmpeg=self._ffmpeg
        )

    def _start(self, process: FFmpegProcess) -> None:
        """The pipe into ffmpeg; it has the first segment's headers."""
        import av

        options = {"movflags": _FRAGMENTS, "video_track_timescale": str(self._clock)}
        self._nut = av.open(process.stdin, "w", format=self._format, options=options, buffer_size=1 << 20)
        with open_segment(self._folder / self._segments[0].name) as container:
            stream = self._nut.add_stream_from_template(container.streams.video[0], opaque=True)
        stream.time_base = Fraction(1, self._clock)
        stream.codec_context.sample_aspect_ratio = self.plan.sample_aspect_ratio
        self._stream = stream

    def _timed(self) -> Iterator[Any]:
        """All packets with their times in the pipe: decoded when the one ``delay`` places back is shown."""
        early = deque(self._zero + self._step * place for place in range(self._delay))
        ends = [self._ticks(segment.first) for segment in self._segments[1:]]
        for segment, end in zip(self._segments, [*ends, None], strict=True):
            shown = self._shown(segment)
            until = dict(
                zip(shown, [*shown[1:], shown[-1] + self._hold if end is None else end], strict=True)
            )
            early.extend(shown)
            checksum = 0
            for packet in self._packets(segment):
                checksum = zlib.crc32(packet, checksum)
                packet.duration = until[packet.pts] - packet.pts if self.count else self._step
                packet.dts = early.popleft() - self._zero
                packet.pts -= self._zero
                yield packet
            if checksum != segment.checksum:
                raise self._changed(segment)

    def _shown(self, segment: SegmentFile) -> list[int]:
        """When the pictures of a segment are shown, in order; the pictures themselves may be gigabytes."""
        shown = sorted(packet.pts for packet in self._packets(segment))
        ends = [self._ticks(segment.first), self._ticks(segment.last)]
        if len(shown) != segment.frames or [shown[0], shown[-1]] != ends:
            raise self._changed(segment)
        return shown

    def _packets(self, segment: SegmentFile) -> Iterator[Any]:
        """The packets of a segment, in decoding order."""
        import av

        try:
            with open_segment(self._folder / segment.name) as container:
                yield from (packet for packet in container.demux(video=0) if packet.size)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._changed(segment) from error

    def _ticks(self, pts: int) -> int:
        """A time on the source's clock, on that of the segments."""
        return int((pts * self.source.video.time_base + self.source.pts_offset) * self._clock)

    def _changed(self, segment: SegmentFile) -> EncodeError:
        return EncodeError(
            f"{self._name}: its segment {self._folder / segment.name} has been changed or damaged; "
            "check the disk and use --no-resume to begin anew"
        )
