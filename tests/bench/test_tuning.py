"""``vsr tune``: every candidate has a figure or a reason, and what it writes is used. Speed is not tested."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.bench import candidates, tuning
from vsrcli.bench.tuning import TuningReport, tune
from vsrcli.cli.config_edit import edit, write_tables
from vsrcli.errors import EngineError, SignalInterruptError, UsageError
from vsrcli.inference.selection import choose_models
from vsrcli.models.weights import file_sha256

Vsr = Callable[..., Outcome]
NAME = "duf-s-x2-video"
SIZE = ("--size", "64x48")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_weights(tmp_path_factory.mktemp("weights"), "cached")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own settings."""
    file = tmp_path / "config.toml"
    file.write_text('# mine\n[upscale]\ncrf = 18  # good\n\n[profile.fast.upscale]\ncodec = "ffv1"\n')
    monkeypatch.setenv("VSR_CONFIG", str(file))
    monkeypatch.chdir(tmp_path)
    return file


def measure(weights: Path, width: int = 64, height: int = 48, **options: Any) -> TuningReport:
    return tune(str(weights), choose_models(str(weights), 2)[0], width, height, **options)  # type: ignore[arg-type]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> dict[Any, Any]:
    """Replace processes that measure; seconds per pixel by engine and precision, or by tile size.

    Keys with a value of None fail.
    """
    speeds: dict[Any, Any] = {
        ("openvino", "fp32"): 2e-6,
        ("openvino", "bf16"): 1e-6,
        ("onnxruntime", "fp32"): 4e-6,
        ("keras", "fp32"): 3e-6,
    }

    def run(request: dict[str, Any], seconds: float) -> str:
        with Path(request["log"]).open("a") as log:
            for number, work in enumerate(request["work"]):
                size = tuple(work["size"])
                speed = speeds.get(size, speeds[request["engine"], work["precision"]])
                result = {"seconds": 0.0, "frames": 3, "start_seconds": 0.1, "psnr": None}
                if speed is None:
                    result = {"error": "it is broken"}
                else:
                    result["seconds"] = speed * size[0] * size[1]
                    if request["reference"]:
                        result["psnr"] = 48.0 if work["precision"] == "bf16" else 200.0
                log.write(json.dumps({"number": number, **result}) + "\n")
        return "no time was left"

    monkeypatch.setattr(candidates, "_run_worker", run)
    monkeypatch.setattr(candidates, "_installed", lambda device: ["openvino", "onnxruntime", "keras"])
    monkeypatch.setattr(candidates, "cpu_precisions", lambda: ("fp32", "bf16"))
    monkeypatch.setattr(candidates, "plan_engine", lambda *arguments: None)
    monkeypatch.setattr(candidates.psutil, "cpu_count", lambda logical=True: None)
    monkeypatch.setattr(tuning, "_LOOK_SECONDS", 0.01)
    return speeds


