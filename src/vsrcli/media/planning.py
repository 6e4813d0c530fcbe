"""Plan an output before its first frame is decoded: container, encoder, colours, and every stream.

Nothing is read or run here but ffmpeg's lists of what it can do.
:class:`~vsrcli.media.source_reader.Span` brings what had to be read of the source; :func:`check_target` and
the trial encode come before and after.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import OutputError
from vsrcli.media import y4m, y4m_plan
from vsrcli.media.color import is_rgb, output_color
from vsrcli.media.containers import Container, StreamPlan, choose_streams
from vsrcli.media.encoder_options import (
    CodecChoice,
    choose_codec,
    keeps_hdr_metadata,
    video_encoder_options,
)
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.notices import source_notices
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.source_reader import Span
from vsrcli.media.types import Color, Source, VideoStream
from vsrcli.system.files import resolve_target

# MP4 counts whole ticks per second; below this, players and edit lists become inexact.
_MIN_TIMESCALE = 10_000
_MAX_TIMESCALE = 2**31 - 1
_MAX_PIXELS = 2**28  # largest frame that libavutil accepts
_REORDERING_ENCODERS = ("libx264", "libx265")
_SLIDE_SHOW_CONTAINERS = ("gif", "apng")


def plan_output(
    source: Source,
    target: Path,
    container: Container,
    *,
    width: int,
    height: int,
    sample_aspect_ratio: Fraction | None = None,
    options: EncodeOptions | None = None,
    span: Span | None = None,
    deinterlace: bool = True,
    ffmpeg: Ffmpeg,
) -> OutputPlan:
    """Return the plan to write ``source``, upscaled to ``width`` x ``height``, to ``target``.

    Args:
        source: the video or image sequence.
        target: path of the output.
        container: of the output.
        width, height: frame size of the output.
        sample_aspect_ratio: of the output; None: the source's.
        options: the user's.
        span: of the source; the other streams are trimmed to it. None: all of it.
        deinterlace: whether the decoder will deinterlace; only a notice depends on it.
        ffmpeg: its encoders, muxers and pixel formats.

    Raises:
        OutputError: the container cannot hold the codec; the encoder is missing or refuses the options; the
            frame size is too large, or YUV4MPEG2 cannot keep the times.
        UsageError: an option makes no sense, see :mod:`~vsrcli.media.codecs`.
    """
    options, span, video = options or EncodeOptions(), span or Span(), source.video
    if sample_aspect_ratio is not None:
        video = replace(video, sample_aspect_ratio=sample_aspect_ratio)
    last_frame, time_origin = _unusual_last_frame(source, span), _time_origin(source, span.start)
    to_stdout = target == y4m.STDIO
    display_name = "stdout" if to_stdout else str(target)
    codec = choose_codec(source, (width, height), container, target, options, ffmpeg)
    if width * height > _MAX_PIXELS:
        raise OutputError(
            f"{display_name}: {width}x{height} pixels are more than a video can have here; "
            "use a smaller --scale or size"
        )
    color = choose_color(video, codec)
    others = choose_streams(source, container, ffmpeg, time_origin=time_origin)
    video_options = video_encoder_options(
        codec.options,
        codec.encoder,
        codec.pix_fmt,
        (width, height),
        color,
        container,
        replace(source, video=video),
        ffmpeg,
    )
    tick = _tick(video, container, span)
    is_slide_show = last_frame is not None and _is_slide_show(source, last_frame[1])
    if codec.encoder in _REORDERING_ENCODERS and (tick or (is_slide_show and container.custom_timescale)):
        # MP4 stores durations in decoding order, AVI times; that has to be the order of presentation here.
        video_options = (("bf", "0"), *video_options)
    header, lost_tags = None, ()
    if to_stdout:
        header, lost_tags = y4m_plan.plan_stdout(
            source, video, (width, height), codec.pix_fmt, color, container, span, deinterlace
        )
    note = f"from {video.codec} {video.width}x{video.height} {video.pix_fmt}, written as {codec.pix_fmt}"
    notices = (
        *codec.settings_notices,
        *source_notices(
            source,
            container,
            (span.start, span.end),
            deinterlace=deinterlace,
            keeps_hdr=keeps_hdr_metadata(codec.encoder, source, ffmpeg) and not container.video_only,
            tick=tick,
        ),
        *codec.notices,
        *lost_tags,
        *others.notices,
    )
    return OutputPlan(
        target=target,
        container=container,
        width=width,
        height=height,
        codec=codec.encoder,
        pix_fmt=codec.pix_fmt,
        color=color,
        sample_aspect_ratio=video.sample_aspect_ratio,
        video_options=video_options,
        streams=(StreamPlan(video.index, "video", codec.encoder, "encode", note), *others.streams),
        notices=notices,
        span=(span.start, span.end),
        time_origin=time_origin,
        timescale=_timescale(video.time_base) if container.custom_timescale else None,
        overwrite=options.overwrite,
        alpha=codec.alpha,
        extra=codec.options.extra,
        last_frame_duration=last_frame,
        tick=tick,
        header=header,
    )


def choose_color(video: VideoStream, codec: CodecChoice) -> Color:
    """Return the colour tags of the output: the source's, as far as the pixel format can have them."""
    color = output_color(video.color, video.pix_fmt, video.width, video.height)
    if is_rgb(codec.pix_fmt):
        return replace(color, range="pc", matrix="gbr")
    return replace(color, range="pc") if codec.encoder == "mjpeg" else color  # JPEG has no other


