"""Container formats, and what becomes of each stream of the source in one: copied, converted or dropped.

The tables are stricter than libavformat where players are: Vorbis in MP4 can be written, but hardly played.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.media import y4m
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.safety import PROBED_BYTES
from vsrcli.media.types import OtherStream, Source

TEXT_SUBTITLES = frozenset(
    ("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text", "microdvd", "sami", "subviewer", "ttml")
)

_MP4_VIDEO = frozenset(("h264", "hevc", "av1", "vp9", "mpeg4", "mpeg2video", "mjpeg", "prores", "dnxhd"))
_PCM = frozenset(
    ("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f64le")
)
_MP4_AUDIO = frozenset(("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac", "dts"))
_MOV_AUDIO = _PCM | {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_u8", "pcm_s8", "pcm_mulaw", "pcm_alaw"}
_MKV_AUDIO = (
    _MP4_AUDIO | _PCM - {"pcm_s16be"} | {"vorbis", "truehd", "mlp", "wavpack", "tta", "pcm_u8", "mp1"}
)
_MKV_SUBTITLES = frozenset(
    ("subrip", "ass", "ssa", "webvtt", "hdmv_pgs_subtitle", "dvd_subtitle", "dvb_subtitle")
)


@dataclass(frozen=True)
class Container:
    """A container format of the output.

    Attributes:
        muxer: libavformat's name, for ``-f``.
        name: for people.
        video_codecs: codecs that it can hold (empty: any).
        audio_codecs: codecs that are copied; others are converted by ``audio_encoder``.
        audio_encoder: None: audio that cannot be copied is dropped.
        subtitle_codecs: codecs that are copied; other text subtitles are converted by ``subtitle_encoder``.
        subtitle_encoder: None: subtitles that cannot be copied are dropped.
        has_attachments: whether it can hold fonts and other attachments.
        cover_storage: how it stores a cover: ``stream`` (attached picture), ``attachment``, or None.
        has_chapters: whether it can hold chapters.
        custom_timescale: whether its timescale can be chosen; if not, it may be coarser than the source's.
        constant_frame_rate: whether it supports constant frame rates only.
        has_start_times: whether a stream can begin later than the others.
        data_codecs: kinds of data tracks that are copied.
        video_only: whether it holds frames and nothing else.
    """

    muxer: str
    name: str
    video_codecs: frozenset[str]
    audio_codecs: frozenset[str]
    audio_encoder: str | None
    subtitle_codecs: frozenset[str]
    subtitle_encoder: str | None
    has_attachments: bool = False
    cover_storage: str | None = None
    has_chapters: bool = True
    custom_timescale: bool = False
    constant_frame_rate: bool = False
    has_start_times: bool = True
    data_codecs: frozenset[str] = frozenset()
    video_only: bool = False


_MIN_LATE_START = Fraction(1, 25)  # seconds; below are delays of audio encoders

_TELEMETRY = frozenset(("gpmd",))  # position and motion of a GoPro camera
_MP4 = Container(
    "mp4",
    "MP4",
    _MP4_VIDEO - {"mjpeg", "prores", "dnxhd"},
    _MP4_AUDIO,
    "aac",
    frozenset(("mov_text",)),
    "mov_text",
    cover_storage="stream",
    custom_timescale=True,
    data_codecs=_TELEMETRY,
)
_MOV = Container(
    "mov",
    "QuickTime",
    frozenset(),
    _MOV_AUDIO,
    "aac",
    frozenset(("mov_text",)),
    "mov_text",
    custom_timescale=True,
    data_codecs=_TELEMETRY,
)
_MKV = Container(
    "matroska",
    "Matroska",
    frozenset(),
    _MKV_AUDIO,
    "flac",
    _MKV_SUBTITLES,
    "srt",
    has_attachments=True,
    cover_storage="attachment",
)
_WEBM = Container(
    "webm",
    "WebM",
    frozenset(("vp8", "vp9", "av1")),
    frozenset(("opus", "vorbis")),
    "libopus",
    frozenset(("webvtt",)),
    "webvtt",
)
_TS = Container(
    "mpegts",
    "MPEG-TS",
    frozenset(("h264", "hevc", "mpeg2video", "mpeg4")),
    frozenset(("aac", "mp3", "mp2", "ac3", "eac3", "opus", "dts", "truehd")),
    "aac",
    frozenset(("dvb_subtitle", "dvb_teletext")),
    None,
    has_chapters=False,
    data_codecs=frozenset(("klv", "timed_id3", "scte_35")),
)
_AVI = Container(
    "avi",
    "AVI",
    frozenset(("h264", "mpeg4", "mjpeg", "ffv1", "huffyuv", "ffvhuff", "utvideo", "mpeg2video", "rawvideo")),
    frozenset(("mp3", "ac3", "pcm_s16le", "pcm_u8", "mp2")),
    "libmp3lame",
    frozenset(),
    None,
    has_chapters=False,
    constant_frame_rate=True,
    has_start_times=False,
)
_NUT = Container("nut", "NUT", frozenset(), _MKV_AUDIO, "flac", frozenset(), None)

# Raw video without timestamps: frames follow at the rate in the header.
_Y4M = Container(
    y4m.CONTAINER,
    "YUV4MPEG2",
    frozenset(("rawvideo",)),
    frozenset(),
    None,
    frozenset(),
    None,
    has_chapters=False,
    constant_frame_rate=True,
    video_only=True,
)

_BY_EXTENSION = {
    ".mp4": _MP4,
    ".m4v": _MP4,
    ".mov": _MOV,
    ".qt": _MOV,
    ".mkv": _MKV,
    ".webm": _WEBM,
    ".ts": _TS,
    ".m2ts": _TS,
    ".mts": _TS,
    ".avi": _AVI,
    ".nut": _NUT,
}


STDOUT_CONTAINERS = {container.muxer: container for container in (_Y4M, _NUT, _MKV)}
"""Containers that can be written to stdout, by muxer; the first is the default."""


def is_video_extension(suffix: str) -> bool:
    """Return whether an extension, such as ``.mkv``, names a container that can be written."""
    return suffix.lower() in _BY_EXTENSION


def choose_container(target: Path, format_name: str | None, ffmpeg: Ffmpeg) -> Container:
    """Return the container of a target: by its extension; on stdout by ``--format``.

    Args:
        target: path of the output, or ``-``.
        format_name: muxer that was requested for stdout; None: the default.
        ffmpeg: the executable.

    Raises:
        UsageError: ``format_name`` is not one of ``STDOUT_CONTAINERS``, or the target is a file.
        OutputError: the name has no extension, or an unknown one, or this ffmpeg lacks the muxer.
    """
    if target == y4m.STDIO:
        container, display_name, remedy = _stdout_container(format_name), "stdout", "another --format"
    else:
        if format_name is not None:
            raise UsageError(f"--format is for stdout (-); the extension of {target} chooses its container")
        container, display_name, remedy = _container_by_suffix(target), str(target), "another extension"
    if container.muxer not in ffmpeg.muxers():
        raise OutputError(
            f"{display_name}: ffmpeg {ffmpeg.version} cannot write {container.name}; use {remedy}"
        )
    return container


def _stdout_container(name: str | None) -> Container:
    container = STDOUT_CONTAINERS.get(name or next(iter(STDOUT_CONTAINERS)))
    if container is None:
        raise UsageError(f"--format {name}: formats for stdout are {', '.join(STDOUT_CONTAINERS)}")
    return container


def _container_by_suffix(target: Path) -> Container:
    container = _BY_EXTENSION.get(target.suffix.lower())
    if container is None:
        problem = f"the extension {target.suffix!r}" if target.suffix else "a name without an extension"
        known = ", ".join(sorted(_BY_EXTENSION))
        raise OutputError(f"{target}: {problem} names no container; use one of {known}")
    return container


@dataclass(frozen=True)
class StreamPlan:
    """What becomes of one stream of the source.

    Attributes:
        index: stream index in the source.
        kind: as in ``OtherStream``; ``video`` for the upscaled stream.
        codec: codec in the source (for the upscaled stream: the encoder).
        action: ``encode`` (the upscaled stream), ``copy``, ``convert`` or ``drop``.
        note: for people: the result, or the reason.
        encoder: encoder that converts it; None otherwise.
    """

    index: int
    kind: str
    codec: str
    action: str
    note: str = ""
    encoder: str | None = None


@dataclass(frozen=True)
class OtherStreams:
    """What becomes of every stream other than the upscaled one, in the source's order; and notices."""

    streams: tuple[StreamPlan, ...]
    notices: tuple[str, ...]


