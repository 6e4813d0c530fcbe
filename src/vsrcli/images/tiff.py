"""Probe TIFF files, read their 16-bit pixels, and call ffmpeg's image codecs on bytes.

tifffile reads every layout, but of the compressions only zlib's and PackBits without a further package;
ffmpeg's decoder knows LZW, too, but ignores tiles, without an error. ffmpeg's codecs are called by name and
given bytes, so that no file can make a demuxer open another one.
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
from vsrcli.images.types import ImageInfo, first_line, oriented_size, parse_orientation
from vsrcli.media.safety import MAX_PIXELS

_ASSOCIATED_ALPHA = 1  # value of ExtraSamples: alpha by which colours are multiplied
_MAX_EXTRA_CHANNELS = 5  # channels other than the colours
_UNCOMPRESSED, _LZW, _PACKBITS, _DEFLATE = 1, 5, 32773, (8, 32946)  # compressions


def probe_tiff(file: IO[bytes], path: Path) -> ImageInfo:
    """Return the properties of the first page.

    Raises:
        InputError: the image is of an unsupported kind.
        ValueError: the file is damaged.
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
    return replace(info, ignored_content=ignored)


def _page_info(page: Any, path: Path) -> ImageInfo:
    color_model = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 6: "rgb"}.get(int(page.photometric))
    bit_depth, sample_format = int(page.bitspersample), int(page.sampleformat)
    samples = int(page.samplesperpixel)
    integers = sample_format in (1, 4) and bit_depth in (1, 2, 4, 8, 16)
    if color_model is None or not integers or page.imagedepth != 1:
        numbers = {1: "integer", 2: "signed", 3: "float"}.get(sample_format, "unknown")
        raise InputError(
            f"{path}: {bit_depth}-bit {numbers} TIFF in {page.photometric.name} is not supported; convert it "
            "to 8 or 16 bits in RGB or grey, or float to EXR"
        )
    if bit_depth == 16 and not (_is_for_tifffile(page) or _is_for_ffmpeg(page)):
        compression = getattr(page.compression, "name", str(page.compression))
        layout = ", in this layout (tiles, planes or BigTIFF)," if page.compression == _LZW else ""
        raise InputError(
            f"{path}: 16-bit TIFF with {compression} compression{layout} is not supported; convert it first "
            "(magick IN -compress zip OUT)"
        )
    color_channels = {"grey": 1, "palette": 1, "rgb": 3}[color_model]
    if not color_channels <= samples <= color_channels + _MAX_EXTRA_CHANNELS:
        raise InputError(f"{path}: TIFF of {samples} channels is not supported; convert it to RGB first")
    extra = [int(each) for each in page.extrasamples]
    exif_orientation = parse_orientation(getattr(page.tags.get("Orientation"), "value", 1))
    width, height = oriented_size(int(page.imagewidth), int(page.imagelength), exif_orientation)
    has_alpha = samples > color_channels and (not extra or extra[0] in (1, 2))
    return ImageInfo(
        "TIFF",
        width,
        height,
        16 if bit_depth == 16 else 8,
        color_model == "grey",
        has_alpha,
        exif_orientation,
        has_palette=color_model == "palette",
    )


def _is_for_ffmpeg(page: Any) -> bool:
    has_plain_layout = not page.is_tiled and int(page.planarconfig) == 1 and not page.parent.is_bigtiff
    return has_plain_layout and int(page.compression) in (_LZW, _PACKBITS)


def _is_for_tifffile(page: Any) -> bool:
    return int(page.compression) in (_UNCOMPRESSED, _PACKBITS, *_DEFLATE)


