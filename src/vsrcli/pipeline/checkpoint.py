"""Checkpoints of a run: the journal, the saved state, and the fingerprint that ties both to a job.

The journal is a small JSON file that is replaced atomically; it lists the finished segments and names the
file with the upscaler's state after them, an ``.npz`` of arrays. The fingerprint holds everything that the
frames and their coding depend on: if any of it has changed, finished segments do not fit, and a run starts
afresh.
"""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli._version import __version__
from vsrcli.errors import OutputError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan, TileSpan
from vsrcli.inference.looks import SHARP
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.media.segments import segment_encoder_options
from vsrcli.pipeline.job import Job
from vsrcli.system.files import WorkDir, sampled_sha256

JOURNAL_NAME = "journal.json"
_SIZE_KEY, _CONTENT_KEY = "the input's size", "the input"  # in a reader's fingerprint
_INPUT_KEYS = (_SIZE_KEY, "the input's modification time", _CONTENT_KEY)
_VERSION = 5  # of the journal and of the state that it names
# Options that change no frame of a segment, or that are part of the fingerprint in another form.
_UNCOMPARED_OPTIONS = (
    "model", "look", "device", "engine", "max_memory", "ffmpeg", "segment", "resume", "encode", "tuned"
)  # fmt: skip


@dataclass(frozen=True)
class JournalUpdate:
    """Fields of the journal that change with every segment, see :class:`Journal`."""

    tiles: tuple[TilePlan, ...]
    shot_count: int
    state_file: str | None = None
    warnings: tuple[str, ...] = ()
    complete: bool = False


@dataclass(frozen=True)
class PieceRecord:
    """A piece of the plan, see :class:`~vsrcli.pipeline.plan.Piece`.

    Attributes:
        number, first_frame, warmup_frames: of the piece.
        shot_count: shots begun before it.
        end_frame: None: not found yet.
        state_file: name of the file with the state to begin with; None: the piece is finished, or it, or its
            warm-up, begins with the first frame.
        segment: its result; None until it is finished.
    """

    number: int
    first_frame: int
    warmup_frames: int
    shot_count: int = 0
    end_frame: int | None = None
    state_file: str | None = None
    segment: SegmentFile | None = None


