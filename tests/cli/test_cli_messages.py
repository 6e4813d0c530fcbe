"""Interfaces for programs: JSON messages, the log, settings files, completion."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome, complete, environment, read_until
from vsrcli.cli.config_files import user_file
from vsrcli.cli.summary import ResumeHint
from vsrcli.errors import FfmpegError, InputError
from vsrcli.inference.graph_cache import cache_folder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.models.library import library_folder
from vsrcli.models.weights import weight_folders
from vsrcli.system.signals import REPEAT_WINDOW_SECONDS

Vsr = Callable[..., Outcome]
BICUBIC = ("--model", "bicubic")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return media.cfr(tmp_path, suffix=".mkv", audio=False)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder of a user without settings, above an empty current folder."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / ".local/share"))
    monkeypatch.chdir(tmp_path)
    return folder


def write_settings(home: Path, text: str) -> Path:
    file = home / ".config/vsr/config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def messages(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_progress_as_json_reports_the_complete_run(vsr: Vsr, video: Path) -> None:
    run = vsr("upscale", video, "out.mkv", *BICUBIC, "--progress", "json")
    assert run.status == 0
    assert run.out == ""
    lines = messages(run.err)
    assert [lines[0]["message_type"], lines[-1]["message_type"]] == ["start", "done"]
    assert lines[0]["target_size"] == [256, 192]
    assert lines[0]["total"] == 12
    steps = [each for each in lines if each["message_type"] == "progress"]
    assert steps[-1]["done"] == steps[-1]["total"] == lines[-1]["frames"] == 12
    assert [each["done"] for each in steps] == sorted({each["done"] for each in steps})


@pytest.mark.parametrize("command", ["upscale", "preview"])
def test_stderr_has_nothing_but_messages(command: str, vsr: Vsr, video: Path) -> None:
    run = vsr(command, video, "out.mkv", *BICUBIC, "--progress", "json", "-v")
    assert (run.status, messages(run.err)[0]["message_type"]) == (0, "start")
    failed = vsr(command, "missing.mp4", "other.mkv", *BICUBIC, "--progress", "json", "-v", "-v")
    (error,) = messages(failed.err)
    assert error["message_type"] == "error"
    assert error["details"][0].startswith("Traceback")


STOPPED_TWICE = """
import signal
from vsrcli.cli.messages import JsonMessages
from vsrcli.system import signals
signals.SLOW_STOP_SECONDS = 0
with signals.catch_signals(report_stop=JsonMessages().report_stop) as token:
    print("begun", flush=True)
    while True:
        signal.pause()
