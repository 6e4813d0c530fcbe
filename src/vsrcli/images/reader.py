"""Decode images, one by one or as the frames of an image sequence: upright, without conversion to Y'CbCr.

Pillow decodes images of 8 bits. It would silently truncate higher bit depths to 8 bits, so these are decoded
by tifffile and by ffmpeg's decoders in PyAV. All decoders are chosen by format and read bytes, never names:
no file can make them open another one.
"""

from __future__ import annotations

import hashlib
import io
import os
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
from vsrcli.images.sequence import probe_source
from vsrcli.images.tiff import decode_image, frame_to_array
from vsrcli.images.types import ImageInfo
from vsrcli.media.decoder import Decoder
from vsrcli.media.source_reader import SourceReader, Span, VideoReader
from vsrcli.media.types import Frame, ImageSequence
from vsrcli.system.files import sampled_sha256

_PILLOW_MODES = {"1": "L", "P": "RGB", "PA": "RGBA", "YCbCr": "RGB"}
_EXR_PLANES = {  # indices of the planes with R, G, B (or grey) and alpha
    ("gbrp", False): (2, 0, 1),
    ("gbrap", False): (2, 0, 1, 3),
    ("gbrap", True): (0, 3),
    ("gray", True): (0,),
    ("ya", True): (0,),  # both channels in one
}


@dataclass(frozen=True)
class Image:
    """Pixels of an image.

    Attributes:
        pixels: (H, W, 3); uint8 or uint16 codes, or float32 linear light of any value.
        alpha: (H, W) of the same type; None without alpha. Codes are straight, linear light is premultiplied.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None


def read_image(path: Path, info: ImageInfo) -> Image:
    """Decode an image.

    Args:
        path: the file.
        info: its properties, as probed.

    Raises:
        DecodeError: the file is damaged, truncated, or no longer of the size that was probed.
    """
    import av

    try:
        content = path.read_bytes()
        decoded = _decode(content, info)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error) as error:
        raise _decode_error(path, error) from error
    except (av.FFmpegError, MemoryError, OverflowError, TypeError, RuntimeError) as error:
        raise _decode_error(path, error) from error
    # Pillow applies the orientation of TIFFs itself, but of no other format
    remaining_orientation = 1 if info.format == "TIFF" and info.bit_depth == 8 else info.orientation
    pixels, alpha = (
        None if each is None else _apply_orientation(each, remaining_orientation) for each in decoded
    )
    assert pixels is not None
    if pixels.shape[:2] != (info.height, info.width):
        height, width = pixels.shape[:2]
        raise DecodeError(
            f"{path} has {width}x{height} pixels, not {info.width}x{info.height} as before: run it again"
        )
    return Image(pixels, alpha)


def _decode_error(path: Path, error: BaseException) -> DecodeError:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DecodeError(
        f"{path} cannot be decoded: the image is damaged or cut short; get a complete copy",
        details=text,
        resume_option="--keep-going",
    )


def _decode(content: bytes, info: ImageInfo) -> tuple[np.ndarray, np.ndarray | None]:
    if info.format == "EXR":
        return _split_alpha(_decode_exr(content, info.is_grayscale), info.is_grayscale)
    if info.bit_depth == 8:
        return _split_alpha(_decode_with_pillow(content, info), info.is_grayscale)
    if info.format == "PNG":
        strict = {"err_detect": "explode+crccheck"}
        return _split_alpha(frame_to_array(decode_image(content, "png", strict)), info.is_grayscale)
    return _split_alpha(tiff.read_16bit(content, info), info.is_grayscale)


def _split_alpha(pixels: np.ndarray, is_grayscale: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Split (H, W, channels) of 1 to 4 channels into colours (H, W, 3) and alpha (H, W)."""
    color_channels = 1 if is_grayscale else 3
    alpha = pixels[..., color_channels] if pixels.shape[2] > color_channels else None
    return (pixels[..., :1].repeat(3, axis=2) if is_grayscale else pixels[..., :3]), alpha


def _decode_with_pillow(content: bytes, info: ImageInfo) -> np.ndarray:
    with open_pillow(io.BytesIO(content), info.format) as image:
        mode = _PILLOW_MODES.get(image.mode, image.mode)
        if "transparency" in image.info:
            mode = "LA" if mode == "L" else "RGBA"
        is_associated = image.mode in ("La", "RGBa")  # Pillow itself divides RGB, not grey
        pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return tiff.unassociate_alpha(pixels) if is_associated else pixels


def _decode_exr(content: bytes, is_grayscale: bool) -> np.ndarray:
    """Decode an EXR to (H, W, channels), float32: R, G and B or grey, and alpha if it has it."""
    if damaged := exr.find_truncation(content):
        raise ValueError(damaged)
    frame = decode_image(exr.move_to_origin(content), "exr", {"err_detect": "explode"})
    pix_fmt = frame.format.name
    dtype = np.dtype("<f2") if "f16" in pix_fmt else np.dtype("<f4")
    kind = pix_fmt.split("f")[0]
    order, channels = _EXR_PLANES.get((kind, is_grayscale)), 2 if kind == "ya" else 1
    if order is None or not pix_fmt.endswith("le") or max(order) >= len(frame.planes):
        raise ValueError(f"ffmpeg decodes it as {pix_fmt}, which is not supported")
    planes = [
        np.frombuffer(frame.planes[at], dtype).reshape(frame.height, -1)[:, : frame.width * channels]
        for at in order
    ]
    return np.stack(planes, axis=-1).reshape(frame.height, frame.width, -1).astype(np.float32)


