"""Compare networks and training settings: variants trained for the same computing time, in one table.

    python benchmarks/pilots.py TRAIN_DIR VAL_DIR [--reference recurrent] [--steps 640] [--only NAME,...]
                                [--shippable] [--table]

Every variant differs from its reference in one setting, and is trained for the computing time that the
reference takes for ``--steps``: the costs of their steps are measured in turns, in processor time, so that
neither other load nor a varying clock rate favours one. Each is a normal run: same footage, same order of
batches, the full schedule of the learning rate. A stopped pilot resumes, a finished one is not trained again,
and the table has all finished pilots. There are two references, each with its variants: ``windowed``
(``duf-s`` in float32) and ``recurrent`` (36 wide, 4 blocks, a window of 3 and a state, in bfloat16).

The gain is over the better of phase-matched bicubic and Lanczos, see ``vsr train``'s validation.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

PROBE_STEPS, WARMUP_STEPS = 8, 3  # measured, and before them


@dataclass(frozen=True)
class Variant:
    """Differences from the reference.

    Attributes:
        description: for the table.
        model: architecture.
        sizes: sizes that differ from the architecture's defaults.
        config: fields of ``TrainConfig`` that differ.
        build: builds another network of the same sizes: (architecture, scale, phase) -> model.
    """

    description: str
    model: str = "duf-s"
    sizes: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    build: Callable[[Any, int, str], Any] | None = None

    def has_cost_of(self, reference: Variant) -> bool:
        """Whether a step takes the same time as the reference's."""
        if (self.model, self.sizes, self.build) != (reference.model, reference.sizes, reference.build):
            return False
        names = self.config.keys() | reference.config.keys()
        differing = {name for name in names if self.config.get(name) != reference.config.get(name)}
        return differing <= {"loss", "learning_rate"}


def without_filters(chosen: Any, scale: int, phase: str) -> Any:
    """Return a DUF-S that adds its residual to the nearest pixel, without dynamic filters."""
    import keras
    from keras import ops

    from vsrcli.models.costs import WINDOW
    from vsrcli.models.duf_s import DufS
    from vsrcli.models.layers import depth_to_space

    class Plain(DufS):
        def reconstruct(self, x, padded):
            nearest = ops.expand_dims(padded[:, 2:-2, 2:-2], 4)
            return depth_to_space(nearest + self.residual(x), scale)

    network = Plain(scale, phase=phase, **chosen.options)
    network.filters = keras.layers.Identity()
    network(ops.zeros((1, WINDOW, 4, 4, 3)))
    return network


def without_feedback(chosen: Any, scale: int, phase: str) -> Any:
    """Return a DUF-R without feedback of its previous output."""
    from keras import ops

    from vsrcli.models.duf_r import DufR
    from vsrcli.models.winograd import concat_conv

    class Blind(DufR):
        def step(self, features, hidden, feedback, conv=concat_conv):
            return super().step(features, hidden, ops.zeros_like(feedback), conv)

    network = Blind(scale, phase=phase, **chosen.options)
    network(ops.zeros((1, 2 * network.levels + 1, 4, 4, 3)))
    return network


def compact(**sizes: Any) -> dict[str, Any]:
    """Return sizes of a recurrent network with a window of 3 and a residual on bicubic."""
    return {"width": 36, "blocks": 4, "head": 48, "levels": 1, "filters": False} | sizes


def with_branches(chosen: Any, scale: int, phase: str) -> Any:
    """Return a DUF-R whose convolutions have two branches in training: 3x3, and 1x1 with the identity.

    Ding et al., "RepVGG", CVPR 2021: branches merge into one kernel. Here they are merged before each
    convolution, so they cost nothing; what differs is the path of the optimizer.
    """
    from keras import layers, ops

    from vsrcli.models.duf_r import DufR

    class Branches(layers.Conv2D):
        def build(self, input_shape):
            super().build(input_shape)
            self.point = self.add_weight(
                shape=(1, 1, input_shape[-1], self.filters), initializer="zeros", name="point"
            )

        def call(self, inputs):
            kernel = self.kernel + ops.pad(
                ops.convert_to_tensor(self.point), ((1, 1), (1, 1), (0, 0), (0, 0))
            )
            kernel = ops.cast(kernel, self.compute_dtype)
            x = ops.conv(inputs, kernel, padding="same", data_format="channels_last")
            return self.activation(x + ops.cast(self.bias, self.compute_dtype))

    network = DufR(scale, phase=phase, **chosen.options)
    for name in ("first", "second"):
        for layer in getattr(network, name):
            layer.__class__ = Branches
    network(ops.zeros((1, 2 * network.levels + 1, 4, 4, 3)))
    return network


