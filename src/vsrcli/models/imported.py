"""Networks that others have trained: what a file of one holds and needs. Importable without Keras.

Formats: ``.onnx``; ``.pth``, ``.pt`` and ``.safetensors`` (:mod:`vsrcli.models.torch_files`); ncnn's
``.param`` beside ``.bin`` (:mod:`vsrcli.models.ncnn_files`). Names, shapes and file names lie, so what
matters is found by running a network on small frames (:mod:`vsrcli.inference.probing`), and remembered as a
:class:`ModelDescription`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vsrcli.errors import ModelError
from vsrcli.models.architectures import Architecture, stated_architecture

ONNX_SUFFIX, NCNN_SUFFIX = ".onnx", ".param"
TORCH_SUFFIXES = (".pth", ".pt", ".safetensors")
IMPORTED_SUFFIXES = (ONNX_SUFFIX, *TORCH_SUFFIXES, NCNN_SUFFIX)
ORDERS = ("rgb", "bgr")  # of colours, as a user can state it
UNKNOWN_BYTES_PER_PIXEL = 8_000  # of a tile, where it was not measured


@dataclass(frozen=True)
class TensorInfo:
    """An input or output as a file states it.

    Attributes:
        name: of the tensor.
        dtype: NumPy's name of its number type.
        shape: sides; a name or None for those that are free.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]


