"""Defaults of options from settings files: the user's own, and that of the current folder.

``config.toml`` in the user's folder for settings (``~/.config/vsr`` on Linux) and ``vsr.toml`` in the current
folder have a table for each command, and profiles with tables of their own::

    [upscale]
    crf = 18
    [profile.archive.upscale]
    codec = "ffv1"
    [dataset.build]
    area = "256x256"

A table ``tuned`` of the user's own file holds what ``vsr tune`` has measured, by model and frame size; it
replaces ``auto``, and nothing that was chosen::

    [tuned."duf-r-x4-video 640x360"]
    engine = "openvino"

Precedence: an option that is typed, an environment variable (``VSR_UPSCALE_CRF``), the profile and the tables
of ``vsr.toml``, those of ``config.toml``, the built-in default.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.types import expand_home
from vsrcli.errors import UsageError
from vsrcli.inference.engine_plan import ENGINES, PRECISIONS
from vsrcli.pipeline.tuned import TunedSetting

PROJECT_FILE = Path("vsr.toml")
CONFIG_ENV = "VSR_CONFIG"  # path that replaces the user's file; empty: none
PROFILE_KEY, TUNED_KEY, _DEFAULT_PROFILE_KEY = "profile", "tuned", "default-profile"
_TUNED_DEFAULTS = {"device": "auto", "engine": "auto", "precision": "auto", "tile": "auto", "sha256": ""}
# A folder from elsewhere must choose neither which program runs or computes, nor what is written where (as
# encoders do by options of their own), nor who can reach this computer.
_USER_ONLY = ("ffmpeg", "overwrite", "extra", "cluster", "card")  # and options that name files to write
_USER_ONLY_COMMANDS = ("serve", "completion")
_INPUTS = ("truth", "reference")  # options that name files which are only read
_SIZES = ("scale", "size", "width", "height", "same-size")
# An option of higher precedence removes those that exclude it, command by command.
_EXCLUDED_BY_UPSCALING = {
    **{name: tuple(other for other in _SIZES if other != name) for name in _SIZES},
    "model": ("preset",),
    "preset": ("model",),
    "codec": ("encode-preset",),
    "encode-preset": ("codec", "crf", "pix-fmt"),
}
_EXCLUDED = {
    **dict.fromkeys(("upscale", "batch", "preview"), _EXCLUDED_BY_UPSCALING),
    "bench": {"frames": ("seconds",), "seconds": ("frames",)},
}


@dataclass(frozen=True)
class ConfigValue:
    """One value from a settings file.

    Attributes:
        value: as parsed from TOML.
        origin: for people: ``vsr.toml [upscale]``.
        file: path of the file.
    """

    value: Any
    origin: str
    file: Path


@dataclass(frozen=True)
class Config:
    """Merged contents of the settings files.

    Attributes:
        by_command: values by command (``upscale``, ``dataset build``) and by name of the option, without
            dashes in front.
        files: that were read, in order of increasing precedence.
        profile: in use, or None.
        tuned: what ``vsr tune`` has measured.
    """

    by_command: Mapping[str, Mapping[str, ConfigValue]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    profile: str | None = None
    tuned: tuple[TunedSetting, ...] = ()


def user_file() -> Path | None:
    """Return the path of the user's own file, which may not exist; None if ``VSR_CONFIG`` is empty.

    Raises:
        UsageError: ``VSR_CONFIG`` names a file that does not exist.
    """
    path = os.environ.get(CONFIG_ENV)
    if path is not None:
        file = Path(os.path.expanduser(path))  # noqa: PTH111
        if path and not is_there(file):
            raise UsageError(f"{CONFIG_ENV} names {path!r}, which is no file: correct it or unset it")
        return file if path else None
    from platformdirs import user_config_path

    return user_config_path("vsr", appauthor=False) / "config.toml"


def is_there(file: Path) -> bool:
    """Return whether a settings file exists; not if its folder, that of another user, cannot be searched."""
    with contextlib.suppress(PermissionError):
        return file.is_file()
    return False


def read_config(profile: str | None, commands: Collection[str]) -> Config:
    """Read and merge the settings files.

    Args:
        profile: from the command line or the environment; None: the ``default-profile``, if any.
        commands: names of tables that are allowed.

    Raises:
        UsageError: a file cannot be read, is not TOML or has another table, or no file has the profile.
    """
    contents = [
        (file, _load(file)) for file in (user_file(), PROJECT_FILE) if file is not None and is_there(file)
    ]
    for _, content in reversed(contents):
        profile = profile or content.get(_DEFAULT_PROFILE_KEY)
    merged: dict[str, dict[str, ConfigValue]] = {}
    profile_exists, tuned = profile is None, ()
    for file, content in contents:
        profiles = _check_table(content.get(PROFILE_KEY, {}), file, PROFILE_KEY)
        tables = {
            name: table
            for name, table in content.items()
            if name not in (PROFILE_KEY, TUNED_KEY, _DEFAULT_PROFILE_KEY)
        }
        if TUNED_KEY in content:
            tuned = _read_tuned(content[TUNED_KEY], file)
        _merge(merged, file, tables, "", commands)
        if profile in profiles:
            profile_exists = True
            profile_tables = _check_table(profiles[profile], file, profile)
            _merge(merged, file, profile_tables, f"profile.{profile}.", commands)
    if not profile_exists:
        files = " or ".join(str(file) for file, _ in contents) or "any settings file: there is none"
        raise UsageError(f"no profile {profile!r} in {files}; write a table [profile.{profile}.upscale]")
    return Config(merged, tuple(file for file, _ in contents), profile, tuned)


def option_defaults(
    config: Config, name: str, command: click.Command, context: click.Context
) -> dict[str, Any]:
    """Return Click's ``default_map`` of a command: validated values by name of the parameter.

    Of a group also those of its commands, by their names.

    Args:
        config: from :func:`read_config`.
        name: of the command, as it is typed.
        command, context: the command and its context, which convert values.

    Raises:
        UsageError: there is no such command or option, or the value is invalid; the message names the file.
    """
    parameters = {
        spelling.lstrip("-"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for spelling in parameter.opts
        if spelling.startswith("--")
    }
    values: dict[str, Any] = {}
    inner = command.commands if isinstance(command, click.Group) else {}
    for path, entries in config.by_command.items():
        if path.startswith(f"{name} ") and path.split()[-1] not in inner:
            known = f"there are {', '.join(inner)}" if inner else "its table holds options only"
            origin = next((entry.origin for entry in entries.values()), f"[{path.replace(' ', '.')}]")
            raise UsageError(f"{origin}: no such command; {known}")
    for each, inner_command in inner.items():
        values[each] = option_defaults(config, f"{name} {each}", inner_command, context)
    for key, entry in config.by_command.get(name, {}).items():
        parameter = parameters.get(key.replace("_", "-"))
        if parameter is None or parameter.name is None or parameter.name in ("help", "progress_fd"):
            known = ", ".join(sorted(set(parameters) - {"help", "progress-fd"}))
            raise UsageError(f"{entry.origin}: `vsr {name}` has no option {key!r}; there are {known}")
        if entry.file == PROJECT_FILE and _is_user_only(name, parameter):
            raise UsageError(
                f"{entry.origin}: {key} is not taken from a folder that may have come from anywhere; "
                f"write it into {user_file() or 'your own settings'} or on the command line"
            )
        values[parameter.name] = _default(parameter, entry, key, context)
    return values


def _is_user_only(command: str, parameter: click.Option) -> bool:
    """Return whether a folder's own file must not set an option, see ``_USER_ONLY``."""
    if command in _USER_ONLY_COMMANDS or parameter.name in _USER_ONLY:
        return True
    return isinstance(parameter.type, click.Path) and not (parameter.type.exists or parameter.name in _INPUTS)


