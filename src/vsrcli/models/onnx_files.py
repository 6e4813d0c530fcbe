"""What an ONNX file states about its network, read without running it; files that a runtime must not open.

A runtime follows the file's word: it opens the external files that it names, and allocates what its tensors
declare. So everything is checked here before a runtime sees the file. Control flow (``If``, ``Loop``,
``Scan``) is allowed, its inner graphs obey the same rules; functions that a file defines itself are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

from vsrcli.errors import ModelError
from vsrcli.models.imported import NetworkFile, TensorInfo

MAX_FILE_BYTES = (1 << 31) - 1  # of a protocol buffer
MAX_WEIGHT_BYTES = 8 << 30
MANIFEST_KEY = "vsr"  # of an export of this program, see vsrcli.inference.onnx_manifest
_STANDARD = ("", "ai.onnx")
_MICROSOFT = "com.microsoft"
_METADATA = {
    "licence": ("licence", "license"),
    "author": ("author", "authors", "creator"),
    "source": ("source", "url", "homepage", "repository"),
    "summary": ("summary", "description", "name"),
}


def read_onnx(path: Path) -> NetworkFile:
    """Read an ONNX file.

    Raises:
        ModelError: the package ``onnx`` is missing; the file is damaged, has operators of other domains than
            ONNX's own, or weights in files outside its folder.
    """
    model = load_checked(path)
    initialisers = {each.name for each in model.graph.initializer}
    initialisers |= {each.values.name for each in model.graph.sparse_initializer}
    nodes = list(_nodes(model.graph))
    convolutions = [node for node in nodes if node.op_type in ("Conv", "ConvTranspose")]
    metadata = {each.key: each.value for each in model.metadata_props}
    return NetworkFile(
        format="onnx",
        architecture=f"graph of {len(nodes)} operators, {len(convolutions)} convolutions",
        inputs=tuple(_tensor_info(path, e) for e in model.graph.input if e.name not in initialisers),
        outputs=tuple(_tensor_info(path, each) for each in model.graph.output),
        parameters=_parameters(model),
        metadata=_describe(metadata, model),
        operators=tuple(sorted({node.op_type for node in nodes})),
        other_files=tuple(sorted({each for each in map(_location, _tensors(model.graph)) if each})),
    )


def load_checked(path: Path) -> Any:
    """Return the checked ``onnx.ModelProto``, without external data.

    Raises:
        ModelError: see :func:`read_onnx`.
    """
    onnx = _require_onnx()
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(f"{str(path)!r} has {size >> 20} MiB, and an ONNX file has less than 2 GiB")
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # protobuf's DecodeError, of several implementations
        raise ModelError(f"{str(path)!r} is no ONNX file, or is incomplete: download it again") from error
    if not model.graph.node or not model.graph.output:
        raise ModelError(f"{str(path)!r} is no ONNX file, or is incomplete: download it again")
    _check_domains(path, model)
    total = sum(_check_tensor(path, tensor) for tensor in _tensors(model.graph))
    if total > MAX_WEIGHT_BYTES:
        raise ModelError(f"{str(path)!r} declares {total >> 30} GiB of weights: not used")
    return model


def count_multiply_adds(path: Path, input_shape: Sequence[int]) -> int:
    """Return the multiply-adds of one run with an input of this shape; 0 if they cannot be told.

    Convolutions and products of matrices are counted, by ONNX's inference of shapes.
    """
    model = load_checked(path)
    graph = model.graph
    names = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in names]
    if len(inputs) != 1:
        return 0
    stated = inputs[0].type.tensor_type.shape
    del stated.dim[:]
    for side in input_shape:
        stated.dim.add().dim_value = side
    del graph.value_info[:]
    for output in graph.output:  # its symbols may lie
        output.type.tensor_type.ClearField("shape")
    try:
        from onnx.shape_inference import infer_shapes

        inferred = infer_shapes(model, data_prop=True).graph
    except Exception:  # of a native library; the count is a convenience
        return 0
    shapes = {each.name: tuple(each.dims) for each in graph.initializer}
    shapes |= {
        node.output[0]: tuple(node.attribute[0].t.dims)
        for node in graph.node
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value"
    }
    for each in (*inferred.value_info, *inferred.input, *inferred.output):
        sides = tuple(dim.dim_value for dim in each.type.tensor_type.shape.dim)
        if sides and all(sides):
            shapes[each.name] = sides
    counts = {
        "Conv": lambda x, w, y: math.prod(y) * math.prod(w[1:]),
        "ConvTranspose": lambda x, w, y: math.prod(x) * math.prod(w[1:]),
        "MatMul": lambda x, w, y: math.prod(y) * x[-1],
        "Gemm": lambda x, w, y: math.prod(y) * (math.prod(x) // y[0]),
    }
    try:
        return sum(
            counts[node.op_type](shapes[node.input[0]], shapes[node.input[1]], shapes[node.output[0]])
            for node in graph.node
            if node.op_type in counts
        )
    except (KeyError, IndexError):
        return 0


def _require_onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise ModelError("reading ONNX files needs a package: pip install 'vsrcli[openvino]'") from error
    return onnx


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and those within its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _nodes(graph: Any) -> Iterator[Any]:
    for each in _graphs(graph):
        yield from each.node


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield everything that holds numbers."""
    for each in _graphs(graph):
        yield from each.initializer
        for sparse in each.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in each.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (
                    *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                    *attribute.sparse_tensors,
                ):
                    yield from (sparse.values, sparse.indices)


