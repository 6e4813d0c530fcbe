"""The network share with the outputs of a batch is gone in the middle of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media_samples as media
from lost_storage import lose
from terminal import Outcome
from vsrcli.cluster.video import PlannedVideo
from vsrcli.pipeline.segmented_output import SegmentedOutput


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (("--segment", "5"), (SegmentedOutput, "checkpoint_if_due")),
        (("--workers", "1"), (PlannedVideo, "commit")),
    ],
)
def test_videos_fail_one_by_one(
    options: tuple[str, str],
    where: tuple[type, str],
    sample: Callable[..., Path],
    tmp_path: Path,
    vsr: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a table and a document, as all failures."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / "in").mkdir(exist_ok=True)
        shutil.copy(sample(media.cfr, frames=24), tmp_path / "in" / name)
    out, document = tmp_path / "out", tmp_path / "result.json"
    function = getattr(*where)

    def without_folder(*arguments: Any) -> Any:
        lose(out, monkeypatch)
        return function(*arguments)

    monkeypatch.setattr(*where, without_folder)
    line = ("batch", tmp_path / "in", out, "-m", "bicubic", "-s", "2", "-e", "preset=ultrafast", *options)
    done = vsr(*line, "--json", document)
    assert done.status == 3, done.err
    assert "2 videos: 2 failed" in done.err
    assert "done, but" not in done.err
    assert "unexpected" not in done.err
    videos = json.loads(document.read_text(encoding="utf-8"))["videos"]
    assert [each["status"] for each in videos] == ["failed", "failed"]
    assert all("Transport endpoint is not connected" in each["reason"] for each in videos)
