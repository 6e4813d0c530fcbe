"""Pictures on their way into a folder: made in a hidden one inside it, and moved when a segment is finished.

A list of what is moved is written before that. So even after a power cut, the next run knows its own pictures
(by size and time, which no rename changes) from those that somebody else has put there, and replaces only its
own.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
import zlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from vsrcli.errors import EncodeError
from vsrcli.images.naming import OutputNaming
from vsrcli.media.segments import SegmentFile
from vsrcli.system.files import WorkDir, fsync_path

_LIST_SUFFIX = ".list"


@dataclass(frozen=True)
class FileStamp:
    """A picture that has been moved, or was about to be.

    Attributes:
        name: of its file.
        size: bytes.
        time: of its last change, in nanoseconds.
    """

    name: str
    size_bytes: int
    mtime_ns: int

    def matches(self, file: Path) -> bool:
        """Whether a file is that picture, unchanged."""
        try:
            stat = file.lstat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.mtime_ns)


UNKNOWN_STAMP = FileStamp("", -1, -1)
"""Of a picture that no list names."""


def workdir_name(naming: OutputNaming) -> Path:
    """What the hidden folder is named after: ``out/.%05d.png.vsr``."""
    name = naming.path.name if naming.pattern is not None else f"pictures{naming.suffix}"
    return naming.folder / name


def published_files(workdir: Path, *, list_names: Collection[str] | None = None) -> dict[str, FileStamp]:
    """The pictures that a hidden folder's lists name, by name; of these lists only, if some are given."""
    stamps: dict[str, FileStamp] = {}
    with contextlib.suppress(OSError):
        for file in sorted(workdir.glob(f"*{_LIST_SUFFIX}")):
            if list_names is not None and file.name not in list_names:
                continue
            stamps |= {stamp.name: stamp for stamp in _read_list(file)}
    return stamps


def _read_list(file: Path) -> list[FileStamp]:
    try:
        return [
            FileStamp(str(name), int(size), int(when)) for name, size, when in json.loads(file.read_bytes())
        ]
    except (OSError, ValueError, TypeError):
        return []


class ImageWorkDir(WorkDir):
    """A :class:`~vsrcli.system.files.WorkDir` whose lists stay as long as it does."""

    def remove_except(self, names: Iterable[str]) -> None:
        super().remove_except([*names, *(file.name for file in self.path.glob(f"*{_LIST_SUFFIX}"))])

    def has_segment(self, name: str, output_folder: Path) -> bool:
        """Whether all pictures of a list are where they were moved to, unchanged."""
        stamps = _read_list(self.path / name)
        return bool(stamps) and all(stamp.matches(output_folder / stamp.name) for stamp in stamps)


class PendingImages:
    """The pictures of one segment, until they are moved together.

    Args:
        folder: where they are made.
        target: where they go.
        overwrite: whether pictures of others may be replaced.
    """

    def __init__(self, workdir: ImageWorkDir, output_folder: Path, *, overwrite: bool) -> None:
        self._workdir, self._output_folder, self._overwrite = workdir, output_folder, overwrite
        self._published = published_files(workdir.path)
        self._parts: dict[str, Path] = {}

    def add(self, name: str, content: bytes) -> None:
        """Make a picture.

        Raises:
            EncodeError: the disk is full or broken.
        """
        part = self._workdir.path / f"{len(self._parts):06}-{time.time_ns():x}.part"
        self._parts[name] = part
        try:
            write_file(part, content)
        except OSError as error:
            raise write_error(self._output_folder / name, error) from error

    def publish(self, first: int, last: int) -> SegmentFile:
        """Give all of them their names.

        Args:
            first, last: times of the frames, in ticks.

        Raises:
            EncodeError: a name has been taken meanwhile, or the disk is broken.
        """
        stamps = [FileStamp(name, *_size_and_mtime(part)) for name, part in self._parts.items()]
        for name in self._parts:
            file = self._output_folder / name
            stamp = self._published.get(name)
            if not self._overwrite and os.path.lexists(file) and not (stamp and stamp.matches(file)):
                raise EncodeError(f"{file} has come into being meanwhile; use --overwrite to replace it")
        content = json.dumps([list(asdict(stamp).values()) for stamp in stamps]).encode()
        list_name = f"{time.time_ns():020}{_LIST_SUFFIX}"
        self._workdir.write(list_name, lambda file: file.write(content))
        for name, part in self._parts.items():
            try:
                part.replace(self._output_folder / name)
            except OSError as error:
                raise write_error(self._output_folder / name, error) from error
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            fsync_path(self._output_folder)
        return SegmentFile(list_name, len(stamps), first, last, len(content), 0, zlib.crc32(content))

    def discard(self) -> None:
        """Remove what has not been moved."""
        for part in self._parts.values():
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)


def write_file(part: Path, content: bytes) -> None:
    """A file, durably.

    Raises:
        OSError: it cannot be written.
    """
    with part.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_error(file: Path, error: OSError) -> EncodeError:
    """Why a picture cannot be written, in one line."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return EncodeError(
            f"{file}: no room is left in {file.parent} (a full disk, a quota); free some and start again"
        )
    return EncodeError(f"{file} cannot be written ({error.strerror}); check the folder and the disk")


def _size_and_mtime(part: Path) -> tuple[int, int]:
    stat = part.stat()
    return stat.st_size, stat.st_mtime_ns
