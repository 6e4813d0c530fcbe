"""A worker: computes pieces of one video, each from its start alone.

Its first item is a :class:`Setup`, the others are :class:`Task`. Messages are tuples:

- ``("ready", engine)`` once the network is loaded, or ``("refused", reason)``;
- ``("word", frames)`` every second, with the frames of its piece that are upscaled;
- ``("done", number, segment)`` or ``("failed", number, reason, details)``;
- ``("notice", text)``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.frames.tiling import TilePlan
from vsrcli.pipeline.options import Options
from vsrcli.pipeline.plan import Piece
from vsrcli.pipeline.scan import PieceStart
from vsrcli.system.signals import CancelToken
from vsrcli.system.worker_process import run_worker

WORD_SECONDS = 1.0


@dataclass(frozen=True)
class Setup:
    """What a worker has to know of the video.

    Attributes:
        source, target: absolute paths, which must be the same files for the worker.
        options: of the run, with the worker's device.
        tiles: tile plans of the passes: the driver's, since memory may differ.
        fingerprint: of the driver's job, see :func:`~vsrcli.pipeline.checkpoint.fingerprint`.
        threads: that the network may use; None: all.
    """

    source: Path
    target: Path
    options: Options
    tiles: Sequence[TilePlan]
    fingerprint: Mapping[str, str]
    threads: int | None = None


@dataclass(frozen=True, eq=False)
class Task:
    """A piece to compute.

    Attributes:
        piece: itself.
        start: where it begins.
        file: of its segment; the name begins with ``piece-``.
    """

    piece: Piece
    start: PieceStart
    file: Path


def run(items: Iterator[Any], send: Callable[..., None], token: CancelToken) -> None:
    """Compute pieces until there are no more items; see the module's description."""
    from vsrcli.errors import SignalInterruptError, VsrError
    from vsrcli.pipeline.checkpoint import changed_keys, fingerprint
    from vsrcli.pipeline.pieces import compute_piece, segment_writer
    from vsrcli.pipeline.preparation import prepare_job
    from vsrcli.pipeline.progress import CallbackReporter
    from vsrcli.pipeline.thread_limit import limit_network_threads
    from vsrcli.pipeline.upscaler import Upscaler

    setup: Setup = next(items)
    try:
        limit_network_threads(setup.options, setup.threads)
        job = prepare_job(setup.source, setup.target, setup.options)
        if changed := changed_keys(setup.fingerprint, fingerprint(job)):
            send("refused", f"{', '.join(changed)}: not as on the machine that began the run")
            return
        upscaler = Upscaler(job, setup.tiles, CallbackReporter(None, lambda text: send("notice", text)))
    except VsrError as error:
        send("refused", str(error))
        return
    send("ready", upscaler.engine.description)
    with _Words(send) as words:
        for task in items:
            words.frames, writer = 0, segment_writer(job, task.file, task.piece)
            try:
                compute_piece(job, upscaler, task.piece, task.start, writer, words.count)
                token.raise_if_cancelled()
                writer.finish()
            except SignalInterruptError:
                raise
            except VsrError as error:
                send("failed", task.piece.number, str(error), error.details)
                continue
            finally:
                writer.abort()
            send("done", task.piece.number, writer.segment)


class _Words:
    """Sends a sign of life every second, in a thread, with the frames of the current piece."""

    def __init__(self, send: Callable[..., None]) -> None:
        self.frames = 0
        self._send, self._ended = send, threading.Event()

    def count(self, shot_count: int) -> None:
        self.frames += 1

    def __enter__(self) -> _Words:
        threading.Thread(target=self._run, name="words", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(WORD_SECONDS):
            self._send("word", self.frames)


if __name__ == "__main__":
    run_worker(run)
