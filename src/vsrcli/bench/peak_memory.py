"""How much memory a process and all that it starts hold at most.

A film to measure with, made by ffmpeg's own test picture.
"""

from __future__ import annotations

import contextlib
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from vsrcli.errors import FfmpegError
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg

SAMPLING_INTERVAL = 0.02  # seconds between looks; what is held for less may be missed


class PeakMemory:
    """A context manager that watches a process and its descendants from a thread of its own.

    Memory is the resident set (RSS), as ``ps`` and the kernel's own killer count it; what several processes
    share is counted once for each. A child that has been forked and not become its program yet is no process
    of its own: all that it shows is its parent's.

    Args:
        pid: of the process; by default this one.

    Attributes:
        total: bytes that all of them held together, at their peak.
        process: bytes that the process itself held at its own peak.
        children: the same of its descendants together.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.total = self.process = self.children = 0
        self._root = psutil.Process(pid)
        self._started: set[psutil.Process] = set()  # children that have become their programs
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self._sample_once()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self._sample_once()

    def _sample_until_stopped(self) -> None:
        children, listed_at = [], 0.0
        while not self._stopped.wait(SAMPLING_INTERVAL):
            if time.monotonic() - listed_at > 5 * SAMPLING_INTERVAL:  # finding them reads all of /proc
                with contextlib.suppress(psutil.Error):
                    children = self._root.children(recursive=True)
                listed_at = time.monotonic()
            self._record(children)

    def _sample_once(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._record(self._root.children(recursive=True))

    def _record(self, children: list[psutil.Process]) -> None:
        process_bytes, children_bytes = (
            _resident_bytes(self._root),
            sum(_resident_bytes(child) for child in children if self._has_started(child)),
        )
        self.process, self.children = max(self.process, process_bytes), max(self.children, children_bytes)
        self.total = max(self.total, process_bytes + children_bytes)

    def _has_started(self, child: psutil.Process) -> bool:
        if child not in self._started:
            try:
                parent = child.parent()
                if parent is None or child.cmdline() == parent.cmdline():
                    return False
            except psutil.Error:
                return False
            self._started.add(child)
        return True


def _resident_bytes(process: psutil.Process) -> int:
    """Bytes; 0 once it is gone."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def generate_test_clip(
    path: Path, width: int, height: int, frames: int, *, rate: int = 30, ffmpeg: Ffmpeg | None = None
) -> Path:
    """Write a film of a test picture that moves in every frame, without sound, and return its path.

    Args:
        path: a ``.mp4`` or ``.mkv`` file.
        width, height, frames, rate: of the film; an odd side makes it 4:4:4.
        ffmpeg: the executable; by default the one that films are upscaled with.

    Raises:
        FfmpegError: ffmpeg cannot make it.
    """
    program = ffmpeg or find_ffmpeg(None)
    test_source = f"testsrc2=s={width}x{height}:r={rate},format=yuv444p,noise=alls=12:allf=t"
    pix_fmt = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    command = [
        program.path,
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-f",
        "lavfi",
        "-i",
        test_source,
        "-frames:v",
        str(frames),
    ]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", pix_fmt, str(path)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise FfmpegError(
            f"{path}: ffmpeg cannot make a film of {width}x{height}; choose another --size, "
            "or see `vsr doctor`",
            details=process.stderr,
        )
    return path
