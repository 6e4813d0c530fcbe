"""Probe image files and image sequences: formats, sizes and colours, without decoding pixels.

The format is detected by content and, where that is ambiguous, by extension: animations and a camera's raw
files begin like images but are none here. An image sequence is described as a video: a
:class:`~vsrcli.media.types.Source` whose frames are the files.
"""

from __future__ import annotations

import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import InputError
from vsrcli.images import exr, png, tiff
from vsrcli.images.naming import MatchedFiles, is_image_name, match_files, parse_pattern
from vsrcli.images.publish import published_files
from vsrcli.images.types import SRGB, UNTAGGED, ImageInfo, first_line, oriented_size, parse_orientation
from vsrcli.media.color import PRIMARIES, TRANSFERS
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.safety import MAX_PIXELS
from vsrcli.media.types import Color, ImageSequence, Source, VideoStream
from vsrcli.system.files import workdir_for
from vsrcli.system.signals import raise_if_cancelled

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MJPEG_EXTENSIONS = (".mjpeg", ".mjpg", ".mjp")
_ORIENTATION_TAG = 0x0112

DEFAULT_FRAME_RATE = Fraction(25)
"""Frame rate of an image sequence without ``--fps``: ffmpeg's default, too."""

_CODECS = {"PNG": "png", "TIFF": "tiff", "WebP": "webp", "JPEG": "mjpeg", "BMP": "bmp", "EXR": "exr"}
_PIX_FMTS = {  # by is_grayscale, has_alpha, is_high_bit_depth
    (False, False, False): "rgb24",
    (False, True, False): "rgba",
    (False, False, True): "rgb48le",
    (False, True, True): "rgba64le",
    (True, False, False): "gray",
    (True, True, False): "ya8",
    (True, False, True): "gray16le",
    (True, True, True): "ya16le",
}
_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # their sizes in bytes


def probe_source(path: Path, frame_rate: Fraction | None = None, target: Path | None = None) -> Source:
    """Probe the video, image sequence or image that a path means.

    Args:
        path: as typed by the user, see :mod:`vsrcli.images.naming`.
        frame_rate: of an image sequence; None for ``DEFAULT_FRAME_RATE``. Videos have their own.
        target: of the run, if there is one; what it has written among its input is no input.

    Returns:
        An :class:`~vsrcli.media.types.ImageSequence` for images.

    Raises:
        InputError: see :func:`vsrcli.media.probe.probe`; or the images are no sequence: there are gaps,
            several sizes or several formats.
    """
    matched = match_files(path, _results_among(path, target))
    if matched is None or (matched.is_single_file and not _is_still_image(matched.files[0])):
        return probe(path)
    return _probe_sequence(path, matched, frame_rate, target)


def _results_among(path: Path, target: Path | None) -> set[Path]:
    """Return the images of an interrupted run with a pattern as its target that lie beside its input.

    They are named as the input's files are.
    """
    folder = path if path.is_dir() else path.parent
    if target is None or not is_image_name(target) or parse_pattern(target.name) is None or target.is_dir():
        return set()
    if os.path.realpath(target.parent) != os.path.realpath(folder):
        return set()
    stamps = published_files(workdir_for(target))
    return {folder / name for name, stamp in stamps.items() if stamp.matches(folder / name)}


def video_notices(sequence: ImageSequence, plan: OutputPlan) -> Iterator[str]:
    """Yield what users should know when an image sequence becomes a video, one line each."""
    if not sequence.has_explicit_rate:
        rate = sequence.video.frame_rate
        yield f"{rate} images make a second by default; --fps sets another rate, such as --fps 24000/1001"
    if sequence.format == "EXR":
        yield "linear light becomes codes on the sRGB curve; values outside 0 to 1 are clipped"
    if "420" in plan.pix_fmt:
        pix_fmt = plan.pix_fmt.replace("420", "444")
        yield f"written as {plan.pix_fmt}, which players take; --pix-fmt {pix_fmt} keeps each pixel's colour"


