"""MkDocs hook that generates the reference in docs/commands.md from the commands themselves.

Options that ``vsr upscale``, ``vsr batch`` and ``vsr preview`` share are listed once, at its end.
"""

from __future__ import annotations

import inspect
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

import click

from vsrcli.cli.help import Rows, examples, sections
from vsrcli.cli.main import COMMANDS_BY_HEADING, vsr

PAGE, MARK = "commands.md", "<!-- the commands -->"
SHARED = ("upscale", "batch", "preview")
NOT_RUN = {  # examples that tests/docs only parses, with the reason
    "train": "trains for hours",
    "tune": "measures for a minute, and writes to your settings",
    "doctor": "computes with the default network, as tests/doctor does",
    "serve": "runs until it is stopped; tests/web starts it",
    "evaluate": "needs folders of clips; README has two that are run",
}


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fill in the reference; MkDocs calls this for every page."""
    name = page.file.src_uri
    return link_within_docs(markdown.replace(MARK, reference()) if name == PAGE else markdown, name)


def link_within_docs(markdown: str, name: str) -> str:
    """Replace links from a page to files of the project outside docs/ by their paths."""

    def replacement(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(name), link[1]))
        return link[0] if path.startswith("docs/") else f"`{path}`"

    return re.sub(r"(?<!!)\[[^\]]*\]\((\.\.?/[^)]*)\)", replacement, markdown)


def reference() -> str:
    """Return Markdown with a section for each command, in the order of ``vsr --help``."""
    root = click.Context(vsr, info_name="vsr", **vsr.context_settings)
    contexts = [_context(name, vsr.get_command(root, name), root) for name in vsr.list_commands(root)]
    tables = {context.info_name: _tables(context) for context in contexts}
    shared = {
        heading: [row for row in rows if all(row in tables[name].get(heading, ()) for name in SHARED)]
        for heading, rows in tables[SHARED[0]].items()
    }
    lines = []
    for heading, entries in COMMANDS_BY_HEADING.items():
        lines += ["", f"**{heading}**", ""]
        lines += [f"- [`vsr {name}`](#vsr-{name}): {summary}" for name, (_, summary) in entries.items()]
    for context in contexts:
        own = tables[context.info_name]
        if context.info_name in SHARED:
            own = {key: [row for row in rows if row not in shared.get(key, ())] for key, rows in own.items()}
        lines += _section(context, own)
        if context.info_name in SHARED:
            lines += ["", "And the [options of all commands that upscale](#options-for-upscaling)."]
        if isinstance(context.command, click.Group):
            for name in context.command.list_commands(context):
                inner = _context(name, context.command.get_command(context, name), context)
                lines += _section(inner, _tables(inner))
    commands = ", ".join(f"`vsr {name}`" for name in SHARED)
    lines += [
        "",
        "## Options for upscaling",
        "",
        f"What {commands} have in common:",
        *_to_markdown(shared),
    ]
    return "\n".join(lines)


def _context(name: str, command: click.Command | None, parent: click.Context) -> click.Context:
    assert command is not None
    return click.Context(command, info_name=name, parent=parent)


def _section(context: click.Context, tables: Mapping[str, Rows]) -> Iterator[str]:
    command, path = context.command, context.command_path
    yield from ("", f"## {path} {{ #{path.replace(' ', '-')} }}", "")
    yield from ("```text", f"{path} {' '.join(command.collect_usage_pieces(context))}", "```", "")
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield from (_escape(paragraph), "")
    for text, line in examples(command.epilog):
        if line is None:
            yield from (_escape(text), "")
            continue
        yield from (f"{_escape(text)}:", "")
        if reason := NOT_RUN.get(context.info_name or ""):
            yield f"<!-- not run: {reason} -->"
        yield from ("```sh", line, "```", "")
    yield from _to_markdown(tables)


def _tables(context: click.Context) -> dict[str, Rows]:
    """Return spelling and meaning of all options but ``--help``, by heading, as ``--help`` prints them."""
    return {
        heading: [row for row in rows if not row[0].endswith("--help")]
        for heading, rows in sections(context.command, context).items()
    }


def _to_markdown(tables: Mapping[str, Rows]) -> Iterator[str]:
    for heading, rows in tables.items():
        if rows:
            yield from ("", f"| {heading} | |", "|---|---|")
        for spelling, meaning in rows:
            cell = re.sub(r"\s+", " ", spelling.strip()).replace("|", "\\|")
            yield f"| {'&emsp;' * spelling.startswith('  ')}`{cell}` | {_escape(meaning)} |"


def _escape(text: str) -> str:
    """Escape all Markdown but code in backquotes."""
    return re.sub(r"([|<>*_\[\]{}])", r"\\\1", re.sub(r"[ \n]+", " ", text))
