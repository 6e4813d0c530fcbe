"""``manifest.csv``: where each file of a set comes from, its licence, and whether weights may ship."""

from __future__ import annotations

import csv
from pathlib import Path

from vsrcli.errors import DataError

NAME = "manifest.csv"


def find_manifest(root: Path) -> Path | None:
    """Return the ``manifest.csv`` in a folder or up to two above; None without one."""
    candidates = (folder / NAME for folder in (root, root.parent, root.parent.parent))
    return next((path for path in candidates if path.is_file()), None)


def read_manifest(root: Path) -> dict[Path, dict[str, str]] | None:
    """Return the rows of the ``manifest.csv`` in a folder or up to two above, by file; None without one.

    Raises:
        DataError: it has no column ``path``, or is no text.
    """
    manifest = find_manifest(root)
    return (
        None
        if manifest is None
        else {(manifest.parent / row["path"]).resolve(): row for row in read_rows(manifest, "path")}
    )


def read_rows(path: Path, column: str) -> list[dict[str, str]]:
    """Return the rows of a table that has a certain column.

    Raises:
        DataError: it has not, or it cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {str(path)!r}: {error}; save it as CSV in UTF-8") from error
    if rows and not all(row.get(column) for row in rows):
        raise DataError(f"{str(path)!r}: a row without {column!r}; fill that column, and name it in line 1")
    return rows