def _default(parameter: click.Option, entry: ConfigValue, key: str, context: click.Context) -> Any:
    """Return a validated default: text, as if typed, or a bool or int for flags and counters."""
    value = entry.value
    if parameter.is_flag or parameter.count:
        if not isinstance(value, bool | int):
            raise UsageError(f"{entry.origin}: {key} is {value!r}: write true or false")
        return value
    if isinstance(value, list) and not parameter.multiple:
        raise UsageError(f"{entry.origin}: {key} is a list: this option takes one value")
    typed = [str(each) for each in (value if isinstance(value, list) else [value])]
    typed = [expand_home(parameter, each) for each in typed]
    value = typed if parameter.multiple else typed[0]
    try:
        parameter.type_cast_value(context, value)
    except click.UsageError as error:
        raise UsageError(f"{entry.origin}: {key}: {error.message}") from error
    return value


def _load(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as settings: {error}; correct it") from error
    if not isinstance(content.get(_DEFAULT_PROFILE_KEY, ""), str):
        value = content[_DEFAULT_PROFILE_KEY]
        raise UsageError(f"{file}: {_DEFAULT_PROFILE_KEY} is {value!r}: write the name of a profile")
    return content


def _merge(
    merged: dict[str, dict[str, ConfigValue]],
    file: Path,
    tables: Mapping[str, Any],
    prefix: str,
    commands: Collection[str],
) -> None:
    """Add tables of higher precedence to ``merged``; a table within one is of a command of a group."""
    for name, table in tables.items():
        if name.partition(" ")[0] not in commands:
            raise UsageError(f"{file} [{prefix}{name}]: no such command; there are {', '.join(commands)}")
        table_name = prefix + name.replace(" ", ".")
        entries, origin = merged.setdefault(name, {}), f"{file} [{table_name}]"
        table = _check_table(table, file, table_name)
        values = {key.replace("_", "-"): value for key, value in table.items() if not isinstance(value, dict)}
        for key in values:
            for other in _EXCLUDED.get(name, {}).get(key, ()):
                entries.pop(other, None)
        entries.update({key: ConfigValue(value, origin, file) for key, value in values.items()})
        inner = {f"{name} {key}": value for key, value in table.items() if isinstance(value, dict)}
        _merge(merged, file, inner, prefix, commands)


def find_excluded(file: Path, profile: str, command: str, names: Collection[str]) -> dict[str, Any]:
    """Return the entries of a profile's table that exclude options of these names there.

    Args:
        file: with the settings, which may not exist.
        profile, command: of the table.
        names: of the options, without dashes in front.

    Raises:
        UsageError: the file cannot be read.
    """
    table = _load(file) if file.is_file() else {}
    for key in (PROFILE_KEY, profile, command):
        table = _check_table(table.get(key, {}), file, key)
    excluded = {other for name in names for other in _EXCLUDED.get(command, {}).get(name, ())}
    return {key: value for key, value in table.items() if key.replace("_", "-") in excluded}


def tuned_table(model: str, width: int, height: int) -> tuple[str, str]:
    """Return the path of a table of what was measured for a model and a frame size."""
    return TUNED_KEY, f"{model} {width}x{height}"


def _read_tuned(tables: Any, file: Path) -> tuple[TunedSetting, ...]:
    """Return what ``vsr tune`` has written into the user's file."""
    if file == PROJECT_FILE:
        raise UsageError(
            f"{file} [{TUNED_KEY}]: measurements of another machine are not taken; run `vsr tune`"
        )
    found = []
    for name, table in _check_table(tables, file, TUNED_KEY).items():
        origin = f'{file} [{TUNED_KEY}."{name}"]'
        match = re.fullmatch(r"(.+) (\d{1,5})x(\d{1,5})", name)
        values = _TUNED_DEFAULTS | _check_table(table, file, f"{TUNED_KEY}.{name}")
        tile, unknown = values["tile"], set(values) - set(_TUNED_DEFAULTS)
        if (
            match is None
            or unknown
            or values["engine"] not in ENGINES
            or values["precision"] not in PRECISIONS
            or not (tile in ("auto", "none") or (type(tile) is int and tile > 0))
        ):
            raise UsageError(
                f"{origin}: this is not what `vsr tune` writes: remove the table, and run it again"
            )
        values["device"] = str(values["device"])
        found.append(TunedSetting(match[1], int(match[2]), int(match[3]), **values, origin=origin))
    return tuple(found)


def _check_table(value: Any, file: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{file}: {name} is {value!r}: options stand in tables, [upscale] for `vsr upscale`")
    return value
