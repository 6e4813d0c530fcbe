"""The pictures of a YUV4MPEG2 stream, taken off a pipe one by one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from vsrcli.errors import InputError
from vsrcli.media.y4m import parse_header

_LONGEST = 4096  # bytes of a line; real ones have a hundred
_PIECE = 1 << 20


class Y4mReader:
    """The pictures of a stream as they come, whole ones only.

    Args:
        read: gives up to so many bytes, none at the end; as ``os.read`` of a file number.
        where: what messages call the stream.

    Attributes:
        header: of the stream.
        count: pictures read so far.
        cut: what is missing, as half a sentence, once the stream has ended inside a picture.

    Raises:
        InputError: the stream does not begin with a header that can be understood.
    """

    def __init__(self, read: Callable[[int], bytes], where: str = "stdin") -> None:
        self._read, self._where = read, where
        line = self._line()
        if line is None:
            raise InputError(f"{where} ends inside its YUV4MPEG2 header; check what writes it")
        self.header = parse_header(line, where)
        self.count = 0
        self.cut: str | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytearray:
        """The next picture: its planes, without its line.

        Raises:
            InputError: something else stands where a picture should begin.
        """
        start = self._exactly(6)
        if not start and self.cut is None:
            raise StopIteration
        if len(start) < 6:
            self._stop(f"inside the line of frame {self.count + 1}")
        if not start.startswith(b"FRAME") or start[5:] not in (b"\n", b" "):
            raise InputError(
                f"{self._where}: no frame begins behind frame {self.count}, where one should; "
                "check what writes it"
            )
        if start[5:] == b" " and self._line() is None:
            self._stop(f"inside the line of frame {self.count + 1}")
        size = self.header.frame_bytes
        picture = self._exactly(size)
        if len(picture) < size:
            self._stop(f"inside frame {self.count + 1}, with {len(picture):,} of its {size:,} bytes")
        self.count += 1
        return picture

    def _stop(self, where: str) -> None:
        self.cut = self.cut or where
        raise StopIteration

    def _exactly(self, size: int) -> bytearray:
        """So many bytes; fewer at the end."""
        data = bytearray()
        while len(data) < size and (piece := self._read(min(size - len(data), _PIECE))):
            data += piece
        return data

    def _line(self) -> bytes | None:
        """Up to the end of a line, which is left out; None if there is none."""
        line = bytearray()
        while mark := self._read(1):
            if mark == b"\n":
                return bytes(line)
            line += mark
            if len(line) > _LONGEST:
                raise InputError(f"{self._where} holds a line without an end; check what writes it")
        return None
