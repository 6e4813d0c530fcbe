"""Full disks, killed ffmpegs and damaged files: an output that meets its contract, or an error and none.

Never status 0 without an output, a file at the target without status 0, a hang, or an orphaned process.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from contracts import assert_contract, frame_md5

import media_samples as media
from terminal import Outcome, environment, read_until, spawn
from vsrcli.system.files import workdir_for

Vsr = Callable[..., Outcome]
BICUBIC = ("-m", "bicubic", "-s", "2", "-e", "preset=ultrafast", "--segment", "6")


def assert_video_or_error(done: Outcome, source: Path, target: Path) -> bool:
    """Assert that a run wrote a valid output, or one error line and no output; return which."""
    assert "Traceback" not in done.err, done.err
    if done.status == 0:
        assert_contract(source, target)
        assert not workdir_for(target).exists()
    else:
        assert done.status == 1, done.err
        assert [line.startswith("vsr: error: ") for line in done.err.splitlines()].count(True) == 1
        assert not target.exists()
    return done.status == 0


def run_with_file_size_limit(source: Path, target: Path, size: int) -> Outcome:
    """Run with a limit on the size of every file, which fails as a full disk does, without root."""
    command = [sys.executable, "-m", "vsrcli", "upscale", source, target, *BICUBIC]
    done = subprocess.run(
        list(map(str, command)),
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("size", [0, 1000, 9000, 30_000])
def test_file_size_limit(size: int, video: Path, tmp_path: Path) -> None:
    """The limit is reached by the lock, the journal, a segment and the output in turn."""
    target, reference = tmp_path / "out.mp4", tmp_path / "reference.mp4"
    assert not assert_video_or_error(run_with_file_size_limit(video, target, size), video, target)
    assert assert_video_or_error(run_with_file_size_limit(video, target, 2**30), video, target)
    assert assert_video_or_error(run_with_file_size_limit(video, reference, 2**30), video, reference)
    assert frame_md5(target) == frame_md5(reference)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; skipped where mounting is not permitted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", folder], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(small_disk: Path, video: Path, tmp_path: Path, vsr: Vsr) -> None:
    target, ballast = small_disk / "out.mp4", small_disk / "ballast"
    assert vsr("upscale", video, tmp_path / "reference.mp4", *BICUBIC).status == 0
    statuses = []
    for free in (4, 16, 40, 70, 200):
        with ballast.open("wb") as file:
            file.write(bytes(max(shutil.disk_usage(small_disk).free - 1024 * free, 0)))
        statuses.append(assert_video_or_error(vsr("upscale", video, target, *BICUBIC), video, target))
        ballast.unlink()
        if statuses[-1]:
            break
    assert statuses[0] is False
    assert statuses[-1] is True
    assert frame_md5(target) == frame_md5(tmp_path / "reference.mp4")


def kill_random_ffmpegs(
    video: Path, folder: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch, rounds: int, seed: int
) -> None:
    """Kill a random ffmpeg at a random frame, repeatedly; then finish the output."""
    from vsrcli.pipeline.segmented_output import SegmentedOutput

    rng, write = random.Random(seed), SegmentedOutput.write
    target, frames_left = folder / "out.mp4", 0

    def write_and_kill(self: SegmentedOutput, frame: object) -> None:
        nonlocal frames_left
        write(self, frame)  # type: ignore[arg-type]
        frames_left -= 1
        if frames_left == 0:
            rng.choice(psutil.Process().children()).kill()

    monkeypatch.setattr(SegmentedOutput, "write", write_and_kill)
    for _ in range(rounds):
        frames_left = rng.randint(1, 20)
        if assert_video_or_error(vsr("upscale", video, target, *BICUBIC), video, target):
            target.unlink()
    monkeypatch.undo()
    if not target.exists():
        assert assert_video_or_error(vsr("upscale", video, target, *BICUBIC), video, target)


def test_killed_ffmpegs(video: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    kill_random_ffmpegs(video, tmp_path, vsr, monkeypatch, rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 14))
def test_many_killed_ffmpegs(
    seed: int, video: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_random_ffmpegs(video, tmp_path, vsr, monkeypatch, rounds=15, seed=seed)


def test_killed_concatenation(video: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    from vsrcli.media.segments import SegmentConcatenator

    target, retimed_packets = tmp_path / "out.mp4", SegmentConcatenator._retimed_packets

    def packets_and_kill(self: SegmentConcatenator):
        for number, packet in enumerate(retimed_packets(self)):
            if number == 20:
                os.kill(self.writer.process.pid, 9)
            yield packet

    monkeypatch.setattr(SegmentConcatenator, "_retimed_packets", packets_and_kill)
    done = vsr("upscale", video, target, *BICUBIC)
    assert not assert_video_or_error(done, video, target)
    assert "40 of 40 frames are saved; to resume: vsr upscale" in done.err.splitlines()[-1]
    monkeypatch.undo()
    done = vsr("upscale", video, target, *BICUBIC)
    assert assert_video_or_error(done, video, target)
    assert "engine:" not in done.err  # only concatenation was left


def corrupt_copy(video: Path, folder: Path, rng: random.Random) -> Path:
    """Copy a video with a few bytes changed, or truncated."""
    data, path = bytearray(video.read_bytes()), folder / f"damaged{video.suffix}"
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        for position in range(at, min(at + rng.choice((1, 40, 700)), len(data))):
            data[position] ^= rng.randint(1, 255)
    path.write_bytes(data[: len(data) - rng.choice((0, 0, 0, rng.randrange(len(data))))])
    return path


def run_damaged_copies(source: Path, folder: Path, vsr: Vsr, rounds: int, seed: int) -> None:
    """Assert that the same command on a damaged source has the same status twice."""
    rng = random.Random(seed)
    for number in range(rounds):
        damaged, target, done = corrupt_copy(source, folder, rng), folder / f"{number}.mkv", None
        keep_going = ["--keep-going"] if number % 3 == 2 else []
        statuses = []
        for _ in range(2):
            done = vsr("upscale", damaged, target, *BICUBIC, *keep_going)
            assert "Traceback" not in done.err, done.err
            assert done.status in (0, 1)
            assert (done.status == 0) == target.exists()
            statuses.append(done.status)
            if target.exists():
                target.unlink()
        assert statuses[0] == statuses[1], done
        shutil.rmtree(workdir_for(target), ignore_errors=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_damaged_sources(suffix: str, video: Path, tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / f"video{suffix}"
    media.run_ffmpeg("-i", video, "-c", "copy", source)
    run_damaged_copies(source, tmp_path, vsr, rounds=3, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", range(10, 14))
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_many_damaged_sources(suffix: str, seed: int, video: Path, tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / f"video{suffix}"
    media.run_ffmpeg("-i", video, "-c", "copy", source)
    run_damaged_copies(source, tmp_path, vsr, rounds=10, seed=seed)


def test_terminal_hangup(tmp_path: Path) -> None:
    """SIGHUP with closed stderr: the run ends and leaves no ffmpeg."""
    import signal

    video, target = media.cfr(tmp_path, frames=2000, audio=False), tmp_path / "out.mp4"  # long enough
    slow = ("-m", "bicubic", "-t", "16", "--overlap", "3", "--segment", "6")
    child = spawn("upscale", video, target, *slow)
    read_until(child, "engine:")
    ffmpegs = psutil.Process(child.pid).children()
    assert child.stderr is not None
    assert child.stdout is not None
    child.stderr.close()
    try:
        child.send_signal(signal.SIGHUP)
        assert child.wait(120) == 128 + signal.SIGHUP
    finally:
        child.kill()
    child.stdout.close()
    assert not psutil.wait_procs(ffmpegs, timeout=120)[1]  # their new parent reaps them later
    assert not target.exists()
