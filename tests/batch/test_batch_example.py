"""The example script: a folder of which one film is damaged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import media_samples as media
from terminal import environment

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "batch_folder.sh"


def test_a_damaged_film_is_made_in_the_second_go(sample: Callable[..., Path], tmp_path: Path) -> None:
    films, out, programs = (tmp_path / name for name in ("films", "out", "bin"))
    for folder in (films, programs):
        folder.mkdir()
    (films / "good.mp4").write_bytes(sample(media.cfr, audio=False).read_bytes())
    (films / "whole.mkv").write_bytes(sample(media.cfr, frames=48, suffix=".mkv", audio=False).read_bytes())
    media.damaged(films / "whole.mkv")
    (films / "whole.mkv").unlink()
    vsr = programs / "vsr"
    vsr.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vsrcli "$@"\n')
    vsr.chmod(0o755)
    line = [SCRIPT, films, out, "-m", "bicubic", "-s", "2", "-e", "preset=ultrafast"]
    changed = environment()
    changed["PATH"] = f"{programs}:{changed['PATH']}"
    done = subprocess.run(line, env=changed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "some films failed; once more with --keep-going" in done.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    found = {film["name"]: (film["status"], bool(film["warnings"])) for film in report["films"]}
    assert found == {"damaged-whole.mkv": ("done", True), "good.mp4": ("skipped", False)}
