"""Write values into a settings file: what else is in it, comments too, stays as it is."""

from __future__ import annotations

import copy
import json
import re
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from vsrcli.errors import OutputError, UsageError
from vsrcli.system.files import atomic_write

Tables = Mapping[tuple[str, ...], Mapping[str, Any]]


def write_tables(file: Path, tables: Tables) -> None:
    """Set values in a TOML file, which may not exist; replace it atomically, with the rights it has.

    Args:
        file: to change.
        tables: values by key, for the path of each table.

    Raises:
        OutputError: the file cannot be written.
        UsageError: it is not TOML, or has these tables in a form that cannot be edited line by line.
    """
    try:
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        content = edit(text, tables, str(file)).encode()
        file.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(file.stat().st_mode) | stat.S_IWUSR if file.exists() else None

        def write(stream: IO[bytes]) -> None:
            if mode is not None:
                Path(stream.name).chmod(mode)
            stream.write(content)

        atomic_write(file, write)
    except (OSError, UnicodeDecodeError) as error:
        raise OutputError(f"{file} cannot be written ({error}): correct it, or choose VSR_CONFIG") from error


def edit(text: str, tables: Tables, name: str = "the file") -> str:
    """Return TOML text with values set; lines of other tables and keys, and comments, stay.

    Args:
        text: of the file.
        tables: see :func:`write_tables`.
        name: of the file, for the message of an error.

    Raises:
        UsageError: see :func:`write_tables`.
    """
    try:
        expected = copy.deepcopy(tomllib.loads(text))
    except ValueError as error:
        raise UsageError(f"{name} cannot be read as settings: {error}; correct it") from error
    try:
        for path, values in tables.items():
            text = _set_values(text, path, values)
            table = expected
            for key in path:
                table = table.setdefault(key, {})
            table.update(values)
        is_right = tomllib.loads(text) == expected
    except (ValueError, AttributeError):
        is_right = False
    if not is_right:
        rendered = "\n".join(render(path, values) for path, values in tables.items())
        raise UsageError(
            f"{name} writes one of these tables in a form that cannot be changed line by line: add by hand",
            details=rendered,
        )
    return text


def render(path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """Return the lines of a table: its header and ``key = value``."""
    lines = [f"[{'.'.join(map(_key, path))}]", *(f"{key} = {_value(each)}" for key, each in values.items())]
    return "\n".join(lines) + "\n"


def _set_values(text: str, path: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """Set values of one table: in its lines, or in a new table at the end."""
    lines = text.splitlines(keepends=True)
    start = next((number for number, line in enumerate(lines) if _header(line) == path), None)
    if start is None:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return text + gap + render(path, values)
    if not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    stop = next((n for n in range(start + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    block = lines[start:stop]
    for key, value in reversed(list(values.items())):
        pattern = re.compile(rf"\s*{re.escape(key)}\s*=")
        entry = next((n for n, line in enumerate(block) if pattern.match(line)), None)
        if entry is None:
            block.insert(1, f"{key} = {_value(value)}\n")
        else:
            comment = re.search(r"\s+#[^\"']*$", block[entry])
            block[entry] = f"{key} = {_value(value)}{comment[0].rstrip() if comment else ''}\n"
    return "".join([*lines[:start], *block, *lines[stop:]])


def _header(line: str) -> tuple[str, ...] | None:
    """Return the path of a table that begins in a line; None if none does."""
    if not line.lstrip().startswith("[") or line.lstrip().startswith("[["):
        return None
    try:
        table: Any = tomllib.loads(line)
    except ValueError:
        return None
    path: tuple[str, ...] = ()
    while table:
        (key, table), *_ = table.items()
        path += (key,)
    return path


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    """Return a text or number in TOML; JSON's text is TOML's, too, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
