"""What has been finished of a film, in one small JSON file that is replaced as a whole.

What the path remembers, as a file of arrays.

What a film's pictures and their coding depend on. If any of it has changed, old segments do not fit.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan, TileSpan
from vsrcli.inference.selection import ModelChoice
from vsrcli.inference.wrappers import chain_tiles
from vsrcli.media.segments import SegmentFile, segment_encoder_options
from vsrcli.media.types import ImageSequence, Source
from vsrcli.pipeline.job import Job
from vsrcli.system.files import WorkFolder

NAME = "journal.json"
_VERSION = 2


@dataclass(frozen=True)
class Journal:
    """Finished segments and how to go on.

    Attributes:
        tiles: how frames are cut; what the state is made for.
        fingerprint: what the film depends on, by name; see :mod:`vsrcli.pipeline.checkpoint`.
        length: frames after which a segment is due to end; 0 before that is decided.
        engine: device and precision of the last run, for people.
        segments: the finished ones, in order.
        state: file with what the path remembers after them; None at the film's end.
        shots: begun.
        warnings: damage that was passed over.
        complete: whether these are all.
    """

    tiles: TilePlan
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    length: int = 0
    engine: str = ""
    segments: tuple[SegmentFile, ...] = ()
    state: str | None = None
    shots: int = 0
    warnings: tuple[str, ...] = ()
    complete: bool = False

    @property
    def frames(self) -> int:
        """In finished segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def files(self) -> list[str]:
        """Names of all files that belong to it, its own included."""
        return [NAME, *(segment.name for segment in self.segments), *([self.state] if self.state else ())]

    def dumps(self) -> bytes:
        """As JSON."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1).encode()

    def whole(self, folder: Path) -> bool:
        """Whether all its files are there, the segments in their full length."""
        try:
            sizes = [(folder / segment.name).stat().st_size == segment.size for segment in self.segments]
            return all(sizes) and all((folder / name).is_file() for name in self.files)
        except OSError:
            return False


def read(folder: Path) -> Journal | None:
    """The journal of a folder; None if there is none that this version understands."""
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_bytes())
        if content.pop("version") != _VERSION:
            return None
        journal = Journal(**content)
        return replace(
            journal,
            tiles=_tiles(content["tiles"]),
            segments=tuple(SegmentFile(**each) for each in content["segments"]),
            warnings=tuple(content["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tiles(content: dict[str, Any]) -> TilePlan:
    rows, columns = (tuple(TileSpan(**span) for span in content[axis]) for axis in ("rows", "columns"))
    own = {**content, "rows": rows, "columns": columns}
    second = own.pop("second_pass", None)
    return TilePlan(**own) if second is None else chain_tiles(TilePlan(**own), _tiles(second))


def save(folder: WorkFolder, name: str, state: State) -> None:
    """Put a state into a work folder.

    Raises:
        OutputError: the disk is full or broken.
    """
    folder.write(name, lambda file: np.savez(file, **state))  # type: ignore[arg-type]


def load(file: Path) -> State | None:
    """A state that was saved; None if the file is missing or damaged."""
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            return dict(arrays)  # every array comes with its checksum
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


_BLOCK = 2**16
_BLOCKS = 16  # spread over the file, the first and the last among them
# Where a film is computed, and what is done with it when it is ready, changes none of its pictures.
_ELSEWHERE = ("model", "device", "engine", "max_memory", "ffmpeg", "segment", "resume", "encode")


def fingerprint(job: Job) -> dict[str, str]:
    """Names and values; equal for runs whose segments fit together.

    Raises:
        OSError: the source cannot be read.
    """
    plan, weights = job.plan, job.model.weights
    size, changed, content = _of_files(job.source)
    chosen = {field.name: getattr(job.options, field.name) for field in fields(job.options)}
    found: dict[str, Any] = {
        "the input's size": size,
        "the input's time": changed,
        "the input": content,
        "the version of vsr": __version__,
        "the version of ffmpeg": job.ffmpeg.version,
        "the backend": os.environ.get("KERAS_BACKEND", "") if weights else "",
        "the weights": _weights(job.model),
        "the segment length": job.options.segment,
        "the container": plan.container.muxer,
        "the codec": f"{plan.codec} {plan.pix_fmt}",
        "the size": f"{plan.width}x{plan.height}, pixels {plan.sample_aspect_ratio}",
        **{f"--{name}": value for name, value in chosen.items() if name not in _ELSEWHERE},
        "--end": job.end,
        **{f"the encoder's {key}": value for key, value in segment_encoder_options(plan, job.ffmpeg)},
    }
    return {name: str(value) for name, value in found.items()}


def _of_files(source: Source) -> tuple[int, str, str]:
    """Bytes, times and samples of a film; of pictures all together, their names included."""
    if not isinstance(source, ImageSequence):
        stat = source.path.stat()
        return stat.st_size, str(stat.st_mtime_ns), sampled(source.path)
    size, times, names = 0, hashlib.sha256(), hashlib.sha256()
    for file in source.files:
        stat = file.stat()
        size += stat.st_size
        times.update(f"{stat.st_mtime_ns} ".encode())
        names.update(os.fsencode(file.name) + f"\0{stat.st_size}\0".encode())
    for number in range(_BLOCKS):
        names.update(sampled(source.files[(len(source.files) - 1) * number // (_BLOCKS - 1)]).encode())
    return size, times.hexdigest(), names.hexdigest()


def _weights(model: ModelChoice) -> str:
    own = f"{model.weights.card['sha256'] if model.weights else model.name} x{model.scale}"
    return own if model.second_pass is None else f"{own}, then {_weights(model.second_pass)}"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of what differs."""
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name) != now.get(name)]


def sampled(path: Path) -> str:
    """sha256 of blocks spread over a file: the whole of a film would take longer than it is worth."""
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        for number in range(_BLOCKS):
            file.seek(max(size - _BLOCK, 0) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
