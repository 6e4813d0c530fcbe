"""``vsr models`` and ``vsr info``."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome, environment
from vsrcli.cli.models import quality
from vsrcli.inference.selection import find_models
from vsrcli.models.architectures import ARCHITECTURES

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
CARD = {
    "architecture": "duf-s",
    "options": {"width": 8, "blocks": 1, "head": 8},
    "scale": 3,
    "degradation": "video",
    "sha256": "0" * 64,
    "parameters": 1234567,
    "licence": "Apache-2.0",
    "validation": {"bi psnr_y": 30.123, "bi gain_db": 0.815, "bi ssim_y": 0.9},
}


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has added models; those of packages are in test_models_command.py."""
    monkeypatch.setenv("VSR_MODELS", str(tmp_path / "library"))
    monkeypatch.setattr("vsrcli.models.packaged._PACKAGES", ())


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a card; the weight file is not read before a run."""
    (tmp_path / "mine.weights.h5").write_bytes(b"")
    (tmp_path / "mine.json").write_text(json.dumps(CARD))
    monkeypatch.setattr("vsrcli.models.weights.weight_folders", lambda: [tmp_path])
    return tmp_path


@pytest.mark.usefixtures("weights")
def test_the_table(vsr: Vsr) -> None:
    result = vsr("models")
    assert (result.status, result.err) == (0, "")
    mine = next(line for line in result.out.splitlines() if line.startswith("mine "))
    for words in ("3", "video", "7", "1.23M", "bi 30.12 dB (+0.81)", "Apache-2.0"):
        assert words in mine
    for name in ARCHITECTURES:
        assert name == "duf-s" or f"\n{name} " in result.out
    assert "no weights: train with vsr train" in result.out


def test_the_table_on_a_narrow_terminal(vsr: Vsr, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names and scores are not broken; what matters less is left out."""
    for name, value in {"FORCE_COLOR": "1", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    (weights / "mine.weights.h5").rename(weights / "duf-s-x3-video.weights.h5")
    (weights / "mine.json").rename(weights / "duf-s-x3-video.json")
    lines = re.sub(r"\x1b\[[\d;]*m", "", vsr("models").out).splitlines()
    mine = next(line for line in lines if line.startswith("duf-s-x3-video "))
    assert mine.rstrip().endswith("bi 30.12 dB (+0.81)")
    assert max(map(len, lines)) <= 80
    assert not any("Apache-2.0" in line for line in lines)


def test_json(vsr: Vsr, weights: Path) -> None:
    entries = json.loads(vsr("models", "--json").out)
    by_name = {entry["name"]: entry for entry in entries}
    assert by_name["mine"]["card"] == CARD
    assert by_name["mine"]["weights"] == str(weights / "mine.weights.h5")
    assert by_name["mine"]["usable"] is True
    assert by_name["duf-52l"]["usable"] is False
    assert by_name["bicubic"]["usable"] is True
    assert (
        by_name["duf-16l"]["multiply_adds_per_lr_pixel"] > 10 * by_name["mine"]["multiply_adds_per_lr_pixel"]
    )


def test_a_broken_card_is_named_and_does_not_stop_the_others(weights: Path) -> None:
    (weights / "broken.weights.h5").write_bytes(b"")
    (weights / "broken.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "vsrcli", "models"],
        env=environment(VSR_WEIGHTS=str(weights)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "broken.json" in done.stderr
    assert "mine" in done.stdout


def test_odd_cards_are_named_and_do_not_stop_the_others(
    vsr: Vsr, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd: dict[str, object] = {
        "degradation": 5,
        "look": 5,
        "licence": 5,
        "measured": "none",
        "validation": [30.1],
        "parameters": "18k",
        "options": {"width": 16.5},
        "scale": 2.7,
        "phase": 0,
    }
    cards: dict[str, object] = {f"odd-{name}": CARD | {name: value} for name, value in odd.items()}
    for name in ("degradation", "sha256", "architecture", "scale"):
        cards[f"without-{name}"] = {key: value for key, value in CARD.items() if key != name}
    for name, card in {**cards, "list": [CARD]}.items():
        (weights / f"{name}.weights.h5").write_bytes(b"")
        (weights / f"{name}.json").write_text(json.dumps(card))
    (weights / "plain.weights.h5").write_bytes(b"")
    (weights / "plain.json").write_text(
        json.dumps(CARD | dict.fromkeys(("measured", "parameters", "look", "licence", "phase")))
    )
    with caplog.at_level(logging.WARNING):
        result = vsr("models", "--json")
    assert result.status == 0
    names = {entry["name"] for entry in json.loads(result.out) if entry["weights"]}
    assert names == {"mine", "plain"}
    for name in cards:
        reason = {"odd-options": "option 'width' is '16.5'"}.get(name, f"'{name.partition('-')[2]}' is ")
        assert any(f"{name}.json" in text and reason in text for text in caplog.messages)
    assert {each.name for each in find_models("duf-s", Fraction(3))} <= names


def test_a_weights_folder_that_is_not_there(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package's own weights must not replace them silently."""
    monkeypatch.setenv("VSR_WEIGHTS", "/nowhere/weights")
    vsr("models").fails(1, "VSR_WEIGHTS", "/nowhere/weights")
    vsr("upscale", "in.mp4", "out.mp4").fails(1, "VSR_WEIGHTS", "/nowhere/weights")


def test_quality_as_text() -> None:
    assert quality(None) == ""
    assert (
        quality({"bi psnr_y": 30.0, "bd psnr_y": 29, "bd gain_db": -0.5})
        == "bi 30.00 dB\nbd 29.00 dB (-0.50)"
    )
    assert quality({"vmaf": 93.5}) == "vmaf 93.5"


def test_info(vsr: Vsr, sample: Sample) -> None:
    path = sample(media.rich)
    result = vsr("info", path)
    assert (result.status, result.err) == (0, "")
    for words in (
        str(path),
        "64x48",
        "24000/1001 = 23.976",
        "#1, aac, mono, 48000 Hz, eng",
        "deu, Kommentar",
        "fra",
    ):
        assert words in result.out
    assert "Opening; part = 1" in result.out
    assert "A tiny video" in result.out


def test_info_as_json_is_exact(vsr: Vsr, sample: Sample) -> None:
    found = json.loads(vsr("info", "--json", sample(media.rotated, degrees=90)).out)
    assert found["video"]["frame_rate"] == "24000/1001"
    assert found["video"]["time_base"] == "1/24000"
    assert (found["video"]["width"], found["video"]["rotation"]) == (48, 90)
    assert found["other_streams"] == []


def test_info_of_no_video(vsr: Vsr, tmp_path: Path) -> None:
    vsr("info", tmp_path / "none.mp4").fails(1, "none.mp4", "does not exist")
    (tmp_path / "text.mp4").write_text("hello " * 1000)
    vsr("info", tmp_path / "text.mp4").fails(1, "text.mp4")


def test_a_closed_pipe_is_no_error() -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "vsrcli", "models", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert child.stdout is not None
    child.stdout.close()
    _, err = child.communicate(timeout=30)
    assert err == b""
