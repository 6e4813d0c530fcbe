"""Clips on disk: videos, and folders of pictures such as ``calendar/Frame 001.png``.

Low resolution that is there already, beside its truth: folders ``lr/`` and ``hr/``, or two of any name.

The frames of a clip, decoded: of a video, or of a folder of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import imageio.v3 as imageio
import numpy as np
from av.error import FFmpegError

from vsrcli.errors import DataError
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, natural_key

MIN_FRAMES = 5  # frames: two left out at each end, one to score


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk and the name that tells it from the others of one run.

    Attributes:
        path: a video, or a folder of pictures.
        name: unique in the run.
        truth: the same in high resolution, if ``path`` is low resolution as it is; else None.
    """

    path: Path
    name: str
    truth: Path | None = None

    @property
    def plain_name(self) -> str:
        """The name without regard to others: what random choices are seeded by."""
        return clip_name(self.path)


def find_clips(paths: Sequence[Path], on_notice: Callable[[str], None] = lambda text: None) -> list[ClipFile]:
    """The clips that files and folders name, in order.

    A folder that holds pictures is one clip, its frames in natural order (``2.png`` before ``10.png``); other
    folders are searched recursively. Hidden files, and pictures that lie beside videos, are passed over.

    Args:
        paths: videos, folders of pictures, or folders that hold any of them.
        on_notice: told of pictures that are passed over.

    Raises:
        DataError: a path that does not exist, a folder without a clip, or one with too few pictures.
    """
    found = [clip for path in paths for clip in clips_at(path, on_notice)]
    unique = list({path.resolve(): path for path in found}.values())
    names = distinct_names(unique, [clip_name(path) for path in unique])
    return [ClipFile(path, name) for path, name in zip(unique, names, strict=True)]


def clips_at(path: Path, on_notice: Callable[[str], None] = lambda text: None) -> list[Path]:
    """What one path names, see :func:`find_clips`."""
    if path.is_dir():
        inside = list(_walk_clips(path, set(), on_notice))
        if not inside:
            raise DataError(
                f"no clip in {str(path)!r}: it should hold videos (.mp4, .mkv, ...) or folders of "
                "images (.png, .tif, ...)"
            )
        return inside
    if not path.is_file():
        raise DataError(f"no file or folder {str(path)!r}: name clips, or folders that hold some")
    if path.suffix.lower() in IMAGE_EXTENSIONS:
        raise DataError(f"{str(path)!r} is one picture: name the folder that holds the frames of the clip")
    return [path]


def image_files(folder: Path) -> list[Path]:
    """The pictures that lie directly in a folder, in natural order."""
    return [path for path in _entries(folder) if path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file()]


def clip_name(path: Path) -> str:
    """A clip's name: a folder's own, or a file's without its suffix."""
    path = path if path.name else path.resolve()  # "." has a name elsewhere
    return path.name if path.is_dir() else path.stem


