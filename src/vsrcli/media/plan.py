"""Decide everything about the new film before its first frame: container, codec, colours, every stream."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import OutputError
from vsrcli.media import codecs
from vsrcli.media.color import encode_filter, encoder_tags, is_rgb, output_color
from vsrcli.media.containers import Container, container_for
from vsrcli.media.encode import try_out
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output import EncodeOptions, OutputPlan
from vsrcli.media.streams import StreamPlan, notice, plan_streams
from vsrcli.media.types import Color, Source

__all__ = ["EncodeOptions", "OutputPlan", "StreamPlan", "plan_output"]

# MP4's clock is a whole number of ticks per second; below this, players and edit lists become inexact.
_LOWEST_TIMESCALE = 10_000
_HIGHEST_TIMESCALE = 2**31 - 1
_FILTERS = ("vf", "filter", "filter:v", "filter:v:0")


def plan_output(
    source: Source,
    target: Path,
    *,
    width: int,
    height: int,
    options: EncodeOptions | None = None,
    span: tuple[Fraction | None, Fraction | None] = (None, None),
    others: bool = True,
    deinterlace: bool = True,
    trial: bool = True,
    ffmpeg: Ffmpeg,
) -> OutputPlan:
    """Decide how ``source``, upscaled to ``width`` x ``height``, is written to ``target``.

    Args:
        source: the film.
        target: name of the new file; its extension chooses the container.
        width, height: pixels of the frames that will be written.
        options: what the user asked for.
        span: (start, end) in seconds from the container's start; the other streams are trimmed to it.
        deinterlace: whether the decoder will deinterlace; only the notice depends on it.
        others: False writes the picture alone (for a segment of a film).
        trial: encode one grey frame into a scratch file with exactly the final command, so that a refused
            option, codec or stream shows now and not hours later.
        ffmpeg: the executable to run.

    Raises:
        OutputError: the target exists, is the source, is a folder, lies in none or cannot be written; the
            container cannot hold what is asked; the encoder is missing or refuses.
    """
    options = options or EncodeOptions()
    target = Path(target)
    check_target(source, target, overwrite=options.overwrite)
    container = container_for(target, ffmpeg)
    video = source.video
    codec = codecs.choose_codec(options.codec, container, target, video, ffmpeg)
    pix_fmt, notices = codecs.choose_pixel_format(codec, options.pix_fmt, video, width, height, ffmpeg)
    color = output_color(video.color, video.pix_fmt, video.width, video.height)
    if is_rgb(pix_fmt):
        color = replace(color, range="pc", matrix="gbr")
    streams = plan_streams(source, container, ffmpeg) if others else ()
    by_index = {other.index: other for other in source.others}
    told = [notice(stream, by_index[stream.index]) for stream in streams]
    timescale = _timescale(video.time_base) if container.exact else None
    plan = OutputPlan(
        target=target,
        container=container,
        width=width,
        height=height,
        codec=codec,
        pix_fmt=pix_fmt,
        color=color,
        sample_aspect_ratio=video.sample_aspect_ratio,
        video_options=_video_options(
            options, codec, pix_fmt, (width, height), color, container, source, ffmpeg
        ),
        streams=(
            StreamPlan(video.index, "picture", codec, "encode", _picture_note(source, pix_fmt)),
            *streams,
        ),
        notices=(
            *_source_notices(source, container, span, deinterlace),
            *notices,
            *(text for text in told if text),
        ),
        span=span,
        zero=_zero(source, span[0]),
        timescale=timescale,
        overwrite=options.overwrite,
    )
    if trial:
        try_out(plan, source, ffmpeg=ffmpeg)
    return plan


def _zero(source: Source, start: Fraction | None) -> Fraction:
    """Source time that becomes 0. Sound may lead by its encoder's delay; only a picture before 0 moves it."""
    if start is not None:
        return source.start + start
    return source.start if source.lift else max(source.start, Fraction(0))


