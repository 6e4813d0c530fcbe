"""``vsr models export``: a network as one ONNX file that carries its state and says what it is."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import click

from vsrcli.cli.console import one_line
from vsrcli.cli.help import Command
from vsrcli.cli.options import verbose_option
from vsrcli.cli.types import ModelParam
from vsrcli.errors import UsageError, VsrError
from vsrcli.system.files import temporary_folder
from vsrcli.system.signals import catch_signals
from vsrcli.system.text import format_bytes


@click.command(cls=Command, epilog="Example: vsr models export duf-r network.onnx --scale 4")
@click.argument("model", metavar="NAME", type=ModelParam())
@click.argument("target", metavar="FILE.onnx", type=click.Path(path_type=Path))
@click.option(
    "--scale", type=click.IntRange(2, 8), metavar="N", help="Export the network of this factor.  [default: 4]"
)
@verbose_option
def export(model: str, target: Path, scale: int | None, verbose: int) -> None:
    """Write a network as one ONNX file, for frames of any size.

    The file has inputs for the newest frame, the middle one, and what the network remembers; a manifest in
    its metadata names them. `vsr upscale -m FILE.onnx` reads it back, with the same pictures.
    """
    check_target(target)
    from vsrcli.inference.selection import choose_models
    from vsrcli.models.imported import ImportedModel

    choice = choose_models(model, Fraction(scale or 4))[0]
    if choice.weights is None:
        raise UsageError(f"{model} is an interpolation: there is no network to export")
    if isinstance(choice.weights, ImportedModel):
        raise UsageError(f"{model} is somebody else's network: only those of vsr itself are exported")
    if scale is not None and choice.scale != scale:
        raise UsageError(f"{model} has no network for --scale {scale}: its own is {choice.scale}")
    from vsrcli.inference.onnx_export import build_onnx

    with catch_signals():
        try:
            with temporary_folder(".vsr-export-", target.parent) as folder:
                built = folder / "network.onnx"
                build_onnx(choice.weights.path, choice.weights.name, built)
                built.replace(target)
        except OSError as error:
            raise VsrError(f"cannot write {str(target)!r}: {error.strerror}") from error
    size = format_bytes(target.stat().st_size)
    click.echo(
        one_line(f"{target}: {choice.name}, x{choice.scale}, {size}; vsr upscale -m {target} reads it")
    )


def check_target(target: Path) -> None:
    """Raise UsageError if a path cannot become an ONNX file."""
    if target.suffix.lower() != ".onnx":
        raise UsageError(f"{str(target)!r} must end in .onnx")
    if target.exists():
        what = "is a folder" if target.is_dir() else "exists: remove it, or choose another name"
        raise UsageError(f"{str(target)!r} {what}")
    if not target.parent.is_dir():
        raise UsageError(f"no folder {str(target.parent)!r}: create it first")
