"""What each container can hold, and what a stream becomes where it cannot be kept as it is.

The tables are stricter than libavformat where players are: Vorbis in MP4 can be written, but hardly played.

What becomes of every stream that is not the picture: kept, converted, or dropped by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.media import y4m
from vsrcli.media.ffmpeg import Ffmpeg
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
    """A container format as a target.

    Attributes:
        muxer: libavformat's name, given to ``-f``.
        name: for people.
        video: codecs the picture may have (empty: any that the encoder makes).
        sound: codecs that are copied; others become ``sound_codec``.
        subtitles: codecs that are copied; other text subtitles become ``text_codec`` (None: dropped).
        attachments: whether fonts and the like can go along.
        covers: how a cover is kept: ``stream`` (attached picture), ``attachment``, or None.
        chapters: whether it has chapters.
        exact: whether its clock is chosen by us (True), or fixed and maybe coarser than the source's.
        constant: whether it knows a constant frame rate only.
        data: kinds of data tracks that are copied.
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
    data_codecs: frozenset[str] = frozenset()


_TELEMETRY = frozenset(("gpmd",))  # a camera's position and movement
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
)
_NUT = Container("nut", "NUT", frozenset(), _MKV_AUDIO, "flac", frozenset(), None)

# Streams of raw video: they have no clock, so frames follow one another at the rate in the header.
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
"""What can be written to stdout, by ffmpeg's name of it; the first is the default."""


def stdout_container(name: str | None, ffmpeg: Ffmpeg) -> Container:
    """The container of a stream on stdout.

    Args:
        name: what was asked for; None: the default.
        ffmpeg: what writes it.

    Raises:
        UsageError: it cannot be written to stdout.
        OutputError: this ffmpeg cannot write it.
    """
    container = STDOUT_CONTAINERS.get(name or next(iter(STDOUT_CONTAINERS)))
    if container is None:
        raise UsageError(f"--format {name}: what goes to stdout is one of {', '.join(STDOUT_CONTAINERS)}")
    if container.muxer not in ffmpeg.muxers():
        raise OutputError(
            f"stdout: ffmpeg {ffmpeg.version} cannot write {container.name}; use another --format"
        )
    return container


def container_from_suffix(target: Path, ffmpeg: Ffmpeg) -> Container:
    """The container that a file name asks for.

    Raises:
        OutputError: the name has no extension, or one that names no container we write.
    """
    container = _BY_EXTENSION.get(target.suffix.lower())
    known = ", ".join(sorted(_BY_EXTENSION))
    if container is None:
        problem = f"the extension {target.suffix!r}" if target.suffix else "a name without an extension"
        raise OutputError(f"{target}: {problem} names no container; use one of {known}")
    if container.muxer not in ffmpeg.muxers():
        raise OutputError(
            f"{target}: ffmpeg {ffmpeg.version} cannot write {container.name}; use another extension"
        )
    return container


@dataclass(frozen=True)
class StreamPlan:
    """The fate of one stream.

    Attributes:
        index: stream index in the source.
        kind: as in ``OtherStream``, or ``picture`` for the film itself.
        codec: codec in the source (for the picture: the encoder).
        action: ``encode`` (the picture), ``keep``, ``convert`` or ``drop``.
        note: for people: what it becomes, or why it goes.
        encoder: encoder that converts it, None otherwise.
    """

    index: int
    kind: str
    codec: str
    action: str
    note: str = ""
    encoder: str | None = None


def plan_streams(source: Source, container: Container, ffmpeg: Ffmpeg) -> tuple[StreamPlan, ...]:
    """Decide for every stream other than the picture, in the source's order."""
    chapters = container.has_chapters and bool(source.chapters)
    return tuple(
        _plan_stream(stream, container, ffmpeg, chapters=chapters) for stream in source.other_streams
    )


def stream_notice(stream: StreamPlan, other: OtherStream) -> str | None:
    """What people should be told; None if the stream goes along unchanged."""
    if stream.action == "copy" or (stream.kind == "data" and "rewritten" in stream.note):
        return None
    label = " ".join(filter(None, (other.kind, f"#{other.index}", f"({_describe(other)})")))
    if stream.action == "convert":
        return f"{label} is converted: {stream.note}"
    return f"{label} is dropped: {stream.note}"


def _describe(other: OtherStream) -> str:
    return ", ".join(filter(None, (other.codec, other.language, other.title)))


def _plan_stream(stream: OtherStream, container: Container, ffmpeg: Ffmpeg, *, chapters: bool) -> StreamPlan:
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
        return _drop(stream, "a track of the old container; the time code is rewritten")
    if chapters and stream.codec in ("bin_data", "text", "unknown", "mov_text"):
        return _drop(stream, "a data track of the old container; chapters are rewritten")
    return _drop(stream, f"{container.name} cannot hold such a data track")


def _plan_audio(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.audio_codecs:
        return _copy(stream)
    return _convert(stream, container.audio_encoder, container, ffmpeg)


def _plan_subtitle(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.subtitle_codecs:
        return _copy(stream)
    if stream.codec not in TEXT_SUBTITLES:
        return _drop(stream, f"{container.name} cannot hold {stream.codec} subtitles (Matroska can)")
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
        return StreamPlan(stream.index, stream.kind, stream.codec, "copy", "a second picture, not upscaled")
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
    note = f"{stream.codec} to {encoder}, since {container.name} cannot hold it{loss}"
    return StreamPlan(stream.index, stream.kind, stream.codec, "convert", note, encoder)
