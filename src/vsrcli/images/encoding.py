"""One picture, encoded: every format in the depth that it has, and its tags with it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.images import png
from vsrcli.images.metadata import ImageMetadata
from vsrcli.images.tiff import encode_image

JPEG_QUALITY = 95
_LUMA = (0.2126, 0.7152, 0.0722)  # BT.709; a grey picture has the same in all three, so any that sum to 1
_PNG = {  # channels, 16 bits
    (1, False): "gray",
    (2, False): "ya8",
    (3, False): "rgb24",
    (4, False): "rgba",
    (1, True): "gray16be",
    (2, True): "ya16be",
    (3, True): "rgb48be",
    (4, True): "rgba64be",
}
_EXR = {1: "grayf32le", 3: "gbrpf32le", 4: "gbrapf32le"}


@dataclass(frozen=True)
class ImageFormat:
    """How pictures are stored.

    Attributes:
        format: ``PNG``, ``TIFF``, ``WebP``, ``JPEG``, ``BMP`` or ``EXR``.
        deep: 16 bits instead of 8; EXR has half floats always, which hold more than 16-bit codes do.
        grey: without colour.
        alpha: with transparency.
        quality: of JPEG and WebP, 1 to 100; None: WebP without loss.
    """

    format: str
    is_high_bit_depth: bool
    is_grayscale: bool
    alpha: bool
    quality: int | None = None

    def __str__(self) -> str:
        depth = "half floats" if self.format == "EXR" else "16 bits" if self.is_high_bit_depth else "8 bits"
        colours = "grey" if self.is_grayscale else "RGB"
        return f"{colours}{' and alpha' if self.alpha else ''} in {depth}"


def encode_image_file(
    form: ImageFormat, pixels: np.ndarray, alpha: np.ndarray | None, tags: ImageMetadata
) -> bytes:
    """A picture as the bytes of its file.

    Args:
        form: how.
        pixels: (H, W, 3); codes of 8 or 16 bits, or for EXR float32 linear light.
        alpha: (H, W) of the same type; if ``form`` keeps it.
        tags: what goes along, as far as the format has a place for it.

    Raises:
        ValueError, OSError, av.FFmpegError: an encoder refused.
    """
    if form.format == "EXR":
        return _exr(form, pixels, alpha)
    codes = _fitted(pixels, form.is_high_bit_depth)
    if form.is_grayscale:
        codes = np.rint(codes @ np.array(_LUMA)).astype(codes.dtype)[..., None]
    if form.alpha:
        assert alpha is not None
        codes = np.concatenate([codes, _fitted(alpha, form.is_high_bit_depth)[..., None]], axis=-1)
    if form.format == "PNG":
        return _png(codes, tags)
    return _tiff(codes, form, tags) if form.format == "TIFF" else _by_pillow(codes, form, tags)


def _fitted(codes: np.ndarray, deep: bool) -> np.ndarray:
    """Codes of 16 bits or of 8, rounded: 65535 and 255 are the same."""
    if deep and codes.dtype == np.uint8:
        return codes.astype(np.uint16) * np.uint16(257)
    if not deep and codes.dtype == np.uint16:
        return ((codes.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return codes


def _png(codes: np.ndarray, tags: ImageMetadata) -> bytes:
    deep, channels = codes.dtype == np.uint16, codes.shape[2]
    name = _PNG[channels, deep]
    planes = [codes.astype(">u2") if deep else codes]
    # Paeth alone: within 1 % of the best choice row by row, in a third of its time.
    content = encode_image("png", name, planes, {"pred": "paeth"})
    return png.insert_chunks(content, _chunks(tags, grey=channels <= 2))


def _chunks(tags: ImageMetadata, *, grey: bool) -> Iterator[png.Chunk]:
    own = {kind for kind, _ in tags.chunks}
    profiles = () if grey else (b"iCCP",)  # of colours: a grey picture must not have one
    yield from (chunk for chunk in tags.chunks if not (grey and chunk[0] == b"iCCP" and _coloured(tags)))
    if tags.icc and b"iCCP" not in own and (profiles or not _coloured(tags)):
        yield png.icc_chunk(tags.icc)
    if tags.dpi and b"pHYs" not in own:
        yield png.phys_chunk(tags.dpi)
    if tags.exif:
        yield b"eXIf", tags.exif


def _coloured(tags: ImageMetadata) -> bool:
    """Whether the profile is one for RGB."""
    return tags.icc is not None and tags.icc[16:20] == b"RGB "


def _exr(form: ImageFormat, light: np.ndarray, alpha: np.ndarray | None) -> bytes:
    light = light.astype(np.float32, copy=False)
    if form.is_grayscale and not form.alpha:
        planes = [light @ np.array(_LUMA, np.float32)]
    else:
        planes = [light[..., 1], light[..., 2], light[..., 0]]
    if form.alpha:
        assert alpha is not None
        planes.append(alpha.astype(np.float32, copy=False))
    return encode_image("exr", _EXR[len(planes)], planes, {"format": "half", "compression": "zip16"})


def _tiff(codes: np.ndarray, form: ImageFormat, tags: ImageMetadata) -> bytes:
    import tifffile

    out = io.BytesIO()
    options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if form.alpha else {}
    if tags.dpi:
        options |= {"resolution": tags.dpi, "resolutionunit": "inch"}
    icc = tags.icc if not (form.is_grayscale and _coloured(tags)) else None
    tifffile.imwrite(
        out,
        codes if codes.shape[2] > 1 else codes[..., 0],
        photometric="minisblack" if form.is_grayscale else "rgb",
        planarconfig="contig" if codes.shape[2] > 1 else None,
        compression="zlib",
        predictor=True,
        iccprofile=icc,
        metadata=None,
        software="vsr",
        **options,
    )
    return out.getvalue()


def _by_pillow(codes: np.ndarray, form: ImageFormat, tags: ImageMetadata) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    image = Image.fromarray(codes if codes.shape[2] > 1 else codes[..., 0])
    icc = tags.icc if not (form.is_grayscale and _coloured(tags)) else None
    options: dict[str, Any] = {"dpi": tags.dpi} if tags.dpi and form.format != "WebP" else {}
    if form.format in ("JPEG", "WebP"):
        options |= {"icc_profile": icc} if icc else {}
        options |= {"exif": b"Exif\0\0" + tags.exif} if tags.exif else {}
    if form.format == "JPEG":
        options |= {"quality": form.quality or JPEG_QUALITY, "subsampling": 0, "optimize": True}
    if form.format == "WebP":
        lossless = {"lossless": True, "exact": True}
        options |= lossless if form.quality is None else {"quality": form.quality}
    image.save(out, form.format.upper(), **options)
    return out.getvalue()
