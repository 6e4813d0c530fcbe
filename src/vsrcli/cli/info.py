"""``vsr info``: show what a video contains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.console import one_line
from vsrcli.cli.help import Command
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import verbose_option
from vsrcli.cli.types import SourcePath
from vsrcli.media.types import INTERLACED, MIXED, Source, VideoStream
from vsrcli.media.y4m import STDIO
from vsrcli.system.signals import catch_signals


@click.command(cls=Command, epilog="Example: vsr info in.mkv --json")
@click.argument("file", metavar="FILE", type=SourcePath())
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with exact times.")
@verbose_option
def info(file: Path, as_json: bool, verbose: int) -> None:
    """Show what a video file contains: frames, times, colours and every other stream.

    FILE may also be an image sequence, an image, or - for stdin, which is read no further than necessary.
    """
    from vsrcli.images.sequence import probe_source
    from vsrcli.media.stdin import StdinInput

    with catch_signals(), StdinInput(probe_only=True) as stdin:
        source = stdin.open_reader().source if file == STDIO else probe_source(file)
    source = replace(source, path=Path(source.display_name))
    if as_json:
        click.echo(json_text(asdict(source), indent=2, default=str))
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
    order = {INTERLACED: "order unknown", MIXED: "in parts"}.get(video.field_order or "", video.field_order)
    yield _row("fields", order or "not stated", "interlaced" if video.is_interlaced else "")
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
