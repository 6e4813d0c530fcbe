"""Score videos against a reference, frame by frame: PSNR-Y, SSIM-Y and VMAF.

VMAF (Netflix, https://github.com/Netflix/vmaf) is measured by ffmpeg's libvmaf. An image and its reference go
through one pipe, stacked vertically, and ffmpeg splits them again; with two pipes, the processes could
deadlock.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Self

import numpy as np

from vsrcli.compare.alignment import AlignedFrames
from vsrcli.compare.inputs import Comparison
from vsrcli.errors import FfmpegError, InputError
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y, ssim_y
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.process import FFmpegProcess
from vsrcli.system.files import temporary_folder

BORDER = 8  # border pixels that PSNR and SSIM leave out, as in `vsr evaluate`
MIN_SIDE = 11 + 2 * BORDER  # pixels; SSIM's window is 11 wide
VMAF_MODEL = "vmaf_v0.6.1"
_VMAF_THREADS = 4
PROTOCOL = (
    f"PSNR-Y and SSIM-Y: BT.601 luma of R'G'B' rounded to 8 bits, {BORDER} pixels at each border left out; "
    f"SSIM with Gaussian windows of 11x11, sigma 1.5. Means over all frames; a frame without any error "
    f"counts as {PSNR_CAP:g} dB. Videos of another size than the reference are scaled to it first."
)
VMAF_PROTOCOL = (
    f"VMAF: libvmaf's model {VMAF_MODEL}, made for 1080p, on 8-bit Y'CbCr 4:2:0, BT.709, limited range; "
    "scores of different sizes are not comparable."
)


@dataclass(frozen=True)
class Metric:
    """A quality metric; more is better.

    Attributes:
        key: its key in JSON.
        name, unit: for people.
        digits: decimals to show.
    """

    key: str
    name: str
    unit: str
    digits: int

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


METRICS = (
    Metric("psnr_y", "PSNR-Y", "dB", 2),
    Metric("ssim_y", "SSIM-Y", "", 4),
    Metric("vmaf", "VMAF", "", 2),
)


@dataclass(frozen=True)
class ScoreSeries:
    """Scores of all videos against the reference, for every frame.

    Attributes:
        times: times of the frames, in seconds since the videos' first frames.
        values: by the metric's key, for each video, for each frame. ``vmaf`` is missing if it was omitted.
        vmaf_omitted: why there is no VMAF; None if there is.
    """

    times: tuple[Fraction, ...]
    values: dict[str, tuple[tuple[float, ...], ...]]
    vmaf_omitted: str | None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that were measured."""
        return tuple(metric for metric in METRICS if metric.key in self.values)

    def mean(self, metric: Metric, video: int) -> float:
        """Return the mean over all frames."""
        return float(np.mean(self.values[metric.key][video]))

    def worst_frame(self, metric: Metric, video: int) -> int:
        """Return the index of the frame with the lowest score."""
        return int(np.argmin(self.values[metric.key][video]))

    def formatted(self, metric: Metric, video: int) -> tuple[str, str]:
        """Return the mean and the lowest score as texts."""
        worst = self.values[metric.key][video][self.worst_frame(metric, video)]
        return f"{self.mean(metric, video):.{metric.digits}f}", f"{worst:.{metric.digits}f}"

    @property
    def protocol(self) -> str:
        """How the metrics were measured, for people."""
        return PROTOCOL if self.vmaf_omitted else f"{PROTOCOL} {VMAF_PROTOCOL}"

    def as_dict(self, comparison: Comparison) -> dict[str, Any]:
        """Return the document of ``--json``, described in docs/compare.md."""
        return {
            "version": 2,
            "reference": None if comparison.reference is None else str(comparison.reference.source.path),
            "size": [comparison.width, comparison.height],
            "frames": len(self.times),
            "times": [round(float(time), 6) for time in self.times],
            "protocol": self.protocol,
            "vmaf_omitted": self.vmaf_omitted,
            "notices": list(comparison.notices),
            "videos": [
                {
                    "path": str(video.source.path),
                    "label": video.label,
                    "scaling": video.scaling or None,
                    **{metric.key: self._summary(metric, index) for metric in self.metrics},
                }
                for index, video in enumerate(comparison.videos)
            ],
        }

    def _summary(self, metric: Metric, video: int) -> dict[str, Any]:
        values, worst = self.values[metric.key][video], self.worst_frame(metric, video)
        return {
            "mean": self.mean(metric, video),
            "worst": values[worst],
            "worst_frame": worst,
            "frames": list(values),
        }


