"""One segment of a film: some of its pictures, alone, in a small closed file of their own.

It begins with a key frame and refers to nothing outside, so segments can be laid end to end without encoding
them again. Its times are those of the source's clock, plus ``source.lift`` as in pipes, exactly.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import EncodeError
from vsrcli.media.codecs import CODECS
from vsrcli.media.encode import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url
from vsrcli.media.mux import encoded_video_options
from vsrcli.media.opening import open_output_file
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.types import Frame, Source, VideoStream

# MOV and MP4 keep times, colours and pixel shape; some of these codecs are known to one of them only.
_CONTAINERS = {
    **dict.fromkeys(("h264", "hevc", "mpeg4", "mpeg2video", "mjpeg", "prores"), "mov"),
    **dict.fromkeys(("av1", "vp9", "ffv1"), "mp4"),
}
_ALPHA_BESIDE = ("libvpx-vp9", "libvpx", "libx265")
_WHOLE = ("vf", "filter", "bsf", "force_key_frames")  # they count frames, or remember them
_LOWEST_CLOCK, _HIGHEST_CLOCK = 10_000, 2**31 - 1  # ticks per second
_HVCC_ARRAYS = 22  # offset of their number in an hvcC box
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
    frames: int
    first: int
    last: int
    size: int
    delay: int
    checksum: int


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
        begins: int = 0,
        like: Path | None = None,
        ffmpeg: Ffmpeg,
    ) -> None:
        super().__init__(replace(plan, target=file, overwrite=True), source, ffmpeg=ffmpeg)
        self.segment: SegmentFile | None = None
        self._name = f"{plan.target} (from frame {begins})"
        self._like = like
        self._times: list[int] = []

    @property
    def part(self) -> Path:
        """The file that grows until the segment is finished."""
        return self._part

    def write(self, frame: Frame) -> None:
        super().write(frame)
        self._times.append(frame.pts)

    def _command(self, scratch: Path) -> list[str]:
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
        about = encoded_video_options(self.source, self._ffmpeg)
        picture = builder.input("pipe:0", f="nut", protocol_whitelist="pipe", **about)
        return build_command(
            self._ffmpeg, picture["v:0"], file_url(self._part), options, globals_=["-copyts", "-y"]
        )

    def _verify(self, process: FFmpegProcess) -> None:
        """The file holds exactly the frames that were written, at exactly their times."""
        import av

        video, lift = self.source.video, self.source.pts_offset
        times, checksum = [], 0
        try:
            with open_segment(self._part) as container:
                stream = container.streams.video[0]
                for packet in container.demux(stream):
                    if packet.size:
                        times.append(packet.pts * stream.time_base)
                        checksum = zlib.crc32(packet, checksum)
            agree = self._like is None or codec_headers(self._part) == codec_headers(self._like)
        except (OSError, IndexError, TypeError, av.FFmpegError) as error:
            raise self._stopped(process) from error
        written = [pts * video.time_base + lift for pts in self._times]
        if sorted(times) != written or not agree:
            what = f"{len(times)} frames" if len(times) != len(written) else "other times"
            problem = f"the segment holds {what}" if agree else "its headers are not those of the one before"
            raise EncodeError(
                f"{self._name}: {self.count} frames were written, but {problem}; use --segment none or "
                "another --codec",
                details=process.stderr_tail(),
            )
        self.segment = SegmentFile(
            self.plan.target.name,
            self.count,
            self._times[0],
            self._times[-1],
            self._part.stat().st_size,
            _delay(times),
            checksum,
        )


def reason_not_segmentable(
    plan: OutputPlan, video: VideoStream, settings: Iterable[tuple[str, str]]
) -> str | None:
    """Why a film must be written in one go; None if segments do as well.

    Args:
        plan: of the film.
        video: its picture in the source.
        settings: what the user hands to ffmpeg, as in ``EncodeOptions.extra``.
    """
    if segment_container(plan.codec) is None:
        return f"pictures of {plan.codec} cannot be cut into segments"
    if plan.alpha and plan.codec in _ALPHA_BESIDE:
        return f"transparency of {plan.codec} cannot be cut into segments"
    if plan.container.constant_frame_rate:
        return f"{plan.container.name} counts frames instead of keeping their times"
    if segment_timescale(video) is None:
        return "its clock is too fine for segments"
    for key, value in settings:
        name = key.removeprefix("-").split(":")[0]
        if name in _WHOLE or (name.endswith(("-params", "opts")) and "pass=" in value):
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
    ticks *= max(1, math.ceil(_LOWEST_CLOCK / ticks))
    rate = video.frame_rate or Fraction(1)
    return next((each for each in (math.lcm(ticks, rate.numerator), ticks) if each <= _HIGHEST_CLOCK), None)


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
    kept, at = [hvcc[:_HVCC_ARRAYS]], _HVCC_ARRAYS + 1
    for _ in range(hvcc[_HVCC_ARRAYS]):
        begin, units = at, int.from_bytes(hvcc[at + 1 : at + 3], "big")
        at += 3
        for _ in range(units):
            at += 2 + int.from_bytes(hvcc[at : at + 2], "big")
        if hvcc[begin] & 63 not in _SEI:
            kept.append(hvcc[begin:at])
    return b"".join(kept)


def _delay(times: list[Fraction]) -> int:
    """Of times in decoding order."""
    turn = {time: number for number, time in enumerate(sorted(times))}
    return max(number - turn[time] for number, time in enumerate(times))
