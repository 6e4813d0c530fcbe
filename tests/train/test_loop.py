"""Training goes on where it stopped, and what it writes can be used."""

import json
from dataclasses import replace

import numpy as np
import pytest
from keras import ops

from vsrcli.errors import DataError, Interrupted
from vsrcli.models import registry
from vsrcli.train import loop
from vsrcli.train.batches import BatchPlan, make_batch
from vsrcli.train.clips import find_footage, prepare_pairs
from vsrcli.train.degrade import PRESETS
from vsrcli.train.losses import HUBER_DELTA, charbonnier, huber
from vsrcli.train.validate import Validation

CONFIG = loop.TrainConfig(
    scale=2, degradation="bi", steps=4, batch=2, frames=7, crop=8, save_every=2, warmup=1
)


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """DUF-S in miniature under its own name."""
    small = replace(registry.ARCHITECTURES["duf-s"], options={"width": 8, "blocks": 1, "head": 8})
    monkeypatch.setitem(registry.ARCHITECTURES, "duf-s", small)


@pytest.fixture(scope="module")
def pairs(footage_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare_pairs(find_footage(footage_folder), cache, 2, PRESETS["bi"])


def weights_of(path) -> list[np.ndarray]:
    return registry.load(registry.read_weights(path)).get_weights()


def test_stopped_and_resumed_equals_unbroken(pairs, tmp_path):
    unbroken = loop.train(CONFIG, pairs, tmp_path / "a")
    with pytest.raises(Interrupted, match="step 2 of 4") as stopped:
        loop.train(CONFIG, pairs, tmp_path / "b", stop=iter([0, 15]).__next__)
    assert stopped.value.exit_status == 143
    steps = []
    resumed = loop.train(CONFIG, pairs, tmp_path / "b", on_step=lambda report: steps.append(report.step))
    assert steps == [3, 4]
    for a, b in zip(weights_of(unbroken), weights_of(resumed), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    log = (tmp_path / "b" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "1", "2", "3", "4"]


def test_a_killed_run_leaves_the_last_checkpoint(pairs, tmp_path):
    """No goodbye: the exception flies through at step 3, the checkpoint of step 2 is whole."""

    def die(report):
        if report.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.train(CONFIG, pairs, tmp_path, on_step=die)
    steps = []
    loop.train(CONFIG, pairs, tmp_path, on_step=lambda report: steps.append(report.step))
    assert steps == [3, 4]
    log = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["step", "1", "2", "3", "4"]


def test_another_configuration_is_not_mixed_in(pairs, tmp_path):
    loop.train(replace(CONFIG, steps=1), pairs, tmp_path)
    with pytest.raises(DataError, match="another crop"):
        loop.train(replace(CONFIG, crop=12), pairs, tmp_path)
    (tmp_path / "checkpoint.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match="no checkpoint"):
        loop.train(CONFIG, pairs, tmp_path)


def test_the_result_is_a_model_with_a_card(pairs, footage_folder, tmp_path):
    validation = Validation(footage_folder, tmp_path / "cache", 2, PRESETS["bi"])
    path = loop.train(
        replace(CONFIG, steps=2), pairs, tmp_path / "run", validation=validation, card={"licence": "X"}
    )
    card = json.loads(path.with_name("duf-s-x2-bi.json").read_text())
    assert card["licence"] == "X"
    assert card["phase"] == "centre"
    assert card["sha256"] == registry.sha256(path)
    assert {"bi psnr_y", "bi gain_db", "bi worst_gain_db", "bi ssim_y"} <= set(card["validation"])
    assert card["training"]["step"] == 2


def test_losses_are_their_formulas():
    truth = np.array([0.0, 0.5, 1.0], np.float32)
    output = np.array([0.005, 0.5, 0.7], np.float32)
    d = np.abs(truth - output).astype(np.float64)
    assert float(charbonnier(truth, output)) == pytest.approx(np.sqrt(d**2 + 1e-6).mean(), rel=1e-5)
    expected = np.where(d < HUBER_DELTA, d**2 / 2, HUBER_DELTA * (d - HUBER_DELTA / 2)).mean()
    assert float(huber(truth, output)) == pytest.approx(expected, rel=1e-5)


def test_training_brings_unseen_crops_closer_to_the_truth(pairs, tmp_path):
    config = replace(CONFIG, steps=40, batch=4, crop=16, save_every=40, learning_rate=3e-3)
    low, high = make_batch(pairs, BatchPlan(8, 7, 3, 16, 2), seed=99, step=0)
    fresh = registry.architecture("duf-s").build(2)
    trained = registry.load(registry.read_weights(loop.train(config, pairs, tmp_path)))
    before, after = (float(charbonnier(high, ops.convert_to_numpy(model(low)))) for model in (fresh, trained))
    assert after < 0.95 * before
