"""Help texts: options in groups, the most used first, and examples that can be copied.

An option names its group where it is defined, :func:`option`; the order of the groups is that of
:data:`OptionGroup`, for every command. A command with few options has a single list. Plain Click does the
rest: rich-click would take 80 ms more at every start, and draw boxes into pipes.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeVar, get_args

import click

OptionGroup = Literal[
    "Batch",
    "Preview",
    "Run",
    "Access",
    "Size",
    "Model",
    "Measurement",
    "Output",
    "Layout",
    "Time range",
    "Quality metrics",
    "Encoding",
    "Input",
    "Resume",
    "Training data",
    "Optimization",
    "Sharp",
    "Storage",
    "Limits",
    "Jobs",
    "Computing",
    "Messages",
]
GROUPS: tuple[OptionGroup, ...] = get_args(OptionGroup)
MAX_UNGROUPED = 8  # options in a single list, --help included
_MAX_COLUMN_WIDTH = 24  # longer spellings have their text on the next line
_EXAMPLE = re.compile(r"(.*?): ((?:[A-Z_]+=\S+ )?(?:vsr|ffmpeg|eval) .*)")

Rows = Sequence[tuple[str, str]]
Decorated = TypeVar("Decorated", bound=Callable[..., Any])


class Option(click.Option):
    """A Click option with a heading in the help text.

    Args:
        group: the heading.
        values: meaning of each value, to be listed below the option.
    """

    def __init__(
        self,
        *arguments: Any,
        group: OptionGroup,
        values: Mapping[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        super().__init__(*arguments, **attributes)
        self.group: OptionGroup = group
        self.values = values or {}

    def value_from_envvar(self, ctx: click.Context) -> Any:
        """Return the value of the variable; ``~`` is the home folder, as in settings files."""
        value = super().value_from_envvar(ctx)
        if value is None:
            return None
        from vsrcli.cli.types import expand_home  # which imports much more than --help needs

        if isinstance(value, list):
            return [expand_home(self, each) for each in value]
        return expand_home(self, value)

    def get_help_extra(self, ctx: click.Context) -> Any:
        """Leave out ranges without an upper end, which only say that a number is not negative."""
        extra = super().get_help_extra(ctx)
        if getattr(self.type, "max", None) is None:
            extra.pop("range", None)
        return extra


def option(*names_and_help: str, group: OptionGroup, **attributes: Any) -> Callable[[Decorated], Decorated]:
    """Return ``click.option`` for an :class:`Option` of a group; its default is shown.

    Args:
        names_and_help: names of the option, then its help text.
        group: the heading.
        attributes: of the option.
    """
    *names, help_text = names_and_help
    attributes.setdefault("show_default", attributes.get("default") not in (None, ()))
    return click.option(*names, cls=Option, group=group, help=help_text, **attributes)


def name_variables(command: click.Command, prefix: str) -> None:
    """Let the environment set each option by its longest spelling, and so with the commands of a group.

    Click itself takes the parameter's name, which is not always what people type: ``--gpu`` is ``device``.

    Args:
        command: whose options are changed.
        prefix: ``VSR_UPSCALE``.
    """
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or not parameter.allow_from_autoenv:
            continue
        if parameter.envvar is None:
            parameter.envvar = f"{prefix}_{option_name(parameter).replace('-', '_').upper()}"
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            name_variables(inner, f"{prefix}_{name.replace('-', '_').upper()}")


def option_name(option: click.Option) -> str:
    """Return the longest spelling of an option, without its dashes."""
    return max(option.opts, key=len).lstrip("-")


class Command(click.Command):
    """A command whose help groups its options and does not wrap examples; no variable requests that help.

    An empty name of a file is a usage error: Click takes it for the current folder.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See ``click.Command``."""
        typed = list(args)
        may_be_empty = any(each == "" or each[-1] == "=" for each in args)
        try:
            if may_be_empty and not isinstance(self, click.Group) and not ctx.resilient_parsing:
                self._refuse_empty_names(ctx, list(args))
            return super().parse_args(ctx, args)
        except click.UsageError:
            self.handle_eager_options(ctx, typed)
            raise

    def handle_eager_options(self, ctx: click.Context, typed: Sequence[str]) -> None:
        """Handle the options that decide how an error is reported, of a line that is wrong elsewhere.

        Click handles no option of a line with one that it does not know.

        Args:
            ctx: of this command.
            typed: the command's part of the line.
        """
        parser = self.make_parser(ctx)
        parser.ignore_unknown_options = True
        was_resilient, ctx.resilient_parsing = ctx.resilient_parsing, True  # stop at an error, raise none
        values, _, _ = parser.parse_args(list(typed))
        ctx.resilient_parsing = was_resilient
        for parameter in self.params:
            if parameter.is_eager and isinstance(parameter, Option):  # --help and --version are Click's own
                with contextlib.suppress(click.UsageError):
                    parameter.handle_parse_result(ctx, values, [])

    def _refuse_empty_names(self, ctx: click.Context, typed: list[str]) -> None:
        values, _, _ = self.make_parser(ctx).parse_args(typed)
        for parameter in self.params:
            is_name = isinstance(parameter, click.Argument) or isinstance(parameter.type, click.Path)
            value = values.get(parameter.name or "")
            if is_name and (value == "" or (isinstance(value, list | tuple) and "" in value)):
                raise click.UsageError(
                    f"{parameter.get_error_hint(ctx)} is empty: name a file or a folder; "
                    "is a variable of the shell not set?",
                    ctx,
                )

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        help_option = super().get_help_option(ctx)
        if help_option is not None:
            help_option.allow_from_autoenv = False
        return help_option

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_sections(formatter, sections(self, ctx))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for text, command in examples(self.epilog):
            if command is None:
                formatter.write_paragraph()
                formatter.write_text(text)
            else:  # one line, however long it is
                with formatter.section(click.style(text, bold=True)):
                    formatter.write(f"{'':{formatter.current_indent}}{command}\n")


class Group(Command, click.Group):
    """A group of such commands, whose help lists them before the options."""

    command_class = Command

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)


def sections(command: click.Command, context: click.Context) -> dict[str, Rows]:
    """Return the visible options of a command by heading, as (spelling, meaning).

    The values of an option follow it, indented by two spaces.
    """
    by_group: dict[str, list[tuple[str, str]]] = {group: [] for group in GROUPS}
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:  # --help and --version have no group
            rows = by_group[getattr(parameter, "group", GROUPS[-1])]
            rows.append(record)
            rows += [(f"  {value}", meaning) for value, meaning in getattr(parameter, "values", {}).items()]
    every = [row for rows in by_group.values() for row in rows]
    if len(every) <= MAX_UNGROUPED:
        return {"Options": every}
    return {name: rows for name, rows in by_group.items() if rows}


def write_sections(formatter: click.HelpFormatter, rows_by_heading: Mapping[str, Rows]) -> None:
    """Write lists under headings, with all texts in the same column."""
    spellings = [spelling for rows in rows_by_heading.values() for spelling, _ in rows]
    width = max(
        (len(each) for each in spellings if len(each) <= _MAX_COLUMN_WIDTH), default=_MAX_COLUMN_WIDTH
    )
    for heading, [(first, meaning), *others] in rows_by_heading.items():
        with formatter.section(click.style(heading, bold=True)):
            formatter.write_dl([(first.ljust(width), meaning), *others], col_max=width)


def examples(epilog: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the paragraphs of an epilog: description and command of an example, other text and None."""
    for paragraph in (epilog or "").split("\n\n"):
        if match := _EXAMPLE.fullmatch(paragraph):
            yield match[1], match[2]
        elif paragraph:
            yield paragraph, None
