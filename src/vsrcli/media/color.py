"""Colour: defaults for missing tags, exact conversion to R'G'B' and back, and HDR metadata.

swscale's own default from R'G'B' to Y'CbCr is BT.601 at every size, so matrix and range are always named.

Missing tags are filled in as players do:

- matrix: that of the primaries if these are tagged; otherwise ``bt709`` from 1280 columns or 720 lines
  on, ``smpte170m`` (BT.601) below;
- range: ``pc`` (full) for R'G'B' and the ``yuvj`` formats, ``tv`` (limited) for the rest;
- primaries and transfer: those that belong to the matrix.

The output is tagged with the result: once upscaled, an untagged SD video would pass for HD.

PyAV returns side data (HDR metadata) as bytes, in the layout of libavutil's public structs. ffmpeg's options
take units of 0.00002 for chromaticities and 0.0001 cd/m2 for luminance.
"""

from __future__ import annotations

import re
import struct
from fractions import Fraction
from typing import Any

from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import Color, ContentLightLevel, MasteringDisplay, VideoStream

# Transfers that the filter setparams and the encoders' options name differently.
_FILTER_TRANSFERS = {"gamma22": "bt470m", "gamma28": "bt470bg"}
_SWSCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"

# Code points of ISO/IEC 23091-2 (H.273) as libavutil spells them.
MATRICES = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    14: "ictcp",
}
PRIMARIES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "film",
    9: "bt2020",
    10: "smpte428",
    11: "smpte431",
    12: "smpte432",
    22: "jedec-p22",
}
TRANSFERS = {
    1: "bt709",
    4: "gamma22",
    5: "gamma28",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
RANGES = {1: "tv", 2: "pc"}

_MATRIX_OF_PRIMARIES = {
    "bt709": "bt709",
    "bt470bg": "bt470bg",
    "smpte170m": "smpte170m",
    "smpte240m": "smpte240m",
    "bt2020": "bt2020nc",
}
_PRIMARIES_OF_MATRIX = {
    "bt709": "bt709",
    "fcc": "bt470m",
    "bt470bg": "bt470bg",
    "smpte170m": "smpte170m",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}
_TRANSFER_OF_MATRIX = {
    "bt709": "bt709",
    "fcc": "gamma22",
    "bt470bg": "smpte170m",
    "smpte170m": "smpte170m",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020-10",
    "bt2020c": "bt2020-10",
}
# Matrices of the scale filter. The others (ycgco, ictcp) are converted with BT.709 in both directions and
# keep their tag: the arithmetic cancels out, only the network gets slightly unusual colours.
_SCALE_MATRIX = {
    "bt709": "bt709",
    "fcc": "fcc",
    "bt470bg": "bt470bg",
    "smpte170m": "smpte170m",
    "smpte240m": "smpte240m",
    "bt2020nc": "bt2020",
    "bt2020c": "bt2020",
}

_ZIMG_MATRIX = {
    "bt709": "709",
    "fcc": "4",  # ITU-T H.273's numbers, since versions of ffmpeg differ in the names
    "bt470bg": "470bg",
    "smpte170m": "170m",
    "smpte240m": "7",
    "bt2020nc": "2020_ncl",
    "bt2020c": "2020_ncl",
}


# Rationals: (x, y) of red, green, blue and white, minimum and maximum luminance; two flags.
_MASTERING_STRUCT = struct.Struct("=22i")
_CONTENT_LIGHT_STRUCT = struct.Struct("=2I")
_CHROMATICITY_UNITS, _LUMINANCE_UNITS = 50_000, 10_000
_UNSUPPORTED_SIDE_DATA = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+ (changing brightness data)",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "A53_CC": "closed captions inside the video",
    "SPHERICAL": "the projection of a 360 degree video",
    "STEREO3D": "the 3D layout",
    "ICC_PROFILE": "an ICC colour profile",
}


def is_rgb(pix_fmt: str) -> bool:
    """Return whether a pixel format stores R'G'B' (``gbrp10le``, ``rgb24``, ``pal8``), not Y'CbCr or grey."""
    return pix_fmt.startswith(("gbr", "rgb", "bgr", "argb", "abgr", "0rgb", "0bgr", "x2", "pal8"))


