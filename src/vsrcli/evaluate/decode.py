"""The frames of a clip, decoded: of a video, or of a folder of pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import imageio.v3 as imageio
import numpy as np
from av.error import FFmpegError

from vsrcli.errors import DataError
from vsrcli.evaluate.clips import pictures_in

LARGEST = 3 * 2**30  # bytes of one decoded clip, which is held in memory
_MAY_BE_DEEP = {".png", ".tif", ".tiff"}


def read_frames(
    path: Path, frames: int | None = None, on_notice: Callable[[str], None] = lambda text: None
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
    return _pictures(path, frames, on_notice) if path.is_dir() else _video(path, frames)


def _video(path: Path, frames: int | None) -> np.ndarray:
    pictures: list[np.ndarray] = []
    size = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"no video in {str(path)!r}; leave it out or replace it")
            for frame in container.decode(video=0):
                pictures.append(frame.to_ndarray(format="rgb24"))
                size += pictures[-1].nbytes
                if len(pictures) == frames:
                    break
                if size > LARGEST:
                    raise _too_long(path)
                if pictures[-1].shape != pictures[0].shape:
                    raise DataError(f"the pictures of {str(path)!r} change their size: use clips of one size")
    except (FFmpegError, OSError) as error:
        raise DataError(f"cannot decode {str(path)!r}: {error}; leave it out or replace it") from error
    if not pictures:
        raise DataError(f"no picture in {str(path)!r}; leave it out or replace it")
    return np.stack(pictures)


def _pictures(folder: Path, frames: int | None, on_notice: Callable[[str], None]) -> np.ndarray:
    files = pictures_in(folder)[:frames]
    if not files:
        raise DataError(f"no picture in {str(folder)!r}; leave it out or fill it")
    clip: np.ndarray[Any, Any] | None = None
    deep = 0
    for number, file in enumerate(files):
        picture = _picture(file)
        if picture.dtype != np.uint8:
            picture, deep = _rounded(picture), deep + 1
        if clip is None:
            if picture.nbytes * len(files) > LARGEST:
                raise _too_long(folder)
            clip = np.empty((len(files), *picture.shape), np.uint8)
        if picture.shape != clip.shape[1:]:
            sizes = [f"{frame.shape[1]}x{frame.shape[0]}" for frame in (picture, clip[0])]
            raise DataError(
                f"{str(file)!r} has {sizes[0]} pixels, {files[0].name!r} beside it {sizes[1]}: give all "
                "frames of a clip one size"
            )
        clip[number] = picture
    assert clip is not None
    if deep:
        on_notice(f"{str(folder)!r}: {deep} pictures of 16 bits are rounded to 8")
    return clip


def _picture(path: Path) -> np.ndarray:
    """One picture as R'G'B' (H, W, 3), uint8 or, if the file is deeper, uint16."""
    try:
        content = path.read_bytes()  # a name may hold what ffmpeg takes for a pattern
        if path.suffix.lower() in _MAY_BE_DEEP and _bits(content) > 8:  # Pillow would cut, not round
            return imageio.imread(content, plugin="pyav", index=0, format="rgb48le")
        return imageio.imread(content, plugin="pillow", index=0, mode="RGB")
    except (FFmpegError, OSError, ValueError, SyntaxError, IndexError) as error:  # Pillow raises any of them
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"cannot read {str(path)!r}: {reason}; replace it") from error


def _bits(content: bytes) -> int:
    """Of the deepest channel; 0 if ffmpeg does not know the picture."""
    stored = imageio.immeta(content, plugin="pyav")["video_format"]
    return max(part.bits for part in av.VideoFormat(stored).components) if stored else 0


def _rounded(picture: np.ndarray) -> np.ndarray:
    """16 bits to 8: 65535 becomes 255."""
    return ((picture.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _too_long(path: Path) -> DataError:
    return DataError(f"{str(path)!r} is too long to score at once: take its start with --frames")
