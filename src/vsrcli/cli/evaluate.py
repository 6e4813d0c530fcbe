"""``vsr evaluate``: how good models are on your own clips, beside interpolation.

What ``vsr evaluate`` writes besides its tables: figures, and measurements in the cards of weights.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.options import (
    ARGUMENTS,
    engine_options,
    from_command_line,
    highest_precedence,
    verbose_option,
)
from vsrcli.errors import OutputError, UsageError
from vsrcli.evaluate.models import EvaluatedModel
from vsrcli.evaluate.results import Evaluation, card_entry
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.models.weights import SUFFIX

if TYPE_CHECKING:
    from vsrcli.evaluate.benchmark import StillFrames
    from vsrcli.evaluate.results import ClipResult


_DEGRADATIONS = click.Choice(["bi", "bd", "video", "none"])
_FILE = click.Path(path_type=Path)


class CrfType(click.ParamType):
    """``none`` or a constant rate factor of H.264."""

    name = "none|0-51"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        if value == "none" or isinstance(value, int):
            return value
        if not value.isdecimal() or int(value) > 51:
            self.fail(f"{value!r} is neither 'none' nor a whole number from 0 to 51", param, ctx)
        return int(value)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=_FILE)
@click.option(
    "-m",
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    help="Name (see `vsr models`) or weight file; repeat it to compare several on the same clips.",
)
@click.option(
    "-s", "--scale", type=click.IntRange(2, 4), help="Factor; by default the weight file's, else 4."
)
@click.option(
    "--degrade",
    type=_DEGRADATIONS,
    help="How low resolution is made: bi = bicubic like any scaler; bd = blur and decimate, as published "
    "figures have it; video = as `vsr train` makes it, the same every time; none = CLIPS are low resolution "
    "themselves, see above. By default what weight files were trained on, bi or bd.",
)
@click.option("--protocol", type=_DEGRADATIONS, hidden=True, help="The same as --degrade.")
@click.option(
    "--crf",
    "crfs",
    multiple=True,
    type=CrfType(),
    default=("none",),
    show_default=True,
    help="With bi and bd: compress low resolution with H.264 at this quality; repeat it for a table each.",
)
@click.option("--truth", type=_FILE, help="With none: folder of the originals, named like CLIPS.")
@click.option(
    "--phase",
    type=click.Choice(["centre", "zero"]),
    help="With none: where low-resolution pixels lie, zero as bd makes them. By default as models want it.",
)
@click.option("--frames", type=click.IntRange(5), help="Only so many frames from the start of each clip.")
@engine_options
@click.option("--json", "json_file", type=_FILE, help="Write all figures to this file.")
@click.option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="Write the tables as Markdown to this file; - prints them instead of the usual ones.",
)
@click.option("--pictures", type=_FILE, help="Write a comparison of each clip to this folder.")
@click.option("--card", is_flag=True, help="Write the means of each model into the card of its weights.")
@verbose_option
def evaluate(
    clips: tuple[Path, ...],
    models: tuple[str, ...],
    degrade: str | None,
    protocol: str | None,
    crfs: tuple[int | str, ...],
    truth: Path | None,
    frames: int | None,
    json_file: Path | None,
    markdown_file: Path | None,
    pictures: Path | None,
    card: bool,
    verbose: int,
    **given: Any,
) -> None:
    """Measure models on CLIPS: shrink them, upscale again, compare with the original.

    CLIPS are videos, folders of pictures (`calendar/Frame 001.png`), and folders that hold any of them.
    Scores are PSNR and SSIM of luma, and how faithfully pictures change from frame to frame, beside bicubic
    and Lanczos interpolation of the same low resolution; and the time that a frame takes.

    \b
    Clean low resolution, and the same after H.264 at crf 23:
        vsr evaluate clips/ --crf none --crf 23 --pictures compared/
    Two models on the same clips, by the protocol of published figures:
        vsr evaluate clips/ -m a-bd.weights.h5 -m b-bd.weights.h5 --markdown figures.md
    Low resolution that is there already:
        vsr evaluate pairs/ --degrade none      folders pairs/lr and pairs/hr (or LR, GT)
        vsr evaluate low/ --degrade none --truth high/
    """
    from dataclasses import replace

    from vsrcli.cli.evaluate_report import ComparisonStrips, MeasuringBar, print_comparison
    from vsrcli.evaluate.comparison import compare_models
    from vsrcli.evaluate.tables import notes

    say = _Notices()
    name = _degradation(degrade, protocol)
    given |= {"truth": truth, "card": card, "crfs": crfs}
    _suit(name, models, given)
    truth, card, crfs = given["truth"], given["card"], given["crfs"]
    for path in (json_file, markdown_file):
        check_target(path)
    contestants = _contestants(models, given["scale"], name, given["phase"], say)
    if card:
        check_cards(contestants, name)
    test = contestants[0].protocol
    tests = [replace(test, crf=None if isinstance(crf, str) else crf) for crf in dict.fromkeys(crfs)]
    files = _files(clips, name, truth, say)
    engine = {key: given[key] for key in ("device", "precision", "engine")}
    to_stdout = markdown_file == Path("-")
    progress, strips, found = (
        MeasuringBar(len(files)),
        ComparisonStrips(pictures, several=len(contestants) > 1),
        [],
    )

    def on_clip(contestant: EvaluatedModel, result: ClipResult, still: StillFrames) -> None:
        strips.add(contestant, label=progress.label, result=result, still=still)
        progress.advance()

    with progress:
        for comparison in compare_models(
            contestants,
            files,
            tests,
            open_engine=lambda contestant: contestant.open(**engine),
            frames=frames,
            on_begin=progress.begin,
            on_clip=on_clip,
            on_notice=say,
        ):
            progress.end()
            if not to_stdout:
                print_comparison(comparison)
            found.append(comparison)
    if not to_stdout:
        click.echo("\n".join(notes(found[0])))
    if json_file:
        reports = [report.as_dict() for comparison in found for report in comparison.reports]
        write(json_file, json.dumps(reports, indent=2) + "\n")
    if markdown_file:
        from vsrcli.evaluate.tables import evaluation_document

        typed = click.get_current_context().meta.get(ARGUMENTS, ())
        text = evaluation_document(found, shlex.join(["vsr", *typed]) if typed else "")
        if to_stdout:
            click.echo(text, nl=False)
        else:
            write(markdown_file, text)
    if card:
        for number, contestant in enumerate(contestants):
            write_card(contestant, [comparison.reports[number] for comparison in found])


def _degradation(degrade: str | None, before: str | None) -> str | None:
    from vsrcli.errors import UsageError

    named = highest_precedence(click.get_current_context(), {"degrade": degrade, "protocol": before})
    if len(set(named.values())) > 1:
        raise UsageError(f"--degrade {degrade} and --protocol {before} contradict each other: leave one out")
    return next(iter(named.values()), None)


def _suit(name: str | None, models: Sequence[str], given: dict[str, Any]) -> None:
    """Options for another kind of measurement: typed ones are refused, those of a settings file put aside."""
    from vsrcli.errors import UsageError

    context = click.get_current_context()
    for option in ("truth", "phase"):
        if given[option] is not None and name != "none":
            if from_command_line(context, option):
                raise UsageError(f"--{option} is for low resolution that is given: add --degrade none")
            given[option] = None
    if name in ("video", "none") and not from_command_line(context, "crfs"):
        given["crfs"] = ("none",)
    if name == "none" and not from_command_line(context, "card"):
        given["card"] = False
    if any(model.endswith(SUFFIX) for model in models) and not from_command_line(context, "scale"):
        given["scale"] = None  # weight files have their own


def _contestants(
    models: Sequence[str], scale: int | None, name: str | None, phase: Any, say: _Notices
) -> list[EvaluatedModel]:
    from vsrcli.evaluate.models import resolve_models

    found = resolve_models(models, scale, name, phase)
    for contestant in found:
        if contestant.warning:
            say(contestant.warning)
    return found


def _files(clips: Sequence[Path], name: str | None, truth: Path | None, say: _Notices) -> Any:
    from vsrcli.evaluate.clips import find_clips, find_pairs

    return find_pairs(clips, truth, say) if name == "none" else find_clips(clips, say)


class _Notices:
    """Warnings on stderr, each once."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def __call__(self, text: str) -> None:
        if text not in self._said:
            click.echo(f"warning: {text}", err=True)
        self._said.add(text)


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
