"""``vsr evaluate``: how good a model is on your own clips, beside interpolation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.options import engine_options, verbose_option
from vsrcli.models.registry import DEFAULT_MODEL

if TYPE_CHECKING:
    from vsrcli.evaluate.benchmark import Still
    from vsrcli.evaluate.result import Report, Result
    from vsrcli.models.registry import Weights

WIDTH = 118  # of the tables where there is no terminal to ask
_WIDE = 112  # columns from which on headings are spelled out


class CrfType(click.ParamType):
    """``none`` or a constant rate factor of H.264."""

    name = "none|0-51"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "none" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) > 51:
            self.fail(f"{value!r} is neither 'none' nor a whole number from 0 to 51", param, ctx)
        return int(value)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "-m", "--model", default=DEFAULT_MODEL, show_default=True, help="Name (see `vsr models`) or weight file."
)
@click.option(
    "-s", "--scale", type=click.IntRange(2, 4), help="Factor; by default the weight file's, else 4."
)
@click.option(
    "--protocol",
    type=click.Choice(["bi", "bd"]),
    help="How low resolution is made: bi = bicubic like any scaler; bd = blur and decimate, as published "
    "figures have it. By default what the weights were trained on, else bi.",
)
@click.option(
    "--crf",
    "crfs",
    multiple=True,
    type=CrfType(),
    default=("none",),
    show_default=True,
    help="Compress the low resolution with H.264 at this quality; repeat it for a table each.",
)
@click.option("--frames", type=click.IntRange(5), help="Only so many frames from the start of each clip.")
@engine_options
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write all figures to this file.")
@click.option(
    "--pictures", type=click.Path(path_type=Path), help="Write a comparison of each clip to this folder."
)
@click.option("--card", is_flag=True, help="Write the means into the model card of the weights.")
@verbose_option
def evaluate(
    clips: tuple[Path, ...],
    model: str,
    scale: int | None,
    protocol: str | None,
    crfs: tuple[int | str, ...],
    frames: int | None,
    device: str,
    precision: str,
    engine: str,
    json_file: Path | None,
    pictures: Path | None,
    card: bool,
    verbose: int,
) -> None:
    """Measure a model on CLIPS (files or folders): shrink them, upscale again, compare with the original.

    Scores are PSNR and SSIM of luma, and how faithfully pictures change from frame to frame, beside bicubic
    and Lanczos interpolation of the same low resolution.

    \b
    Clean low resolution, and the same after H.264 at crf 23:
        vsr evaluate clips/ --crf none --crf 23 --pictures compared/
    The protocol of published figures:
        vsr evaluate clips/ -m my-bd.weights.h5 --protocol bd --json figures.json
    """
    from dataclasses import replace

    from vsrcli.evaluate.benchmark import benchmark
    from vsrcli.evaluate.contestant import enter
    from vsrcli.evaluate.protocol import find_clips
    from vsrcli.evaluate.result import SCORING

    files = find_clips(clips)
    contestant = enter(model, scale, protocol)
    if contestant.warning:
        click.echo(f"warning: {contestant.warning}", err=True)
    opened = contestant.open(device=device, precision=precision, engine=engine)
    reports = []
    for crf in dict.fromkeys(crfs):
        test = replace(contestant.protocol, crf=None if isinstance(crf, str) else crf)
        with _progress(f"{contestant.choice.name}, {test.label}", len(files)) as advance:

            def on_clip(
                result: Result, still: Still, label: str = test.label, advance: Any = advance
            ) -> None:
                if pictures:
                    _save_still(pictures, label, result, still, contestant.choice.architecture.name)
                advance()

            report = benchmark(
                opened,
                files,
                test,
                model=contestant.choice.name,
                frames=frames,
                bytes_per_pixel=contestant.choice.architecture.bytes_per_pixel,
                on_clip=on_clip,
            )
        _print_table(report)
        reports.append(report)
    click.echo(f"Scoring: {SCORING}.")
    click.echo("Gain: over the better of bicubic and Lanczos, whose other scores stand beside the model's.")
    click.echo("Steady: PSNR of the changes from frame to frame; flicker lowers it.")
    if json_file:
        _write_json(json_file, reports)
    if card:
        _write_card(contestant.choice.weights, reports)


def _print_table(report: Report) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)  # names of clips are no markup
    if not console.is_terminal:
        console = Console(markup=False, highlight=False, emoji=False, width=WIDTH)
    wide = console.width >= _WIDE
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1) if wide else (0, 0))
    table.add_column("clip", overflow="fold")
    better = "interpolated" if wide else "interp."
    for head in (
        "bicubic\nPSNR-Y",
        "lanczos\nPSNR-Y",
        "model\nPSNR-Y",
        "gain\ndB",
        f"{better}\nSSIM-Y",
        "model\nSSIM-Y",
        f"{better}\nsteady",
        "model\nsteady",
    ):
        table.add_column(head, justify="right", no_wrap=True)
    for clip in report.clips:
        table.add_row(*_cells(clip))
    table.add_section()
    table.add_row(*_cells(report.mean), style="bold")
    click.echo(f"{report.engine}: {report.protocol.label}")
    console.print(table)
    mean, worst = report.mean, report.worst
    ends = mean.model.psnr_ends - max(mean.bicubic.psnr_ends, mean.lanczos.psnr_ends)
    click.echo(f"Worst clip: {worst.name}, {worst.gain:+.2f} dB.")
    with_ends = f"{mean.model.psnr_ends:.2f} dB, SSIM {mean.model.ssim_ends:.4f}, gain {ends:+.2f} dB"
    click.echo(f"With the first and last frames: {with_ends}.")
    click.echo(f"Protocol: {report.protocol.summary}.\n")


def _cells(result: Result) -> tuple[str, ...]:
    interpolated, model = result.baseline, result.model
    return (
        result.name,
        f"{result.bicubic.psnr:.2f}",
        f"{result.lanczos.psnr:.2f}",
        f"{model.psnr:.2f}",
        f"{result.gain:+.2f}",
        f"{interpolated.ssim:.4f}",
        f"{model.ssim:.4f}",
        f"{interpolated.temporal:.2f}",
        f"{model.temporal:.2f}",
    )


def _save_still(folder: Path, label: str, result: Result, still: Still, model: str) -> None:
    from vsrcli.evaluate.report import comparison, detailed_crop, save_picture, still_panels

    name = f"{result.name} {label}".replace("/", "-").replace(" ", "-")
    panels = still_panels(still, model, low=True)
    save_picture(folder / f"{name}.png", comparison(panels, detailed_crop(still.truth)))


def _write_json(path: Path, reports: list[Report]) -> None:
    from vsrcli.errors import OutputError

    text = json.dumps([report.as_dict() for report in reports], indent=2) + "\n"
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the figures to {str(path)!r}: {error}") from error


def _write_card(weights: Weights | None, reports: list[Report]) -> None:
    from vsrcli.errors import UsageError
    from vsrcli.evaluate.result import card_entry

    if weights is None:
        raise UsageError("--card needs a model with weights: interpolation has no card")
    content = {**weights.card, "measured": card_entry(reports)}
    partial = weights.card_path.with_suffix(".part")
    partial.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(weights.card_path)


class _progress:  # noqa: N801 - reads as a function where it is used
    """A bar on stderr on a terminal, nothing elsewhere; gives a function that advances it by one clip."""

    def __init__(self, text: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar = Progress(console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bar.add_task(text, total=total)

    def __enter__(self) -> Any:
        self._bar.start()
        return lambda: self._bar.advance(self._task)

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()
