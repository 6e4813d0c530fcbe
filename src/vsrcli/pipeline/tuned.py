"""What ``vsr tune`` has found fastest, in place of ``auto`` for engine, precision and tiles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from vsrcli.errors import EngineError
from vsrcli.inference.engine_plan import EnginePlan, plan_engine
from vsrcli.inference.selection import ModelChoice
from vsrcli.pipeline.options import Options, TunedSetting

_MAX_AREA_RATIO = 4  # of frames that are of about one size


def find_tuned(
    options: Options, models: Sequence[ModelChoice], width: int, height: int
) -> TunedSetting | None:
    """Return the setting for a model that comes nearest to a frame size; None if none applies.

    Args:
        options: with the settings to choose from. One of them applies only where engine and precision are
            ``auto``, and the device is that it was measured for.
        models: the requested model at each of its scales.
        width, height: of the frames.
    """
    is_auto = options.engine == options.precision == "auto" and not os.environ.get("KERAS_BACKEND")
    names = {each.name for each in models if each.weights}
    if not is_auto or not names:
        return None

    def ratio(setting: TunedSetting) -> float:
        areas = sorted((setting.width * setting.height, width * height))
        return areas[1] / areas[0]

    near = [
        each
        for each in options.tuned
        if each.model in names and each.device == options.device and ratio(each) <= _MAX_AREA_RATIO
    ]
    return min(near, key=ratio, default=None)


def apply_tuned(options: Options, setting: TunedSetting) -> tuple[Options, EnginePlan] | None:
    """Return options with a setting's values, and the plan of its engine; None if that has gone.

    A side of tiles is left out where tiles have to fit a memory limit or a requested overlap.
    """
    try:
        plan = plan_engine(setting.engine, options.device, setting.precision)
    except EngineError:
        return None
    keeps_tile = options.tile != "auto" or options.max_memory is not None or options.overlap is not None
    tile = options.tile if keeps_tile else setting.tile
    tuned = replace(options, engine=setting.engine, precision=setting.precision, tile=tile)
    return tuned, replace(plan, reason=f"tuned: {setting.origin}")
