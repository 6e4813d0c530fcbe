"""Settings files: a setting applies where it can, and makes no command fail that it is not meant for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

import media_samples as media
from terminal import Outcome, complete, environment, spawn
from vsrcli.media.y4m import Y4mReader

Vsr = Callable[..., Outcome]
BICUBIC = ("-m", "bicubic", "-s", "2")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, without settings of the user."""
    monkeypatch.setenv("VSR_CONFIG", "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def video(sample: Callable[..., Path]) -> Path:
    return sample(media.cfr, audio=False)


def settings(*lines: str, command: str = "upscale") -> None:
    Path("vsr.toml").write_text("\n".join((f"[{command}]", *lines, "")))


@pytest.fixture
def planned(vsr: Vsr) -> Callable[..., dict[str, Any]]:
    """Return a function: the plan of a command line, from its JSON message."""

    def plan(*arguments: object) -> dict[str, Any]:
        run = vsr("upscale", *arguments, *BICUBIC, "--dry-run", "--progress", "json")
        assert run.status == 0, run.err
        return json.loads(run.err.splitlines()[0])

    return plan


def image_sequence(folder: Path) -> Path:
    folder.mkdir()
    media.run_ffmpeg(*media.moving_pattern(4), folder / "%03d.png")
    return folder


def test_the_frame_rate_is_for_image_sequences(vsr: Vsr, video: Path, folder: Path) -> None:
    settings("fps = 10", "crf = 20")
    assert vsr("upscale", video, "video.mkv", *BICUBIC).status == 0
    assert vsr("upscale", image_sequence(folder / "frames"), "frames.mkv", *BICUBIC).status == 0
    rates = {}
    for name in ("video.mkv", "frames.mkv"):
        with av.open(name) as container:
            rates[name] = container.streams.video[0].average_rate
    assert rates["frames.mkv"] == 10
    assert rates["video.mkv"] == pytest.approx(Fraction(24000, 1001), rel=1e-3)
    vsr("upscale", video, "other.mkv", *BICUBIC, "--fps", "10").fails(2, "--fps is for images")
    assert vsr("preview", video, "preview.mkv", *BICUBIC, "--seconds", "0.2").status == 0


def test_the_frame_rate_does_not_change_videos_of_a_batch(vsr: Vsr, video: Path) -> None:
    settings("fps = 24", "crf = 18", command="batch")
    first = vsr("batch", video, "out/", *BICUBIC, "--container", ".mkv", "--codec", "ffv1")
    assert first.status == 0, first.err
    settings("fps = 30", "crf = 18", command="batch")
    again = vsr("batch", video, "out/", *BICUBIC, "--container", ".mkv", "--codec", "ffv1", "--json", "-")
    assert again.status == 0, again.err
    assert [each["status"] for each in json.loads(again.out)["videos"]] == ["skipped"]


@pytest.mark.parametrize(
    ("line", "arguments", "codec", "left_out"),
    [
        ('format = "nut"', "out.mp4", "libx264", ""),
        ("crf = 18", "out.mkv --codec ffv1", "ffv1", "--crf 18 (ffv1 has no constant quality)"),
        ("crf = 60", "out.mp4", "libx264", "--crf 60 (--crf 60 is not on the scale of libx264"),
        ("crf = 18", "- --format nut", "rawvideo", "--crf 18 (rawvideo has no constant quality)"),
        ('codec = "libx265"', "-", "rawvideo", "--codec libx265 (stdout: YUV4MPEG2 is raw video only"),
        ('codec = "libx265"', "out.webm", "libvpx-vp9", "--codec libx265 (out.webm: WebM cannot hold hevc"),
        ('encode-preset = "web"', "out.webm", "libvpx-vp9", "--encode-preset web (out.webm: WebM cannot"),
        ('pix-fmt = "yuv420p10le"', "out.mkv --codec mjpeg", "mjpeg", "--pix-fmt yuv420p10le (mjpeg cannot"),
        ('encode-preset = "web"', "out.mkv --codec ffv1", "ffv1", ""),
        ('codec = "libx264"\ncrf = 18', "out.mkv --encode-preset archive", "ffv1", ""),
        ('encoder-option = ["tune=grain"]', "out.mkv --codec ffv1", "ffv1", ""),
        ('engine = "openvino"', "out.mp4 --gpu 0", "libx264", ""),
    ],
)
def test_settings_that_do_not_apply_are_left_out(
    planned: Callable[..., dict[str, Any]],
    video: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    arguments: str,
    codec: str,
    left_out: str,
) -> None:
    Path("mine.toml").write_text(f"[upscale]\n{line}\n")
    monkeypatch.setenv("VSR_CONFIG", "mine.toml")
    plan = planned(video, *arguments.split())
    assert plan["codec"] == codec
    notices = [notice for notice in plan["notices"] if notice.startswith("left out of your settings")]
    assert len(notices) == bool(left_out)
    for notice in notices:
        assert notice.startswith(f"left out of your settings: {left_out}")


@pytest.mark.parametrize(
    ("line", "typed", "status", "words"),
    [
        ("crf = 18", "out.mkv --codec ffv1 --crf 17", 2, "ffv1 has no constant quality"),
        ("crf = 18", "out.webm --codec libx265", 1, "WebM cannot hold hevc"),
        ("crf = 18", "out.mp4 --format nut", 2, "--format is for stdout"),
        ("crf = 18", "out.mkv --codec ffv1 --encode-preset web", 2, "leave one out"),
        ("crf = 60", "no/such/folder.mp4", 1, "is not a folder"),
        ('codec = "libx256"', "out.mkv", 1, "no encoder 'libx256'"),
        ('pix-fmt = "yuv42"', "out.mkv", 2, "no such pixel format"),
        ('codec = "ffv1"\nencode-preset = "web"', "out.mkv", 2, "leave one out"),
    ],
)
def test_typed_options_and_invalid_settings_are_errors(
    vsr: Vsr, video: Path, line: str, typed: str, status: int, words: str
) -> None:
    settings(line)
    vsr("upscale", video, *typed.split(), *BICUBIC, "--dry-run").fails(status, words)


def test_settings_of_videos_are_not_for_images(planned: Callable[..., dict[str, Any]], video: Path) -> None:
    settings('codec = "libx265"', "crf = 18")
    plan = planned(video, "out/%03d.png")
    assert plan["codec"] == "png"
    assert not any("--crf" in notice for notice in plan["notices"])
    typed = planned(video, "out/%03d.png", "--crf", "18")
    assert any(notice.startswith("--crf: for videos") for notice in typed["notices"])


def test_settings_that_do_not_apply_in_a_pipe(video: Path) -> None:
    media.run_ffmpeg("-i", video, "video.y4m")
    settings('codec = "libx265"', "crf = 18", 'model = "bicubic"', "fps = 24")
    with Path("video.y4m").open("rb") as stdin, Path("out.y4m").open("wb") as stdout:
        command = [sys.executable, "-m", "vsrcli", "upscale", "-", "-"]
        done = subprocess.run(
            command, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, env=environment(), check=False
        )
    assert done.returncode == 0, done.stderr.decode()
    with Path("out.y4m").open("rb") as file:
        assert len(list(Y4mReader(file.read, "out.y4m"))) == 12


def test_a_table_of_higher_precedence_removes_what_it_excludes(
    planned: Callable[..., dict[str, Any]], video: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    """A profile precedes the plain table, the environment both, typed options all."""
    Path("vsr.toml").write_text(
        '[upscale]\nsize = "320x240"\nmodel = "lanczos"\ncodec = "ffv1"\n'
        '[profile.quick.upscale]\nscale = 3\npreset = "fast"\nencode-preset = "av1"\n'
    )
    shown = vsr("--profile", "quick", "config", "show", "upscale", "--json")
    options = {row["option"]: row["value"] for row in json.loads(shown.out)["options"]}
    assert options == {"scale": "3", "preset": "fast", "encode-preset": "av1"}
    run = vsr("upscale", video, "out.mkv", "--dry-run", "--progress", "json")
    plan = json.loads(run.err.splitlines()[0])
    assert (plan["target_size"], plan["model"], plan["codec"]) == ([320, 240], "lanczos-x4", "ffv1")
    monkeypatch.setenv("VSR_UPSCALE_HEIGHT", "144")
    assert json.loads(
        vsr("upscale", video, "out.mkv", "--dry-run", "--progress", "json").err.splitlines()[0]
    )["target_size"] == [192, 144]
    assert planned(video, "out.mkv")["target_size"] == [128, 96]


def test_a_comparison_takes_settings_of_its_kind(vsr: Vsr, video: Path, folder: Path) -> None:
    lines = ('layout = "split"', "zoom = 2", 'codec = "ffv1"', "crf = 18", "json = true", "at = [0.1, 0.2]")
    for target, count, line in (
        ("page.html", 2, "no-labels = true"),
        ("split.mkv", 2, 'labels = "before, after"'),
        ("still.png", 3, 'labels = "before, after"'),
    ):
        settings(*lines, line, command="compare")
        run = vsr("compare", *[video] * count, "-o", target)
        assert run.status == 0, run.err
        assert Path(target).is_file()
    with av.open("split.mkv") as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.width) == ("ffv1", 128)
    vsr("compare", video, video, "-o", "other.html", "--zoom", "2").fails(
        2, "--zoom is for a video or an image"
    )
    vsr("compare", video, video, "-o", "other.mkv", "--at", "0.1").fails(2, "--at is a time of an image")


def test_measurements_take_settings_of_their_kind(vsr: Vsr, folder: Path) -> None:
    (folder / "clips").mkdir()
    media.run_ffmpeg(*media.moving_pattern(5), folder / "clips" / "one.mkv")
    settings('phase = "zero"', 'truth = "elsewhere"', "crf = [23]", command="evaluate")
    run = vsr("evaluate", "clips", "-m", "bicubic", "--degrade", "video", "--json", "figures.json")
    assert run.status == 0, run.err
    vsr("evaluate", "clips", "-m", "bicubic", "--phase", "zero").fails(2, "add --degrade none")
    settings("frames = 6", command="bench")
    bench = ("bench", "-m", "bicubic", "--size", "64x48", "--json", "-q")
    run = vsr(*bench, "--seconds", "0.1")
    assert run.status == 0, run.err
    assert json.loads(run.out)["network"]["frames"] == 3
    vsr(*bench, "--seconds", "0.1", "--frames", "3").fails(2, "leave one of them out")


def test_settings_of_the_commands_of_a_group(vsr: Vsr, video: Path, folder: Path) -> None:
    """Each has a table of its own; what is unknown in it is named, not passed over."""
    settings('area = "32x32"', "areas = 1", command="dataset.build")
    shown = json.loads(vsr("config", "show", "dataset", "--json").out)["options"]
    assert {(row["command"], row["option"], row["value"]) for row in shown} == {
        ("dataset build", "area", "32x32"),
        ("dataset build", "areas", "1"),
    }
    assert {row["from"] for row in shown} == {"vsr.toml [dataset.build]"}
    settings('area = "0x0"', command="dataset.build")
    vsr("dataset", "build", folder, folder / "set").fails(2, "vsr.toml [dataset.build]: area")
    settings("aria = 1", command="dataset.build")
    vsr("dataset", "build", folder, folder / "set").fails(2, "`vsr dataset build` has no option 'aria'")
    settings("area = 1", command="dataset.biuld")
    vsr("dataset", "build", folder, folder / "set").fails(
        2, "[dataset.biuld]: no such command", "build, info"
    )
    settings("crf = 1", command="upscale.dark")
    vsr("upscale", video, "out.mkv").fails(2, "[upscale.dark]: no such command")
    settings("area = 1", command="dataset")
    vsr("dataset", "info", folder).fails(2, "`vsr dataset` has no option 'area'")


def test_settings_in_a_folder_that_cannot_be_searched_are_none(
    vsr: Vsr, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the home folder of another user, whom a service was started by."""
    look_up = Path.stat

    def denied(path: Path, **options: Any) -> os.stat_result:
        if folder / "home" in path.parents:
            raise PermissionError(13, "Permission denied", str(path))
        return look_up(path, **options)

    monkeypatch.delenv("VSR_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *names, **options: folder / "home" / "vsr")
    monkeypatch.setattr(Path, "stat", denied)
    settings("crf = 17")
    shown = vsr("config", "show")
    assert (shown.status, shown.err) == (0, "")
    assert "upscale --crf  17" in shown.out
    assert "does not exist" in vsr("config", "path").out


def test_variables_are_named_as_options_are_typed(
    vsr: Vsr, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``--gpu`` is ``VSR_UPSCALE_GPU``, although its parameter has another name, which goes on working."""

    def shown() -> dict[str, dict[str, Any]]:
        rows = json.loads(vsr("config", "show", "upscale", "--json").out)["options"]
        return {row["option"]: row for row in rows}

    monkeypatch.setenv("VSR_UPSCALE_ENCODER_OPTION", "tune=grain")
    assert shown()["encoder-option"]["value"] == ["tune=grain"]
    monkeypatch.setenv("VSR_UPSCALE_DEVICE", "6")
    assert (shown()["gpu"]["value"], shown()["gpu"]["from"]) == (["6"], "environment, VSR_UPSCALE_DEVICE")
    monkeypatch.setenv("VSR_UPSCALE_GPU", "7")
    assert (shown()["gpu"]["value"], shown()["gpu"]["from"]) == (["7"], "environment, VSR_UPSCALE_GPU")
    monkeypatch.setenv("VSR_DATASET_BUILD_AREA", "0x0")
    refused = vsr("dataset", "build", video.parent, "set")
    assert (refused.status, "--area" in refused.err) == (2, True)


def test_variables_are_shown_by_a_program_that_has_just_started() -> None:
    shown = json.loads(complete(spawn("config", "show", "upscale", "--json", VSR_UPSCALE_GPU="7")).out)
    assert [(row["option"], row["value"], row["from"]) for row in shown["options"]] == [
        ("gpu", ["7"], "environment, VSR_UPSCALE_GPU")
    ]


def test_variables_ask_for_no_help_and_no_version(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scripts and images of containers set ``VSR_VERSION`` for themselves."""
    for name in ("VERSION", "HELP", "_CLICK_DEFAULT_HELP", "MODELS_HELP", "MODELS__CLICK_DEFAULT_HELP"):
        monkeypatch.setenv(f"VSR_{name}", "1")
    run = vsr("models", "--json")
    assert (run.status, run.out[:1]) == (0, "["), run.out[:80]
    monkeypatch.setenv("VSR_UPSCALE_VERBOSE", "1")
    rows = json.loads(vsr("config", "show", "upscale", "--json").out)["options"]
    assert [row["value"] for row in rows if row["option"] == "verbose"] == ["1"]


def test_all_defaults_are_shown_by_any_spelling(vsr: Vsr, folder: Path) -> None:
    settings("overlap = 16", "tile_pad = 8")
    shown = json.loads(vsr("config", "show", "--all", "--json").out)["options"]
    rows = {(row["command"], row["option"]): row for row in shown}
    assert rows["upscale", "tile-pad"]["from"] == "vsr.toml [upscale]"
    assert rows["upscale", "codec"]["value"] is None
    assert rows["dataset build", "frames"]["value"] == 32
    assert "Sentinel" not in json.dumps(shown)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("batch", 'json = "report.json"'),
        ("evaluate", 'html = "page.html"'),
        ("evaluate", "card = true"),
        ("upscale", 'log = "log.txt"'),
        ("upscale", 'encoder-option = ["stats=stats.txt"]'),
        ("upscale", 'cluster = "192.0.2.1:6379"'),
        ("train", 'run = "runs"'),
        ("serve", 'host = "0.0.0.0"'),
        ("serve", "keep = 1"),
        ("compare", 'output = "page.html"'),
        ("completion", "install = true"),
    ],
)
def test_the_current_folder_chooses_no_files_to_write_and_no_network(
    vsr: Vsr, video: Path, folder: Path, command: str, line: str
) -> None:
    settings(line, command=command)
    arguments = {"batch": [video, "out"], "upscale": [video, "out.mkv"], "evaluate": ["."], "train": ["."]}
    arguments["compare"] = [video, video]
    vsr(command, *arguments.get(command, [])).fails(2, "may have come from anywhere", f"vsr.toml [{command}]")
    assert [path.name for path in folder.iterdir()] == ["vsr.toml"]
