"""Every model by name: what it is, what it costs, and where its weights lie.

Callers see plain data (:class:`Architecture`, :class:`Weights`) and functions; classes of networks stay in
their files. Importing this file does not import Keras.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsrcli.errors import ModelError
from vsrcli.models import costs

if TYPE_CHECKING:
    import keras

DEFAULT_MODEL = "duf-r-s"
NETWORK_PRESETS = {"fast": "duf-r-xs", "balanced": "duf-r-s", "quality": "duf-r-s"}  # as the cards measured
DEFAULT_DEGRADATION = "video"
SUFFIX = ".weights.h5"


@dataclass(frozen=True)
class Architecture:
    """A way to upscale, independent of scale and weights.

    Attributes:
        name: as on the command line.
        summary: one line for people.
        kind: ``resample`` (no weights), ``window`` (the whole window anew for every frame), ``cached``
            (features of each frame computed once) or ``recurrent`` (the same, and a state handed from frame
            to frame).
        scales: native factors.
        frames: how many frames a result is made from; those that a state remembers do not count.
        module: file in ``vsrcli.models`` with ``build``; ``models.costs`` has its ``MODULE_macs`` and
            ``MODULE_radius``; None without a network.
        options: fixed keyword arguments of these functions.
        bytes_per_pixel: peak memory on TensorFlow per low-resolution pixel at x4, see benchmarks/memory.py.
        openvino_bytes: the same on OpenVINO, where that was measured: per pixel of a tile, and per pixel of
            its picture.
    """

    name: str
    summary: str
    kind: str
    scales: tuple[int, ...] = (2, 3, 4)
    frames: int = 7
    module: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    bytes_per_pixel: int = 800
    openvino_bytes: tuple[int, int] | None = None

    def build(self, scale: int, *, phase: str = "centre") -> keras.Model:
        """A network with fresh random weights."""
        return import_module(f"vsrcli.models.{self.module}").build(scale, phase=phase, **self.options)

    def macs(self, scale: int) -> int:
        """Multiply-adds per low-resolution pixel and frame; 0 for interpolation."""
        return getattr(costs, f"{self.module}_macs")(scale, **self.options) if self.module else 0

    def memory(self, engine: str, scale: int) -> int:
        """Bytes per low-resolution pixel of a tile at work, on ``openvino`` or anything else."""
        if self.openvino_bytes is None or engine != "openvino":
            return self.bytes_per_pixel
        tile, picture = self.openvino_bytes
        return tile + scale**2 * picture

    def radius(self) -> int:
        """How far a result sees, in low-resolution pixels: what tiles must share to give the untiled picture.

        Without a state that is the receptive field radius. What a state remembers comes from ever further,
        but fades on the way. Tiles of random recurrent networks stay within 2e-3 of the whole frame over 60
        frames if they share the radius of one step, within 2e-4 if they share it twice, as here, and within
        2e-5 at three times (tests/engine/test_recurrent.py; one level of 8 bits is 4e-3).
        """
        if self.module is None:
            return 3
        steps = 2 if self.kind == "recurrent" else 1
        return steps * getattr(costs, f"{self.module}_radius")(**self.options)


ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            "duf-s",
            "fast: each frame encoded once, 5x5 dynamic filters",
            "cached",
            module="duf_s",
            options={"width": 48, "blocks": 3, "head": 64},
            bytes_per_pixel=7_600,
            openvino_bytes=(4_200, 25),
        ),
        Architecture(
            "duf-r-xs",
            "recurrent, for speed: a window of three frames, no dynamic filters",
            "recurrent",
            frames=3,
            module="duf_r",
            options={"width": 24, "levels": 1, "blocks": 2, "head": 32, "filters": False},
            bytes_per_pixel=3_500,
            openvino_bytes=(1_450, 100),
        ),
        Architecture(
            "duf-r-s",
            "recurrent, small: a window of seven frames and a state that remembers the others",
            "recurrent",
            module="duf_r",
            options={"width": 44, "levels": 3, "blocks": 3, "head": 56},
            bytes_per_pixel=7_600,
            openvino_bytes=(4_500, 30),
        ),
        Architecture(
            "duf-r-m",
            "recurrent, medium",
            "recurrent",
            module="duf_r",
            options={"width": 72, "levels": 3, "blocks": 5, "head": 80},
            bytes_per_pixel=11_000,
            openvino_bytes=(6_900, 30),
        ),
        Architecture(
            "duf-r-l",
            "recurrent, large: for GPUs",
            "recurrent",
            module="duf_r",
            options={"width": 100, "levels": 3, "blocks": 7, "head": 128},
            bytes_per_pixel=12_000,
            openvino_bytes=(9_700, 30),
        ),
        Architecture(
            "duf-16l",
            "DUF of the paper, 16 layers",
            "window",
            module="duf",
            options={"depth": 16},
            bytes_per_pixel=40_000,
            openvino_bytes=(37_000, 30),
        ),
        Architecture(
            "duf-28l",
            "DUF of the paper, 28 layers",
            "window",
            module="duf",
            options={"depth": 28},
            bytes_per_pixel=50_000,
            openvino_bytes=(36_500, 30),
        ),
        Architecture(
            "duf-52l",
            "DUF of the paper, 52 layers",
            "window",
            module="duf",
            options={"depth": 52},
            bytes_per_pixel=80_000,
            openvino_bytes=(51_500, 30),
        ),
        Architecture("bicubic", "interpolation, a = -0.5; needs no weights", "resample", frames=1),
        Architecture("lanczos", "interpolation, three lobes; needs no weights", "resample", frames=1),
    )
}


@dataclass(frozen=True)
class Weights:
    """A weight file with its model card.

    Attributes:
        path: the ``.weights.h5`` file.
        card: the JSON beside it: architecture, options, scale, degradation, phase, data, command, steps,
            measured, sha256, licence.
    """

    path: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def card_path(self) -> Path:
        """The card's file."""
        return self.path.with_name(self.name + ".json")

    @property
    def scale(self) -> int:
        return int(self.card["scale"])

    @property
    def architecture(self) -> Architecture:
        """The architecture with this file's own sizes."""
        known = architecture(str(self.card["architecture"]))
        options = {**known.options, **self.card.get("options", {})}
        return Architecture(**{**known.__dict__, "options": options})


