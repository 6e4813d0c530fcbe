"""Plan a comparison: the videos, their common size and time range, before any frame is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from vsrcli.errors import InputError, UsageError
from vsrcli.media.color import resolve_color
from vsrcli.media.probe import probe
from vsrcli.media.timing import first_frame_from, last_frame
from vsrcli.media.types import Source
from vsrcli.system.text import replace_undecodable

KERNELS = ("bicubic", "nearest", "lanczos3")
_ASPECT_TOLERANCE = 0.02  # relative: sides are rounded to whole and even pixels
_TIME_TOLERANCE = Fraction(1, 200)  # seconds; containers round times by less
_FRAME_FRACTION = Fraction(1, 4)  # of a frame's duration, the largest tolerance


@dataclass(frozen=True)
class ComparedVideo:
    """One of the compared videos.

    Attributes:
        source: the video, as probed.
        label: its name in the comparison.
        origin: its own time, in seconds, that is time 0 of the comparison: the first frame, or where the
            other videos start in it.
        end: time at which its last frame ends, from ``origin``; None if unknown.
        scaling: how its frames are resampled to the common size (``bicubic x4``); empty if they are not.
    """

    source: Source
    label: str
    origin: Fraction
    end: Fraction | None
    scaling: str = ""

    @property
    def title(self) -> str:
        """The label, with the scaling if there is any."""
        return f"{self.label} · {self.scaling}" if self.scaling else self.label

    @property
    def tolerance(self) -> Fraction:
        """Seconds by which a frame may be later than a requested time."""
        rate = self.source.video.frame_rate
        return _TIME_TOLERANCE if not rate else min(_TIME_TOLERANCE, _FRAME_FRACTION / rate)


@dataclass(frozen=True)
class Comparison:
    """A planned comparison of two or more videos.

    Attributes:
        videos: at least two; the first gives times and audio.
        reference: the video that the others are measured against, or None.
        width, height: common size in pixels: the reference's, else the largest video's.
        sample_aspect_ratio: of a pixel at that size (1 = square).
        start, end: compared time range in seconds, half open; ``end`` None: to the end of the shortest
            video, whose length is unknown.
        kernel: one of ``KERNELS``, for videos of another size.
        notices: messages for people.
    """

    videos: tuple[ComparedVideo, ...]
    reference: ComparedVideo | None
    width: int
    height: int
    sample_aspect_ratio: Fraction
    start: Fraction
    end: Fraction | None
    kernel: str
    notices: tuple[str, ...]

    @property
    def all_videos(self) -> tuple[ComparedVideo, ...]:
        """The videos, followed by the reference if there is one."""
        return self.videos if self.reference is None else (*self.videos, self.reference)

    @property
    def expected_frames(self) -> int | None:
        """Number of frames to compare; None if the length or the frame rate is unknown."""
        rate = self.videos[0].source.video.frame_rate
        return None if self.end is None or rate is None else max(round((self.end - self.start) * rate), 1)

    @property
    def is_full_length(self) -> bool:
        """Whether the first video is compared to its last frame, as far as its length is known."""
        last = self.videos[0].end
        return self.end is None or (last is not None and self.end >= last)


def plan_comparison(
    paths: Sequence[Path],
    reference: Path | None = None,
    *,
    labels: Sequence[str] = (),
    kernel: str = "bicubic",
    start: Fraction = Fraction(0),
    seconds: Fraction | None = None,
    offset: Fraction = Fraction(0),
) -> Comparison:
    """Probe the videos and plan their comparison.

    Args:
        paths: two videos or more.
        reference: the video to measure the others against.
        labels: one for each video; by default their file names.
        kernel: one of ``KERNELS``.
        start, seconds: start and duration of the comparison; times count from the first frames.
        offset: time in the first video at which the other videos start, as in ``vsr preview --at``: with its
            first frame at that time from the file's start or later. The reference starts with the same frame.

    Raises:
        InputError: a video cannot be read, has another aspect ratio, or has no frame in the time range.
        UsageError: another number of labels.
    """
    if labels and len(labels) != len(paths):
        raise UsageError(
            f"--labels names {len(labels)} of {len(paths)} videos: give one for each, separated by commas"
        )
    sources = [probe(path) for path in paths]
    origin = _start_of_preview(sources[0], offset) if offset else sources[0].video.start
    skipped = origin - sources[0].video.start
    videos = [
        _place_video(source, label, Fraction(0) if index else skipped, offset)
        for index, (source, label) in enumerate(zip(sources, labels or _unique_names(paths), strict=True))
    ]
    truth = None if reference is None else _place_video(probe(reference), reference.name, skipped, offset)
    largest = max(videos, key=lambda video: video.source.video.width * video.source.video.height)
    target = (truth or largest).source.video
    all_videos = [*videos, *([truth] if truth else [])]
    _check_aspect_ratios(all_videos, truth or largest)
    size = target.width, target.height
    end, shortened = _common_end(all_videos)
    if end is not None and start >= end:
        raise InputError(
            f"nothing to compare from {float(start):g} s on: what the videos share ends at {float(end):.6g} s"
        )
    if seconds is not None and (end is None or start + seconds <= end):
        end, shortened = start + seconds, ()
    scaled = [replace(video, scaling=_describe_scaling(video.source, size, kernel)) for video in all_videos]
    scaling_notices = [
        f"{video.label} is {video.source.video.width}x{video.source.video.height} and is shown "
        f"as {size[0]}x{size[1]} ({video.scaling})"
        for video in scaled
        if video.scaling
    ]
    return Comparison(
        videos=tuple(scaled[: len(videos)]),
        reference=scaled[-1] if truth else None,
        width=size[0],
        height=size[1],
        sample_aspect_ratio=target.sample_aspect_ratio,
        start=start,
        end=end,
        kernel=kernel,
        notices=(*shortened, *scaling_notices, *_color_notices(scaled)),
    )


def escape_controls(text: str) -> str:
    """Return printable text: control characters and bytes that are not UTF-8 become U+FFFD."""
    decoded = replace_undecodable(text)
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in decoded)


def _start_of_preview(source: Source, offset: Fraction) -> Fraction:
    """Return the time of the frame with which ``vsr preview --at OFFSET`` begins."""
    start = source.start + round(offset * 1000) / Fraction(1000)  # as a preview rounds it
    first = first_frame_from(source, start)
    return max(start, source.video.start) if first is None else first


def _place_video(source: Source, label: str, skipped: Fraction, offset: Fraction) -> ComparedVideo:
    """Return a video that is compared from ``skipped`` seconds after its first frame on."""
    video = source.video
    origin = video.start + skipped
    last = last_frame(source, None)
    end = None
    if last is not None:
        end = last[0] + (last[1] or (1 / video.frame_rate if video.frame_rate else 0))
    elif video.duration is not None:
        end = video.start + video.duration
    if end is not None and end <= origin:
        raise InputError(f"{source.path} ends before --offset {float(offset):g} s; choose another")
    return ComparedVideo(source, escape_controls(label), origin, None if end is None else end - origin)


def _unique_names(paths: Sequence[Path]) -> list[str]:
    """Return file names, with as many parent folders as make them distinct."""
    names = [path.name for path in paths]
    depth = 1
    while len(set(names)) < len(names) and depth < max(len(path.parts) for path in paths):
        depth += 1
        names = ["/".join(path.absolute().parts[-depth:]) for path in paths]
    return names


def _check_aspect_ratios(videos: Sequence[ComparedVideo], target: ComparedVideo) -> None:
    """Raise ``InputError`` if a video's display aspect ratio differs from the target's, naming the two."""

    def aspect_ratio(video: ComparedVideo) -> Fraction:
        stream = video.source.video
        return Fraction(stream.width, stream.height) * stream.sample_aspect_ratio

    for video in videos:
        if abs(aspect_ratio(video) / aspect_ratio(target) - 1) > _ASPECT_TOLERANCE:
            one, other = (
                f"{each.source.path} is {each.source.video.width}x{each.source.video.height}, "
                f"shown as {float(aspect_ratio(each)):.3f}:1"
                for each in (video, target)
            )
            raise InputError(f"{one}; {other}: cut or scale one of them to the other's aspect ratio first")


def _common_end(videos: Sequence[ComparedVideo]) -> tuple[Fraction | None, tuple[str, ...]]:
    """Return where the shortest video ends, and a notice if others are longer; None if no length is known."""
    known = [(video.end, video) for video in videos if video.end is not None]
    if not known:
        return None, ()
    end, shortest = min(known, key=lambda pair: pair[0])
    rate = shortest.source.video.frame_rate
    frame_duration = 1 / rate if rate else Fraction(1, 10)
    longer = [video.label for other, video in known if other - end > frame_duration / 2]
    if not longer:
        return end, ()
    text = f"{shortest.label} is {float(end):.6g} s long, {', '.join(longer)} longer"
    return end, (f"{text}: only that part is compared",)


def _describe_scaling(source: Source, size: tuple[int, int], kernel: str) -> str:
    video = source.video
    if (video.width, video.height) == size:
        return ""
    scale_x, scale_y = Fraction(size[0], video.width), Fraction(size[1], video.height)
    how = f"x{float(scale_x):.4g}" if scale_x == scale_y else f"from {video.width}x{video.height}"
    return f"{kernel.removesuffix('3')} {how}"


def _color_notices(videos: Sequence[ComparedVideo]) -> list[str]:
    """Return notices about colour: videos are shown by their R'G'B' codes, without colour conversion."""
    streams = [video.source.video for video in videos]
    resolved = [
        resolve_color(stream.color, stream.pix_fmt, stream.width, stream.height) for stream in streams
    ]
    notices = []
    if any(color.transfer in ("smpte2084", "arib-std-b67") for color in resolved):
        notices.append("HDR is shown by its codes, without tone mapping: images and page look flat")
    tags = [(stream.color.primaries, stream.color.transfer) for stream in streams]
    if len({tag for tag in tags if None not in tag}) > 1:  # explicit tags only
        notices.append(
            "the videos are tagged with different primaries or transfer; codes are compared as they are"
        )
    if any(stream.has_alpha for stream in streams):
        notices.append("transparency is left out")
    return notices
