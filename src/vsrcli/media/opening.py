"""Open a film so that it can be nothing but itself: no playlist, no script, no pattern, no bomb.

libavformat chooses its reader by content and by name, and some readers open whatever the file tells them to:
other files, addresses, programs. Only readers of films that take all their bytes from the one file are
allowed here, in PyAV and in ffmpeg alike, and both may use the ``file`` protocol only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


def open_media(path: Path, *, kind: str | None = None) -> Any:
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
        "format_whitelist": kind or _ANY,
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
