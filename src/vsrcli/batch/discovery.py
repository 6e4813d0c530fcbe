"""Find the videos of a batch, and name their outputs.

Folders are searched for the extensions of videos, patterns are expanded, and the tree below them is mirrored
in the output folder. Results of earlier runs are no inputs. Two outputs of the same name are an error before
the batch starts, not hours later.
"""

from __future__ import annotations

import glob
import itertools
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter

from vsrcli.errors import OutputError, UsageError
from vsrcli.media.containers import choose_container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.system.text import VIDEO_EXTENSIONS, natural_key

TEMPLATE_FIELDS = ("stem", "suffix", "scale", "model")
DEFAULT_TEMPLATE = "{stem}"
FALLBACK_SUFFIX = ".mkv"  # Matroska can hold the streams of any source

_TRANSPORT_STREAM_EXTENSIONS = (".ts", ".mts")  # TypeScript files have them, too
_SYNC_BYTE = b"G"  # first byte of a transport stream packet, or the fifth if a timestamp precedes it


@dataclass(frozen=True)
class Task:
    """One input and its output.

    Attributes:
        source: path of the input, reached through the user's arguments.
        target: path of the output.
        name: for people: the source's path relative to the folder that the user named.
    """

    source: Path
    target: Path
    name: str


@dataclass(frozen=True)
class TaskList:
    """The inputs of a batch.

    Attributes:
        tasks: each input once, in natural order within each folder.
        ignored_count: number of files in folders that are not videos.
        result_count: number of files that are skipped because they are outputs of this batch.
        notices: lines about folders that cannot be searched.
    """

    tasks: tuple[Task, ...]
    ignored_count: int = 0
    result_count: int = 0
    notices: tuple[str, ...] = ()


def find_tasks(
    inputs: Sequence[str],
    folder: Path,
    name_output: Callable[[str], str],
    *,
    recursive: bool = False,
    finished: Collection[Path] = (),
) -> TaskList:
    """Return a task for each video that files, folders and patterns name.

    The tree of a folder, and that below the first wildcard of a pattern, is mirrored in the output folder;
    a file that is named goes to its top.

    Args:
        inputs: names of files and folders, and patterns that no shell has expanded (``**``: any depth).
        folder: for the outputs. Files in it are no inputs, unless it is itself among ``inputs``.
        name_output: returns the name of an output for the name of its source.
        recursive: search the folders below those in ``inputs``.
        finished: outputs of earlier runs in ``folder``, which are no inputs either.

    Raises:
        UsageError: a pattern matches nothing, a folder in ``inputs`` cannot be searched, there is no video
            at all, two videos have the same output, or a video would replace itself.
    """
    search = _Search(folder, recursive)
    for text in inputs:
        search.add(text)
    unique: dict[str, _Candidate] = {}
    for candidate in search.candidates:
        # no links are followed here: two links to one file are two videos
        unique.setdefault(os.path.abspath(candidate.source), candidate)  # noqa: PTH100
    candidates = list(unique.values())
    targets = [folder / each.relative.parent / name_output(each.relative.name) for each in candidates]
    outputs = {_real(path) for path in (*targets, *finished)}
    tasks = []
    for each, target in zip(candidates, targets, strict=True):
        real = _real(each.source)
        if real == _real(target):
            raise UsageError(
                f"{each.source} would replace itself in {folder}; choose another OUT_DIR, or a --name such "
                "as '{stem}_x4'"
            )
        if real not in outputs:
            tasks.append(Task(each.source, target, each.relative.as_posix()))
    if not candidates:
        hint = "name another folder" if recursive else "-r also searches the folders below"
        raise UsageError(f"no video in {', '.join(inputs)}; {hint}")
    _check_targets(tasks)
    results = len(candidates) - len(tasks)
    return TaskList(tuple(tasks), search.ignored_count, results, tuple(search.notices))


@dataclass(frozen=True)
class Naming:
    """Names outputs by a template; call it with the name of a source.

    Attributes:
        ffmpeg: decides which containers can be written.
        template: text with the fields of :data:`TEMPLATE_FIELDS`. ``{suffix}`` is the output's extension with
            its dot, and is appended to a template without an extension.
        container: extension of all outputs; None: the source's, or ``.mkv`` where that cannot be written.
        scale, model: values of these fields.

    Raises:
        UsageError: the template has an unknown field or format, no ``{stem}``, a path separator or another
            extension than the container's, or the container is unknown.
    """

    ffmpeg: Ffmpeg
    template: str = DEFAULT_TEMPLATE
    container: str | None = None
    scale: str = ""
    model: str = ""

    def __post_init__(self) -> None:
        try:
            fields = [name for _, name, _, _ in Formatter().parse(self.template) if name is not None]
        except ValueError as error:
            raise UsageError(f"--name {self.template!r} is no template ({error}); see --help") from None
        unknown = [name for name in fields if name not in TEMPLATE_FIELDS]
        if unknown:
            known = ", ".join(f"{{{name}}}" for name in TEMPLATE_FIELDS)
            raise UsageError(f"--name {self.template!r}: no field {{{unknown[0]}}}; there are {known}")
        if "/" in self.template or "\\" in self.template:
            raise UsageError(
                f"--name {self.template!r} is more than a file's name; leave the folders to OUT_DIR"
            )
        if "stem" not in fields:
            raise UsageError(f"--name {self.template!r} would name all videos the same; put {{stem}} in it")
        if self.container is not None and not self._can_write(self.container):
            raise UsageError(
                f"--container {self.container}: no container that can be written; use another, such as .mkv"
            )
        typed, ending = self.template, Path(self.template.replace("{stem}", "x")).suffix
        if "suffix" not in fields and not (ending and self._can_write(ending)):
            object.__setattr__(self, "template", self.template + "{suffix}")
        try:
            ending = Path(self("x.mkv")).suffix.lower()
        except (ValueError, LookupError, AttributeError) as error:
            raise UsageError(f"--name {typed!r} is no template ({error}); see --help") from None
        if self.container is not None and ending != self.container and self._can_write(ending):
            raise UsageError(
                f"--name {typed!r} ends with {ending}, but --container is {self.container}; leave one of "
                "them out"
            )

    def __call__(self, name: str) -> str:
        """Return the name of the output for the name of a source."""
        source = Path(name)
        suffix = self.container or (source.suffix if self._can_write(source.suffix) else FALLBACK_SUFFIX)
        model = Path(self.model).name.removesuffix(".weights.h5")
        return self.template.format(stem=source.stem, suffix=suffix, scale=self.scale, model=model)

    def _can_write(self, suffix: str) -> bool:
        try:
            choose_container(Path(f"video{suffix}"), None, self.ffmpeg)
        except OutputError:
            return False
        return True


