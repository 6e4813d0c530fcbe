"""The shell scripts in examples/, run unchanged, with the bundled ffmpeg."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

import media_samples as media
from terminal import environment

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
pytestmark = pytest.mark.skipif(shutil.which("bash") is None or os.name == "nt", reason="needs bash")


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose ``vsr`` interpolates and whose ``ssh`` runs locally."""
    folder = tmp_path / "bin"
    folder.mkdir()
    commands = {
        "ffmpeg": f'exec {shlex.quote(imageio_ffmpeg.get_ffmpeg_exe())} "$@"',
        "vsr": f'exec {shlex.quote(sys.executable)} -m vsrcli "$@"',
        "ssh": 'shift; exec bash -c "$*"',
    }
    for name, command in commands.items():
        (folder / name).write_text(f"#!/bin/sh\n{command}\n")
        (folder / name).chmod(0o755)
    models = {f"VSR_{subcommand}_MODEL": "bicubic" for subcommand in ("UPSCALE", "BATCH")}
    return environment(PATH=f"{folder}{os.pathsep}{os.environ['PATH']}", VSR_CONFIG="", **models)


def run_script(name: str, *arguments: str | Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    line = ["bash", str(EXAMPLES / name), *map(str, arguments)]
    return subprocess.run(
        line, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def describe(path: Path) -> tuple[int, int, int, int]:
    """Return width, height, number of frames and number of audio streams."""
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        count = sum(1 for _ in container.decode(video=0))
        return video.width, video.height, count, len(container.streams.audio)


@pytest.mark.parametrize("name", ["pipe_chain.sh", "ffmpeg_filters.sh"])
def test_a_chain_of_pipes_writes_a_video_with_audio(
    tmp_path: Path, programs: dict[str, str], name: str
) -> None:
    done = run_script(name, media.cfr(tmp_path), tmp_path / "out.mp4", "--scale", "2", env=programs)
    assert done.returncode == 0, done.stderr
    assert describe(tmp_path / "out.mp4") == (128, 96, 12, 1)


def test_a_failure_inside_a_chain_fails_the_chain(tmp_path: Path, programs: dict[str, str]) -> None:
    done = run_script("pipe_chain.sh", media.cfr(tmp_path), tmp_path / "out.mp4", "--crf", "-1", env=programs)
    assert done.returncode != 0
    assert "not in the range" in done.stderr


def test_a_remote_machine_returns_the_new_video(tmp_path: Path, programs: dict[str, str]) -> None:
    out = tmp_path / "new video.mkv"
    done = run_script("remote_gpu.sh", "host", media.cfr(tmp_path), out, "--scale", "2", env=programs)
    assert done.returncode == 0, done.stderr
    assert describe(out) == (128, 96, 12, 1)
    assert not Path(f"{out}.part").exists()
    wrong = run_script("remote_gpu.sh", "host", tmp_path / "missing.mp4", tmp_path / "o.mkv", env=programs)
    assert wrong.returncode != 0
    assert not list(tmp_path.glob("o.mkv*"))


def test_videos_in_a_watched_folder_are_upscaled_once(tmp_path: Path, programs: dict[str, str]) -> None:
    inbox, out = tmp_path / "in", tmp_path / "out"
    inbox.mkdir()
    ready = shutil.move(media.cfr(tmp_path), inbox / "ready video.mp4")
    an_hour_ago = time.time() - 3600
    os.utime(ready, (an_hour_ago, an_hour_ago))
    shutil.copy(ready, inbox / "still growing.mp4")  # modified now
    rounds = {**programs, "ROUNDS": "2", "EVERY": "0"}
    done = run_script("watch_folder.sh", inbox, out, "--scale", "2", env=rounds)
    assert done.returncode == 0, done.stderr
    videos = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    assert videos == ["ready video.mp4"]
    assert describe(out / "ready video.mp4") == (128, 96, 12, 1)
    assert "skipped" in done.stdout + done.stderr  # the second round


@pytest.mark.parametrize(("status", "end"), [(3, 0), (4, 0), (1, 1)])
def test_a_watched_folder_stays_watched(
    status: int, end: int, tmp_path: Path, programs: dict[str, str]
) -> None:
    """Of videos that fail, or that another batch is at work on."""
    (tmp_path / "bin" / "vsr").write_text(f"#!/bin/sh\nexit {status}\n")
    video = tmp_path / "video.mp4"
    video.touch()
    os.utime(video, (0, 0))
    rounds = {**programs, "ROUNDS": "1", "EVERY": "0"}
    assert run_script("watch_folder.sh", tmp_path, tmp_path / "out", env=rounds).returncode == end


def test_a_folder_is_upscaled(tmp_path: Path, programs: dict[str, str]) -> None:
    videos = tmp_path / "videos"
    (videos / "below").mkdir(parents=True)
    shutil.copy(media.cfr(tmp_path), videos / "below" / "video.mp4")
    done = run_script("batch_folder.sh", videos, tmp_path / "out", "--scale", "2", env=programs)
    assert done.returncode == 0, done.stderr
    assert describe(tmp_path / "out/below/video.mp4") == (128, 96, 12, 1)
