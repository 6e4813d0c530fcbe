"""What one picture file holds, from its first bytes: nothing is decoded.

Readers are chosen by content and by name together. Files that begin like a picture but are something else, a
camera's raw file or a film, are no pictures here.

Pictures as a film: what is said of all of them, from a look at each.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import InputError
from vsrcli.images import exr, png, tiff
from vsrcli.images.naming import MatchedFiles, is_image_name, match_files
from vsrcli.images.types import SRGB, UNTAGGED, ImageInfo, first_line, orientation, oriented_size
from vsrcli.media.color import PRIMARIES, TRANSFERS
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.safety import MAX_PIXELS
from vsrcli.media.types import Color, ImageSequence, Source, VideoStream

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MJPEG = (".mjpeg", ".mjpg", ".mjp")
_ORIENTATION = 0x0112


def detect_format(path: Path) -> str | None:
    """A picture's format by its first bytes; None for films, animations and whatever else.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        first = file.read(32)
        if first.startswith(png.MAGIC):
            file.seek(0)
            return None if _animated(file) else "PNG"
    if first.startswith(b"\xff\xd8\xff"):
        return None if path.suffix.lower() in _MJPEG else "JPEG"
    if first.startswith(_TIFF):
        return "TIFF"
    if first[:4] == b"RIFF" and first[8:12] == b"WEBP":
        return None if first[12:16] == b"VP8X" and first[20] & 2 else "WebP"
    if first.startswith(exr.MAGIC):
        return "EXR"
    if first.startswith(b"BM") and len(first) >= 18 and struct.unpack("<I", first[14:18])[0] in _BMP_HEADERS:
        return "BMP"
    return None


_BMP_HEADERS = (12, 40, 52, 56, 64, 108, 124)  # their lengths


def probe_image(path: Path) -> ImageInfo:
    """Describe a picture.

    Raises:
        InputError: it cannot be read, is damaged, too large, or of a kind that is not taken.
    """
    try:
        kind = detect_format(path)
        if kind is None:
            raise InputError(f"{path} is no still picture; films are named one by one")
        with path.open("rb") as file:
            found = _LOOKS[kind](file, path)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path} does not exist any more; put it back") from None
    except (OSError, ValueError, SyntaxError, KeyError, IndexError, struct.error) as error:
        raise InputError(
            f"{path} cannot be read as a picture: {first_line(error)}; check the file"
        ) from error
    if found.width * found.height > MAX_PIXELS:
        raise InputError(
            f"{path} says that it has {found.width}x{found.height} pixels, more than the "
            f"{MAX_PIXELS // 10**6} million that are taken; check the file, or shrink it first"
        )
    if min(found.width, found.height) < 1:
        raise InputError(f"{path} has no pixels; check the file")
    return found


