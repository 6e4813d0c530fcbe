"""Named settings of published and course trainings, to be repeated. Importable without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Recipe:
    """Settings of a training.

    Attributes:
        name: as on the command line.
        summary: one line for people.
        source: where the settings come from.
        settings: values of :class:`~vsrcli.train.config.TrainConfig`.
        known: names of the settings that the source states; the others are chosen.
        unknown: what the source does not say, or says in terms that do not exist here.
    """

    name: str
    summary: str
    source: str
    settings: Mapping[str, Any]
    known: frozenset[str]
    unknown: str


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "duf-2018",
            "the paper of DUF, 16 layers",
            "Jo et al., CVPR 2018, sections 3.4 and 4.1",
            {
                "model": "duf-16l",
                "scale": 4,
                "degradation": "bd",
                "loss": "huber",
                "huber_delta": 0.01,
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "final_rate": 1e-6,
                "schedule": "step",
                "decay_steps": 10_000,
                "step_factor": 0.1,
                "warmup": 0,
                "ema": 0.0,
                "blur": False,
                "batch": 16,
                "frames": 7,
                "crop": 32,
                "steps": 30_000,
            },
            frozenset(
                ("model", "scale", "degradation", "loss", "huber_delta", "optimizer", "learning_rate")
            ).union(("schedule", "step_factor", "batch", "frames", "crop")),
            "the footage; how many steps an epoch has: the rate falls every ten, taken as 10,000 steps; the "
            "length of the run, taken as three such periods",
        ),
        Recipe(
            "postech-2021",
            "a course project that trained DUF on Pixabay clips",
            "the project's own settings file and report",
            {
                "model": "duf-16l",
                "scale": 4,
                "degradation": "bd",
                "loss": "huber",
                "huber_delta": 200 / 255,
                "optimizer": "adam",
                "learning_rate": 5e-3,
                "final_rate": 1e-6,
                "schedule": "cosine-restarts",
                "decay_steps": 70,
                "period_factor": 2.0,
                "restart_factor": 1.0,
                "warmup": 0,
                "ema": 0.0,
                "blur": False,
                "batch": 16,
                "frames": 7,
                "crop": 32,
                "steps": 10_000,
            },
            frozenset(("loss", "huber_delta", "learning_rate", "schedule", "decay_steps", "batch", "crop")),
            "the unit of its first decay, 70, taken as steps, as Keras counts; steps of its 100 epochs, "
            "taken as 100 each; depth, scale and degradation, taken as the paper's; whether its crops of 128 "
            "pixels are of the truth, as taken here; they lay in the middle of clips, here they lie anywhere",
        ),
        Recipe(
            "five-parallel-2021",
            "a course project that trained Delta and five-parallel on REDS",
            "the project's plan and figures",
            {
                "model": "five-parallel",
                "scale": 4,
                "degradation": "bi",
                "loss": "mse",
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "final_rate": 1e-5,
                "schedule": "cosine",
                "warmup": 0,
                "ema": 0.0,
                "blur": False,
                "batch": 8,
                "frames": 3,
                "crop": 32,
                "steps": 10_000,
            },
            frozenset(("model", "scale", "degradation")),
            "loss, rates, batch, crops and length: usual ones are taken; --model delta is the smaller one",
        ),
        Recipe(
            "sr-unet-2021",
            "a course project that trained an SR-U-Net on Vimeo-90K",
            "the project's description",
            {
                "model": "sr-unet",
                "scale": 2,
                "degradation": "bi",
                "loss": "mse",
                "optimizer": "adam",
                "learning_rate": 1e-3,
                "final_rate": 1e-5,
                "schedule": "cosine",
                "warmup": 0,
                "ema": 0.0,
                "blur": False,
                "batch": 16,
                "frames": 1,
                "crop": 64,
                "steps": 10_000,
            },
            frozenset(("model", "scale", "crop")),
            "loss, rates, batch and length: usual ones are taken. Its GAN goes on from these weights: "
            "--model srgan, then --adversarial --init",
        ),
    )
}
