"""Choice of weights and of an engine, before anything heavy is imported; opening of the engine.

:func:`choose_models` finds the weights and the native scales for a model name. :func:`plan_engine` decides,
from the options and this machine, which engine runs them. :func:`open_engine` loads them onto the device.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from vsrcli.errors import EngineError, UsageError
from vsrcli.frames.geometry import check_scale
from vsrcli.inference.looks import (
    SHARP,
    MixedWeights,
    missing_look,
    mix_looks,
    requested_look,
    sharp_weights,
    split_look,
)
from vsrcli.inference.types import Engine
from vsrcli.models.architectures import Architecture, architecture
from vsrcli.models.imported import ImportedModel
from vsrcli.models.library import display_name, find_imported, state_origin
from vsrcli.models.weights import (
    DEFAULT_DEGRADATION,
    DEFAULT_LOOK,
    Weights,
    find_named_weights,
    find_weights,
    list_weights,
)

INTERPOLATION = "lanczos"  # what --strength blends a network with
ENGINES = ("auto", "keras", "openvino", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
INSTALL_HINT = "pip install 'vsrcli[openvino]'"
ONNXRUNTIME_HINT = "pip install 'vsrcli[onnxruntime]'"
_GPU_DRIVERS = ("nvidiactl", "kfd", "dxg")  # in /dev: NVIDIA, AMD, both under Windows' Linux


@dataclass(frozen=True)
class ModelChoice:
    """A model chosen for a job, before anything heavy is imported.

    Attributes:
        architecture: of the model.
        weights: the weight file, the project's own or somebody else's; None for interpolation.
        scale: native factor.
    """

    architecture: Architecture
    weights: Weights | ImportedModel | None
    scale: int

    @property
    def name(self) -> str:
        return self.weights.name if self.weights else f"{self.architecture.name}-x{self.scale}"

    @property
    def look(self) -> str | None:
        """``natural`` or ``sharp``; None without weights of the program's own."""
        return self.weights.look if isinstance(self.weights, Weights) else None

    @property
    def checksum(self) -> str:
        """Checksum of the weights, or the name without weights; and the scale."""
        return f"{self.weights.card['sha256'] if self.weights else self.name} x{self.scale}"


def choose_models(
    model: str | Sequence[str], scale: Fraction, *, chain: bool = False, look: str | None = None
) -> tuple[ModelChoice, ...]:
    """Choose weights for every pass: at the requested scale, or at the nearest larger native scale.

    Beyond the largest native scale, that one is chosen, and the remaining factor is resampled or, with
    ``chain``, upscaled by the network in a second pass. That takes the smallest factor that reaches the
    scale, so that the first pass runs on what the network was trained for: the source itself.

    Args:
        model: see :func:`find_models`; or several, see :func:`select_passes`.
        scale: requested factor, from 1 to 16.
        chain: allow two passes where one is not enough.
        look: see :func:`find_models`.

    Raises:
        UsageError: a scale that is out of range, or a look that the model does not have.
        ModelError: unknown model, or one without weights.
    """
    check_scale(scale)
    models = (model,) if isinstance(model, str) else model
    return select_passes([find_models(each, scale, look) for each in models], scale, chain=chain)


def find_models(model: str, scale: Fraction, look: str | None = None) -> tuple[ModelChoice, ...]:
    """Return a model at each native scale that there is; reads the cards of weight files.

    Args:
        model: name of an architecture, with ``-sharp`` for its sharp weights; name or path of a weight file,
            the project's own or somebody else's.
        scale: for the message of an error.
        look: ``natural``, ``sharp``, or None: as the model states it, else natural. At scales without sharp
            weights the natural ones are returned, so that :func:`select_models` can tell them apart from
            scales that the model does not have.

    Raises:
        ModelError: unknown model, or one without weights, or a file that cannot be used.
        UsageError: the model states another look, or has no looks.
    """
    if imported := find_imported_model(model):
        _refuse_sharp(imported.name, look)
        return (ModelChoice(imported.architecture, imported, imported.scale),)
    if weights := find_named_weights(model):
        _check_stated_look(model, weights.look, look)
        return (ModelChoice(weights.architecture, weights, weights.scale),)
    name, stated = split_look(model)
    _check_stated_look(model, stated, look)
    known = architecture(name)
    if known.module is None:
        _refuse_sharp(name, look or stated)
        return tuple(ModelChoice(known, None, native) for native in known.scales)
    kind = (name, DEFAULT_DEGRADATION, DEFAULT_LOOK)
    found = [w for w in list_weights() if (w.card["architecture"], w.card["degradation"], w.look) == kind]
    if requested_look(model, look) == SHARP:
        sharp = sharp_weights(name)
        if not sharp:
            raise missing_look(name)
        found = [*sharp.values(), *(each for each in found if each.scale not in sharp)]
    elif not found:
        found = [find_weights(name, min(max(math.ceil(scale), known.scales[0]), known.scales[-1]))]
    return tuple(ModelChoice(weights.architecture, weights, weights.scale) for weights in found)


