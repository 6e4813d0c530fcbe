"""Carry out a plan: compute pieces one by one, each from its start alone, and join them.

``--segment shots`` does it in one process. :func:`compute_piece` is all that a worker elsewhere has to do:
its result depends on the job, the piece and its start, and on nothing that happened before, so whoever
computes a piece gets the same bytes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import InputError, VsrError
from vsrcli.inference.types import Engine
from vsrcli.media.encoder import FrameWriter, VideoEncoder
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.media.segments import SegmentDestination
from vsrcli.pipeline.checkpoint import JOURNAL_NAME, Journal, PieceRecord, load_state, save_state
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.passes import Pass
from vsrcli.pipeline.plan import Piece, PlanRules
from vsrcli.pipeline.progress import Reporter, Result
from vsrcli.pipeline.run_meter import RunMeter
from vsrcli.pipeline.scan import FoundPiece, PieceStart, Scanner
from vsrcli.pipeline.segmented_output import SegmentedOutput
from vsrcli.pipeline.sinks import VideoSink
from vsrcli.pipeline.upscaler import Upscaler
from vsrcli.system.signals import CancelToken
from vsrcli.system.threads import BackgroundTask

_PIECE_PREFIX = "piece-"  # of the files that other processes write
RECURRENT_WARMUP = 40  # frames, after which hardly more than rounding is left of where it began


def rules_for(job: Job) -> PlanRules:
    """Return the rules of a job's plan: how many frames its networks look back."""
    return PlanRules(warmup_frames=sum(_frames_back(each) for each in job.passes))


def _frames_back(each: Pass) -> int:
    architecture = each.model.architecture
    return RECURRENT_WARMUP if architecture.kind == "recurrent" else architecture.frames // 2


def plan_of(job: Job) -> list[Piece]:
    """Return all pieces of a job with ``--segment shots``, after a scan of its source; none of other jobs.

    Raises:
        DecodeError: the source is damaged.
    """
    if job.options.segment != "shots" or not job.segmented:
        return []
    with Scanner(job, rules_for(job)) as scanner:
        return [found.piece for found in scanner]


def compute_piece(
    job: Job,
    upscaler: Upscaler,
    piece: Piece,
    start: PieceStart,
    writer: FrameWriter,
    on_frame: Callable[[int], None],
) -> int:
    """Upscale the frames of a piece into a writer, which is started and not finished.

    Args:
        job: the source is decoded from the piece's start on, and beyond its end as far as a network looks.
        upscaler: opens the streams of the shots.
        piece: which frames.
        start: their start, as the scan found it.
        writer: of the segment.
        on_frame: called after each frame with the number of shots begun.

    Returns:
        How many of the frames show the result of the one before, since they repeat it.

    Raises:
        InputError: the source ends before the piece.
        VsrError: see :func:`~vsrcli.pipeline.run.run_job`.
    """
    shots = upscaler.open_shots(start.state)
    to_skip, left, repeats = piece.warmup_frames, piece.frame_count, 0
    last: np.ndarray | None = None
    writer.start()
    with job.open_decoder(shots.last_input) as frames:
        for frame in shots.upscale(frames):
            is_repeat, last = frame.pixels is last, frame.pixels
            if to_skip:
                to_skip -= 1
                continue
            repeats += is_repeat
            writer.write(frame)
            left -= 1
            on_frame(shots.count)
            if not left:
                break
        frames.raise_if_damaged()
    if left:
        raise InputError(
            f"{job.source.path}: it ends {left} frames before the end that was found first; "
            "run the command again"
        )
    return repeats


def segment_writer(job: Job, file: Path, piece: Piece) -> FrameWriter:
    """Return a writer of a piece's segment for a process that does not own the output."""
    destination = SegmentDestination(job.plan, job.source, file, first_frame=piece.first_frame)
    return VideoEncoder(job.plan, job.source, destination, ffmpeg=job.ffmpeg)


def run_pieces(
    job: Job,
    reporter: Reporter,
    cancel: CancelToken,
    load_engine: Callable[..., Engine] | None = None,
) -> Result:
    """Run a job with ``--segment shots``: find the pieces, compute them one after the other, join them.

    Args and errors: see :func:`~vsrcli.pipeline.run.run_job`.
    """
    with reporter, PlannedOutput(job, reporter) as output:
        meter = RunMeter(job, output, reporter)
        if not output.journal.complete:
            upscaler = Upscaler(job, output.journal.tiles, reporter, load_engine)
            reporter.engine(upscaler.engine.description)
            output.set_engine(upscaler)

            def on_frame(shot_count: int) -> None:
                output.frame_count += 1
                cancel.raise_if_cancelled()
                meter.report(shot_count)

            known, start = output.known_pieces()
            with contextlib.ExitStack() as stack:
                scanner = None
                if start is not None:
                    scanner = stack.enter_context(Scanner(job, rules_for(job), start))
                for found in output.pieces(known, scanner):
                    writer = output.new_writer(found.piece)
                    meter.reused_frames += compute_piece(
                        job, upscaler, found.piece, found.start, writer, on_frame
                    )
                    output.close_piece(found.piece)
                output.end()
            meter.reused_frames += upscaler.reused_frames
        output.finalize()
    result = meter.result()
    reporter.done(result)
    return result


