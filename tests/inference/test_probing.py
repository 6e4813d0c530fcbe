"""What probing finds out about files of every convention, and how it refuses others."""

from __future__ import annotations

import onnx
import pytest

from onnx_samples import REFUSED, SAMPLES, upscaler
from vsrcli.errors import ModelError
from vsrcli.inference import probing
from vsrcli.inference.probing import describe_model, probe
from vsrcli.models.onnx_files import count_multiply_adds, read_onnx

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


def test_description_is_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    path = upscaler(tmp_path / "a.onnx")
    first = describe_model(path)
    monkeypatch.setattr(probing.sys, "executable", "/nowhere")  # no child could start
    assert describe_model(path) == first


def test_child_that_dies_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probing.sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="ended with 1; inputs: x") as caught:
        describe_model(upscaler(tmp_path / "a.onnx"))
    assert "\n" not in str(caught.value)


def test_truncated_file_is_refused(tmp_path):
    path = upscaler(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ModelError, match=r"incomplete|damaged"):
        read_onnx(path)


@pytest.mark.parametrize(
    ("location", "reason"), [("/etc/hostname", "outside"), ("../w", "outside"), ("w", "beside")]
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
