"""What a folder of footage holds: layout, clips, frames, sizes, hours, categories, licences and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from vsrcli.datasets.decoding import image_files, image_size
from vsrcli.datasets.layouts import (
    DatasetClip,
    Layout,
    benchmark_truth,
    is_frame_sequence,
    missing_frames,
    recognize,
    walk_files,
)
from vsrcli.datasets.manifest import find_manifest, read_manifest
from vsrcli.errors import DataError
from vsrcli.media.ffmpeg import file_url
from vsrcli.system.signals import raise_if_cancelled
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS

MIN_FRAMES = 7  # that the shortest sequence of a training has

OnProgress = Callable[[int, int], None]


@dataclass
class DatasetInfo:
    """What a folder holds.

    Attributes:
        folder: the folder.
        kind: ``REDS``, ``Vimeo-90K``, ``built set``, or ``clips and photographs``.
        splits: number of clips by split, of a published set.
        clips, photos, frames: numbers of them; photographs are no frames.
        seconds: duration of the videos; folders of frames have none.
        sizes: number of clips and photographs by size, such as ``640x360``.
        categories, licences: number of files by category and licence; ``not stated`` for those without.
        shippable: number of files that ``manifest.csv`` marks ``ship=yes``.
        problems: one line each.
    """

    folder: Path
    kind: str
    splits: dict[str, int] = field(default_factory=dict)
    clips: int = 0
    photos: int = 0
    frames: int = 0
    seconds: float = 0.0
    sizes: Counter[str] = field(default_factory=Counter)
    categories: Counter[str] = field(default_factory=Counter)
    licences: Counter[str] = field(default_factory=Counter)
    shippable: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the content for JSON; counters have the most frequent first."""
        content = dict(vars(self), folder=str(self.folder), seconds=round(self.seconds, 2))
        for name in ("sizes", "categories", "licences"):
            content[name] = dict(content[name].most_common())
        return content


