"""The networks of the course projects: shapes, parameters, costs and receptive fields."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from keras import ops

from tiny_networks import COURSE_SIZES
from vsrcli.errors import ModelError
from vsrcli.models.architectures import ARCHITECTURES, Architecture
from vsrcli.models.layers import Deconvolution, deconvolution_taps

PARAMETERS = {
    "fsrcnn": 24_683,
    "sr-unet": 1_931_331,
    "runet": 1_974_915,
    "srgan": 1_404_995,
    "convlstm": 250_732,
    "delta": 83_990,
    "five-parallel": 261_758,
}


def tiny(name: str) -> Architecture:
    return ARCHITECTURES[name].with_sizes(COURSE_SIZES[name])


def randomized(architecture: Architecture, scale: int) -> Any:
    model, rng = architecture.build(scale), np.random.default_rng(3)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:
            variable.assign(rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
    return model


def run(architecture: Architecture, model: Any, frames: np.ndarray) -> np.ndarray:
    """Upscale a sequence; of recurrent networks the first frame, which has no past."""
    result = ops.convert_to_numpy(model(frames, training=False))
    return result[:, 0] if architecture.kind == "recurrent" else result


def count_multiply_adds(model: Any, frames: int, scale: int, side: int = 8) -> float:
    """Count what the convolutions of the compiled network do for a pixel; interpolation is left out."""
    import tensorflow as tf

    spec = tf.TensorSpec((1, frames, side, side, 3))
    graph: Any = tf.function(lambda x: model(x, training=False)).get_concrete_function(spec).graph
    total = 0
    for operation in graph.get_operations():
        if operation.type == "Conv2D":
            kernel = tuple(operation.inputs[1].shape)
            if kernel != (5, 5, 3, 3 * scale**2):
                total += np.prod(operation.outputs[0].shape) * np.prod(kernel[:-1])
    return float(total) / side**2


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_and_multiply_adds(name: str) -> None:
    """Of the full networks at x2, as their docstrings state them, and as TensorFlow's graph has them."""
    known = ARCHITECTURES[name]
    model = known.build(2)
    assert model.count_params() == PARAMETERS[name]
    assert count_multiply_adds(model, known.frames, 2) == known.multiply_adds(2)


@pytest.mark.parametrize("name", ["fsrcnn", "sr-unet", "srgan", "convlstm", "delta"])
def test_shapes_and_costs_at_other_scales(name: str) -> None:
    known = tiny(name)
    for scale in known.scales[-1:]:
        model = known.build(scale)
        frames = np.zeros((2, known.frames, 9, 10, 3), np.float32)  # no multiple of anything
        assert run(known, model, frames).shape == (2, 9 * scale, 10 * scale, 3)
        assert count_multiply_adds(model, known.frames, scale) == known.multiply_adds(scale)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_receptive_field_is_the_radius(name: str) -> None:
    """What lies farther away does not matter, and something at that distance does."""
    known = tiny(name)
    radius = known.radius() // (2 if known.kind == "recurrent" else 1)
    model, multiple = randomized(known, 2), known.multiple
    width = -(-(4 * radius + 4) // multiple) * multiple
    frames = np.random.default_rng(1).random((1, known.frames, 2 * multiple, width, 3)).astype(np.float32)
    before = run(known, model, frames)[0]
    reach = 0
    for first in range(radius, radius + multiple):  # poolings look farther from some places than from others
        changed = frames.copy()
        changed[:, :, :, first] = 1 - changed[:, :, :, first]
        difference = np.abs(run(known, model, changed)[0] - before).max(axis=(0, 2))
        touched = np.flatnonzero(difference.reshape(width, 2).max(axis=1))
        reach = max(reach, first - int(touched[0]), int(touched[-1]) - first)
    assert reach == radius


def test_pooled_sides_are_padded_inside() -> None:
    """A frame gives what it would give with its last row and column repeated."""
    known = tiny("runet")
    model = randomized(known, 2)
    frames = np.random.default_rng(2).random((1, 1, 13, 18, 3)).astype(np.float32)
    whole = np.pad(frames, ((0, 0), (0, 0), (0, 3), (0, 2), (0, 0)), mode="edge")
    expected = run(known, model, whole)[:, :26, :36]
    np.testing.assert_allclose(run(known, model, frames), expected, atol=1e-6)


def test_five_parallel_bounds_its_results() -> None:
    frames = 20 * np.random.default_rng(2).random((1, 3, 8, 8, 3)).astype(np.float32)
    bounded, free = (run(tiny(n), randomized(tiny(n), 2), frames) for n in ("five-parallel", "delta"))
    assert free.min() < 0 <= bounded.min() <= bounded.max() <= 1


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("phase", ["centre", "zero"])
def test_a_deconvolution_is_the_transposed_convolution(scale: int, phase: str) -> None:
    layer = Deconvolution(2, 9, scale, phase)
    x = np.zeros((1, 5, 5, 1), np.float32)
    x[0, 2, 2] = 1
    actual = ops.convert_to_numpy(layer(x))[0]
    kernel = ops.convert_to_numpy(layer.kernel)[:, :, 0]
    centre = 2 * scale + ((scale - 1) // 2 if phase == "centre" else 0)
    expected = np.zeros((5 * scale + 8, 5 * scale + 8, 2), np.float32)
    expected[centre : centre + 9, centre : centre + 9] = kernel
    np.testing.assert_allclose(actual, expected[4:-4, 4:-4], atol=1e-6)
    assert (
        np.sort(deconvolution_taps(9, scale, phase)[deconvolution_taps(9, scale, phase) >= 0])
    ).tolist() == [*range(9)]


def test_a_scale_that_a_network_lacks_is_named() -> None:
    with pytest.raises(ModelError, match="sr-unet has no x3: it enlarges by x2, x4"):
        ARCHITECTURES["sr-unet"].build(3)
    with pytest.raises(ModelError, match="needs a poolings of 1 or more"):
        ARCHITECTURES["sr-unet"].with_sizes({"poolings": 0})


def test_tiles_follow_the_poolings() -> None:
    changed = ARCHITECTURES["sr-unet"].with_sizes({"poolings": 2})
    assert (changed.multiple, changed.radius()) == (4, 24)
    assert replace(changed, options=ARCHITECTURES["sr-unet"].options).radius() == 52
