"""``vsr train`` on a tiny folder: weights, model card, and resuming."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import media_samples as media
from terminal import Outcome, complete, eventually, spawn
from vsrcli.cli.train import relative
from vsrcli.train.checkpoints import locked_run

Vsr = Callable[..., Outcome]
TINY = [
    "--degradation",
    "bi",
    "--batch",
    "1",
    "--crop",
    "8",
    "--frames",
    "7",
    "--save-every",
    "1",
    "--cache",
    "cache",
    "--no-blur",
    "--shippable",
]
STEPS = 45  # all within the warm-up, where the rate does not depend on the length of the run
MANIFEST = """path,source_repo,source_file,licence,ship
footage/a.mp4,them/videos,a.mov,CC-BY-4.0,yes
footage/b.mp4,them/videos,b.mov,CC-BY-4.0,yes
footage/secret.mp4,others/videos,c.mov,all rights reserved,no
footage/photo.jpg,us/photos,p.jpg,CC0-1.0,yes
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with footage, its manifest, and a finished run of STEPS steps in ``unbroken``."""
    root = tmp_path_factory.mktemp("workspace")
    footage = root / "footage"
    footage.mkdir()
    for name, source in (("a", "testsrc2"), ("b", "mandelbrot"), ("secret", "smptebars")):
        encoder = ("-c:v", "libx264", "-preset", "ultrafast")
        media.encoded(
            footage, f"{name}.mp4", "format=yuv420p", encoder, frames=10, size="96x72", source=source
        )
    media.run_ffmpeg(
        *media.moving_pattern(1, size="160x120"), "-update", "1", "-frames:v", "1", footage / "photo.jpg"
    )
    (root / "manifest.csv").write_text(MANIFEST)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        from vsrcli.cli.main import run

        assert run(command(root, "unbroken")) == 0
    return root


def command(workspace: Path, run: str, *more: str) -> list[str]:
    return ["train", str(workspace / "footage"), "--run", run, "--steps", str(STEPS), *TINY, *more]


def network(workspace: Path, run: str) -> list[np.ndarray]:
    with np.load(workspace / run / "checkpoint.npz") as archive:
        return [archive[name] for name in sorted(archive.files) if name.startswith("model")]


def logged(workspace: Path, run: str) -> int:
    log = workspace / run / "log.csv"
    return len(log.read_text().splitlines()) - 1 if log.exists() else 0


def test_the_model_card(workspace: Path) -> None:
    card = json.loads((workspace / "unbroken" / "duf-s-x4-bi.json").read_text())
    assert card["command"] == " ".join(["vsr", "train", "footage", *command(workspace, "unbroken")[2:]])
    assert card["data"] == {"folder": "footage", "clips": 2, "photos": 1, "skipped": 1}
    assert card["licence"] == "Apache-2.0"
    assert card["credits"] == [
        {"source": "them/videos", "licence": "CC-BY-4.0"},
        {"source": "us/photos", "licence": "CC0-1.0"},
    ]
    assert card["training"]["step"] == STEPS
    assert str(workspace) not in json.dumps(card)


def test_a_stopped_run_ends_as_an_unbroken_one(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    killed = spawn(*command(workspace, "broken"), cwd=workspace)
    eventually((workspace / "broken" / "checkpoint.npz").exists, within=60)
    killed.kill()
    assert complete(killed).status == -signal.SIGKILL

    stopped = spawn(*command(workspace, "broken"), cwd=workspace)
    before = logged(workspace, "broken")
    eventually(lambda: logged(workspace, "broken") > before + 1, within=60)
    os.kill(stopped.pid, signal.SIGINT)
    outcome = complete(stopped)
    assert (outcome.status, outcome.out) == (130, "")
    last = outcome.err.splitlines()[-1]
    assert last.startswith("vsr: stopped at step ")
    assert last.endswith(f" of {STEPS}; the same command resumes")
    assert "Traceback" not in outcome.err

    monkeypatch.chdir(workspace)
    outcome = vsr(*command(workspace, "broken"))
    assert outcome.status == 0
    assert "2 clips, 1 photograph, 1 left out by manifest.csv" in outcome.err
    assert f"{STEPS}/{STEPS} steps, loss " in outcome.err
    assert outcome.err.splitlines()[-1] == f"{STEPS} steps done: broken/duf-s-x4-bi.weights.h5"
    for ours, theirs in zip(network(workspace, "broken"), network(workspace, "unbroken"), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_validation_scores_are_printed(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    monkeypatch.chdir(workspace)
    validation = workspace / "validation"
    validation.mkdir()
    encoder = ("-c:v", "libx264", "-preset", "ultrafast")
    media.encoded(validation, "d.mp4", "format=yuv420p", encoder, frames=10, size="96x72", source="testsrc")
    shorter = command(workspace, "scored", "--val", "validation", "--steps", "1", "--precision", "bf16")
    outcome = vsr(*shorter)
    assert outcome.status == 0, outcome.err
    assert "step 1: bi " in outcome.err
    assert " over interpolation" in outcome.err
    card = json.loads((workspace / "scored" / "duf-s-x4-bi.json").read_text())
    assert card["validation"]["bi psnr_y"] > 5
    assert card["training"]["precision"] == "bf16"


def test_a_network_of_another_size(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    monkeypatch.chdir(workspace)
    small = ["--model", "duf-r-s", "--sizes", "width=8,levels=1,blocks=1,head=8", "--frames", "4"]
    outcome = vsr(*command(workspace, "small", "--steps", "1"), *small)
    assert outcome.status == 0, outcome.err
    assert "learns to use its memory over 2 frames only" in outcome.err.replace("\n", " ")
    weights = "small/duf-r-s-x4-bi.weights.h5"
    card = json.loads(Path("small/duf-r-s-x4-bi.json").read_text())
    assert card["options"] == {"width": 8, "levels": 1, "blocks": 1, "head": 8}
    encoder = ("-c:v", "libx264")
    video = media.encoded(workspace, "video.mp4", "format=yuv420p", encoder, frames=3, size="32x24")
    assert vsr("upscale", video, "large.mkv", "-m", weights, "--gpu", "cpu").status == 0
    assert "128x96" in vsr("info", "large.mkv").out


def test_unknown_sizes_are_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    monkeypatch.chdir(workspace)
    refused = command(workspace, "refused")
    vsr(*refused, "--sizes", "levels=1").fails(1, "duf-s has no size 'levels'", "width, blocks, head")
    vsr(*refused, "--sizes", "width").fails(2, "'width'", "width=54,levels=1")
    vsr(*refused, "--sizes", "width=0").fails(1, "duf-s", "width of 1 or more")
    vsr(*refused, "--model", "duf-16l", "--sizes", "depth=20").fails(1, "no depth 20", "16, 28, 52")
    assert not (workspace / "refused").exists()


def test_validation_clips_are_not_for_training(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    monkeypatch.chdir(workspace)
    vsr(*command(workspace, "leaked", "--val", "footage")).fails(1, "a.mp4", "also trained on")
    assert not (workspace / "leaked").exists()


def test_init_starts_from_other_weights(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    monkeypatch.chdir(workspace)
    start = "unbroken/duf-s-x4-bi.weights.h5"
    outcome = vsr(*command(workspace, "further", "--init", start, "--steps", "1", "--degradation", "bd"))
    assert outcome.status == 0, outcome.err
    assert "starting from duf-s-x4-bi.weights.h5; fresh: filters bias" in outcome.err
    card = json.loads((workspace / "further" / "duf-s-x4-bd.json").read_text())
    assert card["init"]["fresh"] == ["filters bias"]


def test_a_run_folder_is_for_one_training(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    """Two would write one log and one checkpoint in turns."""
    monkeypatch.chdir(workspace)
    with locked_run(workspace / "taken"):
        run = vsr("train", "footage", "--run", "taken", "--steps", "1", *TINY)
    assert run.status == 1
    assert "'taken': process" in run.err
    assert "trains in it; stop it first, or choose another --run" in run.err
    assert [path.name for path in (workspace / "taken").iterdir()] == ["lock"]


def test_another_configuration_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    monkeypatch.chdir(workspace)
    vsr(*command(workspace, "unbroken", "--seed", "2")).fails(1, "seed", "--run")


def test_what_cannot_be_trained_is_refused_before_the_footage_is_prepared(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    monkeypatch.chdir(workspace)
    fresh = ("--cache", "fresh")
    again = command(workspace, "unbroken", "--steps", "1", *fresh)
    vsr(*again).fails(2, f"has {STEPS} steps already")
    assert not (workspace / "fresh").exists()
    (workspace / "tiny").mkdir()
    encoder = ("-c:v", "libx264", "-preset", "ultrafast")
    media.encoded(workspace / "tiny", "e.mp4", "format=yuv420p", encoder, frames=10, size="48x24")
    vsr(*command(workspace, "unscored", "--val", "tiny", *fresh)).fails(1, "too small to validate on")
    assert {path.name[0] for path in (workspace / "fresh").rglob("*.npy")} == {"e"}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (["--model", "bicubic"], "duf-s"),
        (["--scale", "5"], "2<=x<=4"),
        (["--frames", "6"], "use 7 or more"),
        (["--val", "nowhere"], "nowhere"),
        (["--steps", "0"], "x>=1"),
        (["--model", "duf-r-s", "--frames", "6"], "use 7 or more"),
        (["--ema", "1"], "0<=x<1"),
        (["--optimizer", "sgd"], "muon"),
    ],
)
def test_usage(change: list[str], word: str, tmp_path: Path, vsr: Vsr) -> None:
    vsr("train", tmp_path, "--run", tmp_path / "run", *change).fails(2, word)


def test_no_footage(tmp_path: Path, vsr: Vsr) -> None:
    vsr("train", tmp_path, "--run", tmp_path / "run").fails(1, "no clip")
    assert not (tmp_path / "run").exists()


def test_paths_in_a_card_are_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(str(tmp_path / "a" / "b")) == "a/b"
    assert relative("/somewhere/else") == "else"
    assert relative("--run=/somewhere/else") == "--run=else"
    assert relative("a b") == "a b"
