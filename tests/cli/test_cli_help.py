"""Help and version of all commands, and which modules they import."""

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
from vsrcli.cli.help import GROUPS, MAX_UNGROUPED, Option
from vsrcli.cli.main import COMMANDS, COMMANDS_BY_HEADING
from vsrcli.cli.main import vsr as group

ROOT = Path(__file__).resolve().parents[2]
Vsr = Callable[..., Outcome]
HEAVY = ("tensorflow", "keras", "numpy", "av", "rich", "PIL", "scipy")


def command(name: str) -> click.Command:
    found = group.get_command(click.Context(group), name)
    assert found is not None
    return found


def modules_after(*arguments: str | Path, **changes: str) -> set[str]:
    """Return the modules that are loaded after a command line ran in a fresh interpreter."""
    code = (
        "import sys; from vsrcli.cli.main import run; status = run(sys.argv[1:]);"
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
    result = vsr(name, "--help")
    assert result.status == 0
    assert f"Usage: vsr {name} " in result.out
    assert result.out.count(f"vsr {name} ") >= 2  # once in the usage line, once in the example
    assert vsr(name, "-h") == result


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_a_guide(name: str) -> None:
    """Besides the reference, which is generated from the commands (tests/docs)."""
    guides = [page for page in (ROOT / "docs").glob("*.md") if page.name != "commands.md"]
    assert any(re.search(rf"\bvsr {name}\b", page.read_text(encoding="utf-8")) for page in guides)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    for parameter in command(name).params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name


def test_help_of_the_program_lists_every_command(vsr: Vsr) -> None:
    for arguments in (["--help"], ["-h"]):
        result = vsr(*arguments)
        assert result.status == 0
        for name, (_, summary) in COMMANDS.items():
            assert f"{name} " in result.out
            assert summary in result.out


def all_commands() -> list[tuple[str, ...]]:
    """Return the program, every command and those of groups, as words of a command line."""
    below = [
        (name, inner)
        for name in COMMANDS
        if isinstance(found := command(name), click.Group)
        for inner in found.list_commands(click.Context(found))
    ]
    return [(), *((name,) for name in COMMANDS), *below]


def command_at(line: tuple[str, ...]) -> click.Command:
    found: click.Command = group
    for name in line:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    return found


@pytest.mark.parametrize("line", all_commands(), ids=" ".join)
def test_every_option_is_in_one_group_and_groups_are_in_order(line: tuple[str, ...], vsr: Vsr) -> None:
    headings: list[str] = []
    places: dict[str, list[str]] = {}
    for text in vsr(*line, "--help").out.splitlines():
        if re.fullmatch(r"\S.*:", text):
            headings.append(text[:-1])
        elif row := re.match(r"  (-.*?)(  |$)", text):
            for spelling in re.findall(r"(?<!\S)--?[\w-]+", row[1]):
                places.setdefault(spelling, []).append(headings[-1])
    groups = list(dict.fromkeys(heading for found in places.values() for heading in found))
    options = [each for each in command_at(line).params if isinstance(each, click.Option) and not each.hidden]
    if len(options) < MAX_UNGROUPED:  # and --help
        assert groups == ["Options"]
    else:
        assert set(groups) <= set(GROUPS)
        assert all(isinstance(each, Option) for each in options)
    shown = [heading for heading in headings if heading in groups]
    assert shown == sorted(groups, key=lambda name: (*GROUPS, "Options").index(name))
    for each in options:
        for spelling in (*each.opts, *each.secondary_opts):
            assert len(places[spelling]) == 1, spelling
            if isinstance(each, Option) and groups != ["Options"]:
                assert places[spelling] == [each.group]
    assert "--help" in places


def test_help_of_the_program_groups_commands_by_use(vsr: Vsr) -> None:
    out = vsr("--help").out
    words = [word for heading, homes in COMMANDS_BY_HEADING.items() for word in (f"{heading}:", *homes)]
    assert re.findall(rf"^ *({'|'.join(words)})(?=$|  )", out, re.MULTILINE) == words


@pytest.mark.parametrize("line", [(), ("config",)], ids=" ".join)
def test_without_a_command_help_is_printed(line: tuple[str, ...], vsr: Vsr) -> None:
    """As Click does it: on stderr, since nothing was done."""
    assert vsr(*line) == Outcome(2, "", vsr(*line, "--help").out)


@pytest.mark.parametrize("columns", [60, 80, 120])
@pytest.mark.parametrize("line", all_commands(), ids=" ".join)
def test_help_fits_the_terminal(
    line: tuple[str, ...], columns: int, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for examples, which can be copied as they stand."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for text in vsr(*line, "--help").out.splitlines():
        assert len(text) < columns or re.match(r"  \S*\b(vsr|ffmpeg|VSR_)", text), text
        assert text.isprintable()
        assert text == text.rstrip()


def test_version(vsr: Vsr) -> None:
    assert vsr("--version") == Outcome(0, f"vsr, version {vsrcli.__version__}\n", "")


def test_help_imports_nothing_heavy() -> None:
    assert not modules_after("--help").intersection(HEAVY)


def test_models_imports_no_network() -> None:
    assert not modules_after("models", "--json").intersection(("tensorflow", "keras", "av"))


def test_dry_run_with_a_network_imports_none(sample: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "mine.weights.h5").touch()
    card: dict[str, object] = {"architecture": "duf-s", "scale": 4, "degradation": "video"}
    card |= {"sha256": "0" * 64, "options": {"width": 8, "blocks": 1}}
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
