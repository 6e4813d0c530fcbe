"""Worker processes of this program: a parent that gives items, a child that works on them.

Items and messages are pickles on the child's stdin and stdout, between a program and its own child. When
stdin ends, the parent wants the worker to stop, or has died: the running item then stops.

Workers are fresh interpreters, since TensorFlow and OpenVINO do not survive a fork. Each lives in a process
group of its own: Ctrl-C in a terminal reaches the parent only, which then stops them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

from vsrcli.errors import SignalInterruptError
from vsrcli.system.processes import python_command, start_process
from vsrcli.system.signals import CancelToken, catch_signals
from vsrcli.system.threads import BackgroundTask, poll_get

FORCE_EXIT_SECONDS = 5.0  # less than the parent's, which reports how the items have ended
_TAIL_LINES = 24  # of a worker's stderr
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")  # not ffmpeg's: they change its output


class WorkerProcess:
    """A child process that works on items: ``python -m MODULE``, which calls :func:`run_worker`.

    Args:
        module: of the child.
        on_message: called in a thread with this worker and each message, and with None when it has exited.
        threads: that its networks may use; None: all.
        variables: further ones of its environment.

    Attributes:
        item: what it is working on, None if it is idle.
    """

    def __init__(
        self,
        module: str,
        on_message: Callable[[tuple[WorkerProcess, Any]], None],
        threads: int | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.item: Any = None
        self._on_message = on_message
        self._stderr_lines: deque[str] = deque(maxlen=_TAIL_LINES)
        limits = {} if threads is None else {name: str(threads) for name in _THREAD_VARIABLES}
        self._child = start_process(
            python_command(module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **limits, **(variables or {})},
        )
        self._readers = [
            BackgroundTask(self._read_messages, "worker messages"),
            BackgroundTask(self._read_stderr, "worker stderr"),
        ]

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def submit(self, item: Any) -> None:
        """Work on an item; the worker must be idle."""
        assert self._child.stdin is not None
        self.item = item
        with contextlib.suppress(OSError):  # it has died, which is reported as a message
            pickle.dump(item, self._child.stdin)
            self._child.stdin.flush()

    def stop(self) -> None:
        """Stop the running item as soon as possible; an idle worker exits. May be called again."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has died, or was stopped before
            if self.item is None:
                pickle.dump(None, self._child.stdin)
            self._child.stdin.close()

    def kill(self) -> None:
        """End it at once, whatever it does; its exit is a message as any other."""
        self._child.kill()

    def wait(self) -> int:
        """Wait until the process has exited; return its status, negative for a signal."""
        status = self._child.wait()
        assert self._child.stdin is not None
        with contextlib.suppress(OSError):  # what it was given and did not read
            self._child.stdin.close()
        for reader in self._readers:
            reader.join()
        return status

    def wait_until(self, deadline: float) -> bool:
        """Wait for the exit until a moment of ``time.monotonic``; return whether it has exited."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(max(deadline - time.monotonic(), 0))
        return self._child.poll() is not None

    def stderr_tail(self) -> str:
        """Return the last lines of its stderr."""
        return "\n".join(self._stderr_lines)

    def _read_messages(self) -> None:
        assert self._child.stdout is not None
        with self._child.stdout as pipe, contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                self._on_message((self, pickle.load(pipe)))
        self._on_message((self, None))

    def _read_stderr(self) -> None:
        assert self._child.stderr is not None
        with self._child.stderr as pipe:
            for line in pipe:
                self._stderr_lines.append(line.decode("utf-8", "replace").rstrip())


def run_worker(run: Callable[[Iterator[Any], Callable[..., None], CancelToken], None]) -> None:
    """Be a worker until stdin ends: the main function of its module.

    Args:
        run: called with the items as they come; a function that sends a message, which may be called in any
            thread; and a token that is cancelled when the worker has to stop.
    """
    with (
        contextlib.suppress(SignalInterruptError),
        catch_signals(force_exit_after=FORCE_EXIT_SECONDS, resume_hint=str) as token,
    ):
        inbox, outbox = _take_over_streams()
        items: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=_receive, args=(inbox, items, token), name="items", daemon=True).start()
        lock = threading.Lock()

        def send(*message: Any) -> None:
            with lock, contextlib.suppress(BrokenPipeError):  # the parent has died; stdin ends, too
                pickle.dump(message, outbox)
                outbox.flush()

        def received() -> Iterator[Any]:
            while (item := poll_get(items)) is not None:
                yield item

        run(received(), send, token)


def _receive(inbox: IO[bytes], items: queue.Queue[Any], token: CancelToken) -> None:
    """Queue items until stdin ends, which stops the worker; None, from the parent, ends an idle one."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            item = pickle.load(inbox)
            items.put(item)
            if item is None:
                return
    token.cancel()


def _take_over_streams() -> tuple[IO[bytes], IO[bytes]]:
    """Return stdin and stdout for this module alone.

    What libraries print goes to stderr from now on, and a process that one of them forks finds no lock of a
    waiting thread on its stdin.
    """
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return inbox, outbox
