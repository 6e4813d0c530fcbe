"""Training resumes exactly, and its weights can be used."""

import json
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError, SignalInterruptError, UsageError
from vsrcli.models import architectures, weights
from vsrcli.system.signals import catch_signals, current_token
from vsrcli.train import loop
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.checkpoints import read_state
from vsrcli.train.config import config_differences
from vsrcli.train.footage import find_footage
from vsrcli.train.losses import HUBER_DELTA, charbonnier, frame_loss, huber, sequence_loss
from vsrcli.train.pairs import prepare_pairs
from vsrcli.train.validation import Validation

CONFIG = loop.TrainConfig(
    scale=2, degradation="bi", steps=4, batch=2, frames=7, crop=8, save_every=2, warmup=1
)
RECURRENT = replace(CONFIG, model="duf-r-s", frames=5, temporal_weight=0.5, optimizer="muon", ema=0.9)
TINY = {
    "duf-s": {"width": 8, "blocks": 1, "head": 8},
    "duf-r-s": {"width": 8, "levels": 1, "blocks": 1, "head": 8},
}


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    """Replace DUF-S and DUF-R by tiny ones of the same names."""
    for name, options in TINY.items():
        small = architectures.ARCHITECTURES[name].with_sizes(options)
        monkeypatch.setitem(architectures.ARCHITECTURES, name, small)


@pytest.fixture(autouse=True)
def eager(request):
    """Train without TensorFlow's graphs, faster for a few steps, unless a test asks for ``traced``."""
    if keras.backend.backend() != "tensorflow" or "traced" in request.fixturenames:
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def traced():
    """See :func:`eager`."""


