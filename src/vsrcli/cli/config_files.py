"""Defaults from files: the user's own, and those of the folder that one works in.

``config.toml`` in the user's folder for settings (``~/.config/vsr`` on Linux) and ``vsr.toml`` in the current
folder have a table for each command, and profiles with tables of their own::

    [upscale]
    crf = 18
    [profile.archive.upscale]
    codec = "ffv1"

What is nearer wins: an option that is typed, then an environment variable (``VSR_UPSCALE_CRF``), then the
profile and the tables of ``vsr.toml``, then those of ``config.toml``, then the built-in default.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vsrcli.errors import UsageError

PROJECT_FILE = Path("vsr.toml")
CONFIG_ENV = "VSR_CONFIG"  # another file instead of the user's; empty: none
_PROFILE, _DEFAULT = "profile", "default-profile"
# A folder from elsewhere must not choose what is executed, nor what is lost.
_NOT_FROM_HERE = ("ffmpeg", "overwrite")
_SIZES = ("scale", "size", "width", "height")
# What is nearer takes the place of what says the same in other words, command by command.
_OF_FILMS = {
    **{name: tuple(other for other in _SIZES if other != name) for name in _SIZES},
    "model": ("preset",),
    "preset": ("model",),
    "codec": ("encode-preset",),
    "encode-preset": ("codec", "crf", "pix-fmt"),
}
_INSTEAD_OF = {
    **dict.fromkeys(("upscale", "batch", "preview"), _OF_FILMS),
    "bench": {"frames": ("seconds",), "seconds": ("frames",)},
}


@dataclass(frozen=True)
class ConfigValue:
    """One value from a file.

    Attributes:
        value: as TOML has it.
        origin: for people: ``vsr.toml [upscale]``.
        file: where it stands.
    """

    value: Any
    origin: str
    file: Path


@dataclass(frozen=True)
class Config:
    """Everything that the files say for one run.

    Attributes:
        by_command: command -> name of a parameter -> what counts.
        files: that were read, the farthest first.
        profile: in use, or None.
    """

    by_command: Mapping[str, Mapping[str, ConfigValue]] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    profile: str | None = None


def user_file() -> Path | None:
    """The user's own file, whether it exists or not; None if ``VSR_CONFIG`` is empty.

    Raises:
        UsageError: ``VSR_CONFIG`` names no file.
    """
    named = os.environ.get(CONFIG_ENV)
    if named is not None:
        if named and not Path(named).is_file():
            raise UsageError(f"{CONFIG_ENV} names {named!r}, which is no file: correct it or unset it")
        return Path(named) if named else None
    from platformdirs import user_config_path

    return user_config_path("vsr", appauthor=False) / "config.toml"


def read_config(profile: str | None, commands: Collection[str]) -> Config:
    """What the files say.

    Args:
        profile: chosen on the command line or by the environment; None: the ``default-profile``, if any.
        commands: that may have tables.

    Raises:
        UsageError: a file that cannot be read, is no TOML or has another table; a profile that no file has.
    """
    found = [
        (file, _load(file)) for file in (user_file(), PROJECT_FILE) if file is not None and file.is_file()
    ]
    for _, content in found:
        profile = profile or content.get(_DEFAULT)
    merged: dict[str, dict[str, ConfigValue]] = {}
    known = profile is None
    for file, content in found:
        profiles = _table(content.get(_PROFILE, {}), file, _PROFILE)
        tables = {name: each for name, each in content.items() if name not in (_PROFILE, _DEFAULT)}
        _merge(merged, file, tables, "", commands)
        if profile in profiles:
            known = True
            _merge(merged, file, _table(profiles[profile], file, profile), f"profile.{profile}.", commands)
    if not known:
        places = " or ".join(str(file) for file, _ in found) or "any settings file: there is none"
        raise UsageError(f"no profile {profile!r} in {places}; write a table [profile.{profile}.upscale]")
    return Config(merged, tuple(file for file, _ in found), profile)


def defaults(settings: Config, name: str, command: click.Command, context: click.Context) -> dict[str, Any]:
    """What Click takes as the defaults of a command: parameter -> value, checked.

    Raises:
        UsageError: an option that the command does not have, or a value that it cannot mean; the message says
            where it stands.
    """
    spelled = {
        option.lstrip("-"): parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
        if option.startswith("--")
    }
    found: dict[str, Any] = {}
    for key, setting in settings.by_command.get(name, {}).items():
        parameter = spelled.get(key.replace("_", "-"))
        if parameter is None or parameter.name is None or parameter.name in ("help", "progress_fd"):
            known = ", ".join(sorted(set(spelled) - {"help", "progress-fd"}))
            raise UsageError(f"{setting.origin}: `vsr {name}` has no option {key!r}; there are {known}")
        if setting.file == PROJECT_FILE and parameter.name in _NOT_FROM_HERE:
            raise UsageError(
                f"{setting.origin}: {key} is not taken from a folder that may have come from anywhere; "
                f"write it into {user_file() or 'your own settings'} or on the command line"
            )
        found[parameter.name] = _value(parameter, setting, key, context)
    return found


def _value(parameter: click.Option, setting: ConfigValue, key: str, context: click.Context) -> Any:
    """As Click wants a default: text, as if typed; what cannot be meant is told with its place."""
    value = setting.value
    if parameter.is_flag or parameter.count:
        if not isinstance(value, bool | int):
            raise UsageError(f"{setting.origin}: {key} is {value!r}: write true or false")
        return value
    several = value if isinstance(value, list) else [value]
    if isinstance(value, list) and not parameter.multiple:
        raise UsageError(f"{setting.origin}: {key} is a list: this option takes one value")
    typed = [str(each) for each in several]
    value = typed if parameter.multiple else typed[0]
    try:
        parameter.type_cast_value(context, value)
    except click.UsageError as error:
        raise UsageError(f"{setting.origin}: {key}: {error.message}") from error
    return value


def _load(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} cannot be read as settings: {error}; correct it") from error
    if not isinstance(content.get(_DEFAULT, ""), str):
        raise UsageError(f"{file}: {_DEFAULT} is {content[_DEFAULT]!r}: write the name of a profile")
    return content


def _merge(
    into: dict[str, dict[str, ConfigValue]],
    file: Path,
    tables: Mapping[str, Any],
    prefix: str,
    commands: Collection[str],
) -> None:
    for name, table in tables.items():
        if name not in commands:
            raise UsageError(f"{file} [{prefix}{name}]: no such command; there are {', '.join(commands)}")
        there, origin = into.setdefault(name, {}), f"{file} [{prefix}{name}]"
        near = {key.replace("_", "-"): value for key, value in _table(table, file, prefix + name).items()}
        for key in near:
            for other in _INSTEAD_OF.get(name, {}).get(key, ()):
                there.pop(other, None)
        there.update({key: ConfigValue(value, origin, file) for key, value in near.items()})


def _table(value: Any, file: Path, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{file}: {name} is {value!r}: options stand in tables, [upscale] for `vsr upscale`")
    return value