"""


def test_a_slow_stop_and_a_forced_exit_are_messages() -> None:
    pipe = subprocess.PIPE
    child = subprocess.Popen(
        [sys.executable, "-c", STOPPED_TWICE], env=environment(), stdout=pipe, stderr=pipe, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    slow = read_until(child, "\n")
    while child.poll() is None:  # signals in quick succession count once
        child.send_signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2 * REPEAT_WINDOW_SECONDS)
    done = complete(child)
    assert done.status == 130
    notice, stopped = messages(slow + done.err)
    assert (notice["message_type"], notice["text"][:8]) == ("notice", "stopping")
    assert stopped == {"message_type": "stopped", "status": 130, "text": "stopped", "details": []}


def test_errors_are_messages_with_the_exit_status(vsr: Vsr, video: Path) -> None:
    missing = vsr("upscale", "missing.mp4", "out.mkv", *BICUBIC, "--progress", "json")
    assert (messages(missing.err)[-1]["message_type"], missing.status) == ("error", 1)
    assert messages(missing.err)[-1]["status"] == 1
    assert "missing.mp4 does not exist" in messages(missing.err)[-1]["text"]
    wrong = vsr("upscale", video, "out.mkv", "--crf", "-1", "--progress", "json")
    assert (messages(wrong.err)[-1]["status"], wrong.status) == (2, 2)


@pytest.mark.parametrize("line", ["--progress json --no-such", "--no-such --progress=json -q --crf"])
def test_a_line_that_cannot_be_parsed_is_a_message(line: str, vsr: Vsr, video: Path) -> None:
    wrong = vsr("upscale", video, "out.mkv", *line.split())
    (error,) = messages(wrong.err)
    assert (error["message_type"], error["status"], wrong.status) == ("error", 2, 2)
    assert "--no-such" in error["text"]


def test_settings_that_cannot_be_read_are_a_message(vsr: Vsr, video: Path, home: Path) -> None:
    write_settings(home, "[upscale]\nno-such = 3\n")
    wrong = vsr("upscale", video, "out.mkv", "--progress", "json")
    assert (messages(wrong.err)[0]["message_type"], wrong.status) == ("error", 2)


def test_a_plan_is_one_message(vsr: Vsr, video: Path) -> None:
    run = vsr("upscale", video, "out.mkv", *BICUBIC, "--dry-run", "--progress", "json")
    (plan,) = messages(run.err)
    assert plan["message_type"] == "plan"
    assert [stream["action"] for stream in plan["streams"]] == ["encode"]
    assert not Path("out.mkv").exists()


@pytest.mark.parametrize(
    ("options", "scale"),
    [(("--width", "160"), 2.5), (("--size", "96x96"), 1.5), (("-s", "3"), 3.0), (("--same-size",), 1.0)],
)
def test_the_scale_is_that_of_the_size(options: tuple[str, ...], scale: float, vsr: Vsr, video: Path) -> None:
    run = vsr("upscale", video, "out.mkv", *BICUBIC, *options, "--dry-run", "--progress", "json")
    assert messages(run.err)[0]["scale"] == scale


def test_messages_on_a_file_descriptor_leave_stderr_to_people(video: Path) -> None:
    read, write = os.pipe()
    line = [
        sys.executable,
        "-m",
        "vsrcli",
        "upscale",
        video,
        "out.mkv",
        *BICUBIC,
        "--progress-fd",
        str(write),
    ]
    run = subprocess.run(
        [*line, "--progress-fd", str(write)],
        pass_fds=[write],
        capture_output=True,
        text=True,
        env=environment(),
        check=True,
    )
    os.close(write)
    with os.fdopen(read) as pipe:
        assert [each["message_type"] for each in messages(pipe.read())][-1] == "done"
    assert "12 frames in" in run.stderr
    assert "message_type" not in run.stderr


def test_a_descriptor_that_is_not_open_is_a_usage_error(vsr: Vsr, video: Path) -> None:
    run = vsr("upscale", video, "out.mkv", *BICUBIC, "--progress-fd", "987654")
    assert run.status == 2
    assert "987654 is no open file" in run.err


def test_the_log_has_command_progress_and_error(vsr: Vsr, video: Path) -> None:
    assert vsr("upscale", video, "out.mkv", *BICUBIC, "--log", "run.log", "-q").status == 0
    assert vsr("upscale", video, "out.mkv", *BICUBIC, "--log", "run.log", "-q").status == 1
    text = Path("run.log").read_text()
    assert text.count("command: vsr upscale") == 2  # the second run was added
    assert "done: 12 frames" in text
    assert "ffmpeg" in text  # what was run
    assert "ERROR out.mkv" in text.replace(str(Path.cwd()) + "/", "")


def test_a_log_that_cannot_be_written_is_a_usage_error(vsr: Vsr, video: Path) -> None:
    run = vsr("upscale", video, "out.mkv", "--log", "no/such/folder.log")
    assert run.status == 2
    assert "cannot be written" in run.err


def test_precedence_of_settings(vsr: Vsr, video: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Typed, environment, profile, current folder, user, built in; `config show` names the origin."""

    def scale() -> tuple[str, str]:
        shown = json.loads(vsr("config", "show", "upscale", "--json").out)
        (row,) = [row for row in shown["options"] if row["option"] == "scale"]
        return row["value"], row["from"]

    def size(*options: str) -> list[int]:
        run = vsr("upscale", video, "out.mkv", *BICUBIC, "--dry-run", "--progress", "json", *options)
        return messages(run.err)[0]["target_size"]

    assert size() == [256, 192]
    write_settings(home, "[upscale]\nscale = 3\n")
    assert (size(), scale()[0]) == ([192, 144], "3")
    assert "config.toml [upscale]" in scale()[1]
    Path("vsr.toml").write_text("[upscale]\nscale = 2\n[profile.half.upscale]\nscale = 1.5\n")
    assert (size(), scale()) == ([128, 96], ("2", "vsr.toml [upscale]"))
    run = vsr("--profile", "half", "upscale", video, "o.mkv", *BICUBIC, "--dry-run", "--progress", "json")
    assert messages(run.err)[0]["target_size"] == [96, 72]
    monkeypatch.setenv("VSR_UPSCALE_SCALE", "2.5")
    assert (size(), scale()) == ([160, 120], ("2.5", "environment, VSR_UPSCALE_SCALE"))
    assert size("--scale", "4") == [256, 192]


