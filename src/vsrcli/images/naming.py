"""Names of image sequences: which files an input means, and how output images are named.

An input is an image, a folder, a numbered pattern or a glob. Only a name that the *user* has typed can be a
pattern, and only if no file has exactly that name. Files are found by listing folders, and each is opened on
its own: no name reaches a reader that would interpret it as a pattern.

Output images are named by a numbered pattern, like their source images, or by a single name.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import InputError, OutputError, UsageError
from vsrcli.media.types import Source
from vsrcli.media.y4m import STDIO
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
"""File format by extension of an image's name, in lower case."""

_NUMBER = re.compile(r"%(?:0(\d{1,2}))?d")
_PERCENT_OR_NUMBER = re.compile(r"%%|%(?:0\d{1,2})?d")


@dataclass(frozen=True)
class NumberPattern:
    """A file name with a frame number, as C's ``printf`` and ffmpeg write it: ``frame-%05d.png``.

    Attributes:
        prefix, suffix: the name before and after the number, with ``%`` for ``%%``.
        min_digits: to which the number is padded with zeros; 0 for no padding.
    """

    prefix: str
    suffix: str
    min_digits: int

    def format(self, number: int) -> str:
        """Return the file name for a number."""
        return f"{self.prefix}{number:0{self.min_digits}d}{self.suffix}"

    def parse(self, name: str) -> int | None:
        """Return the number in a file name; None if :meth:`format` would not write that name."""
        if not (name.startswith(self.prefix) and name.endswith(self.suffix)):
            return None
        digits = name[len(self.prefix) : len(name) - len(self.suffix)]
        if not (digits.isascii() and digits.isdecimal()) or len(digits) > 18:
            return None
        return int(digits) if self.format(int(digits)) == name else None


def parse_pattern(name: str) -> NumberPattern | None:
    """Parse a file name as a pattern; return None if it holds no ``%d``, or several."""
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
    """The files of an input.

    Attributes:
        files: in order.
        numbers: of each file, as in its name; None unless a numbered pattern was used.
        is_single_file: whether the input is the name of one file.
    """

    files: tuple[Path, ...]
    numbers: tuple[int, ...] | None = None
    is_single_file: bool = False


def match_files(path: Path, results: Collection[Path] = ()) -> MatchedFiles | None:
    """Return the files that an input means; None if it does not exist and is no pattern.

    Args:
        path: as typed.
        results: files that are no input of a folder or glob pattern: an interrupted run has written them.

    Raises:
        InputError: a folder or pattern without images, a gap in the numbers, or several formats.
    """
    try:
        if path.is_dir():
            files = [file for file in _images_in(path) if file not in results]
            return _sorted_one_format(files, f"{path} is a folder, but holds no images")
        if path.is_file():
            return MatchedFiles((path,), is_single_file=True)
        pattern = parse_pattern(path.name)
        if pattern is not None and not os.path.lexists(path):
            return _match_number_pattern(path, pattern)
        if glob.has_magic(str(path)) and not os.path.lexists(path):
            names = [Path(name) for name in glob.glob(str(path))]  # noqa: PTH207 - all of it is a pattern
            files = [file for file in names if file.is_file() and is_image_name(file)]
            files = [file for file in files if file not in results]
            return _sorted_one_format(files, f"{path}: no image matches this pattern")
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({error}); check the name and the disk") from error
    return None


def is_image_name(path: Path) -> bool:
    """Return whether a path has the extension of a supported image format."""
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
                f"{file} is no {FORMAT_BY_EXTENSION[first.suffix.lower()]} like {first.name}; "
                f"take one format at a time, such as '{first.parent / ('*' + first.suffix)}'"
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
                f"{following}; put it back, or take the existing files with a quoted "
                f"'{folder / (pattern.prefix + '*' + pattern.suffix)}'"
            )
    return MatchedFiles(tuple(by_number[number] for number in numbers), tuple(numbers))


NAME_WILDCARD = "*"
"""Last part of a target that is a folder: images there keep the names of the source images."""


@dataclass(frozen=True)
class OutputNaming:
    """How output images are named.

    Attributes:
        folder: of the images.
        suffix: their extension.
        pattern: of their names; None: they keep the names of the source images.
        single_name: name of the only image; None for a sequence.
    """

    folder: Path
    suffix: str
    pattern: NumberPattern | None = None
    single_name: str | None = None

    @property
    def path(self) -> Path:
        """The path of the single image, or of the sequence as a pattern."""
        if self.single_name is not None:
            return self.folder / self.single_name
        pattern = self.pattern
        if pattern is None:
            return self.folder / f"{NAME_WILDCARD}{self.suffix}"
        digits = f"0{pattern.min_digits}" if pattern.min_digits else ""
        prefix, suffix = (text.replace("%", "%%") for text in (pattern.prefix, pattern.suffix))
        return self.folder / f"{prefix}%{digits}d{suffix}"

    def path_for(self, number: int, source: Path | None) -> Path:
        """Return the path of the image with a number; ``source`` is its source image, if it has one."""
        if self.single_name is not None:
            return self.folder / self.single_name
        if self.pattern is not None:
            return self.folder / self.pattern.format(number)
        assert source is not None
        return self.folder / f"{source.stem}{self.suffix}"


