"""The decisions about an output, as data: the options that were requested and the plan that results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Self, TypeVar

from vsrcli.errors import OutputError, UsageError
from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.types import Color
from vsrcli.media.y4m import STDIO, Y4mHeader

Result = TypeVar("Result")

_LEFT_OUT_IN_TURN = (  # optional values that an output may not support; a codec takes its quality along
    ("crf",),
    ("pix_fmt",),
    ("crf", "pix_fmt"),
    ("crf", "encode_preset", "codec"),
    ("crf", "pix_fmt", "encode_preset", "codec"),
)


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
        encode_preset: name of a set of options, see :data:`~vsrcli.media.encoder_options.PRESETS`; the
            others win over it.
        optional: names of options (also ``fps`` and ``segment``) that come from a settings file: where one
            does not fit, it is left out with a notice, instead of being refused.
    """

    codec: str | None = None
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    extra: tuple[tuple[str, str], ...] = ()
    overwrite: bool = False
    format: str | None = None
    effort: str = "balanced"
    encode_preset: str | None = None
    optional: frozenset[str] = frozenset()

    @property
    def required(self) -> Self:
        """These options without the optional ones."""
        return replace(self, **dict.fromkeys(self.optional - {"fps", "segment"}))

    def fit(self, check: Callable[[Self], Result]) -> tuple[Result, tuple[str, ...]]:
        """Return what ``check`` returns; where it refuses, leave out optional values until it does not.

        Returns:
            The result, and a notice if something was left out.

        Raises:
            OutputError, UsageError: it refuses the options without all optional ones, too.
        """
        try:
            return check(self), ()
        except (OutputError, UsageError) as error:
            refused, reason = error, str(error).partition(";")[0]
        for names in _LEFT_OUT_IN_TURN:
            values = {name: getattr(self, name) for name in names if name in self.optional}
            if not values:
                continue
            text = ", ".join(
                f"--{name.replace('_', '-')} {value if isinstance(value, str) else f'{value:g}'}"
                for name, value in values.items()
            )
            try:
                result = check(replace(self, **dict.fromkeys(values)))
            except (OutputError, UsageError) as error:
                refused = error
            else:
                return result, (f"left out of your settings: {text} ({reason})",)
        raise refused


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
        tick: seconds that the container counts, where it counts frames; None: of a constant frame rate.
        extra: the user's options of ffmpeg, those of a preset included.
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
    tick: Fraction | None = None
    extra: tuple[tuple[str, str], ...] = ()
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