def with_attention(chosen: Any, scale: int, phase: str) -> Any:
    """Return a DUF-R whose blocks are SPAN's: three convolutions, SiLU, attention without parameters.

    Wan et al., "Swift Parameter-free Attention Network for Efficient Super-Resolution", CVPRW 2024,
    section 3.2: the last features, through an odd function, weigh the sum of themselves and the input.
    """
    from keras import ops

    from vsrcli.models.duf_r import STATE_LIMIT, DufR
    from vsrcli.models.layers import conv3x3
    from vsrcli.models.winograd import concat_conv

    class Attention(DufR):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.first = [conv3x3(self.width, f"block{i}_a", activation="silu") for i in range(self.blocks)]
            self.second = [conv3x3(self.width, f"block{i}_b", activation="silu") for i in range(self.blocks)]
            self.third = [conv3x3(self.width, f"block{i}_c") for i in range(self.blocks)]

        def step(self, features, hidden, feedback, conv=concat_conv):
            x = features + conv(self.recall, hidden, ops.cast(feedback, hidden.dtype))
            start = x
            for layers in zip(self.first, self.second, self.third, strict=True):
                y = x
                for layer in layers:
                    y = conv(layer, y)
                x = (y + x) * (ops.sigmoid(y) - 0.5)
            hidden = ops.clip(x + start, -STATE_LIMIT, STATE_LIMIT)
            return hidden, conv(self.head, hidden)

    network = Attention(scale, phase=phase, **chosen.options)
    network(ops.zeros((1, 2 * network.levels + 1, 4, 4, 3)))
    return network


def fourier(truth: Any, output: Any) -> Any:
    """Return the Charbonnier loss plus 0.05 times the mean difference of the spectra's amplitudes.

    After Fuoli et al., "Fourier Space Losses for Efficient Perceptual Image Super-Resolution", ICCV 2021.
    """
    from keras import ops

    from vsrcli.train.losses import charbonnier

    def amplitude(frames: Any) -> Any:
        side = frames.shape[-3:-1]
        x = ops.reshape(ops.swapaxes(ops.reshape(frames, (-1, *side, 3)), 1, 3), (-1, *side))
        real, imaginary = ops.fft2((x, ops.zeros_like(x)))
        return ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-6) / float(side[0] * side[1]) ** 0.5

    return charbonnier(truth, output) + 0.05 * ops.mean(ops.abs(amplitude(truth) - amplitude(output)))


RECURRENT = {"frames": 12, "batch": 5}  # six frames of a sequence have a state
FAST_SIZES, FAST_CONFIG = {"levels": 1, "blocks": 2}, {"frames": 10, "batch": 8}
WINDOWED_VARIANTS = {
    "windowed": Variant(
        "duf-s: window of 7, 48 wide, 3 blocks; Muon 1e-3, Charbonnier, batch 8 x 9 frames of 32x32"
    ),
    "adam": Variant("Adam instead of Muon", config={"optimizer": "adam"}),
    "rate": Variant("rate 2e-3", config={"learning_rate": 2e-3}),
    "rate-4": Variant("rate 4e-3", config={"learning_rate": 4e-3}),
    "huber": Variant("Huber loss", config={"loss": "huber"}),
    "crop": Variant("crops of 48x48, batch 4", config={"crop": 48, "batch": 4}),
    "batch": Variant("batch 4, twice the steps", config={"batch": 4}),
    "long": Variant("batch 5 x 13 frames", config={"batch": 5, "frames": 13}),
    "wide": Variant("64 wide, 1 block", sizes={"width": 64, "blocks": 1}),
    "deep": Variant("40 wide, 6 blocks", sizes={"width": 40, "blocks": 6}),
    "plain": Variant("no filters, a residual alone", build=without_filters),
    "recurrent-7": Variant("duf-r-s: window of 7 and a state", "duf-r-s", config=RECURRENT),
    "recurrent-5": Variant(
        "window of 5 and a state, 48 wide", "duf-r-s", {"levels": 2, "width": 48}, {"frames": 10, "batch": 5}
    ),
    "recurrent-3": Variant(
        "window of 3 and a state, 54 wide", "duf-r-s", {"levels": 1, "width": 54}, {"frames": 8, "batch": 5}
    ),
    "no-feedback": Variant("duf-r-s without its previous output", "duf-r-s", {}, RECURRENT, without_feedback),
    "medium": Variant("duf-r-m", "duf-r-m", config={"frames": 12, "batch": 3}),
    # For a fast preset: a fifth of duf-r-s' time on a CPU, about the same for both.
    "fast-filters": Variant(
        "window of 3 and a state, 16 wide, 2 blocks",
        "duf-r-s",
        {**FAST_SIZES, "width": 16, "head": 24},
        FAST_CONFIG,
    ),
    "fast-residual": Variant(
        "the same 24 wide, a residual on bicubic",
        "duf-r-s",
        {**FAST_SIZES, "width": 24, "head": 32, "filters": False},
        FAST_CONFIG,
    ),
}


