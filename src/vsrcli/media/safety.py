"""Open a film so that it can be nothing but itself: no playlist, no script, no pattern, no bomb.

libavformat chooses its reader by content and by name, and some readers open whatever the file tells them to:
other files, addresses, programs. Only readers of films that take all their bytes from the one file are
allowed here, in PyAV and in ffmpeg alike, and both may use the ``file`` protocol only.

Options of ffmpeg that ``-e`` may not set: those that decide which frames, times and streams are written.

They are decided here, and a film that silently holds fewer frames or another sound would be no success. Most
have an option of their own.

Nor may a value name a device: x264 writes its statistics beside that name and renames them over it, which in
the superuser's hands destroys ``/dev/null`` for the whole machine.

Does a file hold all the bytes that its own headers promise?

Decoders end quietly at the end of a file, so a film that was cut short looks like a shorter film. The outer
structure of the common containers tells the two apart without decoding anything.
"""

from __future__ import annotations

import re
import stat
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import UsageError
from vsrcli.media.ffmpeg import file_url

MAX_PIXELS = 2**26
"""Largest frame taken as input (8192x8192); a few bytes of header can promise far more than memory holds."""

MAX_STREAMS = 256
"""Most streams that one film may have, attachments included; the command line names each of them."""

_FILMS = (
    "3dostr,anm,apng,asf,asf_o,av1,avi,avif,avs2,avs3,bink,cavsvideo,cine,dirac,dnxhd,dv,evc,film_cpk,flic,flv,"
    "gif,gxf,h261,h263,h264,hevc,idcin,ipmovie,ivf,jpegxl_anim,live_flv,lvf,lxf,m4v,matroska,mjpeg,mjpeg_2000,"
    "mov,mpeg,mpegts,mpegtsraw,mpegvideo,mpjpeg,mv,mxf,nsv,nut,nuv,obu,ogg,pdv,pmp,pva,r3d,rl2,rm,roq,rpl,ser,"
    "smk,smush,swf,thp,tmv,ty,vc1,vc1test,vividas,vivo,vmd,vvc,wc3movie,webp_anim,wtv,xmv,yop,yuv4mpegpipe"
)
# Taken only to say better what is wrong with them: sound, still pictures, text.
_OTHERS = (
    "aac,ac3,aiff,amr,ape,au,caf,dsf,dts,eac3,flac,mp3,mpc,mpc8,truehd,tta,voc,w64,wav,wv,"
    "bmp_pipe,dpx_pipe,exr_pipe,gif_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,pam_pipe,pbm_pipe,"
    "pcx_pipe,pgm_pipe,png_pipe,ppm_pipe,psd_pipe,qoi_pipe,sgi_pipe,tiff_pipe,webp_pipe,xbm_pipe,xpm_pipe,"
    "ass,srt,subviewer,tty,webvtt"
)
_ANY = f"{_FILMS},{_OTHERS}"


def open_media(path: Path, *, format_name: str | None = None) -> Any:
    """A PyAV container of a file, to be used in a ``with`` statement.

    Args:
        path: the file.
        kind: name of the only reader allowed, as an earlier look at the file found it; None: any of a film.

    Raises:
        av.FFmpegError: it cannot be read; ``av.ArgumentError`` if its reader is not allowed.
        OSError: the file cannot be opened.
    """
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": format_name or _ANY,
        "max_pixels": str(MAX_PIXELS),  # for the decoders that look into the file when it is opened
    }
    return av.open(file_url(path), options=options, metadata_errors="replace")


def open_output_file(file: Path, muxer: str) -> Any:
    """A PyAV container of a file that ffmpeg has just written with ``muxer``; raises as ``open_film``.

    The format is named, since a film of a few small frames is too short to be recognized.
    """
    import av

    return av.open(file_url(file), format=muxer, options={"protocol_whitelist": "file"})


def limit_decoder(stream: Any) -> None:
    """Let a PyAV stream decode no picture beyond ``MAX_PIXELS``."""
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def safe_input_options(container: str) -> dict[str, str]:
    """ffmpeg's input options for the same care.

    Args:
        container: the reader's name, as PyAV found it: ffmpeg must see the same film.
    """
    return {"protocol_whitelist": "file,pipe", "format_whitelist": container}


_FRAMES = "it would change which frames are written, or when they are shown"
_STREAMS = "it would change which streams are written"
_SPAN = f"{_FRAMES}; use --start, --end and --frames"
_REFUSED = {
    **dict.fromkeys(("t", "to", "ss", "sseof", "fs", "frames", "vframes", "aframes", "dframes"), _SPAN),
    **dict.fromkeys(("r", "fpsmax", "fps_mode", "vsync", "enc_time_base", "time_base"), _FRAMES),
    **dict.fromkeys(("copyts", "start_at_zero", "output_ts_offset", "avoid_negative_ts"), _FRAMES),
    **dict.fromkeys(("itsoffset", "itsscale", "stream_loop", "timelimit", "async"), _FRAMES),
    **dict.fromkeys(("frame_drop_threshold", "copytb", "copyinkf", "readrate"), _FRAMES),
    **dict.fromkeys(("map", "map_chapters", "map_metadata", "map_channel", "vn", "an", "sn", "dn"), _STREAMS),
    **dict.fromkeys(
        ("shortest", "program", "attach", "dump_attachment", "ignore_unknown", "copy_unknown"), _STREAMS
    ),
    **dict.fromkeys(("filter_complex", "lavfi", "filter_complex_script"), _STREAMS),
    **dict.fromkeys(("f", "target"), "the extension of OUT chooses the container"),
    **dict.fromkeys(("vcodec",), "use --codec"),
    **dict.fromkeys(("s",), "use --scale"),
    **dict.fromkeys(("i", "y", "n", "pass", "passlogfile"), "it cannot be meant here"),
}
_OF_THE_PICTURE = {"c": "use --codec", "codec": "use --codec", "pix_fmt": "use --pix-fmt"}
_HARDWARE = "device"  # how options end that name a chip to compute on: it is opened, not written
_PARTS = re.compile(r"(?<!\\)[:=,;]")  # between the names and values of lists, as in x264-params and filters
_QUOTES = re.compile(r"[\\'\"]")


