"""Losses, schedules and metrics by name, and the recipes that are made of them."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import click
import keras
import numpy as np
import pytest
from footage import write_clip
from keras import ops

from features_file import write_feature_weights
from tiny_networks import COURSE_SIZES
from vsrcli.cli.train import train
from vsrcli.cli.train_options import DeltaParam, MetricsParam, training_config
from vsrcli.degradations import PRESETS
from vsrcli.errors import UsageError
from vsrcli.models import architectures
from vsrcli.train import loop
from vsrcli.train.config import LOSSES, SCHEDULES, TrainConfig, check_sequences, config_differences
from vsrcli.train.footage import find_footage
from vsrcli.train.losses import frame_loss
from vsrcli.train.pairs import prepare_pairs
from vsrcli.train.recipes import RECIPES
from vsrcli.train.schedules import make_rate
from vsrcli.train.validation import Validation


def config_of(*arguments: str, settings: dict[str, Any] | None = None) -> TrainConfig:
    line = [".", "--run", "run", *arguments]
    names = ["-h", "--help"]  # Click keeps the option of its first context
    context = train.make_context("train", line, default_map=settings or {}, help_option_names=names)
    return training_config(context, context.params)


def rates(config: TrainConfig, *steps: int) -> list[float]:
    rate: Any = make_rate(config, config.learning_rate)
    return [float(ops.convert_to_numpy(rate(step))) for step in steps]


def test_losses_follow_their_formulas():
    truth = np.array([0.0, 0.5, 1.0], np.float32)
    output = np.array([0.005, 0.5, 0.7], np.float32)
    d = np.abs(truth - output).astype(np.float64)
    assert float(frame_loss("mse")(truth, output)) == pytest.approx((d**2).mean(), rel=1e-5)
    assert float(frame_loss("mae")(truth, output)) == pytest.approx(d.mean(), rel=1e-5)
    wide = float(frame_loss("huber", 200 / 255)(truth, output))
    assert wide == pytest.approx((d**2).mean() / 2, rel=1e-5)  # hardly any error is that large


def test_in_the_loss_psnr_every_frame_counts_alike():
    truth = np.full((1, 2, 4, 4, 3), 0.5, np.float32)
    output = truth + np.array([0.1, 0.02], np.float32)[None, :, None, None, None]
    decibels = -10 * np.log10(np.array([0.1, 0.02]) ** 2 + 255.0**-2)
    for shape in ((1, 2, 4, 4, 3), (2, 4, 4, 3)):  # sequences, and the windows of a windowed network
        loss = float(frame_loss("psnr")(truth.reshape(shape), output.reshape(shape)))
        assert loss == pytest.approx((100 - decibels.mean()) / 100, rel=1e-4)
    assert float(frame_loss("psnr")(truth, truth)) == pytest.approx(1 - 0.4813, abs=1e-3)  # 48 dB: one code


def test_in_the_loss_rmse_frames_count_by_their_error():
    truth = np.full((1, 2, 4, 4, 3), 0.5, np.float32)
    output = truth + np.array([0.1, 0.02], np.float32)[None, :, None, None, None]
    for shape in ((1, 2, 4, 4, 3), (2, 4, 4, 3)):
        loss = float(frame_loss("rmse")(truth.reshape(shape), output.reshape(shape)))
        assert loss == pytest.approx(0.06, rel=5e-3)


def test_schedules_follow_their_formulas():
    config = TrainConfig(learning_rate=1.0, final_rate=0.01, warmup=0, steps=100, decay_steps=10)
    assert rates(replace(config, schedule="constant"), 0, 50, 100) == [1, 1, 1]
    falling = rates(replace(config, schedule="step", step_factor=0.5), 0, 9, 10, 29, 99)
    assert falling == pytest.approx([1, 1, 0.5, 0.25, 0.01])  # never below the final rate
    restarts = replace(config, schedule="cosine-restarts", period_factor=2.0, restart_factor=0.5)
    first, middle, end, again, later = rates(restarts, 0, 5, 29, 10, 30)
    assert (first, again, later) == pytest.approx((1, 0.5, 0.25), abs=1e-2)
    assert middle == pytest.approx(0.505, abs=1e-3)
    assert end < 0.02
    warm = replace(restarts, warmup=4)
    assert rates(warm, 0, 2, 4, 14) == pytest.approx([0, 0.5, 1, 0.5], abs=1e-2)


def test_huber_delta_in_both_terms():
    assert config_of("--huber-delta", "0.02").huber_delta == 0.02
    assert config_of("--huber-delta", "200/255").huber_delta == pytest.approx(200 / 255)
    for bad in ("0", "-1", "a", "1/2", "200 / 25", "nan"):
        with pytest.raises(click.UsageError, match=r"such as 0\.01 or 200/255"):
            DeltaParam().convert(bad, None, None)


def test_metrics_are_checked():
    assert MetricsParam().convert("mse, mae,mse", None, None) == ("mse", "mae")
    with pytest.raises(click.UsageError, match="'psnr' is no metric: choose of mse"):
        MetricsParam().convert("mse,psnr", None, None)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_sets_what_it_lists_and_options_win(name: str):
    recipe = RECIPES[name]
    config = config_of("--recipe", name)
    assert {key: asdict(config)[key] for key in recipe.settings} == recipe.settings
    check_sequences(config, config.architecture)
    assert set(recipe.settings) <= {field.name for field in fields(TrainConfig)}
    assert recipe.known <= set(recipe.settings)
    assert recipe.source
    assert recipe.unknown
    changed = config_of("--recipe", name, "--batch", "3", "--no-blur", settings={"steps": 5})
    assert (changed.batch, changed.steps, changed.loss) == (3, 5, config.loss)


def test_a_recipe_is_no_adversarial_training():
    with pytest.raises(UsageError, match="leave --adversarial out"):
        config_of("--recipe", "duf-2018", "--adversarial")


def test_bad_values_are_named():
    with pytest.raises(UsageError, match=r"--final-rate 0\.1 is more than --learning-rate 0\.001"):
        check_sequences(TrainConfig(final_rate=0.1), architectures.architecture("duf-s"))
    with pytest.raises(UsageError, match="bd has no share of compressed variants"):
        check_sequences(
            TrainConfig(degradation="bd", compressed_share=0.5), architectures.architecture("duf-s")
        )
    for option, value in (("--loss", "l3"), ("--schedule", "exponential"), ("--recipe", "mine")):
        with pytest.raises(click.BadParameter):
            config_of(option, value)
    with pytest.raises(click.BadParameter):
        config_of("--period-factor", "0.5")


def test_checkpoints_from_before_these_options_can_be_resumed():
    old = asdict(TrainConfig())
    for option in (
        "compressed_share",
        "huber_delta",
        "schedule",
        "decay_steps",
        "period_factor",
        "restart_factor",
        "step_factor",
    ):
        del old[option]
    assert config_differences(TrainConfig(steps=7), old) == []
    assert config_differences(TrainConfig(schedule="step"), old) == ["schedule"]


def test_the_guide_lists_the_recipes():
    page = Path(__file__).parents[2] / "docs" / "training.md"
    if not page.is_file():
        pytest.skip("docs are part of the repository only")
    text = page.read_text(encoding="utf-8")
    for recipe in RECIPES.values():
        assert f"| `{recipe.name}` |" in text
    for name in (*LOSSES, *SCHEDULES):
        assert f"`{name}`" in text


@pytest.fixture
def eager():
    """Train without TensorFlow's graphs, which take longer to trace than the few steps."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    write_clip(folder / "a.mkv", 1, height=36, width=36)
    return folder


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    ("loss", "schedule"),
    [
        ("mse", "cosine-restarts"),
        pytest.param("huber", "step", marks=pytest.mark.slow),
        pytest.param("mae", "constant", marks=pytest.mark.slow),
    ],
)
@pytest.mark.usefixtures("eager")
def test_a_killed_run_ends_as_an_unbroken_one(loss, schedule, clip_folder, tmp_path, monkeypatch):
    small = architectures.ARCHITECTURES["fsrcnn"].with_sizes(COURSE_SIZES["fsrcnn"])
    monkeypatch.setitem(architectures.ARCHITECTURES, "fsrcnn", small)
    pairs = prepare_pairs(find_footage(clip_folder), clip_folder.parent / "recipe-cache", 2, PRESETS["bi"])
    config = TrainConfig(
        model="fsrcnn",
        scale=2,
        degradation="bi",
        loss=loss,
        huber_delta=0.5,
        schedule=schedule,
        decay_steps=2,
        steps=5,
        batch=1,
        frames=1,
        crop=8,
        warmup=1,
        save_every=1,
    )
    seen = []
    loop.train(config, pairs, tmp_path / "a", on_step=lambda report: seen.append(report.learning_rate))

    def die(report):
        if report.step == 3:
            raise Killed

    again = []
    with pytest.raises(Killed):
        loop.train(config, pairs, tmp_path / "b", on_step=die)
    loop.train(config, pairs, tmp_path / "b", on_step=lambda report: again.append(report.learning_rate))
    assert again == seen[3:]
    with np.load(tmp_path / "a" / "checkpoint.npz") as one, np.load(tmp_path / "b" / "checkpoint.npz") as two:
        for name in one.files:
            if name != "state":
                np.testing.assert_array_equal(one[name], two[name])


