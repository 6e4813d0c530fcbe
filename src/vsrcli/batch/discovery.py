"""Which films are meant, and where each of them goes.

What a new film is called: a template, and the extension that chooses its container.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from vsrcli.errors import OutputError, UsageError
from vsrcli.media.containers import container_from_suffix
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.system.text import VIDEO_EXTENSIONS, natural_key

_TRANSPORT = (".ts", ".mts")  # extensions that programs' sources have, too
_SYNC = b"G"  # the first byte of a transport stream's packet, or the fifth with a time before it


@dataclass(frozen=True)
class Task:
    """One film to be made.

    Attributes:
        source: the film, as the user's paths lead to it.
        target: the new film.
        name: for people: the source's place below what the user has named.
    """

    source: Path
    target: Path
    name: str


@dataclass(frozen=True)
class TaskList:
    """What there is to do.

    Attributes:
        tasks: every film once, in natural order of each folder.
        others: number of files in folders that are no films.
        results: number of files that are passed over because they are what this command makes.
    """

    tasks: tuple[Task, ...]
    others: int = 0
    results: int = 0


@dataclass(frozen=True)
class _Candidate:
    source: Path
    place: Path  # below OUT_DIR, still with the source's name


def find_tasks(
    inputs: Sequence[str],
    folder: Path,
    naming: Callable[[str], str],
    *,
    recursive: bool = False,
    finished: Collection[Path] = (),
) -> TaskList:
    """The films that files, folders and patterns name, and their targets.

    A folder's tree, and that below the first ``*`` of a pattern, is mirrored; a file goes to the top.

    Args:
        inputs: names of files and folders, and patterns that nobody has expanded (``**``: any depth).
        folder: where the new films go. What lies there is no input, unless its folder is named itself.
        naming: a source's name -> its target's.
        recursive: look into folders below the named ones.
        finished: results of earlier runs in ``folder``, which are no input either.

    Raises:
        UsageError: a pattern that nothing matches, no film at all, two films with one target, a film that
            would replace itself.
    """
    search = _Search(folder, recursive)
    for text in inputs:
        search.look(text)
    unique: dict[str, _Candidate] = {}
    for each in search.candidates:
        unique.setdefault(os.path.abspath(each.source), each)
    candidates = list(unique.values())
    targets = [folder / each.place.parent / naming(each.place.name) for each in candidates]
    made = {_real(target) for target in targets} | {_real(path) for path in finished}
    tasks = []
    for each, target in zip(candidates, targets, strict=True):
        real = _real(each.source)
        if real == _real(target):
            raise UsageError(
                f"{each.source} would replace itself in {folder}; choose another OUT_DIR, or a --name such "
                "as '{stem}_x4'"
            )
        if real not in made:
            tasks.append(Task(each.source, target, each.place.as_posix()))
    if not candidates:
        deeper = "name another folder" if recursive else "-r looks into the folders below, too"
        raise UsageError(f"no film in {', '.join(inputs)}; {deeper}")
    _check_targets(tasks)
    return TaskList(tuple(tasks), search.others, len(candidates) - len(tasks))


def _check_targets(tasks: Sequence[Task]) -> None:
    """Two films of one target: the second would find that the first exists, hours later."""
    owners: dict[str, Task] = {}
    for task in tasks:
        owner = owners.setdefault(os.path.normcase(task.target), task)
        if owner is not task:
            raise UsageError(
                f"{owner.source} and {task.source} would both become {task.target}; name the folder that "
                "holds both, with -r, or choose another OUT_DIR for one of them"
            )


class _Search:
    def __init__(self, folder: Path, recursive: bool) -> None:
        self.candidates: list[_Candidate] = []
        self.others = 0
        self._folder, self._recursive = _real(folder), recursive

    def look(self, text: str) -> None:
        """Take what one argument names."""
        path = Path(text)
        if text == "-":
            raise UsageError("a batch takes files, no stdin; `vsr upscale -` does")
        if path.is_dir():
            self._walk(path, path, set())
        elif path.exists() or not glob.has_magic(text):
            self.candidates.append(_Candidate(path, Path(path.name)))  # if it is not there, it will be said
        else:
            self._expand(text)

    def _expand(self, pattern: str) -> None:
        root = _plain_part(pattern)
        outside = not _real(root).is_relative_to(self._folder)
        expanded = glob.glob(pattern, recursive=True)
        matches = sorted(map(Path, expanded), key=_by_name)
        if not matches:
            raise UsageError(f"no file matches {pattern!r}; check the pattern")
        for path in matches:
            if outside and _real(path).is_relative_to(self._folder):
                continue
            if path.is_dir():
                self._walk(path, root, set())
            else:
                self._take(path, root)

    def _walk(self, folder: Path, root: Path, seen: set[Path]) -> None:
        """Films in a folder; every folder once, whatever links there are."""
        real = _real(folder)
        if real in seen:
            return
        seen.add(real)
        try:
            entries = sorted(folder.iterdir(), key=_by_name)
        except OSError as error:
            raise UsageError(f"{folder} cannot be looked into ({error.strerror}); leave it out") from error
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if self._recursive and _real(path) != self._folder:
                    self._walk(path, root, seen)
            else:
                self._take(path, root)

    def _take(self, path: Path, root: Path) -> None:
        if _is_film(path):
            self.candidates.append(_Candidate(path, path.relative_to(root)))
        else:
            self.others += 1


def _is_film(path: Path) -> bool:
    """By its extension; the contents of a damaged film say nothing, and it must not be passed over."""
    suffix = path.suffix.lower()
    if suffix in _TRANSPORT and path.is_file():
        try:
            with path.open("rb") as file:
                head = file.read(5)
        except OSError:
            return True
        return not head or _SYNC in (head[:1], head[4:5])
    return suffix in VIDEO_EXTENSIONS


def _plain_part(pattern: str) -> Path:
    """The folders before the first part of a pattern that is one."""
    parts = Path(pattern).parts
    return Path(*_until_magic(parts))


def _until_magic(parts: Sequence[str]) -> Iterator[str]:
    for part in parts:
        if glob.has_magic(part):
            return
        yield part


def _by_name(path: Path) -> list[list[tuple[int, int, str]]]:
    """``e2.mp4`` before ``e10.mp4``, part by part."""
    return [natural_key(part) for part in path.parts]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


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
