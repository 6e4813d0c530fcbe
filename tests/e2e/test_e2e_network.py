"""A network (tiny, random) through the whole program: shots, tiles, devices, damaged weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inspecting import LOSSLESS, packets, pixels, shots, times

import media_samples as media
from terminal import Outcome, complete, spawn

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]


@pytest.fixture
def network(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_WEIGHTS", str(weights))


@pytest.mark.usefixtures("network")
def test_a_video(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.vfr), tmp_path / "out.mp4"
    done = vsr("upscale", path, target)
    assert (done.status, done.out) == (0, ""), done.err
    assert times(target) == times(path)
    assert packets(target, "audio") == packets(path, "audio")
    engine = next(line for line in done.err.splitlines() if line.startswith("  engine: "))
    assert engine.startswith("  engine: duf-r-x4-video on ")
    assert "(no GPU found), " in engine or "GPU 0" in engine


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("frames", [1, 3])
def test_films_shorter_than_a_window(frames: int, sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.cfr, frames=frames), tmp_path / "out.mp4"
    assert vsr("upscale", path, target).status == 0
    assert times(target) == times(path)


@pytest.mark.usefixtures("network")
def test_no_window_mixes_two_shots(tmp_path: Path, vsr: Vsr) -> None:
    both = shots(tmp_path, "testsrc2", "mandelbrot")
    alone = [shots(tmp_path, "testsrc2"), shots(tmp_path, "mandelbrot")]
    results = []
    for path in (both, *alone):
        target = tmp_path / f"{path.stem}.out.mkv"
        done = vsr("upscale", path, target, *LOSSLESS, "-v")
        assert done.status == 0, done.err
        results.append(pixels(target))
        assert f"shots: {2 if path == both else 1};" in done.err
    np.testing.assert_array_equal(results[0], np.concatenate(results[1:]))
    # the network does look at neighbouring frames: otherwise this would prove nothing
    still = vsr("upscale", alone[0], tmp_path / "one.mkv", *LOSSLESS, "--end", "0.04")
    assert still.status == 0
    assert np.abs(pixels(tmp_path / "one.mkv")[0].astype(int) - results[0][0]).max() > 3


@pytest.mark.usefixtures("network")
def test_tiles_do_not_show(tmp_path: Path, vsr: Vsr) -> None:
    path = shots(tmp_path, "testsrc2", frames=4)
    for name, tile in (("whole", "none"), ("tiled", "32")):
        done = vsr("upscale", path, tmp_path / f"{name}.mkv", *LOSSLESS, "-m", "duf-s", "--tile", tile)
        assert done.status == 0, done.err
        assert ("tiles of" in done.err) == (name == "tiled")
    whole, tiled = (pixels(tmp_path / f"{name}.mkv").astype(int) for name in ("whole", "tiled"))
    assert np.abs(whole - tiled).max() <= 1


def test_as_a_process_by_path(weights: Path, sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    model, keras = weights / "duf-r-x4-video.weights.h5", ("--engine", "keras")
    done = complete(
        spawn("upscale", sample(media.cfr, frames=3), target, "-m", model, "-g", "cpu", "-s", "3", *keras)
    )
    assert (done.status, done.out) == (0, ""), done.err
    assert "engine: duf-r-x4-video on CPU, tensorflow, fp32" in done.err
    ours = (" ", "->", "/", "1", "2", "3")
    assert all(line.startswith(ours) for line in done.err.splitlines()), done.err  # no library's chatter
    assert len(times(target)) == 3


@pytest.mark.usefixtures("network")
def test_a_gpu_that_is_not_there(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", "--gpu", "77").fails(1, "GPU 77", "--gpu cpu")
    assert list(tmp_path.iterdir()) == []


def test_not_a_number(
    make_weights: Callable[..., Path],
    sample: Sample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    vsr: Vsr,
) -> None:
    def spoil(model) -> None:
        model.residual.bias.assign(np.full(model.residual.bias.shape, np.nan))

    monkeypatch.setenv("VSR_WEIGHTS", str(make_weights(spoil)))
    vsr("upscale", sample(media.cfr), tmp_path / "out.mp4").fails(1, "NaN", "--precision fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", ["nonsense", "openvino"])
def test_a_backend_that_is_not_there(
    backend: str, weights: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_WEIGHTS", str(weights))
    child = spawn("upscale", sample(media.cfr), tmp_path / "out.mp4", KERAS_BACKEND=backend)
    complete(child).fails(1, f"Keras cannot start on {backend}", "KERAS_BACKEND")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_damaged(
    weights: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    folder, videos = tmp_path / "weights", tmp_path / "videos"
    shutil.copytree(weights, folder)
    videos.mkdir()
    monkeypatch.setenv("VSR_WEIGHTS", str(folder))
    path = folder / "duf-r-x4-video.weights.h5"
    path.write_bytes(path.read_bytes()[:-1])
    vsr("upscale", sample(media.cfr), videos / "out.mp4").fails(1, "damaged", "duf-r-x4-video")
    card = json.loads((folder / "duf-r-x4-video.json").read_text())
    (folder / "duf-r-x4-video.json").write_text(json.dumps({**card, "architecture": "nonsense"}))
    vsr("upscale", sample(media.cfr), videos / "out.mp4", "--model", path).fails(1, "nonsense")
    assert list(videos.iterdir()) == []
