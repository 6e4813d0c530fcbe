"""``vsr compare``: films beside each other, as a page, a film or a picture.

The three kinds of comparison that ``vsr compare`` writes: a page, a film, a picture.

The figures of ``vsr compare`` for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsrcli.cli.help import Command, option
from vsrcli.cli.options import from_command_line, highest_precedence, quiet_option, verbose_option
from vsrcli.cli.progress import ProgressDisplay
from vsrcli.cli.types import TimeParam
from vsrcli.compare.canvas import Layout
from vsrcli.compare.html import write_page
from vsrcli.compare.inputs import Comparison
from vsrcli.compare.scoring import ScoreSeries
from vsrcli.compare.snapshots import check_times, collect_snapshots, spread_times
from vsrcli.compare.writers import plan_video, write_image, write_video
from vsrcli.errors import UsageError
from vsrcli.evaluate.crops import DetailCrop
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.system.signals import catch_signals

_PAGES, _PICTURES = (".html", ".htm"), (".png",)
_FILE = click.Path(path_type=Path)
_NOT_OF_A_PAGE = "is for a film or a picture: a page"
_OF_A_FILM = "--codec and --crf are for a film: name one with -o, such as compared.mp4"
_OF_FIGURES = "--json prints figures of all frames: they need --reference, and a page or a film"
# Options that not everything has: what has them, what it is without them, and what to say if they are typed.
_PARTIAL: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "moments": (
        ("page", "picture"),
        (),
        "--at is a moment of a picture or page: a film has --start and --seconds",
    ),
    "layout": (("film", "picture"), None, f"--layout {_NOT_OF_A_PAGE} lets its reader choose"),
    "zoom": (("film", "picture"), None, f"--zoom {_NOT_OF_A_PAGE} lets its reader choose"),
    "no_labels": (("film", "picture"), False, f"--no-labels {_NOT_OF_A_PAGE} would not say what it shows"),
    "codec": (("film",), None, _OF_A_FILM),
    "crf": (("film",), None, _OF_A_FILM),
    "as_json": (("page", "film"), False, _OF_FIGURES),
}


class CropPosition(click.ParamType):
    """``X,Y,WxH``: a rectangle in pixels, as (left, top, width, height)."""

    name = "X,Y,WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,6}),(\d{1,6}),(\d{1,6})x(\d{1,6})", str(value).replace(" ", ""))
        if not found or not int(found[3]) or not int(found[4]):
            self.fail(f"{value!r} is no part of a picture: give one such as 320,180,160x120", param, ctx)
        left, top, width, height = (int(number) for number in found.groups())
        return left, top, width, height


@click.command(
    cls=Command,
    epilog="Example: vsr compare in.mp4 x4.mp4 --reference original.mp4\n\n"
    "A video with a dividing line: vsr compare in.mp4 x4.mp4 -o split.mp4\n\n"
    "A detail of three videos as an image: "
    "vsr compare in.mp4 a.mp4 b.mp4 -o detail.png --at 0:12 --crop 320,180,160x120",
)
@click.argument("films", metavar="A B [MORE]...", nargs=-1, required=True, type=_FILE)
@option(
    "-o",
    "--output",
    "target",
    type=_FILE,
    metavar="OUT",
    group="Output",
    help="Write a page (.html), an image (.png) or a video (.mp4, .mkv, ...).  [default: a page beside the "
    'last video, "-compare.html"]',
)
@option("-y", "--overwrite", is_flag=True, group="Output", help="Replace OUT if it exists.")
@option(
    "--layout",
    type=click.Choice(["split", "wipe", "side", "stack"]),
    metavar="NAME",
    group="Layout",
    values={
        "split": "at a dividing line",
        "wipe": "at a dividing line that moves",
        "side": "side by side",
        "stack": "one below the other",
    },
    help="Arrange a video or image.  [default: split for a video of two, else side]",
)
@option(
    "--crop",
    type=CropPosition(),
    metavar="X,Y,WxH",
    group="Layout",
    help="Show this part, in pixels of the common size.",
)
@option(
    "--zoom",
    type=click.IntRange(1, 16),
    metavar="N",
    group="Layout",
    help="Enlarge a video or image N times, pixels as squares.  [default: 1; with --crop, to the frame size]",
)
@option(
    "--enlarge",
    "kernel",
    type=click.Choice(["bicubic", "nearest", "lanczos3"]),
    default="bicubic",
    show_default=True,
    metavar="NAME",
    group="Layout",
    help="Bring smaller videos to the common size by bicubic, nearest or lanczos3.",
)
@option(
    "--labels",
    metavar="A,B,...",
    group="Layout",
    help="Label the videos with these words.  [default: file names]",
)
@option("--no-labels", is_flag=True, group="Layout", help="Put no labels into a video or image.")
@option(
    "--at",
    "moments",
    type=TimeParam(),
    multiple=True,
    group="Time range",
    help="Show this moment in a page or image; repeatable for a page.",
)
@option(
    "--moments",
    "count",
    type=click.IntRange(1, 24),
    default=6,
    show_default=True,
    metavar="N",
    group="Time range",
    help="Show N moments in a page, evenly spread, if there is no --at.",
)
@option(
    "--start",
    type=TimeParam(),
    default="0",
    group="Time range",
    help="Start the comparison here: 12.5, 1:02 or 0:01:02.5.",
)
@option(
    "--seconds",
    type=TimeParam(),
    group="Time range",
    help="Compare this much.  [default: all that the videos share]",
)
@option(
    "--offset",
    type=TimeParam(),
    default="0",
    group="Time range",
    help="Match the start of the other videos to this time of A and TRUTH: the --at of a preview.",
)
@option(
    "--reference",
    type=_FILE,
    metavar="TRUTH",
    group="Quality metrics",
    help="Measure PSNR, SSIM and VMAF against this video, the original in high resolution.",
)
@option(
    "--vmaf/--no-vmaf",
    default=True,
    group="Quality metrics",
    help="With --reference: measure VMAF, too.  [default: vmaf]",
)
@option(
    "--json",
    "as_json",
    is_flag=True,
    group="Quality metrics",
    help="Print the metrics as JSON; see docs/compare.md.",
)
@option("--codec", metavar="NAME", group="Encoding", help="Encode a video as for `vsr upscale`.")
@option(
    "--crf",
    type=click.FloatRange(min=0),
    metavar="N",
    group="Encoding",
    help="Set the quality of a video as for `vsr upscale`.",
)
@option("--ffmpeg", metavar="PATH", group="Encoding", help="Use this ffmpeg instead of the bundled one.")
@quiet_option
@verbose_option
def compare(
    films: tuple[Path, ...],
    target: Path | None,
    reference: Path | None,
    count: int,
    overwrite: bool,
    quiet: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Show videos side by side: as a page with a slider, as a video, or as an image.

    A is what the others are compared with, such as the video before upscaling; times and sound are taken from
    it. Videos of different size are shown at the largest, or at that of TRUTH. They are matched by time, as
    far as all of them go.
    """
    if len(films) < 2:
        raise UsageError("there is nothing to compare one film with: name two or more")
    target = target or films[-1].with_name(f"{films[-1].stem}-compare.html")
    if target == Path("-"):
        raise UsageError("a comparison is a file, not a stream: name one with -o, such as compared.mp4")
    kind = _kind(target)
    context = click.get_current_context()
    _suit(context, kind, len(films), reference, given)
    from vsrcli.cli import summary
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.cli.upscale_options import preferred
    from vsrcli.compare.inputs import plan_comparison
    from vsrcli.compare.writers import check_target
    from vsrcli.media.ffmpeg import find_ffmpeg

    console = stderr_console()
    everything = [*films, *([reference] if reference else [])]
    with catch_signals() as received, summary.echo_commands(verbose > 0 and not quiet):
        ffmpeg = find_ffmpeg(given["ffmpeg"])
        line = plan_comparison(
            films,
            reference,
            labels=[name.strip() for name in given["labels"].split(",")] if given["labels"] else [],
            kernel=given["kernel"],
            start=given["start"],
            seconds=given["seconds"],
            offset=given["offset"],
        )
        check_target(target, everything, overwrite=overwrite)
        for text in () if quiet else line.notices:
            summary.print_notice(console, text)
        unit = "moments" if kind == "page" and reference is None else "frames"
        work = ComparisonWriter(
            line,
            target,
            overwrite,
            ffmpeg,
            make_progress(console, unit, quiet=quiet),
            received.raise_if_cancelled,
        )
        figures: ScoreSeries | None = None
        if kind == "picture":
            said = work.write_image(_layout(line, kind, given), given["moments"])
        elif kind == "page":
            said, figures = work.write_page(given["moments"], count, _crop(given), vmaf=given["vmaf"])
        else:
            encode = preferred(context, codec=given["codec"], crf=given["crf"], overwrite=overwrite)
            said, figures = work.write_video(_layout(line, kind, given), encode, vmaf=given["vmaf"])
    if figures is not None and given["as_json"]:
        click.echo(json.dumps({"target": str(target), **figures.as_dict(line)}, indent=2, ensure_ascii=False))
    elif figures is not None and not quiet:
        print_figures(line, figures)
    if not quiet:
        console.print(f"{said}: {target}", style="green")