def check_extra_options(extra_options: Iterable[tuple[str, str]]) -> None:
    """Check what the user hands to ffmpeg.

    Args:
        settings: (key, value) without the dash, as in ``EncodeOptions.extra``.

    Raises:
        UsageError: a key that would break what is promised about frames, times and streams; or a value that
            names a device, a pipe or a socket.
    """
    for option, value in extra_options:
        key, _, which = option.removeprefix("-").partition(":")
        why = _REFUSED.get(key)
        if key in _OF_THE_PICTURE and which in ("", "v", "v:0", "0"):
            why = _OF_THE_PICTURE[key]
        if why is None and not key.endswith(_HARDWARE):
            why = _device(value)
        if why is not None:
            raise UsageError(f"-e {option}={value} is refused: {why}")


def _device(value: str) -> str | None:
    """What speaks against a value that is the name of something else than a file, or has one within."""
    parts = [part for found in _PARTS.split(value) for part in (found, _QUOTES.sub("", found))]
    for name in (value, *parts):
        if _special(name):
            return f"{name} is no regular file, and an encoder could put one in its place; name another file"
    return None


def _special(name: str) -> bool:
    """Whether a device, pipe or socket has this name; or a link among the devices, such as /dev/stdout."""
    try:
        path = Path(name)
        if path.is_symlink() and path.parent.resolve() == Path("/dev"):
            return True
        mode = path.stat().st_mode
    except (OSError, ValueError):  # there is no such thing, or this is no name
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


_SYNC = 0x47  # first byte of a transport packet
_BLOCK = 1 << 15  # packets read at a time
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"pnot", b"uuid")


def find_truncation(path: Path) -> str | None:
    """What is missing at the end of the file, as half a sentence; None if nothing is known to be.

    Knows MP4/MOV (top-level boxes), Matroska/WebM (segment size), AVI (RIFF size), MPEG-TS (whole packets).

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[4:8] in _BOXES:
            return _missing_boxes(file, size)
        if head.startswith(_EBML):
            return _missing_segment(head, size)
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _behind(8 + struct.unpack("<I", head[4:8])[0], size)
        file.seek(0)
        return _missing_packet(file.read(204 * 8), size)


def find_bad_ts_packets(path: Path) -> str | None:
    """What of an MPEG-TS file is no packet, as half a sentence; None if nothing, or it is another file.

    libavformat searches for the next packet and says nothing, so frames would be missing. Reads all of it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length, first = _packets(file.read(204 * 8)) or (0, 0)
        if not length:
            return None
        file.seek(0)
        position, bad, at = 0, 0, None
        while block := file.read(length * _BLOCK):
            heads = np.frombuffer(block, np.uint8)[first::length]
            wrong = np.flatnonzero(heads != _SYNC)
            if len(wrong) and at is None:
                at = position + int(wrong[0]) * length
            bad += len(wrong)
            position += len(block)
    return None if at is None else f"{bad} of its transport packets are none, the first at byte {at}"


def _behind(promised: int, size: int) -> str | None:
    return f"its header promises {promised} bytes, {size} are there" if promised > size else None


def _missing_boxes(file, size: int) -> str | None:
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
            break  # padding or rubbish behind the film; players stop here too
        if position + length > size and name in (b"mdat", b"moov", b"moof"):
            return f"its {name.decode()} box reaches to byte {position + length}, the file ends at {size}"
        position += length
    if b"moov" not in names:
        return "its index (the moov box) is missing"
    return None


def _missing_segment(head: bytes, size: int) -> str | None:
    """The EBML header is followed by one Segment that states its size (all ones: a live recording)."""
    length, used = _variable_integer(head, 4)
    start = 4 + used + length
    if length < 0 or head[start : start + 4] != _SEGMENT:
        return None
    length, used = _variable_integer(head, start + 4)
    return None if length < 0 else _behind(start + 4 + used + length, size)


def _variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """An EBML size at ``at``: (value or -1 for unknown, bytes used)."""
    if at >= len(data) or data[at] == 0:
        return -1, 1
    used = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    return (-1 if raw == (1 << 7 * used) - 1 or at + used > len(data) else raw), used


def _missing_packet(head: bytes, size: int) -> str | None:
    """MPEG-TS ends with a whole packet."""
    length, _ = _packets(head) or (0, 0)
    rest = size % length if length else 0
    return f"its last transport packet holds {rest} of {length} bytes" if rest else None


def _packets(head: bytes) -> tuple[int, int] | None:
    """MPEG-TS is a row of packets of equal length, each beginning with 0x47 (after a 4-byte time in M2TS).

    Returns:
        (length of a packet, where in it 0x47 stands), or None if the file is something else.
    """
    for length, first in ((188, 0), (192, 4), (204, 0)):
        starts = range(first, len(head), length)
        if len(starts) >= 4 and all(head[at] == _SYNC for at in starts):
            return length, first
    return None
