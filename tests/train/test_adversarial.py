"""Adversarial training: it resumes exactly, keeps both networks apart, and says what it made."""

import json
import random
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import ops

from features_file import write_feature_weights
from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, ModelError, UsageError
from vsrcli.evaluate import features
from vsrcli.models import architectures, weights
from vsrcli.train import loop
from vsrcli.train.adversarial import AdversarialTrainer, _with_colours_of
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.checkpoints import WeightExporter
from vsrcli.train.config import AdversarialConfig, shape_batch, temporal_margin
from vsrcli.train.discriminator import Discriminator, SpectralConv
from vsrcli.train.footage import find_footage
from vsrcli.train.pairs import prepare_pairs
from vsrcli.train.validation import Validation

SHARP = AdversarialConfig(feature_blocks=2, discriminator_width=4, discriminator_rate=1e-3)
CONFIG = loop.TrainConfig(
    model="duf-r-s",
    scale=2,
    degradation="bi",
    steps=4,
    batch=2,
    frames=5,
    crop=8,
    save_every=2,
    warmup=1,
    ema=0.9,
    temporal_weight=0.3,
    adversarial=SHARP,
)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch, tmp_path_factory):
    """Replace the networks by tiny ones of the same names, the feature weights by few random ones."""
    sizes = {"width": 8, "blocks": 1, "head": 8}
    for name, options, frames in (("duf-s", sizes, 7), ("duf-r-s", sizes | {"levels": 1}, 3)):
        small = replace(architectures.ARCHITECTURES[name], options=options, frames=frames)
        monkeypatch.setitem(architectures.ARCHITECTURES, name, small)
    path = write_feature_weights(tmp_path_factory.mktemp("features") / "tiny.h5")
    monkeypatch.setattr(features, "find_feature_weights", lambda: path)


