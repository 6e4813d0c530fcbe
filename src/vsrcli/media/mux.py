"""ffmpeg's command line that muxes the upscaled video with the other streams of the source.

The video comes through stdin, as raw frames to encode or encoded already; the source is the second input.
Parts of the command: stream maps, trimming to a span, covers, chapters, and tags.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vsrcli.errors import EncodeError
from vsrcli.media.color import hdr_input_options, supports_hdr_input_options
from vsrcli.media.containers import TEXT_SUBTITLES, StreamPlan
from vsrcli.media.encoder_options import is_repeatable
from vsrcli.media.ffmpeg import Ffmpeg, build_command, file_url
from vsrcli.media.notices import uses_quicktime_keys
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.safety import demux, open_media, safe_input_options
from vsrcli.media.timecode import timecode_at
from vsrcli.media.types import Source

# libopus supports the channel layouts of Vorbis only, which 5.1(side) from a DVD is not.
_OPUS_LAYOUTS = "aformat=channel_layouts=7.1|6.1|5.1|5.0|quad|3.0|stereo|mono"
_COVER_TYPES = {"mjpeg": ("image/jpeg", "cover.jpg"), "png": ("image/png", "cover.png")}
_PACKET_TIME = "pts*tb+0.000001"  # seconds; the other side of a comparison is rounded to microseconds
_NANOSECOND = 10**9  # time base of chapters
# They describe the source file, not its content; the time code is written as a tag of the video.
_SOURCE_FILE_TAGS: tuple[str, ...] = ("major_brand", "minor_version", "compatible_brands", "timecode")


@dataclass(frozen=True)
class EncodedInput:
    """A video stream in stdin that is encoded already and only copied.

    Attributes:
        container: format of the pipe.
        offset_seconds: whole seconds to add to its times.
        offset_ticks: to add as well, in units of the pipe's time base; ffmpeg rounds seconds to microseconds.
        end_ticks: where the last frame ends, on the source's clock, in the same units.
    """

    container: str
    offset_seconds: int
    offset_ticks: int
    end_ticks: int


def mux_command(
    plan: OutputPlan,
    source: Source,
    output_file: Path,
    scratch: Path,
    *,
    encoded_input: EncodedInput | None = None,
    trial: bool = False,
    ffmpeg: Ffmpeg,
) -> list[str]:
    """Return the command that reads the video from stdin and the other streams from the source.

    Args:
        plan: what to write.
        source: of audio, subtitles and the other streams.
        output_file: without effect if the plan says stdout.
        scratch: a folder for helper files (chapters, covers), which must exist while ffmpeg runs.
        encoded_input: what stdin holds if it is not raw frames in NUT.
        trial: read only the first tenth of a second of the other streams.
        ffmpeg: the executable.

    Raises:
        EncodeError: the video is encoded already, with transparency that no pipe can carry.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    if encoded_input and plan.alpha and plan.codec.startswith("libvpx"):
        # MOV and NUT would drop it silently.
        raise EncodeError(
            f"{plan.target}: segments cannot hold the transparency of {plan.codec}; give --segment none"
        )
    offset = encoded_input.offset_seconds if encoded_input else -source.pts_offset
    input_options = encoded_video_options(source, ffmpeg) | ({"itsoffset": offset} if offset else {})
    pipe_format = encoded_input.container if encoded_input else "nut"
    video_input = builder.input("pipe:0", f=pipe_format, protocol_whitelist="pipe", **input_options)
    chapters = _write_chapters(plan, source, scratch)
    extra_inputs = [*_source_input(plan, source, scratch, trial=trial)]
    if chapters is not None:
        extra_inputs += ["-f", "ffmetadata", "-i", file_url(chapters)]
    options: dict[str, str | None] = {
        **_coding_options(plan, source, encoded_input, ffmpeg),
        "disposition:v:0": "default",
        "f": plan.container.muxer,
        "map_metadata": "1",
        "map_chapters": "2" if chapters is not None else "-1",
        # Slow networks: minutes of audio may be read before the first encoded frame opens the file.
        "max_muxing_queue_size": "8192",
        **_stop_reading(plan, source, trial=trial),
    }
    if plan.time_origin:
        options["output_ts_offset"] = format_seconds(-plan.time_origin)
    if plan.timescale is not None:
        options["video_track_timescale"] = str(plan.timescale)
    options.update(
        (key, value)
        for key, value in plan.video_options
        if not is_repeatable(key) and not (encoded_input and key == "filter:v:0")
    )
    repeated_options = stream_metadata("v:0", _video_tags(plan, source))
    repeated_options += _global_tags(plan, source)
    repeated_options += map_other_streams(plan, source, scratch)
    for key, value in plan.video_options:
        if is_repeatable(key):
            repeated_options += [f"-{key.removeprefix('-')}", value]
    url = "pipe:1" if plan.to_stdout else file_url(output_file)
    return build_command(
        ffmpeg,
        video_input["v:0"],
        url,
        options,
        extra_inputs=extra_inputs,
        repeated_options=repeated_options,
        global_options=["-copyts", "-y"],
    )


