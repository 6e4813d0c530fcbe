"""Two streams in sequence: what the first one makes of a film is upscaled once more by the second."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.frames.state import State, foreign_state_error
from vsrcli.frames.tiling import TilePlan

if TYPE_CHECKING:
    from vsrcli.inference.types import Stream

_FIRST, _SECOND = "first.", "second."  # what their parts of a state begin with


@dataclass(frozen=True)
class ChainedTilePlan(TilePlan):
    """Where the tiles of both passes lie; as a :class:`TilePlan`, those of the first.

    Attributes:
        then: the second pass's, in pixels of the first one's results.
    """

    then: TilePlan | None = None


def chain_tiles(first: TilePlan, then: TilePlan) -> ChainedTilePlan:
    """Both as one."""
    return ChainedTilePlan(**_fields(first), then=then)


def first_pass_tiles(tiles: TilePlan) -> TilePlan:
    """The tiles of the first pass by themselves."""
    return TilePlan(**_fields(tiles)) if isinstance(tiles, ChainedTilePlan) else tiles


class ChainedStream:
    """The results of one stream through another; follows ``engine.types.Stream``.

    A result is as late as both streams are together. The state is that of both, ``first.NAME`` and
    ``second.NAME``.
    """

    def __init__(self, first: Stream, second: Stream) -> None:
        self._first, self._second = first, second

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        between = self._first.push(frame)
        return None if between is None else self._second.push(between)

    def flush(self) -> list[np.ndarray]:
        results = [self._second.push(between) for between in self._first.flush()]
        return [result for result in results if result is not None] + self._second.flush()

    def fork(self) -> ChainedStream:
        return ChainedStream(self._first.fork(), self._second.fork())

    def state(self) -> State:
        first = {_FIRST + name: array for name, array in self._first.state().items()}
        return first | {_SECOND + name: array for name, array in self._second.state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        for name in state:
            if not name.startswith((_FIRST, _SECOND)):
                raise foreign_state_error(f"its {name!r} belongs to neither of two passes")
        for prefix, stream in ((_FIRST, self._first), (_SECOND, self._second)):
            own = (name for name in state if name.startswith(prefix))
            stream.restore({name.removeprefix(prefix): state[name] for name in own})


def _fields(tiles: TilePlan) -> dict[str, Any]:
    return {each.name: getattr(tiles, each.name) for each in fields(TilePlan)}
