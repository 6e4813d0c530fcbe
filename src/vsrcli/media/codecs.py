"""Video encoders: which one is taken, its defaults, and its scale of quality."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.media import alpha
from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream


@dataclass(frozen=True)
class Codec:
    """How one encoder is spoken to.

    Attributes:
        makes: codec that comes out (``h264``).
        quality: option that carries the constant quality, None if the encoder has none.
        default: its default value: visually near-lossless, since upscaled detail is the point.
        scale: its lowest and highest value. What an encoder takes for "choose yourself" is left out.
        whole: whether it takes whole numbers only.
        preset: default preset, None if it has none.
        presets: (faster, slower) ones, of the efforts ``fast`` and ``quality``.
        fixed: options always given.
    """

    codec_name: str
    quality_option: str | None = "crf"
    default: float | None = None
    preset: str | None = None
    fixed: tuple[tuple[str, str], ...] = ()
    quality_range: tuple[int, int] = (0, 51)
    integer_only: bool = False
    presets: tuple[str, str] | None = None

    def preset_for(self, effort: str) -> str | None:
        """The preset of an effort, see :class:`~vsrcli.media.output_plan.EncodeOptions`."""
        faster, slower = self.presets or (self.preset, self.preset)
        return {"fast": faster, "quality": slower}.get(effort, self.preset)


_NAMED, _NUMBERED = ("veryfast", "slow"), ("p3", "p7")
_NVENC = (("rc", "vbr"), ("b:v:0", "0"))
_VPX = (("b:v:0", "0"), ("row-mt", "1"), ("deadline", "good"), ("cpu-used", "2"))
CODECS: dict[str, Codec] = {
    "libx264": Codec("h264", "crf", 17, "medium", presets=_NAMED),
    "libx264rgb": Codec("h264", "crf", 17, "medium", presets=_NAMED),
    "libx265": Codec("hevc", "crf", 18, "medium", (("x265-params", "log-level=error"),), presets=_NAMED),
    "libvpx-vp9": Codec("vp9", "crf", 24, None, _VPX, (0, 63), integer_only=True),
    "libvpx": Codec("vp8", "crf", 8, None, (("b:v:0", "20M"),), (0, 63), integer_only=True),
    "libsvtav1": Codec("av1", "crf", 22, "6", quality_range=(1, 63), integer_only=True, presets=("10", "4")),
    "libaom-av1": Codec(
        "av1", "crf", 22, None, (("cpu-used", "5"), ("row-mt", "1")), (0, 63), integer_only=True
    ),
    "h264_nvenc": Codec("h264", "cq", 19, "p5", _NVENC, (1, 51), presets=_NUMBERED),
    "hevc_nvenc": Codec("hevc", "cq", 20, "p5", _NVENC, (1, 51), presets=_NUMBERED),
    "av1_nvenc": Codec("av1", "cq", 24, "p5", _NVENC, (1, 63), presets=_NUMBERED),
    "h264_qsv": Codec("h264", "global_quality", 19, "medium", quality_range=(1, 51), presets=_NAMED),
    "hevc_qsv": Codec("hevc", "global_quality", 20, "medium", quality_range=(1, 51), presets=_NAMED),
    "av1_qsv": Codec("av1", "global_quality", 24, "medium", quality_range=(1, 51), presets=_NAMED),
    "h264_videotoolbox": Codec("h264", "q:v:0", 70, quality_range=(1, 100)),
    "hevc_videotoolbox": Codec("hevc", "q:v:0", 70, quality_range=(1, 100)),
    "mpeg4": Codec("mpeg4", "q:v:0", 2, quality_range=(1, 31)),
    "mpeg2video": Codec("mpeg2video", "q:v:0", 2, quality_range=(1, 31)),
    "mjpeg": Codec("mjpeg", "q:v:0", 2, quality_range=(1, 31)),
    "prores_ks": Codec("prores", None),
    "prores": Codec("prores", None),
    "ffv1": Codec("ffv1", None),
    "utvideo": Codec("utvideo", None),
    "ffvhuff": Codec("ffvhuff", None),
    "qtrle": Codec("qtrle", None),
    "png": Codec("png", None),
    "rawvideo": Codec("rawvideo", None),
}
_SHOWN = ("h264", "hevc", "av1", "vp9", "vp8", "mpeg4", "mpeg2video")
_ALIASES = {
    "h264": "libx264",
    "x264": "libx264",
    "h265": "libx265",
    "hevc": "libx265",
    "x265": "libx265",
    "vp9": "libvpx-vp9",
    "vp8": "libvpx",
    "av1": "libsvtav1",
    "prores": "prores_ks",
}


def choose_codec(
    wanted: str | None, container: Container, target: Path, video: VideoStream, ffmpeg: Ffmpeg
) -> str:
    """Name of the encoder: the one asked for, or H.264 for 8-bit, HEVC for deeper, VP9 in WebM.

    For a film with transparency it is one that keeps it, except in MP4: there, few players know such films.

    Raises:
        OutputError: this ffmpeg lacks the encoder, or the container cannot hold what it makes.
    """
    name = _ALIASES.get(wanted, wanted) if wanted else _default(container, video)
    if name not in ffmpeg.encoders():
        raise OutputError(
            f"ffmpeg {ffmpeg.version} has no encoder {name!r}; choose another --codec (such as libx264) "
            "or point VSR_FFMPEG to a build that has it"
        )
    makes = CODECS[name].codec_name if name in CODECS else None
    if makes is not None and container.video and makes not in container.video:
        there = ffmpeg.encoders()
        fitting = [each for each, c in CODECS.items() if c.codec_name in container.video and each in there]
        raise OutputError(
            f"{target}: {container.name} cannot hold {makes} from {name}; use --codec with one of "
            f"{join_first(tuple(fitting), 6)}, "
            "or a .mkv target"
        )
    return name


def quality_args(name: str, wanted: float | None) -> tuple[str, str] | None:
    """Option and value of an encoder's constant quality, None if it has none.

    Args:
        name: the encoder.
        wanted: on its own scale; None: the default.

    Raises:
        UsageError: ``wanted`` is not on its scale, or the encoder has none.
    """
    codec = CODECS.get(name, Codec(name, None))
    if codec.quality_option is None:
        if wanted is not None:
            raise UsageError(
                f"{name} has no constant quality; leave --crf out, or use -e with its own options"
            )
        return None
    value = codec.default if wanted is None else wanted
    if value is None:
        return None
    low, high = codec.quality_range
    if not low <= value <= high:
        raise UsageError(f"--crf {value:g} is not on the scale of {name}, which goes from {low} to {high}")
    if codec.integer_only and value != int(value):
        raise UsageError(f"--crf {value:g}: {name} takes whole numbers only, such as {round(value)}")
    return codec.quality_option, f"{value:g}"


def _default(container: Container, video: VideoStream) -> str:
    kept = alpha.default_alpha_codec(container, video) if video.has_alpha else None
    if kept is not None:
        return kept
    if container.muxer == "webm":
        return "libvpx-vp9"
    if container.muxer == "avi":
        return "libx264"
    return "libx265" if video.is_high_bit_depth else "libx264"


def is_widely_playable(name: str) -> bool:
    """Whether an encoder's films are meant to be shown; others are for archives and for cutting."""
    return name in CODECS and CODECS[name].codec_name in _SHOWN and not name.endswith("rgb")


def join_first(names: tuple[str, ...], limit: int = 10) -> str:
    """The first few names; one line has to stay readable."""
    return ", ".join(names[:limit]) + (", …" if len(names) > limit else "")
