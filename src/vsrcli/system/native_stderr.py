"""What native libraries write to stderr, kept apart: they write to the descriptor, past ``sys.stderr``.

Messages of another thread, such as one about a stop, go to the descriptor that :func:`visible_stderr` gives.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator

_visible: int | None = None  # stderr as it was, while it is captured
_lock = threading.Lock()  # so that the descriptor is not closed, and opened as another file, before a write


@contextlib.contextmanager
def captured_stderr() -> Iterator[Callable[[], bytes]]:
    """Capture what is written to stderr's descriptor in the block, instead of showing it.

    Without stderr, or a folder for temporary files, nothing is captured.

    Yields:
        A function that returns what was captured; to be called in the block or after it.
    """
    global _visible
    content = b""
    with contextlib.ExitStack() as stack:
        try:
            stderr = sys.__stderr__.fileno() if sys.__stderr__ else 2
            saved = os.dup(stderr)
        except (OSError, ValueError):  # no stderr at all
            yield lambda: b""
            return
        try:
            captured = stack.enter_context(tempfile.TemporaryFile())
        except OSError:
            os.close(saved)
            yield lambda: b""
            return

        def read() -> bytes:
            if captured.closed:
                return content
            captured.seek(0)
            return captured.read()

        outer, _visible = _visible, saved if _visible is None else _visible
        os.dup2(captured.fileno(), stderr)
        try:
            yield read
        finally:
            os.dup2(saved, stderr)
            with _lock:
                _visible = outer
                os.close(saved)
            content = read()


@contextlib.contextmanager
def visible_stderr() -> Iterator[int]:
    """Yield the descriptor of stderr as the user sees it; while it is captured, of what it was before.

    Raises:
        AttributeError, OSError, ValueError: there is none.
    """
    with _lock:
        yield sys.stderr.fileno() if _visible is None else _visible
