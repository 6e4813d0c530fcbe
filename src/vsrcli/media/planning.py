"""Plan an output before its first frame is decoded: container, encoder, colours, and every stream."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.media import codecs, y4m, y4m_plan
from vsrcli.media.codecs import choose_pixel_format
from vsrcli.media.color import is_rgb, output_color
from vsrcli.media.containers import (
    Container,
    StreamPlan,
    container_from_suffix,
    plan_streams,
    stdout_container,
    stream_notice,
)
from vsrcli.media.decoder import SourceReader, VideoReader
from vsrcli.media.encoder_options import keeps_hdr_metadata, video_encoder_options
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.notices import source_notices
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.safety import check_extra_options
from vsrcli.media.trial import trial_encode
from vsrcli.media.types import Source
from vsrcli.system.files import resolve_target

__all__ = ["EncodeOptions", "OutputPlan", "StreamPlan", "plan_output"]

# MP4 counts whole ticks per second; below this, players and edit lists become inexact.
_MIN_TIMESCALE = 10_000
_MAX_TIMESCALE = 2**31 - 1
_MAX_PIXELS = 2**28  # largest frame that libavutil accepts
_REORDERING_ENCODERS = ("libx264", "libx265")
_SLIDE_SHOW_CONTAINERS = ("gif", "apng")
# On stdout another program processes the video further, so nothing is lost by default.
_STDOUT_ENCODERS = {y4m.CONTAINER: "rawvideo", "nut": "rawvideo", "matroska": "ffv1"}


def plan_output(
    source: Source,
    target: Path,
    *,
    width: int,
    height: int,
    sample_aspect_ratio: Fraction | None = None,
    options: EncodeOptions | None = None,
    span: tuple[Fraction | None, Fraction | None] = (None, None),
    other_streams: bool = True,
    deinterlace: bool = True,
    trial: bool = True,
    reader: SourceReader | None = None,
    ffmpeg: Ffmpeg,
) -> OutputPlan:
    """Return the plan to write ``source``, upscaled to ``width`` x ``height``, to ``target``.

    Args:
        source: the video or image sequence.
        target: path of the output; its extension selects the container.
        width, height: frame size of the output.
        sample_aspect_ratio: of the output; None: the source's.
        options: the user's.
        span: (start, end) in seconds from the container's start; the other streams are trimmed to it.
        other_streams: False writes the upscaled stream only.
        deinterlace: whether the decoder will deinterlace; only a notice depends on it.
        trial: encode a few grey frames with exactly the final command, so that ffmpeg refuses an option,
            codec or stream now and not hours later, see :func:`~vsrcli.media.trial.trial_encode`.
        reader: of the source; None: the source is a video file.
        ffmpeg: the executable to run.

    Raises:
        OutputError: the target exists, is the source, is a folder or cannot be written; the container cannot
            hold the codec; the encoder is missing or refuses the options; the frame size is too large.
        UsageError: an option makes no sense, see :mod:`~vsrcli.media.safety` and :mod:`~vsrcli.media.codecs`.
    """
    # Container, encoder and pixel format
    options, reader = options or EncodeOptions(), reader or VideoReader(source)
    target = Path(target)
    check_extra_options(options.extra)
    container = check_output_path(target, options, ffmpeg, source=source)
    is_y4m, size = container.muxer == y4m.CONTAINER, (width, height)
    video = source.video
    sample_aspect_ratio = sample_aspect_ratio or video.sample_aspect_ratio
    reshaped_source = replace(source, video=replace(video, sample_aspect_ratio=sample_aspect_ratio))
    requested_codec = options.codec or (
        _STDOUT_ENCODERS.get(container.muxer) if target == y4m.STDIO else None
    )
    display_name = Path("stdout") if target == y4m.STDIO else target
    codec = codecs.choose_codec(requested_codec, container, display_name, video, ffmpeg)
    _check_size(display_name, width, height)
    subsample = source.images is not None and codecs.is_widely_playable(codec)
    pixel_format = (
        y4m_plan.choose_y4m_pixel_format(video, options.pix_fmt)
        if is_y4m
        else choose_pixel_format(
            codec,
            # images have full chroma resolution, which few players support in a video
            replace(video, pix_fmt="yuv420p") if subsample else video,
            size,
            container,
            ffmpeg,
            requested=options.pix_fmt,
            codec_requested=options.codec is not None,
        )
    )
    pix_fmt = pixel_format.name
    color = output_color(video.color, video.pix_fmt, video.width, video.height)
    if is_rgb(pix_fmt):
        color = replace(color, range="pc", matrix="gbr")
    elif codec == "mjpeg":
        color = replace(color, range="pc")  # JPEG has no other

    # The other streams
    streams = plan_streams(source, container, ffmpeg) if other_streams else ()
    if is_y4m:
        streams = y4m_plan.drop_other_streams(source)
    by_index = {other.index: other for other in source.other_streams}
    stream_notices = [stream_notice(stream, by_index[stream.index]) for stream in streams]

    # Encoder options
    encoder_pix_fmt, encoder_options = (
        y4m_plan.conversion_filter(pix_fmt, options) if is_y4m else (pix_fmt, options)
    )
    video_options = video_encoder_options(
        encoder_options, codec, encoder_pix_fmt, size, color, container, reshaped_source, ffmpeg
    )
    header = None
    if is_y4m:
        video_options = (("strict", "-1"), *video_options)  # libavformat requires it for more than 8 bits
        deinterlaced = deinterlace and video.is_interlaced
        header = y4m_plan.plan_y4m_header(
            reader, sample_aspect_ratio, size, pix_fmt, color, span, deinterlaced=deinterlaced
        )
        if sample_aspect_ratio != video.sample_aspect_ratio:
            parameters = (word for word in header.parameters if not word.startswith("A"))
            aspect = f"A{sample_aspect_ratio.numerator}:{sample_aspect_ratio.denominator}"
            header = replace(header, parameters=(*parameters, aspect))
    last_frame_duration = _unusual_last_frame(reader, span[1])
    if (
        last_frame_duration is not None
        and _is_slide_show(source, last_frame_duration[1])
        and codec in _REORDERING_ENCODERS
        and container.custom_timescale
    ):
        # MP4 stores durations in decoding order, which has to be the order of presentation here.
        video_options = (("bf", "0"), *video_options)

    # y4m_plan has checked the frame rate of a raw stream itself
    notice_container = replace(container, constant_frame_rate=False) if is_y4m else container
    plan = OutputPlan(
        target=target,
        container=container,
        width=width,
        height=height,
        codec=codec,
        pix_fmt=pix_fmt,
        color=color,
        sample_aspect_ratio=sample_aspect_ratio,
        video_options=video_options,
        streams=(
            StreamPlan(video.index, "video", codec, "encode", _video_note(source, pix_fmt)),
            *streams,
        ),
        notices=(
            *source_notices(
                source,
                notice_container,
                span,
                deinterlace=deinterlace,
                keeps_hdr=keeps_hdr_metadata(codec, source, ffmpeg) and not is_y4m,
            ),
            *pixel_format.notices,
            *(y4m_plan.y4m_notices(source, size, pix_fmt, color, container) if target == y4m.STDIO else ()),
            *(text for text in stream_notices if text),
        ),
        span=span,
        time_origin=_time_origin(source, span[0]),
        timescale=_timescale(video.time_base) if container.custom_timescale else None,
        overwrite=options.overwrite,
        alpha=pixel_format.alpha,
        last_frame_duration=last_frame_duration,
        header=header,
    )
    if trial:
        trial_encode(plan, source, ffmpeg=ffmpeg)
    return plan


def check_output_path(
    target: Path, options: EncodeOptions, ffmpeg: Ffmpeg, *, source: Source | None = None
) -> Container:
    """Check that ``target`` can be created, and return its container; ``source`` is None while it is unknown.

    Raises:
        OutputError, UsageError: see ``plan_output``.
    """
    if target == y4m.STDIO:
        container = stdout_container(options.format, ffmpeg)
        if container.muxer == y4m.CONTAINER:
            y4m_plan.require_rawvideo(options)
        return container
    if options.format is not None:
        raise UsageError(f"--format is for stdout (-); the extension of {target} chooses its container")
    _check_file_target(target, source, overwrite=options.overwrite)
    return container_from_suffix(target, ffmpeg)


def _check_file_target(target: Path, source: Source | None, *, overwrite: bool) -> None:
    try:
        folder = resolve_target(target).parent
        inputs = () if source is None else source.input_files
        name = source.path.name if inputs and source is not None else "out.mp4"
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it, such as {target / name}")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target} is no regular file, so it cannot be replaced by one; choose another")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
        if target.exists() and any(target.samefile(each) for each in inputs):
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


def _check_size(target: Path, width: int, height: int) -> None:
    if width * height > _MAX_PIXELS:
        raise OutputError(
            f"{target}: {width}x{height} pixels are more than a video can have here; "
            "use a smaller --scale or size"
        )


def _frame_duration(source: Source) -> Fraction:
    """Return the seconds of a frame at the frame rate; 0 if it is unknown."""
    return 1 / source.video.frame_rate if source.video.frame_rate else Fraction(0)


def _is_slide_show(source: Source, last_duration: Fraction) -> bool:
    """Return whether a source is a slide show: its last frame is much longer or shorter than the others."""
    return (
        source.container in _SLIDE_SHOW_CONTAINERS
        or not 1 / 2 < last_duration / (_frame_duration(source) or last_duration) <= 2
    )


def _unusual_last_frame(reader: SourceReader, end: Fraction | None) -> tuple[Fraction, Fraction] | None:
    """Return (start, duration) of the last frame if the duration differs from the frame rate's, else None."""
    source, last = reader.source, reader.last_frame(end)
    usual = last is not None and abs(last[1] - _frame_duration(source)) <= source.video.time_base
    return None if last is None or last[1] <= 0 or usual else last


def _timescale(time_base: Fraction) -> int | None:
    """Return ticks per second in which every presentation time of the source is an integer."""
    ticks = time_base.denominator
    if ticks > _MAX_TIMESCALE:
        return None
    return ticks * max(1, math.ceil(_MIN_TIMESCALE / ticks))


def _video_note(source: Source, pix_fmt: str) -> str:
    video = source.video
    return f"from {video.codec} {video.width}x{video.height} {video.pix_fmt}, written as {pix_fmt}"
