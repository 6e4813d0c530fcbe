"""A hundred nodes on paper: driver and plan under a simulated clock, with nodes that are slow or die.

    python benchmarks/cluster_simulation.py [--speed 12] [--scan 0] [--seed 0]

Prints, for drawn shot lists (lognormal lengths; of a feature, of talks, of a single take) and 4 to 100
nodes, the *efficiency*: the time that the frames alone would take on all nodes that started, divided by the
simulated time. A node takes 20 s to start and a second for each piece. ``slow``: nodes of 0.5 to 1 times
the speed, and every twentieth at a quarter. ``lost``: a tenth of the nodes die at a random moment, half of
them without a word, which the driver's watchdog notices.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from vsrcli.cluster.driver import Driver, Limits
from vsrcli.pipeline.plan import Piece, PlanRules, plan_pieces

RATE = 24  # frames a second of the drawn videos
START_SECONDS, PIECE_SECONDS, WORD_SECONDS = 20.0, 1.0, 1.0  # of a node; to begin a piece; between two words


@dataclass
class Node:
    """A simulated machine with one worker.

    Attributes:
        speed: frames a second.
        dies: time of its death; infinity: never.
        silently: it hangs: nobody is told.
    """

    speed: float
    dies: float = float("inf")
    silently: bool = False


@dataclass
class Simulation:
    """The driver and its nodes, from the first second to the last result.

    Args:
        pieces: in the order in which they are found.
        nodes: all machines.
        found: time when each piece is known; empty: at once.
        limits: of the driver.

    Attributes:
        seconds: simulated duration.
        results: how many results were taken, by piece.
        given: (time, node, piece) of everything that was given.
    """

    pieces: Sequence[Piece]
    nodes: Sequence[Node]
    found: Sequence[float] = ()
    limits: Limits = field(default_factory=Limits)
    seconds: float = 0.0
    results: dict[int, int] = field(default_factory=dict)
    given: list[tuple[float, int, int]] = field(default_factory=list)

    def run(self) -> float:
        """Run until every piece has a result; return the seconds.

        Raises:
            RuntimeError: nothing more will happen, and pieces have no result.
        """
        driver, events, order = (
            Driver(self.limits),
            list[tuple[float, int, str, int, int]](),
            itertools.count(),
        )
        alive = set(range(len(self.nodes)))
        begun: dict[int, tuple[float, int]] = {}  # what each node really computes, and since when

        def at(time: float, kind: str, node: int = 0, piece: int = 0) -> None:
            heapq.heappush(events, (time, next(order), kind, node, piece))

        found = self.found or [0.0] * len(self.pieces)
        for piece, time in zip(self.pieces, found, strict=True):
            at(time, "found", piece=piece.number)
        for number, node in enumerate(self.nodes):
            at(START_SECONDS, "join", number)
            if node.dies != float("inf"):
                at(node.dies, "die", number)
        at(max(found, default=0.0), "all found")
        at(WORD_SECONDS, "tick")
        now, last_change = 0.0, 0.0
        while not driver.is_finished:
            now, _, kind, number, piece = heapq.heappop(events)
            name, last_change = str(number), last_change if kind == "tick" else now
            if kind == "found":
                driver.add(piece, self.pieces[piece])
            elif kind == "all found":
                driver.all_added()
            elif kind == "join" and number in alive:
                driver.join(name, name, now)
            elif kind == "die":
                alive.discard(number)
                begun.pop(number, None)
                if not self.nodes[number].silently:
                    driver.lost(name, "killed")
            elif kind == "end" and number in alive and begun.get(number, (0, -1))[1] == piece:
                del begun[number]
                if driver.finished(name, piece, now):
                    self.results[piece] = self.results.get(piece, 0) + 1
                for other in driver.obsolete():
                    begun.pop(int(other), None)
                    driver.join(other, other, now)
            elif kind == "tick":
                for node in alive:
                    frames = None
                    if node in begun:
                        since, current = begun[node]
                        done = (now - since - PIECE_SECONDS) * self.nodes[node].speed
                        frames = int(max(min(done, self.pieces[current].work), 0))
                    driver.heard(str(node), now, frames)
                for silent in driver.silent(now):
                    driver.lost(silent, "no word")
                at(now + WORD_SECONDS, "tick")
            for worker, key in driver.give(now):
                assert isinstance(key, int)
                node = int(worker)
                self.given.append((now, node, key))
                if node in alive:
                    begun[node] = now, key
                    at(now + PIECE_SECONDS + self.pieces[key].work / self.nodes[node].speed, "end", node, key)
            if now - last_change > 1e5:
                raise RuntimeError(f"pieces without a result: {driver.counts}")
        self.seconds = now
        return now


def draw_shots(
    rng: np.random.Generator, minutes: float, mean_seconds: float, longest: float, spread: float = 0.9
) -> Iterator[tuple[Fraction, bool]]:
    """Yield time and whether a shot begins, of each frame of a drawn video; ``mean_seconds`` 0: one shot."""
    count, next_shot = round(minutes * 60 * RATE), 0
    for frame in range(count):
        starts = frame == next_shot
        if starts:
            seconds = (
                min(rng.lognormal(np.log(mean_seconds) - spread**2 / 2, spread), longest)
                if mean_seconds
                else 1e9
            )
            next_shot = frame + max(round(seconds * RATE), 1)
        yield Fraction(frame, RATE), starts


def make_nodes(rng: np.random.Generator, count: int, speed: float, kind: str, ideal: float) -> list[Node]:
    """Return nodes: ``equal``, ``slow`` (mixed, some very), or ``lost``: a tenth dies."""
    nodes = [Node(speed) for _ in range(count)]
    if kind == "slow":
        for number, node in enumerate(nodes):
            node.speed *= (1.0, 0.7, 0.5)[number % 3] * (0.25 if number % 20 == 19 else 1.0)
    if kind == "lost":
        for number in rng.choice(count, max(count // 10, 1), replace=False) if count > 1 else []:
            nodes[number].dies = START_SECONDS + float(rng.uniform(0, ideal))
            nodes[number].silently = bool(rng.random() < 0.5)
    return nodes


VIDEOS: dict[str, tuple[float, float, float]] = {  # minutes, mean length and longest of shots in seconds
    "feature, 100 min, shots of 4.5 s": (100, 4.5, 48),
    "talks, 60 min, shots of 72 s": (60, 72, 660),
    "one take, 60 min": (60, 0, 0),
}
RULES = {
    "shots only": PlanRules(max_seconds=Fraction(10**6)),
    "shots, at most 60 s": PlanRules(),
    "shots, at most 20 s": PlanRules(max_seconds=Fraction(20)),
}
COLUMNS = (("equal", 4), ("equal", 10), ("equal", 30), ("equal", 100), ("slow", 100), ("lost", 100))


def efficiency(pieces: Sequence[Piece], nodes: Sequence[Node], found: Sequence[float] = ()) -> float:
    """Return the share of the time that upscaling alone would take, on nodes that never end."""
    frames = sum(piece.frame_count for piece in pieces)
    return frames / sum(node.speed for node in nodes) / Simulation(pieces, nodes, found).run()


def table(speed: float, scan: float, seed: int) -> Iterable[str]:
    """Yield the lines of the table; ``scan``: frames a second in which pieces are found, 0: at once."""
    headings = [f"{count} {kind}" if kind != "equal" else f"{count}" for kind, count in COLUMNS]
    yield f"| video | cut at | pieces | longest, s | {' | '.join(headings)} |"
    yield "|---" * (4 + len(COLUMNS)) + "|"
    for video, drawn in VIDEOS.items():
        for rule, rules in RULES.items():
            pieces = list(plan_pieces(draw_shots(np.random.default_rng(seed), *drawn), rules))
            found = [piece.end_frame / scan for piece in pieces] if scan else []
            frames, cells = pieces[-1].end_frame, list[str]()
            for kind, count in COLUMNS:
                rng = np.random.default_rng([seed, count])
                nodes = make_nodes(rng, count, speed, kind, frames / speed / count)
                cells.append(f"{efficiency(pieces, nodes, found):.2f}")
            longest = max(piece.frame_count for piece in pieces) / RATE
            yield f"| {video} | {rule} | {len(pieces)} | {longest:.0f} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--speed", type=float, default=12, help="frames a second of a node")
    parser.add_argument(
        "--scan", type=float, default=0, help="frames a second of the scan; 0: pieces are known"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for line in table(options.speed, options.scan, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
