"""Which files a name means: a picture, a folder, a numbered sequence, a pattern with wildcards.

Only what the *user* has typed is ever taken for a pattern, and only if there is no file of that very name.
The files are found by listing folders, and each of them is opened by itself: no name reaches a reader that
would make something else of it.

How new pictures are called: by a pattern, as those that they are made of, or by one name.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import InputError, UsageError
from vsrcli.system.text import natural_key

EXTENSIONS = {
    ".png": "PNG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".exr": "EXR",
}
"""What pictures are called, and their file format."""

_NUMBER = re.compile(r"%(?:0(\d{1,2}))?d")
_ESCAPED = re.compile(r"%%|%(?:0\d{1,2})?d")


@dataclass(frozen=True)
class NumberPattern:
    """A name with a number in it, as C's ``printf`` and ffmpeg write it: ``frame-%05d.png``.

    Attributes:
        before, after: the name around the number, with ``%`` for ``%%``.
        digits: of the number, at least; 0 where it is not filled up with zeros.
    """

    before: str
    after: str
    digits: int

    def name(self, number: int) -> str:
        """Of the picture with a number."""
        return f"{self.before}{number:0{self.digits}d}{self.after}"

    def number(self, name: str) -> int | None:
        """Of the picture with a name; None if it does not belong to the sequence."""
        if not (name.startswith(self.before) and name.endswith(self.after)):
            return None
        digits = name[len(self.before) : len(name) - len(self.after)]
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            return None
        return int(digits) if self.name(int(digits)) == name else None


def parse_pattern(name: str) -> NumberPattern | None:
    """A file's name as a pattern; None if it holds no ``%d``, or holds several."""
    parts = _ESCAPED.split(name)
    marks = _ESCAPED.findall(name)
    places = [index for index, mark in enumerate(marks) if mark != "%%"]
    if len(places) != 1:
        return None
    at = places[0]
    plain = ["%" if mark == "%%" else "" for mark in marks]
    joined = [text for pair in zip(parts, [*plain, ""], strict=True) for text in pair]
    found = _NUMBER.fullmatch(marks[at])
    assert found is not None
    return NumberPattern("".join(joined[: 2 * at + 1]), "".join(joined[2 * at + 2 :]), int(found[1] or 0))


@dataclass(frozen=True)
class MatchedFiles:
    """Files that a name means.

    Attributes:
        files: in order.
        numbers: of each, as its name has it; None where names are not numbered by a pattern.
        single: whether the name is that of a file.
    """

    files: tuple[Path, ...]
    numbers: tuple[int, ...] | None = None
    single: bool = False


def match_files(path: Path) -> MatchedFiles | None:
    """The pictures that a name means; None if it is no pattern and no folder: a file, or nothing.

    Raises:
        InputError: a folder or pattern without pictures, a gap in the numbers, several formats.
    """
    try:
        if path.is_dir():
            return _several(_in_folder(path), f"{path} is a folder, but holds no pictures")
        if path.is_file():
            return MatchedFiles((path,), single=True)
        pattern = parse_pattern(path.name)
        if pattern is not None and not os.path.lexists(path):
            return _sequence(path, pattern)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            names = [Path(name) for name in glob.glob(str(path))]
            files = [file for file in names if file.is_file() and is_image_name(file)]
            return _several(files, f"{path}: no picture matches this pattern")
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); check the name and the disk") from error
    return None


def is_image_name(path: Path) -> bool:
    """Whether a name is that of a picture."""
    return path.suffix.lower() in EXTENSIONS


def _in_folder(folder: Path) -> list[Path]:
    return [file for file in folder.iterdir() if is_image_name(file) and not _hidden(file) and file.is_file()]


def _hidden(file: Path) -> bool:
    return file.name.startswith(".")


def _several(files: Sequence[Path], none: str) -> MatchedFiles:
    if not files:
        raise InputError(f"{none}; it takes {', '.join(EXTENSIONS)}")
    ordered = sorted(files, key=lambda file: (natural_key(str(file)), str(file)))
    first = ordered[0]
    for file in ordered:
        if EXTENSIONS[file.suffix.lower()] != EXTENSIONS[first.suffix.lower()]:
            raise InputError(
                f"{file} is no {EXTENSIONS[first.suffix.lower()]} like {first.name} beside it; "
                f"take one kind at a time, such as '{first.parent / ('*' + first.suffix)}'"
            )
    return MatchedFiles(tuple(ordered))


