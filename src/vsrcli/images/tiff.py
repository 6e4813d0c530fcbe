"""TIFF: what a file holds, and pixels of 16 bits.

tifffile reads every layout, but of the compressions only zlib's without a further package; ffmpeg's decoder
knows LZW and PackBits.

ffmpeg's coders of pictures, called by name and given bytes: no container, no file, no choice of reader.
"""

from __future__ import annotations

import io
import math
import zlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

import numpy as np

from vsrcli.errors import InputError
from vsrcli.images.types import ImageInfo, first_line, parse_orientation, oriented_size
from vsrcli.media.safety import MAX_PIXELS

ASSOCIATED_ALPHA = 1  # alpha that colours are multiplied by
_MAX_EXTRA_CHANNELS = 5  # channels beside the colours
_UNCOMPRESSED, _DEFLATE = 1, (8, 32946)  # compressions


def probe_tiff(file: IO[bytes], path: Path) -> ImageInfo:
    """Describe the first page.

    Raises:
        InputError: of a kind that is not taken.
        ValueError: damaged.
    """
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise InputError(f"{path} is built like a TIFF; if it is a camera's raw file, develop it first")
    import tifffile

    try:
        with tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages.first
            info = _page_info(page, path)
            extra_pages = len(tiff.pages) - 1
    except (tifffile.TiffFileError, AttributeError, TypeError) as error:
        raise ValueError(first_line(error)) from error
    ignored = (f"{extra_pages} further page{'s' * (extra_pages > 1)}",) if extra_pages else ()
    return replace(info, others=ignored)


def _page_info(page: Any, path: Path) -> ImageInfo:
    color_model = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 6: "rgb"}.get(int(page.photometric))
    bit_depth, sample_format = int(page.bitspersample), int(page.sampleformat)
    samples = int(page.samplesperpixel)
    if (
        color_model is None
        or sample_format not in (1, 4)
        or bit_depth not in (1, 2, 4, 8, 16)
        or page.imagedepth != 1
    ):
        numbers = {1: "integer", 2: "signed", 3: "float"}.get(sample_format, "unknown")
        raise InputError(
            f"{path}: {bit_depth}-bit {numbers} TIFF in {page.photometric.name} is not taken; convert it to 8 or "
            "16 bits in RGB or grey, or float to EXR"
        )
    color_channels = {"grey": 1, "palette": 1, "rgb": 3}[color_model]
    if not color_channels <= samples <= color_channels + _MAX_EXTRA_CHANNELS:
        raise InputError(f"{path}: TIFF of {samples} channels is not taken; convert it to RGB first")
    extra = [int(each) for each in page.extrasamples]
    exif_orientation = parse_orientation(getattr(page.tags.get("Orientation"), "value", 1))
    width, height = oriented_size(int(page.imagewidth), int(page.imagelength), exif_orientation)
    has_alpha = samples > color_channels and (not extra or extra[0] in (1, 2))
    deep = bit_depth == 16
    return ImageInfo("TIFF", width, height, 16 if deep else 8, color_channels == 1 and color_model == "grey", has_alpha, exif_orientation,
                has_palette=color_model == "palette")  # fmt: skip


def read_16bit(content: bytes, info: ImageInfo) -> np.ndarray:
    """Codes of the first page: uint16 (H, W, channels), alpha last and straight.

    Raises:
        ValueError, av.FFmpegError: damaged, or cut short.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page: Any = tiff.pages.first
        ends = [at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends) > len(content):
            raise ValueError("it ends before its pixels")
        if int(page.compression) in (_UNCOMPRESSED, *_DEFLATE):
            if int(page.compression) in _DEFLATE:
                _check_deflated_sizes(content, page)
            pixels = page.asarray().reshape(page.shape)
            if page.axes.startswith("S"):
                pixels = np.moveaxis(pixels, 0, -1)
        else:  # what tifffile could decode with a further package only
            pixels = frame_to_array(decode_image(content, "tiff"))
        is_inverted = int(page.photometric) == 0
        is_associated = [int(each) for each in page.extrasamples][:1] == [ASSOCIATED_ALPHA]
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = np.ascontiguousarray(pixels, np.uint16)
    if is_inverted and int(page.compression) in (_UNCOMPRESSED, *_DEFLATE):
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], axis=-1)
    color_channels = 1 if info.is_grayscale else 3
    pixels = pixels[..., : color_channels + 1] if info.has_alpha else pixels[..., :color_channels]
    return unassociate_alpha(pixels) if is_associated and info.has_alpha else pixels


def _check_deflated_sizes(content: bytes, page: Any) -> None:
    """A few bytes can promise far more than memory holds; here none may become more than its place takes."""
    max_bytes = math.prod(page.chunks) * 2
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        decompressor = zlib.decompressobj()
        try:
            decompressor.decompress(content[offset : offset + size], max_bytes + 1)
        except zlib.error as error:
            raise ValueError(f"its data at byte {offset} are damaged") from error
        if not decompressor.eof:
            raise ValueError(f"its data at byte {offset} are damaged")


def unassociate_alpha(pixels: np.ndarray) -> np.ndarray:
    """Codes (H, W, colours and alpha) that were multiplied by alpha, without it."""
    max_code = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:].astype(np.float64)
    straight = np.divide(colours * max_code, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.concatenate([np.rint(straight.clip(0, max_code)), alpha], axis=-1).astype(pixels.dtype)


def decode_image(content: bytes, codec: str, options: dict[str, str] | None = None) -> Any:
    """The one frame in a file's bytes.

    Raises:
        ValueError, av.FFmpegError: there is none, or not all of it.
    """
    import av

    context: Any = av.CodecContext.create(codec, "r")
    context.options = {"max_pixels": str(MAX_PIXELS), **(options or {})}
    frames = context.decode(av.Packet(content))
    if not frames:
        frames = context.decode(None)
    if len(frames) != 1 or frames[0].is_corrupt:
        raise ValueError("its pixels are incomplete")
    return frames[0]


def frame_to_array(frame: Any) -> np.ndarray:
    """Integer pixels of one plane: (H, W, channels) in this machine's byte order."""
    bits, pix_fmt = frame.format.components[0].bits, frame.format.name
    dtype = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if pix_fmt.endswith("be") else "<u2")
    channels = len(frame.format.components)
    if len(frame.planes) != 1 or bits not in (8, 16):
        raise ValueError(f"ffmpeg decodes it as {pix_fmt}, which is not taken")
    rows = np.frombuffer(frame.planes[0], dtype).reshape(frame.height, -1)
    pixels = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return pixels.astype(dtype.newbyteorder("="))


def encode_image(codec: str, pix_fmt: str, planes: list[np.ndarray], options: dict[str, str]) -> bytes:
    """A file's bytes.

    Args:
        codec: the encoder.
        name: of the pixel format.
        planes: its planes, (H, W) or (H, W, channels).
        options: of the encoder.

    Raises:
        av.FFmpegError: it refused.
    """
    import av

    height, width = planes[0].shape[:2]
    context: Any = av.CodecContext.create(codec, "w")
    context.width, context.height, context.pix_fmt = width, height, pix_fmt
    context.time_base, context.options = Fraction(1, 25), options
    context.thread_count = 1
    frame = av.VideoFrame(width, height, pix_fmt)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(values).reshape(height, -1).view(np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
