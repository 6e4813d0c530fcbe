"""Measure where the time of one frame goes: inside the network, and from decoder to encoder.

    python benchmarks/frame_profile.py [--models duf-r-xs,duf-s] [--size 426x240] [--precisions fp32,bf16]
    python benchmarks/frame_profile.py --video [--models duf-r-xs,duf-r-s] [--size 480x270] [--frames 90]

*Network*: OpenVINO's own counters of every layer of every function, by kind, as the mean over frames that
go through the stream of ``vsr upscale``; Python's part is the rest of the stream's time. Counting costs a few
per cent, so the last column has the time without counters. Names of models mean shipped weights at x4.

*Video*: the shares that ``vsr bench`` reports, with the encoder's effort of the model's preset.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from typing import Any

import numpy as np
from common import Table, machine

FRAMES, WARM_UP = 12, 8
KINDS = {
    "Convolution": "convolutions",
    "GroupConvolution": "convolutions",
    "FullyConnected": "convolutions",
    "MatMul": "matrix products",
    "Reorder": "conversions",
    "Convert": "conversions",
    "Transpose": "transpositions",
    "Subgraph": "arithmetic",
    "Eltwise": "arithmetic",
}
PARTS = ("convolutions", "matrix products", "arithmetic", "conversions", "transpositions", "others", "Python")


class CountingRequest:
    """An inference request that measures its runs.

    OpenVINO's counters are means over all runs of a request since it was compiled, the first and slow ones
    included: a layer's time since a run is the difference of two sums.

    Args:
        request: of OpenVINO, compiled with counters.
        runs: how often it ran before.

    Attributes:
        seconds: of the runs since then.
    """

    def __init__(self, request: Any, runs: int) -> None:
        self._request, self._runs, self.seconds = request, runs, 0.0
        self._before = self._sums()

    def infer(self) -> None:
        started = time.perf_counter()
        self._request.infer()
        self.seconds += time.perf_counter() - started
        self._runs += 1

    def seconds_by_part(self) -> Counter[str]:
        """Return the layers' seconds since the start."""
        found: Counter[str] = Counter()
        for name, (kind, seconds) in self._sums().items():
            found[KINDS.get(kind, "others")] += seconds - self._before[name][1]
        return found

    def _sums(self) -> dict[str, tuple[str, float]]:
        return {
            layer.node_name: (layer.node_type, self._runs * layer.real_time.total_seconds())
            for layer in self._request.profiling_info
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._request, name)


def open_stream(model: str, precision: str, height: int, width: int, counters: bool) -> tuple[Any, Any]:
    """Return a stream of a shipped model, and its network."""
    from vsrcli.inference.openvino import OpenvinoBackend, openvino_core
    from vsrcli.inference.streams import compile_stream
    from vsrcli.models.weights import find_weights

    openvino_core().set_property("CPU", {"PERF_COUNT": counters})
    stream: Any = compile_stream(OpenvinoBackend(find_weights(model, 4), precision), height, width)()
    return stream, stream._network


def profile(model: str, precision: str, height: int, width: int) -> dict[str, float]:
    """Return milliseconds a frame by part, with counters, and ``total`` without them."""
    rng = np.random.default_rng(0)
    frames = rng.random((4, height, width, 3), dtype=np.float32)
    counted, network = open_stream(model, precision, height, width, counters=True)
    plain, _ = open_stream(model, precision, height, width, counters=False)
    for number in range(WARM_UP):
        counted.push(frames[number % 4])
        plain.push(frames[number % 4])
    requests = []
    for name, function in network.functions.items():
        runs = counted._advanced_count if name == "advance" else WARM_UP - counted._radius
        runs *= len(network.bands) if name == "reconstruct" else 1
        function._request = CountingRequest(function._request, runs)
        requests.append(function._request)
    totals: dict[str, list[float]] = {"counted": [], "plain": []}
    for number in range(FRAMES):
        for name, stream in (("counted", counted), ("plain", plain)):
            started = time.perf_counter()
            stream.push(frames[number % 4])
            totals[name].append(time.perf_counter() - started)
    seconds = sum((request.seconds_by_part() for request in requests), Counter())
    in_functions = sum(request.seconds for request in requests)
    result = {part: 1e3 * seconds[part] / FRAMES for part in PARTS}
    result["Python"] = 1e3 * (sum(totals["counted"]) - in_functions) / FRAMES
    unaccounted = 1e3 * in_functions / FRAMES - sum(result[part] for part in PARTS[:-1])
    result["others"] += unaccounted  # between layers, and threads that wait for each other
    result["total"] = 1e3 * statistics.median(totals["plain"])
    return result


def print_networks(options: argparse.Namespace) -> None:
    width, height = (int(side) for side in options.size.split("x"))
    table = Table(["network", *PARTS, "us/pixel"], markdown=options.markdown)
    for model in options.models.split(","):
        for precision in options.precisions.split(","):
            found = profile(model, precision, height, width)
            whole = sum(found[part] for part in PARTS)
            shares = [f"{100 * found[part] / whole:.0f} %" for part in PARTS]
            pixel = 1e3 * found["total"] / (width * height)
            table.row(f"{model}, {precision}", *shares, f"{pixel:.2f}")
    table.print()


def print_videos(options: argparse.Namespace) -> None:
    columns = ("decode", "network", "encode", "other")
    table = Table(["network", "goes to", *columns, "frames/s"], markdown=options.markdown)
    for model in options.models.split(","):
        line = [sys.executable, "-m", "vsrcli", "bench", "-m", model, "--size", options.size]
        line += ["--frames", str(options.frames), "--json"]
        found = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)
        for key, target in (("decoded", "nowhere"), ("encoded", found["encoder"])):
            shares = found[key]["shares"]
            cells = [f"{100 * shares[column]:.1f} %" for column in columns]
            table.row(f"{model}, {found['precision']}", target, *cells, f"{found[key]['fps']:.2f}")
    table.print()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--models", default="duf-r-xs,duf-r-s,duf-s")
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--size", default="426x240")
    parser.add_argument("--video", action="store_true", help="whole videos instead of networks alone")
    parser.add_argument("--frames", type=int, default=90, help="of a video")
    parser.add_argument("--markdown", action="store_true")
    options = parser.parse_args()
    print(machine())
    (print_videos if options.video else print_networks)(options)


if __name__ == "__main__":
    main()
