"""Video encoders: which one is taken, its defaults, and its scale of quality.

The pixel format that keeps the most of the source: depth, chroma, transparency.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.media import alpha
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
        scale: its lowest and highest value. What an encoder takes for "choose yourself" is left out.
        whole: whether it takes whole numbers only.
        preset: default preset, None if it has none.
        presets: (faster, slower) ones, of the efforts ``fast`` and ``quality``.
        fixed: options always given.
    """

    codec_name: str
    quality_option: str | None = "crf"
    default: float | None = None
    preset: str | None = None
    fixed: tuple[tuple[str, str], ...] = ()
    quality_range: tuple[int, int] = (0, 51)
    integer_only: bool = False
    presets: tuple[str, str] | None = None

    def preset_for(self, effort: str) -> str | None:
        """The preset of an effort, see :class:`~vsrcli.media.output_plan.EncodeOptions`."""
        faster, slower = self.presets or (self.preset, self.preset)
        return {"fast": faster, "quality": slower}.get(effort, self.preset)


_NAMED, _NUMBERED = ("veryfast", "slow"), ("p3", "p7")
_NVENC = (("rc", "vbr"), ("b:v:0", "0"))
_VPX = (("b:v:0", "0"), ("row-mt", "1"), ("deadline", "good"), ("cpu-used", "2"))
CODECS: dict[str, Codec] = {
    "libx264": Codec("h264", "crf", 17, "medium", presets=_NAMED),
    "libx264rgb": Codec("h264", "crf", 17, "medium", presets=_NAMED),
    "libx265": Codec("hevc", "crf", 18, "medium", (("x265-params", "log-level=error"),), presets=_NAMED),
    "libvpx-vp9": Codec("vp9", "crf", 24, None, _VPX, (0, 63), integer_only=True),
    "libvpx": Codec("vp8", "crf", 8, None, (("b:v:0", "20M"),), (0, 63), integer_only=True),
    "libsvtav1": Codec("av1", "crf", 22, "6", quality_range=(1, 63), integer_only=True, presets=("10", "4")),
    "libaom-av1": Codec(
        "av1", "crf", 22, None, (("cpu-used", "5"), ("row-mt", "1")), (0, 63), integer_only=True
    ),
    "h264_nvenc": Codec("h264", "cq", 19, "p5", _NVENC, (1, 51), presets=_NUMBERED),
    "hevc_nvenc": Codec("hevc", "cq", 20, "p5", _NVENC, (1, 51), presets=_NUMBERED),
    "av1_nvenc": Codec("av1", "cq", 24, "p5", _NVENC, (1, 63), presets=_NUMBERED),
    "h264_qsv": Codec("h264", "global_quality", 19, "medium", quality_range=(1, 51), presets=_NAMED),
    "hevc_qsv": Codec("hevc", "global_quality", 20, "medium", quality_range=(1, 51), presets=_NAMED),
    "av1_qsv": Codec("av1", "global_quality", 24, "medium", quality_range=(1, 51), presets=_NAMED),
    "h264_videotoolbox": Codec("h264", "q:v:0", 70, quality_range=(1, 100)),
    "hevc_videotoolbox": Codec("hevc", "q:v:0", 70, quality_range=(1, 100)),
    "mpeg4": Codec("mpeg4", "q:v:0", 2, quality_range=(1, 31)),
    "mpeg2video": Codec("mpeg2video", "q:v:0", 2, quality_range=(1, 31)),
    "mjpeg": Codec("mjpeg", "q:v:0", 2, quality_range=(1, 31)),
    "prores_ks": Codec("prores", None),
    "prores": Codec("prores", None),
    "ffv1": Codec("ffv1", None),
    "utvideo": Codec("utvideo", None),
    "ffvhuff": Codec("ffvhuff", None),
    "qtrle": Codec("qtrle", None),
    "png": Codec("png", None),
    "rawvideo": Codec("rawvideo", None),
}
_SHOWN = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video")
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

    For a film with transparency it is one that keeps it, except in MP4: there, few players know such films.

    Raises:
        OutputError: this ffmpeg lacks the encoder, or the container cannot hold what it makes.
    """
    name = _ALIASES.get(wanted, wanted) if wanted else _default(container, video)
    if name not in ffmpeg.encoders():
        raise OutputError(
            f"ffmpeg {ffmpeg.version} has no encoder {name!r}; choose another --codec (such as libx264) "
            "or point VSR_FFMPEG to a build that has it"
        )
    makes = CODECS[name].codec_name if name in CODECS else None
    if makes is not None and container.video and makes not in container.video:
        there = ffmpeg.encoders()
        fitting = [each for each, c in CODECS.items() if c.codec_name in container.video and each in there]
        raise OutputError(
            f"{target}: {container.name} cannot hold {makes} from {name}; use --codec with one of "
            f"{join_first(tuple(fitting), 6)}, "
            "or a .mkv target"
        )
    return name


def quality_args(name: str, wanted: float | None) -> tuple[str, str] | None:
    """Option and value of an encoder's constant quality, None if it has none.

    Args:
        name: the encoder.
        wanted: on its own scale; None: the default.

    Raises:
        UsageError: ``wanted`` is not on its scale, or the encoder has none.
    """
    codec = CODECS.get(name, Codec(name, None))
    if codec.quality_option is None:
        if wanted is not None:
            raise UsageError(
                f"{name} has no constant quality; leave --crf out, or use -e with its own options"
            )
        return None
    value = codec.default if wanted is None else wanted
    if value is None:
        return None
    low, high = codec.quality_range
    if not low <= value <= high:
        raise UsageError(f"--crf {value:g} is not on the scale of {name}, which goes from {low} to {high}")
    if codec.integer_only and value != int(value):
        raise UsageError(f"--crf {value:g}: {name} takes whole numbers only, such as {round(value)}")
    return codec.quality_option, f"{value:g}"


def _default(container: Container, video: VideoStream) -> str:
    kept = alpha.default_alpha_codec(container, video) if video.has_alpha else None
    if kept is not None:
        return kept
    if container.muxer == "webm":
        return "libvpx-vp9"
    if container.muxer == "avi":
        return "libx264"
    return "libx265" if video.is_high_bit_depth else "libx264"


def is_widely_playable(name: str) -> bool:
    """Whether an encoder's films are meant to be shown; others are for archives and for cutting."""
    return name in CODECS and CODECS[name].codec_name in _SHOWN and not name.endswith("rgb")


