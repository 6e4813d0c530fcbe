"""Training footage: the clips and photographs of a folder, and what may not be among them.

Published data sets are recognized by their folders (:mod:`vsrcli.datasets.layouts`). Elsewhere a video is a
clip, numbered images of one shot are one, too, and every other image is a photograph.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vsrcli.datasets.decoding import image_files
from vsrcli.datasets.layouts import (
    Layout,
    LowResolution,
    Split,
    benchmark_truth,
    is_frame_sequence,
    missing_frames,
    own_low_resolution,
    recognize,
    walk_files,
)
from vsrcli.datasets.manifest import read_manifest
from vsrcli.errors import DataError
from vsrcli.models.weights import file_sha256
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS


@dataclass(frozen=True)
class Footage:
    """Files of a training or validation folder.

    Attributes:
        root: the folder.
        clips: videos, and folders of frames, sorted.
        photos: single pictures, sorted.
        skipped_count: files left out because the folder's ``manifest.csv`` does not allow shipping weights
            made from them.
        kind: of a published data set, such as ``REDS``; empty for others.
        names: of clips that are folders or parts of a published set; others go by their file name.
        lows: own low resolutions of clips that have some.
    """

    root: Path
    clips: tuple[Path, ...]
    photos: tuple[Path, ...]
    skipped_count: int
    kind: str = ""
    names: Mapping[Path, str] = field(default_factory=dict)
    lows: Mapping[Path, tuple[LowResolution, ...]] = field(default_factory=dict)

    def name_of(self, path: Path) -> str:
        """Return the name of a clip or photograph, from which its random degradations are drawn."""
        return self.names.get(path, path.stem)


def find_footage(root: Path, *, shippable_only: bool = False, split: Split = "train") -> Footage:
    """List the clips and photographs under a folder.

    Args:
        root: a published data set, or a folder that is searched recursively; hidden files are left out.
        shippable_only: leave out files that the ``ship`` column of the nearest ``manifest.csv`` (in the
            folder or up to two above) does not mark ``yes``.
        split: of a published data set that has several.

    Raises:
        DataError: no such folder, nothing usable in it, frames or clips that are missing, or
            ``shippable_only`` without a manifest.
    """
    if not root.is_dir():
        raise DataError(f"no folder {str(root)!r}: give one that holds clips or photographs")
    layout = recognize(root, split)
    footage = _search(root) if layout is None else _published(root, layout)
    if not footage.clips and not footage.photos:
        raise _nothing_usable(root)
    if not shippable_only:
        return footage
    allowed = _shippable_files(root)
    clips, photos = (
        tuple(path for path in files if path.resolve() in allowed)
        for files in (footage.clips, footage.photos)
    )
    if not clips and not photos:
        raise _nothing_usable(root)
    skipped_count = len(footage.clips) + len(footage.photos) - len(clips) - len(photos)
    return Footage(root, clips, photos, skipped_count, footage.kind, footage.names, footage.lows)


def _nothing_usable(root: Path) -> DataError:
    return DataError(
        f"no clip and no photograph to use in {str(root)!r}: "
        "add videos (.mp4, .mkv, ...) or images (.jpg, .png, ...)"
    )


def _published(root: Path, layout: Layout) -> Footage:
    layout.check()
    names = {clip.path: clip.name for clip in layout.clips}
    lows = {clip.path: clip.lows for clip in layout.clips if clip.lows}
    return Footage(root, tuple(names), (), 0, layout.kind, names, lows)


def _search(root: Path) -> Footage:
    clips: list[Path] = []
    photos: list[Path] = []
    names: dict[Path, str] = {}
    lows: dict[Path, tuple[LowResolution, ...]] = {}
    for folder, files in walk_files(root):
        videos = [path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS]
        images = [path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS]
        found = videos
        if images and not videos and (benchmark_truth(folder, root) or is_frame_sequence(images)):
            if missing := missing_frames(images):
                raise DataError(f"{str(folder)!r} lacks {missing}: copy its frames again, or move it away")
            found, images = [folder], []
            names[folder] = "-".join(folder.relative_to(root).parts) or folder.resolve().name
        for clip in found:
            if own := own_low_resolution(clip, root):
                lows[clip] = own
        clips += found
        photos += images
    return Footage(root, tuple(sorted(clips)), tuple(sorted(photos)), 0, "", names, lows)


def check_no_leakage(training: Footage, evaluated: Footage) -> None:
    """Raise if training and evaluation footage share a file.

    Raises:
        DataError: a file is in both, even under another name; the message names it.
    """
    trained = [*training.clips, *training.photos]
    by_path = {path.resolve(): path for path in trained}
    by_size: dict[int, list[Path]] = {}
    for path in trained:
        by_size.setdefault(_first_file(path).stat().st_size, []).append(path)
    for path in (*evaluated.clips, *evaluated.photos):
        twin, first = by_path.get(path.resolve()), _first_file(path)
        same_size = by_size.get(first.stat().st_size, [])
        if twin is None and same_size:  # hash only the few files that could be equal
            digest = file_sha256(first)
            twin = next((other for other in same_size if file_sha256(_first_file(other)) == digest), None)
        if twin is not None:
            raise DataError(
                f"{str(path)!r} is also trained on, as {str(twin)!r}: remove it from one of the folders"
            )


def _first_file(clip: Path) -> Path:
    """Return a file, or the first frame of a folder: two clips that share it are taken for the same."""
    return image_files(clip)[0] if clip.is_dir() else clip


def _shippable_files(root: Path) -> set[Path]:
    rows = read_manifest(root)
    if rows is None:
        raise DataError(
            f"no manifest.csv in or above {str(root)!r}: it says which files may be used; or drop --shippable"
        )
    return {path for path, row in rows.items() if row.get("ship") == "yes"}
