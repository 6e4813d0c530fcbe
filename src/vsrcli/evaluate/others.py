"""Frames that other tools have made of the clips, to be scored in the same tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsrcli.errors import DataError, UsageError
from vsrcli.evaluate.clips import ClipFile, find_clip_named, image_files, read_frames
from vsrcli.evaluate.protocol import Clip
from vsrcli.evaluate.results import METHODS


@dataclass(frozen=True)
class OtherTool:
    """What another tool has made of the clips, already enlarged.

    Attributes:
        name: for the tables.
        folder: holds videos and folders of images, named like the clips; for a single clip also a video, or a
            folder of its images.
    """

    name: str
    folder: Path

    def find(self, file: ClipFile, *, is_only: bool = False) -> Path:
        """Return the video or the folder of images for a clip.

        Args:
            file: the clip.
            is_only: whether it is the only one.

        Raises:
            DataError: there is none, or more than one.
        """
        if not self.folder.exists():
            raise DataError(
                f"--against {str(self.folder)!r} does not exist: name a folder with enlarged clips"
            )
        if self.folder.is_file() or (is_only and image_files(self.folder)):
            if not is_only:
                raise DataError(
                    f"--against {str(self.folder)!r} is one clip, there are several: name a folder with "
                    "enlarged clips"
                )
            return self.folder
        names = list(dict.fromkeys((file.name, file.plain_name)))
        for name in names:
            found = find_clip_named(self.folder / name)
            if len(found) > 1:
                raise DataError(
                    f"two clips for {file.name!r} of --against: {str(found[0])!r} and {str(found[1])!r}; "
                    "move one of them away"
                )
            if found:
                return found[0]
        raise DataError(
            f"nothing for {file.name!r} in --against {str(self.folder)!r}: put a video or a folder of images "
            f"named {names[-1]!r} there"
        )

    def read(
        self,
        path: Path,
        clip: Clip,
        max_frames: int | None = None,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> np.ndarray:
        """Decode the enlarged clip, uint8, shaped as ``clip.truth``.

        Args:
            path: from :meth:`find`.
            clip: the clip.
            max_frames, on_notice: see :func:`~vsrcli.evaluate.clips.read_frames`.

        Raises:
            DataError: it cannot be decoded, or has another size or number of frames than the clip.
        """
        frames = read_frames(path, max_frames, on_notice, exact=True)
        (height, width), (true_height, true_width) = frames.shape[1:3], clip.truth.shape[1:3]
        if (height, width) != (true_height, true_width):
            raise DataError(
                f"{str(path)!r} of --against is {width}x{height}, clip {clip.name!r} {true_width}x"
                f"{true_height}: enlarge the low resolution by {clip.protocol.scale}"
            )
        if len(frames) != len(clip.truth):
            raise DataError(
                f"{str(path)!r} of --against has {len(frames)} frames, clip {clip.name!r} {len(clip.truth)}: "
                "both need the same frames"
            )
        return frames


def check_others(others: Sequence[OtherTool], names: Sequence[str], protocol_count: int) -> None:
    """Check what can be checked before anything is measured.

    Args:
        others: tools.
        names: of the models beside them.
        protocol_count: number of ways in which low resolution is made.

    Raises:
        UsageError: a name is taken or reserved, or frames of one low resolution would be scored for several.
    """
    taken = [*names, "bicubic", "lanczos", "truth"]
    for other in others:
        if other.name == METHODS[-1]:  # what scores and frames of the model at hand go by
            raise UsageError(
                f"--against: the name {other.name!r} is reserved; give another one, NAME={other.folder!s}"
            )
        if other.name in taken:
            raise UsageError(
                f"--against: {other.name!r} is in the tables already; give another name, NAME="
                f"{other.folder!s}"
            )
        taken.append(other.name)
    if others and protocol_count > 1:
        raise UsageError(
            "--against holds frames that were made from one low resolution: give one --crf, not several"
        )
