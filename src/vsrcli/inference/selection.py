"""From a model's name to a running engine: which weights, which native scale, what remains to be
resampled.

Which engine computes: decided by what was asked for and what this machine has, before anything starts.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.geometry import check_scale
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import Architecture, architecture
from vsrcli.models.weights import (
    DEFAULT_DEGRADATION,
    SUFFIX,
    Weights,
    find_weights,
    list_weights,
    read_weights,
)

ENGINES = ("auto", "keras", "openvino")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
INSTALL_HINT = "pip install 'vsrcli[openvino]'"
_GPU_DRIVERS = ("nvidiactl", "kfd", "dxg")  # NVIDIA, AMD, and either under Windows' Linux


@dataclass(frozen=True)
class EnginePlan:
    """An engine as far as it is known before it starts.

    Attributes:
        engine: ``keras``, ``openvino``; or ``auto``: openvino, unless Keras sees a GPU.
        device, precision: as asked for.
    """

    engine: str
    device: str
    precision: str

    def resolve(self) -> str:
        """``keras`` or ``openvino``; where there may be a GPU, this starts Keras to ask it.

        Raises:
            EngineError: Keras cannot start.
        """
        if self.engine != "auto":
            return self.engine
        from vsrcli.inference.keras import list_gpus

        return "keras" if list_gpus() else "openvino"

    def __str__(self) -> str:
        """For people: engine, device, precision."""
        if self.engine == "auto":
            return f"keras on a GPU that it can use, else openvino; precision {self.precision}"
        device = {"auto": "the first GPU, else the CPU" if may_have_gpu() else "CPU", "cpu": "CPU"}
        place = "CPU" if self.engine == "openvino" else device.get(self.device, f"GPU {self.device}")
        precision = self.precision
        if precision == "auto" and place == "CPU":
            sure = self.engine == "keras" or "bf16" not in cpu_precisions()
            precision = "fp32" if sure else "bf16 if nobody can see it, else fp32"
        return f"{self.engine} on {place}, {'precision auto' if precision == 'auto' else precision}"


def plan_engine(engine: str = "auto", device: str = "auto", precision: str = "auto") -> EnginePlan:
    """Which engine it will be. OpenVINO on CPUs, where it is installed and offers the precision; else Keras.

    Args:
        engine: ``auto``, ``keras`` or ``openvino``. A ``KERAS_BACKEND`` in the environment asks for Keras.
        device: ``auto``, ``cpu`` or GPU numbers.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.

    Raises:
        UsageError: none of these words.
        EngineError: OpenVINO was asked for and is not installed, or does not do that; the message says what
            there is.
    """
    for name, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(f"--{name} {value!r} is unknown: choose one of {', '.join(known)}")
    if engine == "openvino":
        _check_openvino(device, precision)
    elif engine == "auto":
        engine = _automatic(device, precision)
    return EnginePlan(engine, device, precision)


def openvino_installed() -> bool:
    """Whether OpenVINO and what its engine needs can be imported; imports nothing."""
    return all(find_spec(name) is not None for name in ("openvino", "platformdirs", "scipy"))


def may_have_gpu() -> bool:
    """Whether a GPU's driver is there: if not, no backend has to be started to know that there is none."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return not sys.platform.startswith("linux") or any(Path("/dev", name).exists() for name in _GPU_DRIVERS)


def cpu_precisions() -> tuple[str, ...]:
    """What OpenVINO computes in on this CPU; starts it."""
    from vsrcli.inference.openvino import capabilities

    return capabilities()


def _automatic(device: str, precision: str) -> str:
    elsewhere = device not in ("auto", "cpu") or os.environ.get("KERAS_BACKEND")
    if elsewhere or not openvino_installed() or precision == "fp16":
        return "keras"
    if precision == "bf16" and "bf16" not in cpu_precisions():
        return "keras"
    return "auto" if device == "auto" and may_have_gpu() else "openvino"


