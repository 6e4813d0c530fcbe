"""Signals: a token at the first; exit at the second or after some seconds, while native code runs, too."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from terminal import complete, environment, eventually, is_alive, read_until
from vsrcli.errors import SignalInterruptError
from vsrcli.media.process import FFmpegProcess
from vsrcli.system import signals
from vsrcli.system.processes import run_process
from vsrcli.system.signals import catch_signals, current_token, raise_if_cancelled, wait_until_readable

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
BUSY = """
import hashlib, sys, threading
from vsrcli.system.signals import catch_signals
from vsrcli.errors import SignalInterruptError
from vsrcli.media.process import FFmpegProcess
process = FFmpegProcess(["sleep", "600"])
try:
    with catch_signals():
        threading.Timer(0.5, lambda: print(process.pid, file=sys.stderr, flush=True)).start()
        hashlib.pbkdf2_hmac("sha512", b"a", b"b", 10**9)  # minutes in native code, as inference may be
except SignalInterruptError:
    print("stopped", file=sys.stderr)
"""


def test_second_signal_exits_at_once() -> None:
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY], env=environment(), stdout=pipe, stderr=pipe, text=True
    )
    process = psutil.Process(int(read_until(child, "\n")))
    child.send_signal(signal.SIGINT)
    assert "stopping as soon as" in read_until(child, "Ctrl-C again leaves at once")
    child.send_signal(signal.SIGINT)
    done = complete(child, timeout=10)
    assert (done.status, done.out, done.err) == (130, "", "")
    eventually(lambda: not is_alive(process))


def test_native_code_is_left_after_some_seconds() -> None:
    busy = BUSY.replace("catch_signals()", "catch_signals(force_exit_after=1, resume_hint=lambda: 'again')")
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", busy], env=environment(), stdout=pipe, stderr=pipe, text=True
    )
    process = psutil.Process(int(read_until(child, "\n")))
    child.send_signal(signal.SIGTERM)
    done = complete(child, timeout=10)
    assert (done.status, done.out, done.err) == (143, "", "again\n")
    eventually(lambda: not is_alive(process))


SILENCED = """
import os
from vsrcli.cli.messages import JsonMessages
from vsrcli.system.native_stderr import captured_stderr
from vsrcli.system.signals import exit_immediately, print_stop
report_stop = {report_stop}
with captured_stderr(), captured_stderr():
    os.write(2, b"noise")
    report_stop(None, "vsr: stopping")
    exit_immediately(2, "vsr: stopped", report_stop)
"""


@pytest.mark.parametrize(
    ("report_stop", "expected"),
    [
        ("print_stop", ["vsr: stopping", "vsr: stopped"]),
        ("JsonMessages().report_stop", [{"text": "stopping"}, {"status": 130, "text": "stopped"}]),
    ],
)
def test_a_stop_is_reported_while_native_libraries_are_silenced(
    report_stop: str, expected: list[str | dict[str, object]]
) -> None:
    """As while a network is loaded or compiled."""
    script = SILENCED.format(report_stop=report_stop)
    done = subprocess.run([sys.executable, "-c", script], env=environment(), capture_output=True, text=True)
    assert done.returncode == 130
    lines = done.stderr.splitlines()
    assert len(lines) == len(expected)
    for line, content in zip(lines, expected, strict=True):
        assert line == content if isinstance(content, str) else content.items() <= json.loads(line).items()


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The signals that would have left the program at once."""
    signums: list[int] = []
    monkeypatch.setattr(signals, "exit_immediately", signums.append)
    return signums


def test_forwarded_signal_counts_once(exits: list[int]) -> None:
    with catch_signals() as token:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        assert token.wait(10)
        time.sleep(0.2)
    assert (token.signum, exits) == (signal.SIGINT, [])


def test_no_exception_comes_from_a_handler_but_from_a_poll() -> None:
    with catch_signals() as token:
        signal.raise_signal(signal.SIGTERM)
        assert current_token() is token
        assert token.is_cancelled
        with pytest.raises(SignalInterruptError) as stop:
            raise_if_cancelled()
    assert stop.value.exit_status == 143
    assert not current_token().is_cancelled
    raise_if_cancelled()


def stop_during(block: Callable[[], object]) -> None:
    """Run a block, and stop it while it waits."""
    with catch_signals() as token:
        threading.Timer(0.3, token.cancel).start()
        block()


def test_an_error_after_a_signal_is_the_stop() -> None:
    def fail() -> None:
        assert current_token().wait(10)
        raise OSError("a child was killed")

    with pytest.raises(SignalInterruptError):
        stop_during(fail)


def test_other_threads_may_use_it_without_handlers() -> None:
    received: list[bool] = []

    def use() -> None:
        with catch_signals() as token:
            token.cancel()
            received.append(token.is_cancelled)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert received == [True]


def test_a_child_is_killed_by_a_stop() -> None:
    with pytest.raises(SignalInterruptError):
        stop_during(lambda: run_process(SLEEP))


def test_an_ffmpeg_that_the_main_thread_waits_for_is_killed() -> None:
    def read() -> None:
        assert process.stdout.read(1) == b""
        process.wait()

    process = FFmpegProcess(SLEEP, stdout=True)
    with pytest.raises(SignalInterruptError):
        stop_during(read)
    process.kill()


def test_a_readable_descriptor_is_waited_for() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"x")
    wait_until_readable(reader)
    os.read(reader, 1)
    with pytest.raises(SignalInterruptError):
        stop_during(lambda: wait_until_readable(reader))
    os.close(reader)
    os.close(writer)