def join_first(names: tuple[str, ...], limit: int = 10) -> str:
    """The first few names; one line has to stay readable."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")


@dataclass(frozen=True)
class PixelFormatChoice:
    """How the pixels of the new film are stored.

    Attributes:
        name: as ffmpeg calls it.
        alpha: whether transparency goes along.
        notices: what that costs.
    """

    name: str
    alpha: bool = False
    notices: tuple[str, ...] = ()


def choose_pixel_format(
    codec: str,
    video: VideoStream,
    size: tuple[int, int],
    container: Container,
    ffmpeg: Ffmpeg,
    *,
    wanted: str | None = None,
    chosen: bool = False,
) -> PixelFormatChoice:
    """The encoder's pixel format and notices on what it costs.

    Transparency is kept where encoder and container can, then depth, then chroma subsampling. An odd width or
    height has no half, so where 4:2:0 would need one, 4:4:4 is written instead (VP9 and AV1 round up
    themselves).

    Args:
        codec: the encoder.
        video: the source's picture.
        size: (width, height) of the new film.
        container: where it goes.
        ffmpeg: the executable.
        wanted: a pixel format that the user asked for.
        chosen: whether the user asked for this encoder.

    Raises:
        OutputError: the format asked for is unknown to the encoder or does not fit an odd size.
    """
    odd = _needs_even(codec) and bool(size[0] % 2 or size[1] % 2)
    if wanted is not None:
        return _as_asked(codec, wanted, video, size, ffmpeg)
    if not video.has_alpha:
        return _opaque(codec, video, size, odd, ffmpeg)
    # HEVC with transparency is read by few players, so it has to be asked for.
    seen = alpha.can_decode_alpha(video, ffmpeg)
    able = seen and not odd and (chosen or codec != "libx265")
    name = alpha.alpha_pixel_format(codec, container, video, ffmpeg) if able else None
    if name is not None:
        return PixelFormatChoice(name, True, _lost(codec, name, video))
    without = _opaque(codec, video, size, odd, ffmpeg)
    why = f"{codec} in {container.name} cannot keep it (the default encoders of .webm, .mov and .mkv can)"
    if not seen:
        why = f"this ffmpeg cannot read it, since it lacks the decoder {alpha.alpha_decoder(video)}"
    return PixelFormatChoice(without.name, False, (f"transparency is dropped: {why}", *without.notices))


def _as_asked(
    codec: str, wanted: str, video: VideoStream, size: tuple[int, int], ffmpeg: Ffmpeg
) -> PixelFormatChoice:
    able = ffmpeg.pixel_formats(codec)
    if able and wanted not in able:
        raise OutputError(f"{codec} cannot write {wanted}; use --pix-fmt with one of {join_first(able)}")
    _check_odd(codec, wanted, *size)
    notices: list[str] = []
    kept = video.has_alpha and alpha.has_alpha_plane(wanted) and alpha.can_decode_alpha(video, ffmpeg)
    if video.has_alpha and not kept:
        notices.append(f"transparency is dropped: {wanted} was asked for")
    if video.is_high_bit_depth and not is_high_bit_depth(wanted):
        notices.append(f"{video.bit_depth}-bit picture becomes 8-bit ({wanted}), as asked for")
    return PixelFormatChoice(wanted, kept, tuple(notices))


def _lost(codec: str, name: str, video: VideoStream) -> tuple[str, ...]:
    """What an encoder gives up for transparency."""
    bits = 8 if not is_high_bit_depth(name) else next((bits for bits in (10, 12) if str(bits) in name), 16)
    chroma = _subsampling(video.pix_fmt)
    lost = [f"{bits} of {video.bit_depth} bits"] if bits < video.bit_depth else []
    lost += [f"no 4:{chroma[1]}:{chroma[2]} chroma"] if _subsampling(name) < chroma else []
    return (f"{codec} keeps transparency in {name} only: {', '.join(lost)}",) if lost else ()


def _opaque(
    codec: str, video: VideoStream, size: tuple[int, int], odd: bool, ffmpeg: Ffmpeg
) -> PixelFormatChoice:
    able = ffmpeg.pixel_formats(codec)
    notices: list[str] = []
    chroma = _subsampling(video.pix_fmt)
    depth = next(bits for bits in (8, 10, 12, 16) if bits >= min(video.bit_depth, 16))
    order = {"420": ("420", "422", "444"), "422": ("422", "444", "420"), "444": ("444", "422", "420")}[chroma]
    if odd:
        order = ("444",)
    for bits in {16: (16, 12, 10, 8), 12: (12, 10, 8), 10: (10, 12, 8), 8: (8, 10)}[depth]:
        for sampling in order:
            found = next((name for name in _spellings(sampling, bits) if not able or name in able), None)
            if found is not None:
                if odd and chroma != "444":
                    notices.append(f"{size[0]}x{size[1]} has an odd side: written as 4:4:4 ({found})")
                elif sampling < chroma:
                    notices.append(
                        f"{codec} cannot keep 4:{chroma[1]}:{chroma[2]} chroma: written as {found}"
                    )
                if bits < depth:
                    notices.append(f"{codec} cannot keep {video.bit_depth} bits: written as {found}")
                return PixelFormatChoice(found, False, tuple(notices))
    if able and not odd:
        text = f"{codec} takes none of the usual formats: written as {able[0]}"
        return PixelFormatChoice(able[0], False, (text,))
    raise OutputError(
        f"{codec} cannot write {size[0]}x{size[1]}: a side is odd; use --codec libx264 or an even --size"
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


def is_high_bit_depth(pix_fmt: str) -> bool:
    """Whether a component has more than 8 bits."""
    return any(
        mark in pix_fmt
        for mark in ("p10", "p12", "p14", "p16", "p010", "p016", "10le", "12le", "ya16", "48", "64")
    )
