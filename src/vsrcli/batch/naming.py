"""What a new film is called: a template, and the extension that chooses its container."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from vsrcli.errors import OutputError, UsageError
from vsrcli.media.containers import container_from_suffix
from vsrcli.media.ffmpeg import Ffmpeg

FIELDS = ("stem", "suffix", "scale", "model")
TEMPLATE = "{stem}"
FALLBACK = ".mkv"  # holds whatever the source held


@dataclass(frozen=True)
class Naming:
    """From a source's name to its target's.

    Attributes:
        ffmpeg: what will write it.
        template: text with ``{stem}``, ``{suffix}``, ``{scale}`` and ``{model}``; ``{suffix}`` is the
            target's extension with its dot, and is added at the end of a template that names none.
        container: the extension of all targets; None: the source's, or ``.mkv`` where that cannot be written.
        scale, model: what stands for these fields.

    Raises:
        UsageError: an unknown field, a template for more than a file's name, an unknown container.
    """

    ffmpeg: Ffmpeg
    template: str = TEMPLATE
    container: str | None = None
    scale: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        try:
            fields = [name for _, name, _, _ in Formatter().parse(self.template) if name is not None]
        except ValueError as error:
            raise UsageError(f"--name {self.template!r} is no template ({error}); see --help") from None
        unknown = [name for name in fields if name not in FIELDS]
        if unknown:
            there = ", ".join(f"{{{name}}}" for name in FIELDS)
            raise UsageError(f"--name {self.template!r}: no field {{{unknown[0]}}}; there are {there}")
        if "/" in self.template or "\\" in self.template:
            raise UsageError(
                f"--name {self.template!r} is more than a file's name; leave the folders to OUT_DIR"
            )
        if "stem" not in fields:
            raise UsageError(f"--name {self.template!r} would call all films the same; put {{stem}} in it")
        if self.container is not None and not self._can_write(self.container):
            raise UsageError(
                f"--container {self.container}: no container that can be written; use another, such as .mkv"
            )
        ending = Path(self.template.replace("{stem}", "x")).suffix
        if "suffix" not in fields and not (ending and self._can_write(ending)):
            object.__setattr__(self, "template", self.template + "{suffix}")

    def __call__(self, name: str) -> str:
        """The target's name for a source's."""
        source = Path(name)
        suffix = self.container or (source.suffix if self._can_write(source.suffix) else FALLBACK)
        model = Path(self.model).name.removesuffix(".weights.h5")
        return self.template.format(stem=source.stem, suffix=suffix, scale=self.scale, model=model)

    def _can_write(self, suffix: str) -> bool:
        try:
            container_from_suffix(Path(f"film{suffix}"), self.ffmpeg)
        except OutputError:
            return False
        return True
