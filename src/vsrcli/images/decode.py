"""Pictures as frames, each of them read when its turn has come."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from vsrcli.errors import DecodeError, InputError
from vsrcli.images.look import probe_image
from vsrcli.images.read import Image, conform, read_image
from vsrcli.media.decoder import Decoder
from vsrcli.media.types import Frame, ImageSequence


class ImageSequenceDecoder(Decoder):
    """A :class:`~vsrcli.media.decoder.Decoder` of pictures.

    Args:
        source: the pictures.
        options: as of ``Decoder``. A picture that cannot be decoded is an error that names it; with
            ``tolerant`` the one before stands in its place.
    """

    def __init__(self, source: ImageSequence, **options: Any) -> None:
        super().__init__(source, **options)
        self._series = source

    def raise_if_damaged(self) -> None:
        """Every picture is checked when it is read."""

    def close(self) -> None:
        """Nothing is open."""

    def _seek_point(self) -> Fraction | None:
        return None

    def _run(self, seek: Fraction | None) -> Iterator[Frame]:
        video, before, replaced = self._series.video, None, []
        for number in frame_range(self._series, self._start, self._end, self._limit):
            try:
                before = self._picture(number)
            except InputError:
                if not self._tolerant or before is None:
                    raise
                replaced.append(self._series.files[number].name)
            self.count += 1
            yield Frame(before.pixels, number, video.time_base, before.alpha)
        if replaced:
            names = ", ".join(replaced[:5]) + (" …" if len(replaced) > 5 else "")
            self.warnings.append(f"{len(replaced)} damaged pictures are replaced by the ones before: {names}")

    def _picture(self, number: int) -> Image:
        file, video = self._series.files[number], self._series.video
        found = probe_image(file)
        if (found.format, found.width, found.height) != (self._series.format, video.width, video.height):
            raise DecodeError(f"{file} was changed while it was upscaled; put the old picture back")
        return conform(read_image(file, found), deep=video.is_high_bit_depth, alpha=self._alpha)


def frame_range(
    source: ImageSequence, start: Fraction | None, end: Fraction | None, frames: int | None = None
) -> range:
    """Which pictures begin in ``[start, end)``, seconds; at most so many."""
    rate = 1 / source.video.time_base
    first = 0 if start is None else max(-(-(start * rate) // 1), 0)
    last = len(source.files) if end is None else min(-(-(end * rate) // 1), len(source.files))
    if frames is not None:
        last = min(last, first + frames)
    return range(int(first), max(int(last), int(first)))
