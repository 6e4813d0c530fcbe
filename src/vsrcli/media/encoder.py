"""Write frames into a new film that appears under its final name only when it is complete.

What is written as a whole or not at all, and the ffmpeg that is fed with its frames.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from vsrcli.errors import EncodeError, OutputError
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.mux import mux_command
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess, is_damage_message
from vsrcli.media.safety import open_output_file
from vsrcli.media.types import Frame, Source
from vsrcli.system.files import publish_file, temporary_name
from vsrcli.system.threads import BackgroundWriter, queue_depth


class AtomicWriter:
    """A context manager: leaving it normally finishes the work, and what is temporary goes in any case."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        """Give what was made its place."""

    def _discard(self) -> None:
        """Remove everything temporary; after ``_finish``, what is left of it."""


class FFmpegWriter(AtomicWriter):
    """The same around an ffmpeg that takes frames from its stdin, and a folder for its helper files.

    Raises:
        OSError: on entering: it cannot be started.
    """

    def __init__(self) -> None:
        self._scratch: Path | None = None
        self._process: FFmpegProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix="vsr-"))
            self._process = self._start_ffmpeg(self._scratch)
        except BaseException:
            self._discard()
            raise
        return self

    def _start_ffmpeg(self, scratch: Path) -> FFmpegProcess:
        """Start it; ``scratch`` is empty."""
        raise NotImplementedError

    def _require_process(self) -> FFmpegProcess:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


_PIXEL_FORMATS = {  # number type and whether there is alpha
    (np.dtype(np.uint8), False): "rgb24",
    (np.dtype("<u2"), False): "rgb48le",
    (np.dtype(np.uint8), True): "rgba",
    (np.dtype("<u2"), True): "rgba64le",
}


class VideoEncoder(FFmpegWriter):
    """A context manager that takes the upscaled frames in order.

    Leaving it normally waits for ffmpeg, checks that the file holds exactly the frames written, and renames
    it to the target. Leaving it by an exception kills ffmpeg and removes what was written.

    Args:
        plan: what to write, from ``plan_output``.
        source: where sound and the other streams come from.
        ffmpeg: the executable to run.

    Attributes:
        count: frames written so far.
        warnings: what was found wrong with the source's other streams.
        pid: process id of ffmpeg.

    Raises:
        EncodeError: on entering, writing or leaving: ffmpeg stopped, the disk is full, frames are missing.
    """

    def __init__(self, plan: OutputPlan, source: Source, *, ffmpeg: Ffmpeg, trial: bool = False) -> None:
        super().__init__()
        self.plan = plan
        self.source = source
        self.frame_count = 0
        self._ffmpeg = ffmpeg
        self._trial = trial
        self.warnings: list[str] = []
        self._part_file = temporary_name(plan.target)
        self._display_name = plan.display_name  # as messages call it
        self._pipe_container: Any = None
        self._pipe_stream: Any = None
        self._pixel_format = ""
        self._last_time: Fraction | None = None
        self._damage_count = 0
        self._background_writer = BackgroundWriter(
            self._mux_frame, queue_depth(plan.width * plan.height * (4 if plan.alpha else 3))
        )
        self._muxed_count = 0

    @property
    def pid(self) -> int | None:
        """Process id of the running ffmpeg."""
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except OSError as error:
            raise EncodeError(
                f"{self._display_name}: ffmpeg cannot be started ({error}); see `vsr doctor`"
            ) from error

    def write(self, frame: Frame) -> None:
        """Append a frame. ffmpeg gets it in a thread, a few frames later.

        Args:
            frame: pixels of shape (plan.height, plan.width, 3), uint8 or uint16 (the same for all frames),
                and the presentation time of the source frame; with ``alpha`` if the plan keeps it.

        Raises:
            EncodeError: ffmpeg has stopped, on this frame or on one before; ``details`` has its last words.
            ValueError: another size or type than before, or a time that is not later than the one before.
        """
        self._require_process()
        self._background_writer.put((frame, self._validated_pixels(frame)))
        self.frame_count += 1

    def _mux_frame(self, item: tuple[Frame, np.ndarray]) -> None:
        import av

        frame, pixels = item
        process = self._require_process()
        packet: Any = av.Packet(pixels.data.cast("B"))  # type: ignore[arg-type]  # shares the memory
        packet.pts = packet.dts = frame.pts + int(self.source.pts_offset / frame.time_base)
        packet.time_base = frame.time_base
        packet.is_keyframe = True
        try:
            container = (
                self._pipe_container if self._pipe_container is not None else self._open_nut(process, frame)
            )
            packet.stream = self._pipe_stream
            container.mux_one(packet)
        except (OSError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        self._muxed_count += 1

    def _start_ffmpeg(self, scratch: Path) -> FFmpegProcess:
        return self._spawn(self._build_command(scratch))

    def _build_command(self, scratch: Path) -> list[str]:
        """What ffmpeg is to do with the frames; ``scratch`` is for helper files that it reads."""
        return mux_command(
            self.plan, self.source, self._part_file, scratch, trial=self._trial, ffmpeg=self._ffmpeg
        )

    def _spawn(self, command: list[str]) -> FFmpegProcess:
        return FFmpegProcess(
            command, stdin=True, on_line=self._on_stderr_line, progress_marker=self._part_file_bytes
        )

    def _validated_pixels(self, frame: Frame) -> np.ndarray:
        plan, pixels = self.plan, frame.pixels
        if pixels.shape != (plan.height, plan.width, 3):
            raise ValueError(f"frame of shape {pixels.shape}, expected {(plan.height, plan.width, 3)}")
        if plan.alpha:
            if frame.alpha is None or frame.alpha.shape != pixels.shape[:2]:
                raise ValueError("frame without an alpha of its own size, which the plan keeps")
            pixels = np.dstack([pixels, frame.alpha])
        pixel_format = _PIXEL_FORMATS.get((pixels.dtype, plan.alpha))
        if pixel_format is None or (self._pixel_format and pixel_format != self._pixel_format):
            raise ValueError(
                f"frame of type {pixels.dtype}, expected {self._pixel_format or 'uint8 or uint16'}"
            )
        if self._last_time is not None and frame.time <= self._last_time:
            raise ValueError(
                f"frame at {frame.time} s is not later than the one before ({self._last_time} s)"
            )
        self._pixel_format, self._last_time = pixel_format, frame.time
        return np.ascontiguousarray(pixels)

    def _open_nut(self, process: FFmpegProcess, frame: Frame) -> Any:
        """The NUT stream into ffmpeg; its header goes out with the first frame."""
        import av

        container = self._pipe_container = av.open(process.stdin, "w", format="nut", buffer_size=1 << 20)
        stream: Any = container.add_stream("rawvideo", rate=self.source.video.frame_rate or Fraction(25))
        stream.width, stream.height = self.plan.width, self.plan.height
        stream.pix_fmt = self._pixel_format
        stream.time_base = frame.time_base
        stream.codec_context.time_base = frame.time_base
        self._pipe_stream = stream
        return container

    def _stopped_error(self, process: FFmpegProcess) -> OutputError:
        """ffmpeg has closed its end of the pipe; say why."""
        status = process.wait()
        reason = "see its last words for the reason (a full disk, an option it refuses)"
        if "No space left" in process.stderr_tail() or "File too large" in process.stderr_tail():
            reason = f"no room is left in {self._part_file.parent} (a full disk, a quota); free some and start again"
        return EncodeError(
            f"{self._display_name}: ffmpeg stopped after {self._muxed_count} frames ({process.describe_exit(status)}); {reason}",
            details=process.stderr_tail(),
        )

    def _on_stderr_line(self, line: str) -> None:
        """Called in the draining thread for every line that ffmpeg says."""
        self._damage_count += is_damage_message(line)

    def _part_file_bytes(self) -> int:
        """Bytes written so far, as a sign of life."""
        with contextlib.suppress(OSError):
            return self._part_file.stat().st_size
        return 0

    def _finish(self) -> None:
        import av

        process = self._require_process()
        if self.frame_count == 0:
            raise EncodeError(
                f"{self._display_name}: no frame came, so there is no film; choose another --start or --end"
            )
        self._background_writer.drain()
        try:
            self._pipe_container.close()
        except (OSError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        if process.wait() != 0:
            raise self._stopped_error(process)
        self._verify(process)
        if self._damage_count:
            places = f"{self._damage_count} place{'s' if self._damage_count > 1 else ''}"
            self.warnings.append(f"sound or other streams are damaged in {places}; they go along as they are")
        if not self._trial:
            self._publish()

    def _verify(self, process: FFmpegProcess) -> None:
        """The file on disk holds as many pictures as were written."""
        import av

        try:
            coded_count = count_frames(self._part_file, self.plan.container.muxer)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        if coded_count != self.frame_count:
            raise EncodeError(
                f"{self._display_name}: {self.frame_count} frames were written, but the file holds {coded_count}; "
                "try another --codec or container",
                details=process.stderr_tail(),
            )

    def _publish(self) -> None:
        """Give the complete file its final name, durably."""
        publish_file(self._part_file, self.plan.target, overwrite=self.plan.overwrite)

    def _discard(self) -> None:
        """After a rename, the unfinished file is gone already."""
        self._background_writer.cancel(self._process.kill if self._process else lambda: None)
        if self._pipe_container is not None:
            with contextlib.suppress(Exception):  # its pipe is gone; nothing it could still say matters
                self._pipe_container.close()
            self._pipe_container = None
        with contextlib.suppress(OSError):
            self._part_file.unlink()
        super()._discard()


def count_frames(file: Path, muxer: str) -> int:
    """Number of coded pictures in the first video stream: from MP4's index, else by reading the packets."""

    with open_output_file(file, muxer) as container:
        stream = container.streams.video[0]
        if "mp4" in container.format.name and stream.frames > 0:
            return stream.frames
        return sum(1 for packet in container.demux(stream) if packet.size)