def distinct_names(paths: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Names that tell paths apart: those that occur twice get as many folders before them as needed.

    Args:
        paths: all different.
        names: what each would be called by itself.
    """
    result, folders = list(names), 1
    while len(set(result)) < len(result):
        ambiguous = {name for name in result if result.count(name) > 1}
        longer = ["/".join(path.resolve().parts[-1 - folders :]) for path in paths]
        if all(longer[i] == name for i, name in enumerate(result) if name in ambiguous):
            break  # the whole paths: there is no more to add
        result = [longer[i] if name in ambiguous else name for i, name in enumerate(result)]
        folders += 1
    return result


def _walk_clips(folder: Path, visited: set[Path], on_notice: Callable[[str], None]) -> Iterator[Path]:
    """Clips under a folder, itself included; every folder once, whatever links there are."""
    if folder.resolve() in visited:
        return
    visited.add(folder.resolve())
    entries = _entries(folder)
    videos = {path for path in entries if path.suffix.lower() in VIDEO_EXTENSIONS and path.is_file()}
    images = image_files(folder)
    if images and videos:
        on_notice(f"{str(folder)!r}: {len(images)} pictures lie beside videos and are passed over")
    elif images:
        if len(images) < MIN_FRAMES:
            raise DataError(
                f"{str(folder)!r} is a clip of {len(images)} pictures, too few: put at least {MIN_FRAMES} "
                "frames there, or none"
            )
        yield folder
    for path in entries:
        if path in videos:
            yield path
        elif path.is_dir():
            yield from _walk_clips(path, visited, on_notice)


def _entries(folder: Path) -> list[Path]:
    try:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot look into {str(folder)!r}: {error.strerror}; leave it out") from error
    return sorted(visible, key=lambda path: (natural_key(path.name), path.name))


LOW_FOLDER_NAMES, HIGH_FOLDER_NAMES = ("lr",), ("hr", "gt")  # names of the folders, in any case
_LAYOUT = "folders 'lr' and 'hr' (or 'LR' and 'GT') that hold clips of the same names, or --truth FOLDER"


def find_pairs(
    paths: Sequence[Path], truth: Path | None = None, on_notice: Callable[[str], None] = lambda text: None
) -> list[ClipFile]:
    """Low-resolution clips with their truth.

    Without ``truth``, wherever a folder holds ``lr`` and ``hr`` (or ``gt``, in any case), these hold the same
    clips twice, or are one clip each. With it, ``paths`` name low-resolution clips as in
    :func:`~vsrcli.evaluate.clips.find_clips`, and each has a namesake under ``truth``.

    Args:
        paths: files or folders.
        truth: folder of the originals; for a single clip also a video or a folder of pictures.
        on_notice: told what is passed over.

    Returns:
        In order; ``path`` is low resolution, ``truth`` is set.

    Raises:
        DataError: no pairs, or a clip without its namesake.
    """
    if truth is None:
        found = [pair for path in paths for pair in _paired_folders(path, on_notice)]
    else:
        found = _paired_with_truth(paths, truth, on_notice)
    unique = list({low.resolve(): (low, high, display_paths) for low, high, display_paths in found}.values())
    known = [path for _, _, path in unique]
    names = distinct_names(known, [clip_name(path) for path in known])
    return [ClipFile(low, name, high) for (low, high, _), name in zip(unique, names, strict=True)]


def _paired_folders(path: Path, on_notice: Callable[[str], None]) -> Iterator[tuple[Path, Path, Path]]:
    """Low resolution, truth, and the path that the clip is known by."""
    roots = list(_pair_roots(path)) if path.is_dir() else []
    if not roots:
        what = "is no folder with pairs" if path.exists() else "is not there"
        raise DataError(f"{str(path)!r} {what}: --degrade none needs {_LAYOUT}")
    for root, low, high in roots:
        lows, highs = _clips_by_key(low, on_notice), _clips_by_key(high, on_notice)
        for alone, here, there in ((lows, low, high), (highs, high, low)):
            missing = next((key for key in alone if key not in (highs if alone is lows else lows)), None)
            if missing is not None:
                raise DataError(
                    f"clip {missing!r} of {str(here)!r} has no namesake in {str(there)!r}: add it, or "
                    "move it away"
                )
        for key, clip in lows.items():
            yield clip, highs[key], root if key == "." else clip


def _paired_with_truth(
    paths: Sequence[Path], truth: Path, on_notice: Callable[[str], None]
) -> list[tuple[Path, Path, Path]]:
    if not truth.exists():
        raise DataError(f"--truth {str(truth)!r} is not there: name the folder of the originals")
    clips = [(root, clip) for root in paths for clip in clips_at(root, on_notice)]
    if truth.is_file() or (len(clips) == 1 and image_files(truth)):
        if len(clips) > 1:
            raise DataError(f"--truth {str(truth)!r} is one clip, there are {len(clips)}: name a folder")
        return [(clips[0][1], truth, clips[0][1])]
    return [(clip, _find_truth(truth, _clip_key(root, clip), clip), clip) for root, clip in clips]


def _find_truth(truth: Path, key: str, clip: Path) -> Path:
    key = clip_name(clip) if key == "." else key
    expected = truth / key
    found = [expected] if expected.is_dir() and image_files(expected) else []
    if expected.parent.is_dir():
        found += [
            path
            for path in sorted(expected.parent.iterdir())
            if path.is_file() and path.stem == expected.name and path.suffix.lower() in VIDEO_EXTENSIONS
        ]
    if not found:
        raise DataError(
            f"no truth for {str(clip)!r}: {str(expected)!r} is neither a folder of pictures nor "
            "a video; put it there"
        )
    if len(found) > 1:
        raise DataError(
            f"two truths for {str(clip)!r}: {str(found[0])!r} and {str(found[1])!r}; move one of them away"
        )
    return found[0]


def _pair_roots(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Folders that hold both resolutions, with these."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    lows, highs = (
        [path for path in inside if path.name.lower() in names]
        for names in (LOW_FOLDER_NAMES, HIGH_FOLDER_NAMES)
    )
    if len(lows) == 1 and len(highs) == 1:
        yield folder, lows[0], highs[0]
        return
    if len(lows) > 1 or (lows and len(highs) > 1):
        several = ", ".join(repr(path.name) for path in [*lows, *highs])
        raise DataError(f"{str(folder)!r} holds {several}: leave one low and one high resolution there")
    for path in inside:
        if not path.is_symlink():  # a link may lead back up
            yield from _pair_roots(path)


def _clips_by_key(folder: Path, on_notice: Callable[[str], None]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for clip in clips_at(folder, on_notice):
        other = found.setdefault(_clip_key(folder, clip), clip)
        if other is not clip:
            raise DataError(f"{str(other)!r} and {str(clip)!r} share a name: move one of them away")
    return found


def _clip_key(root: Path, clip: Path) -> str:
    """Where a clip lies under its root, without its suffix; ``.`` if it is the root."""
    return "." if clip == root else (clip.parent / clip_name(clip)).relative_to(root).as_posix()


MAX_CLIP_BYTES = 3 * 2**30  # bytes of one decoded clip, which is held in memory
_HIGH_BIT_DEPTH_EXTENSIONS = {".png", ".tif", ".tiff"}


def read_frames(
    path: Path, max_frames: int | None = None, on_notice: Callable[[str], None] = lambda text: None
) -> np.ndarray:
    """Decode a clip, or its first ``frames``.

    Args:
        path: a video, or a folder of pictures, in natural order.
        frames: take only so many from the start; None: all.
        on_notice: told of pictures in more than 8 bits, which are rounded.

    Returns:
        uint8 R'G'B' (T, H, W, 3).

    Raises:
        DataError: not a video, damaged, too long to be held in memory, or frames of different sizes.
    """
    return _read_image_folder(path, max_frames, on_notice) if path.is_dir() else _read_video(path, max_frames)


def _read_video(path: Path, max_frames: int | None) -> np.ndarray:
    frames: list[np.ndarray] = []
    size = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"no video in {str(path)!r}; leave it out or replace it")
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
                size += frames[-1].nbytes
                if len(frames) == max_frames:
                    break
                if size > MAX_CLIP_BYTES:
                    raise _too_large_error(path)
                if frames[-1].shape != frames[0].shape:
                    raise DataError(f"the pictures of {str(path)!r} change their size: use clips of one size")
    except (FFmpegError, OSError) as error:
        raise DataError(f"cannot decode {str(path)!r}: {error}; leave it out or replace it") from error
    if not frames:
        raise DataError(f"no picture in {str(path)!r}; leave it out or replace it")
    return np.stack(frames)


def _read_image_folder(folder: Path, max_frames: int | None, on_notice: Callable[[str], None]) -> np.ndarray:
    files = image_files(folder)[:max_frames]
    if not files:
        raise DataError(f"no picture in {str(folder)!r}; leave it out or fill it")
    clip: np.ndarray[Any, Any] | None = None
    rounded_count = 0
    for index, file in enumerate(files):
        image = _read_image(file)
        if image.dtype != np.uint8:
            image, rounded_count = _round_to_8_bits(image), rounded_count + 1
        if clip is None:
            if image.nbytes * len(files) > MAX_CLIP_BYTES:
                raise _too_large_error(folder)
            clip = np.empty((len(files), *image.shape), np.uint8)
        if image.shape != clip.shape[1:]:
            sizes = [f"{frame.shape[1]}x{frame.shape[0]}" for frame in (image, clip[0])]
            raise DataError(
                f"{str(file)!r} has {sizes[0]} pixels, {files[0].name!r} beside it {sizes[1]}: give all "
                "frames of a clip one size"
            )
        clip[index] = image
    assert clip is not None
    if rounded_count:
        on_notice(f"{str(folder)!r}: {rounded_count} pictures of 16 bits are rounded to 8")
    return clip


def _read_image(path: Path) -> np.ndarray:
    """One picture as R'G'B' (H, W, 3), uint8 or, if the file is deeper, uint16."""
    try:
        content = path.read_bytes()  # a name may hold what ffmpeg takes for a pattern
        if (
            path.suffix.lower() in _HIGH_BIT_DEPTH_EXTENSIONS and _bit_depth(content) > 8
        ):  # Pillow would cut, not round
            return imageio.imread(content, plugin="pyav", index=0, format="rgb48le")
        return imageio.imread(content, plugin="pillow", index=0, mode="RGB")
    except (FFmpegError, OSError, ValueError, SyntaxError, IndexError) as error:  # Pillow raises any of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read {str(path)!r}: {reason}; replace it") from error


def _bit_depth(content: bytes) -> int:
    """Of the deepest channel; 0 if ffmpeg does not know the picture."""
    stored = imageio.immeta(content, plugin="pyav")["video_format"]
    return max(part.bits for part in av.VideoFormat(stored).components) if stored else 0


def _round_to_8_bits(image: np.ndarray) -> np.ndarray:
    """16 bits to 8: 65535 becomes 255."""
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _too_large_error(path: Path) -> DataError:
    return DataError(f"{str(path)!r} is too long to score at once: take its start with --frames")
