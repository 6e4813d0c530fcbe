"""Run a job on several workers: scan, hand out pieces, commit their segments, join them.

The workers are processes of this machine. What they compute and what is written follows from the plan alone,
so the video is, byte for byte, that of ``--segment shots`` with one process.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from vsrcli.cluster.driver import Driver, Limits
from vsrcli.cluster.worker import Setup, Task
from vsrcli.errors import EngineError, UsageError
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.media.process import describe_exit
from vsrcli.pipeline.checkpoint import fingerprint
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.pieces import PlannedOutput, rules_for
from vsrcli.pipeline.progress import Reporter, Result
from vsrcli.pipeline.run_meter import RunMeter
from vsrcli.pipeline.scan import FoundPiece, Scanner
from vsrcli.system.resources import available_cores
from vsrcli.system.signals import CancelToken, current_token
from vsrcli.system.threads import BackgroundTask
from vsrcli.system.worker_process import WorkerProcess

_WORKER = "vsrcli.cluster.worker"
_RESTARTS = 2  # of a worker that has died; then it is left out
_TICK = 0.25  # seconds between two looks at the clock
_STOP_SECONDS = 10.0  # until a worker that was asked to stop is killed


@dataclass(eq=False)
class _Slot:
    """A place for a worker, with all that have been in it.

    Attributes:
        number: of the slot.
        worker: the present one; None: left out.
        deaths: of workers before it.
        task: what the present one computes.
    """

    number: int
    worker: WorkerProcess | None = None
    deaths: int = 0
    task: Task | None = None

    @property
    def name(self) -> str:
        """Name of the present worker, for the driver."""
        return f"worker {self.number + 1}" + (f", {self.deaths + 1}." if self.deaths else "")


def run_on_workers(
    job: Job,
    count: int,
    reporter: Reporter | None = None,
    cancel: CancelToken | None = None,
    *,
    limits: Limits | None = None,
) -> Result:
    """Run a job on worker processes.

    Args:
        job: with ``--segment shots``.
        count: workers at a time.
        reporter, cancel: see :func:`~vsrcli.pipeline.run.run_job`.
        limits: of the driver.

    Raises:
        UsageError: the output cannot be cut into pieces.
        VsrError: see :func:`~vsrcli.pipeline.run.run_job`.
    """
    reporter, cancel = reporter or Reporter(), cancel or current_token()
    if not job.segmented or job.options.segment != "shots":
        reasons = "; ".join(job.plan.notices) or "it is not written in segments"
        raise UsageError(f"--workers {count}: {job.plan.target} cannot be cut into pieces: {reasons}")
    reporter.start(job)
    with reporter, PlannedOutput(job, reporter) as output:
        meter = RunMeter(job, output, reporter)
        if not output.journal.complete:
            _Run(job, output, meter, reporter, cancel, limits).run(count)
        output.finalize()
    result = meter.result()
    reporter.done(result)
    return result


class _Run:
    """One run: its events come from the scan, the workers and the clock, and are handled one by one."""

    def __init__(
        self,
        job: Job,
        output: PlannedOutput,
        meter: RunMeter,
        reporter: Reporter,
        cancel: CancelToken,
        limits: Limits | None,
    ) -> None:
        self._job, self._output, self._meter = job, output, meter
        self._reporter, self._cancel = reporter, cancel
        self._driver, self._found = Driver(limits), dict[int, FoundPiece]()
        self._events: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._slots: list[_Slot] = []
        self._engine = ""

    def run(self, count: int) -> None:
        """Compute all pieces that have no segment yet."""
        known, start = self._output.known_pieces()
        for record in self._output.journal.pieces:
            if record.segment is not None:
                self._driver.add(record.number, self._output.piece_of(record), done=True)
        for found in known:
            self._add(found)
        with ExitStack() as stack:
            scanner = None
            if start is None:
                self._driver.all_added()
            else:
                scanner = stack.enter_context(Scanner(self._job, rules_for(self._job), start))
                feeding = BackgroundTask(lambda: self._feed(scanner), "scan")
                stack.callback(feeding.join, _STOP_SECONDS)
                stack.callback(scanner.stop)  # before it is waited for
            stack.enter_context(self._workers(count))
            while not self._driver.is_finished:
                self._cancel.raise_if_cancelled()
                self._handle_next()
                self._look_at_clock()
                self._give()
        self._output.end(self._engine)

    def _feed(self, scanner: Scanner) -> None:
        try:
            for found in scanner.scan():
                self._events.put((scanner, found))
        except BaseException as error:
            self._events.put((scanner, error))
        else:
            self._events.put((scanner, None))

    @contextmanager
    def _workers(self, count: int) -> Iterator[None]:
        """Start workers, and leave none behind."""
        cores = available_cores()
        setup = Setup(
            self._job.source.path.absolute(),
            self._job.plan.target.absolute(),
            self._job.options,
            self._output.journal.tiles,
            fingerprint(self._job),
            max(cores // count, 1),
        )
        self._setups = [replace(setup, options=options) for options in _options_by_worker(self._job, count)]
        self._slots = [_Slot(number) for number in range(count)]
        try:
            for slot in self._slots:
                self._start(slot)
            yield
        finally:
            workers = [slot.worker for slot in self._slots if slot.worker is not None]
            for worker in workers:
                worker.stop()
            deadline = time.monotonic() + _STOP_SECONDS
            for worker in workers:
                if not worker.wait_until(deadline):
                    worker.kill()
                worker.wait()

    def _start(self, slot: _Slot) -> None:
        setup = self._setups[slot.number]
        slot.worker, slot.task = WorkerProcess(_WORKER, self._events.put, setup.threads), None
        slot.worker.submit(setup)

    def _handle_next(self) -> None:
        """Handle the next event, if one comes soon."""
        try:
            sender, message = self._events.get(timeout=_TICK)
        except queue.Empty:
            return
        if isinstance(sender, Scanner):
            self._handle_scan(sender, message)
            return
        slot = next((each for each in self._slots if each.worker is sender), None)
        if slot is None:  # of a worker that was left out
            return
        if message is None:
            self._handle_exit(slot)
            return
        kind, *arguments = message
        getattr(self, f"_handle_{kind}")(slot, *arguments)

    def _handle_scan(self, scanner: Scanner, found: FoundPiece | BaseException | None) -> None:
        if isinstance(found, BaseException):
            raise found
        if found is None:
            self._driver.all_added()
            return
        self._output.record(found, scanner)
        self._add(found)

    def _add(self, found: FoundPiece) -> None:
        self._found[found.piece.number] = found
        self._driver.add(found.piece.number, found.piece)

    def _handle_ready(self, slot: _Slot, engine: str) -> None:
        if not self._engine:
            self._engine = engine
            self._reporter.engine(engine)
        self._driver.join(slot.name, f"slot {slot.number}", time.monotonic())

    def _handle_refused(self, slot: _Slot, reason: str) -> None:
        raise EngineError(f"a worker cannot take part: {reason}")

    def _handle_notice(self, slot: _Slot, text: str) -> None:
        self._reporter.notice(f"{slot.name}: {text}")

    def _handle_word(self, slot: _Slot, frames: int) -> None:
        self._driver.heard(slot.name, time.monotonic(), frames)
        self._report()

    def _handle_done(self, slot: _Slot, number: int, segment: SegmentFile) -> None:
        task, slot.task = slot.task, None
        if self._driver.finished(slot.name, number, time.monotonic()):
            self._output.commit_piece(number, segment)
        elif task is not None:
            task.file.unlink(missing_ok=True)
        self._report()

    def _handle_failed(self, slot: _Slot, number: int, reason: str, details: str) -> None:
        slot.task = None
        self._reporter.notice(f"{slot.name}: piece {number} failed: {reason}")
        self._driver.failed(slot.name, number, reason, time.monotonic())

    def _handle_exit(self, slot: _Slot) -> None:
        worker = slot.worker
        assert worker is not None
        reason = f"{slot.name} ended ({describe_exit(worker.wait())})"
        details, name = worker.stderr_tail(), slot.name
        slot.worker, slot.deaths = None, slot.deaths + 1
        self._driver.lost(name, reason)
        if slot.deaths > _RESTARTS:
            self._reporter.notice(f"{reason}; it is left out now")
            if all(each.worker is None for each in self._slots):
                raise EngineError(
                    f"all workers have ended, the last one: {reason}; use fewer --workers, or look at memory",
                    details=details,
                )
            return
        self._reporter.notice(f"{reason}; another one takes its place")
        self._start(slot)

    def _look_at_clock(self) -> None:
        """End workers that have not been heard of for too long; their exit is an event like any other."""
        for name in self._driver.silent(time.monotonic()):
            slot = next((each for each in self._slots if each.name == name), None)
            self._driver.lost(name, f"{name} was silent")
            if slot is not None and slot.worker is not None:
                slot.worker.kill()

    def _give(self) -> None:
        for name, number in self._driver.give(time.monotonic()):
            slot = next(each for each in self._slots if each.name == name)
            assert isinstance(number, int)
            assert slot.worker is not None
            found = self._found[number]
            slot.task = Task(found.piece, found.start, self._output.piece_file(found.piece, slot.number))
            slot.worker.submit(slot.task)

    def _report(self) -> None:
        self._output.frame_count = max(self._driver.frames, self._output.journal.frame_count)
        self._meter.report(self._output.journal.shot_count)


def _options_by_worker(job: Job, count: int) -> Sequence[Any]:
    """Return each worker's options: on a machine with several GPUs, one for each in turn."""
    options = job.options
    if options.device != "auto" or job.engine is None:
        return [options] * count
    from vsrcli.inference.selection import may_have_gpu

    if not may_have_gpu():
        return [options] * count
    from vsrcli.inference.keras import list_gpus

    gpus = max(len(list_gpus()), 1)
    if gpus == 1:
        return [options] * count
    return [replace(options, device=str(number % gpus)) for number in range(count)]