def _kind(target: Path) -> str:
    suffix = target.suffix.lower()
    return "page" if suffix in _PAGES else "picture" if suffix in _PICTURES else "film"


def _suit(
    context: click.Context, kind: str, count: int, reference: Path | None, given: dict[str, Any]
) -> None:
    """What was typed must be of some effect; what a settings file says of other comparisons is put aside.

    Args:
        context: of the command.
        kind: ``page``, ``film`` or ``picture``.
        count: of films.
        reference: what they ought to look like.
        given: option -> value; changed.

    Raises:
        UsageError: an option that was typed has no meaning here.
    """
    for name, (kinds, without, text) in _PARTIAL.items():
        unsuited = kind not in kinds or (name == "as_json" and reference is None)
        if unsuited and given[name] != without:
            if from_command_line(context, name):
                raise UsageError(text)
            given[name] = without
    if kind == "picture" and len(given["moments"]) > 1:
        if from_command_line(context, "moments"):
            raise UsageError("a picture shows one moment: give --at once, or write an .html")
        given["moments"] = given["moments"][:1]
    if given["layout"] in ("split", "wipe") and count != 2 and not from_command_line(context, "layout"):
        given["layout"] = None
    if given["seconds"] is not None and given["seconds"] <= 0:
        raise UsageError("--seconds 0 compares nothing: give more")
    words = highest_precedence(context, {"labels": given["labels"], "no_labels": given["no_labels"] or None})
    if len(words) > 1:
        raise UsageError("--labels and --no-labels contradict each other: leave one out")
    given |= {"labels": words.get("labels"), "no_labels": "no_labels" in words}
    if not from_command_line(context, "labels") and len((given["labels"] or "").split(",")) != count:
        given["labels"] = None


