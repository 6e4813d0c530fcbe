"""The list of benchmarks/laboratory.py, and what is known of the run of each of its entries."""

from __future__ import annotations

import csv
import fnmatch
import json
import tomllib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from campaign import SUFFIX

PLAN = "laboratory.json"


@dataclass(frozen=True)
class Entry:
    """A training of the list, see laboratory.toml.

    Attributes:
        name: of the run's folder, and in tables.
        group: of the table that it belongs to.
        arguments: of ``vsr train``.
        data: name of its footage: ``train``, or one of ``--data``.
        category: of clips that it is trained on; empty: on all.
        base: weight file that it starts from, and is compared with; empty: none.
        curve: validated again and again, for a plot.
        folder: of the run.
    """

    name: str
    group: str
    arguments: tuple[str, ...]
    data: str
    category: str
    base: str
    curve: bool
    folder: Path

    @property
    def weights(self) -> Path | None:
        """The weight file, once there is one."""
        return next(iter(sorted(self.folder.glob(f"*{SUFFIX}"))), None)

    def log(self) -> list[dict[str, str]]:
        """Return the complete lines of the run's log."""
        with suppress(OSError), (self.folder / "log.csv").open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if row.get("step") and row.get("waited")]
        return []

    def validations(self) -> list[tuple[int, dict[str, float]]]:
        """Return steps and scores of all validations."""
        return [(int(row["step"]), json.loads(row["validation"])) for row in self.log() if row["validation"]]

    def plan(self) -> dict[str, float]:
        """Return what is known of the run: seconds of a step, steps, and processor time so far."""
        with suppress(OSError, ValueError):
            return json.loads((self.folder / PLAN).read_text("utf-8"))
        return {}

    def write_plan(self, plan: Mapping[str, float]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f"{PLAN}.part"
        part.write_text(json.dumps(plan), encoding="utf-8")
        part.replace(self.folder / PLAN)

    @property
    def is_finished(self) -> bool:
        """Whether all planned steps are done, and weights are written."""
        log, steps = self.log(), self.plan().get("steps", 0)
        return bool(steps and log and int(log[-1]["step"]) >= steps and self.weights)


@dataclass(frozen=True)
class Laboratory:
    """The list.

    Attributes:
        entries: trainings.
        categories: name -> patterns of file names, ``train`` and ``val``.
        degrade: how ``vsr evaluate`` makes low resolution, unless weights are of another protocol.
    """

    entries: tuple[Entry, ...]
    categories: Mapping[str, Mapping[str, Sequence[str]]]
    degrade: str

    def entries_like(self, entry: Entry) -> list[Entry]:
        """Return the entries of an equal step, whose cost is known."""
        return [e for e in self.entries if e.arguments == entry.arguments and "step_seconds" in e.plan()]


def read_list(path: Path, runs: Path) -> Laboratory:
    """Read the list; exit with a line that names what is wrong in it."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        common = content.get("common", {}).get("arguments", [])
        entries = tuple(
            Entry(
                each["name"],
                each["group"],
                (*(common if each.get("common", True) else ()), *each.get("arguments", ())),
                each.get("data", "train"),
                each.get("category", ""),
                each.get("base", ""),
                each.get("curve", False),
                runs / each["name"],
            )
            for each in content["entries"]
        )
        categories = content.get("categories", {})
        if unknown := [e.category for e in entries if e.category and e.category not in categories]:
            raise ValueError(f"no category {unknown[0]!r}")
        if len({entry.name for entry in entries}) < len(entries):
            raise ValueError("two entries share a name")
        return Laboratory(entries, categories, content["degrade"])
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"{str(path)!r} is no list of trainings ({error}): see benchmarks/laboratory.toml"
        ) from error


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Return whether a file's name matches one of the patterns."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
