"""Several models on the same clips."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
from clip_samples import frames, write_image_folder, write_video

from tiny_networks import tiny_weights
from vsrcli.errors import ModelError, OutputError, UsageError
from vsrcli.evaluate import comparison as comparison_module
from vsrcli.evaluate.clips import ClipFile, find_clips
from vsrcli.evaluate.comparison import ModelComparison, compare_models
from vsrcli.evaluate.models import EvaluatedModel, resolve_models
from vsrcli.evaluate.protocol import Protocol
from vsrcli.evaluate.results import ClipResult

PROTOCOLS = [Protocol("bi", 2), Protocol("bi", 2, crf=30)]


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("weights")
    return [str(tiny_weights(folder, kind)) for kind in ("cached", "recurrent")]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[ClipFile]:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", 1, width=64, height=48)
    write_image_folder(folder / "b", frames(2, width=64, height=48))
    return find_clips([folder])


def compared(models: list[str], clips: list[ClipFile]) -> ModelComparison:
    resolved = compare_models(
        resolve_models(models, 2),
        clips,
        PROTOCOLS[1:],
        open_engine=lambda entry: entry.open(device="cpu"),
        max_frames=8,
    )
    (comparison,) = resolved
    return comparison


def scores(result: ClipResult) -> dict[str, dict[str, float]]:
    return {name: asdict(getattr(result, name)) for name in ("bicubic", "lanczos", "model")}


def test_several_models_score_as_each_alone(networks: list[str], clips: list[ClipFile]) -> None:
    models = [*networks, "bicubic"]
    together = compared(models, clips)
    assert together.protocol == PROTOCOLS[1]
    for model, evaluation in zip(models, together.evaluations, strict=True):
        alone = compared([model], clips).evaluations[0]
        assert (evaluation.model, evaluation.engine) == (alone.model, alone.engine)
        for clip, other in zip(evaluation.clips, alone.clips, strict=True):
            assert clip.name == other.name
            assert scores(clip) == scores(other)
            assert clip.costs["model"].frames == other.costs["model"].frames > 0
    values = {evaluation.mean.model.psnr for evaluation in together.evaluations}
    assert len(values) == 3  # they are different models indeed


def test_clips_are_prepared_once_and_one_engine_is_open_at_a_time(
    clips: list[ClipFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("prepare_clip", "interpolation_baselines"):
        original = getattr(comparison_module, name)

        def counted(*arguments: object, name: str = name, original: object = original) -> object:
            calls.append(name)
            return original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(comparison_module, name, counted)
    started: list[tuple[str, str]] = []

    def on_start(model: EvaluatedModel, protocol: Protocol) -> None:
        started.append((model.name, protocol.label))

    models = resolve_models(["bicubic", "lanczos"], 2)
    opened: list[str] = []

    def open_engine(model: EvaluatedModel):
        assert len(started) == 2 * len(opened)  # the model before is finished
        opened.append(model.name)
        return model.open()

    for _ in compare_models(models, clips, PROTOCOLS, open_engine=open_engine, on_start=on_start):
        pass
    assert sorted(calls) == ["interpolation_baselines"] * 4 + ["prepare_clip"] * 4
    assert opened == ["bicubic-x2", "lanczos-x2"]
    assert [name for name, _ in started] == ["bicubic-x2"] * 2 + ["lanczos-x2"] * 2


def test_a_full_disk_is_an_error_with_a_remedy(
    clips: list[ClipFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        def add(self, items: object) -> None:
            raise OutputError("'/tmp' cannot take what the network remembers (No space left on device)")

    monkeypatch.setattr(comparison_module, "ArraySpool", Full)
    models = resolve_models(["bicubic", "lanczos"], 2)
    with pytest.raises(OutputError, match=r"no space in .* measure one model at a time"):
        list(compare_models(models, clips, PROTOCOLS, open_engine=lambda entry: entry.open()))


def write_weights(path: Path, scale: int = 4, degradation: str = "video", phase: str = "centre") -> str:
    """Write a card and an empty weight file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    content: dict[str, object] = {"architecture": "duf-s", "scale": scale}
    content |= {"degradation": degradation, "phase": phase}
    content["sha256"] = "0" * 64  # not read
    path.with_name(path.name.replace(".weights.h5", ".json")).write_text(json.dumps(content))
    return str(path)


def test_models_that_need_different_low_resolution(tmp_path: Path) -> None:
    four, two = write_weights(tmp_path / "four.weights.h5"), write_weights(tmp_path / "two.weights.h5", 2)
    zero = write_weights(tmp_path / "zero.weights.h5", 4, "bd", "zero")
    with pytest.raises(UsageError, match="four is for x4, phase 'centre', and two is for x2, phase 'centre'"):
        resolve_models([four, two])
    with pytest.raises(UsageError, match="four is for x4, phase 'centre', and zero is for x4, phase 'zero'"):
        resolve_models([four, zero], None, "bi")
    with pytest.raises(UsageError, match=r"zero was trained on 'bd' .* duf-r-m has no such weights"):
        resolve_models(["duf-r-m", zero])
    with pytest.raises(ModelError, match="unknown model"):
        resolve_models([four, "nothing"])


def test_names_follow_the_weight_files_of_the_same_run(tmp_path: Path) -> None:
    zero = write_weights(tmp_path / "zero.weights.h5", 3, "bd", "zero")
    resolved = resolve_models(["bicubic", zero])
    assert [entry.protocol for entry in resolved] == [Protocol("bd", 3)] * 2
    assert [entry.name for entry in resolved] == ["bicubic-x3", "zero"]
    existing = resolve_models(["lanczos", zero], None, "none")
    assert {entry.protocol for entry in existing} == {Protocol("none", 3, phase_override="zero")}
    assert not any(entry.phase_warning for entry in existing)
    requested = resolve_models([zero], None, "none", "centre")
    assert "1 pixels out of place" in requested[0].phase_warning


def test_each_model_once_and_by_a_name_of_its_own(tmp_path: Path) -> None:
    first, second = (write_weights(tmp_path / run / "duf-s-x4-video.weights.h5") for run in ("one", "two"))
    shutil.copy(first, tmp_path / "other.weights.h5")
    shutil.copy(tmp_path / "one" / "duf-s-x4-video.json", tmp_path / "other.json")
    models = [first, second, str(tmp_path / "other.weights.h5"), "lanczos", first, "lanczos"]
    names = [entry.name for entry in resolve_models(models)]
    assert names == ["one/duf-s-x4-video", "two/duf-s-x4-video", "other", "lanczos-x4"]
