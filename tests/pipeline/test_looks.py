"""``--strength``, ``--keep-color``, ``--same-size`` and several models: whole runs, in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interruptible_runs import frame_hashes, upscale_until

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, prepare_job
from vsrcli.errors import UsageError
from vsrcli.frames.geometry import SizeRequest
from vsrcli.frames.resample import interpolate
from vsrcli.inference import selection
from vsrcli.inference.selection import ModelChoice, find_models, select_passes
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.models.imported import ImportedModel, ModelDescription

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]
LOSSLESS = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
BASE = Options(Fraction(2), "bicubic", encode=LOSSLESS)


def pixels(path: Path) -> np.ndarray:
    with Decoder(probe(path), ffmpeg=find_ffmpeg()) as decoder:
        return np.stack([frame.pixels for frame in decoder]).astype(np.float32)


def upscaled(source: Path, target: Path, options: Options) -> Path:
    assert upscale_until(source, target, options).result is not None
    return target


@pytest.mark.parametrize(("kind", "tile"), [("cached", "none"), ("recurrent", 40)])
def test_strength_of_a_network(kind: str, tile: str | int, sample: Sample, tmp_path: Path) -> None:
    """0 is ``-m lanczos``, 1 the network; between them it is linear; a resumed run agrees."""
    source = sample(media.cfr)
    options = replace(BASE, model=str(tiny_weights(tmp_path, kind)), tile=tile, segment=3)
    runs = {
        strength: upscaled(source, tmp_path / f"{strength}.mkv", replace(options, strength=strength))
        for strength in (0.0, 0.5, 1.0)
    }
    lanczos = upscaled(source, tmp_path / "lanczos.mkv", replace(options, model="lanczos"))
    network = upscaled(source, tmp_path / "network.mkv", options)
    assert frame_hashes(runs[0.0]) == frame_hashes(lanczos) != frame_hashes(network)
    assert frame_hashes(runs[1.0]) == frame_hashes(network)
    # A frame that repeats the one before, but for what the encoder leaves, shows that one's result.
    atol = 1.51 if kind == "recurrent" else 1.01
    np.testing.assert_allclose(pixels(runs[0.5]), (pixels(lanczos) + pixels(network)) / 2, atol=atol)
    half, resumed = replace(options, strength=0.5), tmp_path / "resumed.mkv"
    for until in (5, 9):
        assert upscale_until(source, resumed, half, stop_after=until).result is None
    log = upscale_until(source, resumed, half)
    assert log.frame_numbers[0] > 3  # it went on
    assert frame_hashes(resumed) == frame_hashes(runs[0.5])


@pytest.mark.parametrize(
    "size", [SizeRequest(height=101), SizeRequest(150, 90, fill=True), SizeRequest(130, 130)], ids=str
)
def test_no_strength_is_lanczos_at_any_size(size: SizeRequest, sample: Sample, tmp_path: Path) -> None:
    source = sample(media.cfr)
    runs = [
        upscaled(source, tmp_path / f"{number}.mkv", replace(BASE, size=size, **changes))
        for number, changes in enumerate(
            [{"model": "lanczos"}, {"strength": 0.0}, {"strength": 0.001}, {"strength": 0.5}, {}]
        )
    ]
    assert frame_hashes(runs[0]) == frame_hashes(runs[1])
    lanczos, _, almost, half, network = map(pixels, runs)
    np.testing.assert_allclose(almost, lanczos, atol=1.01)
    np.testing.assert_allclose(half, (lanczos + network) / 2, atol=1.01)


def test_strength_blends_on_the_grid_of_the_network(sample: Sample, tmp_path: Path) -> None:
    """Centred, the interpolation would lie half a pixel beside a network of phase zero at x2."""
    path, source = tiny_weights(tmp_path, "cached"), sample(media.cfr, frames=3)
    card = path.with_name("duf-s-x2-video.json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"phase": "zero"}))
    options = replace(BASE, model=str(path))
    low, network = pixels(source), pixels(upscaled(source, tmp_path / "network.mkv", options))
    half = pixels(upscaled(source, tmp_path / "half.mkv", replace(options, strength=0.5)))
    lanczos = interpolate(low / 255, 2, "lanczos3", "zero").clip(0, 1) * 255
    centred = interpolate(low / 255, 2, "lanczos3").clip(0, 1) * 255
    errors = [np.abs(half - (each + network) / 2).mean() for each in (lanczos, centred)]
    assert errors[0] < 0.5 < errors[1]
    for changes in ({"scale": Fraction(3)}, {"model": (str(path), "bicubic"), "scale": Fraction(4)}):
        refused: dict[str, Any] = {"strength": 0.5, **changes}
        with pytest.raises(UsageError, match=r"--strength 0\.5: .*phase zero.* leave --strength out"):
            prepare_job(source, tmp_path / "out.mkv", replace(options, **refused))


def test_no_strength_needs_no_network(sample: Sample, tmp_path: Path) -> None:
    options = replace(BASE, model="there-is-none.weights.h5", strength=0.0)
    job = prepare_job(sample(media.cfr), tmp_path / "out.mkv", options)
    assert (job.model.name, job.engine, job.is_faithful) == ("lanczos-x2", None, False)


def test_alpha_keeps_its_size_and_values(sample: Sample, tmp_path: Path) -> None:
    source = sample(media.transparent)
    options = replace(BASE, encode=EncodeOptions(codec="ffv1"), strength=0.5, keep_color=True)
    assert probe(upscaled(source, tmp_path / "out.mkv", options)).video.has_alpha


@pytest.mark.parametrize("model", ["bicubic", ("bicubic", "lanczos")])
def test_same_size(model: str | tuple[str, ...], sample: Sample, tmp_path: Path) -> None:
    """The network's picture comes back to the source's size; interpolation gives nearly the source."""
    source = sample(media.cfr)
    out = upscaled(source, tmp_path / "out.mkv", replace(BASE, model=model, same_size=True))
    before, after = pixels(source), pixels(out)
    assert after.shape == before.shape
    assert np.abs(after - before).mean() < 5  # the pattern has sharp edges
    none = upscaled(source, tmp_path / "none.mkv", replace(BASE, model=model, same_size=True, strength=0.0))
    np.testing.assert_array_equal(pixels(none), before)


def test_models_run_one_after_the_other(sample: Sample, tmp_path: Path) -> None:
    source, options = sample(media.cfr, frames=12), replace(BASE, tile=48, segment=5)
    weights = str(tiny_weights(tmp_path, "cached"))
    both = replace(options, model=(weights, "lanczos"), scale=Fraction(4))
    first = upscaled(source, tmp_path / "first.mkv", replace(options, model=weights))
    second = upscaled(first, tmp_path / "second.mkv", replace(options, model="lanczos"))
    chained = upscaled(source, tmp_path / "chained.mkv", both)
    assert pixels(chained).shape == pixels(second).shape
    np.testing.assert_allclose(pixels(chained), pixels(second), atol=1.51)  # that was rounded in between
    resumed = tmp_path / "resumed.mkv"
    assert upscale_until(source, resumed, both, stop_after=7).result is None
    upscaled(source, resumed, both)
    assert frame_hashes(resumed) == frame_hashes(chained)


def restorer(name: str = "restorer") -> ModelChoice:
    """A model of x1: an interpolation that leaves frames as they are."""
    return replace(find_models("lanczos", Fraction(2))[0], scale=1)


def test_native_scales_of_several_models() -> None:
    scales = {"x1": (restorer(),), "any": find_models("bicubic", Fraction(4))}

    def selected(models: str, scale: int) -> tuple[int, ...]:
        candidates = [scales[name] for name in models.split()]
        return tuple(each.scale for each in select_passes(candidates, Fraction(scale)))

    assert selected("x1 any", 4) == (1, 4)
    assert selected("x1 any", 2) == selected("x1 any", 1) == (1, 2)
    assert selected("any x1", 8) == (4, 1)
    assert selected("any any", 8) == (2, 4)
    assert selected("x1 x1", 4) == (1, 1)


def test_a_model_of_the_same_size(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    """``--scale 1`` takes it, alone and before another; the other by itself is refused."""
    found = selection.find_models
    monkeypatch.setattr(
        "vsrcli.pipeline.preparation.find_models",
        lambda model, scale, look=None: (restorer(),) if model == "restorer" else found(model, scale),
    )
    source = sample(media.cfr)
    alone = upscaled(source, tmp_path / "x1.mkv", replace(BASE, model="restorer", scale=Fraction(1)))
    np.testing.assert_array_equal(pixels(alone), pixels(source))
    for options in (BASE, replace(BASE, chain=True)):  # a factor that it does not have
        job = prepare_job(source, tmp_path / "larger.mkv", replace(options, model="restorer"))
        assert len(job.passes) == 1
        assert any("--scale 1 keeps the size" in notice for notice in job.plan.notices)
    both = upscaled(source, tmp_path / "x2.mkv", replace(BASE, model=("restorer", "bicubic")))
    plain = upscaled(source, tmp_path / "plain.mkv", BASE)
    assert frame_hashes(both) == frame_hashes(plain)
    line = ("upscale", source, tmp_path / "y.mkv", "--dry-run", "-m", "restorer", "-m", "bicubic")
    err = vsr(*line, "--strength", "0.5", "--keep-color").err
    assert "2 passes" in err
    assert "look: 0.5 of the network, the rest Lanczos; colours of the source" in err
    for model in ("bicubic", "lanczos"):
        vsr("upscale", source, tmp_path / "z.mkv", "-m", model, "-s", 1).fails(2, "--same-size", "x1")


def test_what_excludes_each_other(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    line = ("upscale", sample(media.cfr), tmp_path / "out.mkv", "--dry-run")
    vsr(*line, "--same-size", "-s", 2).fails(2, "--scale and --same-size")
    vsr(*line, "--same-size", "--size", "720p").fails(2, "--size and --same-size")
    vsr(*line, "--preset", "fast", "-m", "bicubic", "-m", "lanczos").fails(
        2, "--model bicubic --model lanczos"
    )
    for strength in ("-0.1", "1.1", "nan", "much"):
        vsr(*line, "--strength", strength).fails(2, "--strength")
    with pytest.raises(UsageError, match="--strength 2"):
        prepare_job(sample(media.cfr), tmp_path / "out.mkv", replace(BASE, strength=2.0))


def test_settings_name_one_model_or_several(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    monkeypatch.chdir(tmp_path)
    source = sample(media.cfr)
    settings = {
        'model = "bicubic"': "model: bicubic-x4,",
        'model = ["bicubic", "lanczos"]\nscale = 8': "model: bicubic-x2, then lanczos-x4",
        'model = "bicubic"\nsame-size = true\nstrength = 0.5\nkeep-color = true': "look: 0.5 of",
    }
    for number, (text, expected) in enumerate(settings.items()):
        Path("vsr.toml").write_text(f"[upscale]\n{text}\n", encoding="utf-8")
        done = vsr("upscale", source, tmp_path / f"out{number}.mkv", "--frames", 1, "--progress", "none")
        assert done.status == 0, done.err
        assert expected in done.err
    Path("vsr.toml").write_text("[upscale]\nsame-size = true\n", encoding="utf-8")
    done = vsr("upscale", source, tmp_path / "typed.mkv", "-m", "bicubic", "-s", 2, "--dry-run")
    assert "x2" in done.err


def test_preview_and_batch(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    source, look = sample(media.cfr), ("-m", "bicubic", "-m", "lanczos", "-s", 4, "--strength", 0.5)
    assert vsr("preview", source, tmp_path / "preview.mkv", *look).status == 0
    outputs = tmp_path / "out"
    batch = ("batch", source, outputs, *look, "--name", "{stem}_{model}_{scale}x")
    assert vsr(*batch).status == 0
    assert [path.stem.partition("_")[2] for path in outputs.glob("*_*")] == ["bicubic+lanczos_4x"]
    assert "1 skipped" in vsr(*batch).err
    again = vsr(*batch[:-2], "--strength", 0.6, *batch[-2:])
    assert "--strength" in again.err


def test_networks_of_others_keep_colours_by_default(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(model: str, scale: Fraction, look: str | None = None) -> tuple[ModelChoice, ...]:
        kind = "functions" if model == "export" else "image"
        imported = ImportedModel(Path(model), ModelDescription("onnx", "tiny", "0" * 64, kind, 2), model)
        return (ModelChoice(imported.architecture, imported, 2),)

    monkeypatch.setattr("vsrcli.pipeline.preparation.find_models", found)

    def keeps(model: str, **changes: object) -> bool:
        options = replace(BASE, model=model, **changes)  # type: ignore[arg-type]
        return prepare_job(sample(media.cfr), tmp_path / "out.mkv", options).keep_color

    assert keeps("foreign")
    assert not keeps("export")  # of this program's own network
    assert not keeps("foreign", keep_color=False)
    assert not keeps("foreign", strength=0.0)
    assert keeps("export", keep_color=True)
