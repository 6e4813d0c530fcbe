"""The command that turns a pipe of raw frames and the source's other streams into the new film."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.media.ffmpeg import Ffmpeg, command, file_url
from vsrcli.media.output import OutputPlan
from vsrcli.media.streams import StreamPlan
from vsrcli.media.types import Source

_NANOSECOND = 10**9
# libopus knows the layouts of the Vorbis family only; 5.1(side) from a DVD is not among them.
_OPUS_LAYOUTS = "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
_COVER_TYPES = {"mjpeg": ("image/jpeg", "cover.jpg"), "png": ("image/png", "cover.png")}


def mux_command(
    plan: OutputPlan, source: Source, file: Path, scratch: Path, *, trial: bool = False, ffmpeg: Ffmpeg
) -> list[str]:
    """Read NUT from stdin and the other streams from the source; write ``file``.

    Args:
        plan: what to write.
        source: where sound, subtitles and the rest come from.
        file: the file to write.
        scratch: a folder for small helper files (chapters, covers), which must live as long as ffmpeg runs.
        trial: read only a moment of the other streams.
        ffmpeg: the executable.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    lifted = {"itsoffset": -source.lift} if source.lift else {}
    picture = builder.input("pipe:0", f="nut", protocol_whitelist="pipe", **lifted)
    chapters = _write_chapters(plan, source, scratch)
    inputs = [*_source_input(plan, source, trial=trial)]
    if chapters is not None:
        inputs += ["-f", "ffmetadata", "-i", file_url(chapters)]
    options: dict[str, str | None] = {
        "c:v:0": plan.codec,
        "fps_mode:v:0": "passthrough",
        "enc_time_base:v:0": _clock(plan, source, ffmpeg),
        "disposition:v:0": "default",
        "f": plan.container.muxer,
        "map_metadata": "1",
        "map_chapters": "2" if chapters is not None else "-1",
        # Slow networks: minutes of sound may be read before the first encoded picture opens the file.
        "max_muxing_queue_size": "8192",
    }
    if plan.zero:
        options["output_ts_offset"] = _seconds(-plan.zero)
    if plan.timescale is not None:
        options["video_track_timescale"] = str(plan.timescale)
    options.update(plan.video_options)
    maps = _stream_metadata("v:0", {"language": source.video.language, "title": source.video.title})
    maps += _other_streams(plan, source, scratch)
    return command(
        ffmpeg, picture["v:0"], file_url(file), options, inputs=inputs, maps=maps, globals_=["-copyts", "-y"]
    )


def _clock(plan: OutputPlan, source: Source, ffmpeg: Ffmpeg) -> str:
    """The encoder's time base: the source's own, or one tick a frame where the container knows no other."""
    rate = source.video.frame_rate
    if plan.container.constant and rate is not None:
        return f"{rate.denominator}/{rate.numerator}"
    return ffmpeg.demux_time_base


def _source_input(plan: OutputPlan, source: Source, *, trial: bool) -> list[str]:
    """The source as second input, cut to the span. -ss and -t count from the container's start."""
    start, end = plan.span
    cut: list[str] = []
    if start is not None and start > 0:
        cut += ["-ss", _seconds(Fraction(start))]
    length = None if end is None else Fraction(end) - (start or 0)
    if trial:
        moment = Fraction(1, 10)
        length = moment if length is None else min(length, moment)
    if length is not None:
        cut += ["-t", _seconds(length)]
    return ["-protocol_whitelist", "file,pipe", *cut, "-i", file_url(source.path)]


def _other_streams(plan: OutputPlan, source: Source, scratch: Path) -> list[str]:
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
            arguments += _stream_metadata(str(position), {"title": other.title})
        if stream.kind == "cover":
            arguments += [f"-disposition:{position}", "attached_pic"]
        elif plan.span[0] is not None:
            arguments += _begin_at(plan.zero, stream, position)
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
        return [f"-bsf:{position}", f"noise=amount=0:drop='lt(pts*tb,{_seconds(zero)})'"]
    return []


def _attach(source: Source, cover: StreamPlan, number: int, scratch: Path) -> list[str]:
    """A cover as an attachment: Matroska knows covers by their file name."""
    picture = cover_data(source, cover.index)
    if picture is None:
        return []
    mime, name = _COVER_TYPES[cover.codec]
    file = scratch / f"{number}-{name}"
    file.write_bytes(picture)
    tags = _stream_metadata(f"t:{number}", {"mimetype": mime, "filename": name})
    return ["-attach", str(file), *tags]


def cover_data(source: Source, index: int) -> bytes | None:
    """The picture file inside an attached-picture stream."""
    import av

    with av.open(
        file_url(source.path), options={"protocol_whitelist": "file"}, metadata_errors="replace"
    ) as container:
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


def _stream_metadata(specifier: str, tags: Mapping[str, str | None]) -> list[str]:
    return [
        argument
        for key, value in tags.items()
        if value is not None
        for argument in (f"-metadata:s:{specifier}", f"{key}={value}")
    ]


def _write_chapters(plan: OutputPlan, source: Source, scratch: Path) -> Path | None:
    """Chapters on the new film's clock: ffmpeg itself would leave them where they were."""
    start, end = plan.span
    if not plan.container.chapters or not source.chapter_marks or len(plan.streams) < 1:
        return None
    last = None if end is None else Fraction(end) - (start or 0)
    lines = [";FFMETADATA1"]
    for chapter in source.chapter_marks:
        begin, close = max(chapter.start - plan.zero, Fraction(0)), chapter.end - plan.zero
        if last is not None:
            close = min(close, last)
        if close <= 0 or close <= begin:
            continue
        lines += ["[CHAPTER]", f"TIMEBASE=1/{_NANOSECOND}"]
        lines += [f"START={round(begin * _NANOSECOND)}", f"END={round(close * _NANOSECOND)}"]
        lines += [f"{_escape(key)}={_escape(value)}" for key, value in chapter.metadata.items()]
    if len(lines) == 1:
        return None
    file = scratch / "chapters.txt"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def _escape(text: Any) -> str:
    for mark in ("\\", "=", ";", "#", "\n"):
        text = str(text).replace(mark, f"\\{mark}")
    return text


def _seconds(time: Fraction) -> str:
    """Decimal seconds, to the microsecond that ffmpeg reads."""
    micro = round(time * 1_000_000)
    return f"{'-' if micro < 0 else ''}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"
