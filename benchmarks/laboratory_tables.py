"""What benchmarks/laboratory.py has measured, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from campaign import SUFFIX
from common import Table, machine
from laboratory_list import Entry, Laboratory, matches

SCORES = "scores.json"
HEADS = (
    "network",
    "parameters",
    "multiply-adds",
    "steps",
    "PSNR-Y, dB",
    "gain, dB",
    "SSIM-Y",
    "MSE",
    "flicker",
    "us a pixel",
)


def row_of(entry: Entry) -> dict[str, Any] | None:
    """Return the figures of an entry that is trained and measured."""
    weights, scores = entry.weights, entry.folder / SCORES
    if weights is None or not scores.is_file() or not entry.is_finished:
        return None
    card = json.loads(weights.with_name(weights.name.removesuffix(SUFFIX) + ".json").read_text("utf-8"))
    (measured,) = json.loads(scores.read_text("utf-8"))
    mean, validation = measured["mean"], card.get("validation") or {}
    mse = next((value for key, value in validation.items() if key.endswith(" mse")), None)
    return {
        "name": entry.name,
        "group": entry.group,
        "scale": card["scale"],
        "degradation": card["degradation"],
        "parameters": card["parameters"],
        "multiply_adds": card["multiply_adds_per_lr_pixel"],
        "steps": card["training"]["step"],
        "step_seconds": entry.plan().get("step_seconds"),
        "processor_seconds": entry.plan().get("processor_seconds"),
        "psnr": mean["model"]["psnr"],
        "gain": mean["gain"],
        "gain_standard_error": mean.get("gain_standard_error"),
        "ssim": mean["model"]["ssim"],
        "mse": None if mse is None else mse * 255**2,
        "flicker": mean["model"].get("flicker"),
        "us_per_pixel": (mean["time"].get("model") or {}).get("us_per_lr_pixel"),
        "bicubic_psnr": mean["bicubic"]["psnr"],
        "clips": {clip["name"]: clip["model"]["psnr"] for clip in measured["clips"]},
    }


def cells(row: Mapping[str, Any]) -> list[str]:
    """Return a row of the table of ``HEADS``."""

    def number(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    return [
        f"`{row['name']}`",
        number(row["parameters"], 0),
        number(row["multiply_adds"], 0),
        number(row["steps"], 0),
        number(row["psnr"], 2),
        f"{row['gain']:+.2f}",
        number(row["ssim"], 4),
        number(row["mse"], 1),
        number(row["flicker"], 2),
        number(row["us_per_pixel"], 2),
    ]


def category_cells(laboratory: Laboratory, name: str, clips: Mapping[str, float]) -> list[str]:
    """Return the mean PSNR over the validation clips of each category, and over all."""
    means = []
    for patterns in [each["val"] for each in laboratory.categories.values()] + [["*"]]:
        values = [
            value
            for clip, value in clips.items()
            if any(matches(clip + end, patterns) for end in ("", ".mp4"))
        ]
        means.append(f"{sum(values) / len(values):.2f}" if values else "-")
    return [f"`{name}`", *means]


def markdown(
    laboratory: Laboratory, rows: Sequence[Mapping[str, Any]], runs: Path, minutes: float
) -> dict[str, str]:
    """Return a table in Markdown for each group that has a measured entry."""
    tables = {}
    for group in dict.fromkeys(row["group"] for row in rows):
        chosen = [row for row in rows if row["group"] == group]
        lines: list[list[str]] = []
        heads = list(HEADS)
        if group == "categories":
            heads = ["trained on", *laboratory.categories, "all clips"]
            for base in dict.fromkeys(e.base for e in laboratory.entries if e.group == group and e.base):
                scores = base_scores(runs, base)
                if scores.is_file():
                    (measured,) = json.loads(scores.read_text("utf-8"))
                    clips = {clip["name"]: clip["model"]["psnr"] for clip in measured["clips"]}
                    lines.append(category_cells(laboratory, "as shipped", clips))
            lines += [category_cells(laboratory, row["name"], row["clips"]) for row in chosen]
        else:
            lines = [cells(row) for row in chosen]
        text = [f"| {' | '.join(line)} |" for line in (heads, ["---", *["---:"] * (len(heads) - 1)], *lines)]
        protocols = dict.fromkeys(
            (row["scale"], row["degradation"], round(row["bicubic_psnr"], 2)) for row in chosen
        )
        stated = "; ".join(
            f"x{scale} `{name}`, where bicubic has {psnr:.2f} dB" for scale, name, psnr in protocols
        )
        text += [
            "",
            f"{minutes:g} minutes of processor time each. {stated}. MSE: of R'G'B' codes, on the middle of "
            f"each clip. {machine()}.",
        ]
        tables[group] = "\n".join(text)
    return tables


def write_markdown(path: Path, tables: Mapping[str, str]) -> None:
    """Write tables between the page's markers ``<!-- figures: GROUP -->`` and ``<!-- end -->``."""
    text = path.read_text("utf-8") if path.is_file() else ""
    for group, table in tables.items():
        start, end = f"<!-- figures: {group} -->", "<!-- end -->"
        before, found, rest = text.partition(start)
        if found:
            text = f"{before}{start}\n\n{table}\n\n{end}{rest.partition(end)[2]}"
        else:
            text += f"\n{start}\n\n{table}\n\n{end}\n"
    path.write_text(text, encoding="utf-8")


def base_scores(runs: Path, base: str) -> Path:
    """Return the file with the scores of weights that entries start from."""
    return runs / "base" / f"{Path(base).name.removesuffix(SUFFIX)}.json"


def print_status(laboratory: Laboratory) -> None:
    """Print a line for each entry."""
    table = Table(["entry", "group", "s/step", "steps", "of", "minutes", "PSNR-Y, dB", "gain, dB"])
    for entry in laboratory.entries:
        plan, row = entry.plan(), row_of(entry)
        step = f"{plan['step_seconds']:.3f}" if "step_seconds" in plan else "-"
        minutes = f"{plan.get('processor_seconds', 0) / 60:.1f}"
        scores = (f"{row['psnr']:.2f}", f"{row['gain']:+.2f}") if row else ("-", "-")
        table.row(
            entry.name,
            entry.group,
            step,
            len(entry.log()),
            int(plan.get("steps", 0)) or "-",
            minutes,
            *scores,
        )
    table.print()
