"""Weight files become engines: every kind of network, precisions, devices that are not there."""

import json
from pathlib import Path

import numpy as np
import pytest

from vsrcli.engine.keras import KerasEngine
from vsrcli.errors import EngineError, ModelError
from vsrcli.models.registry import architecture, read_weights, sha256


def weight_file(folder: Path, name: str, scale: int, options: dict[str, int]) -> Path:
    """Random weights with their card."""
    card = {"architecture": name, "options": options, "scale": scale, "degradation": "bi", "phase": "centre"}
    path = folder / f"{name}-x{scale}-bi.weights.h5"
    path.with_name(f"{name}-x{scale}-bi.json").write_text(json.dumps({**card, "sha256": ""}))
    path.write_bytes(b"")
    read_weights(path).architecture.build(scale).save_weights(path)
    path.with_name(f"{name}-x{scale}-bi.json").write_text(json.dumps({**card, "sha256": sha256(path)}))
    return path


def upscaled(engine: KerasEngine, frames: np.ndarray) -> np.ndarray:
    stream = engine.open(*frames.shape[1:3])
    results = [stream.push(frame) for frame in frames]
    return np.stack([result for result in results if result is not None] + stream.flush())


FRAMES = np.random.default_rng(0).random((2, 9, 8, 3)).astype(np.float32)
TINY = {"width": 8, "blocks": 1, "head": 8}


@pytest.mark.parametrize(("name", "options"), [("duf-16l", {"depth": 16}), ("duf-s", TINY)])
@pytest.mark.parametrize("scale", [2, 3])
def test_every_kind_of_network_runs(name: str, options: dict[str, int], scale: int, tmp_path: Path) -> None:
    engine = KerasEngine(read_weights(weight_file(tmp_path, name, scale, options)), device="cpu")
    assert engine.radius == read_weights(tmp_path / f"{name}-x{scale}-bi.weights.h5").architecture.radius()
    got = upscaled(engine, FRAMES)
    assert got.shape == (2, 9 * scale, 8 * scale, 3)
    assert got.min() >= 0
    assert got.max() <= 1
    assert name in engine.description
    assert "CPU" in engine.description


def test_half_precision_is_close_to_full(tmp_path: Path) -> None:
    weights = read_weights(weight_file(tmp_path, "duf-s", 2, TINY))
    full, half = (upscaled(KerasEngine(weights, device="cpu", precision=p), FRAMES) for p in ("fp32", "bf16"))
    assert half.dtype == np.float32
    assert 0 < np.abs(half - full).max() < 0.03


def test_a_gpu_that_is_not_there_is_an_error_and_not_the_cpu(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"no GPU 77 .*--gpu cpu"):
        KerasEngine(read_weights(weight_file(tmp_path, "duf-s", 2, TINY)), device="77")


def test_weights_of_other_sizes_are_refused(tmp_path: Path) -> None:
    path = weight_file(tmp_path, "duf-s", 2, TINY)
    card = path.with_name("duf-s-x2-bi.json")
    card.write_text(json.dumps({**json.loads(card.read_text()), "options": {**TINY, "width": 16}}))
    with pytest.raises(ModelError, match="does not fit"):
        KerasEngine(read_weights(path), device="cpu")


def test_one_network_is_compiled_for_each_size_and_no_frame_compiles_again(tmp_path: Path) -> None:
    engine = KerasEngine(read_weights(weight_file(tmp_path, "duf-s", 2, TINY)), device="cpu")
    first = engine.open(9, 8)
    assert engine.open(9, 8)._network is first._network  # type: ignore[union-attr]
    assert architecture("duf-s").kind == "cached"
