"""PNG's chunks: what surrounds the pixels, which the coders of pixels do not carry.

PNG (ISO/IEC 15948, third edition: W3C Recommendation, 2025) is a row of chunks: length, type, data, CRC-32.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import IO

MAGIC = b"\x89PNG\r\n\x1a\n"
_COLOR_CHUNKS = (b"cICP", b"mDCV", b"cLLI", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_TEXT_CHUNKS = (b"tEXt", b"zTXt", b"iTXt")
_MAX_CHUNK_BYTES = 1 << 26  # bytes of a chunk that is read as a whole

Chunk = tuple[bytes, bytes]


def read_chunks(file: IO[bytes]) -> Iterator[Chunk]:
    """The chunks before the first pixels, IHDR first; long ones of no interest are passed over.

    Raises:
        ValueError: this is no PNG, or it ends before its pixels.
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


def preserved_chunks(file: IO[bytes]) -> tuple[Chunk, ...]:
    """The chunks that say what colours are meant, how large a pixel is, and the words about the picture.

    Raises:
        ValueError: see ``head``.
    """
    preserved = (*_COLOR_CHUNKS, b"pHYs", *_TEXT_CHUNKS)
    return tuple(chunk for chunk in read_chunks(file) if chunk[0] in preserved)


def icc_chunk(icc: bytes) -> Chunk:
    """An ICC profile as a chunk."""
    return b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)


def cicp_chunk(primaries: int, transfer: int) -> Chunk:
    """Code points of ITU-T H.273 for full-range R'G'B'."""
    return b"cICP", bytes([primaries, transfer, 0, 1])


def phys_chunk(dpi: tuple[float, float]) -> Chunk:
    """Pixels per inch."""
    across, down = (round(each / 0.0254) for each in dpi)
    return b"pHYs", struct.pack(">IIB", across, down, 1)


def pixel_aspect(data: bytes) -> Fraction:
    """Of a pixel, its width by its height, as pHYs states it where it states no size; otherwise 1."""
    across, down, unit = struct.unpack(">IIB", data)
    return Fraction(down, across) if unit == 0 and across and down else Fraction(1)


def aspect_chunk(sample_aspect_ratio: Fraction) -> Chunk:
    """The same as a chunk."""
    return b"pHYs", struct.pack(">IIB", sample_aspect_ratio.denominator, sample_aspect_ratio.numerator, 0)


def insert_chunks(content: bytes, chunks: Iterable[Chunk]) -> bytes:
    """A picture with these chunks before its pixels, and nothing else beside them.

    Args:
        content: of a PNG without a palette, as an encoder has made it.
        chunks: those to be added.
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
