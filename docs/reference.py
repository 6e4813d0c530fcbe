"""MkDocs hook: writes the reference of all commands into docs/commands.md, from the commands themselves.

Options that ``vsr upscale``, ``vsr batch`` and ``vsr preview`` share stand there once, at the end.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterator
from typing import Any

import click

from vsrcli.cli import COMMANDS, vsr

PAGE, MARK = "commands.md", "<!-- the commands -->"
SHARED = ("upscale", "batch", "preview")
NOT_RUN = {  # examples that tests/docs only parses, and why
    "train": "trains for hours",
    "doctor": "computes with the default network, as tests/doctor does",
    "serve": "runs until it is stopped; tests/web starts it",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Called by MkDocs for every page."""
    name = page.file.src_uri
    return inside(markdown.replace(MARK, reference()) if name == PAGE else markdown, name)


def inside(markdown: str, name: str) -> str:
    """Links from a page to files of the project that are no pages become their names."""

    def named(link: re.Match[str]) -> str:
        place = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), link[1]))
        return link[0] if place.startswith("docs/") else f"`{place}`"

    return re.sub(r"(?<!!)\[[^\]]*\]\((\.\.?/[^)]*)\)", named, markdown)


def reference() -> str:
    """Markdown: a section for each command, in the order of ``vsr --help``."""
    root = click.Context(vsr, info_name="vsr", **vsr.context_settings)
    contexts = [_context(name, vsr.get_command(root, name), root) for name in vsr.list_commands(root)]
    rows = {context.info_name: list(_rows(context)) for context in contexts}
    shared = [row for row in rows[SHARED[0]] if all(row in rows[name] for name in SHARED)]
    lines = [f"- [`vsr {name}`](#vsr-{name}): {summary}" for name, (_, summary) in COMMANDS.items()]
    for context in contexts:
        own = [row for row in rows[context.info_name] if context.info_name not in SHARED or row not in shared]
        lines += _section(context, own)
        if context.info_name in SHARED:
            lines += ["", "And the [options of all commands that make films](#options-for-films)."]
        if isinstance(context.command, click.Group):
            for name in context.command.list_commands(context):
                inner = _context(name, context.command.get_command(context, name), context)
                lines += _section(inner, list(_rows(inner)))
    commands = ", ".join(f"`vsr {name}`" for name in SHARED)
    lines += ["", "## Options for films", "", f"What {commands} have in common:", *_table(shared)]
    return "\n".join(lines)


def _context(name: str, command: click.Command | None, parent: click.Context) -> click.Context:
    assert command is not None
    return click.Context(command, info_name=name, parent=parent)


def _section(context: click.Context, rows: list[tuple[str, str]]) -> Iterator[str]:
    command, path = context.command, context.command_path
    yield from ("", f"## {path} {{ #{path.replace(' ', '-')} }}", "")
    yield from ("```text", f"{path} {' '.join(command.collect_usage_pieces(context))}", "```", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):  # stands as it is
            yield from ("```text", paragraph.removeprefix("\b").strip("\n"), "```", "")
        else:
            yield from (_plain(paragraph), "")
    for paragraph in (command.epilog or "").split("\n\n"):
        if example := re.fullmatch(r"(.*?): ((?:[A-Z_]+=\S+ )?(?:vsr|ffmpeg|eval) .*)", paragraph):
            says, line = example.groups()
            yield from (f"{_plain(says)}:", "")
            if reason := NOT_RUN.get(context.info_name or ""):
                yield f"<!-- not run: {reason} -->"
            yield from ("```sh", line, "```", "")
        elif paragraph:
            yield from (_plain(paragraph), "")
    yield from _table(rows)


def _rows(context: click.Context) -> Iterator[tuple[str, str]]:
    """Spelling and meaning of every option but ``--help``, as ``--help`` prints them."""
    for parameter in context.command.params:
        record = parameter.get_help_record(context)
        if isinstance(parameter, click.Option) and record is not None:
            yield record


def _table(rows: list[tuple[str, str]]) -> Iterator[str]:
    if rows:
        yield from ("", "| option | |", "|---|---|")
    for spelling, meaning in rows:
        cell = re.sub(r"\s+", " ", spelling).replace("|", "\\|")
        yield f"| `{cell}` | {_plain(meaning)} |"


def _plain(text: str) -> str:
    """Text in which Markdown finds no marks but code in backquotes."""
    return re.sub(r"([|<>*_\[\]{}])", r"\\\1", re.sub(r"[ \n]+", " ", text))
