"""VMAF (Netflix, https://github.com/Netflix/vmaf) of a stream of pictures, by ffmpeg's libvmaf.

A picture and its reference go through one pipe, one above the other; ffmpeg takes them apart again. So no two
pipes can wait for each other.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from vsrcli.errors import FfmpegError
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.process import Process

MODEL = "vmaf_v0.6.1"
_THREADS = 4


def available(ffmpeg: Ffmpeg) -> bool:
    """Whether this ffmpeg can measure VMAF."""
    return "libvmaf AVOptions" in ffmpeg.help("filter=libvmaf")


class Vmaf:
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
        self._size, self._ffmpeg = (width, height), ffmpeg
        self._folder: Path | None = None
        self._process: Process | None = None
        self._count = 0

    def __enter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="vsr-vmaf-"))
        try:
            self._process = Process(self._command(self._folder / "vmaf.json"), stdin=True)
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

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
        assert self._folder is not None
        try:
            frames = json.loads((self._folder / "vmaf.json").read_text("utf-8"))["frames"]
            scores = [float(frame["metrics"]["vmaf"]) for frame in frames]
        except (OSError, ValueError, KeyError) as error:
            raise self._stopped(process) from error
        if status != 0 or len(scores) != self._count:
            raise self._stopped(process)
        return scores

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

    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _stopped(self, process: Process) -> FfmpegError:
        status = process.wait()
        return FfmpegError(
            f"libvmaf stopped after {self._count} pictures ({process.ending(status)}); try --no-vmaf",
            details=process.tail(),
        )

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
