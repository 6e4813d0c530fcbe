"""Threads of networks in worker processes that share a machine."""

from __future__ import annotations

import contextlib

from vsrcli.pipeline.options import Options


def limit_network_threads(options: Options, threads: int | None) -> None:
    """Limit the threads of OpenVINO and ONNX Runtime, which use all cores and know no variable.

    Args:
        options: of the run; nothing is loaded for an interpolation.
        threads: None: no limit.
    """
    from vsrcli.errors import VsrError
    from vsrcli.inference.engine_plan import onnxruntime_installed, openvino_installed, plan_engine
    from vsrcli.inference.selection import choose_models

    with contextlib.suppress(VsrError):  # the task itself reports it
        if threads is None or not options.strength:
            return
        networks = [each for each in choose_models(options.models, options.scale) if each.weights]
        requested = options.engine, options.device, options.precision
        engines = {plan_engine(*requested, each.runs_on).engine for each in networks}
        if engines & {"auto", "onnxruntime"} and onnxruntime_installed():
            from vsrcli.inference.onnxruntime_session import limit_threads

            limit_threads(threads)
        if engines & {"auto", "openvino"} and openvino_installed():
            from vsrcli.inference.openvino import openvino_core

            openvino_core().set_property("CPU", {"INFERENCE_NUM_THREADS": threads})
