"""``vsr info``: show what a video contains; ``vsr models``: list the models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.console import one_line
from vsrcli.cli.help import Command
from vsrcli.cli.options import verbose_option
from vsrcli.cli.types import SourcePath
from vsrcli.media.types import Source, VideoStream
from vsrcli.media.y4m import STDIO
from vsrcli.models.architectures import ARCHITECTURES, DEFAULT_MODEL, Architecture
from vsrcli.models.weights import DEFAULT_DEGRADATION, list_weights
from vsrcli.system.signals import catch_signals

_WIDE = 100  # columns of a terminal from which on the table is complete


@click.command(cls=Command, epilog="Example: vsr info in.mkv --json")
@click.argument("file", metavar="FILE", type=SourcePath())
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact times.")
@verbose_option
def info(file: Path, as_json: bool, verbose: int) -> None:
    """Show what a video file contains: frames, times, colours and every other stream.

    FILE may also be an image sequence, an image, or - for stdin, which is read no further than necessary.
    """
    from vsrcli.images.probe import probe_source
    from vsrcli.media.stdin import StdinInput

    with catch_signals(), StdinInput(probe_only=True) as stdin:
        source = stdin.open_reader().source if file == STDIO else probe_source(file)
    source = replace(source, path=Path(source.display_name))
    if as_json:
        click.echo(json.dumps(asdict(source), indent=2, ensure_ascii=False, default=str))
        return
    for line in describe(source):
        click.echo(one_line(line))


def describe(source: Source) -> Iterator[str]:
    """Yield the description of a source, line by line."""
    video = source.video
    yield str(source.path)
    yield _row("container", source.container, f"{source.size_bytes:,} bytes" if source.size_bytes else "")
    yield _row("time", _span(source.start, source.duration))
    bits = f"{video.bit_depth} bit"
    yield _row("video", f"#{video.index}", video.codec, video.pix_fmt, bits, _language(video))
    yield _row(
        "size",
        f"{video.width}x{video.height}",
        f"pixels {video.sample_aspect_ratio} wide" if video.sample_aspect_ratio != 1 else "",
        f"rotated by {video.rotation} degrees" if video.rotation else "",
        "transparency" if video.has_alpha else "",
    )
    rate = "unknown" if video.frame_rate is None else f"{video.frame_rate} = {float(video.frame_rate):.6g}"
    frames = "number not stated" if video.frame_count is None else str(video.frame_count)
    yield _row("frames", frames, f"rate {rate}")
    yield _row("clock", f"{video.time_base} s", _span(video.start, video.duration))
    color = video.color
    tags = [(key, getattr(color, key)) for key in ("range", "matrix", "primaries", "transfer")]
    chroma = f"chroma {color.chroma_location}" if color.chroma_location else ""
    yield _row("colour", *([f"{key} {value}" for key, value in tags if value] or ["untagged"]), chroma)
    hdr = [*_hdr(video)]
    if hdr:
        yield _row("hdr", *hdr)
    yield _row("fields", video.field_order or "not stated", "interlaced" if video.is_interlaced else "")
    if video.timecode:
        yield _row("timecode", video.timecode)
    for text in video.unsupported_features:
        yield _row("also", text, "which cannot be written")
    for other in source.other_streams:
        yield _row(other.kind, f"#{other.index}", other.codec, other.summary, _language(other))
    for chapter in source.chapters:
        yield _row("chapter", f"{float(chapter.start):.3f} s", chapter.metadata.get("title", ""))
    for key, value in source.metadata.items():
        yield _row("tag", f"{key}: {value}")


@click.command(cls=Command, epilog="Example: vsr models --json")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the complete model cards.")
@verbose_option
def models(as_json: bool, verbose: int) -> None:
    """List the models: scale, degradation they were trained on, cost and measured quality.

    Weights are found by the name of a model and the scale, in the folder $VSR_WEIGHTS first.
    """
    entries = _collect_models()
    if as_json:
        click.echo(json.dumps(entries, indent=2, ensure_ascii=False))
    else:
        _print_models(entries)


def _collect_models() -> list[dict[str, Any]]:
    """Return an entry for each weight file, and one for each architecture without any, by architecture."""
    by_architecture: dict[str, list[dict[str, Any]]] = {name: [] for name in ARCHITECTURES}
    for weights in list_weights():
        card = weights.card
        entry = _entry(weights.architecture, weights.scale) | {
            "name": weights.name,
            "scales": [weights.scale],
            "degradation": card["degradation"],
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


def _hdr(video: VideoStream) -> Iterator[str]:
    """Yield the brightness metadata of an HDR video."""
    display = video.mastering_display
    if display and display.max_luminance is not None and display.min_luminance is not None:
        limits = f"{float(display.min_luminance):g} to {float(display.max_luminance):g}"
        yield f"graded on a display of {limits} cd/m2"
    if video.content_light:
        yield f"pixels up to {video.content_light.max_cll} cd/m2"
        yield f"frames up to {video.content_light.max_fall}"


def _row(heading: str, *parts: str) -> str:
    return f"  {heading:<11}{', '.join(part for part in parts if part)}"


def _span(start: Fraction, duration: Fraction | None) -> str:
    length = "length not stated" if duration is None else f"{float(duration):.3f} s long"
    return f"starts at {float(start):.6g} s, {length}"


def _language(stream: Any) -> str:
    return ", ".join(filter(None, (stream.language, stream.title)))


def _entry(architecture: Architecture, scale: int) -> dict[str, Any]:
    return {
        "name": architecture.name,
        "architecture": architecture.name,
        "summary": architecture.summary,
        "scales": list(architecture.scales),
        "degradation": None,
        "frames": architecture.frames,
        "multiply_adds_per_lr_pixel": architecture.multiply_adds(scale),
        "parameters": 0 if architecture.module is None else None,
        "measured": None,
        "licence": None,
        "weights": None,
        "usable": architecture.module is None,
    }


def _print_models(entries: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = 160  # for grep and cut
    wide = console.width >= _WIDE
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2 if wide else 1, 0, 0))
    rows = [_cells(entry) for entry in entries]
    for heading in rows[0]:
        if wide or heading not in ("frames", "licence"):
            is_number = heading in ("frames", "MAC/pixel", "params")
            table.add_column(heading, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(row[str(column.header)] for column in table.columns))
    console.print(table)
    notes = [
        f"Default: {DEFAULT_MODEL}, {DEFAULT_DEGRADATION}. MAC/pixel: multiply-adds for a source pixel.",
        "PSNR-Y: mean over validation clips; in brackets, dB over the better of bicubic and Lanczos.",
    ]
    if not all(entry["usable"] for entry in entries):
        notes.append("no weights: train with vsr train")
    console.print("\n" + "\n".join(notes), soft_wrap=not console.is_terminal)


def _cells(entry: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of an entry by heading."""
    return {
        "model": entry["name"],
        "scale": " ".join(map(str, entry["scales"])),
        "trained on": entry["degradation"] or ("" if entry["usable"] else "no weights"),
        "frames": str(entry["frames"]),
        "MAC/pixel": _format_count(entry["multiply_adds_per_lr_pixel"]),
        "params": _format_count(entry["parameters"]),
        "PSNR-Y": quality(entry["measured"]),
        "licence": entry["licence"] or "",
    }


def _format_count(count: int | None) -> str:
    """Return text such as ``1.2M``."""
    for limit, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count and count >= limit:
            return f"{count / limit:.3g}{unit}"
    return str(count or "-")
