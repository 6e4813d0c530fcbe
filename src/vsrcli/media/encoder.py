"""Encode frames into a video that appears under its final name only when it is complete.

Frames go to ffmpeg as raw video in NUT, which carries their presentation times exactly.
"""

from __future__ import annotations

import contextlib
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
from vsrcli.system.files import create_temporary_folder, publish_file, remove_temporary, temporary_name
from vsrcli.system.threads import BackgroundWriter, queue_depth


class AtomicWriter:
    """A context manager that publishes its output on a normal exit; every exit removes temporary files."""

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
        """Publish the output. Called on a normal exit."""

    def _discard(self) -> None:
        """Remove temporary files. Called on every exit, after ``_finish`` on a normal one."""


class FFmpegWriter(AtomicWriter):
    """An :class:`AtomicWriter` around an ffmpeg process with a scratch folder for helper files.

    Raises:
        OSError: on entering: ffmpeg cannot be started.
    """

    def __init__(self) -> None:
        self._scratch: Path | None = None
        self._process: FFmpegProcess | None = None

    def __enter__(self) -> Self:
        try:
            self._scratch = create_temporary_folder()
            self._process = self._start_ffmpeg(self._scratch)
        except BaseException:
            self._discard()
            raise
        return self

    def _start_ffmpeg(self, scratch: Path) -> FFmpegProcess:
        """Start ffmpeg; ``scratch`` is an empty folder."""
        raise NotImplementedError

    def _require_process(self) -> FFmpegProcess:
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def _discard(self) -> None:
        if self._process is not None:
            self._process.kill()
        if self._scratch is not None:
            remove_temporary(self._scratch)


_PIXEL_FORMATS = {  # by dtype and whether there is alpha
    (np.dtype(np.uint8), False): "rgb24",
    (np.dtype("<u2"), False): "rgb48le",
    (np.dtype(np.uint8), True): "rgba",
    (np.dtype("<u2"), True): "rgba64le",
}


class VideoEncoder(FFmpegWriter):
    """A context manager that encodes frames, in order, and muxes them with the source's other streams.

    A normal exit waits for ffmpeg, checks that the file holds exactly the frames written, and renames it to
    the target. An exit by an exception kills ffmpeg and removes the unfinished file.

    Args:
        plan: what to write, from ``plan_output``.
        source: where audio and the other streams come from.
        ffmpeg: the executable to run.
        trial: read only the beginning of the other streams, and do not publish the file.

    Attributes:
        frame_count: frames written so far.
        warnings: damage in the source's other streams; complete after the exit.
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
        self._display_name = plan.display_name  # in messages
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
        """Process id of ffmpeg; None before it is started."""
        return self._process.pid if self._process is not None else None

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except OSError as error:
            raise EncodeError(
                f"{self._display_name}: ffmpeg cannot be started ({error}); see `vsr doctor`"
            ) from error

    def write(self, frame: Frame) -> None:
        """Append a frame. A background thread hands it to ffmpeg, up to a few frames later.

        Args:
            frame: pixels of shape (plan.height, plan.width, 3), uint8 or uint16 (the same for all frames),
                and the presentation time of the source frame; with ``alpha`` if ``plan.alpha``.

        Raises:
            EncodeError: ffmpeg has stopped, on this frame or an earlier one; ``details`` has the end of its
                stderr.
            ValueError: another size or dtype than before, or a time that is not later than the previous one.
        """
        self._require_process()
        self._background_writer.put((frame, self._validated_pixels(frame)))
        self.frame_count += 1

    def _mux_frame(self, item: tuple[Frame, np.ndarray]) -> None:
        import av

        frame, pixels = item
        process = self._require_process()
        packet: Any = av.Packet(pixels.data.cast("B"))  # type: ignore[arg-type]  # shares memory
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
        """Return ffmpeg's command line; helper files that it reads are written to ``scratch``."""
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
                raise ValueError("frame without alpha of its own size, which the plan requires")
            pixels = np.dstack([pixels, frame.alpha])
        pixel_format = _PIXEL_FORMATS.get((pixels.dtype, plan.alpha))
        if pixel_format is None or (self._pixel_format and pixel_format != self._pixel_format):
            raise ValueError(
                f"frame of type {pixels.dtype}, expected {self._pixel_format or 'uint8 or uint16'}"
            )
        if self._last_time is not None and frame.time <= self._last_time:
            raise ValueError(
                f"frame at {frame.time} s is not later than the previous one ({self._last_time} s)"
            )
        self._pixel_format, self._last_time = pixel_format, frame.time
        return np.ascontiguousarray(pixels)

    def _open_nut(self, process: FFmpegProcess, frame: Frame) -> Any:
        """Open the NUT stream into ffmpeg; its header is sent with the first frame."""
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
        """Return the error that explains why ffmpeg closed its end of the pipe."""
        status = process.wait()
        reason = "see the end of its output for the reason (a full disk, an option it refuses)"
        if "No space left" in process.stderr_tail() or "File too large" in process.stderr_tail():
            folder = self._part_file.parent
            reason = f"no room is left in {folder} (a full disk, a quota); free some and start again"
        return EncodeError(
            f"{self._display_name}: ffmpeg stopped after {self._muxed_count} frames "
            f"({process.describe_exit(status)}); {reason}",
            details=process.stderr_tail(),
        )

    def _on_stderr_line(self, line: str) -> None:
        """Count damage messages. Called in the thread that drains stderr, for every line."""
        self._damage_count += is_damage_message(line)

    def _part_file_bytes(self) -> int:
        """Return the bytes written so far, which show that ffmpeg makes progress."""
        with contextlib.suppress(OSError):
            return self._part_file.stat().st_size
        return 0

    def _finish(self) -> None:
        import av

        process = self._require_process()
        if self.frame_count == 0:
            raise EncodeError(
                f"{self._display_name}: no frame was written, so there is no video; "
                "choose another --start or --end"
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
            self.warnings.append(
                f"audio or other streams are damaged in {places}; they are copied as they are"
            )
        if not self._trial:
            self._publish()

    def _verify(self, process: FFmpegProcess) -> None:
        """Check that the file on disk holds as many frames as were written."""
        import av

        try:
            coded_count = count_frames(self._part_file, self.plan.container.muxer)
        except (OSError, IndexError, av.FFmpegError) as error:
            raise self._stopped_error(process) from error
        if coded_count != self.frame_count:
            raise EncodeError(
                f"{self._display_name}: {self.frame_count} frames were written, "
                f"but the file holds {coded_count}; try another --codec or container",
                details=process.stderr_tail(),
            )

    def _publish(self) -> None:
        """Rename the complete file to the target and sync it to the disk."""
        publish_file(self._part_file, self.plan.target, overwrite=self.plan.overwrite)

    def _discard(self) -> None:
        """Kill ffmpeg and remove the unfinished file, if it has not been renamed."""
        self._background_writer.cancel(self._process.kill if self._process else lambda: None)
        if self._pipe_container is not None:
            with contextlib.suppress(Exception):  # the pipe is closed already
                self._pipe_container.close()
            self._pipe_container = None
        remove_temporary(self._part_file)
        super()._discard()


def count_frames(file: Path, muxer: str) -> int:
    """Return the number of coded frames in the first video stream: from MP4's index, else by demuxing."""
    with open_output_file(file, muxer) as container:
        stream = container.streams.video[0]
        if "mp4" in container.format.name and stream.frames > 0:
            return stream.frames
        return sum(1 for packet in container.demux(stream) if packet.size)
