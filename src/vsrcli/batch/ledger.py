"""Which films are finished: one line of JSON for each, appended to a hidden file in the output folder.

A file that is only ever appended to cannot lose an old entry to a crash, and several batches may write to it.
A line that a power cut has torn is passed over. Whether a film is finished is decided by what it is, not by
its name: the record has the fingerprint of the source, of the options and of the result.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from vsrcli._version import __version__
from vsrcli.errors import OutputError
from vsrcli.inference.selection import choose_model
from vsrcli.models.weights import SUFFIX, list_weights
from vsrcli.pipeline.checkpoint import changed_keys, sampled_sha256
from vsrcli.pipeline.job import Options
from vsrcli.system.files import fsync_path, workdir_for

NAME = ".vsr-batch.jsonl"
_VERSION = 1
_PIECE = 1 << 20
# Where and how a film is computed makes no other film of it; nor is one worse for what it did not need.
_ELSEWHERE = ("model", "tile", "device", "engine", "max_memory", "ffmpeg", "segment", "resume", "keep_going")
_NOT_SEEN = ("overwrite", "format", "otherwise", "fps")  # the last one: whether it is merely preferred


@dataclass(frozen=True)
class Identity:
    """What tells one file from another.

    Attributes:
        size: in bytes.
        mtime_ns: when it was changed last.
        sample: sha256 of blocks spread over it.
        sha256: of all of it; empty if nobody has read it.
    """

    size: int
    mtime_ns: int
    sample: str
    sha256: str = ""

    @classmethod
    def of(cls, path: Path, *, whole: bool = False) -> Self:
        """Look at a file.

        Args:
            whole: read all of it.

        Raises:
            OSError: it cannot be read.
        """
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, sampled_sha256(path), _digest(path) if whole else "")

    def matches(self, path: Path) -> bool:
        """Whether a file is this one: by its time, or where that has changed (copied, touched), by all of it.

        Raises:
            OSError: it cannot be read.
        """
        now = Identity.of(path)
        if (now.size, now.sample) != (self.size, self.sample):
            return False
        return now.mtime_ns == self.mtime_ns or (self.sha256 != "" and _digest(path) == self.sha256)


@dataclass(frozen=True)
class Record:
    """One film that was begun or finished.

    Attributes:
        target: of the film, below the output folder, with forward slashes.
        source: the film that it was made of.
        options: what it depends on, by name; see :func:`wanted`.
        begun: when, in nanoseconds since 1970.
        result: the finished film; None while there is none.
        frames: in it.
        vsr: the version that made it. For people: a newer one does not unmake a film.
    """

    target: str
    source: Identity
    options: Mapping[str, str]
    begun: int = field(default_factory=time.time_ns)
    result: Identity | None = None
    frames: int | None = None
    vsr: str = __version__


class Ledger:
    """The records of one output folder.

    Args:
        folder: it need not exist until the first record is written.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._path = folder, folder / NAME
        self._finished: dict[str, Record] = {}
        self._begun: dict[str, Record] = {}
        for record in _read(self._path):
            self._remember(record)

    def make_folder(self) -> None:
        """Make the folder, unless it is there.

        Raises:
            OutputError: it cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made ({error.strerror}); choose another") from error

    @property
    def targets(self) -> list[Path]:
        """Of all finished films."""
        return [self.folder / key for key in self._finished]

    def frames(self, target: Path) -> int | None:
        """How many frames a finished film has."""
        record = self._finished.get(self._key(target)) or self._begun.get(self._key(target))
        return record.frames if record else None

    def reason_not_done(self, source: Path, target: Path, options: Mapping[str, str]) -> str | None:
        """Why the file at ``target`` is not the finished film of ``source``; None if it is.

        Args:
            source, target: files that exist.
            options: that it should be made with, from :func:`wanted`.

        Raises:
            OSError: a file cannot be read.
        """
        key = self._key(target)
        record, begun = self._finished.get(key), self._begun.get(key)
        if record is None or record.result is None or not _same(record.result, target):
            # The end may have come between the film's name and its record; nothing is left to be done then.
            if begun is None or not _late(begun, target) or workdir_for(target).exists():
                return (
                    "exists, but no batch has made it" if record is None else "was changed since it was made"
                )
            record = begun
        if changed := changed_keys(record.options, options):
            return f"was made with another {changed[0]}" + (
                f" and {len(changed) - 1} more" * (len(changed) > 1)
            )
        return None if record.source.matches(source) else "was made of another source"

    def begin(self, target: Path, source: Identity, options: Mapping[str, str]) -> None:
        """Say that a film is begun.

        Raises:
            OutputError: the file cannot be written.
        """
        self._append(Record(self._key(target), source, options))

    def finish(self, target: Path, source: Identity, options: Mapping[str, str], frames: int) -> None:
        """Say that it is finished, and lies there.

        Raises:
            OutputError: the file cannot be written.
        """
        result = Identity.of(target)
        self._append(Record(self._key(target), source, options, result=result, frames=frames))

    def abandon(self, target: Path) -> None:
        """Say that it was begun and ended, unless there is a film all the same.

        Raises:
            OutputError: the file cannot be written.
        """
        begun = self._begun.get(self._key(target))
        if begun is not None and not _late(begun, target):
            del self._begun[begun.target]
            self._write({"version": _VERSION, "target": self._key(target), "given_up": time.time_ns()})

    def _key(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()

    def _append(self, record: Record) -> None:
        self._write({"version": _VERSION, **asdict(record)})
        self._remember(record)

    def _remember(self, record: Record | str) -> None:
        if isinstance(record, str):
            self._begun.pop(record, None)
        elif record.result is None:
            self._begun[record.target] = record
        else:
            self._finished[record.target] = record
            self._begun.pop(record.target, None)

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps(content, sort_keys=True).encode() + b"\n"
        try:
            with self._path.open("a+b") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line  # after a torn one
                file.write(line)
            fsync_path(self._path)
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written ({error.strerror}); free some space, or check its rights"
            ) from error


def options_fingerprint(options: Options) -> dict[str, str]:
    """What a film depends on besides its source, by name.

    Raises:
        ModelError, UsageError: there is no such model.
    """
    given = {field.name: getattr(options, field.name) for field in fields(options)}
    encode = asdict(given.pop("encode"))
    return {
        "weight file": ", ".join(_weights(options)),
        **{_option(name): str(value) for name, value in given.items() if name not in _ELSEWHERE},
        **{_option(name): str(value) for name, value in encode.items() if name not in _NOT_SEEN},
    }


def _weights(options: Options) -> list[str]:
    """Checksums of the weight files. Which one a size takes depends on the film: then all of the model's."""
    choice = choose_model(options.model, options.scale, chain=options.chain)
    if options.size is not None and choice.weights and not options.model.endswith(SUFFIX):
        there = [each for each in list_weights() if each.card["architecture"] == options.model]
        return sorted(str(each.card["sha256"]) for each in there)
    passes = [each for each in (choice, choice.second_pass) if each is not None]
    return [f"{each.weights.card['sha256'] if each.weights else each.name} x{each.scale}" for each in passes]


def _option(name: str) -> str:
    spelled = {"deinterlace": "no-deinterlace", "extra": "encoder-option"}.get(name, name)
    return f"--{spelled.replace('_', '-')}"


def _late(begun: Record, target: Path) -> bool:
    """Whether a film lies there that has come since it was begun."""
    return target.exists() and target.stat().st_mtime_ns >= begun.begun


def _same(known: Identity, path: Path) -> bool:
    """Whether a result still is what was written; copies of a library keep no times."""
    return path.stat().st_size == known.size and sampled_sha256(path) == known.sample


def _read(path: Path) -> list[Record | str]:
    """Records in order; a text is the target of one that was given up."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    found: list[Record | str] = []
    for line in lines:
        try:
            content = json.loads(line)
            if content.pop("version") != _VERSION:
                continue
            if "given_up" in content:
                found.append(content["target"])
                continue
            for name in ("source", "result"):
                content[name] = content[name] and Identity(**content[name])
            found.append(Record(**content))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
