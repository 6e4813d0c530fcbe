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
from vsrcli.images.types import ImageInfo, first_line, orientation, oriented_size
from vsrcli.media.safety import MAX_PIXELS

ASSOCIATED = 1  # alpha that colours are multiplied by
_MOST_EXTRA = 5  # channels beside the colours
_NONE, _DEFLATE = 1, (8, 32946)  # compressions


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
        with tifffile.TiffFile(file) as document:
            page: Any = document.pages.first
            found = _page(page, path)
            more = len(document.pages) - 1
    except (tifffile.TiffFileError, AttributeError, TypeError) as error:
        raise ValueError(first_line(error)) from error
    others = (f"{more} further page{'s' * (more > 1)}",) if more else ()
    return replace(found, others=others)


def _page(page: Any, path: Path) -> ImageInfo:
    colours = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 6: "rgb"}.get(int(page.photometric))
    bits, kind = int(page.bitspersample), int(page.sampleformat)
    samples = int(page.samplesperpixel)
    if colours is None or kind not in (1, 4) or bits not in (1, 2, 4, 8, 16) or page.imagedepth != 1:
        numbers = {1: "integer", 2: "signed", 3: "float"}.get(kind, "unknown")
        raise InputError(
            f"{path}: {bits}-bit {numbers} TIFF in {page.photometric.name} is not taken; convert it to 8 or "
            "16 bits in RGB or grey, or float to EXR"
        )
    own = {"grey": 1, "palette": 1, "rgb": 3}[colours]
    if not own <= samples <= own + _MOST_EXTRA:
        raise InputError(f"{path}: TIFF of {samples} channels is not taken; convert it to RGB first")
    extra = [int(each) for each in page.extrasamples]
    turned = orientation(getattr(page.tags.get("Orientation"), "value", 1))
    width, height = oriented_size(int(page.imagewidth), int(page.imagelength), turned)
    alpha = samples > own and (not extra or extra[0] in (1, 2))
    deep = bits == 16
    return ImageInfo("TIFF", width, height, 16 if deep else 8, own == 1 and colours == "grey", alpha, turned,
                palette=colours == "palette")  # fmt: skip


def read_16bit(content: bytes, look: ImageInfo) -> np.ndarray:
    """Codes of the first page: uint16 (H, W, channels), alpha last and straight.

    Raises:
        ValueError, av.FFmpegError: damaged, or cut short.
    """
    import tifffile

    with tifffile.TiffFile(io.BytesIO(content)) as document:
        page: Any = document.pages.first
        ends = [at + size for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)]
        if max(ends) > len(content):
            raise ValueError("it ends before its pixels")
        if int(page.compression) in (_NONE, *_DEFLATE):
            if int(page.compression) in _DEFLATE:
                _check_deflated(content, page)
            pixels = page.asarray().reshape(page.shape)
            if page.axes.startswith("S"):
                pixels = np.moveaxis(pixels, 0, -1)
        else:  # what tifffile could decode with a further package only
            pixels = frame_to_array(decode_image(content, "tiff"))
        inverted = int(page.photometric) == 0
        associated = [int(each) for each in page.extrasamples][:1] == [ASSOCIATED]
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = np.ascontiguousarray(pixels, np.uint16)
    if inverted and int(page.compression) in (_NONE, *_DEFLATE):
        pixels = np.concatenate([65535 - pixels[..., :1], pixels[..., 1:]], axis=-1)
    own = 1 if look.is_grayscale else 3
    pixels = pixels[..., : own + 1] if look.alpha else pixels[..., :own]
    return unassociate_alpha(pixels) if associated and look.alpha else pixels


def _check_deflated(content: bytes, page: Any) -> None:
    """A few bytes can promise far more than memory holds; here none may become more than its place takes."""
    most = math.prod(page.chunks) * 2
    for at, size in zip(page.dataoffsets, page.databytecounts, strict=True):
        piece = zlib.decompressobj()
        try:
            piece.decompress(content[at : at + size], most + 1)
        except zlib.error as error:
            raise ValueError(f"its data at byte {at} are damaged") from error
        if not piece.eof:
            raise ValueError(f"its data at byte {at} are damaged")


def unassociate_alpha(pixels: np.ndarray) -> np.ndarray:
    """Codes (H, W, colours and alpha) that were multiplied by alpha, without it."""
    most = np.iinfo(pixels.dtype).max
    colours, alpha = pixels[..., :-1].astype(np.float64), pixels[..., -1:].astype(np.float64)
    divided = np.divide(colours * most, alpha, out=np.zeros_like(colours), where=alpha > 0)
    return np.concatenate([np.rint(divided.clip(0, most)), alpha], axis=-1).astype(pixels.dtype)


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
    bits, name = frame.format.components[0].bits, frame.format.name
    order = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if name.endswith("be") else "<u2")
    channels = len(frame.format.components)
    if len(frame.planes) != 1 or bits not in (8, 16):
        raise ValueError(f"ffmpeg decodes it as {name}, which is not taken")
    rows = np.frombuffer(frame.planes[0], order).reshape(frame.height, -1)
    pixels = rows[:, : frame.width * channels].reshape(frame.height, frame.width, channels)
    return pixels.astype(order.newbyteorder("="))


def encode_image(codec: str, name: str, planes: list[np.ndarray], options: dict[str, str]) -> bytes:
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
    context.width, context.height, context.pix_fmt = width, height, name
    context.time_base, context.options = Fraction(1, 25), options
    context.thread_count = 1
    frame = av.VideoFrame(width, height, name)
    for plane, values in zip(frame.planes, planes, strict=True):
        rows = np.zeros((height, plane.line_size), np.uint8)
        data = np.ascontiguousarray(values).reshape(height, -1).view(np.uint8)
        rows[:, : data.shape[1]] = data
        plane.update(rows.tobytes())
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
