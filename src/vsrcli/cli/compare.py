"""``vsr compare``: show videos side by side, as a page, a video or an image, and print scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import (
    check_applicable,
    from_command_line,
    highest_precedence,
    quiet_option,
    verbose_option,
)
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
from vsrcli.system.signals import catch_signals, raise_if_cancelled

_PAGE_SUFFIXES, _IMAGE_SUFFIXES = (".html", ".htm"), (".png",)
_FILE = click.Path(path_type=Path)


class CropPosition(click.ParamType):
    """``X,Y,WxH``: a rectangle in pixels, as a tuple (left, top, width, height)."""

    name = "X,Y,WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int, int, int]:
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,6}),(\d{1,6}),(\d{1,6})x(\d{1,6})", str(value).replace(" ", ""))
        if not match or not int(match[3]) or not int(match[4]):
            self.fail(f"{value!r} is no part of a frame: give one such as 320,180,160x120", param, ctx)
        left, top, width, height = (int(number) for number in match.groups())
        return left, top, width, height


@click.command(
    cls=Command,
    epilog="Example: vsr compare in.mp4 x4.mp4 --reference original.mp4\n\n"
    "A video with a dividing line: vsr compare in.mp4 x4.mp4 -o split.mp4\n\n"
    "A detail of three videos as an image: "
    "vsr compare in.mp4 a.mp4 b.mp4 -o detail.png --at 0:12 --crop 320,180,160x120",
)
@click.argument("videos", metavar="A B [MORE]...", nargs=-1, required=True, type=_FILE)
@option(
    "-o",
    "--output",
    "target",
    "Write a page (.html), an image (.png) or a video (.mp4, .mkv, ...).  [default: a page beside the "
    'last video, "-compare.html"]',
    type=_FILE,
    metavar="OUT",
    group="Output",
)
@option("-y", "--overwrite", "Replace OUT if it exists.", is_flag=True, group="Output")
@option(
    "--layout",
    "Arrange a video or image.  [default: split for a video of two, else side]",
    type=click.Choice(["split", "wipe", "side", "stack"]),
    metavar="NAME",
    values={
        "split": "at a dividing line",
        "wipe": "at a dividing line that moves",
        "side": "side by side",
        "stack": "one below the other",
    },
    group="Layout",
)
@option(
    "--crop",
    "Show this part, in pixels of the common size.",
    type=CropPosition(),
    metavar="X,Y,WxH",
    group="Layout",
)
@option(
    "--zoom",
    "Enlarge a video or image N times, pixels as squares.  [default: 1; with --crop, to the frame size]",
    type=click.IntRange(1, 16),
    metavar="N",
    group="Layout",
)
@option(
    "--enlarge",
    "kernel",
    "Bring smaller videos to the common size by bicubic, nearest or lanczos3.",
    type=click.Choice(["bicubic", "nearest", "lanczos3"]),
    default="bicubic",
    metavar="NAME",
    group="Layout",
)
@option(
    "--labels", "Label the videos with these words.  [default: file names]", metavar="A,B,...", group="Layout"
)
@option("--no-labels", "Put no labels into a video or image.", is_flag=True, group="Layout")
@option(
    "--at",
    "Show this time in a page or image; repeatable for a page.",
    type=TimeParam(),
    multiple=True,
    group="Time range",
)
@option(
    "--moments",
    "Show N times in a page, evenly spread, if there is no --at.",
    type=click.IntRange(1, 24),
    default=6,
    metavar="N",
    group="Time range",
)
@option(
    "--start",
    "Start the comparison here: 12.5, 1:02 or 0:01:02.5.",
    type=TimeParam(),
    default="0",
    show_default=False,
    group="Time range",
)
@option(
    "--seconds",
    "Compare this much.  [default: all that the videos share]",
    type=TimeParam(),
    group="Time range",
)
@option(
    "--offset",
    "Match the start of the other videos to this time of A and TRUTH: the --at of a preview.",
    type=TimeParam(),
    default="0",
    show_default=False,
    group="Time range",
)
@option(
    "--reference",
    "Measure PSNR, SSIM, XPSNR and VMAF against this video, the original in high resolution.",
    type=_FILE,
    metavar="TRUTH",
    group="Quality metrics",
)
@option(
    "--vmaf/--no-vmaf",
    "With --reference: measure VMAF (v1, NEG and 0.6.1), too.  [default: vmaf]",
    default=True,
    show_default=False,
    group="Quality metrics",
)
@option(
    "--json",
    "as_json",
    "Print the metrics as JSON; see docs/compare.md.",
    is_flag=True,
    group="Quality metrics",
)
@option("--codec", "Encode a video as for `vsr upscale`.", metavar="NAME", group="Encoding")
@option(
    "--crf",
    "Set the quality of a video as for `vsr upscale`.",
    type=click.FloatRange(min=0),
    metavar="N",
    group="Encoding",
)
@option("--ffmpeg", "Use this ffmpeg instead of the bundled one.", metavar="PATH", group="Encoding")
@quiet_option
@verbose_option
def compare(
    videos: tuple[Path, ...],
    target: Path | None,
    reference: Path | None,
    quiet: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Show videos side by side: as a page with a slider, as a video, or as an image.

    A is what the others are compared with, such as the video before upscaling; times and sound are taken from
    it. Videos of different size are shown at the largest, or at that of TRUTH. They are matched by time, as
    far as all of them go.
    """
    if len(videos) < 2:
        raise UsageError("there is nothing to compare one video with: name two or more")
    last = videos[-1].resolve() if videos[-1].name in ("", "..") else videos[-1]
    target = target or last.with_name(f"{last.stem}-compare.html")
    if target == Path("-"):
        raise UsageError("a comparison is a file, not a stream: name one with -o, such as compared.mp4")
    kind = _output_kind(target)
    context = click.get_current_context()
    has_scores = reference is not None and kind != "image"
    check_applicable(context, values, kind, *(["scores"] if has_scores else []))
    _check_values(context, kind, len(videos), values)
    from vsrcli.cli import summary
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.compare.inputs import plan_comparison
    from vsrcli.compare.writers import check_target
    from vsrcli.media.ffmpeg import find_ffmpeg

    console = stderr_console()
    with catch_signals(), summary.echo_commands(verbose > 0 and not quiet):
        ffmpeg = find_ffmpeg(values["ffmpeg"])
        comparison = plan_comparison(
            videos,
            reference,
            labels=[name.strip() for name in values["labels"].split(",")] if values["labels"] else [],
            kernel=values["kernel"],
            start=values["start"],
            seconds=values["seconds"],
            offset=values["offset"],
        )
        sources = [*videos, *([reference] if reference else [])]
        check_target(target, sources, overwrite=values["overwrite"])
        for text in () if quiet else comparison.notices:
            summary.print_notice(console, text)
        unit = "images" if kind == "page" and reference is None else "frames"
        with make_progress(console, unit, quiet=quiet or kind == "image") as progress:
            output = _Output(comparison, target, values, ffmpeg, progress)
            write = {"page": output.write_page, "image": output.write_image, "video": output.write_video}
            description, scores = write[kind]()
    if scores is not None and values["as_json"]:
        document = {"target": str(target), **scores.as_dict(comparison)}
        click.echo(json_text(document, indent=2))
    elif scores is not None and not quiet:
        print_scores(comparison, scores)
    if not quiet:
        console.print(f"{description}: {target}", style="green")


