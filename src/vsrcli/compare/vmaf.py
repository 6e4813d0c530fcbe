"""VMAF (Netflix, https://github.com/Netflix/vmaf) of a stream of pictures, by ffmpeg's libvmaf.

A picture and its reference go through one pipe, one above the other; ffmpeg takes them apart again. So no two
pipes can wait for each other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np

from vsrcli.errors import FfmpegError
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
        process = self._running()
        try:
            for each in (picture, reference):
                process.stdin.write(np.ascontiguousarray(each).data.cast("B"))  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise self._stopped(process) from error
        self._count += 1

    def finish(self) -> list[float]:
        """Scores of all pairs, 0 to 100, in order."""
        process = self._running()
        status = process.wait()
        try:
            frames = json.loads(self._log.read_text("utf-8"))["frames"]
            scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError) as error:
            raise self._stopped(process) from error
        if status != 0 or len(scores) != self._count:
            raise self._stopped(process)
        return scores

    def _start_in(self, scratch: Path) -> FFmpegProcess:
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
