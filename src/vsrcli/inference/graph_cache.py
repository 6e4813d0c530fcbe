"""A cache of compiled graphs in the user's cache folder: building them takes seconds.

An entry is a folder of files and a manifest with their checksums, moved into place by one rename. An entry
that does not match its manifest is built again, never used. Without a writable cache folder, runs only take
longer.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vsrcli.errors import EngineError, NonFiniteError, OutOfMemoryError
from vsrcli.system.child import ChildEndedError, call_in_child
from vsrcli.system.files import (
    create_temporary_folder,
    remove_temporary,
    temporary_folder_error,
    unpublished_folder,
)

CACHE_ENV = "VSR_CACHE"
_MANIFEST = "manifest.json"
_UNFINISHED = ".new-"
_MAX_ENTRIES = 64  # the least recently used are removed first

Files = dict[str, bytes]


def cache_folder() -> Path:
    """Return ``$VSR_CACHE``, else the system's folder for caches (``$XDG_CACHE_HOME/vsr`` or ``~/.cache/vsr``
    on Linux)."""
    if configured := os.environ.get(CACHE_ENV):
        return Path(os.path.expanduser(configured))  # noqa: PTH111
    from platformdirs import user_cache_path

    return user_cache_path("vsr", appauthor=False)


def build_in_child(
    module: str, request: Mapping[str, Any], refusal: str, env: Mapping[str, str] | None = None
) -> None:
    """Have a module write a network's files, in a child process: Keras takes seconds to start.

    Args:
        module, request, env: see :func:`~vsrcli.system.child.call_in_child`.
        refusal: what cannot be done, for the message of an error.

    Raises:
        EngineError: the files could not be built; the message is the refusal, the reason and the remedy.
        VsrError: any other that the module raised.
    """
    try:
        call_in_child(module, request, purpose="build the network", env=env)
    except (OutOfMemoryError, NonFiniteError):
        raise
    except EngineError as error:
        reason = str(error)
        if isinstance(error, ChildEndedError):
            reason = f"the process that builds it ended with {error.status}"
        raise EngineError(f"{refusal} ({reason}): use --engine keras", details=error.details) from None


class GraphCache:
    """Sets of files by everything that they depend on.

    Args:
        folder: of all entries; created with the first one.
        on_notice: called if an entry is damaged, or cannot be read or written.
    """

    def __init__(self, folder: Path, on_notice: Callable[[str], None] = lambda text: None) -> None:
        self.folder = folder
        self._on_notice = on_notice

    def get(self, key: Mapping[str, object], build: Callable[[Path], None]) -> Files:
        """Return the files of an entry; build it if it is missing or damaged.

        Args:
            key: everything that the files depend on.
            build: writes them to an empty folder.

        Raises:
            OutputError: the folder for temporary files is full or missing.
            VsrError, OSError: from ``build``.
        """
        entry = self._entry(key)
        try:
            cached = self._read(entry)
        except PermissionError as error:
            self._on_notice(
                f"the cache in {self.folder} cannot be read ({error.strerror}): every run builds the network "
                f"anew; allow it, or name another folder with {CACHE_ENV}"
            )
            return self._build(None, build)
        return self._build(entry, build) if cached is None else cached

    def find(self, key: Mapping[str, object]) -> Files | None:
        """Return the files of an entry; None if it is missing or damaged, or must not be read."""
        with contextlib.suppress(PermissionError):
            return self._read(self._entry(key))
        return None

    def _entry(self, key: Mapping[str, object]) -> Path:
        return self.folder / _sha256(json.dumps(key, sort_keys=True, default=str).encode())[:32]

    def _read(self, entry: Path) -> Files | None:
        """Return the files of an intact entry, or None; raise PermissionError if they must not be read."""
        if not entry.exists():
            return None
        files = _read_intact(entry)
        if files is None:
            self._on_notice(f"a file of the cache in {self.folder} was damaged: building the network anew")
            return None
        with contextlib.suppress(OSError):
            os.utime(entry)  # for the order of removal
        return files

    def _build(self, entry: Path | None, build: Callable[[Path], None]) -> Files:
        """Build an entry and store it if possible, unless it is None; return its files."""
        try:
            folder = create_temporary_folder()
        except OSError as error:
            raise temporary_folder_error(error) from error
        try:
            build(folder)
            files = {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
        except OSError as error:
            if _is_of_folder(folder, error):
                raise temporary_folder_error(error) from error
            raise
        finally:
            remove_temporary(folder)
        try:
            if entry is not None:
                self._store(entry, files)
        except OSError as error:
            self._on_notice(unwritable_notice(self.folder, error))
        return files

    def _store(self, entry: Path, files: Files) -> None:
        """Write an entry; of two processes at once, the first one's stays."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with unpublished_folder(_UNFINISHED, self.folder) as unfinished:
            for name, content in files.items():
                (unfinished / name).write_bytes(content)
            manifest = {name: _sha256(content) for name, content in files.items()}
            (unfinished / _MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
            try:
                unfinished.rename(entry)
            except OSError:
                if not entry.exists():
                    raise
                if _read_intact(entry) is None:  # else another process was first
                    shutil.rmtree(entry, ignore_errors=True)
                    with contextlib.suppress(OSError):  # it is now
                        unfinished.rename(entry)
        remove_oldest([path for path in self.folder.iterdir() if not path.name.startswith(_UNFINISHED)])


def remove_oldest(entries: list[Path]) -> None:
    """Remove the least recently used folders of a cache beyond ``_MAX_ENTRIES``."""
    with contextlib.suppress(OSError):  # another process removes them, too
        entries = sorted(entries, key=lambda path: path.stat().st_mtime, reverse=True)
        for path in entries[_MAX_ENTRIES:]:
            shutil.rmtree(path, ignore_errors=True)


def unwritable_notice(folder: Path, error: OSError) -> str:
    """Return a line that says that a cache cannot be written."""
    return (
        f"the cache in {folder} cannot be written ({error.strerror}): every run builds the network anew; "
        f"free it, or name another folder with {CACHE_ENV}"
    )


def _is_of_folder(folder: Path, error: OSError) -> bool:
    """Return whether an error while files are written to a folder is one of it: it is full, or one of its
    files is named. Others are of what writes them: no process can be started, no memory is left."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        return True
    return isinstance(error.filename, str | os.PathLike) and Path(error.filename).is_relative_to(folder)


def _read_intact(entry: Path) -> Files | None:
    """Return the files of an entry; None if it is damaged; raise PermissionError if it must not be read."""
    try:
        manifest = json.loads((entry / _MANIFEST).read_text(encoding="utf-8"))
        files = {name: (entry / name).read_bytes() for name in manifest}
        intact = bool(files) and all(_sha256(files[name]) == manifest[name] for name in files)
    except PermissionError:
        raise
    except (OSError, ValueError, TypeError):
        return None
    return files if intact else None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
