"""The command that turns a film into a pipe of raw frames with the film's own time stamps.

ffmpeg -copyts -i SRC -map 0:V -fps_mode passthrough -enc_time_base demux -c:v rawvideo -f nut pipe:1
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vsrcli.media.alpha import alpha_decoder
from vsrcli.media.color import decode_filter, resolve
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url
from vsrcli.media.opening import MAX_PIXELS, safe_input_options
from vsrcli.media.types import Source

# Filters for (mirrored, clockwise degrees), as ffmpeg's own automatic rotation chooses them.
_TURNS: dict[tuple[bool, int], list[str]] = {
    (False, 0): [],
    (False, 90): ["transpose=clock"],
    (False, 180): ["hflip", "vflip"],
    (False, 270): ["transpose=cclock"],
    (True, 0): ["vflip"],
    (True, 90): ["transpose=cclock_flip"],
    (True, 180): ["hflip"],
    (True, 270): ["transpose=clock_flip"],
}
_MARGIN = Fraction(1, 100)


def decode_command(
    source: Source,
    seek: Fraction | None,
    *,
    deinterlace: bool,
    alpha: bool = False,
    strict: bool = True,
    whole: bool = False,
    piped: bool = False,
    ffmpeg: Ffmpeg,
) -> list[str]:
    """Write NUT with ``rgb24`` frames, upright, to stdout; ``rgb48le`` for deep sources.

    Times are those of the file plus ``source.lift`` seconds.

    Args:
        source: the film.
        seek: begin at or before this key frame (seconds on the container's clock); None: the start.
        deinterlace: whether to run bwdif, one picture per frame.
        alpha: ``rgba`` and ``rgba64le`` instead.
        strict: whether ffmpeg stops at damage; otherwise it conceals it.
        whole: whether pictures that cannot be decoded whole are left out instead.
        piped: read the film from stdin, in the source's container, instead of its file.
        ffmpeg: the executable.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    video = source.video
    before: dict[str, Any] = {
        **safe_input_options(source.container),
        "noautorotate": None,
        "max_pixels": str(MAX_PIXELS),
    }
    if alpha and (named := alpha_decoder(video)):
        before["c:v"] = named
    if whole or video.codec == "mjpeg":  # whose decoder calls damage no error otherwise
        before["err_detect"] = "explode"
    if source.pts_offset:
        before["itsoffset"] = source.pts_offset
    if seek is not None:
        # -ss counts from the container's start; a little earlier, since it is rounded to microseconds.
        offset = seek - source.start - _MARGIN
        if offset > 0:
            before.update({"ss": f"{float(offset):.6f}", "noaccurate_seek": None})
    resolved = resolve(video.color, video.pix_fmt, video.width, video.height)
    steps = ["bwdif=mode=send_frame:parity=auto:deint=all"] if deinterlace else []
    steps.append(
        decode_filter(
            resolved,
            video.pix_fmt,
            (video.width, video.height),
            deep=video.is_high_bit_depth,
            alpha=alpha,
            ffmpeg=ffmpeg,
        )
    )
    # Turned last: fields are rows, and chroma that sits at the left must not end up at the top.
    steps += _TURNS[video.mirrored, video.rotation]
    options = {
        "vf": ",".join(steps),
        "fps_mode": "passthrough",
        "enc_time_base": ffmpeg.demux_time_base,
        "c:v": "rawvideo",
        "f": "nut",
        "noautoscale": None,
    }
    if piped:
        before["f"] = source.container
    stream = builder.input("pipe:0" if piped else file_url(source.path), **before)[str(video.index)]
    flags = ["-copyts", *(["-xerror"] if strict else ["-max_error_rate", "1"])]
    # "info" names a change of size; the rest of that level is not kept.
    return build_command(ffmpeg, stream, "pipe:1", options, globals_=flags, loglevel="info")
