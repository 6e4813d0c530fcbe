"""Probe image sequences, which are described as videos: a :class:`~vsrcli.media.types.Source` of files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import DecodeError, InputError
from vsrcli.images.naming import MatchedFiles, is_image_name, match_files, parse_pattern
from vsrcli.images.probe import detect_format, probe_image
from vsrcli.images.publish import published_files
from vsrcli.images.types import ImageInfo
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.types import ImageSequence, Source, VideoStream
from vsrcli.system.files import workdir_for

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


def probe_source(
    path: Path, frame_rate: Fraction | None = None, target: Path | None = None, *, keep_going: bool = False
) -> Source:
    """Probe the video, image sequence or image that a path means.

    Args:
        path: as typed by the user, see :mod:`vsrcli.images.naming`.
        frame_rate: of an image sequence; None for ``DEFAULT_FRAME_RATE``. Videos have their own.
        target: of the run, if there is one; what it has written among its input is no input.
        keep_going: take an image that is damaged or empty for one like that before it, which will replace it;
            the first one must be intact.

    Returns:
        An :class:`~vsrcli.media.types.ImageSequence` for images.

    Raises:
        InputError: see :func:`vsrcli.media.probe.probe`; or the images are no sequence: there are gaps,
            several sizes or several formats.
    """
    matched = match_files(path, _results_among(path, target))
    if matched is None or (matched.is_single_file and not _is_still_image(matched.files[0])):
        return probe(path)
    return _probe_sequence(path, matched, frame_rate, target, keep_going=keep_going)


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


def _is_still_image(path: Path) -> bool:
    try:
        return detect_format(path) is not None
    except OSError:
        return False  # the video probe reports why


def _probe_sequence(
    path: Path,
    matched: MatchedFiles,
    requested_rate: Fraction | None,
    target: Path | None,
    *,
    keep_going: bool,
) -> ImageSequence:
    infos: list[ImageInfo] = []
    for file in matched.files:
        try:
            infos.append(probe_image(file))
        except DecodeError:
            if not keep_going or not infos:
                raise
            infos.append(infos[-1])
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
