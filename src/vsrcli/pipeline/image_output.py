"""Image sequence output in segments; the images of each move to the target folder when it is committed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from vsrcli.errors import OutputError
from vsrcli.images.plan import ImagePlan
from vsrcli.images.publish import FileStamp, ImageWorkDir, published_files
from vsrcli.images.writer import ImageWriter
from vsrcli.media.encoder import SegmentFile
from vsrcli.media.types import Source


class ImageSink:
    """Writes the segments of an image sequence, see :class:`~vsrcli.pipeline.segmented_output.VideoSink`.

    An unfinished run leaves the images of committed segments in the target folder, and next to them the
    hidden workdir with the journal and the list of images that this job has written.
    """

    def __init__(self, plan: ImagePlan, source: Source) -> None:
        self.workdir = ImageWorkDir(plan.naming)
        self._plan, self._source, self._folder = plan, source, plan.naming.folder

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
                "removed; use --no-resume to begin anew"
            )
        return ()

    def is_intact(self, segments: Sequence[SegmentFile]) -> bool:
        return all(self.workdir.has_segment(segment.name) for segment in segments)

    def discard_uncommitted(self, segments: Sequence[SegmentFile]) -> None:
        self._committed_images(segments)

    def _committed_images(self, segments: Sequence[SegmentFile]) -> dict[str, FileStamp]:
        """Return the images of segments, by name; remove those of others and of runs with other options."""
        committed = published_files(self.workdir.path, list_names={segment.name for segment in segments})
        for name, stamp in published_files(self.workdir.path).items():
            if name not in committed and stamp.matches(self._folder / name):
                with contextlib.suppress(OSError):
                    (self._folder / name).unlink()
        return committed
