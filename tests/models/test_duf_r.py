"""DUF-R: cost, sizes, receptive field in time and space."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import numpy as np
import pytest
from keras import ops

from vsrcli.models import costs, duf_r, layers
from vsrcli.models.architectures import ARCHITECTURES, stated_architecture
from vsrcli.models.costs import streaming_radius

TINY: dict[str, Any] = {"width": 8, "levels": 1, "blocks": 1, "head": 8}


def randomized_model(scale: int = 2) -> duf_r.DufR:
    """A random network in which every layer has an effect (untrained ones start as interpolators)."""
    model = duf_r.build(scale, **TINY)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        if "kernel" in variable.path:
            variable.assign(rng.normal(size=variable.shape) / np.sqrt(np.prod(variable.shape[:-1])))
    return model


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).random(shape, np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shapes(scale: int) -> None:
    model = duf_r.build(scale, **TINY)
    assert model(noise(2, 5, 5, 6, 3)).shape == (2, 3, 5 * scale, 6 * scale, 3)
    assert model(noise(1, 3, 5, 6, 3)).shape == (1, 1, 5 * scale, 6 * scale, 3)


@pytest.mark.parametrize("name", ["duf-r-s", "duf-r-m", "duf-r-l"])
@pytest.mark.parametrize("scale", [2, 4])
def test_multiply_adds_are_those_of_the_layers(name: str, scale: int) -> None:
    """Every kernel acts once on every pixel of every frame; so does what enlarges it, 5x5 taps."""
    architecture = ARCHITECTURES[name]
    model = architecture.build(scale)
    kernels = [variable for variable in model.trainable_variables if "kernel" in variable.path]
    options = architecture.options
    filters = options.get("filters", True)
    assert len(kernels) == 1 + options["levels"] + 1 + 2 * options["blocks"] + 2 + filters
    counted = sum(int(np.prod(kernel.shape)) for kernel in kernels)
    assert architecture.multiply_adds(scale) == counted + 3 * scale**2 * costs.TAPS**2


def test_sizes() -> None:
    small, medium, large = (ARCHITECTURES[f"duf-r-{size}"].multiply_adds(4) for size in "sml")
    assert small <= 350_000
    assert small < medium < large <= 2_500_000
    assert all(ARCHITECTURES[f"duf-r-{size}"].frames == 7 for size in "sml")


def test_costs_follow_the_sizes() -> None:
    known = ARCHITECTURES["duf-r-s"]
    changed_frames = known.with_sizes({"width": 54, "levels": 1})
    assert (changed_frames.frames, changed_frames.radius(), known.radius()) == (3, 18, 22)
    assert changed_frames.multiply_adds(4) < known.multiply_adds(4)
    assert changed_frames.memory("openvino", 4) > known.memory("openvino", 4)
    assert changed_frames.with_sizes({"width": 44}).memory("keras", 4) >= known.memory("keras", 4)


def test_weights_of_before_there_was_a_choice_have_feedback() -> None:
    old = {"width": 32, "levels": 3, "blocks": 4, "head": 48, "filters": False}
    assert not ARCHITECTURES["duf-r"].options["feedback"]
    assert not stated_architecture("duf-r", {**old, "feedback": False}).options["feedback"]
    before = stated_architecture("duf-r", old)
    assert before.options["feedback"]
    assert before.multiply_adds(4) == ARCHITECTURES["duf-r"].multiply_adds(4) + 9 * 48 * 32


def test_a_result_depends_on_one_later_frame_and_all_earlier_ones() -> None:
    model = randomized_model()
    frames = noise(1, 7, 6, 8, 3)
    reference = ops.convert_to_numpy(model(frames))[0]
    for changed in range(7):
        changed_frames = frames.copy()
        changed_frames[:, changed] = 1 - changed_frames[:, changed]
        difference = np.abs(ops.convert_to_numpy(model(changed_frames))[0] - reference).max(axis=(1, 2, 3))
        first = max(changed - 2, 0)  # result t is that of frame t + 1
        np.testing.assert_array_equal(difference[:first], 0)
        assert (difference[first:] > 1e-6).all()


def test_the_receptive_field_of_one_step_is_the_radius_and_grows() -> None:
    model = randomized_model()
    radius = streaming_radius(**TINY)
    size = 2 * radius + 4
    frames = noise(1, 5, size, size, 3)
    changed = frames.copy()
    changed[:, :, 0] = 1 - changed[:, :, 0]  # the top row of every frame
    reference, changed_frames = (ops.convert_to_numpy(model(clip))[0] for clip in (frames, changed))
    rows = np.abs(changed_frames - reference).max(axis=(2, 3)).reshape(3, size, 2).max(axis=2)
    assert rows[0, : radius + 1].min() > 1e-6
    assert rows[0, radius + 1 :].max() < 1e-6
    assert rows[1, radius + 1] > 1e-6


def test_the_state_starts_empty_and_the_feedback_is_a_difference() -> None:
    model = randomized_model()
    hidden, feedback = model.empty_state(1, 4, 5)
    assert (hidden.shape, feedback.shape) == ((1, 4, 5, 8), (1, 4, 5, 12))
    assert not np.any(ops.convert_to_numpy(hidden))
    assert not np.any(ops.convert_to_numpy(feedback))
    frame = noise(1, 4, 5, 3)
    sub_pixels = np.repeat(frame[..., None, :], 4, axis=3)
    np.testing.assert_array_equal(ops.convert_to_numpy(model.feedback(sub_pixels, frame)), 0)


@pytest.mark.parametrize("module", [duf_r, layers])
def test_only_keras_ops_so_that_weights_load_on_every_backend(module: Any) -> None:
    tree = ast.parse(inspect.getsource(module))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    known = {"keras", "numpy", "math", "__future__", "dataclasses", "typing"}
    assert {name for name in imported if not name.startswith("vsrcli.models")} <= known
