"""Which films are compared, over which moments, at which size: everything before the first picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import InputError, UsageError
from vsrcli.media.color import resolve_color
from vsrcli.media.probe import probe
from vsrcli.media.timing import last_frame
from vsrcli.media.types import Source

KERNELS = ("bicubic", "nearest", "lanczos3")
_SAME_SHAPE = 0.02  # of an aspect ratio: sides are rounded to whole and even pixels
_NEAR = Fraction(1, 200)  # seconds that clocks of different containers round by, and more
_FASTEST = 4  # of a frame's duration, the share that times may differ by


@dataclass(frozen=True)
class ComparedVideo:
    """One of the films.

    Attributes:
        source: the film, as probed.
        label: what it is called.
        zero: seconds on its own clock of moment 0: its first picture, or where the others begin in it.
        end: moment at which its last picture ends; None if the file does not say.
        scaling: how its pictures come to the common size (``bicubic x4``); empty if they have it.
    """

    source: Source
    label: str
    zero: Fraction
    end: Fraction | None
    scaling: str = ""

    @property
    def title(self) -> str:
        """The label with what was done to the pictures."""
        return f"{self.label} · {self.scaling}" if self.scaling else self.label

    @property
    def tolerance(self) -> Fraction:
        """Seconds by which a picture may be late and still belong to a moment."""
        rate = self.source.video.frame_rate
        return _NEAR if not rate else min(_NEAR, 1 / (_FASTEST * rate))


@dataclass(frozen=True)
class Comparison:
    """What is compared.

    Attributes:
        films: two at least; the first one gives times and sound.
        reference: what they ought to look like, or None.
        width, height: pixels of the common size: the reference's, else the largest film's.
        shape: of a pixel at that size (1 = square).
        start, end: moments that are compared, half open; ``end`` None: to the end of the shortest film.
        kernel: one of ``KERNELS``, for pictures of another size.
        notices: what people should know.
    """

    films: tuple[ComparedVideo, ...]
    reference: ComparedVideo | None
    width: int
    height: int
    shape: Fraction
    start: Fraction
    end: Fraction | None
    kernel: str
    notices: tuple[str, ...]

    @property
    def all(self) -> tuple[ComparedVideo, ...]:
        """The films, and the reference behind them if there is one."""
        return self.films if self.reference is None else (*self.films, self.reference)

    @property
    def is_full_length(self) -> bool:
        """Whether the first film is shown to its last picture, as far as anybody knows."""
        last = self.films[0].end
        return self.end is None or (last is not None and self.end >= last)


def plan_comparison(
    paths: Sequence[Path],
    reference: Path | None = None,
    *,
    labels: Sequence[str] = (),
    kernel: str = "bicubic",
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    offset: Fraction = Fraction(0),
) -> Comparison:
    """Look at the films and decide what is compared.

    Args:
        paths: two films or more.
        reference: what they ought to look like.
        labels: one for each film; by default their names.
        kernel: one of ``KERNELS``.
        start, seconds: compare from this moment on, for so long; moments count from the first pictures.
        offset: where the other films begin in the first one and in the reference.

    Raises:
        InputError: a film cannot be read, shows another shape of picture, or has nothing at that time.
        UsageError: fewer than two films, or another number of labels.
    """
    if len(paths) < 2:
        raise UsageError("there is nothing to compare one film with: name two or more")
    if labels and len(labels) != len(paths):
        raise UsageError(
            f"--labels names {len(labels)} of {len(paths)} films: give one for each, separated by commas"
        )
    names = labels or _names(paths)
    films = [
        _film(path, name, offset if number == 0 else Fraction(0))
        for number, (path, name) in enumerate(zip(paths, names, strict=True))
    ]
    truth = None if reference is None else _film(reference, reference.name, offset)
    largest = max(films, key=lambda film: film.source.video.width * film.source.video.height)
    model = (truth or largest).source.video
    all_films = [*films, *([truth] if truth else [])]
    _check_shapes(all_films, truth or largest)
    size = model.width, model.height
    end, shortened = _common(all_films)
    if end is not None and start >= end:
        raise InputError(
            f"nothing to compare from {float(start):g} s on: what the films share ends at {float(end):.6g} s"
        )
    if seconds is not None and (end is None or start + seconds <= end):
        end, shortened = start + seconds, ()
    scaled = [replace(film, scaling=_scaling(film.source, size, kernel)) for film in all_films]
    return Comparison(
        films=tuple(scaled[: len(films)]),
        reference=scaled[-1] if truth else None,
        width=size[0],
        height=size[1],
        shape=model.sample_aspect_ratio,
        start=start,
        end=end,
        kernel=kernel,
        notices=(*shortened, *_resampled(scaled, size), *_colours(scaled)),
    )


def escape_controls(text: str) -> str:
    """Text that a picture or a page can show: bytes that are no UTF-8 and control characters become marks."""
    shown = os.fsencode(text).decode("utf-8", "replace")
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in shown)


def _film(path: Path, label: str, offset: Fraction) -> ComparedVideo:
    source = probe(path)
    video = source.video
    zero = video.start + offset
    last = last_frame(source, None)
    end = None
    if last is not None:
        end = last[0] + (last[1] or (1 / video.frame_rate if video.frame_rate else 0))
    elif video.duration is not None:
        end = video.start + video.duration
    if end is not None and end <= zero:
        raise InputError(f"{path} ends before --offset {float(offset):g} s; choose another")
    return ComparedVideo(source, escape_controls(label), zero, None if end is None else end - zero)


def _names(paths: Sequence[Path]) -> list[str]:
    """File names, with as much of their folders as it takes to tell them apart."""
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names) and depth < max(len(path.parts) for path in paths):
        depth += 1
        names = ["/".join(path.absolute().parts[-depth:]) for path in paths]
    return names


def _check_shapes(films: Sequence[ComparedVideo], model: ComparedVideo) -> None:
    """Pictures of another shape do not show the same."""

    def shape(film: ComparedVideo) -> Fraction:
        video = film.source.video
        return Fraction(video.width, video.height) * video.sample_aspect_ratio

    for film in films:
        if abs(shape(film) / shape(model) - 1) > _SAME_SHAPE:
            one, other = (
                f"{each.source.path} is {each.source.video.width}x{each.source.video.height}, "
                f"shown as {float(shape(each)):.3f}:1"
                for each in (film, model)
            )
            raise InputError(f"{one}; {other}: cut or scale one of them to the other's shape first")


def _common(films: Sequence[ComparedVideo]) -> tuple[Fraction | None, tuple[str, ...]]:
    """Where the shortest film ends, and a word on it if others go on."""
    known = [film for film in films if film.end is not None]
    if not known:
        return None, ()
    ends = {film.label: film.end or Fraction(0) for film in known}
    shortest = min(known, key=lambda film: film.end or 0)
    end = shortest.end or Fraction(0)
    rate = shortest.source.video.frame_rate
    frame = 1 / rate if rate else Fraction(1, 10)
    longer = [name for name, other in ends.items() if other - end > frame / 2]
    if not longer:
        return end, ()
    return end, (
        f"{shortest.label} is {float(end):.6g} s long, {', '.join(longer)} longer: only that part is "
        "compared",
    )


def _scaling(source: Source, size: tuple[int, int], kernel: str) -> str:
    video = source.video
    if (video.width, video.height) == size:
        return ""
    across, down = Fraction(size[0], video.width), Fraction(size[1], video.height)
    name = kernel.removesuffix("3")
    if across == down:
        return f"{name} x{float(across):.4g}"
    return f"{name} from {video.width}x{video.height}"


def _resampled(films: Sequence[ComparedVideo], size: tuple[int, int]) -> list[str]:
    return [
        f"{film.label} is {film.source.video.width}x{film.source.video.height} and is shown "
        f"as {size[0]}x{size[1]} ({film.scaling})"
        for film in films
        if film.scaling
    ]


def _colours(films: Sequence[ComparedVideo]) -> list[str]:
    """Films are shown by their R'G'B' codes: nothing is converted between colour spaces."""
    videos = [film.source.video for film in films]
    full = [resolve_color(video.color, video.pix_fmt, video.width, video.height) for video in videos]
    told = []
    if any(color.transfer in ("smpte2084", "arib-std-b67") for color in full):
        told.append("HDR is shown by its codes, without tone mapping: pictures and page look flat")
    tags = [(video.color.primaries, video.color.transfer) for video in videos]
    if len({tag for tag in tags if None not in tag}) > 1:  # what is only assumed is not worth a word
        told.append(
            "the films are tagged with different primaries or transfer; codes are compared as they are"
        )
    if any(video.has_alpha for video in videos):
        told.append("transparency is left out")
    return told
