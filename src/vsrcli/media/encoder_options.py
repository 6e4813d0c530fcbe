"""ffmpeg's options for the picture: quality, tags, the conversion from R'G'B', and what the user adds.

Encoder settings by purpose, as plain data. What a user says besides them wins.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vsrcli.errors import UsageError
from vsrcli.media import codecs
from vsrcli.media.alpha import has_alpha_plane
from vsrcli.media.color import (
    encode_filter,
    encoder_tags,
    format_mastering_display,
    hdr_input_options,
    supports_hdr_input_options,
)
from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.types import Color, Source

_FILTERS = ("vf", "filter", "filter:v", "filter:v:0")
_JOINED = {"x265-params": ":", "svtav1-params": ":", "movflags": "+"}


def video_encoder_options(
    options: EncodeOptions,
    name: str,
    pix_fmt: str,
    size: tuple[int, int],
    color: Color,
    container: Container,
    source: Source,
    ffmpeg: Ffmpeg,
) -> tuple[tuple[str, str], ...]:
    """(key, value) of every output option for the picture, without the dash.

    Args:
        options: what the user asked for.
        name: the encoder.
        pix_fmt: what it is given.
        size: (width, height) of the new film.
        color: its tags.
        container: where it goes.
        source: the film.
        ffmpeg: the executable.

    Raises:
        UsageError: a quality that is not on the encoder's scale.
    """
    codec = codecs.CODECS.get(name, codecs.Codec(name, None))
    chosen: dict[str, str] = dict(codec.fixed)
    quality = codecs.quality_args(name, options.crf)
    if quality is not None:
        chosen[quality[0]] = quality[1]
    preset = options.preset or codec.preset_for(options.effort)
    if preset is not None:
        chosen["preset"] = preset
    if codec.codec_name == "hevc" and container.custom_timescale:
        chosen["tag:v:0"] = "hvc1"  # Apple's players take this spelling only
    if name == "libvpx" and has_alpha_plane(pix_fmt):
        chosen["auto-alt-ref"] = "0"  # which it cannot do with transparency
    for key, value in encoder_tags(color, pix_fmt).items():
        chosen[f"{key}:v:0"] = value
    for key, value in hdr_parameters(name, source, ffmpeg).items():
        _set(chosen, key, value)
    convert = encode_filter(color, pix_fmt, size, deep=source.video.is_high_bit_depth, ffmpeg=ffmpeg)
    shape = source.video.sample_aspect_ratio
    # setsar rounds to terms below 100 unless told otherwise; 16 bits are what H.264 and H.265 can state
    chosen["filter:v:0"] = f"{convert},setsar={shape.numerator}/{shape.denominator}:max=65535"
    for option, value in options.extra:
        key = option.removeprefix("-")
        if key in _FILTERS:  # behind the conversion: without it, colours would be those of ffmpeg's guess
            key, value = "filter:v:0", f"{chosen['filter:v:0']},{value}"
        _set(chosen, key, value)
    return tuple(chosen.items())


def hdr_parameters(name: str, source: Source, ffmpeg: Ffmpeg) -> dict[str, str]:
    """The encoder's own parameters for HDR metadata, where ffmpeg cannot give it to any (before 8.1)."""
    about = hdr_input_options(source.video)
    if not about or supports_hdr_input_options(ffmpeg):
        return {}
    spelling = {
        "libx265": ("x265-params", "master-display", "max-cll"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
    }.get(name)
    if spelling is None:
        return {}
    key, display, light = spelling
    named = {"mastering_display": display, "content_light": light}
    return {key: ":".join(f"{named[option]}={value}" for option, value in about.items())}


def keeps_hdr_metadata(name: str, source: Source, ffmpeg: Ffmpeg) -> bool:
    """Whether all HDR metadata of the source reaches the new film."""
    video = source.video
    whole = video.mastering_display is None or format_mastering_display(video.mastering_display) is not None
    return whole and (supports_hdr_input_options(ffmpeg) or bool(hdr_parameters(name, source, ffmpeg)))


def _set(chosen: dict[str, str], key: str, value: str) -> None:
    """Later settings win, but lists of parameters grow."""
    chosen[key] = f"{chosen[key]}{_JOINED[key]}{value}" if key in _JOINED and key in chosen else value


@dataclass(frozen=True)
class EncodePreset:
    """Settings for a purpose.

    Attributes:
        says: for people, in a few words.
        options: what is asked of the encoder. Pixel format and bit depth still follow the source, unless the
            preset names one.
    """

    description: str
    options: EncodeOptions


PRESETS = {
    "web": EncodePreset(
        "H.264 that every browser plays while it loads",
        EncodeOptions(
            codec="libx264", crf=20, preset="slow", pix_fmt="yuv420p", extra=(("movflags", "+faststart"),)
        ),
    ),
    "hevc": EncodePreset(
        "H.265, half the size of H.264", EncodeOptions(codec="libx265", crf=20, preset="medium")
    ),
    "av1": EncodePreset("AV1, the smallest", EncodeOptions(codec="libsvtav1", crf=28, preset="6")),
    "archive": EncodePreset(
        "FFV1, lossless, with checksums; for .mkv",
        EncodeOptions(codec="ffv1", extra=(("level", "3"), ("g", "1"), ("slices", "16"), ("slicecrc", "1"))),
    ),
    "edit": EncodePreset(
        "ProRes 422 HQ for editing programs; for .mov",
        EncodeOptions(
            codec="prores_ks", pix_fmt="yuv422p10le", extra=(("profile:v", "3"), ("vendor", "apl0"))
        ),
    ),
    "nvenc": EncodePreset("H.265 on an NVIDIA GPU", EncodeOptions(codec="hevc_nvenc", crf=22, preset="p6")),
    "vaapi": EncodePreset(
        "H.265 on an Intel or AMD GPU under Linux",
        EncodeOptions(
            codec="hevc_vaapi",
            extra=(("vaapi_device", "/dev/dri/renderD128"), ("vf", "format=nv12,hwupload"), ("qp", "22")),
        ),
    ),
    "videotoolbox": EncodePreset("H.265 on a Mac's GPU", EncodeOptions(codec="hevc_videotoolbox", crf=65)),
}


def apply_preset(name: str | None, given: EncodeOptions) -> EncodeOptions:
    """What was asked for, completed by a preset.

    Args:
        name: of the preset; None: none.
        given: the user's own words, which win; further options of both are used.

    Raises:
        UsageError: an unknown preset, or one beside another encoder.
    """
    if name is None:
        return given
    if name not in PRESETS:
        raise UsageError(f"unknown --encode-preset {name!r}: choose one of {', '.join(PRESETS)}")
    preset = PRESETS[name].options
    if given.codec is not None:
        raise UsageError(
            f"--encode-preset {name} is {preset.codec}, and --codec {given.codec} another: leave one out"
        )
    return replace(
        given,
        codec=preset.codec,
        crf=preset.crf if given.crf is None else given.crf,
        preset=given.preset or preset.preset,
        pix_fmt=given.pix_fmt or preset.pix_fmt,
        extra=(*preset.extra, *given.extra),
    )
