"""``vsr bench``: measure the speed of a model on this machine, and where the time goes."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.options import check_applicable, highest_precedence, quiet_option, verbose_option
from vsrcli.cli.types import DimensionsParam, ScaleParam
from vsrcli.cli.upscale_options import engine_options, look_options, memory_options, network_options
from vsrcli.cli.upscale_values import resolve_look, resolve_network
from vsrcli.errors import UsageError
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.pipeline.options import Options
from vsrcli.system.files import temporary_folder
from vsrcli.system.signals import catch_signals

if TYPE_CHECKING:
    from vsrcli.bench.benchmark import BenchReport, RunFigures

_DEFAULT = Options()
_DEFAULT_FRAMES, _GENERATED_FPS = 24, 30


@click.command(cls=Command, epilog="Example: vsr bench -s 2 --size 960x540 --frames 12 --json > figures.json")
@network_options
@look_options
@option(
    "-s",
    "--scale",
    "Upscale by this factor, from 1 to 4.",
    type=ScaleParam(),
    default=str(_DEFAULT.scale),
    group="Model",
)
@option(
    "--input",
    "source",
    "Measure with this video.  [default: a generated one]",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    group="Measurement",
)
@option(
    "--size",
    "Set the size of the generated video.  [default: 426x240]",
    type=DimensionsParam(),
    metavar="WxH",
    group="Measurement",
)
@option(
    "--frames",
    f"Measure N frames a run.  [default: {_DEFAULT_FRAMES}]",
    type=click.IntRange(min=1),
    metavar="N",
    group="Measurement",
)
@option(
    "--seconds",
    f"Measure N seconds of video a run; a generated one has {_GENERATED_FPS} frames a second.",
    type=click.FloatRange(min=0, min_open=True),
    metavar="N",
    group="Measurement",
)
@option(
    "--runs",
    "Take the median of N runs.",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    group="Measurement",
)
@option("--json", "as_json", "Print JSON; see docs/performance.md.", is_flag=True, group="Output")
@engine_options
@memory_options
@quiet_option
@verbose_option
def bench(
    source: Path | None,
    frames: int | None,
    seconds: float | None,
    runs: int,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Measure the speed of a model on this machine, in three ways.

    Alone, on frames in memory; behind the decoder of a video; and from video to video, as `vsr upscale`
    works. No output remains.
    """
    context = click.get_current_context()
    check_applicable(context, values, "generated" if source is None else "given")
    lengths = highest_precedence(context, {"frames": frames, "seconds": seconds})
    if len(lengths) > 1:
        raise UsageError("--frames and --seconds say the same: leave one of them out")
    frames, seconds = lengths.get("frames"), lengths.get("seconds")
    rate = Fraction(_GENERATED_FPS)
    if source is not None and seconds is not None:
        from vsrcli.media.probe import probe

        rate = probe(source).video.frame_rate or rate
    count = frames or (_DEFAULT_FRAMES if seconds is None else max(round(seconds * rate), 1))
    model, effort = resolve_network(context, values["preset"], values["model"])
    options = Options(
        scale=values["scale"],
        model=model,
        look=resolve_look(context, values["look"], model),
        strength=values["strength"],
        keep_color=values["keep_color"],
        tile=values["tile"],
        device=values["device"],
        precision=values["precision"],
        engine=values["engine"],
        max_memory=values["max_memory"],
        frames=count,
        encode=EncodeOptions(effort=effort),
    )

    def on_step(text: str) -> None:
        cancel.raise_if_cancelled()
        if not quiet:
            click.echo(f"measuring: {text}", err=True)

    with catch_signals() as cancel, temporary_folder("vsr-bench-") as folder:
        from vsrcli.bench.benchmark import measure
        from vsrcli.bench.peak_memory import generate_test_clip

        if source is None:
            width, height = values["size"] or (426, 240)
            source = generate_test_clip(folder / "generated.mp4", width, height, count, rate=_GENERATED_FPS)
        report = measure(source, folder, options, frames=count, runs=runs, on_step=on_step)
    if as_json:
        click.echo(json.dumps(report.as_dict(), indent=2))
    else:
        print_report(report)


def print_report(report: BenchReport) -> None:
    """Print the table on stdout."""
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
    look = [report.look] if "sharp" in report.look else []
    look += [f"strength {report.strength:.3g}"] if report.strength < 1 and not look else []
    look += ["colours of the source"] if report.keep_color else []
    if look:
        is_network = look == [report.look]
        console.print(f"{', '.join(look)}{'' if is_network else ', but for the network alone'}")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    runs = {
        "alone": report.network,
        "to nowhere": report.decoded,
        f"to {report.encoder}": report.encoded,
    }
    for name in runs:
        table.add_column(name, justify="right")
    for heading, cells in _rows(list(runs.values())):
        table.add_row(heading, *cells)
    console.print(table)


def _rows(runs: list[RunFigures]) -> list[tuple[str, list[str]]]:
    from vsrcli.bench.benchmark import STAGES
    from vsrcli.system.text import format_bytes

    rows = [
        ("frames a second", [f"{run.fps:.3g}" for run in runs]),
        ("us per source pixel", [f"{run.us_per_pixel:.3g}" for run in runs]),
        ("G multiply-adds a s", [f"{run.multiply_adds_per_second / 1e9:.3g}" for run in runs]),
        ("start, seconds", [f"{run.start_seconds:.2f}" for run in runs]),
    ]
    labels = {
        "decode": "waits for the decoder",
        "network": "network",
        "encode": "waits for the encoder",
        "other": "shots, colours, tiles",
    }
    for stage in STAGES:
        shares = ["" if run.shares is None else f"{run.shares[stage]:.1%}" for run in runs]
        rows.append((labels[stage], shares))
    rows.append(("memory at the peak", [format_bytes(run.memory.total) for run in runs]))
    rows.append(("of it ffmpeg's", [format_bytes(run.memory.children) for run in runs]))
    return rows
