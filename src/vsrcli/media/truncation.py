"""Truncated files: what is missing at the end of a video.

Decoders end silently at the end of a file, so a truncated video looks like a shorter one. The outer structure
of the common containers reveals it without decoding. What is uncertain, such as garbage behind a whole video,
is no truncation.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vsrcli.errors import InputError

_SYNC_BYTE = 0x47  # first byte of a transport packet
_PACKETS_PER_READ = 1 << 15
_EBML_MAGIC = b"\x1a\x45\xdf\xa3"
_SEGMENT_ID = b"\x18\x53\x80\x67"
_MP4_BOXES = frozenset(b"ftyp moov mdat free skip wide moof styp sidx pnot uuid".split())
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
_MAX_ASF_HEADER = 1 << 24
_FLV_TAGS = (b"\x08", b"\x09", b"\x12")  # audio, video, script
_FLV_TAG_HEADER = 11
_OGG_PAGE = b"OggS\0"
_MAX_OGG_PAGE = 27 + 255 + 255 * 255
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C


def find_truncation(path: Path) -> str | None:
    """Return a phrase that says what is missing at the end of the file; None if nothing is known to be.

    Covers MP4/MOV (top-level boxes), Matroska/WebM (segment size), AVI (RIFF size), ASF/WMV (data object),
    and whether the last packet, tag, page or block of MPEG-TS, FLV, Ogg and GIF is whole.

    Raises:
        InputError: the file cannot be read.
    """
    with _readable(path) as file:
        size = os.fstat(file.fileno()).st_size
        first_bytes = file.read(64)
        if first_bytes[4:8] in _MP4_BOXES:
            return _mp4_truncation(file, size)
        if first_bytes.startswith(_EBML_MAGIC):
            return _matroska_truncation(first_bytes, size)
        if first_bytes.startswith(b"RIFF") and first_bytes[8:12] == b"AVI ":
            return _size_mismatch(8 + struct.unpack("<I", first_bytes[4:8])[0], size)
        if first_bytes.startswith(_ASF_HEADER):
            return _asf_truncation(file, first_bytes, size)
        if first_bytes.startswith(b"FLV\1"):
            return _flv_truncation(file, first_bytes, size)
        if first_bytes.startswith(_OGG_PAGE):
            return _ogg_truncation(file, size)
        if first_bytes.startswith((b"GIF87a", b"GIF89a")):
            return _gif_truncation(file)
        file.seek(0)
        return _ts_truncation(file.read(204 * 8), size)


def find_bad_ts_packets(path: Path) -> str | None:
    """Return a phrase that counts the corrupt packets of an MPEG-TS file; None if none, or not MPEG-TS.

    Reads the whole file. libavformat skips to the next packet silently, so frames would be missing.

    Raises:
        InputError: the file cannot be read.
    """
    with _readable(path) as file:
        packet_bytes, sync_offset = _ts_packet_layout(file.read(204 * 8)) or (0, 0)
        if not packet_bytes:
            return None
        file.seek(0)
        position, bad_count, first_bad = 0, 0, None
        while block := file.read(packet_bytes * _PACKETS_PER_READ):
            sync_bytes = np.frombuffer(block, np.uint8)[sync_offset::packet_bytes]
            bad = np.flatnonzero(sync_bytes != _SYNC_BYTE)
            if len(bad) and first_bad is None:
                first_bad = position + int(bad[0]) * packet_bytes
            bad_count += len(bad)
            position += len(block)
    if first_bad is None:
        return None
    return f"{bad_count} of its transport packets are corrupt, the first at byte {first_bad}"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[BinaryIO]:
    """Open a file; within the block, errors that reading it raises become an InputError."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}); check the file and its disk or network share, then "
            "run the command again"
        ) from error


def _size_mismatch(declared: int, actual: int) -> str | None:
    return f"its header declares {declared} bytes, the file has {actual}" if declared > actual else None


def _mp4_truncation(file: BinaryIO, size: int) -> str | None:
    """Walk the top-level boxes: 32-bit size, name; size 1 = a 64-bit size follows, 0 = up to the end."""
    position, names = 0, set()
    while position + 8 <= size:
        file.seek(position)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        names.add(name)
        if length == 0:
            position = size
            break
        if length < 8:
            break  # padding or garbage after the video; players stop here too
        if position + length > size and name in (b"mdat", b"moov", b"moof"):
            return f"its {name.decode()} box extends to byte {position + length}, the file ends at {size}"
        position += length
    if b"moov" not in names:
        return "its index (the moov box) is missing"
    return None


def _matroska_truncation(first_bytes: bytes, size: int) -> str | None:
    """Check the size of the Segment that follows the EBML header (all ones: unknown, a live recording)."""
    length, size_length = _read_vint(first_bytes, 4)
    start = 4 + size_length + length
    if length < 0 or first_bytes[start : start + 4] != _SEGMENT_ID:
        return None
    length, size_length = _read_vint(first_bytes, start + 4)
    return None if length < 0 else _size_mismatch(start + 4 + size_length + length, size)