def _check_stated_look(model: str, stated: str | None, look: str | None) -> None:
    if stated and look not in (None, stated):
        raise UsageError(f"--model {model} is {stated}, --look {look} is another: leave one of them out")


def _refuse_sharp(name: str, look: str | None) -> None:
    if look == SHARP:
        raise UsageError(
            f"--look {look}: {name} has one look only; leave --look out, or choose another model"
        )


def find_imported_model(model: str) -> ImportedModel | None:
    """Return somebody else's network by its path or its name; None if the model is another kind.

    Raises:
        ModelError: the file is missing or damaged, or cannot be used.
    """
    path = find_imported(model)
    if path is None:
        return None
    from vsrcli.inference.probing import describe_model

    return ImportedModel(path, state_origin(describe_model(path), path), display_name(path))


def select_models(
    models: Sequence[ModelChoice], scale: Fraction, *, chain: bool = False
) -> tuple[ModelChoice, ...]:
    """Select from :func:`find_models` of one model, see :func:`choose_models`.

    Raises:
        ModelError: sharp weights were requested, and there are none for the scale.
    """
    ordered = sorted(models, key=lambda each: each.scale)
    first = next((each for each in ordered if each.scale >= scale), ordered[-1])
    selected = [first]
    if chain and 1 < first.scale < scale:
        selected.append(next((each for each in ordered if first.scale * each.scale >= scale), ordered[-1]))
    for each in selected:
        _check_look(each, models)
    return tuple(selected)


def _check_look(selected: ModelChoice, models: Sequence[ModelChoice]) -> None:
    """Raise ModelError if natural weights were selected where sharp ones were requested."""
    if selected.look != SHARP and any(each.look == SHARP for each in models):
        raise missing_look(selected.architecture.name, selected.scale)


def select_passes(
    candidates: Sequence[Sequence[ModelChoice]], scale: Fraction, *, chain: bool = False
) -> tuple[ModelChoice, ...]:
    """Select a model for each pass, where one or several are requested.

    Several models run one after the other, each once, at those native scales whose product is the smallest
    that reaches the requested scale, or the largest that there is.

    Args:
        candidates: from :func:`find_models`, for each requested model.
        scale: requested factor.
        chain: see :func:`choose_models`; for one model only.
    """
    if len(candidates) == 1:
        return select_models(candidates[0], scale, chain=chain)

    def rank(models: Sequence[ModelChoice]) -> tuple[bool, int]:
        total = math.prod(each.scale for each in models)
        return total < scale, total if total >= scale else -total

    selected = min(product(*candidates), key=rank)
    for each, models in zip(selected, candidates, strict=True):
        _check_look(each, models)
    return selected


def dial_looks(models: Sequence[ModelChoice], strength: float) -> tuple[ModelChoice, ...]:
    """Return models whose sharp weights are mixed with the natural ones, see
    :func:`~vsrcli.inference.looks.mix_looks`; others as they are.

    Raises:
        UsageError: there are no natural weights that fit.
    """
    return tuple(
        replace(each, weights=mix_looks(each.weights, strength))
        if isinstance(each.weights, Weights) and each.look == SHARP
        else each
        for each in models
    )


def select_interpolation(scale: Fraction, *, chain: bool = False) -> tuple[ModelChoice, ...]:
    """Return the passes of ``-m lanczos``; for a factor of 1, one that leaves frames as they are."""
    if scale == 1:
        return (ModelChoice(architecture(INTERPOLATION), None, 1),)
    return choose_models(INTERPOLATION, scale, chain=chain)