def detect_format(path: Path) -> str | None:
    """Return an image's format by its first bytes; None for videos, animations and all other files.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(32)
        if first.startswith(png.MAGIC):
            file.seek(0)
            return None if _is_animated_png(file) else "PNG"
    if first.startswith(b"\xff\xd8\xff"):
        return None if path.suffix.lower() in _MJPEG_EXTENSIONS else "JPEG"
    if first.startswith(_TIFF_MAGIC):
        return "TIFF"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return None if first[12:16] == b"VP8X" and first[20] & 2 else "WebP"
    if first.startswith(exr.MAGIC):
        return "EXR"
    if first.startswith(b"BM") and len(first) >= 18 and struct.unpack("<I", first[14:18])[0] in _BMP_HEADERS:
        return "BMP"
    return None


def probe_image(path: Path) -> ImageInfo:
    """Return the properties of an image file.

    Raises:
        InputError: it cannot be read, is damaged, too large, or of an unsupported kind.
    """
    raise_if_cancelled()  # a sequence may have many thousand images
    try:
        file_format = detect_format(path)
        if file_format is None:
            raise InputError(f"{path} is no still image; videos are named one by one")
        with path.open("rb") as file:
            info = _PROBES[file_format](file, path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist any more; put it back") from None
    except TooManyPixelsError as error:
        raise _too_large_error(path, "more pixels") from error
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error) as error:
        raise InputError(f"{path} cannot be read as an image: {first_line(error)}; check the file") from error
    if info.width * info.height > MAX_PIXELS:
        raise _too_large_error(path, f"{info.width}x{info.height} pixels, more")
    if min(info.width, info.height) < 1:
        raise InputError(f"{path} has no pixels; check the file")
    return info


def _too_large_error(path: Path, size: str) -> InputError:
    return InputError(
        f"{path} says that it has {size} than the {MAX_PIXELS // 10**6} million that are allowed; check the "
        "file, or shrink it first"
    )


class TooManyPixelsError(ValueError):
    """Pillow opens no image of this size, which is above ``MAX_PIXELS``, too."""


def silence_pillow() -> None:
    """Ignore Pillow's warnings, of odd metadata and of large images; vsr reports what matters itself."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def open_pillow(file: IO[bytes], file_format: str) -> Any:
    """Open a file as a ``PIL.Image.Image`` of the given format, and of no other, without decoding it.

    Raises:
        TooManyPixelsError: by its header, it is too large for Pillow.
    """
    from PIL import Image

    silence_pillow()
    try:
        return Image.open(file, formats=[file_format.upper()])
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(str(error)) from error


def _is_animated_png(file: IO[bytes]) -> bool:
    try:
        return any(kind == b"acTL" for kind, _ in png.read_chunks(file))
    except ValueError:
        return False  # damaged, which is reported when it is probed


def _probe_png(file: IO[bytes], path: Path) -> ImageInfo:
    chunks = dict(png.read_chunks(file))
    width, height, bits, color_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    exif_orientation = _exif_orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    width, height = oriented_size(width, height, exif_orientation)
    has_palette, has_transparent_color = color_type == 3, b"tRNS" in chunks
    aspect = png.pixel_aspect(chunks[b"pHYs"]) if b"pHYs" in chunks else Fraction(1)
    return ImageInfo(
        "PNG",
        width,
        height,
        16 if bits == 16 else 8,
        color_type in (0, 4),
        color_type in (4, 6) or has_transparent_color,
        exif_orientation,
        _png_color(chunks),
        has_palette,
        sample_aspect_ratio=1 / aspect if exif_orientation >= 5 else aspect,
    )


def _png_color(chunks: dict[bytes, bytes]) -> Color:
    cicp = chunks.get(b"cICP", b"")
    if len(cicp) == 4 and cicp[0] in PRIMARIES and cicp[1] in TRANSFERS:
        return Color("pc", "gbr", PRIMARIES[cicp[0]], TRANSFERS[cicp[1]])
    return SRGB if b"sRGB" in chunks else UNTAGGED


def _exif_orientation(exif: bytes) -> int:
    from PIL import Image

    silence_pillow()
    parsed = Image.Exif()
    try:
        parsed.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        return parse_orientation(parsed.get(_ORIENTATION_TAG))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1


def _probe_with_pillow(file: IO[bytes], path: Path, file_format: str) -> ImageInfo:
    with open_pillow(file, file_format) as image:
        mode = image.mode
        if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
            raise InputError(
                f"{path} is in {mode}, which is not supported; convert it to RGB first "
                "(magick IN -colorspace sRGB OUT)"
            )
        has_alpha = mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        exif_orientation = (
            1 if file_format == "BMP" else parse_orientation(_read_exif(image).get(_ORIENTATION_TAG))
        )
        width, height = oriented_size(image.width, image.height, exif_orientation)
        is_grayscale, has_palette = mode in ("1", "L", "LA"), mode in ("P", "PA")
    return ImageInfo(
        file_format, width, height, 8, is_grayscale, has_alpha, exif_orientation, has_palette=has_palette
    )


def _read_exif(image: Any) -> Any:
    try:
        return image.getexif()
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return {}


def _probe_jpeg(file: IO[bytes], path: Path) -> ImageInfo:
    return replace(_probe_with_pillow(file, path, "JPEG"), is_lossy=True)


def _probe_webp(file: IO[bytes], path: Path) -> ImageInfo:
    first = file.read(1 << 12)
    file.seek(0)
    return replace(_probe_with_pillow(file, path, "WebP"), is_lossy=b"VP8L" not in first)


def _probe_bmp(file: IO[bytes], path: Path) -> ImageInfo:
    return _probe_with_pillow(file, path, "BMP")


def _probe_exr(file: IO[bytes], path: Path) -> ImageInfo:
    header = exr.read_header(file)
    names = ", ".join(header.extra_channels[:6]) + (" …" if len(header.extra_channels) > 6 else "")
    ignored = (f"further channels ({names})",) if header.extra_channels else ()
    bits = 16 if header.is_half_float else 32
    return ImageInfo(
        "EXR",
        header.width,
        header.height,
        bits,
        header.is_grayscale,
        header.has_alpha,
        color=SRGB,
        ignored_content=ignored,
    )


