"""Videos that show their pictures more than once, through networks that remember and that do not."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, upscale
from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.inference.selection import choose_models, open_engine
from vsrcli.pipeline import pieces
from vsrcli.pipeline.plan import PlanRules

DRAWINGS = 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``ones.mkv``, drawings of a moving pattern, and ``twos.mkv``, each shown twice, lossless."""
    folder = tmp_path_factory.mktemp("repeats")
    pattern = media.moving_pattern(DRAWINGS, rate="25")
    noise = ("-vf", "noise=alls=30:all_seed=7:allf=t")  # so that everything moves
    media.run_ffmpeg(*pattern, *noise, "-c:v", "ffv1", folder / "ones.mkv")
    media.run_ffmpeg("-i", folder / "ones.mkv", "-vf", "fps=50", "-c:v", "ffv1", folder / "twos.mkv")
    return folder


def frames_of(path: Path) -> np.ndarray:
    raw = path.with_suffix(".rgb")
    media.run_ffmpeg("-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", raw)
    return np.fromfile(raw, np.uint8).reshape(-1, 96, 128, 3)


def upscaled(source: Path, target: Path, weights: Path, **options: object) -> tuple[np.ndarray, int]:
    """Return the frames of a result, and how many of them were not computed."""
    encode = EncodeOptions(codec="ffv1", overwrite=True)
    chosen = Options(Fraction(2), str(weights), device="cpu", encode=encode, **options)  # type: ignore[arg-type]
    result = upscale(source, target, chosen)
    frames = frames_of(target)
    assert result.frames == len(frames)
    return frames, result.reused_frames


@pytest.mark.parametrize("options", [{}, {"segment": 7}, {"segment": "shots"}, {"tile": 40, "strength": 0.5}])
def test_a_network_that_remembers_sees_each_drawing_once(
    folder: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    weights = tiny_weights(tmp_path, "recurrent")
    ones, none = upscaled(folder / "ones.mkv", tmp_path / "ones.mkv", weights, **options)
    twos, repeats = upscaled(folder / "twos.mkv", tmp_path / "twos.mkv", weights, **options)
    assert (none, repeats) == (0, DRAWINGS)
    np.testing.assert_array_equal(twos[::2], ones)
    np.testing.assert_array_equal(twos[1::2], ones)


def test_a_network_with_a_window_computes_all(folder: Path, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path, "cached")
    twos, repeats = upscaled(folder / "twos.mkv", tmp_path / "twos.mkv", weights)
    assert repeats == 0
    assert any(not np.array_equal(*pair) for pair in zip(twos[::2], twos[1::2], strict=True))


def test_an_evaluation_leaves_out_the_same(folder: Path, tmp_path: Path) -> None:
    weights = tiny_weights(tmp_path, "recurrent")
    [choice] = choose_models(str(weights), Fraction(2))
    media.run_ffmpeg("-i", folder / "twos.mkv", "-f", "rawvideo", "-pix_fmt", "rgb24", tmp_path / "low")
    low = np.fromfile(tmp_path / "low", np.uint8).reshape(-1, 48, 64, 3)
    engine = open_engine(choice, device="cpu")
    evaluated = np.stack(list(upscale_frames(engine, low, choice.architecture)))
    np.testing.assert_array_equal(evaluated[::2], evaluated[1::2])
    every = np.stack(list(upscale_frames(engine, low)))
    assert not np.array_equal(every[::2], every[1::2])


def test_the_summary_and_the_messages_count_them(
    folder: Path, tmp_path: Path, vsr: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_WEIGHTS", str(tiny_weights(tmp_path, "recurrent").parent))
    options = ("-m", "duf-r-s", "-s", "2", "-g", "cpu")
    run = vsr("upscale", folder / "twos.mkv", tmp_path / "out.mkv", *options)
    assert run.status == 0
    assert f"{DRAWINGS} of {2 * DRAWINGS} frames were repeated and not computed again" in run.err
    run = vsr("upscale", folder / "twos.mkv", tmp_path / "out2.mkv", *options, "--progress", "json")
    assert json.loads(run.err.splitlines()[-1])["repeated"] == DRAWINGS


def test_pieces_count_what_they_show(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what they compute to warm up, nor beyond their ends."""
    rules = PlanRules(Fraction(1, 10), Fraction(1, 10), warmup_frames=4)
    monkeypatch.setattr(pieces, "rules_for", lambda job: rules)
    weights = tiny_weights(tmp_path, "recurrent")
    _, repeats = upscaled(folder / "twos.mkv", tmp_path / "twos.mkv", weights, segment="shots")
    assert repeats == DRAWINGS