FAST_STEPS = {
    "frames": 10, "batch": 4, "learning_rate": 2e-3, "temporal_weight": 0.3, "precision": "bf16"
}  # fmt: skip


def recurrent(
    description: str,
    sizes: dict[str, Any] | None = None,
    build: Callable[[Any, int, str], Any] | None = None,
    **config: Any,
) -> Variant:
    """Return a variant of the second reference."""
    return Variant(description, "duf-r-s", compact(**(sizes or {})), FAST_STEPS | config, build)


RECURRENT_VARIANTS = {
    "recurrent": recurrent(
        "36 wide, 4 blocks, head 48, window of 3, residual on bicubic; Muon 2e-3, 4 x 10 frames of 32, bf16"
    ),
    "float": recurrent("in float32", precision="fp32"),
    "size-06": recurrent("24 wide, 2 blocks, head 32", {"width": 24, "blocks": 2, "head": 32}),
    "size-10": recurrent("28 wide, 3 blocks, head 40", {"width": 28, "blocks": 3, "head": 40}),
    "size-25": recurrent("44 wide, 4 blocks, head 48", {"width": 44, "blocks": 4, "head": 48}),
    "size-35": recurrent("48 wide, 5 blocks, head 64", {"width": 48, "blocks": 5, "head": 64}),
    "deep-32": recurrent("32 wide, 6 blocks, head 32", {"width": 32, "blocks": 6, "head": 32}),
    "filters-32": recurrent(
        "32 wide, 3 blocks, head 40, dynamic filters", {"width": 32, "blocks": 3, "head": 40, "filters": True}
    ),
    "window-7": recurrent("30 wide, window of 7", {"width": 30, "levels": 3}),
    "window-5": recurrent("32 wide, window of 5", {"width": 32, "levels": 2}),
    "crop-24": recurrent("batch 7, crops of 24x24", batch=7, crop=24),
    "batch-8": recurrent("batch 8", batch=8),
    "long-20": recurrent("batch 2 x 18 frames", batch=2, frames=18),
    "adam-1": recurrent("Adam at 1e-3", optimizer="adam", learning_rate=1e-3),
    "rate-1": recurrent("rate 1e-3", learning_rate=1e-3),
    "rate-4x": recurrent("rate 4e-3", learning_rate=4e-3),
    "fourier": recurrent("loss on Fourier amplitudes, too", loss="fourier"),
    "branches": recurrent("3x3 and 1x1 branches, merged", build=with_branches),
    "attention": recurrent("SPAN's blocks, three of them", {"blocks": 3}, with_attention),
}
VARIANTS = WINDOWED_VARIANTS | RECURRENT_VARIANTS


@dataclass(frozen=True)
class Pilot:
    """An architecture whose network is built by ``build_network``."""

    architecture: Any
    build_network: Callable[[Any, int, str], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.architecture, name)

    def with_sizes(self, sizes: Any) -> Pilot:
        return self

    def build(self, scale: int, *, phase: str = "centre") -> Any:
        return self.build_network(self.architecture, scale, phase)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--reference", choices=("windowed", "recurrent"), default="recurrent")
    parser.add_argument(
        "--steps", type=int, default=3000, help="steps of the reference; others by their cost"
    )
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--degradation", default="bd")
    parser.add_argument("--run", type=Path, default=Path("runs/pilots"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--shippable", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print finished pilots")
    options = parser.parse_args()
    group = WINDOWED_VARIANTS if options.reference == "windowed" else RECURRENT_VARIANTS
    for name in [] if options.table else (options.only.split(",") if options.only else group):
        result = options.run / f"{name}.json"
        if not result.exists():
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps(train_pilot(name, options)) + "\n")
    print(results_table(options.run))


