"""The coordinator: lets workers compute the pieces of one video, or of several in one queue.

Its events come from scans, workers and the clock, and are handled one by one; what to give to whom is the
:class:`~vsrcli.cluster.driver.Driver`'s. What is computed and written follows from the videos' plans alone,
so each is, byte for byte, that of ``--segment shots`` with one process.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from vsrcli.cluster.driver import Driver, Limits
from vsrcli.cluster.likeness import Greeting, Likeness
from vsrcli.cluster.places import Workers
from vsrcli.cluster.slots import Slot, Slots
from vsrcli.cluster.video import PlannedVideo
from vsrcli.errors import EngineError, VsrError
from vsrcli.media.ffmpeg_writer import SegmentFile
from vsrcli.pipeline.plan import Piece
from vsrcli.pipeline.progress import PieceCounts, Result
from vsrcli.pipeline.scan import FoundPiece
from vsrcli.system.signals import CancelToken
from vsrcli.system.threads import BackgroundTask

_RESTARTS = 2  # of a worker that has died; then its place is left out
_TICK = 0.25  # seconds between two looks at the clock
_PLACES_SECONDS = 5.0  # between two looks at the places
_READY_SECONDS = 60.0  # until a notice says that no worker is ready yet


class Coordinator:
    """Computes videos on workers: :meth:`run`, once.

    Args:
        workers: where they can be.
        next_video: called for another video when the workers need more; returns it entered, or None: there
            are no more.
        on_end: called with each video, closed, and its result, or what it failed with. What it raises ends
            the run.
        cancel: asked all the time.
        on_notice: called with lines about the workers.
        limits: of the driver.
        strict: whether workers on another kind of processor are refused.
    """

    def __init__(
        self,
        workers: Workers,
        next_video: Callable[[], PlannedVideo | None],
        on_end: Callable[[PlannedVideo, Result | BaseException], None],
        cancel: CancelToken,
        *,
        on_notice: Callable[[str], None],
        limits: Limits | None = None,
        strict: bool = False,
    ) -> None:
        self._workers, self._next_video, self._on_end, self._cancel = workers, next_video, on_end, cancel
        self._on_notice, self._driver = on_notice, Driver(limits)
        self._likeness = Likeness(strict=strict, on_notice=on_notice)
        self._events: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self._slots = Slots(workers, self._events.put)
        self._videos: dict[int, PlannedVideo] = {}
        self._scanning: set[int] = set()  # keys of videos
        self._has_more = True
        self._next_places = 0.0
        self._first_start: float | None = None

    def run(self) -> None:
        """Compute all videos.

        Raises:
            SignalInterruptError: ``cancel`` is set; committed pieces stay.
        """
        try:
            with self._workers, ExitStack() as stack:
                stack.callback(self._slots.end)
                while True:
                    self._cancel.raise_if_cancelled()
                    self._open_videos()
                    if not self._videos:
                        return
                    self._start_workers()
                    self._handle_events()
                    self._look_at_clock()
                    self._give()
                    self._finish_videos()
        except BaseException as error:
            for video in list(self._videos.values()):
                self._end(video, error)
            raise

    # Videos.

    def _open_videos(self) -> None:
        """Open as many videos as keep the workers busy."""
        while self._has_more and not self._scanning and self._driver.counts["waiting"] <= len(self._slots):
            video = self._next_video()
            if video is None:
                self._has_more = False
                break
            self._videos[video.key] = video
            if video.is_complete:
                self._finish(video)
                continue
            key = video.key

            def add(number: int, piece: Piece, done: bool, key: int = key) -> None:
                self._driver.add((key, number), piece, done=done, priority=key)

            with self._failing(key):
                if video.open(add, lambda found, video=video: self._events.put((video, found))):
                    self._scanning.add(key)
        if not self._has_more and not self._scanning:
            self._driver.all_added()

    def _finish_videos(self) -> None:
        """Join the segments of videos whose pieces are all there."""
        for video in list(self._videos.values()):
            counts = self._driver.counts_of(_of(video.key))
            if video.key not in self._scanning and not counts["waiting"] and not counts["running"]:
                self._finish(video)

    def _finish(self, video: PlannedVideo) -> None:
        try:
            result = video.finish()
        except (VsrError, OSError) as error:
            self._end(video, error)
        else:
            self._end(video, result)

    def _end(self, video: PlannedVideo, outcome: Result | BaseException) -> None:
        """Close a video, and tell what has become of it."""
        del self._videos[video.key]
        self._scanning.discard(video.key)
        self._driver.remove(_of(video.key))
        if isinstance(outcome, BaseException):
            video.__exit__(type(outcome), outcome, outcome.__traceback__)
        else:
            video.__exit__(None, None, None)
        self._on_end(video, outcome)

    def _report(self, video: PlannedVideo | None) -> None:
        if video is None:
            return
        ready = [slot for slot in self._slots if slot.is_ready]
        nodes = len({slot.place.node.partition(" ")[0] for slot in ready})
        counts = PieceCounts(**self._driver.counts_of(_of(video.key)), workers=len(ready), nodes=nodes)
        video.report(self._driver.frames_of(_of(video.key)), counts)

    # Workers.

    def _start_workers(self) -> None:
        """Start workers in places that are new."""
        now = time.monotonic()
        if now < self._next_places:
            return
        self._next_places = now + _PLACES_SECONDS
        if self._first_start is None:
            self._first_start = now
        elif self._first_start and now - self._first_start > _READY_SECONDS and self._likeness.is_empty:
            self._first_start = 0.0
            self._on_notice(f"no worker is ready after {_READY_SECONDS:.0f} s; going on waiting")
        for slot in self._slots.add_new():
            self._start(slot)
        if not self._slots:
            self._fail_all(EngineError(f"{self._workers.option}: there is no place for a worker"))

    def _start(self, slot: Slot) -> None:
        self._slots.start(slot, next(iter(self._videos.values())).setup(slot.place))

    def _leave_out(self, slot: Slot, error: EngineError) -> None:
        """Use a place no more; without any, no video can go on."""
        self._slots.leave_out(slot)
        if not self._slots.has_workers:
            self._fail_all(error)
            self._slots.clear()  # a further video may have better luck
            self._next_places = 0.0

    def _fail_all(self, error: EngineError) -> None:
        for video in list(self._videos.values()):
            self._end(video, error)

    # Events.

    def _handle_events(self) -> None:
        """Handle all events that are there, or the first that comes soon."""
        try:
            event = self._events.get(timeout=_TICK)
            while True:
                self._handle(*event)
                event = self._events.get_nowait()
        except queue.Empty:
            return

    def _handle(self, sender: Any, message: Any) -> None:
        if isinstance(sender, PlannedVideo):
            if sender.key in self._videos:
                self._handle_scan(sender, message)
            return
        slot = self._slots.of_worker(sender)
        if slot is None:  # of a worker that was left out
            return
        if message is None:
            self._handle_exit(slot)
            return
        kind, *arguments = message
        getattr(self, f"_handle_{kind}")(slot, *arguments)

    def _handle_scan(self, video: PlannedVideo, found: FoundPiece | BaseException | None) -> None:
        if isinstance(found, Exception):
            self._end(video, found)
        elif isinstance(found, BaseException):
            raise found
        elif found is None:
            self._scanning.discard(video.key)
        else:
            with self._failing(video.key):
                video.record(found)
                self._driver.add((video.key, found.piece.number), found.piece, priority=video.key)

    def _handle_ready(self, slot: Slot, key: int, greeting: Greeting) -> None:
        try:
            self._likeness.check(slot.name, key, greeting)
        except EngineError as error:
            if slot.is_ready:  # it computes its piece all the same
                slot.refusals[key] = str(error)
            else:
                self._handle_refused(slot, key, str(error))
            return
        if not slot.is_ready:
            slot.is_ready = True
            self._driver.join(slot.key, slot.place.node, time.monotonic())
        video = self._videos.get(key)
        if video is not None and not video.engine:
            video.set_engine(greeting.engine)

    def _handle_refused(self, slot: Slot, key: int, reason: str) -> None:
        if slot.is_ready and slot.task is not None:  # it takes part in others
            task, slot.video = slot.task, None
            self._handle_failed(slot, key, task.piece.number, reason, "")
            return
        text = f"{slot.name} cannot take part: {reason}"
        self._on_notice(text)
        self._leave_out(slot, EngineError(f"no worker can take part; {text}"))

    def _handle_notice(self, slot: Slot, text: str) -> None:
        self._on_notice(f"{slot.name}: {text}")

    def _handle_compiling(self, slot: Slot) -> None:
        self._driver.compiling(slot.key, time.monotonic())

    def _handle_word(self, slot: Slot, key: int | None, number: int, frames: int) -> None:
        task = slot.task
        if task is None or (task.key, task.piece.number) != (key, number):  # of the piece before
            self._driver.heard(slot.key, time.monotonic())
            return
        self._driver.heard(slot.key, time.monotonic(), frames)
        self._report(self._videos.get(task.key))

    def _handle_done(
        self, slot: Slot, key: int, number: int, segment: SegmentFile, file: Path | None
    ) -> None:
        worker, task = slot.worker, slot.task
        if key in slot.refusals:
            if task is not None:
                task.file.unlink(missing_ok=True)
            self._handle_failed(slot, key, number, slot.refusals[key], "")
            return
        if file is None or worker is None or task is None:
            self._handle_fetched(slot, key, number, segment)
            return

        def fetch() -> None:
            try:
                worker.fetch(file, task.file)
            except Exception as error:  # whatever the engine between the machines raises
                reason = f"its result did not arrive ({error})"
                self._events.put((worker, ("failed", key, number, reason, "")))
            else:
                self._events.put((worker, ("fetched", key, number, segment)))

        BackgroundTask(fetch, "fetch")

    def _handle_fetched(self, slot: Slot, key: int, number: int, segment: SegmentFile) -> None:
        task, slot.task = slot.task, None
        video = self._videos.get(key)
        is_first = self._driver.finished(slot.key, (key, number), time.monotonic())
        if video is not None and is_first:
            with self._failing(key):
                video.commit(number, segment)
        elif task is not None:
            task.file.unlink(missing_ok=True)
        self._report(self._videos.get(key))

    def _handle_failed(self, slot: Slot, key: int, number: int, reason: str, details: str) -> None:
        slot.task = None
        video = self._videos.get(key)
        if video is not None:
            video.reporter.notice(f"{slot.name}: piece {number} failed: {reason}")
        with self._failing(key):
            self._driver.failed(slot.key, (key, number), reason, time.monotonic())

    def _handle_exit(self, slot: Slot) -> None:
        worker = slot.worker
        assert worker is not None
        description, details = worker.ending()
        reason, lost, key = f"{slot.name} ended ({description})", slot.key, slot.task and slot.task.key
        slot.worker, slot.is_ready, slot.deaths = None, False, slot.deaths + 1
        with self._failing(key):
            self._driver.lost(lost, reason)
        is_there = slot.place in self._workers.places()
        if slot.deaths <= _RESTARTS and is_there and self._videos:
            self._on_notice(f"{reason}; another one takes its place")
            self._start(slot)
            return
        self._on_notice(f"{reason}; {'it is left out now' if is_there else 'its machine is gone'}")
        text = f"all workers have ended, the last one: {reason}; use fewer of them, or look at memory"
        self._leave_out(slot, EngineError(text, details=details))

    @contextmanager
    def _failing(self, key: int | None) -> Iterator[None]:
        """Let an error of one video, and the last failure of one of its pieces, end this video only."""
        try:
            yield
        except (VsrError, OSError) as error:
            video = None if key is None else self._videos.get(key)
            if video is None:
                raise
            self._end(video, error)

    # The clock, and what to give.

    def _look_at_clock(self) -> None:
        """End workers that have not been heard of for too long; their exit is an event like any other."""
        for silent in self._driver.silent(time.monotonic()):
            slot = self._slots.of_key(silent)
            with self._failing(slot.task and slot.task.key):
                self._driver.lost(silent, f"{slot.name} was silent")
            if slot.worker is not None:
                slot.worker.kill()

    def _give(self) -> None:
        for worker, key in self._driver.give(time.monotonic()):
            slot = self._slots.of_key(worker)
            assert slot.worker is not None
            assert isinstance(key, tuple)
            video = self._videos[key[0]]
            setup = [] if slot.video == video.key else [video.setup(slot.place)]
            slot.video, slot.task = video.key, video.task(key[1], slot.number)
            slot.worker.submit(*setup, slot.task)


def _of(video: int) -> Callable[[object], bool]:
    """Return whether a piece's key is of a video."""
    return lambda key: isinstance(key, tuple) and key[0] == video