def _apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the image upright, by EXIF's orientation (CIPA DC-008, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def conform(image: Image, *, high_bit_depth: bool, with_alpha: bool) -> Image:
    """Convert an image to the codes of its sequence.

    Args:
        image: codes or linear light. Light becomes 16-bit codes on the sRGB curve, see
            :mod:`vsrcli.images.exr`; with alpha, its colours are divided by it first.
        high_bit_depth: convert codes of 8 bits to 16.
        with_alpha: return alpha, opaque where the image has none; otherwise drop it.
    """
    pixels, alpha = image.pixels, image.alpha
    if pixels.dtype.kind == "f":
        finite = np.nan_to_num(pixels, nan=0.0)
        if with_alpha and alpha is not None:
            finite = exr.unpremultiply(finite, alpha)
        pixels = exr.linear_to_srgb(finite)
        alpha = None if alpha is None else np.rint(alpha.clip(0, 1) * 65535).astype(np.uint16)
    elif high_bit_depth and pixels.dtype == np.uint8:
        pixels = pixels.astype(np.uint16) * np.uint16(257)
        alpha = None if alpha is None else alpha.astype(np.uint16) * np.uint16(257)
    if not with_alpha:
        return Image(pixels, None)
    if alpha is None:
        alpha = np.full(pixels.shape[:2], np.iinfo(pixels.dtype).max, pixels.dtype)
    return Image(pixels, alpha)


class ImageSequenceDecoder(Decoder):
    """A :class:`~vsrcli.media.decoder.Decoder` of an image sequence, which reads each file when it is due.

    Args:
        source: the image sequence.
        options: of ``Decoder``. An image that cannot be decoded is an error that names it; with ``tolerant``
            it is replaced by the image before.
    """

    def __init__(self, source: ImageSequence, **options: Any) -> None:
        super().__init__(source, **options)
        self._sequence = source

    def raise_if_damaged(self) -> None:
        """Do nothing: every image is checked when it is read."""

    def close(self) -> None:
        """Do nothing: no file is open between frames."""

    def _seek_point(self) -> Fraction | None:
        return None

    def _decode_from(self, seek: Fraction | None) -> Iterator[Frame]:
        video, image, replaced = self._sequence.video, None, []
        for index in self._sequence.indices_in(self._start, self._end, self._max_frames):
            try:
                image = self._read_frame(index)
            except InputError:
                if not self._tolerant or image is None:
                    raise
                replaced.append(self._sequence.files[index].name)
            self.frame_count += 1
            yield Frame(image.pixels, index, video.time_base, image.alpha, is_straight=True)
        if replaced:
            names = ", ".join(replaced[:5]) + (" …" if len(replaced) > 5 else "")
            self.warnings.append(f"{len(replaced)} damaged images are replaced by the ones before: {names}")

    def _read_frame(self, index: int) -> Image:
        image = read_image_of(self._sequence, index)
        high_bit_depth = self._sequence.video.is_high_bit_depth
        return conform(image, high_bit_depth=high_bit_depth, with_alpha=self._alpha)


def read_image_of(sequence: ImageSequence, index: int) -> Image:
    """Decode an image of a sequence.

    Raises:
        InputError: it cannot be decoded, or is no longer of the sequence's format and size.
    """
    file, video = sequence.files[index], sequence.video
    info = probe_image(file)
    if (info.format, info.width, info.height) != (sequence.format, video.width, video.height):
        raise DecodeError(f"{file} was changed while it was upscaled; put the old image back")
    return read_image(file, info)


def open_reader(
    path: Path, frame_rate: Fraction | None, target: Path | None = None, *, keep_going: bool = False
) -> SourceReader:
    """Return the reader of what a path means, see :func:`~vsrcli.images.sequence.probe_source`."""
    source = probe_source(path, frame_rate, target, keep_going=keep_going)
    return VideoReader(source) if source.images is None else ImageSequenceReader(source.images)


class ImageSequenceReader:
    """The :class:`~vsrcli.media.source_reader.SourceReader` of an image sequence."""

    def __init__(self, source: ImageSequence) -> None:
        self.source = source

    def open_decoder(self, **options: Any) -> ImageSequenceDecoder:
        return ImageSequenceDecoder(self.source, **options)

    def check_span(self, start: Fraction | None, end: Fraction | None) -> None:
        source = self.source
        if not source.indices_in(start, end):
            raise InputError(
                f"{source.path}: {len(source.files)} images at {source.video.frame_rate} per second, none of "
                "them in the chosen span; choose another, or another --fps"
            )

    def check_damage(self) -> None:
        """Do nothing: every image is checked when it is read."""

    def read_span(
        self,
        start: Fraction | None,
        end: Fraction | None,
        max_frames: int | None = None,
        *,
        for_counting: bool = False,
    ) -> Span:
        if max_frames is not None:
            end = self.source.indices_in(start, end, max_frames).stop * self.source.video.time_base
        return Span(start, end, frame_rate=self.source.video.frame_rate)

    def fingerprint(self) -> dict[str, str]:
        size, times, content = 0, hashlib.sha256(), hashlib.sha256()
        files, samples = self.source.files, 16
        for file in files:
            stat = file.stat()
            size += stat.st_size
            times.update(f"{stat.st_mtime_ns} ".encode())
            content.update(os.fsencode(file.name) + f"\0{stat.st_size}\0".encode())
        for number in range(samples):
            content.update(sampled_sha256(files[(len(files) - 1) * number // (samples - 1)]).encode())
        return {
            "the input's size": str(size),
            "the input's modification time": times.hexdigest(),
            "the input": content.hexdigest(),
        }