def test_every_engine_gives_a_figure(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = candidates._installed("cpu")[:2]
    monkeypatch.setattr(candidates, "_installed", lambda device: engines)
    report = measure(weights, device="cpu", seconds=100)
    assert [each.engine for each in report.candidates if each.precision == "fp32"] == engines
    for each in report.candidates:
        assert each.us_per_pixel is not None, each.reason
        assert each.us_per_pixel > 0
        assert each.fps == pytest.approx(1e6 / (each.us_per_pixel * 64 * 48))
        assert each.measured_size is not None
        assert each.frames >= 2
        if each.precision == "fp32":
            assert each.psnr is not None
            assert each.psnr > 90
    assert report.winner.is_eligible
    assert json.loads(json.dumps(report.as_dict()))["candidates"][0]["engine"] == engines[0]


def test_the_fastest_that_looks_the_same_wins(weights: Path, fake: dict[Any, Any]) -> None:
    report = measure(weights, device="cpu")
    assert {(each.engine, each.precision) for each in report.candidates} == set(fake)
    assert report.winner.engine == "openvino"
    assert report.winner.precision == "fp32"
    reasons = {each.precision: each.reason for each in report.candidates if each.engine == "openvino"}
    assert reasons == {"fp32": "", "bf16": "differs too much from fp32"}
    assert [each.us_per_pixel for each in report.candidates] == pytest.approx([2, 1, 4, 3])


def test_an_engine_that_fails_says_why(weights: Path, fake: dict[Any, Any]) -> None:
    fake["openvino", "fp32"] = fake["onnxruntime", "fp32"] = None
    report = measure(weights, device="cpu")
    assert report.winner.engine == "keras"
    assert [each.reason for each in report.candidates if each.us_per_pixel is None] == ["it is broken"] * 2
    for key in fake:
        fake[key] = None
    with pytest.raises(EngineError, match=r"openvino: it is broken; .*vsr doctor"):
        measure(weights, device="cpu")


def test_tiles_must_gain(weights: Path, fake: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def tiles() -> tuple[Any, list[Any]]:
        report = measure(weights, 600, 400, device="cpu", max_memory=8 * 2**30)
        return report.winner.tile, [each.tile for each in report.candidates if each.engine == "openvino"]

    chosen, measured = tiles()
    assert chosen == "auto"
    assert 256 in measured
    plan = next(each for each in measure(weights, 600, 400, device="cpu").candidates if each.tile == 256)
    fake[plan.tile_size[1], plan.tile_size[0]] = 0.5e-6
    assert tiles()[0] == 256


def test_the_memory_limit_holds(weights: Path, fake: dict[Any, Any]) -> None:
    free = measure(weights, 1920, 1080, device="cpu", max_memory=64 * 2**30)
    assert free.winner.tiles == 1
    limit = 4 * 2**30
    assert max(each.memory for each in free.candidates) > limit
    report = measure(weights, 1920, 1080, device="cpu", max_memory=limit)
    assert max(each.memory for each in report.candidates) <= limit
    assert report.winner.tiles > 1
    for each in report.candidates:
        assert each.measured_size is not None
        assert each.measured_size[0] <= each.tile_size[0]
    with pytest.raises(UsageError, match=r"--max-memory 1\.0 MiB is too little"):
        measure(weights, device="cpu", max_memory=2**20)


def test_time_that_is_over(weights: Path, fake: dict[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "_run_worker", lambda request, seconds: "no time was left")
    with pytest.raises(EngineError, match="no time was left"):
        measure(weights, device="cpu")


def test_interpolation_has_nothing_to_tune(vsr: Vsr, config: Path) -> None:
    before = config.read_text()
    vsr("tune", "-m", "lanczos").fails(2, "interpolation")
    vsr("tune", "--size", "tiny").fails(2, "--size")
    assert config.read_text() == before


def test_auto_takes_what_was_measured(
    vsr: Vsr, weights: Path, fake: dict[Any, Any], config: Path, sample: Callable[..., Path]
) -> None:
    before, video = config.read_text(), sample(media.cfr, audio=False)
    fake["keras", "fp32"] = 0.5e-6
    run = vsr("tune", "-m", weights, "-s", "2", *SIZE, "-g", "cpu")
    assert run.status == 0, run.err
    assert "keras fp32" in run.out
    assert "not taken: openvino bf16: differs too much" in run.out
    assert f'[tuned."{NAME} 64x48"]' in run.out
    text = config.read_text()
    assert text.startswith(before)
    sha256 = file_sha256(weights)
    table = {"device": "cpu", "engine": "keras", "precision": "fp32", "tile": "auto", "sha256": sha256}
    assert tomllib.loads(text)["tuned"] == {f"{NAME} 64x48": table}

    def plan(*arguments: str | Path, model: Path = weights) -> str:
        run = vsr("upscale", video, "out.mkv", "-m", model, "-s", "2", "-n", *arguments)
        assert run.status == 0, run.err
        return next(line for line in run.err.splitlines() if line.startswith("  engine: "))

    assert plan("-g", "cpu").startswith("  engine: keras on CPU, fp32 (tuned: ")
    assert "tuned" not in plan("-g", "cpu", "--engine", "openvino")  # a typed option holds
    assert "tuned" not in plan("-g", "cpu", "--precision", "fp32")
    assert "tuned" not in plan()  # measured for another device
    shown = vsr("config", "show").out
    assert f"auto, {NAME} 64x48: keras, fp32" in shown
    assert str(config) in shown
    assert json.loads(vsr("config", "show", "--json").out)["tuned"][0]["engine"] == "keras"
    retrained = Path("retrained", weights.name).absolute()
    retrained.parent.mkdir()
    retrained.write_bytes(b"other weights")
    card = weights.with_name(f"{NAME}.json").read_text().replace(sha256, file_sha256(retrained))
    retrained.with_name(f"{NAME}.json").write_text(card)
    assert "tuned" not in plan("-g", "cpu", model=retrained)  # measured for others of that name
    config.write_text(text.replace(f'sha256 = "{sha256}"\n', ""))  # as it was written before
    assert "tuned" in plan("-g", "cpu")


def test_tuned_again(vsr: Vsr, weights: Path, fake: dict[Any, Any], config: Path) -> None:
    arguments = ("tune", "-m", weights, "-s", "2", *SIZE, "-g", "cpu", "-q")
    assert vsr(*arguments) == Outcome(0, "", "")
    first = config.read_text()
    config.write_text(first.replace('engine = "openvino"', 'engine = "openvino"  # so far'))
    fake["keras", "fp32"] = 0.5e-6
    assert vsr(*arguments).status == 0
    assert config.read_text() == first.replace('engine = "openvino"', 'engine = "keras"  # so far')


def test_a_profile(vsr: Vsr, weights: Path, fake: dict[Any, Any], config: Path) -> None:
    run = vsr("tune", "-m", weights, "-s", "2", *SIZE, "-g", "cpu", "--profile", "fast", "-q")
    assert run.status == 0, run.err
    content = tomllib.loads(config.read_text())
    tuned = {"engine": "openvino", "precision": "fp32", "tile": "auto", "gpu": "cpu", "model": str(weights)}
    assert content["profile"]["fast"] == {
        "upscale": {"codec": "ffv1", **tuned},
        "batch": tuned,
        "preview": tuned,
    }
    assert "tuned" not in content
    assert "# good" in config.read_text()
    shown = vsr("--profile", "fast", "config", "show", "upscale").out
    assert "upscale --engine     openvino" in shown
    assert "[profile.fast.upscale]" in shown


def test_a_profile_with_a_preset(vsr: Vsr, fake: dict[Any, Any], config: Path) -> None:
    config.write_text('[profile.fast.upscale]\npreset = "fast"  # mine\n')
    run = vsr("tune", "--preset", "fast", *SIZE, "-g", "cpu", "--profile", "fast", "-q")
    assert run.status == 0, run.err
    tables = tomllib.loads(config.read_text())["profile"]["fast"]
    assert [(each["preset"], "model" in each) for each in tables.values()] == [("fast", False)] * 3
    shown = vsr("--profile", "fast", "config", "show", "upscale").out
    assert "upscale --preset" in shown
    assert "upscale --model" not in shown


@pytest.mark.parametrize(
    ("line", "arguments"),
    [('preset = "fast"', ("-m", "duf-r-xxs")), ('model = "duf-s"', ("--preset", "balanced"))],
)
def test_a_profile_that_chooses_the_network_otherwise(
    line: str, arguments: tuple[str, str], vsr: Vsr, fake: dict[Any, Any], config: Path
) -> None:
    before = f"[profile.fast.upscale]\n{line}\n"
    config.write_text(before)
    fake.clear()  # nothing is measured in vain
    run = vsr("tune", *arguments, *SIZE, "-g", "cpu", "--profile", "fast")
    run.fails(2, str(config), "remove these lines")
    assert all(each in run.err for each in before.splitlines())
    assert config.read_text() == before


@pytest.mark.parametrize("option", ["--dry-run", "--json"])
def test_nothing_is_written(option: str, vsr: Vsr, weights: Path, fake: dict[Any, Any], config: Path) -> None:
    before = config.read_text()
    run = vsr("tune", "-m", weights, "-s", "2", *SIZE, "-g", "cpu", option)
    assert run.status == 0, run.err
    assert config.read_text() == before
    if option == "--json":
        report = json.loads(run.out)
        assert (report["model"], report["best"], len(report["candidates"])) == (NAME, 0, 4)


def test_a_stop_leaves_the_settings(
    vsr: Vsr, weights: Path, fake: dict[Any, Any], config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(request: dict[str, Any], seconds: float) -> str:
        raise SignalInterruptError("stopped")

    monkeypatch.setattr(candidates, "_run_worker", stop)
    before = config.read_text()
    assert vsr("tune", "-m", weights, "-s", "2", *SIZE, "-g", "cpu").status == 130
    assert config.read_text() == before


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('[tuned."duf-s"]\nengine = "keras"', ["is not what `vsr tune` writes"]),
        ('[tuned."duf-s 64x48"]\nengine = "abacus"', ["is not what `vsr tune` writes"]),
        ('[tuned."duf-s 64x48"]\nspeed = 3', ["is not what `vsr tune` writes"]),
        ("tuned = 3", ["tuned is 3"]),
    ],
)
def test_damaged_settings(table: str, words: list[str], vsr: Vsr, config: Path) -> None:
    config.write_text(table)
    vsr("config", "show").fails(2, str(config), *words)


def test_measurements_of_a_folder_are_refused(vsr: Vsr, config: Path) -> None:
    Path("vsr.toml").write_text('[tuned."duf-s-x4-video 64x48"]\nengine = "keras"\n')
    vsr("config", "show").fails(2, "vsr.toml", "another machine")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '["a b".c]\nx = 1\n'),
        ("y = 2", 'y = 2\n\n["a b".c]\nx = 1\n'),
        ('["a b".c]\nx = 0 # why\n[d]\nx = 3\n', '["a b".c]\nx = 1 # why\n[d]\nx = 3\n'),
        ("[ 'a b' . c ]  # mine\nz = 0", "[ 'a b' . c ]  # mine\nx = 1\nz = 0\n"),
    ],
)
def test_edited_settings(before: str, after: str) -> None:
    assert edit(before, {("a b", "c"): {"x": 1}}) == after


@pytest.mark.parametrize("text", ['"a b" = {c = {x = 0}}', '["a b"]\nc.x = 0\n', '["a b".c]\nx = [\n0]\n'])
def test_unusual_settings_stay(text: str) -> None:
    with pytest.raises(UsageError, match="add by hand"):
        edit(text, {("a b", "c"): {"x": 1}})


def test_private_settings_stay_private(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[serve]\ntoken = 'secret'\n")
    file.chmod(0o600)
    write_tables(file, {("upscale",): {"crf": 18}})
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().endswith("crf = 18\n")
