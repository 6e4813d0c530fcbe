"""Files of PyTorch and safetensors from strangers: read as data, or refused in one line."""

import contextlib
import json
import pickle
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

import torch_samples as samples
from vsrcli.errors import ModelError
from vsrcli.models.network_files import build_network, read_network_file
from vsrcli.models.torch_archive import read_pickled

WRITERS = {
    "pth": samples.write_pth,
    "legacy": samples.write_legacy,
    "safetensors": samples.write_safetensors,
}
FRAME = np.random.default_rng(5).random((1, 1, 5, 7, 3)).astype(np.float32)


def run(path: Path) -> np.ndarray:
    return np.array(build_network(path)(FRAME, training=False))


def refusal(path: Path, build: bool = False) -> str:
    """Return the error of a file, which is one line that names the file."""
    with pytest.raises(ModelError) as caught:
        (build_network if build else read_network_file)(path)
    message = str(caught.value)
    assert path.name in message
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_every_form_gives_the_same_picture(tmp_path):
    arrays = samples.compact()
    expected = run(samples.write_pth(tmp_path / "net.pth", arrays))
    exact = [
        samples.write_legacy(tmp_path / "legacy.pth", arrays),
        samples.write_pth(tmp_path / "double.pt", arrays, "float64"),
        samples.write_pth(tmp_path / "checkpoint.pth", arrays, inside=("state_dict", "model")),
        samples.write_safetensors(tmp_path / "net.safetensors", arrays),
        samples.write_safetensors(tmp_path / "safetensors.pth", arrays),  # the name lies
    ]
    for path in exact:
        np.testing.assert_array_equal(run(path), expected, err_msg=path.name)
    for write, suffix in ((samples.write_pth, "pth"), (samples.write_safetensors, "safetensors")):
        for dtype, tolerance in (("float16", 2e-3), ("bfloat16", 2e-2)):
            path = write(tmp_path / f"{dtype}.{suffix}", arrays, dtype)
            np.testing.assert_allclose(run(path), expected, atol=tolerance, err_msg=path.name)


def test_the_average_of_the_weights_is_preferred(tmp_path):
    arrays, other = samples.compact(2), samples.compact(3)
    value = samples.dictionary(
        {"params": samples.tensors(other, prefix="p"), "params_ema": samples.tensors(arrays)}
    )
    storages = samples.storages(other, prefix="p") | samples.storages(arrays)
    path = samples.write_archive(tmp_path / "net.pth", value, storages)
    assert read_network_file(path).architecture.endswith("x2")


def test_metadata_and_numbers_of_a_file(tmp_path):
    notes = {
        "modelspec.license": "CC0-1.0",
        "modelspec.author": "A\nB",
        "modelspec.title": "2x Test",
        "x": "y",
    }
    path = samples.write_safetensors(tmp_path / "net.safetensors", samples.compact(), **notes)
    found = read_network_file(path)
    assert found.format == "safetensors"
    assert found.metadata == {"licence": "CC0-1.0", "author": "A B", "summary": "2x Test"}
    assert found.inputs[0].shape == found.outputs[0].shape == (1, None, None, 3)
    assert read_network_file(samples.write_pth(tmp_path / "net.pth", samples.compact())).format == "pth"


