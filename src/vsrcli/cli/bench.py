"""``vsr bench``: how fast a model is on this machine, and what it waits for."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.options import (
    engine_options,
    from_command_line,
    highest_precedence,
    memory_options,
    network_options,
    quiet_option,
    resolve_network,
    verbose_option,
)
from vsrcli.cli.types import DimensionsParam, ScaleParam
from vsrcli.errors import UsageError
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.pipeline.job import Options
from vsrcli.system.signals import catch_signals

if TYPE_CHECKING:
    from vsrcli.bench.benchmark import BenchReport, RunFigures

_DEFAULT = Options()
_FRAMES, _RATE = 24, 30


@click.command(cls=Command, epilog="Example: vsr bench -s 2 --size 960x540 --frames 12 --json > figures.json")
@network_options
@option(
    "-s",
    "--scale",
    type=ScaleParam(),
    default=str(_DEFAULT.scale),
    show_default=True,
    group="Model",
    help="Upscale by this factor, above 1 and up to 4.",
)
@option(
    "--input",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    group="Measurement",
    help="Measure with this video.  [default: a generated one]",
)
@option(
    "--size",
    type=DimensionsParam(),
    metavar="WxH",
    group="Measurement",
    help="Set the size of the generated video.  [default: 426x240]",
)
@option(
    "--frames",
    type=click.IntRange(min=1),
    metavar="N",
    group="Measurement",
    help=f"Measure N frames a run.  [default: {_FRAMES}]",
)
@option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    group="Measurement",
    help=f"Measure N seconds of video a run; a generated one has {_RATE} frames a second.",
)
@option(
    "--runs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    group="Measurement",
    help="Take the median of N runs.",
)
@option("--json", "as_json", is_flag=True, group="Output", help="Print JSON; see docs/performance.md.")
@engine_options
@memory_options
@quiet_option
@verbose_option
def bench(
    source: Path | None,
    size: tuple[int, int] | None,
    frames: int | None,
    seconds: float | None,
    runs: int,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Measure the speed of a model on this machine, in three ways.

    Alone, on frames in memory; behind the decoder of a video; and from video to video, as `vsr upscale`
    works. Nothing is kept.
    """
    context = click.get_current_context()
    if source is not None and size is not None and from_command_line(context, "size"):
        raise UsageError("--size is for the generated film: leave it or --input out")
    length = highest_precedence(context, {"frames": frames, "seconds": seconds})
    if len(length) > 1:
        raise UsageError("--frames and --seconds say the same: leave one of them out")
    frames, seconds = length.get("frames"), length.get("seconds")
    rate = Fraction(_RATE)
    if source is not None and seconds is not None:
        from vsrcli.media.probe import probe

        rate = probe(source).video.frame_rate or rate
    count = frames or (_FRAMES if seconds is None else max(round(seconds * rate), 1))
    model, effort = resolve_network(context, given["preset"], given["model"])
    options = Options(
        scale=given["scale"],
        model=model,
        tile=given["tile"],
        device=given["device"],
        precision=given["precision"],
        engine=given["engine"],
        max_memory=given["max_memory"],
        frames=count,
        encode=EncodeOptions(effort=effort),
    )

    def on_step(text: str) -> None:
        received.raise_if_cancelled()
        if not quiet:
            click.echo(f"measuring: {text}", err=True)

    with catch_signals() as received, tempfile.TemporaryDirectory(prefix="vsr-bench-") as name:
        from vsrcli.bench.benchmark import measure
        from vsrcli.bench.peak_memory import generate_test_clip

        folder = Path(name)
        if source is None:
            width, height = size or (426, 240)
            source = generate_test_clip(folder / "generated.mp4", width, height, count, rate=_RATE)
        report = measure(source, folder, options, frames=count, runs=runs, on_step=on_step)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        print_report(report)


def print_report(report: BenchReport) -> None:
    """The table, on standard output."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    tiles = "whole frames"
    if report.tiles > 1:
        tiles = f"{report.tiles} tiles of {report.tile[0]}x{report.tile[1]}"
    at_a_time = f", {report.burst} frames at a time" if report.burst > 1 else ""
    console.print(
        f"{report.engine}\n{report.width}x{report.height} x{report.scale:g}, {tiles}{at_a_time}, "
        f"{report.network.frames} frames, median of {report.runs}"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    ways = {
        "alone": report.network,
        "to nowhere": report.decoded,
        f"to {report.encoder}": report.encoded,
    }
    for way in ways:
        table.add_column(way, justify="right")
    for head, cells in _rows(list(ways.values())):
        table.add_row(head, *cells)
    console.print(table)


def _rows(ways: list[RunFigures]) -> list[tuple[str, list[str]]]:
    from vsrcli.bench.benchmark import STAGES
    from vsrcli.system.text import format_bytes

    rows = [
        ("frames a second", [f"{way.fps:.3g}" for way in ways]),
        ("us per source pixel", [f"{way.us_per_pixel:.3g}" for way in ways]),
        ("G multiply-adds a s", [f"{way.multiply_adds_per_second / 1e9:.3g}" for way in ways]),
        ("start, seconds", [f"{way.start_seconds:.2f}" for way in ways]),
    ]
    words = {
        "decode": "waits for the decoder",
        "network": "network",
        "encode": "waits for the encoder",
        "other": "shots, colours, tiles",
    }
    for stage in STAGES:
        shares = ["" if way.shares is None else f"{way.shares[stage]:.1%}" for way in ways]
        rows.append((words[stage], shares))
    rows.append(("memory at the peak", [format_bytes(way.memory.total) for way in ways]))
    rows.append(("of it ffmpeg's", [format_bytes(way.memory.children) for way in ways]))
    return rows
