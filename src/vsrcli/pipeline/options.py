"""What can be asked of one run: the arguments of :func:`vsrcli.upscale`."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from vsrcli.frames.geometry import SizeRequest
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.models.architectures import DEFAULT_MODEL


@dataclass(frozen=True)
class Options:
    """What ``vsr upscale`` can be told; the defaults are the command's.

    Attributes:
        scale: more than 1, at most 16. Between native factors the next larger one runs and is resampled down;
            beyond the largest, that one is resampled up, unless ``chain``.
        size: what to make instead, see :class:`~vsrcli.frames.geometry.SizeRequest`; ``scale`` does not count then.
        chain: upscale twice where one pass does not reach the size; the second costs many times the first.
        model: name (see ``vsr models``) or path of a ``.weights.h5`` file.
        tile: ``auto``, ``none``, or the side of a tile in low-resolution pixels, context included.
        overlap: context of a tile on each side in low-resolution pixels; None: the receptive field, which
            makes tiles invisible.
        device: ``auto``, ``cpu`` or GPU numbers such as ``0``.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
        engine: ``auto``, ``keras`` or ``openvino``, see :func:`~vsrcli.inference.selection.plan_engine`.
        max_memory: bytes that all processes together may take, and the network on a GPU; None: three quarters
            of what is free.
        encode: codec, quality and container options.
        start, end: seconds from the film's start, half open; None: all of it.
        frames: stop after this many (the sound stops there, too); None: no limit.
        deinterlace: whether interlaced sources are deinterlaced.
        segment: ``auto``, ``none``, or the number of frames after which what is finished is saved for good.
        resume: whether a film that was interrupted is continued; False begins anew.
        keep_going: replace damaged frames by the ones before them instead of stopping at the first.
        ffmpeg: path of an ffmpeg to use instead of the bundled one.
        fps: how many pictures make a second, where the source is pictures; None: 25.
    """

    scale: Fraction = Fraction(4)
    model: str = DEFAULT_MODEL
    tile: str | int = "auto"
    overlap: int | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"
    max_memory: int | None = None
    encode: EncodeOptions = field(default_factory=EncodeOptions)
    start: Fraction | None = None
    end: Fraction | None = None
    frames: int | None = None
    deinterlace: bool = True
    segment: str | int = "auto"
    resume: bool = True
    keep_going: bool = False
    ffmpeg: str | None = None
    size: SizeRequest | None = None
    chain: bool = False
    fps: Fraction | None = None
