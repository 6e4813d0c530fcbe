"""``vsr doctor``: check that everything works on this machine, and say what to fix."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vsrcli.cli.help import Command
from vsrcli.cli.messages import json_text
from vsrcli.cli.options import verbose_option
from vsrcli.errors import UsageError, VsrError

if TYPE_CHECKING:
    from vsrcli.doctor import Finding

_MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "problem": ("✗", "red")}


@click.command(
    cls=Command,
    epilog="Example: vsr doctor\n\nFor a bug report: vsr doctor --json > doctor.json\n\n"
    "The machines of a cluster: vsr doctor --cluster auto",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, once every check is done.")
@click.option(
    "--cluster",
    metavar="auto|HOST:PORT",
    help="Check the machines of a Ray cluster instead, whether they would compute the same.",
)
@verbose_option
def doctor(as_json: bool, cluster: str | None, verbose: int) -> None:
    """Check everything that upscaling needs on this machine, and say what to fix.

    The exit status is 1 if a check has failed.
    """
    from vsrcli.doctor import CHECKS, run_checks

    findings: list[Finding] = []
    checks = [*CHECKS]
    checks.insert(-3, ("settings", check_config))  # before disk, memory and the self-test
    if cluster is not None:
        from vsrcli.cluster.inspection import check_nodes

        checks = [("cluster", lambda: check_nodes(cluster))]
    for finding in run_checks(checks):
        findings.append(finding)
        if not as_json:
            _print(finding)
    if as_json:
        click.echo(json_text([asdict(finding) for finding in findings], indent=2))
    problems = sum(finding.state == "problem" for finding in findings)
    if problems:
        raise VsrError(
            f"{problems} problem{'s' if problems > 1 else ''} found; the remedy is printed with each"
        )


def check_config() -> Iterator[Finding]:
    """Check the settings files that apply in the current folder, and their values for each command."""
    from vsrcli.cli.config_files import option_defaults
    from vsrcli.cli.main import load_config, vsr
    from vsrcli.doctor import OK, PROBLEM, Finding

    root = click.get_current_context().find_root()
    config = load_config(root)
    found = False
    for name in dict.fromkeys(each.partition(" ")[0] for each in config.by_command):
        command = vsr.get_command(root, name)
        assert command is not None
        try:
            option_defaults(config, name, command, click.Context(command, parent=root, info_name=name))
        except UsageError as error:
            found = True
            yield Finding("settings", PROBLEM, str(error), f"correct it: `vsr {name}` ends with this error")
    if not found:
        files = ", ".join(str(file) for file in config.files)
        yield Finding("settings", OK, files or "no settings files: everything is as built in")


def _print(finding: Finding) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False, emoji=False, soft_wrap=True)
    symbol, colour = _MARKS[finding.state]
    mark = symbol if "utf" in (sys.stdout.encoding or "").lower() else finding.state
    text = finding.text.replace(f"{Path.home()}{os.sep}", f"~{os.sep}")
    remedy = Text.assemble(("-> ", colour), finding.remedy) if finding.remedy else None
    if console.is_terminal:  # long texts wrap within their column
        table = Table.grid(padding=(0, 1))
        table.add_column()
        table.add_column(width=17)
        table.add_column(overflow="fold")
        table.add_row(Text(mark, style=f"bold {colour}"), Text(finding.name, style="bold"), Text(text))
        if remedy:
            table.add_row("", "", remedy)
        console.print(table, soft_wrap=False)
        return
    console.print(Text.assemble((f"{mark} ", f"bold {colour}"), (f"{finding.name:<18}", "bold"), text))
    if remedy:
        console.print(Text(" " * (len(mark) + 19)) + remedy)
