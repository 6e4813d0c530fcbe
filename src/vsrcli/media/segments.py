"""Encode a video in segments, and concatenate them without encoding them again.

A segment is a small closed file with some of the frames. It begins with a key frame and refers to nothing
outside. Its times are exactly those of the source's clock, plus ``source.pts_offset`` as in every pipe.

For the concatenation, PyAV reads the packets of the segments and pipes them, as fragmented MOV, into the same
command that would otherwise encode, so audio, subtitles and all the rest come from the source as usual.
Presentation times are those of the segments, to the tick. Decoding times are generated: those of a segment
would begin before the previous segment has ended.
"""

from __future__ import annotations

import contextlib
import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import EncodeError
from vsrcli.media.codecs import CODECS
from vsrcli.media.encoder import DEFAULT_FRAME_RATE
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url
from vsrcli.media.ffmpeg_writer import Destination, FFmpegWriter, SegmentFile
from vsrcli.media.mux import EncodedInput, encoded_video_options
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.safety import open_output_file
from vsrcli.media.types import Source, VideoStream

# MOV and MP4 keep times, colours and aspect ratio; some of these codecs fit into one of them only.
_CONTAINERS = {
    **dict.fromkeys(("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "prores"), "mov"),
    **dict.fromkeys(("av1", "vp9", "ffv1"), "mp4"),
}
_SEPARATE_ALPHA = ("libvpx-vp9", "libvpx", "libx265")  # they encode alpha apart from the colours
_WHOLE_VIDEO_OPTIONS = ("vf", "filter", "bsf", "force_key_frames")  # they may depend on all frames
_MIN_TIMESCALE, _MAX_TIMESCALE = 10_000, 2**31 - 1  # ticks per second
_HVCC_ARRAY_COUNT_OFFSET = 22  # in an hvcC box
_SEI = (39, 40)  # NAL units that state the encoder's settings, number of threads included
_FRAGMENT_FLAGS = "frag_every_frame+empty_moov+default_base_moof"


class SegmentDestination(Destination):
    """A segment's file, which is renamed and synced to the disk once it holds exactly the frames and times.

    Args:
        plan, source: of the whole output.
        file: path of the segment.
        first_frame: number of its first frame in the output, for messages.
        reference: an earlier segment, whose codec headers this one must share.
        resumed: whether that one is of an earlier run, perhaps with other versions of vsr or ffmpeg.
    """

    def __init__(
        self,
        plan: OutputPlan,
        source: Source,
        file: Path,
        *,
        first_frame: int = 0,
        reference: Path | None = None,
        resumed: bool = False,
    ) -> None:
        super().__init__(replace(plan, target=file, overwrite=True), source)
        self.name = f"{plan.target} (from frame {first_frame})"
        self._reference, self._resumed = reference, resumed
        self._segment: SegmentFile | None = None

    def command(self, scratch: Path, encoded_input: EncodedInput | None, ffmpeg: Ffmpeg) -> list[str]:
        import ffmpeg as builder  # the package ffmpeg-python

        options: dict[str, str | None] = {
            "c:v:0": self.plan.codec,
            "fps_mode:v:0": "passthrough",
            "enc_time_base:v:0": ffmpeg.demux_time_base,
            "f": segment_container(self.plan.codec),
            "video_track_timescale": str(segment_timescale(self.source.video)),
            "avoid_negative_ts": "disabled",
            **dict(segment_encoder_options(self.plan, ffmpeg)),
        }
        metadata = encoded_video_options(self.source, ffmpeg)
        video_input = builder.input("pipe:0", f="nut", protocol_whitelist="pipe", **metadata)
        url = file_url(self.part_file)
        return build_command(ffmpeg, video_input["v:0"], url, options, global_options=["-copyts", "-y"])

    def verify(self, process: FFmpegProcess, count: int, pts: Sequence[int]) -> None:
        times, checksum = [], 0
        with open_segment(self.part_file) as container:
            stream = container.streams.video[0]
            for packet in container.demux(stream):
                if packet.size:
                    times.append(packet.pts * stream.time_base)
                    checksum = zlib.crc32(packet, checksum)
        problem, remedy, resume_option = "", "use --segment none or another --codec", ""
        if sorted(times) != [each * self.source.video.time_base + self.source.pts_offset for each in pts]:
            difference = f"{len(times)} frames" if len(times) != count else "other times"
            problem = f"the segment holds {difference}"
        if self._reference is not None and codec_headers(self.part_file) != codec_headers(self._reference):
            problem = "its headers are not those of the previous one"
            if self._resumed:
                problem += ", which an earlier run wrote"
                remedy, resume_option = "use --no-resume to begin anew", None
        if problem:
            raise EncodeError(
                f"{self.name}: {count} frames were written, but {problem}; {remedy}",
                details=process.stderr_tail(),
                resume_option=resume_option,
            )
        size, delay = self.part_file.stat().st_size, _reorder_delay(times)
        self._segment = SegmentFile(self.plan.target.name, count, pts[0], pts[-1], size, delay, checksum)

    def publish(self) -> SegmentFile | None:
        super().publish()
        return self._segment


class SegmentConcatenator:
    """Copies finished segments, instead of encoding frames as a ``VideoEncoder`` does.

    Args:
        folder: of the segments.
        segments: all of them, in order.
        destination: of the output.
        ffmpeg: the executable to run.

    Attributes:
        writer: of its ffmpeg.
    """

    def __init__(
        self, folder: Path, segments: Sequence[SegmentFile], destination: Destination, *, ffmpeg: Ffmpeg
    ) -> None:
        plan, self._source = destination.plan, destination.source
        self._folder, self._segments, self._destination = folder, segments, destination
        self.writer = FFmpegWriter(destination, ffmpeg)
        self._format = segment_container(plan.codec) or ""
        self._timescale = segment_timescale(self._source.video) or 0
        # ffmpeg derives Matroska's frame rate from the first two decoding times: generate at least one.
        self._reorder_delay = max(
            0 if plan.container.custom_timescale else 1, *(segment.reorder_delay for segment in segments)
        )
        rate = self._source.video.frame_rate or DEFAULT_FRAME_RATE
        self._frame_ticks = max(round(self._timescale / rate), 1)
        self._last_frame_ticks = (
            self._frame_ticks
            if plan.last_frame_duration is None
            else max(round(plan.last_frame_duration[1] * self._timescale), 1)
        )
        # The first decoding time, which is 0 in the pipe.
        self._origin = self._ticks(segments[0].first_pts) - self._reorder_delay * self._frame_ticks

    def run(self) -> tuple[str, ...]:
        """Write the output, or nothing if that fails; return warnings about the source's other streams.

        Raises:
            EncodeError: ffmpeg has stopped, or a segment has changed since it was finished.
        """
        offset = self._source.pts_offset * self._timescale
        seconds, ticks = divmod(self._origin - offset, self._timescale)
        end = self._ticks(self._segments[-1].last_pts) + self._last_frame_ticks - offset
        options = {"movflags": _FRAGMENT_FLAGS, "video_track_timescale": str(self._timescale)}
        try:
            self.writer.start(EncodedInput(self._format, int(seconds), int(ticks), int(end)))
            pipe = self.writer.open_pipe(self._format, options)
            with self._open(self._segments[0]) as container:  # for its headers
                stream = pipe.add_stream_from_template(container.streams.video[0], opaque=True)
            stream.time_base = Fraction(1, self._timescale)
            stream.codec_context.sample_aspect_ratio = self._destination.plan.sample_aspect_ratio
            for packet in self._retimed_packets():
                packet.stream = stream
                self.writer.mux(packet)
            self.writer.finish()
        finally:
            self.writer.discard()
        return tuple(self.writer.warnings)

    def _retimed_packets(self) -> Iterator[Any]:
        """Yield all packets with times in the pipe; dts is the pts of ``reorder_delay`` frames before."""
        decode_times = deque(self._origin + self._frame_ticks * place for place in range(self._reorder_delay))
        next_starts = [self._ticks(segment.first_pts) for segment in self._segments[1:]]
        is_first = True
        for segment, next_start in zip(self._segments, [*next_starts, None], strict=True):
            times = self._presentation_times(segment)
            end = times[-1] + self._last_frame_ticks if next_start is None else next_start
            end_of = dict(zip(times, [*times[1:], end], strict=True))
            decode_times.extend(times)
            checksum = 0
            for packet in self._packets(segment):
                checksum = zlib.crc32(packet, checksum)
                packet.duration = self._frame_ticks if is_first else end_of[packet.pts] - packet.pts
                packet.dts = decode_times.popleft() - self._origin
                packet.pts -= self._origin
                is_first = False
                yield packet
            if checksum != segment.crc32:
                raise self._damaged_error(segment)

    def _presentation_times(self, segment: SegmentFile) -> list[int]:
        """Return a segment's presentation times, sorted; its packets, maybe gigabytes, are not held."""
        times = sorted(packet.pts for packet in self._packets(segment))
        bounds = [self._ticks(segment.first_pts), self._ticks(segment.last_pts)]
        if len(times) != segment.frame_count or [times[0], times[-1]] != bounds:
            raise self._damaged_error(segment)
        return times

    def _packets(self, segment: SegmentFile) -> Iterator[Any]:
        """Yield the packets of a segment in decoding order."""
        with self._open(segment) as container:
            yield from (packet for packet in container.demux(video=0) if packet.size)

    @contextlib.contextmanager
    def _open(self, segment: SegmentFile) -> Iterator[Any]:
        import av

        try:
            with open_segment(self._folder / segment.name) as container:
                yield container
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._damaged_error(segment) from error

    def _ticks(self, pts: int) -> int:
        """Return a time of the source's clock in ticks of the segments."""
        return int((pts * self._source.video.time_base + self._source.pts_offset) * self._timescale)

    def _damaged_error(self, segment: SegmentFile) -> EncodeError:
        return EncodeError(
            f"{self._destination.name}: its segment {self._folder / segment.name} has been changed or "
            "damaged; check the disk and use --no-resume to start over",
            resume_option=None,
        )


def reason_not_segmentable(
    plan: OutputPlan, video: VideoStream, extra_options: Iterable[tuple[str, str]]
) -> str | None:
    """Return why an output must be written in one go; None if segments are possible.

    Args:
        plan: of the output.
        video: the source's video stream.
        extra_options: the user's for ffmpeg, see ``EncodeOptions.extra``.
    """
    if segment_container(plan.codec) is None:
        return f"video of {plan.codec} cannot be cut into segments"
    if plan.alpha and plan.codec in _SEPARATE_ALPHA:
        return f"transparency of {plan.codec} cannot be cut into segments"
    if plan.container.constant_frame_rate:
        return f"{plan.container.name} counts frames instead of keeping their times"
    if segment_timescale(video) is None:
        return "its time base is too fine for segments"
    for key, value in extra_options:
        name = key.removeprefix("-").split(":")[0]
        if name in _WHOLE_VIDEO_OPTIONS or (name.endswith(("-params", "opts")) and "pass=" in value):
            return f"-e {key} may depend on the video as a whole"
    return None


def segment_container(codec: str) -> str | None:
    """Return the muxer for segments of an encoder; None if its video cannot be cut into segments."""
    return _CONTAINERS.get(CODECS[codec].codec_name) if codec in CODECS else None


def segment_timescale(video: VideoStream) -> int | None:
    """Return ticks per second in which all times of a video are integers; None if they would be too many.

    If possible, the frame duration is an integer, too.
    """
    ticks = video.time_base.denominator
    ticks *= max(1, math.ceil(_MIN_TIMESCALE / ticks))
    rate = video.frame_rate or Fraction(1)
    return next((each for each in (math.lcm(ticks, rate.numerator), ticks) if each <= _MAX_TIMESCALE), None)


def segment_encoder_options(plan: OutputPlan, ffmpeg: Ffmpeg) -> Iterable[tuple[str, str]]:
    """Return the plan's video options without those of the final container's muxer."""
    muxer = ffmpeg.help(f"muxer={plan.container.muxer}")
    return [(key, value) for key, value in plan.video_options if f"  -{key.split(':')[0]} " not in muxer]


def open_segment(file: Path) -> Any:
    """Open a segment with PyAV."""
    return open_output_file(file, "mov")  # the demuxer of MP4, too


def codec_headers(file: Path) -> bytes:
    """Return what a decoder needs before the first packet, without the encoder's description of itself."""
    with open_segment(file) as container:
        context = container.streams.video[0].codec_context
        data = bytes(context.extradata or b"")
        return _without_sei(data) if context.name == "hevc" and data[:1] == b"\1" else data


def _without_sei(hvcc: bytes) -> bytes:
    """Return an hvcC box without SEI. It has arrays of a type, a unit count, and units with their lengths."""
    parts, position = [hvcc[:_HVCC_ARRAY_COUNT_OFFSET]], _HVCC_ARRAY_COUNT_OFFSET + 1
    for _ in range(hvcc[_HVCC_ARRAY_COUNT_OFFSET]):
        array_start, unit_count = position, int.from_bytes(hvcc[position + 1 : position + 3], "big")
        position += 3
        for _ in range(unit_count):
            position += 2 + int.from_bytes(hvcc[position : position + 2], "big")
        if hvcc[array_start] & 63 not in _SEI:
            parts.append(hvcc[array_start:position])
    return b"".join(parts)


def _reorder_delay(times: list[Fraction]) -> int:
    """Return the reorder delay, in frames, of times in decoding order."""
    display_index = {time: number for number, time in enumerate(sorted(times))}
    return max(number - display_index[time] for number, time in enumerate(times))
