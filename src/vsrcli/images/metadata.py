"""Read the metadata that an upscaled image inherits: ICC profile, PNG chunks, EXIF and pixel density.

The upscaled image is stored upright, so EXIF's orientation becomes 1.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.images import png
from vsrcli.images.probe import open_pillow, silence_pillow

_MAX_PROFILE_BYTES = 1 << 24
_ORIENTATION_TAG, _EXIF_IFD_TAG, _WIDTH_TAG, _HEIGHT_TAG = 0x0112, 0x8769, 0xA002, 0xA003


@dataclass(frozen=True)
class ImageMetadata:
    """Metadata of one image; None or empty where it has none.

    Attributes:
        icc: the ICC colour profile.
        exif: EXIF as in JPEG's APP1, without ``Exif\\0\\0``.
        dpi: pixels per inch, horizontally and vertically.
        chunks: of a PNG: its chunks on colour, pixel size and text, unchanged.
    """

    icc: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    chunks: tuple[png.Chunk, ...] = ()


def read_metadata(path: Path, file_format: str, size: tuple[int, int]) -> ImageMetadata:
    """Return the metadata of an image for its upscaled version; damaged metadata is left out.

    Args:
        path: the source image.
        file_format: its format, such as ``PNG``.
        size: (width, height) of the upscaled image, which EXIF repeats.
    """
    try:
        if file_format == "PNG":
            return _read_png(path, size)
        if file_format == "TIFF":
            return _read_tiff(path)
        return ImageMetadata() if file_format == "EXR" else _read_with_pillow(path, file_format, size)
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, AttributeError, struct.error):
        return ImageMetadata()


def _read_png(path: Path, size: tuple[int, int]) -> ImageMetadata:
    with path.open("rb") as file:
        all_chunks = list(png.read_chunks(file))
    by_type = dict(all_chunks)
    chunks = tuple(chunk for chunk in all_chunks if chunk[0] in png.PRESERVED_CHUNKS)
    icc = None
    if b"iCCP" in by_type:
        packed = by_type[b"iCCP"].split(b"\0", 1)[1][1:]
        try:
            icc = zlib.decompressobj().decompress(packed, _MAX_PROFILE_BYTES)
        except zlib.error:
            chunks = tuple(chunk for chunk in chunks if chunk[0] != b"iCCP")
    dpi = None
    if b"pHYs" in by_type:
        across, down, unit = struct.unpack(">IIB", by_type[b"pHYs"])
        dpi = (across * 0.0254, down * 0.0254) if unit == 1 else None
        if unit != 1:  # a pixel aspect ratio: the plan has the one that the output needs
            chunks = tuple(chunk for chunk in chunks if chunk[0] != b"pHYs")
    return ImageMetadata(icc, normalize_exif(by_type.get(b"eXIf"), size), dpi, chunks)


def _read_tiff(path: Path) -> ImageMetadata:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page: Any = tiff.pages.first
        icc = page.iccprofile
        unit = int(getattr(page.tags.get("ResolutionUnit"), "value", 1))
        across, down = page.get_resolution("inch") if unit in (2, 3) else (0, 0)
    return ImageMetadata(icc, dpi=(float(across), float(down)) if across > 0 and down > 0 else None)


def _read_with_pillow(path: Path, file_format: str, size: tuple[int, int]) -> ImageMetadata:
    with path.open("rb") as file, open_pillow(file, file_format) as image:
        dpi = image.info.get("dpi")
        return ImageMetadata(
            image.info.get("icc_profile"),
            normalize_exif(image.info.get("exif"), size),
            (float(dpi[0]), float(dpi[1])) if dpi and min(dpi) > 0 else None,
        )


def normalize_exif(exif: bytes | None, size: tuple[int, int]) -> bytes | None:
    """Return EXIF for an image that is upright and of (width, height) ``size``; None if it cannot be parsed.

    The thumbnail of the source image is left out.
    """
    if not exif:
        return None
    from PIL import Image

    silence_pillow()
    parsed = Image.Exif()
    try:
        parsed.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        if _ORIENTATION_TAG in parsed:
            parsed[_ORIENTATION_TAG] = 1
        exif_ifd = parsed.get_ifd(_EXIF_IFD_TAG)
        for tag, length in ((_WIDTH_TAG, size[0]), (_HEIGHT_TAG, size[1])):
            if tag in exif_ifd:
                exif_ifd[tag] = length
        return parsed.tobytes().removeprefix(b"Exif\0\0")
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, TypeError, struct.error):
        return None
