"""The codec of an output and its options: quality, tags, the conversion from R'G'B', HDR metadata, presets.

Options that the user gives win over those of a preset, and these over defaults.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from vsrcli.errors import UsageError
from vsrcli.media import codecs, y4m, y4m_plan
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

_VIDEO_FILTER_KEYS = ("vf", "filter", "filter:v", "filter:v:0")
_OPTION_ALIASES = {"qscale": "q", "vtag": "tag"}
_FLAG_OPTIONS = ("flags", "flags2", "movflags")
_REPEATABLE_OPTION = "metadata"  # of which each sets another tag
FIXED_THREADS = 8  # see with_fixed_threads
_X265_THREADS = "frame-threads=3"  # all that its result depends on

# On stdout another program processes the video further, so nothing is lost by default.
_STDOUT_ENCODERS = {y4m.CONTAINER: "rawvideo", "nut": "rawvideo", "matroska": "ffv1"}


@dataclass(frozen=True)
class CodecChoice:
    """How frames are encoded.

    Attributes:
        encoder: ffmpeg's name.
        pix_fmt: of the output.
        alpha: whether transparency is kept.
        options: in effect, those of a preset included.
        notices: what is lost, for people.
        settings_notices: optional options that were left out, for people.
    """

    encoder: str
    pix_fmt: str
    alpha: bool
    options: EncodeOptions
    notices: tuple[str, ...]
    settings_notices: tuple[str, ...] = ()


def choose_codec(
    source: Source,
    size: tuple[int, int],
    container: Container,
    target: Path,
    options: EncodeOptions,
    ffmpeg: Ffmpeg,
) -> CodecChoice:
    """Choose encoder and pixel format, and check the quality; leave out what is optional and does not fit.

    Raises:
        OutputError, UsageError: see :mod:`~vsrcli.media.codecs`.
    """
    _check_names(options, ffmpeg)
    choice, notices = options.fit(lambda each: _choose_codec(source, size, container, target, each, ffmpeg))
    return replace(choice, settings_notices=notices)


def _choose_codec(
    source: Source,
    size: tuple[int, int],
    container: Container,
    target: Path,
    options: EncodeOptions,
    ffmpeg: Ffmpeg,
) -> CodecChoice:
    options, video = apply_preset(options.encode_preset, options), source.video
    if container.muxer == y4m.CONTAINER:
        y4m_plan.require_rawvideo(options)
    display_name, default = str(target), None
    if target == y4m.STDIO:
        display_name, default = "stdout", _STDOUT_ENCODERS[container.muxer]
    encoder = codecs.find_encoder(options.codec or default, container, display_name, video, ffmpeg)
    quality_args(encoder, options.crf)
    if container.muxer == y4m.CONTAINER:
        chosen = y4m_plan.choose_y4m_pixel_format(video, options.pix_fmt)
        return CodecChoice(encoder, chosen.name, False, options, chosen.notices)
    if source.images is not None and codecs.is_widely_playable(encoder):
        # images have full chroma resolution, which few players support in a video
        video = replace(video, pix_fmt="yuv420p")
    chosen = codecs.choose_pixel_format(
        encoder,
        video,
        size,
        container,
        ffmpeg,
        requested=options.pix_fmt,
        codec_requested=options.codec is not None,
    )
    return CodecChoice(encoder, chosen.name, chosen.alpha, options, chosen.notices)


def quality_args(encoder: str, requested: float | None) -> tuple[str, str] | None:
    """Return option and value of an encoder's constant quality; None if it has none.

    Args:
        encoder: ffmpeg's name of it.
        requested: quality on the encoder's own scale; None: the default.

    Raises:
        UsageError: ``requested`` is not on the scale, or the encoder has no constant quality.
    """
    codec = codecs.CODECS.get(encoder, codecs.Codec(encoder, None))
    if codec.quality_option is None:
        if requested is not None:
            raise UsageError(
                f"{encoder} has no constant quality; leave --crf out, or use -e with its own options"
            )
        return None
    value = codec.default_quality if requested is None else requested
    if value is None:
        return None
    low, high = codec.quality_range
    if not low <= value <= high:
        raise UsageError(f"--crf {value:g} is not on the scale of {encoder}, which goes from {low} to {high}")
    if codec.integer_only and value != int(value):
        raise UsageError(f"--crf {value:g}: {encoder} takes whole numbers only, such as {round(value)}")
    return codec.quality_option, f"{value:g}"


def _check_names(options: EncodeOptions, ffmpeg: Ffmpeg) -> None:
    """Raise if an encoder or pixel format of a settings file does not exist, and so never applies."""
    import av

    codec = apply_preset(options.encode_preset, options).codec
    if codec is not None and options.optional & {"codec", "encode_preset"}:
        codecs.check_encoder(codec, ffmpeg)
    if options.pix_fmt is not None and "pix_fmt" in options.optional:
        try:
            av.VideoFormat(options.pix_fmt, 16, 16)
        except ValueError as error:
            raise UsageError(
                f"--pix-fmt {options.pix_fmt}: there is no such pixel format; `ffmpeg -pix_fmts` lists them"
            ) from error


def video_encoder_options(
    options: EncodeOptions,
    encoder: str,
    pix_fmt: str,
    size: tuple[int, int],
    color: Color,
    container: Container,
    source: Source,
    ffmpeg: Ffmpeg,
) -> tuple[tuple[str, str], ...]:
    """Return (key, value) of every output option for the video stream, without the dash.

    Args:
        options: the user's.
        encoder: ffmpeg's name of the encoder.
        pix_fmt: pixel format that it encodes.
        size: (width, height) of the output.
        color: tags of the output.
        container: of the output.
        source: the video that is upscaled.
        ffmpeg: the executable.

    Raises:
        UsageError: the quality is not on the encoder's scale.
    """
    hdr_params = hdr_encoder_params(encoder, source, ffmpeg)
    conversion = encode_filter(
        color, pix_fmt, size, high_bit_depth=source.video.is_high_bit_depth, ffmpeg=ffmpeg
    )
    tags = encoder_tags(color, pix_fmt)
    codec = codecs.CODECS.get(encoder, codecs.Codec(encoder, None))
    result: dict[str, str] = {} if container.muxer != y4m.CONTAINER else {"strict": "-1"}  # above 8 bits
    result |= codec.fixed_options
    quality = quality_args(encoder, options.crf)
    bit_rates = [value for option, value in options.extra if _option_key(option) == "b"]
    asks_for_bit_rate = any(rate.strip("0.kKmM") for rate in bit_rates)  # 0: none, as some encoders want it
    if quality is not None and (options.crf is not None or not asks_for_bit_rate):
        result[quality[0]] = quality[1]
    preset = options.preset or codec.preset_for(options.effort)
    if preset is not None:
        result["preset"] = preset
    if codec.codec_name == "hevc" and container.custom_timescale:
        result["tag:v:0"] = "hvc1"  # the only sample entry that Apple's players accept
    if encoder == "libvpx" and has_alpha_plane(pix_fmt):
        result["auto-alt-ref"] = "0"  # libvpx cannot combine it with transparency
    result |= {f"{key}:v:0": value for key, value in tags.items()}
    aspect = source.video.sample_aspect_ratio
    # By default setsar rounds to terms below 100; H.264 and H.265 can state 16 bits.
    filters = f"{conversion},setsar={aspect.numerator}/{aspect.denominator}:max=65535"
    for option, value in (*hdr_params.items(), ("filter:v:0", filters), *options.extra):
        key, separator = _option_key(option), _list_separator(option, value)
        earlier = next((each for each in result if _option_key(each) == key), None)
        if earlier is not None and separator is not None:  # filters, too: the conversion comes first
            result[earlier] = f"{result[earlier]}{separator}{value}"
            continue
        if earlier is not None:
            del result[earlier]
        result[option.removeprefix("-")] = value
    tags = [(key, value) for key, value in options.extra if is_repeatable(key)]
    return (*((key, value) for key, value in result.items() if not is_repeatable(key)), *tags)


def check_repeated_options(extra_options: Iterable[tuple[str, str]]) -> None:
    """Check that every option of the user has an effect; lists, such as ``x264-params``, are joined.

    Args:
        extra_options: (key, value), as in ``EncodeOptions.extra``.

    Raises:
        UsageError: one is given twice, with two values of which the encoder would take the last one only.
    """
    given: dict[str, tuple[str, str]] = {}
    for option, value in extra_options:
        is_joined = is_repeatable(option) or _list_separator(option, value) is not None
        name, first = given.setdefault(_option_key(option), (option, value))
        if not is_joined and first != value:
            raise UsageError(f"-e {name}={first} and -e {option}={value} exclude each other; leave one out")


def is_repeatable(option: str) -> bool:
    """Return whether ffmpeg itself takes several values of an option."""
    return option.removeprefix("-").partition(":")[0] == _REPEATABLE_OPTION


def _option_key(option: str) -> str:
    """Return what is the same for all names by which ffmpeg knows an option of the first video stream."""
    key = option.removeprefix("-")
    if key in _VIDEO_FILTER_KEYS:
        return "filter"
    name, _, specifier = key.partition(":")
    if is_repeatable(key) or specifier not in ("", "v", "v:0", "0"):
        return key
    return _OPTION_ALIASES.get(name, name)


def _list_separator(option: str, value: str) -> str | None:
    """Return what separates ``value`` from earlier ones of a list; None if the option is no list."""
    name = option.removeprefix("-").partition(":")[0]
    if _option_key(option) == "filter":
        return ","
    if name in _FLAG_OPTIONS:
        return "" if value.startswith(("+", "-")) else "+"
    return ":" if name.endswith("-params") or name == "x264opts" else None


def hdr_encoder_params(encoder: str, source: Source, ffmpeg: Ffmpeg) -> dict[str, str]:
    """Return the encoder's private options for HDR metadata; empty if ffmpeg has general ones (8.1 on)."""
    metadata = hdr_input_options(source.video)
    if not metadata or supports_hdr_input_options(ffmpeg):
        return {}
    names = {
        "libx265": ("x265-params", "master-display", "max-cll"),
        "libsvtav1": ("svtav1-params", "mastering-display", "content-light"),
    }.get(encoder)
    if names is None:
        return {}
    key, display, light = names
    mastering = source.video.mastering_display
    if encoder == "libsvtav1" and mastering is not None and "mastering_display" in metadata:
        metadata["mastering_display"] = str(format_mastering_display(mastering, integers=False))
    named = {"mastering_display": display, "content_light": light}
    return {key: ":".join(f"{named[option]}={value}" for option, value in metadata.items())}