@pytest.fixture(autouse=True)
def eager():
    """Train without TensorFlow's graphs, faster for a few steps."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def pairs(footage_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare_pairs(find_footage(footage_folder), cache, 2, PRESETS["bi"])


@pytest.fixture
def natural(tmp_path):
    """Weights that are not sharp yet."""
    return natural_weights(CONFIG, tmp_path)


def natural_weights(config: loop.TrainConfig, folder):
    exporter = WeightExporter(replace(config, adversarial=None), folder, {})
    exporter.write(0, 0.0, None)
    return exporter.path


def weights_of(path) -> list[np.ndarray]:
    return weights.load_model(weights.read_weights(path)).get_weights()


def curve(run) -> list[tuple[str, ...]]:
    """Return step, loss, rate and parts of each line of log.csv."""
    lines = (run / "log.csv").read_text().splitlines()
    return [(*line.split(",")[:3], line.split(",", 6)[-1]) for line in lines]


def trainer(**change) -> AdversarialTrainer:
    """Return a compiled trainer of the tiny recurrent network."""
    config = replace(CONFIG, **change)
    keras.utils.set_random_seed(1)
    return loop.build_trainer(config, config.architecture, "centre")[0]  # type: ignore[return-value]


def batch(pairs, model: str = "duf-r-s", step: int = 0):
    network = architectures.architecture(model)
    plan = BatchPlan(2, CONFIG.frames, temporal_margin(network), CONFIG.crop, 2)
    return shape_batch(*make_batch(pairs, plan, 5, step), network)


@pytest.mark.parametrize("mode", ["eager", pytest.param("traced", marks=pytest.mark.slow)])
def test_killed_at_any_step_and_resumed_equals_uninterrupted(mode, pairs, natural, tmp_path):
    if mode == "traced" and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.run_functions_eagerly(False)
    whole = loop.train(CONFIG, pairs, tmp_path / "a", init=natural)
    last = random.randint(1, CONFIG.steps - 1)

    def die(report):  # as a kill does: the last checkpoint may be a step older
        if report.step == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(CONFIG, pairs, tmp_path / "b", init=natural, on_step=die)

    resumed = loop.train(CONFIG, pairs, tmp_path / "b")  # needs no --init any more
    for a, b in zip(weights_of(whole), weights_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert curve(tmp_path / "b") == curve(tmp_path / "a"), f"killed at step {last}"
    with np.load(tmp_path / "a/checkpoint.npz") as a, np.load(tmp_path / "b/checkpoint.npz") as b:
        assert sorted(a.files) == sorted(b.files)
        for name in a.files:
            if name != "state":
                np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize(("model", "frames"), [("duf-r-s", 5), ("duf-s", 9), ("duf-16l", 9)])
def test_every_kind_of_network_can_be_made_sharp(model, frames, pairs, tmp_path):
    config = replace(CONFIG, model=model, frames=frames, steps=1, warmup=0, batch=1)
    natural = natural_weights(config, tmp_path)
    path = loop.train(config, pairs, tmp_path / "sharp", init=natural)
    assert path.name == f"{model}-x2-bi-sharp.weights.h5"
    assert any(not np.array_equal(a, b) for a, b in zip(weights_of(natural), weights_of(path), strict=True))


def test_cards_state_the_look_and_searches_go_by_it(pairs, natural, tmp_path, monkeypatch):
    path = loop.train(replace(CONFIG, steps=1), pairs, tmp_path / "sharp", init=natural)
    card = json.loads(path.with_name("duf-r-s-x2-bi-sharp.json").read_text())
    assert card["look"] == "sharp"
    losses = card["training"]["adversarial"]
    assert losses["feature_weight"] == SHARP.feature_weight
    assert card["training"]["temporal_weight"] == 0.3
    monkeypatch.setenv("VSR_WEIGHTS", str(path.parent))
    assert weights.find_weights("duf-r-s", 2, "bi", look="sharp").path == path
    with pytest.raises(ModelError, match="no trained weights"):
        weights.find_weights("duf-r-s", 2, "bi")
    natural_card = json.loads(natural.with_name("duf-r-s-x2-bi.json").read_text())
    assert natural_card["look"] == "natural"


def test_the_log_has_every_loss(pairs, natural, tmp_path):
    reports = []
    loop.train(replace(CONFIG, steps=2), pairs, tmp_path / "run", init=natural, on_step=reports.append)
    names = {"pixel", "color", "grid", "evenness", "temporal", "ping_pong", "feature", "adversarial"}
    assert set(reports[1].parts) == {*names, "discriminator"}
    part = reports[1].parts
    weighted = (
        SHARP.pixel_weight * part["pixel"]
        + SHARP.color_weight * part["color"]
        + SHARP.grid_weight * part["grid"]
        + SHARP.evenness_weight * part["evenness"]
        + 0.3 * part["temporal"]
        + SHARP.ping_pong_weight * part["ping_pong"]
    )
    weighted += SHARP.feature_weight * part["feature"] + SHARP.adversarial_weight * part["adversarial"]
    assert reports[1].loss == pytest.approx(weighted, rel=1e-3)
    assert json.loads(curve(tmp_path / "run")[2][3].strip('"').replace('""', '"')) == pytest.approx(
        part, abs=1e-6
    )


def test_validation_scores_the_feature_distance(footage_folder, tmp_path):
    path = features.find_feature_weights()
    network = architectures.architecture("duf-r-s").build(2)
    plain = Validation(footage_folder, tmp_path, 2, PRESETS["bi"])
    scored = Validation(footage_folder, tmp_path, 2, PRESETS["bi"], features=features.EdgeFeatures(2, path))
    scores = scored(network, CONFIG.architecture)
    assert scores.pop("bi features") > 0
    assert scores == plain(network, CONFIG.architecture)


def test_parts_with_weight_zero_are_left_out(pairs, natural, tmp_path, monkeypatch):
    def no_package():
        raise AssertionError("not needed")

    monkeypatch.setattr(features, "find_feature_weights", no_package)
    without = ("color", "grid", "evenness", "feature", "adversarial", "ping_pong")
    sharp = replace(SHARP, **dict.fromkeys((f"{name}_weight" for name in without), 0.0))
    reports = []
    config = replace(CONFIG, steps=1, temporal_weight=0.0, adversarial=sharp)
    loop.train(config, pairs, tmp_path / "run", init=natural, on_step=reports.append)
    assert set(reports[0].parts) == {"pixel"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "--init FILE"),
        ({"frames": 4}, "--frames 5 or more"),
        ({"precision": "fp16"}, "--precision bf16"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_written(change, message, pairs, tmp_path):
    with pytest.raises(UsageError, match=message):
        loop.train(replace(CONFIG, **change), pairs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_other_losses_cannot_be_resumed_with(pairs, natural, tmp_path):
    loop.train(replace(CONFIG, steps=1), pairs, tmp_path / "run", init=natural)
    changed = replace(CONFIG, adversarial=replace(SHARP, feature_weight=0.5))
    with pytest.raises(DataError, match="another adversarial"):
        loop.train(changed, pairs, tmp_path / "run", init=natural)


def test_no_network_learns_from_the_loss_of_the_other(pairs):
    low, high = batch(pairs)

    def after_a_step(**change) -> tuple[list[np.ndarray], list[np.ndarray]]:
        model = trainer(warmup=0, adversarial=replace(SHARP, **change))
        model.train_on_batch(low, high)
        assert model.discriminator is not None
        return model.generator.get_weights(), model.discriminator.get_weights()

    generator, discriminator = after_a_step()
    same_generator, other_discriminator = after_a_step(discriminator_rate=1e-2)
    for a, b in zip(generator, same_generator, strict=True):
        np.testing.assert_array_equal(a, b)
    other_generator, same_discriminator = after_a_step(adversarial_weight=10.0)
    for a, b in zip(discriminator, same_discriminator, strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in ((generator, other_generator), (discriminator, other_discriminator)):
        assert any(not np.array_equal(first, second) for first, second in zip(a, b, strict=True))


def test_the_discriminator_learns_to_tell_output_from_truth(pairs):
    sharp = replace(SHARP, discriminator_rate=1e-2, feature_weight=0.0, ping_pong_weight=0.0)
    model = trainer(learning_rate=1e-9, final_rate=1e-9, warmup=0, adversarial=sharp)
    losses = []
    for step in range(12):
        low, high = batch(pairs, step=step)
        losses.append(model.train_on_batch(low, high, return_dict=True)["discriminator"])
    assert np.mean(losses[-3:]) < 0.95 * np.mean(losses[:3])


def test_the_loss_on_colours_sees_a_shade_but_no_texture(pairs):
    low, high = batch(pairs)
    model = trainer(adversarial=replace(SHARP, adversarial_weight=0.0, feature_weight=0.0))
    noise = np.random.default_rng(1).choice([-0.1, 0.1], high.shape).astype(np.float32)
    noise[..., ::2, :] = -noise[..., 1::2, :]  # no mean in any block
    losses = []
    for output in (high + noise, high + 0.1):
        model.reset_metrics()
        model.compute_loss(low, high, (output, output))
        losses.append({mean.name: float(mean.result()) for mean in model.metrics if mean.name != "loss"})
    texture, shade = losses
    assert texture["pixel"] == pytest.approx(shade["pixel"], rel=1e-3)
    assert texture["color"] < 0.002
    assert shade["color"] == pytest.approx(0.1, rel=0.01)


def test_the_loss_on_patterns_sees_what_repeats_with_every_pixel(pairs):
    low, high = batch(pairs)
    model = trainer(adversarial=replace(SHARP, adversarial_weight=0.0, feature_weight=0.0))
    pattern = np.tile(np.array([[0.1, -0.1], [-0.1, 0.1]], np.float32), (8, 8))[..., None]
    random = np.random.default_rng(1).permuted(pattern.ravel()).reshape(pattern.shape)
    losses = []
    for output in (high + pattern, high + random):
        model.reset_metrics()
        model.compute_loss(low, high, (output, output))
        losses += [float(mean.result()) for mean in model.metrics if mean.name == "grid"]
    assert losses[0] == pytest.approx(0.1, rel=0.01)
    assert losses[1] < 0.5 * losses[0]


def test_the_loss_on_evenness_sees_beads_without_a_mean(pairs):
    """Detail in one pixel of each block, of either sign, against as much detail in all of them."""
    low, high = batch(pairs)
    model = trainer(adversarial=replace(SHARP, adversarial_weight=0.0, feature_weight=0.0))
    signs = np.random.default_rng(1).choice([-0.1, 0.1], high.shape[:-1]).astype(np.float32)[..., None]
    beads = signs * np.tile(np.array([[2.0, 0.0], [0.0, 0.0]], np.float32), (8, 8))[..., None]
    losses = []
    grey = np.full_like(high, 0.5)
    for output in (grey + beads, grey + signs):
        model.reset_metrics()
        model.compute_loss(low, high, (output, output))
        losses += [float(mean.result()) for mean in model.metrics if mean.name == "evenness"]
    assert losses[1] < 0.25 * losses[0]


class Repeated(keras.Model):
    """A network that repeats pixels, and adds a number that grows from frame to frame, as drift would."""

    def __init__(self, margin: int, drift: float):
        super().__init__()
        self.margin, self.drift = margin, drift

    def call(self, frames):
        frames = frames[:, self.margin : frames.shape[1] - self.margin]
        time = ops.reshape(ops.arange(frames.shape[1], dtype="float32"), (1, -1, 1, 1, 1))
        return ops.repeat(ops.repeat(frames, 2, axis=2), 2, axis=3) + self.drift * time


@pytest.mark.parametrize("drift", [0.0, 0.01])
def test_the_way_back_shows_the_same_frames_unless_the_network_drifts(drift, pairs):
    low, high = batch(pairs)
    model = AdversarialTrainer(Repeated(1, drift), architectures.architecture("duf-r-s"), CONFIG)
    forward, backward = (ops.convert_to_numpy(part) for part in model(low))
    assert forward.shape == backward.shape == high.shape
    assert np.abs(forward - high).mean() < 0.1 + 3 * drift  # in the order of the truth
    # 5 frames and 4 on the way back give 7 outputs: the last is that of the first frame.
    np.testing.assert_allclose((backward - forward)[0, :, 0, 0, 0], [drift * n for n in (6, 4, 2)], atol=1e-5)


def test_the_spectral_norm_of_every_layer_is_one():
    layer = SpectralConv(6)
    x = np.random.default_rng(1).normal(size=(1, 8, 8, 5)).astype(np.float32)
    for _ in range(30):
        layer(x, iterate=True)
    kernel = ops.convert_to_numpy(layer.kernel)
    largest = np.linalg.svd(kernel.reshape(-1, 6), compute_uv=False)[0]
    expected = ops.convert_to_numpy(ops.conv(x, kernel / largest, padding="same"))
    np.testing.assert_allclose(ops.convert_to_numpy(layer(x)), expected, atol=1e-4)


@pytest.mark.parametrize("side", [16, 30])
def test_the_discriminator_scores_every_pixel(side):
    assert tuple(Discriminator(4)(np.zeros((2, side, side, 12), np.float32)).shape) == (2, side, side, 1)


def test_colours_are_not_judged() -> None:
    """Output and truth differ in brightness alone, whatever the output's colours are."""
    rng = np.random.default_rng(5)
    truth, output = (rng.random((1, 2, 3, 4, 3)).astype(np.float32) for _ in range(2))
    judged = ops.convert_to_numpy(_with_colours_of(truth, output))
    np.testing.assert_allclose(judged.mean(-1), output.mean(-1), atol=1e-5)
    difference = judged - truth
    np.testing.assert_allclose(difference, difference[..., :1].repeat(3, -1), atol=1e-6)