def test_validation_has_the_metrics_that_were_asked_for(clip_folder, tmp_path):
    validation = Validation(
        clip_folder,
        clip_folder.parent / "recipe-cache",
        2,
        PRESETS["bi"],
        metrics=("mse", "huber"),
        huber_delta=1.0,
    )
    case = validation.cases[0]
    validation.cases = [replace(case, low=case.low[:7], truth=case.truth[:1])]
    known = architectures.ARCHITECTURES["fsrcnn"]
    scores = validation(known.build(2), known)
    assert scores["bi huber"] == pytest.approx(scores["bi mse"] / 2, rel=1e-3)
    assert 0.01 < scores["bi mse"] < 1


def test_the_feature_loss_is_more_than_charbonnier(monkeypatch, tmp_path):
    path = write_feature_weights(tmp_path / "features.h5")
    monkeypatch.setattr("vsrcli.evaluate.features.find_feature_weights", lambda: path)
    truth = np.random.default_rng(1).random((1, 2, 16, 16, 3)).astype(np.float32)
    output = np.clip(truth + 0.1, 0, 1)
    features, plain = (float(frame_loss(name)(truth, output)) for name in ("features", "charbonnier"))
    assert features > plain
    assert float(frame_loss("features")(truth, truth)) == pytest.approx(1e-3, rel=1e-3)
