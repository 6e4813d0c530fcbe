"""A Click group that imports its commands when they are called, so that ``--help`` stays fast."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from vsrcli.cli.help import Group, name_variables, write_sections


class LazyGroup(Group):
    """A group that knows name, module and summary of each command.

    Args:
        commands_by_heading: heading of the help text -> name -> ("package.module:attribute", one line of
            help).
    """

    def __init__(
        self,
        *arguments: Any,
        commands_by_heading: Mapping[str, Mapping[str, tuple[str, str]]],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._headings = commands_by_heading
        self._entries = {
            name: entry for entries in commands_by_heading.values() for name, entry in entries.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._entries:
            return None
        module, attribute = self._entries[cmd_name][0].split(":")
        command = getattr(import_module(module), attribute)
        if ctx.auto_envvar_prefix:
            name_variables(command, f"{ctx.auto_envvar_prefix}_{cmd_name.upper()}")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and not args[0].startswith("-") and args[0] not in self._entries:
            known = ", ".join(self._entries)
            raise click.UsageError(f"no command {args[0]!r}: there are {known}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = {
            heading: [(name, summary) for name, (_, summary) in entries.items()]
            for heading, entries in self._headings.items()
        }
        write_sections(formatter, rows)
