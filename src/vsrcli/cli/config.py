"""``vsr config``: show settings and where they come from; ``vsr completion``: install shell completion."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from vsrcli.cli.help import Command, Group, option_name
from vsrcli.cli.options import verbose_option

if TYPE_CHECKING:
    from vsrcli.cli.config_files import Config

SHELLS = ("bash", "zsh", "fish")
_ZSH_HINT = "if it has no effect, add to ~/.zshrc, before compinit: fpath+=({folder})"


@click.group(
    cls=Group,
    epilog="Example: vsr config show upscale\n\nSettings are read from config.toml in your settings folder "
    "and from vsr.toml in the current folder; see docs/scripts.md.",
)
def config() -> None:
    """Show the settings in effect and where they come from."""


@config.command(epilog="Example: vsr --profile archive config show upscale")
@click.argument("command", required=False, metavar="[COMMAND]")
@click.option("--all", "everything", is_flag=True, help="Also show built-in defaults.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@verbose_option
@click.pass_context
def show(context: click.Context, command: str | None, everything: bool, as_json: bool, verbose: int) -> None:
    """Show the defaults of COMMAND, or of all commands.

    Each is shown with its origin: a settings file, an environment variable or, with --all, vsr itself.
    """
    from vsrcli.cli.main import COMMANDS, load_config, vsr
    from vsrcli.errors import UsageError

    names = [name for name in COMMANDS if name not in ("config", "completion")]
    if command is not None and command not in names:
        raise UsageError(f"no command {command!r}: there are {', '.join(names)}")
    settings = load_config(context)
    rows = [
        row
        for name in ([command] if command else names)
        for row in _rows(context, vsr, name, settings, everything=everything)
    ]
    if as_json:
        files = [str(file.resolve()) for file in settings.files]
        document = {"files": files, "profile": settings.profile, "options": rows}
        document["tuned"] = [asdict(each) for each in settings.tuned]
        click.echo(json.dumps(document, indent=2, default=str))
        return
    files = ", ".join(str(file) for file in settings.files)
    click.echo(f"settings files: {files or 'none; `vsr config path` says where they are looked for'}")
    if settings.profile:
        click.echo(f"profile: {settings.profile}")
    labels = [f"{row['command']} --{row['option']}" for row in rows]
    width = max(map(len, labels), default=0)
    for label, row in zip(labels, rows, strict=True):
        click.echo(f"{label:<{width}}  {row['value']}  ({row['from']})")
    for each in settings.tuned:
        click.echo(f"auto, {each.model} {each.width}x{each.height}: {each}  ({each.origin})")


@config.command(epilog="Example: vsr config path")
def path() -> None:
    """Show where settings files are looked for.

    Files that do not exist are marked.
    """
    from vsrcli.cli.config_files import PROJECT_FILE, is_there, user_file

    for file in (user_file(), PROJECT_FILE):
        if file is not None:
            click.echo(f"{file.absolute()}{'' if is_there(file) else '  (does not exist)'}")


@click.command(
    cls=Command,
    epilog='Example: vsr completion --install\n\nFor this session only: eval "$(vsr completion bash)"',
)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Install it where the shell looks for completions.")
@verbose_option
@click.pass_context
def completion(context: click.Context, shell: str | None, install: bool, verbose: int) -> None:
    """Print or install the completion of commands and options for a shell, by default yours."""
    shell = shell or _current_shell()
    text = script(shell)
    if not install:
        click.echo(text)
        return
    file = completion_path(shell)
    from vsrcli.errors import OutputError

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{file} cannot be written ({error.strerror}); print it instead: vsr completion {shell}"
        ) from error
    click.echo(f"{shell}: written to {file}; new shells complete vsr")
    if shell == "zsh":
        click.echo(_ZSH_HINT.format(folder=file.parent))


def script(shell: str) -> str:
    """Return the script that a shell sources; it calls ``vsr`` itself for completions."""
    from click.shell_completion import get_completion_class

    from vsrcli.cli.main import COMPLETION_VARIABLE, vsr

    completion_class = get_completion_class(shell)
    assert completion_class is not None
    return completion_class(vsr, {}, "vsr", COMPLETION_VARIABLE).source()


def completion_path(shell: str) -> Path:
    """Return the file where a shell looks for the completion of vsr."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "bash": data / "bash-completion/completions/vsr",
        "zsh": data / "zsh/site-functions/_vsr",
        "fish": settings / "fish/completions/vsr.fish",
    }[shell]


def _rows(
    context: click.Context, group: click.Group, name: str, settings: Config, *, everything: bool
) -> list[dict[str, Any]]:
    """Return the options of a command as if nothing had been typed."""
    from vsrcli.cli.config_files import option_defaults

    root = context.find_root()
    command = group.get_command(root, name)
    assert command is not None
    inner = click.Context(command, parent=root, info_name=name)
    inner.default_map = option_defaults(settings, name, command, inner)
    rows = [*_options(inner, name, settings, everything=everything)]
    for each, inner_command in (command.commands if isinstance(command, click.Group) else {}).items():
        deeper = click.Context(inner_command, parent=inner, info_name=each)
        rows += _options(deeper, f"{name} {each}", settings, everything=everything)
    return rows


def _options(
    context: click.Context, name: str, settings: Config, *, everything: bool
) -> Iterator[dict[str, Any]]:
    """Yield the options of a command with that context."""
    for parameter in context.command.params:
        if not isinstance(parameter, click.Option) or parameter.name in ("help", "progress_fd", None):
            continue
        value, source = parameter.consume_value(context, {})
        if not everything and source not in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            continue
        if source is ParameterSource.DEFAULT_MAP:
            entries = settings.by_command[name]
            spellings = [spelling.lstrip("-") for spelling in parameter.opts]
            origin = next(entries[each].origin for each in spellings if each in entries)
        elif source is ParameterSource.ENVIRONMENT:
            by_spelling = str(parameter.envvar)
            by_name = f"{context.auto_envvar_prefix}_{parameter.name.upper()}"
            origin = f"environment, {by_spelling if os.environ.get(by_spelling) else by_name}"
        else:
            origin = "built in"
        if source is ParameterSource.DEFAULT and parameter.to_info_dict().get("default") is None:
            value = None  # Click has an object of its own for what is not set
        value = list(value) if isinstance(value, tuple) else str(value) if isinstance(value, dict) else value
        yield {"command": name, "option": option_name(parameter), "value": value, "from": origin}


def _current_shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"SHELL is {name or 'not set'}: name one of {', '.join(SHELLS)}")
    return name
