"""What a film's pictures and their coding depend on. If any of it has changed, old segments do not fit."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from vsrcli.inference.selection import ModelChoice
from vsrcli.media.segments import segment_encoder_options
from vsrcli.media.types import ImageSequence, Source
from vsrcli.pipeline.job import Job

_BLOCK = 2**16
_BLOCKS = 16  # spread over the file, the first and the last among them
# Where a film is computed, and what is done with it when it is ready, changes none of its pictures.
_ELSEWHERE = ("model", "device", "engine", "max_memory", "ffmpeg", "segment", "resume", "encode")


def fingerprint(job: Job) -> dict[str, str]:
    """Names and values; equal for runs whose segments fit together.

    Raises:
        OSError: the source cannot be read.
    """
    plan, weights = job.plan, job.model.weights
    size, changed, content = _of_files(job.source)
    chosen = {field.name: getattr(job.options, field.name) for field in fields(job.options)}
    found: dict[str, Any] = {
        "the input's size": size,
        "the input's time": changed,
        "the input": content,
        "the version of vsr": import_module("vsrcli").__version__,  # whose names lead back to this file
        "the version of ffmpeg": job.ffmpeg.version,
        "the backend": os.environ.get("KERAS_BACKEND", "") if weights else "",
        "the weights": _weights(job.model),
        "the segment length": job.options.segment,
        "the container": plan.container.muxer,
        "the codec": f"{plan.codec} {plan.pix_fmt}",
        "the size": f"{plan.width}x{plan.height}, pixels {plan.sample_aspect_ratio}",
        **{f"--{name}": value for name, value in chosen.items() if name not in _ELSEWHERE},
        "--end": job.end,
        **{f"the encoder's {key}": value for key, value in segment_encoder_options(plan, job.ffmpeg)},
    }
    return {name: str(value) for name, value in found.items()}


def _of_files(source: Source) -> tuple[int, str, str]:
    """Bytes, times and samples of a film; of pictures all together, their names included."""
    if not isinstance(source, ImageSequence):
        stat = source.path.stat()
        return stat.st_size, str(stat.st_mtime_ns), sampled(source.path)
    size, times, names = 0, hashlib.sha256(), hashlib.sha256()
    for file in source.files:
        stat = file.stat()
        size += stat.st_size
        times.update(f"{stat.st_mtime_ns} ".encode())
        names.update(os.fsencode(file.name) + f"\0{stat.st_size}\0".encode())
    for number in range(_BLOCKS):
        names.update(sampled(source.files[(len(source.files) - 1) * number // (_BLOCKS - 1)]).encode())
    return size, times.hexdigest(), names.hexdigest()


def _weights(model: ModelChoice) -> str:
    own = f"{model.weights.card['sha256'] if model.weights else model.name} x{model.scale}"
    return own if model.then is None else f"{own}, then {_weights(model.then)}"


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of what differs."""
    names = [*before, *(name for name in now if name not in before)]
    return [name for name in names if before.get(name) != now.get(name)]


def sampled(path: Path) -> str:
    """sha256 of blocks spread over a file: the whole of a film would take longer than it is worth."""
    digest, size = hashlib.sha256(), path.stat().st_size
    with path.open("rb") as file:
        for number in range(_BLOCKS):
            file.seek(max(size - _BLOCK, 0) * number // (_BLOCKS - 1))
            digest.update(file.read(_BLOCK))
    return digest.hexdigest()