def encoded_video_options(source: Source, ffmpeg: Ffmpeg) -> dict[str, Any]:
    """Return input options for what the pipe cannot carry: HDR metadata, where ffmpeg has options for it."""
    return dict(hdr_input_options(source.video)) if supports_hdr_input_options(ffmpeg) else {}


def _coding_options(
    plan: OutputPlan, source: Source, encoded_input: EncodedInput | None, ffmpeg: Ffmpeg
) -> dict[str, str | None]:
    """Return options that copy or encode the video with exact times.

    The filter ``setts`` shifts copied times, and sets the last frame's duration, which pipes do not carry:
    MOV has the distances of decoding times instead, of which that of a gap would outlast the video.
    """
    constant_frame_rate, rate = plan.container.constant_frame_rate, source.video.frame_rate
    pts = f"PTS+({encoded_input.offset_ticks})" if encoded_input else "PTS"
    duration = f"min(DURATION,{encoded_input.end_ticks}-({pts}))" if encoded_input else "DURATION"
    duration_option = f":duration='{duration}'" if encoded_input else ""
    if plan.last_frame_duration is not None and not constant_frame_rate:
        start, last_duration = plan.last_frame_duration
        time = f"({pts})*TB" if encoded_input else f"{pts}*TB"
        is_last = f"gte({time},{float(start - source.video.time_base / 2):.9f})"
        duration_option = f":duration='if({is_last},{float(last_duration):.9f}/TB,{duration})'"
    setts = f"setts=pts={pts}:dts={pts.replace('PTS', 'DTS')}{duration_option}"
    if encoded_input:
        return {"c:v:0": "copy", "bsf:v:0": setts}
    time_base = ffmpeg.demux_time_base
    if constant_frame_rate and rate is not None:
        tick = plan.tick or 1 / rate
        time_base = f"{tick.numerator}/{tick.denominator}"
    options = {"c:v:0": plan.codec, "fps_mode:v:0": "passthrough", "enc_time_base:v:0": time_base}
    return {**options, "bsf:v:0": setts} if duration_option else {**options}


def _global_tags(plan: OutputPlan, source: Source) -> list[str]:
    """Return ``-metadata``: the creation time and tags of Ogg, which ffmpeg does not copy, and no tags of the
    file itself.
    """
    tags: dict[str, str] = dict.fromkeys(_SOURCE_FILE_TAGS, "")
    if source.container == "ogg":
        tags |= source.metadata
    if "creation_time" in source.metadata:
        tags["creation_time"] = source.metadata["creation_time"]
    arguments = [argument for key, value in tags.items() for argument in ("-metadata", f"{key}={value}")]
    if uses_quicktime_keys(source, plan.container):
        arguments += ["-movflags", "+use_metadata_tags"]
    return arguments


def _video_tags(plan: OutputPlan, source: Source) -> dict[str, str | None]:
    video = source.video
    timecode = timecode_at(video.timecode, video.frame_rate, plan.time_origin - video.start)
    return {"language": video.language, "title": video.title, "timecode": timecode}


