"""Signals: an exception at the first, exit at the second, also while native code is running."""

from __future__ import annotations

import signal
import subprocess
import sys

import psutil
import pytest

from terminal import complete, environment, eventually, is_alive, read_until
from vsrcli.errors import SignalInterruptError
from vsrcli.system.signals import catch_signals

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


def test_forwarded_signal_counts_once() -> None:
    exits: list[int] = []

    def twice() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(SignalInterruptError), catch_signals(force_exit=exits.append):
        twice()
    assert exits == []
