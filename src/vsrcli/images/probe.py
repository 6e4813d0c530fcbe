"""Probe image files: formats, sizes and colours, without decoding pixels.

The format is detected by content and, where that is ambiguous, by extension: animations and a camera's raw
files begin like images but are none here.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import DecodeError, InputError
from vsrcli.images import exr, png, tiff
from vsrcli.images.types import (
    SRGB,
    UNTAGGED,
    ImageInfo,
    UnsupportedImageError,
    first_line,
    oriented_size,
    parse_orientation,
)
from vsrcli.media.color import PRIMARIES, TRANSFERS
from vsrcli.media.safety import MAX_PIXELS
from vsrcli.media.types import Color
from vsrcli.system.signals import raise_if_cancelled

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MJPEG_EXTENSIONS = (".mjpeg", ".mjpg", ".mjp")
_ORIENTATION_TAG = 0x0112

_MAX_PNG_TEXT_BYTES = 1 << 24  # of one text or colour profile, decompressed; Pillow's own limit is 1 MiB
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # their sizes in bytes


def detect_format(path: Path) -> str | None:
    """Return an image's format by its first bytes; None for videos, animations and all other files.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(32)
        if first.startswith(png.MAGIC):
            file.seek(0)
            return None if _is_animated_png(file) else "PNG"
    if first.startswith(b"\xff\xd8\xff"):
        return None if path.suffix.lower() in _MJPEG_EXTENSIONS else "JPEG"
    if first.startswith(_TIFF_MAGIC):
        return "TIFF"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return None if first[12:16] == b"VP8X" and first[20] & 2 else "WebP"
    if first.startswith(exr.MAGIC):
        return "EXR"
    if first.startswith(b"BM") and len(first) >= 18 and struct.unpack("<I", first[14:18])[0] in _BMP_HEADERS:
        return "BMP"
    return None