def architecture(name: str) -> Architecture:
    """Look a model up by name.

    Raises:
        ModelError: unknown name; the message lists the known ones.
    """
    try:
        return ARCHITECTURES[name]
    except KeyError:
        known = ", ".join(ARCHITECTURES)
        raise ModelError(f"unknown model {name!r}: choose one of {known}, or name a {SUFFIX} file") from None


def weight_folders() -> list[Path]:
    """Where weights are looked for: ``$VSR_WEIGHTS`` first, then the package's own, then the checkout's.

    Raises:
        ModelError: ``$VSR_WEIGHTS`` names no folder. Other weights would be no answer to that.
    """
    package = Path(__file__).resolve().parent.parent
    folders = [package / "weights", package.parent.parent / "weights"]
    if extra := os.environ.get("VSR_WEIGHTS"):
        if not Path(extra).is_dir():
            raise ModelError(f"VSR_WEIGHTS names {extra!r}, which is no folder: correct it or unset it")
        folders.insert(0, Path(extra))
    return [folder for folder in folders if folder.is_dir()]


def read_weights(path: Path) -> Weights:
    """A weight file by path; its card is the ``.json`` of the same name beside it.

    Raises:
        ModelError: the file or its card is missing or unreadable.
    """
    card = Weights(path, {}).card_path
    if not path.is_file():
        raise ModelError(f"no weight file {str(path)!r}: see `vsr models` for what is there")
    try:
        weights = Weights(path, json.loads(card.read_text(encoding="utf-8")))
        _ = weights.architecture, weights.scale
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{str(path)!r} needs its model card {card.name!r} beside it: {error}") from error
    return weights


def list_weights() -> list[Weights]:
    """Every usable weight file that can be found, sorted by name; the first folder wins where names repeat.

    A file without a readable card is left out, with a warning in the log: it must not stop the others.
    """
    found: dict[str, Weights] = {}
    for folder in weight_folders():
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                weights = read_weights(path)
            except ModelError as error:
                logging.getLogger(__name__).warning("%s", error)
                continue
            found.setdefault(weights.name, weights)
    return sorted(found.values(), key=lambda weights: weights.name)


def find_weights(model: str, scale: int, degradation: str = DEFAULT_DEGRADATION) -> Weights:
    """The weights of a model at a native scale.

    Args:
        model: name of an architecture, or path of a ``.weights.h5`` file.
        scale: native factor.
        degradation: preset that the weights were trained on.

    Raises:
        ModelError: no such weights; the message says which there are.
    """
    candidates = [w for w in list_weights() if w.card["architecture"] == model]
    for weights in candidates:
        if weights.scale == scale and weights.card["degradation"] == degradation:
            return weights
    there = ", ".join(f"x{w.scale} {w.card['degradation']}" for w in candidates) or "none"
    raise ModelError(
        f"no trained weights for {model} x{scale} ({degradation}); there: {there}. "
        f"Choose another with --model (see `vsr models`) or train them with `vsr train`"
    )


def load(weights: Weights) -> keras.Model:
    """Build the network of a weight file and fill it.

    Raises:
        ModelError: the file is not what its card says (sha256), or does not fit the architecture.
    """
    digest = sha256(weights.path)
    if digest != weights.card.get("sha256"):
        raise ModelError(
            f"{str(weights.path)!r} is damaged: its sha256 is not the one in its card; fetch it again"
        )
    model = weights.architecture.build(weights.scale, phase=str(weights.card.get("phase", "centre")))
    try:
        model.load_weights(weights.path)
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(
            f"{str(weights.path)!r} does not fit {weights.architecture.name}: {reason}; "
            "fetch it and its card again"
        ) from error
    return model


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
