"""Weight files become engines: every kind of network, precisions, missing devices."""

import json
from pathlib import Path

import numpy as np
import pytest

from vsrcli.errors import EngineError, ModelError
from vsrcli.inference.keras import KerasEngine
from vsrcli.models.architectures import architecture
from vsrcli.models.weights import file_sha256, read_weights


def weight_file(folder: Path, name: str, scale: int, options: dict[str, int]) -> Path:
    """Write random weights with their card."""
    card = {"architecture": name, "options": options, "scale": scale, "degradation": "bi", "phase": "centre"}
    path = folder / f"{name}-x{scale}-bi.weights.h5"
    path.with_name(f"{name}-x{scale}-bi.json").write_text(json.dumps({**card, "sha256": ""}))
    path.write_bytes(b"")
    read_weights(path).architecture.build(scale).save_weights(path)
    path.with_name(f"{name}-x{scale}-bi.json").write_text(json.dumps({**card, "sha256": file_sha256(path)}))
    return path


def run_engine(engine: KerasEngine, frames: np.ndarray) -> np.ndarray:
    stream = engine.open(*frames.shape[1:3])
    results = [stream.push(frame) for frame in frames]
    return np.stack([result for result in results if result is not None] + stream.flush())


FRAMES = np.random.default_rng(0).random((2, 9, 8, 3)).astype(np.float32)
TINY = {"width": 8, "blocks": 1, "head": 8}
TINY_R = {"width": 8, "levels": 2, "blocks": 1, "head": 8}


@pytest.mark.parametrize(
    ("name", "options", "lookahead"),
    [("duf-16l", {"depth": 16}, 3), ("duf-s", TINY, 3), ("duf-r-s", TINY_R, 2)],
)
@pytest.mark.parametrize("scale", [2, 3])
def test_every_kind_of_network_runs(
    name: str, options: dict[str, int], lookahead: int, scale: int, tmp_path: Path
) -> None:
    engine = KerasEngine(read_weights(weight_file(tmp_path, name, scale, options)), device="cpu")
    assert engine.lookahead == lookahead
    stream = engine.open(*FRAMES.shape[1:3])
    assert [stream.push(FRAMES[0]) is None for _ in range(lookahead + 1)] == [True] * lookahead + [False]
    assert engine.radius == read_weights(tmp_path / f"{name}-x{scale}-bi.weights.h5").architecture.radius()
    actual = run_engine(engine, FRAMES)
    assert actual.shape == (2, 9 * scale, 8 * scale, 3)
    assert actual.min() >= 0
    assert actual.max() <= 1
    assert name in engine.description
    assert "CPU" in engine.description


@pytest.mark.parametrize(("name", "options"), [("duf-s", TINY), ("duf-r-s", TINY_R)])
def test_half_precision_is_close_to_full(name: str, options: dict[str, int], tmp_path: Path) -> None:
    weights = read_weights(weight_file(tmp_path, name, 2, options))
    full, half = (
        run_engine(KerasEngine(weights, device="cpu", precision=p), FRAMES) for p in ("fp32", "bf16")
    )
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.03


def test_a_state_is_restored_in_another_engine_with_the_same_weights(tmp_path: Path) -> None:
    weights = read_weights(weight_file(tmp_path, "duf-r-s", 2, TINY_R))
    first, other = (KerasEngine(weights, device="cpu").open(9, 8) for _ in range(2))  # nothing shared
    for frame in FRAMES:
        first.push(frame)
    other.restore(first.state())
    for result, reference in zip(first.flush(), other.flush(), strict=True):
        np.testing.assert_array_equal(result, reference)


def test_tiles_of_a_recurrent_network_share_twice_the_radius_of_one_step() -> None:
    for name, step in (("duf-r-s", 11), ("duf-r-m", 17), ("duf-r-l", 19)):
        assert architecture(name).radius() == 2 * step
    assert architecture("duf-s").radius() == 11


def test_a_missing_gpu_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no GPU 77 .*--gpu cpu"):
        KerasEngine(read_weights(weight_file(tmp_path, "duf-s", 2, TINY)), device="77")


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = weight_file(tmp_path, "duf-s", 2, TINY)
    card = path.with_name("duf-s-x2-bi.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "options": {**TINY, "width": 16}}))
    with pytest.raises(ModelError, match="does not fit"):
        KerasEngine(read_weights(path), device="cpu")


@pytest.mark.parametrize(("name", "options"), [("duf-s", TINY), ("duf-r-s", TINY_R)])
def test_one_network_is_compiled_for_each_size_and_no_frame_compiles_again(
    name: str, options: dict[str, int], tmp_path: Path
) -> None:
    engine = KerasEngine(read_weights(weight_file(tmp_path, name, 2, options)), device="cpu")
    first = engine.open(9, 8)
    assert engine.open(9, 8)._network is first._network  # type: ignore[attr-defined]
    assert engine.open(8, 9)._network is not first._network  # type: ignore[attr-defined]
