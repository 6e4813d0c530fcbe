"""Try keyframes: full windows for every Nth frame, short windows and an interpolated residual in between.

    python benchmarks/keyframes.py quality CLIPS_DIR [--clips 5] [--frames 24]
    python benchmarks/keyframes.py time [--size 160x90] [--turns 7]

The idea: neighbouring frames have similar residuals, so that a network could compute its full window for
keyframes alone. Against it stands the reuse of features (``models/duf_s.py``, ``models/duf_streaming.py``),
which computes every layer once for each frame and changes nothing in the result.

*quality* measures PSNR-Y with the trained weights of duf-s x4; low resolution is bicubic, 8 bits (protocol
``bi``). Frames in between get

- *residual alone*: filters of their full window, and the residual interpolated in time between the keyframes;
- *3 frames, padded*: filters of a window of three frames, the outer ones repeated as at the ends of a shot;
- *3 frames, own residual*, *1 frame, own residual*: filters and residual of such a window, and nothing
  interpolated: what the other frames are worth;
- *3 frames, shallow*: filters of a window of three frames through the first fusion alone, which is what a
  short window saves where features are reused;
- *held*: filters (before the softmax) and residual interpolated between the keyframes; no network at all.

duf-16l has no trained weights; *time* measures it with random ones, on OpenVINO in fp32 with one thread, in
processor time, so that a busy machine matters less; the least of all turns counts. A window of three frames
is the same network on three frames, with time padded in all blocks but the last. Multiply-adds are printed,
too.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import Table, machine

LEVELS = 3
INTERVALS = {2: "2nd", 3: "3rd", 4: "4th"}  # frames from keyframe to keyframe
EDGE = 2  # frames at each end that are not scored, as in `vsr evaluate`


def quality(folder: Path, clip_count: int, frame_count: int) -> None:
    """Print PSNR-Y of every way, and what it loses."""
    from vsrcli.evaluate.clips import find_clips
    from vsrcli.evaluate.protocol import Protocol, prepare_clip
    from vsrcli.inference.keras import select_device, silence_native_stderr
    from vsrcli.models.weights import find_weights, load_model

    select_device("cpu")
    weights = find_weights("duf-s", 4)
    with silence_native_stderr():
        model = load_model(weights)
    losses: dict[tuple[int, str], list[float]] = {}
    full: list[float] = []
    files = find_clips([folder])[:clip_count]
    for file in files:
        clip = prepare_clip(file, Protocol("bi", 4), frame_count)
        psnrs = clip_psnrs(model, clip.low.astype(np.float32) / 255, clip.truth)
        base = psnrs.pop((0, "full"))
        full.append(base)
        print(f"  {file.name}: full windows {base:.2f} dB", flush=True)
        worst = ", ".join(f"every {INTERVALS[n]} {psnrs[n, 'residual alone'] - base:+.2f}" for n in INTERVALS)
        print(f"    residual interpolated: {worst}", flush=True)
        for key, value in psnrs.items():
            losses.setdefault(key, []).append(value - base)
    print(f"{weights.name}, {len(files)} clips of {frame_count} frames, full windows {np.mean(full):.2f} dB")
    table = Table(["between keyframes", *(f"every {ordinal}, dB" for ordinal in INTERVALS.values())])
    for way in dict.fromkeys(way for _, way in losses):
        cells = [f"{np.mean(losses[n, way]):+.2f} ({min(losses[n, way]):+.2f})" for n in INTERVALS]
        table.row(way, *cells)
    table.print()
    print("mean over clips, in brackets the clip that loses most")


def clip_psnrs(model: Any, low: np.ndarray, truth: np.ndarray) -> dict[tuple[int, str], float]:
    """Return mean PSNR-Y by (interval, way) of a clip (T, H, W, 3); interval 0 is the full network."""
    from vsrcli.explain.filters import apply_filters, softmax, to_picture

    logits, residual = outputs(model, low, padded_window=LEVELS)
    padded, own = outputs(model, low, padded_window=1)
    single, own_single = outputs(model, low, padded_window=0)
    shallow, _ = outputs(model, low, fusions=1)

    def psnr(filters: np.ndarray, residuals: np.ndarray) -> float:
        from vsrcli.evaluate.metrics import psnr_y

        values = []
        for number in range(EDGE, len(low) - EDGE):
            picture = apply_filters(softmax(filters[number]), low[number]) + to_picture(residuals[number])
            rounded = np.rint(255 * picture.clip(0, 1)).astype(np.uint8)
            values.append(psnr_y(rounded, truth[number]))
        return float(np.mean(values))

    found = {(0, "full"): psnr(logits, residual)}
    for interval in INTERVALS:
        between = interpolated(residual, interval)
        found[interval, "residual alone"] = psnr(logits, between)
        found[interval, "3 frames, padded"] = psnr(with_keyframes(logits, padded, interval), between)
        found[interval, "3 frames, own residual"] = psnr(
            with_keyframes(logits, padded, interval), with_keyframes(residual, own, interval)
        )
        found[interval, "1 frame, own residual"] = psnr(
            with_keyframes(logits, single, interval), with_keyframes(residual, own_single, interval)
        )
        found[interval, "3 frames, shallow"] = psnr(with_keyframes(logits, shallow, interval), between)
        found[interval, "held"] = psnr(interpolated(logits, interval), between)
    return found


def outputs(
    model: Any, low: np.ndarray, *, padded_window: int = LEVELS, fusions: int = LEVELS
) -> tuple[np.ndarray, np.ndarray]:
    """Return filters (before the softmax) and residual of every frame.

    Args:
        model: duf-s.
        low: (T, H, W, 3).
        padded_window: frames on each side that are seen; those further away are repetitions.
        fusions: temporal convolutions that are applied; the window has one frame more on each side for each.
    """
    from keras import ops

    logits, residuals = [], []
    for number in range(len(low)):
        near = np.arange(-fusions, fusions + 1).clip(-padded_window, padded_window) + number
        x = model.encode(ops.convert_to_tensor(low[near.clip(0, len(low) - 1)]))
        for level in range(fusions):
            x = model.fuse(level, x[:-2], x[1:-1], x[2:])
        x = model.trunk(x)
        logits.append(np.asarray(model.filters(x))[0])
        residuals.append(np.asarray(model.residual(x))[0])
    return np.stack(logits), np.stack(residuals)


def interpolated(values: np.ndarray, interval: int) -> np.ndarray:
    """Return values (T, ...) that are those of keyframes, and linear in time between; the last one holds."""
    found = np.empty_like(values)
    for number in range(len(values)):
        before = number - number % interval
        after = min(before + interval, len(values) - 1)
        part = np.float32((number - before) / max(after - before, 1))
        found[number] = (1 - part) * values[before] + part * values[after]
    return found


def with_keyframes(full: np.ndarray, short: np.ndarray, interval: int) -> np.ndarray:
    """Return ``short`` with every ``interval``-th entry of ``full``."""
    found = short.copy()
    found[::interval] = full[::interval]
    return found


def speed(size: str, turns: int) -> None:
    """Print the cost of every way for duf-16l (random weights) and duf-s."""
    os.environ["KERAS_BACKEND"] = "openvino"
    width, height = map(int, size.split("x"))
    print(machine())
    for title, ways in (("duf-16l", duf_ways(height, width)), ("duf-s", duf_s_ways(height, width))):
        parts, combine, macs = ways
        least = {name: float("inf") for name in parts}
        for _ in range(turns):
            for name, run in parts.items():
                start = time.process_time()
                run()
                least[name] = min(least[name], time.process_time() - start)
        pixels = height * width
        print(f"\n{title} x4, {size}, microseconds of one core per low-resolution pixel and frame")
        print(", ".join(f"{name} {1e6 * seconds / pixels:.2f}" for name, seconds in least.items()))
        table = Table(["way", "time", "of reuse", "multiply-adds"])
        costs = dict(combine(least))
        work = dict(combine(macs))
        reuse = costs["features reused"]
        for name, seconds in costs.items():
            table.row(
                name, f"{1e6 * seconds / pixels:.1f}", f"{seconds / reuse:.2f}", f"{work[name] / 1e6:.2f} M"
            )
        table.print()


Parts = dict[str, Callable[[], Any]]
Combination = Callable[[dict[str, float]], Iterator[tuple[str, float]]]


def duf_ways(height: int, width: int) -> tuple[Parts, Combination, dict[str, float]]:
    """Return parts to be timed, how they add up to ways, and their multiply-adds."""
    from vsrcli.inference.functions import TensorSpec, functions, plan_bands, shapes_of, signatures
    from vsrcli.models.architectures import architecture
    from vsrcli.models.costs import conv_macs, duf_macs, output_macs

    known = architecture("duf-16l")
    model, shapes = known.build(4), shapes_of(known, 4)
    bands = plan_bands(height, width, height * width)
    by_name = functions(model, shapes)
    parts = {
        name: compiled(by_name[name], *specs)
        for name, specs in signatures(shapes, height, width, bands).items()
    }
    parts["window of 7, anew"] = compiled(
        lambda x: model(x, training=False), TensorSpec((1, 7, height, width, 3))
    )
    short = short_duf(4)
    parts["window of 3, anew"] = compiled(
        lambda x: short(x, training=False), TensorSpec((1, 3, height, width, 3))
    )
    stage = conv_macs((3, 3), 256, 256) + conv_macs((1,), 256, 256 + 48 + 512) + conv_macs((1,), 512, 400)
    stage += output_macs(4)
    macs = {
        "advance": 3.24e6 - stage,  # docs/decisions/0009-openvino.md
        "trunk": conv_macs((3, 3), 256, 256),
        "reconstruct": stage - conv_macs((3, 3), 256, 256),
        "window of 7, anew": duf_macs(4),
        "window of 3, anew": short_macs(4),
    }

    def combine(cost: dict[str, float]) -> Iterator[tuple[str, float]]:
        yield "features reused", cost["advance"] + cost["trunk"] + cost["reconstruct"]
        yield "every window anew", cost["window of 7, anew"]
        for interval in INTERVALS:
            rest = (interval - 1) * cost["window of 3, anew"]
            yield f"keyframes, every {INTERVALS[interval]}", (cost["window of 7, anew"] + rest) / interval

    return parts, combine, macs


def short_duf(scale: int) -> Any:
    """Return duf-16l for windows of three frames: time is padded in all blocks but the last."""
    import keras
    from keras import layers, ops

    from vsrcli.models.costs import DUF_DEPTHS, DUF_STEM
    from vsrcli.models.layers import DynamicUpsampling, SubpixelConv, filter_layer

    plan = DUF_DEPTHS[16]
    frames = keras.Input((3, None, None, 3))
    x = layers.Conv3D(DUF_STEM, (1, 3, 3), padding="same")(frames)
    for block in range(plan.full_window_blocks + 3):
        y = ops.relu(layers.BatchNormalization()(x))
        y = ops.relu(layers.BatchNormalization()(layers.Conv3D(x.shape[-1], 1)(y)))
        if block == plan.full_window_blocks + 2:
            y = ops.pad(y, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
            x = x[:, 1:-1]
            y = layers.Conv3D(plan.growth, 3, padding="valid")(y)
        else:
            y = layers.Conv3D(plan.growth, 3, padding="same")(y)
        x = ops.concatenate([x, y], axis=-1)
    x = ops.relu(layers.BatchNormalization()(x))
    x = ops.squeeze(ops.relu(layers.Conv3D(256, (1, 3, 3), padding="same")(x)), axis=1)
    residual = SubpixelConv(3, scale)(ops.relu(layers.Conv2D(256, 1)(x)))
    logits = filter_layer(scale, "centre")(ops.relu(layers.Conv2D(512, 1)(x)))
    return keras.Model(frames, DynamicUpsampling(scale, dtype="float32")(frames[:, 1], logits, residual))


def short_macs(scale: int) -> int:
    """Return the multiply-adds of :func:`short_duf`."""
    from vsrcli.models.costs import DUF_DEPTHS, DUF_STEM, conv_macs, duf_macs

    plan, full, short = DUF_DEPTHS[16], 0, 0
    for window in (7, 3):
        total, channels, frames = window * conv_macs((3, 3), 3, DUF_STEM), DUF_STEM, window
        for block in range(plan.full_window_blocks + 3):
            total += frames * conv_macs((1,), channels, channels)
            if window == 7:
                frames -= 2 if block >= plan.full_window_blocks else 0
            elif block == plan.full_window_blocks + 2:
                frames = 1
            total += frames * conv_macs((3, 3, 3), channels, plan.growth)
            channels += plan.growth
        full, short = (total, short) if window == 7 else (full, total)
    return duf_macs(scale) - full + short


def duf_s_ways(height: int, width: int) -> tuple[Parts, Combination, dict[str, float]]:
    """The same for duf-s. Full windows anew encode seven frames and fuse 5, 3 and 1 times."""
    from vsrcli.inference.functions import TensorSpec, shapes_of
    from vsrcli.models.architectures import architecture
    from vsrcli.models.costs import conv_macs, output_macs
    from vsrcli.models.layers import apply_dynamic_filters, depth_to_space
    from vsrcli.models.winograd import WinogradLayout

    known = architecture("duf-s")
    model, shapes = known.build(4), shapes_of(known, 4)
    layout = WinogradLayout(height, width)
    features = TensorSpec(shapes.features(height, width, shapes.width))
    frame = TensorSpec((1, height, width, 3))
    padded = TensorSpec((1, height + 4, width + 4, 3))
    x = TensorSpec((1, height, width, shapes.head))
    sub_pixels = TensorSpec((1, height, width, 3, 16))

    def fuse(*each: Any) -> Any:
        return layout.pack(model.fuse(0, *map(layout.unpack, each), layout))

    parts = {
        "encode": compiled(lambda image: layout.pack(layout.to_layout(model.encode(image))), frame),
        "fuse": compiled(fuse, features, features, features),
        "trunk": compiled(lambda each: layout.to_frame(model.trunk(layout.unpack(each), layout)), features),
        "output stage": compiled(model.reconstruct, x, padded),
        "output stage without residual": compiled(
            lambda each, image, residual: depth_to_space(
                apply_dynamic_filters(image, model.filters(each), residual), 4
            ),
            x,
            padded,
            sub_pixels,
        ),
        "held": compiled(
            lambda logits, image, residual: depth_to_space(apply_dynamic_filters(image, logits, residual), 4),
            TensorSpec((1, height, width, 25, 16)),
            padded,
            sub_pixels,
        ),
    }
    options = known.options
    w, head = options["width"], options["head"]
    stage = conv_macs((1,), head, 25 * 16) + output_macs(4)
    macs: dict[str, float] = {
        "encode": conv_macs((3, 3), 3, w),
        "fuse": conv_macs((3, 3), 3 * w, w),
        "trunk": 2 * options["blocks"] * conv_macs((3, 3), w, w) + conv_macs((3, 3), w, head),
        "output stage": stage + conv_macs((1,), head, 3 * 16),
        "output stage without residual": stage,
        "held": output_macs(4),
    }

    def combine(cost: dict[str, float]) -> Iterator[tuple[str, float]]:
        tail, short_tail = (
            cost["trunk"] + cost[name] for name in ("output stage", "output stage without residual")
        )
        yield "features reused", cost["encode"] + 3 * cost["fuse"] + tail
        anew = 7 * cost["encode"] + 9 * cost["fuse"] + tail
        yield "every window anew", anew
        for n in INTERVALS:
            short = 3 * cost["encode"] + cost["fuse"] + short_tail
            yield f"keyframes, every {INTERVALS[n]}, anew, shallow", (anew + (n - 1) * short) / n
        for n in INTERVALS:
            fusions = 1 + min(3 / n, 1) + 1 / n  # fusions of each level that keyframes need, for each frame
            rest = tail / n + (n - 1) / n * short_tail
            yield (
                f"keyframes, every {INTERVALS[n]}, reused, shallow",
                cost["encode"] + fusions * cost["fuse"] + rest,
            )
        for n in INTERVALS:
            fusions = min(5 / n, 1) + min(3 / n, 1) + 1 / n
            rest = tail / n + (n - 1) / n * cost["held"]
            encoded = min(7 / n, 1) * cost["encode"]
            yield f"keyframes, every {INTERVALS[n]}, held", encoded + fusions * cost["fuse"] + rest

    return parts, combine, macs


def compiled(function: Callable[..., Any], *specs: Any) -> Callable[[], Any]:
    """Return a function that runs the graph of ``function`` on random inputs, on one thread."""
    from vsrcli.inference.openvino import openvino_core
    from vsrcli.inference.openvino_export import trace
    from vsrcli.inference.openvino_passes import optimize_graph

    exact = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    graph = openvino_core().compile_model(optimize_graph(trace(function, specs)), "CPU", exact)
    rng = np.random.default_rng(0)
    inputs = [rng.random(spec.shape, np.float32) for spec in specs]
    return lambda: graph(inputs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure keyframes against the reuse of features.")
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("quality")
    measure.add_argument("folder", type=Path, help="folder with clips")
    measure.add_argument("--clips", type=int, default=5)
    measure.add_argument("--frames", type=int, default=24)
    timing = commands.add_parser("time")
    timing.add_argument("--size", default="160x90")
    timing.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    if arguments.command == "time":
        speed(arguments.size, arguments.turns)
    else:
        quality(arguments.folder, arguments.clips, arguments.frames)


if __name__ == "__main__":
    main()