@dataclass(frozen=True)
class Journal:
    """Finished segments, and what is needed to resume after them.

    Attributes:
        tiles: tile plans of the passes that the state was saved with.
        fingerprint: see :func:`fingerprint`.
        segment_frames: length of a segment; 0 until it is decided.
        engine: device and precision of the last run, for people.
        segments: finished segments, in order.
        pieces: of a run that follows a plan, in order; it has no ``segments`` and no ``state_file``.
        state_file: name of the file with the state after them; None after the last frame.
        shot_count: shots begun.
        warnings: what was skipped or replaced in the source.
        complete: whether the segments hold all frames.
    """

    tiles: tuple[TilePlan, ...]
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    segment_frames: int = 0
    engine: str = ""
    segments: tuple[SegmentFile, ...] = ()
    pieces: tuple[PieceRecord, ...] = ()
    state_file: str | None = None
    shot_count: int = 0
    warnings: tuple[str, ...] = ()
    complete: bool = False

    @property
    def frame_count(self) -> int:
        """Frames in finished segments."""
        return sum(segment.frame_count for segment in self.all_segments)

    @property
    def all_segments(self) -> tuple[SegmentFile, ...]:
        """Finished segments and those of finished pieces, in order."""
        return (*self.segments, *(piece.segment for piece in self.pieces if piece.segment is not None))

    def updated(self, update: JournalUpdate, segment: SegmentFile | None) -> Journal:
        """Return the journal with one more segment, if there is one."""
        return replace(self, segments=(*self.segments, *([segment] if segment else [])), **vars(update))

    @property
    def referenced_files(self) -> list[str]:
        """Names of all files that the journal refers to, its own included."""
        return [
            JOURNAL_NAME,
            *(segment.name for segment in self.all_segments),
            *([self.state_file] if self.state_file else ()),
            *(piece.state_file for piece in self.pieces if piece.state_file),
        ]

    def dumps(self) -> bytes:
        """Return the journal as JSON."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1).encode()

    def is_intact(self, folder: Path) -> bool:
        """Whether all files are in ``folder``, the segments in their full size."""
        try:
            sizes = [
                (folder / segment.name).stat().st_size == segment.size_bytes for segment in self.all_segments
            ]
            return all(sizes) and all((folder / name).is_file() for name in self.referenced_files)
        except OSError:
            return False


class JournalError(Exception):
    """A journal that is there cannot be used; the message is a phrase, for a notice."""


def load_journal(folder: Path) -> Journal | None:
    """Return the journal in a folder; None if there is none.

    Raises:
        JournalError: it is damaged, or of another version.
        OutputError: it cannot be read, and may list the work of days.
    """
    try:
        content: dict[str, Any] = json.loads((folder / JOURNAL_NAME).read_bytes())
        if content.pop("version") != _VERSION:
            raise JournalError("their journal is that of another version of vsr")
        if not content["tiles"]:
            raise ValueError("no tiles")
        journal = Journal(**content)
        return replace(
            journal,
            tiles=tuple(_parse_tiles(plan) for plan in content["tiles"]),
            segments=tuple(SegmentFile(**each) for each in content["segments"]),
            pieces=tuple(_parse_piece(each) for each in content["pieces"]),
            warnings=tuple(content["warnings"]),
        )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(
            f"{folder / JOURNAL_NAME}, which lists finished frames, cannot be read ({error.strerror}); check "
            "its access rights and its disk or network share and run the command again, or start afresh with "
            "--no-resume"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise JournalError("their journal is damaged") from error


def read_journal(folder: Path) -> Journal | None:
    """Return the journal in a folder; None if there is none that can be used."""
    try:
        return load_journal(folder)
    except (JournalError, OutputError):
        return None


def may_hold_journal(folder: Path) -> bool:
    """Return whether a folder holds a journal, or cannot be looked into, as where a network share is gone."""
    try:
        (folder / JOURNAL_NAME).stat()
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def release_workdir(workdir: WorkDir) -> None:
    """Unlock a workdir; remove it before, unless it may hold a journal, so what a run has committed.

    Raises nothing: there may be an error already, which must not be replaced.
    """
    if not may_hold_journal(workdir.path):
        workdir.remove()
    workdir.close()


def save_state(workdir: WorkDir, name: str, state: State) -> None:
    """Save a state in a workdir.

    Args:
        workdir: of the output.
        name: of the file; a new one each time, as the journal may still be that of an earlier run.
        state: to save.

    Raises:
        OutputError: the disk is full or broken.
    """
    workdir.write(name, lambda file: np.savez(file, **state))  # type: ignore[arg-type]


def load_state(file: Path) -> State | None:
    """Return a saved state; None if the file is missing or damaged."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            return dict(arrays)  # zip files hold a checksum of every array
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def fingerprint(job: Job) -> dict[str, str]:
    """Return what the frames and their coding depend on, by name; equal for runs whose segments fit together.

    Options are compared as requested, so that a run goes on after ``vsr tune``. The names appear in notices:
    "the weights have changed".

    Raises:
        OSError: the source cannot be read.
    """
    plan, weights = job.plan, any(each.weights for each in job.models)
    options = {field.name: getattr(job.requested, field.name) for field in fields(job.requested)}
    values: dict[str, Any] = {
        **job.reader.fingerprint(),
        "the version of vsr": __version__,
        "the version of ffmpeg": job.ffmpeg.version,
        "the backend": os.environ.get("KERAS_BACKEND", "") if weights else "",
        "the weights": ", then ".join(each.model.checksum for each in job.passes),
        "the segment length": job.options.segment,
        "the container": plan.container.muxer,
        "the codec": f"{plan.codec} {plan.pix_fmt}",
        "the output size": f"{plan.width}x{plan.height}, pixels {plan.sample_aspect_ratio}",
        **{f"--{name}": value for name, value in options.items() if name not in _UNCOMPARED_OPTIONS},
        **({"--look": job.look} if SHARP in job.look else {}),
        "--end": job.end,
        **{f"the encoder's {key}": value for key, value in segment_encoder_options(plan, job.ffmpeg)},
    }
    return {name: str(value) for name, value in values.items()}


def changed_keys(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of values that differ or exist on one side only."""
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name) != now.get(name)]


def changed_under_way(job: Job, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of values that have changed during a run, and that its output depends on."""
    return [name for name in changed_keys(before, now) if name not in _INPUT_KEYS or not job.is_part]


def obsolete_keys(job: Job, before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return the names of changed values for which finished segments of an earlier run do not fit a job.

    They fit after ``--keep-going`` was added: without it, no frame of damaged data is ever saved. Those of a
    part fit after data were appended to its file.
    """
    fitting: list[str] = []
    if before.get("--keep_going") == "False" and now.get("--keep_going") == "True":
        fitting.append("--keep_going")
    if job.is_part and _has_grown(job.source.path, before, now):
        fitting.extend(_INPUT_KEYS)
    return [name for name in changed_keys(before, now) if name not in fitting]


def _has_grown(path: Path, before: Mapping[str, str], now: Mapping[str, str]) -> bool:
    """Return whether a file begins with all that it was before, and is larger."""
    size = int(before.get(_SIZE_KEY, 0))
    with contextlib.suppress(OSError):  # it is gone
        return size < int(now.get(_SIZE_KEY, 0)) and sampled_sha256(path, size) == before.get(_CONTENT_KEY)
    return False


def _parse_piece(content: dict[str, Any]) -> PieceRecord:
    segment = content["segment"]
    return PieceRecord(**{**content, "segment": None if segment is None else SegmentFile(**segment)})


def _parse_tiles(content: dict[str, Any]) -> TilePlan:
    rows, columns = (tuple(TileSpan(**span) for span in content[axis]) for axis in ("rows", "columns"))
    return TilePlan(**{**content, "rows": rows, "columns": columns})
