"""The command ``vsr evaluate``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from clip_samples import frames, write_image_folder, write_video
from PIL import Image

from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.evaluate.protocol import Protocol
from vsrcli.evaluate.tables import Table, model_headings, to_markdown

Vsr = Callable[..., Outcome]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a [1].mp4", 1)
    write_video(folder / "b.mkv", 2)
    (folder / "notes.txt").write_text("not a clip")
    return folder


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)


def rows(text: str) -> list[list[str]]:
    """The cells of a Markdown table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def sections(text: str) -> list[list[list[str]]]:
    """All tables of a document, each checked to be one."""
    tables = [rows(part) for part in text.split("\n\n") if part.startswith("|")]
    for table in tables:
        assert {len(row) for row in table} == {len(table[0])}
        assert all(re.fullmatch(r":--|--:", cell) for cell in table[1])
    return tables


def test_clips_whose_names_differ_by_a_space_have_an_image_each(tmp_path: Path, vsr: Vsr) -> None:
    write_video(tmp_path / "clips" / "my clip.mkv", 1)
    write_image_folder(tmp_path / "clips" / "my-clip", frames(2, 9)[:, :48, :40])
    line = ("evaluate", tmp_path / "clips", "-m", "bicubic", "-m", "lanczos", "--scale", 2, "--crf", "none")
    assert vsr(*line, "--images", tmp_path / "images").status == 0
    assert len(list((tmp_path / "images").iterdir())) == 2


def test_frames_without_error_count_as_a_hundred_decibels(tmp_path: Path, vsr: Vsr) -> None:
    write_image_folder(tmp_path / "flat", np.full((6, 64, 64, 3), 90, np.uint8))
    page = tmp_path / "page.html"
    line = ("evaluate", tmp_path / "flat", "-m", "bicubic", "--scale", 2, "--crf", "none", "--html", page)
    assert vsr(*line).status == 0
    details = re.findall(r"<small>(.*?), whole frame</small>", page.read_text("utf-8"))
    assert details
    assert set(details) == {"100.00 dB"}


def test_one_model(folder: Path, tmp_path: Path, vsr: Vsr) -> None:
    strips, figures = tmp_path / "strips", tmp_path / "figures.json"
    arguments = ["-m", "bicubic", "--frames", "6", "--crf", "none", "--crf", "23", "--crf", "23"]
    result = vsr("evaluate", folder, *arguments, "--json", figures, "--images", strips)
    assert (result.status, result.err) == (0, "")
    for text in (
        "Protocol: x4, centred bicubic",
        "not compressed",
        "H.264 at crf 23",
        "8 pixels cropped",
        "Worst clip",
        "ms per frame",
        "us per low-resolution pixel",
    ):
        assert text in result.out
    for name in ("a [1] ", "b ", "mean "):
        assert sum(line.strip().startswith(name) for line in result.out.splitlines()) == 2
    evaluations = json.loads(figures.read_text())
    assert [evaluation["protocol"]["crf"] for evaluation in evaluations] == [None, 23]
    assert evaluations[0]["mean"]["time"]["model"]["frames"] == 2 * 4
    names = ["a-[1]-bi-x4-crf-23.png", "a-[1]-bi-x4.png", "b-bi-x4-crf-23.png", "b-bi-x4.png"]
    assert sorted(path.name for path in strips.iterdir()) == names


def test_several_models(image_clips: Path, tmp_path: Path, vsr: Vsr) -> None:
    weights = [tiny_weights(tmp_path, kind) for kind in ("cached", "recurrent")]
    models = [word for path in weights for word in ("-m", path)]
    files = [
        "--json",
        tmp_path / "x.json",
        "--markdown",
        tmp_path / "x.md",
        "--images",
        tmp_path / "strips",
    ]
    result = vsr("evaluate", image_clips, *models, *files, "--gpu", "cpu", "--card")
    assert (result.status, result.err) == (0, "")
    evaluations = json.loads((tmp_path / "x.json").read_text())
    assert [evaluation["model"] for evaluation in evaluations] == ["duf-s-x2-video", "duf-r-s-x2-video"]
    assert evaluations[0]["mean"]["bicubic"] == evaluations[1]["mean"]["bicubic"]

    text = (tmp_path / "x.md").read_text()
    summary, further, clips = sections(text)
    assert further[0] == ["method", "flicker codes"]
    by_name = {row[0]: dict(zip(summary[0], row, strict=True)) for row in summary[2:]}
    assert list(by_name) == ["bicubic", "lanczos", "duf-s-x2-video", "duf-r-s-x2-video"]
    for evaluation in evaluations:
        row, mean = by_name[evaluation["model"]], evaluation["mean"]
        assert row["PSNR-Y"] == f"{mean['model']['psnr']:.2f}"
        assert row["SSIM-Y"] == f"{mean['model']['ssim']:.4f}"
        assert row["steady"] == f"{mean['model']['steady']:.2f}"
        assert row["mean gain"] == f"{mean['gain']:+.2f} ±{mean['gain_standard_error']:.2f}"
        assert (row["worst gain"], row["worst clip"]) == (
            f"{evaluation['worst']['gain']:+.2f}",
            evaluation["worst"]["name"],
        )
        assert float(row["ms per frame"]) == pytest.approx(mean["time"]["model"]["ms_per_frame"], rel=0.01)
        card = json.loads((tmp_path / f"{evaluation['model']}.json").read_text())
        assert card["measured"]["bi x2 psnr_y"] == round(mean["model"]["psnr"], 3)
        assert card["measured"]["bi x2 steady"] == round(mean["model"]["steady"], 3)
        assert card["architecture"]
    assert clips[0] == ["clip", "bicubic", "lanczos", "duf-s", "duf-r-s"]
    assert [row[0] for row in clips[2:]] == ["calendar", "city", "**mean**"]
    for column, evaluation in ((3, evaluations[0]), (4, evaluations[1])):
        expected = [f"{clip['model']['psnr']:.2f}" for clip in evaluation["clips"]]
        assert [row[column] for row in clips[2:-1]] == expected
        for value in expected:
            assert value in result.out
    assert Protocol("bi", 2).summary in text
    assert f"```sh\nvsr evaluate {image_clips} -m {weights[0]}" in text
    with Image.open(tmp_path / "strips" / "city-bi-x2.png") as strip:
        width, height = strip.size
    assert width > 4.5 * (height - 60)  # low resolution, bicubic, two models, truth


