"""Measure speed: networks alone, against DUF-16L and ONNX models; whole videos, against ffmpeg's scaler.

    python benchmarks/speed.py [--models duf-s,duf-r-s] [--engines keras,openvino] [--size 160x90]
    python benchmarks/speed.py --onnx FILE [--onnx FILE]
    python benchmarks/speed.py --comparison --no-networks [--size 1920x1080]
    python benchmarks/speed.py --clip FILE [--video-models bicubic,duf-s] [--video-frames 48] [--no-networks]

*Networks alone*: all networks upscale the same frames, in turns in one process, so that other load affects
all alike. The result is the median over turns of microseconds per low-resolution pixel and frame; the ratio
is to the paper's network as its authors run it: DUF-16L, one call of a TensorFlow graph for every frame's
window of seven, fp32. Names of models mean random weights. An ONNX model runs in ONNX Runtime (``pip install
onnxruntime``); its input is N C H W, N T C H W or N C T H W, recognized by the position of the three colours;
dynamic sides become those of the frame.

*Comparison*: the cost of deciding whether a frame repeats the previous one.

*Whole videos*: ``vsr upscale`` and ``ffmpeg -vf scale``, with the same clip and codec, each in its own
process from start to end, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from common import Table, machine, run, weights_for

REFERENCE = "duf-16l"
CRF, PRESET = "18", "medium"


class BenchmarkedNetwork(Protocol):
    """One network, fed with an endless video."""

    name: str
    description: str  # of its engine, for people
    macs: int  # multiply-adds per low-resolution pixel and frame; 0: unknown

    def upscale(self, frames: list[np.ndarray]) -> int:
        """Upscale frames (H, W, 3); return the number of low-resolution pixels that were upscaled."""
        ...


class StreamedNetwork:
    """A model of this project, in the engine that ``vsr upscale`` uses."""

    def __init__(self, name: str, engine: str, options: argparse.Namespace, folder: Path) -> None:
        from vsrcli.inference.selection import ModelChoice, open_engine

        weights = weights_for(name, options.scale, folder)
        choice = ModelChoice(weights.architecture, weights, options.scale)
        device, precision = options.gpu, "fp32" if name == REFERENCE else options.precision
        opened = open_engine(choice, device=device, precision=precision, engine=engine)
        self.name = Path(name).name
        self.description = opened.description
        self.macs = weights.architecture.multiply_adds(options.scale)
        width, height = sides(options.size)
        self._stream = opened.open(height, width)

    def upscale(self, frames: list[np.ndarray]) -> int:
        outputs = sum(self._stream.push(frame) is not None for frame in frames)
        return outputs * frames[0].shape[0] * frames[0].shape[1]


class OnnxNetwork:
    """A third-party ONNX model."""

    macs = 0

    def __init__(self, path: Path, options: argparse.Namespace) -> None:
        import onnxruntime  # pyright: ignore[reportMissingImports]

        self.name = path.name
        self._session: Any = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise SystemExit(
                f"{path}: it has {len(inputs)} inputs; only models with a single one can be measured"
            )
        self._input = inputs[0].name
        self._kind = np.float16 if "float16" in inputs[0].type else np.float32
        width, height = sides(options.size)
        self._shape, self._layout = input_layout(inputs[0].shape, height, width, path)
        self.description = f"ONNX Runtime {onnxruntime.__version__} on CPU, {self._layout} {self._shape}"

    def upscale(self, frames: list[np.ndarray]) -> int:
        upscaled = 0
        pixels = self._shape[-1] * self._shape[-2]
        while upscaled < len(frames) * pixels:
            (output,) = self._session.run(None, {self._input: self._input_window(frames[0])})[:1]
            frame_count = output.shape[self._layout.index("T")] if output.ndim == 5 else output.shape[0]
            upscaled += frame_count * pixels
        return upscaled

    def _input_window(self, frame: np.ndarray) -> np.ndarray:
        """Return a window of copies of this frame, cropped or repeated to the model's size."""
        height, width = self._shape[-2:]
        rows, columns = -(-height // frame.shape[0]), -(-width // frame.shape[1])
        image = np.tile(frame, (rows, columns, 1))[:height, :width].transpose(2, 0, 1).astype(self._kind)
        if self._layout == "NTCHW":
            image = np.broadcast_to(image[None], self._shape[1:])
        elif self._layout == "NCTHW":
            image = np.broadcast_to(image[:, None], self._shape[1:])
        else:
            image = np.tile(image, (self._shape[1] // 3, 1, 1))
        return np.ascontiguousarray(image[None])


def input_layout(shape: list[Any], height: int, width: int, path: Path) -> tuple[tuple[int, ...], str]:
    """Return an input's shape with its dynamic sides filled in, and its axes."""
    size = [side if isinstance(side, int) and side > 0 else None for side in shape]
    if len(size) == 4 and size[1] is not None and size[1] % 3 == 0:
        axes, default = "NCHW", (1, size[1], height, width)
    elif len(size) == 5 and size[2] == 3:
        axes, default = "NTCHW", (1, 7, 3, height, width)
    elif len(size) == 5 and size[1] == 3:
        axes, default = "NCTHW", (1, 3, 7, height, width)
    else:
        raise SystemExit(f"{path}: its input is {shape}; N C H W, N T C H W or N C T H W can be measured")
    return tuple(
        fallback if side is None else side for side, fallback in zip(size, default, strict=True)
    ), axes


def sides(size: str) -> tuple[int, int]:
    width, height = (int(side) for side in size.split("x"))
    return width, height


def open_networks(options: argparse.Namespace, folder: Path) -> Iterable[BenchmarkedNetwork]:
    for name in filter(None, options.models.split(",")):
        for engine in options.engines.split(","):
            if name != REFERENCE:
                yield StreamedNetwork(name, engine, options, folder)
    yield StreamedNetwork(REFERENCE, "keras", options, folder)
    if options.onnx:
        try:
            import onnxruntime  # noqa: F401  # pyright: ignore[reportMissingImports]
        except ImportError:
            print("ONNX models are skipped: ONNX Runtime is not installed (pip install onnxruntime)")
            return
        for path in options.onnx:
            yield OnnxNetwork(path, options)


def measure_networks(options: argparse.Namespace) -> None:
    width, height = sides(options.size)
    frames = list(np.random.default_rng(0).random((options.frames, height, width, 3), dtype=np.float32))
    with tempfile.TemporaryDirectory() as folder:
        networks = list(open_networks(options, Path(folder)))
        times: dict[int, list[float]] = {number: [] for number in range(len(networks))}
        for network in networks:  # compile, and fill the windows
            network.upscale(frames[:1] * 7)
        for _ in range(options.turns):
            for number, network in enumerate(networks):
                started = time.perf_counter()
                pixels = network.upscale(frames)
                times[number].append((time.perf_counter() - started) * 1e6 / pixels)
    medians = [float(np.median(turns)) for turns in times.values()]
    reference = medians[[network.name for network in networks].index(REFERENCE)]
    turns = f"median of {options.turns} turns of {options.frames} frames"
    print(f"\nnetworks alone: {width}x{height} to x{options.scale}, {turns}\n")
    heads = ["network", "us/pixel", "fastest", "speed-up", "multiply-adds", "G/s", "runs on"]
    table = Table(heads, markdown=options.markdown)
    for number, (median, network) in enumerate(zip(medians, networks, strict=True)):
        macs = (f"{network.macs:,}", f"{network.macs / median / 1e3:.0f}") if network.macs else ("", "")
        speed = f"{median:.2f}", f"{min(times[number]):.2f}", f"{reference / median:.2f}"
        table.row(network.name, *speed, *macs, network.description)
    table.print()


def measure_comparison(options: argparse.Namespace) -> None:
    from vsrcli.inference.wrappers import frames_equal

    width, height = sides(options.size)
    frame = np.random.default_rng(0).random((height, width, 3), dtype=np.float32)
    print(f"\ncomparison of frames: {width}x{height}, median of 21\n")
    table = Table(["frames that", "us/pixel"], markdown=options.markdown)
    for label, other in (("are equal", frame.copy()), ("differ everywhere", 1 - frame)):
        turns = []
        for _ in range(21):
            started = time.perf_counter()
            frames_equal(frame, other)
            turns.append((time.perf_counter() - started) * 1e6 / (width * height))
        table.row(label, f"{np.median(turns):.5f}")
    table.print()


def measure_videos(options: argparse.Namespace) -> None:
    from vsrcli.media.ffmpeg import find_ffmpeg
    from vsrcli.media.probe import probe

    ffmpeg, scale, clip = find_ffmpeg(), options.scale, options.clip
    video = probe(clip).video
    pixels = video.width * video.height
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out.mp4"
        lines = {}
        for kernel in ("bicubic", "lanczos"):
            line = [
                ffmpeg.path,
                "-v",
                "error",
                "-nostdin",
                "-y",
                "-i",
                str(clip),
                "-frames:v",
                str(options.video_frames),
            ]
            line += ["-vf", f"scale=iw*{scale}:ih*{scale}:flags={kernel}", "-c:v", "libx264", "-crf", CRF]
            lines[f"ffmpeg {kernel}"] = [*line, "-preset", PRESET, "-pix_fmt", "yuv420p", "-an", str(out)]
        for model in options.video_models.split(","):
            interpolation = model in ("bicubic", "lanczos")
            weights = model if interpolation else str(find_or_create_weights(model, scale, Path(name)))
            for engine in ["auto"] if interpolation else options.engines.split(","):
                line = [
                    sys.executable,
                    "-m",
                    "vsrcli",
                    "upscale",
                    str(clip),
                    str(out),
                    "-q",
                    "-y",
                    "--no-resume",
                ]
                line += ["-m", weights, "-s", str(scale), "-g", options.gpu, "--engine", engine]
                line += [
                    "--precision",
                    options.precision,
                    "--codec",
                    "libx264",
                    "--crf",
                    CRF,
                    "-e",
                    f"preset={PRESET}",
                ]
                line += ["--pix-fmt", "yuv420p", "--frames", str(options.video_frames)]
                label = f"vsr {Path(model).name}" + ("" if interpolation else f", {engine}")
                lines[label] = line
        times: dict[str, list[float]] = {label: [] for label in lines}
        for _ in range(options.video_turns):
            for label, line in lines.items():
                started = time.perf_counter()
                run(line)
                times[label].append(time.perf_counter() - started)
        frames = count_frames(ffmpeg.path, out)
    reference = float(np.median(times["ffmpeg lanczos"]))
    description = (
        f"{clip.name} ({video.width}x{video.height}, {frames} frames) to x{scale}, libx264 crf {CRF} {PRESET}"
    )
    print(f"\nwhole videos: {description}, ffmpeg {ffmpeg.version}, median of {options.video_turns} turns\n")
    table = Table(["", "seconds", "frames/s", "us/pixel", "times ffmpeg lanczos"], markdown=options.markdown)
    for label, turns in times.items():
        seconds = float(np.median(turns))
        pace = f"{seconds:.2f}", f"{frames / seconds:.2f}", f"{seconds * 1e6 / frames / pixels:.2f}"
        table.row(label, *pace, f"{seconds / reference:.2f}")
    table.print()


def find_or_create_weights(model: str, scale: int, folder: Path) -> Path:
    """Return trained weights if there are some, else random ones."""
    from vsrcli.errors import ModelError
    from vsrcli.models.weights import SUFFIX, find_weights

    if not model.endswith(SUFFIX):
        with contextlib.suppress(ModelError):
            return find_weights(model, scale).path
    return weights_for(model, scale, folder).path


def count_frames(ffmpeg: str, video: Path) -> int:
    """Return the number of frames that ffmpeg decodes."""
    line = [ffmpeg, "-nostdin", "-i", str(video), "-map", "0:v:0", "-f", "null", "-"]
    log = subprocess.run(line, capture_output=True, text=True, check=True).stderr
    return int(log.rsplit("frame=", 1)[1].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the speed of networks and of whole videos.")
    parser.add_argument("--models", default="duf-s", help="names or weight files, separated by commas")
    parser.add_argument("--engines", default="auto", help="auto, keras, openvino, separated by commas")
    parser.add_argument(
        "--onnx", type=Path, action="append", default=[], help="an ONNX model; may be repeated"
    )
    parser.add_argument("--size", default="160x90", help="low-resolution frame, default 160x90")
    parser.add_argument("-s", "--scale", type=int, default=4)
    parser.add_argument("--frames", type=int, default=3, help="frames per turn")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--precision", default="auto", help="precision of all but the reference")
    parser.add_argument("-g", "--gpu", default="auto")
    parser.add_argument("--clip", type=Path, help="also upscale this video, with vsr and with ffmpeg")
    parser.add_argument(
        "--video-models", default="bicubic,duf-r-xxs,duf-r,duf-r-s", help="names or weight files for --clip"
    )
    parser.add_argument("--video-frames", type=int, default=10_000, help="frames from the clip's start")
    parser.add_argument("--video-turns", type=int, default=1)
    parser.add_argument("--no-networks", action="store_true", help="do not measure networks alone")
    parser.add_argument("--comparison", action="store_true", help="of a frame with the previous one")
    parser.add_argument("--markdown", action="store_true", help="tables in Markdown")
    options = parser.parse_args()
    missing = [path for path in [*options.onnx, options.clip] if path and not path.is_file()]
    if missing:
        parser.error(f"there is no file {missing[0]}")
    print(machine())
    if not options.no_networks:
        measure_networks(options)
    if options.comparison:
        measure_comparison(options)
    if options.clip:
        measure_videos(options)


if __name__ == "__main__":
    main()
