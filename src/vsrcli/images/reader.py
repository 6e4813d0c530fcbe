"""One picture file, decoded: its codes as they are, upright, without a detour over Y'CbCr.

Pillow decodes what has 8 bits. It would cut deeper pictures to 8 bits without a word, so these are decoded by
tifffile and by ffmpeg's decoders in PyAV. All of them are given bytes, never names, and the decoder by name:
there is no reader that could choose another file.

Pictures as frames, each of them read when its turn has come.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vsrcli.errors import DecodeError, InputError
from vsrcli.images import exr, tiff
from vsrcli.images.probe import open_pillow, probe_image
from vsrcli.images.tiff import decode_image, frame_to_array
from vsrcli.images.types import ImageInfo
from vsrcli.media.decoder import Decoder
from vsrcli.media.types import Frame, ImageSequence

_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB"}
_PLANES = {  # where R, G, B and alpha lie
    "gbrp": (2, 0, 1),
    "gbrap": (2, 0, 1, 3),
    "gray": (0,),
}


@dataclass(frozen=True)
class Image:
    """Pixels of a file.

    Attributes:
        pixels: (H, W, 3); uint8 or uint16 codes, or float32 linear light of any value.
        alpha: (H, W) of the same type; None where there is none. Colours are straight, except of light:
            those are multiplied by it.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None


def read_image(path: Path, look: ImageInfo) -> Image:
    """Decode a picture.

    Args:
        path: the file.
        look: what was found in it.

    Raises:
        DecodeError: it is damaged, or not what it was; a part of it is never taken for all.
    """
    import av

    try:
        content = path.read_bytes()
        found = _decoded(content, look)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error) as error:
        raise _damaged(path, error) from error
    except (av.FFmpegError, MemoryError, OverflowError, TypeError, RuntimeError) as error:
        raise _damaged(path, error) from error
    # Pillow turns TIFFs itself, but nothing else
    turn = 1 if look.format == "TIFF" and look.bits == 8 else look.orientation
    pixels, alpha = (None if each is None else _turned(each, turn) for each in found)
    assert pixels is not None
    if pixels.shape[:2] != (look.height, look.width):
        height, width = pixels.shape[:2]
        raise DecodeError(
            f"{path} has {width}x{height} pixels, not {look.width}x{look.height} as before: run it again"
        )
    return Image(pixels, alpha)


def _damaged(path: Path, error: BaseException) -> DecodeError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DecodeError(
        f"{path} cannot be decoded: the picture is damaged or cut short; get a complete copy", details=text
    )


def _decoded(content: bytes, look: ImageInfo) -> tuple[np.ndarray, np.ndarray | None]:
    if look.format == "EXR":
        return _split(_light(content), look.is_grayscale)
    if look.bits == 8:
        return _split(_by_pillow(content, look), look.is_grayscale)
    if look.format == "PNG":
        strict = {"err_detect": "explode+crccheck"}
        return _split(frame_to_array(decode_image(content, "png", strict)), look.is_grayscale)
    return _split(tiff.read_16bit(content, look), look.is_grayscale)


