"""Parse and write YUV4MPEG2, the raw video format of pipes: its header, and frames one at a time.

A stream is one line of parameters and then, for every frame, a line that begins with ``FRAME`` and the
planes Y, Cb, Cr, tightly packed (16-bit little-endian where a component has more than 8 bits). The format is
that of mjpegtools' yuv4mpeg(5), with the chroma names that libavformat adds for more than 8 bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

from vsrcli.errors import InputError
from vsrcli.media.safety import MAX_PIXELS

STDIO = Path("-")
"""The name that means stdin or stdout; a file of this name can be given by its absolute path."""

MAGIC = b"YUV4MPEG2 "
CONTAINER = "yuv4mpegpipe"
"""libavformat's name of the format, for reading and writing."""

_MAX_LINE_BYTES = 4096  # real lines have about a hundred
_CHUNK_BYTES = 1 << 20
_DEFAULT_FRAME_RATE = Fraction(25)  # that of other readers, if the header states none
_RATIO = re.compile(r"(\d{1,9}):(\d{1,9})")
_HIGH_BIT_DEPTHS = {"420": (9, 10, 12, 14, 16), "422": (9, 10, 12, 14, 16), "444": (9, 10, 12, 14, 16)}
_PIX_FMTS = {  # chroma name: pixel format
    "420jpeg": "yuv420p",
    "420mpeg2": "yuv420p",
    "420paldv": "yuv420p",
    "420": "yuv420p",
    "422": "yuv422p",
    "444": "yuv444p",
    "411": "yuv411p",
    "mono": "gray",
    **{
        f"{name}p{bits}": f"yuv{name}p{bits}le"
        for name, depths in _HIGH_BIT_DEPTHS.items()
        for bits in depths
    },
    **{f"mono{bits}": f"gray{bits}le" for bits in (9, 10, 12, 16)},
}
_CHROMA_NAMES = {pix_fmt: name for name, pix_fmt in reversed(_PIX_FMTS.items())}
_CHROMA_LOCATIONS = {"center": "420jpeg", "left": "420mpeg2", "topleft": "420paldv"}
_CHROMA_SHIFTS = {"420": (1, 1), "422": (1, 0), "444": (0, 0), "411": (2, 0)}

PIX_FMTS = tuple(_CHROMA_NAMES)
"""Pixel formats of the format, by ffmpeg's names."""


@dataclass(frozen=True)
class Y4mHeader:
    """The first line of a stream.

    Attributes:
        width, height: pixels.
        parameters: all others as written, in order: ``F24000:1001``, ``XCOLORRANGE=FULL``.
    """

    width: int
    height: int
    parameters: tuple[str, ...] = ()

    @property
    def frame_rate(self) -> Fraction:
        """Frames per second; 25 if not stated."""
        return _parse_ratio(self._value("F") or "") or _DEFAULT_FRAME_RATE

    @property
    def chroma(self) -> str:
        """Name of bit depth and subsampling; ``420jpeg`` if not stated."""
        return self._value("C") or (self._value("XYSCSS=") or "420jpeg").lower()

    @property
    def pix_fmt(self) -> str:
        """ffmpeg's name of the pixel format."""
        return _PIX_FMTS[self.chroma]

    @property
    def frame_bytes(self) -> int:
        """Size of a frame without its line."""
        luma_samples, bytes_per_sample = self.width * self.height, 2 if self.pix_fmt.endswith("le") else 1
        if self.chroma.startswith("mono"):
            return luma_samples * bytes_per_sample
        shift_x, shift_y = _CHROMA_SHIFTS[self.chroma[:3]]
        return (luma_samples + 2 * -(-self.width >> shift_x) * -(-self.height >> shift_y)) * bytes_per_sample

    def line(self) -> bytes:
        """Return the header line, including its newline."""
        tokens = ("YUV4MPEG2", f"W{self.width}", f"H{self.height}", *self.parameters)
        return f"{' '.join(tokens)}\n".encode("latin-1")

    def minimal(self) -> Y4mHeader:
        """Return a header with only the parameters that affect decoding.

        libavformat refuses lines of more than 96 bytes.
        """
        essential = (each for each in self.parameters if each.startswith(("F", "I", "A", "XCOLORRANGE=")))
        return replace(self, parameters=(*essential, f"C{self.chroma}"))

    def with_changes(
        self, width: int, height: int, *, pix_fmt: str, chroma_location: str | None, deinterlaced: bool
    ) -> Y4mHeader:
        """Return the header of the same video with another size.

        Args:
            width, height: pixels.
            pix_fmt: one of ``PIX_FMTS``; if it is that of this stream, the chroma name does not change.
            chroma_location: ffmpeg's name, for another ``pix_fmt``.
            deinterlaced: whether the video has been deinterlaced.
        """
        parameters = self.parameters
        if pix_fmt != self.pix_fmt:
            parameters = tuple(each for each in parameters if not each.startswith(("C", "XYSCSS=")))
            parameters += (f"C{_chroma_name(pix_fmt, chroma_location)}",)
        if deinterlaced:
            parameters = tuple("Ip" if each.startswith("I") else each for each in parameters)
        return Y4mHeader(width, height, parameters)

    def _value(self, key: str) -> str | None:
        return next((each.removeprefix(key) for each in self.parameters if each.startswith(key)), None)


