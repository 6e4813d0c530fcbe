"""Graphs kept from one run to the next, in the user's cache folder: building them takes seconds.

An entry is a folder of files and a manifest with their checksums, put in place by one rename. What does not
match its manifest is built anew, never used. A folder that cannot be written costs the time only.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

CACHE_ENV = "VSR_CACHE"
_MANIFEST = "manifest.json"
_UNFINISHED = ".new-"
_KEPT = 64  # entries; the ones that were not used for longest go first

Files = dict[str, bytes]


def cache_folder() -> Path:
    """``$VSR_CACHE``, else the system's place for caches (``$XDG_CACHE_HOME/vsr`` or ``~/.cache/vsr`` on
    Linux)."""
    if chosen := os.environ.get(CACHE_ENV):
        return Path(chosen)
    from platformdirs import user_cache_path

    return user_cache_path("vsr", appauthor=False)


class GraphCache:
    """Entries by what they depend on.

    Args:
        folder: of all entries; made when the first one is kept.
        on_notice: told when an entry was damaged, or cannot be kept.
    """

    def __init__(self, folder: Path, on_notice: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self._tell = on_notice

    def get(self, key: Mapping[str, object], build: Callable[[Path], None]) -> Files:
        """The files of an entry.

        Args:
            key: everything that they depend on.
            build: writes them to an empty folder, if there is no sound entry.

        Raises:
            VsrError: from ``build``.
        """
        digest = hashlib.sha256(json.dumps(key, sort_keys=True, default=str).encode()).hexdigest()
        entry = self.folder / digest[:32]
        found = self._read(entry)
        return self._built(entry, build) if found is None else found

    def _read(self, entry: Path) -> Files | None:
        """What a sound entry holds; None if there is none."""
        if not entry.exists():
            return None
        try:
            manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
            files = {name: (entry / name).read_bytes() for name in manifest}
            if not files or any(_sha256(files[name]) != manifest[name] for name in files):
                raise ValueError("checksum")
            with contextlib.suppress(OSError):
                os.utime(entry)  # used now
        except (OSError, ValueError, TypeError):
            self._tell(f"a file of the cache in {self.folder} was damaged: building the network anew")
            return None
        return files

    def _built(self, entry: Path, build: Callable[[Path], None]) -> Files:
        """A new entry's files; kept if they can be."""
        with tempfile.TemporaryDirectory(prefix="vsr-") as folder:
            build(Path(folder))
            files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
        try:
            self._keep(entry, files)
        except OSError as error:
            self._tell(
                f"the cache in {self.folder} cannot be written ({error.strerror}): every run builds the "
                f"network anew; free it, or name another folder with {CACHE_ENV}"
            )
        return files

    def _keep(self, entry: Path, files: Files) -> None:
        """Give a new entry its name; of two processes at once, the first one's stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.folder))
        try:
            for name, content in files.items():
                (place / name).write_bytes(content)
            manifest = {name: _sha256(content) for name, content in files.items()}
            (place / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            if entry.exists():  # damaged, or it would have been used
                shutil.rmtree(entry, ignore_errors=True)
            try:
                place.rename(entry)
            except OSError:
                if not entry.exists():  # else another process was first
                    raise
        finally:
            shutil.rmtree(place, ignore_errors=True)
        self._prune()

    def _prune(self) -> None:
        """Remove what was not used for longest."""
        entries = [path for path in self.folder.iterdir() if not path.name.startswith(_UNFINISHED)]
        with contextlib.suppress(OSError):  # another process removes them, too
            entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
            for path in entries[_KEPT:]:
                shutil.rmtree(path, ignore_errors=True)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
