"""Record what the command line does, so that two versions of the program can be compared.

Contract:

- ``python record.py --vsr BIN/vsr --python BIN/python OUT.json`` runs many command lines of one installed
  version and writes what came of them to OUT.json, with sorted keys. ``compare.py`` compares two such files.
- The program under test is only used as a process. This script imports the standard library and nothing else;
  ``--python`` is asked where imageio_ffmpeg's ffmpeg is. So one and the same script records every version.
- All media are made here, by that ffmpeg, and are the same in every recording on the same machine.
- Everything happens in a temporary folder, with an empty home, cache and settings of its own.
- Recorded are: checksums of decoded frames and of packets, stream descriptions, exit statuses, all texts, the
  ffmpeg command lines, JSON documents and messages, and the answers of ``vsr serve``. What depends on the
  moment or on the folder (times, speeds, random names, paths, free memory) is replaced by ``<words>``.
- One failing run is recorded as ``{"failed": "..."}`` and does not stop the others. The exit status is 0 if
  OUT.json was written.

Frames depend on the machine (processor, libraries), so both versions must be recorded on the same one.
``--only PATTERN`` records a part, ``--keep`` leaves the temporary folder.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden_web as golden_web  # registers its case
from golden_cases import CASES
from golden_media import make_media
from golden_rows import DOCUMENTS, ERRORS, MESSAGES, PLANS, RUNS, TEXTS
from golden_runner import Runner, record_document, record_messages, record_plan, record_run, record_texts


def everything(runner: Runner) -> Iterator[tuple[str, Callable[[], Any]]]:
    """All recordings, by name."""
    tables = (
        ("runs", RUNS, record_run),
        ("plans", PLANS, record_plan),
        ("errors", ERRORS, record_texts),
        ("messages", MESSAGES, record_messages),
        ("documents", DOCUMENTS, record_document),
        ("texts", TEXTS, record_texts),
    )
    for section, rows, function in tables:
        for row in rows:
            yield f"{section}/{row.name}", lambda function=function, row=row: function(runner, row)
    for name, function in CASES.items():
        yield name, lambda function=function: function(runner)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--vsr", type=Path, required=True, help="the program under test")
    parser.add_argument("--python", type=Path, required=True, help="the Python that it is installed for")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="such as 'runs/*'")
    parser.add_argument("--keep", action="store_true", help="leave the temporary folder")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    chosen = parser.parse_args()
    asked = "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"
    told = subprocess.run([str(chosen.python), "-c", asked], capture_output=True, text=True, check=True)
    ffmpeg = told.stdout.strip()
    work = Path(tempfile.mkdtemp(prefix="golden-")).resolve()
    began, found, slow = time.monotonic(), {}, []
    try:
        runner = Runner(chosen.vsr.absolute(), ffmpeg, work)
        found["media/checksums"] = make_media(ffmpeg, runner.media)
        for name, function in everything(runner):
            if not fnmatch.fnmatch(name, chosen.only):
                continue
            start = time.monotonic()
            try:
                found[name] = function()
            except Exception as error:  # recorded, so that the others go on
                found[name] = {"failed": runner.text(f"{type(error).__name__}: {error}")}
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
            slow.append((time.monotonic() - start, name))
        left = sorted(runner.text(path.name) for path in (work / "tmp").iterdir())
        found["other/left in the temporary folder"] = left
    finally:
        if chosen.keep:
            print(f"kept: {work}", file=sys.stderr)
        else:
            shutil.rmtree(work, ignore_errors=True)
    text = json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False)
    chosen.out.write_text(text + "\n", "utf-8")
    failed = sum(isinstance(each, dict) and "failed" in each for each in found.values())
    for seconds, name in sorted(slow, reverse=True)[:5]:
        print(f"  {seconds:5.1f} s {name}", file=sys.stderr)
    print(f"{len(found)} recordings, {failed} failed, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