@dataclass(frozen=True)
class EnginePlan:
    """An engine as far as it is known before it starts.

    Attributes:
        engine: ``keras``, ``openvino``, ``onnxruntime``; or ``auto``: the first of Keras and ONNX Runtime
            that can use a GPU, else openvino.
        device, precision: as requested.
        reason: why it is not the usual one; may be empty.
    """

    engine: str
    device: str
    precision: str
    reason: str = ""

    def resolve(self) -> str:
        """Return an engine's name; where there may be a GPU, start Keras, then ONNX Runtime, to find it.

        Raises:
            EngineError: Keras cannot start.
        """
        if self.engine != "auto":
            return self.engine
        from vsrcli.inference.keras import list_gpus

        if list_gpus():
            return "keras"
        if onnxruntime_gpu_installed():
            from vsrcli.inference.onnxruntime_session import check_gpu_provider

            if self.device != "auto" or not check_gpu_provider():
                return "onnxruntime"
        is_possible = openvino_installed() and self.device == "auto" and self.precision != "fp16"
        return "openvino" if is_possible else "keras"

    def __str__(self) -> str:
        """Return engine, device and precision, for people."""
        if self.engine == "auto":
            others = ["onnxruntime on it"] if onnxruntime_gpu_installed() else []
            others += ["openvino"] if self.device == "auto" else []
            place = "a GPU" if self.device == "auto" else f"GPU {self.device}"
            engines = ", else ".join([f"keras on {place} that it can use", *others])
            return f"{engines}; precision {self.precision}"
        names = {"auto": "the first GPU, else the CPU" if may_have_gpu() else "CPU", "cpu": "CPU"}
        device = "CPU" if self.engine == "openvino" else names.get(self.device, f"GPU {self.device}")
        if self.engine == "onnxruntime" and self.device == "auto" and not onnxruntime_gpu_installed():
            device = "CPU"
        precision = self.precision
        if precision == "auto" and device == "CPU":
            available = cpu_precisions() if self.engine == "openvino" else ()
            smaller = " or ".join(each for each in ("bf16", "int8") if each in available)
            precision = f"{smaller} if it costs no quality, else fp32" if smaller else "fp32"
        text = f"{self.engine} on {device}, {'precision auto' if precision == 'auto' else precision}"
        return f"{text} ({self.reason})" if self.reason else text


def plan_engine(engine: str = "auto", device: str = "auto", precision: str = "auto") -> EnginePlan:
    """Decide on an engine: OpenVINO on CPUs, where it is installed and has the precision; else ONNX Runtime;
    else Keras. On a GPU Keras comes first, then ONNX Runtime.

    Args:
        engine: ``auto``, ``keras``, ``openvino`` or ``onnxruntime``. ``KERAS_BACKEND`` in the
            environment makes ``auto`` choose Keras.
        device: ``auto``, ``cpu`` or GPU numbers.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``, which only OpenVINO has.

    Raises:
        UsageError: an unknown value.
        EngineError: OpenVINO or ONNX Runtime was requested and is not installed, or lacks the device or
            precision; the message names what is available.
    """
    for name, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(f"--{name} {value!r} is unknown: choose one of {', '.join(known)}")
    if precision == "int8" and engine not in ("auto", "openvino"):
        raise EngineError(f"--engine {engine} has no --precision int8: use --engine openvino")
    if engine == "openvino" or precision == "int8":
        engine = "openvino"
        _check_openvino(device, precision)
    elif engine == "auto":
        engine = _choose_engine(device, precision)
        reason = "OpenVINO is not installed" if engine == "onnxruntime" else ""
        return EnginePlan(engine, device, precision, reason)
    elif engine == "onnxruntime":
        _check_onnxruntime(precision)
    return EnginePlan(engine, device, precision)


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
        choice: from :func:`choose_models`.
        device, precision, engine: see :func:`plan_engine`.
        on_notice: receives the engine's notices.

    Raises:
        EngineError: the device, the engine or the precision is not available.
        ModelError: the weight file is damaged.
    """
    if choice.weights is None:
        from vsrcli.inference.engine import ResampleEngine

        return ResampleEngine(choice.architecture.name, choice.scale)
    weights = choice.weights.materialize() if isinstance(choice.weights, MixedWeights) else choice.weights
    plan = plan_engine(engine, device, precision)
    requested = {"device": device, "precision": precision, "on_notice": on_notice}
    if isinstance(weights, ImportedModel):
        name = plan.resolve()
        if name == "keras" and engine == "auto" and weights.description.format == "onnx":
            name = "onnxruntime" if onnxruntime_installed() else "openvino"  # Keras does not run ONNX
        if weights.description.kind == "functions":
            return _open_export(weights, name, requested)
        from vsrcli.inference.imported import ImportedEngine

        return ImportedEngine(weights, name, **requested)
    name = plan.resolve()
    if name == "openvino":
        from vsrcli.inference.openvino import OpenvinoEngine

        return OpenvinoEngine(weights, **requested)
    if name == "onnxruntime":
        from vsrcli.inference.onnxruntime import OnnxruntimeEngine

        return OnnxruntimeEngine(weights, **requested)
    from vsrcli.inference.keras import KerasEngine

    return KerasEngine(weights, device=device, precision=precision)


def _open_export(model: ImportedModel, engine: str, requested: dict[str, Any]) -> Engine:
    """Open an export of this program, which carries its own functions."""
    if engine == "openvino":
        from vsrcli.inference.openvino_functions import OpenvinoExportEngine

        return OpenvinoExportEngine(model, **requested)
    if engine == "onnxruntime":
        from vsrcli.inference.onnxruntime import OnnxruntimeEngine

        return OnnxruntimeEngine(model, **requested)
    raise EngineError(f"--engine {engine} does not run ONNX: use --engine openvino or onnxruntime")


def openvino_installed() -> bool:
    """Return whether OpenVINO and the other packages of its engine can be imported; imports nothing."""
    return all(find_spec(name) is not None for name in ("openvino", "platformdirs", "scipy"))


def onnxruntime_installed() -> bool:
    """Return whether ONNX Runtime and the other packages of its engine can be imported; imports nothing."""
    return all(find_spec(name) is not None for name in ("onnxruntime", "onnx", "platformdirs"))


def onnxruntime_gpu_installed() -> bool:
    """Return whether the installed ONNX Runtime is built for NVIDIA's GPUs; imports nothing."""
    spec = find_spec("onnxruntime") if onnxruntime_installed() else None
    folders = (spec and spec.submodule_search_locations) or ()
    return any(next(Path(folder).glob("capi/*providers_cuda*"), None) for folder in folders)


