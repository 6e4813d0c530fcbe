"""What has been finished of a film, in one small JSON file that is replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vsrcli.frames.tiling import TilePlan, TileSpan
from vsrcli.inference.wrappers import chain_tiles
from vsrcli.media.segments import SegmentFile

NAME = "journal.json"
_VERSION = 2


@dataclass(frozen=True)
class Journal:
    """Finished segments and how to go on.

    Attributes:
        tiles: how frames are cut; what the state is made for.
        fingerprint: what the film depends on, by name; see :mod:`vsrcli.pipeline.fingerprint`.
        length: frames after which a segment is due to end; 0 before that is decided.
        engine: device and precision of the last run, for people.
        segments: the finished ones, in order.
        state: file with what the path remembers after them; None at the film's end.
        shots: begun.
        warnings: damage that was passed over.
        complete: whether these are all.
    """

    tiles: TilePlan
    fingerprint: Mapping[str, str] = field(default_factory=dict)
    length: int = 0
    engine: str = ""
    segments: tuple[SegmentFile, ...] = ()
    state: str | None = None
    shots: int = 0
    warnings: tuple[str, ...] = ()
    complete: bool = False

    @property
    def frames(self) -> int:
        """In finished segments."""
        return sum(segment.frames for segment in self.segments)

    @property
    def files(self) -> list[str]:
        """Names of all files that belong to it, its own included."""
        return [NAME, *(segment.name for segment in self.segments), *([self.state] if self.state else ())]

    def dumps(self) -> bytes:
        """As JSON."""
        return json.dumps({"version": _VERSION, **asdict(self)}, indent=1).encode()

    def whole(self, folder: Path) -> bool:
        """Whether all its files are there, the segments in their full length."""
        try:
            sizes = [(folder / segment.name).stat().st_size == segment.size for segment in self.segments]
            return all(sizes) and all((folder / name).is_file() for name in self.files)
        except OSError:
            return False


def read(folder: Path) -> Journal | None:
    """The journal of a folder; None if there is none that this version understands."""
    try:
        content: dict[str, Any] = json.loads((folder / NAME).read_bytes())
        if content.pop("version") != _VERSION:
            return None
        journal = Journal(**content)
        return replace(
            journal,
            tiles=_tiles(content["tiles"]),
            segments=tuple(SegmentFile(**each) for each in content["segments"]),
            warnings=tuple(content["warnings"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _tiles(content: dict[str, Any]) -> TilePlan:
    rows, columns = (tuple(TileSpan(**span) for span in content[axis]) for axis in ("rows", "columns"))
    own = {**content, "rows": rows, "columns": columns}
    then = own.pop("then", None)
    return TilePlan(**own) if then is None else chain_tiles(TilePlan(**own), _tiles(then))
