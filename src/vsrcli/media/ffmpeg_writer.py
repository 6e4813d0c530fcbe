"""An ffmpeg that reads video from a pipe, and where its output goes.

An :class:`FFmpegWriter` has a :class:`Destination`, which verifies what ffmpeg has written and publishes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vsrcli.errors import LOST_STORAGE, EncodeError, OutputError
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.mux import EncodedInput, mux_command
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.process import FFmpegProcess, is_damage_message
from vsrcli.media.safety import open_output_file
from vsrcli.media.types import Source
from vsrcli.system.files import create_temporary_folder, publish_file, remove_temporary, temporary_name

_ENCODED_VIDEO = "[vost#0:0"  # of messages about it


@dataclass(frozen=True)
class SegmentFile:
    """A finished segment.

    Attributes:
        name: of its file.
        frame_count: number of frames.
        first_pts, last_pts: presentation times of its first and last frame, in ticks of the source's clock.
        size_bytes: of the file.
        reorder_delay: places, at most, that a frame is decoded before its place in presentation order.
        crc32: of all packets; a damaged segment must not become part of the output.
    """

    name: str
    frame_count: int
    first_pts: int
    last_pts: int
    size_bytes: int
    reorder_delay: int
    crc32: int


class Destination:
    """Where an ffmpeg's output goes: a file, which is renamed to the plan's target once it is verified.

    Args:
        plan, source: of the output.
        part_file: the unfinished file; None: a temporary one next to the target.

    Attributes:
        plan, source, part_file: as passed.
        name: of the output, in messages.
        trial: whether only the beginning of the source's other streams is read.
    """

    trial = False

    def __init__(self, plan: OutputPlan, source: Source, part_file: Path | None = None) -> None:
        self.plan, self.source = plan, source
        self.name = plan.display_name
        self.part_file = part_file or temporary_name(plan.target)

    def command(self, scratch: Path, encoded_input: EncodedInput | None, ffmpeg: Ffmpeg) -> list[str]:
        """Return ffmpeg's command line; helper files that it reads are written to ``scratch``."""
        return mux_command(
            self.plan,
            self.source,
            self.part_file,
            scratch,
            encoded_input=encoded_input,
            trial=self.trial,
            ffmpeg=ffmpeg,
        )

    def start(self, command: list[str], on_line: Callable[[str], None]) -> FFmpegProcess:
        """Start ffmpeg; ``on_line`` receives every line of its stderr."""
        return FFmpegProcess(command, stdin=True, on_line=on_line, progress_marker=self.progress_marker)

    def verify(self, process: FFmpegProcess, count: int, pts: Sequence[int]) -> None:
        """Check what ffmpeg has written.

        Args:
            process: which has ended.
            count: frames that were written to ffmpeg.
            pts: their times, if it has encoded them.

        Raises:
            EncodeError: it is not what was to be written.
            OSError, IndexError, TypeError, av.FFmpegError: it cannot be read.
        """
        coded_count = count_frames(self.part_file, self.plan.container.muxer)
        if coded_count != count:
            raise EncodeError(
                f"{self.name}: {count} frames were written, but the file holds {coded_count}; "
                "try another --codec or container",
                details=process.stderr_tail(),
            )

    def publish(self) -> SegmentFile | None:
        """Make the output available, durably; return it if it is a segment."""
        publish_file(self.part_file, self.plan.target, overwrite=self.plan.overwrite)

    def discard(self) -> None:
        """Remove what is not published. Can be called repeatedly."""
        remove_temporary(self.part_file)

    def write_error(self, count: int) -> OutputError | None:
        """Return why the output of ``count`` frames cannot be written; None if only ffmpeg knows."""
        return None

    def progress_marker(self) -> object:
        """Return a value that changes while ffmpeg writes: size and time of the unfinished file.

        The size alone does not change while ``+faststart`` moves the index to the front, which rewrites the
        whole file in place.
        """
        with contextlib.suppress(OSError):
            stat = self.part_file.stat()
            return stat.st_size, stat.st_mtime_ns
        return None