def test_markdown_on_standard_output_is_the_only_output(image_clips: Path, vsr: Vsr) -> None:
    result = vsr("evaluate", image_clips, "-m", "lanczos", "--markdown", "-", "--crf", "30")
    assert result.status == 0
    assert result.out.startswith("# Measured by vsr ")
    summary, further, clips = sections(result.out)
    for table in (summary, further):
        assert [row[0] for row in table[2:]] == ["bicubic", "lanczos", "lanczos-x4"]
    assert [row[0] for row in clips[2:]] == ["calendar", "city", "**mean**"]
    assert "## bi x4 crf 30" in result.out
    assert "─" not in result.out


def test_odd_names_do_not_break_markdown() -> None:
    table = Table(("clip", "PSNR-Y"), (("a|b", "1"), ("*c* [d]", "2"), ("e_f_g\nh", "3"), ("_i_`j`<k>", "4")))
    cells = rows(to_markdown(table))
    assert [len(row) for row in cells] == [2] * 6
    assert [row[0] for row in cells[2:]] == [
        r"a\|b",
        r"\*c\* \[d\]",
        "e_f_g h",
        r"\_i\_\`j\`\<k>",
    ]


def test_headings_leave_out_what_all_models_share() -> None:
    assert model_headings(["duf-r-s-x4-video", "duf-s-x4-video"]) == ["duf-r-s", "duf-s"]
    assert model_headings(["duf-r-s-x4-video", "duf-s-x4-bi"]) == ["duf-r-s-\nx4-video", "duf-s-x4-\nbi"]
    assert model_headings(["one/duf-s-x4-video", "two/duf-s-x4-video"]) == ["one/duf-s", "two/duf-s"]


def test_video_is_the_same_in_two_runs(image_clips: Path, tmp_path: Path, vsr: Vsr) -> None:
    results = []
    for number in range(2):
        figures = tmp_path / f"{number}.json"
        result = vsr("evaluate", image_clips, "-m", "bicubic", "--degrade", "video", "--json", figures)
        assert result.status == 0
        assert "training preset 'video'" in result.out
        results.append(json.loads(figures.read_text())[0])
    for first, second in zip(results[0]["clips"], results[1]["clips"], strict=True):
        assert {**first, "time": 0} == {**second, "time": 0}
    assert [clip["variant"] for clip in results[0]["clips"]] == [
        Protocol("video", 4).variant(name) for name in ("calendar", "city")
    ]


def test_existing_low_resolution(tmp_path: Path, vsr: Vsr) -> None:
    high = frames(count=6)[:, :64, :96]
    write_image_folder(tmp_path / "HR" / "clip", high)
    write_image_folder(tmp_path / "LR" / "clip", Protocol("bd", 4).degrade(high))
    paired = vsr("evaluate", tmp_path, "-m", "bicubic", "--degrade", "none", "--phase", "zero")
    named = ("--truth", tmp_path / "HR", "--phase", "zero")
    elsewhere = vsr("evaluate", tmp_path / "LR", "-m", "bicubic", "--degrade", "none", *named)
    assert (paired.status, paired.err) == (0, "")
    assert "assumed to lie on the phase-zero grid" in paired.out

    def figures(text: str) -> list[str]:
        return next(line for line in text.splitlines() if line.startswith(" clip ") and "." in line).split()

    assert figures(paired.out) == figures(elsewhere.out)
    wrong = vsr("evaluate", tmp_path, "-m", "bicubic", "--degrade", "none")
    assert wrong.status == 0
    assert "warning: 'clip': on the other pixel grid bicubic comes" in wrong.err
    assert wrong.err.rstrip().endswith("--phase zero")


