"""``vsr dataset info``: what folders of footage hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from miniatures import frames, write_reds, write_video, write_vimeo
from PIL import Image

from terminal import Outcome

Vsr = Callable[..., Outcome]


def described(vsr: Vsr, folder: Path) -> dict[str, Any]:
    outcome = vsr("dataset", "info", folder, "--json")
    assert outcome.status == 0, outcome.err
    return json.loads(outcome.out)


def test_published_sets(vsr: Vsr, tmp_path: Path) -> None:
    reds = described(vsr, write_reds(tmp_path / "reds"))
    assert (reds["kind"], reds["splits"], reds["frames"]) == ("REDS", {"train": 2, "val": 2}, 36)
    assert reds["sizes"] == {"48x48": 4}
    vimeo = described(vsr, write_vimeo(tmp_path / "vimeo"))
    assert (vimeo["kind"], vimeo["splits"], vimeo["frames"]) == ("Vimeo-90K", {"train": 2, "val": 1}, 21)
    assert vsr("dataset", "info", tmp_path / "reds").out.splitlines()[1] == "4 clips, 36 frames"


def test_a_built_set(vsr: Vsr, tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mp4", frames(0, 8, 144, 192))
    options = (
        "--area",
        "96x96",
        "--frames",
        8,
        "--license",
        "CC0-1.0",
        "--category",
        "nature",
        "-q",
    )
    assert vsr("dataset", "build", video, tmp_path / "set", *options, "--ship").status == 0
    info = described(vsr, tmp_path / "set")
    assert info["kind"] == "built set"
    assert info["frames"] == 8 * info["clips"]
    assert info["sizes"] == {"96x96": info["clips"]}
    assert info["licences"] == {"CC0-1.0": info["clips"]}
    assert info["categories"] == {"nature": info["clips"]}
    assert info["shippable"] == info["clips"]
    assert info["seconds"] == pytest.approx(0.32 * info["clips"])


def test_an_image_that_is_too_large_is_a_problem_of_its_own(
    vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, side in (("panorama", 100), ("photo", 40)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{name}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 50)  # it refuses twice as many
    outcome = vsr("dataset", "info", tmp_path, "--json")
    assert outcome.status == 1
    info = json.loads(outcome.out)
    assert (info["photos"], info["sizes"]) == (1, {"40x40": 1})
    (problem,) = info["problems"]
    assert "panorama.png" in problem
    assert "limit of 5000 pixels" in problem


def test_problems_are_named(vsr: Vsr, tmp_path: Path) -> None:
    root = write_reds(tmp_path / "reds")
    (root / "train_sharp" / "001" / "00000004.png").unlink()
    outcome = vsr("dataset", "info", root)
    assert outcome.status == 1
    assert "00000004" in outcome.err
    (tmp_path / "empty").mkdir()
    vsr("dataset", "info", tmp_path / "empty").fails(1, "empty")
    vsr("dataset", "info", tmp_path / "none").fails(1, "none")
