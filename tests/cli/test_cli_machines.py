"""What scripts and programs see: JSON messages, the log, settings files, completion."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome, environment

Vsr = Callable[..., Outcome]
BICUBIC = ("--model", "bicubic")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    return media.cfr(tmp_path, suffix=".mkv", audio=False)


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without settings of their own, in an empty folder."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(home / ".local/share"))
    monkeypatch.chdir(tmp_path)
    return home


def settings(home: Path, text: str) -> Path:
    file = home / ".config/vsr/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def messages(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_progress_as_json_tells_the_whole_course_on_stderr(vsr: Vsr, film: Path) -> None:
    run = vsr("upscale", film, "out.mkv", *BICUBIC, "--progress", "json")
    assert run.status == 0
    assert run.out == ""
    said = messages(run.err)
    assert [said[0]["message_type"], said[-1]["message_type"]] == ["start", "done"]
    assert said[0]["target_size"] == [256, 192]
    assert said[0]["total"] == 12
    steps = [each for each in said if each["message_type"] == "progress"]
    assert steps[-1]["done"] == steps[-1]["total"] == said[-1]["frames"] == 12
    assert [each["done"] for each in steps] == sorted({each["done"] for each in steps})


def test_errors_are_messages_too_with_the_exit_status(vsr: Vsr, film: Path) -> None:
    missing = vsr("upscale", "missing.mp4", "out.mkv", *BICUBIC, "--progress", "json")
    assert (messages(missing.err)[-1]["message_type"], missing.status) == ("error", 1)
    assert messages(missing.err)[-1]["status"] == 1
    assert "missing.mp4 does not exist" in messages(missing.err)[-1]["text"]
    wrong = vsr("upscale", film, "out.mkv", "--crf", "-1", "--progress", "json")
    assert (messages(wrong.err)[-1]["status"], wrong.status) == (2, 2)


def test_a_plan_can_be_read_by_a_program(vsr: Vsr, film: Path) -> None:
    run = vsr("upscale", film, "out.mkv", *BICUBIC, "--dry-run", "--progress", "json")
    (plan,) = messages(run.err)
    assert plan["message_type"] == "plan"
    assert [stream["action"] for stream in plan["streams"]] == ["encode"]
    assert not Path("out.mkv").exists()


def test_messages_on_a_descriptor_of_their_own_leave_stderr_to_people(film: Path) -> None:
    read, write = os.pipe()
    line = [sys.executable, "-m", "vsrcli", "upscale", film, "out.mkv", *BICUBIC, "--progress-fd", str(write)]
    run = subprocess.run(
        line, pass_fds=[write], capture_output=True, text=True, env=environment(), check=True
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        assert [each["message_type"] for each in messages(pipe.read())][-1] == "done"
    assert "12 frames in" in run.stderr
    assert "message_type" not in run.stderr


def test_a_descriptor_that_is_not_open_is_a_usage_error(vsr: Vsr, film: Path) -> None:
    run = vsr("upscale", film, "out.mkv", "--progress-fd", "77")
    assert run.status == 2
    assert "77 is no open file" in run.err


def test_the_log_holds_the_command_the_course_and_the_error(vsr: Vsr, film: Path) -> None:
    assert vsr("upscale", film, "out.mkv", *BICUBIC, "--log", "run.log", "-q").status == 0
    assert vsr("upscale", film, "out.mkv", *BICUBIC, "--log", "run.log", "-q").status == 1
    text = Path("run.log").read_text()
    assert text.count("command: vsr upscale") == 2  # the second run was added
    assert "done: 12 frames" in text
    assert "ffmpeg" in text  # what was run
    assert "ERROR out.mkv" in text.replace(str(Path.cwd()) + "/", "")


def test_a_log_that_cannot_be_written_is_told_first(vsr: Vsr, film: Path) -> None:
    run = vsr("upscale", film, "out.mkv", "--log", "no/such/folder.log")
    assert run.status == 2
    assert "cannot be written" in run.err


def test_the_nearest_setting_wins(
    vsr: Vsr, film: Path, nobody: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Typed, environment, profile, tables here, the user's own, built in; `config show` names the place."""

    def scale() -> tuple[str, str]:
        shown = json.loads(vsr("config", "show", "upscale", "--json").out)
        (row,) = [row for row in shown["options"] if row["option"] == "scale"]
        return row["value"], row["from"]

    def size(*options: str) -> list[int]:
        run = vsr("upscale", film, "out.mkv", *BICUBIC, "--dry-run", "--progress", "json", *options)
        return messages(run.err)[0]["target_size"]

    assert size() == [256, 192]
    settings(nobody, "[upscale]\nscale = 3\n")
    assert (size(), scale()[0]) == ([192, 144], "3")
    assert "config.toml [upscale]" in scale()[1]
    Path("vsr.toml").write_text("[upscale]\nscale = 2\n[profile.half.upscale]\nscale = 1.5\n")
    assert (size(), scale()) == ([128, 96], ("2", "vsr.toml [upscale]"))
    run = vsr("--profile", "half", "upscale", film, "o.mkv", *BICUBIC, "--dry-run", "--progress", "json")
    assert messages(run.err)[0]["target_size"] == [96, 72]
    monkeypatch.setenv("VSR_UPSCALE_SCALE", "2.5")
    assert (size(), scale()) == ([160, 120], ("2.5", "environment, VSR_UPSCALE_SCALE"))
    assert size("--scale", "4") == [256, 192]


