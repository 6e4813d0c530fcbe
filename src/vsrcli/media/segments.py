"""One segment of a film: some of its pictures, alone, in a small closed file of their own.

It begins with a key frame and refers to nothing outside, so segments can be laid end to end without encoding
them again. Its times are those of the source's clock, plus ``source.lift`` as in pipes, exactly.

Lay finished segments end to end, without encoding them again, and mux them into the new film.

PyAV takes the packets out of the segments and pipes them, as MOV in fragments, into the very command that
would otherwise encode: sound, subtitles and all the rest come from the source as ever.

Presentation times are those of the segments, to the tick. Decoding times are made anew: inside a segment each
packet has one, but the next segment would begin before the last one has ended.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import EncodeError
from vsrcli.media.codecs import CODECS
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url
from vsrcli.media.mux import EncodedInput, encoded_video_options, mux_command
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.safety import open_output_file
from vsrcli.media.types import Frame, Source, VideoStream

# MOV and MP4 keep times, colours and pixel shape; some of these codecs are known to one of them only.
_CONTAINERS = {
    **dict.fromkeys(("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "prores"), "mov"),
    **dict.fromkeys(("av1", "vp9", "ffv1"), "mp4"),
}
_SEPARATE_ALPHA = ("libvpx-vp9", "libvpx", "libx265")
_WHOLE_VIDEO_OPTIONS = ("vf", "filter", "bsf", "force_key_frames")  # they count frames, or remember them
_MIN_TIMESCALE, _MAX_TIMESCALE = 10_000, 2**31 - 1  # ticks per second
_HVCC_ARRAY_COUNT_OFFSET = 22  # offset of their number in an hvcC box
_SEI = (39, 40)  # NAL units that tell the encoder's settings, number of threads included


@dataclass(frozen=True)
class SegmentFile:
    """A finished segment.

    Attributes:
        name: of its file.
        frames: pictures in it.
        first, last: their presentation times in ticks of the source's clock.
        size: bytes.
        delay: by how many places, at most, a picture is decoded before its turn to be shown.
        checksum: CRC-32 of all packets, so that a disk that forgets does not end up in the film.
    """

    name: str
    frame_count: int
    first_pts: int
    last_pts: int
    size_bytes: int
    reorder_delay: int
    crc32: int


class SegmentEncoder(VideoEncoder):
    """An :class:`VideoEncoder` of one segment; leaving it puts the file in its place, durably.

    Args:
        plan: of the whole film.
        source: the film that the frames are of.
        file: where the segment will lie.
        begins: number of its first frame in the film, for messages.
        like: an earlier segment, whose headers this one must share.
        ffmpeg: the executable to run.

    Attributes:
        segment: what has been written, once it is finished.

    Raises:
        EncodeError: see ``VideoEncoder``; or the file does not hold exactly the frames and times given.
    """

    def __init__(
        self,
        plan: OutputPlan,
        source: Source,
        file: Path,
        *,
        first_frame: int = 0,
        reference: Path | None = None,
        ffmpeg: Ffmpeg,
    ) -> None:
        super().__init__(replace(plan, target=file, overwrite=True), source, ffmpeg=ffmpeg)
        self.segment: SegmentFile | None = None
        self._display_name = f"{plan.target} (from frame {first_frame})"
        self._reference = reference
        self._written_pts: list[int] = []

    @property
    def part_file(self) -> Path:
        """The file that grows until the segment is finished."""
        return self._part_file

    def write(self, frame: Frame) -> None:
        super().write(frame)
        self._written_pts.append(frame.pts)

    def _build_command(self, scratch: Path) -> list[str]:
        import ffmpeg as builder  # the package ffmpeg-python

        options: dict[str, str | None] = {
            "c:v:0": self.plan.codec,
            "fps_mode:v:0": "passthrough",
            "enc_time_base:v:0": self._ffmpeg.demux_time_base,
            "f": segment_container(self.plan.codec),
            "video_track_timescale": str(segment_timescale(self.source.video)),
            "avoid_negative_ts": "disabled",
            **dict(segment_encoder_options(self.plan, self._ffmpeg)),
        }
        metadata = encoded_video_options(self.source, self._ffmpeg)
        video_input = builder.input("pipe:0", f="nut", protocol_whitelist="pipe", **metadata)
        return build_command(
            self._ffmpeg,
            video_input["v:0"],
            file_url(self._part_file),
            options,
            global_options=["-copyts", "-y"],
        )

    def _verify(self, process: FFmpegProcess) -> None:
        """The file holds exactly the frames that were written, at exactly their times."""
        import av

        video, offset = self.source.video, self.source.pts_offset
        times, checksum = [], 0
        try:
            with open_segment(self._part_file) as container:
                stream = container.streams.video[0]
                for packet in container.demux(stream):
                    if packet.size:
                        times.append(packet.pts * stream.time_base)
                        checksum = zlib.crc32(packet, checksum)
            same_headers = self._reference is None or codec_headers(self._part_file) == codec_headers(
                self._reference
            )
        except (OSError, IndexError, TypeError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        expected_times = [pts * video.time_base + offset for pts in self._written_pts]
        if sorted(times) != expected_times or not same_headers:
            difference = f"{len(times)} frames" if len(times) != len(expected_times) else "other times"
            problem = (
                f"the segment holds {difference}"
                if same_headers
                else "its headers are not those of the one before"
            )
            raise EncodeError(
                f"{self._display_name}: {self.frame_count} frames were written, but {problem}; use --segment none or "
                "another --codec",
                details=process.stderr_tail(),
            )
        self.segment = SegmentFile(
            self.plan.target.name,
            self.frame_count,
            self._written_pts[0],
            self._written_pts[-1],
            self._part_file.stat().st_size,
            _reorder_delay(times),
            checksum,
        )


def reason_not_segmentable(
    plan: OutputPlan, video: VideoStream, extra_options: Iterable[tuple[str, str]]
) -> str | None:
    """Why a film must be written in one go; None if segments do as well.

    Args:
        plan: of the film.
        video: its picture in the source.
        settings: what the user hands to ffmpeg, as in ``EncodeOptions.extra``.
    """
    if segment_container(plan.codec) is None:
        return f"pictures of {plan.codec} cannot be cut into segments"
    if plan.alpha and plan.codec in _SEPARATE_ALPHA:
        return f"transparency of {plan.codec} cannot be cut into segments"
    if plan.container.constant_frame_rate:
        return f"{plan.container.name} counts frames instead of keeping their times"
    if segment_timescale(video) is None:
        return "its clock is too fine for segments"
    for key, value in extra_options:
        name = key.removeprefix("-").split(":")[0]
        if name in _WHOLE_VIDEO_OPTIONS or (name.endswith(("-params", "opts")) and "pass=" in value):
            return f"-e {key} may look at the film as a whole"
    return None


def segment_container(codec: str) -> str | None:
    """Container format for segments from an encoder; None if its pictures cannot be cut into segments."""
    return _CONTAINERS.get(CODECS[codec].codec_name) if codec in CODECS else None


def segment_timescale(video: VideoStream) -> int | None:
    """Ticks per second in which all times of a film are whole numbers; None if there are too many.

    An ordinary frame lasts a whole number of them, too, if that is possible.
    """
    ticks = video.time_base.denominator
    ticks *= max(1, math.ceil(_MIN_TIMESCALE / ticks))
    rate = video.frame_rate or Fraction(1)
    return next((each for each in (math.lcm(ticks, rate.numerator), ticks) if each <= _MAX_TIMESCALE), None)


def segment_encoder_options(plan: OutputPlan, ffmpeg: Ffmpeg) -> Iterable[tuple[str, str]]:
    """The plan's options without those that only the final container understands."""
    muxer = ffmpeg.help(f"muxer={plan.container.muxer}")
    return [(key, value) for key, value in plan.video_options if f"  -{key.split(':')[0]} " not in muxer]


