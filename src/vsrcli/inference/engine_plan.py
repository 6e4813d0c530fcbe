"""Plan of the engine for a network, from the options and this machine, before anything heavy is imported.

:func:`plan_engine` decides, from what was requested, what is installed and whether there may be a GPU.
:func:`~vsrcli.inference.selection.open_engine` then loads weights into the engine that the plan names.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from vsrcli.errors import EngineError, UsageError

ENGINES = ("auto", "keras", "openvino", "onnxruntime")
PRECISIONS = ("auto", "fp32", "fp16", "bf16", "int8")
ALL_ENGINES = ENGINES[1:]
OPENVINO_HINT = "pip install 'vsrcli[openvino]'"
_GPU_DRIVERS = ("nvidiactl", "kfd", "dxg")  # in /dev: NVIDIA, AMD, both under Windows' Linux


@dataclass(frozen=True)
class EnginePlan:
    """An engine as far as it is known before it starts.

    Attributes:
        engine: ``keras``, ``openvino``, ``onnxruntime``; or ``auto``: the first of Keras and ONNX Runtime
            that can use a GPU, else openvino.
        device, precision: as requested.
        reason: why it is not the usual one; may be empty.
        runs_on: see :func:`plan_engine`.
    """

    engine: str
    device: str
    precision: str
    reason: str = ""
    runs_on: tuple[str, ...] = ALL_ENGINES

    @property
    def may_use_gpu(self) -> bool:
        """Whether the network may lie in a GPU's memory; imports nothing."""
        if self.engine == "openvino" or self.device == "cpu":
            return False
        return self.engine != "onnxruntime" or self.device != "auto" or onnxruntime_gpu_installed()

    def resolve(self) -> str:
        """Return an engine's name; where there may be a GPU, start Keras, then ONNX Runtime, to find it.

        Raises:
            EngineError: Keras cannot start.
        """
        if self.engine != "auto":
            return self.engine
        if "keras" not in self.runs_on:
            from vsrcli.inference.onnxruntime_session import check_gpu_provider

            return _cpu_engine(self.runs_on) if check_gpu_provider() else "onnxruntime"
        from vsrcli.inference.keras import list_gpus

        if list_gpus():
            return "keras"
        if self._may_be_onnxruntime():
            from vsrcli.inference.onnxruntime_session import check_gpu_provider

            if self.device != "auto" or not check_gpu_provider():
                return "onnxruntime"
        is_possible = openvino_installed() and self.device == "auto" and self.precision != "fp16"
        return "openvino" if is_possible else "keras"

    def __str__(self) -> str:
        """Return engine, device and precision, for people."""
        if self.engine == "auto":
            others = ["onnxruntime on it"] if self._may_be_onnxruntime() else []
            others += ["openvino"] if self.device == "auto" else []
            place = "a GPU" if self.device == "auto" else f"GPU {self.device}"
            if "keras" not in self.runs_on:
                other = _cpu_engine(self.runs_on)
                return f"onnxruntime on {place} that it can use, else {other}; precision {self.precision}"
            engines = ", else ".join([f"keras on {place} that it can use", *others])
            return f"{engines}; precision {self.precision}"
        names = {"auto": "the first GPU, else the CPU" if may_have_gpu() else "CPU", "cpu": "CPU"}
        device = "CPU" if self.engine == "openvino" else names.get(self.device, f"GPU {self.device}")
        if self.engine == "onnxruntime" and self.device == "auto" and not onnxruntime_gpu_installed():
            device = "CPU"
        precision = self.precision
        if precision == "auto" and device == "CPU":
            available = cpu_precisions() if self.engine == "openvino" else ()
            if "keras" not in self.runs_on:  # nothing measures eight bits for ONNX files
                available = tuple(each for each in available if each != "int8")
            smaller = " or ".join(each for each in ("bf16", "int8") if each in available)
            precision = f"{smaller} if it costs no quality, else fp32" if smaller else "fp32"
        text = f"{self.engine} on {device}, {'precision auto' if precision == 'auto' else precision}"
        return f"{text} ({self.reason})" if self.reason else text

    def _may_be_onnxruntime(self) -> bool:
        """Return whether ONNX Runtime is built for GPUs and has the precision."""
        return onnxruntime_gpu_installed() and self.precision != "bf16"


