"""What a model card says about where the weights come from: command, footage, credits, licence."""

from __future__ import annotations

import csv
import shlex
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.options import ARGUMENTS
from vsrcli.train.footage import Footage

LICENCE = "Apache-2.0"


def model_card(context: click.Context, footage: Footage) -> dict[str, Any]:
    """The part of a card that only the command line knows."""
    typed = context.meta.get(ARGUMENTS, ())
    return {
        "command": shlex.join(["vsr", *(relative(argument) for argument in typed)]),
        "data": {
            "folder": footage.root.resolve().name,
            "clips": len(footage.clips),
            "photos": len(footage.photos),
            "skipped": footage.skipped,
        },
        "licence": LICENCE,
        "credits": credits_of(footage),
    }


def relative(argument: str) -> str:
    """An absolute path as seen from here: a card travels, and the machine's folders are nobody's business."""
    option, equals, value = argument.partition("=")
    if option.startswith("--") and equals:
        return f"{option}={relative(value)}"
    path = Path(argument)
    if not path.is_absolute():
        return argument
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else path.name


def credits_of(footage: Footage) -> list[dict[str, str]]:
    """Whose footage was used: distinct sources and licences, from the nearest ``manifest.csv``."""
    used = {path.resolve() for path in (*footage.clips, *footage.photos)}
    for folder in (footage.root, footage.root.parent, footage.root.parent.parent):
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as file:
                pairs = {
                    (row.get("source_repo") or "", row.get("licence") or "")
                    for row in csv.DictReader(file)
                    if (folder / row["path"]).resolve() in used
                }
            return [{"source": source, "licence": licence} for source, licence in sorted(pairs)]
    return []
