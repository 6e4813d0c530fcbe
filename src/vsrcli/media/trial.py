"""Trial encode: a few grey frames with exactly the final command, so that ffmpeg refuses options early."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.errors import EncodeError, OutputError
from vsrcli.media.encoder import DEFAULT_FRAME_RATE, VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.ffmpeg_writer import Destination, SegmentFile
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.safety import open_output_file
from vsrcli.media.segments import SegmentConcatenator, SegmentDestination
from vsrcli.media.stream_description import bit_depth
from vsrcli.media.types import Frame, Source
from vsrcli.system.files import temporary_folder

_FRAME_COUNT = 3


def trial_encode(plan: OutputPlan, source: Source, *, segmented: bool = False, ffmpeg: Ffmpeg) -> None:
    """Encode three grey frames with the commands of a plan, in a temporary folder, and read them back.

    Args:
        plan, source: of the output.
        segmented: whether it will be written in segments; the three frames are one segment.
        ffmpeg: the executable.

    Raises:
        OutputError: ffmpeg refuses, or the result cannot be decoded or has other frames or times.
    """
    dtype = np.uint16 if source.video.is_high_bit_depth else np.uint8
    grey = np.full((plan.height, plan.width, 3), np.iinfo(dtype).max // 2, dtype)
    alpha = grey[..., 0] if plan.alpha else None
    frames = [Frame(grey, pts, source.video.time_base, alpha) for pts in _trial_pts(plan, source)]
    try:
        with temporary_folder() as folder:
            trial_plan = replace(plan, target=folder / f"trial{plan.target.suffix}")
            destination = TrialDestination(trial_plan, source, [frame.pts for frame in frames])
            if segmented:
                segment = SegmentDestination(trial_plan, source, folder / "segment.mov")
                encoder = _encode(VideoEncoder(trial_plan, source, segment, ffmpeg=ffmpeg), frames)
                assert encoder.segment is not None
                SegmentConcatenator(folder, [encoder.segment], destination, ffmpeg=ffmpeg).run()
            else:
                _encode(VideoEncoder(trial_plan, source, destination, ffmpeg=ffmpeg), frames)
    except EncodeError as error:
        raise OutputError(
            f"{plan.display_name}: ffmpeg refuses to write {plan.codec} {plan.pix_fmt} "
            f"{plan.width}x{plan.height} as {plan.container.name}; "
            "change --codec, --pix-fmt, the -e options or the container",
            details=error.details or str(error),
        ) from error
    except OSError as error:
        raise OutputError(
            f"no temporary file can be written in {tempfile.gettempdir()} ({error.strerror}); "
            "free some space there, or set TMPDIR"
        ) from error


def _trial_pts(plan: OutputPlan, source: Source) -> list[int]:
    base, rate = source.video.time_base, source.video.frame_rate or DEFAULT_FRAME_RATE
    begin, step = int(plan.time_origin / base), max(round(1 / rate / base), 1)
    return [begin + number * step for number in range(_FRAME_COUNT)]


def _encode(encoder: VideoEncoder, frames: list[Frame]) -> VideoEncoder:
    with encoder:
        for frame in frames:
            encoder.write(frame)
    return encoder


class TrialDestination(Destination):
    """A file that is only read back: its times, which are to be ``pts``, and whether it can be decoded."""

    trial = True

    def __init__(self, plan: OutputPlan, source: Source, pts: list[int]) -> None:
        super().__init__(plan, source)
        self._pts = pts

    def verify(self, process: FFmpegProcess, count: int, pts: Sequence[int]) -> None:
        with open_output_file(self.part_file, self.plan.container.muxer) as container:
            stream = container.streams.video[0]
            packets = [packet for packet in container.demux(stream) if packet.size]
            tick = Fraction(stream.time_base)
            self._check_decodable(stream, packets)
        # Times since the first frame: MPEG-TS always starts a little after zero.
        expected = _since_first(self._pts, self.source.video.time_base)
        actual = _since_first(sorted(packet.pts or 0 for packet in packets), tick)
        matches = len(actual) == len(expected)
        if matches and not self.plan.container.constant_frame_rate:
            matches = all(abs(a - b) <= tick for a, b in zip(actual, expected, strict=True))
        if not matches:
            raise EncodeError(
                f"{_FRAME_COUNT} frames at {_format_times(expected)} s went in, "
                f"{len(actual)} at {_format_times(actual)} s came out"
            )

    def publish(self) -> SegmentFile | None:
        return None

    def _check_decodable(self, stream: Any, packets: list[Any]) -> None:
        """Raise if frames cannot be decoded or have lost bits; some containers cannot describe all codecs."""
        import av

        if stream.codec_context is None:
            return  # PyAV has no decoder for it
        frames: list[Any] = []
        with contextlib.suppress(av.FFmpegError):
            for packet in [*packets, None]:
                frames += stream.codec_context.decode(packet)
        if not frames:
            raise EncodeError("no frame can be decoded from what was written")
        expected, decoded = self.plan.pix_fmt, frames[0].format.name
        if bit_depth(decoded) < bit_depth(expected):
            raise EncodeError(
                f"frames of {bit_depth(expected)} bits ({expected}) went in, {decoded} came out"
            )


def _since_first(ticks: list[int], tick: Fraction) -> list[Fraction]:
    return [(each - ticks[0]) * tick for each in ticks]


def _format_times(times: list[Fraction]) -> str:
    return ", ".join(f"{float(time):g}" for time in times)
