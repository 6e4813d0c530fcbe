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

from vsrcli.cli.help import Command, option
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


@click.command(
    cls=Command,
    epilog="Example: vsr evaluate clips/ --crf none --crf 23 --pictures compared/\n\n"
    "Two models, by the protocol of published figures: "
    "vsr evaluate clips/ -m a-bd.weights.h5 -m b-bd.weights.h5 --markdown figures.md\n\n"
    "Clips in pairs/lr, originals in pairs/hr (or LR and GT): "
    "vsr evaluate pairs/ --degrade none\n\n"
    "Clips and originals in any two folders: vsr evaluate low/ --degrade none --truth high/",
)
@click.argument("clips", nargs=-1, required=True, type=_FILE)
@option(
    "-m",
    "--model",
    "models",
    multiple=True,
    default=(DEFAULT_MODEL,),
    show_default=True,
    metavar="NAME",
    group="Model",
    help="Measure this model: a name from `vsr models`, or a weight file; repeatable to compare several.",
)
@option(
    "-s",
    "--scale",
    type=click.IntRange(2, 4),
    metavar="N",
    group="Model",
    help="Upscale by this factor.  [default: that of the weight file, else 4]",
)
@option(
    "--degrade",
    type=_DEGRADATIONS,
    metavar="NAME",
    group="Measurement",
    values={
        "bi": "bicubic, like any scaler",
        "bd": "blur and decimate, as in published figures",
        "video": "as `vsr train` does it, the same every time",
        "none": "not at all: CLIPS are low resolution already",
    },
    help="Make low resolution.  [default: what the weight file was trained on, bi or bd]",
)
@option("--protocol", type=_DEGRADATIONS, hidden=True, group="Measurement", help="The same as --degrade.")
@option(
    "--crf",
    "crfs",
    multiple=True,
    type=CrfType(),
    default=("none",),
    show_default=True,
    metavar="none|0-51",
    group="Measurement",
    help="With bi and bd: compress low resolution with H.264 at this quality; repeatable, a table for each.",
)
@option(
    "--truth",
    type=_FILE,
    metavar="DIR",
    group="Measurement",
    help="With none: find the originals here, named like CLIPS.",
)
@option(
    "--phase",
    type=click.Choice(["centre", "zero"]),
    metavar="NAME",
    group="Measurement",
    help="With none: assume that low-resolution pixels lie in the centre, or at zero as bd makes them.  "
    "[default: as models expect]",
)
@option(
    "--frames",
    type=click.IntRange(5),
    metavar="N",
    group="Measurement",
    help="Measure the first N frames of each clip, 5 or more.",
)
@option(
    "--pictures",
    type=_FILE,
    metavar="DIR",
    group="Output",
    help="Write a comparison image of each clip to this folder.",
)
@option(
    "--json", "json_file", type=_FILE, metavar="FILE", group="Output", help="Write all scores to this file."
)
@option(
    "--markdown",
    "markdown_file",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    group="Output",
    help="Write the tables as Markdown to this file; - prints them instead of the usual ones.",
)
@option(
    "--card",
    is_flag=True,
    group="Output",
    help="Write the mean scores of each model into the model card of its weights.",
)
@engine_options
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
    """Measure the quality of models on CLIPS: shrink, upscale, compare with the original.

    CLIPS are videos, image sequences in folders, and folders of them. Scores are PSNR and SSIM
    of luma, how faithful changes from frame to frame are, and the time per frame, beside bicubic and Lanczos
    interpolation.
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
    for each in ("truth", "phase"):
        if given[each] is not None and name != "none":
            if from_command_line(context, each):
                raise UsageError(f"--{each} is for low resolution that is given: add --degrade none")
            given[each] = None
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
