"""Pictures as a film: what is said of all of them, from a look at each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import InputError
from vsrcli.images.look import detect_format, probe_image
from vsrcli.images.names import MatchedFiles, is_image_name, match_files
from vsrcli.images.types import ImageInfo
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.types import ImageSequence, Source, VideoStream

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
        path: as the user has named it, see :mod:`vsrcli.images.names`.
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
    if not pictures.rate_given:
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
        size=size,
        video=_video(looks, clock),
        files=found.files,
        numbers=found.numbers or tuple(range(1, count + 1)),
        single=found.single,
        format=first.format,
        lossy=first.lossy,
        rate_given=rate is not None,
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
        frames=count,
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
