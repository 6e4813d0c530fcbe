"""Does a file hold all the bytes that its own headers promise?

Decoders end quietly at the end of a file, so a film that was cut short looks like a shorter film. The outer
structure of the common containers tells the two apart without decoding anything.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

_SYNC = 0x47  # first byte of a transport packet
_BLOCK = 1 << 15  # packets read at a time
_EBML = b"\x1a\x45\xdf\xa3"
_SEGMENT = b"\x18\x53\x80\x67"
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"styp", b"sidx", b"pnot", b"uuid")


def find_truncation(path: Path) -> str | None:
    """What is missing at the end of the file, as half a sentence; None if nothing is known to be.

    Knows MP4/MOV (top-level boxes), Matroska/WebM (segment size), AVI (RIFF size), MPEG-TS (whole packets).

    Raises:
        OSError: the file cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[4:8] in _BOXES:
            return _missing_boxes(file, size)
        if head.startswith(_EBML):
            return _missing_segment(head, size)
        if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
            return _behind(8 + struct.unpack("<I", head[4:8])[0], size)
        file.seek(0)
        return _missing_packet(file.read(204 * 8), size)


def find_bad_ts_packets(path: Path) -> str | None:
    """What of an MPEG-TS file is no packet, as half a sentence; None if nothing, or it is another file.

    libavformat searches for the next packet and says nothing, so frames would be missing. Reads all of it.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        length, first = _packets(file.read(204 * 8)) or (0, 0)
        if not length:
            return None
        file.seek(0)
        position, bad, at = 0, 0, None
        while block := file.read(length * _BLOCK):
            heads = np.frombuffer(block, np.uint8)[first::length]
            wrong = np.flatnonzero(heads != _SYNC)
            if len(wrong) and at is None:
                at = position + int(wrong[0]) * length
            bad += len(wrong)
            position += len(block)
    return None if at is None else f"{bad} of its transport packets are none, the first at byte {at}"


def _behind(promised: int, size: int) -> str | None:
    return f"its header promises {promised} bytes, {size} are there" if promised > size else None


def _missing_boxes(file, size: int) -> str | None:
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
            break  # padding or rubbish behind the film; players stop here too
        if position + length > size and name in (b"mdat", b"moov", b"moof"):
            return f"its {name.decode()} box reaches to byte {position + length}, the file ends at {size}"
        position += length
    if b"moov" not in names:
        return "its index (the moov box) is missing"
    return None


def _missing_segment(head: bytes, size: int) -> str | None:
    """The EBML header is followed by one Segment that states its size (all ones: a live recording)."""
    length, used = _variable_integer(head, 4)
    start = 4 + used + length
    if length < 0 or head[start : start + 4] != _SEGMENT:
        return None
    length, used = _variable_integer(head, start + 4)
    return None if length < 0 else _behind(start + 4 + used + length, size)


def _variable_integer(data: bytes, at: int) -> tuple[int, int]:
    """An EBML size at ``at``: (value or -1 for unknown, bytes used)."""
    if at >= len(data) or data[at] == 0:
        return -1, 1
    used = 9 - data[at].bit_length()
    raw = int.from_bytes(data[at : at + used], "big") & ((1 << 7 * used) - 1)
    return (-1 if raw == (1 << 7 * used) - 1 or at + used > len(data) else raw), used


def _missing_packet(head: bytes, size: int) -> str | None:
    """MPEG-TS ends with a whole packet."""
    length, _ = _packets(head) or (0, 0)
    rest = size % length if length else 0
    return f"its last transport packet holds {rest} of {length} bytes" if rest else None


def _packets(head: bytes) -> tuple[int, int] | None:
    """MPEG-TS is a row of packets of equal length, each beginning with 0x47 (after a 4-byte time in M2TS).

    Returns:
        (length of a packet, where in it 0x47 stands), or None if the file is something else.
    """
    for length, first in ((188, 0), (192, 4), (204, 0)):
        starts = range(first, len(head), length)
        if len(starts) >= 4 and all(head[at] == _SYNC for at in starts):
            return length, first
    return None
