"""Encoder settings by purpose, as plain data. What a user says besides them wins."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vsrcli.errors import UsageError
from vsrcli.media.output_plan import EncodeOptions


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
        "H.264 that every browser plays, begins before it is loaded",
        EncodeOptions(
            codec="libx264", crf=20, preset="slow", pix_fmt="yuv420p", extra=(("movflags", "+faststart"),)
        ),
    ),
    "hevc": EncodePreset(
        "H.265, half the size of H.264", EncodeOptions(codec="libx265", crf=20, preset="medium")
    ),
    "av1": EncodePreset("AV1, the smallest", EncodeOptions(codec="libsvtav1", crf=28, preset="6")),
    "archive": EncodePreset(
        "FFV1, lossless, with a checksum for every slice; for .mkv",
        EncodeOptions(codec="ffv1", extra=(("level", "3"), ("g", "1"), ("slices", "16"), ("slicecrc", "1"))),
    ),
    "edit": EncodePreset(
        "ProRes 422 HQ for editing programs; for .mov",
        EncodeOptions(
            codec="prores_ks", pix_fmt="yuv422p10le", extra=(("profile:v", "3"), ("vendor", "apl0"))
        ),
    ),
    "nvenc": EncodePreset("H.265 on an NVIDIA card", EncodeOptions(codec="hevc_nvenc", crf=22, preset="p6")),
    "vaapi": EncodePreset(
        "H.265 on an Intel or AMD chip under Linux",
        EncodeOptions(
            codec="hevc_vaapi",
            extra=(("vaapi_device", "/dev/dri/renderD128"), ("vf", "format=nv12,hwupload"), ("qp", "22")),
        ),
    ),
    "videotoolbox": EncodePreset("H.265 on a Mac's chip", EncodeOptions(codec="hevc_videotoolbox", crf=65)),
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
