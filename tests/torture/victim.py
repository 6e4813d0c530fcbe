"""A run that ends itself, as kill -9 would, at the n-th thing that it does; ``python victim.py --help``.

Things are frames written, processes started, files removed, and whatever is opened, renamed or made beside
the target. To stdout go the numbers of frames and of those that were there before, a pair a line, and in the
end the number of things. So moments can be chosen evenly, even those that last microseconds only, and every
failure can be had again.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job

FRAME = "vsr.frame"
ANYWHERE = {FRAME, "os.remove", "os.rmdir", "subprocess.Popen"}
BESIDE = {"open", "os.mkdir", "os.rename", "shutil.rmtree"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", type=Fraction, default=Fraction(2))
    parser.add_argument("--segment", type=int, default=6)
    parser.add_argument("--die-at", type=int, default=0, help="number of the thing; 0: never")
    given = parser.parse_args()
    encode = EncodeOptions(preset="ultrafast")
    options = Options(given.scale, given.model, segment=given.segment, device="cpu", encode=encode)
    job = prepare_job(given.source, given.target, options)
    done, folder = 0, str(Path(given.target).parent)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal done
        if event in ANYWHERE or (event in BESIDE and any(folder in str(each) for each in arguments)):
            done += 1
            if done == given.die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_progress(progress: Progress) -> None:
        print(progress.done, progress.resumed, flush=True)
        sys.audit(FRAME)

    sys.addaudithook(count)
    run_job(job, on_progress=on_progress)
    print(done, flush=True)


if __name__ == "__main__":
    main()
