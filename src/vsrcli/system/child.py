"""Call a module of this package in a child process: what it loads, leaks or crashes ends with the child.

The child runs ``python -m MODULE``, whose main function is a call of :func:`answer_request`. It reads a
request in JSON from stdin. On its stdout are objects in JSON, one a line: ``{"step": TEXT}`` before what may
take long, and last ``{"answer": VALUE}`` or ``{"error": CLASS, "message": TEXT}``. Other lines are what
libraries print, and are ignored.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from vsrcli.errors import EngineError, OutOfMemoryError, VsrError
from vsrcli.system.processes import python_command, run_process

_STEP_START = b'{"step": '  # of a line of report_step
_DETAILS = 2000  # last characters of stderr


class ChildError(EngineError):
    """A child failed by an exception that is not of :mod:`vsrcli.errors`; callers name the remedy.

    The message is its class and first line; ``details`` is the end of the child's stderr.
    """


class ChildEndedError(ChildError):
    """A child ended without an answer: it crashed, or was killed.

    Attributes:
        status: exit status; negative: the signal's number.
    """

    def __init__(self, status: int, *, details: str = "") -> None:
        super().__init__(f"its process ended with {status}", details=details)
        self.status = status


class ChildTimeoutError(ChildError):
    """A child was killed because the time for a step was over.

    Attributes:
        step: the last one that it reported; empty if there was none, or the system cannot tell.
    """

    def __init__(self, seconds: float, step: str = "", *, details: str = "") -> None:
        at_step = f" (while {step})" if step else ""
        super().__init__(f"it did not end within {seconds:.0f} s{at_step}", details=details)
        self.step = step


def call_in_child(
    module: str,
    request: Mapping[str, Any],
    *,
    purpose: str,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
) -> Any:
    """Run a module in a child process; return what its handler returns, see :func:`answer_request`.

    Args:
        module: full name.
        request: for the handler, of plain values.
        purpose: what the child is to do, in the infinitive, for the message when memory is short.
        timeout: seconds after which the child is killed, counted from the last step that it reported, where
            the system can tell; None: never.
        env: variables of the environment that differ from this process's.

    Raises:
        VsrError: the handler raised one: of the same class, with the same message. ``details`` is the end
            of the child's stderr, here and below.
        OutOfMemoryError: the handler raised MemoryError.
        ChildError: it raised something else.
        ChildEndedError: the child ended without an answer.
        ChildTimeoutError: after ``timeout``.
        SignalInterruptError: a signal has arrived; the child is killed.
    """
    try:
        child = run_process(
            python_command(module),
            input=json.dumps(request),
            timeout=timeout,
            progress=lambda output: output.count(_STEP_START),
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )
    except subprocess.TimeoutExpired as expired:
        told = [each for each in _objects(_text(expired.output)) if "step" in each]
        step = str(told[-1]["step"]) if told else ""
        raise ChildTimeoutError(timeout or 0, step, details=_text(expired.stderr)[-_DETAILS:]) from expired
    details = child.stderr[-_DETAILS:]
    told = [each for each in _objects(child.stdout) if "answer" in each or "error" in each]
    if not told:
        raise ChildEndedError(child.returncode, details=details)
    if "error" in told[-1]:
        raise _error_of(told[-1], purpose, details)
    return told[-1]["answer"]


def answer_request(handler: Callable[[dict[str, Any]], Any]) -> None:
    """Answer the request on stdin; the other end of :func:`call_in_child`.

    What is printed meanwhile goes to stderr. An exception is answered, too, and the process goes on.

    Args:
        handler: receives the request; returns the answer, of plain values.
    """
    request = json.loads(sys.stdin.read())
    with contextlib.redirect_stdout(sys.stderr):
        try:
            told = {"answer": handler(request)}
        except VsrError as error:
            told = {"error": type(error).__name__, "message": str(error)}
        except MemoryError:
            told = {"error": OutOfMemoryError.__name__, "message": ""}
        except Exception as error:  # of a library: the parent names the remedy
            reason = (str(error).splitlines() or [""])[0]
            told = {"error": ChildError.__name__, "message": f"{type(error).__name__}: {reason}"}
    print(json.dumps(told), flush=True)


def report_step(step: str) -> None:
    """Tell the parent what this child begins, in the present participle: said if it does not end in time."""
    print(json.dumps({"step": step}), file=sys.__stdout__, flush=True)


def _error_of(told: Mapping[str, str], purpose: str, details: str) -> VsrError:
    kinds: list[type[VsrError]] = [VsrError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    kind = next((each for each in kinds if each.__name__ == told["error"]), ChildError)
    error = kind(told["message"] or f"not enough memory to {purpose}")
    error.details = details.strip()
    return error


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the lines that are objects in JSON."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            if isinstance(content := json.loads(line), dict):
                yield content


def _text(output: bytes | str | None) -> str:
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output or ""