def plan_engine(
    engine: str = "auto",
    device: str = "auto",
    precision: str = "auto",
    runs_on: tuple[str, ...] = ALL_ENGINES,
) -> EnginePlan:
    """Decide on an engine: OpenVINO on CPUs, where it is installed and has the precision; else ONNX Runtime;
    else Keras. On a GPU Keras comes first, then ONNX Runtime.

    Args:
        engine: ``auto``, ``keras``, ``openvino`` or ``onnxruntime``. ``KERAS_BACKEND`` in the
            environment makes ``auto`` choose Keras.
        device: ``auto``, ``cpu`` or GPU numbers.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``, which only OpenVINO has.
        runs_on: engines that can run the network; without Keras it is an ONNX file.

    Raises:
        UsageError: an unknown value.
        EngineError: OpenVINO or ONNX Runtime was requested and is not installed, or lacks the device or
            precision; the message names what is available. Or Keras was requested for an ONNX file.
    """
    for name, value, known in (("engine", engine, ENGINES), ("precision", precision, PRECISIONS)):
        if value not in known:
            raise UsageError(f"--{name} {value!r} is unknown: choose one of {', '.join(known)}")
    if "keras" not in runs_on:
        return _plan_onnx(engine, device, precision, runs_on)
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


def _plan_onnx(engine: str, device: str, precision: str, runs_on: tuple[str, ...]) -> EnginePlan:
    """Plan the engine of an ONNX file, which Keras does not run: ONNX Runtime on a GPU, else as on CPUs."""
    if engine == "keras":
        raise EngineError("--engine keras does not run ONNX: use --engine openvino or onnxruntime")
    if precision == "int8":
        raise EngineError("networks in ONNX files have no --precision int8: use fp32")
    if precision == "bf16" and "openvino" not in runs_on:
        raise EngineError("--precision bf16: OpenVINO has it, which cannot read this ONNX file: use fp32")
    is_auto, has_gpu = engine == "auto", device not in ("auto", "cpu")
    if is_auto and precision == "bf16":
        engine = "openvino"
    elif is_auto and (has_gpu or precision == "fp16"):
        if not onnxruntime_installed():
            from vsrcli.inference.onnxruntime_session import GPU_INSTALL_HINT

            option = f"--gpu {device}" if has_gpu else f"--precision {precision}"
            remedy = "--gpu cpu" if has_gpu else "--precision fp32"
            raise EngineError(
                f"{option}: networks in ONNX files need ONNX Runtime for that, which is not installed: "
                f"{GPU_INSTALL_HINT}, or use {remedy}"
            )
        engine = "onnxruntime"
    elif is_auto and device == "auto" and may_have_gpu() and onnxruntime_gpu_installed():
        return EnginePlan("auto", device, precision, runs_on=runs_on)
    elif is_auto:
        engine = _cpu_engine(runs_on)
    if engine == "openvino":
        _check_openvino(device, precision, runs_on)
    else:
        _check_onnxruntime(precision, runs_on)
    return EnginePlan(engine, device, precision, runs_on=runs_on)


def _cpu_engine(runs_on: tuple[str, ...]) -> str:
    """Return the engine of an ONNX file on a CPU."""
    is_first = "openvino" in runs_on and openvino_installed()
    return "openvino" if is_first or not onnxruntime_installed() else "onnxruntime"


def _check_onnxruntime(precision: str, runs_on: tuple[str, ...] = ALL_ENGINES) -> None:
    has_keras = "keras" in runs_on
    if not onnxruntime_installed():
        from vsrcli.inference.onnxruntime_session import ONNXRUNTIME_HINT

        available = "openvino" if openvino_installed() else "keras" if has_keras else "none"
        raise EngineError(
            f"--engine onnxruntime needs a package that is not installed: {ONNXRUNTIME_HINT}; available: "
            f"{available}"
        )
    if precision == "bf16":
        remedy = ", or --engine keras" if has_keras else ""
        raise EngineError(f"--engine onnxruntime has no --precision bf16: use fp32{remedy}")


def _check_openvino(device: str, precision: str, runs_on: tuple[str, ...] = ALL_ENGINES) -> None:
    has_keras = "keras" in runs_on
    if not openvino_installed():
        others = "keras" if has_keras else "onnxruntime" if onnxruntime_installed() else "none"
        raise EngineError(
            f"--engine openvino needs a package that is not installed: {OPENVINO_HINT}; available: {others}"
        )
    if device not in ("auto", "cpu"):
        other = "keras" if has_keras else "onnxruntime"
        raise EngineError(f"--engine openvino computes on the CPU: use --engine {other} for --gpu {device}")
    if precision not in ("auto", "fp32") and precision not in cpu_precisions():
        available = " and ".join(cpu_precisions())
        raise EngineError(
            f"--engine openvino has no --precision {precision} on this CPU (available: {available}): choose "
            f"one of these{', or use --engine keras' if has_keras else ''}"
        )
