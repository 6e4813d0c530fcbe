"""The driver: which worker computes which piece. Knows nothing of processes, networks and files.

It is told what is *heard* of workers (a sign of life, a result, a failure) and which are *lost*, and says
what to *give* to whom. It has no clock and no threads: every call states the time, so that tests and a
simulation (``benchmarks/cluster_simulation.py``) drive this very code through days of nodes that die.

- The longest of the known pieces is given first.
- A worker that has not been heard of for :attr:`Limits.silence` is lost, whatever the engine below says: a
  node that hangs or whose cable is pulled would be noticed by Ray after minutes only.
- One that compiles a network says so before, since no other thread of it runs meanwhile; until its next word
  it may be silent for :attr:`Limits.compiling`.
- A driver that stood still itself, since everything was paused, blames nobody: after :attr:`Limits.pause`
  between two looks at the clock, all workers count as heard.
- A piece that failed is given again, elsewhere if there is an elsewhere, three times in all; one whose worker
  was lost five times, since a machine that dies takes a piece along that is not to blame.
- A place that failed three times in a row, such as a machine whose disk is full, rests for a minute while
  there are others: it fails fast, so it would get most of the pieces.
- When no piece is left to give, the one that will end last is given a second time, to a worker that is
  expected to finish it earlier. The first result wins; both are equal, since they follow the same plan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from vsrcli.errors import EngineError
from vsrcli.pipeline.plan import Piece

_NO_SPEED = 0.0  # of a worker, frames a second: it has not finished anything yet


@dataclass(frozen=True)
class Limits:
    """When the driver gives up.

    Attributes:
        silence: seconds without a word after which a worker is lost.
        compiling: the same of one that compiles a network.
        pause: seconds between two looks at the clock after which the driver itself has stood still.
        tries: how often a piece may fail before its failure is the run's.
        losses: how often its worker may be lost.
        copies: how many workers at most compute the same piece at a time.
        rest: seconds without a piece for a place that failed ``tries`` times in a row.
    """

    silence: float = 30.0
    compiling: float = 900.0
    pause: float = 5.0
    tries: int = 3
    losses: int = 5
    copies: int = 2
    rest: float = 60.0


@dataclass
class WorkerState:
    """What is known of a worker.

    Attributes:
        place: the machine, or whatever is lost together.
        last_heard: time of the last sign of life.
        is_compiling: whether that said that it compiles a network.
        piece: what it computes; None: it is idle.
        given: time when it got its piece.
        frames: of the piece that it has upscaled.
        speed: frames a second, over the pieces that it has finished.
    """

    place: str
    last_heard: float
    is_compiling: bool = False
    piece: Piece | None = None
    given: float = 0.0
    frames: int = 0
    speed: float = _NO_SPEED


@dataclass
class PieceState:
    """What has happened to a piece.

    Attributes:
        piece: itself.
        priority: lower ones are given first.
        failures: one line for each failure.
        losses: one line for each worker that was lost with it.
        places: where it was tried, in order.
        failed_places: where it failed.
    """

    piece: Piece
    priority: int = 0
    failures: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    failed_places: set[str] = field(default_factory=set)


@dataclass
class _Failures:
    """How often a place has failed since its last result, and when it did last."""

    count: int = 0
    last: float = 0.0


class Driver:
    """Hands out the pieces of one video, or of several.

    Pieces are known by a key of the caller's, such as ``(video, number)``.

    Args:
        limits: when to give up.

    Attributes:
        done: keys of all pieces with a result.
        workers: by name.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.done: set[object] = set()
        self.workers: dict[str, WorkerState] = {}
        self._limits = limits or Limits()
        self._pieces: dict[object, PieceState] = {}
        self._complete = False
        self._keys: dict[str, object] = {}  # of what each worker computes
        self._failures: dict[str, _Failures] = {}  # of places
        self._last_look: float | None = None  # for silent workers

    # What is heard.

    def add(self, key: object, piece: Piece, *, done: bool = False, priority: int = 0) -> None:
        """Add a piece that has been found; ``done``: an earlier run has its result."""
        self._pieces[key] = PieceState(piece, priority)
        if done:
            self.done.add(key)

    def all_added(self) -> None:
        """No piece will be added any more."""
        self._complete = True

    def remove(self, belongs: Callable[[object], bool]) -> None:
        """Forget pieces, by their keys; results of workers that compute one are not wanted any more."""
        for key in [key for key in self._pieces if belongs(key)]:
            del self._pieces[key]
            self.done.discard(key)

    def join(self, worker: str, place: str, now: float) -> None:
        """A worker is ready; one that was lost may join again."""
        self.workers[worker] = WorkerState(place, now)

    def heard(self, worker: str, now: float, frames: int | None = None) -> None:
        """A sign of life of a worker, with the frames of its piece that it has upscaled; ignored if it is
        lost."""
        if (state := self.workers.get(worker)) is not None:
            state.last_heard, state.is_compiling = now, False
            state.frames = state.frames if frames is None else frames

    def compiling(self, worker: str, now: float) -> None:
        """A worker compiles a network, and may be silent for long; ignored if it is lost."""
        if (state := self.workers.get(worker)) is not None:
            state.last_heard, state.is_compiling = now, True

    def finished(self, worker: str, key: object, now: float) -> bool:
        """A worker has the result of its piece.

        Returns:
            Whether to take the result: it is the first. A lost worker's result is as good as any.
        """
        state = self.workers.get(worker)
        if state is not None and self._keys.get(worker) == key:
            assert state.piece is not None
            seconds = max(now - state.given, 1e-6)
            speed = state.piece.work / seconds
            state.speed = speed if state.speed == _NO_SPEED else (state.speed + speed) / 2
            self._failures.pop(state.place, None)
            self._release(worker, now)
        if key in self.done or key not in self._pieces:
            return False
        self.done.add(key)
        return True

    def failed(self, worker: str, key: object, reason: str, now: float) -> None:
        """A worker could not compute its piece, and lives on.

        Raises:
            EngineError: it was the last try.
        """
        place = self.workers[worker].place if worker in self.workers else None
        if self._keys.get(worker) == key:
            self._release(worker, now)
        if place is not None:
            failures = self._failures.setdefault(place, _Failures())
            failures.count, failures.last = failures.count + 1, now
        if key in self._pieces and key not in self.done:
            state = self._pieces[key]
            state.failures.append(reason)
            if place is not None:
                state.failed_places.add(place)
            _raise_if_reached(state, state.failures, self._limits.tries)

    def lost(self, worker: str, reason: str = "the worker was lost") -> None:
        """A worker is gone, with what it was computing.

        Raises:
            EngineError: it was the last try of its piece.
        """
        key = self._keys.pop(worker, None)
        self.workers.pop(worker, None)
        if key in self._pieces:
            state = self._pieces[key]
            state.losses.append(reason)
            if key not in self.done and key not in self._keys.values():
                _raise_if_reached(state, state.losses, self._limits.losses)

    # What to do.

    def silent(self, now: float) -> list[str]:
        """Return the workers that have not been heard of for too long; the caller ends them and reports each
        as lost. To be called often, see :attr:`Limits.pause`."""
        last, self._last_look = self._last_look, now
        if last is not None and now - last > self._limits.pause:
            for state in self.workers.values():
                state.last_heard = now
        return [
            name
            for name, state in self.workers.items()
            if now - state.last_heard
            > (self._limits.compiling if state.is_compiling else self._limits.silence)
        ]

    def give(self, now: float) -> list[tuple[str, object]]:
        """Return what to give to which idle workers, as (worker, key); it counts as given."""
        given, resting = [], self._resting(now)
        for name in sorted(self._idle(), key=lambda name: -self.workers[name].speed):
            key = None if self.workers[name].place in resting else self._next_for(self.workers[name], now)
            if key is None:
                continue
            state, piece_state = self.workers[name], self._pieces[key]
            state.piece, state.given, state.frames, state.last_heard = piece_state.piece, now, 0, now
            piece_state.places.append(state.place)
            self._keys[name] = key
            given.append((name, key))
        return given

    def obsolete(self) -> list[str]:
        """Return workers that compute a piece whose result is there: the caller stops them, and calls
        :meth:`join` when they are ready again."""
        return [name for name, key in self._keys.items() if not self._is_wanted(key)]

    @property
    def is_finished(self) -> bool:
        """Whether all pieces are known and have a result."""
        return self._complete and len(self.done) == len(self._pieces)

    @property
    def counts(self) -> dict[str, int]:
        """Number of all pieces ``waiting``, ``running`` and ``done``."""
        return self.counts_of(lambda key: True)

    def counts_of(self, belongs: Callable[[object], bool]) -> dict[str, int]:
        """Return the number of pieces ``waiting``, ``running`` and ``done`` among those of some keys."""
        keys = {key for key in self._pieces if belongs(key)}
        done, running = keys & self.done, keys.intersection(self._keys.values()) - self.done
        return {"waiting": len(keys) - len(done) - len(running), "running": len(running), "done": len(done)}

    @property
    def frames(self) -> int:
        """Frames in all results so far, and those of pieces that are being computed, each once."""
        return self.frames_of(lambda key: True)

    def frames_of(self, belongs: Callable[[object], bool]) -> int:
        """Return :attr:`frames` of the pieces of some keys."""
        finished = sum(self._pieces[key].piece.frame_count for key in self.done if belongs(key))
        running: dict[object, int] = {}
        for name, key in self._keys.items():
            if self._is_wanted(key) and belongs(key):
                piece = self._pieces[key].piece
                upscaled = max(min(self.workers[name].frames, piece.work) - piece.warmup_frames, 0)
                running[key] = max(running.get(key, 0), upscaled)
        return finished + sum(running.values())

    def _idle(self) -> Iterable[str]:
        return [name for name, state in self.workers.items() if state.piece is None]

    def _next_for(self, worker: WorkerState, now: float) -> object | None:
        """Return the key of the piece that an idle worker should compute; None if there is none."""
        running = set(self._keys.values())
        waiting = [key for key in self._pieces if key not in self.done and key not in running]
        waiting = [key for key in waiting if not self._is_for_others(key, worker)]
        if waiting:
            return max(waiting, key=lambda key: self._preference(key, worker))
        return self._copy_for(worker, now) if self._complete else None

    def _is_for_others(self, key: object, worker: WorkerState) -> bool:
        """Whether a piece is better given elsewhere.

        One that failed here waits for a place where it has not, even if that is busy. One whose worker was
        lost here is left to a worker elsewhere that is idle.
        """
        state = self._pieces[key]
        if worker.place in state.failed_places:
            return any(each.place not in state.failed_places for each in self.workers.values())
        idle = (self.workers[name].place for name in self._idle())
        return worker.place in state.places and any(place not in state.places for place in idle)

    def _resting(self, now: float) -> set[str]:
        """Return places that get nothing for now; none if they are all that there are."""
        resting = {
            place
            for place, failures in self._failures.items()
            if failures.count >= self._limits.tries and now < failures.last + self._limits.rest
        }
        return resting if any(state.place not in resting for state in self.workers.values()) else set()

    def _preference(self, key: object, worker: WorkerState) -> tuple[bool, int, int, int]:
        """Longest first; but what failed here is left to others, if there are others."""
        state = self._pieces[key]
        others = any(each.place not in state.places for each in self.workers.values())
        is_tried = others and worker.place in state.places
        return not is_tried, -state.priority, state.piece.work, -state.piece.number

    def _is_wanted(self, key: object) -> bool:
        return key in self._pieces and key not in self.done

    def _copy_for(self, worker: WorkerState, now: float) -> object | None:
        """Return the piece that will end last, if this worker would end it earlier."""
        ends: dict[object, float] = {}
        copies: dict[object, int] = {}
        places: dict[object, set[str]] = {}
        typical = self._typical_speed()
        for name, key in self._keys.items():
            if not self._is_wanted(key):
                continue
            state = self.workers[name]
            assert state.piece is not None
            left = max(state.piece.work - state.frames, 0)
            elapsed = now - state.given
            speed = state.frames / elapsed if state.frames and elapsed > 0 else state.speed or typical
            end = now + left / speed if speed else now + 1e9
            ends[key] = min(ends.get(key, end), end)
            copies[key] = copies.get(key, 0) + 1
            places.setdefault(key, set()).add(state.place)
        own_speed = worker.speed or typical
        candidates = [
            key
            for key in ends
            if copies[key] < self._limits.copies and worker.place not in self._pieces[key].failed_places
        ]
        if not candidates or not own_speed:
            return None
        last = max(candidates, key=lambda key: ends[key])
        return last if now + self._pieces[last].piece.work / own_speed < ends[last] else None

    def _typical_speed(self) -> float:
        speeds = sorted(state.speed for state in self.workers.values() if state.speed)
        return speeds[len(speeds) // 2] if speeds else _NO_SPEED

    def _release(self, worker: str, now: float) -> None:
        state = self.workers[worker]
        state.piece, state.frames, state.last_heard, state.is_compiling = None, 0, now, False
        del self._keys[worker]


def _raise_if_reached(state: PieceState, reasons: list[str], limit: int) -> None:
    """Raise if a piece has failed, or was lost, for the last time."""
    if len(reasons) < limit:
        return
    piece = state.piece
    raise EngineError(
        f"frames {piece.first_frame:,} to {piece.end_frame - 1:,} could not be computed, "
        f"{len(reasons)} times: {reasons[-1]}; look at the source there, and at the machines",
        details="\n".join(reasons),
    )
