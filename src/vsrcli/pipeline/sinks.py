"""Sinks of an output in segments: they make the segments, and the output from them.

:class:`~vsrcli.pipeline.segmented_output.SegmentedOutput` decides when a segment ends, and what is resumed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path

from vsrcli.errors import OutputError
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import FileStamp, ImageWorkDir, published_files
from vsrcli.images.writer import ImageWriter
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.ffmpeg_writer import Destination, SegmentFile
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.planning import check_target
from vsrcli.media.segments import SegmentConcatenator, SegmentDestination
from vsrcli.media.types import Source
from vsrcli.system.files import WorkDir


class VideoSink:
    """Writes the segments of a video, and the video from them.

    :class:`ImageSink` has the same methods.

    Attributes:
        workdir: of the output, with all segments.
    """

    def __init__(self, plan: OutputPlan, source: Source, ffmpeg: Ffmpeg) -> None:
        self.workdir = WorkDir(plan.target)
        self._plan, self._source, self._ffmpeg = plan, source, ffmpeg
        self._first_file: Path | None = None
        self._resumed = False

    def check_target(self) -> None:
        """Raise OutputError if the target cannot be written, as when another run has finished it by now."""
        plan = self._plan
        check_target(plan.target, overwrite=plan.overwrite, inputs=self._source.input_files)

    def new_writer(self, segments: Sequence[SegmentFile], first_frame: int) -> VideoEncoder:
        """Return a writer of the segment from ``first_frame`` on; ``segments`` are committed already."""
        file = self.workdir.path / f"{first_frame:08}-{time.time_ns():x}.mov"
        reference = self.workdir.path / segments[0].name if segments else self._first_file
        self._resumed = self._resumed or (self._first_file is None and reference is not None)
        self._first_file = reference or file
        destination = SegmentDestination(
            self._plan,
            self._source,
            file,
            first_frame=first_frame,
            reference=reference,
            resumed=self._resumed,
        )
        return VideoEncoder(self._plan, self._source, destination, ffmpeg=self._ffmpeg)

    def concatenate(self, segments: Sequence[SegmentFile]) -> tuple[str, ...]:
        """Write the target from all segments; return warnings about the source's other streams.

        Raises:
            OutputError: the target cannot be written, or a segment has been changed.
        """
        folder = self.workdir.path
        destination = Destination(self._plan, self._source, folder / f"output{self._plan.target.suffix}")
        return SegmentConcatenator(folder, segments, destination, ffmpeg=self._ffmpeg).run()

    def is_intact(self, segments: Sequence[SegmentFile]) -> bool:
        """Whether segments whose files exist can be resumed after."""
        return True

    def discard_uncommitted(self, segments: Sequence[SegmentFile]) -> None:
        """Remove what other than these segments have left outside of the workdir: nothing."""


class ImageSink:
    """Writes the segments of an image sequence, see :class:`VideoSink`.

    An unfinished run leaves the images of committed segments in the target folder, and next to them the
    hidden workdir with the journal and the list of images that this job has written.
    """

    def __init__(self, plan: ImagePlan, source: Source) -> None:
        self.workdir = ImageWorkDir(plan.naming, source.path)
        self._plan, self._source, self._folder = plan, source, plan.naming.folder
        self._own_names: set[str] | None = None  # that this job may remove; None: all in its lists
        if plan.naming.pattern is None and source.images is not None:
            self._own_names = {plan.naming.path_for(0, file).name for file in source.images.files}

    def check_target(self) -> None:
        """Nothing: images of others are found when the first segment is published."""

    def new_writer(self, segments: Sequence[SegmentFile], first_frame: int) -> ImageWriter:
        return ImageWriter(self._plan, self._source, self.workdir, first_index=first_frame)

    def concatenate(self, segments: Sequence[SegmentFile]) -> tuple[str, ...]:
        """Verify that all images are in the target folder, unchanged; there is nothing to join."""
        published = self._committed_images(segments)
        count = sum(segment.frame_count for segment in segments)
        unchanged = all(stamp.matches(self._folder / name) for name, stamp in published.items())
        if len(published) != count or not unchanged:
            raise OutputError(
                f"{self._plan.display_name}: some of the {count} images have been changed or "
                "removed; use --no-resume to begin anew",
                resume_option=None,
            )
        return ()

    def is_intact(self, segments: Sequence[SegmentFile]) -> bool:
        return all(self.workdir.has_segment(segment.name) for segment in segments)

    def discard_uncommitted(self, segments: Sequence[SegmentFile]) -> None:
        self._committed_images(segments)

    def _committed_images(self, segments: Sequence[SegmentFile]) -> dict[str, FileStamp]:
        """Return the images of segments, by name; remove those of others and of runs with other options.

        Where names are kept, images of inputs that are gone stay: they are results of another job.
        """
        committed = published_files(self.workdir.path, list_names={segment.name for segment in segments})
        for name, stamp in published_files(self.workdir.path).items():
            is_own = self._own_names is None or name in self._own_names
            if is_own and name not in committed and stamp.matches(self._folder / name):
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
        return committed
