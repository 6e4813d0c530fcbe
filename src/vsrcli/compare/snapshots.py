"""Collect the snapshots of a page, as images in data URIs, and the scores if there is a reference."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from PIL import Image, features

from vsrcli.compare.alignment import AlignedFrames, aligned_at, iter_aligned
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.page_parts import data_uri
from vsrcli.compare.scoring import Scorer, ScoreSeries
from vsrcli.errors import InputError
from vsrcli.evaluate.crops import DetailCrop, most_detailed_crop
from vsrcli.media.ffmpeg import Ffmpeg

MAX_SNAPSHOTS = 24  # of a page
MAX_LOSSLESS_BYTES = 12 * 2**20  # of all images of a page; above, they are JPEG
_FORMAT_OPTIONS: dict[str, dict[str, Any]] = {
    "webp": {"lossless": True, "quality": 50, "method": 2},
    "jpeg": {"quality": 95, "subsampling": 0, "optimize": True},
}
_MAX_WEBP_SIDE = 16383  # pixels, by the format
_DEFAULT_INTERVAL = Fraction(2)  # seconds between snapshots of videos of unknown length


@dataclass(frozen=True)
class Snapshot:
    """Frames of all videos at one time, as images.

    Attributes:
        time: seconds since the videos' first frames.
        index: index of the frame in the scores; None without scores.
        note: why the page shows it, such as ``worst of x4.mp4``; mostly empty.
        image_uris: a data URI for each of ``Comparison.all_videos``.
        crop: the crop with most detail, in pixels of the common size.
    """

    time: Fraction
    index: int | None
    note: str
    image_uris: tuple[str, ...]
    crop: DetailCrop


@dataclass(frozen=True)
class SnapshotSet:
    """Snapshots and scores of a page.

    Attributes:
        snapshots: in order of time.
        image_format: format of the images, for people.
        scores: None without a reference: then only the snapshots were decoded.
    """

    snapshots: tuple[Snapshot, ...]
    image_format: str
    scores: ScoreSeries | None


def spread_times(comparison: Comparison, count: int) -> list[Fraction]:
    """Return ``count`` evenly spaced times, the first and last half an interval from the ends."""
    if comparison.end is None:
        return [comparison.start + number * _DEFAULT_INTERVAL for number in range(count)]
    interval = (comparison.end - comparison.start) / count
    return [comparison.start + (number + Fraction(1, 2)) * interval for number in range(count)]


def check_times(comparison: Comparison, times: Sequence[Fraction]) -> None:
    """Raise ``InputError`` if a time is outside the compared range, naming it."""
    for time in times:
        if time < comparison.start or (comparison.end is not None and time >= comparison.end):
            until = "" if comparison.end is None else f" and before {float(comparison.end):.6g} s"
            raise InputError(
                f"--at {float(time):g} is outside of what is compared, "
                f"from {float(comparison.start):g} s on{until}"
            )


def collect_snapshots(
    comparison: Comparison,
    times: Sequence[Fraction],
    *,
    vmaf: bool = True,
    on_progress: Callable[[int], None] = lambda count: None,
    on_notice: Callable[[str], None] = lambda text: None,
    ffmpeg: Ffmpeg,
) -> SnapshotSet:
    """Collect snapshots at ``times``; with a reference, score every frame and add the worst one.

    Without a reference, only the requested frames are decoded.

    Args:
        times: of the snapshots, at least one.
        vmaf: measure VMAF, too.
        on_progress: called with the number of frames (without a reference: snapshots) so far.
        on_notice: called with messages about what was left out.

    Raises:
        DecodeError: a video is damaged.
        InputError: a video has no frame at such a time.
    """
    collector = _SnapshotCollector(comparison)
    if comparison.reference is None:
        for count, aligned in enumerate(aligned_at(comparison, sorted(times), ffmpeg=ffmpeg), 1):
            collector.add(aligned)
            on_progress(count)
        return collector.finish(None)
    with Scorer(comparison, vmaf=vmaf, on_notice=on_notice, ffmpeg=ffmpeg) as scorer:
        stream = iter_aligned(comparison, ffmpeg=ffmpeg)
        collector.score_and_collect(stream, sorted(times), scorer, on_progress)
        return collector.finish(scorer.finish())


class _SnapshotCollector:
    """Encodes snapshots as frames arrive, so that few raw frames are in memory."""

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison
        self._snapshots: dict[Fraction, Snapshot] = {}
        self._contents: dict[Fraction, list[bytes]] = {}  # encoded images of each
        self._lossless_bytes = 0
        self._lossless = features.check("webp") and max(comparison.width, comparison.height) <= _MAX_WEBP_SIDE

    def finish(self, scores: ScoreSeries | None) -> SnapshotSet:
        kind = self._kind
        snapshots = tuple(
            replace(
                self._snapshots[time], image_uris=tuple(data_uri(each, kind) for each in self._contents[time])
            )
            for time in sorted(self._snapshots)
        )
        image_format = "WebP, lossless" if self._lossless else "JPEG, quality 95, not subsampled"
        return SnapshotSet(snapshots, image_format, scores)

    def add(self, aligned: AlignedFrames, note: str = "") -> None:
        """Add a snapshot; if there is one at this time already, only its note."""
        existing = self._snapshots.get(aligned.time)
        if existing is not None:
            self._snapshots[aligned.time] = replace(existing, note=note or existing.note)
            return
        crop = most_detailed_crop(aligned.images[-1])
        self._snapshots[aligned.time] = Snapshot(aligned.time, aligned.index, note, (), crop)
        contents = [_encode(image, self._kind) for image in aligned.images]
        self._contents[aligned.time] = contents
        if self._lossless:
            self._lossless_bytes += sum(map(len, contents))
            if self._lossless_bytes > MAX_LOSSLESS_BYTES:
                self._lossless = False
                for time, earlier in self._contents.items():
                    self._contents[time] = [_encode(_decode(each), self._kind) for each in earlier]

    @property
    def _kind(self) -> str:
        return "webp" if self._lossless else "jpeg"

    def score_and_collect(
        self,
        stream: Iterable[AlignedFrames],
        times: Sequence[Fraction],
        scorer: Scorer,
        on_progress: Callable[[int], None],
    ) -> None:
        """Score all frames; add snapshots at ``times``, and of the last video's worst frame."""
        pending, tolerance = list(times), self._comparison.videos[0].tolerance
        previous: AlignedFrames | None = None
        worst: tuple[float, AlignedFrames] | None = None
        for count, aligned in enumerate(stream, 1):
            score = scorer.add(aligned)[-1][0]
            if worst is None or score < worst[0]:
                worst = score, aligned
            while pending and aligned.time > pending[0] + tolerance:
                pending.pop(0)
                self.add(previous or aligned)
            previous = aligned
            on_progress(count)
        if previous is None or worst is None:
            raise InputError("the videos share no frame; check --start and --offset")
        if pending:
            self.add(previous)
        self.add(worst[1], f"worst of {self._comparison.videos[-1].label}")


def _decode(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


def _encode(image: np.ndarray, kind: str) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, format=kind, **_FORMAT_OPTIONS[kind])
    return content.getvalue()