def open_segment(file: Path) -> Any:
    """A segment, opened by PyAV."""
    return open_output_file(file, "mov")  # which is the reader of MP4, too


def codec_headers(file: Path) -> bytes:
    """What a decoder must know before the first picture, without the encoder's words about itself."""
    with open_segment(file) as container:
        context = container.streams.video[0].codec_context
        data = bytes(context.extradata or b"")
        return _without_sei(data) if context.name == "hevc" and data[:1] == b"\1" else data


def _without_sei(hvcc: bytes) -> bytes:
    """An hvcC box without its SEI: each array is a type, a number of units, and these with their lengths."""
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
    """Of times in decoding order."""
    display_index = {time: number for number, time in enumerate(sorted(times))}
    return max(number - display_index[time] for number, time in enumerate(times))


_DEFAULT_FRAME_RATE = Fraction(25)  # frames per second, where there is one frame only
_FRAGMENT_FLAGS = "frag_every_frame+empty_moov+default_base_moof"


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
        self._part_file = folder / f"film{plan.target.suffix}"
        self._format = segment_container(plan.codec) or ""
        self._timescale = segment_timescale(source.video) or 0
        # Matroska states a frame rate, which ffmpeg reads off the first two decoding times: ours, then.
        self._reorder_delay = max(
            0 if plan.container.custom_timescale else 1, *(segment.reorder_delay for segment in segments)
        )
        self._frame_ticks = max(round(self._timescale / (source.video.frame_rate or _DEFAULT_FRAME_RATE)), 1)
        self._last_frame_ticks = (
            self._frame_ticks
            if plan.last_frame_duration is None
            else max(round(plan.last_frame_duration[1] * self._timescale), 1)
        )
        # Decoding begins here, which is 0 in the pipe.
        self._origin = self._ticks(segments[0].first_pts) - self._reorder_delay * self._frame_ticks

    def write_packets(self) -> None:
        """Write all segments.

        Raises:
            EncodeError: ffmpeg has stopped, or a segment cannot be read.
        """
        import av

        process = self._require_process()
        try:
            self._open_pipe(process)
            for packet in self._retimed_packets():
                packet.stream = self._pipe_stream
                self._pipe_container.mux_one(packet)
                self._muxed_count = self.frame_count = self.frame_count + 1
        except (OSError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error

    def _build_command(self, scratch: Path) -> list[str]:
        seconds, ticks = divmod(self._origin - self.source.pts_offset * self._timescale, self._timescale)
        encoded_input = EncodedInput(self._format, int(seconds), int(ticks))
        return mux_command(
            self.plan,
            self.source,
            self._part_file,
            scratch,
            encoded_input=encoded_input,
            trial=self._trial,
            ffmpeg=self._ffmpeg,
        )

    def _open_pipe(self, process: FFmpegProcess) -> None:
        """The pipe into ffmpeg; it has the first segment's headers."""
        import av

        options = {"movflags": _FRAGMENT_FLAGS, "video_track_timescale": str(self._timescale)}
        self._pipe_container = av.open(
            process.stdin, "w", format=self._format, options=options, buffer_size=1 << 20
        )
        with open_segment(self._folder / self._segments[0].name) as container:
            stream = self._pipe_container.add_stream_from_template(container.streams.video[0], opaque=True)
        stream.time_base = Fraction(1, self._timescale)
        stream.codec_context.sample_aspect_ratio = self.plan.sample_aspect_ratio
        self._pipe_stream = stream

    def _retimed_packets(self) -> Iterator[Any]:
        """All packets with their times in the pipe: decoded when the one ``delay`` places back is shown."""
        decode_times = deque(self._origin + self._frame_ticks * place for place in range(self._reorder_delay))
        next_starts = [self._ticks(segment.first_pts) for segment in self._segments[1:]]
        for segment, next_start in zip(self._segments, [*next_starts, None], strict=True):
            times = self._presentation_times(segment)
            end_of = dict(
                zip(
                    times,
                    [*times[1:], times[-1] + self._last_frame_ticks if next_start is None else next_start],
                    strict=True,
                )
            )
            decode_times.extend(times)
            checksum = 0
            for packet in self._packets(segment):
                checksum = zlib.crc32(packet, checksum)
                packet.duration = end_of[packet.pts] - packet.pts if self.frame_count else self._frame_ticks
                packet.dts = decode_times.popleft() - self._origin
                packet.pts -= self._origin
                yield packet
            if checksum != segment.crc32:
                raise self._damaged_error(segment)

    def _presentation_times(self, segment: SegmentFile) -> list[int]:
        """When the pictures of a segment are shown, in order; the pictures themselves may be gigabytes."""
        times = sorted(packet.pts for packet in self._packets(segment))
        bounds = [self._ticks(segment.first_pts), self._ticks(segment.last_pts)]
        if len(times) != segment.frame_count or [times[0], times[-1]] != bounds:
            raise self._damaged_error(segment)
        return times

    def _packets(self, segment: SegmentFile) -> Iterator[Any]:
        """The packets of a segment, in decoding order."""
        import av

        try:
            with open_segment(self._folder / segment.name) as container:
                yield from (packet for packet in container.demux(video=0) if packet.size)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._damaged_error(segment) from error

    def _ticks(self, pts: int) -> int:
        """A time on the source's clock, on that of the segments."""
        return int((pts * self.source.video.time_base + self.source.pts_offset) * self._timescale)

    def _damaged_error(self, segment: SegmentFile) -> EncodeError:
        return EncodeError(
            f"{self._display_name}: its segment {self._folder / segment.name} has been changed or damaged; "
            "check the disk and use --no-resume to begin anew"
        )
