"""What becomes of every stream that is not the picture: kept, converted, or dropped by name."""

from __future__ import annotations

from dataclasses import dataclass

from vsrcli.media.containers import TEXT_SUBTITLES, Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import OtherStream, Source


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
    chapters = container.chapters and bool(source.chapter_marks)
    return tuple(_plan_stream(stream, container, ffmpeg, chapters=chapters) for stream in source.others)


def stream_notice(stream: StreamPlan, other: OtherStream) -> str | None:
    """What people should be told; None if the stream goes along unchanged."""
    if stream.action == "keep" or (stream.kind == "data" and "rewritten" in stream.note):
        return None
    label = " ".join(filter(None, (other.kind, f"#{other.index}", f"({_called(other)})")))
    if stream.action == "convert":
        return f"{label} is converted: {stream.note}"
    return f"{label} is dropped: {stream.note}"


def _called(other: OtherStream) -> str:
    return ", ".join(filter(None, (other.codec, other.language, other.title)))


def _plan_stream(stream: OtherStream, container: Container, ffmpeg: Ffmpeg, *, chapters: bool) -> StreamPlan:
    decide = {
        "audio": _sound,
        "subtitle": _subtitle,
        "attachment": _attachment,
        "cover": _cover,
        "video": _film,
    }.get(stream.kind)
    if decide is not None:
        return decide(stream, container, ffmpeg)
    if stream.codec in container.data:
        return _keep(stream)
    if stream.codec == "tmcd":
        return _drop(stream, "a track of the old container; the time code is rewritten")
    if chapters and stream.codec in ("bin_data", "text", "unknown", "mov_text"):
        return _drop(stream, "a data track of the old container; chapters are rewritten")
    return _drop(stream, f"{container.name} cannot hold such a data track")


def _sound(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.audio_codecs:
        return _keep(stream)
    return _convert(stream, container.sound_codec, container, ffmpeg)


def _subtitle(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if stream.codec in container.subtitles:
        return _keep(stream)
    if stream.codec not in TEXT_SUBTITLES:
        return _drop(stream, f"{container.name} cannot hold {stream.codec} subtitles (Matroska can)")
    loss = "; its styling is lost" if stream.codec in ("ass", "ssa") else ""
    return _convert(stream, container.text_codec, container, ffmpeg, loss)


def _attachment(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if container.attachments:
        return _keep(stream)
    return _drop(stream, f"{container.name} has no attachments (Matroska has)")


def _cover(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if container.covers is not None and stream.codec in ("mjpeg", "png"):
        return _keep(stream)
    return _drop(stream, f"{container.name} cannot hold this cover (MP4 and Matroska can)")


def _film(stream: OtherStream, container: Container, ffmpeg: Ffmpeg) -> StreamPlan:
    if not container.video or stream.codec in container.video:
        return StreamPlan(stream.index, stream.kind, stream.codec, "keep", "a second picture, not upscaled")
    return _drop(stream, f"{container.name} cannot hold {stream.codec}")


def _keep(stream: OtherStream) -> StreamPlan:
    return StreamPlan(stream.index, stream.kind, stream.codec, "keep", stream.summary)


def _drop(stream: OtherStream, why: str) -> StreamPlan:
    return StreamPlan(stream.index, stream.kind, stream.codec, "drop", why)


def _convert(
    stream: OtherStream, encoder: str | None, container: Container, ffmpeg: Ffmpeg, loss: str = ""
) -> StreamPlan:
    if encoder is None or encoder not in ffmpeg.encoders():
        able = "cannot hold" if encoder is None else f"needs the encoder {encoder}, missing here, instead of"
        return _drop(stream, f"{container.name} {able} {stream.codec}")
    note = f"{stream.codec} to {encoder}, since {container.name} cannot hold it{loss}"
    return StreamPlan(stream.index, stream.kind, stream.codec, "convert", note, encoder)
