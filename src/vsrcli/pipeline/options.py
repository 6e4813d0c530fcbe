"""The options of one run: the arguments of :func:`vsrcli.upscale`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from fractions import Fraction

from vsrcli.frames.geometry import SizeRequest
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.models.architectures import DEFAULT_MODEL


@dataclass(frozen=True)
class TunedSetting:
    """The fastest way to run a model on this machine, for frames of about one size.

    Attributes:
        model: name of its weights, such as ``duf-r-x4-video``.
        width, height: of the frames, in low-resolution pixels.
        device: that it was measured for: ``auto``, ``cpu`` or a GPU's number.
        engine, precision, tile: as in :class:`~vsrcli.pipeline.options.Options`.
        origin: for people: where it is written.
        sha256: of the network; empty in settings of before it was written.
    """

    model: str
    width: int
    height: int
    device: str
    engine: str
    precision: str
    tile: str | int
    origin: str
    sha256: str = ""

    def __str__(self) -> str:
        tile = {"auto": "tiles as memory allows", "none": "whole frames"}.get(
            str(self.tile), f"tiles of {self.tile}"
        )
        return f"{self.engine}, {self.precision}, {tile}"


@dataclass(frozen=True)
class Options:
    """Options of ``vsr upscale``, with the defaults of the command.

    Attributes:
        scale: factor from 1 to 16; 1 with models that restore at the same size. Between native factors the
            next larger network runs and its output is downsampled; beyond the largest, its output is
            upsampled, unless ``chain``.
        size: output size that replaces ``scale``, see :class:`~vsrcli.frames.geometry.SizeRequest`.
        chain: run a second pass where one does not reach the size; it costs many times the first.
        same_size: run the network, then resample to the source's size; replaces ``scale``.
        model: name (see ``vsr models``) or path of a network's file; or several, which run one after the
            other. Then ``chain`` has no effect.
        look: ``natural`` (weights trained for the smallest error) or ``sharp`` (adversarial training, which
            makes up texture); None: that of the model's file, else natural. See
            :mod:`vsrcli.inference.looks`.
        strength: share of the network's picture, 0 to 1; the rest is Lanczos of the source. At 0 no network
            is loaded. With sharp weights: from natural (0) to sharp (1).
        keep_color: take low frequencies of colour from the source; None: with imported models only.
        tile: ``auto``, ``none``, or the side of a tile in low-resolution pixels, context included.
        overlap: context of a tile on each side in low-resolution pixels; None: the receptive field, which
            makes tile borders invisible.
        device: ``auto``, ``cpu`` or GPU numbers such as ``0``.
        precision: ``auto``, ``fp32``, ``fp16``, ``bf16`` or ``int8``.
        engine: ``auto``, ``keras``, ``openvino`` or ``onnxruntime``, see
            :func:`~vsrcli.inference.engine_plan.plan_engine`.
        max_memory: limit in bytes for all processes together, and for the network on a GPU; None: three
            quarters of the free memory.
        encode: codec, quality and container options.
        start, end: half-open span in seconds from the start of the video; None: unlimited.
        frames: maximum number of frames (the audio ends there, too); None: no limit.
        deinterlace: deinterlace interlaced sources.
        segment: ``auto``, ``none``, or the number of frames of a segment, after which a checkpoint is saved;
            or ``shots``: segments follow a plan of the source alone, see :mod:`vsrcli.pipeline.plan`.
        resume: continue an interrupted run; False starts afresh.
        keep_going: replace damaged frames by their predecessors instead of raising an error at the first.
        ffmpeg: path of an ffmpeg to use instead of the bundled one.
        fps: frame rate of an image sequence; None: 25.
        tuned: measured settings that replace ``auto`` for engine, precision and tiles, see
            :mod:`vsrcli.pipeline.tuned`.
    """

    scale: Fraction = Fraction(4)
    model: str | os.PathLike[str] | tuple[str | os.PathLike[str], ...] = DEFAULT_MODEL
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
    same_size: bool = False
    strength: float = 1.0
    keep_color: bool | None = None
    look: str | None = None
    tuned: tuple[TunedSetting, ...] = ()

    @property
    def models(self) -> tuple[str, ...]:
        """The models of all passes, in order, as requested; paths as text."""
        model = self.model
        return tuple(
            os.fspath(each) for each in ((model,) if isinstance(model, str | os.PathLike) else model)
        )

    @property
    def in_pieces(self) -> Options:
        """These options for workers, which compute pieces. Images, which have none, go without."""
        optional = self.encode.optional | {"segment"}
        return replace(self, segment="shots", encode=replace(self.encode, optional=optional))


def option_name(field: str) -> str:
    """Return what the command line calls a field of :class:`Options` or its encoding options."""
    spelling = {"deinterlace": "no-deinterlace", "extra": "encoder-option"}.get(field, field)
    return f"--{spelling.replace('_', '-')}"
