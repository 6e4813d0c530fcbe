"""What a finished job is told with: facts of its film, and the moments whose frames lie beside it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsrcli.web.records import JobRecord, Upload
from vsrcli.web.settings import Settings
from vsrcli.web.subprocesses import ChildTimeoutError, inspect_file, python, run_json

_SECONDS = 300.0  # that looking at a result, and making its previews, may take


def build_result(
    job: JobRecord, film: Upload, settings: Settings, *, seconds: float, unwanted: Callable[[], bool]
) -> dict[str, Any]:
    """Look at a job's film in a process of its own, which also writes the frames to compare.

    Args:
        job: whose film is there.
        film: that it was made from.
        settings: of the server.
        seconds: that the conversion took.
        unwanted: asked now and then; nothing is looked at any more where it says so.

    Returns:
        The job's ``result``, see docs/web.md.

    Raises:
        Unwanted: it was said so.
    """
    source, target = settings.film(film.id, film.suffix), settings.result(job.id, job.suffix)
    paths = [str(path) for path in (source, target, target.parent)]
    found: list[dict[str, Any]] = []
    with contextlib.suppress(
        ChildTimeoutError
    ):  # then there are no frames to look at; the film is there all the same
        found = run_json(
            python("vsrcli.web.previews", *paths, str(settings.previews)),
            seconds=_SECONDS,
            memory=settings.check_memory,
            unwanted=unwanted,
        )
    facts: dict[str, Any] = inspect_file(found, "film") or dict(job.result or {}) | {"frames": job.total}
    moments = inspect_file(found, "moments") or []
    width, height = facts["width"], facts["height"]
    return {
        "name": f"{Path(film.name).stem}-{width}x{height}{job.suffix}",
        "size": target.stat().st_size,
        "width": width,
        "height": height,
        "frames": facts["frames"],
        "seconds": round(seconds, 1),
        "previews": len(moments),
        "moments": moments,
    }