def _sequence(path: Path, pattern: NumberPattern) -> MatchedFiles:
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, so there is no {path}; check the name")
    found = {
        number: file
        for file in folder.iterdir()
        if (number := pattern.number(file.name)) is not None and file.is_file()
    }
    if not found:
        raise InputError(f"{path}: no file has such a name, as {pattern.name(1)} would; check the pattern")
    numbers = sorted(found)
    for before, after in itertools.pairwise(numbers):
        if after != before + 1:
            missing = after - before - 1
            more = f" and {missing - 1} more" if missing > 1 else ""
            raise InputError(
                f"{path}: {folder / pattern.name(before + 1)} is missing{more}, between {before} and "
                f"{after}; put it back, or take what is there with a quoted "
                f"'{folder / (pattern.before + '*' + pattern.after)}'"
            )
    return MatchedFiles(tuple(found[number] for number in numbers), tuple(numbers))


NUMBER_WILDCARD = "*"
"""Name of a target that is a folder: pictures are called there what they are called in the source."""


@dataclass(frozen=True)
class OutputNaming:
    """How new pictures are called.

    Attributes:
        folder: where they lie.
        suffix: their extension.
        pattern: of their names; None: they are called what the source's pictures are called.
        single: the only one's name, if there is only one.
    """

    folder: Path
    suffix: str
    pattern: NumberPattern | None = None
    single: str | None = None

    @property
    def path(self) -> Path:
        """What messages call them: one file, or a pattern."""
        if self.single is not None:
            return self.folder / self.single
        pattern = self.pattern
        if pattern is None:
            return self.folder / f"{NUMBER_WILDCARD}{self.suffix}"
        digits = f"0{pattern.digits}" if pattern.digits else ""
        before, after = (text.replace("%", "%%") for text in (pattern.before, pattern.after))
        return self.folder / f"{before}%{digits}d{after}"

    def file(self, number: int, source: Path | None) -> Path:
        """The picture of a number; ``source`` is the one that it is made of."""
        if self.single is not None:
            return self.folder / self.single
        if self.pattern is not None:
            return self.folder / self.pattern.name(number)
        assert source is not None
        return self.folder / f"{source.stem}{self.suffix}"


def parse_target(text: str | os.PathLike[str]) -> Path:
    """A target as it is typed: ``out/`` becomes ``out/*``, which a ``Path`` can tell from ``out``."""
    name = os.fspath(text)
    separators = tuple(filter(None, (os.sep, os.altsep)))
    return Path(name) / NUMBER_WILDCARD if name.endswith(separators) else Path(name)


def is_image_target(target: Path) -> bool:
    """Whether a target is spelled as pictures: by extension, or as a folder."""
    return target.name == NUMBER_WILDCARD or is_image_name(target)


def resolve_naming(
    target: Path, source: Path, *, pictures: bool, single: bool, many: bool
) -> OutputNaming | None:
    """How the pictures of a target are called; None if it is a film.

    Args:
        target: as typed, see :func:`as_target`.
        source: what is upscaled; of pictures, the first.
        pictures: whether it is pictures.
        single: whether it is one picture, named as a file.
        many: whether more than one frame may come.

    Raises:
        UsageError: one name for many pictures, a folder for a film.
    """
    folder = target.parent if target.name == NUMBER_WILDCARD else target if target.is_dir() else None
    if folder is not None:
        if not pictures:
            film, frames = folder / source.name, folder / "%05d.png"
            if target.name != NUMBER_WILDCARD:
                return None  # which the film's own check refuses
            raise UsageError(
                f"{folder} is a folder; name a film in it, such as {film}, or pictures, such as {frames}"
            )
        suffix = source.suffix if is_image_name(source) else ".png"
        return OutputNaming(folder, suffix, single=f"{source.stem}{suffix}" if single else None)
    if not is_image_name(target):
        return None
    pattern = parse_pattern(target.name)
    if pattern is not None:
        return OutputNaming(target.parent, target.suffix, pattern)
    if many:
        example = target.with_name(f"{target.stem}-%05d{target.suffix}")
        one = " (or one frame: --frames 1)" if not pictures else ""
        raise UsageError(f"{target} is one picture for many frames; name a pattern, such as {example}{one}")
    return OutputNaming(target.parent, target.suffix, single=target.name)
