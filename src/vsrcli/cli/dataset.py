"""``vsr dataset``: build a training set from videos, and say what a folder of footage holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Group, option
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import quiet_option, verbose_option
from vsrcli.cli.types import DimensionsParam
from vsrcli.errors import DataError
from vsrcli.system.signals import catch_signals
from vsrcli.system.text import format_duration

if TYPE_CHECKING:
    from vsrcli.datasets.build import BuildResult
    from vsrcli.datasets.info import DatasetInfo

SOME_FAILED = 3  # exit status, as of `vsr batch`
_PATH = click.Path(path_type=Path)
_SHOWN = 6  # sizes, categories and licences


@click.group(
    cls=Group,
    epilog="Example: vsr dataset build videos/ set/ --license CC0-1.0 --ship\n\n"
    "What is in a folder: vsr dataset info videos/",
)
def dataset() -> None:
    """Build a training set from videos, and see what a folder of footage holds.

    Folders of REDS, Vimeo-90K and benchmarks are understood as they are published.
    """


@dataset.command(
    short_help="Cut videos into clips of areas that move.",
    epilog="Example: vsr dataset build videos/ set/ --license CC0-1.0 --ship\n\n"
    "Only a report: vsr dataset build videos/ set/ --dry-run",
)
@click.argument("videos", metavar="VIDEOS...", nargs=-1, required=True, type=_PATH)
@click.argument("folder", metavar="OUT", type=_PATH)
@option(
    "--area",
    "Cut areas of this many pixels, less where the picture is smaller.",
    type=DimensionsParam(),
    default="384x384",
    metavar="WxH",
    group="Size",
)
@option(
    "--frames", "Give each clip N frames.", type=click.IntRange(8, 600), default=32, group="Size", metavar="N"
)
@option(
    "--areas",
    "Take at most N areas of each part.",
    type=click.IntRange(1),
    default=2,
    metavar="N",
    group="Size",
)
@option(
    "--per-shot",
    "Take at most N parts of a shot.",
    type=click.IntRange(1),
    default=2,
    metavar="N",
    group="Size",
)
@option(
    "--place",
    "Take areas where it moves most, or the centre, moving or not.",
    type=click.Choice(["motion", "centre"]),
    default="motion",
    metavar="NAME",
    group="Measurement",
)
@option(
    "--min-motion",
    "Count a cell of the picture as moving from this speed on, in pixels per frame.",
    type=click.FloatRange(0, min_open=True),
    default=0.25,
    metavar="PX",
    group="Measurement",
)
@option(
    "--min-coverage",
    "This share of an area must move, 0 to 1.",
    type=click.FloatRange(0, 1),
    default=0.4,
    metavar="SHARE",
    group="Measurement",
)
@option(
    "--max-blur",
    "Drop areas that are more blurred, 0 (sharp) to 1.",
    type=click.FloatRange(0, 1),
    default=0.55,
    metavar="B",
    group="Measurement",
)
@option(
    "--min-brightness",
    "Drop parts with a lower mean luma, in codes of 0 to 255.",
    type=click.FloatRange(0, 255),
    default=24.0,
    metavar="CODES",
    group="Measurement",
)
@option(
    "--max-repeated",
    "Drop parts of which a larger share of frames repeats the one before.",
    type=click.FloatRange(0, 1),
    default=0.1,
    metavar="SHARE",
    group="Measurement",
)
@option(
    "--duplicate-bits",
    "Drop parts whose hashes differ in at most N of 64 bits from those of another shot.",
    type=click.IntRange(0, 32),
    default=6,
    metavar="N",
    group="Measurement",
)
@option(
    "--bars",
    "Crop black bars, or drop letterboxed parts.",
    type=click.Choice(["crop", "drop"]),
    default="crop",
    metavar="NAME",
    group="Measurement",
)
@option(
    "--license",
    "--licence",
    "licence",
    "State this licence for all videos.  [default: that of --sources, else of manifest.csv]",
    default="",
    metavar="TEXT",
    group="Input",
)
@option(
    "--source-url",
    "State this source for all videos.  [default: as --license]",
    default="",
    metavar="URL",
    group="Input",
)
@option(
    "--category",
    "State this category for all videos, such as nature.  [default: as --license]",
    default="",
    metavar="NAME",
    group="Input",
)
@option(
    "--ship",
    "State that the licence lets weights be distributed: marks ship=yes for `vsr train --shippable`.",
    is_flag=True,
    group="Input",
)
@option(
    "--sources",
    "Read file, licence, source_url, category and ship of each video from this table.",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="CSV",
    group="Input",
)
@option(
    "--split",
    "Write this into the column split of the manifest.",
    type=click.Choice(["train", "val"]),
    default="train",
    metavar="NAME",
    group="Output",
)
@option(
    "--crf",
    "Encode clips with H.264 at this rate factor; 0: without loss.",
    type=click.IntRange(0, 51),
    default=8,
    metavar="N",
    group="Encoding",
)
@option("-n", "--dry-run", "Only report, and write nothing.", is_flag=True, group="Output")
@option(
    "--json", "as_json", "Print the result as JSON; see docs/datasets.md.", is_flag=True, group="Messages"
)
@quiet_option
@verbose_option
def build(
    videos: tuple[Path, ...],
    folder: Path,
    area: tuple[int, int],
    frames: int,
    licence: str,
    source_url: str,
    category: str,
    ship: bool,
    sources: Path | None,
    split: str,
    crf: int,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **thresholds: Any,
) -> None:
    """Cut VIDEOS (files and folders) into clips of areas that move, with a manifest, into the folder OUT.

    Still, dark, blurred and repeated parts, and parts that show the same as another, are dropped;
    OUT/contact-sheet.png shows why. Run the same command again to continue after a stop, or to add videos.
    Exit status 3: finished, some videos could not be read.
    """
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.datasets.build import BuildOptions, build_dataset, check_apart, find_videos
    from vsrcli.datasets.provenance import Provenance, read_table, stated_origin
    from vsrcli.datasets.selection import Criteria, check_area

    stated = stated_origin(licence, source_url, category, ship=ship)
    check_area(*area)
    check_apart(videos, folder)
    criteria = Criteria(width=area[0], height=area[1], **thresholds)
    found = find_videos(videos)
    provenance = Provenance(stated, read_table(sources, found) if sources else {})
    with catch_signals(), make_progress(stderr_console(), "videos", quiet=quiet) as progress:
        result = build_dataset(
            found,
            folder,
            BuildOptions(criteria, frames, crf, split),
            provenance,
            dry_run=dry_run,
            on_progress=progress.update,
            on_notice=progress.print_line,
        )
    if as_json:
        click.echo(json_text(result.as_dict(), indent=2))
    elif not quiet:
        click.echo("\n".join(_build_lines(result, dry_run=dry_run)))
    if any(video.problem for video in result.videos):
        raise click.exceptions.Exit(SOME_FAILED)


@dataset.command(
    short_help="Say what a folder of footage holds, and what is wrong with it.",
    epilog="Example: vsr dataset info videos/",
)
@click.argument("folder", metavar="FOLDER", type=_PATH)
@option("--json", "as_json", "Print JSON; see docs/datasets.md.", is_flag=True, group="Messages")
@quiet_option
@verbose_option
def info(folder: Path, as_json: bool, quiet: bool, verbose: int) -> None:
    """Say what a folder of footage holds: layout, clips, frames, sizes, hours, licences, problems.

    Hardly anything is decoded. The exit status is 1 if there are problems.
    """
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.datasets.info import describe_dataset

    with catch_signals(), make_progress(stderr_console(), "files", quiet=quiet) as progress:
        found = describe_dataset(folder, lambda done, total: progress.update(done, total, str(folder)))
    if as_json:
        click.echo(json_text(found.as_dict(), indent=2))
    else:
        click.echo("\n".join(_info_lines(found)))
    if found.problems:
        count = len(found.problems)
        raise DataError(f"{count} problem{'s' * (count > 1)} in {str(folder)!r}: {found.problems[0]}")


def _build_lines(result: BuildResult, *, dry_run: bool) -> list[str]:
    from vsrcli.datasets.build import SHEET
    from vsrcli.datasets.selection import REASONS

    parts = sum(len(video.verdicts) for video in result.videos)
    lines = [
        f"{result.folder}: {result.clips} clips of {result.options.frames} frames"
        + " would be written" * dry_run,
        f"{result.kept_parts} of {parts} parts of {len(result.videos)} videos are kept",
        *(f"  {count:5} dropped: {REASONS[reason]}" for reason, count in result.dropped.items()),
    ]
    if short := sum(video.short for video in result.videos):
        lines.append(f"  {short:5} frames at the ends of shots fill no part")
    if failed := sum(bool(video.problem) for video in result.videos):
        lines.append(f"  {failed:5} videos cannot be read")
    if not dry_run:
        lines.append(f"look at {result.folder / SHEET}")
    return lines


def _info_lines(info: DatasetInfo) -> list[str]:
    counts = [f"{info.clips} clips, {info.frames} frames"] if info.clips else []
    counts += [f"{info.photos} photographs"] if info.photos else []
    lines = [f"{info.folder}: {info.kind}", ", ".join(counts) or "nothing that can be read"]
    if set(info.splits) - {"all"}:
        lines.append("splits: " + ", ".join(f"{split} {count}" for split, count in info.splits.items()))
    if info.seconds:
        lines.append(f"duration of videos: {format_duration(info.seconds)} ({info.seconds / 3600:.2f} hours)")
    for name, counter in (
        ("sizes", info.sizes),
        ("categories", info.categories),
        ("licences", info.licences),
    ):
        if counter:
            lines.append(f"{name}: {_most_common(dict(counter.most_common()))}")
    lines.append(f"weights may be shipped from {info.shippable} of {info.clips + info.photos} files")
    return [*lines, *(f"problem: {problem}" for problem in info.problems)]


def _most_common(counts: Mapping[str, int]) -> str:
    shown = [f"{name} ({count})" for name, count in list(counts.items())[:_SHOWN]]
    more = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
