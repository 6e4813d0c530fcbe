"""Plan the output of images before the first frame: names, file format, bit depth, alpha and notices."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from vsrcli.errors import OutputError, UsageError
from vsrcli.frames.geometry import Geometry
from vsrcli.images.encoding import JPEG_QUALITY, MAX_JPEG_EXIF_BYTES, ImageFormat, can_encode_size
from vsrcli.images.metadata import read_metadata
from vsrcli.images.naming import FORMAT_BY_EXTENSION, ImageTarget, OutputNaming
from vsrcli.images.publish import UNKNOWN_STAMP, published_files, workdir_name
from vsrcli.media import alpha, color
from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.encoder_options import apply_preset
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.notices import source_notices
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.source_reader import Span
from vsrcli.media.types import Source
from vsrcli.system.files import workdir_for

_EIGHT_BIT_FORMATS = ("WebP", "JPEG", "BMP")
_FORMATS_WITHOUT_ALPHA = ("JPEG", "BMP")
_HDR_TRANSFERS = ("smpte2084", "arib-std-b67")
_WIDE_GAMUT_PRIMARIES = ("bt2020", "smpte431", "smpte432")
_QUALITY_OPTION = "quality"


@dataclass(frozen=True, kw_only=True)
class ImagePlan(OutputPlan):
    """An :class:`~vsrcli.media.output_plan.OutputPlan` of images.

    Attributes:
        naming: how the images are named.
        image_format: how each is stored.
        cicp: code points of H.273 for primaries and transfer that each PNG states; None for none.
        visible_share: shares of the source's width and height that are left after cropping.
    """

    naming: OutputNaming
    image_format: ImageFormat
    cicp: tuple[int, int] | None = None
    visible_share: tuple[float, float] = (1.0, 1.0)


def plan_images(
    source: Source,
    images: ImageTarget,
    *,
    geometry: Geometry,
    options: EncodeOptions,
    span: Span,
    deinterlace: bool,
    ffmpeg: Ffmpeg,
) -> ImagePlan:
    """Plan how ``source`` is written as images.

    Args:
        source: a video or an image sequence.
        images: from :func:`~vsrcli.images.naming.find_targets`.
        geometry: size of the images.
        options: as requested by the user; optional ones are for videos.
        span: of the source.
        deinterlace: whether the decoder will deinterlace.
        ffmpeg: decodes videos.

    Raises:
        OutputError: the format cannot hold images of this size.
        UsageError: an option that does not fit the format or the source.
    """
    naming = images.naming
    options = apply_preset(options.required.encode_preset, options.required)
    file_format = FORMAT_BY_EXTENSION[naming.suffix.lower()]
    video = source.video
    if not can_encode_size(file_format, geometry.width, geometry.height):
        raise OutputError(
            f"{naming.path}: {geometry.width}x{geometry.height} pixels are too many for {file_format}; write "
            ".tif, which takes them, or choose a smaller size"
        )
    if file_format == "EXR" and video.color.transfer in _HDR_TRANSFERS:
        raise UsageError(
            f"{naming.path}: EXR holds linear light, and {video.color.transfer} is not converted to it; "
            "write .png, which keeps 16 bits and says what they mean"
        )
    has_alpha = video.has_alpha and alpha.can_decode_alpha(video, ffmpeg)
    image_format = ImageFormat(
        file_format,
        is_high_bit_depth=video.is_high_bit_depth and file_format not in (*_EIGHT_BIT_FORMATS, "EXR"),
        is_grayscale=video.pix_fmt.startswith(("gray", "ya")) and file_format != "WebP",
        has_alpha=has_alpha and file_format not in _FORMATS_WITHOUT_ALPHA,
        quality=_choose_quality(file_format, options, source),
    )
    linear_to_linear = file_format == "EXR" and source.images is not None and source.images.format == "EXR"
    name = f"{file_format} images" if naming.single_name is None else f"{file_format} image"
    container = Container(
        "image2", name, frozenset(), frozenset(), None, frozenset(), None, has_chapters=False
    )
    note = f"from {video.codec} {video.width}x{video.height} {video.pix_fmt}, written as {image_format}"
    dropped = [
        StreamPlan(other.index, other.kind, other.codec, "drop", "images cannot hold it")
        for other in source.other_streams
    ]
    return ImagePlan(
        target=naming.path,
        container=container,
        width=geometry.width,
        height=geometry.height,
        codec=file_format.lower(),
        pix_fmt=str(image_format),
        color=video.color,
        sample_aspect_ratio=geometry.sample_aspect_ratio,
        video_options=(("quality", str(image_format.quality)),),
        streams=(StreamPlan(video.index, "video", file_format.lower(), "encode", note), *dropped),
        notices=tuple(
            _notices(
                source, container, image_format, options, geometry.sample_aspect_ratio, images, deinterlace
            )
        ),
        span=(span.start, span.end),
        time_origin=source.start + (span.start or 0),
        timescale=None,
        overwrite=options.overwrite,
        alpha=image_format.has_alpha and not linear_to_linear,  # whose alpha bypasses the network
        naming=naming,
        image_format=image_format,
        cicp=_cicp(source) if file_format == "PNG" else None,
        visible_share=geometry.visible_share,
    )


def _choose_quality(file_format: str, options: EncodeOptions, source: Source) -> int | None:
    """Return the quality of JPEG, and of WebP if it was requested or the source is lossy; else None.

    Raises:
        UsageError: the requested quality is not a whole number from 1 to 100.
    """
    requested = dict(options.extra).get(_QUALITY_OPTION)
    if file_format not in ("JPEG", "WebP"):
        return None
    if requested is not None:
        if not (requested.isascii() and requested.isdecimal()) or not 1 <= int(requested) <= 100:
            raise UsageError(
                f"-e {_QUALITY_OPTION}={requested}: {file_format} takes a whole number from 1 to 100"
            )
        return int(requested)
    lossy = source.images is None or source.images.is_lossy
    return JPEG_QUALITY if file_format == "JPEG" or lossy else None


def check_images(images: ImageTarget, source: Source, *, overwrite: bool) -> None:
    """Check that images can be written there. The output folder may be missing, its parent may not.

    Raises:
        OutputError: the folder cannot be used, or a file is the source or would be replaced without
            ``overwrite``. Files that the same job has published are no obstacle.
    """
    naming, files = images.naming, images.files
    folder = naming.folder
    try:
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{folder} is no folder; choose another name")
        parent = folder if folder.is_dir() else folder.absolute().parent
        if not parent.is_dir():
            raise OutputError(f"{parent} is not a folder; create it first")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise OutputError(
                f"{parent} cannot be written to; choose another folder or change its access rights"
            )
        stats = [file.stat() for file in source.input_files if file.exists()]
        source_inodes = {(stat.st_dev, stat.st_ino) for stat in stats}
        existing = [file for file in files if os.path.lexists(file)]
        for file in existing:
            if file.is_dir():
                raise OutputError(f"{file} is a folder, so no image can have its name; choose another")
            if file.exists() and (file.stat().st_dev, file.stat().st_ino) in source_inodes:
                raise OutputError(f"{file} is the input itself; choose another name or folder")
        workdir = workdir_for(workdir_name(naming, source.path))
        own = published_files(workdir) if naming.single_name is None else {}
        foreign = sorted(file for file in existing if not own.get(file.name, UNKNOWN_STAMP).matches(file))
    except OSError as error:
        raise OutputError(
            f"{naming.path} cannot be used as a name ({error.strerror}); choose another"
        ) from error
    if foreign and not overwrite:
        more = f", and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise OutputError(f"{foreign[0]} exists{more}; use --overwrite to replace what has these names")


def _notices(
    source: Source,
    container: Container,
    image_format: ImageFormat,
    options: EncodeOptions,
    sample_aspect_ratio: Fraction,
    target: ImageTarget,
    deinterlace: bool,
) -> Iterator[str]:
    video, file_format = source.video, image_format.format
    yield from source_notices(source, container, (None, None), deinterlace=deinterlace, keeps_hdr=False)
    images = source.images
    if images is None:
        if source.other_streams:
            kinds = ", ".join(dict.fromkeys(other.kind for other in source.other_streams))
            yield f"images hold nothing else: {kinds} left out"
        if video.frame_rate is not None and container.name.endswith("s"):
            yield f"images have no times: this video shows {video.frame_rate} of them a second"
    if video.is_high_bit_depth and file_format in _EIGHT_BIT_FORMATS:
        yield f"{file_format} has 8 bits: higher bit depths are rounded to them"
    if video.has_alpha and not image_format.has_alpha:
        yield f"transparency is dropped: {file_format} has none (PNG, TIFF, WebP and EXR have)"
    if sample_aspect_ratio != 1 and file_format != "PNG":
        yield f"pixels are {sample_aspect_ratio} as wide as high; PNG says so, {file_format} does not"
    from_exr = images is not None and images.format == "EXR"
    if from_exr and file_format == "EXR":
        yield (
            "linear light goes through the network on the sRGB curve; values outside 0 to 1, and alpha, "
            "bypass it and are interpolated"
        )
    elif from_exr:
        yield "linear light becomes codes on the sRGB curve; values outside 0 to 1 are clipped"
    elif file_format == "EXR":
        yield "codes are taken to be on the sRGB curve, and written as linear light"
    if file_format == "JPEG" and not (images is not None and images.is_lossy):
        yield f"JPEG loses a little (quality {image_format.quality}); PNG, TIFF and WebP do not"
    if images is not None and file_format == "JPEG" and images.format in ("PNG", "WebP"):
        size = (video.width, video.height)
        exif = (read_metadata(file, images.format, size).exif or b"" for file in images.files)
        if any(len(each) > MAX_JPEG_EXIF_BYTES for each in exif):
            yield "EXIF above 64 KiB is left out: JPEG has no room for it (PNG and WebP have)"
    if video.color.transfer in _HDR_TRANSFERS and file_format != "PNG":
        yield f"{file_format} cannot say that its codes are HDR ({video.color.transfer}); PNG can"
    video_options = {"--codec": options.codec, "--crf": options.crf, "-e preset": options.preset}
    video_options |= {
        "--pix-fmt": options.pix_fmt,
        **{f"-e {k}": v for k, v in options.extra if k != _QUALITY_OPTION},
    }
    unused = [name for name, value in video_options.items() if value is not None]
    if unused:
        yield f"{', '.join(unused)}: for videos, and without effect on images"
    if count := target.remaining_count:  # they become part of the sequence
        yield f"{count} other image{'s' * (count > 1)} with such names stay in {target.naming.folder}"


def _cicp(source: Source) -> tuple[int, int] | None:
    """Return primaries and transfer (H.273) of an HDR or wide-gamut video; None for others and for images."""
    if source.images is not None:
        return None  # their own chunks are preserved
    tagged = source.video.color
    if tagged.transfer not in _HDR_TRANSFERS and tagged.primaries not in _WIDE_GAMUT_PRIMARIES:
        return None
    resolved = color.resolve_color(tagged, source.video.pix_fmt, source.video.width, source.video.height)
    primaries = {name: code for code, name in color.PRIMARIES.items()}.get(resolved.primaries or "")
    transfer = {name: code for code, name in color.TRANSFERS.items()}.get(resolved.transfer or "")
    return None if primaries is None or transfer is None else (primaries, transfer)
