"""Transparency: whether a film has any, which decoder sees it, and which encoder and container keep it."""

from __future__ import annotations

from typing import Any

from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream

# Their decoders give every picture an alpha plane, so only a look at the pictures tells.
_ALWAYS_ALPHA_CODECS = ("gif", "apng")
_MAX_CHECKED_FRAMES = (
    500  # pictures; one that shows its first transparency later than this is taken to have some
)

# ffmpeg's own decoders of these pass over the second stream that holds the transparency.
_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# Pixel formats in which each encoder was seen to keep transparency, the best first: for 8 bits, for more.
_ALPHA_FORMATS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "libvpx-vp9": (("yuva420p",), ("yuva420p",)),
    "libvpx": (("yuva420p",), ("yuva420p",)),
    "libx265": (("yuva420p",), ("yuva420p10le", "yuva420p")),
    "prores_ks": (("yuva444p10le",), ("yuva444p10le",)),
    "ffv1": (
        ("yuva444p", "yuva422p", "yuva420p"),
        ("yuva444p16le", "yuva444p12le", "yuva444p10le", "yuva422p10le", "yuva420p10le"),
    ),
    "png": (("rgba",), ("rgba64be", "rgba")),
    "qtrle": (("argb",), ("argb",)),
    "utvideo": (("gbrap",), ("gbrap",)),
}
# VP8 and VP9 keep it beside the picture, where Matroska alone has a place.
_ALPHA_CONTAINERS = {"libvpx-vp9": ("matroska", "webm"), "libvpx": ("matroska", "webm"), "qtrle": ("mov",)}
_DEFAULT_ENCODERS = {"mov": "prores_ks", "webm": "libvpx-vp9"}


def has_transparency(container: Any, stream: Any, first_frame: Any | None) -> bool:
    """Whether a picture of a film whose format always has alpha shows that it is meant.

    Args:
        container, stream: of PyAV; read on from where they are.
        frame: the picture decoded first.
    """
    import av

    if first_frame is None or stream.codec_context.name not in _ALWAYS_ALPHA_CODECS:
        return True
    if _has_transparent_pixel(first_frame):
        return True
    try:
        for number, frame in enumerate(container.decode(stream)):
            if number > _MAX_CHECKED_FRAMES or _has_transparent_pixel(frame):
                return True
    except (av.FFmpegError, OSError):
        return True  # damaged; the decoder will say so
    return False


def _has_transparent_pixel(frame: Any) -> bool:
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def alpha_decoder(video: VideoStream) -> str | None:
    """The decoder to name so that transparency comes along; None: ffmpeg's own choice."""
    return _DECODERS.get(video.codec)


def can_decode_alpha(video: VideoStream, ffmpeg: Ffmpeg) -> bool:
    """Whether this ffmpeg can see the transparency of a film that has some."""
    decoder = alpha_decoder(video)
    return decoder is None or decoder in ffmpeg.decoders()


def default_alpha_codec(container: Container, video: VideoStream) -> str | None:
    """The encoder that keeps transparency in a container; None: none does that players would take for it."""
    if container.muxer == "matroska":
        return "ffv1" if video.is_high_bit_depth else "libvpx-vp9"
    return _DEFAULT_ENCODERS.get(container.muxer)


def alpha_pixel_format(codec: str, container: Container, video: VideoStream, ffmpeg: Ffmpeg) -> str | None:
    """The pixel format in which an encoder keeps transparency in a container; None if it does not."""
    if codec not in _ALPHA_FORMATS or container.muxer not in _ALPHA_CONTAINERS.get(codec, (container.muxer,)):
        return None
    supported = ffmpeg.pixel_formats(codec)
    candidates = _ALPHA_FORMATS[codec][video.is_high_bit_depth]
    if codec == "ffv1" and not video.is_high_bit_depth:  # what is 4:2:0 need not become larger
        candidates = tuple(sorted(candidates, key=lambda name: name != video.pix_fmt))
    return next((name for name in candidates if not supported or name in supported), None)


def has_alpha_plane(pix_fmt: str) -> bool:
    """Whether a pixel format has a place for transparency."""
    return pix_fmt.startswith(
        ("yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya8", "ya16", "ayuv", "vuya")
    )