def _check_openvino(device: str, precision: str) -> None:
    if not openvino_installed():
        raise EngineError(
            f"--engine openvino needs a package that is not installed: {INSTALL_HINT}; there: keras"
        )
    if device not in ("auto", "cpu"):
        raise EngineError(f"--engine openvino computes on the CPU: use --engine keras for --gpu {device}")
    if precision not in ("auto", "fp32") and precision not in cpu_precisions():
        there = " and ".join(cpu_precisions())
        raise EngineError(
            f"--engine openvino has no --precision {precision} on this CPU (there: {there}): choose one of "
            f"these, or use --engine keras"
        )


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen for a job, before anything heavy is imported.

    Attributes:
        architecture: what runs.
        weights: its file, or None for interpolation.
        scale: the native factor that it runs at.
        then: what upscales its results once more, in a chain.
    """

    architecture: Architecture
    weights: Weights | None
    scale: int
    second_pass: ModelChoice | None = None

    @property
    def name(self) -> str:
        return self.weights.name if self.weights else f"{self.architecture.name}-x{self.scale}"


def choose_model(model: str, scale: Fraction, *, chain: bool = False) -> ModelChoice:
    """The weights for a wanted scale: at that factor if they exist, else at the nearest larger one.

    Beyond the largest, that one: what is missing is resampled, or in a chain upscaled by the network once
    more. The second pass takes the smallest factor that reaches the scale: the first one sees what the
    network was trained for, the film itself.

    Args:
        model: name of an architecture or path of a weight file.
        scale: wanted factor, more than 1, at most 16.
        chain: whether two passes may be taken where one is not enough.

    Raises:
        UsageError: a scale that is out of range.
        ModelError: unknown model, or one without weights.
    """
    check_scale(scale)
    there = _natives(model, scale)
    native = min((factor for factor in there if factor >= scale), default=max(there))
    choice = _at(model, native)
    if not chain or native >= scale:
        return choice
    second = min((factor for factor in there if native * factor >= scale), default=max(there))
    return replace(choice, second_pass=_at(model, second))


def _natives(model: str, scale: Fraction) -> list[int]:
    """Factors that a model runs at."""
    if model.endswith(SUFFIX):
        return [read_weights(Path(model)).scale]
    known = architecture(model)
    if known.module is None:
        return list(known.scales)
    there = sorted(
        weights.scale
        for weights in list_weights()
        if (weights.card["architecture"], weights.card["degradation"]) == (model, DEFAULT_DEGRADATION)
    )
    return there or [min(math.ceil(scale), max(known.scales))]  # there are no weights, as will be said


def _at(model: str, native: int) -> ModelChoice:
    if model.endswith(SUFFIX):
        weights = read_weights(Path(model))
    elif architecture(model).module is None:
        return ModelChoice(architecture(model), None, native)
    else:
        weights = find_weights(model, native)
    return ModelChoice(weights.architecture, weights, weights.scale)


def open_engine(
    choice: ModelChoice,
    *,
    device: str = "auto",
    precision: str = "auto",
    engine: str = "auto",
    on_notice: Callable[[str], None] = lambda text: None,
) -> Engine:
    """Load a chosen model onto a device.

    Args:
        choice: from :func:`choose`.
        device, precision, engine: see :func:`~vsrcli.inference.selection.plan_engine`.
        on_notice: told what the engine has to say.

    Raises:
        EngineError: the device, the engine or the precision is not there.
        ModelError: the weight file is damaged.
    """
    if choice.weights is None:
        from vsrcli.inference.engine import ResampleEngine

        return ResampleEngine(choice.architecture.name, choice.scale)
    plan = plan_engine(engine, device, precision)
    if plan.resolve() == "openvino":
        from vsrcli.inference.openvino import OpenvinoEngine

        return OpenvinoEngine(choice.weights, device=device, precision=precision, on_notice=on_notice)
    from vsrcli.inference.keras import KerasEngine

    return KerasEngine(choice.weights, device=device, precision=precision)
