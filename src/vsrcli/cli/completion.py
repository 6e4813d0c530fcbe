"""``vsr completion``: the Tab key in bash, zsh and fish. Click writes the scripts."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vsrcli.cli.options import verbose_option

SHELLS = ("bash", "zsh", "fish")
_ZSH_HINT = "if it has no effect, add to ~/.zshrc, before compinit: fpath+=({folder})"


@click.command(
    epilog='Example: vsr completion --install\n\nOr for one session: eval "$(vsr completion bash)"',
)
@click.argument("shell", required=False, type=click.Choice(SHELLS))
@click.option("--install", is_flag=True, help="Write it where the shell looks for completions.")
@verbose_option
@click.pass_context
def completion(context: click.Context, shell: str | None, install: bool, verbose: int) -> None:
    """Print or install the completion of commands and options for SHELL, or for the one that runs."""
    shell = shell or _running()
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
    """The script that a shell sources; it asks ``vsr`` itself for what may follow."""
    from click.shell_completion import get_completion_class

    from vsrcli.cli import COMPLETE, vsr

    kind = get_completion_class(shell)
    assert kind is not None
    return kind(vsr, {}, "vsr", COMPLETE).source()


def completion_path(shell: str) -> Path:
    """Where the shell looks by itself."""
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {
        "bash": data / "bash-completion/completions/vsr",
        "zsh": data / "zsh/site-functions/_vsr",
        "fish": settings / "fish/completions/vsr.fish",
    }[shell]


def _running() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in SHELLS:
        raise click.UsageError(f"SHELL is {name or 'not set'}: name one of {', '.join(SHELLS)}")
    return name