def map_other_streams(plan: OutputPlan, source: Source, scratch: Path) -> list[str]:
    """Return ``-map`` and codec options of every copied or converted stream, in the order of the output."""
    arguments: list[str] = []
    covers: list[StreamPlan] = []
    position = 0
    for stream in plan.streams:
        if stream.action not in ("copy", "convert"):
            continue
        if stream.kind == "cover" and plan.container.cover_storage == "attachment":
            covers.append(stream)
            continue
        position += 1
        arguments += ["-map", f"1:{stream.index}", f"-c:{position}", stream.encoder or "copy"]
        other = next(each for each in source.other_streams if each.index == stream.index)
        if stream.kind in ("audio", "subtitle", "video"):
            # MP4 stores the title as a name, which Matroska would not recognise.
            arguments += stream_metadata(str(position), {"title": other.title})
        if stream.kind == "cover":
            arguments += [f"-disposition:{position}", "attached_pic"]
        elif stream.action == "convert" or plan.span[0] is not None:
            arguments += _drop_packets_outside(plan, source, stream, position)
        if stream.encoder in ("aac", "libopus", "libmp3lame"):
            arguments += [f"-b:{position}", _bit_rate(source, stream)]
        filters = [_OPUS_LAYOUTS] if stream.encoder == "libopus" else []
        if stream.kind == "audio" and stream.action == "convert" and not plan.container.has_start_times:
            filters.append(_silence_before(plan.time_origin))
        if filters:
            arguments += [f"-filter:{position}", ",".join(filters)]
    attachments = sum(stream.kind == "attachment" and stream.action == "copy" for stream in plan.streams)
    for number, cover in enumerate(covers, attachments):
        arguments += _attach_cover(source, cover, number, scratch)
    return arguments


def _silence_before(time_origin: Fraction) -> str:
    """Return audio filters that begin a stream at the time origin, with silence if it begins later."""
    origin = f"({format_seconds(time_origin)})/TB"
    return f"asetpts=PTS-{origin},aresample=async=1:first_pts=0,asetpts=PTS+{origin}"


def _drop_packets_outside(plan: OutputPlan, source: Source, stream: StreamPlan, position: int) -> list[str]:
    """Return options that drop a stream's packets outside the span, as far as -ss and -t of the input do not.

    -ss starts at the key frame before the span, and a packet with a negative time would make Matroska shift
    all streams. -t does not end subtitles that are converted. (-copypriorss 0 compares with -ss alone,
    although clocks rarely begin at 0.)
    """
    is_converted_subtitle = stream.action == "convert" and stream.kind == "subtitle"
    if stream.kind == "attachment" or not (stream.action == "copy" or is_converted_subtitle):
        return []
    (start, _), end = plan.span, _end_on_clock(plan, source)
    origin = format_seconds(plan.time_origin)
    # setts gives a packet when the next one comes, which is too late where packets stand in the order of time
    is_clamped = stream.codec in TEXT_SUBTITLES and plan.container.muxer in ("mp4", "mov")
    outside = [] if start is None else [f"lt({_PACKET_TIME},{origin})"]
    if start is not None and is_clamped:  # what is on the screen at the start stays
        outside[0] += f"*lt((pts+duration)*tb-0.000001,{origin})"
    if end is not None and is_converted_subtitle:
        outside.append(f"gte({_PACKET_TIME},{format_seconds(end)})")
    if start is not None and stream.kind == "video":  # begins with its first key frame in the span
        outside.append(f"not(st(0,ld(0)+key*not({outside[0]})))")
    if not outside:
        return []
    clamp = f",{_clamp_to_span(start, plan.time_origin, end)}" if is_clamped else ""
    return [f"-bsf:{position}", f"noise=amount=0:drop='{'+'.join(outside)}'{clamp}"]


def _clamp_to_span(start: Fraction | None, time_origin: Fraction, end: Fraction | None) -> str:
    """Return the bitstream filter that moves begin and end of a text into the span."""
    begin = "PTS" if start is None else f"max(PTS,ceil({format_seconds(time_origin)}/TB-0.01))"
    close = "PTS+DURATION" if end is None else f"min(PTS+DURATION,floor({format_seconds(end)}/TB+0.01))"
    return f"setts=pts='{begin}':dts='{begin}':duration='max({close}-{begin},0)'"


def _end_on_clock(plan: OutputPlan, source: Source) -> Fraction | None:
    """Return where the span ends on the source's clock; None: with the source."""
    return None if plan.span[1] is None else source.start + plan.span[1]


