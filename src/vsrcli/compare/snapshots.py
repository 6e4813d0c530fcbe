"""The moments that a page shows, as pictures inside its text, and the figures if there is a reference."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from PIL import Image, features

from vsrcli.compare.alignment import AlignedFrames, aligned_at, iter_aligned
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.scoring import Scorer, ScoreSeries
from vsrcli.errors import InputError
from vsrcli.evaluate.crops import DetailCrop, most_detailed_crop
from vsrcli.media.ffmpeg import Ffmpeg

MAX_SNAPSHOTS = 24  # moments of a page
LOSSLESS_LIMIT = 12 * 2**20  # bytes of all pictures up to which they are kept without loss
_WIDEST_WEBP = 16383
_STEP = Fraction(2)  # seconds between moments of films whose length nobody knows


@dataclass(frozen=True)
class Snapshot:
    """A moment with its pictures.

    Attributes:
        time: seconds since the films' first pictures.
        number: of the frame in the figures; None without them.
        note: what is special about it; mostly empty.
        pictures: a data URI for each of ``ModelComparison.all``.
        crop: where there is most detail, in pixels of the common size.
    """

    time: Fraction
    number: int | None
    note: str
    pictures: tuple[str, ...]
    crop: DetailCrop


@dataclass(frozen=True)
class SnapshotSet:
    """What a page is made of.

    Attributes:
        shots: in order of time.
        coding: how pictures are stored, for people.
        figures: None without a reference.
        frames: compared; None without figures, since only the shots were looked at then.
    """

    shots: tuple[Snapshot, ...]
    coding: str
    figures: ScoreSeries | None
    frames: int | None


def spread_times(line: Comparison, count: int) -> list[Fraction]:
    """Moments at equal distances, the first and the last half a distance from the ends."""
    if line.end is None:
        return [line.start + number * _STEP for number in range(count)]
    each = (line.end - line.start) / count
    return [line.start + (number + Fraction(1, 2)) * each for number in range(count)]


def check_times(line: Comparison, times: Sequence[Fraction]) -> None:
    """Whether all films show something then.

    Raises:
        InputError: a moment outside of what is compared.
    """
    for time in times:
        if time < line.start or (line.end is not None and time >= line.end):
            until = "" if line.end is None else f" and before {float(line.end):.6g} s"
            raise InputError(
                f"--at {float(time):g} is outside of what is compared, from {float(line.start):g} s on{until}"
            )


def collect_snapshots(
    line: Comparison,
    times: Sequence[Fraction],
    *,
    vmaf: bool = True,
    on_moment: Callable[[int], None] = lambda count: None,
    on_notice: Callable[[str], None] = lambda text: None,
    ffmpeg: Ffmpeg,
) -> SnapshotSet:
    """Look at the moments only; or, with a reference, at every frame, and keep the worst as well.

    Args:
        line: what is compared.
        times: moments to show, at least one.
        vmaf: whether VMAF is measured, too.
        on_moment: told how many moments (without a reference: pictures) have been seen.
        on_notice: told what was passed over.
        ffmpeg: the executable to run.

    Raises:
        DecodeError: a film is damaged.
        InputError: nothing is shown at such a time.
    """
    keeper = _Keeper(line, len(times) + (line.reference is not None))
    figures: ScoreSeries | None = None
    if line.reference is None:
        for count, moment in enumerate(aligned_at(line, sorted(times), ffmpeg=ffmpeg), 1):
            keeper.keep(moment)
            on_moment(count)
    else:
        with Scorer(line, vmaf=vmaf, on_notice=on_notice, ffmpeg=ffmpeg) as scorer:
            keeper.watch(iter_aligned(line, ffmpeg=ffmpeg), sorted(times), scorer, on_moment)
            figures = scorer.finish()
    frames = None if figures is None else len(figures.times)
    return SnapshotSet(keeper.shots(), keeper.coding, figures, frames)


class _Keeper:
    """Turns moments into shots as they come, so that few pictures are in memory."""

    def __init__(self, line: Comparison, expected: int) -> None:
        self._line, self._expected = line, expected
        self._shots: dict[Fraction, Snapshot] = {}
        self._lossless = features.check("webp") and max(line.width, line.height) <= _WIDEST_WEBP

    @property
    def coding(self) -> str:
        return "WebP, lossless" if self._lossless else "JPEG, quality 95, not subsampled"

    def shots(self) -> tuple[Snapshot, ...]:
        return tuple(self._shots[time] for time in sorted(self._shots))

    def keep(self, moment: AlignedFrames, note: str = "") -> None:
        """Add a moment, once."""
        known = self._shots.get(moment.time)
        if known is not None:
            self._shots[moment.time] = replace(known, note=note or known.note)
            return
        if not self._shots and self._lossless:
            size = sum(len(_webp(picture)) for picture in moment.pictures)
            self._lossless = size * self._expected <= LOSSLESS_LIMIT
        code, kind = (_webp, "webp") if self._lossless else (_jpeg, "jpeg")
        uris = tuple(
            f"data:image/{kind};base64,{base64.b64encode(code(picture)).decode()}"
            for picture in moment.pictures
        )
        crop = most_detailed_crop(moment.pictures[-1])
        self._shots[moment.time] = Snapshot(moment.time, moment.number, note, uris, crop)

    def watch(
        self,
        stream: Iterable[AlignedFrames],
        times: Sequence[Fraction],
        scorer: Scorer,
        on_moment: Callable[[int], None],
    ) -> None:
        """Score all moments; keep those shown at ``times``, and the worst of the last film."""
        waiting, slack = list(times), self._line.films[0].tolerance
        before: AlignedFrames | None = None
        worst: tuple[float, AlignedFrames] | None = None
        count = 0
        for moment in stream:
            score = scorer.add(moment)[-1][0]
            if worst is None or score < worst[0]:
                worst = score, moment
            while waiting and moment.time > waiting[0] + slack:
                waiting.pop(0)
                self.keep(before or moment)
            before, count = moment, count + 1
            on_moment(count)
        if before is None or worst is None:
            raise InputError("the films share no picture; check --start and --offset")
        if waiting:
            self.keep(before)
        self.keep(worst[1], f"worst of {self._line.films[-1].label}")


def _webp(picture: np.ndarray) -> bytes:
    return _coded(picture, "WEBP", lossless=True, quality=50, method=2)


def _jpeg(picture: np.ndarray) -> bytes:
    return _coded(picture, "JPEG", quality=95, subsampling=0, optimize=True)


def _coded(picture: np.ndarray, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, format=kind, **options)
    return content.getvalue()