def test_a_default_profile(vsr: Vsr, home: Path) -> None:
    write_settings(
        home,
        'default-profile = "grain"\n[profile.grain.upscale]\ncrf = 12\nencoder-option = ["tune=grain"]\n',
    )
    shown = vsr("config", "show", "upscale").out
    assert "profile: grain" in shown
    assert "upscale --crf" in shown
    assert "tune=grain" in shown
    Path("vsr.toml").write_text('default-profile = "here"\n[profile.here.upscale]\ncrf = 13\n')
    assert "profile: here" in vsr("config", "show", "upscale").out
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
def test_an_invalid_setting_is_an_error_with_its_file(vsr: Vsr, video: Path, text: str, reason: str) -> None:
    Path("vsr.toml").write_text(text)
    run = vsr("upscale", video, "out.mkv", *BICUBIC)
    assert run.status == 2
    assert "vsr.toml" in run.err
    assert reason in run.err
    assert not Path("out.mkv").exists()


@pytest.mark.parametrize("line", ['ffmpeg = "./theirs"', "overwrite = true"])
def test_the_current_folder_chooses_neither_programs_nor_overwriting(
    vsr: Vsr, video: Path, home: Path, line: str
) -> None:
    Path("vsr.toml").write_text(f"[upscale]\n{line}\n")
    run = vsr("upscale", video, "out.mkv", *BICUBIC)
    assert run.status == 2
    assert "may have come from anywhere" in run.err


def test_the_users_settings_can_be_ignored(
    vsr: Vsr, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_settings(home, "[upscale]\nscale = 3\n")
    monkeypatch.setenv("VSR_CONFIG", "")
    assert "settings files: none" in vsr("config", "show").out
    monkeypatch.setenv("VSR_CONFIG", str(tmp_path / "missing.toml"))
    assert vsr("config", "show").status == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_where_the_shell_looks(
    vsr: Vsr, home: Path, shell: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = vsr("completion", shell).out
    assert "_VSR_COMPLETE" in printed
    monkeypatch.setenv("SHELL", f"/usr/bin/{shell}")
    assert vsr("completion", "--install").status == 0
    (file,) = [path for path in home.rglob("*") if path.is_file()]
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
    assert "plain,--precision" in complete("vsr upscale --log run.log --pre", 4)
    assert not Path("run.log").exists()


def test_a_tilde_is_the_home_folder(
    vsr: Vsr, video: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell expands it in settings, nor in variables that a service manager sets."""
    write_settings(home, '[upscale]\nlog = "~/run.log"\nffmpeg = "~/ffmpeg"\n')
    vsr("upscale", video, "out.mkv", *BICUBIC).fails(1, f"no executable ffmpeg at '{home}/ffmpeg'")
    assert "ffmpeg" in (home / "run.log").read_text()
    monkeypatch.setenv("VSR_UPSCALE_FFMPEG", "~/other")
    monkeypatch.setenv("VSR_UPSCALE_LOG", "~/other.log")
    vsr("upscale", video, "out.mkv", *BICUBIC).fails(1, f"no executable ffmpeg at '{home}/other'")
    assert "ffmpeg" in (home / "other.log").read_text()
    monkeypatch.setenv("VSR_UPSCALE_MODEL", "~/net.onnx")
    vsr("upscale", video, "out.mkv").fails(1, f"{home}/net.onnx")
    monkeypatch.setenv("VSR_EVALUATE_MODEL", f"~/a.onnx{os.pathsep}~/b.onnx")
    shown = vsr("config", "show", "evaluate").out
    assert f"{home}/a.onnx" in shown
    assert f"{home}/b.onnx" in shown
    for name in ("weights", "models"):
        (home / name).mkdir()
        monkeypatch.setenv(f"VSR_{name.upper()}", f"~/{name}")
    monkeypatch.setenv("VSR_CACHE", "~/cache")
    monkeypatch.setenv("VSR_FFMPEG", "~/ffmpeg")
    monkeypatch.setenv("VSR_CONFIG", "~/.config/vsr/config.toml")
    assert weight_folders()[0] == home / "weights"
    assert library_folder() == home / "models"
    assert cache_folder() == home / "cache"
    assert user_file() == home / ".config/vsr/config.toml"
    with pytest.raises(FfmpegError, match=f"{home}/ffmpeg"):
        find_ffmpeg()


def test_how_to_resume_is_said_only_where_that_is_possible(tmp_path: Path) -> None:
    hint = ResumeHint(tmp_path / "out.mp4", ["upscale", "in.mp4", "out.mp4"])
    for option, end in (
        ("", "; to resume: vsr upscale in.mp4 out.mp4"),
        ("--keep-going", "; to resume: vsr upscale in.mp4 out.mp4 --keep-going"),
        (None, ""),
    ):
        error = InputError("in.mp4 has changed", resume_option=option)
        assert hint.after_error(error) == ""
        error.saved_frames = 8
        assert hint.after_error(error) == f"8 frames are saved{end}"
