"""How sequences of frames meet the kinds of networks. Imports no Keras."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vsrcli.errors import UsageError
from vsrcli.models.architectures import Architecture
from vsrcli.train.config import TrainConfig


def temporal_margin(chosen: Architecture) -> int:
    """Frames at each end of a sequence that the network gives no picture for."""
    return chosen.frames // 2


def check_sequences(config: TrainConfig, chosen: Architecture) -> None:
    """Refuse sequences that the network cannot be trained on.

    Raises:
        UsageError: too few frames for the network, or for a loss on changes.
    """
    least = max(chosen.frames, 2 * temporal_margin(chosen) + 1)
    if config.frames < least:
        raise UsageError(
            f"--frames {config.frames} is shorter than what {chosen.name} looks at: take {least} or more"
        )
    if config.temporal_weight and config.frames - 2 * temporal_margin(chosen) < 2:
        raise UsageError(
            f"--temporal-weight needs two pictures of a sequence: take --frames {least + 1} or more"
        )


def shape_batch(
    low: Any, high: Any, chosen: Architecture, concatenate: Callable[..., Any] = np.concatenate
) -> tuple[Any, Any]:
    """A batch as the network takes it.

    Args:
        low: (B, T, H, W, 3).
        high: (B, outputs, sH, sW, 3).
        chosen: networks of kind ``window`` get single windows, those of one time after those of the time
            before; the others take sequences as they are.
        concatenate: of the library that the arrays belong to.

    Returns:
        The same, or (outputs*B, window, H, W, 3) and (outputs*B, sH, sW, 3).
    """
    if chosen.kind != "window":
        return low, high
    outputs = range(high.shape[1])
    windows = concatenate([low[:, i : i + chosen.frames] for i in outputs], axis=0)
    return windows, concatenate([high[:, i] for i in outputs], axis=0)