def resolve_color(color: Color, pix_fmt: str, width: int, height: int) -> Color:
    """Return a colour description with every missing tag filled in by the rule above."""
    matrix = color.matrix
    rgb = is_rgb(pix_fmt) or matrix == "gbr"
    if matrix is None or rgb:
        large = rgb or width >= 1280 or height >= 720
        by_size = "bt709" if large else "smpte170m"
        matrix = _MATRIX_OF_PRIMARIES.get(color.primaries or "", by_size)
        if color.primaries is None and color.transfer in ("smpte2084", "arib-std-b67"):
            matrix = "bt2020nc"
    full = rgb or pix_fmt.startswith("yuvj")
    return Color(
        range="pc" if rgb else color.range or ("pc" if full else "tv"),
        matrix=matrix,
        primaries=color.primaries or _PRIMARIES_OF_MATRIX.get(matrix, "bt709"),
        transfer=color.transfer or _TRANSFER_OF_MATRIX.get(matrix, "bt709"),
        chroma_location=color.chroma_location,
    )


def output_color(color: Color, pix_fmt: str, width: int, height: int) -> Color:
    """Return the tags of the output: the source's; R'G'B' becomes limited-range Y'CbCr."""
    full = resolve_color(color, pix_fmt, width, height)
    if not is_rgb(pix_fmt) and color.matrix != "gbr":
        return full
    return Color("tv", full.matrix, full.primaries, full.transfer, None)


def decode_filter(
    color: Color,
    pix_fmt: str,
    size: tuple[int, int],
    *,
    high_bit_depth: bool,
    alpha: bool = False,
    ffmpeg: Ffmpeg,
) -> str:
    """Return the filter from the coded format to full-range R'G'B'.

    The result is ``rgb48le`` if ``high_bit_depth``, else ``rgb24``; with ``alpha``, ``rgba64le`` or ``rgba``.
    ``color`` must be resolved; ``size`` is (width, height).
    """
    out = f"rgba{'64le' if high_bit_depth else ''}" if alpha else f"rgb{'48le' if high_bit_depth else '24'}"
    if pix_fmt.removeprefix("yuvj").removeprefix("yuv") in ("420p", "422p", "444p") and _can_use_zimg(
        size, ffmpeg
    ):
        # As exact as swscale with its most accurate flags, in a quarter of the time.
        return (
            f"zscale=filter=bicubic:matrixin={_zimg_matrix(color)}:rangein={color.range}"
            f":chromalin={color.chroma_location or 'left'}:matrix=gbr:range=pc,format=gbrp,format={out}"
        )
    steps = [f"flags={_SWSCALE_FLAGS}", "out_range=pc"]
    grey_conversion = ""
    if pix_fmt.startswith(("gray", "ya8", "ya16")) and color.range == "tv":
        # swscale takes every grey format for full range; as Y'CbCr with the same codes it follows the tag.
        depth = pix_fmt.removeprefix("gray").removeprefix("ya").removesuffix("be").removesuffix("le")
        planar = f"yuv{'a' if alpha else ''}444p{'' if depth in ('', '8') else f'{depth}le'}"
        grey_conversion = (
            f"setparams=range=pc,scale=in_range=pc:out_range=pc,format={planar},setparams=range=tv,"
        )
    if not is_rgb(pix_fmt):
        steps += [f"in_color_matrix={_scale_matrix(color)}", f"in_range={color.range}"]
        steps += _chroma_location_options("in", color, pix_fmt, ffmpeg)
    return f"{grey_conversion}scale={':'.join(steps)},format={out}"


