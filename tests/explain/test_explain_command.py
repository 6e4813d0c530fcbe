"""``vsr explain``: a page and a picture for every kind of model, numbers, and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import media_samples as media
import torch_samples as torch
from onnx_samples import upscaler
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.compare.page_parts import csp_hash

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
AT = "0.3"


@pytest.fixture
def video(sample: Sample) -> Path:
    return sample(media.cfr, audio=False)


@pytest.fixture
def explain(video: Path, tmp_path: Path, vsr: Vsr) -> Callable[..., Any]:
    """Run it with options and return its numbers."""

    def run(*options: object) -> dict[str, Any]:
        done = vsr("explain", video, "--at", AT, "-o", tmp_path / "out.html", "--json", *options)
        assert done.status == 0, done.err
        return json.loads(done.out)

    return run


def check_files(found: dict[str, Any]) -> str:
    """Check that the page fetches nothing, runs nothing, and is styled; return its text."""
    text = Path(found["page"]).read_text("utf-8")
    assert not re.search(r"https?://|<script|\son\w+=|\sstyle=|@import|url\(", text)
    style = re.search(r"<style>(.*)</style>", text, re.DOTALL)
    assert style is not None
    assert csp_hash(style[1]) in text
    assert re.findall(r'src="(\w+):', text).count("data") == text.count("<img")
    with Image.open(found["picture"]) as image:
        assert image.width == 1520
        assert image.height > 600
    return text


def test_a_windowed_network(explain: Any, video: Path, tmp_path: Path) -> None:
    found = explain("-m", tiny_weights(tmp_path, "cached"), "--pixel", "30,20", "--layer", "fuse1")
    assert found["file"] == str(video)
    assert found["agrees"]
    assert found["difference_steps"] < 0.01
    assert found["has_filters"]
    [pixel] = found["pixels"]
    assert (pixel["x"], pixel["y"], pixel["kind"], pixel["output"]) == (30, 20, "named", [60, 40, 2, 2])
    assert pixel["frames"] == [-3, -2, -1, 0, 1, 2, 3]
    filters = np.array(pixel["filters"])
    assert filters.shape == (4, 25)
    np.testing.assert_allclose(filters.sum(axis=1), 1, atol=1e-3)
    assert sum(pixel["gradient"]) == pytest.approx(1, abs=1e-3)
    middle = pixel["occlusion_by_mean"][3]
    assert all(0 < change < middle for offset, change in enumerate(pixel["occlusion_by_mean"]) if offset != 3)
    assert pixel["memory"] == []
    assert found["shown_layers"] == ["fuse1"]
    assert {"encode", "fuse1", "head", "filters", "residual"} <= set(found["layers"])
    text = check_files(found)
    assert "30,20 of the source" in text
    assert text.count("<article") == 1


def test_a_recurrent_network(explain: Any, tmp_path: Path) -> None:
    found = explain(
        "-m", tiny_weights(tmp_path, "recurrent"), "--at", "0.4", "--history", "4", "--pixel", "30,20"
    )
    assert found["agrees"]
    [pixel] = found["pixels"]
    assert len(pixel["memory"]) == 4
    assert pixel["memory"][:3] == pixel["occlusion_by_mean"][2::-1]  # these lie in the window
    assert 0 < pixel["memory"][3] < pixel["memory"][0]  # beyond the window: through the memory alone
    assert "Memory, frames 1 to 4 back" in check_files(found)


def test_a_network_without_filters(explain: Any, tmp_path: Path) -> None:
    found = explain("-m", tiny_weights(tmp_path, "fast"), "--history", "2")
    assert found["agrees"]
    assert not found["has_filters"]
    assert any("2 frames before on" in note for note in found["notes"])
    assert [pixel["kind"] for pixel in found["pixels"]][:2] == ["edge", "texture"]
    assert all(pixel["filters"] is None for pixel in found["pixels"])
    assert all(pixel["gradient"] for pixel in found["pixels"])
    assert "No dynamic filters" in check_files(found)


def test_somebody_elses_network_in_keras(explain: Any, tmp_path: Path) -> None:
    path = torch.write_pth(tmp_path / "compact.pth", torch.natural(torch.compact(2)))
    found = explain("-m", path, "--pixel", "30,20")
    assert found["agrees"]
    assert found["pixels"][0]["frames"] == [0]
    assert found["pixels"][0]["gradient"] == [1.0]
    assert found["shown_layers"]
    assert any("one frame is all" in note for note in found["notes"])
    check_files(found)


def test_onnx_has_no_gradients_and_no_layers(explain: Any, video: Path, tmp_path: Path, vsr: Vsr) -> None:
    path = upscaler(tmp_path / "net.onnx")
    found = explain("-m", path, "--pixel", "30,20")
    assert found["agrees"]
    assert found["pixels"][0]["gradient"] is None
    assert found["layers"] == []
    assert any("no gradients and no layers: Keras does not run ONNX" in note for note in found["notes"])
    assert "Influence by occlusion" in check_files(found)
    done = vsr("explain", video, "--at", AT, "-m", path, "--layer", "conv", "-o", tmp_path / "other.html")
    done.fails(2, "--layer conv", "Keras does not run ONNX")


def test_onnx_of_one_frame_size(explain: Any, tmp_path: Path) -> None:
    path = upscaler(tmp_path / "fixed.onnx", shape=(1, 3, 32, 32))
    found = explain("-m", path, "--pixel", "30,20")
    assert found["agrees"]
    assert max(found["region"][2:]) < 32
    assert found["pixels"][0]["occlusion_by_mean"][0] > 0


@pytest.mark.parametrize("name", ["sr-unet", "convlstm"])
def test_networks_of_the_course_projects(name: str, explain: Any, tmp_path: Path) -> None:
    """One reads sides that are multiples of eight, the other has a state and no window."""
    found = explain("-m", tiny_weights(tmp_path, name), "--pixel", "31,21", "--history", "3")
    assert found["agrees"]
    [pixel] = found["pixels"]
    assert pixel["gradient"] == [1.0]
    assert found["shown_layers"]
    assert bool(pixel["memory"]) == (name == "convlstm")
    assert all(change > 0 for change in pixel["memory"])


def test_interpolation(explain: Any) -> None:
    found = explain("-m", "lanczos", "--scale", "3", "--pixel", "0,0")
    assert found["agrees"]
    assert found["pixels"][0]["output"] == [0, 0, 3, 3]
    check_files(found)


def test_a_network_that_is_called_in_another_way(
    explain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It loses gradients and layers, and nothing else."""
    import keras

    from vsrcli.explain import networks

    frame = keras.Input((None, None, 3))
    strange = keras.Model(frame, keras.layers.Conv2D(3, 3)(frame))
    monkeypatch.setattr(networks, "_build", lambda choice: strange)
    found = explain("-m", tiny_weights(tmp_path, "cached"), "--pixel", "30,20")
    assert found["agrees"]
    assert found["pixels"][0]["gradient"] is None
    assert found["pixels"][0]["occlusion_by_mean"][3] > 0
    assert any("Keras" in note for note in found["notes"])