class PlannedOutput(SegmentedOutput):
    """An output in pieces of a plan, which may be finished in any order.

    Args:
        job: what to write.
        reporter: see :class:`~vsrcli.pipeline.segmented_output.SegmentedOutput`.
    """

    def __init__(self, job: Job, reporter: Reporter) -> None:
        super().__init__(job, VideoSink(job.plan, job.source, job.ffmpeg), reporter)
        self._closing: tuple[int, FrameWriter, BackgroundTask | None] | None = None

    @property
    def work_folder(self) -> Path:
        """The folder of segments and journal, while the output is open."""
        return self._workdir.path

    def pieces(self, known: Iterable[FoundPiece], scanner: Scanner | None) -> Iterator[FoundPiece]:
        """Yield the pieces without a segment: those of an earlier run, then those that a scan finds."""
        yield from known
        for found in scanner or ():
            self.record(found, scanner)
            yield found

    def end(self) -> None:
        """Write that all pieces have their segments."""
        self._commit_closing()
        self._write(replace(self.journal, complete=True))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        with contextlib.suppress(VsrError, OSError):  # there is an error already
            self._commit_closing()
        super().__exit__(kind, error, trace)

    def new_writer(self, piece: Piece) -> FrameWriter:
        """Return the writer of a piece's segment."""
        self._writer = self._sink.new_writer(self.journal.all_segments, piece.first_frame)
        return self._writer

    def close_piece(self, piece: Piece) -> None:
        """Close the segment of a piece, in the background where there is memory for it."""
        self._commit_closing()
        writer, self._writer = self._writer, None
        assert writer is not None
        in_background = self._job.can_close_in_background(self._current_tiles)
        if not in_background:
            writer.finish()
        task = BackgroundTask(writer.finish, "closing") if in_background else None
        self._closing = piece.number, writer, task
        if not in_background:
            self._commit_closing()

    def known_pieces(self) -> tuple[list[FoundPiece], PieceStart | None]:
        """Return the pieces of an earlier run without a segment, and where its scan goes on; None: it was
        complete."""
        records = self.journal.pieces
        if not records:
            return [], PieceStart()
        starts = [self._start_of(record) for record in records]
        found = [
            FoundPiece(self.piece_of(record), start, None)
            for record, start in zip(records, starts, strict=True)
            if record.segment is None and record.end_frame is not None
        ]
        return found, starts[-1] if records[-1].end_frame is None else None

    def piece_of(self, record: PieceRecord) -> Piece:
        """Return the piece of a record that has an end."""
        assert record.end_frame is not None
        return Piece(record.number, record.first_frame, record.end_frame, record.warmup_frames)

    def piece_file(self, piece: Piece, worker: int) -> Path:
        """Return a new path for a segment that another process writes."""
        return self._workdir.path / f"{_PIECE_PREFIX}{piece.number:05}-{worker}-{time.time_ns():x}.mov"

    def _start_of(self, record: PieceRecord) -> PieceStart:
        state = None
        if record.state_file is not None:
            state = load_state(self._workdir.path / record.state_file)
            if state is None:
                raise InputError(
                    f"{self._workdir.path / record.state_file} is damaged; use --no-resume to begin anew",
                    resume_option=None,
                )
        return PieceStart(record.number, record.first_frame, record.warmup_frames, record.shot_count, state)

    def record(self, found: FoundPiece, scanner: Scanner | None) -> None:
        """Add a piece that a scan has found to the journal in memory, and where the next one begins."""
        piece, following = found.piece, found.following
        records = list(self.journal.pieces) or [PieceRecord(0, 0, 0)]
        records[-1] = replace(records[-1], end_frame=piece.end_frame)
        if following is not None:
            state_file = None
            if following.state is not None:
                state_file = f"start-{following.number:05}-{time.time_ns():x}.npz"
                save_state(self._workdir, state_file, following.state)
            records.append(
                PieceRecord(
                    following.number,
                    following.first_frame,
                    following.warmup_frames,
                    following.shot_count,
                    state_file=state_file,
                )
            )
        self.journal = replace(self.journal, pieces=tuple(records))
        if following is None and scanner is not None:
            facts: dict[str, Any] = {"shot_count": scanner.shot_count, "warnings": scanner.warnings}
            self.journal = replace(self.journal, **facts)

    def _commit_closing(self) -> None:
        """Write the segment that is being closed into the journal."""
        if self._closing is None:
            return
        number, writer, task = self._closing
        self._closing = None
        if task is not None:
            task.join()
            if task.error is not None:
                raise task.error
        assert writer.segment is not None
        self.commit_piece(number, writer.segment)

    def commit_piece(self, number: int, segment: SegmentFile) -> None:
        """Write a finished piece into the journal, durably."""
        records = list(self.journal.pieces)
        records[number] = replace(records[number], segment=segment, state_file=None)
        self._write(replace(self.journal, pieces=tuple(records), tiles=self._current_tiles))

    def _write(self, journal: Journal) -> None:
        self._workdir.write(JOURNAL_NAME, lambda file: file.write(journal.dumps()))
        self.journal = journal
        self._workdir.remove_except(journal.referenced_files, f"*{_PIECE_PREFIX}*")
