"""Notices about a source before the first frame: conversions, losses, assumptions. One line each."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from vsrcli.media.containers import Container
from vsrcli.media.types import INTERLACED, MIXED, Source, VideoStream

# The tags that libavformat writes into MP4 and QuickTime; it drops all others silently.
_MP4_TAGS = frozenset(
    [
        "title",
        "artist",
        "album_artist",
        "composer",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "grouping",
        "lyrics",
        "description",
        "synopsis",
        "show",
        "episode_id",
        "network",
        "keywords",
        "episode_sort",
        "season_number",
        "media_type",
        "hd_video",
        "gapless_playback",
        "compilation",
        "track",
        "disc",
        "location",
        "creation_time",
        "timecode",
    ]
)
_MOV_TAGS = frozenset(
    [
        "title",
        "artist",
        "album",
        "date",
        "comment",
        "genre",
        "copyright",
        "make",
        "model",
        "location",
        "creation_time",
        "timecode",
    ]
)
_CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder", "software")


def uses_quicktime_keys(source: Source, container: Container) -> bool:
    """Return whether tags are written by full keys (``com.apple.quicktime.…``), as Apple's cameras do."""
    return container.muxer == "mov" and any(key.startswith("com.apple.quicktime.") for key in source.metadata)


def source_notices(
    source: Source,
    container: Container,
    span: tuple[Fraction | None, Fraction | None],
    *,
    deinterlace: bool,
    keeps_hdr: bool,
    tick: Fraction | None = None,
) -> Iterator[str]:
    """Yield notices about what happens to the source's video stream, times, chapters and tags.

    Args:
        source: the video.
        container: of the output.
        span: (start, end), seconds from the container's start.
        deinterlace: whether frames are deinterlaced.
        keeps_hdr: whether HDR metadata is written.
        tick: of the output, see :class:`~vsrcli.media.output_plan.OutputPlan`.
    """
    video = source.video
    yield from _frame_notices(video, deinterlace)
    if not keeps_hdr and (video.mastering_display or video.content_light):
        yield "HDR: colours and transfer are preserved, the mastering display data is lost with this encoder"
    for text in video.unsupported_features:
        yield f"{text}: dropped, since no encoder here supports it"
    yield from _clock_notices(video, container, tick)
    if source.chapters and not container.has_chapters:
        yield f"{container.name} has no chapters: {len(source.chapters)} are dropped"
    yield from _tag_notices(source, container)
    if span != (None, None) and source.other_streams:
        yield "audio and subtitles are trimmed to the same span"


def _frame_notices(video: VideoStream, deinterlace: bool) -> Iterator[str]:
    if video.field_order == MIXED:
        treatment = "these are deinterlaced" if deinterlace else "they stay so, and combing will be visible"
        yield f"the video has progressive and interlaced frames: {treatment}"
    elif video.is_interlaced:
        treatment = (
            "it is deinterlaced, one frame per frame"
            if deinterlace
            else "it stays so, and combing will be visible"
        )
        order = "in an unknown order" if video.field_order == INTERLACED else video.field_order
        yield f"the video is interlaced ({order}): {treatment}"
    if video.rotation:
        yield f"the rotation of {video.rotation} degrees is applied to the frames"


def _clock_notices(video: VideoStream, container: Container, tick: Fraction | None) -> Iterator[str]:
    if container.muxer in ("matroska", "webm") and (1000 * video.time_base).denominator != 1:
        yield f"{container.name} has a clock of 1 ms: times are rounded to the nearest millisecond"
    if container.muxer == "mpegts" and (90000 * video.time_base).denominator != 1:
        yield "MPEG-TS has a clock of 1/90000 s: times are rounded to it"
    if container.constant_frame_rate and not container.video_only:  # raw video is refused instead
        rounding = "times are rounded to whole frames"
        if tick and tick * (video.frame_rate or 0) < 1:
            unit = f"{float(tick):.3g} s"
            rounding = f"{float(1 / tick):.6g} fps, with empty frames, and times are rounded to {unit}"
        yield f"{container.name} has a constant frame rate only: {rounding}"


def _tag_notices(source: Source, container: Container) -> Iterator[str]:
    supported = {"mp4": _MP4_TAGS, "mov": _MOV_TAGS}.get(container.muxer)
    if supported is None or uses_quicktime_keys(source, container):
        return
    lost = [tag for tag in source.metadata if tag not in supported and tag not in _CONTAINER_TAGS]
    if lost:
        names = ", ".join(lost[:8]) + (f" and {len(lost) - 8} more" if len(lost) > 8 else "")
        yield f"{container.name} has no place for these tags, which are dropped: {names}"
