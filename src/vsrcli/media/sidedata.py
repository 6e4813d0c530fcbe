"""What a picture says about itself beside its pixels: HDR metadata, and what nobody can carry for it.

PyAV gives side data as bytes; their layouts are those of libavutil's public structs. Units of ``option`` are
ffmpeg's: 0.00002 for chromaticities, 0.0001 cd/m2 for luminance.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import ContentLightLevel, MasteringDisplay, VideoStream

_MASTERING = struct.Struct("=22i")  # (x, y) of red, green, blue and white, darkest, brightest, two flags
_LIGHT = struct.Struct("=2I")
_CHROMATICITY, _LUMINANCE = 50_000, 10_000
_UNCARRIED = {
    "DOVI_RPU_BUFFER": "Dolby Vision",
    "DOVI_METADATA": "Dolby Vision",
    "DYNAMIC_HDR_PLUS": "HDR10+ (changing brightness data)",
    "DYNAMIC_HDR_VIVID": "HDR Vivid",
    "AMBIENT_VIEWING_ENVIRONMENT": "the ambient viewing environment",
    "A53_CC": "closed captions inside the picture",
    "SPHERICAL": "the projection of a 360 degree picture",
    "STEREO3D": "the 3D layout",
    "ICC_PROFILE": "an ICC colour profile",
}


def mastering_display(frame: Any | None) -> MasteringDisplay | None:
    """The mastering display that a decoded picture names."""
    data = _find(frame, "MASTERING_DISPLAY_METADATA", _MASTERING.size)
    if data is None:
        return None
    *numbers, has_primaries, has_luminance = _MASTERING.unpack(data)
    pairs = zip(numbers[::2], numbers[1::2], strict=True)
    values = [Fraction(above, below) if below else Fraction(0) for above, below in pairs]
    if not (has_primaries or has_luminance):
        return None
    points = [(values[at], values[at + 1]) if has_primaries else None for at in range(0, 8, 2)]
    luminance = values[8:] if has_luminance else (None, None)
    return MasteringDisplay(points[0], points[1], points[2], points[3], luminance[0], luminance[1])


def content_light_level(frame: Any | None) -> ContentLightLevel | None:
    """MaxCLL and MaxFALL that a decoded picture names; None if it says neither."""
    data = _find(frame, "CONTENT_LIGHT_LEVEL", _LIGHT.size)
    level = None if data is None else ContentLightLevel(*_LIGHT.unpack(data))
    return level if level != ContentLightLevel(0, 0) else None


def unsupported_side_data(frame: Any | None) -> tuple[str, ...]:
    """What a decoded picture brings along that no encoder here takes, in words."""
    sides = [side for side in (frame.side_data if frame is not None else ()) if not _flat(side)]
    return tuple(dict.fromkeys(filter(None, (_UNCARRIED.get(side.type.name) for side in sides))))


def hdr_input_options(video: VideoStream) -> dict[str, str]:
    """ffmpeg's input options that give raw frames the film's HDR metadata (ffmpeg 8.1 and newer).

    From there they go into the encoder's stream and the container's headers, whichever can hold them.
    """
    options: dict[str, str] = {}
    if video.mastering is not None and (display := format_mastering_display(video.mastering)):
        options["mastering_display"] = display
    if video.light is not None:
        options["content_light"] = f"{video.light.brightest_pixel},{video.light.brightest_frame}"
    return options


def supports_hdr_input_options(ffmpeg: Ffmpeg) -> bool:
    """Whether this ffmpeg has ``input_options``."""
    return "-mastering_display" in ffmpeg.help("long")


def format_mastering_display(display: MasteringDisplay) -> str | None:
    """``G(x,y)B(x,y)R(x,y)WP(x,y)L(max,min)``, as x265 and ffmpeg want it; None if it is not complete."""
    points = (display.green, display.blue, display.red, display.white)
    if display.brightest is None or display.darkest is None or None in points:
        return None
    places = [
        f"({round(point[0] * _CHROMATICITY)},{round(point[1] * _CHROMATICITY)})" for point in points if point
    ]
    green, blue, red, white = places
    brightest, darkest = (round(each * _LUMINANCE) for each in (display.brightest, display.darkest))
    return f"G{green}B{blue}R{red}WP{white}L({brightest},{darkest})"


def _flat(side: Any) -> bool:
    """A 3D layout whose type, its first number, is 0: an ordinary picture that says so."""
    return side.type.name == "STEREO3D" and bytes(side)[:4] == bytes(4)


def _find(frame: Any | None, name: str, size: int) -> bytes | None:
    for side in frame.side_data if frame is not None else ():
        if side.type.name == name and len(bytes(side)) >= size:
            return bytes(side)[:size]
    return None