class _Code:
    """An object whose pickle writes a file when it is loaded."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.write_text, (self.target, "code has run")


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_pickle_is_named_and_does_not_run(tmp_path, protocol):
    target, path = tmp_path / "harm", tmp_path / "net.pth"
    code = pickle.dumps({"params": _Code(target)}, protocol)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", code)
    message = refusal(path)
    assert "contains code: " in message
    assert "refused" in message
    (tmp_path / "raw.pth").write_bytes(code)
    refusal(tmp_path / "raw.pth")
    assert not target.exists()
    pickle.loads(code)  # the test itself would show it
    assert target.exists()


@pytest.mark.parametrize(
    "value",
    [
        b"cos\nsystem\n(" + samples.text("true") + b"tR",
        b"cbuiltins\neval\n(" + samples.text("1") + b"tR",
        b"(" + samples.text("true") + b"ios\nsystem\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n)\x81",
        b"ctorch\nload\n(" + samples.text("other.pth") + b"tR",
        b"ctorch.FloatStorage\nfrom_file\n)R",
        b"\x82\x01",
        b"Pother\n",
    ],
)
def test_other_ways_to_code_are_refused(tmp_path, value):
    assert "contains code: " in refusal(samples.write_archive(tmp_path / "net.pth", value, {}))


def altered(value: bytes, storage: bytes = bytes(4 * 16)) -> tuple[bytes, dict[str, bytes]]:
    return samples.dictionary({"body.0.weight": value}), {"0": storage}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (samples.tensor("0", 16, (4, 4), (1, 4)), ""),
        (samples.tensor("0", 16, (4, 4), (4, 1), 1), "beyond its storage"),
        (samples.tensor("0", 16, (4, 4), (1 << 62, 1)), "beyond its storage"),
        (samples.tensor("0", 16, (4, 4), (-4, 1), 12), "impossible shape"),
        (samples.tensor("0", 16, (4,), (1,), -1), "impossible shape"),
        (samples.tensor("0", 16, (1 << 40, 1 << 40), (0, 0)), "beyond its storage"),
        (samples.tensor("0", 16, (4, 4), (4,)), "impossible shape"),
        (samples.tensor("0", 1 << 40, (4, 4)), "claims"),
        (samples.tensor("0", 15, (4,)), "claims"),
        (samples.tensor("1", 16, (4,)), "data/1"),
        (samples.tensor("0", 16, (4,), storage="QUInt8Storage"), "contains code: torch.QUInt8Storage"),
    ],
)
def test_tensors_outside_of_their_storage(tmp_path, value, reason):
    path = samples.write_archive(tmp_path / "net.pth", *altered(value))
    if reason:
        assert reason in refusal(path)
    else:
        read_pickled(path)


def test_tensors_that_share_numbers_to_seem_large(tmp_path):
    arrays = samples.compact(channels=64)
    one = max(arrays.values(), key=lambda array: array.size)
    value = samples.dictionary({name: samples.tensor("0", one.size, a.shape) for name, a in arrays.items()})
    path = samples.write_archive(tmp_path / "net.pth", value, {"0": samples.as_stored(one, "float32")})
    assert "claim more bytes than the file has" in refusal(path)


def test_views_of_a_storage_are_read_in_their_order(tmp_path):
    arrays = samples.compact()
    expected = run(samples.write_pth(tmp_path / "net.pth", arrays))
    entries, joined, offset = {}, b"", 0
    total = sum(array.size for array in arrays.values())
    for name, array in arrays.items():
        turned = np.ascontiguousarray(array.T)
        strides = tuple(reversed([int(np.prod(turned.shape[i + 1 :])) for i in range(turned.ndim)]))
        entries[name] = samples.tensor("0", total, array.shape, strides, offset)
        joined, offset = joined + turned.tobytes(), offset + array.size
    path = samples.write_archive(tmp_path / "views.pth", samples.dictionary(entries), {"0": joined})
    np.testing.assert_array_equal(run(path), expected)


@pytest.mark.parametrize("form", ["pth", "legacy", "safetensors"])
def test_a_file_cut_anywhere_is_refused(tmp_path, form):
    path = WRITERS[form](tmp_path / "net.pth", samples.compact(1, 2, 1))
    whole, cut = path.read_bytes(), tmp_path / "cut.pth"
    for length in [0, 1, 8, 9, *range(20, len(whole) - 1, 97), len(whole) - 1]:
        cut.write_bytes(whole[:length])
        refusal(cut, build=True)


@pytest.mark.parametrize("form", ["pth", "legacy", "safetensors"])
def test_altered_bytes_are_an_error_or_another_network_never_a_crash(tmp_path, form):
    path = WRITERS[form](tmp_path / "net.pth", samples.compact(1, 2, 1))
    whole, rng = path.read_bytes(), np.random.default_rng(1)
    for _ in range(200):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 4)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ModelError):
            build_network(path)


def test_a_damaged_weight_is_found_by_its_checksum(tmp_path):
    arrays = samples.compact()
    path = samples.write_pth(tmp_path / "net.pth", arrays)
    data = bytearray(path.read_bytes())
    place = data.index(samples.as_stored(arrays["body.2.weight"], "float32"))
    data[place + 1] ^= 1
    path.write_bytes(data)
    assert "a checksum is wrong" in refusal(path, build=True)


def test_weights_that_are_no_numbers(tmp_path):
    arrays = samples.compact()
    arrays["body.2.bias"][1] = np.nan
    path = samples.write_safetensors(tmp_path / "net.safetensors", arrays)
    assert "no finite number" in refusal(path, build=True)


def test_archives_that_unpack_to_more_than_the_file(tmp_path):
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", samples.pickled(altered(samples.tensor("0", 1 << 24, (4, 4)))[0]))
        archive.writestr("net/data/0", bytes(1 << 26))
    assert path.stat().st_size < 1 << 20
    assert "compressed" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", bytes(9 << 20))
    assert "no weights need" in refusal(path)


def test_pickles_that_ask_for_memory(tmp_path):
    laughs = (b"](" + b"h%c" % number * 9 + b"eq%c" % (number + 1) for number in range(60))
    bombs = {
        "memo": b"\x80\x02}r\xff\xff\xff\x7f.",
        "text": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 40) + b"a.",
        "deep": b"\x80\x02" + b"(" * 100_000 + b"t" * 100_000 + b".",
        "keys": b"\x80\x02}" + b"(" * 50_000 + b"t" * 50_000 + b"Ns.",
        "laughs": b"\x80\x02]q\x00" + b"".join(laughs) + b".",
    }
    for name, data in bombs.items():
        with zipfile.ZipFile(tmp_path / f"{name}.pth", "w") as archive:
            archive.writestr("net/data.pkl", data)
        refusal(tmp_path / f"{name}.pth")
        heads = (samples.number(0x1950A86A20F9469CFC6C), samples.number(1001), b"}")
        parts = [*map(samples.pickled, heads), data, samples.pickled(b"]")]
        (tmp_path / f"{name}-old.pth").write_bytes(b"".join(parts))
        refusal(tmp_path / f"{name}-old.pth")


def test_pickles_that_ask_for_copies_of_one_list(tmp_path):
    count = 3000
    long = b"(" + b"K\x01" * count + b"lq\x00"
    entries = b"(" + b"".join(samples.number(each) + b"N" for each in range(count)) + b"dq\x00"
    size = b"ctorch\nSize\nq\x01"
    dictionary = b"ccollections\nOrderedDict\nq\x02"
    pairs = b"(" + b"".join(b"M%bN\x86" % struct.pack("<H", each) for each in range(count)) + b"lq\x00"
    nested = b"".join(
        b"(" + b"".join(samples.number(each) + b"h%c" % level for each in range(8)) + b"dq%c" % (level + 1)
        for level in range(3)
    )
    bombs = {
        "pairs": long + dictionary + b"(" + b"h\x00" * count + b"l\x85R",
        "sizes": long + size + b"(" + b"h\x01h\x00\x85R" * count + b"l",
        "dictionaries": pairs + dictionary + b"(" + b"h\x02h\x00\x85R" * 300 + b"l",
        "nested": entries + nested,
    }
    for name, data in bombs.items():
        with zipfile.ZipFile(tmp_path / f"{name}.pth", "w") as archive:
            archive.writestr("net/data.pkl", samples.pickled(data))
        heads = (samples.number(0x1950A86A20F9469CFC6C), samples.number(1001), b"}")
        parts = [*map(samples.pickled, (*heads, data)), samples.pickled(b"]")]
        (tmp_path / f"{name}-old.pth").write_bytes(b"".join(parts))
        for path in (tmp_path / f"{name}.pth", tmp_path / f"{name}-old.pth"):
            tracemalloc.start()
            refusal(path)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 24 << 20, path.name


def test_safetensors_whose_header_lies(tmp_path):
    path = tmp_path / "net.safetensors"
    good = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    lies = [
        {"shape": [2, 3]},
        {"data_offsets": [0, 1 << 40]},
        {"data_offsets": [-16, 0]},
        {"data_offsets": [8, 24]},
        {"shape": [-2, -2]},
        {"shape": [True, 4]},
        {"shape": "22"},
        {"dtype": "F8_E4M3"},
        {"dtype": None},
    ]
    heads = [json.dumps({"a": {**good, **lie}}).encode() for lie in lies]
    heads += [b"{" + b'"a":{' * 100_000, b'{"a": 1}', b'{"a": {}}', b'{"__metadata__": 3}', b"{\xff\xff}"]
    for head in heads:
        path.write_bytes(len(head).to_bytes(8, "little") + head + bytes(16))
        refusal(path)


def test_unknown_networks_are_described(tmp_path):
    swin = {
        f"layers.{i}.residual_group.blocks.0.attn.{name}": np.zeros((2, 2), np.float32)
        for i in range(9)
        for name in ("relative_position_bias_table", "qkv.weight")
    }
    message = refusal(samples.write_pth(tmp_path / "swin.pth", swin, inside=("params",)))
    assert "18 tensors, 'layers.0.residual_group.blocks.0.attn.relative_position_bias_table'" in message
    assert "it looks like SwinIR; export it to ONNX" in message
    assert "looks like" not in refusal(
        samples.write_pth(tmp_path / "own.pth", {"a": np.zeros(3, np.float32)})
    )
    assert "no weights" in refusal(samples.write_archive(tmp_path / "empty.pth", samples.number(3), {}))


def test_networks_that_only_resemble_known_ones(tmp_path):
    compact, rrdb, span = samples.compact(), samples.rrdb(), samples.span()
    zeros = np.zeros((4,), np.float32)
    plain = {key: array for key, array in compact.items() if array.ndim == 4 or key.endswith("bias")}
    cases = {
        "more.pth": ({**rrdb, "body.0.attention.weight": zeros}, "1 more tensors such as"),
        "less.pth": ({key: rrdb[key] for key in rrdb if "rdb2.conv4" not in key}, "has no blocks.0.2.conv4"),
        "wide.pth": ({**compact, "body.2.bias": np.zeros(5, np.float32)}, "body.2.bias has shape [5]"),
        "grey.pth": (samples.compact(inputs=1), "1 channels (brightness alone)"),
        "alpha.pth": (samples.compact(inputs=4), "4 channels (colour and transparency)"),
        "plain.pth": (plain, "activations without weights"),
        "twice.pth": ({**rrdb, "HRconv.weight": rrdb["conv_hr.weight"]}, "beside another of its meaning"),
        "short.pth": ({key: span[key] for key in span if "block_6" not in key}, "has no block_6"),
    }
    for name, (arrays, reason) in cases.items():
        assert reason in refusal(samples.write_pth(tmp_path / name, arrays))


def test_programs_and_other_archives(tmp_path):
    path = samples.write_archive(tmp_path / "net.pt", samples.number(1), {}, **{"code/net.py": b""})
    assert "TorchScript" in refusal(path)
    with zipfile.ZipFile(tmp_path / "other.pth", "w") as archive:
        archive.writestr("readme.txt", "no weights")
    assert "without data.pkl" in refusal(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("<html>404</html>")
    assert "no file of weights" in refusal(tmp_path / "text.pth")
    assert "cannot read" in refusal(tmp_path / "missing.pth")