def read_16bit(content: bytes, info: ImageInfo) -> np.ndarray:
    """Return the codes of the first page: uint16 (H, W, channels), alpha last and straight.

    Raises:
        ValueError, av.FFmpegError: the file is damaged or truncated.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        page: Any = tiff.pages.first
        ends = [offset + size for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends) > len(content):
            raise ValueError("it ends before its pixels")
        by_ffmpeg = _is_for_ffmpeg(page)  # PackBits, too: tifffile's decoder takes much memory
        if by_ffmpeg:
            pixels = frame_to_array(decode_image(content, "tiff"))
        else:
            _check_unpacked_sizes(content, page)
            pixels = page.asarray().reshape(page.shape)
            if page.axes.startswith("S"):
                pixels = np.moveaxis(pixels, 0, -1)
        is_inverted = int(page.photometric) == 0
        is_associated = [int(each) for each in page.extrasamples][:1] == [_ASSOCIATED_ALPHA]
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = np.ascontiguousarray(pixels, np.uint16)
    if is_inverted and not by_ffmpeg:
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], axis=-1)
    color_channels = 1 if info.is_grayscale else 3
    pixels = pixels[..., : color_channels + 1] if info.has_alpha else pixels[..., :color_channels]
    return unassociate_alpha(pixels) if is_associated and info.has_alpha else pixels


def _check_unpacked_sizes(content: bytes, page: Any) -> None:
    """Raise ValueError if a strip or tile is damaged, or has more data than pixels: a decompression bomb."""
    max_bytes = math.prod(page.chunks) * 2
    is_intact = {_PACKBITS: _unpacks_within, **dict.fromkeys(_DEFLATE, inflates_within)}.get(
        int(page.compression), lambda data, max_bytes: True
    )
    for offset, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        if not is_intact(content[offset : offset + size], max_bytes):
            raise ValueError(f"its data at byte {offset} are damaged")


def _unpacks_within(data: bytes, max_bytes: int) -> bool:
    """Whether complete PackBits data (TIFF 6.0, section 9) become at most ``max_bytes`` bytes."""
    offset, size = 0, 0
    while offset < len(data):
        code = data[offset]
        literal = code + 1 if code < 128 else 0
        size += literal or (257 - code if code > 128 else 0)
        offset += 1 + (literal or code > 128)
    return offset == len(data) and size <= max_bytes


def inflates_within(data: bytes, max_bytes: int) -> bool:
    """Whether intact zlib data decompress to at most ``max_bytes`` bytes; never allocates much more."""
    decompressor = zlib.decompressobj()
    try:
        decompressor.decompress(data, max_bytes + 1)
    except zlib.error:
        return False
    return decompressor.eof


def unassociate_alpha(pixels: np.ndarray) -> np.ndarray:
    """Divide codes (H, W, colours and alpha) that are multiplied by alpha; alpha itself is unchanged."""
    max_code = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:].astype(np.float64)
    straight = np.divide(colours * max_code, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.concatenate([np.rint(straight.clip(0, max_code)), alpha], axis=-1).astype(pixels.dtype)


def decode_image(content: bytes, codec: str, options: dict[str, str] | None = None) -> Any:
    """Decode the only frame in the bytes of an image file; return an ``av.VideoFrame``.

    Raises:
        ValueError, av.FFmpegError: the image is damaged or incomplete.
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
    """Return the integer pixels of a packed ``av.VideoFrame``: (H, W, channels) in native byte order.

    Raises:
        ValueError: the pixel format is planar, or has neither 8 nor 16 bits.
    """
    bits, pix_fmt = frame.format.components[0].bits, frame.format.name
    dtype = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if pix_fmt.endswith("be") else "<u2")
    channels = len(frame.format.components)
    if len(frame.planes) != 1 or bits not in (8, 16):
        raise ValueError(f"ffmpeg decodes it as {pix_fmt}, which is not supported")
    rows = np.frombuffer(frame.planes[0], dtype).reshape(frame.height, -1)
    pixels = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return pixels.astype(dtype.newbyteorder("="))


def encode_image(codec: str, pix_fmt: str, planes: list[np.ndarray], options: dict[str, str]) -> bytes:
    """Return the bytes of an image file.

    Args:
        codec, pix_fmt, options: of ffmpeg's encoder.
        planes: of the pixel format, (H, W) or (H, W, channels).

    Raises:
        av.FFmpegError: the encoder failed.
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