def encode_filter(
    color: Color, pix_fmt: str, size: tuple[int, int], *, high_bit_depth: bool, ffmpeg: Ffmpeg
) -> str:
    """Return the filter from full-range R'G'B' to the encoder's format, with all tags set.

    The input has 16 bits if ``high_bit_depth``, else 8.

    ``color`` must be resolved; ``size`` is (width, height).
    """
    if is_rgb(pix_fmt):
        return (
            f"scale=flags={_SWSCALE_FLAGS},format={pix_fmt},setparams=colorspace=gbr:range=pc"
            f":color_primaries={color.primaries}:color_trc={_filter_transfer(color)}"
        )
    steps = [
        f"flags={_SWSCALE_FLAGS}",
        "in_range=pc",
        f"out_color_matrix={_scale_matrix(color)}",
        f"out_range={color.range}",
        *_chroma_location_options("out", color, pix_fmt, ffmpeg),
    ]
    conversion = f"scale={':'.join(steps)}"
    if color.range == "pc" and "yuva" not in pix_fmt and _can_use_zimg(size, ffmpeg):
        # swscale rounds full-range chroma down, by half a code on average; zimg, if built in, does not.
        conversion = (
            f"format={'gbrp16le' if high_bit_depth else 'gbrp'},setparams=colorspace=gbr:range=pc"
            f",zscale=filter=bicubic"
            f":matrix={_zimg_matrix(color)}:rangein=pc:range=pc"
            f":chromal={color.chroma_location or 'left'}"
        )
    return (
        f"{conversion},{_format_filter(pix_fmt)},setparams=color_primaries={color.primaries}"
        f":color_trc={_filter_transfer(color)}:colorspace={color.matrix}:range={color.range}"
    )


def _format_filter(pix_fmt: str) -> str:
    """Return the filter that makes a pixel format; grey is luma, as swscale makes full-range grey only."""
    match = re.fullmatch(r"gray(\d+[bl]e)?", pix_fmt)
    return (
        f"format=yuv444p{match[1] or ''},extractplanes=y,format={pix_fmt}" if match else f"format={pix_fmt}"
    )


def encoder_tags(color: Color, pix_fmt: str) -> dict[str, str]:
    """Return encoder options that repeat the tags; some encoders and containers ignore those of frames."""
    tags = {
        "color_primaries": str(color.primaries),
        "color_trc": str(color.transfer),
        "colorspace": "rgb" if is_rgb(pix_fmt) else str(color.matrix),
        "color_range": "pc" if is_rgb(pix_fmt) else str(color.range),
    }
    if not is_rgb(pix_fmt) and "444" not in pix_fmt and "gray" not in pix_fmt:
        tags["chroma_sample_location"] = color.chroma_location or "left"
    return tags


def mastering_display(frame: Any | None) -> MasteringDisplay | None:
    """Return the mastering display in a decoded frame's side data; None if there is none."""
    data = _side_data_bytes(frame, "MASTERING_DISPLAY_METADATA", _MASTERING_STRUCT.size)
    if data is None:
        return None
    *numbers, has_primaries, has_luminance = _MASTERING_STRUCT.unpack(data)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    values = [Fraction(above, below) if below else Fraction(0) for above, below in pairs]
    if not (has_primaries or has_luminance):
        return None
    points = [(values[at], values[at + 1]) if has_primaries else None for at in range(0, 8, 2)]
    luminance = values[8:] if has_luminance else (None, None)
    return MasteringDisplay(points[0], points[1], points[2], points[3], luminance[0], luminance[1])


def content_light_level(frame: Any | None) -> ContentLightLevel | None:
    """Return MaxCLL and MaxFALL in a decoded frame's side data; None if it has neither."""
    data = _side_data_bytes(frame, "CONTENT_LIGHT_LEVEL", _CONTENT_LIGHT_STRUCT.size)
    level = None if data is None else ContentLightLevel(*_CONTENT_LIGHT_STRUCT.unpack(data))
    return level if level != ContentLightLevel(0, 0) else None


def unsupported_side_data(frame: Any | None) -> tuple[str, ...]:
    """Return descriptions of a decoded frame's side data that no encoder here supports."""
    unsupported = [
        side for side in (frame.side_data if frame is not None else ()) if not _is_flat_layout(side)
    ]
    return tuple(
        dict.fromkeys(filter(None, (_UNSUPPORTED_SIDE_DATA.get(side.type.name) for side in unsupported)))
    )