def check_target(target: Path, *, overwrite: bool, inputs: Sequence[Path] = ()) -> None:
    """Check that a file can be created or replaced; stdout always can.

    Args:
        target: path of the output.
        overwrite: whether an existing file may be replaced.
        inputs: files that must not be replaced.

    Raises:
        OutputError: the target exists, is an input, is a folder or cannot be written.
    """
    if target == y4m.STDIO:
        return
    try:
        folder = resolve_target(target).parent
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it, such as {target / 'out.mp4'}")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target} is no regular file, so it cannot be replaced by one; choose another")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
        if target.exists() and any(each.exists() and target.samefile(each) for each in inputs):
            raise OutputError(f"{target} is the input itself; choose another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"{target} exists; use --overwrite to replace it")
    except OSError as error:
        raise OutputError(f"{target} cannot be used as a name ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to; choose another folder or change its access rights")


def _time_origin(source: Source, start: Fraction | None) -> Fraction:
    """Return the source time that becomes 0. No frame precedes it, but audio may, by its encoder's delay."""
    if start is not None:
        return source.start + start
    return source.start if source.pts_offset else max(source.start, Fraction(0))


def _frame_duration(source: Source) -> Fraction:
    """Return the seconds of a frame at the frame rate; 0 if it is unknown."""
    return 1 / source.video.frame_rate if source.video.frame_rate else Fraction(0)


def _is_slide_show(source: Source, last_duration: Fraction) -> bool:
    """Return whether a source is a slide show: its last frame is much longer than the others.

    One that is shorter was cut by the end of a span.
    """
    usual_duration = _frame_duration(source) or last_duration
    return source.container in _SLIDE_SHOW_CONTAINERS or last_duration > 2 * usual_duration


def _unusual_last_frame(source: Source, span: Span) -> tuple[Fraction, Fraction] | None:
    """Return (start, duration) of the last frame if the duration differs from the frame rate's, else None."""
    last = span.last_frame
    usual = last is not None and abs(last[1] - _frame_duration(source)) <= source.video.time_base
    return None if last is None or last[1] <= 0 or usual else last


def _tick(video: VideoStream, container: Container, span: Span) -> Fraction | None:
    """Return the seconds that a container counts which counts frames; None: of a constant frame rate."""
    if not container.constant_frame_rate:
        return None
    return video.time_base if video.has_estimated_rate else span.tick  # else frames of a burst share one


def _timescale(time_base: Fraction) -> int | None:
    """Return ticks per second in which every presentation time of the source is an integer."""
    ticks = time_base.denominator
    return None if ticks > _MAX_TIMESCALE else ticks * max(1, math.ceil(_MIN_TIMESCALE / ticks))
