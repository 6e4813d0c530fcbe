"""Muon's updates, and the moving average of the weights."""

import keras
import numpy as np
import pytest
from keras import ops

from vsrcli.train.checkpoints import restore_checkpoint, save_checkpoint
from vsrcli.train.config import TrainConfig
from vsrcli.train.optimizers import evaluation_weights, is_hidden_kernel, make_optimizer, newton_schulz

CONFIG = TrainConfig(steps=20, warmup=0, learning_rate=1e-2, final_rate=1e-2)


def network() -> keras.Model:
    """Return a network with a first, a hidden and an output layer, for 8x8 pixels."""
    keras.utils.set_random_seed(3)
    layers = [
        keras.layers.Conv2D(n, 3, name=name) for n, name in ((8, "first"), (16, "hidden"), (3, "filters"))
    ]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def steps(model: keras.Model, optimizer, numbers) -> None:
    """Apply random gradients, seeded by each number."""
    for number in numbers:
        rng = np.random.default_rng(number)
        apply(model, optimizer, [rng.normal(size=v.shape) for v in model.weights])


def apply(model: keras.Model, optimizer, gradients) -> None:
    """Apply gradients as a training step does; on JAX, statelessly."""
    gradients = [ops.convert_to_tensor(gradient, "float32") for gradient in gradients]
    if keras.backend.backend() != "jax":
        optimizer.apply(gradients)
        return
    variables = model.trainable_variables, optimizer.variables
    values = [[variable.value for variable in group] for group in variables]
    for group, after in zip(
        variables, optimizer.stateless_apply(values[1], gradients, values[0]), strict=True
    ):
        for variable, value in zip(group, after, strict=True):
            variable.assign(value)


@pytest.mark.parametrize("shape", [(144, 32), (20, 64), (32, 32)])
def test_newton_schulz_approximates_the_nearest_orthogonal_matrix(shape):
    matrix = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    result = ops.convert_to_numpy(newton_schulz(ops.convert_to_tensor(matrix)))
    values = np.linalg.svd(result, compute_uv=False)
    assert values.min() > 0.5
    assert values.max() < 1.3
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    nearest = left @ right
    assert np.sum(result * nearest) > 0.95 * np.linalg.norm(result) * np.linalg.norm(nearest)


def test_muon_updates_hidden_kernels_orthogonally_and_others_as_adam_does():
    updates = {}
    for name in ("adam", "muon"):
        model = network()
        before = model.get_weights()
        optimizer, _ = make_optimizer(TrainConfig(**{**CONFIG.__dict__, "optimizer": name}))
        optimizer.build(model.trainable_variables)
        steps(model, optimizer, [0])
        updates[name] = [a - b for a, b in zip(model.get_weights(), before, strict=True)]
        hidden = [is_hidden_kernel(variable) for variable in model.weights]
    assert hidden == [False, False, True, False, False, False]
    for number, (adam, muon) in enumerate(zip(updates["adam"], updates["muon"], strict=True)):
        assert np.allclose(adam, muon, atol=1e-7) == (number != 2)
    update = updates["muon"][2].reshape(-1, 16)
    values = np.linalg.svd(update, compute_uv=False)
    assert values.max() < 2 * values.min()
    assert (
        0.5 < np.sqrt(np.mean(update**2)) / (0.2 * 1e-2) < 1.5
    )  # a fifth of the rate: as large as Adam's often is


@pytest.mark.parametrize("name", ["adam", "muon"])
def test_checkpoints_restore_exactly(name, tmp_path):
    config = TrainConfig(**{**CONFIG.__dict__, "optimizer": name, "ema": 0.9})
    unbroken, resumed = network(), network()
    optimizer, _ = make_optimizer(config)
    optimizer.build(unbroken.trainable_variables)
    steps(unbroken, optimizer, range(3))
    save_checkpoint(tmp_path / "c.npz", unbroken, optimizer, {})
    steps(unbroken, optimizer, range(3, 6))

    second, _ = make_optimizer(config)
    second.build(resumed.trainable_variables)
    restore_checkpoint(tmp_path / "c.npz", resumed, second)
    steps(resumed, second, range(3, 6))
    for a, b in zip(unbroken.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(
        evaluation_weights(unbroken, optimizer), evaluation_weights(resumed, second), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_the_average_follows_the_weights_with_its_decay():
    model = network()
    optimizer, _ = make_optimizer(TrainConfig(**{**CONFIG.__dict__, "ema": 0.5}))
    optimizer.build(model.trainable_variables)
    expected = np.zeros(0)
    for number in range(12):
        steps(model, optimizer, [number])
        decay = min(0.5, number / (number + 10))  # the decay grows to its limit
        current = model.get_weights()[0]
        expected = decay * expected + (1 - decay) * current if number else current
    np.testing.assert_allclose(evaluation_weights(model, optimizer)[0], expected, atol=1e-6)
    plain, _ = make_optimizer(TrainConfig(**{**CONFIG.__dict__, "ema": 0.0}))
    plain.build(model.trainable_variables)
    np.testing.assert_array_equal(evaluation_weights(model, plain)[0], model.get_weights()[0])


def test_a_step_that_overflows_in_fp16_changes_nothing():
    model = network()
    optimizer, _ = make_optimizer(TrainConfig(**{**CONFIG.__dict__, "precision": "fp16", "ema": 0.9}))
    optimizer.build(model.trainable_variables)
    steps(model, optimizer, [0])
    before = model.get_weights() + evaluation_weights(model, optimizer)
    scale = float(ops.convert_to_numpy(optimizer.dynamic_scale))
    apply(model, optimizer, [np.full(v.shape, np.inf) for v in model.weights])
    for a, b in zip(model.get_weights() + evaluation_weights(model, optimizer), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(ops.convert_to_numpy(optimizer.dynamic_scale)) == scale / 2