@dataclass(frozen=True)
class _Output:
    """A comparison that is written to ``target``; methods return a description of it, and scores if any."""

    comparison: Comparison
    target: Path
    values: Mapping[str, Any]  # by parameter of the command
    ffmpeg: Ffmpeg
    progress: ProgressDisplay

    def write_image(self) -> tuple[str, None]:
        """Write an image of the requested time, or of the middle."""
        comparison, values = self.comparison, self.values
        check_times(comparison, values["at"])
        at = values["at"][0] if values["at"] else spread_times(comparison, 1)[0]
        layout = _layout(comparison, "image", values)
        write_image(comparison, self.target, layout, at, overwrite=values["overwrite"], ffmpeg=self.ffmpeg)
        return "{}x{}".format(*layout.canvas_size), None

    def write_page(self) -> tuple[str, ScoreSeries | None]:
        """Write a page of the requested times, or of times spread evenly."""
        comparison, values, crop = self.comparison, self.values, _crop(self.values)
        check_times(comparison, values["at"])
        if crop is not None:  # raises an error if it is not inside
            crop.extract(np.empty((comparison.height, comparison.width, 1), np.uint8))
        has_reference, count = comparison.reference is not None, values["moments"]
        times = values["at"] or spread_times(comparison, count - (has_reference and count > 1))
        snapshots = collect_snapshots(
            comparison,
            times,
            vmaf=values["vmaf"],
            on_progress=self._progress_of(comparison.expected_frames if has_reference else len(times)),
            on_notice=self.progress.print_line,
            ffmpeg=self.ffmpeg,
        )
        size = write_page(comparison, snapshots, self.target, crop=crop, overwrite=values["overwrite"])
        counts = f"{len(comparison.all_videos)} videos, {len(snapshots.snapshots)} images each"
        return f"{counts} ({snapshots.image_format}), {size / 1e6:.1f} MB", snapshots.scores

    def write_video(self) -> tuple[str, ScoreSeries | None]:
        """Write a video."""
        from vsrcli.cli.upscale_values import build_encode_options

        comparison, values = self.comparison, self.values
        layout = _layout(comparison, "video", values)
        encoding = {name: values[name] for name in ("codec", "crf", "overwrite")}
        options = build_encode_options(click.get_current_context(), **encoding)
        plan = plan_video(comparison, self.target, layout, options, ffmpeg=self.ffmpeg)
        for text in plan.notices:
            self.progress.print_line(f"  {text}")
        frames, scores = write_video(
            comparison,
            plan,
            layout,
            vmaf=values["vmaf"],
            on_progress=self._progress_of(comparison.expected_frames),
            on_notice=self.progress.print_line,
            ffmpeg=self.ffmpeg,
        )
        return f"{frames} frames, {plan.width}x{plan.height}", scores

    def _progress_of(self, total: int | None) -> Callable[[int], None]:
        def update(done: int) -> None:
            raise_if_cancelled()
            self.progress.update(done, total, "compared")

        return update


