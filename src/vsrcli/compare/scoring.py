"""How near films are to a reference, frame by frame.

VMAF (Netflix, https://github.com/Netflix/vmaf) of a stream of pictures, by ffmpeg's libvmaf.

A picture and its reference go through one pipe, one above the other; ffmpeg takes them apart again. So no two
pipes can wait for each other.
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
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsrcli.compare.alignment import AlignedFrames
from vsrcli.compare.inputs import Comparison
from vsrcli.errors import FfmpegError, InputError
from vsrcli.evaluate.metrics import PSNR_CAP, psnr_y, ssim_y
from vsrcli.media.encoder import FFmpegWriter
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.process import FFmpegProcess

MODEL = "vmaf_v0.6.1"
_THREADS = 4


def available(ffmpeg: Ffmpeg) -> bool:
    """Whether this ffmpeg can measure VMAF."""
    return "libvmaf AVOptions" in ffmpeg.help("filter=libvmaf")


class Vmaf(FFmpegWriter):
    """A context manager that takes pairs of pictures; ``finish`` gives their scores.

    Pictures become 8-bit Y'CbCr 4:2:0, BT.709, limited range, for which the model was made.

    Args:
        width, height: of all pictures.
        ffmpeg: the executable to run, see :func:`available`.

    Raises:
        FfmpegError: while writing or finishing: ffmpeg stopped.
        OSError: it cannot be started.
    """

    def __init__(self, width: int, height: int, *, ffmpeg: Ffmpeg) -> None:
        super().__init__()
        self._size, self._ffmpeg = (width, height), ffmpeg
        self._log = Path()
        self._count = 0

    def write(self, picture: np.ndarray, reference: np.ndarray) -> None:
        """Append a pair, each uint8 (height, width, 3)."""
        process = self._require_process()
        try:
            for each in (picture, reference):
                process.stdin.write(np.ascontiguousarray(each).data.cast("B"))  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._stopped(process) from error
        self._count += 1

    def finish(self) -> list[float]:
        """Scores of all pairs, 0 to 100, in order."""
        process = self._require_process()
        status = process.wait()
        try:
            frames = json.loads(self._log.read_text("utf-8"))["frames"]
            scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError) as error:
            raise self._stopped(process) from error
        if status != 0 or len(scores) != self._count:
            raise self._stopped(process)
        return scores

    def _start_ffmpeg(self, scratch: Path) -> FFmpegProcess:
        self._log = scratch / "vmaf.json"
        return FFmpegProcess(self._command(self._log), stdin=True)

    def _command(self, log: Path) -> list[str]:
        import ffmpeg as builder  # the package ffmpeg-python

        width, height = self._size
        both = builder.input(
            "pipe:0",
            f="rawvideo",
            pix_fmt="rgb24",
            s=f"{width}x{2 * height}",
            r=25,
            protocol_whitelist="pipe",
        )
        parts = both.video.filter_multi_output("split")
        picture, reference = (
            parts[number]
            .filter("crop", width, height, 0, number * height)
            .filter("scale", flags="bicubic+accurate_rnd", out_color_matrix="bt709", out_range="tv")
            .filter("format", "yuv420p")
            for number in range(2)
        )
        threads = min(_THREADS, os.cpu_count() or 1)
        scored = builder.filter(
            [picture, reference],
            "libvmaf",
            log_fmt="json",
            log_path=str(log),
            model=f"version={MODEL}",
            n_threads=threads,
        )
        line: list[str] = builder.output(scored, "-", f="null").compile(
            cmd=[self._ffmpeg.path, "-nostdin", "-hide_banner", "-nostats", "-loglevel", "level+warning"]
        )
        return line

    def _stopped(self, process: FFmpegProcess) -> FfmpegError:
        status = process.wait()
        return FfmpegError(
            f"libvmaf stopped after {self._count} pictures ({process.describe_exit(status)}); try --no-vmaf",
            details=process.stderr_tail(),
        )


CROP = 8  # border pixels that PSNR and SSIM leave out, as in `vsr evaluate`
SMALLEST = 11 + 2 * CROP  # pixels of a side; SSIM's window is 11 wide
PROTOCOL = (
    f"PSNR-Y and SSIM-Y: BT.601 luma of R'G'B' rounded to 8 bits, {CROP} pixels at each border left out; "
    f"SSIM with Gaussian windows of 11x11, sigma 1.5. Means over all frames; a frame without any error "
    f"counts as {PSNR_CAP:g} dB. Films of another size than the reference are scaled to it first."
)
VMAF_PROTOCOL = (
    f"VMAF: libvmaf's model {MODEL}, made for 1080p, on 8-bit Y'CbCr 4:2:0, BT.709, limited range; "
    "figures of different sizes do not compare."
)


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        key: in JSON.
        name, unit: for people.
        digits: behind the point.
    """

    key: str
    name: str
    unit: str
    digits: int


METRICS = (
    Metric("psnr_y", "PSNR-Y", "dB", 2),
    Metric("ssim_y", "SSIM-Y", "", 4),
    Metric("vmaf", "VMAF", "", 2),
)