@pytest.fixture(scope="module")
def pairs(footage_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare_pairs(find_footage(footage_folder), cache, 2, PRESETS["bi"])


def weights_of(path) -> list[np.ndarray]:
    return weights.load_model(weights.read_weights(path)).get_weights()


def logged(run) -> list[list[str]]:
    """Return step and loss of each line of log.csv."""
    return [line.split(",")[:2] for line in (run / "log.csv").read_text().splitlines()]


@pytest.mark.parametrize("config", [CONFIG, RECURRENT], ids=["cached, adam", "recurrent, muon"])
@pytest.mark.usefixtures("traced")
def test_stopped_and_resumed_equals_uninterrupted(config, pairs, tmp_path):
    uninterrupted = loop.train(config, pairs, tmp_path / "a")

    def stop(report):
        if report.step == 2:
            current_token().cancel()

    with pytest.raises(SignalInterruptError, match="step 2 of 4") as stopped, catch_signals():
        loop.train(config, pairs, tmp_path / "b", on_step=stop)
    assert stopped.value.exit_status == 143
    steps = []
    resumed = loop.train(config, pairs, tmp_path / "b", on_step=lambda report: steps.append(report.step))
    assert steps == [3, 4]
    for a, b in zip(weights_of(uninterrupted), weights_of(resumed), strict=True):
        np.testing.assert_array_equal(a, b)
    assert logged(tmp_path / "b") == logged(tmp_path / "a")
    assert [step for step, _ in logged(tmp_path / "b")] == ["step", "1", "2", "3", "4"]


def test_a_killed_run_leaves_the_last_checkpoint(pairs, tmp_path):
    """An exception at step 3 passes through the loop; the checkpoint of step 2 is intact."""

    def die(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(CONFIG, pairs, tmp_path, on_step=die)
    steps = []
    loop.train(CONFIG, pairs, tmp_path, on_step=lambda report: steps.append(report.step))
    assert steps == [3, 4]
    assert [step for step, _ in logged(tmp_path)] == ["step", "1", "2", "3", "4"]


def test_the_last_validated_states_are_kept_as_weight_files(pairs, tmp_path):
    config = replace(CONFIG, steps=3, validate_every=1, keep=2)
    validation: Any = lambda network, architecture: {"bi gain_db": 1.0}  # noqa: E731
    final = loop.train(config, pairs, tmp_path, validation=validation)
    states = sorted((tmp_path / "states").glob("*-0*.weights.h5"))
    assert [path.name.removesuffix(".weights.h5")[-7:] for path in states] == ["0000002", "0000003"]
    mean = weights.read_weights(tmp_path / "states" / "duf-s-x2-bi-mean.weights.h5")
    assert mean.card["validation"] == {"bi gain_db": 1.0}
    assert len(list((tmp_path / "states").iterdir())) == 6  # the mean, and all cards
    assert [weights.read_weights(path).card["training"]["step"] for path in states] == [2, 3]
    first, last = (weights_of(path) for path in states)
    assert any((a != b).any() for a, b in zip(first, last, strict=True))
    for a, b in zip(last, weights_of(final), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b, c in zip(first, last, weights_of(mean.path), strict=True):
        np.testing.assert_allclose(c, (a + b) / 2, atol=1e-7)


def test_states_of_an_abandoned_run_are_not_taken_for_those_of_a_new_one(pairs, tmp_path):
    validation: Any = lambda network, architecture: {"bi gain_db": 1.0}  # noqa: E731
    config = replace(CONFIG, steps=4, validate_every=1, keep=2)
    loop.train(config, pairs, tmp_path, validation=validation)
    (tmp_path / "checkpoint.npz").unlink()
    loop.train(replace(config, steps=2), pairs, tmp_path, validation=validation)
    states = sorted((tmp_path / "states").glob("*-0*.weights.h5"))
    assert [path.name.removesuffix(".weights.h5")[-7:] for path in states] == ["0000001", "0000002"]


def test_a_clip_smaller_than_the_crop_is_named_with_other_weights_too(pairs, tmp_path):
    init = loop.train(replace(CONFIG, steps=1), pairs, tmp_path / "first")
    small = replace(pairs[0], name="small", high=pairs[0].high[:, :8, :8], low=pairs[0].low[:, :, :4, :4])
    for first in (None, init):
        with pytest.raises(DataError, match=r"--crop \d+ is larger than the low resolution of 'small'"):
            loop.train(CONFIG, [*pairs, small], tmp_path / "run", init=first)


def test_the_rate_in_the_log_is_the_one_that_was_used(pairs, tmp_path):
    reports: list[Any] = []
    config = replace(CONFIG, steps=3, warmup=2, learning_rate=1e-3)
    loop.train(config, pairs, tmp_path, on_step=reports.append)
    assert [report.learning_rate for report in reports][:2] == pytest.approx([0, 5e-4])


def test_another_configuration_is_refused(pairs, tmp_path):
    loop.train(replace(CONFIG, steps=1), pairs, tmp_path)
    with pytest.raises(DataError, match="another crop"):
        loop.train(replace(CONFIG, crop=12), pairs, tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match="not a checkpoint"):
        loop.train(CONFIG, pairs, tmp_path)


def test_other_footage_is_refused_and_init_goes_on_from_its_weights(pairs, tmp_path):
    weights = loop.train(replace(CONFIG, steps=1), pairs, tmp_path / "run")
    fewer = pairs[:-1]
    with pytest.raises(DataError, match=r"on other footage.*--init"):
        loop.train(CONFIG, fewer, tmp_path / "run")
    loop.train(replace(CONFIG, steps=1), fewer, tmp_path / "new", init=weights)


def test_checkpoints_older_than_an_option_can_be_resumed(tmp_path, pairs):
    loop.train(replace(CONFIG, steps=1, ema=0.0, blur=False), pairs, tmp_path)
    old = read_state(tmp_path / "checkpoint.npz")["config"]
    for option in ("ema", "blur", "optimizer", "precision", "temporal_weight", "data", "gpus"):
        del old[option]
    assert config_differences(replace(CONFIG, steps=9, ema=0.0, blur=False), old) == []
    assert config_differences(replace(CONFIG, optimizer="muon", blur=False), old) == ["ema", "optimizer"]


def test_the_average_is_validated_and_exported(pairs, tmp_path):
    scored = []

    def validation(network, architecture):
        scored.append(network.get_weights())
        return {"bi psnr_y": 1.0}

    config = replace(RECURRENT, steps=3, ema=0.5, learning_rate=1e-2)
    path = loop.train(config, pairs, tmp_path, validation=validation)  # type: ignore[arg-type]
    with np.load(tmp_path / "checkpoint.npz") as archive:
        last = [archive[name] for name in sorted(archive.files) if name.startswith("model")]
    for exported, average in zip(weights_of(path), scored[-1], strict=True):
        np.testing.assert_array_equal(exported, average)
    assert any(not np.allclose(average, raw) for average, raw in zip(scored[-1], last, strict=True))


def test_mixed_precision_is_recorded_in_the_card_and_ends_with_the_run(pairs, tmp_path):
    config = replace(RECURRENT, steps=2, precision="fp16")
    card = json.loads(loop.train(config, pairs, tmp_path).with_name("duf-r-s-x2-bi.json").read_text())
    assert card["training"]["precision"] == "fp16"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "duf-r-s", "frames": 2}, "use 3 or more"),
        ({"model": "duf-s", "frames": 6}, "use 7 or more"),
        ({"model": "duf-s", "frames": 7, "temporal_weight": 1.0}, "use --frames 8 or more"),
        ({"gpus": 2}, "KERAS_BACKEND=jax"),
    ],
)
def test_sizes_that_do_not_fit_are_refused_before_anything_is_written(change, message, pairs, tmp_path):
    with pytest.raises(UsageError, match=message):
        loop.train(replace(CONFIG, **change), pairs, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_can_start_from_other_weights(pairs, tmp_path):
    first = loop.train(replace(RECURRENT, steps=1), pairs, tmp_path / "first")
    notices = []
    config = replace(RECURRENT, steps=1, degradation="video", learning_rate=1e-6, final_rate=1e-6, warmup=0)
    second = loop.train(config, pairs, tmp_path / "same", init=first, on_notice=notices.append)
    assert notices[0] == "starting from duf-r-s-x2-bi.weights.h5; fresh: nothing"
    for a, b in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    card = json.loads(second.with_name("duf-r-s-x2-video.json").read_text())
    record = {
        "name": first.name,
        "sha256": weights.file_sha256(first),
        "fresh": [],
        "revived": {},
        "widened": [],
    }
    assert card["init"] == record

    with pytest.raises(DataError, match="another init"):
        loop.train(config, pairs, tmp_path / "same", init=second)
    assert loop.train(config, pairs, tmp_path / "same", init=first) == second  # the same command resumes


def test_dead_channels_are_revived(pairs, tmp_path):
    first = loop.train(replace(RECURRENT, steps=1), pairs, tmp_path / "first")
    model = weights.load_model(weights.read_weights(first))
    kernel, bias = model.get_layer("encode").get_weights()
    bias[3] = -100.0
    model.get_layer("encode").set_weights([kernel, bias])
    model.save_weights(first)
    card = json.loads(first.with_name("duf-r-s-x2-bi.json").read_text())
    card["sha256"] = weights.file_sha256(first)
    first.with_name("duf-r-s-x2-bi.json").write_text(json.dumps(card))
    notices: list[str] = []
    config = replace(RECURRENT, steps=1, learning_rate=1e-6, final_rate=1e-6, warmup=0)
    kept = loop.train(config, pairs, tmp_path / "kept", init=first, on_notice=notices.append)
    assert "--revive: there are channels that are always zero: 1 of encode" in notices[-1]
    revived = loop.train(
        config, pairs, tmp_path / "revived", init=first, revive_dead=True, on_notice=notices.append
    )
    assert "new kernels for channels that are always zero: 1 of encode" in notices[-1]
    biases = [
        weights.load_model(weights.read_weights(path)).get_layer("encode").get_weights()[1][3]
        for path in (kept, revived)
    ]
    assert biases[0] < -99
    assert abs(biases[1]) < 0.01
    assert json.loads(revived.with_name("duf-r-s-x2-bi.json").read_text())["init"]["revived"]["encode"] == 1


def test_layers_that_do_not_match_start_fresh(tmp_path):
    from vsrcli.train.checkpoints import WeightExporter, initialize_from

    export = WeightExporter(RECURRENT, tmp_path, {})
    export.network.set_weights([w + 1 for w in export.network.get_weights()])
    export.write(0, 0.0, None)

    larger = architectures.architecture("duf-r-s").build(3)
    assert initialize_from(export.path, larger, "centre").fresh == ("recall", "filters", "residual")
    assert float(np.min(larger.get_layer("encode").get_weights()[1])) == 1

    shifted = architectures.architecture("duf-r-s").build(2, phase="zero")
    bias = shifted.get_layer("filters").get_weights()[1]
    assert initialize_from(export.path, shifted, "zero").fresh == ("filters bias",)
    kernel, bias_after = shifted.get_layer("filters").get_weights()
    np.testing.assert_array_equal(bias_after, bias)
    np.testing.assert_array_equal(kernel, export.network.get_layer("filters").get_weights()[0])

    without_feedback = architectures.architecture("duf-r-s").with_sizes({"feedback": False}).build(4)
    assert initialize_from(export.path, without_feedback, "centre").fresh == ("filters", "residual")
    kernel, recalled = (
        each.get_layer("recall").get_weights()[0] for each in (without_feedback, export.network)
    )
    np.testing.assert_array_equal(kernel, recalled[:, :, : kernel.shape[2]])

    unrelated = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Conv2D(2, 1, name="unrelated")])
    with pytest.raises(DataError, match="shares no layer"):
        initialize_from(export.path, unrelated, "centre")


