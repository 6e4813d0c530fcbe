"""Find test clips, and pairs of low resolution and truth, and decode them into arrays.

A clip is a video, or a folder of images such as ``calendar/Frame 001.png``. Pairs lie in folders ``lr/`` and
``hr/``, in ``BDx4/`` and ``GT/``, or in two folders of any name. Of REDS, Vimeo-90K and built sets, the clips
are those of :mod:`vsrcli.datasets.layouts`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vsrcli.datasets.decoding import decode_video, image_files, read_image, visible_entries
from vsrcli.datasets.layouts import Layout, benchmark_folders, recognize
from vsrcli.errors import DataError
from vsrcli.system.signals import raise_if_cancelled
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS

MIN_FRAMES = 5  # two are left out at each end, which leaves one to score
MAX_CLIP_BYTES = 3 * 2**30  # of a decoded clip, which is held in memory
_LAYOUT = "folders 'lr' and 'hr' (or 'BDx4' and 'GT') that hold clips of the same names, or --truth FOLDER"


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk.

    Attributes:
        path: a video, or a folder of images.
        name: unique among the clips of a run.
        truth: the clip in high resolution, if ``path`` is low resolution already; else None.
    """

    path: Path
    name: str
    truth: Path | None = None

    @property
    def plain_name(self) -> str:
        """The name independent of other clips; seeds random choices."""
        return clip_name(self.path)


def find_clips(paths: Sequence[Path], on_notice: Callable[[str], None] = lambda text: None) -> list[ClipFile]:
    """Return the clips under the given paths, each once, in order.

    A folder that holds images is one clip, its frames in natural order (``2.png`` before ``10.png``); other
    folders are searched recursively. Hidden files, images in a folder with videos, and low resolution beside
    its truth (``BDx4/`` beside ``GT/``) are ignored. Of REDS and Vimeo-90K, the clips to validate on are
    taken.

    Args:
        paths: videos, folders of images, or folders that hold any of them.
        on_notice: called with a text about images that are ignored.

    Raises:
        DataError: a path does not exist, a folder has no clip, or one with too few images; a published data
            set lacks something.
    """
    return _unique_clips([(clip, None, clip) for path in paths for clip in clips_at(path, on_notice)])


def find_pairs(
    paths: Sequence[Path], truth: Path | None = None, on_notice: Callable[[str], None] = lambda text: None
) -> list[ClipFile]:
    """Return low-resolution clips with their truth, in order: ``path`` is low resolution, ``truth`` is set.

    Without ``truth``, wherever a folder holds ``lr`` and ``hr`` (or ``gt``, in any case), these hold the same
    clips twice, or are one clip each. With it, ``paths`` are low-resolution clips as in :func:`find_clips`,
    and each has a clip of the same name under ``truth``.

    Args:
        paths: files or folders.
        truth: folder of the originals; for a single clip also a video or a folder of images.
        on_notice: called with a text about images that are ignored.

    Raises:
        DataError: there are no pairs, or a clip without a counterpart.
    """
    if truth is not None:
        return _unique_clips(_paired_with_truth(paths, truth, on_notice))
    return _unique_clips([pair for path in paths for pair in _paired_folders(path, on_notice)])


def read_frames(
    path: Path,
    max_frames: int | None = None,
    on_notice: Callable[[str], None] = lambda text: None,
    *,
    exact: bool = False,
) -> np.ndarray:
    """Decode a clip, or its first ``max_frames``.

    Args:
        path: a video, or a folder of images, which are read in natural order.
        max_frames: upper limit of frames; None: all.
        on_notice: called with a text about images of more than 8 bits, which are rounded.
        exact: see :func:`~vsrcli.datasets.decoding.decode_video`.

    Returns:
        uint8 R'G'B' (T, H, W, 3).

    Raises:
        DataError: the clip is no video, damaged, larger than ``MAX_CLIP_BYTES``, or changes its size.
    """
    if path.is_dir():
        return _read_image_folder(path, max_frames, on_notice)
    return _read_video(path, max_frames, exact=exact)


def clips_at(path: Path, on_notice: Callable[[str], None] = lambda text: None) -> list[Path]:
    """Return the paths of the clips under one path, see :func:`find_clips`."""
    if layout := _published(path):
        return [clip.path for clip in layout.clips]
    if path.is_dir():
        clips = list(_walk_clips(path, set(), on_notice))
        if not clips:
            raise DataError(
                f"no clip in {str(path)!r}: it should hold videos (.mp4, .mkv, ...) or folders of "
                "images (.png, .tif, ...)"
            )
        return clips
    if not path.is_file():
        raise DataError(f"no file or folder {str(path)!r}: name clips, or folders that hold some")
    if path.suffix.lower() in IMAGE_EXTENSIONS:
        raise DataError(f"{str(path)!r} is one image: name the folder that holds the frames of the clip")
    return [path]


