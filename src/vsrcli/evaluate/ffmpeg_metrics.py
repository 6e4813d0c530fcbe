"""Metrics that ffmpeg's filters measure: VMAF (libvmaf, https://github.com/Netflix/vmaf) and XPSNR.

VMAF v1 is Netflix's model of 2026. NEG is the older model without what sharpening gains; v0.6.1 is that older
model as other tools report it. XPSNR (Helmrich et al. 2020) is a PSNR that weighs errors by their visibility.

An image and its reference go through one pipe, stacked vertically, and ffmpeg splits them again; with two
pipes, the processes could deadlock. One process measures all metrics.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import subprocess
from collections.abc import Collection
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import numpy as np

from vsrcli.errors import FfmpegError
from vsrcli.evaluate.metrics import PSNR_CAP
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.process import FFmpegProcess
from vsrcli.system.files import temporary_folder
from vsrcli.system.processes import run_process

VMAF_MODELS = {"vmaf_v1": "vmaf_v1.0.16_3d0h", "vmaf_neg": "vmaf_v0.6.1neg", "vmaf": "vmaf_v0.6.1"}
"""libvmaf's built-in models, by the metric's key."""

XPSNR = "xpsnr_y"
_V1 = "vmaf_v1"
_V1_SIDES = (160, 216)  # least shorter and longer side: below, libvmaf stops, or even crashes
_TRIAL_SIZE, _TRIAL_TIMEOUT = "320x320", 60  # pixels; seconds
_VMAF_THREADS = 4
_OTHER_FFMPEG = "--ffmpeg or VSR_FFMPEG can name another"


def omitted_metrics(ffmpeg: Ffmpeg, width: int, height: int, *, vmaf: bool = True) -> dict[str, str]:
    """Return the keys of the metrics that cannot be measured, each with its reason.

    Args:
        ffmpeg: the executable that would measure.
        width, height: size of the frames.
        vmaf: look for VMAF's models, too, which takes a fraction of a second the first time.
    """
    omitted: dict[str, str] = {}
    if not has_filter(ffmpeg, "xpsnr"):
        omitted[XPSNR] = f"this ffmpeg has no filter xpsnr, which came with ffmpeg 7.1; {_OTHER_FFMPEG}"
    if not vmaf:
        return omitted
    if not has_filter(ffmpeg, "libvmaf"):
        reason = f"this ffmpeg was built without libvmaf; {_OTHER_FFMPEG}"
        return omitted | dict.fromkeys(VMAF_MODELS, reason)
    if min(width, height) < _V1_SIDES[0] or max(width, height) < _V1_SIDES[1]:
        least, longer = _V1_SIDES
        omitted[_V1] = f"frames of {width}x{height} are too small for it, less than {longer}x{least}"
    for key, model in VMAF_MODELS.items():
        if key not in omitted and not _model_works(ffmpeg.path, model):
            omitted[key] = f"this ffmpeg's libvmaf lacks the model {model}; {_OTHER_FFMPEG}"
    return omitted


def has_filter(ffmpeg: Ffmpeg, name: str) -> bool:
    """Return whether this ffmpeg has the filter ``libvmaf`` or ``xpsnr``."""
    return f"{name} AVOptions" in ffmpeg.help(f"filter={name}")


class FfmpegScorer:
    """Measure pairs of images by ffmpeg's filters; a context manager.

    Images are converted to Y'CbCr 4:2:0, BT.709, limited range, for which the models were made: to 10 bits
    for VMAF v1, as its authors advise, and to 8 bits for the others.

    Args:
        width, height: size of all images.
        rate: frames per second; XPSNR's weights depend on it.
        keys: the metrics to measure, at least one, none of them in :func:`omitted_metrics`.
        ffmpeg: the executable to run.

    Raises:
        FfmpegError: while writing or finishing: ffmpeg stopped.
        OSError: ffmpeg cannot be started.
    """

    def __init__(
        self, width: int, height: int, rate: Fraction, keys: Collection[str], *, ffmpeg: Ffmpeg
    ) -> None:
        self._size, self._rate, self._ffmpeg = (width, height), rate, ffmpeg
        self._groups = _group(keys)
        self._folder = Path()
        self._count = 0
        self._process: FFmpegProcess | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            self._folder = cleanup.enter_context(temporary_folder())
            self._process = FFmpegProcess(self._command(), stdin=True)
            cleanup.callback(self._process.kill)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._cleanup.close()

    def write(self, image: np.ndarray, reference: np.ndarray) -> None:
        """Append a pair of images, each uint8 (height, width, 3)."""
        process = self._require_process()
        try:
            for each in (image, reference):
                process.stdin.write(np.ascontiguousarray(each).data.cast("B"))  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._stop_error(process) from error
        self._count += 1

    def finish(self) -> dict[str, list[float]]:
        """End ffmpeg and return the scores of all pairs in order, by the metric's key."""
        process = self._require_process()
        status = process.wait()
        try:
            scores = {
                key: values
                for keys in self._groups
                for key, values in (_read_xpsnr if XPSNR in keys else _read_vmaf)(
                    self._log(keys), keys
                ).items()
            }
        except (OSError, ValueError, KeyError) as error:
            raise self._stop_error(process) from error
        if status != 0 or any(len(values) != self._count for values in scores.values()):
            raise self._stop_error(process)
        return scores

    def _require_process(self) -> FFmpegProcess:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _log(self, keys: tuple[str, ...]) -> Path:
        return self._folder / f"{keys[0]}.log"

    def _command(self) -> list[str]:
        import ffmpeg as builder  # the package ffmpeg-python

        width, height = self._size
        stacked = builder.input(
            "pipe:0",
            f="rawvideo",
            pix_fmt="rgb24",
            s=f"{width}x{2 * height}",
            r=str(self._rate),
            protocol_whitelist="pipe",
        )
        parts = stacked.video.filter_multi_output("split", 2 * len(self._groups))
        outputs = []
        for index, keys in enumerate(self._groups):
            pixel_format = "yuv420p10" if keys == (_V1,) else "yuv420p"
            image, reference = (
                parts[2 * index + half]
                .filter("crop", width, height, 0, half * height)
                .filter("scale", flags="bicubic+accurate_rnd", out_color_matrix="bt709", out_range="tv")
                .filter("format", pixel_format)
                for half in range(2)
            )
            outputs.append(builder.output(self._measure(keys, image, reference), "-", f="null"))
        line: list[str] = builder.merge_outputs(*outputs).compile(
            cmd=[self._ffmpeg.path, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning"]
        )
        return line

    def _measure(self, keys: tuple[str, ...], image: Any, reference: Any) -> Any:
        """Return the filter that measures ``keys``."""
        import ffmpeg as builder

        log = str(self._log(keys))
        if XPSNR in keys:  # its first input is the reference, whose activity weighs the errors
            return builder.filter([reference, image], "xpsnr", stats_file=log)
        return builder.filter(
            [image, reference],
            "libvmaf",
            log_fmt="json",
            log_path=log,
            model="|".join(f"version={VMAF_MODELS[key]}:name={key}" for key in keys),
            n_threads=min(_VMAF_THREADS, os.cpu_count() or 1),
        )

    def _stop_error(self, process: FFmpegProcess) -> FfmpegError:
        status = process.wait()
        return FfmpegError(
            f"ffmpeg stopped measuring after {self._count} frames ({process.describe_exit(status)}); "
            "try --no-vmaf",
            details=process.stderr_tail(),
        )


def _group(keys: Collection[str]) -> list[tuple[str, ...]]:
    """Return the metrics by filter: VMAF v1 apart, since it takes 10 bits."""
    groups = [(_V1,), tuple(key for key in VMAF_MODELS if key != _V1), (XPSNR,)]
    wanted = [tuple(key for key in group if key in keys) for group in groups]
    return [group for group in wanted if group]


def _read_vmaf(log: Path, keys: tuple[str, ...]) -> dict[str, list[float]]:
    """Read libvmaf's log; scores are 0 to 100."""
    frames = json.loads(log.read_text("utf-8"))["frames"]
    return {key: [float(frame["metrics"][key]) for frame in frames] for key in keys}


def _read_xpsnr(log: Path, keys: tuple[str, ...]) -> dict[str, list[float]]:
    """Read the filter's log: a line a frame, such as ``n:    1  XPSNR y: 36.95  XPSNR u: 35.65 ...``."""
    found = re.findall(r"^n:\s*\d+\s+XPSNR y:\s*(\S+)", log.read_text("utf-8"), re.MULTILINE)
    return {
        XPSNR: [min(value, PSNR_CAP) if math.isfinite(value := float(text)) else PSNR_CAP for text in found]
    }


@lru_cache(maxsize=16)
def _model_works(path: str, model: str) -> bool:
    """Return whether this ffmpeg measures VMAF of one grey frame with a model."""
    graph = f"split[a][b];[a][b]libvmaf=model=version={model}"
    source = ["-f", "lavfi", "-i", f"color=gray:s={_TRIAL_SIZE}:r=25", "-frames:v", "1"]
    command = [path, "-v", "error", "-nostdin", *source, "-vf", f"format=yuv420p,{graph}", "-f", "null", "-"]
    null = subprocess.DEVNULL
    try:
        completed = run_process(command, stdin=null, stdout=null, stderr=null, timeout=_TRIAL_TIMEOUT)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return completed.returncode == 0