def check_target(source: Source, target: Path, *, overwrite: bool) -> None:
    """Whether ``target`` may be created.

    Raises:
        OutputError: see ``plan_output``.
    """
    folder = target.parent
    try:
        if target.is_dir():
            raise OutputError(f"{target} is a folder; name a file in it, such as {target / source.path.name}")
        if target.exists() and not target.is_file():
            raise OutputError(f"{target} is no regular file, so it cannot be replaced by one; choose another")
        if not folder.is_dir():
            raise OutputError(f"{folder} is not a folder; create it first")
        if target.exists() and target.samefile(source.path):
            raise OutputError(f"{target} is the input itself; choose another name")
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise OutputError(f"{target} exists; use --overwrite to replace it")
    except OSError as error:
        raise OutputError(f"{target} cannot be used as a name ({error.strerror}); choose another") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{folder} cannot be written to; choose another folder or change its access rights")


def _video_options(
    options: EncodeOptions,
    name: str,
    pix_fmt: str,
    size: tuple[int, int],
    color: Color,
    container: Container,
    source: Source,
    ffmpeg: Ffmpeg,
) -> tuple[tuple[str, str], ...]:
    codec = codecs.CODECS.get(name, codecs.Codec(name, None))
    chosen: dict[str, str] = dict(codec.fixed)
    quality = options.crf if options.crf is not None else codec.default
    if options.crf is not None and codec.quality is None:
        raise OutputError(f"{name} has no constant quality; leave --crf out, or use -e with its own options")
    if quality is not None and codec.quality is not None:
        chosen[codec.quality] = f"{quality:g}"
    preset = options.preset or codec.preset
    if preset is not None:
        chosen["preset"] = preset
    if codec.makes == "hevc" and container.exact:
        chosen["tag:v:0"] = "hvc1"  # Apple's players take this spelling only
    for key, value in encoder_tags(color, pix_fmt).items():
        chosen[f"{key}:v:0"] = value
    convert = encode_filter(color, pix_fmt, size, deep=source.video.deep, ffmpeg=ffmpeg)
    shape = source.video.sample_aspect_ratio
    # setsar rounds to terms below 100 unless told otherwise; 16 bits are what H.264 and H.265 can state
    chosen["filter:v:0"] = f"{convert},setsar={shape.numerator}/{shape.denominator}:max=65535"
    for option, value in options.extra:
        key = option.removeprefix("-")
        if key in _FILTERS:  # behind the conversion: without it, colours would be those of ffmpeg's guess
            key, value = "filter:v:0", f"{chosen['filter:v:0']},{value}"
        elif key == "x265-params" and key in chosen:
            value = f"{chosen[key]}:{value}"
        chosen[key] = value
    return tuple(chosen.items())


def _timescale(time_base: Fraction) -> int | None:
    """Ticks per second in which every presentation time of the source is a whole number."""
    ticks = time_base.denominator
    if ticks > _HIGHEST_TIMESCALE:
        return None
    return ticks * max(1, math.ceil(_LOWEST_TIMESCALE / ticks))


def _picture_note(source: Source, pix_fmt: str) -> str:
    video = source.video
    return f"from {video.codec} {video.width}x{video.height} {video.pix_fmt}, written as {pix_fmt}"


def _source_notices(
    source: Source, container: Container, span: tuple[Fraction | None, Fraction | None], deinterlace: bool
) -> list[str]:
    video = source.video
    notices: list[str] = []
    if video.interlaced:
        done = (
            "it is deinterlaced, one frame per frame" if deinterlace else "it stays so, and combs will show"
        )
        notices.append(f"the picture is interlaced ({video.field_order}): {done}")
    if video.rotation:
        notices.append(f"the rotation of {video.rotation} degrees is applied to the picture")
    if video.has_alpha:
        notices.append("transparency is dropped")
    if video.bit_depth > 8 and video.color.transfer in ("smpte2084", "arib-std-b67"):
        notices.append("HDR: colours and transfer are kept, mastering display data is not carried over")
    if container.muxer in ("matroska", "webm") and (1000 * video.time_base).denominator != 1:
        notices.append(f"{container.name} has a clock of 1 ms: times are rounded to the nearest millisecond")
    if container.muxer == "mpegts" and (90000 * video.time_base).denominator != 1:
        notices.append("MPEG-TS has a clock of 1/90000 s: times are rounded to it")
    if container.constant:
        notices.append(
            f"{container.name} knows a constant frame rate only: times are rounded to whole frames"
        )
    if source.chapter_marks and not container.chapters:
        notices.append(f"{container.name} has no chapters: {len(source.chapter_marks)} are dropped")
    if span != (None, None) and source.others:
        notices.append("sound and subtitles are trimmed to the same span")
    return notices