def _crop(given: dict[str, Any]) -> DetailCrop | None:
    from vsrcli.evaluate.crops import DetailCrop

    return None if given["crop"] is None else DetailCrop(*given["crop"])


def _layout(line: Comparison, kind: str, given: dict[str, Any]) -> Layout:
    """With a reference, it is shown, too, where there is room for a third picture."""
    from vsrcli.compare.canvas import Layout

    crop, films = _crop(given), len(line.films)
    layout = given["layout"] or ("split" if kind == "film" and films == 2 else "side")
    count = films if layout in ("split", "wipe") else len(line.all)
    zoom = given["zoom"]
    if zoom is None:
        zoom = 1 if crop is None else max(min(line.width // crop.width, line.height // crop.height), 1)
    return Layout(layout, line.width, line.height, count, crop, zoom, named=not given["no_labels"])


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


def print_figures(line: Comparison, figures: ScoreSeries) -> None:
    """Means and lowest figures, a row for each film, on standard output."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mean / worst frame", overflow="fold")
    for metric in figures.metrics:
        unit = f", {metric.unit}" if metric.unit else ""
        table.add_column(metric.name + unit, justify="right", no_wrap=True)
    for number, film in enumerate(line.films):
        cells = []
        for metric in figures.metrics:
            lowest = figures.values[metric.key][number][figures.worst(metric, number)]
            cells.append(f"{figures.mean(metric, number):.{metric.digits}f} / {lowest:.{metric.digits}f}")
        table.add_row(Text(film.title), *cells)
    Console(markup=False, highlight=False, emoji=False).print(table)
