"""Compare networks and training settings: variants trained for the same computing time, in one table.

    python benchmarks/pilots.py TRAIN_DIR VAL_DIR [--steps 640] [--only NAME,...] [--shippable] [--table]

Every variant differs from the reference in one setting, and is trained for the computing time that the
reference takes for ``--steps`` (640 are ten minutes on two cores): the costs of their steps are measured in
turns, in processor time, so that neither other load nor a varying clock rate favours one. Each is a normal
run: same footage, same order of batches, the full schedule of the learning rate. A stopped pilot resumes, a
finished one is not trained again, and the table has all finished pilots.

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

REFERENCE = "windowed"
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

    @property
    def has_other_cost(self) -> bool:
        """Whether a step may take another time than the reference's."""
        has_other_network = self.model != "duf-s" or self.sizes or self.build
        return bool(has_other_network) or not set(self.config) <= {"loss", "learning_rate"}


def without_filters(chosen: Any, scale: int, phase: str) -> Any:
    """Return a DUF-S that adds its residual to the nearest pixel, without dynamic filters."""
    import keras
    from keras import ops

    from vsrcli.models.architectures import WINDOW
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


RECURRENT = {"frames": 12, "batch": 5}  # six frames of a sequence have a state
FAST_SIZES, FAST_CONFIG = {"levels": 1, "blocks": 2}, {"frames": 10, "batch": 8}
VARIANTS = {
    REFERENCE: Variant(
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
    parser.add_argument("--steps", type=int, default=640, help="steps of the reference; others by their cost")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--degradation", default="bd")
    parser.add_argument("--run", type=Path, default=Path("runs/pilots"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--shippable", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print finished pilots")
    options = parser.parse_args()
    for name in [] if options.table else (options.only.split(",") if options.only else VARIANTS):
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
    from vsrcli.train.config import TrainConfig
    from vsrcli.train.footage import find_footage, prepare_pairs
    from vsrcli.train.loop import train
    from vsrcli.train.validation import Validation

    preset = PRESETS[options.degradation]
    registry: dict[str, Any] = architectures.ARCHITECTURES
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
        train(
            replace(config, steps=WARMUP_STEPS + PROBE_STEPS, save_every=10**6),
            pairs,
            probe,
            on_step=lambda report: marks.append(time.process_time()),
        )
        shutil.rmtree(probe)
        return (marks[-2] - marks[WARMUP_STEPS - 1]) / (len(marks) - 1 - WARMUP_STEPS)

    variant, reference = VARIANTS[name], VARIANTS[REFERENCE]
    steps, plan = options.steps, options.run / f"{name}.steps"
    if plan.exists():  # a resumed pilot has the same schedule
        steps = int(plan.read_text())
    elif variant.has_other_cost:
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
        if report.step % 25 == 0:
            print(f"{name}: {report.step}/{steps} loss {sum(losses[-25:]) / 25:.5f}", flush=True)

    config = replace(config, steps=steps, validate_every=steps, save_every=50)
    train(config, pairs, options.run / name, validation=validation, on_step=on_step)
    return {"macs": chosen.multiply_adds(4), "steps": steps, **last}


def results_table(run: Path) -> str:
    """Return all finished pilots as a Markdown table, the best first."""
    results = [{"name": file.stem, **json.loads(file.read_text())} for file in sorted(run.glob("*.json"))]
    gain = next((key for key in (results[0] if results else {}) if key.endswith(" gain_db")), "")
    lines = ["| variant | M multiply-adds | steps | gain, dB |", "|---|---|---|---|"]
    for row in sorted(results, key=lambda row: -row[gain]):
        variant = VARIANTS[row["name"]]
        macs = f"{'< ' if variant.build else ''}{row['macs'] / 1e6:.2f}"
        lines.append(f"| {variant.description} | {macs} | {row['steps']} | {row[gain]:+.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
