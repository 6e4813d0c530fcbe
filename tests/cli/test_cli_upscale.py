"""``vsr upscale``: options, dry run, summary, progress and quiet runs."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

import media_samples as media
from terminal import Outcome
from vsrcli.cli import progress, upscale
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.pipeline.options import Options

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("--model", "bicubic")


def test_defaults_are_those_of_the_library(monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    requested: list[Options] = []

    def store(source: Path, target: Path, options: Options) -> None:
        requested.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(upscale, "prepare_job", store)
    vsr("upscale", "in.mp4", "out.mp4")
    assert requested == [Options()]


def test_every_option_is_passed_on(monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    requested: list[Options] = []

    def store(source: Path, target: Path, options: Options) -> None:
        requested.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(upscale, "prepare_job", store)
    line = (
        "-s 2.5 -m duf-16l -t 128 --tile-pad 8 -g 1 --precision fp16 --codec hevc --crf 20.5 "
        "-e preset=slow --pix-fmt yuv444p -e tune=grain -e g=12 --start 1:02 --end 0:01:02.5 "
        "--fps 24000/1001 --no-deinterlace --ffmpeg /opt/ffmpeg -y --segment 240 --no-resume --keep-going "
        "--max-memory 1.5G"
    )
    vsr("upscale", *line.split(), "in.mp4", "out.mp4")
    from fractions import Fraction

    encode = EncodeOptions(
        codec="hevc",
        crf=20.5,
        pix_fmt="yuv444p",
        extra=(("preset", "slow"), ("tune", "grain"), ("g", "12")),
        overwrite=True,
    )
    assert requested == [
        Options(
            scale=Fraction(5, 2),
            model="duf-16l",
            tile=128,
            overlap=8,
            device="1",
            precision="fp16",
            encode=encode,
            start=Fraction(62),
            end=Fraction(125, 2),
            fps=Fraction(24000, 1001),
            deinterlace=False,
            segment=240,
            resume=False,
            keep_going=True,
            max_memory=3 * 2**29,
            ffmpeg="/opt/ffmpeg",
        )
    ]


def test_dry_run_shows_the_plan_and_writes_nothing(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    result = vsr("upscale", sample(media.rich), target, *BICUBIC, "-s", "2.5", "-t", "32", "--dry-run")
    assert (result.status, result.out) == (0, "")
    for words in (
        f"-> {target}: libx264 yuv420p 160x120, MP4, with 2 audio, 2 chapters",
        "#1 audio aac: copied",
        "#3 subtitle subrip: converted",
        "note: subtitle #3",
        "model: bicubic-x3",
        "x2.5: the network's x3, then resampled to 160x120",
        "tiles of",
        "memory: about",
        "frames: 24",
        "segments: 239 frames each on a CPU",
        "dry run: nothing was written",
    ):
        assert words in result.err
    assert list(tmp_path.iterdir()) == []


def test_dry_run_of_a_time_range(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    result = vsr(
        "upscale", sample(media.cfr), tmp_path / "o.mp4", *BICUBIC, "-n", "--start", "0.25", "--end", "1:00"
    )
    assert "from 0.25 s to 60 s" in result.err


def test_the_summary_comes_first_and_the_result_last(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    path, target = sample(media.cfr), tmp_path / "out.mp4"
    result = vsr("upscale", path, target, *BICUBIC, "-s", "2")
    assert (result.status, result.out) == (0, "")
    lines = result.err.splitlines()
    assert lines[0].startswith(f"{path}: h264 yuv420p 64x48, 23.976 fps, 12 frames")
    assert lines[1] == f"-> {target}: libx264 yuv420p 128x96, MP4, with 1 audio"
    assert "  engine: bicubic interpolation on CPU, fp32" in lines
    assert lines[-2].startswith("12/12 frames, ")
    assert lines[-1].startswith("12 frames in ")
    assert lines[-1].endswith(f" fps): {target}")
    assert "\x1b" not in result.err


def test_verbose_names_ffmpeg_and_streams(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    result = vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", *BICUBIC, "-v")
    assert "  ffmpeg: " in result.err
    assert "#1 audio aac: copied" in result.err
    assert "shots: 1" in result.err
    assert "timings: starting the network " in result.err
    started = result.err.count("\n  $ /") + result.err.startswith("  $ /")
    assert started == 5  # trial of a segment and of concatenating it, decoder, segment, concatenation
    assert " $ /" not in vsr("upscale", sample(media.cfr), tmp_path / "two.mp4", *BICUBIC).err


def test_quiet_prints_nothing(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    assert vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", *BICUBIC, "-q") == Outcome(0, "", "")
    vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", *BICUBIC, "-q").fails(1, "exists", "--overwrite")


def test_lines_come_at_intervals_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with progress.PlainProgress("frames") as lines:
        for done in range(1, 13):
            now[0] += 1
            lines.update(done, 12, "x")
    assert capsys.readouterr().err == "5/12 frames, x\n10/12 frames, x\n12/12 frames, x\n"


def test_a_bar_on_a_terminal() -> None:
    console = Console(force_terminal=True, width=100, record=True, file=io.StringIO())
    with console.file, progress.make_progress(console, "frames") as bar:
        assert isinstance(bar, progress.BarProgress)
        bar.print_line("a [line] that stays")
        bar.update(6, 12, "1.5 fps")
        bar.update(14, 12, "1.5 fps")  # more than the container stated
        bar.update(14, None, "1.5 fps")
    assert "a [line] that stays" in console.export_text()


def test_clock() -> None:
    assert [progress.format_duration(s) for s in (0.2, 59.6, 61, 3600 + 62)] == [
        "0:00",
        "1:00",
        "1:01",
        "1:01:02",
    ]
