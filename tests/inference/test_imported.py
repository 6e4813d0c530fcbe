"""Networks of others, on every engine: the right pictures, whatever their conventions."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import media_samples as media
import torch_samples
from ncnn_samples import NcnnWriter, bytes_in_and_out
from onnx_samples import SAMPLES, enlarged, save, up_to, upscaler
from vsrcli import Options, prepare_job
from vsrcli.errors import EngineError, ModelError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.probing import describe_model, probe
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.tiled import TiledStream
from vsrcli.inference.types import Engine
from vsrcli.models.imported import ImportedModel, files_sha256
from vsrcli.models.library import add_model, state_origin

HEIGHT, WIDTH = 30, 28
FRAME = np.random.default_rng(2).random((HEIGHT // 2, WIDTH // 2, 3)).repeat(2, 0).repeat(2, 1)
FRAME = np.ascontiguousarray(FRAME, np.float32)
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
MEAN, DEVIATION = FRAME.mean(axis=(0, 1)), FRAME.std(axis=(0, 1))
EXPECTED: dict[str, Callable[[np.ndarray], np.ndarray]] = {  # where it is not the frame
    "whole": lambda frame: frame + 0.08 * MEAN,
    "instance": lambda frame: frame + 0.05 * (frame - MEAN) / DEVIATION,
    "bytes": lambda frame: np.rint(255 * frame) / 255,
    "bgr": lambda frame: np.minimum(frame, [1, 1, 0.4]),
    "blocks": lambda frame: frame,
    "least": lambda frame: frame,
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path_factory.getbasetemp() / "imported-cache"))


def load(path: Path, engine: str) -> Engine:
    # networks in ``keras.ops`` choose Keras' backend for the whole process, so these need one of their own
    found = (
        describe_model(path)
        if path.suffix != ".onnx" or "split" in path.name
        else probe(path, files_sha256(path))
    )
    model = ImportedModel(path, state_origin(found, path), path.stem)
    choice = ModelChoice(model.architecture, model, model.scale)
    return open_engine(choice, device="cpu", engine=engine, precision="fp32")


def run(engine: Engine, frame: np.ndarray = FRAME) -> np.ndarray:
    stream = engine.open(*frame.shape[:2])
    first = stream.push(frame)
    results = ([] if first is None else [first]) + stream.flush()
    assert len(results) == 1
    return results[0]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_convention_gives_the_frame_enlarged(name: str, tmp_path: Path) -> None:
    path = SAMPLES[name][0](tmp_path / f"{name}.onnx")
    results = [run(load(path, engine)) for engine in ("openvino", "onnxruntime")]
    assert np.abs(results[0] - results[1]).max() < 1e-3
    if name in ("linear", "cubic"):  # smooth, and noise is not
        return
    scale = len(results[0]) // HEIGHT
    frame = EXPECTED.get(name, lambda frame: frame)(FRAME).clip(0, 1)
    expected, result = frame.repeat(scale, 0).repeat(scale, 1), results[0]
    if name == "luma":
        expected, result = expected @ LUMA, result @ LUMA
    if name in EXPECTED and name != "whole":
        assert np.abs(expected - result).max() < 1e-5
    assert np.abs(expected - result).max() < (0.25 if name == "multiple" else 0.12)
    assert np.abs(expected - result).mean() < 0.06


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("height", "width"), [(3, 40), (17, 5), (1, 1)])
@pytest.mark.parametrize("name", ["least", "blocks"])
def test_frames_smaller_than_the_network_takes(
    name: str, height: int, width: int, engine: str, tmp_path: Path
) -> None:
    frame = np.random.default_rng(height).random((height, width, 3), np.float32)
    result = run(load(SAMPLES[name][0](tmp_path / "small.onnx"), engine), frame)
    np.testing.assert_allclose(result, frame.repeat(2, 0).repeat(2, 1), atol=1e-5)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_stated_order_of_colours_is_that_of_the_network(engine: str, tmp_path: Path) -> None:
    """A network that resembles the frame in both orders: its first channel loses a little."""
    most = np.array([0.9, 1.0, 1.0], np.float32).reshape(1, 3, 1, 1)
    path = enlarged(
        tmp_path / "a.onnx", [helper.make_node("Min", ["x", "most"], ["a"])], weights={"most": most}
    )
    assert not probe(path, "").bgr
    path.with_suffix(".json").write_text('{"order": "bgr"}')
    expected = np.minimum(FRAME, [1, 1, 0.9]).repeat(2, 0).repeat(2, 1)
    np.testing.assert_allclose(run(load(path, engine)), expected, atol=1e-5)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_frames_larger_than_the_network_takes_need_smaller_tiles(
    engine: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    loaded = load(up_to(tmp_path / "table.onnx", 168), engine)
    capfd.readouterr()
    assert run(loaded, np.zeros((168, 40, 3), np.float32)).shape == (336, 80, 3)
    with pytest.raises(EngineError, match=r" table at 40x170 .*: give a smaller --tile") as caught:
        run(loaded, np.zeros((170, 40, 3), np.float32))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def compact_onnx(path: Path, tensors: torch_samples.Arrays, scale: int) -> Path:
    nodes, last, previous = [], max(int(name.split(".")[1]) for name in tensors), "x"
    for number in range(last + 1):
        weights = [f"body.{number}.weight"] + ([f"body.{number}.bias"] if number % 2 == 0 else [])
        result = [f"b{number}"]
        if number % 2:
            nodes.append(helper.make_node("PRelu", [previous, *weights], result))
        else:
            nodes.append(helper.make_node("Conv", [previous, *weights], result, pads=[1] * 4))
        previous = f"b{number}"
    nodes += [
        helper.make_node("DepthToSpace", [previous], ["d"], blocksize=scale, mode="CRD"),
        helper.make_node(
            "Resize",
            ["x", "", "factors"],
            ["n"],
            mode="nearest",
            nearest_mode="floor",
            coordinate_transformation_mode="asymmetric",
        ),
        helper.make_node("Add", ["d", "n"], ["y"]),
    ]
    arrays = {
        name: array.reshape(-1, 1, 1) if array.ndim == 1 and int(name.split(".")[1]) % 2 else array
        for name, array in tensors.items()
    }
    arrays["factors"] = np.array([1, 1, scale, scale], np.float32)
    return save(path, nodes, arrays, (1, 3, "h", "w"))


class GivenWeights(NcnnWriter):
    """Writes given weights instead of random ones."""

    def __init__(self, arrays: list[np.ndarray]) -> None:
        super().__init__()
        self._arrays = arrays

    def _append(self, array: np.ndarray, *, tagged: bool = False) -> None:
        super()._append(self._arrays.pop(0).reshape(-1), tagged=tagged)


def compact_ncnn(path: Path, tensors: torch_samples.Arrays, scale: int) -> Path:
    writer = GivenWeights(list(tensors.values()))
    frame = base = "data"
    last = max(int(name.split(".")[1]) for name in tensors)
    for number in range(0, last + 1, 2):
        outputs, inputs = tensors[f"body.{number}.weight"].shape[:2]
        frame = writer.convolution(frame, inputs, outputs)
        if number < last:
            frame = writer.prelu(frame, outputs)
    frame = writer.add("PixelShuffle", frame, f"0={scale}")
    base = writer.add("Interp", base, f"0=1 1={scale}.0 2={scale}.0")
    writer.add("BinaryOp", f"{frame} {base}", "0=0")
    return writer.write(path)


def test_three_forms_of_one_network_give_one_picture(tmp_path: Path) -> None:
    tensors = torch_samples.natural(torch_samples.compact(2, 4, 1))
    paths = [
        torch_samples.write_pth(tmp_path / "a.pth", tensors),
        compact_ncnn(tmp_path / "b.param", tensors, 2),
        compact_onnx(tmp_path / "c.onnx", tensors, 2),
    ]
    results = [run(load(path, "openvino")) for path in paths]
    results += [run(load(paths[2], "onnxruntime")), run(load(paths[0], "keras"))]
    for other in results[1:]:
        assert np.abs(other - results[0]).max() < 0.05 / 255


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "keras"])
def test_white_of_a_network_in_keras_is_what_was_found(engine: str, tmp_path: Path) -> None:
    path = bytes_in_and_out(tmp_path / "bytes.param")
    assert describe_model(path).value_range == 255
    expected = FRAME.repeat(2, 0).repeat(2, 1) + 0.4 / 255
    np.testing.assert_allclose(run(load(path, engine)), expected.clip(0, 1), atol=1e-5)


@pytest.mark.parametrize(("size", "runs"), [("128x48", 1), ("120x40", 1), ("128x70", 2)])
def test_a_frame_of_the_size_that_a_network_takes_runs_once(size: str, runs: int, tmp_path: Path) -> None:
    film, model = tmp_path / "film.mkv", upscaler(tmp_path / "wide.onnx", shape=(1, 3, 48, 128))
    media.run_ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}:r=25:d=0.04", "-c:v", "ffv1", film)
    for tile in ("auto", "none")[: 2 if runs == 1 else 1]:
        job = prepare_job(film, tmp_path / "out.mkv", Options(Fraction(2), model, tile=tile))
        (only,) = job.passes
        assert len(only.tiles) == runs
        assert only.model.architecture.tile_pixels == 48 * 128


def test_tiles_of_a_deep_network_equal_whole_frames(tmp_path: Path) -> None:
    tensors = torch_samples.natural(torch_samples.compact(1, 8, 1))
    deep = {name: array for name, array in tensors.items() if name.startswith(("body.0.", "body.1."))}
    for number in range(1, 32):
        deep |= {f"body.{2 * number}.{kind}": 6 * tensors[f"body.2.{kind}"] for kind in ("weight", "bias")}
        deep[f"body.{2 * number + 1}.weight"] = tensors["body.3.weight"]
    deep |= {f"body.64.{kind}": tensors[f"body.4.{kind}"] for kind in ("weight", "bias")}
    engine = load(torch_samples.write_pth(tmp_path / "deep.pth", deep), "openvino")
    frame = np.random.default_rng(0).random((90, 120, 3), np.float32)
    tiled = TiledStream(engine.open, plan_tiles(90, 120, 2 * engine.radius + 40, engine.radius), 1)
    result = tiled.push(frame)
    assert result is not None
    assert np.abs(result - run(engine, frame)).max() < 1e-3


@pytest.mark.parametrize(("name", "multiple"), [("multiple", 4), ("windows", 8)])
def test_tiles_of_blocks_begin_at_blocks(name: str, multiple: int, tmp_path: Path) -> None:
    path = SAMPLES[name][0](tmp_path / "blocks.onnx")
    engine, found = load(path, "openvino"), probe(path, "")
    frame = np.random.default_rng(0).random((51, 78, 3), np.float32)
    plan = plan_tiles(51, 78, 50, engine.radius, multiple=found.multiple)
    assert len(plan) > 1
    assert not (plan.origins % multiple).any()
    result = TiledStream(engine.open, plan, 2).push(frame)
    assert result is not None
    assert np.abs(result - run(engine, frame)).max() < 1e-5


def test_weights_in_a_second_file_may_be_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the cache of Hugging Face, whose files have the names of their checksums."""
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("VSR_MODELS", str(tmp_path / "library"))
    whole = SAMPLES["x2"][0](tmp_path / "whole.onnx")
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "main"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    settings = {"save_as_external_data": True, "location": "split.data", "size_threshold": 0}
    onnx.save(onnx.load(str(whole)), str(blobs / "split.onnx"), **settings)
    for name, blob in (("split.onnx", "0a1b"), ("split.data", "2c3d")):
        (blobs / name).rename(blobs / blob)
        (snapshot / name).symlink_to(Path("../../blobs", blob))
    path = snapshot / "split.onnx"
    found = describe_model(path)
    assert found.other_files == ("split.data",)
    copied = add_model(path, "split", description=found).path
    assert np.array_equal(run(load(copied, "openvino")), run(load(whole, "openvino")))
    # OpenVINO follows no link out of the folder
    assert np.array_equal(run(load(path, "onnxruntime")), run(load(whole, "onnxruntime")))


def test_weights_in_a_second_file_belong_to_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VSR_MODELS", str(tmp_path / "library"))
    whole = SAMPLES["x2"][0](tmp_path / "whole.onnx")
    path = tmp_path / "split.onnx"
    settings = {"save_as_external_data": True, "location": "split.data", "size_threshold": 0}
    onnx.save(onnx.load(str(whole)), str(path), **settings)
    found = describe_model(path)
    assert found.other_files == ("split.data",)
    copied = add_model(path, "split", description=found).path
    assert np.array_equal(run(load(copied, "openvino")), run(load(whole, "openvino")))
    data = path.with_name("split.data")
    data.write_bytes(bytes(data.stat().st_size))
    with pytest.raises(ModelError, match="cannot be used"):  # zeros are no upscaler
        describe_model(path)