def _check_targets(tasks: Sequence[Task]) -> None:
    """Raise a UsageError if two tasks have the same output."""
    first_tasks: dict[str, Task] = {}
    for task in tasks:
        first = first_tasks.setdefault(os.path.normcase(task.target), task)
        if first is not task:
            raise UsageError(
                f"{first.source} and {task.source} would both become {task.target}; name the folder that "
                "holds both, with -r, or choose another OUT_DIR for one of them"
            )


@dataclass(frozen=True)
class _Candidate:
    source: Path
    relative: Path  # to OUT_DIR; still with the source's name


class _Search:
    """Collects candidates from arguments.

    Attributes:
        candidates: files in the order of the arguments; the same file may be there twice.
        ignored_count: number of files in folders that are not videos.
        notices: lines about folders that cannot be searched.
    """

    def __init__(self, folder: Path, recursive: bool) -> None:
        self.candidates: list[_Candidate] = []
        self.ignored_count = 0
        self.notices: list[str] = []
        self._folder, self._recursive = _real(folder), recursive
        self._named: set[Path] = set()  # folders that are arguments

    def add(self, text: str) -> None:
        """Add the files that one argument names."""
        path = Path(text)
        if text == "-":
            raise UsageError("a batch takes files, no stdin; `vsr upscale -` does")
        if path.is_dir():
            self._named.add(path)
            self._walk(path, path, set())
        elif path.exists() or not glob.has_magic(text):
            self.candidates.append(_Candidate(path, Path(path.name)))  # planning reports a missing file
        else:
            self._expand(text)

    def _expand(self, pattern: str) -> None:
        root = _literal_prefix(pattern)
        outside = not _real(root).is_relative_to(self._folder)
        matches = sorted(map(Path, glob.glob(pattern, recursive=True)), key=_sort_key)  # noqa: PTH207
        if not matches:
            raise UsageError(f"no file matches {pattern!r}; check the pattern")
        for path in matches:
            if outside and _real(path).is_relative_to(self._folder):
                continue
            if path.is_dir():
                self._walk(path, root, set())
            else:
                self._add_file(path, root)

    def _walk(self, folder: Path, root: Path, visited: set[Path]) -> None:
        """Add the videos in a folder; links to a folder that was visited are not followed."""
        real = _real(folder)
        if real in visited:
            return
        visited.add(real)
        try:
            entries = sorted(folder.iterdir(), key=_sort_key)
        except OSError as error:
            if folder in self._named:
                raise UsageError(f"{folder} cannot be searched ({error.strerror}); leave it out") from error
            self.notices.append(f"{folder} cannot be searched ({error.strerror}): its videos are left out")
            return
        for path in entries:
            if path.name.startswith("."):
                continue
            if path.is_dir():
                if self._recursive and _real(path) != self._folder:
                    self._walk(path, root, visited)
            else:
                self._add_file(path, root)

    def _add_file(self, path: Path, root: Path) -> None:
        if _is_video(path):
            self.candidates.append(_Candidate(path, path.relative_to(root)))
        else:
            self.ignored_count += 1


def _is_video(path: Path) -> bool:
    """Decide by the extension: a damaged video must be reported, not ignored."""
    suffix = path.suffix.lower()
    if suffix in _TRANSPORT_STREAM_EXTENSIONS and path.is_file():
        try:
            with path.open("rb") as file:
                head = file.read(5)
        except OSError:
            return True
        return not head or _SYNC_BYTE in (head[:1], head[4:5])
    return suffix in VIDEO_EXTENSIONS


def _literal_prefix(pattern: str) -> Path:
    """Return the folders of a pattern before its first part with a wildcard."""
    return Path(*itertools.takewhile(lambda part: not glob.has_magic(part), Path(pattern).parts))


def _sort_key(path: Path) -> list[list[tuple[int, int, str]]]:
    """Sort ``e2.mp4`` before ``e10.mp4``, part by part."""
    return [natural_key(part) for part in path.parts]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))
