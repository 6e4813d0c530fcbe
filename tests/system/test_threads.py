"""Decoding ahead and encoding behind: the same items in the same order, every error heard, no thread left."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Generator
from functools import partial
from types import FrameType

import pytest

from vsrcli.system.threads import BackgroundWriter, Prefetcher, queue_depth

TEN = list(range(10))


def count(to: int, then: Exception | None = None) -> Generator[int]:
    yield from range(to)
    if then is not None:
        raise then


def threads(name: str) -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == name]


@pytest.mark.parametrize("waiting", [1, 3, 20])
def test_ahead_gives_everything_in_order(waiting: int) -> None:
    ahead = Prefetcher(count(10), waiting, lambda: None)
    assert list(ahead) == TEN
    ahead.close()
    assert not threads("prefetcher")


def test_an_error_comes_in_its_turn() -> None:
    ahead, got = Prefetcher(count(10, ValueError("broken")), 3, lambda: None), []
    with pytest.raises(ValueError, match="broken"):
        list(map(got.append, ahead))
    assert got == TEN
    ahead.close()


def test_no_more_than_wait_are_fetched_ahead() -> None:
    fetched, full = [], threading.Event()

    def items() -> Generator[int]:
        for number in TEN:
            fetched.append(number)
            if len(fetched) == 5:
                full.set()
            yield number

    ahead = Prefetcher(items(), 3, lambda: None)
    taking = iter(ahead)
    assert next(taking) == 0
    assert full.wait(10)
    assert len(fetched) == 5  # one taken, three waiting, one in hand
    ahead.close()
    assert not threads("prefetcher")


def test_closing_wakes_a_thread_that_waits_and_closes_what_it_read() -> None:
    wake, closed = threading.Event(), threading.Event()

    def items() -> Generator[int]:
        try:
            yield 0
            wake.wait()
            yield 1
        finally:
            closed.set()

    ahead = Prefetcher(items(), 3, wake.set)
    assert next(iter(ahead)) == 0
    ahead.close()
    assert closed.is_set()
    assert not threads("prefetcher")
    ahead.close()


def test_behind_hands_over_everything_in_order() -> None:
    got: list[int] = []
    behind = BackgroundWriter(got.append, 3)
    for number in TEN:
        behind.put(number)
    behind.drain()
    assert got == TEN
    assert not threads("background writer")


def test_behind_raises_what_went_wrong_and_takes_no_more() -> None:
    got: list[int] = []

    def take(number: int) -> None:
        if number == 3:
            raise OSError("full")
        got.append(number)

    behind = BackgroundWriter(take, 2)
    with pytest.raises(OSError, match="full"):
        list(map(behind.put, range(100)))
    with pytest.raises(OSError, match="full"):
        behind.drain()
    assert got == [0, 1, 2]
    assert not threads("background writer")


def test_abandoning_leaves_what_waits() -> None:
    begun, go, got = threading.Event(), threading.Event(), []

    def take(number: int) -> None:
        begun.set()
        go.wait()
        got.append(number)

    behind = BackgroundWriter(take, 10)
    for number in TEN:
        behind.put(number)
    assert begun.wait(10)
    behind.cancel(go.set)
    assert got == [0]
    assert not threads("background writer")


class Stop(Exception):
    """What Ctrl-C raises."""


def interrupted(instructions: int, block: Callable[[], None]) -> bool:
    """Run a block, with a signal after so many instructions, whose handler raises; whether it came."""
    left = instructions

    def handle(signum: int, frame: FrameType | None) -> None:
        raise Stop

    def trace(frame: FrameType, event: str, argument: object) -> Callable:
        nonlocal left
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == 0:
                signal.raise_signal(signal.SIGINT)
        return trace

    before, tracing = signal.signal(signal.SIGINT, handle), sys.gettrace()
    try:
        sys.settrace(trace)
        block()
    except Stop:
        pass
    finally:
        sys.settrace(tracing)
        signal.signal(signal.SIGINT, before)
    return left <= 0


# in a callback of a weak reference the exception is lost; whoever asks for signals at each frame hears of it
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["prefetcher", "background writer"])
def test_ctrl_c_anywhere_leaves_no_thread_waiting(kind: str) -> None:
    """At every single instruction of a run, the standard library's own ones included."""

    def fetch() -> None:
        for _ in ahead:
            pass

    def hand_over() -> None:
        for number in range(3):
            behind.put(number)
        behind.drain()

    number, stopped = 0, True
    while stopped:
        number += 1
        ahead: Prefetcher[int] = Prefetcher(count(3), 1, lambda: None)
        behind: BackgroundWriter[int] = BackgroundWriter(lambda item: None, 1)
        stopped = interrupted(number, fetch if kind == "prefetcher" else hand_over)
        close = ahead.close if kind == "prefetcher" else partial(behind.cancel, lambda: None)
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive(), f"stands still after instruction {number}"
    assert number > 100
    assert not threads(kind)


def test_queues_are_short() -> None:
    assert queue_depth(240 * 136 * 3) == 16
    assert queue_depth(3840 * 2160 * 6) == 2
    assert queue_depth(1920 * 1080 * 3) == 5
