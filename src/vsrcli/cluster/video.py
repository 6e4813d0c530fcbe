"""A video whose pieces workers compute: its scan, its output, and what is known of its pieces."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from vsrcli.cluster.places import Place
from vsrcli.cluster.tasks import Setup, Task
from vsrcli.errors import UsageError
from vsrcli.frames.tiling import TilePlan
from vsrcli.images.plan import ImagePlan
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.models.imported import is_imported
from vsrcli.models.weights import SUFFIX
from vsrcli.pipeline.checkpoint import fingerprint
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.pieces import PlannedOutput, rules_for
from vsrcli.pipeline.plan import Piece
from vsrcli.pipeline.progress import PieceCounts, Reporter, Result
from vsrcli.pipeline.run_meter import RunMeter
from vsrcli.pipeline.scan import FoundPiece, Scanner
from vsrcli.pipeline.upscaler import choose_tiles
from vsrcli.system.threads import BackgroundTask

_STOP_SECONDS = 10.0  # until a scan that was asked to stop is left alone
_MARKER = "piece-marker"  # file in the work folder, by which a worker knows that it shares that folder


class PlannedVideo:
    """One video of a run on workers; a context manager, which holds its output open.

    Args:
        key: of the video among those of the run.
        job: with ``--segment shots``, whose output can be cut.
        reporter: receives what happens to this video.

    Attributes:
        key, job, reporter: as passed.
        engine: of the first worker, for people.

    Raises:
        VsrError: the output cannot be opened, see :class:`~vsrcli.pipeline.segmented_output.SegmentedOutput`.
    """

    def __init__(self, key: int, job: Job, reporter: Reporter) -> None:
        self.key, self.job, self.reporter = key, job, reporter
        self.engine = ""
        self._output = PlannedOutput(job, reporter)
        self._found: dict[int, FoundPiece] = {}
        self._stack = ExitStack()
        self._scanner: Scanner | None = None

    def __enter__(self) -> Self:
        self.reporter.start(self.job)
        with ExitStack() as stack:
            stack.enter_context(self.reporter)
            stack.enter_context(self._output)
            self._meter = RunMeter(self.job, self._output, self.reporter)
            self._fingerprint = fingerprint(self.job)
            self._tiles: Sequence[TilePlan] = self._output.journal.tiles
            if not self.is_complete:
                self._tiles = choose_tiles(self.job, self._tiles, self.reporter.notice)
            self._content = secrets.token_hex(16)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def is_complete(self) -> bool:
        """Whether an earlier run has computed all pieces."""
        return self._output.journal.complete

    @property
    def size(self) -> int:
        """Pixels to compute, by which videos are ordered."""
        video = self.job.source.video
        return (self.job.expected_frames or 1) * video.width * video.height

    def open(self, add: Callable[[int, Piece, bool], None], on_found: Callable[[Any], None]) -> bool:
        """Tell which pieces are known, and start the scan for the others.

        Args:
            add: called with the number of each piece, itself, and whether an earlier run has its result.
            on_found: called in a thread with each piece that the scan finds, for :meth:`record`; with None at
                its end, or with its error.

        Returns:
            Whether there is a scan.
        """
        marker = self._output.work_folder / _MARKER
        marker.write_text(self._content)
        known, start = self._output.known_pieces()
        for record in self._output.journal.pieces:
            if record.segment is not None:
                add(record.number, self._output.piece_of(record), True)
        for found in known:
            self._found[found.piece.number] = found
            add(found.piece.number, found.piece, False)
        if start is None:
            return False
        self._scanner = scanner = self._stack.enter_context(Scanner(self.job, rules_for(self.job), start))

        def scan() -> None:
            try:
                for found in scanner.scan():
                    on_found(found)
            except BaseException as error:
                on_found(error)
            else:
                on_found(None)

        task = BackgroundTask(scan, "scan")
        self._stack.callback(task.join, _STOP_SECONDS)
        self._stack.callback(scanner.stop)  # before it is waited for
        return True

    def record(self, found: FoundPiece) -> None:
        """Record a piece that the scan has found."""
        self._output.record(found, self._scanner)
        self._found[found.piece.number] = found

    def setup(self, place: Place) -> Setup:
        """Return what a worker in a place has to know."""
        job = self.job
        return Setup(
            self.key,
            job.source.path.absolute(),
            job.plan.target.absolute(),
            _with_absolute_paths(place.options(job.options)),
            job.requested,
            self._tiles,
            self._fingerprint,
            ((self._output.work_folder / _MARKER).absolute(), self._content),
            place.threads,
        )

    def task(self, number: int, slot: int) -> Task:
        """Return a piece as a task for the worker of a slot."""
        found = self._found[number]
        file = self._output.piece_file(found.piece, slot).absolute()
        return Task(self.key, found.piece, found.start, file)

    def commit(self, number: int, segment: SegmentFile) -> None:
        """Write a finished piece into the journal, durably."""
        self._output.commit_piece(number, segment)

    def set_engine(self, description: str) -> None:
        """Say what the first worker computes with, and whether it is what an earlier run computed with."""
        self.engine = description
        self.reporter.engine(description)
        self._output.record_engine(description)

    def report(self, frames: int, counts: PieceCounts) -> None:
        """Report progress: frames upscaled, those in segments included."""
        self._output.frame_count = max(frames, self._output.journal.frame_count)
        self._meter.report(self._output.journal.shot_count, counts)

    def finish(self) -> Result:
        """Join the segments and move the video to its target; return the result."""
        if not self.is_complete:
            self._output.end()
        self._output.finalize()
        return self._meter.result()


def _with_absolute_paths(options: Options) -> Options:
    """Return options that mean the same files in another current folder."""
    models = [
        str(Path(each).absolute()) if is_imported(each) or each.endswith(SUFFIX) else each
        for each in options.models
    ]
    ffmpeg = options.ffmpeg
    if ffmpeg and Path(ffmpeg).name != ffmpeg:  # else it is looked for on PATH
        ffmpeg = str(Path(ffmpeg).absolute())
    return replace(options, model=tuple(models), ffmpeg=ffmpeg)


def has_pieces(job: Job) -> bool:
    """Return whether a job can be computed in pieces."""
    return job.segmented and job.options.segment == "shots"


def require_pieces(job: Job, option: str) -> None:
    """Raise UsageError unless a job can be computed in pieces; ``option`` asks for that."""
    if not has_pieces(job):
        raise UsageError(f"{option}: {reason_without_pieces(job)}")


def reason_without_pieces(job: Job) -> str:
    """Return why a job cannot be computed in pieces, and a remedy, as the end of a message."""
    reason = job.unsegmented_reason or "it is not written in segments"
    if isinstance(job.plan, ImagePlan):
        reason = "images are written one by one"
    return (
        f"{job.plan.display_name} cannot be cut into pieces: {reason}; leave it out, or write another format"
    )
