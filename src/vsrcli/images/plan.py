"""Decide everything about new pictures before the first of them: names, format, depth, transparency."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.images.encoding import JPEG_QUALITY, ImageFormat
from vsrcli.images.naming import EXTENSIONS, OutputNaming
from vsrcli.images.publish import UNKNOWN_STAMP, published_files, workdir_name
from vsrcli.images.reader import frame_range
from vsrcli.media import alpha, color
from vsrcli.media.containers import Container, StreamPlan
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.notices import source_notices
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.types import ImageSequence, Source
from vsrcli.system.files import workdir_for

_EIGHT_BITS = ("WebP", "JPEG", "BMP")
_OPAQUE = ("JPEG", "BMP")
_HDR = ("smpte2084", "arib-std-b67")
_WIDE = ("bt2020", "smpte431", "smpte432")
_QUALITY = "quality"


@dataclass(frozen=True, kw_only=True)
class ImagePlan(OutputPlan):
    """An :class:`~vsrcli.media.output_plan.OutputPlan` of pictures.

    Attributes:
        targets: how they are called.
        form: how each is stored.
        cicp: code points of H.273 for primaries and transfer, where a PNG has to say them.
        seen: shares of the old picture's width and height that are still there.
    """

    targets: OutputNaming
    form: ImageFormat
    cicp: tuple[int, int] | None = None
    visible_share: tuple[float, float] = (1.0, 1.0)


def plan_images(
    source: Source,
    targets: OutputNaming,
    *,
    width: int,
    height: int,
    shape: Fraction,
    seen: tuple[float, float],
    options: EncodeOptions,
    span: tuple[Fraction | None, Fraction | None],
    frames: int | None,
    deinterlace: bool,
    ffmpeg: Ffmpeg,
) -> ImagePlan:
    """Decide how ``source``, upscaled to ``width`` x ``height``, is written as pictures.

    Args:
        source: the film or the pictures.
        targets: how they are called.
        width, height: pixels of the new ones.
        shape: of a pixel in them.
        seen: shares of the old picture that are still there.
        options: what the user asked for.
        span: (start, end) in seconds.
        frames: at most so many.
        deinterlace: whether the decoder will deinterlace.
        ffmpeg: that decodes films.

    Raises:
        OutputError: pictures of these names exist, are the source, or cannot be written.
        UsageError: an option that cannot be meant.
    """
    kind = EXTENSIONS[targets.suffix.lower()]
    video = source.video
    if kind == "EXR" and video.color.transfer in _HDR:
        raise UsageError(
            f"{targets.path}: EXR holds linear light, and {video.color.transfer} is not turned into it; "
            "write .png, which keeps 16 bits and says what they mean"
        )
    see_through = video.has_alpha and alpha.can_decode_alpha(video, ffmpeg)
    form = ImageFormat(
        kind,
        is_high_bit_depth=video.is_high_bit_depth and kind not in (*_EIGHT_BITS, "EXR"),
        is_grayscale=video.pix_fmt.startswith(("gray", "ya")) and kind != "WebP",
        alpha=see_through and kind not in _OPAQUE,
        quality=_quality(kind, options, source),
    )
    files = _names(source, targets, span, frames)
    _check(targets, files, source, overwrite=options.overwrite)
    light = kind == "EXR" and isinstance(source, ImageSequence) and source.format == "EXR"
    container = Container(
        "image2", f"{kind} pictures" if targets.single is None else f"{kind} picture", frozenset(),
        frozenset(), None, frozenset(), None, chapters=False,
    )  # fmt: skip
    picture = f"from {video.codec} {video.width}x{video.height} {video.pix_fmt}, written as {form}"
    dropped = [
        StreamPlan(other.index, other.kind, other.codec, "drop", "pictures hold no such thing")
        for other in source.other_streams
    ]
    return ImagePlan(
        target=targets.path,
        container=container,
        width=width,
        height=height,
        codec=kind.lower(),
        pix_fmt=str(form),
        color=video.color,
        sample_aspect_ratio=shape,
        video_options=(("quality", str(form.quality)),),
        streams=(StreamPlan(video.index, "picture", kind.lower(), "encode", picture), *dropped),
        notices=(
            *_notices(source, container, form, options, shape, deinterlace=deinterlace),
            *_staying(targets, files),
        ),
        span=span,
        time_origin=source.start + (span[0] or 0),
        timescale=None,
        overwrite=options.overwrite,
        alpha=form.alpha and not light,  # which then goes beside
        targets=targets,
        form=form,
        cicp=_cicp(source) if kind == "PNG" else None,
        visible_share=seen,
    )


def _quality(kind: str, options: EncodeOptions, source: Source) -> int | None:
    """Of JPEG; of WebP if it was asked for, or if the source has lost something already."""
    asked = dict(options.extra).get(_QUALITY)
    if kind not in ("JPEG", "WebP"):
        return None
    if asked is not None:
        if not (asked.isascii() and asked.isdecimal()) or not 1 <= int(asked) <= 100:
            raise UsageError(f"-e {_QUALITY}={asked}: {kind} takes a whole number from 1 to 100")
        return int(asked)
    lossy = not isinstance(source, ImageSequence) or source.is_lossy
    return JPEG_QUALITY if kind == "JPEG" or lossy else None


def _names(
    source: Source,
    targets: OutputNaming,
    span: tuple[Fraction | None, Fraction | None],
    frames: int | None,
) -> list[Path]:
    """The files that will be written; of a film, those that are there already and may be replaced."""
    if isinstance(source, ImageSequence):
        chosen = frame_range(source, *span, frames)
        files = [targets.file(source.numbers[number], source.files[number]) for number in chosen]
        names: dict[str, Path] = {}
        for number, file in zip(chosen, files, strict=True):
            before = names.setdefault(os.path.normcase(file), source.files[number])
            if before != source.files[number]:
                raise UsageError(
                    f"{before} and {source.files[number]} would both become {file}; name a pattern, such as "
                    f"{targets.folder / f'%05d{targets.suffix}'}"
                )
        return files
    if targets.single is not None:
        return [targets.folder / targets.single]
    if not targets.folder.is_dir():
        return []
    pattern = targets.pattern
    assert pattern is not None
    return [file for file in targets.folder.iterdir() if pattern.number(file.name) is not None]


def _check(targets: OutputNaming, files: list[Path], source: Source, *, overwrite: bool) -> None:
    """Whether pictures may be written there. A folder is made, but not the one that it lies in."""
    folder = targets.folder
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
        olds = [source.path] if not isinstance(source, ImageSequence) else list(source.files)
        same = {(stat.st_dev, stat.st_ino) for stat in (old.stat() for old in olds if old.exists())}
        there = [file for file in files if os.path.lexists(file)]
        for file in there:
            if file.is_dir():
                raise OutputError(f"{file} is a folder, so no picture can have its name; choose another")
            if file.exists() and (file.stat().st_dev, file.stat().st_ino) in same:
                raise OutputError(f"{file} is the input itself; choose another name or folder")
        own = published_files(workdir_for(workdir_name(targets))) if targets.single is None else {}
        foreign = sorted(file for file in there if not own.get(file.name, UNKNOWN_STAMP).matches(file))
    except OSError as error:
        raise OutputError(
            f"{targets.path} cannot be used as a name ({error.strerror}); choose another"
        ) from error
    if foreign and not overwrite:
        more = f", and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise OutputError(f"{foreign[0]} exists{more}; use --overwrite to replace what has these names")


def _notices(
    source: Source,
    container: Container,
    form: ImageFormat,
    options: EncodeOptions,
    shape: Fraction,
    *,
    deinterlace: bool,
) -> Iterator[str]:
    video, kind = source.video, form.format
    yield from source_notices(source, container, (None, None), deinterlace=deinterlace, keeps_hdr=False)
    pictures = isinstance(source, ImageSequence)
    if not pictures:
        if source.other_streams:
            kinds = ", ".join(dict.fromkeys(other.kind for other in source.other_streams))
            yield f"pictures hold nothing else: {kinds} left out"
        if video.frame_rate is not None and container.name.endswith("s"):
            yield f"pictures have no times: this film shows {video.frame_rate} of them a second"
    if video.is_high_bit_depth and kind in _EIGHT_BITS:
        yield f"{kind} has 8 bits: deeper pictures are rounded to them"
    if video.has_alpha and not form.alpha:
        yield f"transparency is dropped: {kind} has none (PNG, TIFF, WebP and EXR have)"
    if shape != 1 and kind != "PNG":
        yield f"pixels are {shape} as wide as high; {kind} does not say so here, PNG does"
    light = pictures and source.format == "EXR"
    if light and kind == "EXR":
        yield (
            "linear light goes through the network on the sRGB curve; what lies outside 0 to 1, and alpha, "
            "is interpolated beside it"
        )
    elif light:
        yield "linear light becomes codes on the sRGB curve; what lies outside 0 to 1 is clipped"
    elif kind == "EXR":
        yield "codes are taken to be on the sRGB curve, and written as linear light"
    if kind == "JPEG" and not (pictures and source.is_lossy):
        yield f"JPEG loses a little (quality {form.quality}); PNG, TIFF and WebP do not"
    if video.color.transfer in _HDR and kind != "PNG":
        yield f"{kind} cannot say that its codes are HDR ({video.color.transfer}); PNG can"
    given = {"--codec": options.codec, "--crf": options.crf, "-e preset": options.preset}
    given |= {"--pix-fmt": options.pix_fmt, **{f"-e {k}": v for k, v in options.extra if k != _QUALITY}}
    unused = [name for name, value in given.items() if value is not None]
    if unused:
        yield f"{', '.join(unused)}: for films, and without effect on pictures"


def _staying(targets: OutputNaming, files: list[Path]) -> Iterator[str]:
    """Pictures of the same pattern that will not be replaced: whoever reads the sequence gets them, too."""
    if targets.pattern is not None and targets.folder.is_dir():
        found = {file for file in targets.folder.iterdir() if targets.pattern.number(file.name) is not None}
        if others := len(found.difference(files)):
            yield f"{others} other picture{'s' * (others > 1)} with such names stay in {targets.folder}"


def _cicp(source: Source) -> tuple[int, int] | None:
    """What a PNG has to say of the colours of an HDR or wide-gamut film; nobody misses it elsewhere."""
    found = source.video.color
    if isinstance(source, ImageSequence):
        return None  # their own chunks go along
    if found.transfer not in _HDR and found.primaries not in _WIDE:
        return None
    full = color.resolve(found, source.video.pix_fmt, source.video.width, source.video.height)
    primaries = {name: code for code, name in color.PRIMARIES.items()}.get(full.primaries or "")
    transfer = {name: code for code, name in color.TRANSFERS.items()}.get(full.transfer or "")
    return None if primaries is None or transfer is None else (primaries, transfer)