def create_header(
    width: int,
    height: int,
    *,
    frame_rate: Fraction,
    sample_aspect_ratio: Fraction,
    pix_fmt: str,
    chroma_location: str | None,
    full_range: bool,
    first_field: str | None,
) -> Y4mHeader:
    """Return the header for a video that comes from another container.

    Args:
        width, height: pixels.
        frame_rate: frames per second.
        sample_aspect_ratio: width of a pixel over its height.
        pix_fmt: one of ``PIX_FMTS``.
        chroma_location: ffmpeg's name; only 8-bit 4:2:0 can state it.
        full_range: whether samples use the full range.
        first_field: ``t``, ``b`` or ``?`` (unknown) for interlaced video; None: progressive.
    """
    return Y4mHeader(
        width,
        height,
        (
            f"F{frame_rate.numerator}:{frame_rate.denominator}",
            f"I{first_field or 'p'}",
            f"A{sample_aspect_ratio.numerator}:{sample_aspect_ratio.denominator}",
            f"C{_chroma_name(pix_fmt, chroma_location)}",
            f"XCOLORRANGE={'FULL' if full_range else 'LIMITED'}",
        ),
    )


def parse_header(line: bytes, display_name: str = "stdin") -> Y4mHeader:
    """Parse a header line.

    Args:
        line: with or without its newline.
        display_name: name of the stream in messages.

    Raises:
        InputError: it is no YUV4MPEG2 header, or declares something invalid or unsupported.
    """
    tokens = line.decode("latin-1").rstrip("\n").split(" ")
    if tokens[0] != "YUV4MPEG2":
        raise InputError(f"{display_name} does not begin with a YUV4MPEG2 header; check what writes it")
    parameters = [token for token in tokens[1:] if token]
    for key in "WHFIAC":
        if sum(token.startswith(key) for token in parameters) > 1:
            raise _header_error(display_name, f"names {key} twice")
    dimensions = {token[0]: token[1:] for token in parameters if token[0] in "WH"}
    for key in "WH":
        if not re.fullmatch(r"[1-9]\d{0,8}", dimensions.get(key, "")):
            raise _header_error(display_name, f"has no sensible {'width' if key == 'W' else 'height'}")
    others = tuple(token for token in parameters if token[0] not in "WH")
    header = Y4mHeader(int(dimensions["W"]), int(dimensions["H"]), others)
    if header.width * header.height > MAX_PIXELS:
        raise InputError(
            f"{display_name} declares frames of {header.width}x{header.height} pixels, more than the "
            f"supported {MAX_PIXELS // 10**6} million; check what writes it"
        )
    _check_parameters(header, display_name)
    return header


