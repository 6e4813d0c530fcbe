"""Checks of untrusted input: safe opening of media files, ffmpeg options of the user, truncated files.

*Opening.* libavformat chooses a demuxer by content and name, and some demuxers open whatever the file refers
to: other files, addresses, programs. Here PyAV and ffmpeg may use only demuxers that read all bytes from the
one file, and only the ``file`` protocol. Frame size and number of streams are limited.

*Options.* ``-e`` may not set options that decide which frames, times and streams are written: an output that
silently has fewer frames or other audio would be no success. Nor may a value name a device: x264 writes its
statistics next to that name and renames them over it, which as root destroys ``/dev/null`` for the machine.

*Truncation.* Decoders end silently at the end of a file, so a truncated video looks like a shorter one. The
outer structure of the common containers reveals it without decoding.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vsrcli.errors import InputError, UsageError
from vsrcli.media.ffmpeg import file_url

MAX_PIXELS = 2**26
"""Largest supported input frame (8192x8192); a few header bytes can declare far more than fits in memory."""

MAX_STREAMS = 256
"""Most streams of one file, attachments included; ffmpeg's command line names each of them."""

HEADERLESS_FORMATS = ("mpeg", "mpegts", "flv")
"""Demuxers that learn of some streams only from their first packet, or of what they hold."""

PROBED_BYTES = 32_000_000
"""Beginning of a file in one of these formats that is searched for streams: 30 s of a DVD, read in 0.1 s."""

_PROBED_SECONDS = 120
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

_SYNC_BYTE = 0x47  # first byte of a transport packet
_PACKETS_PER_READ = 1 << 15
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"
_MP4_BOXES = frozenset(b"ftyp moov mdat free skip wide moof styp sidx pnot uuid".split())


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


def find_truncation(path: Path) -> str | None:
    """Return a phrase that says what is missing at the end of the file; None if nothing is known to be.

    Covers MP4/MOV (top-level boxes), Matroska/WebM (segment size), AVI (RIFF size), MPEG-TS (whole packets).

    Raises:
        InputError: the file cannot be read.
    """
    with _readable(path) as file:
        size = os.fstat(file.fileno()).st_size
        first_bytes = file.read(64)
        if first_bytes[4:8] in _MP4_BOXES:
            return _mp4_truncation(file, size)
        if first_bytes.startswith(_EBML_MAGIC):
            return _matroska_truncation(first_bytes, size)
        if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"AVI ":
            return _size_mismatch(8 + struct.unpack("<I", first_bytes[4:8])[0], size)
        file.seek(0)
        return _ts_truncation(file.read(204 * 8), size)


def find_bad_ts_packets(path: Path) -> str | None:
    """Return a phrase that counts the corrupt packets of an MPEG-TS file; None if none, or not MPEG-TS.

    Reads the whole file. libavformat skips to the next packet silently, so frames would be missing.

    Raises:
        InputError: the file cannot be read.
    """
    with _readable(path) as file:
        packet_bytes, sync_offset = _ts_packet_layout(file.read(204 * 8)) or (0, 0)
        if not packet_bytes:
            return None
        file.seek(0)
        position, bad_count, first_bad = 0, 0, None
        while block := file.read(packet_bytes * _PACKETS_PER_READ):
            sync_bytes = np.frombuffer(block, np.uint8)[sync_offset::packet_bytes]
            bad = np.flatnonzero(sync_bytes != _SYNC_BYTE)
            if len(bad) and first_bad is None:
                first_bad = position + int(bad[0]) * packet_bytes
            bad_count += len(bad)
            position += len(block)
    if first_bad is None:
        return None
    return f"{bad_count} of its transport packets are corrupt, the first at byte {first_bad}"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    """Open a file; within the block, errors that reading it raises become an InputError."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the file and its disk or network share, then "
            "run the command again"
        ) from error


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


def _size_mismatch(declared: int, actual: int) -> str | None:
    return f"its header declares {declared} bytes, the file has {actual}" if declared > actual else None


def _mp4_truncation(file, size: int) -> str | None:
    """Walk the top-level boxes: 32-bit size, name; size 1 = a 64-bit size follows, 0 = up to the end."""
    position, names = 0, set()
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        names.add(name)
        if length == 0:
            position = size
            break
        if length < 8:
            break  # padding or garbage after the video; players stop here too
        if position + length > size and name in (b"mdat", b"moov", b"moof"):
            return f"its {name.decode()} box extends to byte {position + length}, the file ends at {size}"
        position += length
    if b"moov" not in names:
        return "its index (the moov box) is missing"
    return None


def _matroska_truncation(first_bytes: bytes, size: int) -> str | None:
    """Check the size of the Segment that follows the EBML header (all ones: unknown, a live recording)."""
    length, size_length = _read_vint(first_bytes, 4)
    start = 4 + size_length + length
    if length < 0 or first_bytes[start : start + 4] != _SEGMENT_ID:
        return None
    length, size_length = _read_vint(first_bytes, start + 4)
    return None if length < 0 else _size_mismatch(start + 4 + size_length + length, size)


def _read_vint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the EBML size at ``offset``: (value, or -1 if unknown; bytes used)."""
    if offset >= len(data) or data[offset] == 0:
        return -1, 1
    used = 9 - data[offset].bit_length()
    raw = int.from_bytes(data[offset : offset + used], "big") & ((1 << 7 * used) - 1)
    return (-1 if raw == (1 << 7 * used) - 1 or offset + used > len(data) else raw), used


def _ts_truncation(first_bytes: bytes, size: int) -> str | None:
    """Check that an MPEG-TS file ends with a whole packet."""
    length, _ = _ts_packet_layout(first_bytes) or (0, 0)
    remainder = size % length if length else 0
    return f"its last transport packet has {remainder} of {length} bytes" if remainder else None


def _ts_packet_layout(first_bytes: bytes) -> tuple[int, int] | None:
    """Detect MPEG-TS: packets of equal length, each beginning with 0x47 (after a 4-byte time in M2TS).

    Returns:
        (bytes per packet, offset of 0x47 in it), or None if the file is not MPEG-TS.
    """
    for length, sync_offset in ((188, 0), (192, 4), (204, 0)):
        starts = range(sync_offset, len(first_bytes), length)
        if len(starts) >= 4 and all(first_bytes[at] == _SYNC_BYTE for at in starts):
            return length, sync_offset
    return None
