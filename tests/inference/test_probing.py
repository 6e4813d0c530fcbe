"""What probing finds out about files of every convention, and how it refuses others."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnx_samples import REFUSED, SAMPLES, identity, save, symmetric_resize, up_to, upscaler
from vsrcli.errors import EngineError, ModelError
from vsrcli.inference import network_runner
from vsrcli.inference.network_runner import OnnxRunner
from vsrcli.inference.probing import describe_model, known_description, probe
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.models.imported import ImportedModel, files_sha256
from vsrcli.models.onnx_files import count_multiply_adds, read_onnx
from vsrcli.system import child

pytest.importorskip("openvino")


@pytest.mark.parametrize("name", SAMPLES)
def test_network_is_described_as_it_behaves(tmp_path, name):
    write, expected = SAMPLES[name]
    found = probe(write(tmp_path / f"{name}.onnx"), "").to_json()
    assert {key: found[key] for key in expected} == expected
    notice = "tiles with 64 pixels of context differ from whole frames by up to "
    assert any(each.startswith(notice) for each in found["notices"]) == found["whole_frames"]


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_with_reason_and_interface(tmp_path, name):
    write, reason = REFUSED[name]
    with pytest.raises(ModelError, match=reason) as caught:
        probe(write(tmp_path / f"{name}.onnx"), "")
    assert "; inputs: x " in str(caught.value)
    assert "\n" not in str(caught.value)


def test_frames_that_are_too_large_to_measure_tiles(tmp_path):
    reason = r"cannot be used: it does not run on OpenVINO on frames of 160x160: .*inconsistent.*; inputs: x"
    with pytest.raises(ModelError, match=reason):
        probe(up_to(tmp_path / "table.onnx", 150), "")


def test_description_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    path = upscaler(tmp_path / "a.onnx")
    assert known_description(path) is None
    first = describe_model(path)
    monkeypatch.setattr(sys, "executable", "/nowhere")  # no child could start
    assert describe_model(path) == known_description(path) == first
    assert known_description(tmp_path / "none.onnx") is None


def test_child_that_dies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="ended with 1; inputs: x") as caught:
        describe_model(upscaler(tmp_path / "a.onnx"))
    assert "\n" not in str(caught.value)


def test_the_step_that_does_not_end_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))

    def run(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"], b'{"step": "loading it"}\n', b"")

    monkeypatch.setattr(child, "run_process", run)
    with pytest.raises(ModelError, match="a step did not end within 600 s on small frames, while loading it"):
        describe_model(upscaler(tmp_path / "a.onnx"))


def test_every_size_is_a_step_and_two_are_kept(tmp_path, monkeypatch):
    steps, kept = [], []
    run = OnnxRunner.run

    def counted(runner, array):
        result = run(runner, array)
        kept.append(len(runner._compiled))
        return result

    monkeypatch.setattr(OnnxRunner, "run", counted)
    probe(upscaler(tmp_path / "a.onnx"), "", steps.append)
    assert steps[0] == "loading it"
    assert {"finding its factor and sizes, at 64x64", "finding its factor and sizes, at 128x128"} <= set(
        steps
    )
    assert "measuring the overlap of its tiles, at 160x160" in steps
    assert max(kept) == 2


def test_tiles_of_one_size_are_compared_with_each_other(tmp_path):
    shape = (1, 3, 96, 96)
    found = probe(upscaler(tmp_path / "a.onnx", shape=shape), "")
    assert (found.overlap, found.multiple, found.notices) == (8, 1, ())
    assert found.tile_error < 1e-3
    assert found.seconds_per_pixel > 0
    blocks = probe(of_one_size(SAMPLES["multiple"][0](tmp_path / "b.onnx"), 96), "")
    assert (blocks.overlap, blocks.multiple, blocks.notices) == (8, 4, ())
    whole = probe(of_one_size(SAMPLES["whole"][0](tmp_path / "c.onnx"), 96), "")
    assert whole.tile_error > 1e-3
    assert "pixels of context differ from each other by up to" in whole.notices[0]


def of_one_size(path: Path, side: int) -> Path:
    model = onnx.load(path)
    for number in (2, 3):
        model.graph.input[0].type.tensor_type.shape.dim[number].dim_value = side
    onnx.save(model, path)
    return path


def test_context_covers_what_networks_without_padding_lack(tmp_path):
    kernel = np.zeros((12, 3, 25, 25), np.float32)
    kernel[..., 11:14, 11:14] = identity(3, 2)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    found = probe(save(tmp_path / "a.onnx", nodes, {"w": kernel}, (1, 3, "h", "w")), "")
    assert (found.margin, found.overlap) == (48, 16)


@pytest.mark.parametrize("outputs", [("y", "sigma"), ("sigma", "y"), ("sigma", "other", "y")])
def test_the_output_is_the_one_that_resembles_the_frame(outputs, tmp_path):
    assert probe(upscaler(tmp_path / "a.onnx", outputs=outputs), "").output_name == "y"


def test_a_file_that_openvino_cannot_read_runs_on_onnx_runtime(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    path = symmetric_resize(tmp_path / "a.onnx")
    found = probe(path, files_sha256(path))
    assert (found.scale, found.engine) == (2, "onnxruntime")
    assert re.match(r"OpenVINO cannot read it \(.*Resize", found.notices[0])
    model = ImportedModel(path, found, "a")
    choice = ModelChoice(model.architecture, model, 2)
    assert "onnxruntime" in open_engine(choice, device="cpu").description
    frame = np.random.default_rng(3).random((6, 8, 3), np.float32)
    stream = open_engine(choice, device="cpu", precision="fp32").open(6, 8)
    (result,) = [each for each in (stream.push(frame), *stream.flush()) if each is not None]
    assert np.abs(result.reshape(6, 2, 8, 2, 3).mean(axis=(1, 3)) - frame).max() < 0.5
    with pytest.raises(EngineError, match=r"OpenVINO cannot take a .*Resize.* onnxruntime"):
        open_engine(choice, device="cpu", engine="openvino", precision="fp32").open(6, 8)


def test_memory_of_earlier_runs_is_given_back_on_onnx_runtime(tmp_path):
    """Else the peak of the run that is measured would not grow."""
    path = symmetric_resize(tmp_path / "a.onnx")
    options = OnnxRunner(path, read_onnx(path), "onnxruntime")._session.get_session_options()
    assert not options.enable_cpu_mem_arena
    assert not options.enable_mem_pattern


def test_without_onnx_runtime_the_message_names_what_openvino_lacks(tmp_path, monkeypatch):
    monkeypatch.setattr(network_runner, "find_spec", lambda name: None if name == "onnxruntime" else name)
    with pytest.raises(ModelError, match=r"Resize.*ONNX Runtime may run it: pip install"):
        probe(symmetric_resize(tmp_path / "a.onnx"), "")


def test_sides_without_a_length_are_free(tmp_path):
    for side in (0, -1):
        path = upscaler(tmp_path / "a.onnx", shape=(side, 3, side, side))
        (source,) = read_onnx(path).inputs
        assert source.shape == (None, 3, None, None)
    found = probe(path, "")  # with 0, no runtime takes the file
    assert (found.fixed_size, found.scale) == (None, 2)


def test_truncated_file_is_refused(tmp_path):
    path = upscaler(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"incomplete|damaged"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("/etc/hostname", "outside"),
        ("../w", "outside"),
        ("a/../../w", "outside"),
        ("a\\w", "outside"),
        ("", "outside"),
        (".", "outside"),
        ("w", "beside"),
    ],
)
def test_weights_outside_the_folder_are_refused(tmp_path, location, reason):
    path = upscaler(tmp_path / "a.onnx")
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match=reason):
        read_onnx(path)


def test_unknown_domain_is_named(tmp_path):
    path = upscaler(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.node[0].domain = "somebody"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"somebody\.Conv"):
        read_onnx(path)


def test_multiply_adds(tmp_path):
    assert count_multiply_adds(upscaler(tmp_path / "a.onnx"), (1, 3, 10, 8)) == 12 * 27 * 80
