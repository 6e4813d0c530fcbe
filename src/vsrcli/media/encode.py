"""Write frames into a new film that appears under its final name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsrcli.errors import EncodeError, OutputError
from vsrcli.media.ffmpeg import Ffmpeg, file_url
from vsrcli.media.mux import mux_command
from vsrcli.media.output import OutputPlan
from vsrcli.media.process import Process, describe_exit
from vsrcli.media.types import Frame, Source

_PIXEL_FORMATS = {np.dtype(np.uint8): "rgb24", np.dtype("<u2"): "rgb48le"}


class Encoder:
    """A context manager that takes the upscaled frames in order.

    Leaving it normally waits for ffmpeg, checks that the file holds exactly the frames written, and renames
    it to the target. Leaving it by an exception kills ffmpeg and removes what was written.

    Args:
        plan: what to write, from ``plan_output``.
        source: where sound and the other streams come from.
        ffmpeg: the executable to run.

    Attributes:
        count: frames written so far.
        pid: process id of ffmpeg.

    Raises:
        EncodeError: on entering, writing or leaving: ffmpeg stopped, the disk is full, frames are missing.
    """

    def __init__(self, plan: OutputPlan, source: Source, *, ffmpeg: Ffmpeg, trial: bool = False) -> None:
        self.plan = plan
        self.source = source
        self.count = 0
        self._ffmpeg = ffmpeg
        self._trial = trial
        self._part = _part_name(plan.target)
        self._scratch: Path | None = None
        self._process: Process | None = None
        self._nut: Any = None
        self._stream: Any = None
        self._pixel_format = ""
        self._last: Fraction | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the running ffmpeg."""
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> Self:
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="vsr-"))
            command = mux_command(
                self.plan, self.source, self._part, self._scratch, trial=self._trial, ffmpeg=self._ffmpeg
            )
            self._process = Process(command, stdin=True)
        except OSError as error:
            self._discard()
            raise EncodeError(f"{self.plan.target}: ffmpeg cannot be started ({error})") from error
        except BaseException:
            self._discard()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Args:
            frame: pixels of shape (plan.height, plan.width, 3), uint8 or uint16 (the same for all frames),
                and the presentation time of the source frame.

        Raises:
            EncodeError: ffmpeg has stopped; ``details`` has its last words.
            ValueError: another size or type than before, or a time that is not later than the one before.
        """
        import av

        pixels = self._check(frame)
        process = self._running()
        packet: Any = av.Packet(pixels.data.cast("B"))  # type: ignore[arg-type]  # shares the memory
        packet.pts = packet.dts = frame.pts + int(self.source.lift / frame.time_base)
        packet.time_base = frame.time_base
        packet.is_keyframe = True
        try:
            nut = self._nut if self._nut is not None else self._open(process, frame)
            packet.stream = self._stream
            nut.mux_one(packet)
        except (OSError, av.FFmpegError) as error:
            raise self._stopped(process) from error
        self.count += 1

    def _check(self, frame: Frame) -> np.ndarray:
        plan, pixels = self.plan, frame.pixels
        if pixels.shape != (plan.height, plan.width, 3):
            raise ValueError(f"frame of shape {pixels.shape}, expected {(plan.height, plan.width, 3)}")
        found = _PIXEL_FORMATS.get(pixels.dtype)
        if found is None or (self._pixel_format and found != self._pixel_format):
            raise ValueError(
                f"frame of type {pixels.dtype}, expected {self._pixel_format or 'uint8 or uint16'}"
            )
        if self._last is not None and frame.time <= self._last:
            raise ValueError(f"frame at {frame.time} s is not later than the one before ({self._last} s)")
        self._pixel_format, self._last = found, frame.time
        return np.ascontiguousarray(pixels)

    def _open(self, process: Process, frame: Frame) -> Any:
        """The NUT stream into ffmpeg; its header goes out with the first frame."""
        import av

        nut = self._nut = av.open(process.stdin, "w", format="nut", buffer_size=1 << 20)
        stream: Any = nut.add_stream("rawvideo", rate=self.source.video.frame_rate or Fraction(25))
        stream.width, stream.height = self.plan.width, self.plan.height
        stream.pix_fmt = self._pixel_format
        stream.time_base = frame.time_base
        stream.codec_context.time_base = frame.time_base
        self._stream = stream
        return nut

    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError("the encoder is not open: use it in a with statement")
        return self._process

    def _stopped(self, process: Process) -> EncodeError:
        """ffmpeg has closed its end of the pipe; say why."""
        status = process.wait()
        return EncodeError(
            f"{self.plan.target}: ffmpeg stopped after {self.count} frames ({describe_exit(status)}); "
            "see its last words for the reason (a full disk, an option it refuses)",
            details=process.tail(),
        )

    def _finish(self) -> None:
        import av

        process = self._running()
        if self.count == 0:
            raise EncodeError(f"{self.plan.target}: no frame was written, so there is no film")
        try:
            self._nut.close()
        except (OSError, av.FFmpegError) as error:
            raise self._stopped(process) from error
        if process.wait() != 0:
            raise self._stopped(process)
        self._verify(process)
        if not self._trial:
            self._publish()

    def _verify(self, process: Process) -> None:
        """The file on disk holds as many pictures as were written."""
        import av

        try:
            held = count_pictures(self._part)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._stopped(process) from error
        if held != self.count:
            raise EncodeError(
                f"{self.plan.target}: {self.count} frames were written, but the file holds {held}; "
                "try another --codec or container",
                details=process.tail(),
            )

    def _publish(self) -> None:
        """Give the complete file its final name, durably."""
        target = self.plan.target
        try:
            _sync(self._part)
            if not self.plan.overwrite and (target.exists() or target.is_symlink()):
                raise EncodeError(f"{target} has come into being meanwhile; use --overwrite to replace it")
            self._part.replace(target)
            with contextlib.suppress(OSError):  # some file systems cannot sync a folder
                _sync(target.parent)
        except OSError as error:
            raise EncodeError(f"{target} cannot be written ({error.strerror})") from error

    def _discard(self) -> None:
        """End ffmpeg and remove everything temporary. After a rename there is nothing left to remove."""
        if self._process is not None:
            self._process.kill()
        if self._nut is not None:
            with contextlib.suppress(Exception):  # its pipe is gone; nothing it could still say matters
                self._nut.close()
            self._nut = None
        with contextlib.suppress(OSError):
            self._part.unlink()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def try_out(plan: OutputPlan, source: Source, *, ffmpeg: Ffmpeg) -> None:
    """Encode one grey frame with the very command of the plan, in a scratch folder.

    Raises:
        OutputError: ffmpeg refuses; ``details`` has its words.
    """
    kind = np.uint16 if source.video.deep else np.uint8
    pixels = np.full((plan.height, plan.width, 3), np.iinfo(kind).max // 2, kind)
    pts = int(plan.zero / source.video.time_base)
    with tempfile.TemporaryDirectory(prefix="vsr-") as folder:
        rehearsal = replace(plan, target=Path(folder) / f"trial{plan.target.suffix}")
        try:
            with Encoder(rehearsal, source, ffmpeg=ffmpeg, trial=True) as encoder:
                encoder.write(Frame(pixels, pts, source.video.time_base))
        except EncodeError as error:
            raise OutputError(
                f"{plan.target}: ffmpeg refuses to write {plan.codec} {plan.pix_fmt} "
                f"{plan.width}x{plan.height} as {plan.container.name}; "
                "change --codec, --pix-fmt, the -e options or the container",
                details=error.details or str(error),
            ) from error


def count_pictures(file: Path) -> int:
    """Number of coded pictures in the first video stream: from MP4's index, else by reading the packets."""
    import av

    with av.open(
        file_url(file), options={"protocol_whitelist": "file"}, metadata_errors="replace"
    ) as container:
        stream = container.streams.video[0]
        if "mp4" in container.format.name and stream.frames > 0:
            return stream.frames
        return sum(1 for packet in container.demux(stream) if packet.size)


def _part_name(target: Path) -> Path:
    """A hidden name beside the target, unique to this run, short enough for every file system."""
    stem = os.fsencode(target.stem)[:120].decode("utf-8", "ignore")
    return target.parent / f".{stem}.{secrets.token_hex(4)}.part{target.suffix}"


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
