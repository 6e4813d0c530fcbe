"""Trial encode: a few grey frames with exactly the final command, so that ffmpeg refuses options early."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from vsrcli.errors import EncodeError, OutputError
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import bit_depth
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.safety import open_output_file
from vsrcli.media.segments import SegmentConcatenator, SegmentEncoder
from vsrcli.media.types import Frame, Source
from vsrcli.system.files import temporary_folder

_FRAME_COUNT = 3
_DEFAULT_FRAME_RATE = Fraction(25)


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
    try:
        with temporary_folder() as folder:
            trial_plan = replace(plan, target=folder / f"trial{plan.target.suffix}")
            frames = [Frame(grey, pts, source.video.time_base, alpha) for pts in _trial_pts(plan, source)]
            if segmented:
                _trial_segments(trial_plan, source, frames, ffmpeg)
            else:
                with _TrialEncoder(trial_plan, source, ffmpeg=ffmpeg, trial=True) as encoder:
                    _write(encoder, frames)
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
    base, rate = source.video.time_base, source.video.frame_rate or _DEFAULT_FRAME_RATE
    begin, step = int(plan.time_origin / base), max(round(1 / rate / base), 1)
    return [begin + number * step for number in range(_FRAME_COUNT)]


def _trial_segments(plan: OutputPlan, source: Source, frames: list[Frame], ffmpeg: Ffmpeg) -> None:
    with SegmentEncoder(plan, source, plan.target.with_name("segment.mov"), ffmpeg=ffmpeg) as encoder:
        _write(encoder, frames)
    assert encoder.segment is not None
    folder, segments = plan.target.parent, [encoder.segment]
    with _TrialConcatenator(plan, source, folder, segments, trial=True, ffmpeg=ffmpeg) as concatenator:
        concatenator.write_packets()


def _write(encoder: VideoEncoder, frames: list[Frame]) -> None:
    for frame in frames:
        encoder.write(frame)


class _TrialEncoder(VideoEncoder):
    """An encoder that also checks the times and the decodability of the file."""

    def _verify(self, process: FFmpegProcess) -> None:
        import av

        try:
            with open_output_file(self._part_file, self.plan.container.muxer) as container:
                stream = container.streams.video[0]
                packets = [packet for packet in container.demux(stream) if packet.size]
                tick = Fraction(stream.time_base)
                self._check_decodable(stream, packets)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        # Times since the first frame: MPEG-TS always starts a little after zero.
        expected = _since_first(_trial_pts(self.plan, self.source), self.source.video.time_base)
        actual = _since_first(sorted(packet.pts or 0 for packet in packets), tick)
        matches = len(actual) == len(expected)
        if matches and not self.plan.container.constant_frame_rate:
            matches = all(abs(a - b) <= tick for a, b in zip(actual, expected, strict=True))
        if not matches:
            raise EncodeError(
                f"{_FRAME_COUNT} frames at {_format_times(expected)} s went in, "
                f"{len(actual)} at {_format_times(actual)} s came out"
            )

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


class _TrialConcatenator(_TrialEncoder, SegmentConcatenator):
    """The same for segments."""


def _since_first(ticks: list[int], tick: Fraction) -> list[Fraction]:
    return [(each - ticks[0]) * tick for each in ticks]


def _format_times(times: list[Fraction]) -> str:
    return ", ".join(f"{float(time):g}" for time in times)