@pytest.mark.parametrize("feedback", [False, True])
def test_a_larger_network_begins_with_the_results_of_a_smaller_one(feedback, tmp_path):
    from vsrcli.train.checkpoints import WeightExporter, initialize_from

    sizes = {"width": 8, "levels": 2, "blocks": 1, "head": 12, "feedback": feedback}
    config = replace(RECURRENT, sizes=sizes)
    export = WeightExporter(config, tmp_path, {})
    rng = np.random.default_rng(1)
    export.network.set_weights([w + 0.1 * rng.standard_normal(w.shape) for w in export.network.get_weights()])
    export.write(0, 0.0, None)

    more = sizes | {"width": 12, "blocks": 3, "head": 16}
    larger = architectures.architecture(config.model).with_sizes(more).build(config.scale)
    transfer = initialize_from(export.path, larger, "centre")
    assert {"encode", "fuse1", "recall", "block0_b", "residual"} <= set(transfer.widened)
    assert transfer.fresh == ("block1_a", "block2_a", "block1_b", "block2_b")
    frames = rng.random((1, 8, 6, 7, 3), np.float32)
    np.testing.assert_allclose(larger(frames), export.network(frames), atol=1e-4)


def test_a_run_writes_a_model_with_a_card(pairs, footage_folder, tmp_path):
    validation = Validation(footage_folder, tmp_path / "cache", 2, PRESETS["bi"])
    path = loop.train(
        replace(CONFIG, steps=2), pairs, tmp_path / "run", validation=validation, card={"licence": "X"}
    )
    card = json.loads(path.with_name("duf-s-x2-bi.json").read_text())
    assert card["licence"] == "X"
    assert card["phase"] == "centre"
    assert card["sha256"] == weights.file_sha256(path)
    assert {"bi psnr_y", "bi gain_db", "bi worst_gain_db", "bi ssim_y", "bi temporal_db"} <= set(
        card["validation"]
    )
    assert card["training"]["step"] == 2


