"""The decisions about an output, as data: the options that were requested and the plan that results."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.types import Color
from vsrcli.media.y4m import STDIO, Y4mHeader


@dataclass(frozen=True)
class EncodeOptions:
    """Options that the user requested; None chooses automatically.

    Attributes:
        codec: ffmpeg's name of an encoder (``libx265``, ``h264_nvenc``), or an alias (``h264``, ``hevc``,
            ``vp9``, ``av1``).
        crf: constant quality on the encoder's own scale; lower is better.
        preset: the encoder's own speed preset.
        pix_fmt: pixel format of the output.
        extra: further output options of ffmpeg, as (key, value) without the dash; they win over all others.
        overwrite: whether an existing target may be replaced.
        format: container on stdout: ``yuv4mpegpipe``, ``nut`` or ``matroska``.
        effort: ``fast``, ``balanced`` or ``quality``: selects the encoder's preset if ``preset`` is None.
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
    """All decisions about an output. ``str(plan)`` is what ``--dry-run`` prints.

    Attributes:
        target: path of the output; ``-`` for stdout.
        container: the container format.
        width, height: frame size of the output.
        codec: video encoder.
        pix_fmt: pixel format that it encodes.
        color: tags of the output.
        sample_aspect_ratio: width of a pixel over its height.
        video_options: further output options of ffmpeg for the video stream.
        streams: the upscaled stream first, then every other stream of the source.
        notices: conversions, losses and assumptions, for people; one line each.
        span: (start, end) in seconds from the container's start; None: open.
        time_origin: source time (seconds on the container's clock) that becomes 0 in the output.
        timescale: ticks per second of the video stream, where the container lets us choose.
        overwrite: whether an existing target may be replaced.
        alpha: whether frames have an alpha channel, which is kept.
        last_frame_duration: (start, duration) of the last frame, in seconds on the source's clock, if its
            duration differs from the frame rate's; None otherwise.
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
        """Whether the output is a stream on stdout, not a file."""
        return self.target == STDIO

    @property
    def display_name(self) -> str:
        """Name of the target in messages."""
        return "stdout" if self.to_stdout else str(self.target)

    def __str__(self) -> str:
        size, container = f"{self.width}x{self.height}", self.container.name
        lines = [f"{self.display_name}: {container}, {size}, {self.codec} {self.pix_fmt}"]
        for stream in self.streams:
            note = f" ({stream.note})" if stream.note else ""
            lines.append(f"  #{stream.index} {stream.kind} {stream.codec}: {stream.action}{note}")
        lines += [f"  note: {text}" for text in self.notices]
        return "\n".join(lines)
