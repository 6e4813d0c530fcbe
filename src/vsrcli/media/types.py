"""What passes between the media room and its neighbours: frozen facts about a film, and frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Color:
    """Colour description in ffmpeg's own names; ``None`` where the file says nothing.

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
    """The display that an HDR film was graded on (SMPTE ST 2086).

    Attributes:
        red, green, blue, white: CIE 1931 chromaticities (x, y); None if the film gives luminance only.
        darkest, brightest: luminance in cd/m2; None if the film gives chromaticities only.
    """

    red: tuple[Fraction, Fraction] | None
    green: tuple[Fraction, Fraction] | None
    blue: tuple[Fraction, Fraction] | None
    white: tuple[Fraction, Fraction] | None
    min_luminance: Fraction | None
    max_luminance: Fraction | None


@dataclass(frozen=True)
class ContentLightLevel:
    """How bright an HDR film is (CTA-861.3), in cd/m2.

    Attributes:
        brightest_pixel: MaxCLL.
        brightest_frame: MaxFALL, the largest mean of a frame.
    """

    max_cll: int
    max_fall: int


@dataclass(frozen=True)
class VideoStream:
    """The film's picture as it will be shown (after rotation).

    Attributes:
        index: stream index in the container.
        codec: codec name (``h264``).
        width, height: pixels as displayed, that is after ``rotation`` has been applied.
        rotation: clockwise degrees (0, 90, 180, 270) that the container asks players to apply;
            the decoder applies it, so frames arrive upright.
        pix_fmt: as coded (``yuv420p10le``).
        bit_depth: bits per component as coded (8, 10, 12, 16).
        has_alpha: whether there is transparency: the pixel format carries an alpha plane, and where every
            picture of a format does (GIF), some pixel is not opaque.
        time_base: unit of presentation times.
        frame_rate: average rate, or None if the container states none. Informative: times come from pts.
        start: presentation time of the first frame, in seconds.
        duration: seconds, or None.
        frames: number of frames that the container *states*, or None. Informative (progress bars only).
        sample_aspect_ratio: shape of a pixel (1 = square), as displayed.
        color: tags.
        field_order: ``progressive``, ``tt``, ``bb``, ``tb``, ``bt`` or None if unknown.
        language, title: from the metadata, or None.
        mirrored: whether the picture is also to be flipped upside down, before it is turned.
        mastering, light: what an HDR film says about itself, or None.
        timecode: of the first frame (``01:00:00:00``, ``;`` before the frames: drop frame), or None.
        uncarried: what else is inside this picture's data and cannot be carried over (closed captions, Dolby
            Vision …), in words.
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

    @property
    def is_interlaced(self) -> bool:
        """Whether the file says that its pictures are made of two fields."""
        return self.field_order in ("tt", "bb", "tb", "bt")

    @property
    def is_high_bit_depth(self) -> bool:
        """Whether a component has more than 8 bits: frames are then uint16 instead of uint8."""
        return self.bit_depth > 8


@dataclass(frozen=True)
class OtherStream:
    """Any stream that is not the film's picture: sound, subtitle, attachment, cover, data.

    Attributes:
        index: stream index in the container.
        kind: ``audio``, ``subtitle``, ``attachment``, ``cover`` (attached picture), ``data`` or ``video``
            (a second film track).
        codec: codec name (``aac``, ``subrip``, ``mov_text``, ``ttf`` …), ``unknown`` if none.
        language, title: from the metadata, or None.
        summary: one short phrase for people, such as ``5.1, 48000 Hz``.
    """

    index: int
    kind: str
    codec: str
    language: str | None = None
    title: str | None = None
    summary: str = ""


@dataclass(frozen=True)
class Chapter:
    """A named part of the film; ``start`` and ``end`` in seconds on the container's clock."""

    start: Fraction
    end: Fraction
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """A film on disk, as probed.

    Attributes:
        path: the file.
        container: ffmpeg's format names (``mov,mp4,m4a,3gp,3g2,mj2``).
        start: the container's start time in seconds (earliest stream).
        duration: seconds, or None.
        size: bytes on disk.
        video: the picture that will be upscaled (the default or first real video stream).
        others: every other stream, in container order.
        chapters: number of chapters.
        metadata: container-level tags.
        chapter_marks: the chapters themselves.
    """

    path: Path
    container: str
    start: Fraction
    duration: Fraction | None
    size_bytes: int
    video: VideoStream
    other_streams: tuple[OtherStream, ...] = ()
    chapter_count: int = 0
    metadata: Mapping[str, str] = field(default_factory=dict)
    chapters: tuple[Chapter, ...] = ()

    @property
    def pts_offset(self) -> int:
        """Seconds added to picture times inside pipes, since NUT knows no negative ones.

        0 for nearly all films; a transmission whose 33-bit clock wraps soon after its start begins below 0.
        A whole number of seconds and of ticks.
        """
        if self.video.start >= 0:
            return 0
        step = self.video.time_base.numerator
        return step * math.ceil(-min(self.start, self.video.start) / step)


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of the film.

    Attributes:
        pixels: R'G'B', full range, shape (height, width, 3); uint8 for 8-bit sources, uint16 (0..65535)
            for deeper ones. May be read-only.
        pts: presentation time in units of ``time_base``; exact, never rounded through floats.
        time_base: unit of ``pts`` in seconds.
        alpha: opacity, shape (height, width), the same type as ``pixels`` (0: transparent, its maximum:
            opaque); None where transparency was not asked for. Colours are straight, not premultiplied.
    """

    pixels: np.ndarray
    pts: int
    time_base: Fraction
    alpha: np.ndarray | None = None

    @property
    def time(self) -> Fraction:
        """Presentation time in seconds."""
        return self.pts * self.time_base


@dataclass(frozen=True)
class ImageSequence(Source):
    """A film that lies on disk as pictures, one file a frame; ``path`` is the name that stands for them.

    Its clock ticks once a frame, from 0: the time of picture ``i`` is exactly ``i / rate``.

    Attributes:
        files: in order.
        numbers: of each: as its name has it, or 1, 2, …
        single: whether it is one picture that was named itself.
        format: of all files: ``PNG``, ``TIFF``, ``WebP``, ``JPEG``, ``BMP`` or ``EXR``.
        lossy: whether that format has lost something.
        rated: whether somebody has said how many pictures make a second.
        found: what people should know of the files.
    """

    files: tuple[Path, ...] = ()
    numbers: tuple[int, ...] = ()
    is_single_image: bool = False
    format: str = ""
    is_lossy: bool = False
    has_explicit_rate: bool = False
    notices: tuple[str, ...] = ()

    @property
    def is_grayscale(self) -> bool:
        """Whether they have no colour."""
        return self.video.pix_fmt.startswith(("gray", "ya"))
