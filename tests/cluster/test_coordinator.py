"""The coordinator: what becomes of a run when machines come back, go silent, or a video cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from thread_workers import ThreadWorkers

import media_samples as media
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job
from vsrcli.cluster import coordinator, video, worker
from vsrcli.cluster.places import Place
from vsrcli.cluster.run import run_on_workers
from vsrcli.cluster.tasks import Task
from vsrcli.pipeline import memory, pieces
from vsrcli.pipeline.plan import Piece, PlanRules
from vsrcli.pipeline.progress import CallbackReporter, Reporter
from vsrcli.pipeline.scan import PieceStart
from vsrcli.system.signals import CancelToken

Sample = Callable[..., Path]
Send = Callable[..., None]
RULES = PlanRules(Fraction(1), Fraction(2), warmup_frames=4)
SHOTS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="shots")


def long_shot(folder: Path) -> Path:
    """A video of 12 s at 10 frames a second, one shot: six pieces."""
    path = folder / "long.mkv"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=12", "-c:v", "libx264", path)
    return path


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pieces, video):
        monkeypatch.setattr(module, "rules_for", lambda job: RULES)
    monkeypatch.setattr(coordinator, "_PLACES_SECONDS", 0.0)


def test_a_machine_that_was_refused_comes_back_under_its_name(sample: Sample, tmp_path: Path) -> None:
    def refuse(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        send("refused", next(items).key, "there is no ffmpeg here")
        workers.nodes = {"other": "other", "repaired": "host"}

    def never_answer(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        list(items)

    source, target, notices = sample(long_shot), tmp_path / "out.mp4", list[str]()
    workers = ThreadWorkers({"broken": "host", "other": "other"}, {"broken": refuse, "other": never_answer})
    run_on_workers(prepare_job(source, target, SHOTS), workers, CallbackReporter(None, notices.append))
    assert notices == ["host cannot take part: there is no ffmpeg here"]
    run_job(prepare_job(source, tmp_path / "reference.mp4", SHOTS))
    assert target.read_bytes() == (tmp_path / "reference.mp4").read_bytes()


def test_progress_of_a_piece_begins_without_the_frames_of_the_one_before(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that loads the network of the next video still has the piece before."""

    def repeat_itself(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        def received() -> Iterator[Any]:
            for item in items:
                if isinstance(item, Task):
                    send("word", item.key - 1, item.piece.number, 20)
                    send("word", item.key, item.piece.number - 1, 20)
                yield item

        worker.run(received(), send, token)

    seen: list[Progress] = []
    monkeypatch.setattr(worker, "WORD_SECONDS", 1000)
    workers = ThreadWorkers({"host": "host"}, {"host": repeat_itself})
    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS)
    run_on_workers(job, workers, CallbackReporter(seen.append, None))
    assert {each.done - 20 * each.pieces.done for each in seen if each.pieces} == {0}


def test_a_worker_that_compiles_for_long_is_not_ended(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock of the run goes on by a second at each look while the worker compiles."""
    begun, ended, now, notices = Event(), Event(), [0.0], list[str]()

    def tell_time() -> float:
        if begun.is_set() and not ended.is_set():
            now[0] += 1
            if now[0] >= 200:
                ended.set()
        return now[0]

    def compile_first(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        def received() -> Iterator[Any]:
            for item in items:
                if isinstance(item, Task) and not begun.is_set():
                    send("compiling")
                    begun.set()
                    assert ended.wait(60)
                yield item

        worker.run(received(), send, token)

    monkeypatch.setattr(coordinator, "time", SimpleNamespace(monotonic=tell_time))
    monkeypatch.setattr(coordinator, "_TICK", 0.001)
    monkeypatch.setattr(worker, "WORD_SECONDS", 1000)
    workers = ThreadWorkers({"host": "host"}, {"host": compile_first})
    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS)
    result = run_on_workers(job, workers, CallbackReporter(None, notices.append))
    assert (result.frames, notices) == (120, [])


def test_tiles_are_chosen_once_for_all_workers(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they differ, results are not those of one process."""
    source, target = sample(long_shot), tmp_path / "out.mkv"
    encode = EncodeOptions(codec="ffv1", pix_fmt="bgr0")  # whose segments are not closed in the background
    options = replace(SHOTS, model=str(tiny_weights(tmp_path, "cached")), device="cpu", encode=encode)
    monkeypatch.setattr(memory, "BURST_SIZES", (8,))
    job, notices, hosts = prepare_job(source, target, options), list[str](), {"a": "a", "b": "b"}
    little = job.memory_estimate().total - 2**16

    def take_memory() -> None:
        monkeypatch.setattr(memory, "BURST_SIZES", (1,))
        monkeypatch.setattr(memory, "available_host_memory", lambda: little)

    def take_memory_and_compute(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        take_memory()
        worker.run(items, send, token)

    def stop(progress: Progress) -> None:
        if progress.saved:
            raise KeyError

    workers = ThreadWorkers(hosts, dict.fromkeys(hosts, take_memory_and_compute))
    with suppress(KeyError):
        run_on_workers(job, workers, CallbackReporter(stop, notices.append))
    assert notices == []
    take_memory()
    job = prepare_job(source, target, options)
    run_on_workers(job, ThreadWorkers(hosts), CallbackReporter(None, notices.append))
    assert notices[0].startswith("resuming at frame ")
    assert notices[1:] == ["to save memory, going on with tiles of 64x48, 2 frames at a time"]


def test_another_engine_than_that_of_earlier_frames_is_a_notice(sample: Sample, tmp_path: Path) -> None:
    def compute_with(engine: str) -> Callable[[Iterator[Any], Send, CancelToken], None]:
        def run(items: Iterator[Any], send: Send, token: CancelToken) -> None:
            def greet(kind: str, *rest: Any) -> None:
                if kind == "ready":
                    rest = rest[0], replace(rest[1], engine=engine)
                send(kind, *rest)

            worker.run(items, greet, token)

        return run

    def stop(progress: Progress) -> None:
        if progress.saved > progress.resumed:
            raise KeyError

    source, target, notices = sample(long_shot), tmp_path / "out.mp4", list[str]()
    for engine in ("net on GPU 0: A, fp32", "net on GPU 1: A, fp32", "net on GPU 1: A, fp16"):
        workers = ThreadWorkers({"host": "host"}, {"host": compute_with(engine)})
        with suppress(KeyError):
            run_on_workers(
                prepare_job(source, target, SHOTS), workers, CallbackReporter(stop, notices.append)
            )
    assert [text[:52] for text in notices] == [
        *["resuming at frame 20 of 120", "resuming at frame 40 of 120"],
        "earlier frames were computed by net on GPU 1: A, fp32"[:52],
    ]


def test_a_worker_says_that_it_compiles(sample: Sample, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    options = replace(SHOTS, model=str(tiny_weights(tmp_path, "cached")), engine="onnxruntime", device="cpu")
    job, sent = prepare_job(sample(long_shot), tmp_path / "out.mp4", options), list[str]()
    with video.PlannedVideo(0, job, Reporter()) as planned:
        task = Task(0, Piece(0, 0, 4), PieceStart(), tmp_path / "piece-0.mkv")
        items = iter([planned.setup(Place("here", "here")), task])
        worker.run(items, lambda *message: sent.append(message[0]), CancelToken())
    first = sent.index("compiling")
    assert sent.index("ready") < first < sent.index("done")
    assert sent[first + 1] == "word"
