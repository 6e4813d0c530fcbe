"""The decisions about a new film, as data: what was asked for, and what will be done."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.types import Color
from vsrcli.media.y4m import STDIO, Y4mHeader


@dataclass(frozen=True)
class EncodeOptions:
    """What the user asked for; None means: choose well.

    Attributes:
        codec: ffmpeg's name of an encoder (``libx265``, ``h264_nvenc``) or a short one (``h264``, ``hevc``,
            ``vp9``, ``av1``).
        crf: constant quality on the encoder's own scale; lower is better.
        preset: the encoder's own speed preset.
        effort: ``fast``, ``balanced`` or ``quality``: which preset it gets if none is named.
        pix_fmt: pixel format of the new film.
        extra: further output options of ffmpeg, as (key, value) without the dash; they win over all others.
        overwrite: whether an existing target may be replaced.
        format: of a stream on stdout: ``yuv4mpegpipe``, ``nut`` or ``matroska``.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    format: str | None = None
    effort: str = "balanced"


@dataclass(frozen=True)
class OutputPlan:
    """Everything that will be done to write the new film. ``print(plan)`` is what ``--dry-run`` shows.

    Attributes:
        target: final name of the file; ``-`` for stdout.
        container: the container format.
        width, height: pixels of the new film.
        codec: video encoder.
        pix_fmt: pixel format it is given.
        color: tags of the new film.
        sample_aspect_ratio: shape of a pixel.
        video_options: further output options of ffmpeg for the picture.
        streams: the picture first, then every other stream of the source.
        notices: what people should know: conversions, losses, assumptions. One line each.
        span: (start, end) in seconds from the container's start; None: open.
        zero: source time (seconds on the container's clock) that becomes 0 in the new film.
        timescale: ticks per second of the picture's clock, where the container lets us choose.
        overwrite: whether an existing target may be replaced.
        alpha: whether frames come with their transparency and keep it.
        last: when the last picture begins (seconds on the source's clock) and how long it is shown, where
            that is another time than the frame rate's; None otherwise.
        header: first line of a YUV4MPEG2 stream; None for other containers.
    """

    target: Path
    container: Container
    width: int
    height: int
    codec: str
    pix_fmt: str
    color: Color
    sample_aspect_ratio: Fraction
    video_options: tuple[tuple[str, str], ...]
    streams: tuple[StreamPlan, ...]
    notices: tuple[str, ...]
    span: tuple[Fraction | None, Fraction | None]
    time_origin: Fraction
    timescale: int | None
    overwrite: bool
    alpha: bool = False
    last_frame_duration: tuple[Fraction, Fraction] | None = None
    header: Y4mHeader | None = None

    @property
    def to_stdout(self) -> bool:
        """Whether it is a stream, not a file."""
        return self.target == STDIO

    @property
    def display_name(self) -> str:
        """What messages call the target."""
        return "stdout" if self.to_stdout else str(self.target)

    def __str__(self) -> str:
        lines = [
            f"{self.display_name}: {self.container.name}, {self.width}x{self.height}, {self.codec} {self.pix_fmt}"
        ]
        for stream in self.streams:
            note = f" ({stream.note})" if stream.note else ""
            lines.append(f"  #{stream.index} {stream.kind} {stream.codec}: {stream.action}{note}")
        lines += [f"  note: {text}" for text in self.notices]
        return "\n".join(lines)
