"""``vsr info``: what a film holds, as ``vsr upscale`` will see it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.failure import one_line
from vsrcli.cli.options import verbose_option
from vsrcli.cli.standard import SourcePath
from vsrcli.media.types import Source, VideoStream
from vsrcli.media.y4m import STDIO
from vsrcli.system.signals import catch_signals


@click.command(epilog="Example: vsr info film.mkv --json")
@click.argument("file", metavar="FILE", type=SourcePath())
@click.option("--json", "as_json", is_flag=True, help="One JSON document; times are exact.")
@verbose_option
def info(file: Path, as_json: bool, verbose: int) -> None:
    """Say what a film holds: picture, times, colours, every other stream.

    A dash is stdin, of which no more is read than it takes.
    """
    from vsrcli.images.probe import image_sequence_source as find_source
    from vsrcli.media.stdin import StdinInput

    with catch_signals(), StdinInput(peek=True) as stdin:
        source = stdin.probe().plain() if file == STDIO else find_source(file)
    if as_json:
        click.echo(json.dumps(_plain(asdict(source)), indent=2, ensure_ascii=False))
        return
    for line in describe(source):
        click.echo(one_line(line))


def describe(source: Source) -> Iterator[str]:
    """The film in lines for people."""
    video = source.video
    yield str(source.path)
    yield _row("container", source.container, f"{source.size:,} bytes" if source.size else "")
    yield _row("time", _span(source.start, source.duration))
    bits = f"{video.bit_depth} bit"
    yield _row("picture", f"#{video.index}", video.codec, video.pix_fmt, bits, _language(video))
    shape = "" if video.sample_aspect_ratio == 1 else f"pixels {video.sample_aspect_ratio} wide"
    turned = f"turned by {video.rotation} degrees" if video.rotation else ""
    yield _row(
        "size", f"{video.width}x{video.height}", shape, turned, "transparency" if video.has_alpha else ""
    )
    rate = "unknown" if video.frame_rate is None else f"{video.frame_rate} = {float(video.frame_rate):.6g}"
    yield _row("frames", "number not stated" if video.frames is None else str(video.frames), f"rate {rate}")
    yield _row("clock", f"{video.time_base} s", _span(video.start, video.duration))
    color = video.color
    tags = {
        "range": color.range,
        "matrix": color.matrix,
        "primaries": color.primaries,
        "transfer": color.transfer,
    }
    named = [f"{key} {value}" for key, value in tags.items() if value]
    yield _row(
        "colour", *(named or ["untagged"]), f"chroma {color.chroma_location}" if color.chroma_location else ""
    )
    yield from _hdr(video)
    yield _row("fields", video.field_order or "not stated", "interlaced" if video.interlaced else "")
    if video.timecode:
        yield _row("timecode", video.timecode)
    for text in video.uncarried:
        yield _row("also", text, "which cannot be carried over")
    for other in source.others:
        yield _row(other.kind, f"#{other.index}", other.codec, other.summary, _language(other))
    for chapter in source.chapter_marks:
        yield _row("chapter", f"{float(chapter.start):.3f} s", chapter.metadata.get("title", ""))
    for key, value in source.metadata.items():
        yield _row("tag", f"{key}: {value}")


def _hdr(video: VideoStream) -> Iterator[str]:
    """What an HDR film says about its brightness."""
    words: list[str] = []
    if video.mastering and video.mastering.brightest is not None and video.mastering.darkest is not None:
        ends = f"{float(video.mastering.darkest):g} to {float(video.mastering.brightest):g}"
        words.append(f"graded on a display of {ends} cd/m2")
    if video.light:
        words.append(f"pixels up to {video.light.brightest_pixel} cd/m2")
        words.append(f"frames up to {video.light.brightest_frame}")
    if words:
        yield _row("hdr", *words)


def _row(heading: str, *words: str) -> str:
    return f"  {heading:<11}{', '.join(word for word in words if word)}"


def _span(start: Fraction, duration: Fraction | None) -> str:
    length = "length not stated" if duration is None else f"{float(duration):.3f} s long"
    return f"starts at {float(start):.6g} s, {length}"


def _language(stream: Any) -> str:
    return ", ".join(filter(None, (stream.language, stream.title)))


def _plain(value: Any) -> Any:
    """What JSON can hold: fractions and paths as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Fraction | Path) else value