def choose_streams(
    source: Source, container: Container, ffmpeg: Ffmpeg, *, time_origin: Fraction = Fraction(0)
) -> OtherStreams:
    """Decide for every stream other than the upscaled one: copy, convert or drop.

    Args:
        source: of the streams.
        container: of the output.
        ffmpeg: its encoders and decoders.
        time_origin: source time that becomes 0 in the output.
    """
    chapters = container.has_chapters and bool(source.chapters)
    plans = tuple(
        _plan_stream(stream, container, ffmpeg, chapters=chapters) for stream in source.other_streams
    )
    if not container.has_start_times:
        plans = tuple(
            _keep_start(plan, stream, container, ffmpeg, time_origin)
            for plan, stream in zip(plans, source.other_streams, strict=True)
        )
    notices = map(_stream_notice, plans, source.other_streams)
    return OtherStreams(plans, tuple(text for text in notices if text))


def _keep_start(
    plan: StreamPlan, stream: OtherStream, container: Container, ffmpeg: Ffmpeg, time_origin: Fraction
) -> StreamPlan:
    """Return a plan that converts audio that begins late, so that silence can fill the time before it."""
    late = (stream.start or Fraction(0)) - time_origin
    if plan.action != "copy" or stream.kind != "audio" or stream.start is None or late < _MIN_LATE_START:
        return plan
    encoder = stream.codec if stream.codec in ffmpeg.encoders() else container.audio_encoder
    if encoder not in ffmpeg.encoders() or stream.codec not in ffmpeg.decodable_codecs():
        return replace(plan, note=f"{container.name} stores no start: begins {float(late):.3g} s early")
    note = f"it begins at {float(late):.3g} s, which {container.name} cannot store: silence is put before it"
    return replace(plan, action="convert", note=note, encoder=encoder)


