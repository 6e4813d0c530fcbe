"""kill -9 at any moment: the same command goes on, and the film is the one that it would have been.

The long form (``pytest -m slow tests/torture``) kills fifty times.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from contracts import assert_contract, frame_md5

from terminal import environment, eventually
from vsrcli.pipeline.checkpoint import read_journal
from vsrcli.system.files import workdir_for

VICTIM = Path(__file__).with_name("victim.py")
LENGTH = 6  # frames of a segment
LONGEST = 2 * LENGTH + 3  # one that is being closed, the next one; and a shot's last answers come together


@dataclass(frozen=True)
class Life:
    """Of one run.

    Attributes:
        died: whether it was killed.
        resumed: frames that were there when it began; 0 as well if it did not come that far.
        reached: frames when it ended.
        things: that it did.
    """

    died: bool
    resumed: int
    reached: int
    things: int


def live(source: Path, target: Path, model: str | Path, die_at: int = 0) -> Life:
    command = [
        sys.executable,
        VICTIM,
        source,
        target,
        "--model",
        model,
        "--segment",
        LENGTH,
        "--die-at",
        die_at,
    ]
    child = subprocess.run(
        list(map(str, command)), env=environment(), capture_output=True, text=True, timeout=120, check=False
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr
    lines = child.stdout.splitlines()
    things = int(lines.pop()) if child.returncode == 0 else die_at
    reached, resumed = map(int, lines[-1].split()) if lines else (0, 0)
    return Life(child.returncode != 0, resumed, reached, things)


def ffmpegs(folder: Path) -> list[psutil.Process]:
    """Those that write into a folder, whoever started them."""
    return [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if "ffmpeg" in (process.info["name"] or "")
        and any(str(folder) in part for part in process.info["cmdline"] or ())
    ]


def kill_again_and_again(source: Path, folder: Path, model: str | Path, kills: int, seed: int) -> None:
    """Films that die up to five times each, until there were so many deaths."""
    rng, died = random.Random(seed), 0
    whole = folder / "whole.mp4"
    things = live(source, whole, model).things
    wanted, size = frame_md5(whole), whole.stat().st_size
    for number in range(kills):
        target, reached = folder / f"film-{number}.mp4", 0
        for _ in range(min(5, kills - died)):
            life = live(source, target, model, rng.randint(1, things))
            if life.reached:
                assert reached - life.resumed <= LONGEST
                reached = max(reached, life.reached)
            died += life.died
            if not life.died or target.exists():  # the last thing that it does is to clean up
                break
        if not target.exists():
            life = live(source, target, model)
            assert reached - life.resumed <= LONGEST
        assert frame_md5(target) == wanted
        assert target.stat().st_size == size
        assert_contract(source, target)
        eventually(lambda: not ffmpegs(folder))
        if died >= kills:
            break


def test_a_few_kills(film: Path, tmp_path: Path) -> None:
    kill_again_and_again(film, tmp_path, "bicubic", kills=3, seed=1)


def test_a_kill_within_a_recurrent_networks_shot(
    film: Path, networks: dict[str, Path], tmp_path: Path
) -> None:
    """Its memory goes back to the shot's beginning; frame 10 lies inside the first of three shots."""
    whole, target = tmp_path / "whole.mp4", tmp_path / "out.mp4"
    model = networks["recurrent"]
    live(film, whole, model)
    for die_at in range(40, 90, 5):
        life = live(film, target, model, die_at)
        assert life.died
        kept = read_journal(workdir_for(target))
        if kept and kept.frame_count:
            break
    life = live(film, target, model)
    assert 0 < life.resumed < 17
    assert frame_md5(target) == frame_md5(whole)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_fifty_kills(film: Path, networks: dict[str, Path], tmp_path: Path) -> None:
    models: dict[str, tuple[str | Path, int]] = {
        "bicubic": ("bicubic", 30),
        "cached": (networks["cached"], 10),
        "recurrent": (networks["recurrent"], 10),
    }
    for number, (name, (model, kills)) in enumerate(models.items()):
        (tmp_path / name).mkdir()
        kill_again_and_again(film, tmp_path / name, model, kills, seed=10 + number)