def probe_image(path: Path) -> ImageInfo:
    """Return the properties of an image file.

    Raises:
        DecodeError: it is empty, damaged or no image.
        InputError: it is missing, may not be read, is too large, or of an unsupported kind.
    """
    raise_if_cancelled()  # a sequence may have many thousand images
    try:
        file_format = detect_format(path)
        if file_format is None and path.stat().st_size == 0:
            raise DecodeError(f"{path} is empty (0 bytes); copy or download it again")
        if file_format is None:
            raise DecodeError(f"{path} is no still image; videos are named one by one")
        with path.open("rb") as file:
            info = _PROBES[file_format](file, path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist any more; put it back") from None
    except TooManyPixelsError as error:
        raise _too_large_error(path, "more pixels") from error
    except UnsupportedImageError as error:
        raise InputError(f"{path} is not supported: {error}") from error
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the system; Pillow's have none
            raise InputError(f"{path} cannot be read ({error.strerror}); check the file") from error
        reason = first_line(error)
        raise DecodeError(f"{path} cannot be read as an image: {reason}; check the file") from error
    if info.width * info.height > MAX_PIXELS:
        raise _too_large_error(path, f"{info.width}x{info.height} pixels, more")
    if min(info.width, info.height) < 1:
        raise DecodeError(f"{path} has no pixels; check the file")
    return info


def _too_large_error(path: Path, size: str) -> InputError:
    return InputError(
        f"{path} says that it has {size} than the {MAX_PIXELS // 10**6} million that are allowed; check the "
        "file, or shrink it first"
    )


class TooManyPixelsError(ValueError):
    """Pillow opens no image of this size, which is above ``MAX_PIXELS``, too."""


def silence_pillow() -> None:
    """Ignore Pillow's warnings, of odd metadata and of large images; vsr reports what matters itself."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def open_pillow(file: IO[bytes], file_format: str) -> Any:
    """Open a file as a ``PIL.Image.Image`` of the given format, and of no other, without decoding it.

    Raises:
        TooManyPixelsError: by its header, it is too large for Pillow.
    """
    from PIL import Image, PngImagePlugin

    silence_pillow()
    PngImagePlugin.MAX_TEXT_CHUNK = _MAX_PNG_TEXT_BYTES
    try:
        return Image.open(file, formats=[file_format.upper()])
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from error


def _is_animated_png(file: IO[bytes]) -> bool:
    try:
        return any(kind == b"acTL" for kind, _ in png.read_chunks(file))
    except ValueError:
        return False  # damaged, which is reported when it is probed


def _probe_png(file: IO[bytes], path: Path) -> ImageInfo:
    chunks = dict(png.read_chunks(file))
    width, height, bits, color_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    exif_orientation = _exif_orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    width, height = oriented_size(width, height, exif_orientation)
    has_palette, has_transparent_color = color_type == 3, b"tRNS" in chunks
    aspect = png.pixel_aspect(chunks[b"pHYs"]) if b"pHYs" in chunks else Fraction(1)
    return ImageInfo(
        "PNG",
        width,
        height,
        16 if bits == 16 else 8,
        color_type in (0, 4),
        color_type in (4, 6) or has_transparent_color,
        exif_orientation,
        _png_color(chunks),
        has_palette,
        sample_aspect_ratio=1 / aspect if exif_orientation >= 5 else aspect,
    )


def _png_color(chunks: dict[bytes, bytes]) -> Color:
    cicp = chunks.get(b"cICP", b"")
    if len(cicp) == 4 and cicp[0] in PRIMARIES and cicp[1] in TRANSFERS:
        return Color("pc", "gbr", PRIMARIES[cicp[0]], TRANSFERS[cicp[1]])
    return SRGB if b"sRGB" in chunks else UNTAGGED


def _exif_orientation(exif: bytes) -> int:
    from PIL import Image

    silence_pillow()
    parsed = Image.Exif()
    try:
        parsed.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        return parse_orientation(parsed.get(_ORIENTATION_TAG))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1


def _probe_with_pillow(file: IO[bytes], path: Path, file_format: str) -> ImageInfo:
    with open_pillow(file, file_format) as image:
        mode = image.mode
        if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
            raise InputError(
                f"{path} is in {mode}, which is not supported; convert it to RGB first "
                "(magick IN -colorspace sRGB OUT)"
            )
        has_alpha = mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        exif_orientation = (
            1 if file_format == "BMP" else parse_orientation(_read_exif(image).get(_ORIENTATION_TAG))
        )
        width, height = oriented_size(image.width, image.height, exif_orientation)
        is_grayscale, has_palette = mode in ("1", "L", "LA"), mode in ("P", "PA")
    return ImageInfo(
        file_format, width, height, 8, is_grayscale, has_alpha, exif_orientation, has_palette=has_palette
    )


def _read_exif(image: Any) -> Any:
    try:
        return image.getexif()
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return {}


def _probe_jpeg(file: IO[bytes], path: Path) -> ImageInfo:
    return replace(_probe_with_pillow(file, path, "JPEG"), is_lossy=True)


def _probe_webp(file: IO[bytes], path: Path) -> ImageInfo:
    first = file.read(1 << 12)
    file.seek(0)
    return replace(_probe_with_pillow(file, path, "WebP"), is_lossy=b"VP8L" not in first)


def _probe_bmp(file: IO[bytes], path: Path) -> ImageInfo:
    return _probe_with_pillow(file, path, "BMP")


def _probe_exr(file: IO[bytes], path: Path) -> ImageInfo:
    header = exr.read_header(file)
    names = ", ".join(header.extra_channels[:6]) + (" …" if len(header.extra_channels) > 6 else "")
    ignored = (f"further channels ({names})",) if header.extra_channels else ()
    bits = 16 if header.is_half_float else 32
    return ImageInfo(
        "EXR",
        header.width,
        header.height,
        bits,
        header.is_grayscale,
        header.has_alpha,
        color=SRGB,
        ignored_content=ignored,
    )


_PROBES = {
    "PNG": _probe_png,
    "JPEG": _probe_jpeg,
    "WebP": _probe_webp,
    "BMP": _probe_bmp,
    "EXR": _probe_exr,
    "TIFF": tiff.probe_tiff,
}
