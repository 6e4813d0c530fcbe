"""Full disks, dying helpers and damaged files: a film that keeps its contract, or an error and no film.

Nothing between: no status 0 without the film, no file at the target without status 0, no hang, no orphan.
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


def assert_film_or_error(done: Outcome, source: Path, target: Path) -> bool:
    """Whether it succeeded; either way it has to be one thing or the other."""
    assert "Traceback" not in done.err, done.err
    if done.status == 0:
        assert_contract(source, target)
        assert not workdir_for(target).exists()
    else:
        assert done.status == 1, done.err
        assert [line.startswith("vsr: error: ") for line in done.err.splitlines()].count(True) == 1
        assert not target.exists()
    return done.status == 0


def limited(source: Path, target: Path, size: int) -> Outcome:
    """A run whose files may have ``size`` bytes at most, each: as near to a full disk as anybody may come."""
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
def test_files_that_may_not_grow(size: int, film: Path, tmp_path: Path) -> None:
    """The lock, the journal, a segment, the film: at each of them the room ends once."""
    target, whole = tmp_path / "out.mp4", tmp_path / "whole.mp4"
    assert not assert_film_or_error(limited(film, target, size), film, target)
    assert assert_film_or_error(limited(film, target, 2**30), film, target)
    assert assert_film_or_error(limited(film, whole, 2**30), film, whole)
    assert frame_md5(target) == frame_md5(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB, where that is permitted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", place], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system may be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_disk_that_fills_up(small_disk: Path, film: Path, tmp_path: Path, vsr: Vsr) -> None:
    target, ballast = small_disk / "out.mp4", small_disk / "ballast"
    assert vsr("upscale", film, tmp_path / "whole.mp4", *BICUBIC).status == 0
    ends = []
    for free in (4, 16, 40, 70, 200):
        with ballast.open("wb") as file:
            file.write(bytes(max(shutil.disk_usage(small_disk).free - 1024 * free, 0)))
        ends.append(assert_film_or_error(vsr("upscale", film, target, *BICUBIC), film, target))
        ballast.unlink()
        if ends[-1]:
            break
    assert ends[0] is False
    assert ends[-1] is True
    assert frame_md5(target) == frame_md5(tmp_path / "whole.mp4")


def torment(
    film: Path, folder: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch, rounds: int, seed: int
) -> None:
    """Kill a random one of the running ffmpegs at a random frame, again and again; then make the film."""
    from vsrcli.pipeline.segmented_output import SegmentedOutput

    rng, write = random.Random(seed), SegmentedOutput.write
    target, moment = folder / "out.mp4", 0

    def deadly(self: SegmentedOutput, frame: object) -> None:
        nonlocal moment
        write(self, frame)  # type: ignore[arg-type]
        moment -= 1
        if moment == 0:
            rng.choice(psutil.Process().children()).kill()

    monkeypatch.setattr(SegmentedOutput, "write", deadly)
    for _ in range(rounds):
        moment = rng.randint(1, 20)
        if assert_film_or_error(vsr("upscale", film, target, *BICUBIC), film, target):
            target.unlink()
    monkeypatch.undo()
    if not target.exists():
        assert assert_film_or_error(vsr("upscale", film, target, *BICUBIC), film, target)


def test_helpers_that_die(film: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    torment(film, tmp_path, vsr, monkeypatch, rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_helpers_that_die_often(
    film: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    torment(film, tmp_path, vsr, monkeypatch, rounds=60, seed=2)


def test_the_joining_ffmpeg_dies(
    film: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsrcli.media.segments import SegmentConcatenator

    target, timed = tmp_path / "out.mp4", SegmentConcatenator._retimed_packets

    def deadly(self: SegmentConcatenator):
        for number, packet in enumerate(timed(self)):
            if number == 20:
                assert self.pid is not None
                os.kill(self.pid, 9)
            yield packet

    monkeypatch.setattr(SegmentConcatenator, "_retimed_packets", deadly)
    done = vsr("upscale", film, target, *BICUBIC)
    assert not assert_film_or_error(done, film, target)
    assert "40 of 40 frames are kept; to go on: vsr upscale" in done.err.splitlines()[-1]
    monkeypatch.undo()
    done = vsr("upscale", film, target, *BICUBIC)
    assert assert_film_or_error(done, film, target)
    assert "engine:" not in done.err  # nothing but the joining was left to do


def corrupted(film: Path, folder: Path, rng: random.Random) -> Path:
    """A copy with a few bytes changed anywhere, or a piece cut out of its end."""
    data, path = bytearray(film.read_bytes()), folder / f"damaged{film.suffix}"
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        for place in range(at, min(at + rng.choice((1, 40, 700)), len(data))):
            data[place] ^= rng.randint(1, 255)
    path.write_bytes(data[: len(data) - rng.choice((0, 0, 0, rng.randrange(len(data))))])
    return path


def damage_and_go_on(source: Path, folder: Path, vsr: Vsr, rounds: int, seed: int) -> None:
    """The same command again after an error must not come to another end: damage does not heal."""
    rng = random.Random(seed)
    for number in range(rounds):
        damaged, target, done = corrupted(source, folder, rng), folder / f"{number}.mkv", None
        going_on = ["--keep-going"] if number % 3 == 2 else []
        ends = []
        for _ in range(2):
            done = vsr("upscale", damaged, target, *BICUBIC, *going_on)
            assert "Traceback" not in done.err, done.err
            assert done.status in (0, 1)
            assert (done.status == 0) == target.exists()
            ends.append(done.status)
            if target.exists():
                target.unlink()
        assert ends[0] == ends[1], done
        shutil.rmtree(workdir_for(target), ignore_errors=True)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_damaged_sources(suffix: str, film: Path, tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / f"film{suffix}"
    media.run_ffmpeg("-i", film, "-c", "copy", source)
    damage_and_go_on(source, tmp_path, vsr, rounds=3, seed=3)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_many_damaged_sources(suffix: str, film: Path, tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / f"film{suffix}"
    media.run_ffmpeg("-i", film, "-c", "copy", source)
    damage_and_go_on(source, tmp_path, vsr, rounds=40, seed=4)


def test_the_terminal_goes_away(tmp_path: Path) -> None:
    """SIGHUP, and nobody there to read: it ends, and leaves no helper behind."""
    import signal

    film, target = media.cfr(tmp_path, frames=2000, audio=False), tmp_path / "out.mp4"  # not over before that
    slow = ("-m", "bicubic", "-t", "16", "--overlap", "3", "--segment", "6")
    child = spawn("upscale", film, target, *slow)
    read_until(child, "engine:")
    helpers = psutil.Process(child.pid).children()
    assert child.stderr is not None
    assert child.stdout is not None
    child.stderr.close()
    child.send_signal(signal.SIGHUP)
    assert child.wait(30) == 128 + signal.SIGHUP
    child.stdout.close()
    assert not psutil.wait_procs(helpers, timeout=30)[1]  # whoever inherits them collects them in its time
    assert not target.exists()
