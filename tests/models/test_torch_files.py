"""PyTorch's files: read without running them, recognised, and computed as PyTorch computes them."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import torch_samples as samples
from vsrcli.errors import ModelError
from vsrcli.models.network_files import build_network, read_network_file
from vsrcli.models.torch_files import read_tensors

FRAME = np.random.default_rng(1).random((12, 16, 3), np.float32)
# Factor, and three values, mean and standard deviation of the result; by PyTorch 2.14 and spandrel 0.4.2.
NETWORKS: dict[str, tuple[samples.Tensors, int, list[float]]] = {
    "compact": (samples.compact(), 2, [0.599764, 0.338200, 0.971880, 0.506903, 0.309910]),
    "span": (samples.span(), 2, [-0.397015, 0.048467, 2.018094, 0.097236, 1.617418]),
    "span without norm": (
        samples.span(4, norm=False),
        4,
        [0.034570, -0.080644, 0.279927, -0.033936, 0.120396],
    ),
    "esrgan x1": (samples.esrgan(0), 1, [0.066029, 0.055401, 0.111500, 0.041300, 0.079155]),
    "esrgan x2": (samples.esrgan(1), 2, [-0.023021, -0.029675, 0.122940, 0.025125, 0.051530]),
    "esrgan+ x2": (samples.esrgan(1, plus=True), 2, [0.073135, -0.036714, -0.166242, -0.015761, 0.057244]),
    "real-esrgan x4": (
        samples.real_esrgan(samples.esrgan(2)),
        4,
        [0.111561, 0.072248, -0.093471, 0.066195, 0.159049],
    ),
    "real-esrgan x2": (
        samples.real_esrgan(samples.esrgan(2, 2)),
        2,
        [0.036861, 0.075026, 0.160279, 0.115600, 0.084528],
    ),
    "real-esrgan x1": (
        samples.real_esrgan(samples.esrgan(2, 4)),
        1,
        [-0.009719, 0.091464, 0.153172, 0.042909, 0.099734],
    ),
}


def run(path: Path) -> np.ndarray:
    return np.asarray(build_network(path)(FRAME[None, None], training=False))[0]


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_as_in_pytorch(name: str, tmp_path: Path) -> None:
    tensors, scale, expected = NETWORKS[name]
    path = samples.write_zip(tmp_path / "network.pth", tensors)
    result = run(path)
    assert result.shape == (12 * scale, 16 * scale, 3)
    values = [result[0, 0, 0], result[5, 7, 1], result[-1, -2, 2], result.mean(), result.std()]
    assert values == pytest.approx(expected, abs=2e-5)
    assert f"x{scale}" in read_network_file(path).architecture


WRITERS: dict[str, Callable[[Path, samples.Tensors], Path]] = {
    "wrapped.pth": lambda path, tensors: samples.write_zip(path, {"params_ema": tensors, "params": {}}),
    "module.pth": lambda path, tensors: samples.write_zip(
        path, {"state_dict": {f"module.{name}": array for name, array in tensors.items()}, "epoch": 3}
    ),
    "legacy.pt": samples.write_legacy,
    "plain.safetensors": samples.write_safetensors,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_way_of_writing_gives_the_same_tensors(name: str, tmp_path: Path) -> None:
    tensors = samples.compact()
    found = read_tensors(WRITERS[name](tmp_path / name, tensors))[0]
    assert list(found) == list(tensors)
    assert all(np.array_equal(found[key], tensors[key]) for key in tensors)


def test_short_numbers(tmp_path: Path) -> None:
    tensors = samples.compact()
    half = {name: array.astype(np.float16) for name, array in tensors.items()}
    for path, tolerance in (
        (samples.write_zip(tmp_path / "half.pth", half), 1e-3),
        (samples.write_safetensors(tmp_path / "half.safetensors", half), 1e-3),
        (samples.write_safetensors(tmp_path / "bf16.safetensors", samples.bfloat16(tensors)), 1e-2),
    ):
        found = read_tensors(path)[0]
        assert all(np.abs(found[name] - tensors[name]).max() < tolerance for name in tensors)


def test_metadata_of_safetensors(tmp_path: Path) -> None:
    stated = {"license": "CC0", "author": "somebody", "description": "sharp"}
    file = read_network_file(samples.write_safetensors(tmp_path / "a.safetensors", samples.compact(), stated))
    assert file.metadata == {"licence": "CC0", "author": "somebody", "summary": "sharp"}
    assert file.parameters == sum(array.size for array in samples.compact().values())


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def broken_pickle(path: Path, arguments: tuple[object, ...]) -> Path:
    storages: list[np.ndarray] = []
    content = samples.pickled({"body.0.weight": np.ones(8, np.float32)}, storages, arguments=arguments)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/data/0", storages[0].tobytes())
    return path


def bomb(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", samples.pickled({}, []))
        archive.writestr("archive/data/0", bytes(20_000_000))
    return path


def truncated(path: Path) -> Path:
    samples.write_zip(path, samples.compact())
    path.write_bytes(path.read_bytes()[:-300])
    return path


def header(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def without(name: str) -> samples.Tensors:
    return {key: array for key, array in samples.compact().items() if key != name}


BROKEN: dict[str, tuple[Callable[[Path], Path], str]] = {
    "offset.pth": (lambda path: broken_pickle(path, (4, (8,), (1,))), "beyond the end of its storage"),
    "stride.pth": (lambda path: broken_pickle(path, (0, (10**9, 10**9), (0, 0))), "beyond the end"),
    "negative.pth": (lambda path: broken_pickle(path, (0, (8,), (-1,))), "valid storage, shape or stride"),
    "bomb.pth": (bomb, "unpack to more than 20 times"),
    "truncated.pth": (truncated, "is no file of PyTorch, or is damaged"),
    "empty.pth": (lambda path: header(path, b""), "is no file of PyTorch, or is damaged"),
    "text.pt": (lambda path: header(path, b"hello"), "is no file of PyTorch, or is damaged"),
    "long.safetensors": (lambda path: header(path, b"\xff" * 20), "its header would have"),
    "short.safetensors": (lambda path: header(path, b"\x02"), "its header is damaged"),
    "missing.pth": (lambda path: path, "cannot read"),
    "none.pth": (lambda path: samples.write_zip(path, {"epoch": 3}), "no tensors by name"),
    "gap.pth": (lambda path: samples.write_zip(path, without("body.2.weight")), "a tensor is missing"),
    "grey.pth": (
        lambda path: samples.write_zip(path, {"body.0.weight": np.ones((4, 1, 3, 3), np.float32)}),
        "channels",
    ),
    "unknown.pth": (
        lambda path: samples.write_zip(path, {"before_RG.1.weight": np.ones(3, np.float32)}),
        "DAT (1 tensors: before_RG.1.weight, ...); Compact, SPAN and ESRGAN run here",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_used_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    write, expected = BROKEN[name]
    path = write(tmp_path / name)
    with pytest.raises(ModelError) as error:
        build_network(path)
    assert expected in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("write", [samples.write_zip, samples.write_legacy])
def test_code_in_a_file_does_not_run(write: Callable[..., Path], tmp_path: Path) -> None:
    made = tmp_path / "made"
    path = write(tmp_path / "evil.pth", {**samples.compact(), "extra": Evil(made)})
    with pytest.raises(ModelError, match=r"it would call .*; ask for a \.safetensors"):
        read_network_file(path)
    assert not made.exists()
