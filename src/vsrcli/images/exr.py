"""OpenEXR: parse headers, detect damaged files, and convert linear light to codes and back.

The header's layout: "OpenEXR file layout" (openexr.com). Values are in linear light, mostly half floats, and
may lie outside 0 to 1. Networks here were trained on gamma-coded video, so linear light goes through the sRGB
curve (IEC 61966-2-1) into 16-bit codes, and back. Between 0.001 and 1 the step of these codes is about that
of a half float; values outside 0 to 1 bypass the network, see
:func:`vsrcli.images.writer.restore_out_of_range`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np

from vsrcli.images.tiff import inflates_within
from vsrcli.images.types import UnsupportedImageError

MAGIC = b"v/1\x01"
_MAX_HEADER_BYTES = 1 << 20
_TILED_FLAG, _DEEP_DATA_FLAG, _MULTIPART_FLAG = 0x200, 0x800, 0x1000  # bits of the version field
_HALF_FLOAT = 1
_ZIP_BLOCK_ROWS = {2: 1, 3: 16}  # rows of a block, by the number of the ZIP compression


@dataclass(frozen=True)
class ExrHeader:
    """The parts of an EXR header that decide how the file is read.

    Attributes:
        width, height: of the display window.
        is_half_float: whether all colour and alpha channels are 16-bit floats.
        is_grayscale: whether there is luminance only.
        has_alpha: whether there is an alpha channel.
        extra_channels: names of channels that are neither colour nor alpha.
    """

    width: int
    height: int
    is_half_float: bool
    is_grayscale: bool
    has_alpha: bool
    extra_channels: tuple[str, ...]


def read_header(file: IO[bytes]) -> ExrHeader:
    """Parse the header at the start of a file.

    Raises:
        UnsupportedImageError: it is of an unsupported kind.
        ValueError: the header is damaged.
    """
    data = file.read(_MAX_HEADER_BYTES)
    try:
        flags = struct.unpack("<I", data[4:8])[0]
        if flags & (_DEEP_DATA_FLAG | _MULTIPART_FLAG):
            raise UnsupportedImageError("it has several parts, or deep data; write one flat image a file")
        values = {name: data[start:end] for name, start, end in _attribute_spans(data)}
        left, top, right, bottom = struct.unpack("<4i", values["displayWindow"])
        channels = dict(_channels(values["channels"]))
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError("its header is damaged") from error
    is_grayscale = "Y" in channels and not {"R", "G", "B"} & channels.keys()
    if is_grayscale and {"RY", "BY"} & channels.keys():
        raise UnsupportedImageError("it holds luminance and chroma; write R, G and B")
    if not is_grayscale and not {"R", "G", "B"} <= channels.keys():
        names = ", ".join(sorted(channels)[:8])
        raise UnsupportedImageError(f"it has no channels R, G and B, only {names}; write these")
    used = {"Y", "A"} if is_grayscale else {"R", "G", "B", "A"}
    return ExrHeader(
        right - left + 1,
        bottom - top + 1,
        all(kind == _HALF_FLOAT for name, kind in channels.items() if name in used),
        is_grayscale,
        "A" in channels,
        tuple(sorted(channels.keys() - used)),
    )


def find_truncation(content: bytes) -> str | None:
    """Describe which part of a file is missing or damaged, as half a sentence; None if none is detected.

    Needed because ffmpeg's decoder leaves blocks black that it cannot find or read. The header is followed by
    a table of block offsets, which ends where the first block starts. Only ZIP blocks have a checksum.
    """
    try:
        is_tiled, table_start, offsets = _block_table(content)
        block_header_bytes = 20 if is_tiled else 8  # its position in the image, and its size
        starts = [offset + block_header_bytes for offset in offsets]
        ends = [start + struct.unpack_from("<I", content, start - 4)[0] for start in starts]
    except (struct.error, IndexError, ValueError):
        return "some of its blocks are missing"
    if not offsets or min(offsets) < table_start or max(ends) > len(content):
        return "some of its blocks are missing"
    return None if is_tiled else _find_damaged_block(content, offsets)


def move_to_origin(content: bytes) -> bytes:
    """Return an intact file with its display window moved to 0,0, where ffmpeg's decoder takes it to be."""
    spans = {name: start for name, start, _ in _attribute_spans(content)}
    left, top = struct.unpack_from("<2i", content, spans["displayWindow"])
    if left == top == 0:
        return content
    moved = bytearray(content)
    for name in ("displayWindow", "dataWindow"):
        x1, y1, x2, y2 = struct.unpack_from("<4i", content, spans[name])
        struct.pack_into("<4i", moved, spans[name], x1 - left, y1 - top, x2 - left, y2 - top)
    is_tiled, _, offsets = _block_table(content)
    for offset in () if is_tiled else offsets:  # tiles are counted from the data window
        row = struct.unpack_from("<i", content, offset)[0]
        struct.pack_into("<i", moved, offset, row - top)
    return bytes(moved)


