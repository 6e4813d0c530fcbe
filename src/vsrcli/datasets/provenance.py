"""Where the videos of a build come from, and what their licence permits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vsrcli.datasets.manifest import read_manifest, read_rows
from vsrcli.errors import DataError, UsageError


@dataclass(frozen=True)
class Origin:
    """What is known of a video.

    Attributes:
        source: its repository, address or author.
        licence: as stated.
        category: such as ``nature``; may be empty.
        ship: whether weights trained on it may be distributed.
    """

    source: str = ""
    licence: str = ""
    category: str = ""
    ship: bool = False


@dataclass(frozen=True)
class Provenance:
    """Finds the origin of each video: what was stated for all, then a table, then the ``manifest.csv`` near
    it.

    Attributes:
        stated: for all videos; empty fields are looked up.
        table: rows by file name or path, see :func:`read_table`.
    """

    stated: Origin = field(default_factory=Origin)
    table: dict[str, dict[str, str]] = field(default_factory=dict)

    def of(self, video: Path) -> Origin:
        """Return the origin of a video."""
        row = self.table.get(str(video)) or self.table.get(video.name)
        if row is None:
            row = (read_manifest(video.parent) or {}).get(video.resolve(), {})
        return Origin(
            self.stated.source or row.get("source_url") or row.get("source_repo") or "",
            self.stated.licence or row.get("licence") or row.get("license") or "",
            self.stated.category or row.get("category") or "",
            self.stated.ship or row.get("ship") == "yes",
        )


def stated_origin(licence: str, source: str, category: str, *, ship: bool) -> Origin:
    """Return what a command line states of all videos.

    Raises:
        UsageError: weights may be shipped, but no licence says so.
    """
    if ship and not licence:
        raise UsageError("--ship says that a licence permits it: state it with --license")
    return Origin(source, licence, category, ship)


def read_table(path: Path, videos: Sequence[Path]) -> dict[str, dict[str, str]]:
    """Read a table with a column ``file`` (name or path of a video) and any of ``licence``, ``source_url``,
    ``category`` and ``ship`` (``yes`` or ``no``).

    Raises:
        DataError: it cannot be read, or names a file that is not among the videos.
    """
    table = {row["file"]: row for row in read_rows(path, "file")}
    known = {name for video in videos for name in (str(video), video.name)}
    if unknown := next((name for name in table if name not in known), None):
        raise DataError(f"{str(path)!r} names {unknown!r}, which is not among the videos: correct that row")
    return table