def _check_domains(path: Path, model: Any) -> None:
    """Raise ModelError for operators that are not ONNX's own; opsets that are listed and unused are fine."""
    if model.functions:
        names = ", ".join(sorted({each.name for each in model.functions}))
        raise ModelError(f"{str(path)!r} defines functions of its own ({names}), which are not run here")
    foreign = sorted({f"{n.domain}.{n.op_type}" for n in _nodes(model.graph) if n.domain not in _STANDARD})
    if not foreign:
        return
    if all(name.startswith(f"{_MICROSOFT}.") for name in foreign):
        if find_spec("onnxruntime"):
            return
        raise ModelError(
            f"{str(path)!r} has operators of ONNX Runtime ({', '.join(foreign)}): "
            "pip install 'vsrcli[onnxruntime]'"
        )
    raise ModelError(f"{str(path)!r} has operators that are not ONNX's own: {', '.join(foreign)}")


def _check_tensor(path: Path, tensor: Any) -> int:
    """Return the bytes of a tensor.

    Raises:
        ModelError: it declares more than the file holds, or lies outside the file's folder.
    """
    onnx = _require_onnx()
    if any(side < 0 for side in tensor.dims):
        raise ModelError(f"{str(path)!r} is damaged: {tensor.name!r} has a negative side")
    count = math.prod(tensor.dims)
    try:
        size = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{str(path)!r}: {tensor.name!r} has an unknown number type") from None
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        return _check_external(path, tensor, count * size)
    typed = (tensor.float_data, tensor.int32_data, tensor.int64_data, tensor.double_data, tensor.uint64_data)
    held = len(tensor.raw_data) // size if tensor.raw_data else max(len(each) for each in typed)
    small = size == 1  # numbers of 4 bits lie two in a byte
    if held < (count // 2 if small else count) and not tensor.string_data:
        raise ModelError(f"{str(path)!r} is damaged: {tensor.name!r} declares {count} numbers and has {held}")
    return count * size


def _location(tensor: Any) -> str:
    """Return the file that holds a tensor's numbers; empty: the ONNX file itself."""
    return next((each.value for each in tensor.external_data if each.key == "location"), "")


def _check_external(path: Path, tensor: Any, size: int) -> int:
    stated = {each.key: each.value for each in tensor.external_data}
    location = stated.get("location", "")
    # as stated, since links in the folder are its owner's: caches have them to files named by checksums
    target, parts = path.parent / location, PurePosixPath(location).parts
    if not parts or ".." in parts or "\\" in location or Path(location).anchor:
        raise ModelError(
            f"{str(path)!r} keeps {tensor.name!r} outside its folder, in {location!r}: that is not opened"
        )
    try:
        offset, length = int(stated.get("offset", 0)), int(stated.get("length", size))
    except ValueError:
        raise ModelError(f"{str(path)!r} is damaged: where {tensor.name!r} lies is no number") from None
    if not target.is_file():
        raise ModelError(f"{str(path)!r} needs {location!r} beside it: put it there")
    if offset < 0 or length < size or offset + length > target.stat().st_size:
        raise ModelError(f"{location!r}, which belongs to {path.name}, is too short: download it again")
    return size


def _tensor_info(path: Path, value: Any) -> TensorInfo:
    onnx = _require_onnx()
    stated = value.type.tensor_type
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(stated.elem_type).name
    except (KeyError, TypeError, ValueError):
        raise ModelError(f"{str(path)!r}: {value.name!r} is no array of numbers") from None
    # exporters state free sides as -1 or 0, too
    shape = tuple(max(dim.dim_value, 0) or dim.dim_param or None for dim in stated.shape.dim)
    return TensorInfo(value.name, dtype, shape)


def _parameters(model: Any) -> int:
    """Return the number of weights: of all arrays, be they initialisers or constants."""
    return sum(math.prod(t.dims) for t in _tensors(model.graph) if len(t.dims))


def _describe(properties: dict[str, str], model: Any) -> dict[str, str]:
    lowered = {key.lower(): value for key, value in properties.items()}
    found = {
        field: next((lowered[key] for key in keys if lowered.get(key)), "")
        for field, keys in _METADATA.items()
    }
    found["summary"] = found["summary"] or model.doc_string or model.graph.doc_string
    found["manifest"] = properties.get(MANIFEST_KEY, "")
    return {key: value for key, value in found.items() if value}
