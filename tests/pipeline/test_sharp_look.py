"""``--look``: natural and sharp weights, and ``--strength`` between them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from interruptible_runs import frame_hashes, upscale_until

import media_samples as media
from looks_samples import looks_folder
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, prepare_job
from vsrcli.errors import ModelError, UsageError
from vsrcli.inference.looks import MixedWeights, mix_looks, requested_look
from vsrcli.inference.selection import choose_models, find_models
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.models.weights import Weights, find_weights, read_weights

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]
BASE = Options(Fraction(2), "duf-s", encode=EncodeOptions(codec="ffv1", pix_fmt="bgr0"), segment=3)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Both looks of a tiny ``duf-s`` at x2; the shipped weights have x3 and x4, natural only."""
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    return looks_folder(tmp_path / "weights")


def upscaled(source: Path, target: Path, options: Options) -> list[str]:
    assert upscale_until(source, target, options).result is not None
    return frame_hashes(target)


def test_strength_goes_from_natural_to_sharp(sample: Sample, tmp_path: Path) -> None:
    """0 is natural and 1 sharp, frame by frame; between them is a third network, also when resumed."""
    source = sample(media.cfr, frames=10)
    looks = {
        look: upscaled(source, tmp_path / f"{look}.mkv", replace(BASE, look=look))
        for look in ("natural", "sharp")
    }
    assert looks["natural"] != looks["sharp"]
    assert upscaled(source, tmp_path / "none.mkv", BASE) == looks["natural"]
    sharp = replace(BASE, look="sharp")
    mixed = {
        strength: upscaled(source, tmp_path / f"{strength}.mkv", replace(sharp, strength=strength))
        for strength in (0.0, 0.4, 1.0)
    }
    assert mixed[0.0] == looks["natural"]
    assert mixed[1.0] == looks["sharp"]
    assert mixed[0.4] not in looks.values()
    resumed, options = tmp_path / "resumed.mkv", replace(sharp, strength=0.4)
    assert upscale_until(source, resumed, options, stop_after=7).result is None
    log = upscale_until(source, resumed, options)
    assert log.frame_numbers[0] > 3  # it went on
    assert frame_hashes(resumed) == mixed[0.4]