def may_have_gpu() -> bool:
    """Return False if there is surely no GPU: then no backend has to start to find that out."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        return False
    return not sys.platform.startswith("linux") or any(Path("/dev", name).exists() for name in _GPU_DRIVERS)


def cpu_precisions() -> tuple[str, ...]:
    """Return the precisions that OpenVINO computes in on this CPU; starts OpenVINO."""
    from vsrcli.inference.openvino import cpu_capabilities

    return cpu_capabilities()


def _choose_engine(device: str, precision: str) -> str:
    if os.environ.get("KERAS_BACKEND"):
        return "keras"
    has_gpu = device == "auto" and may_have_gpu()
    if device not in ("auto", "cpu") or (has_gpu and not openvino_installed()):
        return "auto" if onnxruntime_gpu_installed() and precision != "bf16" else "keras"
    if precision == "fp16":
        return "auto" if has_gpu and onnxruntime_gpu_installed() else "keras"
    if not openvino_installed():
        return "onnxruntime" if onnxruntime_installed() and precision != "bf16" else "keras"
    if precision == "bf16" and "bf16" not in cpu_precisions():
        return "keras"
    return "auto" if has_gpu else "openvino"


def _check_onnxruntime(precision: str) -> None:
    if not onnxruntime_installed():
        available = "openvino" if openvino_installed() else "keras"
        raise EngineError(
            f"--engine onnxruntime needs a package that is not installed: {ONNXRUNTIME_HINT}; available: "
            f"{available}"
        )
    if precision == "bf16":
        raise EngineError("--engine onnxruntime has no --precision bf16: use fp32, or --engine keras")


def _check_openvino(device: str, precision: str) -> None:
    if not openvino_installed():
        raise EngineError(
            f"--engine openvino needs a package that is not installed: {INSTALL_HINT}; available: keras"
        )
    if device not in ("auto", "cpu"):
        raise EngineError(f"--engine openvino computes on the CPU: use --engine keras for --gpu {device}")
    if precision not in ("auto", "fp32") and precision not in cpu_precisions():
        available = " and ".join(cpu_precisions())
        raise EngineError(
            f"--engine openvino has no --precision {precision} on this CPU (available: {available}): choose "
            f"one of these, or use --engine keras"
        )
