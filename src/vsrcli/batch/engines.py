"""Models that stay loaded from one film to the next."""

from __future__ import annotations

from collections.abc import Callable

from vsrcli.inference.engine import StreamingEngine
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.types import Engine


class EngineCache:
    """Loads each model once for a device and a precision, see :func:`~vsrcli.inference.selection.open_engine`.

    Attributes:
        loaded: how many have been loaded.
    """

    def __init__(self) -> None:
        self._there: dict[tuple[object, ...], Engine] = {}
        self._size: tuple[int, int] | None = None
        self._tell: Callable[[str], None] = lambda text: None

    @property
    def loaded(self) -> int:
        return len(self._there)

    def evict_other_sizes(self, height: int, width: int) -> None:
        """The next film comes in tiles of this size: graphs for another one only take memory from now on."""
        if self._size not in (None, (height, width)):
            for engine in self._there.values():
                if isinstance(engine, StreamingEngine):
                    engine.clear_compiled()
        self._size = height, width

    def load(
        self,
        choice: ModelChoice,
        *,
        on_notice: Callable[[str], None] = lambda text: None,
        **how: str,
    ) -> Engine:
        """As ``open_engine``, whose device, precision and engine are ``how``; the second time at once."""
        self._tell = on_notice
        weights = choice.weights
        key = (choice.name, choice.scale, weights and weights.card["sha256"], *sorted(how.items()))
        if key not in self._there:
            self._there[key] = open_engine(choice, on_notice=lambda text: self._tell(text), **how)
        return self._there[key]
