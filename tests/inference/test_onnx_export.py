"""Exports of networks as ONNX compute what Keras computes, on every engine that reads them back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed: pip install 'vsrcli[onnxruntime]'")

from random_networks import noise_frames, run_stream

from tiny_networks import tiny_weights
from vsrcli.errors import ModelError
from vsrcli.evaluate.models import resolve_model
from vsrcli.inference.keras import KerasEngine
from vsrcli.inference.onnx_export import build_onnx
from vsrcli.inference.onnx_manifest import describe_export, parse_manifest, read_manifest
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.types import Engine
from vsrcli.models.imported import ImportedModel
from vsrcli.models.onnx_files import MANIFEST_KEY
from vsrcli.models.weights import read_weights

HEIGHT, WIDTH, COUNT = 10, 12, 6
KINDS = ("cached", "recurrent", "fast")


def read_export(path: Path) -> ImportedModel:
    import onnx

    return ImportedModel(path, describe_export(path, read_manifest(onnx.load(str(path)))), path.stem)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, ImportedModel]]:
    """``exports(kind)``: path of random weights, and their export."""
    cache: dict[str, tuple[Path, ImportedModel]] = {}

    def get(kind: str) -> tuple[Path, ImportedModel]:
        if kind not in cache:
            weights = tiny_weights(tmp_path_factory.mktemp(kind), kind)
            path = weights.with_name("exported.onnx")
            build_onnx(weights, "exported", path)
            cache[kind] = weights, read_export(path)
        return cache[kind]

    return get


def open_export(model: ImportedModel, engine: str) -> Engine:
    if engine == "openvino":
        pytest.importorskip("openvino")
    return open_engine(ModelChoice(model.architecture, model, model.scale), device="cpu", engine=engine)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("kind", KINDS)
def test_exports_are_keras_and_resume_bit_for_bit(
    kind: str, engine: str, exports: Callable[[str], tuple[Path, ImportedModel]]
) -> None:
    weights, model = exports(kind)
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    keras = np.stack(run_stream(KerasEngine(read_weights(weights), device="cpu").open(HEIGHT, WIDTH), frames))
    opened = open_export(model, engine)
    expected = run_stream(opened.open(HEIGHT, WIDTH), frames)
    np.testing.assert_allclose(np.stack(expected), keras, atol=5e-5)
    stream, returned = opened.open(HEIGHT, WIDTH), 0
    for position in range(COUNT):
        other = opened.open(HEIGHT, WIDTH)
        other.restore(stream.state())
        rest = run_stream(other, frames[position:])
        np.testing.assert_array_equal(np.stack(rest), np.stack(expected[returned:]))
        returned += stream.push(frames[position]) is not None


@pytest.mark.parametrize(("height", "width"), [(5, 33), (31, 7)])
def test_one_file_is_for_frames_of_any_size(
    height: int, width: int, exports: Callable[[str], tuple[Path, ImportedModel]]
) -> None:
    weights, model = exports("recurrent")
    frames = noise_frames(COUNT, height, width)
    keras = run_stream(KerasEngine(read_weights(weights), device="cpu").open(height, width), frames)
    result = run_stream(open_export(model, "onnxruntime").open(height, width), frames)
    np.testing.assert_allclose(np.stack(result), np.stack(keras), atol=5e-5)


def test_the_whole_graph_is_one_step_of_the_stream(
    exports: Callable[[str], tuple[Path, ImportedModel]],
) -> None:
    """As another program runs it, by the manifest alone."""
    import onnxruntime

    weights, model = exports("recurrent")
    manifest = parse_manifest(model.description.manifest)
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    frames = noise_frames(COUNT, HEIGHT, WIDTH)
    radius = manifest.shapes.levels
    padded = [frames[0]] * radius + list(frames) + [frames[-1]] * radius
    shapes = {each.name: each.shape for each in session.get_inputs()}
    sides = {"height": HEIGHT, "width": WIDTH}
    feed = {
        name: np.zeros(
            [sides[side] if isinstance(side, str) else int(side or 1) for side in shape], np.float32
        )
        for name, shape in shapes.items()
    }
    results = []
    for number, frame in enumerate(padded):
        is_full = number >= 2 * radius
        centre = padded[number - radius] if is_full else frame
        names = manifest.content["outputs"]
        outputs = dict(
            zip(
                names, session.run(names, {**feed, "frame": frame[None], "centre": centre[None]}), strict=True
            )
        )
        for level, (length, _) in enumerate(manifest.shapes.queues):
            for entry in range(length - 1):
                feed[f"queue{level}_{entry}"] = feed[f"queue{level}_{entry + 1}"]
            feed[f"queue{level}_{length - 1}"] = outputs[f"newest{level}"]
        if is_full:
            results.append(outputs["result"][0])
            feed.update(hidden=outputs["new_hidden"], feedback=outputs["new_feedback"])
    keras = run_stream(KerasEngine(read_weights(weights), device="cpu").open(HEIGHT, WIDTH), frames)
    np.testing.assert_allclose(np.stack(results), np.stack(keras), atol=5e-5)


def test_the_manifest_says_what_it_is(exports: Callable[[str], tuple[Path, ImportedModel]]) -> None:
    weights, model = exports("recurrent")
    card, found = read_weights(weights), model.description
    assert (found.kind, found.format, found.scale, found.frames) == ("functions", "onnx", 2, 7)
    assert model.architecture == card.architecture
    assert (found.overlap, found.multiply_adds) == (
        card.architecture.radius(),
        card.architecture.multiply_adds(2),
    )
    assert parse_manifest(found.manifest).content["sha256"] == card.card["sha256"]


@pytest.mark.parametrize("manifest", ["", "{}", '{"format": 99}', "[1]"])
def test_a_damaged_manifest_is_one_clear_error(manifest: str) -> None:
    with pytest.raises(ModelError, match="manifest"):
        parse_manifest(manifest)


def test_a_changed_graph_is_one_clear_error(
    exports: Callable[[str], tuple[Path, ImportedModel]], tmp_path: Path
) -> None:
    import onnx

    network = onnx.load(str(exports("cached")[1].path))
    for node in network.graph.node:
        node.output[:] = ["other" if name == "features" else name for name in node.output]
    onnx.save(network, str(tmp_path / "changed.onnx"))
    model = read_export(tmp_path / "changed.onnx")
    with pytest.raises(ModelError, match="export it again"):
        open_export(model, "onnxruntime").open(HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", ["compact", "rrdb", "span"])
def test_networks_of_others_in_keras_become_onnx(kind: str, tmp_path: Path) -> None:
    import ncnn_samples
    from vsrcli.inference.imported import ImportedEngine
    from vsrcli.models.imported import ModelDescription, files_sha256
    from vsrcli.models.network_files import build_network

    path = tmp_path / f"{kind}.param"
    getattr(ncnn_samples, kind)(path)
    network = build_network(path)
    scale: int = network.scale  # type: ignore[attr-defined]
    model = ImportedModel(path, ModelDescription("ncnn", kind, files_sha256(path), "image", scale), kind)
    frames = noise_frames(1, 16, 24)
    engine = ImportedEngine(model, "onnxruntime", device="cpu")
    result = run_stream(engine.open(16, 24), frames)[0]
    expected = np.asarray(network(frames[:, None]))[0].clip(0, 1)
    np.testing.assert_allclose(result, expected, atol=5e-5)


def test_an_export_keeps_its_pixel_grid(
    tmp_path: Path, exports: Callable[[str], tuple[Path, ImportedModel]]
) -> None:
    """``vsr evaluate`` measures it on the grid that it was trained for, and warns on the other one."""
    import onnx

    assert not resolve_model(str(exports("cached")[1].path)).phase_warning
    network = onnx.load(str(exports("cached")[1].path))
    manifest = json.loads(read_manifest(network)) | {"degradation": "bd", "phase": "zero"}
    onnx.helper.set_model_props(network, {MANIFEST_KEY: json.dumps(manifest)})
    path = tmp_path / "zero.onnx"
    onnx.save(network, str(path))
    model = resolve_model(str(path))
    assert (model.protocol.name, model.trained_phase, model.phase_warning) == ("bd", "zero", "")
    assert "trained for phase 'zero'" in resolve_model(str(path), protocol="bi").phase_warning
