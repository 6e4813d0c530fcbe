"""The record of which outputs are finished: a hidden file in the output folder, one JSON object per line.

Lines are only ever appended, so that a crash cannot lose older ones and several batches may share the file.
A line that a power cut left incomplete is ignored. An output counts as finished by fingerprints of its
source, its options and its content, never by its name alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

from vsrcli._version import __version__
from vsrcli.errors import OutputError
from vsrcli.inference.selection import (
    ModelChoice,
    choose_models,
    dial_looks,
    find_models,
    select_interpolation,
)
from vsrcli.media.encoder_options import apply_preset
from vsrcli.pipeline.checkpoint import changed_keys
from vsrcli.pipeline.options import Options, option_name
from vsrcli.pipeline.preparation import interpolation_strength
from vsrcli.system.files import fsync_path, sampled_sha256, workdir_for
from vsrcli.system.signals import raise_if_cancelled

LEDGER_NAME = ".vsr-batch.jsonl"
_VERSION = 2  # lines of other versions are ignored
_BLOCK_BYTES = 1 << 20
# Options that do not change the output: how and where it is computed, and what to do with damaged frames,
# which an output without any did not need.
_NEUTRAL_OPTIONS = (
    "model", "look", "tile", "device", "engine", "max_memory", "ffmpeg", "segment", "resume",
    "keep_going", "tuned"
)  # fmt: skip
_NEUTRAL_ENCODE_OPTIONS = ("overwrite", "format", "encode_preset", "optional")


@dataclass(frozen=True)
class Identity:
    """Fingerprint of a file.

    Attributes:
        size: in bytes.
        mtime_ns: time of the last modification.
        sample: SHA-256 of blocks spread over the file.
        sha256: of the complete file; empty if it was not computed.
    """

    size: int
    mtime_ns: int
    sample: str
    sha256: str = ""

    @classmethod
    def of(cls, path: Path, *, complete: bool = False) -> Self:
        """Compute the fingerprint of a file.

        Args:
            path: of the file.
            complete: also compute ``sha256``, which reads all of it.

        Raises:
            OSError: the file cannot be read.
        """
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, sampled_sha256(path), _sha256(path) if complete else "")

    def matches(self, path: Path) -> bool:
        """Return whether a file has this content.

        Size, time and sample decide; if only the time differs (copied, touched), the complete content does.

        Raises:
            OSError: the file cannot be read.
        """
        current = Identity.of(path)
        if (current.size, current.sample) != (self.size, self.sample):
            return False
        return current.mtime_ns == self.mtime_ns or (self.sha256 != "" and _sha256(path) == self.sha256)


@dataclass(frozen=True)
class Record:
    """One output that was started or finished.

    Attributes:
        target: path relative to the output folder, with forward slashes.
        source: fingerprint of the input.
        options: that change the output, by name; see :func:`options_fingerprint`.
        started_ns: start, in nanoseconds since 1970.
        result: fingerprint of the finished output; None if it is not finished.
        frames: number of frames of the output.
        vsr: version of the program. For people: a newer one does not invalidate an output.
    """

    target: str
    source: Identity
    options: Mapping[str, str]
    started_ns: int = field(default_factory=time.time_ns)
    result: Identity | None = None
    frames: int | None = None
    vsr: str = __version__


class Ledger:
    """The records of one output folder.

    Args:
        folder: created by :meth:`make_folder` before the first record is written.

    Attributes:
        folder: the same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._path = folder, folder / LEDGER_NAME
        self._finished: dict[str, Record] = {}
        self._started: dict[str, Record] = {}
        self.refresh()

    def refresh(self) -> None:
        """Read the file again: another batch on the same folder may have appended records."""
        self._finished, self._started = {}, {}
        for record in _read(self._path):
            self._index(record)

    def make_folder(self) -> None:
        """Create the folder, unless it exists.

        Raises:
            OutputError: it cannot be created.
        """
        make_folder(self.folder)

    @property
    def targets(self) -> list[Path]:
        """Paths of all finished outputs."""
        return [self.folder / key for key in self._finished]

    def frames(self, target: Path) -> int | None:
        """Return the number of frames of a finished output, None if it is unknown."""
        record = self._finished.get(self._key(target)) or self._started.get(self._key(target))
        return record.frames if record else None

    def reason_not_done(self, source: Path, target: Path, options: Mapping[str, str]) -> str | None:
        """Return why an existing file is not the finished output for a source; None if it is.

        Args:
            source, target: files that exist.
            options: of this run, from :func:`options_fingerprint`.

        Raises:
            OSError: a file cannot be read.
        """
        key = self._key(target)
        record, started = self._finished.get(key), self._started.get(key)
        if record is None or record.result is None or not _is_unchanged(record.result, target):
            # A crash between publishing the output and recording it leaves a complete file and no workdir.
            if started is None or not _is_newer(target, started) or workdir_for(target).exists():
                return (
                    "exists, but no batch has created it"
                    if record is None
                    else "was changed since it was created"
                )
            record = started
        if changed := changed_keys(record.options, options):
            more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
            return f"was created with another {changed[0]}{more}"
        return None if record.source.matches(source) else "was created from another source"

    def begin(self, target: Path, source: Identity, options: Mapping[str, str]) -> None:
        """Record that an output is started.

        Raises:
            OutputError: the ledger cannot be written.
        """
        self._append(Record(self._key(target), source, options))

    def finish(self, target: Path, source: Identity, options: Mapping[str, str], frames: int) -> None:
        """Record that an output, which exists, is finished.

        Raises:
            OutputError: the ledger cannot be written.
        """
        result = Identity.of(target)
        self._append(Record(self._key(target), source, options, result=result, frames=frames))

    def abandon(self, target: Path) -> None:
        """Record that an output was started and then failed or was stopped, unless it exists after all.

        Raises:
            OutputError: the ledger cannot be written.
        """
        started = self._started.get(self._key(target))
        if started is not None and not _is_newer(target, started):
            del self._started[started.target]
            self._write({"version": _VERSION, "target": self._key(target), "abandoned_ns": time.time_ns()})

    def _key(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()

    def _append(self, record: Record) -> None:
        self._write({"version": _VERSION, **asdict(record)})
        self._index(record)

    def _index(self, record: Record | str) -> None:
        """Take over a record, or the target of one that was abandoned."""
        if isinstance(record, str):
            self._started.pop(record, None)
        elif record.result is None:
            self._started[record.target] = record
        else:
            self._finished[record.target] = record
            self._started.pop(record.target, None)

    def _write(self, content: dict[str, Any]) -> None:
        line = json.dumps(content, sort_keys=True).encode() + b"\n"
        try:
            with self._path.open("a+b") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    line = line if file.read(1) == b"\n" else b"\n" + line  # after an incomplete one
                file.write(line)
            fsync_path(self._path)
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written ({error.strerror}); free some space, or check its rights"
            ) from error


