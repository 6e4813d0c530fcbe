"""Counts the frames and seconds of a run for its reporter and its result."""

from __future__ import annotations

import time

from vsrcli.pipeline.job import Job
from vsrcli.pipeline.outputs import Output
from vsrcli.pipeline.progress import PieceCounts, Progress, Reporter, Result


class RunMeter:
    """Counts the frames and seconds of a run, and reports where it resumes and every frame.

    Attributes:
        reused_frames: see :class:`Result`.
    """

    def __init__(self, job: Job, output: Output, reporter: Reporter) -> None:
        self.reused_frames = 0
        self._job, self._output, self._reporter = job, output, reporter
        self._start_time, self._first_time = time.perf_counter(), 0.0
        if output.resumed_count:
            self._report(0.0, output.journal.shot_count)

    def report(self, shot_count: int, pieces: PieceCounts | None = None) -> None:
        """Report a frame that has been written; of a run on workers, with what has become of the pieces."""
        now = time.perf_counter()
        self._first_time = self._first_time or now
        self._report(now - self._first_time, shot_count, pieces)

    def result(self) -> Result:
        """Return the result of the run, which has ended."""
        output, journal = self._output, self._output.journal
        return Result(
            target=self._job.plan.target,
            frames=output.frame_count,
            seconds=time.perf_counter() - self._start_time,
            shots=journal.shot_count,
            engine=journal.engine,
            warnings=journal.warnings,
            resumed=output.resumed_count,
            reused_frames=self.reused_frames,
        )

    def _report(self, seconds: float, shot_count: int, pieces: PieceCounts | None = None) -> None:
        output, total = self._output, self._job.expected_frames
        resumed, saved = output.resumed_count, output.journal.frame_count
        progress = Progress(output.frame_count, total, seconds, shot_count, resumed, saved, pieces)
        self._reporter.progress(progress)
