"""The ``vsr`` program: its commands, the main function, and errors turned into exit statuses.

A command's module is imported when the command is called, so that ``vsr --help`` stays fast.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import click

from vsrcli._version import __version__
from vsrcli.cli.console import prepare_stdio, report_error, report_interrupt
from vsrcli.cli.help import Command
from vsrcli.cli.lazy import LazyGroup
from vsrcli.cli.messages import MESSAGES
from vsrcli.cli.options import ARGUMENTS, LOG, VERBOSITY
from vsrcli.errors import UsageError

if TYPE_CHECKING:
    from vsrcli.cli.config_files import Config

COMPLETION_VARIABLE = "_VSR_COMPLETE"  # environment variable by which a shell requests completions
PROFILE, CONFIG = "vsrcli.profile", "vsrcli.config"  # keys in the context's meta

COMMANDS_BY_HEADING = {
    "Upscale": {
        "upscale": ("vsrcli.cli.upscale:upscale", "Upscale a video, an image sequence or an image."),
        "batch": ("vsrcli.cli.batch:batch", "Upscale many videos: files, folders and patterns."),
        "preview": ("vsrcli.cli.preview:preview", "Upscale a few seconds and estimate the whole video."),
    },
    "Inspect and measure": {
        "info": ("vsrcli.cli.info:info", "Show what a video file contains."),
        "models": ("vsrcli.cli.models:models", "List the models, their cost and quality; add others."),
        "compare": ("vsrcli.cli.compare:compare", "Show videos side by side, as a page, video or image."),
        "explain": ("vsrcli.cli.explain:explain", "Show what a network looks at, as a picture and a page."),
        "evaluate": ("vsrcli.cli.evaluate:evaluate", "Measure the quality of models on your own clips."),
        "bench": ("vsrcli.cli.bench:bench", "Measure the speed of a model on this machine."),
        "tune": ("vsrcli.cli.tune:tune", "Find the fastest engine, precision and tiles on this machine."),
        "doctor": ("vsrcli.cli.doctor:doctor", "Check this machine and say what to fix."),
    },
    "Train, serve and configure": {
        "train": ("vsrcli.cli.train:train", "Train a model on a folder of clips and photographs."),
        "dataset": ("vsrcli.cli.dataset:dataset", "Build a training set from videos; say what one holds."),
        "serve": ("vsrcli.cli.serve:serve", "Open a web page to upload, upscale and download videos."),
        "config": ("vsrcli.cli.config:config", "Show the settings in effect and where they come from."),
        "completion": ("vsrcli.cli.config:completion", "Complete commands and options in your shell."),
    },
}
COMMANDS = {name: entry for entries in COMMANDS_BY_HEADING.values() for name, entry in entries.items()}


@click.group(
    cls=LazyGroup,
    commands_by_heading=COMMANDS_BY_HEADING,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": "VSR",
    },
    epilog="Example: vsr upscale in.mp4 out.mp4 --scale 4\n\n"
    "Options of a command, and more examples: vsr upscale --help",
)
@click.version_option(__version__, "--version", prog_name="vsr", allow_from_autoenv=False)
@click.option(
    "--profile", metavar="NAME", help="Use a profile of defaults from your settings; see `vsr config show`."
)
@click.pass_context
def vsr(context: click.Context, profile: str | None) -> None:
    """Upscale video with a temporal neural network.

    Every frame, the sound and the colours are preserved.
    """
    context.meta[PROFILE] = profile
    name = context.invoked_subcommand or ""
    command = vsr.get_command(context, name)
    if command is not None and name != "config":  # which shows what is wrong in settings
        from vsrcli.cli.config_files import option_defaults

        try:
            context.default_map = {name: option_defaults(load_config(context), name, command, context)}
        except UsageError:
            if name != "doctor":  # which reports this itself, among all else
                if isinstance(command, Command):
                    own = click.Context(command, parent=context, info_name=name)
                    command.handle_eager_options(own, context.meta.get(ARGUMENTS, ()))
                raise


def load_config(context: click.Context) -> Config:
    """Return the contents of the settings files, which are read once per run.

    Raises:
        UsageError: see :func:`vsrcli.cli.config_files.read_config`.
    """
    from vsrcli.cli.config_files import read_config

    if CONFIG not in context.meta:
        context.meta[CONFIG] = read_config(context.meta.get(PROFILE), COMMANDS)
    return context.meta[CONFIG]


def main() -> None:
    """Run the command line of this process, or answer a shell's completion request, and exit."""
    prepare_stdio()
    if instruction := os.environ.get(COMPLETION_VARIABLE):  # set by the script of `vsr completion`
        from click.shell_completion import shell_complete

        sys.exit(shell_complete(vsr, {}, "vsr", COMPLETION_VARIABLE, instruction))
    status = run(sys.argv[1:])
    if status > 128:
        _leave(status)
    sys.exit(status)


def _leave(status: int) -> NoReturn:
    """Exit after a signal without taking apart what libraries have built, which takes TensorFlow seconds."""
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # it is closed
            stream.flush()
    os._exit(status)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; errors become messages on stderr.

    Returns:
        The exit status: 0 done, 1 failure, 2 usage, 3 batch finished with failures, 128 + signal.
    """
    context = click.Context(vsr)
    try:
        with vsr.make_context("vsr", list(arguments)) as context:
            context.meta[ARGUMENTS] = tuple(arguments)  # meta is shared with the command's own context
            vsr.invoke(context)
            sys.stdout.flush()
    except click.exceptions.Exit as end:  # --help, --version
        return end.exit_code
    except Exception as error:
        traceback = context.meta.get(VERBOSITY, 0) >= 2
        return report_error(error, traceback=traceback, messages=context.meta.get(MESSAGES))
    except KeyboardInterrupt:
        return report_interrupt(context.meta.get(MESSAGES))
    finally:
        context.meta.get(LOG, lambda: None)()
    return 0
