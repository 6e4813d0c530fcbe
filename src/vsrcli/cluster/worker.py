"""A worker: computes pieces of videos, each from its start alone.

Its items are in :mod:`vsrcli.cluster.tasks`. Messages are tuples:

- ``("ready", key, greeting)`` once a video's network is loaded, or ``("refused", key, reason)``;
- ``("word", key, number, frames)`` every second, with the frames of a piece that are upscaled; before the
  first one the key is None;
- ``("compiling",)`` before a network is compiled, after which minutes may pass until the next word;
- ``("done", key, number, segment, file)``, with the file if it is not where the task wants it; or
  ``("failed", key, number, reason, details)``, as is a piece of another video than that of the last setup;
- ``("notice", text)``.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsrcli.cluster.tasks import Setup, Task
from vsrcli.system.files import temporary_folder
from vsrcli.system.signals import CancelToken
from vsrcli.system.worker_process import run_worker

if TYPE_CHECKING:
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.upscaler import Upscaler

WORD_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class _Video:
    """The video that a worker is set up for; ``folder``: of its own, for segments."""

    job: Job
    upscaler: Upscaler
    folder: Path | None


def run(items: Iterator[Any], send: Callable[..., None], token: CancelToken) -> None:
    """Compute pieces until there are no more items; see the module's description."""
    from vsrcli.errors import VsrError
    from vsrcli.inference.onnxruntime_session import announced_compiling

    video: _Video | None = None
    key: int | None = None
    with _Scratch() as scratch, _Words(send) as words, announced_compiling(words.compiling):
        for item in items:
            if isinstance(item, Setup):
                video, key = None, item.key  # its network is freed before the next one is loaded
                try:
                    video = _set_up(item, scratch, send)
                except VsrError as error:
                    send("refused", item.key, str(error))
            elif item.key != key:
                reason = "the worker is set up for another video; run the same command again"
                send("failed", item.key, item.piece.number, reason, "")
            elif video is not None:  # else its setup has failed, which is known
                _compute(video, item, send, words, token)


def _set_up(setup: Setup, scratch: _Scratch, send: Callable[..., None]) -> _Video:
    """Load a video's network.

    Raises:
        VsrError: this worker cannot take part.
    """
    from vsrcli.cluster.likeness import Greeting
    from vsrcli.errors import EngineError, InputError
    from vsrcli.pipeline.checkpoint import fingerprint, obsolete_keys
    from vsrcli.pipeline.preparation import prepare_job
    from vsrcli.pipeline.progress import CallbackReporter
    from vsrcli.pipeline.thread_limit import limit_network_threads
    from vsrcli.pipeline.upscaler import Upscaler

    if not setup.source.exists():
        raise InputError(f"there is no {setup.source} here: videos need one path on all machines")
    folder = None if _shares(*setup.marker) else scratch.folder()
    target = setup.target if folder is None else folder / setup.target.name
    limit_network_threads(setup.options, setup.threads)
    job = replace(prepare_job(setup.source, target, setup.options), requested=setup.requested)
    if changed := obsolete_keys(job, setup.fingerprint, fingerprint(job)):
        raise EngineError(f"{', '.join(changed)}: not as on the machine that began the run")
    reporter = CallbackReporter(None, lambda text: send("notice", text))
    upscaler = Upscaler(job, setup.tiles, reporter, keep_tiles=True)  # else its results would be others
    send("ready", setup.key, Greeting.of(upscaler.engine))
    return _Video(job, upscaler, folder)


def _shares(file: Path, content: str) -> bool:
    """Return whether a file has that content here, and its folder takes files from here."""
    with suppress(OSError):
        if file.read_text() == content:
            handle, name = tempfile.mkstemp(dir=file.parent)
            os.close(handle)  # before: some shares remove no file that is open
            Path(name).unlink(missing_ok=True)  # the run may have removed it
            return True
    return False


def _compute(video: _Video, task: Task, send: Callable[..., None], words: _Words, token: CancelToken) -> None:
    """Compute a piece, and send what has become of it."""
    from vsrcli.errors import SignalInterruptError, VsrError
    from vsrcli.pipeline.pieces import compute_piece, segment_writer

    number, file = task.piece.number, task.file
    if video.folder is not None:
        file = video.folder / file.name
    words.begin(task)
    writer = segment_writer(video.job, file, task.piece)
    try:
        compute_piece(video.job, video.upscaler, task.piece, task.start, writer, words.count)
        token.raise_if_cancelled()
        writer.finish()
    except SignalInterruptError:
        raise
    except VsrError as error:
        send("failed", task.key, number, str(error), error.details)
        return
    finally:
        writer.abort()
    send("done", task.key, number, writer.segment, None if video.folder is None else file)


class _Scratch(ExitStack):
    """A folder of the worker's own, made when it is needed."""

    _path: Path | None = None

    def folder(self) -> Path:
        """Return the folder."""
        if self._path is None:
            self._path = self.enter_context(temporary_folder("vsr-worker-"))
        return self._path


class _Words:
    """Sends a sign of life every second, in a thread, with the frames of the current piece."""

    def __init__(self, send: Callable[..., None]) -> None:
        self._progress: tuple[int | None, int, int] = None, 0, 0  # replaced as a whole, for the thread
        self._send, self._ended = send, threading.Event()
        self._sending = threading.Lock()

    def begin(self, task: Task) -> None:
        """Count the frames of another piece."""
        self._progress = task.key, task.piece.number, 0

    def count(self, shot_count: int) -> None:
        key, number, frames = self._progress
        self._progress = key, number, frames + 1

    @contextmanager
    def compiling(self) -> Iterator[None]:
        """Say that a network is compiled in the block, and nothing until its end."""
        with self._sending:
            self._send("compiling")
            try:
                yield
            finally:
                self._send("word", *self._progress)

    def __enter__(self) -> _Words:
        threading.Thread(target=self._run, name="words", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def _run(self) -> None:
        while not self._ended.wait(WORD_SECONDS):
            with self._sending:
                self._send("word", *self._progress)


if __name__ == "__main__":
    run_worker(run)
