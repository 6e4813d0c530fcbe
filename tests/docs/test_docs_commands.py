"""Every command of every page does what it says there, or is at least understood where it cannot be run."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import av
import click
import imageio_ffmpeg
import pytest
from material import FRAMES, provide, videos
from pages import ROOT, SHELLS, Command, Fence, commands, fences, pages

import vsrcli
from terminal import Outcome, environment
from vsrcli.cli.main import COMMANDS
from vsrcli.cli.main import vsr as group

Vsr = Callable[..., Outcome]
ALL = commands()
RUN = {command.text.partition(" #")[0].strip(): command for command in ALL if command.reason is None}
MAKES_A_FILM = re.compile(r"examples/|vsr (upscale|preview|batch|dataset build) (?!.*(--dry-run| -n\b))")
# Networks take minutes; tests/inference, tests/e2e and tests/evaluate have them.
NETWORK = re.compile(
    r"(-m|--model|--preset) (?:\S*(?:duf|\.weights\.h5)[^\s;|]*|fast\b|balanced\b|quality\b)"
)


def found(name: str) -> click.Command:
    command = group.get_command(click.Context(group), name)
    assert command is not None
    return command


def parse(words: list[str]) -> None:
    """What Click does with a command line before it is run.

    Raises:
        click.UsageError: it is not understood.
    """
    context = group.make_context("vsr", list(words))
    while isinstance(context.command, click.Group):
        rest = [*context._protected_args, *context.args]
        if not rest and context.command.invoke_without_command:
            break
        name, command, rest = context.command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("command", ALL, ids=str)
def test_it_is_understood(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not run: options that have gone are noticed, and scripts that have moved."""
    monkeypatch.chdir(tmp_path)
    for program, *words in command.programs:
        if program == "vsr":
            for word in words:
                if re.fullmatch(r"\w+/?", word):  # may be a folder or video that must exist
                    Path(word).mkdir(exist_ok=True)
                elif word.endswith(".mp4"):
                    Path(word).touch()
            parse(words)
        elif program == "python" and words[0] != "-m":
            source = (ROOT / words[0]).read_text(encoding="utf-8")
            for word in words[1:]:
                assert not word.startswith("--") or f'"{word}"' in source, word
        elif program.startswith("examples/"):
            assert os.access(ROOT / program, os.X_OK)
        elif program == "make":
            assert f"\n{words[0]}:" in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_most_commands_are_run() -> None:
    assert len(RUN) >= 60
    assert len([command for command in ALL if command.reason]) <= len(ALL) / 3
    for command in ALL:
        assert command.reason is None or len(command.reason) > 10, command


@pytest.mark.parametrize("fence", fences(), ids=str)
def test_commands_stand_in_blocks_that_are_looked_at(fence: Fence) -> None:
    """Under the one name for the shell's language."""
    assert fence.language not in SHELLS


@functools.cache
def interpolating() -> dict[str, str]:
    """Variables that make bicubic interpolation the default of every command."""
    return {
        f"VSR_{name}_{option.name}".upper(): "bicubic"
        for name in COMMANDS
        for option in found(name).params
        if "--model" in option.opts and name != "train"
    }


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of somebody who has ``vsr``, ``ffmpeg`` and the examples, and has changed no settings."""
    here, tools = tmp_path / "here", tmp_path / "bin"
    here.mkdir()
    tools.mkdir()
    (here / "examples").symlink_to(ROOT / "examples")
    lines = {
        "ffmpeg": f'exec {shlex.quote(imageio_ffmpeg.get_ffmpeg_exe())} -nostdin -loglevel error "$@"',
        "vsr": f'exec {shlex.quote(sys.executable)} -m vsrcli "$@"',
    }
    for name, line in lines.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    for name in [name for name in os.environ if name.startswith(("XDG_", "VSR_")) and name != "VSR_CACHE"]:
        monkeypatch.delenv(name)
    path = f"{tools}{os.pathsep}{os.environ['PATH']}"
    home = {"PATH": path, "HOME": str(tmp_path), "SHELL": "/bin/bash"}
    for name, value in {**environment(**home), **interpolating()}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(here)
    return here


@pytest.mark.parametrize("text", RUN, ids=[str(command) for command in RUN.values()])
def test_it_works(text: str, place: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, in a folder of its own. Videos that it makes can be played."""
    provide(place, text)
    if "--look" in text:  # which interpolation does not have
        for name in interpolating():
            monkeypatch.delenv(name)
    before = videos(place)
    names = iter(("bicubic", "lanczos", "bicubic", "lanczos"))
    line = NETWORK.sub(lambda one: f"{'-m' if one[1] == '--preset' else one[1]} {next(names)}", text)
    if line.startswith("vsr bench") and "--input" not in line:
        line = re.sub(r"--size \w+", "", line).replace("vsr bench", "vsr bench --size 64x48")
    if line.startswith("vsr ") and not Command("", 0, line, None).needs_shell:
        outcome = vsr(*shlex.split(line)[1:])
        assert outcome.status == 0, outcome.err
    else:
        shell = ["bash", "-c", f"set -o pipefail; {line}"]
        done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr.decode()
    made = videos(place) - before
    assert bool(made) == bool(MAKES_A_FILM.search(text)) or re.search(r"compare|vsr explain", text)
    scale = re.search(r"--scale (\d)", text)
    for path in made:
        with av.open(str(path)) as container:
            count = sum(1 for _ in container.decode(video=0))
            assert count >= 1
            if scale and path.suffix != ".y4m" and "tape" not in text:
                assert (container.streams.video[0].width, count) == (64 * int(scale[1]), FRAMES)


@pytest.mark.parametrize("fence", [each for each in fences() if each.language == "toml"], ids=str)
def test_settings_files_are_understood(fence: Fence, place: Path, vsr: Vsr) -> None:
    Path("vsr.toml").write_text(fence.text, encoding="utf-8")
    profiles = tomllib.loads(fence.text).get("profile", {})
    for arguments in ([], *(["--profile", name] for name in profiles)):
        shown = vsr(*arguments, "config", "show")
        assert shown.status == 0, shown.err
        assert "vsr.toml" in shown.out


@pytest.mark.parametrize("fence", [each for each in fences() if each.language == "python"], ids=str)
def test_programs_work(fence: Fence, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provide(place, "vsr upscale in.mp4")
    monkeypatch.setattr(vsrcli, "Options", functools.partial(vsrcli.Options, model="bicubic"))
    exec(compile(fence.text, str(fence), "exec"), {})
    assert videos(place) - {place / "in.mp4"}


@pytest.mark.parametrize("page", pages())
def test_running_text_names_commands_and_options_that_there_are(page: str) -> None:
    prose = re.sub(r"^```.*?^```$", "", pages()[page], flags=re.DOTALL | re.MULTILINE)
    for code in re.findall(r"`vsr ([^`]*)`", prose):
        words = [word for word in re.split(r"[\s=\[\]|]+", code) if word]
        name = next((word for word in words if word in COMMANDS), None)
        assert name or words[0].isupper() or words[0].startswith("-"), code
        for word in words if name else ():
            if word.startswith("--") and word not in ("--profile", "--help"):
                assert word in spellings(found(str(name))), code


def spellings(command: click.Command) -> set[str]:
    """Of all options of a command and those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    own = {spelling for each in command.params for spelling in (*each.opts, *each.secondary_opts)}
    return own.union(*(spellings(each) for each in below))
