"""A rehearsal: a few grey frames through exactly the final command, so that refusals show before the film."""

from __future__ import annotations

import contextlib
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
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

_FRAMES = 3
_USUAL_RATE = Fraction(25)


def trial_encode(plan: OutputPlan, source: Source, *, segmented: bool = False, ffmpeg: Ffmpeg) -> None:
    """Encode three grey frames with the very commands of the plan, in a scratch folder.

    Args:
        plan, source: of the film.
        segmented: whether it will be written in segments; the three are one.
        ffmpeg: the executable.

    Raises:
        OutputError: ffmpeg refuses, or writes other frames or times than it was given.
    """
    kind = np.uint16 if source.video.is_high_bit_depth else np.uint8
    grey = np.full((plan.height, plan.width, 3), np.iinfo(kind).max // 2, kind)
    alpha = grey[..., 0] if plan.alpha else None
    try:
        with tempfile.TemporaryDirectory(prefix="vsr-") as folder:
            rehearsal = replace(plan, target=Path(folder) / f"trial{plan.target.suffix}")
            frames = [Frame(grey, pts, source.video.time_base, alpha) for pts in _times(plan, source)]
            if segmented:
                _try_joining(rehearsal, source, frames, ffmpeg)
            else:
                with _Trial(rehearsal, source, ffmpeg=ffmpeg, trial=True) as encoder:
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


def _times(plan: OutputPlan, source: Source) -> list[int]:
    base, rate = source.video.time_base, source.video.frame_rate or _USUAL_RATE
    begin, step = int(plan.time_origin / base), max(round(1 / rate / base), 1)
    return [begin + number * step for number in range(_FRAMES)]


def _try_joining(plan: OutputPlan, source: Source, frames: list[Frame], ffmpeg: Ffmpeg) -> None:
    with SegmentEncoder(plan, source, plan.target.with_name("segment.mov"), ffmpeg=ffmpeg) as encoder:
        _write(encoder, frames)
    assert encoder.segment is not None
    folder, segments = plan.target.parent, [encoder.segment]
    with _JoiningTrial(plan, source, folder, segments, trial=True, ffmpeg=ffmpeg) as joiner:
        joiner.write_packets()


def _write(encoder: VideoEncoder, frames: list[Frame]) -> None:
    for frame in frames:
        encoder.write(frame)


class _Trial(VideoEncoder):
    """An encoder that looks at the times in the file, too."""

    def _verify(self, process: FFmpegProcess) -> None:
        import av

        try:
            with open_output_file(self._part, self.plan.container.muxer) as container:
                stream = container.streams.video[0]
                packets = [packet for packet in container.demux(stream) if packet.size]
                tick = Fraction(stream.time_base)
                self._look(stream, packets)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._stopped(process) from error
        # Only how the frames follow one another: TS begins a little after zero, whatever it is given.
        wanted = _since_first(_times(self.plan, self.source), self.source.video.time_base)
        got = _since_first(sorted(packet.pts or 0 for packet in packets), tick)
        same = len(got) == len(wanted)
        if same and not self.plan.container.constant_frame_rate:
            same = all(abs(a - b) <= tick for a, b in zip(got, wanted, strict=True))
        if not same:
            raise EncodeError(
                f"{_FRAMES} frames at {_spelled(wanted)} s went in, {len(got)} at {_spelled(got)} s came out"
            )

    def _look(self, stream: Any, packets: list[Any]) -> None:
        """Some containers take pictures that nobody can read from there, or read as something else."""
        import av

        if stream.codec_context is None:
            return  # PyAV has no decoder for it; ffmpeg's own word has to be enough
        frames: list[Any] = []
        with contextlib.suppress(av.FFmpegError):
            for packet in [*packets, None]:
                frames += stream.codec_context.decode(packet)
        if not frames:
            raise EncodeError("no picture can be decoded from what was written")
        wanted, got = self.plan.pix_fmt, frames[0].format.name
        if bit_depth(got) < bit_depth(wanted):
            raise EncodeError(f"pictures of {bit_depth(wanted)} bits ({wanted}) went in, {got} came out")


class _JoiningTrial(_Trial, SegmentConcatenator):
    """The same of a film in segments."""


def _since_first(ticks: list[int], tick: Fraction) -> list[Fraction]:
    return [(each - ticks[0]) * tick for each in ticks]


def _spelled(times: list[Fraction]) -> str:
    return ", ".join(f"{float(time):g}" for time in times)
