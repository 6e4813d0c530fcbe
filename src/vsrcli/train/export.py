"""What a run gives away: a weight file with its model card, and the network to score it with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.degradations import PRESETS
from vsrcli.models.weights import SUFFIX, file_sha256
from vsrcli.train.config import TrainConfig


class WeightExporter:
    """The bare network of a run, in float32 and without an optimizer, and the files made from it.

    Args:
        config: of the run.
        run: its folder.
        card: what the model card shall say besides what is known here (data, licence, command).

    Attributes:
        network: holds the weights of the last :meth:`fill`.
        path: ``JOURNAL_NAME.weights.h5``.
    """

    def __init__(self, config: TrainConfig, run: Path, card: Mapping[str, Any]) -> None:
        self.chosen = config.architecture
        self.network = self.chosen.build(config.scale, phase=PRESETS[config.degradation].phase)
        self.path = run / f"{config.model}-x{config.scale}-{config.degradation}{SUFFIX}"
        self._config, self._card = config, card

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Take the weights that a run has reached."""
        self.network.set_weights(list(weights))

    def write(self, step: int, seconds: float, measured: Mapping[str, float] | None) -> None:
        """Write the weights and their card.

        Args:
            step, seconds: how far the run is, and what it took.
            measured: scores of these weights.
        """
        config, preset = self._config, PRESETS[self._config.degradation]
        self.network.save_weights(self.path)
        content = {
            "architecture": config.model,
            "options": dict(self.chosen.options),
            "scale": config.scale,
            "degradation": config.degradation,
            "degradation_summary": preset.summary,
            "degradation_parameters": asdict(preset),
            "phase": preset.phase,
            "parameters": self.network.count_params(),
            "multiply_adds_per_lr_pixel": self.chosen.multiply_adds(config.scale),
            **self._card,
            "training": {**asdict(config), "step": step, "hours": round(seconds / 3600, 2)},
            "validation": measured,
            "sha256": file_sha256(self.path),
        }
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        self.path.with_name(self.path.name.removesuffix(SUFFIX) + ".json").write_text(text, encoding="utf-8")
