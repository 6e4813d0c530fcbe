"""The ffmpeg command that decodes a video into upright R'G'B' frames with their times, as NUT."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vsrcli.media.alpha import alpha_decoder
from vsrcli.media.color import decode_filter, resolve_color
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url, open_input
from vsrcli.media.safety import MAX_PIXELS, safe_input_options
from vsrcli.media.types import MIXED, Source, VideoStream

# Filters for (mirrored, clockwise degrees), as ffmpeg's own automatic rotation chooses them.
_ROTATION_FILTERS: dict[tuple[bool, int], list[str]] = {
    (False, 0): [],
    (False, 90): ["transpose=clock"],
    (False, 180): ["hflip", "vflip"],
    (False, 270): ["transpose=cclock"],
    (True, 0): ["vflip"],
    (True, 90): ["transpose=cclock_flip"],
    (True, 180): ["hflip"],
    (True, 270): ["transpose=clock_flip"],
}
_SEEK_MARGIN = Fraction(1, 100)


def decode_command(
    source: Source,
    seek: Fraction | None,
    *,
    deinterlace: bool,
    alpha: bool = False,
    strict: bool = True,
    discard_damaged: bool = False,
    from_stdin: bool = False,
    ffmpeg: Ffmpeg,
) -> list[str]:
    """Return the ffmpeg command that writes upright ``rgb24`` frames as NUT to stdout.

    ``rgb48le`` above 8 bits per component. Times are those of the file plus ``source.pts_offset`` seconds.

    Args:
        source: the video.
        seek: begin at or before this key frame (seconds on the container's clock); None: at the start.
        deinterlace: whether to run bwdif, one output frame per frame.
        alpha: write ``rgba`` and ``rgba64le`` instead.
        strict: whether ffmpeg stops at damage; otherwise it conceals it.
        discard_damaged: whether frames that cannot be decoded completely are dropped instead.
        from_stdin: read the source's container from stdin instead of its file.
        ffmpeg: the executable.
    """
    video = source.video
    input_options: dict[str, Any] = {
        **safe_input_options(source.container),
        "noautorotate": None,
        "max_pixels": str(MAX_PIXELS),
    }
    if alpha and (decoder_name := alpha_decoder(video)):
        input_options["c:v"] = decoder_name
    if discard_damaged or video.codec == "mjpeg":  # whose decoder reports no damage otherwise
        input_options["err_detect"] = "explode"
    if source.pts_offset:
        input_options["itsoffset"] = source.pts_offset
    if "-apply_cropping" in ffmpeg.help("long"):  # 7.1 on; a filter crops, with every ffmpeg
        input_options["apply_cropping"] = "codec"
    if seek is not None:
        # -ss counts from the container's start; seek a little earlier, since it is rounded to microseconds.
        offset = seek - source.start - _SEEK_MARGIN
        if offset > 0:
            input_options.update({"ss": f"{float(offset):.6f}", "noaccurate_seek": None})
    resolved = resolve_color(video.color, video.pix_fmt, video.width, video.height)
    filters = [_deinterlacer(video)] if deinterlace else []
    filters.append(
        decode_filter(
            resolved,
            video.pix_fmt,
            video.coded_size,
            high_bit_depth=video.is_high_bit_depth,
            alpha=alpha,
            ffmpeg=ffmpeg,
        )
    )
    if crop := video.crop:  # of R'G'B', which has whole pixels
        width, height = video.coded_size
        size = f"{width - crop.left - crop.right}:{height - crop.top - crop.bottom}"
        filters.append(f"crop={size}:{crop.left}:{crop.top}:exact=1")
    # Rotate last: fields are rows, and left-sited chroma must not become top-sited.
    filters += _ROTATION_FILTERS[video.is_mirrored, video.rotation]
    options = {
        "vf": ",".join(filters),
        "fps_mode": "passthrough",
        "enc_time_base": ffmpeg.demux_time_base,
        "c:v": "rawvideo",
        "f": "nut",
        "noautoscale": None,
        "map_metadata": "-1",
    }
    if from_stdin:
        input_options["f"] = source.container
    url = "pipe:0" if from_stdin else file_url(source.path)
    stream = open_input(url, input_options)[str(video.index)]
    flags = ["-copyts", *(["-xerror"] if strict else ["-max_error_rate", "1"])]
    # Level "info" reports a change of size; its other messages are dropped.
    return build_command(ffmpeg, stream, "pipe:1", options, global_options=flags, loglevel="info")


def _deinterlacer(video: VideoStream) -> str:
    """Return the filter, which takes an order that frames do not state for that of the top field first."""
    deint = "interlaced" if video.field_order == MIXED else "all"
    parity = "bff" if video.field_order in ("bb", "bt") and not video.has_flagged_fields else "auto"
    return f"bwdif=mode=send_frame:parity={parity}:deint={deint}"