@dataclass(frozen=True)
class NetworkFile:
    """What reading a file tells, without running the network.

    Attributes:
        format: ``onnx``, ``pth``, ``safetensors`` or ``ncnn``.
        architecture: for people, such as ``Compact, 64 channels, 16 convolutions``.
        inputs, outputs: as stated.
        parameters: number of weights.
        metadata: ``licence``, ``author``, ``source``, ``summary`` as far as the file states them;
            ``manifest`` of an export of this program.
        operators: kinds of operators or layers, sorted; may be empty.
        other_files: paths of further files with its weights, relative to the file's folder.
    """

    format: str
    architecture: str
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    parameters: int
    metadata: Mapping[str, str] = field(default_factory=dict)
    operators: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelDescription:
    """What a network of somebody else's is and needs, found by running it.

    Sides are in pixels of the network's input unless stated otherwise.

    Attributes:
        format, architecture, parameters: see :class:`NetworkFile`.
        sha256: of all files of the network.
        kind: ``image`` (a frame in R'G'B'), ``luma`` (Y' alone; colour is resampled), ``frames`` (several
            frames in, their centre frame out), or ``functions``: an export of this program, whose functions
            carry state.
        scale: upscaling factor, 1 to 8.
        frames: frames of a window, odd.
        margin: pixels that a result lacks in each direction, ``result = scale * side - margin``.
        multiple: sides that the network takes are multiples of this, and tiles must begin at such.
        min_side: shortest side that it takes.
        fixed_size: height and width, if it takes no other.
        layout: of its input: ``nchw`` (frames along the channels), ``nhwc`` or ``ntchw``.
        dtype: of its input: ``float32`` or ``float16``.
        value_range: value of white: 1 or 255.
        bgr: whether blue comes first: as stated, else as far as a result shows it.
        input_name, output_name: as the file calls them.
        overlap: context on each side with which tiles equal whole frames to ``tile_error``.
        tile_error: largest difference, of full range.
        whole_frames: whether tiles differ however large the overlap is: some operator sees the whole frame,
            or where in it a pixel lies.
        multiply_adds: per input pixel; 0 if unknown.
        bytes_per_pixel: peak memory per input pixel of a tile.
        seconds_per_pixel: measured while probing, with one frame of ``engine``.
        engine: that probed it.
        licence, author, source, summary: as the file or its sidecar states; may be empty.
        manifest: of an export of this program, else empty.
        notices: for people.
        other_files: see :class:`NetworkFile`.
    """

    format: str
    architecture: str
    sha256: str
    kind: str
    scale: int
    parameters: int = 0
    frames: int = 1
    margin: int = 0
    multiple: int = 1
    min_side: int = 1
    fixed_size: tuple[int, int] | None = None
    layout: str = "nhwc"
    dtype: str = "float32"
    value_range: float = 1.0
    bgr: bool = False
    input_name: str = ""
    output_name: str = ""
    overlap: int = 16
    tile_error: float = 0.0
    whole_frames: bool = False
    multiply_adds: int = 0
    bytes_per_pixel: int = UNKNOWN_BYTES_PER_PIXEL
    seconds_per_pixel: float = 0.0
    engine: str = ""
    licence: str = ""
    author: str = ""
    source: str = ""
    summary: str = ""
    manifest: str = ""
    notices: tuple[str, ...] = ()
    other_files: tuple[str, ...] = ()

    @property
    def order(self) -> str:
        """Order of colours, one of ``ORDERS``; empty of brightness alone, and of this program's exports."""
        return ORDERS[self.bgr] if self.kind in ("image", "frames") else ""

    def with_order(self, order: str) -> ModelDescription:
        """Return the description with an order of colours that was stated, if the network has one."""
        return replace(self, bgr=order == "bgr") if self.order else self

    def to_json(self) -> dict[str, Any]:
        """Return the description as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> ModelDescription:
        """Invert :meth:`to_json`; unknown keys are ignored.

        Raises:
            TypeError, KeyError: a value is missing.
        """
        known = {each.name for each in fields(cls)}
        values = {name: value for name, value in content.items() if name in known}
        for name in ("notices", "other_files"):
            values[name] = tuple(values.get(name, ()))
        values["fixed_size"] = tuple(values["fixed_size"]) if values.get("fixed_size") else None
        return cls(**values)


@dataclass(frozen=True)
class ImportedModel:
    """A file of somebody else's network with its description; takes the place of a
    :class:`~vsrcli.models.weights.Weights`.

    Attributes:
        path: of the file; an ncnn network's ``.param``.
        description: of the network.
        name: for people and on the command line.
    """

    path: Path
    description: ModelDescription
    name: str

    @property
    def scale(self) -> int:
        return self.description.scale

    @cached_property
    def card(self) -> Mapping[str, Any]:
        """The description in the form of a model card."""
        found = self.description
        stated = json.loads(found.manifest) if found.manifest else {}
        return {
            "architecture": found.architecture,
            "options": {},
            "scale": found.scale,
            "degradation": str(stated.get("degradation", "")),
            "phase": str(stated.get("phase", "centre")),
            "sha256": found.sha256,
            "parameters": found.parameters,
            "licence": found.licence or "unknown",
            "author": found.author,
            "source": found.source,
            "summary": found.summary,
        }

    @cached_property
    def architecture(self) -> Architecture:
        """Costs and receptive field, as measured."""
        found, whole_frames = self.description, ""
        if found.manifest:  # an export of this program, whose costs are known
            stated = json.loads(found.manifest)
            return stated_architecture(stated["architecture"], stated["options"])
        if found.whole_frames:
            codes = f"{255 * found.tile_error:.1f} codes of 8 bits"
            whole_frames = f"it needs whole frames; with tiles the picture differs by up to {codes}"
        fixed, border = found.fixed_size, 2 * -(-found.margin // (2 * found.scale))
        return Architecture(
            self.name,
            found.summary or f"{found.format}: {found.architecture}",
            "window",
            scales=(found.scale,),
            frames=found.frames,
            module="imported",
            bytes_per_pixel=found.bytes_per_pixel,
            openvino_bytes=(found.bytes_per_pixel, 0),
            measured=(found.multiply_adds, found.overlap),
            multiple=found.multiple,
            max_size=(fixed[0] - border, fixed[1] - border) if fixed else None,
            tile_pixels=fixed[0] * fixed[1] if fixed else 0,
            whole_frames=whole_frames,
        )

    def verify(self) -> None:
        """Raise ModelError if the file is not the one that was described."""
        if files_sha256(self.path, self.description.other_files) != self.description.sha256:
            raise ModelError(f"{str(self.path)!r} has changed since it was read: run the command again")


def is_imported(model: str) -> bool:
    """Return whether a model is named by the path of somebody else's network."""
    return Path(model).suffix.lower() in IMPORTED_SUFFIXES


def model_files(path: Path, others: Iterable[str] = ()) -> tuple[Path, ...]:
    """Return the files of a network: the path itself, an ncnn network's ``.bin``, and others, which the file
    names."""
    own = (path, path.with_suffix(".bin")) if path.suffix.lower() == NCNN_SUFFIX else (path,)
    return (*own, *(path.parent / each for each in others))


def files_sha256(path: Path, others: Iterable[str] = ()) -> str:
    """Return the SHA-256 of a network's files, one after the other, as a hex digest.

    Raises:
        ModelError: a file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for each in model_files(path, others):
        try:
            with each.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            beside = "" if each == path else f", which belongs to {path.name}"
            raise ModelError(f"cannot read {str(each)!r}{beside}: {error.strerror}") from error
    return digest.hexdigest()


def input_shape(found: ModelDescription, height: int, width: int) -> tuple[int, ...]:
    """Return the shape of a network's input for frames of one size."""
    channels = 1 if found.kind == "luma" else 3
    if found.layout == "ntchw":
        return (1, found.frames, channels, height, width)
    channels *= found.frames
    return (1, height, width, channels) if found.layout == "nhwc" else (1, channels, height, width)
