"""What ``vsr tune`` has found fastest, in place of ``auto`` for engine, precision and tiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.inference.engine_plan import EnginePlan, plan_engine
from vsrcli.inference.selection import ModelChoice
from vsrcli.models.weights import Weights
from vsrcli.pipeline.options import Options, TunedSetting

_MAX_AREA_RATIO = 4  # of frames that are of about one size


def find_tuned(
    options: Options, models: Sequence[ModelChoice], width: int, height: int
) -> TunedSetting | None:
    """Return the setting for a model that comes nearest to a frame size; None if none applies.

    It was measured with this very network, not with another file of the same name. Settings without a
    checksum, as they were written before there was one, are of the program's own networks.

    Args:
        options: with the settings to choose from. One of them applies only where engine and precision are
            ``auto``, and the device is that it was measured for.
        models: the requested model at each of its scales.
        width, height: of the frames.
    """
    is_auto = options.engine == options.precision == "auto" and not os.environ.get("KERAS_BACKEND")
    if not is_auto:
        return None
    networks = {(each.name, each.weights.card["sha256"]) for each in models if each.weights}
    networks |= {(each.name, "") for each in models if isinstance(each.weights, Weights)}

    def ratio(setting: TunedSetting) -> float:
        areas = sorted((setting.width * setting.height, width * height))
        return areas[1] / areas[0]

    near = [
        each
        for each in options.tuned
        if (each.model, each.sha256) in networks
        and each.device == options.device
        and ratio(each) <= _MAX_AREA_RATIO
    ]
    return min(near, key=ratio, default=None)


def apply_tuned(
    options: Options, setting: TunedSetting, models: Sequence[ModelChoice], width: int, height: int
) -> tuple[Options, EnginePlan] | None:
    """Return options with a setting's values, and the plan of its engine; None if that has gone.

    A side of tiles is left out where tiles have to fit a memory limit or a requested overlap, or where the
    network cannot take it.

    Args:
        options: as requested.
        setting, models, width, height: see :func:`find_tuned`.
    """
    try:
        plan = plan_engine(setting.engine, options.device, setting.precision, models[0].runs_on)
    except EngineError:
        return None
    keeps_tile = options.tile != "auto" or options.max_memory is not None or options.overlap is not None
    keeps_tile = keeps_tile or not all(_takes(each, setting.tile, width, height) for each in models)
    tile = options.tile if keeps_tile else setting.tile
    tuned = replace(options, engine=setting.engine, precision=setting.precision, tile=tile)
    return tuned, replace(plan, reason=f"tuned: {setting.origin}")


def _takes(model: ModelChoice, tile: str | int, width: int, height: int) -> bool:
    """Return whether a network takes tiles of a side, or whole frames."""
    network, side = model.architecture, tile if isinstance(tile, int) else None
    try:
        plan_tiles(height, width, side, network.radius(), multiple=network.multiple)
    except UsageError:
        return False
    most = network.max_size
    return most is None or network.takes_frames(height, width) or (side is not None and side <= min(most))
