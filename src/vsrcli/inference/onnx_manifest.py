"""The manifest of an exported network, which names the arrays between its functions.

:mod:`vsrcli.inference.onnx_export` writes it into the file's metadata. By it each function of
:mod:`vsrcli.inference.functions` becomes a graph of its own again, so that streams, bands and resuming are
those of the network itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli._version import __version__
from vsrcli.errors import ModelError
from vsrcli.inference.functions import NetworkShapes
from vsrcli.inference.onnx_graph import IR_VERSION, OPSET
from vsrcli.models.architectures import stated_architecture
from vsrcli.models.imported import ModelDescription, files_sha256
from vsrcli.models.onnx_files import MANIFEST_KEY
from vsrcli.models.weights import Weights

MANIFEST_VERSION = 1


@dataclass(frozen=True)
class Manifest:
    """What an export states about its network.

    Attributes:
        content: the object as read.
        shapes: of the network.
        functions: name -> names of its arguments and of its results.
        orders: name of an array -> ``nchw`` or ``nhwc``.
    """

    content: Mapping[str, Any]
    shapes: NetworkShapes
    functions: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]
    orders: Mapping[str, str]


def parse_manifest(text: str) -> Manifest:
    """Return a manifest.

    Raises:
        ModelError: it is damaged, or of a later version.
    """
    try:
        content = json.loads(text)
        if content["format"] != MANIFEST_VERSION:
            raise ModelError(
                f"the file has a manifest of version {content['format']}, and vsr {__version__} reads "
                f"version {MANIFEST_VERSION}: use a newer vsr, or export it again"
            )
        if "architecture" in content:  # else a network of somebody else, in the cache
            _ = architecture_of(content), content["sha256"]
        queues = tuple((int(length), int(channels)) for length, channels in content["queues"])
        sizes = {name: int(content[name]) for name in ("scale", "levels", "width", "head")}
        named = {
            name: (tuple(each["arguments"]), tuple(each["results"]))
            for name, each in content["functions"].items()
        }
        kept = {name: content[name] for name in ("multiple", "aligned") if name in content}
        feedback = "feedback" in named.get("step", ((), ()))[0]
        shapes = NetworkShapes(str(content["kind"]), queues=queues, feedback=feedback, **sizes, **kept)
        return Manifest(content, shapes, named, dict(content["orders"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"the file's manifest is damaged ({error}): export the network again") from error


def architecture_of(content: Mapping[str, Any]) -> Any:
    """Return the :class:`~vsrcli.models.architectures.Architecture` that a manifest names."""
    return stated_architecture(str(content["architecture"]), content["options"])


def describe_export(path: Path, manifest: str) -> ModelDescription:
    """Describe an export of this program by its manifest, without running it.

    Args:
        path: of the file.
        manifest: as in the file's metadata.

    Raises:
        ModelError: the manifest is damaged.
    """
    parsed = parse_manifest(manifest)
    content, known = parsed.content, architecture_of(parsed.content)
    return ModelDescription(
        format="onnx",
        architecture=str(content["architecture"]),
        sha256=files_sha256(path),
        kind="functions",
        scale=parsed.shapes.scale,
        parameters=int(content.get("parameters", 0)),
        frames=2 * parsed.shapes.levels + 1,
        overlap=known.radius(),
        multiply_adds=known.multiply_adds(parsed.shapes.scale),
        bytes_per_pixel=known.bytes_per_pixel,
        licence=str(content.get("licence", "")),
        author=str(content.get("author", "")),
        source=f"{content.get('name', '')}, exported by vsr {content.get('vsr', '')}".strip(", "),
        summary=known.summary,
        manifest=manifest,
    )


def read_manifest(model: Any) -> str:
    """Return the manifest of an ``onnx.ModelProto``, or an empty string."""
    return next((each.value for each in model.metadata_props if each.key == MANIFEST_KEY), "")


def manifest_fields(weights: Weights) -> dict[str, Any]:
    """Return what a manifest states of a network's card."""
    card = weights.card
    kept = {key: card[key] for key in ("degradation", "licence", "author") if key in card}
    return {
        "name": weights.name,
        "architecture": card["architecture"],
        "options": dict(weights.architecture.options),
        "phase": card.get("phase", "centre"),
        "sha256": card["sha256"],
        **kept,
    }


def extract_function(model: Any, manifest: Manifest, name: str) -> bytes:
    """Return one function of an export as an ONNX file of its own.

    Args:
        model: ``onnx.ModelProto`` of the export.
        manifest: of it.
        name: of the function.

    Raises:
        ModelError: the graph lacks an array that the manifest names.
    """
    from onnx import helper

    arguments, results = manifest.functions[name]
    producers = {output: node for node in model.graph.node for output in node.output}
    constants = {each.name: each for each in model.graph.initializer}
    needed: set[int] = set()
    used: set[str] = set()
    stack = list(results)
    while stack:
        array = stack.pop()
        if array in arguments or array in used or not array:
            continue
        used.add(array)
        if array in constants:
            continue
        if array not in producers:
            raise _changed_error(repr(array))
        node = producers[array]
        if id(node) not in needed:
            needed.add(id(node))
            stack += node.input
    infos = {each.name: each for each in (*model.graph.input, *model.graph.output, *model.graph.value_info)}
    try:
        graph = helper.make_graph(
            [node for node in model.graph.node if id(node) in needed],
            name,
            [infos[each] for each in arguments],
            [infos[each] for each in results],
            [each for key, each in constants.items() if key in used],
        )
    except KeyError as error:
        raise _changed_error(str(error)) from error
    return model_proto(graph, {}).SerializeToString()


def _changed_error(array: str) -> ModelError:
    return ModelError(f"the file was changed since its export: {array} is missing; export it again")


def model_proto(graph: Any, metadata: dict[str, str]) -> Any:
    """Return a graph as an ``onnx.ModelProto`` of this program's version of ONNX, with metadata."""
    from onnx import helper

    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="vsr",
        producer_version=__version__,
    )
    model.ir_version = IR_VERSION
    helper.set_model_props(model, metadata)
    return model
