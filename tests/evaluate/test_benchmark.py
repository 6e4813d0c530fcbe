"""Scoring engines on clips: baselines, protocols, means and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from clip_samples import COUNT, write_video

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, EngineError, ModelError, UsageError
from vsrcli.evaluate.benchmark import measure_model, upscale_frames
from vsrcli.evaluate.clips import ClipFile, find_clips, read_frames
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y, ssim_y
from vsrcli.evaluate.models import resolve_model, resolve_models
from vsrcli.evaluate.protocol import Clip, Protocol, prepare_clip
from vsrcli.evaluate.results import CROP, METHODS, SKIP_ENDS, Cost, Evaluation
from vsrcli.inference.engine import ResampleEngine
from vsrcli.inference.types import Engine, Stream


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a [1].mp4", 1)
    write_video(folder / "b.mkv", 2)
    (folder / "notes.txt").write_text("not a clip")
    return folder


def first_clip(folder: Path, protocol: Protocol) -> Clip:
    return prepare_clip(find_clips([folder])[0], protocol)


def evaluate(
    engine: Engine,
    files: Sequence[ClipFile],
    protocol: Protocol,
    *,
    max_frames: int,
    on_clip: Callable[[str], None] = lambda name: None,
) -> Evaluation:
    """Measure an engine on clips."""
    results = []
    for file in files:
        results.append(measure_model(engine, prepare_clip(file, protocol, max_frames))[0])
        on_clip(results[-1].name)
    return Evaluation("model", engine.description, protocol, tuple(results))


class PreparedEngine(Stream):
    """An engine that returns prepared frames, whatever its input, ``lookahead`` frames late."""

    def __init__(self, frames: np.ndarray, scale: int, lookahead: int = 3) -> None:
        self.scale, self.radius, self.lookahead, self.description = scale, 2, lookahead, "prepared frames"
        self.outputs = [frame.astype(np.float32) / 255 for frame in frames]
        self.precision, self.on_gpu = "fp32", False
        self.pushed = 0

    def open(self, height: int, width: int) -> PreparedEngine:
        return self

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self.pushed += 1
        return self.outputs.pop(0) if self.pushed > self.lookahead else None

    def flush(self) -> list[np.ndarray]:
        return [self.outputs.pop(0) for _ in range(min(self.lookahead, len(self.outputs)))]

    def fork(self) -> PreparedEngine:
        raise NotImplementedError

    def state(self) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        raise NotImplementedError


def test_clips_are_cropped_to_a_multiple_of_the_scale(folder: Path) -> None:
    for scale, size in ((2, (66, 98)), (3, (66, 96)), (4, (64, 96))):
        clip = first_clip(folder, Protocol("bi", scale))
        assert clip.truth.shape == (COUNT, *size, 3)
        assert clip.low.shape == (COUNT, size[0] // scale, size[1] // scale, 3)
        assert clip.low.dtype == clip.truth.dtype == np.uint8


@pytest.mark.parametrize("protocol", [Protocol("bi", 4), Protocol("bd", 3), Protocol("bi", 2, crf=30)])
def test_interpolation_through_the_engine_equals_its_baseline(folder: Path, protocol: Protocol) -> None:
    clip = first_clip(folder, protocol)
    for name in ("bicubic", "lanczos"):
        result, still = measure_model(ResampleEngine(name, protocol.scale, protocol.phase), clip)
        assert result.model == getattr(result, name)
        np.testing.assert_array_equal(still.model, getattr(still, name))
        assert result.gain == result.model.psnr - max(result.bicubic.psnr, result.lanczos.psnr) <= 0


def test_scores_are_those_of_the_metrics(folder: Path) -> None:
    clip = first_clip(folder, Protocol("bi", 4))
    outputs = list(upscale_frames(ResampleEngine("bicubic", 4), clip.low))
    result, _ = measure_model(ResampleEngine("bicubic", 4), clip)
    pairs = list(zip(outputs, clip.truth, strict=True))
    psnr, ssim = ([score(a, b, CROP) for a, b in pairs] for score in (psnr_y, ssim_y))
    scored = slice(SKIP_ENDS, -SKIP_ENDS)
    assert (result.model.psnr, result.model.ssim) == (np.mean(psnr[scored]), np.mean(ssim[scored]))
    assert (result.model.psnr_all_frames, result.model.ssim_all_frames) == (np.mean(psnr), np.mean(ssim))


def test_an_oracle_gets_the_cap(folder: Path) -> None:
    clip = first_clip(folder, Protocol("bi", 4))
    result, still = measure_model(PreparedEngine(clip.truth, 4), clip)
    assert (result.model.psnr, result.model.steady, result.model.psnr_all_frames) == (PSNR_CAP,) * 3
    assert result.model.ssim == result.model.ssim_all_frames == 1
    assert still.index == COUNT // 2
    np.testing.assert_array_equal(still.model, still.truth)


def test_bad_ends_show_only_in_scores_of_all_frames(folder: Path) -> None:
    clip = first_clip(folder, Protocol("bi", 4))
    frames = clip.truth.copy()
    frames[[0, 1, -2, -1]] = 0
    quality = measure_model(PreparedEngine(frames, 4), clip)[0].model
    assert (quality.psnr, quality.ssim, quality.steady) == (PSNR_CAP, 1, PSNR_CAP)
    assert quality.psnr_all_frames < PSNR_CAP - 20
    assert quality.ssim_all_frames < 0.9


def test_flicker_lowers_steady_but_a_constant_error_does_not(folder: Path) -> None:
    clip = first_clip(folder, Protocol("bi", 4))
    truth = np.clip(clip.truth, 20, 230)
    clip = Clip(clip.name, truth, clip.low, clip.protocol)
    sign = np.where(np.arange(COUNT) % 2, 4, -4)[:, None, None, None]
    constant = measure_model(PreparedEngine((truth + 4).astype(np.uint8), 4), clip)[0].model
    flicker = measure_model(PreparedEngine((truth + sign).astype(np.uint8), 4), clip)[0].model
    assert flicker.psnr == pytest.approx(constant.psnr)
    assert constant.steady == PSNR_CAP
    # Luma changes by 8 codes of 255, times 219/255, between frames.
    assert flicker.steady == pytest.approx(20 * np.log10(255 / (8 * 219 / 255)), abs=0.01)


def test_an_engine_that_loses_a_frame_is_an_error(folder: Path) -> None:
    clip = first_clip(folder, Protocol("bi", 4))
    with pytest.raises(EngineError, match="not as many frames"):
        measure_model(PreparedEngine(clip.truth[:-1], 4), clip)


@pytest.mark.parametrize("name", ["bi", "bd"])
def test_the_other_phase_scores_worse(folder: Path, name: str) -> None:
    clip = first_clip(folder, Protocol(name, 4))
    wrong = "zero" if name == "bi" else "centre"
    result, _ = measure_model(ResampleEngine("bicubic", 4, wrong), clip)
    assert result.model.psnr < result.bicubic.psnr - 0.5


def test_compression_lowers_scores_more_at_a_higher_crf(folder: Path) -> None:
    scores = [
        measure_model(ResampleEngine("bicubic", 2), first_clip(folder, Protocol("bi", 2, crf)))[0].model.psnr
        for crf in (None, 23, 40)
    ]
    assert scores[0] > scores[1] > scores[2]


def test_mean_worst_and_json(folder: Path) -> None:
    files, measured = find_clips([folder]), []
    engine = ResampleEngine("lanczos", 4)
    protocol = Protocol("bi", 4)
    evaluation = evaluate(engine, files, protocol, max_frames=7, on_clip=measured.append)
    assert measured == ["a [1]", "b"] == [clip.name for clip in evaluation.clips]
    assert [clip.frames for clip in evaluation.clips] == [7, 7]
    for method in METHODS:
        values = [getattr(clip, method).psnr for clip in evaluation.clips]
        assert getattr(evaluation.mean, method).psnr == pytest.approx(np.mean(values))
    assert evaluation.worst.gain == min(clip.gain for clip in evaluation.clips)
    content = json.loads(json.dumps(evaluation.as_dict()))
    assert content["protocol"]["name"] == "bi"
    assert content["protocol"]["crf"] is None
    assert content["scoring"]["crop"] == 8
    assert content["clips"][1]["model"]["psnr"] == evaluation.clips[1].model.psnr
    assert content["mean"]["gain"] == evaluation.mean.gain
    assert content["worst"]["name"] == evaluation.worst.name
    time = content["mean"]["time"]["model"]
    assert time["ms_per_frame"] == pytest.approx(1e3 * time["seconds"] / 10)  # 2 clips of 7 frames, less 2
    assert time["us_per_lr_pixel"] == pytest.approx(1e6 * time["seconds"] / (10 * 16 * 24))
    assert content["clips"][0]["time"].keys() == set(METHODS)


def test_gain_is_over_the_better_baseline_of_each_clip_and_of_the_means(folder: Path) -> None:
    engine, protocol = ResampleEngine("bicubic", 4), Protocol("bi", 4)
    evaluation = evaluate(engine, find_clips([folder]), protocol, max_frames=5)
    baseline = max(evaluation.mean.bicubic.psnr, evaluation.mean.lanczos.psnr)
    assert evaluation.mean.gain == pytest.approx(evaluation.mean.model.psnr - baseline)


def test_a_clip_whose_name_is_not_utf8_is_degraded_as_training_does(tmp_path: Path) -> None:
    path = write_video(tmp_path / "cafe.mkv", count=5).rename(tmp_path / os.fsdecode(b"caf\xe9.mkv"))
    one, two = (prepare_clip(ClipFile(path, path.stem), Protocol("video", 4)) for _ in range(2))
    np.testing.assert_array_equal(one.low, two.low)
    assert one.variant is not None


def test_video_is_the_training_preset_and_the_same_every_time(folder: Path) -> None:
    truth = first_clip(folder, Protocol("bi", 4)).truth
    protocol = Protocol("video", 4)
    names = [f"clip {number}" for number in range(12)]
    variants = {protocol.variant(name) for name in names}
    assert variants == set(range(PRESETS["video"].variant_count))
    for name in names[:4]:
        low = protocol.degrade(truth, name)
        np.testing.assert_array_equal(low, protocol.degrade(truth, name))
        clean = np.array_equal(low, Protocol("bi", 4).degrade(truth))
        assert clean == (protocol.variant(name) == 0)
    assert protocol.phase == "centre"
    for word in ("bicubic 45%", "gauss 25%", "noise up to 3 codes", "60%", "crf 18-35", "name as the seed"):
        assert word in protocol.summary


def test_frames_that_fill_windows_or_compile_are_not_timed(folder: Path) -> None:
    """Of 12 frames, an engine that looks three frames ahead returns its first two outputs by the fifth."""
    clip = first_clip(folder, Protocol("bi", 4))
    result, _ = measure_model(PreparedEngine(clip.truth, 4, lookahead=3), clip)
    assert result.costs["model"].frames == COUNT - 5
    assert result.costs["model"].pixels == (COUNT - 5) * 16 * 24
    assert result.costs["bicubic"].frames == COUNT - 2
    short = Clip(clip.name, clip.truth[:5], clip.low[:5], clip.protocol)
    cost = measure_model(PreparedEngine(short.truth, 4, lookahead=3), short)[0].costs["model"]
    assert (cost.frames, cost.ms_per_frame, cost.us_per_pixel) == (0, None, None)


def test_costs_add_up() -> None:
    both = Cost(1.0, 4, 1000) + Cost(0.5, 1, 1000)
    assert (both.ms_per_frame, both.us_per_pixel) == (300, 750)


def test_clips_that_cannot_be_used(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no clip in"):
        find_clips([tmp_path])
    with pytest.raises(DataError, match="no file or folder"):
        find_clips([tmp_path / "missing.mp4"])
    with pytest.raises(DataError, match="cannot decode"):
        read_frames(folder / "notes.txt")
    short = ClipFile(write_video(tmp_path / "short.mp4", count=4), "short")
    with pytest.raises(DataError, match="4 frames"):
        prepare_clip(short, Protocol("bi", 4))
    small = ClipFile(write_video(tmp_path / "small.mp4", width=48, height=24), "small")
    with pytest.raises(DataError, match="48x24"):
        prepare_clip(small, Protocol("bi", 2))
    with pytest.raises(DataError, match="--frames 3"):
        prepare_clip(small, Protocol("bi", 2), max_frames=3)


def test_names_tell_clips_apart(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "a [1].mp4").write_bytes((folder / "a [1].mp4").read_bytes())
    files = find_clips([folder, other, folder / "b.mkv"])
    assert [file.name for file in files] == [f"{folder.name}/a [1].mp4", "b", "other/a [1].mp4"]


def test_protocols_that_do_not_exist() -> None:
    for wrong in (
        {"name": "x", "scale": 4},
        {"name": "bi", "scale": 5},
        {"name": "bi", "scale": 4, "crf": 52},
    ):
        with pytest.raises(UsageError):
            Protocol(**wrong)


def test_models_are_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model("bicubic").protocol == Protocol("bi", 4)
    assert resolve_model("lanczos", 3, "bd").open().description.startswith("lanczos")
    with pytest.raises(ModelError, match="unknown model"):
        resolve_model("nothing", 4, "bd")
    path = tmp_path / "net.weights.h5"
    path.write_bytes(b"")
    card = {"architecture": "duf-s", "scale": 3, "degradation": "bd", "phase": "zero", "sha256": "0" * 64}
    (tmp_path / "net.json").write_text(json.dumps(card))
    model = resolve_model(str(path))
    assert model.protocol == Protocol("bd", 3)
    assert not model.phase_warning
    assert "1 pixels out of place" in resolve_model(str(path), 3, "bi").phase_warning
    with pytest.raises(UsageError, match="upscales by 3"):
        resolve_model(str(path), 4)
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    assert resolve_model("net") == model
    assert [each.protocol for each in resolve_models(["net", "lanczos"])] == [model.protocol] * 2
    with pytest.raises(UsageError, match="upscales by 3"):
        resolve_model("net", 4)