def train_pilot(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one variant; return its results."""
    from vsrcli.system.resources import configure_malloc

    configure_malloc()
    from vsrcli.degradations import PRESETS
    from vsrcli.models import architectures
    from vsrcli.train import loop
    from vsrcli.train.config import TrainConfig
    from vsrcli.train.footage import find_footage
    from vsrcli.train.pairs import prepare_pairs
    from vsrcli.train.validation import Validation

    preset = PRESETS[options.degradation]
    registry: dict[str, Any] = architectures.ARCHITECTURES
    named_loss = loop.loss_of
    loop.loss_of = lambda config: fourier if config.loss == "fourier" else named_loss(config)
    footage = find_footage(options.train, shippable_only=options.shippable)
    pairs = prepare_pairs(footage, options.cache, 4, preset)
    validation = Validation(options.validation, options.cache, 4, preset)
    common = {"model": "pilot", "degradation": preset.name, "optimizer": "muon", "blur": False}

    def prepared(variant: Variant) -> tuple[Any, TrainConfig]:
        known = architectures.architecture(variant.model).with_sizes(variant.sizes)
        chosen: Any = replace(known, name="pilot")
        registry["pilot"] = Pilot(chosen, variant.build) if variant.build else chosen
        return chosen, TrainConfig(**{**common, **variant.config})

    def step_seconds(variant: Variant) -> float:
        """Return the processor time of a step."""
        config, marks = prepared(variant)[1], list[float]()
        probe = options.run / f"{name}.probe"
        shutil.rmtree(probe, ignore_errors=True)
        loop.train(
            replace(config, steps=WARMUP_STEPS + PROBE_STEPS, save_every=10**6),
            pairs,
            probe,
            on_step=lambda report: marks.append(time.process_time()),
        )
        shutil.rmtree(probe)
        return (marks[-2] - marks[WARMUP_STEPS - 1]) / (len(marks) - 1 - WARMUP_STEPS)

    variant, reference = VARIANTS[name], VARIANTS[options.reference]
    steps, plan = options.steps, options.run / f"{name}.steps"
    if plan.exists():  # a resumed pilot has the same schedule
        steps = int(plan.read_text())
    elif not variant.has_cost_of(reference):
        before, own, after = step_seconds(reference), step_seconds(variant), step_seconds(reference)
        steps = max(round(steps * (before + after) / 2 / own), 1)
    plan.write_text(f"{steps}\n")
    chosen, config = prepared(variant)
    print(f"{name}: {steps} steps", flush=True)
    losses: list[float] = []
    last: dict[str, float] = {}

    def on_step(report: Any) -> None:
        losses.append(report.loss)
        last.update(report.validation or {})
        if report.step % 250 == 0:
            print(f"{name}: {report.step}/{steps} loss {sum(losses[-250:]) / 250:.5f}", flush=True)

    config = replace(config, steps=steps, validate_every=steps, save_every=200)
    loop.train(config, pairs, options.run / name, validation=validation, on_step=on_step)
    return {"macs": chosen.multiply_adds(4), "steps": steps, **last}


def results_table(run: Path) -> str:
    """Return all finished pilots as Markdown, the best first: a table for each degradation."""
    results = [{"name": file.stem, **json.loads(file.read_text())} for file in sorted(run.glob("*.json"))]
    by_gains: dict[tuple[str, ...], list[dict]] = {}
    for row in results:
        by_gains.setdefault(tuple(key for key in row if key.endswith(" gain_db")), []).append(row)
    return "\n\n".join(_table(rows, gains) for gains, rows in by_gains.items())


def _table(results: list[dict], gains: tuple[str, ...]) -> str:
    names = [f"{key.removesuffix(' gain_db')}, dB" for key in gains]
    lines = [
        f"| variant | M multiply-adds | steps | {' | '.join(names)} |",
        "|---" * (3 + len(gains)) + "|",
    ]
    for row in sorted(results, key=lambda row: -row[gains[0]]):
        variant = VARIANTS[row["name"]]
        macs = f"{'< ' if variant.build else ''}{row['macs'] / 1e6:.2f}"
        cells = " | ".join(f"{row[gain]:+.2f}" for gain in gains)
        lines.append(f"| {variant.description} | {macs} | {row['steps']} | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
