"""Prefetching and background writing: items in order, every error raised, no thread left."""

from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from vsrcli.errors import SignalInterruptError
from vsrcli.system.signals import catch_signals
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


@pytest.mark.parametrize("kind", ["prefetcher", "put", "drain"])
def test_a_stop_ends_a_wait_of_the_main_thread_and_closing_ends_the_thread(kind: str) -> None:
    go = threading.Event()

    def items() -> Generator[int]:
        go.wait()
        yield 1

    def block() -> None:
        if kind == "prefetcher":
            next(iter(prefetcher))
        for number in range(3 if kind == "put" else 1):
            writer.put(number)
        writer.drain()

    def receive(number: int) -> None:
        go.wait()

    prefetcher, writer = Prefetcher(items(), 1, go.set), BackgroundWriter(receive, 1)
    with catch_signals() as token:
        threading.Timer(0.2, token.cancel).start()
        with pytest.raises(SignalInterruptError):
            block()
        prefetcher.close()
        writer.cancel(go.set)
    assert not threads("prefetcher") + threads("background writer")


def test_other_threads_are_not_interrupted() -> None:
    received: list[int] = []
    with catch_signals() as token:
        token.cancel()
        thread = threading.Thread(target=lambda: received.extend(Prefetcher(count(3), 1, lambda: None)))
        thread.start()
        thread.join()
    assert received == [0, 1, 2]


def test_queue_depths() -> None:
    assert queue_depth(240 * 136 * 3) == 16
    assert queue_depth(3840 * 2160 * 6) == 2
    assert queue_depth(1920 * 1080 * 3) == 5