def test_losses_follow_their_formulas():
    truth = np.array([0.0, 0.5, 1.0], np.float32)
    output = np.array([0.005, 0.5, 0.7], np.float32)
    d = np.abs(truth - output).astype(np.float64)
    assert float(charbonnier(truth, output)) == pytest.approx(np.sqrt(d**2 + 1e-6).mean(), rel=1e-5)
    expected = np.where(d < HUBER_DELTA, d**2 / 2, HUBER_DELTA * (d - HUBER_DELTA / 2)).mean()
    assert float(huber(truth, output)) == pytest.approx(expected, rel=1e-5)


def test_the_temporal_loss_penalizes_flicker_but_no_constant_error():
    truth = np.random.default_rng(0).random((2, 3, 4, 4, 3), np.float32)
    sign = np.array([1, -1, 1], np.float32)[:, None, None, None]
    constant, flicker = truth + 0.1, truth + 0.1 * sign
    plain, temporal = (sequence_loss(frame_loss("charbonnier"), weight, 3) for weight in (0.0, 2.0))
    assert float(plain(truth, constant)) == pytest.approx(float(plain(truth, flicker)))
    assert float(temporal(truth, constant)) == pytest.approx(
        0.1 + 2 * 0.001, rel=1e-3
    )  # Charbonnier's epsilon
    assert float(temporal(truth, flicker)) == pytest.approx(0.1 + 2 * 0.2, rel=1e-3)
    windows = [np.concatenate(list(np.moveaxis(images, 1, 0))) for images in (truth, flicker)]
    assert float(temporal(*windows)) == pytest.approx(float(temporal(truth, flicker)), rel=1e-5)


@pytest.mark.usefixtures("traced")
def test_training_brings_other_crops_closer_to_the_truth(pairs, tmp_path):
    config = replace(CONFIG, steps=40, batch=4, crop=16, save_every=40, learning_rate=3e-3)
    low, high = make_batch(pairs, BatchPlan(8, 7, 3, 16, 2), seed=99, step=0)
    fresh = architectures.architecture("duf-s").build(2)
    trained = weights.load_model(weights.read_weights(loop.train(config, pairs, tmp_path)))
    before, after = (float(charbonnier(high, ops.convert_to_numpy(model(low)))) for model in (fresh, trained))
    assert after < 0.95 * before