def _block_table(content: bytes) -> tuple[bool, int, list[int]]:
    """Return whether blocks are tiles, where the table of their offsets begins, and the offsets."""
    *_, end = (end_offset for *_, end_offset in _attribute_spans(content))
    is_tiled = bool(struct.unpack("<I", content[4:8])[0] & _TILED_FLAG)
    table_start, first_block, offsets = end + 1, len(content), []
    while table_start + 8 * len(offsets) < first_block:
        offset = struct.unpack_from("<Q", content, table_start + 8 * len(offsets))[0]
        offsets.append(offset)
        first_block = min(first_block, offset)
    return is_tiled, table_start, offsets


def _find_damaged_block(content: bytes, offsets: list[int]) -> str | None:
    """Decompress all ZIP blocks of a file without tiles, and describe the first damaged one; None if none is.

    A block that compression would not have made smaller is stored raw and has no checksum.
    """
    values = {name: content[start:end] for name, start, end in _attribute_spans(content)}
    block_rows = _ZIP_BLOCK_ROWS.get(values["compression"][0])
    if block_rows is None:
        return None
    left, top, right, bottom = struct.unpack("<4i", values["dataWindow"])
    pixel_bytes = sum(2 if kind == _HALF_FLOAT else 4 for _, kind in _channels(values["channels"]))
    row_bytes = pixel_bytes * (right - left + 1)
    for offset in offsets:
        first_row, size = struct.unpack_from("<iI", content, offset)
        max_bytes = row_bytes * min(block_rows, bottom + 1 - first_row)
        if size >= max_bytes or not top <= first_row <= bottom:
            continue
        if not inflates_within(content[offset + 8 : offset + 8 + size], max_bytes):
            return f"its block at row {first_row - top} is damaged"
    return None


def _attribute_spans(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield name, start and end offset of every header attribute."""
    offset = 8
    while data[offset] != 0:
        name, offset = _read_string(data, offset)
        _, offset = _read_string(data, offset)
        size = struct.unpack("<I", data[offset : offset + 4])[0]
        yield name, offset + 4, offset + 4 + size
        offset += 4 + size


def _channels(data: bytes) -> Iterator[tuple[str, int]]:
    offset = 0
    while data[offset] != 0:
        name, offset = _read_string(data, offset)
        yield name, struct.unpack("<I", data[offset : offset + 4])[0]
        offset += 16


def _read_string(data: bytes, offset: int) -> tuple[str, int]:
    end = data.index(b"\0", offset)
    return data[offset:end].decode("latin-1"), end + 1


def linear_to_srgb(light: np.ndarray) -> np.ndarray:
    """Convert linear light, float32 of any shape, to uint16 codes on the sRGB curve; clip to 0 to 1."""
    light = light.clip(0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.rint(encoded * 65535).astype(np.uint16)


def srgb_to_linear(codes: np.ndarray) -> np.ndarray:
    """Convert codes of an unsigned integer type on the sRGB curve to float32 linear light from 0 to 1."""
    code = codes.astype(np.float64) / np.iinfo(codes.dtype).max
    light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


def unpremultiply(light: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Divide premultiplied colours (H, W, 3), such as EXR's, by alpha (H, W); unchanged where alpha is 0."""
    divisor = alpha[..., None]
    return np.divide(light, divisor, out=light.copy(), where=divisor > 0)