def _read_vint(data: bytes, offset: int) -> tuple[int, int]:
    """Return the EBML size at ``offset``: (value, or -1 if unknown; bytes used)."""
    if offset >= len(data) or data[offset] == 0:
        return -1, 1
    used = 9 - data[offset].bit_length()
    raw = int.from_bytes(data[offset : offset + used], "big") & ((1 << 7 * used) - 1)
    return (-1 if raw == (1 << 7 * used) - 1 or offset + used > len(data) else raw), used


def _asf_truncation(file: BinaryIO, first_bytes: bytes, size: int) -> str | None:
    """Check the size of the data object, which follows the header; broadcasts and pipes have none."""
    header_size = struct.unpack("<Q", first_bytes[16:24])[0]
    file.seek(0)
    header = file.read(min(header_size, _MAX_ASF_HEADER))
    properties = header.find(_ASF_FILE_PROPERTIES)
    flags = header[properties + 88 : properties + 89] if properties > 0 else b""
    if not flags or flags[0] & 1:
        return None
    file.seek(header_size)
    data_object = file.read(24)
    if len(data_object) < 24 or not data_object.startswith(_ASF_DATA):
        return None
    end = header_size + struct.unpack("<Q", data_object[16:])[0]
    return f"its data object extends to byte {end}, the file ends at {size}" if end > size else None


def _flv_truncation(file: BinaryIO, first_bytes: bytes, size: int) -> str | None:
    """Check that the last tag is whole: the size before its end leads to its beginning, or that of all tags.

    A tag: type, 24 bits of size, 7 bytes, data; and, outside of this size, 32 bits of its total size.
    """
    file.seek(max(size - 4, 0))
    last = size - 4 - int.from_bytes(file.read(4), "big")
    if last > 0:
        file.seek(last)
        header = file.read(_FLV_TAG_HEADER)
        data_size = int.from_bytes(header[1:4], "big")
        if header[:1] in _FLV_TAGS and last + _FLV_TAG_HEADER + data_size + 4 == size:
            return None
    position = int.from_bytes(first_bytes[5:9], "big") + 4
    while position + 4 <= size:
        file.seek(position)
        header = file.read(4)
        if header[:1] not in _FLV_TAGS:
            return None  # padding or garbage after the video
        end = position + _FLV_TAG_HEADER + int.from_bytes(header[1:], "big")
        if end > size:
            return f"its last tag extends to byte {end}, the file ends at {size}"
        position = end + 4
    return None


def _ogg_truncation(file: BinaryIO, size: int) -> str | None:
    """Check that the last page is whole: a header of 27 bytes with a number of lengths, these, and data."""
    start = max(size - _MAX_OGG_PAGE, 0)
    file.seek(start)
    data = file.read()
    page = data.rfind(_OGG_PAGE)
    if page < 0:
        return None
    lengths = data[page + 27 : page + 27 + data[page + 26]] if page + 26 < len(data) else b""
    is_whole = len(data) >= page + 27 and len(lengths) == data[page + 26]
    if is_whole and page + 27 + len(lengths) + sum(lengths) <= len(data):
        return None
    return f"its last page, from byte {start + page} on, is incomplete"


def _gif_truncation(file: BinaryIO) -> str | None:
    """Walk the blocks, which consist of sub-blocks of up to 255 bytes with their size before them."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        size = len(data)
        position = 13 + _gif_palette_size(data[10]) if size > 13 else size
        begin = position
        while position < size:
            kind, begin = data[position], position
            if kind not in (_GIF_IMAGE, _GIF_EXTENSION):
                return None  # the trailer, or garbage behind the video
            if kind == _GIF_EXTENSION:
                position += 2
            elif position + 9 < size:
                position += 11 + _gif_palette_size(data[position + 9])
            else:
                position = size + 1
            while position < size and data[position]:
                position += 1 + data[position]
            position += position < size  # some lack the end of the last block, and the trailer
    return f"its last block, from byte {begin} on, is incomplete" if position > size else None


def _gif_palette_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _ts_truncation(first_bytes: bytes, size: int) -> str | None:
    """Check that an MPEG-TS file ends with a whole packet."""
    length, _ = _ts_packet_layout(first_bytes) or (0, 0)
    remainder = size % length if length else 0
    return f"its last transport packet has {remainder} of {length} bytes" if remainder else None


def _ts_packet_layout(first_bytes: bytes) -> tuple[int, int] | None:
    """Detect MPEG-TS: packets of equal length, each beginning with 0x47 (after a 4-byte time in M2TS).

    Returns:
        (bytes per packet, offset of 0x47 in it), or None if the file is not MPEG-TS.
    """
    for length, sync_offset in ((188, 0), (192, 4), (204, 0)):
        starts = range(sync_offset, len(first_bytes), length)
        if len(starts) >= 4 and all(first_bytes[at] == _SYNC_BYTE for at in starts):
            return length, sync_offset
    return None
