"""Publish output images by segments: write them to a hidden workdir, then move them to the output folder.

A list of the images is written before they are moved. So even after a power failure, the next run can tell
images of this job (by size and modification time, which renaming preserves) from foreign files of the same
name, and replaces only its own.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import time
import zlib
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from vsrcli.errors import EncodeError, OutputError
from vsrcli.images.naming import OutputNaming
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.system.files import WorkDir, fsync_path, remove_temporary, temporary_name

_LIST_SUFFIX = ".list"


@dataclass(frozen=True)
class FileStamp:
    """Identity of an image that was published, or was about to be.

    Attributes:
        name: file name.
        size_bytes: file size.
        mtime_ns: time of last modification in nanoseconds.
    """

    name: str
    size_bytes: int
    mtime_ns: int

    def matches(self, file: Path) -> bool:
        """Return whether a file is that image, unchanged."""
        try:
            stat = file.lstat()
        except OSError:
            return False
        return (stat.st_size, stat.st_mtime_ns) == (self.size_bytes, self.mtime_ns)


UNKNOWN_STAMP = FileStamp("", -1, -1)
"""Stamp of an image that is in no list; matches no file."""


def workdir_name(naming: OutputNaming, source: Path) -> Path:
    """Return the path after which the workdir is named: ``out/%05d.png`` for ``out/.%05d.png.vsr``.

    Images that keep their names have a workdir for each input, ``out/.images-1f2e3d4c.png.vsr``: several
    folders may be upscaled into one.

    Args:
        naming: of the images.
        source: the input as typed, a folder or a pattern.
    """
    if naming.pattern is not None or naming.single_name is not None:
        return naming.path
    digest = hashlib.sha256(os.fsencode(os.path.realpath(source))).hexdigest()[:8]
    return naming.folder / f"images-{digest}{naming.suffix}"


def published_files(workdir: Path, *, list_names: Collection[str] | None = None) -> dict[str, FileStamp]:
    """Return stamps of the images in the lists of a workdir, by file name.

    Args:
        workdir: path of the workdir; may be missing.
        list_names: read only these lists; None: all.
    """
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


class OutputFolder:
    """The folder of output images, made if it is missing, and removed again if it stays empty.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_new = False

    def create(self) -> None:
        """Make the folder, unless it exists.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self._is_new = not self.path.is_dir()
            self.path.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.path} cannot be made ({error.strerror}); choose another folder"
            ) from error

    def remove_if_empty(self) -> None:
        """Remove the folder if ``create`` made it and nothing is in it. Can be called repeatedly."""
        if self._is_new:
            with contextlib.suppress(OSError):
                self.path.rmdir()


class ImageWorkDir(WorkDir):
    """A :class:`~vsrcli.system.files.WorkDir` inside the output folder, whose lists of images stay in it.

    Args:
        naming: of the images. Their folder is created if necessary, and removed again if it stays empty.
        source: see :func:`workdir_name`.
    """

    def __init__(self, naming: OutputNaming, source: Path) -> None:
        super().__init__(workdir_name(naming, source))
        self._target = naming.path
        self.output_folder = naming.folder
        self._folder = OutputFolder(naming.folder)

    def open(self) -> None:
        self._folder.create()
        super().open()

    def close(self) -> None:
        super().close()
        self._folder.remove_if_empty()

    def remove_except(self, names: Iterable[str], pattern: str = f"*{_LIST_SUFFIX}") -> None:
        super().remove_except(names, pattern)

    def has_segment(self, name: str) -> bool:
        """Return whether all images of the list ``name`` are in the output folder, unchanged."""
        stamps = _read_list(self.path / name)
        return bool(stamps) and all(stamp.matches(self.output_folder / stamp.name) for stamp in stamps)


class PendingImages:
    """The images of one segment, until they are published together.

    Args:
        workdir: where they are written, inside the folder where they are published.
        overwrite: whether foreign files of the same name may be replaced.
    """

    def __init__(self, workdir: ImageWorkDir, *, overwrite: bool) -> None:
        self._workdir, self._output_folder, self._overwrite = workdir, workdir.output_folder, overwrite
        self._published = published_files(workdir.path)
        self._parts: dict[str, Path] = {}

    def new_part(self, name: str) -> Path:
        """Return where to write an image first."""
        part = self._parts[name] = temporary_name(self._workdir.path / name)
        return part

    def publish(self, first: int, last: int) -> SegmentFile:
        """Move all images to the output folder.

        Args:
            first, last: timestamps of the first and last frame, in ticks.

        Returns:
            The list of images as the segment's file.

        Raises:
            EncodeError: a foreign file of the same name appeared meanwhile, or the disk is defective.
        """
        stamps = []
        for name, part in self._parts.items():
            try:
                stat = part.stat()
            except OSError as error:
                raise write_error(self._output_folder / name, error) from error
            stamps.append(FileStamp(name, stat.st_size, stat.st_mtime_ns))
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
        """Remove the images that have not been published."""
        for part in self._parts.values():
            remove_temporary(part)


def write_error(file: Path, error: OSError) -> EncodeError:
    """Return an error that says in one line why an image cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return EncodeError(
            f"{file}: no room is left in {file.parent} (a full disk, a quota); free some and start again"
        )
    return EncodeError(f"{file} cannot be written ({error.strerror}); check the folder and the disk")
