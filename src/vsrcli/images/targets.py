"""How new pictures are called: by a pattern, as those that they are made of, or by one name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import UsageError
from vsrcli.images.names import NumberPattern, is_image_name, parse_pattern

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
