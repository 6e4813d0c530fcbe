"""The pixel format that keeps the most of the source: depth, chroma, transparency."""

from __future__ import annotations

from dataclasses import dataclass

from vsrcli.errors import OutputError
from vsrcli.media import alpha
from vsrcli.media.codecs import join_first
from vsrcli.media.color import is_rgb
from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream


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
