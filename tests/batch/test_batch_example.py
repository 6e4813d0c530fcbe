"""The example script examples/batch_folder.sh: a folder with a damaged video."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import media_samples as media
from terminal import environment

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "batch_folder.sh"


def test_a_damaged_video_is_upscaled_in_the_second_run(sample: Callable[..., Path], tmp_path: Path) -> None:
    videos, out, programs = (tmp_path / name for name in ("videos", "out", "bin"))
    for folder in (videos, programs):
        folder.mkdir()
    (videos / "good.mp4").write_bytes(sample(media.cfr, audio=False).read_bytes())
    (videos / "broken.mkv").write_bytes(sample(media.cfr, frames=48, suffix=".mkv", audio=False).read_bytes())
    media.damaged(videos / "broken.mkv")
    (videos / "broken.mkv").unlink()
    vsr = programs / "vsr"
    vsr.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m vsrcli "$@"\n')
    vsr.chmod(0o755)
    line = [SCRIPT, videos, out, "-m", "bicubic", "-s", "2", "-e", "preset=ultrafast"]
    changed = environment()
    changed["PATH"] = f"{programs}:{changed['PATH']}"
    done = subprocess.run(line, env=changed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "some videos failed; once more with --keep-going" in done.stderr
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    outcomes = {video["name"]: (video["status"], bool(video["warnings"])) for video in report["videos"]}
    assert outcomes == {"damaged-broken.mkv": ("done", True), "good.mp4": ("skipped", False)}
