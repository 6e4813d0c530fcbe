"""A run that kills itself with SIGKILL at its n-th event; ``python victim.py --help``.

Events are frames written, processes started, files removed, and files opened, renamed or created in the
target's folder. Prints a line with the number of frames and of resumed frames after every frame, and at the
end the number of events. So even moments of microseconds are chosen with equal probability, and every failure
can be reproduced.
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
from vsrcli.pipeline.progress import CallbackReporter

FRAME = "vsr.frame"
EVENTS = {FRAME, "os.remove", "os.rmdir", "subprocess.Popen"}
FOLDER_EVENTS = {"open", "os.mkdir", "os.rename", "shutil.rmtree"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--model", default="bicubic")
    parser.add_argument("--scale", type=Fraction, default=Fraction(2))
    parser.add_argument("--segment", type=int, default=6)
    parser.add_argument("--die-at", type=int, default=0, help="number of the event; 0: never")
    args = parser.parse_args()
    encode = EncodeOptions(preset="ultrafast")
    options = Options(args.scale, args.model, segment=args.segment, device="cpu", encode=encode)
    job = prepare_job(args.source, args.target, options)
    event_count, folder = 0, str(Path(args.target).parent)

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal event_count
        if event in EVENTS or (event in FOLDER_EVENTS and any(folder in str(each) for each in arguments)):
            event_count += 1
            if event_count == args.die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def on_progress(progress: Progress) -> None:
        print(progress.done, progress.resumed, flush=True)
        sys.audit(FRAME)

    sys.addaudithook(count)
    run_job(job, CallbackReporter(on_progress))
    print(event_count, flush=True)


if __name__ == "__main__":
    main()
