"""Decode videos and images into 8-bit R'G'B', and list the images of a folder in natural order."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import imageio.v3 as imageio
import numpy as np
from av.error import FFmpegError
from PIL import Image

from vsrcli.errors import DataError
from vsrcli.media.conversion import to_rgb
from vsrcli.media.ffmpeg import file_url
from vsrcli.media.safety import demux
from vsrcli.system.text import IMAGE_EXTENSIONS, natural_key

_HIGH_BIT_DEPTH_EXTENSIONS = {".png", ".tif", ".tiff"}
_PILLOW_ERRORS = (OSError, ValueError, SyntaxError, IndexError, Image.DecompressionBombError)


def decode_video(path: Path, remedy: str, *, exact: bool = False) -> Iterator[np.ndarray]:
    """Yield the frames of a video, uint8 R'G'B' (H, W, 3).

    Args:
        path: the video.
        remedy: ends the message of an error.
        exact: convert as exactly as ``vsr upscale``, with the same colours where tags are missing: for frames
            that are compared with those of another file. Otherwise the conversion is swscale's fast one,
            about 1.2 codes darker, with BT.601 where the matrix is not tagged.

    Raises:
        DataError: there is no frame, or it cannot be decoded.
    """
    for frame in decode_frames(path, remedy):
        # The fast one stays where low resolution is made from the decoded truth itself: both are darker,
        # published figures were measured so, and arrays in the cache of `vsr train` were made so.
        with converting(path, remedy):
            pixels = to_rgb(frame) if exact else frame.to_ndarray(format="rgb24")
        yield pixels


def decode_frames(path: Path, remedy: str) -> Iterator[av.VideoFrame]:
    """Yield the frames of a video as the decoder gives them, with their times and colour tags.

    Raises:
        DataError: there is no frame, or it cannot be decoded; the message ends with ``remedy``.
    """
    frame = None
    try:
        with av.open(file_url(path), metadata_errors="replace") as container:
            if not container.streams.video:
                raise DataError(f"no video in {str(path)!r}; {remedy}")
            for packet in demux(container, container.streams.video[0]):
                for frame in packet.decode():
                    yield frame
    except (FFmpegError, OSError) as error:
        raise DataError(f"cannot decode {str(path)!r}: {error}; {remedy}") from error
    if frame is None:
        raise DataError(f"no frame in {str(path)!r}; {remedy}")


@contextmanager
def converting(path: Path, remedy: str) -> Iterator[None]:
    """Raise ``DataError`` if swscale cannot convert a frame of a video, as with YCgCo and ICtCp."""
    try:
        yield
    except (FFmpegError, OSError, ValueError) as error:
        raise DataError(f"cannot convert the colours of {str(path)!r}: {error}; {remedy}") from error


def read_image(path: Path, remedy: str) -> tuple[np.ndarray, bool]:
    """Decode an image.

    Returns:
        uint8 R'G'B' (H, W, 3), and whether it was rounded from more bits: 65535 becomes 255.

    Raises:
        DataError: it cannot be decoded; the message ends with ``remedy``.
    """
    try:
        content = path.read_bytes()  # ffmpeg could take the name for a pattern
        if path.suffix.lower() not in _HIGH_BIT_DEPTH_EXTENSIONS or _bit_depth(content) <= 8:
            return imageio.imread(content, plugin="pillow", index=0, mode="RGB"), False
        image = imageio.imread(content, plugin="pyav", index=0, format="rgb48le")  # Pillow would truncate
    except (FFmpegError, *_PILLOW_ERRORS) as error:
        cause = error.__cause__  # where imageio wraps an error of Pillow, its own message says nothing
        raise _image_error(path, cause if isinstance(cause, _PILLOW_ERRORS) else error, remedy) from error
    return ((image.astype(np.uint32) + 128) // 257).astype(np.uint8), True


def image_size(path: Path, remedy: str) -> tuple[int, int]:
    """Return width and height of an image; decode nothing.

    Raises:
        DataError: it cannot be read, or is larger than Pillow allows; the message ends with ``remedy``.
    """
    try:
        with Image.open(path) as image:
            return image.size
    except _PILLOW_ERRORS as error:
        raise _image_error(path, error, remedy) from error


def _image_error(path: Path, error: BaseException, remedy: str) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(f"cannot read {str(path)!r}: {reason.rstrip('.')}; {remedy}")


def visible_entries(folder: Path) -> list[Path]:
    """Return the entries of a folder that are not hidden, in natural order.

    Raises:
        DataError: it cannot be listed.
    """
    try:
        visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot list {str(folder)!r}: {error.strerror}; leave it out") from error
    return sorted(visible, key=lambda path: (natural_key(path.name), path.name))


def image_files(folder: Path) -> list[Path]:
    """Return the images directly in a folder, in natural order."""
    return [
        path for path in visible_entries(folder) if path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file()
    ]


def _bit_depth(content: bytes) -> int:
    """Return the largest bit depth of an image's channels; 0 if ffmpeg does not recognize the image."""
    stored = imageio.immeta(content, plugin="pyav")["video_format"]
    return max(part.bits for part in av.VideoFormat(stored).components) if stored else 0
