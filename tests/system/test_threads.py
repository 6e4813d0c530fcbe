"""Prefetching and background writing: items in order, every error raised, no thread left."""

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


@pytest.mark.parametrize("depth", [1, 3, 20])
def test_prefetcher_yields_items_in_order(depth: int) -> None:
    prefetcher = Prefetcher(count(10), depth, lambda: None)
    assert list(prefetcher) == TEN
    prefetcher.close()
    assert not threads("prefetcher")


def test_prefetcher_raises_in_place_of_the_item() -> None:
    prefetcher, received = Prefetcher(count(10, ValueError("broken")), 3, lambda: None), []
    with pytest.raises(ValueError, match="broken"):
        list(map(received.append, prefetcher))
    assert received == TEN
    prefetcher.close()


def test_prefetcher_depth() -> None:
    fetched, full = [], threading.Event()

    def items() -> Generator[int]:
        for number in TEN:
            fetched.append(number)
            if len(fetched) == 5:
                full.set()
            yield number

    prefetcher = Prefetcher(items(), 3, lambda: None)
    taking = iter(prefetcher)
    assert next(taking) == 0
    assert full.wait(10)
    assert len(fetched) == 5  # one consumed, three in the queue, one held by the thread
    prefetcher.close()
    assert not threads("prefetcher")


def test_close_wakes_the_thread_and_closes_the_generator() -> None:
    wake, closed = threading.Event(), threading.Event()

    def items() -> Generator[int]:
        try:
            yield 0
            wake.wait()
            yield 1
        finally:
            closed.set()

    prefetcher = Prefetcher(items(), 3, wake.set)
    assert next(iter(prefetcher)) == 0
    prefetcher.close()
    assert closed.is_set()
    assert not threads("prefetcher")
    prefetcher.close()


def test_writer_calls_in_order() -> None:
    received: list[int] = []
    writer = BackgroundWriter(received.append, 3)
    for number in TEN:
        writer.put(number)
    writer.drain()
    assert received == TEN
    assert not threads("background writer")


def test_writer_raises_and_stops_after_an_error() -> None:
    received: list[int] = []

    def receive(number: int) -> None:
        if number == 3:
            raise OSError("full")
        received.append(number)

    writer = BackgroundWriter(receive, 2)
    with pytest.raises(OSError, match="full"):
        list(map(writer.put, range(100)))
    with pytest.raises(OSError, match="full"):
        writer.drain()
    assert received == [0, 1, 2]
    assert not threads("background writer")


def test_cancel_discards_the_queue() -> None:
    begun, go, received = threading.Event(), threading.Event(), []

    def receive(number: int) -> None:
        begun.set()
        go.wait()
        received.append(number)

    writer = BackgroundWriter(receive, 10)
    for number in TEN:
        writer.put(number)
    assert begun.wait(10)
    writer.cancel(go.set)
    assert received == [0]
    assert not threads("background writer")


class StopError(Exception):
    """Raised by the signal handler."""


def interrupted(instructions: int, block: Callable[[], None]) -> bool:
    """Run a block, with a signal after so many instructions, whose handler raises; return whether it came."""
    left = instructions

    def handle(signum: int, frame: FrameType | None) -> None:
        raise StopError

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
    except StopError:
        pass
    finally:
        sys.settrace(tracing)
        signal.signal(signal.SIGINT, before)
    return left <= 0


# in a callback of a weak reference the exception is lost; CancelToken covers that
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", ["prefetcher", "background writer"])
def test_signal_at_any_instruction_leaves_no_thread(kind: str) -> None:
    """At every bytecode instruction, those of the standard library included."""

    def fetch() -> None:
        for _ in prefetcher:
            pass

    def write() -> None:
        for number in range(3):
            writer.put(number)
        writer.drain()

    number, stopped = 0, True
    while stopped:
        number += 1
        prefetcher: Prefetcher[int] = Prefetcher(count(3), 1, lambda: None)
        writer: BackgroundWriter[int] = BackgroundWriter(lambda item: None, 1)
        stopped = interrupted(number, fetch if kind == "prefetcher" else write)
        close = prefetcher.close if kind == "prefetcher" else partial(writer.cancel, lambda: None)
        closing = threading.Thread(target=close, daemon=True)
        closing.start()
        closing.join(20)
        assert not closing.is_alive(), f"hangs after instruction {number}"
    assert number > 100
    assert not threads(kind)


def test_queue_depths() -> None:
    assert queue_depth(240 * 136 * 3) == 16
    assert queue_depth(3840 * 2160 * 6) == 2
    assert queue_depth(1920 * 1080 * 3) == 5