def keeps_hdr_metadata(encoder: str, source: Source, ffmpeg: Ffmpeg) -> bool:
    """Return whether all HDR metadata of the source reaches the output."""
    video = source.video
    is_complete = (
        video.mastering_display is None or format_mastering_display(video.mastering_display) is not None
    )
    return is_complete and (
        supports_hdr_input_options(ffmpeg) or bool(hdr_encoder_params(encoder, source, ffmpeg))
    )


@dataclass(frozen=True)
class EncodePreset:
    """Encoder settings for a purpose.

    Attributes:
        description: for people, in a few words.
        options: of the encoder. Pixel format and bit depth follow the source, unless the preset names one.
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
            extra=(
                ("vaapi_device", "/dev/dri/renderD128"),
                ("vf", "format=nv12|p010le,hwupload"),
                ("qp", "22"),
            ),
        ),
    ),
    "videotoolbox": EncodePreset("H.265 on a Mac's GPU", EncodeOptions(codec="hevc_videotoolbox", crf=65)),
}


def apply_preset(name: str | None, options: EncodeOptions) -> EncodeOptions:
    """Return the options, completed by those of a preset.

    Args:
        name: of the preset; None: none.
        options: the user's, which win; ``extra`` options of both are used.

    Raises:
        UsageError: the preset is unknown, or the options name an encoder.
    """
    if name is None:
        return options
    if name not in PRESETS:
        raise UsageError(f"unknown --encode-preset {name!r}: choose one of {', '.join(PRESETS)}")
    preset_options = PRESETS[name].options
    if options.codec is not None:
        raise UsageError(
            f"--encode-preset {name} is {preset_options.codec}, and --codec {options.codec} another: "
            "leave one out"
        )
    return replace(
        options,
        encode_preset=None,
        codec=preset_options.codec,
        crf=preset_options.crf if options.crf is None else options.crf,
        preset=options.preset or preset_options.preset,
        pix_fmt=options.pix_fmt or preset_options.pix_fmt,
        extra=(*preset_options.extra, *options.extra),
    )


def with_fixed_threads(encoder: str, options: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Return an encoder's options with a number of threads, unless they have one.

    Encoders divide their work by their threads, whose number they take from the machine: x264 writes another
    file with each (measured: 1, 2, 3, 4, 8 and 16). With a fixed number, machines of any size write the same.

    Args:
        encoder: ffmpeg's name.
        options: of :class:`~vsrcli.media.output_plan.OutputPlan`.
    """
    names = {key.split(":")[0].lstrip("-") for key, _ in options}
    if "threads" in names or any("threads" in value for key, value in options if key.endswith("-params")):
        return options
    if encoder != "libx265":
        return (*options, ("threads:v", str(FIXED_THREADS)))
    merged = [
        (key, f"{value}:{_X265_THREADS}" if key.split(":")[0] == "x265-params" else value)
        for key, value in options
    ]
    return (*merged, *(() if "x265-params" in names else (("x265-params", _X265_THREADS),)))
