"""Weight files and their model cards: find, list, read and load. Importable without Keras."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsrcli.errors import ModelError
from vsrcli.models.architectures import ARCHITECTURES, Architecture, stated_architecture

if TYPE_CHECKING:
    import keras

DEFAULT_DEGRADATION = "video"
DEFAULT_LOOK = "natural"  # of cards that state none
SUFFIX = ".weights.h5"
_REQUIRED = ("architecture", "scale", "degradation", "sha256")
_KINDS: dict[str, tuple[type, str]] = {  # of a card's entries that commands read
    **dict.fromkeys(("architecture", "degradation", "sha256", "look", "phase", "licence"), (str, "text")),
    **dict.fromkeys(("scale", "parameters"), (int, "a whole number")),
    **dict.fromkeys(("options", "measured", "validation"), (dict, "an object")),
}


@dataclass(frozen=True)
class Weights:
    """A weight file with its model card.

    Attributes:
        path: the ``.weights.h5`` file.
        card: content of the ``.json`` file next to it: architecture, options, scale, degradation, phase,
            data, command, steps, measured, sha256, licence.
    """

    path: Path
    card: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.path.name.removesuffix(SUFFIX)

    @property
    def card_path(self) -> Path:
        """Path of the card."""
        return self.path.with_name(self.name + ".json")

    @property
    def scale(self) -> int:
        return int(self.card["scale"])

    @property
    def look(self) -> str:
        """``natural``, or ``sharp`` after adversarial training."""
        return str(self.card.get("look", DEFAULT_LOOK))

    @property
    def architecture(self) -> Architecture:
        """The architecture with this file's own sizes."""
        return stated_architecture(str(self.card["architecture"]), self.card.get("options", {}))

    def verify(self) -> None:
        """Raise ModelError if the file does not match its card's sha256."""
        if file_sha256(self.path) != self.card.get("sha256"):
            raise ModelError(
                f"{str(self.path)!r} is damaged: its sha256 is not the one in its card; fetch it again"
            )


def own_folders() -> list[Path]:
    """Return the folders of the program's own weights: the package's, then the checkout's."""
    package = Path(__file__).resolve().parent.parent
    return [each for each in (package / "weights", package.parent.parent / "weights") if each.is_dir()]


def weight_folders() -> list[Path]:
    """Return the folders to search: ``$VSR_WEIGHTS`` first, then :func:`own_folders`.

    Raises:
        ModelError: ``$VSR_WEIGHTS`` is not a folder; other weights must not be used silently instead.
    """
    folders = own_folders()
    if extra := os.environ.get("VSR_WEIGHTS"):
        folder = Path(os.path.expanduser(extra))  # noqa: PTH111
        if not folder.is_dir():
            raise ModelError(f"VSR_WEIGHTS names {extra!r}, which is not a folder: correct it or unset it")
        folders.insert(0, folder)
    return folders


def read_weights(path: Path) -> Weights:
    """Read the card of a weight file, the ``.json`` file of the same name next to it.

    Raises:
        ModelError: the file or its card is missing or unreadable, or the card lacks what commands need.
    """
    card = Weights(path, {}).card_path
    if not path.is_file():
        raise ModelError(f"no weight file {str(path)!r}: see `vsr models` for those available")
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{str(path)!r} needs its model card {card.name!r} next to it: {error}") from error
    try:
        _check_card(content)
        stated = {name: value for name, value in content.items() if value is not None or name not in _KINDS}
        weights = Weights(path, stated)
        _ = weights.architecture
    except (ValueError, ModelError) as error:
        raise ModelError(
            f"the model card {str(card)!r} cannot be used: {error}; fetch it again, or correct it"
        ) from error
    return weights


def _check_card(card: Any) -> None:
    """Raise ValueError unless a card has the entries that commands read, of the right kinds."""
    if not isinstance(card, dict):
        raise ValueError("it is no object")
    if missing := [name for name in _REQUIRED if name not in card]:
        raise ValueError(f"{missing[0]!r} is missing")
    for name, (kind, needed) in _KINDS.items():
        value = card.get(name)
        is_absent = value is None and name not in _REQUIRED
        if not is_absent and (not isinstance(value, kind) or isinstance(value, bool)):
            raise ValueError(f"{name!r} is {str(value)[:40]!r}, and {needed} is needed")
    for name, value in (card.get("options") or {}).items():
        if not isinstance(value, int):
            raise ValueError(f"option {name!r} is {str(value)[:40]!r}, and a whole number is needed")


def list_weights() -> list[Weights]:
    """Return every usable weight file, sorted by name; the first folder wins where names repeat.

    A file without a card that can be used is skipped, with a warning in the log.
    """
    return sorted(weights_in_order(), key=lambda weights: weights.name)


def weights_in_order(folders: Iterable[Path] | None = None) -> list[Weights]:
    """Return what :func:`list_weights` does in the order of folders, by default :func:`weight_folders`, and
    of names in a folder: of several for one model, scale, degradation and look, the first one is meant."""
    by_name: dict[str, Weights] = {}
    for folder in weight_folders() if folders is None else folders:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            try:
                weights = read_weights(path)
            except ModelError as error:
                logging.getLogger(__name__).warning("%s", error)
                continue
            by_name.setdefault(weights.name, weights)
    return list(by_name.values())


def first_of_scales(weights: Iterable[Weights]) -> dict[int, Weights]:
    """Return the first weights of each scale, by scale."""
    first: dict[int, Weights] = {}
    for each in weights:
        first.setdefault(each.scale, each)
    return dict(sorted(first.items()))


def find_named_weights(model: str) -> Weights | None:
    """Return a weight file by its path, or by its name without suffix in the usual folders; None if the model
    is called in another way.

    Raises:
        ModelError: a path that cannot be read.
    """
    if model.endswith(SUFFIX):
        return read_weights(Path(model))
    if model in ARCHITECTURES:
        return None
    return next((each for each in list_weights() if each.name == model), None)


def find_weights(
    model: str, scale: int, degradation: str = DEFAULT_DEGRADATION, look: str = DEFAULT_LOOK
) -> Weights:
    """Return the weights of a model at a native scale; of several the first in :func:`weights_in_order`.

    Args:
        model: name of an architecture.
        scale: native factor.
        degradation: preset that the weights were trained on.
        look: ``natural`` or ``sharp`` (adversarial training), as the card states it.

    Raises:
        ModelError: no such weights; the message lists those available.
    """
    candidates = [w for w in weights_in_order() if w.card["architecture"] == model]
    for weights in candidates:
        found = (weights.scale, weights.card["degradation"], weights.look)
        if found == (scale, degradation, look):
            return weights
    available = ", ".join(_kind(each) for each in candidates) or "none"
    raise ModelError(
        f"no trained weights for {model} x{scale} ({degradation}); available: {available}. "
        f"Choose another with --model (see `vsr models`) or train them with `vsr train`"
    )


def _kind(weights: Weights) -> str:
    look = "" if weights.look == DEFAULT_LOOK else f" {weights.look}"
    return f"x{weights.scale} {weights.card['degradation']}{look}"


def load_model(weights: Weights) -> keras.Model:
    """Build the network of a weight file and load its weights.

    Raises:
        ModelError: the file does not match its card's sha256, or does not fit the architecture.
    """
    weights.verify()
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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as a hex digest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