_PROBES = {
    "PNG": _probe_png,
    "JPEG": _probe_jpeg,
    "WebP": _probe_webp,
    "BMP": _probe_bmp,
    "EXR": _probe_exr,
    "TIFF": tiff.probe_tiff,
}


def _is_still_image(path: Path) -> bool:
    try:
        return detect_format(path) is not None
    except OSError:
        return False  # the video probe reports why


def _probe_sequence(
    path: Path, matched: MatchedFiles, requested_rate: Fraction | None, target: Path | None
) -> ImageSequence:
    infos = [probe_image(file) for file in matched.files]
    first = infos[0]
    for file, other in zip(matched.files, infos, strict=True):
        _check_same_kind(file, other, matched.files[0], first)
    frame_rate = requested_rate or DEFAULT_FRAME_RATE
    count = len(infos)
    try:
        size = sum(file.stat().st_size for file in matched.files)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the files") from error
    return ImageSequence(
        path=path,
        container=f"{first.format} images" if count > 1 else f"{first.format} image",
        start=Fraction(0),
        duration=count / frame_rate,
        size_bytes=size,
        video=_video_stream(infos, frame_rate),
        files=matched.files,
        numbers=matched.numbers or tuple(range(1, count + 1)),
        is_single_image=matched.is_single_file,
        format=first.format,
        is_lossy=first.is_lossy,
        has_explicit_rate=requested_rate is not None,
        notices=(*_file_notices(matched.files, infos), *_interrupted_run_notices(matched, target)),
    )


def _check_same_kind(file: Path, info: ImageInfo, first_file: Path, first: ImageInfo) -> None:
    """Check that an image has the format and size of the first; bit depth and channels may differ.

    Raises:
        InputError: it has not.
    """
    if info.format != first.format:
        raise InputError(
            f"{file} is {info.format} inside, {first_file.name} is {first.format}; take one format at a time"
        )
    if (info.width, info.height) != (first.width, first.height):
        raise InputError(
            f"{file} has {info.width}x{info.height} pixels, {first_file.name} has "
            f"{first.width}x{first.height}; take images of one size at a time"
        )


def _video_stream(infos: Sequence[ImageInfo], frame_rate: Fraction) -> VideoStream:
    first, count = infos[0], len(infos)
    has_alpha, is_grayscale = any(each.has_alpha for each in infos), all(each.is_grayscale for each in infos)
    is_high_bit_depth = any(each.bit_depth > 8 for each in infos)
    return VideoStream(
        index=0,
        codec=_CODECS[first.format],
        width=first.width,
        height=first.height,
        rotation=0,
        pix_fmt=_PIX_FMTS[is_grayscale, has_alpha, is_high_bit_depth],
        bit_depth=16 if is_high_bit_depth else 8,
        has_alpha=has_alpha,
        time_base=1 / frame_rate,
        frame_rate=frame_rate,
        start=Fraction(0),
        duration=count / frame_rate,
        frame_count=count,
        sample_aspect_ratio=first.sample_aspect_ratio,
        color=first.color,
        field_order="progressive",
    )


def _interrupted_run_notices(matched: MatchedFiles, target: Path | None) -> Iterator[str]:
    """Yield a notice if the folder holds the workdir of an interrupted run, whose images are incomplete; that
    of the same target is no matter, since its images are no input."""
    if not matched.is_single_file:
        folder = matched.files[0].parent
        workdirs = {workdir.name for workdir in folder.glob(".*.vsr") if is_image_name(Path(workdir.stem))}
        if target is not None and os.path.realpath(target.parent) == os.path.realpath(folder):
            workdirs.discard(f".{target.name}.vsr")
        if workdirs:
            yield f"a run that writes into {folder} has not finished: some images may be missing"


def _file_notices(files: Sequence[Path], infos: Sequence[ImageInfo]) -> list[str]:
    """Return what users should know of the files, one line each."""
    notices = []
    if any(each.has_palette for each in infos):
        notices.append("images with a table of colours (palette) become RGB")
    if any(each.orientation != 1 for each in infos):
        notices.append("the orientation that EXIF states is applied to the image")
    depths = {each.bit_depth > 8 for each in infos}
    if len(depths) > 1:
        notices.append("some images have 8 bits, some 16: all become 16")
    if len({each.color for each in infos}) > 1:
        notices.append("the images differ in their colour tags: those of the first are used for a video")
    for file, each in zip(files, infos, strict=True):
        if each.ignored_content:
            notices.append(f"{file.name} holds {' and '.join(each.ignored_content)}: left out")
            break
    if any(each.bit_depth == 32 for each in infos):
        notices.append(
            "32-bit floats are upscaled in 16-bit codes: small steps are lost, bright values are not"
        )
    return notices
