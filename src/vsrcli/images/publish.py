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

_LIST = ".list"


@dataclass(frozen=True)
class FileStamp:
    """A picture that has been moved, or was about to be.

    Attributes:
        name: of its file.
        size: bytes.
        time: of its last change, in nanoseconds.
    """

    name: str
    size: int
    time: int

    def matches(self, file: Path) -> bool:
        """Whether a file is that picture, unchanged."""
        try:
            found = file.lstat()
        except OSError:
            return False
        return (found.st_size, found.st_mtime_ns) == (self.size, self.time)


UNKNOWN_STAMP = FileStamp("", -1, -1)
"""Of a picture that no list names."""


def workdir_name(targets: OutputNaming) -> Path:
    """What the hidden folder is named after: ``out/.%05d.png.vsr``."""
    named = targets.path.name if targets.pattern is not None else f"pictures{targets.suffix}"
    return targets.folder / named


def published_files(folder: Path, *, only: Collection[str] | None = None) -> dict[str, FileStamp]:
    """The pictures that a hidden folder's lists name, by name; of these lists only, if some are given."""
    found: dict[str, FileStamp] = {}
    with contextlib.suppress(OSError):
        for file in sorted(folder.glob(f"*{_LIST}")):
            if only is not None and file.name not in only:
                continue
            found |= {stamp.name: stamp for stamp in _read(file)}
    return found


def _read(file: Path) -> list[FileStamp]:
    try:
        return [
            FileStamp(str(name), int(size), int(when)) for name, size, when in json.loads(file.read_bytes())
        ]
    except (OSError, ValueError, TypeError):
        return []


class ImageWorkDir(WorkDir):
    """A :class:`~vsrcli.system.files.WorkDir` whose lists stay as long as it does."""

    def remove_except(self, names: Iterable[str]) -> None:
        super().remove_except([*names, *(file.name for file in self.path.glob(f"*{_LIST}"))])

    def has_segment(self, name: str, target: Path) -> bool:
        """Whether all pictures of a list are where they were moved to, unchanged."""
        stamps = _read(self.path / name)
        return bool(stamps) and all(stamp.matches(target / stamp.name) for stamp in stamps)


class PendingImages:
    """The pictures of one segment, until they are moved together.

    Args:
        folder: where they are made.
        target: where they go.
        overwrite: whether pictures of others may be replaced.
    """

    def __init__(self, folder: ImageWorkDir, target: Path, *, overwrite: bool) -> None:
        self._folder, self._target, self._overwrite = folder, target, overwrite
        self._own = published_files(folder.path)
        self._made: dict[str, Path] = {}

    def add(self, name: str, content: bytes) -> None:
        """Make a picture.

        Raises:
            EncodeError: the disk is full or broken.
        """
        part = self._folder.path / f"{len(self._made):06}-{time.time_ns():x}.part"
        self._made[name] = part
        try:
            write_file(part, content)
        except OSError as error:
            raise write_error(self._target / name, error) from error

    def publish(self, first: int, last: int) -> SegmentFile:
        """Give all of them their names.

        Args:
            first, last: times of the frames, in ticks.

        Raises:
            EncodeError: a name has been taken meanwhile, or the disk is broken.
        """
        stamps = [FileStamp(name, *_measured(part)) for name, part in self._made.items()]
        for name in self._made:
            file = self._target / name
            known = self._own.get(name)
            if not self._overwrite and os.path.lexists(file) and not (known and known.matches(file)):
                raise EncodeError(f"{file} has come into being meanwhile; use --overwrite to replace it")
        content = json.dumps([list(asdict(stamp).values()) for stamp in stamps]).encode()
        listed = f"{time.time_ns():020}{_LIST}"
        self._folder.write(listed, lambda file: file.write(content))
        for name, part in self._made.items():
            try:
                part.replace(self._target / name)
            except OSError as error:
                raise write_error(self._target / name, error) from error
        with contextlib.suppress(OSError):  # some file systems cannot sync a folder
            fsync_path(self._target)
        return SegmentFile(listed, len(stamps), first, last, len(content), 0, zlib.crc32(content))

    def discard(self) -> None:
        """Remove what has not been moved."""
        for part in self._made.values():
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


def _measured(part: Path) -> tuple[int, int]:
    found = part.stat()
    return found.st_size, found.st_mtime_ns
