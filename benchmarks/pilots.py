"""Which network, which way of training: variants trained for the same computing time, in one table.

    python benchmarks/pilots.py TRAIN_DIR VAL_DIR [--steps 640] [--only NAME,...] [--shippable] [--table]

Every variant is the reference with one thing changed, and is given the computing time that the reference
takes for ``--steps`` (640 are ten minutes on two cores): what a step of either costs is measured in turns, in
processor time, so that neither a busy machine nor one whose speed wanders favours anybody. Then it is trained
like any other run: same footage, same order of batches, the rate falling to its end. A pilot that is stopped
goes on, a finished one is not trained again, and the table shows all that there are.

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
PROBE, SETTLE = 8, 3  # steps measured, after the first ones


@dataclass(frozen=True)
class Variant:
    """What differs from the reference.

    Attributes:
        says: in the table.
        model: architecture.
        sizes: of it, where they differ from its own.
        config: fields of ``TrainConfig`` that differ.
        network: makes another network of the same sizes: (architecture, scale, phase) -> model.
    """

    says: str
    model: str = "duf-s"
    sizes: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    network: Callable[[Any, int, str], Any] | None = None

    @property
    def costs_more_or_less(self) -> bool:
        """Whether a step takes another time than the reference's."""
        other = self.model != "duf-s" or self.sizes or self.network
        return bool(other) or not set(self.config) <= {"loss", "learning_rate"}


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


RECURRENT = {"frames": 12, "batch": 5}  # six pictures of a sequence have a state
FAST, QUICK = {"levels": 1, "blocks": 2}, {"frames": 10, "batch": 8}
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
    "plain": Variant("no filters, a residual alone", network=without_filters),
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
        "window of 3 and a state, 16 wide, 2 blocks", "duf-r-s", {**FAST, "width": 16, "head": 24}, QUICK
    ),
    "fast-residual": Variant(
        "the same 24 wide, a residual on bicubic",
        "duf-r-s",
        {**FAST, "width": 24, "head": 32, "filters": False},
        QUICK,
    ),
}


@dataclass(frozen=True)
class Pilot:
    """Stands for a known architecture, with a network of its own."""

    known: Any
    network: Callable[[Any, int, str], Any]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.known, name)

    def with_sizes(self, sizes: Any) -> Pilot:
        return self

    def build(self, scale: int, *, phase: str = "centre") -> Any:
        return self.network(self.known, scale, phase)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--steps", type=int, default=640, help="of the reference; others by what they cost")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--degradation", default="bd")
    parser.add_argument("--run", type=Path, default=Path("runs/pilots"))
    parser.add_argument("--cache", type=Path, default=Path("cache"))
    parser.add_argument("--shippable", action="store_true")
    parser.add_argument("--table", action="store_true", help="train nothing, print what is there")
    options = parser.parse_args()
    for name in [] if options.table else (options.only.split(",") if options.only else VARIANTS):
        result = options.run / f"{name}.json"
        if not result.exists():
            result.parent.mkdir(parents=True, exist_ok=True)
            result.write_text(json.dumps(pilot(name, options)) + "\n")
    print(table(options.run))


def pilot(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train one variant; its figures."""
    from vsrcli.system.resources import configure_malloc

    configure_malloc()
    from vsrcli.degradations import PRESETS
    from vsrcli.models import architectures
    from vsrcli.train.config import TrainConfig
    from vsrcli.train.footage import find_footage, prepare_pairs
    from vsrcli.train.loop import train
    from vsrcli.train.validation import Validation

    preset = PRESETS[options.degradation]
    known_models: dict[str, Any] = architectures.ARCHITECTURES
    footage = find_footage(options.train, shippable_only=options.shippable)
    pairs = prepare_pairs(footage, options.cache, 4, preset)
    validation = Validation(options.validation, options.cache, 4, preset)
    common = {"model": "pilot", "degradation": preset.name, "optimizer": "muon", "blur": False}

    def prepared(variant: Variant) -> tuple[Any, TrainConfig]:
        known = architectures.architecture(variant.model).with_sizes(variant.sizes)
        chosen: Any = replace(known, name="pilot")
        known_models["pilot"] = Pilot(chosen, variant.network) if variant.network else chosen
        return chosen, TrainConfig(**{**common, **variant.config})

    def seconds(variant: Variant) -> float:
        """Of processor time, for a step."""
        config, marks = prepared(variant)[1], list[float]()
        probe = options.run / f"{name}.probe"
        shutil.rmtree(probe, ignore_errors=True)
        train(
            replace(config, steps=SETTLE + PROBE, save_every=10**6),
            pairs,
            probe,
            on_step=lambda report: marks.append(time.process_time()),
        )
        shutil.rmtree(probe)
        return (marks[-2] - marks[SETTLE - 1]) / (len(marks) - 1 - SETTLE)

    variant, reference = VARIANTS[name], VARIANTS[REFERENCE]
    steps, plan = options.steps, options.run / f"{name}.steps"
    if plan.exists():  # it goes on: the rate falls as it was meant to
        steps = int(plan.read_text())
    elif variant.costs_more_or_less:
        before, own, after = seconds(reference), seconds(variant), seconds(reference)
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
    return {"says": variant.says, "macs": chosen.multiply_adds(4), "steps": steps, **last}


def table(run: Path) -> str:
    """Markdown: every pilot that there is, the best first."""
    found = [{"name": file.stem, **json.loads(file.read_text())} for file in sorted(run.glob("*.json"))]
    gain = next((key for key in (found[0] if found else {}) if key.endswith(" gain_db")), "")
    lines = ["| variant | M multiply-adds | steps | gain, dB |", "|---|---|---|---|"]
    for row in sorted(found, key=lambda row: -row[gain]):
        own = VARIANTS[row["name"]].network is not None  # it lacks something that is counted
        macs = f"{'< ' if own else ''}{row['macs'] / 1e6:.2f}"
        lines.append(f"| {row['says']} | {macs} | {row['steps']} | {row[gain]:+.2f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
