"""vsr: temporal video super-resolution that keeps every frame, sound and colour.

>>> from vsrcli import Options, upscale
>>> upscale("in.mp4", "out.mp4", Options(scale=4))  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vsrcli.errors import VsrError
    from vsrcli.media.output_plan import EncodeOptions
    from vsrcli.pipeline.job import Job, Options, prepare_job
    from vsrcli.pipeline.run import Progress, Result, run_job, upscale

__version__ = "0.1.0"
__all__ = [
    "EncodeOptions",
    "Job",
    "Options",
    "Progress",
    "Result",
    "VsrError",
    "prepare_job",
    "run_job",
    "upscale",
]

_HOMES = {
    "EncodeOptions": "media.plan",
    "Job": "job",
    "Options": "job",
    "Progress": "pipeline",
    "Result": "pipeline",
    "VsrError": "errors",
    "prepare": "job",
    "run": "pipeline",
    "upscale": "pipeline",
}


def __getattr__(name: str) -> Any:
    """Public names are imported when first used: ``import vsrcli`` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
