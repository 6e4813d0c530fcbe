"""Video encoders: the choice of one, its quality scale, and the pixel format that it encodes.

The pixel format keeps as much of the source as the encoder can: transparency, bit depth, chroma subsampling.
"""

from __future__ import annotations

from dataclasses import dataclass

from vsrcli.errors import OutputError
from vsrcli.media import alpha
from vsrcli.media.color import is_rgb
from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream


@dataclass(frozen=True)
class Codec:
    """Options and defaults of one encoder.

    Attributes:
        codec_name: codec of its output (``h264``).
        quality_option: option of the constant quality; None if the encoder has none.
        default_quality: visually near-lossless, since upscaled detail is the point.
        preset: default preset; None if the encoder has none.
        fixed_options: (key, value) of options that are always set.
        quality_range: lowest and highest quality, without values that mean "automatic".
        integer_only: whether the quality must be an integer.
        effort_presets: presets of the efforts ``fast`` and ``quality``; None: the default for both.
    """

    codec_name: str
    quality_option: str | None = "crf"
    default_quality: float | None = None
    preset: str | None = None
    fixed_options: tuple[tuple[str, str], ...] = ()
    quality_range: tuple[int, int] = (0, 51)
    integer_only: bool = False
    effort_presets: tuple[str, str] | None = None

    def preset_for(self, effort: str) -> str | None:
        """Return the preset of an effort, see :class:`~vsrcli.media.output_plan.EncodeOptions`."""
        faster, slower = self.effort_presets or (self.preset, self.preset)
        return {"fast": faster, "quality": slower}.get(effort, self.preset)