def clip_name(path: Path) -> str:
    """Return the name of a folder, or of a file without its suffix."""
    path = path if path.name else path.resolve()  # "." has no name
    return path.name if path.is_dir() else path.stem


def find_clip_named(expected: Path) -> list[Path]:
    """Return what could be meant by a path without suffix: a folder of images, and videos of that name."""
    found = [expected] if expected.is_dir() and image_files(expected) else []
    if expected.parent.is_dir():
        found += [
            path
            for path in sorted(expected.parent.iterdir())
            if path.is_file() and path.stem == expected.name and path.suffix.lower() in VIDEO_EXTENSIONS
        ]
    return found


def distinct_names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return unique names: those that occur twice are preceded by as many parent folders as needed.

    Args:
        paths: all different.
        names: preferred name of each.
    """
    result, folders = list(names), 1
    while len(set(result)) < len(result):
        ambiguous = {name for name in result if result.count(name) > 1}
        longer = ["/".join(path.resolve().parts[-1 - folders :]) for path in paths]
        if all(longer[i] == name for i, name in enumerate(result) if name in ambiguous):
            break  # full paths: there are no more folders to add
        result = [longer[i] if name in ambiguous else name for i, name in enumerate(result)]
        folders += 1
    return result


def _unique_clips(found: Sequence[tuple[Path, Path | None, Path]]) -> list[ClipFile]:
    """Return clips, each once; ``found`` holds each one's path, its truth, and the path that names it."""
    unique = list({clip.resolve(): (clip, truth, named) for clip, truth, named in found}.values())
    paths = [named for _, _, named in unique]
    names = distinct_names(paths, [clip_name(path) for path in paths])
    return [ClipFile(clip, name, truth) for (clip, truth, _), name in zip(unique, names, strict=True)]


def _walk_clips(folder: Path, visited: set[Path], on_notice: Callable[[str], None]) -> Iterator[Path]:
    """Yield the clips under a folder, itself included; visit each folder once, whatever links there are."""
    if folder.resolve() in visited:
        return
    visited.add(folder.resolve())
    entries = visible_entries(folder)
    lows, highs = benchmark_folders(folder)
    videos = {path for path in entries if path.suffix.lower() in VIDEO_EXTENSIONS and path.is_file()}
    images = image_files(folder)
    if images and videos:
        on_notice(f"{str(folder)!r}: {len(images)} images are in a folder with videos and are ignored")
    elif images:
        if len(images) < MIN_FRAMES:
            raise DataError(
                f"{str(folder)!r} is a clip of {len(images)} images, too few: put at least {MIN_FRAMES} "
                "frames there, or none"
            )
        yield folder
    for path in entries:
        if path in videos:
            yield path
        elif path.is_dir() and not (highs and path in lows):
            yield from _walk_clips(path, visited, on_notice)


def _paired_folders(path: Path, on_notice: Callable[[str], None]) -> Iterator[tuple[Path, Path, Path]]:
    """Yield low resolution, truth, and the path that names the clip."""
    if (layout := _published(path)) and any(clip.lows for clip in layout.clips):
        for clip in layout.clips:
            if len(clip.lows) > 1:
                several = ", ".join(repr(str(low.path.parent)) for low in clip.lows)
                raise DataError(
                    f"{str(path)!r} has several low resolutions: name one of {several}, "
                    f"and --truth {str(clip.path.parent)!r}"
                )
            yield from ((low.path, clip.path, clip.path) for low in clip.lows)
        return
    roots = list(_pair_roots(path)) if path.is_dir() else []
    if not roots:
        problem = "is no folder with pairs" if path.exists() else "does not exist"
        raise DataError(f"{str(path)!r} {problem}: --degrade none needs {_LAYOUT}")
    for root, low, high in roots:
        lows, highs = _clips_by_key(low, on_notice), _clips_by_key(high, on_notice)
        for clips, counterparts, folder, other_folder in ((lows, highs, low, high), (highs, lows, high, low)):
            unpaired = next((key for key in clips if key not in counterparts), None)
            if unpaired is not None:
                raise DataError(
                    f"clip {unpaired!r} of {str(folder)!r} has no counterpart in {str(other_folder)!r}: "
                    "add it, or move the clip away"
                )
        for key, clip in lows.items():
            yield clip, highs[key], root if key == "." else clip


