"""The driver: no piece is lost, taken twice or starved, whatever happens to the nodes."""

from __future__ import annotations

import importlib
import sys
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vsrcli.cluster.driver import Driver, Limits
from vsrcli.errors import EngineError
from vsrcli.pipeline.plan import Piece, PlanRules, plan_pieces

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def driver_with(*lengths: int, workers: str = "", limits: Limits | None = None) -> Driver:
    """Return a driver with pieces of these lengths and idle workers, each in a place of its own name."""
    driver, first = Driver(limits), 0
    for number, length in enumerate(lengths):
        driver.add(number, Piece(number, first, first + length))
        first += length
    driver.all_added()
    for name in workers:
        driver.join(name, name, 0.0)
    return driver


def test_the_longest_piece_is_given_first() -> None:
    driver = driver_with(10, 30, 20, workers="ab")
    assert [key for _, key in driver.give(0)] == [1, 2]
    assert driver.give(1) == []
    assert driver.counts == {"waiting": 1, "running": 2, "done": 0}
    assert driver.finished("a", 1, 2)
    assert driver.give(2) == [("a", 0)]


def test_a_silent_worker_is_noticed_and_its_piece_given_again() -> None:
    driver = driver_with(10, workers="a")
    driver.give(0)
    driver.heard("a", 20, 4)
    assert driver.frames == 4
    assert driver.silent(49) == []
    assert driver.silent(51) == ["a"]
    driver.lost("a")
    driver.join("b", "b", 52)
    assert driver.give(52) == [("b", 0)]
    assert driver.finished("b", 0, 60)
    assert driver.is_finished
    assert not driver.finished("a", 0, 70), "the lost one's result comes too late"


def test_a_worker_that_compiles_may_be_silent_until_its_next_word() -> None:
    driver = driver_with(10, workers="a", limits=Limits(silence=30, compiling=900, pause=1e6))
    driver.give(0)
    driver.compiling("a", 1)
    assert driver.silent(900) == []
    assert driver.silent(902) == ["a"]
    driver.heard("a", 800)
    assert driver.silent(829) == []
    assert driver.silent(831) == ["a"]


def test_a_driver_that_stood_still_blames_nobody() -> None:
    driver = driver_with(10, workers="ab")
    assert driver.silent(0) == []
    driver.heard("a", 1)
    assert driver.silent(1) == []
    assert driver.silent(1000) == [], "all were paused"
    for now in range(1001, 1031):
        driver.heard("a", now)
        assert driver.silent(now) == []
    assert driver.silent(1031) == ["b"], "it has not gone on"


def test_a_lost_workers_result_is_taken_if_it_is_the_first() -> None:
    driver = driver_with(10, workers="ab")
    (first, _) = driver.give(0)[0]
    driver.lost(first)
    (second, _) = driver.give(1)[0]
    assert driver.finished(first, 0, 2)
    assert driver.obsolete() == [second]
    assert driver.is_finished


def test_a_piece_that_fails_is_tried_elsewhere_and_three_times() -> None:
    driver, places = driver_with(10, workers="abcd"), []
    for attempt in range(3):
        [(worker, key)] = driver.give(attempt)
        places.append(worker)
        if attempt < 2:
            driver.failed(worker, key, f"no luck {attempt}", attempt)
        else:
            with pytest.raises(EngineError, match=r"frames 0 to 9 .* 3 times: no luck 2") as error:
                driver.failed(worker, key, "no luck 2", attempt)
            assert error.value.details.splitlines() == ["no luck 0", "no luck 1", "no luck 2"]
    assert len(set(places)) == 3


def test_a_machine_that_fails_fast_does_not_end_a_run_that_others_can_do() -> None:
    """Its disk is full: it fails within 2 s, while the others take 60 s a piece."""
    driver, now, busy = driver_with(*[250] * 10, workers="abc"), 0.0, {}
    tried: Counter[str] = Counter()
    while not driver.is_finished:
        for worker, key in driver.give(now):
            tried[worker] += 1
            busy[worker] = key, now + (2 if worker == "c" else 60)
        worker = min(busy, key=lambda name: busy[name][1])
        key, now = busy.pop(worker)
        for name in "abc":
            driver.heard(name, now)
        if worker == "c":
            driver.failed(worker, key, "no space left on device", now)
        else:
            driver.finished(worker, key, now)
    assert tried["c"] <= 3 + now / 60, "after three failures it has one try a minute"
    assert now <= 302, "as long as the other two need"