def describe_dataset(folder: Path, on_progress: OnProgress = lambda done, total: None) -> DatasetInfo:
    """Look at every clip and photograph of a folder, without decoding.

    Args:
        folder: a published data set, or any folder of clips and photographs.
        on_progress: called with (done, total) clips and photographs.

    Raises:
        DataError: there is no such folder, or it holds neither.
        SignalInterruptError: a signal arrived.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {str(folder)!r}: give one that holds clips or photographs")
    layouts = _layouts(folder)
    photos: list[Path] = []
    if layouts:
        info = DatasetInfo(folder, next(iter(layouts.values())).kind)
        info.splits = {split: len(layout.clips) for split, layout in layouts.items()}
        info.problems = [problem for layout in layouts.values() for problem in layout.problems]
        clips = [clip for layout in layouts.values() for clip in layout.clips]
    else:
        info = DatasetInfo(folder, "clips and photographs")
        clips, photos = _search(folder, info.problems)
    if not clips and not photos and not info.problems:
        raise DataError(
            f"no clip and no photograph in {str(folder)!r}: add videos (.mp4, ...) or images (.jpg, ...)"
        )
    rows = read_manifest(folder)
    total = len(clips) + len(photos)
    for done, clip in enumerate(clips, start=1):
        raise_if_cancelled()
        _add_clip(info, clip, is_published=bool(layouts))
        _add_origin(info, clip.path, rows)
        on_progress(done, total)
    for done, photo in enumerate(photos, start=len(clips) + 1):
        raise_if_cancelled()
        if size := _image_size(photo, info.problems):
            info.photos += 1
            info.sizes[size] += 1
        _add_origin(info, photo, rows)
        on_progress(done, total)
    _check_manifest(info, rows)
    return info


def _layouts(folder: Path) -> dict[str, Layout]:
    """Return the published layout by split; one entry if there is a single split."""
    train, val = recognize(folder, "train"), recognize(folder, "val")
    if train is None or val is None:
        return {}
    if [clip.path for clip in train.clips] == [clip.path for clip in val.clips]:
        return {"all": train}
    return {"train": train, "val": val}


def _search(folder: Path, problems: list[str]) -> tuple[list[DatasetClip], list[Path]]:
    clips: list[DatasetClip] = []
    photos: list[Path] = []
    for place, files in walk_files(folder):
        raise_if_cancelled()
        videos = [path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS]
        images = [path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS]
        clips += [DatasetClip(path, path.stem) for path in videos]
        try:
            is_clip = (
                bool(images) and not videos and (benchmark_truth(place, folder) or is_frame_sequence(images))
            )
        except DataError as error:
            problems.append(str(error))
            continue
        if is_clip:
            clips.append(
                DatasetClip(place, "-".join(place.relative_to(folder).parts) or place.resolve().name)
            )
            if missing := missing_frames(images):
                problems.append(f"{str(place)!r} lacks {missing}: copy its frames again, or move it away")
        else:
            photos += images
    return clips, photos


def _add_clip(info: DatasetInfo, clip: DatasetClip, *, is_published: bool) -> None:
    frames = 0
    if clip.path.is_dir():
        files = image_files(clip.path)
        sizes = {size: path for path in reversed(files) if (size := _image_size(path, info.problems))}
        frames = len(files)
        if len(sizes) > 1:
            (one, first), (other, second), *_ = reversed(sizes.items())
            info.problems.append(
                f"{str(second)!r} has {other} pixels, {first.name!r} {one}: "
                "give all frames of a clip one size"
            )
        size = next(reversed(sizes), "") if sizes else ""
    elif clip.path.is_file():
        size, frames, seconds = _video_facts(clip.path, info.problems)
        info.seconds += seconds
    else:
        return  # the layout has named it
    if not size:
        return
    info.clips += 1
    info.frames += frames
    info.sizes[size] += 1
    if frames < MIN_FRAMES and not is_published:
        info.problems.append(
            f"{str(clip.path)!r} has {frames} frames: sequences need {MIN_FRAMES}; remove it from the folder"
        )


def _image_size(path: Path, problems: list[str]) -> str:
    try:
        width, height = image_size(path, "remove it from the folder")
    except DataError as error:
        problems.append(str(error))
        return ""
    return f"{width}x{height}"


def _video_facts(path: Path, problems: list[str]) -> tuple[str, int, float]:
    """Return size, frames and seconds of a video, as its container states them."""
    try:
        with av.open(file_url(path), metadata_errors="replace") as container:
            stream = next(iter(container.streams.video), None)
            if stream is None:
                problems.append(f"no video in {str(path)!r}; remove it from the folder")
                return "", 0, 0.0
            seconds = (
                float(stream.duration * stream.time_base) if stream.duration and stream.time_base else 0.0
            )
            seconds = seconds or float(container.duration or 0) / 1_000_000
            rate = float(stream.average_rate or 0)
            return f"{stream.width}x{stream.height}", stream.frames or round(seconds * rate), seconds
    except (FFmpegError, OSError) as error:
        problems.append(f"cannot decode {str(path)!r}: {error}; remove it from the folder")
        return "", 0, 0.0


def _add_origin(info: DatasetInfo, path: Path, rows: dict[Path, dict[str, str]] | None) -> None:
    row = (rows or {}).get(path.resolve(), {})
    parts = path.relative_to(info.folder).parts if path.is_relative_to(info.folder) else ()
    by_folder = parts[0] if len(parts) > 1 and info.kind == "clips and photographs" else ""
    info.categories[row.get("category") or by_folder or "not stated"] += 1
    info.licences[row.get("licence") or "not stated"] += 1
    info.shippable += row.get("ship") == "yes"


def _check_manifest(info: DatasetInfo, rows: dict[Path, dict[str, str]] | None) -> None:
    """Name files of a manifest in the folder that are not there."""
    manifest = find_manifest(info.folder)
    if rows is None or manifest is None or manifest.parent.resolve() != info.folder.resolve():
        return
    missing = [path for path in rows if not path.exists()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        info.problems.append(f"{str(manifest)!r} names {str(missing[0])!r}{more}, not there: remove its row")
