"""Data types shared by readers and writers: the facts of a probed source, and frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from vsrcli.frames.pixels import fill_transparent

INTERLACED = "interlaced"  # a field order: two fields a frame, unknown which one is first
MIXED = "mixed"  # a field order: the video begins progressive, and goes on interlaced


@dataclass(frozen=True)
class Color:
    """Colour tags in ffmpeg's own names; ``None`` where the file has none.

    Attributes:
        range: ``tv`` (limited) or ``pc`` (full).
        matrix: ``bt709``, ``smpte170m``, ``bt470bg``, ``bt2020nc``, … (``gbr`` for RGB).
        primaries: ``bt709``, ``bt2020``, ….
        transfer: ``bt709``, ``smpte2084`` (PQ), ``arib-std-b67`` (HLG), ….
        chroma_location: ``left``, ``center``, ``topleft``, ….
    """

    range: str | None = None
    matrix: str | None = None
    primaries: str | None = None
    transfer: str | None = None
    chroma_location: str | None = None


@dataclass(frozen=True)
class MasteringDisplay:
    """The display that an HDR video was graded on (SMPTE ST 2086).

    Attributes:
        red, green, blue, white: CIE 1931 chromaticities (x, y); None if the video states luminance only.
        min_luminance, max_luminance: in cd/m2; None if the video states chromaticities only.
    """

    red: tuple[Fraction, Fraction] | None
    green: tuple[Fraction, Fraction] | None
    blue: tuple[Fraction, Fraction] | None
    white: tuple[Fraction, Fraction] | None
    min_luminance: Fraction | None
    max_luminance: Fraction | None


@dataclass(frozen=True)
class ContentLightLevel:
    """Content light level of an HDR video (CTA-861.3), in cd/m2.

    Attributes:
        max_cll: the brightest pixel.
        max_fall: the largest average of a frame.
    """

    max_cll: int
    max_fall: int


@dataclass(frozen=True)
class Crop:
    """Pixels at the borders of coded frames that the container hides (QuickTime's clean aperture)."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True)
class VideoStream:
    """The video stream that is upscaled, as it is displayed (cropped and rotated).

    Attributes:
        index: stream index in the container.
        codec: codec name (``h264``).
        width, height: pixels as displayed, after ``crop`` and ``rotation``.
        rotation: clockwise degrees (0, 90, 180, 270) that players must apply; the decoder applies it,
            so frames are upright.
        pix_fmt: as coded (``yuv420p10le``).
        bit_depth: bits per component as coded (8, 10, 12, 16).
        has_alpha: whether there is transparency: the pixel format has an alpha plane, and for formats that
            always have one (GIF), some pixel is not opaque.
        time_base: unit of presentation times, in seconds.
        frame_rate: average frames per second, or None if it is unknown. Informative: times come from pts.
        start: presentation time of the first frame, in seconds.
        duration: seconds, or None.
        frame_count: as the container *states* it, or None. Informative (progress bars only).
        sample_aspect_ratio: width of a pixel over its height (1 = square), as displayed.
        color: tags.
        field_order: ``progressive``, ``tt``, ``bb``, ``tb``, ``bt``, ``INTERLACED`` if only the order is
            unknown, ``MIXED``, or None.
        language, title: from the metadata, or None.
        is_mirrored: whether frames must also be flipped upside down, before they are rotated.
        mastering_display, content_light: HDR metadata, or None.
        timecode: of the first frame (``01:00:00:00``, ``;`` before the frames: drop frame), or None.
        unsupported_features: what else the stream contains and no output can keep (closed captions,
            Dolby Vision …), as phrases for notices.
        crop: borders that the decoder cuts off, before it rotates; None: there are none.
        has_estimated_rate: whether ``frame_rate`` is that of the first frames: the container states none.
        has_flagged_fields: whether frames state their field order themselves, not the container alone.
    """

    index: int
    codec: str
    width: int
    height: int
    rotation: int
    pix_fmt: str
    bit_depth: int
    has_alpha: bool
    time_base: Fraction
    frame_rate: Fraction | None
    start: Fraction
    duration: Fraction | None
    frame_count: int | None
    sample_aspect_ratio: Fraction
    color: Color
    field_order: str | None = None
    language: str | None = None
    title: str | None = None
    is_mirrored: bool = False
    mastering_display: MasteringDisplay | None = None
    content_light: ContentLightLevel | None = None
    timecode: str | None = None
    unsupported_features: tuple[str, ...] = ()
    crop: Crop | None = None
    has_estimated_rate: bool = False
    has_flagged_fields: bool = True

    @property
    def coded_size(self) -> tuple[int, int]:
        """(width, height) of coded frames, before ``crop`` and ``rotation``."""
        upright = (self.height, self.width) if self.rotation in (90, 270) else (self.width, self.height)
        crop = self.crop or Crop(0, 0, 0, 0)
        return upright[0] + crop.left + crop.right, upright[1] + crop.top + crop.bottom

    @property
    def is_interlaced(self) -> bool:
        """Whether the file declares that its frames, or some of them, consist of two fields."""
        return self.field_order in ("tt", "bb", "tb", "bt", INTERLACED, MIXED)

    @property
    def is_high_bit_depth(self) -> bool:
        """Whether components have more than 8 bits: frames are then uint16 instead of uint8."""
        return self.bit_depth > 8


@dataclass(frozen=True)
class OtherStream:
    """Any stream but the upscaled one: audio, subtitle, attachment, cover, data.

    Attributes:
        index: stream index in the container.
        kind: ``audio``, ``subtitle``, ``attachment``, ``cover`` (attached picture), ``data`` or ``video``
            (a second video track).
        codec: codec name (``aac``, ``subrip``, ``mov_text``, ``ttf`` …), or ``unknown``.
        language, title: from the metadata, or None.
        summary: a short phrase for people, such as ``5.1, 48000 Hz``.
        is_readable: whether its parameters are known: sample rate and channels of audio, size of a video. No
            container can hold one without, such as a sound that is announced and never comes.
        start: seconds on the container's clock; None: not stated.
        is_late: whether it probably begins behind the part of the file in which streams are searched for.
    """

    index: int
    kind: str
    codec: str
    language: str | None = None
    title: str | None = None
    summary: str = ""
    is_readable: bool = True
    start: Fraction | None = None
    is_late: bool = False


@dataclass(frozen=True)
class Chapter:
    """A chapter; ``start`` and ``end`` in seconds on the container's clock."""

    start: Fraction
    end: Fraction
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A video file, as probed.

    Attributes:
        path: the file.
        container: ffmpeg's format names (``mov,mp4,m4a,3gp,3g2,mj2``).
        start: the container's start time in seconds (earliest stream).
        duration: seconds, or None.
        size_bytes: size on disk.
        video: the stream that is upscaled (the default or first real video stream).
        other_streams: every other stream, in container order.
        metadata: container-level tags.
        chapters: in order.
    """

    path: Path
    container: str
    start: Fraction
    duration: Fraction | None
    size_bytes: int
    video: VideoStream
    other_streams: tuple[OtherStream, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()

    @property
    def display_name(self) -> str:
        """Name in messages: the path, or ``stdin``."""
        return str(self.path)

    @property
    def input_files(self) -> tuple[Path, ...]:
        """The user's files that it is read from; none for stdin."""
        return (self.path,)

    @property
    def is_stored(self) -> bool:
        """Whether a later run can read it again, unlike stdin."""
        return True

    @property
    def is_live(self) -> bool:
        """Whether frames are read as they arrive; ``path`` then holds the first one only."""
        return False

    @property
    def images(self) -> ImageSequence | None:
        """The images that it consists of; None for a video."""
        return None

    @property
    def pts_offset(self) -> int:
        """Seconds added to frame times inside pipes, since NUT has no negative ones.

        0 for nearly all videos; a transmission whose 33-bit clock wraps soon after its start begins below 0.
        A whole number of seconds and of ticks.
        """
        if self.video.start >= 0:
            return 0
        step = self.video.time_base.numerator
        return step * math.ceil(-min(self.start, self.video.start) / step)


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame of a video.

    Attributes:
        pixels: R'G'B', full range, shape (height, width, 3); uint8 for 8-bit sources, uint16 (0..65535)
            for higher bit depths. May be read-only.
        pts: presentation time in units of ``time_base``; exact, never rounded through floats.
        time_base: unit of ``pts`` in seconds.
        alpha: opacity, shape (height, width), the same type as ``pixels`` (0: transparent, its maximum:
            opaque); None where transparency was not requested.
        is_straight: whether colours are known not to be multiplied by alpha, as those of images; of videos,
            :mod:`vsrcli.frames.pixels` finds out.
    """

    pixels: np.ndarray
    pts: int
    time_base: Fraction
    alpha: np.ndarray | None = None
    is_straight: bool = False

    def fill_transparent(self) -> np.ndarray:
        """Return the pixels as input of a network, see :func:`vsrcli.frames.pixels.fill_transparent`."""
        if self.alpha is None:
            return self.pixels
        return fill_transparent(self.pixels, self.alpha, is_straight=self.is_straight)

    @property
    def time(self) -> Fraction:
        """Presentation time in seconds."""
        return self.pts * self.time_base


@dataclass(frozen=True)
class ImageSequence(Source):
    """A source of image files, one per frame; ``path`` is the pattern or folder that names them.

    Its clock ticks once a frame, from 0: the time of frame ``i`` is exactly ``i / frame_rate``.

    Attributes:
        files: in order.
        numbers: number of each file, from its name or else 1, 2, …
        is_single_image: whether the input was the name of one file.
        format: of all files: ``PNG``, ``TIFF``, ``WebP``, ``JPEG``, ``BMP`` or ``EXR``.
        is_lossy: whether that format is compressed with loss.
        has_explicit_rate: whether the frame rate was given by the user.
        notices: about the files.
    """

    files: tuple[Path, ...] = ()
    numbers: tuple[int, ...] = ()
    is_single_image: bool = False
    format: str = ""
    is_lossy: bool = False
    has_explicit_rate: bool = False
    notices: tuple[str, ...] = ()

    @property
    def input_files(self) -> tuple[Path, ...]:
        return self.files

    def indices_in(self, start: Fraction | None, end: Fraction | None, max_count: int | None = None) -> range:
        """Return the indices of the images that begin in ``[start, end)`` seconds, at most ``max_count``."""
        rate = 1 / self.video.time_base
        first = 0 if start is None else max(math.ceil(start * rate), 0)
        last = len(self.files) if end is None else min(math.ceil(end * rate), len(self.files))
        if max_count is not None:
            last = min(last, first + max_count)
        return range(first, max(last, first))

    @property
    def images(self) -> ImageSequence:
        return self
