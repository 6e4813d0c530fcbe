"""``vsr tune``: find the fastest engine, precision and tiles on this machine, and write them down."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import from_command_line, highest_precedence, quiet_option, verbose_option
from vsrcli.cli.types import DeviceParam, DimensionsParam, ScaleParam, SizeParam
from vsrcli.cli.upscale_options import network_options
from vsrcli.cli.upscale_values import resolve_network
from vsrcli.errors import UsageError
from vsrcli.inference.precision import IDENTICAL
from vsrcli.pipeline.options import Options
from vsrcli.system.signals import catch_signals

if TYPE_CHECKING:
    from vsrcli.bench.tuning import TuningReport

_DEFAULT = Options()
_DEFAULT_SIZE, _DEFAULT_SECONDS = (640, 360), 50
_MUCH = 0.25  # of the processors
_PROFILE_COMMANDS = ("upscale", "batch", "preview")


@click.command(
    cls=Command,
    epilog="Example: vsr tune --size 1280x720\n\n"
    "For a video, as a profile: vsr tune in.mp4 -m duf-s --profile fast",
)
@click.argument(
    "source", metavar="[IN]", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@network_options
@option(
    "-s",
    "--scale",
    "Take the model for this factor.",
    type=ScaleParam(),
    default=str(_DEFAULT.scale),
    group="Model",
)
@option(
    "--size",
    "Measure for frames of this size.  [default: that of IN, or {}x{}]".format(*_DEFAULT_SIZE),
    type=DimensionsParam(),
    metavar="WxH",
    group="Measurement",
)
@option(
    "--seconds",
    "Measure for this long.",
    type=click.FloatRange(min=0, min_open=True),
    default=_DEFAULT_SECONDS,
    metavar="N",
    group="Measurement",
)
@option(
    "--max-memory",
    "Choose what fits this memory, such as 4G or 800M.  [default: 75 % of free memory]",
    type=SizeParam(),
    metavar="SIZE",
    group="Measurement",
)
@option(
    "-g",
    "--gpu",
    "device",
    "Choose among the engines that compute on this GPU, by number, or on the CPU.",
    type=DeviceParam(),
    default=_DEFAULT.device,
    metavar="auto|cpu|N",
    group="Measurement",
)
@option(
    "--profile",
    "Write a profile of this name, for `vsr --profile NAME upscale`.  [default: what auto takes]",
    metavar="NAME",
    group="Output",
)
@option("-n", "--dry-run", "Print the figures and write nothing.", is_flag=True, group="Output")
@option("--json", "as_json", "Print JSON and write nothing.", is_flag=True, group="Output")
@quiet_option
@verbose_option
def tune(
    source: Path | None,
    preset: str | None,
    model: str | None,
    scale: Fraction,
    size: tuple[int, int] | None,
    seconds: float,
    max_memory: int | None,
    device: str,
    profile: str | None,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    verbose: int,
) -> None:
    """Find the fastest engine, precision and tiles for a model and a frame size on this machine.

    The result is written to your own settings, where `--engine auto` takes it from for this model and
    frames of about this size; what you type or set yourself stays in force. Precisions whose pictures differ
    too much from fp32 are measured, and not taken.
    """
    context = click.get_current_context()
    if source is not None and size is not None and from_command_line(context, "size"):
        raise UsageError("IN has a size of its own: leave IN or --size out")
    name, _ = resolve_network(context, preset, model)
    assert isinstance(name, str)
    network = highest_precedence(context, {"preset": preset, "model": model or None})
    from vsrcli.bench.tuning import tune as measure
    from vsrcli.cli.config_edit import render, write_tables
    from vsrcli.cli.config_files import user_file
    from vsrcli.inference.selection import choose_models

    file, writes = user_file(), not (dry_run or as_json)
    if writes and file is None:
        raise UsageError(
            "VSR_CONFIG is empty, so there are no settings to write to: unset it, or add --dry-run"
        )
    if writes and file is not None and profile is not None:
        _check_profile(file, profile, network)

    def on_step(text: str) -> None:
        cancel.raise_if_cancelled()
        if not quiet:
            click.echo(f"measuring: {text}", err=True)

    with catch_signals() as cancel:
        if source is not None:
            from vsrcli.media.probe import probe

            video = probe(source).video
            size = video.width, video.height
        choice = choose_models(name, scale)[0]
        report = measure(
            name,
            choice,
            *(size or _DEFAULT_SIZE),
            device=device,
            max_memory=max_memory,
            seconds=seconds,
            on_step=on_step,
        )
        cancel.raise_if_cancelled()
    if as_json:
        click.echo(json_text(report.as_dict(), indent=2))
        return
    if not quiet:
        print_report(report)
        if report.busy > _MUCH:
            click.echo(
                f"note: other programs took {report.busy:.0%} of the processors, so these figures are "
                "unreliable; run it again when they have ended",
                err=True,
            )
    tables = _tables(report, profile, network)
    if writes:
        assert file is not None
        write_tables(file, tables)
    if not quiet:
        click.echo(f"{file}:" if writes else "dry run: nothing was written")
        for path, values in tables.items():
            click.echo(render(path, values), nl=False)


def _check_profile(file: Path, profile: str, network: Mapping[str, str]) -> None:
    """Raise UsageError if a profile chooses the network by another option than the one to be written."""
    from vsrcli.cli.config_edit import render
    from vsrcli.cli.config_files import PROFILE_KEY, find_excluded

    found = {
        (PROFILE_KEY, profile, command): entries
        for command in _PROFILE_COMMANDS
        if (entries := find_excluded(file, profile, command, network))
    }
    if found:
        old, new = next(iter(next(iter(found.values())))), next(iter(network))
        raise UsageError(
            f"{file}: profile {profile} has {old}, which excludes {new}: remove these lines, or give --{old}",
            details="\n".join(render(path, entries) for path, entries in found.items()),
        )


def _tables(
    report: TuningReport, profile: str | None, network: Mapping[str, str]
) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return what to write: the winner's options for ``auto``, or a profile with what chose the network."""
    from vsrcli.cli.config_files import PROFILE_KEY, tuned_table

    winner = report.winner
    values = {"engine": winner.engine, "precision": winner.precision, "tile": winner.tile}
    if profile is None:
        values = {"device": report.device, **values, "sha256": report.sha256}
        return {tuned_table(report.model, report.width, report.height): values}
    values |= {"gpu": report.device, **network}
    return {(PROFILE_KEY, profile, command): values for command in _PROFILE_COMMANDS}


