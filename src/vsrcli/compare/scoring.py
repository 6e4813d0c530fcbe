"""Score videos against a reference, frame by frame: PSNR-Y, SSIM-Y, XPSNR-Y and VMAF."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Self

import numpy as np

from vsrcli.compare.alignment import AlignedFrames
from vsrcli.compare.inputs import Comparison
from vsrcli.errors import FfmpegError, InputError
from vsrcli.evaluate.ffmpeg_metrics import VMAF_MODELS, XPSNR, FfmpegScorer, omitted_metrics
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y, ssim_y
from vsrcli.media.ffmpeg import Ffmpeg

BORDER = 8  # border pixels that PSNR and SSIM leave out, as in `vsr evaluate`
MIN_SIDE = 11 + 2 * BORDER  # pixels; SSIM's window is 11 wide
_DEFAULT_RATE = Fraction(25)  # frames per second of videos that state none
PROTOCOL = (
    f"PSNR-Y and SSIM-Y: BT.601 luma of R'G'B' rounded to 8 bits, {BORDER} pixels at each border left out; "
    f"SSIM with Gaussian windows of 11x11, sigma 1.5. Means over all frames; a frame without any error "
    f"counts as {PSNR_CAP:g} dB. Videos of another size than the reference are scaled to it first."
)
XPSNR_PROTOCOL = (
    "XPSNR-Y: ffmpeg's filter xpsnr, luma of 8-bit Y'CbCr 4:2:0, BT.709, limited range, capped likewise."
)
VMAF_PROTOCOL = (
    "VMAF: libvmaf's models {models}, made for 1080p seen from three heights away, on Y'CbCr 4:2:0, BT.709, "
    "limited range, of 8 bits, for v1 of 10; scores of different sizes are not comparable."
)


@dataclass(frozen=True)
class Metric:
    """A quality metric; more is better.

    Attributes:
        key: its key in JSON.
        name, unit: for people.
        digits: decimals to show.
        maximum: of all scores.
    """

    key: str
    name: str
    unit: str
    digits: int
    maximum: float

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name}, {self.unit}" if self.unit else self.name


METRICS = (
    Metric("psnr_y", "PSNR-Y", "dB", 2, PSNR_CAP),
    Metric("ssim_y", "SSIM-Y", "", 4, 1),
    Metric(XPSNR, "XPSNR-Y", "dB", 2, PSNR_CAP),
    Metric("vmaf_v1", "VMAF v1", "", 2, 100),
    Metric("vmaf_neg", "VMAF NEG", "", 2, 100),
    Metric("vmaf", "VMAF 0.6.1", "", 2, 100),
)


@dataclass(frozen=True)
class ScoreSeries:
    """Scores of all videos against the reference, for every frame.

    Attributes:
        times: times of the frames, in seconds since the videos' first frames.
        values: by the metric's key, for each video, for each frame, without the metrics that were omitted.
        omitted: keys of the metrics that were not measured, each with its reason.
    """

    times: tuple[Fraction, ...]
    values: dict[str, tuple[tuple[float, ...], ...]]
    omitted: Mapping[str, str]

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
        models = ", ".join(model for key, model in VMAF_MODELS.items() if key in self.values)
        parts = [PROTOCOL, XPSNR_PROTOCOL if XPSNR in self.values else ""]
        parts.append(VMAF_PROTOCOL.format(models=models) if models else "")
        return " ".join(part for part in parts if part)

    @property
    def omissions(self) -> tuple[str, ...]:
        """What was left out and why, for people: a text for each reason."""
        return describe_omissions(self.omitted)

    def as_dict(self, comparison: Comparison) -> dict[str, Any]:
        """Return the document of ``--json``, described in docs/compare.md."""
        return {
            "version": 3,
            "reference": None if comparison.reference is None else str(comparison.reference.source.path),
            "size": [comparison.width, comparison.height],
            "frames": len(self.times),
            "times": [round(float(time), 6) for time in self.times],
            "protocol": self.protocol,
            "omitted": dict(self.omitted),
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
        on_notice: called with a message for each reason why a metric cannot be measured.
        ffmpeg: the executable that measures VMAF and XPSNR.

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
        width, height = comparison.width, comparison.height
        if min(width, height) < MIN_SIDE:
            raise InputError(f"{width}x{height} pixels are too few to score: at least {MIN_SIDE}x{MIN_SIDE}")
        self._count, self._on_notice = len(comparison.videos), on_notice
        not_requested = {} if vmaf else dict.fromkeys(VMAF_MODELS, "not requested (--no-vmaf)")
        impossible = omitted_metrics(ffmpeg, width, height, vmaf=vmaf)
        self._omitted = not_requested | impossible
        for text in describe_omissions(impossible):
            on_notice(text)
        self._external_keys = [key for key in (*VMAF_MODELS, XPSNR) if key not in self._omitted]
        rate = comparison.videos[0].source.video.frame_rate or _DEFAULT_RATE
        self._open_external = lambda: FfmpegScorer(width, height, rate, self._external_keys, ffmpeg=ffmpeg)
        self._external: list[FfmpegScorer] = []  # one for each video
        self._times: list[Fraction] = []
        self._scores: list[list[tuple[float, float]]] = []  # PSNR-Y and SSIM-Y of each video, by frame
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._threads = self._stack.enter_context(ThreadPoolExecutor(2 * self._count, "scores"))
        if self._external_keys:
            try:
                for _ in range(self._count):
                    self._external.append(self._stack.enter_context(self._open_external()))
            except OSError as error:
                self._omit_external(f"ffmpeg cannot be started ({error})")
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
        try:
            for external, image in zip(self._external, images, strict=False):  # none once they stopped
                external.write(image, truth)
        except FfmpegError as error:
            self._omit_external(_describe_failure(error))
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
        try:
            measured = [external.finish() for external in self._external]
        except FfmpegError as error:
            self._omit_external(_describe_failure(error))
        else:
            values |= {
                key: tuple(tuple(scores[key]) for scores in measured)
                for key in self._external_keys
                if measured
            }
        return ScoreSeries(tuple(self._times), values, self._omitted)

    def _omit_external(self, reason: str) -> None:
        omitted = dict.fromkeys(self._external_keys, reason)
        self._omitted |= omitted
        for text in describe_omissions(omitted):
            self._on_notice(text)
        for external in self._external:
            with contextlib.suppress(OSError):
                external.__exit__(None, None, None)
        self._external.clear()


def describe_omissions(omitted: Mapping[str, str]) -> tuple[str, ...]:
    """Return a text for each reason, such as ``VMAF v1 is left out: ...``."""
    names: dict[str, list[str]] = {}
    for metric in METRICS:
        if metric.key in omitted:
            names.setdefault(omitted[metric.key], []).append(metric.name)
    return tuple(
        f"{' and '.join(filter(None, (', '.join(left_out[:-1]), left_out[-1])))} "
        f"{'is' if len(left_out) == 1 else 'are'} left out: {reason}"
        for reason, left_out in names.items()
    )


def _describe_failure(error: FfmpegError) -> str:
    last = error.details.splitlines()[-1:] or [""]
    return f"{error}{': ' if last[0] else ''}{last[0]}"
