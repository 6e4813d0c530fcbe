"""Read and write PNG chunks: the metadata that image codecs do not carry over.

PNG (ISO/IEC 15948, third edition: W3C Recommendation, 2025) is a list of chunks: length, type, data, CRC-32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import IO

MAGIC = b"\x89PNG\r\n\x1a\n"
_COLOR_CHUNKS = (b"cICP", b"mDCV", b"cLLI", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
PRESERVED_CHUNKS = (*_COLOR_CHUNKS, b"pHYs", b"tEXt", b"zTXt", b"iTXt")
"""Types of chunks to keep in an upscaled image: those on colour, pixel size and text."""

_MAX_CHUNK_BYTES = 1 << 26

Chunk = tuple[bytes, bytes]
"""Type and data."""


def read_chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """Yield the chunks before the first IDAT chunk, IHDR first.

    Raises:
        ValueError: the file is no PNG, ends before its pixels, or has a chunk longer than 64 MiB there.
    """
    if file.read(8) != MAGIC:
        raise ValueError("it is no PNG")
    while True:
        header = file.read(8)
        if len(header) < 8:
            raise ValueError("it ends before its pixels")
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IDAT":
            return
        if length > _MAX_CHUNK_BYTES:
            raise ValueError(f"its chunk {kind!r} is too long")
        data = file.read(length)
        if len(data) < length or len(file.read(4)) < 4:
            raise ValueError("it ends before its pixels")
        yield kind, data


def icc_chunk(icc: bytes) -> Chunk:
    """Return an ICC profile as an iCCP chunk."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)


def cicp_chunk(primaries: int, transfer: int) -> Chunk:
    """Return code points of ITU-T H.273 as a cICP chunk of full-range R'G'B'."""
    return b"cICP", bytes([primaries, transfer, 0, 1])


def phys_chunk(dpi: tuple[float, float]) -> Chunk:
    """Return pixels per inch, horizontally and vertically, as a pHYs chunk."""
    across, down = (round(each / 0.0254) for each in dpi)
    return b"pHYs", struct.pack(">IIB", across, down, 1)


def pixel_aspect(data: bytes) -> Fraction:
    """Return the pixel aspect ratio (width / height) of a pHYs chunk without a unit; 1 if it has a unit."""
    across, down, unit = struct.unpack(">IIB", data)
    return Fraction(down, across) if unit == 0 and across and down else Fraction(1)


def aspect_chunk(sample_aspect_ratio: Fraction) -> Chunk:
    """Return a pixel aspect ratio (width / height) as a pHYs chunk without a unit."""
    return b"pHYs", struct.pack(">IIB", sample_aspect_ratio.denominator, sample_aspect_ratio.numerator, 0)


def insert_chunks(content: bytes, chunks: Iterable[Chunk]) -> bytes:
    """Return a PNG with ``chunks`` after IHDR, and otherwise nothing but IHDR, IDAT and IEND.

    Args:
        content: a PNG without a palette, as encoded.
        chunks: to insert.
    """
    parts = [MAGIC]
    offset = len(MAGIC)
    while offset < len(content):
        length, kind = struct.unpack(">I4s", content[offset : offset + 8])
        if kind in (b"IHDR", b"IDAT", b"IEND"):
            parts.append(content[offset : offset + 12 + length])
        if kind == b"IHDR":
            parts += [_serialize(*chunk) for chunk in chunks]
        offset += 12 + length
    return b"".join(parts)


def _serialize(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
