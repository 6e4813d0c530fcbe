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

FORMAT_BY_EXTENSION = {
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
_PERCENT_OR_NUMBER = re.compile(r"%%|%(?:0\d{1,2})?d")


@dataclass(frozen=True)
class NumberPattern:
    """A name with a number in it, as C's ``printf`` and ffmpeg write it: ``frame-%05d.png``.

    Attributes:
        before, after: the name around the number, with ``%`` for ``%%``.
        digits: of the number, at least; 0 where it is not filled up with zeros.
    """

    prefix: str
    suffix: str
    min_digits: int

    def format(self, number: int) -> str:
        """Of the picture with a number."""
        return f"{self.prefix}{number:0{self.min_digits}d}{self.suffix}"

    def parse(self, name: str) -> int | None:
        """Of the picture with a name; None if it does not belong to the sequence."""
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        digits = name[len(self.prefix) : len(name) - len(self.suffix)]
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            return None
        return int(digits) if self.format(int(digits)) == name else None


def parse_pattern(name: str) -> NumberPattern | None:
    """A file's name as a pattern; None if it holds no ``%d``, or holds several."""
    parts = _PERCENT_OR_NUMBER.split(name)
    marks = _PERCENT_OR_NUMBER.findall(name)
    number_indices = [index for index, mark in enumerate(marks) if mark != "%%"]
    if len(number_indices) != 1:
        return None
    number_index = number_indices[0]
    literals = ["%" if mark == "%%" else "" for mark in marks]
    joined = [text for pair in zip(parts, [*literals, ""], strict=True) for text in pair]
    number = _NUMBER.fullmatch(marks[number_index])
    assert number is not None
    return NumberPattern(
        "".join(joined[: 2 * number_index + 1]), "".join(joined[2 * number_index + 2 :]), int(number[1] or 0)
    )


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
    is_single_file: bool = False


def match_files(path: Path) -> MatchedFiles | None:
    """The pictures that a name means; None if it is no pattern and no folder: a file, or nothing.

    Raises:
        InputError: a folder or pattern without pictures, a gap in the numbers, several formats.
    """
    try:
        if path.is_dir():
            return _sorted_one_format(_images_in(path), f"{path} is a folder, but holds no pictures")
        if path.is_file():
            return MatchedFiles((path,), is_single_file=True)
        pattern = parse_pattern(path.name)
        if pattern is not None and not os.path.lexists(path):
            return _match_number_pattern(path, pattern)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            names = [Path(name) for name in glob.glob(str(path))]
            files = [file for file in names if file.is_file() and is_image_name(file)]
            return _sorted_one_format(files, f"{path}: no picture matches this pattern")
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); check the name and the disk") from error
    return None


def is_image_name(path: Path) -> bool:
    """Whether a name is that of a picture."""
    return path.suffix.lower() in FORMAT_BY_EXTENSION


def _images_in(folder: Path) -> list[Path]:
    return [
        file for file in folder.iterdir() if is_image_name(file) and not _is_hidden(file) and file.is_file()
    ]


def _is_hidden(file: Path) -> bool:
    return file.name.startswith(".")


def _sorted_one_format(files: Sequence[Path], empty_message: str) -> MatchedFiles:
    if not files:
        raise InputError(f"{empty_message}; it takes {', '.join(FORMAT_BY_EXTENSION)}")
    ordered = sorted(files, key=lambda file: (natural_key(str(file)), str(file)))
    first = ordered[0]
    for file in ordered:
        if FORMAT_BY_EXTENSION[file.suffix.lower()] != FORMAT_BY_EXTENSION[first.suffix.lower()]:
            raise InputError(
                f"{file} is no {FORMAT_BY_EXTENSION[first.suffix.lower()]} like {first.name} beside it; "
                f"take one kind at a time, such as '{first.parent / ('*' + first.suffix)}'"
            )
    return MatchedFiles(tuple(ordered))


def _match_number_pattern(path: Path, pattern: NumberPattern) -> MatchedFiles:
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder, so there is no {path}; check the name")
    by_number = {
        number: file
        for file in folder.iterdir()
        if (number := pattern.parse(file.name)) is not None and file.is_file()
    }
    if not by_number:
        raise InputError(f"{path}: no file has such a name, as {pattern.format(1)} would; check the pattern")
    numbers = sorted(by_number)
    for previous, following in itertools.pairwise(numbers):
        if following != previous + 1:
            missing = following - previous - 1
            more = f" and {missing - 1} more" if missing > 1 else ""
            raise InputError(
                f"{path}: {folder / pattern.format(previous + 1)} is missing{more}, between {previous} and "
                f"{following}; put it back, or take what is there with a quoted "
                f"'{folder / (pattern.prefix + '*' + pattern.suffix)}'"
            )
    return MatchedFiles(tuple(by_number[number] for number in numbers), tuple(numbers))


NAME_WILDCARD = "*"
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
    single_name: str | None = None

    @property
    def path(self) -> Path:
        """What messages call them: one file, or a pattern."""
        if self.single_name is not None:
            return self.folder / self.single_name
        pattern = self.pattern
        if pattern is None:
            return self.folder / f"{NAME_WILDCARD}{self.suffix}"
        digits = f"0{pattern.min_digits}" if pattern.min_digits else ""
        prefix, suffix = (text.replace("%", "%%") for text in (pattern.prefix, pattern.suffix))
        return self.folder / f"{prefix}%{digits}d{suffix}"

    def path_for(self, number: int, source: Path | None) -> Path:
        """The picture of a number; ``source`` is the one that it is made of."""
        if self.single_name is not None:
            return self.folder / self.single_name
        if self.pattern is not None:
            return self.folder / self.pattern.format(number)
        assert source is not None
        return self.folder / f"{source.stem}{self.suffix}"


def parse_target(text: str | os.PathLike[str]) -> Path:
    """A target as it is typed: ``out/`` becomes ``out/*``, which a ``Path`` can tell from ``out``."""
    name = os.fspath(text)
    separators = tuple(filter(None, (os.sep, os.altsep)))
    return Path(name) / NAME_WILDCARD if name.endswith(separators) else Path(name)


def is_image_target(target: Path) -> bool:
    """Whether a target is spelled as pictures: by extension, or as a folder."""
    return target.name == NAME_WILDCARD or is_image_name(target)


def resolve_naming(
    target: Path, source: Path, *, from_images: bool, is_single_image: bool, has_many_frames: bool
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
    folder = target.parent if target.name == NAME_WILDCARD else target if target.is_dir() else None
    if folder is not None:
        if not from_images:
            video, frames = folder / source.name, folder / "%05d.png"
            if target.name != NAME_WILDCARD:
                return None  # which the film's own check refuses
            raise UsageError(
                f"{folder} is a folder; name a film in it, such as {video}, or pictures, such as {frames}"
            )
        suffix = source.suffix if is_image_name(source) else ".png"
        return OutputNaming(folder, suffix, single_name=f"{source.stem}{suffix}" if is_single_image else None)
    if not is_image_name(target):
        return None
    pattern = parse_pattern(target.name)
    if pattern is not None:
        return OutputNaming(target.parent, target.suffix, pattern)
    if has_many_frames:
        example = target.with_name(f"{target.stem}-%05d{target.suffix}")
        single_frame_hint = " (or one frame: --frames 1)" if not from_images else ""
        raise UsageError(
            f"{target} is one picture for many frames; name a pattern, such as {example}{single_frame_hint}"
        )
    return OutputNaming(target.parent, target.suffix, single_name=target.name)
