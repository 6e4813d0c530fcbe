"""A module in a child process: its answer, its errors, and whatever else may become of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from vsrcli.errors import ModelError, NonFiniteError, OutOfMemoryError
from vsrcli.system import processes
from vsrcli.system.child import ChildEndedError, ChildError, ChildTimeoutError, call_in_child

MODULE = """
import json, os, sys, time
from vsrcli.errors import ModelError, NonFiniteError
from vsrcli.system.child import answer_request, report_step

def handle(request):
    exec(request["code"])
    return request.get("answer")

answer_request(handle)
print("printed at last")
"""


@pytest.fixture
def call(tmp_path: Path) -> Any:
    (tmp_path / "answering.py").write_text(MODULE)
    path = os.pathsep.join(filter(None, (str(tmp_path), *sys.path)))

    def call(code: str, answer: Any = None, **options: Any) -> Any:
        request = {"code": code, "answer": answer}
        return call_in_child("answering", request, purpose="guess", env={"PYTHONPATH": path}, **options)

    return call


@pytest.mark.parametrize("answer", [None, 0, "text", {"error": "ModelError"}, [1, [2.5, True]]])
def test_an_answer_comes_back(answer: Any, call: Any) -> None:
    assert call("pass", answer) == answer


def test_what_libraries_print_is_no_answer(call: Any) -> None:
    assert call("print(json.dumps({'answer': 1})); os.system('echo 17; echo null; echo {')", 2) == 2


@pytest.mark.parametrize("kind", [ModelError, NonFiniteError])
def test_errors_of_this_package_are_carried_over(kind: type[Exception], call: Any) -> None:
    with pytest.raises(kind) as caught:
        call(f"print('in a log', file=sys.stderr); raise {kind.__name__}('its file is damaged')")
    assert type(caught.value) is kind
    assert str(caught.value) == "its file is damaged"
    assert caught.value.details == "in a log"  # type: ignore[attr-defined]


def test_short_memory_is_told(call: Any) -> None:
    with pytest.raises(OutOfMemoryError, match=r"^not enough memory to guess$"):
        call("raise MemoryError")


def test_other_errors_are_told_in_one_line(call: Any) -> None:
    with pytest.raises(ChildError) as caught:
        call("raise LookupError('nothing\\nhere')")
    assert str(caught.value) == "LookupError: nothing"


def test_a_crash_is_told(call: Any) -> None:
    with pytest.raises(ChildEndedError, match="ended with 3") as caught:
        call("print('why', file=sys.stderr, flush=True); os._exit(3)")
    assert (caught.value.status, caught.value.details) == (3, "why")


def test_a_child_that_hangs_is_killed(call: Any, tmp_path: Path) -> None:
    """What it reported is told, once its time suffices to report anything."""
    pid, step, seconds = tmp_path / "pid", "", 0.5
    code = f"open({str(pid)!r}, 'w').write(str(os.getpid())); report_step('guessing'); time.sleep(600)"
    while not step and seconds < 60:
        seconds *= 2
        with pytest.raises(ChildTimeoutError, match="not end within") as caught:
            call(code, timeout=seconds)
        step = caught.value.step
    assert step == "guessing"
    assert not psutil.pid_exists(int(pid.read_text()))


@pytest.mark.parametrize("step_count", [1, 9])
def test_the_time_of_a_child_counts_from_its_last_step(step_count: int, monkeypatch: Any) -> None:
    """By a clock of its own, the child reports a step every 400 s, and answers after an hour."""
    now = 0

    class Child:
        returncode = 0

        def __enter__(self) -> Child:
            return self

        def __exit__(self, *exception: object) -> None:
            pass

        def kill(self) -> None:
            pass

        def communicate(self, request: str | None, timeout: float) -> tuple[str, str]:
            nonlocal now
            now += 400
            if now == 3600:
                return '{"answer": 17}\n', ""
            steps = b"".join(b'{"step": "guessing %d"}\n' % number for number in range(now // 400))
            shown = b"\n".join(steps.split(b"\n")[:step_count])
            raise subprocess.TimeoutExpired("guess", timeout, shown, b"")

    monkeypatch.setattr(processes, "start_process", lambda *arguments, **options: Child())
    monkeypatch.setattr(processes, "time", SimpleNamespace(monotonic=lambda: now))
    if step_count == 9:
        assert call_in_child("guessing", {}, purpose="guess", timeout=600) == 17
    else:
        with pytest.raises(ChildTimeoutError, match=r"not end within 600 s \(while guessing 0"):
            call_in_child("guessing", {}, purpose="guess", timeout=600)
        assert now == 1200


def test_modules_in_the_current_folder_are_not_run(
    call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "queue.py").write_text("raise SystemExit('not the one of Python')\n")
    monkeypatch.chdir(folder)
    assert call("import queue", 1) == 1
