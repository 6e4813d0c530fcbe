"""vsr: temporal video super-resolution that preserves frames, timestamps, audio and color.

The public API is ``__all__``; everything else may change between versions.

>>> from vsrcli import Options, upscale
>>> upscale("in.mp4", "out.mp4", Options(scale=4))  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsrcli._version import __version__

if TYPE_CHECKING:
    from vsrcli.errors import VsrError
    from vsrcli.media.output_plan import EncodeOptions
    from vsrcli.pipeline.job import Job
    from vsrcli.pipeline.options import Options
    from vsrcli.pipeline.preparation import prepare_job
    from vsrcli.pipeline.progress import Progress, Reporter, Result
    from vsrcli.pipeline.run import run_job, upscale
    from vsrcli.system.signals import CancelToken

__all__ = [
    "CancelToken",
    "EncodeOptions",
    "Job",
    "Options",
    "Progress",
    "Reporter",
    "Result",
    "VsrError",
    "__version__",
    "prepare_job",
    "run_job",
    "upscale",
]

_MODULES = {
    "CancelToken": "system.signals",
    "EncodeOptions": "media.output_plan",
    "Job": "pipeline.job",
    "Options": "pipeline.options",
    "Progress": "pipeline.progress",
    "Reporter": "pipeline.progress",
    "Result": "pipeline.progress",
    "VsrError": "errors",
    "prepare_job": "pipeline.preparation",
    "run_job": "pipeline.run",
    "upscale": "pipeline.run",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that ``import vsrcli`` alone loads nothing."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