def hdr_input_options(video: VideoStream) -> dict[str, str]:
    """Return ffmpeg's input options that attach the source's HDR metadata to raw frames (8.1 and newer).

    ffmpeg passes it on to the encoder's stream and the container's headers, whichever can hold it.
    """
    options: dict[str, str] = {}
    if video.mastering_display is not None and (display := format_mastering_display(video.mastering_display)):
        options["mastering_display"] = display
    if video.content_light is not None:
        options["content_light"] = f"{video.content_light.max_cll},{video.content_light.max_fall}"
    return options


def supports_hdr_input_options(ffmpeg: Ffmpeg) -> bool:
    """Return whether this ffmpeg has the options of :func:`hdr_input_options`."""
    return "-mastering_display" in ffmpeg.help("long")


def format_mastering_display(display: MasteringDisplay, *, integers: bool = True) -> str | None:
    """Return ``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``; None if a value is missing.

    With ``integers``, in the units of x265 and ffmpeg; else, for SVT-AV1, as chromaticities and cd/m2.
    """
    points = (display.green, display.blue, display.red, display.white)
    luminances = (display.max_luminance, display.min_luminance)
    if None in luminances or None in points:
        return None

    def pair(values: tuple[Fraction | None, ...], units: int) -> str:
        numbers = (
            f"{round((each or 0) * units)}" if integers else f"{float(each or 0):.7g}" for each in values
        )
        return f"({','.join(numbers)})"

    green, blue, red, white = (pair(point or (), _CHROMATICITY_UNITS) for point in points)
    return f"G{green}B{blue}R{red}WP{white}L{pair(luminances, _LUMINANCE_UNITS)}"


def _filter_transfer(color: Color) -> str:
    """Return the transfer as ``setparams`` names it."""
    name = str(color.transfer)
    return _FILTER_TRANSFERS.get(name, name)


def _scale_matrix(color: Color) -> str:
    return _SCALE_MATRIX.get(color.matrix or "", "bt709")


def _zimg_matrix(color: Color) -> str:
    return _ZIMG_MATRIX.get(color.matrix or "", "709")


def _can_use_zimg(size: tuple[int, int], ffmpeg: Ffmpeg) -> bool:
    """Return whether this ffmpeg has the zimg library, and the sides are even, as it requires."""
    return size[0] % 2 == 0 and size[1] % 2 == 0 and "matrixin" in ffmpeg.help("filter=zscale")


def _chroma_location_options(side: str, color: Color, pix_fmt: str, ffmpeg: Ffmpeg) -> list[str]:
    """Return scale's options for the chroma location; older versions of swscale default to the centre.

    Untagged videos mean the left. Before ffmpeg 7.1, positions are given in 1/256 of a luma sample, and move
    chroma of full resolution, too.
    """
    location = color.chroma_location or "left"
    if "in_chroma_loc" in ffmpeg.help("filter=scale"):
        return [f"{side}_chroma_loc={location}"]
    across = 128 if location in ("center", "top", "bottom") else 0
    down = 0 if location.startswith("top") else 256 if location.startswith("bottom") else 128
    subsampled = zip(("h", "v"), (across, down), _is_subsampled(pix_fmt), strict=True)
    return [f"{side}_{axis}_chr_pos={position}" for axis, position, needed in subsampled if needed]


def _is_subsampled(pix_fmt: str) -> tuple[bool, bool]:
    """Return whether a pixel format has fewer columns, and fewer rows, of chroma than of luma."""
    import av

    try:
        layout = av.VideoFormat(pix_fmt, 16, 16)
    except ValueError:  # of a newer ffmpeg
        return True, True
    return layout.chroma_width(16) < 16, layout.chroma_height(16) < 16


def _is_flat_layout(side_data: Any) -> bool:
    """Return whether side data is a 3D layout of type 0 (its first number): an ordinary 2D frame."""
    return side_data.type.name == "STEREO3D" and bytes(side_data)[:4] == bytes(4)


def _side_data_bytes(frame: Any | None, name: str, size: int) -> bytes | None:
    for side_data in frame.side_data if frame is not None else ():
        if side_data.type.name == name and len(bytes(side_data)) >= size:
            return bytes(side_data)[:size]
    return None
