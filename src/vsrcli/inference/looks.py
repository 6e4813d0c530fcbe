"""The two looks of the program's own networks, and what lies between them.

``natural`` weights are trained for the smallest error: no detail that is not there, and edges as soft as they
are uncertain. ``sharp`` ones come from adversarial training, which makes up plausible texture. They are files
of their own, whose cards state the look, and found by architecture and scale like any other.

Between both, the weights themselves are interpolated (Wang et al., "ESRGAN", ECCVW 2018, section 3.4): sharp
ones are trained from natural ones, so that the networks in between work, and cost no more than either.
Blending two pictures would take both networks, and show the texture of one through the blur of the other.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import ModelError, UsageError
from vsrcli.inference.graph_cache import cache_folder
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.models.weights import (
    DEFAULT_DEGRADATION,
    DEFAULT_LOOK,
    SUFFIX,
    Weights,
    file_sha256,
    find_named_weights,
    first_of_scales,
    list_weights,
    read_weights,
    weight_folders,
    weights_in_order,
)
from vsrcli.system.files import create_temporary_folder, remove_temporary, unpublished_folder

NATURAL, SHARP = LOOKS = (DEFAULT_LOOK, "sharp")
SHARP_SUFFIX = f"-{SHARP}"
_SHARP_DEGRADATIONS = ("footage", DEFAULT_DEGRADATION)  # where there are several, in order of preference
_UNFINISHED = ".new-"
_MAX_GENERATIONS = 16  # of sharp weights that were trained on
_KEPT_SECONDS = 30 * 24 * 3600  # of mixed weights that nobody has asked for since


def split_look(model: str) -> tuple[str, str | None]:
    """Return the model that a name such as ``duf-r-sharp`` means, and its look; None if it states none."""
    name = model.removesuffix(SHARP_SUFFIX)
    return (name, SHARP) if name != model and name in ARCHITECTURES else (model, None)


def requested_look(model: str, look: str | None = None) -> str:
    """Return the look of a model as requested: ``look``, else what its name or file states, else natural.

    Args:
        model: see :func:`~vsrcli.inference.selection.find_models`.
        look: one of ``LOOKS``, or None.
    """
    weights = None
    if look is None:
        with contextlib.suppress(ModelError):  # a file that is missing: for who loads it
            weights = find_named_weights(model)
    return look or (weights.look if weights else split_look(model)[1]) or NATURAL


def offers_look(model: str, look: str) -> bool:
    """Return whether a model has a look, at some scale; interpolation and networks of others are natural."""
    if weights := find_named_weights(model):
        return weights.look == look
    name, stated = split_look(model)
    if stated:
        return stated == look
    return look == NATURAL or bool(sharp_weights(name))


def sharp_weights(model: str) -> dict[int, Weights]:
    """Return the sharp weights of an architecture by scale; of several for one scale those of the first
    folder, and of these the most general."""
    found = [each for each in weights_in_order() if each.card["architecture"] == model and each.look == SHARP]
    folders = list(dict.fromkeys(each.path.parent for each in found))

    def rank(weights: Weights) -> tuple[int, int]:
        degradation = weights.card["degradation"]
        known = degradation in _SHARP_DEGRADATIONS
        generality = _SHARP_DEGRADATIONS.index(degradation) if known else len(_SHARP_DEGRADATIONS)
        return folders.index(weights.path.parent), generality

    return first_of_scales(sorted(found, key=rank))


def missing_look(model: str, scale: int | None = None) -> ModelError:
    """Return the error for sharp weights that there are not, with those that there are.

    Args:
        model: name of the model.
        scale: native factor that was needed; None: the model has none at all.
    """
    sharp = [each for each in list_weights() if each.look == SHARP]
    own = [each for each in sharp if each.card["architecture"] == model]
    known = ", ".join(each.name for each in own or sharp) or "none"
    nearest = min(
        own, key=lambda each: (each.scale < (scale or 0), abs(each.scale - (scale or 0))), default=None
    )
    remedy = f"-m {nearest.name}, whose result is resampled, or " if nearest else ""
    return ModelError(
        f"there are no sharp weights for {model}{f' x{scale}' if scale else ''}; there are: {known}. "
        f"Use {remedy}--look {NATURAL}"
    )


@dataclass(frozen=True)
class MixedWeights(Weights):
    """Weights between two networks of the same architecture and sizes; see :meth:`materialize`.

    Attributes:
        path: of the file that will be written.
        card: that of the sharp weights, with a checksum of both files and the strength in place of its own.
        natural, sharp: the weights at a strength of 0 and of 1.
        strength: between 0 and 1.
    """

    natural: Weights
    sharp: Weights
    strength: float

    def materialize(self) -> Weights:
        """Write the file, unless it is there, and return it as weights like any other.

        It is kept in the cache folder; where that cannot be written, in a temporary one.

        Raises:
            ModelError: one of the files is damaged, or their layers differ.
        """
        with contextlib.suppress(ModelError, OSError):
            return self._read_intact()
        for each in (self.natural, self.sharp):
            each.verify()
        folder = self.path.parent
        with contextlib.suppress(OSError):
            folder.parent.mkdir(parents=True, exist_ok=True)
            _remove_unused(folder.parent)
            with unpublished_folder(_UNFINISHED, folder.parent) as new:
                self._write(new)
                return self._publish(new)
        folder = create_temporary_folder("vsr-weights-")
        atexit.register(remove_temporary, folder)
        self._write(folder)
        return read_weights(folder / self.path.name)

    def _read_intact(self) -> Weights:
        """Return the file as weights, and note that it was asked for; raise ModelError or OSError if it is
        missing or damaged."""
        weights = read_weights(self.path)
        weights.verify()
        os.utime(self.path.parent)
        return weights

    def _publish(self, new: Path) -> Weights:
        """Move a folder to its place, unless another run was faster: its file may be in use."""
        folder = self.path.parent
        try:
            new.rename(folder)
        except OSError:  # there is one already
            with contextlib.suppress(ModelError, OSError):
                return self._read_intact()
            shutil.rmtree(folder, ignore_errors=True)
            with contextlib.suppress(OSError):
                new.rename(folder)
        return read_weights(self.path)

    def _write(self, folder: Path) -> None:
        """Write weights and card into an empty folder."""
        weights = Weights(folder / self.path.name, {})
        shutil.copyfile(self.sharp.path, weights.path)
        _interpolate(self.natural.path, weights.path, self.strength)
        mixed = {"natural": self.natural.name, "sharp": self.sharp.name, "strength": self.strength}
        card = {**self.sharp.card, "mixed": mixed, "sha256": file_sha256(weights.path)}
        weights.card_path.write_text(json.dumps(card, indent=2, ensure_ascii=False), encoding="utf-8")


def mix_looks(sharp: Weights, strength: float) -> Weights:
    """Return weights between the natural ones of the same network and sharp ones. Writes nothing.

    Args:
        sharp: any of the program's own with this look.
        strength: 0 for the natural ones, 1 for the sharp ones, as they are; or any number in between.

    Raises:
        UsageError: the natural weights are missing, see :func:`find_counterpart`.
    """
    if strength == 1:
        return sharp
    natural = find_counterpart(sharp)
    if natural is None:
        raise UsageError(
            f"--strength {strength:g} lies between natural and sharp weights, and those that {sharp.name} "
            "was trained from are neither beside it nor in the usual folders: leave --strength out"
        )
    if strength == 0:
        return natural
    parts = (natural.card["sha256"], sharp.card["sha256"], repr(float(strength)))
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).hexdigest()
    folder = cache_folder() / "mixed" / digest[:32]
    path = folder / f"{sharp.name}-{strength:.3g}{SUFFIX}"
    return MixedWeights(path, {**sharp.card, "sha256": digest}, natural, sharp, strength)


def find_counterpart(weights: Weights) -> Weights | None:
    """Return the natural weights that sharp ones lie beside, or None.

    Those that the sharp ones were trained from, where their card states it, wherever they are: in the sharp
    ones' folder, or in the usual ones. Else those of the same network that ``--look natural`` takes first.
    """

    def network(each: Weights) -> tuple[object, ...]:
        card = each.card
        sizes = sorted(each.architecture.options.items())
        return card["architecture"], each.scale, card.get("phase", "centre"), sizes

    ancestor, stated = weights, _initial_sha256(weights)
    for _ in range(_MAX_GENERATIONS if stated else 0):
        ancestors = _weights_by_sha256(_initial_sha256(ancestor), weights.path.parent)
        found = [each for each in ancestors if network(each) == network(weights)]
        if not found or found[0].look == NATURAL:
            return found[0] if found else None
        ancestor = found[0]  # sharp ones, which were trained on
    if stated:
        return None
    found = [
        each for each in weights_in_order() if each.look == NATURAL and network(each) == network(weights)
    ]
    return min(found, key=lambda each: each.card["degradation"] != DEFAULT_DEGRADATION, default=None)


def _initial_sha256(weights: Weights) -> str:
    """Return the checksum of the weights that a training began with; empty if the card does not state it."""
    init = weights.card.get("init")
    return str(init.get("sha256", "")) if isinstance(init, dict) else ""


def _weights_by_sha256(sha256: str, first_folder: Path) -> list[Weights]:
    """Return the weights with a checksum: those of one folder, then those of the usual ones, whatever their
    names are."""
    found: list[Weights] = []
    for folder in (first_folder, *weight_folders()):
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            with contextlib.suppress(ModelError):  # of other files there
                found.append(read_weights(path))
    return [each for each in found if each.card["sha256"] == sha256]


def _interpolate(natural: Path, sharp: Path, strength: float) -> None:
    """Change a file of sharp weights to ``natural + strength * (sharp - natural)``."""
    import h5py
    import numpy as np

    with h5py.File(natural) as first, h5py.File(sharp, "r+") as second:

        def arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
            names: list[str] = []
            file.visit(names.append)
            return {name: each for name in names if isinstance(each := file[name], h5py.Dataset)}

        before, after = arrays(first), arrays(second)
        shapes = [{name: each.shape for name, each in found.items()} for found in (before, after)]
        if shapes[0] != shapes[1]:
            raise ModelError(
                f"the layers of {natural.name} and of the sharp weights differ: leave --strength out"
            )
        for name, each in after.items():
            if np.issubdtype(each.dtype, np.floating):
                start = before[name][...].astype(np.float64)
                each[...] = (start + strength * (each[...] - start)).astype(each.dtype)


def _remove_unused(folder: Path) -> None:
    """Remove mixed weights that nobody has asked for in a while."""
    for each in folder.glob("*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > _KEPT_SECONDS:
                shutil.rmtree(each, ignore_errors=True)


def describe_look(looks: Sequence[str], strength: float) -> str:
    """Return text such as ``sharp`` or ``0.4 of sharp, the rest natural``.

    Args:
        looks: as requested, of the program's own networks in a run; empty: there are none.
        strength: as requested.
    """
    if SHARP not in looks:
        return NATURAL if looks else ""
    return SHARP if strength == 1 else f"{strength:.3g} of sharp, the rest natural"
