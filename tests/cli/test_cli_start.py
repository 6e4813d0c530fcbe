"""Start of the program."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from terminal import complete, environment, read_until

SLOW_IMPORTS = """
import sys, time
class Finder:
    def find_spec(self, name, path, target=None):
        if name == "vsrcli.cli.main":
            print("importing", file=sys.stderr, flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Finder())
from vsrcli.__main__ import main
main()
"""


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_during_imports_is_no_traceback(sent: signal.Signals, status: int) -> None:
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", SLOW_IMPORTS], env=environment(), stdout=pipe, stderr=pipe, text=True
    )
    read_until(child, "importing")
    child.send_signal(sent)
    done = complete(child, timeout=20)
    assert (done.status, done.out, done.err) == (status, "", "vsr: stopped\n")
