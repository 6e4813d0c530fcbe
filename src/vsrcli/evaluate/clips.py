"""Clips on disk: videos, and folders of pictures such as ``calendar/Frame 001.png``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import DataError

VIDEOS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".ts", ".y4m"}
PICTURES = {".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".webp"}
MIN_FRAMES = 5  # frames: two left out at each end, one to score


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk and the name that tells it from the others of one run.

    Attributes:
        path: a video, or a folder of pictures.
        name: unique in the run.
        truth: the same in high resolution, if ``path`` is low resolution as it is; else None.
    """

    path: Path
    name: str
    truth: Path | None = None

    @property
    def plain_name(self) -> str:
        """The name without regard to others: what random choices are seeded by."""
        return clip_name(self.path)


def find_clips(paths: Sequence[Path], on_notice: Callable[[str], None] = lambda text: None) -> list[ClipFile]:
    """The clips that files and folders name, in order.

    A folder that holds pictures is one clip, its frames in natural order (``2.png`` before ``10.png``); other
    folders are searched recursively. Hidden files, and pictures that lie beside videos, are passed over.

    Args:
        paths: videos, folders of pictures, or folders that hold any of them.
        on_notice: told of pictures that are passed over.

    Raises:
        DataError: a path that does not exist, a folder without a clip, or one with too few pictures.
    """
    found = [clip for path in paths for clip in clips_at(path, on_notice)]
    unique = list({path.resolve(): path for path in found}.values())
    names = distinct_names(unique, [clip_name(path) for path in unique])
    return [ClipFile(path, name) for path, name in zip(unique, names, strict=True)]


def clips_at(path: Path, on_notice: Callable[[str], None] = lambda text: None) -> list[Path]:
    """What one path names, see :func:`find_clips`."""
    if path.is_dir():
        inside = list(_walk(path, set(), on_notice))
        if not inside:
            raise DataError(
                f"no clip in {str(path)!r}: it should hold {', '.join(sorted(VIDEOS))} files, or folders of "
                f"{', '.join(sorted(PICTURES))} pictures"
            )
        return inside
    if not path.is_file():
        raise DataError(f"no file or folder {str(path)!r}: name clips, or folders that hold some")
    if path.suffix.lower() in PICTURES:
        raise DataError(f"{str(path)!r} is one picture: name the folder that holds the frames of the clip")
    return [path]


def pictures_in(folder: Path) -> list[Path]:
    """The pictures that lie directly in a folder, in natural order."""
    return [path for path in _entries(folder) if path.suffix.lower() in PICTURES and path.is_file()]


def clip_name(path: Path) -> str:
    """A clip's name: a folder's own, or a file's without its suffix."""
    path = path if path.name else path.resolve()  # "." has a name elsewhere
    return path.name if path.is_dir() else path.stem


def natural_key(text: str) -> list[tuple[int, int, str]]:
    """Sorts names as people number them: ``Frame 2`` before ``Frame 10``; case does not count."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part.casefold()) for part in parts if part]


def distinct_names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Names that tell paths apart: those that occur twice get as many folders before them as needed.

    Args:
        paths: all different.
        names: what each would be called by itself.
    """
    found, folders = list(names), 1
    while len(set(found)) < len(found):
        twice = {name for name in found if found.count(name) > 1}
        longer = ["/".join(path.resolve().parts[-1 - folders :]) for path in paths]
        if all(longer[i] == name for i, name in enumerate(found) if name in twice):
            break  # the whole paths: there is no more to add
        found = [longer[i] if name in twice else name for i, name in enumerate(found)]
        folders += 1
    return found


def _walk(folder: Path, seen: set[Path], on_notice: Callable[[str], None]) -> Iterator[Path]:
    """Clips under a folder, itself included; every folder once, whatever links there are."""
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    entries = _entries(folder)
    videos = {path for path in entries if path.suffix.lower() in VIDEOS and path.is_file()}
    pictures = pictures_in(folder)
    if pictures and videos:
        on_notice(f"{str(folder)!r}: {len(pictures)} pictures lie beside videos and are passed over")
    elif pictures:
        if len(pictures) < MIN_FRAMES:
            raise DataError(
                f"{str(folder)!r} is a clip of {len(pictures)} pictures, too few: put at least {MIN_FRAMES} "
                "frames there, or none"
            )
        yield folder
    for path in entries:
        if path in videos:
            yield path
        elif path.is_dir():
            yield from _walk(path, seen, on_notice)


def _entries(folder: Path) -> list[Path]:
    try:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot look into {str(folder)!r}: {error.strerror}; leave it out") from error
    return sorted(visible, key=lambda path: (natural_key(path.name), path.name))
