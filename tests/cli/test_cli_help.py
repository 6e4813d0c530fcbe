"""Help, version, and what importing the command line costs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

import media_samples as media
import vsrcli
from terminal import Outcome, environment
from vsrcli.cli import COMMANDS
from vsrcli.cli import vsr as group

ROOT = Path(__file__).resolve().parents[2]
Vsr = Callable[..., Outcome]
HEAVY = ("tensorflow", "keras", "numpy", "av", "rich", "PIL", "scipy")


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def modules_after(*arguments: str | Path, **changes: str) -> set[str]:
    """Modules loaded once a command line has run in a fresh interpreter."""
    code = (
        "import sys; from vsrcli.cli import run; status = run(sys.argv[1:]);"
        "sys.stdout.flush(); print(*sys.modules, file=sys.stderr); sys.exit(status)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=environment(**changes),
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, vsr: Vsr) -> None:
    asked = vsr(name, "--help")
    assert asked.status == 0
    assert f"Usage: vsr {name} " in asked.out
    assert asked.out.count(f"vsr {name} ") >= 2  # once in the usage line, once in the example
    assert vsr(name, "-h") == asked


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_stands_in_the_pages(name: str) -> None:
    """In a guide, in words, besides the reference, which is made from the commands (tests/docs)."""
    guides = [page for page in (ROOT / "docs").glob("*.md") if page.name != "commands.md"]
    assert any(re.search(rf"\bvsr {name}\b", page.read_text(encoding="utf-8")) for page in guides)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    told = {"precision"}  # its choices speak for themselves
    for parameter in command(name).params:
        if isinstance(parameter, click.Option) and parameter.name not in told:
            assert parameter.help, parameter.name


def test_help_of_the_program_lists_every_command(vsr: Vsr) -> None:
    for arguments in (["--help"], ["-h"]):
        asked = vsr(*arguments)
        assert asked.status == 0
        for name, (_, summary) in COMMANDS.items():
            assert f"{name} " in asked.out
            assert summary in asked.out


def test_version(vsr: Vsr) -> None:
    assert vsr("--version") == Outcome(0, f"vsr, version {vsrcli.__version__}\n", "")


def test_help_imports_nothing_heavy() -> None:
    assert not modules_after("--help").intersection(HEAVY)


def test_models_imports_no_network() -> None:
    assert not modules_after("models", "--json").intersection(("tensorflow", "keras", "av"))


def test_dry_run_with_a_network_imports_none(sample: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.weights.h5").touch()
    card = {"architecture": "duf-s", "scale": 4, "degradation": "video", "options": {"width": 8, "blocks": 1}}
    (tmp_path / "mine.json").write_text(json.dumps(card))
    line = ("upscale", sample(media.cfr), tmp_path / "out.mp4", "--dry-run")
    modules = modules_after(*line, VSR_WEIGHTS=str(tmp_path))
    assert "vsrcli.pipeline.job" in modules
    assert not modules.intersection(("tensorflow", "keras"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ["nonsense", "upscale"]),
        (["--nonsense"], ["--nonsense"]),
        (["upscale"], ["IN", "vsr upscale --help"]),
        (["upscale", "one"], ["OUT"]),
        (["upscale", "a", "b", "c"], ["c"]),
        (["info"], ["FILE"]),
        (["models", "extra"], ["extra"]),
    ],
)
def test_usage_errors(arguments: list[str], words: list[str], vsr: Vsr) -> None:
    vsr(*arguments).fails(2, *words)
