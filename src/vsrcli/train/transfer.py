"""Starting from weights that something else was trained to: another scale, another degradation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vsrcli.errors import DataError
from vsrcli.models.weights import load_model, read_weights

if TYPE_CHECKING:
    import keras

FILTERS = ("filters", "filters2")  # layers whose bias says where each sub-pixel lies, see interpolating_bias


@dataclass(frozen=True)
class Transfer:
    """What was taken over.

    Attributes:
        name: of the weight file.
        sha256: of the weight file.
        fresh: names of layers that start untrained, or ``LAYER bias`` for part of one.
    """

    name: str
    sha256: str
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        return f"starting from {self.name}; fresh: {', '.join(self.fresh) or 'nothing'}"


def initialize_from(path: Path, model: keras.Model, phase: str) -> Transfer:
    """Fill the layers of a network that a weight file has under the same name and with the same shapes.

    Weights for the other pixel grid keep their filters, but not the filters' bias: it points at where the
    sub-pixels lay on that grid.

    Args:
        path: a ``.weights.h5`` file with its card beside it.
        model: freshly built, on the pixel grid ``phase``.
        phase: ``centre`` or ``zero``.

    Raises:
        ModelError: no such file, no card, or a damaged file.
        DataError: no layer agrees.
    """
    weights = read_weights(path)
    theirs = {layer.name: layer.get_weights() for layer in load_model(weights).layers}
    fresh, taken = [], 0
    for layer in model.layers:
        ours, other = layer.get_weights(), theirs.get(layer.name)
        if not ours:
            continue
        if other is None or [w.shape for w in ours] != [w.shape for w in other]:
            fresh.append(layer.name)
            continue
        if layer.name in FILTERS and weights.card.get("phase", "centre") != phase:
            other = [*other[:-1], ours[-1]]
            fresh.append(f"{layer.name} bias")
        layer.set_weights(other)
        taken += 1
    if not taken:
        raise DataError(
            f"{str(path)!r} ({weights.architecture.name}) shares no layer with this network: "
            "name weights of the same architecture and sizes"
        )
    return Transfer(path.name, str(weights.card["sha256"]), tuple(fresh))


def same_initial_weights(path: Path | None, recorded: dict[str, Any] | None) -> bool:
    """Whether a run that recorded its start may go on with ``path``; None asks for nothing."""
    if path is None:
        return True
    return recorded is not None and read_weights(path).card.get("sha256") == recorded["sha256"]
