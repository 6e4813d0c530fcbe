"""What workers are given: the setup of a video, and tasks, its pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vsrcli.frames.tiling import TilePlan
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.plan import Piece
from vsrcli.pipeline.scan import PieceStart


@dataclass(frozen=True)
class Setup:
    """What a worker has to know of a video.

    Attributes:
        key: of the video.
        source, target: absolute paths; the source must be the same file for the worker.
        options: of the run, with the worker's device, and as tuned for the driver's; paths in them are
            absolute.
        requested: the options as passed to the driver, for the fingerprint.
        tiles: tile plans of the passes: the driver's, whatever memory the worker has, since results depend
            on them.
        fingerprint: of the driver's job, see :func:`~vsrcli.pipeline.checkpoint.fingerprint`.
        marker: a file in the folder for segments, and what is in it. A worker that does not find it, or
            cannot write beside it, does not share that folder, and writes its segments into one of its own.
        threads: that the network may use; None: all.
    """

    key: int
    source: Path
    target: Path
    options: Options
    requested: Options
    tiles: Sequence[TilePlan]
    fingerprint: Mapping[str, str]
    marker: tuple[Path, str]
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A piece to compute.

    Attributes:
        key: of the video, whose setup was the last one.
        piece: itself.
        start: where it begins.
        file: of its segment; the name begins with ``piece-``.
    """

    key: int
    piece: Piece
    start: PieceStart
    file: Path