def test_the_sum_is_what_upscale_writes(video: Path, tmp_path: Path, vsr: Vsr, ffmpeg: Any) -> None:
    from fractions import Fraction

    from vsrcli.explain.analysis import explain_moment
    from vsrcli.explain.moment import read_moment
    from vsrcli.explain.networks import open_networks
    from vsrcli.inference.selection import choose_models

    model = tiny_weights(tmp_path, "recurrent")
    done = vsr("upscale", video, tmp_path / "%03d.png", "-m", model, "--scale", 2, "--precision", "fp32")
    assert done.status == 0, done.err
    written = sorted(tmp_path.glob("*.png"))
    moment = read_moment(video, Fraction(7, 24), before=20, after=8, ffmpeg=ffmpeg, leave_out_repeats=True)
    assert moment.begins_shot
    examined = open_networks(choose_models(str(model), Fraction(2))[0])
    found = explain_moment(examined, moment, positions=[(30, 20)], history=20)
    with Image.open(written[7]) as image:
        expected = np.asarray(image.convert("RGB"), np.float32)
    assert np.abs(np.rint(255 * found.sum) - expected).max() <= 1
    assert moment.repeats
    assert any("the one before, as in `vsr upscale` with" in note for note in found.notes)


def test_large_frames_are_shown_in_part(
    explain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, vsr: Vsr
) -> None:
    from vsrcli.explain import analysis

    monkeypatch.setattr(analysis, "MAX_REGION", 32 * 24)
    model = tiny_weights(tmp_path, "cached")
    found = explain("-m", model, "--pixel", "60,40")
    assert found["region"] == [32, 24, 32, 24]
    assert found["agrees"]  # the region has context around it
    far = vsr(
        *("explain", video, "--at", AT, "-m", model, "-o", tmp_path / "far.png"),
        *("--pixel", "0,0", "--pixel", "60,0"),
    )
    far.fails(2, "further apart", "32x24")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--at", "99"), ("--at 99", "beyond", "ends at 0.5005 s")),
        (("--at", "0.501"), ("--at 0.501", "beyond")),
        (("--at", "soon"), ("'soon' is no time",)),
        (("--pixel", "64,0"), ("--pixel 64,0", "columns 0 to 63 and rows 0 to 47")),
        (("--pixel", "-1,0"), ("'-1,0' is no pixel",)),
        (("--layer", "nose"), ("--layer nose", "none of this name", "encode, fuse0")),
        (("-o", "out.gif"), ("out.gif", ".html or .png")),
        (("--scale", "3"), ("upscales by 2, not by --scale 3",)),
    ],
)
def test_what_is_refused(
    options: tuple[str, ...], words: tuple[str, ...], video: Path, tmp_path: Path, vsr: Vsr
) -> None:
    model, target = tiny_weights(tmp_path, "cached"), tmp_path / "refused.html"
    before = set(tmp_path.iterdir())
    vsr("explain", video, "--at", AT, "-m", model, "-o", target, *options).fails(2, *words)
    assert set(tmp_path.iterdir()) == before


def test_existing_files_and_missing_videos(video: Path, tmp_path: Path, vsr: Vsr) -> None:
    (tmp_path / "a.png").write_text("mine")
    arguments = ("explain", video, "-m", "bicubic", "-o", tmp_path / "a.html")
    vsr(*arguments).fails(1, "a.png exists", "--overwrite")
    assert (tmp_path / "a.png").read_text() == "mine"
    assert not (tmp_path / "a.html").exists()
    assert vsr(*arguments, "-y", "-q") == Outcome(0, "", "")
    vsr("explain", tmp_path / "none.mp4", "-m", "bicubic").fails(1, "none.mp4")


def test_pictures_of_a_sequence_are_not_written_among_its_images(tmp_path: Path, vsr: Vsr) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    media.run_ffmpeg(*media.moving_pattern(4, size="32x24"), folder / "%03d.png")
    for source in (folder, folder / "%03d.png", folder / "002.png"):
        assert vsr("explain", source, "-m", "bicubic", "-y", "-q").status == 0
        assert len(list(folder.iterdir())) == 4
        for name in ("frames-explain.html", "frames-explain.png"):
            (tmp_path / name).unlink()


def test_a_stream_has_no_times(vsr: Vsr) -> None:
    vsr("explain", "-", "-m", "bicubic").fails(2, "a stream cannot be searched")