def test_another_look_starts_over(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(media.cfr, frames=10), tmp_path / "out.mkv"
    assert upscale_until(source, target, BASE, stop_after=7).result is None
    log = upscale_until(source, target, replace(BASE, look="sharp"))
    assert log.frame_numbers[0] == 1
    assert any("the weights" in text for text in log.notices)


def test_mixed_weights_lie_between(weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import h5py

    natural, sharp = (read_weights(weights[look]) for look in ("natural", "sharp"))
    assert mix_looks(sharp, 0) == natural
    assert mix_looks(sharp, 1) is sharp
    mixed = mix_looks(sharp, 0.25)
    assert isinstance(mixed, MixedWeights)
    assert not mixed.path.exists()  # a plan writes nothing
    written = mixed.materialize()
    assert written.name == "duf-s-x2-footage-sharp-0.25"

    def arrays(path: Path) -> list[np.ndarray]:
        with h5py.File(path) as file:
            found: list[np.ndarray] = []
            file.visititems(lambda _, item: found.append(item[...]) if hasattr(item, "shape") else None)
            return found

    files = (written.path, natural.path, sharp.path)
    for between, first, last in zip(*map(arrays, files), strict=True):
        np.testing.assert_allclose(between, 0.75 * first + 0.25 * last, rtol=1e-5, atol=1e-7)
    first_time = written.path.stat().st_mtime_ns
    assert mixed.materialize().path.stat().st_mtime_ns == first_time  # kept
    written.path.write_bytes(b"damaged")
    mixed.materialize().verify()
    monkeypatch.setenv("VSR_CACHE", "/proc/nowhere")  # no cache: a temporary file does
    elsewhere = mix_looks(sharp, 0.25)
    assert isinstance(elsewhere, MixedWeights)
    elsewhere.materialize().verify()


def test_mixed_weights_of_a_faster_run_are_kept(
    weights: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mixed, write, runs = mix_looks(read_weights(weights["sharp"]), 0.5), MixedWeights._write, list[int]()
    assert isinstance(mixed, MixedWeights)

    def write_while_another_run_ends(self: MixedWeights, folder: Path) -> None:
        write(self, folder)
        if not runs:
            runs.append(0)
            runs[0] = self.materialize().path.stat().st_ino

    monkeypatch.setattr(MixedWeights, "_write", write_while_another_run_ends)
    written = mixed.materialize()
    assert written.path.stat().st_ino == runs[0]
    written.verify()
    assert list(written.path.parent.parent.iterdir()) == [written.path.parent]


def test_names_state_looks(weights: dict[str, Path]) -> None:
    sharp, natural = "duf-s-x2-footage-sharp", "duf-s-x2-video"
    for model in ("duf-s-sharp", sharp, str(weights["sharp"])):
        assert requested_look(model) == "sharp"
        assert {each.name for each in find_models(model, Fraction(2)) if each.look == "sharp"} == {sharp}
        with pytest.raises(UsageError, match=r"is sharp, --look natural is another"):
            find_models(model, Fraction(2), "natural")
    assert find_models("duf-s", Fraction(2))[0].name == natural
    assert find_models(natural, Fraction(2))[0].look == "natural"
    with pytest.raises(UsageError, match="is natural, --look sharp is another"):
        find_models(natural, Fraction(2), "sharp")


def test_a_name_means_natural_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    natural = tiny_weights(tmp_path, "cached")
    sharp = tmp_path / "duf-s-x2-a-sharp.weights.h5"  # before the others in the list
    sharp.write_bytes(natural.read_bytes())
    card = json.loads((tmp_path / "duf-s-x2-video.json").read_text())
    (tmp_path / "duf-s-x2-a-sharp.json").write_text(json.dumps(card | {"look": "sharp"}))
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    (choice,) = choose_models("duf-s", Fraction(2))
    assert choice.name == "duf-s-x2-video"
    (choice,) = choose_models(str(sharp), Fraction(2))
    assert isinstance(choice.weights, Weights)
    assert choice.weights.look == "sharp"


@pytest.mark.parametrize(("before", "after"), [("aa", "ab"), ("zy", "zz")])
def test_own_weights_go_before_the_programs(before: str, after: str, weights: dict[str, Path]) -> None:
    """Whatever their names are; of two in the folder, the first by name."""
    for look, degradation in (("natural", "video"), ("sharp", "video")):
        (shipped,) = choose_models("duf-r", Fraction(4), look=look)
        assert isinstance(shipped.weights, Weights)
        card = json.dumps({**shipped.weights.card, "degradation": degradation})
        for name in (before, after):
            path = weights["natural"].with_name(f"{name}-{look}.weights.h5")
            path.touch()
            path.with_name(f"{name}-{look}.json").write_text(card)
        (own,) = choose_models("duf-r", Fraction(4), look=look)
        assert own.name == f"{before}-{look}"
        (only,) = [each for each in find_models("duf-r", Fraction(4), look) if each.scale == 4]
        assert only == own
    assert isinstance(own.weights, Weights)
    assert mix_looks(own.weights, 0).name == f"{before}-natural"
    assert find_weights("duf-r", 4).name == f"{before}-natural"


def test_strength_starts_at_what_sharp_weights_were_trained_from(
    weights: dict[str, Path], tmp_path: Path
) -> None:
    """Others of the same sizes are networks of their own; between them lies none that works."""
    folder = tmp_path / "own"
    own = looks_folder(folder)
    card_path, sharp_path = folder / "duf-s-x2-footage-sharp.json", own["sharp"]
    card = json.loads(card_path.read_text())
    natural = read_weights(weights["natural"])

    def trained_from(sha256: str) -> Weights:
        card_path.write_text(json.dumps(card | {"init": {"name": "any", "sha256": sha256}}))
        return read_weights(sharp_path)

    own_card = own["natural"].with_name("duf-s-x2-video.json")
    own_card.write_text(json.dumps(json.loads(own_card.read_text()) | {"sha256": "other"}))
    assert mix_looks(trained_from("other"), 0).path == own["natural"]
    assert mix_looks(trained_from(natural.card["sha256"]), 0) == natural
    with pytest.raises(UsageError, match="leave --strength out"):
        mix_looks(trained_from("missing"), 0.5)
    later = folder / "later-sharp.weights.h5"  # trained on from the sharp ones
    shutil.copyfile(sharp_path, later)
    first = trained_from("other").card["sha256"]
    later.with_name("later-sharp.json").write_text(
        json.dumps(card | {"sha256": "later", "init": {"name": "any", "sha256": first}})
    )
    assert mix_looks(read_weights(later), 0).path == own["natural"]
    card_path.write_text(json.dumps(card))
    assert mix_looks(read_weights(sharp_path), 0) == natural


def test_what_there_is_not(vsr: Vsr, sample: Sample, tmp_path: Path, weights: dict[str, Path]) -> None:
    line = ("upscale", sample(media.cfr), tmp_path / "out.mkv", "--dry-run")
    sharp = "duf-s-x2-footage-sharp"
    vsr(*line, "-m", "duf-s", "-s", 4, "--look", "sharp").fails(
        1, f"there are no sharp weights for duf-s x4; there are: {sharp}. Use -m {sharp}, ", "--look natural"
    )
    larger = "Use -m duf-r-x4-video-sharp, whose result is resampled"
    vsr(*line, "-m", "duf-r", "-s", 3, "--look", "sharp").fails(1, "sharp weights for duf-r x3", larger)
    vsr(*line, "-m", "duf-r-xs", "-s", 2, "--look", "sharp").fails(1, "no sharp weights for duf-r-xs", sharp)
    vsr(*line, "-m", "lanczos", "--look", "sharp").fails(2, "--look sharp: lanczos has one look")
    vsr(*line, "-m", weights["sharp"], "--look", "natural").fails(2, "--look natural is another")
    vsr(*line, "--look", "loud").fails(2, "--look", "natural", "sharp")
    assert "x2, then resampled" in vsr(*line, "-m", sharp, "-s", 4).err
    weights["natural"].unlink()  # the shipped weights at x2 have other sizes
    vsr(*line, "-m", "duf-s-sharp", "-s", 2, "--strength", 0.4).fails(2, "--strength 0.4", sharp)
    with pytest.raises(UsageError, match="--look 'loud'"):
        prepare_job(sample(media.cfr), tmp_path / "out.mkv", replace(BASE, look="loud"))
    with pytest.raises(ModelError, match="no sharp weights"):
        prepare_job(sample(media.cfr), tmp_path / "out.mkv", replace(BASE, model="duf-r-s", look="sharp"))


def test_plans_say_the_look(vsr: Vsr, sample: Sample, tmp_path: Path, weights: dict[str, Path]) -> None:
    line = ("upscale", sample(media.cfr), tmp_path / "out.mkv", "--dry-run", "-m", "duf-s", "-s", 2)
    assert "  look: natural\n" in vsr(*line).err
    assert "  look: sharp\n" in vsr(*line, "--look", "sharp").err
    assert "model: duf-s-x2-footage-sharp" in vsr(*line, "--look", "sharp").err
    half = vsr(*line, "--look", "sharp", "--strength", 0.5).err
    assert "look: 0.5 of sharp, the rest natural\n" in half
    assert "model: duf-s-x2-footage-sharp-0.5" in half
    assert "Lanczos" not in half
    natural = vsr(*line, "--look", "natural", "--strength", 0.5).err
    assert "look: 0.5 of the network, the rest Lanczos\n" in natural
    assert "look:" not in vsr(*line[:-4], "-m", "bicubic").err
    listed = {each["name"]: each for each in json.loads(vsr("models", "--json").out)}
    assert listed["duf-s-x2-footage-sharp"]["look"] == "sharp"
    assert listed["duf-s-x3-video"]["look"] == "natural"
    assert listed["lanczos"]["look"] is None
    assert "sharp" in vsr("models").out


def test_settings_and_what_is_typed(
    vsr: Vsr, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look in a settings file holds for models that have it; another model that is typed needs none."""
    monkeypatch.chdir(tmp_path)
    source = sample(media.cfr)
    Path("vsr.toml").write_text('[upscale]\nmodel = "duf-s"\nscale = 2\nlook = "sharp"\n', encoding="utf-8")
    line = ("upscale", source, tmp_path / "out.mkv", "--dry-run")
    assert "look: sharp" in vsr(*line).err
    assert "look: sharp" in vsr(*line, "-m", "duf-s").err
    assert "look: natural" in vsr(*line, "--look", "natural").err
    assert vsr(*line, "-m", "lanczos").status == 0
    assert "look: natural" in vsr(*line, "-m", "duf-r-xs").err


def test_batch_names_and_repeats(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    outputs = tmp_path / "out"
    batch = (
        "batch",
        sample(media.cfr, frames=4),
        outputs,
        "-m",
        "duf-s",
        "-s",
        2,
        "--name",
        "{stem}_{model}",
    )
    done = vsr(*batch, "--look", "sharp")
    assert done.status == 0, done.err
    assert [path.stem.partition("_")[2] for path in outputs.glob("*_*")] == ["duf-s-sharp"]
    assert "1 skipped" in vsr(*batch, "--look", "sharp").err
    again = vsr(*batch, "--look", "sharp", "--strength", 0.4)
    assert "weight file" in again.err or "--strength" in again.err


def test_both_videos_of_a_preview_take_the_requested_ffmpeg(
    vsr: Vsr, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    requested = find_ffmpeg().path
    monkeypatch.setenv("VSR_FFMPEG", str(tmp_path / "missing"))
    line = ("preview", sample(media.cfr, frames=6), tmp_path / "p.mkv", "-m", "duf-s", "-s", 2)
    run = vsr(*line, "--seconds", "0.2", "--ffmpeg", requested)
    assert run.status == 0, run.err
    assert (tmp_path / "p-looks.mkv").exists()


def test_preview_shows_both(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    from vsrcli.media.probe import probe

    source, target = sample(media.cfr, frames=6), tmp_path / "p.mkv"
    line = ("preview", source, target, "-m", "duf-s", "-s", 2, "--seconds", "0.2")
    run = vsr(*line)
    assert run.status == 0, run.err
    looks = tmp_path / "p-looks.mkv"
    assert f"Lanczos, natural and sharp side by side: {looks}" in run.err
    one, three = (probe(path).video for path in (target, looks))
    assert three.width >= 3 * one.width
    assert three.height >= one.height
    looks.unlink()
    assert vsr(*line, "--look", "sharp", "-y").status == 0  # the choice is made
    assert vsr(*line[:4], "duf-s", "-s", 3, "--seconds", "0.1", "-y").status == 0  # no sharp weights there
    assert not looks.exists()