class FFmpegWriter:
    """An ffmpeg that reads video from a pipe, with a scratch folder for the other files that it reads.

    Args:
        destination: of its output.
        ffmpeg: the executable to run.

    Attributes:
        packet_count: packets written to ffmpeg so far, one for each frame.
        warnings: damage in the source's other streams; complete after ``finish``.
    """

    def __init__(self, destination: Destination, ffmpeg: Ffmpeg) -> None:
        self.packet_count = 0
        self.warnings: list[str] = []
        self._destination, self._ffmpeg = destination, ffmpeg
        self._scratch: Path | None = None
        self._process: FFmpegProcess | None = None
        self._container: Any = None
        self._damage_count = 0

    @property
    def process(self) -> FFmpegProcess:
        """The running ffmpeg."""
        if self._process is None:
            raise RuntimeError("not open: use it in a with statement")
        return self._process

    def start(self, encoded_input: EncodedInput | None = None) -> None:
        """Start ffmpeg, to read raw video or ``encoded_input``.

        Raises:
            EncodeError: it cannot be started.
        """
        try:
            self._scratch = create_temporary_folder()
            command = self._destination.command(self._scratch, encoded_input, self._ffmpeg)
            self._process = self._destination.start(command, self._on_stderr_line)
        except BaseException as error:
            self.discard()
            if not isinstance(error, OSError):
                raise
            name = self._destination.name
            raise EncodeError(f"{name}: ffmpeg cannot be started ({error}); see `vsr doctor`") from error

    def open_pipe(self, format_name: str, options: dict[str, str] | None = None) -> Any:
        """Open the pipe as a PyAV container; its header is sent with the first packet."""
        import av

        self._container = av.open(
            self.process.stdin, "w", format=format_name, options=options, buffer_size=1 << 20
        )
        return self._container

    def mux(self, packet: Any) -> None:
        """Write a packet.

        Raises:
            EncodeError: ffmpeg has stopped.
        """
        import av

        try:
            self._container.mux_one(packet)
        except (OSError, av.FFmpegError) as error:
            raise self._stopped_error() from error
        self.packet_count += 1

    def finish(self, pts: Sequence[int] = ()) -> SegmentFile | None:
        """Wait for ffmpeg, verify its output and publish it; see :meth:`Destination.verify`.

        Raises:
            EncodeError: ffmpeg has failed, or the output is not what was to be written.
        """
        import av

        process = self.process
        if self.packet_count == 0:
            raise EncodeError(
                f"{self._destination.name}: no frame was written, so there is no video; "
                "choose another --start or --end"
            )
        try:
            self._container.close()
            if process.wait() != 0:
                raise self._stopped_error()
            self._destination.verify(process, self.packet_count, pts)
        except (OSError, IndexError, TypeError, av.FFmpegError) as error:
            raise self._stopped_error(error) from error
        if count := self._damage_count:
            places = f"{count} place{'s' if count > 1 else ''}"
            self.warnings.append(
                f"audio or other streams are damaged in {places}; they are copied as they are"
            )
        return self._destination.publish()

    def kill(self) -> None:
        """Kill ffmpeg, if it runs."""
        if self._process is not None:
            self._process.kill()

    def discard(self) -> None:
        """Kill ffmpeg and remove all that is not published. Can be called repeatedly."""
        if self._container is not None:
            with contextlib.suppress(Exception):  # the pipe is closed already
                self._container.close()
            self._container = None
        self.kill()
        if self._scratch is not None:
            remove_temporary(self._scratch)
        self._destination.discard()

    def _stopped_error(self, cause: Exception | None = None) -> OutputError:
        """Return the error that explains why ffmpeg closed its end of the pipe.

        Args:
            cause: what was raised after ffmpeg's end, if anything was.
        """
        process, destination = self.process, self._destination
        if error := destination.write_error(self.packet_count):
            return error
        status, tail = process.wait(), process.stderr_tail()
        reason = "see the end of its output for the reason (a full disk, an option it refuses)"
        if status == 0 and isinstance(cause, OSError) and cause.errno in LOST_STORAGE:
            folder = destination.part_file.parent
            reason = (
                f"what it has written into {folder} cannot be reached ({cause.strerror}); check its disk or "
                "network share, then run the command again"
            )
        if "No space left" in tail or "File too large" in tail:
            folder = destination.part_file.parent
            reason = f"no room is left in {folder} (a full disk, a quota); free some and start again"
        return EncodeError(
            f"{destination.name}: ffmpeg stopped after {self.packet_count} frames "
            f"({process.describe_exit(status)}); {reason}",
            details=tail,
        )

    def _on_stderr_line(self, line: str) -> None:
        """Count damage messages. Called in the thread that drains stderr, for every line.

        Those about the new video are none of the source's.
        """
        self._damage_count += is_damage_message(line) and not line.startswith(_ENCODED_VIDEO)


def count_frames(file: Path, muxer: str) -> int:
    """Return the number of coded frames in the first video stream: from MP4's index, else by demuxing."""
    with open_output_file(file, muxer) as container:
        stream = container.streams.video[0]
        if "mp4" in container.format.name and stream.frames > 0:
            return stream.frames
        return sum(1 for packet in container.demux(stream) if packet.size)
