"""What ``vsr evaluate`` writes besides its tables: figures, and measurements in the cards of weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from vsrcli.errors import OutputError, UsageError
from vsrcli.evaluate.models import EvaluatedModel
from vsrcli.evaluate.results import Evaluation, card_entry


def check_target(path: Path | None) -> None:
    """Whether figures can be written there: before hours of work, not after them.

    Raises:
        OutputError: they cannot.
    """
    if path is None or path == Path("-"):
        return
    if path.is_dir() or not path.resolve().parent.is_dir():
        why = "that is a folder" if path.is_dir() else "there is no such folder"
        raise OutputError(f"cannot write the figures to {str(path)!r}: {why}; name a file in one that exists")


def write(path: Path, text: str) -> None:
    """Figures into a file of their own.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write the figures to {str(path)!r}: {error}; name another file") from error


def check_cards(contestants: Sequence[EvaluatedModel], name: str | None) -> None:
    """Whether these measurements belong into cards.

    Raises:
        UsageError: they do not.
    """
    if name == "none":
        raise UsageError("--card says how low resolution was made, --degrade none does not: leave one out")
    for contestant in contestants:
        if contestant.choice.weights is None:
            raise UsageError(
                f"--card needs models with weights: {contestant.choice.architecture.name} has no card"
            )


def write_card(contestant: EvaluatedModel, reports: list[Evaluation]) -> None:
    """The means of a model into the card of its weights."""
    weights = contestant.choice.weights
    assert weights is not None
    content = {**weights.card, "measured": card_entry(reports)}
    partial = weights.card_path.with_suffix(".part")
    write(partial, json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    partial.replace(weights.card_path)
