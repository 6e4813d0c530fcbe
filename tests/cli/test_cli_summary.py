"""What is said at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from vsrcli.cli.summary import ResumeHint, print_result
from vsrcli.errors import InputError
from vsrcli.pipeline.progress import Progress, Result


def test_a_folder_of_images_is_not_finished_because_it_changes(tmp_path: Path) -> None:
    hint = ResumeHint(tmp_path, ["upscale", "in.mp4", str(tmp_path)])
    hint.progress(Progress(4, 12, 1.0, 1, saved=3))
    (tmp_path / "00001.png").write_bytes(b"an image")
    assert "to resume: vsr upscale in.mp4" in hint.after_signal(3)
    video = tmp_path / "out.mp4"
    hint = ResumeHint(video, ["upscale", "in.mp4", str(video)])
    video.write_bytes(b"a video")
    assert hint.after_signal(3).endswith("out.mp4 had just been finished")


def test_speed_counts_the_frames_of_this_run(capsys: pytest.CaptureFixture[str]) -> None:
    print_result(Console(stderr=True), Result(Path("out.mp4"), 1000, 2.0, 1, "CPU", (), resumed=990))
    assert capsys.readouterr().err == "1000 frames in 2.0 s (5.0 fps): out.mp4\n"


def test_speed_is_never_negative() -> None:
    """With workers, a message may come before the first frame."""
    for done in (10, 11):
        progress = Progress(done, 100, 3.0, 1, resumed=10)
        assert (progress.fps, progress.eta) == (0.0, None)
    assert Progress(13, 100, 4.0, 1, resumed=10).fps == 0.5


def test_an_option_to_resume_stands_before_names_of_files() -> None:
    error = InputError("-in.mp4 is damaged", resume_option="--keep-going")
    error.saved_frames = 8
    hint = ResumeHint(Path("-out.mp4"), ["upscale", "-s", "2", "--", "-in.mp4", "-out.mp4"])
    command = "vsr upscale -s 2 --keep-going -- -in.mp4 -out.mp4"
    assert hint.after_error(error) == f"8 frames are saved; to resume: {command}"