def test_the_former_name_of_degrade(folder: Path, vsr: Vsr) -> None:
    assert "bd x4" in vsr("evaluate", folder, "-m", "bicubic", "--frames", "5", "--protocol", "bd").out
    assert "--protocol" not in vsr("evaluate", "--help").out
    both = ("--degrade", "bi", "--protocol", "bd")
    vsr("evaluate", folder, "-m", "bicubic", *both).fails(2, "contradict each other")


@pytest.mark.parametrize(
    ("status", "arguments", "words"),
    [
        (2, ["--crf", "60"], ["60"]),
        (2, ["--crf", "x"], ["'x'"]),
        (2, ["--frames", "4"], ["--frames"]),
        (2, ["-s", "5"], ["--scale"]),
        (2, ["--degrade", "yes"], ["--degrade"]),
        (
            2,
            ["--degrade", "video", "--crf", "23"],
            ["--degrade video compresses by itself", "leave --crf 23 out"],
        ),
        (2, ["--degrade", "none", "--card"], ["--card", "--degrade none"]),
        (2, ["--truth", "there"], ["--truth", "add --degrade none"]),
        (2, ["--ffmpeg", "there"], ["--ffmpeg", "add --vmaf"]),
        (2, ["--phase", "zero"], ["--phase", "add --degrade none"]),
        (2, ["--card"], ["--card needs models with weights", "bicubic"]),
        (1, ["--degrade", "none"], ["no folder with pairs", "--truth FOLDER"]),
        (1, ["--json", "no/such/x.json"], ["no such folder"]),
        (1, ["--markdown", "."], ["that is a folder"]),
    ],
)
def test_contradictory_options(
    status: int, arguments: list[str], words: list[str], folder: Path, vsr: Vsr
) -> None:
    vsr("evaluate", folder, "-m", "bicubic", *arguments).fails(status, *words)


def test_clips_that_cannot_be_read(tmp_path: Path, vsr: Vsr) -> None:
    vsr("evaluate").fails(2, "Missing argument 'CLIPS", "vsr evaluate --help")
    vsr("evaluate", tmp_path, "-m", "bicubic").fails(1, "no clip in")
    vsr("evaluate", tmp_path / "gone", "-m", "bicubic").fails(1, "no file or folder")
    write_image_folder(tmp_path / "clip", frames(count=6))
    (tmp_path / "clip" / "Frame 003.png").write_bytes(b"nothing")
    vsr("evaluate", tmp_path, "-m", "bicubic").fails(1, "cannot read", "Frame 003.png", "replace it")


@pytest.mark.usefixtures("narrow")
def test_one_model_on_a_narrow_terminal(folder: Path, vsr: Vsr) -> None:
    """Names and figures are not truncated."""
    lines = vsr("evaluate", folder, "-m", "bicubic", "--frames", "6").out.splitlines()
    assert not any("…" in line for line in lines)
    row = next(line for line in lines if line.strip().startswith("a [1] "))
    assert len(row.split()) == 2 + 8


@pytest.mark.usefixtures("narrow")
def test_many_models_on_a_narrow_terminal(
    folder: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Columns that do not fit follow in another table; no line of a table is too long."""
    weights = tiny_weights(tmp_path, "cached")
    models = []
    for number in range(6):
        copy = tmp_path / f"a-longer-name-{number}-x2-video.weights.h5"
        copy.write_bytes(weights.read_bytes())
        card = weights.with_name(weights.name.replace(".weights.h5", ".json"))
        copy.with_name(f"a-longer-name-{number}-x2-video.json").write_text(card.read_text())
        models += ["-m", copy]
    result = vsr("evaluate", folder / "b.mkv", *models, "--frames", "5", "--gpu", "cpu")
    assert result.status == 0
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in result.out.splitlines()]
    assert not any("…" in line for line in lines)
    tables = [number for number, line in enumerate(lines) if "────" in line]
    assert len(tables) == 4  # means, further measures, and two for the clips
    assert max(len(lines[number]) for number in tables) <= 80
    clip_rows = [line.split() for line in lines if line.strip().startswith("b ")]
    assert sum(len(row) - 3 for row in clip_rows) == 6  # name, bicubic, lanczos, and each model once
    assert sum(line.startswith("Worst clip of a-longer-name-") for line in lines) == 6


def test_the_command_has_help_with_an_example(vsr: Vsr) -> None:
    text = vsr("evaluate", "--help").out
    for example in (
        "vsr evaluate clips/ --crf none --crf 23",
        "--degrade none --truth",
        "Clips in pairs/lr, originals in pairs/hr",
    ):
        assert example in text