@dataclass(frozen=True)
class ScoreSeries:
    """Of all films against the reference; more is better in each.

    Attributes:
        times: of the frames, in seconds since the films' first pictures.
        values: by metric's key, for each film, for each frame. ``vmaf`` is missing if it was left out.
        left_out: why there is no VMAF; None if there is.
    """

    times: tuple[Fraction, ...]
    values: dict[str, tuple[tuple[float, ...], ...]]
    left_out: str | None

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What was measured."""
        return tuple(metric for metric in METRICS if metric.key in self.values)

    def mean(self, metric: Metric, film: int) -> float:
        """Over all frames."""
        return float(np.mean(self.values[metric.key][film]))

    def worst(self, metric: Metric, film: int) -> int:
        """Number of the frame with the lowest figure."""
        return int(np.argmin(self.values[metric.key][film]))

    def as_dict(self, line: Comparison) -> dict[str, Any]:
        """For ``--json``; docs/compare.md describes it."""
        return {
            "version": 1,
            "reference": None if line.reference is None else str(line.reference.source.path),
            "size": [line.width, line.height],
            "frames": len(self.times),
            "times": [round(float(time), 6) for time in self.times],
            "protocol": PROTOCOL if self.left_out else f"{PROTOCOL} {VMAF_PROTOCOL}",
            "vmaf_left_out": self.left_out,
            "notices": list(line.notices),
            "films": [
                {
                    "path": str(film.source.path),
                    "label": film.label,
                    "scaling": film.scaling or None,
                    **{metric.key: self._summary(metric, number) for metric in self.metrics},
                }
                for number, film in enumerate(line.films)
            ],
        }

    def _summary(self, metric: Metric, film: int) -> dict[str, Any]:
        values, worst = self.values[metric.key][film], self.worst(metric, film)
        return {
            "mean": self.mean(metric, film),
            "worst": values[worst],
            "worst_frame": worst,
            "frames": list(values),
        }


class Scorer:
    """A context manager that takes moments one after the other; ``finish`` gives the figures.

    Args:
        line: with a reference.
        vmaf: whether VMAF is wanted.
        on_notice: told if it cannot be had.
        ffmpeg: the executable that measures it.

    Raises:
        InputError: pictures too small to be scored.
    """

    def __init__(
        self,
        line: Comparison,
        *,
        vmaf: bool = True,
        on_notice: Callable[[str], None] = lambda text: None,
        ffmpeg: Ffmpeg,
    ) -> None:
        if min(line.width, line.height) < SMALLEST:
            raise InputError(
                f"{line.width}x{line.height} pixels are too few to score: at least {SMALLEST}x{SMALLEST}"
            )
        self._count, self._tell = len(line.films), on_notice
        self._left_out: str | None = None if vmaf else "it was not asked for (--no-vmaf)"
        self._open: Callable[[], Vmaf] = lambda: Vmaf(line.width, line.height, ffmpeg=ffmpeg)
        self._vmafs: list[Vmaf] = []
        self._times: list[Fraction] = []
        self._scores: list[list[tuple[float, float]]] = [[] for _ in line.films]
        self._stack = ExitStack()
        if vmaf and not available(ffmpeg):
            self._leave_out("this ffmpeg was built without libvmaf; --ffmpeg or VSR_FFMPEG can name another")

    def __enter__(self) -> Self:
        self._threads = self._stack.enter_context(ThreadPoolExecutor(2 * self._count, "figures"))
        if self._left_out is None:
            try:
                for _ in range(self._count):
                    self._vmafs.append(self._stack.enter_context(self._open()))
            except OSError as error:
                self._leave_out(f"libvmaf cannot be started ({error})")
            except BaseException:
                self._stack.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, moment: AlignedFrames) -> list[tuple[float, float]]:
        """Score a moment: PSNR-Y and SSIM-Y of each film there. Its pictures are uint8."""
        *films, truth = moment.pictures
        jobs = [
            (self._threads.submit(psnr_y, film, truth, CROP), self._threads.submit(ssim_y, film, truth, CROP))
            for film in films
        ]
        if self._left_out is None:
            try:
                for vmaf, film in zip(self._vmafs, films, strict=True):
                    vmaf.write(film, truth)
            except FfmpegError as error:
                self._leave_out(_said(error))
        found = [(min(psnr.result(), PSNR_CAP), ssim.result()) for psnr, ssim in jobs]
        self._times.append(moment.time)
        for scores, new in zip(self._scores, found, strict=True):
            scores.append(new)
        return found

    def finish(self) -> ScoreSeries:
        """After the last moment."""
        values = {
            "psnr_y": tuple(tuple(psnr for psnr, _ in scores) for scores in self._scores),
            "ssim_y": tuple(tuple(ssim for _, ssim in scores) for scores in self._scores),
        }
        if self._left_out is None:
            try:
                values["vmaf"] = tuple(tuple(vmaf.finish()) for vmaf in self._vmafs)
            except FfmpegError as error:
                self._leave_out(_said(error))
        return ScoreSeries(tuple(self._times), values, self._left_out)

    def _leave_out(self, why: str) -> None:
        self._left_out = why
        self._tell(f"VMAF is left out: {why}")
        for vmaf in self._vmafs:
            with contextlib.suppress(OSError):
                vmaf.__exit__(None, None, None)


def _said(error: FfmpegError) -> str:
    last = error.details.splitlines()[-1:] or [""]
    return f"{error}{': ' if last[0] else ''}{last[0]}"