def print_report(report: TuningReport) -> None:
    """Print the table on stdout, the fastest candidate marked."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from vsrcli.system.text import format_bytes

    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    console.print(
        f"{report.model}, {report.width}x{report.height} x{report.scale}, "
        f"{len(report.candidates)} candidates in {report.seconds:.0f} s"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "engine", "tiles"):
        table.add_column(heading, no_wrap=heading == "engine")
    for heading in ("us/pixel", "fps", "dB to fp32", "memory"):
        table.add_column(heading, justify="right")
    for number, each in enumerate(report.candidates):
        threads = f", {each.threads} threads" if each.threads else ""
        burst = f", {each.burst} at a time" if each.burst > 1 else ""
        tiles = "whole frames" if each.tiles == 1 else f"{each.tiles} of {'x'.join(map(str, each.tile_size))}"
        table.add_row(
            "*" if number == report.best else "",
            f"{each.engine} {each.precision}{threads}",
            tiles + burst,
            "" if each.us_per_pixel is None else f"{each.us_per_pixel:.3g}",
            "" if each.fps is None else f"{each.fps:.3g}",
            "" if each.psnr is None else f"{each.psnr:.0f}" if each.psnr < IDENTICAL else "equal",
            format_bytes(each.memory),
        )
    console.print(table)
    for name, reason in dict.fromkeys(
        (f"{each.engine} {each.precision}", each.reason) for each in report.candidates if each.reason
    ):
        console.print(f"not taken: {name}: {reason}")
