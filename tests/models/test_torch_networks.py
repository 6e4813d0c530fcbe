"""Networks from weight files of PyTorch: their pictures against plain NumPy and numbers of PyTorch."""

from pathlib import Path

import numpy as np
import pytest

import torch_samples as samples
from vsrcli.errors import ModelError
from vsrcli.models.network_files import build_network, read_network_file


def picture(height: int = 8, width: int = 12) -> np.ndarray:
    """Return the frame that all numbers here are about: (H, W, 3) in [0, 1]."""
    return np.random.default_rng(5).random((height, width, 3)).astype(np.float32)


def run(path: Path, frame: np.ndarray) -> np.ndarray:
    return np.array(build_network(path)(frame[None, None], training=False))[0]


def conv(x: np.ndarray, arrays: samples.Arrays, name: str) -> np.ndarray:
    """Return a convolution with zeros around the picture; (H, W, C)."""
    weight, bias = arrays[f"{name}.weight"], arrays.get(f"{name}.bias", 0.0)
    rows, columns = weight.shape[2:]
    padded = np.pad(x.astype(np.float64), ((rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(0, 1))
    return np.einsum("hwcyx,ocyx->hwo", windows, weight) + bias


def shuffle(x: np.ndarray, scale: int) -> np.ndarray:
    """Return PyTorch's PixelShuffle of (H, W, C*s*s)."""
    height, width, channels = x.shape
    x = x.reshape(height, width, channels // scale**2, scale, scale).transpose(0, 3, 1, 4, 2)
    return x.reshape(height * scale, width * scale, -1)


def unshuffle(x: np.ndarray, scale: int) -> np.ndarray:
    """Return PyTorch's PixelUnshuffle of (H, W, C)."""
    height, width, channels = x.shape
    x = x.reshape(height // scale, scale, width // scale, scale, channels).transpose(0, 2, 4, 1, 3)
    return x.reshape(height // scale, width // scale, -1)


def enlarge(x: np.ndarray, scale: int) -> np.ndarray:
    return x.repeat(scale, axis=0).repeat(scale, axis=1)


def leaky(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.2 * x)


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


def naive_compact(frame: np.ndarray, arrays: samples.Arrays, scale: int) -> np.ndarray:
    x, last = frame, len(arrays) // 3 * 2  # two of three tensors are a convolution's
    for layer in range(0, last, 2):
        x = conv(x, arrays, f"body.{layer}")
        x = np.where(x > 0, x, arrays[f"body.{layer + 1}.weight"] * x)
    return shuffle(conv(x, arrays, f"body.{last}"), scale) + enlarge(frame, scale)


def naive_span(frame: np.ndarray, arrays: samples.Arrays, scale: int) -> np.ndarray:
    """In the form of training: a row of convolutions, beside one of 1x1."""

    def conv3xc(x: np.ndarray, name: str) -> np.ndarray:
        if f"{name}.sk.weight" not in arrays:
            return conv(x, arrays, f"{name}.eval_conv")
        around = np.pad(x, ((2, 2), (2, 2), (0, 0)))  # one pixel more than conv reads correctly
        for layer in range(3):
            around = conv(around, arrays, f"{name}.conv.{layer}")
        return around[2:-2, 2:-2] + conv(x, arrays, f"{name}.sk")

    if "no_norm" not in arrays:
        frame = (frame.astype(np.float64) - (0.4488, 0.4371, 0.4040)) * 255
    first = x = conv3xc(frame, "conv_1")
    inner, results = x, []
    for block in range(1, 7):
        inner = silu(conv3xc(x, f"block_{block}.c1_r"))
        y = conv3xc(silu(conv3xc(inner, f"block_{block}.c2_r")), f"block_{block}.c3_r")
        x = (y + x) * (1 / (1 + np.exp(-y)) - 0.5)
        results.append(x)
    parts = [first, conv3xc(x, "conv_2"), results[0], inner]
    merged = conv(np.concatenate(parts, axis=-1), arrays, "conv_cat")
    return shuffle(conv(merged, arrays, "upsampler.0"), scale)


def naive_rrdb(frame: np.ndarray, arrays: samples.Arrays, ups: int, factor: int = 1) -> np.ndarray:
    def dense(x: np.ndarray, name: str) -> np.ndarray:
        features = [x]
        for layer in range(1, 5):
            y = leaky(conv(np.concatenate(features, axis=-1), arrays, f"{name}.conv{layer}"))
            if f"{name}.conv1x1.weight" in arrays and layer in (2, 4):
                y = y + (conv(x, arrays, f"{name}.conv1x1") if layer == 2 else features[2])
            features.append(y)
        return x + 0.2 * conv(np.concatenate(features, axis=-1), arrays, f"{name}.conv5")

    first = x = conv(unshuffle(frame, factor), arrays, "conv_first")
    blocks = {key.split(".")[1] for key in arrays if key.startswith("body.")}
    for block in sorted(blocks):
        y = x
        for part in (1, 2, 3):
            y = dense(y, f"body.{block}.rdb{part}")
        x = x + 0.2 * y
    x = first + conv(x, arrays, "conv_body")
    for layer in range(1, ups + 1):
        x = leaky(conv(enlarge(x, 2), arrays, f"conv_up{layer}"))
    return conv(leaky(conv(x, arrays, "conv_hr")), arrays, "conv_last")


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_compact(tmp_path, scale):
    arrays, frame = samples.compact(scale, channels=5, convolutions=3), picture()
    path = samples.write_pth(tmp_path / "net.pth", arrays)
    np.testing.assert_allclose(run(path, frame), naive_compact(frame, arrays, scale), atol=1e-5)
    found = read_network_file(path)
    assert found.architecture == f"Compact, 5 channels, 3 inner convolutions, x{scale}"
    assert found.parameters == sum(array.size for array in arrays.values())


def test_compact_with_one_slope_for_all_channels(tmp_path):
    arrays, frame = samples.compact(), picture()
    for name in ("body.1.weight", "body.3.weight", "body.5.weight"):
        arrays[name] = arrays[name][:1]
    path = samples.write_pth(tmp_path / "net.pth", arrays)
    np.testing.assert_allclose(run(path, frame), naive_compact(frame, arrays, 2), atol=1e-5)


@pytest.mark.parametrize(
    ("scale", "normalised", "deployed"), [(4, True, False), (2, False, False), (1, True, True)]
)
def test_span_as_trained_or_fused(tmp_path, scale, normalised, deployed):
    arrays, frame = samples.span(scale, normalised=normalised, deployed=deployed), picture()
    path = samples.write_pth(tmp_path / "net.pth", arrays, inside=("params",))
    np.testing.assert_allclose(run(path, frame), naive_span(frame, arrays, scale), atol=1e-4)
    found, network = read_network_file(path), build_network(path)
    assert found.architecture.startswith(f"SPAN, 4 channels, x{scale}")
    assert found.parameters == sum(int(np.prod(weight.shape)) for weight in network.weights)


@pytest.mark.parametrize(
    ("ups", "unshuffle", "plus"), [(0, 1, False), (2, 1, False), (3, 1, True), (2, 2, False), (2, 4, False)]
)
def test_rrdb_of_every_factor(tmp_path, ups, unshuffle, plus):
    arrays, frame = samples.rrdb(ups, unshuffle, blocks=2, plus=plus), picture()
    path = samples.write_pth(tmp_path / "net.pth", arrays, inside=("params_ema",))
    np.testing.assert_allclose(run(path, frame), naive_rrdb(frame, arrays, ups, unshuffle), atol=1e-5)
    network = build_network(path)
    assert (network.scale, network.multiple, network.levels) == (2**ups // unshuffle, unshuffle, 0)
    assert read_network_file(path).parameters == sum(array.size for array in arrays.values())


def test_names_of_all_generations_of_esrgan(tmp_path):
    arrays, frame = samples.rrdb(ups=2, blocks=2), picture()
    expected = naive_rrdb(frame, arrays, 2)
    files = {"old": samples.old_names(arrays, 2, 2), "bsrgan": samples.bsrgan_names(arrays)}
    files["parallel"] = {f"module.{key}": array for key, array in files["old"].items()}
    files["prefixed"] = {f"netG._orig_mod.{key}": array for key, array in arrays.items()}
    for name, renamed in files.items():
        path = samples.write_pth(tmp_path / f"{name}.pth", renamed)
        np.testing.assert_allclose(run(path, frame), expected, atol=1e-5, err_msg=name)


# The files of these samples, read by spandrel 0.4.2 and computed by PyTorch 2.14: pixels of the first row
PYTORCH = {
    "compact-x3": [
        [0.808463, 0.790134, 0.540244],
        [0.291391, 0.027351, 0.421464],
        [0.423197, 0.059475, 0.05682],
    ],
    "span-x4": [
        [0.23827, -0.254083, -0.177015],
        [-0.092633, -0.123972, -0.071236],
        [-0.341601, -0.312879, 0.111534],
    ],
    "span-plain-x2": [
        [-0.124621, 0.087762, 0.154172],
        [0.058815, 0.078199, 0.091945],
        [0.113772, -0.067829, 0.059033],
    ],
    "old-x2": [
        [0.150331, 0.02062, -0.032778],
        [0.314494, 0.244034, 0.284313],
        [-0.039234, 0.017498, 0.11911],
    ],
    "old-x8": [
        [-0.012994, -0.022107, -0.016513],
        [-0.02715, -0.007345, -0.030711],
        [-0.016953, 0.023677, -0.00648],
    ],
    "plus-x4": [
        [0.030209, -0.024827, -0.011323],
        [-0.015721, -0.052542, 0.010184],
        [0.076979, 0.001816, 0.076369],
    ],
    "unshuffle-x2": [
        [0.118019, 0.09105, 0.076887],
        [0.174565, -0.118386, 0.158872],
        [0.06819, 0.100678, 0.070414],
    ],
}
SAMPLES = {
    "compact-x3": samples.compact(3),
    "span-x4": samples.span(4),
    "span-plain-x2": samples.span(2, normalised=False),
    "old-x2": samples.old_names(samples.rrdb(1, blocks=2, growth=32), 1, 2),
    "old-x8": samples.old_names(samples.rrdb(3, growth=32), 3, 1),
    "plus-x4": samples.old_names(samples.rrdb(2, growth=32, plus=True), 2, 1),
    "unshuffle-x2": samples.rrdb(2, unshuffle=2, growth=32),
}


@pytest.mark.parametrize("name", PYTORCH)
def test_numbers_of_pytorch(tmp_path, name):
    arrays = SAMPLES[name]
    result = run(samples.write_pth(tmp_path / "net.pth", arrays), picture())
    np.testing.assert_allclose(result[0, [0, 3, 7]], PYTORCH[name], atol=1e-5)


def test_sides_that_do_not_fit_are_refused(tmp_path):
    path = samples.write_pth(tmp_path / "net.pth", samples.rrdb(2, unshuffle=2))
    with pytest.raises(ModelError, match="multiples of 2, not 9"):
        run(path, picture(8, 9))


def test_multiply_adds_are_counted_at_the_size_of_each_layer(tmp_path):
    arrays = samples.rrdb(ups=1, blocks=1)
    network = build_network(samples.write_pth(tmp_path / "net.pth", arrays))
    doubled = ("conv_up1", "conv_hr", "conv_last")
    sizes = {key: array.size for key, array in arrays.items() if key.endswith("weight")}
    assert network.multiply_adds == sum(
        size * (4 if key.rsplit(".", 1)[0] in doubled else 1) for key, size in sizes.items()
    )


def test_free_sizes_and_half_precision(tmp_path):
    import keras

    from vsrcli.inference.keras import computing_in

    for arrays in (samples.compact(), samples.span(), samples.rrdb(2)):
        path = samples.write_pth(tmp_path / "net.pth", arrays)
        network, frame = build_network(path), picture(6, 10)
        sizeless = keras.KerasTensor((1, 1, None, None, 3))
        assert network.compute_output_spec(sizeless).shape[1:] == (None, None, 3)
        with computing_in("bf16"):
            half = np.array(build_network(path)(frame[None, None]))
        whole = np.array(network(frame[None, None]))
        assert half.dtype == np.float32
        np.testing.assert_allclose(half, whole, atol=0.05 * np.abs(whole).max())
