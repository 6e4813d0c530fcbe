"""Whether a worker elsewhere would compute the same: what it says of itself, and what has to be equal.

Versions, weights and options are compared by the worker, see
:func:`~vsrcli.pipeline.checkpoint.fingerprint`; whoever differs there cannot take part. Networks round
differently on another kind of processor, by a ten-thousandth of a code; and in another precision by much
more.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from vsrcli.errors import EngineError
from vsrcli.inference.types import Engine


@dataclass(frozen=True)
class Greeting:
    """What a worker says of itself once its network is loaded.

    Attributes:
        engine: for people.
        precision: of the network.
        kind: of processor and engine; results of equal kinds are equal, bit for bit.
    """

    engine: str
    precision: str
    kind: str

    @classmethod
    def of(cls, engine: Engine) -> Greeting:
        """Return the greeting of an engine on this machine."""
        place = engine.description.partition(" on ")[2].replace(" (no GPU found)", "")
        kind = re.sub(r"^GPU \d+: ", "", place)
        return cls(engine.description, engine.precision, kind if engine.on_gpu else f"{kind}, {processor()}")


def processor() -> str:
    """Return the model of this machine's processor."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class Likeness:
    """Compares each worker with the first one that was set up for the same video.

    With ``--precision auto``, videos of one run may have different precisions, by their weights.

    Args:
        strict: another kind of processor cannot take part, either.
        on_notice: called with a line about each other kind, once.
    """

    def __init__(self, *, strict: bool, on_notice: Callable[[str], None]) -> None:
        self._first: dict[int, Greeting] = {}  # by video
        self._strict, self._on_notice = strict, on_notice
        self._kinds: set[str] = set()

    @property
    def is_empty(self) -> bool:
        """Whether no worker has been ready yet."""
        return not self._first

    def check(self, name: str, video: int, greeting: Greeting) -> None:
        """Compare a worker that is set up for a video, which goes by its key.

        Raises:
            EngineError: it cannot take part.
        """
        first = self._first.setdefault(video, greeting)
        if greeting.precision != first.precision:
            raise EngineError(
                f"{name} computes in {greeting.precision}, the first worker in {first.precision}: "
                "name one that all have, with --precision"
            )
        if greeting.kind == first.kind:
            return
        difference = f"{name} computes on another kind of processor ({greeting.kind}, not {first.kind})"
        if self._strict:
            raise EngineError(difference)
        if greeting.kind not in self._kinds:
            self._kinds.add(greeting.kind)
            self._on_notice(f"{difference}: its frames may differ from theirs by rounding")
