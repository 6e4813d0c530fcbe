"""Image sequence output in segments; the images of each move to the target folder when it is committed."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import Self

from vsrcli.errors import OutputError
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import FileStamp, ImageWorkDir, published_files, workdir_name
from vsrcli.images.writer import ImageWriter
from vsrcli.pipeline.checkpoint import Journal, read_journal
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.progress import Reporter
from vsrcli.pipeline.segmented_output import SegmentedOutput
from vsrcli.pipeline.upscaler import Upscaler

_UNLIMITED_FRAMES = 2**31  # per segment, if checkpoints are disabled


class ImageSequenceOutput(SegmentedOutput):
    """A :class:`~vsrcli.pipeline.segmented_output.SegmentedOutput` that writes an image sequence.

    Leaving it by an exception leaves the images of committed segments in the target folder, and next to them
    the hidden workdir with the journal and the list of images that this job has written.

    Args:
        job: with an :class:`~vsrcli.images.plan.ImagePlan`.
        reporter: receives a notice whether and where an earlier run is resumed.

    Raises:
        OutputError: see ``SegmentedOutput``; or the target folder cannot be created.
    """

    def __init__(self, job: Job, reporter: Reporter) -> None:
        super().__init__(job, reporter)
        assert isinstance(job.plan, ImagePlan)
        self._plan: ImagePlan = job.plan
        self._folder = job.plan.naming.folder
        self._workdir: ImageWorkDir = ImageWorkDir(workdir_name(job.plan.naming))
        self._created_folder = False

    def __enter__(self) -> Self:
        try:
            self._created_folder = not self._folder.is_dir()
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self._folder} cannot be made ({error.strerror}); choose another folder"
            ) from error
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, error, trace)
        finally:
            if self._created_folder and kind is not None:
                with contextlib.suppress(OSError):
                    self._folder.rmdir()  # unless something is in it

    def set_engine(self, upscaler: Upscaler) -> None:
        super().set_engine(upscaler)
        if not self._job.segmented:
            self._set_segment_frames(_UNLIMITED_FRAMES)

    def _new_segment_writer(self) -> ImageWriter:
        return ImageWriter(self._plan, self._job.source, self._workdir, first_index=self.frame_count)

    def _concatenate(self) -> tuple[str, ...]:
        """Verify that all images are in the target folder, unchanged; there is nothing to join."""
        published = self._remove_uncommitted_images(self._journal)
        unchanged = all(stamp.matches(self._folder / name) for name, stamp in published.items())
        if len(published) != self.frame_count or not unchanged:
            raise OutputError(
                f"{self._plan.display_name}: some of the {self.frame_count} images have been changed or "
                "removed; use --no-resume to begin anew"
            )
        return ()

    def _remove_uncommitted_images(self, journal: Journal | None) -> dict[str, FileStamp]:
        """Remove images of uncommitted segments and of earlier runs with other options.

        Returns:
            The images of committed segments, by name.
        """
        finished = {segment.name for segment in journal.segments} if journal else set()
        committed = published_files(self._workdir.path, list_names=finished)
        for name, stamp in published_files(self._workdir.path).items():
            if name not in committed and stamp.matches(self._folder / name):
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
        return committed

    def _is_intact(self, earlier: Journal) -> bool:
        return super()._is_intact(earlier) and all(
            self._workdir.has_segment(segment.name, self._folder) for segment in earlier.segments
        )

    def _release_workdir(self) -> None:
        self._remove_uncommitted_images(read_journal(self._workdir.path))
        super()._release_workdir()
