"""A film that is pictures: in segments, each of which is moved into the target's folder when it is ready."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vsrcli.errors import OutputError
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import FileStamp, ImageWorkDir, published_files, workdir_name
from vsrcli.images.writer import ImageWriter
from vsrcli.pipeline.checkpoint import Journal, read
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.segmented_output import SegmentedOutput
from vsrcli.pipeline.upscaler import Upscaler

_ENDLESS = 2**31  # frames of a segment, where nothing is to be saved


class ImageSequenceOutput(SegmentedOutput):
    """A :class:`~vsrcli.pipeline.segmented_output.SegmentedOutput` of pictures.

    Leaving it by an exception keeps the pictures of finished segments where they are, and beside them a
    hidden folder that says how to go on; it also says which pictures are this job's own.

    Args:
        job: what is made, with a :class:`~vsrcli.images.plan.ImagePlan`.
        on_notice: told whether and where an earlier run is continued, and why not.

    Raises:
        OutputError: see ``SegmentedOutput``; or the target's folder cannot be made.
    """

    def __init__(self, job: Job, on_notice: Callable[[str], None] = lambda text: None) -> None:
        super().__init__(job, on_notice)
        assert isinstance(job.plan, ImagePlan)
        self._plan: ImagePlan = job.plan
        self._target = job.plan.targets.folder
        self._folder: ImageWorkDir = ImageWorkDir(workdir_name(job.plan.targets))
        self._made_here = False

    def __enter__(self) -> Self:
        try:
            self._made_here = not self._target.is_dir()
            self._target.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self._target} cannot be made ({error.strerror}); choose another folder"
            ) from error
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._made_here and kind is not None:
                with contextlib.suppress(OSError):
                    self._target.rmdir()  # unless something is in it

    def set_engine(self, workshop: Upscaler) -> None:
        super().set_engine(workshop)
        if not self._job.segmented:
            self._set_segment_length(_ENDLESS)

    def _new_segment(self) -> ImageWriter:
        return ImageWriter(self._plan, self._job.source, self._folder, begins=self.frame_count)

    def _concatenate(self) -> tuple[str, ...]:
        """Everything is in its place already."""
        kept = self._remove_foreign_images(self._journal)
        there = all(stamp.matches(self._target / name) for name, stamp in kept.items())
        if len(kept) != self.frame_count or not there:
            raise OutputError(
                f"{self._plan.display_name}: some of the {self.frame_count} pictures have been changed or removed; "
                "use --no-resume to begin anew"
            )
        return ()

    def _remove_foreign_images(self, journal: Journal | None) -> dict[str, FileStamp]:
        """The pictures of finished segments, by name. Those of a segment that never was finished, and those
        that an earlier run with other options has left, are removed."""
        finished = {segment.name for segment in journal.segments} if journal else set()
        kept = published_files(self._folder.path, only=finished)
        for name, stamp in published_files(self._folder.path).items():
            if name not in kept and stamp.matches(self._target / name):
                with contextlib.suppress(OSError):
                    (self._target / name).unlink()
        return kept

    def _is_intact(self, earlier: Journal) -> bool:
        return super()._is_intact(earlier) and all(
            self._folder.has_segment(segment.name, self._target) for segment in earlier.segments
        )

    def _release_workdir(self) -> None:
        self._remove_foreign_images(read(self._folder.path))
        super()._release_workdir()
