"""Video encoders: defaults, quality scales, and the pixel format that keeps the most of the source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import OutputError
from vsrcli.media.color import is_rgb
from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream


@dataclass(frozen=True)
class Codec:
    """How one encoder is spoken to.

    Attributes:
        makes: codec that comes out (``h264``).
        quality: option that carries the constant quality, None if the encoder has none.
        default: its default value: visually near-lossless, since upscaled detail is the point.
        preset: default preset, None if it has none.
        fixed: options always given.
    """

    makes: str
    quality: str | None = "crf"
    default: float | None = None
    preset: str | None = None
    fixed: tuple[tuple[str, str], ...] = ()


_NVENC = (("rc", "vbr"), ("b:v:0", "0"))
_VPX = (("b:v:0", "0"), ("row-mt", "1"), ("deadline", "good"), ("cpu-used", "2"))
CODECS: dict[str, Codec] = {
    "libx264": Codec("h264", "crf", 17, "medium"),
    "libx264rgb": Codec("h264", "crf", 17, "medium"),
    "libx265": Codec("hevc", "crf", 18, "medium", (("x265-params", "log-level=error"),)),
    "libvpx-vp9": Codec("vp9", "crf", 24, None, _VPX),
    "libvpx": Codec("vp8", "crf", 8, None, (("b:v:0", "20M"),)),
    "libsvtav1": Codec("av1", "crf", 22, "6"),
    "libaom-av1": Codec("av1", "crf", 22, None, (("cpu-used", "5"), ("row-mt", "1"))),
    "h264_nvenc": Codec("h264", "cq", 19, "p5", _NVENC),
    "hevc_nvenc": Codec("hevc", "cq", 20, "p5", _NVENC),
    "av1_nvenc": Codec("av1", "cq", 24, "p5", _NVENC),
    "h264_qsv": Codec("h264", "global_quality", 19, "medium"),
    "hevc_qsv": Codec("hevc", "global_quality", 20, "medium"),
    "av1_qsv": Codec("av1", "global_quality", 24, "medium"),
    "h264_videotoolbox": Codec("h264", "q:v:0", 70),
    "hevc_videotoolbox": Codec("hevc", "q:v:0", 70),
    "mpeg4": Codec("mpeg4", "q:v:0", 2),
    "mpeg2video": Codec("mpeg2video", "q:v:0", 2),
    "mjpeg": Codec("mjpeg", "q:v:0", 2),
    "prores_ks": Codec("prores", None),
    "prores": Codec("prores", None),
    "ffv1": Codec("ffv1", None),
    "utvideo": Codec("utvideo", None),
    "ffvhuff": Codec("ffvhuff", None),
    "rawvideo": Codec("rawvideo", None),
}
_ALIASES = {
    "h264": "libx264",
    "x264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}


def choose_codec(
    wanted: str | None, container: Container, target: Path, video: VideoStream, ffmpeg: Ffmpeg
) -> str:
    """Name of the encoder: the one asked for, or H.264 for 8-bit, HEVC for deeper, VP9 in WebM.

    Raises:
        OutputError: this ffmpeg lacks the encoder, or the container cannot hold what it makes.
    """
    name = _ALIASES.get(wanted, wanted) if wanted else _default(container, video)
    if name not in ffmpeg.encoders():
        raise OutputError(
            f"ffmpeg {ffmpeg.version} has no encoder {name!r}; choose another --codec (such as libx264) "
            "or point VSR_FFMPEG to a build that has it"
        )
    makes = CODECS[name].makes if name in CODECS else None
    if makes is not None and container.video and makes not in container.video:
        there = ffmpeg.encoders()
        fitting = [each for each, c in CODECS.items() if c.makes in container.video and each in there]
        raise OutputError(
            f"{target}: {container.name} cannot hold {makes} from {name}; use --codec with one of "
            f"{_some(tuple(fitting), 6)}, "
            "or a .mkv target"
        )
    return name


def _default(container: Container, video: VideoStream) -> str:
    if container.muxer == "webm":
        return "libvpx-vp9"
    if container.muxer == "avi":
        return "libx264"
    return "libx265" if video.deep else "libx264"


def choose_pixel_format(
    codec: str, wanted: str | None, video: VideoStream, width: int, height: int, ffmpeg: Ffmpeg
) -> tuple[str, list[str]]:
    """The encoder's pixel format and notices on what it costs.

    Depth and chroma subsampling of the source are kept where the encoder can. An odd width or height has no
    half, so where 4:2:0 would need one, 4:4:4 is written instead (VP9 and AV1 round up themselves).

    Raises:
        OutputError: the format asked for is unknown to the encoder or does not fit an odd size.
    """
    able = ffmpeg.pixel_formats(codec)
    notices: list[str] = []
    if wanted is not None:
        if able and wanted not in able:
            raise OutputError(f"{codec} cannot write {wanted}; use --pix-fmt with one of {_some(able)}")
        _check_odd(codec, wanted, width, height)
        if video.deep and not _is_deep(wanted):
            notices.append(f"{video.bit_depth}-bit picture becomes 8-bit ({wanted}), as asked for")
        return wanted, notices
    chroma, depth = _subsampling(video.pix_fmt), 8 if not video.deep else 10 if video.bit_depth <= 10 else 12
    odd = _needs_even(codec) and bool(width % 2 or height % 2)
    order = {"420": ("420", "422", "444"), "422": ("422", "444", "420"), "444": ("444", "422", "420")}[chroma]
    if odd:
        order = ("444",)
    for bits in {12: (12, 10, 8), 10: (10, 12, 8), 8: (8, 10)}[depth]:
        for sampling in order:
            found = next((name for name in _spellings(sampling, bits) if not able or name in able), None)
            if found is not None:
                if odd and chroma != "444":
                    notices.append(f"{width}x{height} has an odd side: written as 4:4:4 ({found})")
                elif sampling < chroma:
                    notices.append(
                        f"{codec} cannot keep 4:{chroma[1]}:{chroma[2]} chroma: written as {found}"
                    )
                if bits < depth:
                    notices.append(f"{codec} cannot keep {video.bit_depth} bits: written as {found}")
                return found, notices
    if able and not odd:
        return able[0], [f"{codec} takes none of the usual formats: written as {able[0]}"]
    raise OutputError(
        f"{codec} cannot write {width}x{height}: a side is odd; use --codec libx264 or an even --size"
    )


def _spellings(sampling: str, bits: int) -> tuple[str, ...]:
    if bits == 8:
        return (f"yuv{sampling}p", *(("nv12",) if sampling == "420" else ()))
    planar = f"yuv{sampling}p{bits}le"
    packed = {("420", 10): ("p010le",), ("444", 12): ("p016le",), ("422", 10): ("p210le",)}
    return (planar, *packed.get((sampling, bits), ()))


def _subsampling(pix_fmt: str) -> str:
    if is_rgb(pix_fmt) or "444" in pix_fmt or "440" in pix_fmt or pix_fmt.startswith(("ayuv", "xv", "vuy")):
        return "444"
    if any(
        mark in pix_fmt for mark in ("422", "yuyv", "uyvy", "yvyu", "nv16", "nv20", "p210", "p216", "y210")
    ):
        return "422"
    return "420"


def _needs_even(codec: str) -> bool:
    """x264, x265 and the hardware encoders refuse half a chroma sample; VP9, AV1 and MPEG-4 round up."""
    return codec.startswith(("libx26", "libopenh264", "libkvazaar")) or codec.endswith(
        ("_nvenc", "_qsv", "_amf", "_vaapi", "_videotoolbox", "_mf", "_vulkan")
    )


def _check_odd(codec: str, pix_fmt: str, width: int, height: int) -> None:
    if not _needs_even(codec):
        return
    sampling = _subsampling(pix_fmt)
    if (width % 2 and sampling != "444") or (height % 2 and sampling == "420"):
        raise OutputError(
            f"{pix_fmt} cannot hold {width}x{height}: a side is odd; use --pix-fmt yuv444p or an even --size"
        )


def _is_deep(pix_fmt: str) -> bool:
    return any(
        mark in pix_fmt for mark in ("p10", "p12", "p14", "p16", "p010", "p016", "10le", "12le", "48", "64")
    )


def _some(names: tuple[str, ...], limit: int = 10) -> str:
    """The first few names; one line has to stay readable."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