def _split(pixels: np.ndarray, grey: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """(H, W, channels) with one, two, three or four channels, into colours and alpha."""
    own = 1 if grey else 3
    alpha = pixels[..., own] if pixels.shape[2] > own else None
    return (pixels[..., :1].repeat(3, axis=2) if grey else pixels[..., :3]), alpha


def _by_pillow(content: bytes, look: ImageInfo) -> np.ndarray:
    with open_pillow(io.BytesIO(content), look.format) as image:
        mode = _MODES.get(image.mode, image.mode)
        if "transparency" in image.info:
            mode = "LA" if mode == "L" else "RGBA"
        associated = look.format == "TIFF" and image.tag_v2.get(338) == (tiff.ASSOCIATED,)
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return tiff.unassociate_alpha(pixels) if associated and pixels.shape[2] in (2, 4) else pixels


def _light(content: bytes) -> np.ndarray:
    """Floats of an EXR: (H, W, channels) float32."""
    if damaged := exr.find_truncation(content):
        raise ValueError(damaged)
    frame = decode_image(content, "exr", {"err_detect": "explode"})
    name = frame.format.name
    kind = np.dtype("<f2") if "f16" in name else np.dtype("<f4")
    order = _PLANES.get(name.split("f")[0])
    if order is None or not name.endswith("le") or max(order) >= len(frame.planes):
        raise ValueError(f"ffmpeg decodes it as {name}, which is not taken")
    planes = [
        np.frombuffer(frame.planes[at], kind).reshape(frame.height, -1)[:, : frame.width] for at in order
    ]
    return np.stack(planes, axis=-1).astype(np.float32)


def _turned(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Upright, after EXIF's orientation (CIPA DC-008, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def conform(picture: Image, *, deep: bool, alpha: bool) -> Image:
    """Codes as those of the whole sequence: in 16 bits if one of them has them, with alpha if it is kept.

    Light becomes codes, see ``exr``: with alpha, after its colours have been divided by it.
    """
    pixels, opacity = picture.pixels, picture.alpha
    if pixels.dtype.kind == "f":
        finite = np.nan_to_num(pixels, nan=0.0)
        if alpha and opacity is not None:
            finite = exr.unpremultiply(finite, opacity)
        pixels = exr.linear_to_srgb(finite)
        opacity = None if opacity is None else np.rint(opacity.clip(0, 1) * 65535).astype(np.uint16)
    elif deep and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
        opacity = None if opacity is None else opacity.astype(np.uint16) * np.uint16(257)
    if not alpha:
        return Image(pixels, None)
    if opacity is None:
        opacity = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    return Image(pixels, opacity)


class ImageSequenceDecoder(Decoder):
    """A :class:`~vsrcli.media.decoder.Decoder` of pictures.

    Args:
        source: the pictures.
        options: as of ``Decoder``. A picture that cannot be decoded is an error that names it; with
            ``tolerant`` the one before stands in its place.
    """

    def __init__(self, source: ImageSequence, **options: Any) -> None:
        super().__init__(source, **options)
        self._series = source

    def raise_if_damaged(self) -> None:
        """Every picture is checked when it is read."""

    def close(self) -> None:
        """Nothing is open."""

    def _seek_point(self) -> Fraction | None:
        return None

    def _decode_from(self, seek: Fraction | None) -> Iterator[Frame]:
        video, before, replaced = self._series.video, None, []
        for number in frame_range(self._series, self._start, self._end, self._max_frames):
            try:
                before = self._picture(number)
            except InputError:
                if not self._tolerant or before is None:
                    raise
                replaced.append(self._series.files[number].name)
            self.frame_count += 1
            yield Frame(before.pixels, number, video.time_base, before.alpha)
        if replaced:
            names = ", ".join(replaced[:5]) + (" …" if len(replaced) > 5 else "")
            self.warnings.append(f"{len(replaced)} damaged pictures are replaced by the ones before: {names}")

    def _picture(self, number: int) -> Image:
        file, video = self._series.files[number], self._series.video
        found = probe_image(file)
        if (found.format, found.width, found.height) != (self._series.format, video.width, video.height):
            raise DecodeError(f"{file} was changed while it was upscaled; put the old picture back")
        return conform(read_image(file, found), deep=video.is_high_bit_depth, alpha=self._alpha)


def frame_range(
    source: ImageSequence, start: Fraction | None, end: Fraction | None, frames: int | None = None
) -> range:
    """Which pictures begin in ``[start, end)``, seconds; at most so many."""
    rate = 1 / source.video.time_base
    first = 0 if start is None else max(-(-(start * rate) // 1), 0)
    last = len(source.files) if end is None else min(-(-(end * rate) // 1), len(source.files))
    if frames is not None:
        last = min(last, first + frames)
    return range(int(first), max(int(last), int(first)))
