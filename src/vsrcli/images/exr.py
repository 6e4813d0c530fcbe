"""OpenEXR: its header, and its linear light as the codes that networks know.

The header's layout: "OpenEXR file layout" (openexr.com). Values are in linear light, mostly half floats, and
may lie outside 0 to 1. Networks here were trained on gamma-coded video, so linear light goes through the sRGB
curve (IEC 61966-2-1) into 16-bit codes, and back. Between 0.001 and 1 the step of these codes is about that
of a half float; what lies outside 0 to 1 goes beside the network, see ``beside``.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

MAGIC = b"v/1\x01"
_HEADER = 1 << 20  # bytes in which it has to lie
_TILED, _DEEP, _PARTS = 0x200, 0x800, 0x1000  # flags behind the version
_HALF = 1
_ZIPPED = {2: 1, 3: 16}  # rows of a block, by number of the compression


@dataclass(frozen=True)
class ExrHeader:
    """What a file says of its picture.

    Attributes:
        width, height: of the display window.
        half: whether all its values are 16-bit floats.
        grey: whether there is luminance only.
        alpha: whether there is an alpha channel.
        others: names of channels that are neither colour nor alpha.
    """

    width: int
    height: int
    half: bool
    is_grayscale: bool
    alpha: bool
    others: tuple[str, ...]


def read_header(file: IO[bytes]) -> ExrHeader:
    """Read it.

    Raises:
        ValueError: it is damaged, or the picture is of a kind that is not taken; the text says which.
    """
    data = file.read(_HEADER)
    try:
        flags = struct.unpack("<I", data[4:8])[0]
        if flags & (_DEEP | _PARTS):
            raise ValueError("it has several parts, or deep data; write one flat picture a file")
        values = dict(_attributes(data))
        left, top, right, bottom = struct.unpack("<4i", values["displayWindow"])
        channels = dict(_channels(values["channels"]))
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError("its header is damaged") from error
    grey = "Y" in channels and not {"R", "G", "B"} & channels.keys()
    if grey and {"RY", "BY"} & channels.keys():
        raise ValueError("it holds luminance and chroma; write R, G and B")
    if not grey and not {"R", "G", "B"} <= channels.keys():
        raise ValueError(f"it has no channels R, G and B, only {', '.join(sorted(channels)[:8])}")
    used = {"Y", "A"} if grey else {"R", "G", "B", "A"}
    return ExrHeader(
        right - left + 1,
        bottom - top + 1,
        all(kind == _HALF for name, kind in channels.items() if name in used),
        grey,
        "A" in channels,
        tuple(sorted(channels.keys() - used)),
    )


def find_truncation(content: bytes) -> str | None:
    """What of a file is missing or damaged, as half a sentence; None if nothing is known to be.

    ffmpeg's decoder leaves blocks black that it does not find or cannot read. Behind the header stands a
    table of where each begins; it ends where the first of them does. Blocks of ZIP have a checksum; others
    have none.
    """
    try:
        *_, end = (place for *_, place in _places(content))
        tiled = struct.unpack("<I", content[4:8])[0] & _TILED
        begin, first, offsets = end + 1, len(content), []
        while begin + 8 * len(offsets) < first:
            offset = struct.unpack_from("<Q", content, begin + 8 * len(offsets))[0]
            offsets.append(offset)
            first = min(first, offset)
        head = 20 if tiled else 8  # the block's place in the picture, and its length
        ends = [at + head + struct.unpack_from("<I", content, at + head - 4)[0] for at in offsets]
    except (struct.error, IndexError, ValueError):
        return "some of its blocks are missing"
    if not offsets or min(offsets) < begin or max(ends) > len(content):
        return "some of its blocks are missing"
    return None if tiled else _broken_block(content, offsets)


def _broken_block(content: bytes, offsets: list[int]) -> str | None:
    """The same of blocks of whole rows that are compressed with zlib; what did not become smaller is raw."""
    values = dict(_attributes(content))
    lines = _ZIPPED.get(values["compression"][0])
    if lines is None:
        return None
    left, top, right, bottom = struct.unpack("<4i", values["dataWindow"])
    row = sum(2 if kind == _HALF else 4 for _, kind in _channels(values["channels"])) * (right - left + 1)
    for offset in offsets:
        first, size = struct.unpack_from("<iI", content, offset)
        most = row * min(lines, bottom + 1 - first)
        if size >= most or not top <= first <= bottom:
            continue
        block = zlib.decompressobj()
        try:
            block.decompress(content[offset + 8 : offset + 8 + size], most + 1)
        except zlib.error:
            return f"its block at row {first - top} is damaged"
        if not block.eof:
            return f"its block at row {first - top} is damaged"
    return None


def _attributes(data: bytes) -> Iterator[tuple[str, bytes]]:
    for name, begin, end in _places(data):
        yield name, data[begin:end]


def _places(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Name, begin and end of every attribute."""
    at = 8
    while data[at] != 0:
        name, at = _text(data, at)
        _, at = _text(data, at)
        size = struct.unpack("<I", data[at : at + 4])[0]
        yield name, at + 4, at + 4 + size
        at += 4 + size


def _channels(data: bytes) -> Iterator[tuple[str, int]]:
    at = 0
    while data[at] != 0:
        name, at = _text(data, at)
        yield name, struct.unpack("<I", data[at : at + 4])[0]
        at += 16


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("latin-1"), end + 1


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Linear light of any shape, float32 -> uint16 codes on the sRGB curve; clipped to 0 to 1."""
    light = light.clip(0, 1)
    curved = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.rint(curved * 65535).astype(np.uint16)


def srgb_to_linear(codes: np.ndarray) -> np.ndarray:
    """Codes of an unsigned integer type on the sRGB curve -> float32 linear light from 0 to 1."""
    code = codes.astype(np.float64) / np.iinfo(codes.dtype).max
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def unpremultiply(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Colours (H, W, 3) that are not multiplied by alpha (H, W) any more, as EXR's are."""
    divisor = alpha[..., None]
    return np.divide(light, divisor, out=light.copy(), where=divisor > 0)