def _stop_reading(plan: OutputPlan, source: Source, *, trial: bool) -> dict[str, str]:
    """Return ``-to`` for converted subtitles, for which ffmpeg would read the source to its end.

    It ends the video, too, so that it lies behind the three frames of a trial.
    """
    end = _end_on_clock(plan, source)
    if trial:
        video = source.video
        end = plan.time_origin + 4 * max(1 / (video.frame_rate or Fraction(1)), video.time_base)
    is_needed = any(each.action == "convert" and each.kind == "subtitle" for each in plan.streams)
    if not is_needed or end is None or plan.time_origin < 0:  # -to is never negative, and 0 is no end
        return {}
    return {"to": format_seconds(end)}


def _attach_cover(source: Source, cover: StreamPlan, number: int, scratch: Path) -> list[str]:
    """Return options that attach a cover; Matroska recognises covers by their file name."""
    data = cover_data(source, cover.index)
    if data is None:
        return []
    mime, name = _COVER_TYPES[cover.codec]
    file = scratch / f"{number}-{name}"
    file.write_bytes(data)
    tags = stream_metadata(f"t:{number}", {"mimetype": mime, "filename": name})
    return ["-attach", str(file), *tags]


def cover_data(source: Source, index: int) -> bytes | None:
    """Return the image file in an attached-picture stream; None if it is empty."""
    with open_media(source.path, format_name=source.container) as container:
        for packet in demux(container, container.streams[index]):
            if packet.size:
                return bytes(packet)
    return None


def _bit_rate(source: Source, stream: StreamPlan) -> str:
    """Return about 96 kbit/s for each channel of the source's layout, 80 for surround sound."""
    summary = next(other.summary for other in source.other_streams if other.index == stream.index)
    default = 6 if summary.startswith(("5.", "6.", "7.")) else 2
    channels = {"mono": 1, "stereo": 2, "2.1": 3, "quad": 4}.get(summary.split(",")[0], default)
    return f"{96 * channels if channels <= 2 else 80 * channels}k"


def _source_input(plan: OutputPlan, source: Source, scratch: Path, *, trial: bool) -> list[str]:
    """Return the source as second input, trimmed to the span. -ss and -t count from the container's start."""
    if source.images is not None:  # no other streams: an empty metadata file instead
        empty_metadata = scratch / "empty.txt"
        empty_metadata.write_text(";FFMETADATA1\n", encoding="utf-8")
        return ["-f", "ffmetadata", "-i", file_url(empty_metadata)]
    start, end = plan.span
    trim_options: list[str] = []
    if source.is_live:
        start = end = None  # its file holds the first frame only, and no other streams
    if start is not None and start > 0:
        trim_options += ["-ss", format_seconds(Fraction(start))]
    length = None if end is None else Fraction(end) - (start or 0)
    if trial:
        trial_length = Fraction(1, 10)
        length = trial_length if length is None else min(length, trial_length)
    if length is not None:
        trim_options += ["-t", format_seconds(length)]
    safety_options = [
        argument
        for key, value in safe_input_options(source.container).items()
        for argument in (f"-{key}", value)
    ]
    return [*safety_options, *trim_options, "-i", file_url(source.path)]


def _write_chapters(plan: OutputPlan, source: Source, scratch: Path) -> Path | None:
    """Write chapters with the output's times, which ffmpeg would not adjust; None if there are none."""
    start, end = plan.span
    if not plan.container.has_chapters or not plan.streams:
        return None
    lines = [";FFMETADATA1"]
    for chapter in source.chapters:
        begin, close = max(chapter.start - plan.time_origin, Fraction(0)), chapter.end - plan.time_origin
        if end is not None:
            close = min(close, Fraction(end) - (start or 0))
        if close <= begin:
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


def stream_metadata(specifier: str, tags: Mapping[str, str | None]) -> list[str]:
    """Return ``-metadata`` options for every tag that is not None."""
    return [
        argument
        for key, value in tags.items()
        if value is not None
        for argument in (f"-metadata:s:{specifier}", f"{key}={value}")
    ]


def format_seconds(time: Fraction) -> str:
    """Return decimal seconds, rounded to microseconds as ffmpeg does."""
    micro = round(time * 1_000_000)
    return f"{'-' if micro < 0 else ''}{abs(micro) // 1_000_000}.{abs(micro) % 1_000_000:06d}"