class Y4mReader:
    """An iterator of the whole frames of a stream, each the bytes of its planes.

    Args:
        read: returns up to the given number of bytes, none at the end; such as ``os.read`` of a descriptor.
        display_name: name of the stream in messages.

    Attributes:
        header: of the stream.
        frame_count: frames read so far.
        truncation: a phrase that says where, once the stream has ended inside a frame; else None.

    Raises:
        InputError: the stream does not begin with a valid header.
    """

    def __init__(self, read: Callable[[int], bytes], display_name: str = "stdin") -> None:
        self._read, self._display_name = read, display_name
        line = self._read_line()
        if line is None:
            raise InputError(f"{display_name} ends inside its YUV4MPEG2 header; check what writes it")
        self.header = parse_header(line, display_name)
        self.frame_count = 0
        self.truncation: str | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytearray:
        """Return the planes of the next frame.

        Raises:
            InputError: there is something else where a frame should begin.
        """
        start = self._read_exactly(6)
        if not start and self.truncation is None:
            raise StopIteration
        if len(start) < 6:
            self._end_truncated(f"inside the line of frame {self.frame_count + 1}")
        if not start.startswith(b"FRAME") or start[5:] not in (b"\n", b" "):
            raise InputError(
                f"{self._display_name}: no frame begins after frame {self.frame_count}, where one should; "
                "check what writes it"
            )
        if start[5:] == b" " and self._read_line() is None:
            self._end_truncated(f"inside the line of frame {self.frame_count + 1}")
        size = self.header.frame_bytes
        planes = self._read_exactly(size)
        if len(planes) < size:
            self._end_truncated(
                f"inside frame {self.frame_count + 1}, with {len(planes):,} of its {size:,} bytes"
            )
        self.frame_count += 1
        return planes

    def _end_truncated(self, position: str) -> None:
        self.truncation = self.truncation or position
        raise StopIteration

    def _read_exactly(self, size: int) -> bytearray:
        """Read ``size`` bytes; fewer at the end of the stream."""
        data = bytearray()
        while len(data) < size and (chunk := self._read(min(size - len(data), _CHUNK_BYTES))):
            data += chunk
        return data

    def _read_line(self) -> bytes | None:
        """Read up to a newline, and return the line without it; None at the end of the stream."""
        line = bytearray()
        while byte := self._read(1):
            if byte == b"\n":
                return bytes(line)
            line += byte
            if len(line) > _MAX_LINE_BYTES:
                raise InputError(f"{self._display_name} has a line without an end; check what writes it")
        return None


def _check_parameters(header: Y4mHeader, display_name: str) -> None:
    for token in header.parameters:
        if token[0] in "FA" and not (_RATIO.fullmatch(token[1:]) and _parse_ratio(token[1:]) is not None):
            raise _header_error(display_name, f"has {token!r}, which is no ratio")
        if token[0] == "I" and token[1:] not in ("p", "t", "b", "m", "?"):
            raise _header_error(display_name, f"has {token!r}, which is no field order")
    if "Im" in header.parameters:
        raise InputError(
            f"{display_name} mixes interlaced and progressive frames (Im in its header), which cannot be "
            "distinguished; deinterlace it before"
        )
    if header.chroma not in _PIX_FMTS:
        raise InputError(
            f"{display_name} has the unsupported chroma {header.chroma!r}; let it be written in one of "
            f"{', '.join(('420jpeg', '422', '444', 'mono', '420p10'))} (ffmpeg -pix_fmt yuv420p, say)"
        )


def _chroma_name(pix_fmt: str, chroma_location: str | None) -> str:
    return (
        _CHROMA_LOCATIONS.get(chroma_location or "left", "420mpeg2")
        if pix_fmt == "yuv420p"
        else _CHROMA_NAMES[pix_fmt]
    )


def _parse_ratio(text: str) -> Fraction | None:
    """Return a ratio; 0 for 0:0, which means unknown; None if it is invalid."""
    match = _RATIO.fullmatch(text)
    if match is None:
        return None
    numerator, denominator = int(match[1]), int(match[2])
    return (
        Fraction(0)
        if numerator == denominator == 0
        else Fraction(numerator, denominator)
        if numerator and denominator
        else None
    )


def _header_error(display_name: str, problem: str) -> InputError:
    return InputError(f"{display_name}: its YUV4MPEG2 header {problem}; check what writes it")
