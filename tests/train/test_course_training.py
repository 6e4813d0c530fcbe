"""The networks of the course projects are trained, resumed exactly, and used."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest
from footage import write_clip

from tiny_networks import COURSE_SIZES
from vsrcli.degradations import PRESETS
from vsrcli.errors import EngineError, ModelError, UsageError
from vsrcli.frames import flow
from vsrcli.models import architectures, weights
from vsrcli.train import loop
from vsrcli.train.config import AdversarialConfig, shape_batch
from vsrcli.train.footage import find_footage
from vsrcli.train.pairs import prepare_pairs
from vsrcli.train.validation import Validation

CONFIG = loop.TrainConfig(
    scale=2, degradation="bi", steps=2, batch=1, frames=3, crop=8, save_every=1, warmup=1, ema=0.9
)


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch):
    """Small networks of the same names, and a flow that needs no package."""
    for name, options in COURSE_SIZES.items():
        small = architectures.ARCHITECTURES[name].with_sizes(options)
        monkeypatch.setitem(architectures.ARCHITECTURES, name, small)
    monkeypatch.setattr(flow, "find_spec", lambda name: True)
    monkeypatch.setattr(flow, "estimate_flow", lambda a, b: np.full((*a.shape, 2), 0.5, np.float32))


@pytest.fixture(autouse=True)
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


@pytest.fixture(scope="module")
def pairs(clip_folder, tmp_path_factory):
    return prepare_pairs(find_footage(clip_folder), tmp_path_factory.mktemp("cache"), 2, PRESETS["bi"])


@pytest.fixture(scope="module")
def validation(clip_folder, tmp_path_factory):
    validation = Validation(clip_folder, tmp_path_factory.mktemp("cache"), 2, PRESETS["bi"])
    (case,) = validation.cases
    validation.cases = [replace(case, low=case.low[:7], truth=case.truth[:1])]
    return validation


def weights_of(path) -> list[np.ndarray]:
    return weights.load_model(weights.read_weights(path)).get_weights()


class Killed(BaseException):
    pass


@pytest.mark.parametrize(
    "name",
    ["sr-unet", *(pytest.param(n, marks=pytest.mark.slow) for n in ("srgan", "convlstm", "delta-flow"))],
)
def test_a_killed_run_ends_as_an_unbroken_one(name, pairs, validation, tmp_path):
    config = replace(CONFIG, model=name)
    unbroken = loop.train(config, pairs, tmp_path / "a", validation=validation)

    def die(report):
        raise Killed

    with pytest.raises(Killed):
        loop.train(config, pairs, tmp_path / "b", on_step=die)
    steps = []
    resumed = loop.train(config, pairs, tmp_path / "b", on_step=lambda report: steps.append(report.step))
    assert steps == [2]
    for ours, theirs in zip(weights_of(resumed), weights_of(unbroken), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    card = weights.read_weights(unbroken).card
    assert np.isfinite(card["validation"]["bi psnr_y"])
    assert card["multiply_adds_per_lr_pixel"] == architectures.architecture(name).multiply_adds(2)


def test_srgan_becomes_sharp(pairs, tmp_path):
    """Single images: nothing is played back, and there is a discriminator of three frames all the same."""
    first = loop.train(replace(CONFIG, model="srgan", steps=1), pairs, tmp_path / "soft")
    adversarial = AdversarialConfig(feature_weight=0.0, discriminator_width=4)
    config = replace(CONFIG, model="srgan", steps=1, temporal_weight=0.3, adversarial=adversarial)
    reports = []
    sharp = loop.train(config, pairs, tmp_path / "sharp", init=first, on_step=reports.append)
    assert sharp.name == "srgan-x2-bi-sharp.weights.h5"
    names = {"pixel", "color", "grid", "evenness", "temporal", "adversarial", "discriminator"}
    assert set(reports[0].parts) == names
    means = [
        weights.load_model(weights.read_weights(path)).norms_first[0].moving_mean for path in (first, sharp)
    ]
    assert np.abs(means[0]).max() > 0  # of batch normalization, which follows the batches
    np.testing.assert_array_equal(means[0], means[1])  # and stands still with a discriminator


def test_delta_starts_from_weights_of_fsrcnn(pairs, tmp_path, monkeypatch):
    full = {"width": 56, "head": 12, "blocks": 4}
    monkeypatch.setitem(
        architectures.ARCHITECTURES, "fsrcnn", architectures.architecture("fsrcnn").with_sizes(full)
    )
    first = loop.train(replace(CONFIG, model="fsrcnn", steps=1), pairs, tmp_path / "fsrcnn")
    notices: list[str] = []
    config = replace(CONFIG, model="delta", steps=1)
    loop.train(config, pairs, tmp_path / "delta", init=first, on_notice=notices.append)
    (notice,) = notices
    assert "recurrent_input" in notice
    assert "enlarge" not in notice.partition("fresh")[2]


def test_windows_are_aligned_on_the_host():
    known = architectures.architecture("delta-flow")
    low = np.random.default_rng(0).random((2, 4, 6, 8, 3)).astype(np.float32)
    high = np.zeros((2, 2, 12, 16, 3), np.float32)
    windows, _ = shape_batch(low, high, known)
    plain, _ = shape_batch(low, high, architectures.architecture("delta"))
    assert windows.shape == plain.shape == (4, 3, 6, 8, 3)
    np.testing.assert_array_equal(windows[:, 1], plain[:, 1])
    half_on = plain[:, :, :-1, :-1] + plain[:, :, 1:, :-1] + plain[:, :, :-1, 1:] + plain[:, :, 1:, 1:]
    np.testing.assert_allclose(windows[:, 0, :-1, :-1], half_on[:, 0] / 4, atol=1e-6)


def test_what_does_not_fit_is_refused_in_a_line(pairs, tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="runet has no x3"):
        loop.train(replace(CONFIG, model="runet", scale=3), pairs, tmp_path / "run")
    with pytest.raises(UsageError, match="use --data host"):
        loop.train(replace(CONFIG, model="delta-flow", data="device"), pairs, tmp_path / "run")
    monkeypatch.setattr(flow, "find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"vsrcli\[flow\]"):
        loop.train(replace(CONFIG, model="delta-flow"), pairs, tmp_path / "run")
    assert not (tmp_path / "run").exists()