_X264_EFFORTS, _NVENC_EFFORTS = ("veryfast", "slow"), ("p3", "p7")
_NVENC_OPTIONS = (("rc", "vbr"), ("b:v:0", "0"))
_VP9_OPTIONS = (("b:v:0", "0"), ("row-mt", "1"), ("deadline", "good"), ("cpu-used", "2"))
CODECS: dict[str, Codec] = {
    "libx264": Codec("h264", "crf", 17, "medium", effort_presets=_X264_EFFORTS),
    "libx264rgb": Codec("h264", "crf", 17, "medium", effort_presets=_X264_EFFORTS),
    "libx265": Codec(
        "hevc", "crf", 18, "medium", (("x265-params", "log-level=error"),), effort_presets=_X264_EFFORTS
    ),
    "libvpx-vp9": Codec("vp9", "crf", 24, None, _VP9_OPTIONS, (0, 63), integer_only=True),
    "libvpx": Codec("vp8", "crf", 8, None, (("b:v:0", "20M"),), (0, 63), integer_only=True),
    "libsvtav1": Codec(
        "av1", "crf", 22, "6", quality_range=(1, 63), integer_only=True, effort_presets=("10", "4")
    ),
    "libaom-av1": Codec(
        "av1", "crf", 22, None, (("cpu-used", "5"), ("row-mt", "1")), (0, 63), integer_only=True
    ),
    "h264_nvenc": Codec("h264", "cq", 19, "p5", _NVENC_OPTIONS, (1, 51), effort_presets=_NVENC_EFFORTS),
    "hevc_nvenc": Codec("hevc", "cq", 20, "p5", _NVENC_OPTIONS, (1, 51), effort_presets=_NVENC_EFFORTS),
    "av1_nvenc": Codec("av1", "cq", 24, "p5", _NVENC_OPTIONS, (1, 63), effort_presets=_NVENC_EFFORTS),
    "h264_qsv": Codec(
        "h264", "global_quality", 19, "medium", quality_range=(1, 51), effort_presets=_X264_EFFORTS
    ),
    "hevc_qsv": Codec(
        "hevc", "global_quality", 20, "medium", quality_range=(1, 51), effort_presets=_X264_EFFORTS
    ),
    "av1_qsv": Codec(
        "av1", "global_quality", 24, "medium", quality_range=(1, 51), effort_presets=_X264_EFFORTS
    ),
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
_WIDELY_PLAYABLE = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video")
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


def find_encoder(
    requested: str | None, container: Container, target: str, video: VideoStream, ffmpeg: Ffmpeg
) -> str:
    """Return the encoder: ``requested``, or by default H.264 for 8 bits, HEVC for more, VP9 in WebM.

    By default, transparency is kept, except in MP4, where few players support it.

    Raises:
        OutputError: this ffmpeg lacks the encoder, or the container cannot hold its codec.
    """
    name = _ALIASES.get(requested, requested) if requested else _default_encoder(container, video)
    check_encoder(name, ffmpeg)
    codec_name = CODECS[name].codec_name if name in CODECS else None
    if codec_name is not None and container.video_codecs and codec_name not in container.video_codecs:
        available = ffmpeg.encoders()
        fitting = [
            each for each, c in CODECS.items() if c.codec_name in container.video_codecs and each in available
        ]
        raise OutputError(
            f"{target}: {container.name} cannot hold {codec_name} from {name}; use --codec with one of "
            f"{join_first(tuple(fitting), 6)}, "
            "or a .mkv target"
        )
    return name


def check_encoder(name: str, ffmpeg: Ffmpeg) -> None:
    """Raise OutputError if this ffmpeg lacks an encoder."""
    name = _ALIASES.get(name, name)
    if name not in ffmpeg.encoders():
        raise OutputError(
            f"ffmpeg {ffmpeg.version} has no encoder {name!r}; choose another --codec (such as libx264) "
            "or point VSR_FFMPEG to a build that has it"
        )


def is_widely_playable(encoder: str) -> bool:
    """Return whether players widely support an encoder's videos; others are for archives and for editing."""
    return (
        encoder in CODECS and CODECS[encoder].codec_name in _WIDELY_PLAYABLE and not encoder.endswith("rgb")
    )


def join_first(names: tuple[str, ...], limit: int = 10) -> str:
    """Return the first few names, comma-separated, so that a message stays readable."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")


@dataclass(frozen=True)
class PixelFormatChoice:
    """Pixel format of the output.

    Attributes:
        name: ffmpeg's.
        alpha: whether transparency is kept.
        notices: what is lost, for people.
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
    requested: str | None = None,
    codec_requested: bool = False,
) -> PixelFormatChoice:
    """Return the pixel format to encode, with notices about what is lost.

    Transparency is kept where encoder and container can, then bit depth, then chroma subsampling. 4:2:0 needs
    even sides, so an odd width or height becomes 4:4:4 (VP9 and AV1 round up themselves).

    Args:
        codec: the encoder.
        video: the source's video stream.
        size: (width, height) of the output.
        container: of the output.
        ffmpeg: the executable.
        requested: pixel format that the user requested.
        codec_requested: whether the user requested this encoder.

    Raises:
        OutputError: the encoder does not support the requested format, or it does not fit an odd size.
    """
    needs_444 = _requires_even_size(codec) and bool(size[0] % 2 or size[1] % 2)
    if requested is not None:
        return _requested_format(codec, requested, video, size, ffmpeg)
    if not video.has_alpha:
        return _opaque_format(codec, video, size, needs_444, ffmpeg)
    # Few players support HEVC with transparency, so it is kept on request only.
    can_decode = alpha.can_decode_alpha(video, ffmpeg)
    can_keep = can_decode and not needs_444 and (codec_requested or codec != "libx265")
    name = alpha.alpha_pixel_format(codec, container, video, ffmpeg) if can_keep else None
    if name is not None:
        return PixelFormatChoice(name, True, _alpha_cost_notices(codec, name, video))
    opaque = _opaque_format(codec, video, size, needs_444, ffmpeg)
    reason = f"{codec} in {container.name} cannot keep it (the default encoders of .webm, .mov and .mkv can)"
    if not can_decode:
        reason = f"this ffmpeg cannot decode it, since it lacks the decoder {alpha.alpha_decoder(video)}"
    return PixelFormatChoice(opaque.name, False, (f"transparency is dropped: {reason}", *opaque.notices))


def is_high_bit_depth(pix_fmt: str) -> bool:
    """Return whether a component has more than 8 bits."""
    return any(
        mark in pix_fmt
        for mark in ("p10", "p12", "p14", "p16", "p010", "p016", "10le", "12le", "ya16", "48", "64")
    )


def _default_encoder(container: Container, video: VideoStream) -> str:
    alpha_encoder = alpha.default_alpha_codec(container, video) if video.has_alpha else None
    if alpha_encoder is not None:
        return alpha_encoder
    if container.muxer == "webm":
        return "libvpx-vp9"
    if container.muxer == "avi":
        return "libx264"
    return "libx265" if video.is_high_bit_depth else "libx264"