def _stream_notice(stream: StreamPlan, other: OtherStream) -> str | None:
    """Return a notice for people; None if the stream is copied unchanged."""
    if stream.action == "copy" or (stream.kind == "data" and "rewritten" in stream.note):
        return None
    label = " ".join(filter(None, (other.kind, f"#{other.index}", f"({_describe(other)})")))
    if stream.action == "convert":
        return f"{label} is converted: {stream.note}"
    return f"{label} is dropped: {stream.note}"


def _describe(other: OtherStream) -> str:
    return ", ".join(filter(None, (other.codec, other.language, other.title)))


_LATE = (
    f"it begins behind the first {PROBED_BYTES // 10**6} MB of the file, or is of an unknown codec; a copy "
    "in MKV keeps what begins late: `ffmpeg -probesize 2G -analyzeduration 2G -fflags +genpts -i IN -map 0 "
    "-dn -c copy OUT.mkv`"
)
_PARAMETERS = {"audio": "sample rate or channels are", "video": "frame size is", "cover": "image size is"}


def _plan_stream(stream: OtherStream, container: Container, ffmpeg: Ffmpeg, *, chapters: bool) -> StreamPlan:
    if container.video_only:
        return _drop(stream, f"{container.name} has video only; --format matroska keeps it")
    if stream.is_late:
        return _drop(stream, _LATE)
    if not stream.is_readable:
        return _drop(stream, f"no {_PARAMETERS[stream.kind]} known: it is empty, or of an unknown codec")
    decide = {
        "audio": _plan_audio,
        "subtitle": _plan_subtitle,
        "attachment": _plan_attachment,
        "cover": _plan_cover,
        "video": _plan_video,
    }.get(stream.kind)
    if decide is not None:
        return decide(stream, container, ffmpeg)
    if stream.codec in container.data_codecs:
        return _copy(stream)
    if stream.codec == "tmcd":
        return _drop(stream, "a track of the source's container; the time code is rewritten")
    if chapters and stream.codec in ("bin_data", "text", "unknown", "mov_text"):
        return _drop(stream, "a data track of the source's container; chapters are rewritten")
    return _drop(stream, f"{container.name} cannot hold such a data track")


def _plan_audio(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.audio_codecs:
        return _copy(stream)
    return _convert(stream, container.audio_encoder, container, ffmpeg)


def _plan_subtitle(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.subtitle_codecs:
        return _copy(stream)
    if stream.codec not in TEXT_SUBTITLES:
        remedy = " (Matroska can)" if stream.codec in _MKV_SUBTITLES else ""
        return _drop(stream, f"{container.name} cannot hold {stream.codec} subtitles{remedy}")
    loss = "; its styling is lost" if stream.codec in ("ass", "ssa") else ""
    return _convert(stream, container.subtitle_encoder, container, ffmpeg, loss)


def _plan_attachment(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if container.has_attachments:
        return _copy(stream)
    return _drop(stream, f"{container.name} has no attachments (Matroska has)")


def _plan_cover(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if container.cover_storage is not None and stream.codec in ("mjpeg", "png"):
        return _copy(stream)
    return _drop(stream, f"{container.name} cannot hold this cover (MP4 and Matroska can)")


def _plan_video(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if not container.video_codecs or stream.codec in container.video_codecs:
        return StreamPlan(stream.index, stream.kind, stream.codec, "copy", "a second video, not upscaled")
    return _drop(stream, f"{container.name} cannot hold {stream.codec}")


def _copy(stream: OtherStream) -> StreamPlan:
    return StreamPlan(stream.index, stream.kind, stream.codec, "copy", stream.summary)


def _drop(stream: OtherStream, reason: str) -> StreamPlan:
    return StreamPlan(stream.index, stream.kind, stream.codec, "drop", reason)


def _convert(
    stream: OtherStream, encoder: str | None, container: Container, ffmpeg: Ffmpeg, loss: str = ""
) -> StreamPlan:
    if encoder is None or encoder not in ffmpeg.encoders():
        problem = (
            "cannot hold" if encoder is None else f"needs the encoder {encoder}, missing here, instead of"
        )
        return _drop(stream, f"{container.name} {problem} {stream.codec}")
    if stream.codec not in ffmpeg.decodable_codecs():
        return _drop(stream, f"this ffmpeg cannot decode {stream.codec} to convert it for {container.name}")
    note = f"{stream.codec} to {encoder}, since {container.name} cannot hold it{loss}"
    return StreamPlan(stream.index, stream.kind, stream.codec, "convert", note, encoder)
