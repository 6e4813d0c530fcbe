"""Options of ``vsr evaluate`` that say what is measured beyond its usual scores, and their values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.help import option
from vsrcli.cli.options import combine_options

if TYPE_CHECKING:
    from vsrcli.evaluate.others import OtherTool


class CrfParam(click.ParamType):
    """``none``, or a constant rate factor of H.264 as an int."""

    name = "none|0-51"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "none" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) > 51:
            self.fail(f"{value!r} is neither 'none' nor a whole number from 0 to 51", param, ctx)
        return int(value)


class AgainstParam(click.ParamType):
    """``FOLDER`` or ``NAME=FOLDER``, as an :class:`~vsrcli.evaluate.others.OtherTool`."""

    name = "[name=]folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> OtherTool:
        from vsrcli.evaluate.others import OtherTool

        if isinstance(value, OtherTool):
            return value
        name, found, folder = str(value).partition("=")
        if not found or Path(value).exists():
            name, folder = Path(value).resolve().stem, value
        if not name.strip() or not folder:
            self.fail(f"{value!r} is neither a folder nor NAME=FOLDER", param, ctx)
        return OtherTool(name.strip(), Path(folder))


measure_options = combine_options(
    option(
        "--against",
        "others",
        "Score the frames of another tool, too: FOLDER holds them, already enlarged, as videos or folders of "
        "images named like CLIPS; repeatable.",
        multiple=True,
        type=AgainstParam(),
        metavar="[NAME=]FOLDER",
        group="Measurement",
    ),
    option(
        "--vmaf/--no-vmaf",
        "Measure VMAF v1 and NEG, too.  [default: no-vmaf: they add more than half to the time of a run with "
        "interpolation]",
        default=False,
        show_default=False,
        group="Measurement",
    ),
    option(
        "--features/--no-features",
        "Measure the VGG16-edge distance, too, on two frames of each clip; needs vsrcli[train], and seconds "
        "a frame.  [default: no-features]",
        default=False,
        show_default=False,
        group="Measurement",
    ),
    option(
        "--ffmpeg",
        "Measure VMAF with this ffmpeg instead of the bundled one.",
        metavar="PATH",
        group="Measurement",
    ),
)
