"""Settings of ``vsr tune`` apply to the network that they were measured with, as far as it can take them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from vsrcli.inference.selection import ModelChoice, find_models
from vsrcli.models.imported import ImportedModel, ModelDescription
from vsrcli.pipeline.options import Options, TunedSetting
from vsrcli.pipeline.tuned import apply_tuned, find_tuned

FOUND = ModelDescription("onnx", "", "1a", "image", 2, overlap=16, engine="openvino")
SETTING = TunedSetting("net", 128, 96, "cpu", "openvino", "fp32", 64, "config.toml", "1a")


@pytest.fixture(autouse=True)
def no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KERAS_BACKEND", raising=False)


def imported(found: ModelDescription = FOUND) -> tuple[ModelChoice, ...]:
    model = ImportedModel(Path("net.onnx"), found, "net")
    return (ModelChoice(model.architecture, model, model.scale),)


def tuned(setting: TunedSetting, models: tuple[ModelChoice, ...]) -> Options | None:
    options = Options(device="cpu", tuned=(setting,))
    if (found := find_tuned(options, models, 128, 96)) is None:
        return None
    applied = apply_tuned(options, found, models, 128, 96)
    return applied and applied[0]


@pytest.mark.parametrize("sha256", ["2b", ""])
def test_another_network_of_that_name_is_not_meant(sha256: str) -> None:
    assert tuned(SETTING, imported()) == Options(
        device="cpu", engine="openvino", precision="fp32", tile=64, tuned=(SETTING,)
    )
    assert tuned(replace(SETTING, sha256=sha256), imported()) is None


def test_the_programs_own_networks_need_no_checksum() -> None:
    models = find_models("duf-r-xs", Options().scale)
    setting = replace(SETTING, model=models[0].name, engine="keras", sha256="", tile="auto")
    assert tuned(setting, models) is not None


def test_an_engine_that_does_not_run_the_network_is_left_out() -> None:
    assert tuned(replace(SETTING, engine="keras"), imported()) is None


@pytest.mark.parametrize(
    ("found", "tile"),
    [(replace(FOUND, overlap=40), 64), (replace(FOUND, fixed_size=(48, 48)), 64), (FOUND, 32)],
)
def test_tiles_that_the_network_cannot_take_are_left_out(found: ModelDescription, tile: int) -> None:
    options = tuned(replace(SETTING, tile=tile), imported(found))
    assert options is not None
    assert (options.engine, options.tile) == ("openvino", "auto")
