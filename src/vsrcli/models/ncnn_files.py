"""What ncnn's files of a network state, without running it. Importable without Keras."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vsrcli.models.imported import NetworkFile, TensorInfo
from vsrcli.models.ncnn_graph import NcnnGraph, read_graph
from vsrcli.models.ncnn_shapes import infer_shapes

_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")


def read_ncnn(path: Path) -> NetworkFile:
    """Read an ncnn network.

    Args:
        path: of the ``.param``; the ``.bin`` of the same name lies beside it.

    Raises:
        ModelError: a file is missing or damaged, the graph has layers of kinds that are not known here, or
            its result is no frame of three colours.
    """
    graph = read_graph(path)
    scale = infer_shapes(graph).scale
    return NetworkFile(
        format="ncnn",
        architecture=name_architecture(graph, scale),
        inputs=(TensorInfo(graph.input, "float32", (3, "height", "width")),),
        outputs=(TensorInfo(graph.output, "float32", (3, f"{scale}*height", f"{scale}*width")),),
        parameters=graph.parameters,
        operators=tuple(sorted({layer.kind for layer in graph.layers})),
    )


def name_architecture(graph: NcnnGraph, scale: int) -> str:
    """Return the architecture for people: the family, as far as its layers show it, and sizes.

    Compact is a chain of convolutions and PReLU, RRDB has concatenations of three to five features, and
    SPAN gates features by a sigmoid of themselves.
    """
    convolutions = [layer.convolution() for layer in graph.layers if layer.kind in _CONVOLUTIONS]
    kinds = Counter(layer.kind for layer in graph.layers)
    widths = Counter(each.outputs for each in convolutions[:-1] or convolutions)
    channels = convolutions[0].outputs if convolutions else 3
    sizes = f"{channels} channels, {len(convolutions)} convolutions"
    if kinds["PReLU"] and kinds["PReLU"] == len(convolutions) - 1 and len(widths) == 1:
        return f"Compact, {channels} channels, {len(convolutions) - 2} inner convolutions"
    if any(layer.kind == "Concat" and len(layer.inputs) == 5 for layer in graph.layers):
        blocks = sum(layer.kind == "Concat" and len(layer.inputs) == 5 for layer in graph.layers) // 3
        return f"RRDB (ESRGAN), {channels} channels, {blocks} blocks"
    if kinds["Sigmoid"] > 2 and kinds["Concat"] and kinds["PixelShuffle"]:
        return f"SPAN, {sizes}"
    return f"graph of {len(graph.layers)} layers, {sizes}"
