"""Checks of untrusted input: safe opening of media files, ffmpeg options of the user.

*Opening.* libavformat chooses a demuxer by content and name, and some demuxers open whatever the file refers
to: other files, addresses, programs. Here PyAV and ffmpeg may use only demuxers that read all bytes from the
one file, and only the ``file`` protocol. Frame size and number of streams are limited.

*Options.* ``-e`` may not set options that decide which frames, times and streams are written: an output that
silently has fewer frames or other audio would be no success. Nor may a value name a device: x264 writes its
statistics next to that name and renames them over it, which as root destroys ``/dev/null`` for the machine.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vsrcli.errors import UsageError
from vsrcli.media.ffmpeg import file_url

MAX_PIXELS = 2**26
"""Largest supported input frame (8192x8192); a few header bytes can declare far more than fits in memory."""

MAX_STREAMS = 256
"""Most streams of one file, attachments included; ffmpeg's command line names each of them."""

HEADERLESS_FORMATS = ("mpeg", "mpegts", "flv")
"""Demuxers that learn of some streams only from their first packet, or of what they hold."""

PROBED_BYTES = 32_000_000
"""Beginning of a file in one of these formats that is searched for streams: 30 s of a DVD, read in 0.1 s."""

_PROBED_SECONDS = 86_400  # the bytes are the limit
_VIDEO_FORMATS = (
    "3dostr,anm,apng,asf,asf_o,av1,avi,avif,avs2,avs3,bink,cavsvideo,cine,dirac,dnxhd,dv,evc,film_cpk,flic,flv,"
    "gif,gxf,h261,h263,h264,hevc,idcin,ipmovie,ivf,jpegxl_anim,live_flv,lvf,lxf,m4v,matroska,mjpeg,mjpeg_2000,"
    "mov,mpeg,mpegts,mpegtsraw,mpegvideo,mpjpeg,mv,mxf,nsv,nut,nuv,obu,ogg,pdv,pmp,pva,r3d,rl2,rm,roq,rpl,ser,"
    "smk,smush,swf,thp,tmv,ty,vc1,vc1test,vividas,vivo,vmd,vvc,wc3movie,webp_anim,wtv,xmv,yop,yuv4mpegpipe"
)
# Opened only to explain better why they are no input: audio, still images, text.
_DIAGNOSED_FORMATS = (
    "aac,ac3,aiff,amr,ape,au,caf,dsf,dts,eac3,flac,mp3,mpc,mpc8,truehd,tta,voc,w64,wav,wv,"
    "bmp_pipe,dpx_pipe,exr_pipe,gif_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,pam_pipe,pbm_pipe,"
    "pcx_pipe,pgm_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,tiff_pipe,webp_pipe,xbm_pipe,xpm_pipe,"
    "ass,srt,subviewer,tty,webvtt"
)
_ALLOWED_FORMATS = f"{_VIDEO_FORMATS},{_DIAGNOSED_FORMATS}"

_CHANGES_FRAMES = "it would change which frames are written, or their times"
_CHANGES_STREAMS = "it would change which streams are written"
_CHANGES_SPAN = f"{_CHANGES_FRAMES}; use --start, --end and --frames"
_REFUSED_OPTIONS = {
    **dict.fromkeys(
        ("t", "to", "ss", "sseof", "fs", "frames", "vframes", "aframes", "dframes"), _CHANGES_SPAN
    ),
    **dict.fromkeys(("r", "fpsmax", "fps_mode", "vsync", "enc_time_base", "time_base"), _CHANGES_FRAMES),
    **dict.fromkeys(("copyts", "start_at_zero", "output_ts_offset", "avoid_negative_ts"), _CHANGES_FRAMES),
    **dict.fromkeys(("itsoffset", "itsscale", "stream_loop", "timelimit", "async"), _CHANGES_FRAMES),
    **dict.fromkeys(("frame_drop_threshold", "copytb", "copyinkf", "readrate"), _CHANGES_FRAMES),
    **dict.fromkeys(
        ("map", "map_chapters", "map_metadata", "map_channel", "vn", "an", "sn", "dn"), _CHANGES_STREAMS
    ),
    **dict.fromkeys(
        ("shortest", "program", "attach", "dump_attachment", "ignore_unknown", "copy_unknown"),
        _CHANGES_STREAMS,
    ),
    **dict.fromkeys(("filter_complex", "lavfi", "filter_complex_script"), _CHANGES_STREAMS),
    **dict.fromkeys(("f", "target"), "the extension of OUT chooses the container"),
    **dict.fromkeys(("vcodec",), "use --codec"),
    **dict.fromkeys(("s",), "use --scale"),
    **dict.fromkeys(("i", "y", "n", "pass", "passlogfile"), "it makes no sense here"),
}
_REFUSED_VIDEO_OPTIONS = {"c": "use --codec", "codec": "use --codec", "pix_fmt": "use --pix-fmt"}
_DEVICE_SUFFIX = "device"  # options that end so name a device to encode with, which is opened, not written
_LIST_SEPARATORS = re.compile(r"(?<!\\)[:=,;]")  # between names and values, as in x264-params and filters
_QUOTES = re.compile(r"[\\'\"]")


