"""Transparency: whether a video has any, and the decoders, encoders and pixel formats that keep it."""

from __future__ import annotations

from typing import Any

from vsrcli.media.containers import Container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.types import VideoStream

# Their decoders always output an alpha plane, so only pixels tell whether a video is transparent.
_ALWAYS_ALPHA_CODECS = ("gif", "apng")
_MAX_CHECKED_FRAMES = 500  # a longer video without a transparent pixel so far counts as transparent

# ffmpeg's native decoders of these ignore the second layer with the transparency.
_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# Pixel formats in which an encoder keeps transparency (tested), the best first: for 8 bits, for more.
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
# VP8 and VP9 store transparency in side data, which only Matroska can hold.
_ALPHA_CONTAINERS = {"libvpx-vp9": ("matroska", "webm"), "libvpx": ("matroska", "webm"), "qtrle": ("mov",)}
_DEFAULT_ENCODERS = {"mov": "prores_ks", "webm": "libvpx-vp9"}


def has_transparency(container: Any, stream: Any, first_frame: Any | None) -> bool:
    """Return whether a video with an alpha plane is transparent; only GIF and APNG need a look at pixels.

    Args:
        container, stream: of PyAV; further frames are decoded from their current position.
        first_frame: the first decoded frame; None: there is none.
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
        return True  # damaged, which the decoder will report
    return False


def alpha_decoder(video: VideoStream) -> str | None:
    """Return the decoder that outputs transparency; None: ffmpeg's default one does."""
    return _DECODERS.get(video.codec)


def can_decode_alpha(video: VideoStream, ffmpeg: Ffmpeg) -> bool:
    """Return whether this ffmpeg can decode the transparency of a video that has some."""
    decoder = alpha_decoder(video)
    return decoder is None or decoder in ffmpeg.decoders()


def default_alpha_codec(container: Container, video: VideoStream) -> str | None:
    """Return the default encoder that keeps transparency in a container; None: no common one does."""
    if container.muxer == "matroska":
        return "ffv1" if video.is_high_bit_depth else "libvpx-vp9"
    return _DEFAULT_ENCODERS.get(container.muxer)


def alpha_pixel_format(codec: str, container: Container, video: VideoStream, ffmpeg: Ffmpeg) -> str | None:
    """Return the pixel format in which an encoder keeps transparency in a container; None if it does not."""
    if codec not in _ALPHA_FORMATS or container.muxer not in _ALPHA_CONTAINERS.get(codec, (container.muxer,)):
        return None
    supported = ffmpeg.pixel_formats(codec)
    candidates = _ALPHA_FORMATS[codec][video.is_high_bit_depth]
    if codec == "ffv1" and not video.is_high_bit_depth:  # keep the subsampling of the source
        candidates = tuple(sorted(candidates, key=lambda name: name != video.pix_fmt))
    return next((name for name in candidates if not supported or name in supported), None)


def has_alpha_plane(pix_fmt: str) -> bool:
    """Return whether a pixel format has an alpha plane."""
    return pix_fmt.startswith(
        ("yuva", "gbrap", "rgba", "bgra", "argb", "abgr", "ya8", "ya16", "ayuv", "vuya")
    )


def _has_transparent_pixel(frame: Any) -> bool:
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)