def _requested_format(
    codec: str, requested: str, video: VideoStream, size: tuple[int, int], ffmpeg: Ffmpeg
) -> PixelFormatChoice:
    supported = ffmpeg.pixel_formats(codec)
    if supported and requested not in supported:
        raise OutputError(
            f"{codec} cannot write {requested}; use --pix-fmt with one of {join_first(supported)}"
        )
    _check_odd_size(codec, requested, *size)
    notices: list[str] = []
    keeps_alpha = (
        video.has_alpha and alpha.has_alpha_plane(requested) and alpha.can_decode_alpha(video, ffmpeg)
    )
    if video.has_alpha and not keeps_alpha:
        notices.append(f"transparency is dropped: {requested} was requested")
    if video.is_high_bit_depth and not is_high_bit_depth(requested):
        notices.append(f"{video.bit_depth}-bit video becomes 8-bit ({requested}), as requested")
    return PixelFormatChoice(requested, keeps_alpha, tuple(notices))


def _alpha_cost_notices(codec: str, name: str, video: VideoStream) -> tuple[str, ...]:
    """Return a notice about depth and chroma that an encoder loses with transparency."""
    bits = 8 if not is_high_bit_depth(name) else next((bits for bits in (10, 12) if str(bits) in name), 16)
    chroma = _subsampling(video.pix_fmt)
    lost = [f"{bits} of {video.bit_depth} bits"] if bits < video.bit_depth else []
    lost += [f"no 4:{chroma[1]}:{chroma[2]} chroma"] if _subsampling(name) < chroma else []
    return (f"{codec} keeps transparency in {name} only: {', '.join(lost)}",) if lost else ()


def _opaque_format(
    codec: str, video: VideoStream, size: tuple[int, int], needs_444: bool, ffmpeg: Ffmpeg
) -> PixelFormatChoice:
    supported = ffmpeg.pixel_formats(codec) or _uploaded_formats(codec)
    notices: list[str] = []
    chroma = _subsampling(video.pix_fmt)
    depth = next(bits for bits in (8, 10, 12, 16) if bits >= min(video.bit_depth, 16))
    preference = {"420": ("420", "422", "444"), "422": ("422", "444", "420"), "444": ("444", "422", "420")}[
        chroma
    ]
    if needs_444:
        preference = ("444",)
    for bits in {16: (16, 12, 10, 8), 12: (12, 10, 8), 10: (10, 12, 8), 8: (8, 10)}[depth]:
        for sampling in preference:
            name = next(
                (name for name in _pixel_format_names(sampling, bits) if not supported or name in supported),
                None,
            )
            if name is not None:
                if needs_444 and chroma != "444":
                    notices.append(f"{size[0]}x{size[1]} has an odd side: written as 4:4:4 ({name})")
                elif sampling < chroma:
                    notices.append(f"{codec} cannot keep 4:{chroma[1]}:{chroma[2]} chroma: written as {name}")
                if bits < depth:
                    notices.append(f"{codec} cannot keep {video.bit_depth} bits: written as {name}")
                return PixelFormatChoice(name, False, tuple(notices))
    if supported and not needs_444:
        text = f"{codec} takes none of the usual formats: written as {supported[0]}"
        return PixelFormatChoice(supported[0], False, (text,))
    raise OutputError(
        f"{codec} cannot write {size[0]}x{size[1]}: a side is odd; use --codec libx264 or an even --size"
    )


def _uploaded_formats(codec: str) -> tuple[str, ...]:
    """Return what GPUs take that encode frames of their own memory only; empty for all other encoders."""
    name, _, interface = codec.rpartition("_")
    if interface not in ("vaapi", "vulkan", "d3d12va") or name in ("ffv1", "prores_ks"):
        return ()
    return ("nv12", "p010le") if name in ("hevc", "av1", "vp9") else ("nv12",)


def _pixel_format_names(sampling: str, bits: int) -> tuple[str, ...]:
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


def _requires_even_size(codec: str) -> bool:
    """Return whether an encoder refuses odd sides: x264, x265, hardware. VP9, AV1 and MPEG-4 round up."""
    return codec.startswith(("libx26", "libopenh264", "libkvazaar")) or codec.endswith(
        ("_nvenc", "_qsv", "_amf", "_vaapi", "_videotoolbox", "_mf", "_vulkan")
    )


def _check_odd_size(codec: str, pix_fmt: str, width: int, height: int) -> None:
    if not _requires_even_size(codec):
        return
    sampling = _subsampling(pix_fmt)
    if (width % 2 and sampling != "444") or (height % 2 and sampling == "420"):
        raise OutputError(
            f"{pix_fmt} cannot hold {width}x{height}: a side is odd; use --pix-fmt yuv444p or an even --size"
        )
