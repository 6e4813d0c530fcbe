"""The three kinds of comparison that ``vsr compare`` writes: a page, a film, a picture."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.cli.meter import ProgressDisplay
from vsrcli.compare.canvas import Layout
from vsrcli.compare.html import write_page
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.scoring import ScoreSeries
from vsrcli.compare.snapshots import check_times, collect_snapshots, spread_times
from vsrcli.compare.writers import plan_video, write_image, write_video
from vsrcli.evaluate.crops import DetailCrop
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions


class ComparisonWriter:
    """Writes a comparison; each kind says what it has made.

    Args:
        line: what is compared.
        target: the new file.
        overwrite: whether it may replace another.
        ffmpeg: the executable.
        meter: told how far it is.
        check: called after every moment; raises if a signal has arrived.
    """

    def __init__(
        self,
        line: Comparison,
        target: Path,
        overwrite: bool,
        ffmpeg: Ffmpeg,
        meter: ProgressDisplay,
        check: Callable[[], None],
    ) -> None:
        self._line, self._target, self._overwrite = line, target, overwrite
        self._ffmpeg, self._meter, self._check = ffmpeg, meter, check

    def write_image(self, layout: Layout, moments: tuple[Fraction, ...]) -> str:
        """A picture of one moment."""
        check_times(self._line, moments)
        at = moments[0] if moments else spread_times(self._line, 1)[0]
        write_image(self._line, self._target, layout, at, overwrite=self._overwrite, ffmpeg=self._ffmpeg)
        return "{}x{}".format(*layout.size)

    def write_page(
        self, moments: tuple[Fraction, ...], count: int, crop: DetailCrop | None, *, vmaf: bool
    ) -> tuple[str, ScoreSeries | None]:
        """A page of several moments; without any, of ``count``."""
        line = self._line
        check_times(line, moments)
        if crop is not None:
            crop.of(np.empty((line.height, line.width, 1), np.uint8))  # which says if it is not inside
        times = moments or spread_times(line, count - (line.reference is not None and count > 1))
        total = len(times) if line.reference is None else self._frames()
        with self._meter as meter:
            album = collect_snapshots(
                line,
                times,
                vmaf=vmaf,
                on_moment=lambda done: self._tell(done, total),
                on_notice=meter.print_line,
                ffmpeg=self._ffmpeg,
            )
        size = write_page(line, album, self._target, crop=crop, overwrite=self._overwrite)
        pictures = f"{len(line.all)} films, {len(album.shots)} moments ({album.coding})"
        return f"{pictures}, {size / 1e6:.1f} MB", album.figures

    def write_video(
        self, layout: Layout, options: EncodeOptions, *, vmaf: bool
    ) -> tuple[str, ScoreSeries | None]:
        """A film."""
        plan = plan_video(self._line, self._target, layout, options, ffmpeg=self._ffmpeg)
        total = self._frames()
        with self._meter as meter:
            for text in plan.notices:
                meter.print_line(f"  {text}")
            frames, figures = write_video(
                self._line,
                plan,
                layout,
                vmaf=vmaf,
                on_moment=lambda done: self._tell(done, total),
                on_notice=meter.print_line,
                ffmpeg=self._ffmpeg,
            )
        return f"{frames} frames, {plan.width}x{plan.height}", figures

    def _tell(self, done: int, total: int | None) -> None:
        self._check()
        self._meter.update(done, total, "compared")

    def _frames(self) -> int | None:
        """To come, as far as anybody knows."""
        line = self._line
        rate = line.films[0].source.video.frame_rate
        return None if line.end is None or rate is None else max(round((line.end - line.start) * rate), 1)