def make_folder(folder: Path) -> None:
    """Create the folder of an output, unless it exists.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder} cannot be created ({error.strerror}); check its disk, or choose another"
        ) from error


def options_fingerprint(options: Options) -> dict[str, str]:
    """Return what an output depends on besides its source: text by name, for people to recognize.

    Raises:
        ModelError, UsageError: there is no such model.
    """
    values = {field.name: getattr(options, field.name) for field in fields(options)}
    encode = asdict(apply_preset(options.encode.encode_preset, values.pop("encode")))
    return {
        "weight file": ", ".join(_weights(options)),
        **{option_name(name): str(value) for name, value in values.items() if name not in _NEUTRAL_OPTIONS},
        **{
            option_name(name): str(value)
            for name, value in encode.items()
            if name not in _NEUTRAL_ENCODE_OPTIONS
        },
    }


def _weights(options: Options) -> list[str]:
    """Return checksums of the weight files; with a size, whose scale depends on the source, of all scales."""
    if not interpolation_strength(options):
        return [each.checksum for each in select_interpolation(options.scale, chain=options.chain)]

    def checksums(models: Sequence[ModelChoice]) -> list[str]:
        return [each.checksum for each in dial_looks(models, options.strength)]

    requested = {"chain": options.chain, "look": options.look}
    if options.size is None:
        scale = Fraction(1) if options.same_size else options.scale
        return checksums(choose_models(options.models, scale, **requested))
    candidates = [find_models(model, options.scale, options.look) for model in options.models]
    if all(each.weights is None for each in candidates[0]):  # interpolation has no weights to change
        return checksums(choose_models(options.models, options.scale, **requested))
    return [", ".join(sorted(checksums(found))) for found in candidates]


def _is_newer(target: Path, started: Record) -> bool:
    """Return whether a file exists at ``target`` that was modified after the start of its record."""
    return target.exists() and target.stat().st_mtime_ns >= started.started_ns


def _is_unchanged(result: Identity, path: Path) -> bool:
    """Return whether an output is as it was written; its time may differ, since libraries are copied."""
    return path.stat().st_size == result.size and sampled_sha256(path) == result.sample


def _read(path: Path) -> list[Record | str]:
    """Return records in order; a string is the target of one that was abandoned."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    records: list[Record | str] = []
    for line in lines:
        try:
            content = json.loads(line)
            if content.pop("version") != _VERSION:
                continue
            if "abandoned_ns" in content:
                records.append(content["target"])
                continue
            for name in ("source", "result"):
                content[name] = content[name] and Identity(**content[name])
            records.append(Record(**content))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return records


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            raise_if_cancelled()
            digest.update(block)
    return digest.hexdigest()