def _paired_with_truth(
    paths: Sequence[Path], truth: Path, on_notice: Callable[[str], None]
) -> list[tuple[Path, Path, Path]]:
    """Return the same as :func:`_paired_folders` for a folder of originals."""
    if not truth.exists():
        raise DataError(f"--truth {str(truth)!r} does not exist: name the folder of the originals")
    clips = [(root, clip) for root in paths for clip in clips_at(root, on_notice)]
    if truth.is_file() or (len(clips) == 1 and image_files(truth)):
        if len(clips) > 1:
            raise DataError(f"--truth {str(truth)!r} is one clip, there are {len(clips)}: name a folder")
        return [(clips[0][1], truth, clips[0][1])]
    return [(clip, _find_truth(truth, _clip_key(root, clip), clip), clip) for root, clip in clips]


def _find_truth(truth: Path, key: str, clip: Path) -> Path:
    expected = truth / (clip_name(clip) if key == "." else key)
    candidates = find_clip_named(expected)
    if not candidates:
        raise DataError(
            f"no truth for {str(clip)!r}: {str(expected)!r} is neither a folder of images nor "
            "a video; put it there"
        )
    if len(candidates) > 1:
        raise DataError(
            f"two truths for {str(clip)!r}: {str(candidates[0])!r} and {str(candidates[1])!r}; "
            "move one of them away"
        )
    return candidates[0]


def _pair_roots(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Yield each folder that holds both resolutions, with their folders."""
    lows, highs = benchmark_folders(folder)
    if len(lows) == 1 and len(highs) == 1:
        yield folder, lows[0], highs[0]
        return
    if len(lows) > 1 or (lows and len(highs) > 1):
        several = ", ".join(repr(path.name) for path in [*lows, *highs])
        raise DataError(
            f"{str(folder)!r} holds {several}: leave one low and one high resolution there, or name one, "
            "and the other with --truth"
        )
    for path in visible_entries(folder):
        if path.is_dir() and not path.is_symlink():  # a link may lead back up
            yield from _pair_roots(path)


def _published(path: Path) -> Layout | None:
    """Return the published data set in a folder, checked; None if it is none."""
    layout = recognize(path, "val")
    if layout is not None:
        layout.check()
    return layout


def _clips_by_key(folder: Path, on_notice: Callable[[str], None]) -> dict[str, Path]:
    by_key: dict[str, Path] = {}
    for clip in clips_at(folder, on_notice):
        other = by_key.setdefault(_clip_key(folder, clip), clip)
        if other is not clip:
            raise DataError(f"{str(other)!r} and {str(clip)!r} share a name: move one of them away")
    return by_key


def _clip_key(root: Path, clip: Path) -> str:
    """Return a clip's path relative to its root, without suffix; ``.`` if it is the root."""
    return "." if clip == root else (clip.parent / clip_name(clip)).relative_to(root).as_posix()


def _read_video(path: Path, max_frames: int | None, *, exact: bool) -> np.ndarray:
    frames: list[np.ndarray] = []
    size = 0
    decoded = decode_video(path, "leave it out or replace it", exact=exact)
    for frame in itertools.islice(decoded, max_frames):
        raise_if_cancelled()
        frames.append(frame)
        size += frame.nbytes
        if size > MAX_CLIP_BYTES and len(frames) != max_frames:
            raise _too_large_error(path)
        if frame.shape != frames[0].shape:
            raise DataError(f"the frames of {str(path)!r} change their size: use clips of one size")
    return np.stack(frames)


def _read_image_folder(folder: Path, max_frames: int | None, on_notice: Callable[[str], None]) -> np.ndarray:
    files = image_files(folder)[:max_frames]
    if not files:
        raise DataError(f"no image in {str(folder)!r}; leave it out or fill it")
    clip = np.empty(0, np.uint8)
    rounded_count = 0
    for index, file in enumerate(files):
        raise_if_cancelled()
        image, is_rounded = read_image(file, "replace it")
        rounded_count += is_rounded
        if not index:
            if image.nbytes * len(files) > MAX_CLIP_BYTES:
                raise _too_large_error(folder)
            clip = np.empty((len(files), *image.shape), np.uint8)
        if image.shape != clip.shape[1:]:
            sizes = [f"{frame.shape[1]}x{frame.shape[0]}" for frame in (image, clip[0])]
            raise DataError(
                f"{str(file)!r} has {sizes[0]} pixels, {files[0].name!r} {sizes[1]}: give all "
                "frames of a clip one size"
            )
        clip[index] = image
    if rounded_count:
        on_notice(f"{str(folder)!r}: {rounded_count} images of 16 bits are rounded to 8")
    return clip


def _too_large_error(path: Path) -> DataError:
    return DataError(f"{str(path)!r} is too long to score at once: take its start with --frames")