class Scorer:
    """Score aligned frames against the reference; a context manager.

    Args:
        comparison: with a reference.
        vmaf: measure VMAF.
        on_notice: called with a message if VMAF cannot be measured.
        ffmpeg: the executable that measures VMAF.

    Raises:
        InputError: frames too small to be scored.
    """

    def __init__(
        self,
        comparison: Comparison,
        *,
        vmaf: bool = True,
        on_notice: Callable[[str], None] = lambda text: None,
        ffmpeg: Ffmpeg,
    ) -> None:
        if min(comparison.width, comparison.height) < MIN_SIDE:
            raise InputError(
                f"{comparison.width}x{comparison.height} pixels are too few to score: "
                f"at least {MIN_SIDE}x{MIN_SIDE}"
            )
        self._count, self._on_notice = len(comparison.videos), on_notice
        self._vmaf_omitted: str | None = None if vmaf else "it was not requested (--no-vmaf)"
        self._open_vmaf = lambda: VmafScorer(comparison.width, comparison.height, ffmpeg=ffmpeg)
        self._vmaf_scorers: list[VmafScorer] = []
        self._times: list[Fraction] = []
        self._scores: list[list[tuple[float, float]]] = []  # PSNR-Y and SSIM-Y of each video, by frame
        self._stack = ExitStack()
        if vmaf and not vmaf_available(ffmpeg):
            self._omit_vmaf("this ffmpeg was built without libvmaf; --ffmpeg or VSR_FFMPEG can name another")

    def __enter__(self) -> Self:
        self._threads = self._stack.enter_context(ThreadPoolExecutor(2 * self._count, "scores"))
        if self._vmaf_omitted is None:
            try:
                for _ in range(self._count):
                    self._vmaf_scorers.append(self._stack.enter_context(self._open_vmaf()))
            except OSError as error:
                self._omit_vmaf(f"libvmaf cannot be started ({error})")
            except BaseException:
                self._stack.close()
                raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def add(self, aligned: AlignedFrames) -> list[tuple[float, float]]:
        """Score aligned frames, whose images are uint8; return PSNR-Y and SSIM-Y of each video."""
        *images, truth = aligned.images
        jobs = [
            [self._threads.submit(metric, image, truth, BORDER) for metric in (psnr_y, ssim_y)]
            for image in images
        ]
        if self._vmaf_omitted is None:
            try:
                for vmaf, image in zip(self._vmaf_scorers, images, strict=True):
                    vmaf.write(image, truth)
            except FfmpegError as error:
                self._omit_vmaf(_describe_failure(error))
        frame_scores = [(min(psnr.result(), PSNR_CAP), ssim.result()) for psnr, ssim in jobs]
        self._times.append(aligned.time)
        self._scores.append(frame_scores)
        return frame_scores

    def finish(self) -> ScoreSeries:
        """Return all scores; call after the last frame."""
        by_video = list(zip(*self._scores, strict=True)) or [()] * self._count
        values = {
            key: tuple(tuple(score[index] for score in scores) for scores in by_video)
            for index, key in enumerate(("psnr_y", "ssim_y"))
        }
        if self._vmaf_omitted is None:
            try:
                values["vmaf"] = tuple(tuple(vmaf.finish()) for vmaf in self._vmaf_scorers)
            except FfmpegError as error:
                self._omit_vmaf(_describe_failure(error))
        return ScoreSeries(tuple(self._times), values, self._vmaf_omitted)

    def _omit_vmaf(self, reason: str) -> None:
        self._vmaf_omitted = reason
        self._on_notice(f"VMAF is left out: {reason}")
        for vmaf in self._vmaf_scorers:
            with contextlib.suppress(OSError):
                vmaf.__exit__(None, None, None)


def vmaf_available(ffmpeg: Ffmpeg) -> bool:
    """Return whether this ffmpeg has libvmaf."""
    return "libvmaf AVOptions" in ffmpeg.help("filter=libvmaf")


class VmafScorer:
    """Measure VMAF of pairs of images; a context manager.

    Images are converted to 8-bit Y'CbCr 4:2:0, BT.709, limited range, for which the model was made.

    Args:
        width, height: size of all images.
        ffmpeg: the executable to run, see :func:`vmaf_available`.

    Raises:
        FfmpegError: while writing or finishing: ffmpeg stopped.
        OSError: ffmpeg cannot be started.
    """

    def __init__(self, width: int, height: int, *, ffmpeg: Ffmpeg) -> None:
        self._size, self._ffmpeg = (width, height), ffmpeg
        self._log = Path()
        self._count = 0
        self._process: FFmpegProcess | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            self._log = cleanup.enter_context(temporary_folder()) / "vmaf.json"
            self._process = FFmpegProcess(self._command(self._log), stdin=True)
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

    def finish(self) -> list[float]:
        """End ffmpeg and return the scores of all pairs, 0 to 100, in order."""
        process = self._require_process()
        status = process.wait()
        try:
            frames = json.loads(self._log.read_text("utf-8"))["frames"]
            scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError) as error:
            raise self._stop_error(process) from error
        if status != 0 or len(scores) != self._count:
            raise self._stop_error(process)
        return scores

    def _require_process(self) -> FFmpegProcess:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _command(self, log: Path) -> list[str]:
        import ffmpeg as builder  # the package ffmpeg-python

        width, height = self._size
        stacked = builder.input(
            "pipe:0",
            f="rawvideo",
            pix_fmt="rgb24",
            s=f"{width}x{2 * height}",
            r=25,
            protocol_whitelist="pipe",
        )
        parts = stacked.video.filter_multi_output("split")
        image, reference = (
            parts[number]
            .filter("crop", width, height, 0, number * height)
            .filter("scale", flags="bicubic+accurate_rnd", out_color_matrix="bt709", out_range="tv")
            .filter("format", "yuv420p")
            for number in range(2)
        )
        threads = min(_VMAF_THREADS, os.cpu_count() or 1)
        scored = builder.filter(
            [image, reference],
            "libvmaf",
            log_fmt="json",
            log_path=str(log),
            model=f"version={VMAF_MODEL}",
            n_threads=threads,
        )
        line: list[str] = builder.output(scored, "-", f="null").compile(
            cmd=[self._ffmpeg.path, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning"]
        )
        return line

    def _stop_error(self, process: FFmpegProcess) -> FfmpegError:
        status = process.wait()
        return FfmpegError(
            f"libvmaf stopped after {self._count} frames ({process.describe_exit(status)}); try --no-vmaf",
            details=process.stderr_tail(),
        )


def _describe_failure(error: FfmpegError) -> str:
    last = error.details.splitlines()[-1:] or [""]
    return f"{error}{': ' if last[0] else ''}{last[0]}"