def open_media(path: Path, *, format_name: str | None = None) -> Any:
    """Open a file as a PyAV container, to be used in a ``with`` statement; read its packets with ``demux``.

    Args:
        path: the file.
        format_name: the only demuxer allowed, as ``probe`` found it; None: any allowed one.

    Raises:
        av.FFmpegError: it cannot be read; ``av.ArgumentError`` if its demuxer is not allowed.
        OSError: the file cannot be opened.
    """
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": format_name or _ALLOWED_FORMATS,
        "max_pixels": str(MAX_PIXELS),  # for decoders that run while the file is opened
        **probing_options(format_name),
    }
    container = av.open(file_url(path), options=options, metadata_errors="replace")
    if format_name is None and probing_options(found := container.format.name):
        container.close()
        return open_media(path, format_name=found)
    return container


def demux(container: Any, stream: Any) -> Iterator[Any]:
    """Yield the packets of a stream of a PyAV container, in decoding order.

    Raises:
        av.FFmpegError: the file cannot be read.
    """
    with contextlib.suppress(IndexError):  # PyAV's, behind the last packet, where other streams began later
        yield from container.demux(stream)


def open_output_file(file: Path, muxer: str) -> Any:
    """Open a file that ffmpeg has just written with ``muxer``; raise as ``open_media``.

    The format is explicit, since a video of a few small frames is too short for its format to be detected.
    """
    import av

    return av.open(
        file_url(file), format=muxer, options={"protocol_whitelist": "file"}, metadata_errors="replace"
    )


def limit_decoder(stream: Any) -> None:
    """Let a PyAV stream decode no frame above ``MAX_PIXELS``."""
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def safe_input_options(container: str) -> dict[str, str]:
    """Return ffmpeg input options with the restrictions of ``open_media``.

    Args:
        container: the demuxer's name as PyAV detected it: ffmpeg must use the same one.
    """
    return {
        "protocol_whitelist": "file,pipe",
        "format_whitelist": container,
        **probing_options(container),
    }


def probing_options(container: str | None) -> dict[str, str]:
    """Return options of libavformat to find streams that begin late; none where a header announces them all.

    Python and ffmpeg must find the same ones, since streams are numbered as they are found.

    Args:
        container: the demuxer's name; None: unknown.
    """
    if container not in HEADERLESS_FORMATS:
        return {}
    return {"probesize": str(PROBED_BYTES), "analyzeduration": str(_PROBED_SECONDS * 1_000_000)}


def check_extra_options(extra_options: Iterable[tuple[str, str]]) -> None:
    """Check options that the user passes on to ffmpeg.

    Args:
        extra_options: (key, value) without the dash, as in ``EncodeOptions.extra``.

    Raises:
        UsageError: a key that would change which frames, times and streams are written; or a value that names
            a device, a pipe or a socket.
    """
    for option, value in extra_options:
        key, _, stream_specifier = option.removeprefix("-").partition(":")
        reason = _REFUSED_OPTIONS.get(key)
        if key in _REFUSED_VIDEO_OPTIONS and stream_specifier in ("", "v", "v:0", "0"):
            reason = _REFUSED_VIDEO_OPTIONS[key]
        if reason is None and not key.endswith(_DEVICE_SUFFIX):
            reason = _special_file_reason(value)
        if reason is not None:
            raise UsageError(f"-e {option}={value} is refused: {reason}")


def _special_file_reason(value: str) -> str | None:
    """Return why a value is refused that is or contains the name of a special file; None if it is not."""
    parts = [part for item in _LIST_SEPARATORS.split(value) for part in (item, _QUOTES.sub("", item))]
    for name in (value, *parts):
        if _is_special_file(name):
            return f"{name} is no regular file, and an encoder could put one in its place; name another file"
    return None


def _is_special_file(name: str) -> bool:
    """Return whether this names a device, pipe or socket, or a link in /dev such as /dev/stdout."""
    try:
        path = Path(name)
        if path.is_symlink() and path.parent.resolve() == Path("/dev"):
            return True
        mode = path.stat().st_mode
    except (OSError, ValueError):  # it does not exist, or is no valid name
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)