def silence_pillow() -> None:
    """Pillow warns of odd metadata and of large pictures; neither is news to whoever upscales them."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


def open_pillow(file: IO[bytes], kind: str) -> Any:
    """A Pillow image of a format that has been recognized, and of no other; not decoded yet."""
    from PIL import Image

    silence_pillow()
    return Image.open(file, formats=[kind.upper()])


def _animated(file: IO[bytes]) -> bool:
    try:
        return any(kind == b"acTL" for kind, _ in png.read_chunks(file))
    except ValueError:
        return False  # damaged; whoever reads it says so


def _png(file: IO[bytes], path: Path) -> ImageInfo:
    chunks = dict(png.read_chunks(file))
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    turned = _orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    width, height = oriented_size(width, height, turned)
    palette, see_through = colour == 3, b"tRNS" in chunks
    shape = png.pixel_aspect(chunks[b"pHYs"]) if b"pHYs" in chunks else Fraction(1)
    return ImageInfo(
        "PNG",
        width,
        height,
        16 if bits == 16 else 8,
        colour in (0, 4),
        colour in (4, 6) or see_through,
        turned,
        _png_color(chunks),
        palette,
        sample_aspect_ratio=1 / shape if turned >= 5 else shape,
    )


def _png_color(chunks: dict[bytes, bytes]) -> Color:
    stated = chunks.get(b"cICP", b"")
    if len(stated) == 4 and stated[0] in PRIMARIES and stated[1] in TRANSFERS:
        return Color("pc", "gbr", PRIMARIES[stated[0]], TRANSFERS[stated[1]])
    return SRGB if b"sRGB" in chunks else UNTAGGED


def _orientation(exif: bytes) -> int:
    from PIL import Image

    silence_pillow()
    found = Image.Exif()
    try:
        found.load(exif if exif.startswith(b"Exif\0\0") else b"Exif\0\0" + exif)
        return orientation(found.get(_ORIENTATION))
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return 1


def _pillow(file: IO[bytes], path: Path, kind: str) -> ImageInfo:
    with open_pillow(file, kind) as image:
        mode = image.mode
        if mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
            raise InputError(
                f"{path} is in {mode}, which is not taken; convert it to RGB first (magick IN -colorspace "
                "sRGB OUT)"
            )
        see_through = mode in ("LA", "PA", "RGBA") or "transparency" in image.info
        turned = 1 if kind == "BMP" else orientation(_exif(image).get(_ORIENTATION))
        width, height = oriented_size(image.width, image.height, turned)
        grey, palette = mode in ("1", "L", "LA"), mode in ("P", "PA")
    return ImageInfo(kind, width, height, 8, grey, see_through, turned, palette=palette)


def _exif(image: Any) -> Any:
    try:
        return image.getexif()
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error):
        return {}


def _jpeg(file: IO[bytes], path: Path) -> ImageInfo:
    return replace(_pillow(file, path, "JPEG"), lossy=True)


def _webp(file: IO[bytes], path: Path) -> ImageInfo:
    first = file.read(1 << 12)
    file.seek(0)
    return replace(_pillow(file, path, "WebP"), lossy=b"VP8L" not in first)


def _bmp(file: IO[bytes], path: Path) -> ImageInfo:
    return _pillow(file, path, "BMP")


def _exr(file: IO[bytes], path: Path) -> ImageInfo:
    found = exr.read_header(file)
    names = ", ".join(found.others[:6]) + (" …" if len(found.others) > 6 else "")
    others = (f"further channels ({names})",) if found.others else ()
    bits = 16 if found.half else 32
    return ImageInfo(
        "EXR", found.width, found.height, bits, found.is_grayscale, found.alpha, color=SRGB, others=others
    )


_LOOKS = {"PNG": _png, "JPEG": _jpeg, "WebP": _webp, "BMP": _bmp, "EXR": _exr, "TIFF": tiff.probe_tiff}


DEFAULT_FRAME_RATE = Fraction(25)
"""Pictures a second where nobody says: what ffmpeg takes, too."""

_CODECS = {"PNG": "png", "TIFF": "tiff", "WebP": "webp", "JPEG": "mjpeg", "BMP": "bmp", "EXR": "exr"}
_FORMATS = {  # grey, alpha, 16 bits
    (False, False, False): "rgb24",
    (False, True, False): "rgba",
    (False, False, True): "rgb48le",
    (False, True, True): "rgba64le",
    (True, False, False): "gray",
    (True, True, False): "ya8",
    (True, False, True): "gray16le",
    (True, True, True): "ya16le",
}


def image_sequence_source(path: Path, rate: Fraction | None = None) -> Source:
    """The film, or the pictures, that a name means.

    Args:
        path: as the user has named it, see :mod:`vsrcli.images.naming`.
        rate: pictures a second; None: the usual. Of a film it is not asked.

    Raises:
        InputError: see ``probe``; or pictures that are no film: gaps, several sizes or formats.
    """
    found = match_files(path)
    if found is None or (found.single and not _is_still(found.files[0])):
        return probe(path)
    return _series(path, found, rate)


def video_notices(pictures: ImageSequence, plan: OutputPlan) -> Iterator[str]:
    """What people should know when pictures become a film."""
    if not pictures.has_explicit_rate:
        rate = pictures.video.frame_rate
        yield f"{rate} pictures make a second, as usual; --fps says otherwise, such as --fps 24000/1001"
    if pictures.format == "EXR":
        yield "linear light becomes codes on the sRGB curve; what lies outside 0 to 1 is clipped"
    if "420" in plan.pix_fmt:
        finer = plan.pix_fmt.replace("420", "444")
        yield f"written as {plan.pix_fmt}, which players take; --pix-fmt {finer} keeps each pixel's colour"


def _is_still(path: Path) -> bool:
    try:
        return detect_format(path) is not None
    except OSError:
        return False  # the film's reader says why


def _series(path: Path, found: MatchedFiles, rate: Fraction | None) -> ImageSequence:
    looks = [probe_image(file) for file in found.files]
    first = looks[0]
    for file, other in zip(found.files, looks, strict=True):
        _check_like(file, other, found.files[0], first)
    clock = rate or DEFAULT_FRAME_RATE
    count = len(looks)
    try:
        size = sum(file.stat().st_size for file in found.files)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check the files") from error
    return ImageSequence(
        path=path,
        container=f"{first.format} pictures" if count > 1 else f"{first.format} picture",
        start=Fraction(0),
        duration=count / clock,
        size_bytes=size,
        video=_video(looks, clock),
        files=found.files,
        numbers=found.numbers or tuple(range(1, count + 1)),
        is_single_image=found.single,
        format=first.format,
        is_lossy=first.lossy,
        has_explicit_rate=rate is not None,
        notices=(*_found(found.files, looks), *_unfinished(found)),
    )


def _check_like(file: Path, look: ImageInfo, first_file: Path, first: ImageInfo) -> None:
    """Pictures of one film have one size and one format; depth, grey and transparency may come and go."""
    if look.format != first.format:
        raise InputError(
            f"{file} is {look.format} inside, {first_file.name} is {first.format}; take one format at a time"
        )
    if (look.width, look.height) != (first.width, first.height):
        raise InputError(
            f"{file} has {look.width}x{look.height} pixels, {first_file.name} has "
            f"{first.width}x{first.height}; take pictures of one size at a time"
        )


def _video(looks: Sequence[ImageInfo], rate: Fraction) -> VideoStream:
    first, count = looks[0], len(looks)
    alpha, grey = any(each.alpha for each in looks), all(each.is_grayscale for each in looks)
    deep = any(each.bits > 8 for each in looks)
    return VideoStream(
        index=0,
        codec=_CODECS[first.format],
        width=first.width,
        height=first.height,
        rotation=0,
        pix_fmt=_FORMATS[grey, alpha, deep],
        bit_depth=16 if deep else 8,
        has_alpha=alpha,
        time_base=1 / rate,
        frame_rate=rate,
        start=Fraction(0),
        duration=count / rate,
        frame_count=count,
        sample_aspect_ratio=first.sample_aspect_ratio,
        color=first.color,
        field_order="progressive",
    )


def _unfinished(found: MatchedFiles) -> Iterator[str]:
    """What an interrupted run has left is no whole sequence."""
    if not found.single:
        folder = found.files[0].parent
        if any(is_image_name(Path(hidden.stem)) for hidden in folder.glob(".*.vsr")):
            yield f"a run that writes into {folder} has not finished: some pictures may be missing"


def _found(files: Sequence[Path], looks: Sequence[ImageInfo]) -> list[str]:
    """What people should know of them, one line each."""
    said = []
    if any(each.palette for each in looks):
        said.append("pictures with a table of colours (palette) become RGB")
    if any(each.orientation != 1 for each in looks):
        said.append("the orientation that EXIF asks for is applied to the picture")
    depths = {each.bits > 8 for each in looks}
    if len(depths) > 1:
        said.append("some pictures have 8 bits, some 16: all become 16")
    if len({each.color for each in looks}) > 1:
        said.append("not all pictures say the same of their colours: those of the first are taken for a film")
    for file, each in zip(files, looks, strict=True):
        if each.others:
            said.append(f"{file.name} holds {' and '.join(each.others)}: left out")
            break
    if any(each.bits == 32 for each in looks):
        said.append("32-bit floats are upscaled in 16-bit codes: small steps are lost, bright values are not")
    return said