def test_a_machine_that_has_recovered_takes_part_again() -> None:
    driver = driver_with(*[10] * 9, workers="ab")
    for now in range(3):
        given = dict(driver.give(now))
        driver.failed("a", given["a"], "no space left on device", now)
    assert "a" not in dict(driver.give(30))
    given = dict(driver.give(70))
    assert driver.finished("a", given["a"], 71)
    assert "a" in dict(driver.give(71))


def test_a_single_place_tries_three_times() -> None:
    driver = driver_with(10, workers="a")
    for attempt in range(2):
        assert driver.give(attempt) == [("a", 0)]
        driver.failed("a", 0, "no luck", attempt)
    driver.give(2)
    with pytest.raises(EngineError):
        driver.failed("a", 0, "no luck", 2)


def test_a_piece_that_kills_every_worker_is_an_error() -> None:
    driver = driver_with(10)
    for attempt in range(4):
        driver.join("a", "a", attempt)
        driver.give(attempt)
        driver.lost("a")
    driver.join("a", "a", 5)
    driver.give(5)
    with pytest.raises(EngineError, match="5 times: killed"):
        driver.lost("a", "killed")


def test_the_piece_that_will_end_last_is_given_twice_to_whom_ends_it_earlier() -> None:
    driver = driver_with(100, 100, 10, workers="ab")
    driver.give(0)
    driver.finished("a", 0, 10)  # ten frames a second
    assert driver.give(10) == [("a", 2)]
    driver.heard("b", 11, 11)  # one: 89 seconds to go
    driver.finished("a", 2, 11)
    assert driver.give(11) == [("a", 1)]
    assert driver.finished("a", 1, 21)
    assert driver.obsolete() == ["b"]
    assert not driver.finished("b", 1, 22)


def test_no_second_copy_for_a_worker_that_would_end_later() -> None:
    driver = driver_with(100, 100, workers="ab")
    driver.give(0)
    driver.heard("b", 9, 90)
    driver.finished("a", 0, 10)
    assert driver.give(10) == []


def test_pieces_of_an_earlier_run_are_done() -> None:
    driver = Driver()
    driver.add(0, Piece(0, 0, 10), done=True)
    driver.add(1, Piece(1, 10, 20))
    driver.join("a", "a", 0)
    assert driver.give(0) == [("a", 1)]
    assert not driver.is_finished
    driver.finished("a", 1, 1)
    assert not driver.is_finished, "more may be found"
    driver.all_added()
    assert driver.is_finished
    assert driver.frames == 20


@pytest.fixture(scope="module")
def simulation() -> Any:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are part of the repository only")
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("cluster_simulation")
    finally:
        sys.path.remove(str(BENCHMARKS))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    nodes=st.integers(1, 40),
    deaths=st.floats(0, 0.9),
    mean=st.sampled_from((0, 3, 60)),
    scan=st.sampled_from((0, 100)),
)
def test_whatever_dies_every_piece_has_one_result(
    simulation: Any, seed: int, nodes: int, deaths: float, mean: int, scan: int
) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    frames = simulation.draw_shots(rng, 6, mean, 200)
    pieces = list(plan_pieces(frames, PlanRules(Fraction(5), Fraction(20))))
    machines = [simulation.Node(float(rng.uniform(1, 30))) for _ in range(nodes)]
    for node in machines[1:]:  # one lives
        if rng.random() < deaths:
            node.dies, node.silently = float(rng.uniform(0, 300)), bool(rng.random() < 0.5)
    found = [piece.end_frame / scan for piece in pieces] if scan else ()
    run = simulation.Simulation(pieces, machines, found, Limits(losses=1000))
    seconds = run.run()
    assert Counter(run.results) == Counter(range(len(pieces)))
    alone = sum(piece.work for piece in pieces) / machines[0].speed + 2 * len(pieces) + 60
    assert seconds < alone + (found[-1] if found else 0) + 30 * nodes, "starved"


def test_many_nodes_are_nearly_as_many_times_as_fast(simulation: Any) -> None:
    import numpy as np

    pieces = list(plan_pieces(simulation.draw_shots(np.random.default_rng(0), 30, 4.5, 48)))
    share = simulation.efficiency(pieces, [simulation.Node(12.0)] * 10)
    assert share > 0.8
    slow = simulation.make_nodes(np.random.default_rng(0), 20, 12.0, "slow", 0)
    assert simulation.efficiency(pieces, slow) > 0.6
