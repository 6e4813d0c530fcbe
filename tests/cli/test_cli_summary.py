"""What is said at the end of a run."""

from __future__ import annotations

from pathlib import Path

from vsrcli.cli.summary import ResumeHint
from vsrcli.pipeline.progress import Progress


def test_a_folder_of_images_is_not_finished_because_it_changes(tmp_path: Path) -> None:
    hint = ResumeHint(tmp_path, ["upscale", "in.mp4", str(tmp_path)])
    hint.progress(Progress(4, 12, 1.0, 1, saved=3))
    (tmp_path / "00001.png").write_bytes(b"an image")
    assert "to resume: vsr upscale in.mp4" in hint.after_signal(3)
    video = tmp_path / "out.mp4"
    hint = ResumeHint(video, ["upscale", "in.mp4", str(video)])
    video.write_bytes(b"a video")
    assert hint.after_signal(3).endswith("out.mp4 had just been finished")
