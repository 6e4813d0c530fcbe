"""What is evaluated is never trained on."""

from __future__ import annotations

from pathlib import Path

from vsrcli.errors import DataError
from vsrcli.models.weights import file_sha256
from vsrcli.train.clips import Footage


def check_no_leakage(training: Footage, evaluated: Footage) -> None:
    """Refuse folders that share a file.

    Raises:
        DataError: a file lies in both, under whatever name, or two different ones share a name, which decoded
            footage is kept under; the message names them.
    """
    ours = [*training.clips, *training.photos]
    by_path = {path.resolve(): path for path in ours}
    by_name = {(path in training.photos, path.stem): path for path in ours}
    by_size: dict[int, list[Path]] = {}
    for path in ours:
        by_size.setdefault(path.stat().st_size, []).append(path)
    for path in (*evaluated.clips, *evaluated.photos):
        twin = by_path.get(path.resolve())
        same_size = by_size.get(path.stat().st_size, [])
        if twin is None and same_size:  # reading whole files is for the few that could be equal
            digest = file_sha256(path)
            twin = next((other for other in same_size if file_sha256(other) == digest), None)
        if twin is not None:
            raise DataError(
                f"{str(path)!r} is also trained on, as {str(twin)!r}: take it out of one of the folders"
            )
        namesake = by_name.get((path in evaluated.photos, path.stem))
        if namesake is not None:
            raise DataError(
                f"{str(path)!r} and {str(namesake)!r} share a name, which the cache goes by: rename one"
            )
