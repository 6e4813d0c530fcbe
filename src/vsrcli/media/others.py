"""How ffmpeg is told what becomes of every stream that is not the picture."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from vsrcli.media.opening import open_media
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.streams import StreamPlan
from vsrcli.media.types import Source

# libopus knows the layouts of the Vorbis family only; 5.1(side) from a DVD is not among them.
_OPUS_LAYOUTS = "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
_COVER_TYPES = {"mjpeg": ("image/jpeg", "cover.jpg"), "png": ("image/png", "cover.png")}


def map_other_streams(plan: OutputPlan, source: Source, scratch: Path) -> list[str]:
    """``-map`` and codec of every kept or converted stream, in order."""
    arguments: list[str] = []
    covers: list[StreamPlan] = []
    position = 0
    for stream in plan.streams:
        if stream.action not in ("keep", "convert"):
            continue
        if stream.kind == "cover" and plan.container.covers == "attachment":
            covers.append(stream)
            continue
        position += 1
        arguments += ["-map", f"1:{stream.index}", f"-c:{position}", stream.encoder or "copy"]
        other = next(each for each in source.others if each.index == stream.index)
        if stream.kind in ("audio", "subtitle", "video"):
            # MP4 calls the title a name, which Matroska would not know.
            arguments += stream_metadata(str(position), {"title": other.title})
        if stream.kind == "cover":
            arguments += [f"-disposition:{position}", "attached_pic"]
        elif plan.span[0] is not None:
            arguments += _begin_at(plan.time_origin, stream, position)
        if stream.encoder in ("aac", "libopus", "libmp3lame"):
            arguments += [f"-b:{position}", _bit_rate(source, stream)]
        if stream.encoder == "libopus":
            arguments += [f"-filter:{position}", _OPUS_LAYOUTS]
    attachments = sum(stream.kind == "attachment" and stream.action == "keep" for stream in plan.streams)
    for number, cover in enumerate(covers, attachments):
        arguments += _attach(source, cover, number, scratch)
    return arguments


def _begin_at(zero: Fraction, stream: StreamPlan, position: int) -> list[str]:
    """Leave out what comes before the span: after -ss, ffmpeg starts at the key frame before it.

    A packet with a negative time would make Matroska shift the whole film.
    """
    copied = stream.action == "keep" and stream.kind != "attachment"
    if copied and zero >= 0:
        return [f"-copypriorss:{position}", "0"]
    if copied or stream.kind == "subtitle":  # copypriorss would leave out all that is negative
        return [f"-bsf:{position}", f"noise=amount=0:drop='lt(pts*tb,{format_seconds(zero)})'"]
    return []


def _attach(source: Source, cover: StreamPlan, number: int, scratch: Path) -> list[str]:
    """A cover as an attachment: Matroska knows covers by their file name."""
    picture = cover_data(source, cover.index)
    if picture is None:
        return []
    mime, name = _COVER_TYPES[cover.codec]
    file = scratch / f"{number}-{name}"
    file.write_bytes(picture)
    tags = stream_metadata(f"t:{number}", {"mimetype": mime, "filename": name})
    return ["-attach", str(file), *tags]


def cover_data(source: Source, index: int) -> bytes | None:
    """The picture file inside an attached-picture stream."""
    with open_media(source.path, kind=source.container) as container:
        for packet in container.demux(container.streams[index]):
            if packet.size:
                return bytes(packet)
    return None


def _bit_rate(source: Source, stream: StreamPlan) -> str:
    """About 96 kbit/s for each channel that the source's layout names."""
    summary = next(other.summary for other in source.others if other.index == stream.index)
    channels = {"mono": 1, "stereo": 2, "2.1": 3, "quad": 4}.get(summary.split(",")[0])
    if channels is None:
        surround = any(summary.startswith(layout) for layout in ("5.", "6.", "7."))
        channels = 6 if surround else 2
    return f"{96 * channels if channels <= 2 else 80 * channels}k"


def stream_metadata(specifier: str, tags: Mapping[str, str | None]) -> list[str]:
    """``-metadata`` for every tag that is not None."""
    return [
        argument
        for key, value in tags.items()
        if value is not None
        for argument in (f"-metadata:s:{specifier}", f"{key}={value}")
    ]


def format_seconds(time: Fraction) -> str:
    """Decimal seconds, to the microsecond that ffmpeg reads."""
    micro = round(time * 1_000_000)
    return f"{'-' if micro < 0 else ''}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"