def test_a_profile_may_be_the_default_and_is_looked_up(vsr: Vsr, nobody: Path) -> None:
    settings(
        nobody,
        'default-profile = "film"\n[profile.film.upscale]\ncrf = 12\nencoder-option = ["tune=grain"]\n',
    )
    shown = vsr("config", "show", "upscale").out
    assert "profile: film" in shown
    assert "upscale --crf" in shown
    assert "tune=grain" in shown
    unknown = vsr("--profile", "nope", "config", "show")
    assert unknown.status == 2
    assert "no profile 'nope'" in unknown.err


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[upscale]\nscael = 2\n", "has no option 'scael'"),
        ("[upscale]\ncrf = -1\n", "-1.0 is not in the range"),
        ("[upscale]\nscale = [2, 3]\n", "takes one value"),
        ('[upscale]\nkeep-going = "yes"\n', "write true or false"),
        ("[upscail]\nscale = 2\n", "no such command"),
        ("scale = 2\n", "no such command"),
        ("[upscale\n", "cannot be read as settings"),
        ("default-profile = 3\n", "write the name of a profile"),
    ],
)
def test_a_wrong_setting_is_told_with_its_place(vsr: Vsr, film: Path, text: str, reason: str) -> None:
    Path("vsr.toml").write_text(text)
    run = vsr("upscale", film, "out.mkv", *BICUBIC)
    assert run.status == 2
    assert "vsr.toml" in run.err
    assert reason in run.err
    assert not Path("out.mkv").exists()


@pytest.mark.parametrize("line", ['ffmpeg = "./theirs"', "overwrite = true"])
def test_a_folder_from_elsewhere_chooses_neither_programs_nor_losses(
    vsr: Vsr, film: Path, nobody: Path, line: str
) -> None:
    Path("vsr.toml").write_text(f"[upscale]\n{line}\n")
    run = vsr("upscale", film, "out.mkv", *BICUBIC)
    assert run.status == 2
    assert "may have come from anywhere" in run.err


def test_settings_can_be_left_out(
    vsr: Vsr, nobody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(nobody, "[upscale]\nscale = 3\n")
    monkeypatch.setenv("VSR_CONFIG", "")
    assert "settings files: none" in vsr("config", "show").out
    monkeypatch.setenv("VSR_CONFIG", str(tmp_path / "missing.toml"))
    assert vsr("config", "show").status == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks(
    vsr: Vsr, nobody: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = vsr("completion", shell).out
    assert "_VSR_COMPLETE" in printed
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert vsr("completion", "--install").status == 0
    (file,) = [path for path in nobody.rglob("*") if path.is_file()]
    assert file.read_text() == printed


def test_completion_names_commands_and_options() -> None:
    def complete(words: str, number: int) -> str:
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from vsrcli.cli.main import main; sys.argv[0] = 'vsr'; main()",
            ],
            env=environment(_VSR_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(number)),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout

    assert "plain,upscale" in complete("vsr up", 1)
    assert "plain,--precision" in complete("vsr upscale --pre", 2)
    assert "plain,json" in complete("vsr upscale --progress j", 3)
