"""``vsr explain``: what a network looks at, at one time of a video, as a picture and a page."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import quiet_option, verbose_option
from vsrcli.cli.types import ModelParam, TimeParam
from vsrcli.errors import UsageError
from vsrcli.images.naming import is_image_target
from vsrcli.media.y4m import STDIO
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.system.signals import catch_signals

_DEFAULT_SCALE = 4
_SUFFIXES = (".html", ".htm", ".png")


class PixelParam(click.ParamType):
    """``X,Y``: column and row of a pixel, from 0, as a tuple."""

    name = "X,Y"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,6}),(\d{1,6})", str(value).replace(" ", ""))
        if not found:
            self.fail(f"{value!r} is no pixel: give column and row of the source such as 120,80", param, ctx)
        return int(found[1]), int(found[2])


@click.command(
    cls=Command,
    epilog="Example: vsr explain in.mp4 --at 0:12\n\n"
    "Two pixels, with another network: vsr explain in.mp4 --at 0:12 --pixel 12,8 --pixel 40,32 -m duf-s",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@option(
    "--at",
    "Look at the frame shown at this time: 12.5, 1:02 or 0:01:02.5.  [default: after a third of the video]",
    type=TimeParam(),
    group="Time range",
)
@option(
    "--pixel",
    "pixels",
    "Look at this pixel of the source: column from the left, row from the top, both from 0; repeatable.  "
    "[default: an edge, texture, a flat area, motion]",
    type=PixelParam(),
    multiple=True,
    metavar="X,Y",
    group="Model",
)
@option(
    "-m",
    "--model",
    "Look at this network: a name, or a file.",
    type=ModelParam(),
    default=DEFAULT_MODEL,
    metavar="NAME",
    group="Model",
)
@option(
    "--scale",
    "Take the network of this factor.  [default: 4, or the only one there is]",
    type=click.IntRange(1, 8),
    metavar="N",
    group="Model",
)
@option(
    "--layer",
    "layers",
    "Show what this layer gives; repeatable. An unknown name lists those there are.  [default: three]",
    multiple=True,
    metavar="NAME",
    group="Model",
)
@option(
    "--history",
    "Follow the memory of a recurrent network this many frames back.",
    type=click.IntRange(1, 60),
    default=8,
    metavar="N",
    group="Model",
)
@option(
    "-o",
    "--output",
    "target",
    'Write a page (.html) and a picture (.png) of this name.  [default: beside FILE, "-explain"]',
    type=click.Path(path_type=Path),
    metavar="OUT",
    group="Output",
)
@option("-y", "--overwrite", "Replace OUT if it exists.", is_flag=True, group="Output")
@option(
    "--json", "as_json", "Print the numbers as JSON; see docs/explain.md.", is_flag=True, group="Messages"
)
@option("--ffmpeg", "Use this ffmpeg instead of the bundled one.", metavar="PATH", group="Input")
@quiet_option
@verbose_option
def explain(
    file: Path,
    at: Fraction | None,
    pixels: tuple[tuple[int, int], ...],
    model: str,
    scale: int | None,
    layers: tuple[str, ...],
    history: int,
    target: Path | None,
    overwrite: bool,
    as_json: bool,
    ffmpeg: str | None,
    quiet: bool,
    verbose: int,
) -> None:
    """Show what a network looks at: its filters, its frames, its layers and its memory.

    Writes one picture and one page that needs no network. Filters, the filtered picture and the residual are
    those of networks with dynamic filters; for others, what applies is shown, and the rest is said.
    """
    page, picture = _targets(file, target)
    from vsrcli.cli.progress import make_progress, stderr_console
    from vsrcli.cli.summary import print_notice
    from vsrcli.compare.writers import check_target
    from vsrcli.inference.selection import choose_models
    from vsrcli.media.ffmpeg import find_ffmpeg

    console = stderr_console()
    with catch_signals(), make_progress(console, "steps", quiet=quiet) as progress:
        choice = choose_models(model, Fraction(scale or _DEFAULT_SCALE))[0]
        if scale is not None and choice.scale != scale:
            raise UsageError(
                f"{choice.name} upscales by {choice.scale}, not by --scale {scale}: leave it out"
            )
        for path in (page, picture):
            check_target(path, [file], overwrite=overwrite)
        found_ffmpeg = find_ffmpeg(ffmpeg)
        from vsrcli.explain.analysis import explain_moment
        from vsrcli.explain.moment import read_moment
        from vsrcli.explain.networks import open_networks
        from vsrcli.explain.output import write_explanation
        from vsrcli.explain.pixels import named_pixels

        around = choice.architecture.frames // 2 + 1
        has_state = choice.architecture.has_state
        before = max(history, around) if has_state else around
        moment = read_moment(
            file, at, before=before, after=around, ffmpeg=found_ffmpeg, leave_out_repeats=has_state
        )
        named_pixels(pixels, *moment.size)  # an error, before the network is loaded
        examined = open_networks(choice, on_notice=progress.print_line)
        found = explain_moment(
            examined,
            moment,
            positions=pixels,
            layers=layers,
            history=history,
            on_progress=progress.update,
        )
        write_explanation(found, page, picture, overwrite=overwrite)
    for note in () if quiet else found.notes:
        print_notice(console, note)
    if as_json:
        document = {**found.as_dict(), "page": str(page), "picture": str(picture)}
        click.echo(json_text(document, indent=2))
    if not quiet:
        from vsrcli.explain.texts import summary_line

        console.print(
            f"{summary_line(found)}: {page}, {picture}", style="green" if found.agrees else "yellow"
        )


def _targets(file: Path, target: Path | None) -> tuple[Path, Path]:
    """Return the paths of page and picture."""
    if file == STDIO:
        raise UsageError("a stream cannot be searched for a time: name a file instead of -")
    if target is None:
        target = _default_target(file)
    if target.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"{target} is neither a page nor a picture: let it end in .html or .png")
    if target.suffix.lower() == ".png":
        return target.with_suffix(".html"), target
    return target, target.with_suffix(".png")


def _default_target(file: Path) -> Path:
    """Return ``NAME-explain.html``; for images, named after their folder and beside it, not among them."""
    if file.is_dir() or is_image_target(file):
        folder = file.absolute() if file.is_dir() else file.absolute().parent
        return folder.with_name(f"{folder.name}-explain.html")
    return file.with_name(f"{file.stem}-explain.html")