def print_scores(comparison: Comparison, scores: ScoreSeries) -> None:
    """Print mean and lowest scores on stdout, a row for each video."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mean / worst frame", overflow="fold")
    for metric in scores.metrics:
        table.add_column(metric.title, justify="right")
    for index, video in enumerate(comparison.videos):
        cells = [" / ".join(scores.formatted(metric, index)) for metric in scores.metrics]
        table.add_row(Text(video.title), *cells)
    Console(markup=False, highlight=False, emoji=False).print(table)


def _output_kind(target: Path) -> str:
    suffix = target.suffix.lower()
    return "page" if suffix in _PAGE_SUFFIXES else "image" if suffix in _IMAGE_SUFFIXES else "video"


def _check_values(context: click.Context, kind: str, count: int, values: dict[str, Any]) -> None:
    """Reset values of settings files that do not suit the number of videos or times; refuse typed ones.

    Args:
        context: of the command.
        kind: ``page``, ``video`` or ``image``.
        count: number of videos.
        values: by parameter; changed.

    Raises:
        UsageError: such a value was typed.
    """
    if kind == "image" and len(values["at"]) > 1:
        if from_command_line(context, "at"):
            raise UsageError("an image shows one time: give --at once, or write an .html")
        values["at"] = values["at"][:1]
    if values["layout"] in ("split", "wipe") and count != 2 and not from_command_line(context, "layout"):
        values["layout"] = None
    if values["seconds"] is not None and values["seconds"] <= 0:
        raise UsageError("--seconds 0 compares nothing: give more")
    labels = highest_precedence(
        context, {"labels": values["labels"], "no_labels": values["no_labels"] or None}
    )
    if len(labels) > 1:
        raise UsageError("--labels and --no-labels contradict each other: leave one out")
    values |= {"labels": labels.get("labels"), "no_labels": "no_labels" in labels}
    if not from_command_line(context, "labels") and len((values["labels"] or "").split(",")) != count:
        values["labels"] = None


def _crop(values: Mapping[str, Any]) -> DetailCrop | None:
    return None if values["crop"] is None else DetailCrop(*values["crop"])


def _layout(comparison: Comparison, kind: str, values: Mapping[str, Any]) -> Layout:
    """Return the layout; the reference is shown, too, unless the layout has room for two videos only."""
    crop, count = _crop(values), len(comparison.videos)
    name = values["layout"] or ("split" if kind == "video" and count == 2 else "side")
    shown_count = count if name in ("split", "wipe") else len(comparison.all_videos)
    zoom = values["zoom"]
    if zoom is None and crop is not None:
        zoom = max(min(comparison.width // crop.width, comparison.height // crop.height), 1)
    size, has_labels = (comparison.width, comparison.height), not values["no_labels"]
    return Layout(name, *size, shown_count, crop, zoom or 1, has_labels=has_labels)
