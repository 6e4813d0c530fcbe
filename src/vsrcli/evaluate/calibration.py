"""Measure what networks need to compute in eight bits, and what that costs; write it beside the weights.

    python -m vsrcli.evaluate.calibration FOOTAGE --val CLIPS [--model NAME ...]

FOOTAGE is what networks are trained on. Some of its clips are made small twice, as in training: once by the
plain first kernel of the degradation that the weights' card names, once by another variant of it, such as a
compressed one. What goes into each convolution then gives its range: that of each channel where it brings the
result closer to float32, else one for all. Which convolutions stay in float32 is decided on the same clips:
those without which the result would differ from float32's by more than ``LEAST_PSNR``, the most sensitive
first. CLIPS are scored as ``vsr evaluate`` does, in both precisions; while they lose more than ``--precision
auto`` allows, one more convolution stays in float32.

Weights that are named, by name or path; else all in the usual folders that can be computed so. The file's
format is in :mod:`vsrcli.inference.int8_ranges`. The same weights, footage and versions give the same ranges.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from vsrcli.degradations import PRESETS, degrade
from vsrcli.errors import DataError, ModelError, VsrError
from vsrcli.evaluate.benchmark import MethodScore, score_method
from vsrcli.evaluate.clips import ClipFile, clips_at, find_clips, read_frames
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.inference.int8_ranges import Loss, Ranges, calibration_path
from vsrcli.inference.openvino import OpenvinoBackend, OpenvinoEngine
from vsrcli.inference.openvino_observation import ObservingBackend
from vsrcli.inference.openvino_passes import layer_of
from vsrcli.inference.openvino_templates import KINDS
from vsrcli.inference.precision import psnr_of
from vsrcli.inference.streams import compile_stream
from vsrcli.models.weights import Weights, find_named_weights, list_weights
from vsrcli.system.files import atomic_write

LEAST_PSNR = 52.0  # dB of eight bits against float32: costs a picture of 33 dB 0.05 dB
CLIPS, FRAMES, VALIDATION_FRAMES = 20, 10, 10
CRF = 23
_HEIGHT, _WIDTH = 96, 192  # of the part of a frame that is looked at, in low resolution
_NEARLY = 0.1  # dB: a choice of ranges that is better by less is not worth its time
_CANDIDATES = 4  # sets of ranges that are scored, at most
_COMPARED = 6  # clips that sensitivity is measured on
_DIGITS = 5
METHOD = "limits by the least square error of rounding"


def calibrate(
    weights: Weights,
    clips: Sequence[Path],
    validation: Sequence[ClipFile],
    on_step: Callable[[str], None] = lambda text: None,
) -> Mapping[str, Loss]:
    """Measure one network's ranges and losses; write them beside the weights; return the losses.

    Args:
        weights: of the network.
        clips: to observe it on.
        validation: clips to score; may be empty: then ``--precision auto`` will not choose eight bits.
        on_step: receives what is done, a line each.

    Raises:
        DataError: a clip cannot be read.
        EngineError: this network is not computed in eight bits, or OpenVINO does not start.
        ModelError: the weight file is damaged.
        OutputError: the file cannot be written.
    """
    observed = ObservingBackend(weights)
    low = [each for number, path in enumerate(clips) for each in low_resolution(path, weights, number)]
    for clip in low:
        observed.watch(clip)
    compared = low[:: max(1, len(low) // _COMPARED) | 1]  # clean and degraded in turn
    choices = observed.ranges(by_channel=False), observed.ranges(by_channel=True)
    candidates = leave_sensitive(weights, choices, compared, on_step)
    losses: Mapping[str, Loss] = {}
    for ranges in islice(candidates, _CANDIDATES):
        _write(weights, ranges, {})
        losses = dict(measure_losses(weights, validation, on_step))
        _write(weights, ranges, losses)
        if all(loss.is_small for loss in losses.values()):
            break
    return losses


def low_resolution(path: Path, weights: Weights, seed: int) -> Iterator[np.ndarray]:
    """Yield a clip's beginning in low resolution, uint8 (T, H, W, 3), as training has it: clean, then not."""
    frames, scale = read_frames(path, FRAMES), weights.scale
    height, width = (
        min(side // scale, most) * scale
        for side, most in zip(frames.shape[1:3], (_HEIGHT, _WIDTH), strict=True)
    )
    preset = PRESETS[str(weights.card["degradation"])]
    variants = (0, 1 + seed % (preset.variant_count - 1)) if preset.variant_count > 1 else (0,)
    for variant in variants:
        rng = np.random.default_rng([seed, variant])
        yield degrade(frames[:, :height, :width], scale, preset, variant, rng)


def leave_sensitive(
    weights: Weights,
    choices: Sequence[Ranges],
    clips: Sequence[np.ndarray],
    on_step: Callable[[str], None] = lambda text: None,
    least: float = LEAST_PSNR,
) -> Iterator[Ranges]:
    """Yield ranges without those of layers that cost most, so that the result is close to float32's; then
    without one layer more each time, while there are any.

    Args:
        weights: of the network.
        choices: ranges of all convolutions, in some ways; each layer gets the first of those with which it is
            closest to float32, or nearly so.
        clips: uint8 (T, H, W, 3) each, to compare results on.
        on_step: receives what each layer costs alone.
        least: PSNR in dB to reach.
    """
    exact = _results(OpenvinoBackend(weights, "fp32"), clips)

    def psnr(ranges: Ranges, layers: set[str]) -> float:
        """Return the PSNR with some layers in eight bits."""
        results = _results(OpenvinoBackend(weights, "int8", ranges=_only(ranges, layers)), clips)
        return psnr_of(np.concatenate([(a - b).ravel() for a, b in zip(results, exact, strict=True)]))

    layers = {layer_of(name) for name, found in choices[0].items() if found}
    alone, ranges = dict[str, float](), dict(choices[0])
    for layer in sorted(layers):
        reached = [psnr(each, {layer}) for each in choices]
        chosen = next(number for number, each in enumerate(reached) if each >= max(reached) - _NEARLY)
        alone[layer] = reached[chosen]
        ranges |= {name: found for name, found in choices[chosen].items() if layer_of(name) == layer}
    together = psnr(ranges, layers)
    on_step(f"{weights.name}: {together:.1f} dB against float32")
    for layer in sorted(alone, key=alone.__getitem__):
        own = any(found and len(found.limits) > 1 for found in _only(ranges, {layer}).values())
        scales = ", with scales of channels" if own else ""
        on_step(f"  {alone[layer]:.1f} dB if only {layer} is in eight bits{scales}")
    for layer in sorted(alone, key=alone.__getitem__):
        if together >= least:
            yield _only(ranges, layers)
        layers.remove(layer)
        together = psnr(ranges, layers)
        on_step(f"  {together:.1f} dB if {layer} stays in float32, too")
    yield _only(ranges, set())


def _only(ranges: Ranges, layers: Collection[str]) -> Ranges:
    """Return ranges of some layers; None for the others."""
    return {name: found if layer_of(name) in layers else None for name, found in ranges.items()}


def _results(backend: OpenvinoBackend, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
    results = []
    for clip in clips:
        stream = compile_stream(backend, *clip.shape[1:3])()
        pushed = [stream.push(frame.astype(np.float32) / 255) for frame in clip]
        results.append(np.stack([each for each in pushed if each is not None] + stream.flush()))
    return results


def measure_losses(
    weights: Weights, files: Sequence[ClipFile], on_step: Callable[[str], None] = lambda text: None
) -> Iterator[tuple[str, Loss]]:
    """Yield the label of a protocol, clean and compressed, and what eight bits cost with it."""
    engines = [OpenvinoEngine(weights, precision=precision) for precision in ("fp32", "int8")]
    name = "bd" if weights.card.get("phase") == "zero" else "bi"
    for crf in (None, CRF) if files else ():
        protocol = Protocol(name, weights.scale, crf)
        scores: list[list[MethodScore]] = []
        for file in files:
            clip = prepare_clip(file, protocol, VALIDATION_FRAMES)
            scores.append([score_method(engine, clip, weights.architecture) for engine in engines])
        loss = _loss([file.name for file in files], scores)
        on_step(
            f"{weights.name} {protocol.label}: loses {loss.mean_db:.3f} dB, at most {loss.worst_db:.3f} "
            f"({loss.worst_clip}), steady {loss.steady_db:.3f} dB; {loss.flicker_codes:+.4f} codes flicker"
        )
        yield protocol.label, loss


def _loss(names: Sequence[str], scores: Sequence[Sequence[MethodScore]]) -> Loss:
    lost = [exact.quality.psnr - quantized.quality.psnr for exact, quantized in scores]
    steady = [exact.quality.steady - quantized.quality.steady for exact, quantized in scores]
    flicker = [
        quantized.quality.flicker - exact.quality.flicker
        for exact, quantized in scores
        if exact.quality.flicker is not None and quantized.quality.flicker is not None
    ]
    worst = int(np.argmax(lost))
    figures = (
        round(float(each), _DIGITS)
        for each in (np.mean(lost), lost[worst], np.mean(steady), np.mean(flicker or [0]))
    )
    mean, largest, steadiness, flickering = figures
    return Loss(mean, largest, names[worst], steadiness, flickering)


def _write(weights: Weights, ranges: Ranges, losses: Mapping[str, Loss]) -> None:
    content = {
        "sha256": weights.card["sha256"],
        "ranges": {name: found and asdict(found) for name, found in ranges.items()},
        "method": METHOD,
        "loss": {label: asdict(loss) for label, loss in losses.items()},
    }
    text = json.dumps(content) + "\n"
    atomic_write(calibration_path(weights), lambda file: file.write(text.encode()))


def choose_clips(footage: Path, count: int) -> list[Path]:
    """Return clips, spread evenly over all in a folder."""
    found = clips_at(footage)
    return [
        found[int(number)] for number in np.linspace(0, len(found), min(count, len(found)), endpoint=False)
    ]


def _named(names: Sequence[str]) -> list[Weights]:
    if not names:
        return [each for each in list_weights() if each.architecture.kind in KINDS]
    found = [find_named_weights(name) for name in names]
    for name, weights in zip(names, found, strict=True):
        if weights is None:
            raise ModelError(f"--model {name}: no weights of this name; name them as `vsr models` does")
    return [each for each in found if each is not None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("footage", type=Path, help="clips that networks are trained on")
    parser.add_argument("--val", type=Path, help="clips to measure the loss on")
    parser.add_argument("--model", action="append", default=[], help="weights, by name or path")
    parser.add_argument("--clips", type=int, default=CLIPS, help="of the footage")
    options = parser.parse_args()
    if options.clips < 1:
        parser.error("--clips is at least 1")
    try:
        clips = choose_clips(options.footage, options.clips)
        validation = find_clips([options.val]) if options.val else []
        for weights in _named(options.model):
            calibrate(weights, clips, validation, lambda text: print(text, flush=True))
    except (VsrError, DataError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
