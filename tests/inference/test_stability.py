"""A recurrent network over a long video: its state must not diverge.

Chiche et al., "Stable Long-Term Recurrent Video Super-Resolution", CVPR 2022, show published recurrent
networks, trained on short sequences, that spoil a scene without motion after some hundred frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import pytest
from random_networks import tiny_recurrent

from vsrcli.inference.keras import KerasBackend
from vsrcli.inference.streams import CompiledNetwork, RecurrentStream, compile_network
from vsrcli.models import duf_r
from vsrcli.models.weights import load_model, read_weights

HEIGHT, WIDTH, COUNT = 12, 16, 500
SHIPPED = sorted((Path(__file__).parents[2] / "weights").glob("duf-r-*.weights.h5"))


def untrained_network() -> duf_r.DufR:
    keras.utils.set_random_seed(0)
    return duf_r.build(4, width=8, blocks=1, head=8)


NETWORKS: dict[str, Callable[[], duf_r.DufR]] = {
    "untrained": untrained_network,
    "random": tiny_recurrent,
    **{path.name: lambda path=path: load_model(read_weights(path)) for path in SHIPPED},  # type: ignore[misc]
}


SHORT = ("random", "duf-r-xs-x2-video.weights.h5")  # of the short suite


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=() if name in SHORT else pytest.mark.slow) for name in NETWORKS],
)
def network(request: pytest.FixtureRequest) -> CompiledNetwork:
    return compile_network(KerasBackend(NETWORKS[request.param]()), HEIGHT, WIDTH)


def run(stream: RecurrentStream, frames: Iterable[np.ndarray]) -> np.ndarray:
    """Return the results, not flushed; the stream itself raises for NaN and infinity."""
    return np.stack([result for result in map(stream.push, frames) if result is not None])


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, HEIGHT, WIDTH, 3), np.float32)


def max_abs_state(stream: RecurrentStream) -> float:
    """Return the largest absolute value in the recurrent state."""
    state = stream.state()
    return max(float(np.abs(state[name]).max()) for name in ("hidden", "feedback") if name in state)


def test_a_still_settles(network: CompiledNetwork) -> None:
    stream = RecurrentStream(network)
    (still,) = noise(1)
    change = np.abs(np.diff(run(stream, [still] * COUNT), axis=0)).max(axis=(1, 2, 3))
    assert change[-100:].max() < 1e-4
    assert change[COUNT // 2 :].max() <= change[:20].max() + 1e-6
    assert max_abs_state(stream) < 100


def test_noise_does_not_add_up(network: CompiledNetwork) -> None:
    stream = RecurrentStream(network)
    sizes = []
    for part in range(10):
        run(stream, noise(COUNT // 10, seed=part))
        sizes.append(max_abs_state(stream))
    assert max(sizes[5:]) < 2 * max(sizes[:5]) < 200


def test_a_still_after_noise_is_the_still(network: CompiledNetwork) -> None:
    """Earlier frames have no lasting influence."""
    stream, other = RecurrentStream(network), RecurrentStream(network)
    (still,) = noise(1, seed=9)
    run(stream, noise(200))
    after = run(stream, [still] * 200)[-1]
    np.testing.assert_allclose(after, run(other, [still] * 200)[-1], atol=1e-4)


def test_a_new_shot_is_a_start_from_empty(network: CompiledNetwork) -> None:
    """A fresh stream of a network that ran others gives the same results as the first, bit for bit."""
    shot = noise(30, seed=1)
    first = run(RecurrentStream(network), shot)
    run(RecurrentStream(network), noise(100, seed=2))
    np.testing.assert_array_equal(run(RecurrentStream(network), shot), first)
