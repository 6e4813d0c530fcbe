"""Peak memory of a process and its descendants, and a generated test clip to measure it with."""

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
from vsrcli.system.processes import run_process

SAMPLING_INTERVAL = 0.02  # seconds; shorter peaks may be missed


class PeakMemory:
    """A context manager that samples the memory of a process and its descendants in a thread.

    Memory is the resident set (RSS), as ``ps`` and the kernel's OOM killer count it; memory that processes
    share counts once for each. A forked child counts only after its exec: before, its pages are its parent's.

    Args:
        pid: of the process; None: this one.

    Attributes:
        total: peak bytes of all of them together.
        process: peak bytes of the process itself.
        children: peak bytes of its descendants together.
    """

    def __init__(self, pid: int | None = None) -> None:
        self.total = self.process = self.children = 0
        self._root = psutil.Process(pid)
        self._started: set[psutil.Process] = set()  # children after their exec
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
            if time.monotonic() - listed_at > 5 * SAMPLING_INTERVAL:  # listing reads all of /proc
                with contextlib.suppress(psutil.Error):
                    children = self._root.children(recursive=True)
                listed_at = time.monotonic()
            self._record(children)

    def _sample_once(self) -> None:
        with contextlib.suppress(psutil.Error):
            self._record(self._root.children(recursive=True))

    def _record(self, children: list[psutil.Process]) -> None:
        process_bytes = _resident_bytes(self._root)
        children_bytes = sum(_resident_bytes(child) for child in children if self._has_started(child))
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
    """Return the RSS in bytes; 0 if the process has exited."""
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def generate_test_clip(
    path: Path, width: int, height: int, frames: int, *, rate: int = 30, ffmpeg: Ffmpeg | None = None
) -> Path:
    """Write a video of ffmpeg's test pattern, moving in every frame, without audio; return its path.

    Args:
        path: a ``.mp4`` or ``.mkv`` file.
        width, height, frames, rate: of the video; an odd side makes it 4:4:4.
        ffmpeg: the executable; None: the default one.

    Raises:
        FfmpegError: ffmpeg cannot write it.
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
    process = run_process(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if process.returncode:
        raise FfmpegError(
            f"{path}: ffmpeg cannot write a video of {width}x{height}; choose another --size, "
            "or see `vsr doctor`",
            details=process.stderr,
        )
    return path