def parse_target(text: str | os.PathLike[str]) -> Path:
    """Return a target as typed: ``out/`` becomes ``out/*``, since ``Path`` does not keep the final slash."""
    name = os.fspath(text)
    separators = tuple(filter(None, (os.sep, os.altsep)))
    return Path(name) / NAME_WILDCARD if name.endswith(separators) else Path(name)


def is_image_target(target: Path) -> bool:
    """Return whether a target is spelled as an image sequence: by extension, or as a folder."""
    return target.name == NAME_WILDCARD or is_image_name(target)


def resolve_naming(
    target: Path, source: Path, *, from_images: bool, is_single_image: bool, has_many_frames: bool
) -> OutputNaming | None:
    """Return how the images of a target are named; None if the target is a video.

    Args:
        target: as typed, see :func:`parse_target`.
        source: the input; of an image sequence, its first file.
        from_images: whether the input is an image sequence.
        is_single_image: whether the input is one image, named as a file.
        has_many_frames: whether the output may have more than one frame.

    Raises:
        UsageError: a single name for many frames, or a folder for a video.
    """
    folder = target.parent if target.name == NAME_WILDCARD else target if target.is_dir() else None
    if folder is not None:
        if not from_images:
            video, frames = folder / source.name, folder / "%05d.png"
            if target.name != NAME_WILDCARD:
                raise OutputError(f"{target} is a folder; name a file in it, such as {video}")
            raise UsageError(
                f"{folder} is a folder; name a video in it, such as {video}, or images, such as {frames}"
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
            f"{target} is one image for many frames; name a pattern, such as {example}{single_frame_hint}"
        )
    return OutputNaming(target.parent, target.suffix, single_name=target.name)


@dataclass(frozen=True)
class ImageTarget:
    """The images of an output, as found before it is planned.

    Attributes:
        naming: how they are named.
        files: those that will be written; of a video, existing files that may be replaced.
        remaining_count: existing images whose names match, but that stay.
    """

    naming: OutputNaming
    files: tuple[Path, ...]
    remaining_count: int = 0


def find_targets(source: Source, indices: range, target: Path, max_frames: int | None) -> ImageTarget | None:
    """Return the images that a target means; None if it is a video or stdout.

    Args:
        source: of the frames.
        indices: of the images that are upscaled; empty for a video.
        target: see :func:`parse_target`.
        max_frames: upper limit of frames; None for no limit.

    Raises:
        UsageError: see :func:`resolve_naming`; or two source images would get the same name.
    """
    if target == STDIO:
        return None
    images = source.images
    file = source.path if source.is_stored else Path("stdin.mp4")
    naming = resolve_naming(
        target,
        file if images is None else images.files[0],
        from_images=images is not None,
        is_single_image=images is not None and images.is_single_image,
        has_many_frames=max_frames != 1 if images is None else len(indices) != 1,
    )
    if naming is None:
        return None
    matching = _matching_files(naming)
    if images is not None:
        files = _named_files(naming, [(images.numbers[index], images.files[index]) for index in indices])
    elif naming.single_name is not None:
        files = [naming.folder / naming.single_name]
    else:
        files = matching
    return ImageTarget(naming, tuple(files), len(set(matching).difference(files)))


def _matching_files(naming: OutputNaming) -> list[Path]:
    """Return existing files whose names match the pattern."""
    pattern = naming.pattern
    if pattern is None or not naming.folder.is_dir():
        return []
    return [file for file in naming.folder.iterdir() if pattern.parse(file.name) is not None]


def _named_files(naming: OutputNaming, images: list[tuple[int, Path]]) -> list[Path]:
    """Return the output file of each source image, given by its number and path.

    Raises:
        UsageError: two would get the same name.
    """
    source_of: dict[str, Path] = {}
    files = []
    for number, source_file in images:
        file = naming.path_for(number, source_file)
        other = source_of.setdefault(os.path.normcase(file), source_file)
        if other != source_file:
            raise UsageError(
                f"{other} and {source_file} would both become {file}; name a pattern, such as "
                f"{naming.folder / f'%05d{naming.suffix}'}"
            )
        files.append(file)
    return files
