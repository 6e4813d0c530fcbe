"""The command line. Each command lives in its own file, which is imported when the command is called."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from vsrcli import __version__
from vsrcli.cli import failure, standard
from vsrcli.cli.lazy import LazyGroup
from vsrcli.cli.options import ARGUMENTS, VERBOSITY

COMMANDS = {
    "upscale": ("vsrcli.cli.upscale:upscale", "Upscale one film."),
    "info": ("vsrcli.cli.info:info", "Say what a film holds."),
    "models": ("vsrcli.cli.models:models", "List the models, what they cost and what they measured."),
    "train": ("vsrcli.cli.train:train", "Train a network on a folder of clips and photographs."),
    "bench": ("vsrcli.cli.bench:bench", "Measure how fast a model is on this machine."),
    "evaluate": ("vsrcli.cli.evaluate:evaluate", "Score models on films whose high resolution is known."),
}


@click.group(
    cls=LazyGroup,
    commands_by_name=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Example: vsr upscale in.mp4 out.mp4 --scale 4",
)
@click.version_option(__version__, "--version", prog_name="vsr")
def vsr() -> None:
    """Upscale video with a temporal network; every frame, sound and colour stays as it was."""


def main() -> None:
    """The ``vsr`` script."""
    standard.prepare()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit status: 0 done, 1 failure, 2 usage, 128 + signal.
    """
    context = click.Context(vsr)
    try:
        with vsr.make_context("vsr", list(arguments)) as context:
            context.meta[ARGUMENTS] = tuple(arguments)  # meta is shared with the command's own context
            vsr.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as stop:  # --help, --version
        return stop.exit_code
    except Exception as error:
        return failure.report(error, traceback=context.meta.get(VERBOSITY, 0) >= 2)
    except KeyboardInterrupt:
        return failure.interrupted()
    return 0
