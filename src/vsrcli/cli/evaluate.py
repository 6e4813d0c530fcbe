"""``vsr evaluate``: measure the quality of models on clips, and write scores to files and model cards."""

from __future__ import annotations

import functools
import json
import os
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vsrcli.cli.evaluate_options import CrfParam, measure_options
from vsrcli.cli.help import Command, option
from vsrcli.cli.options import ARGUMENTS, check_applicable, highest_precedence, verbose_option
from vsrcli.cli.types import ModelParam
from vsrcli.cli.upscale_options import engine_options, strength_options
from vsrcli.errors import OutputError, UsageError, VsrError
from vsrcli.evaluate.models import EvaluatedModel
from vsrcli.evaluate.results import Evaluation, card_scores
from vsrcli.inference.looks import MixedWeights
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.models.weights import SUFFIX, Weights, read_weights
from vsrcli.system.files import atomic_write
from vsrcli.system.signals import catch_signals
from vsrcli.system.text import replace_undecodable

if TYPE_CHECKING:
    from vsrcli.evaluate.crops import StillFrames
    from vsrcli.evaluate.others import OtherTool
    from vsrcli.evaluate.results import ClipResult

_DEGRADATIONS = click.Choice(["bi", "bd", "video", "none"])
_FILE = click.Path(path_type=Path)
_STDOUT = Path("-")


@click.command(
    cls=Command,
    epilog="Example: vsr evaluate clips/ --crf none --crf 23 --images compared/\n\n"
    "Two models, by the protocol of published figures: "
    "vsr evaluate clips/ -m a-bd.weights.h5 -m b-bd.weights.h5 --markdown figures.md\n\n"
    "Clips in pairs/lr, originals in pairs/hr (or LR and GT): "
    "vsr evaluate pairs/ --degrade none\n\n"
    "Clips and originals in any two folders: vsr evaluate low/ --degrade none --truth high/\n\n"
    "Beside another tool's results, as a page: "
    "vsr evaluate low/ --degrade none --truth high/ --against other=enlarged/ --html page.html",
)
@click.argument("clips", nargs=-1, required=True, type=_FILE)
@option(
    "-m",
    "--model",
    "models",
    "Measure this model: a name from `vsr models`, or a weight file; repeatable to compare several.",
    type=ModelParam(),
    multiple=True,
    default=(DEFAULT_MODEL,),
    metavar="NAME",
    group="Model",
)
@option(
    "-s",
    "--scale",
    "Upscale by this factor.  [default: that of the weight file, else 4]",
    type=click.IntRange(2, 4),
    metavar="N",
    group="Model",
)
@strength_options
@option(
    "--degrade",
    "Make low resolution.  [default: what the weight file was trained on, bi or bd]",
    type=_DEGRADATIONS,
    metavar="NAME",
    values={
        "bi": "bicubic, like any scaler",
        "bd": "blur and decimate, as in published figures",
        "video": "as `vsr train` does it, the same every time",
        "none": "not at all: CLIPS are low resolution already",
    },
    group="Measurement",
)
@option("--protocol", "The same as --degrade.", type=_DEGRADATIONS, hidden=True, group="Measurement")
@option(
    "--crf",
    "crfs",
    "With bi and bd: compress low resolution with H.264 at this quality; repeatable, a table for each.",
    multiple=True,
    type=CrfParam(),
    default=("none",),
    metavar="none|0-51",
    group="Measurement",
)
@option(
    "--truth",
    "With none: find the originals here, named like CLIPS.",
    type=_FILE,
    metavar="DIR",
    group="Measurement",
)
@option(
    "--phase",
    "With none: assume that low-resolution pixels lie in the centre, or at zero as bd makes them.  "
    "[default: as models expect]",
    type=click.Choice(["centre", "zero"]),
    metavar="NAME",
    group="Measurement",
)
@option(
    "--frames",
    "Measure the first N frames of each clip, 5 or more.",
    type=click.IntRange(5),
    metavar="N",
    group="Measurement",
)
@measure_options
@option(
    "--images",
    "Write a comparison image of each clip to this folder.",
    type=_FILE,
    metavar="DIR",
    group="Output",
)
@option(
    "--json",
    "json_file",
    "Write all scores to this file; - prints them instead of the tables.",
    type=_FILE,
    metavar="FILE",
    group="Output",
)
@option(
    "--markdown",
    "markdown_file",
    "Write the tables as Markdown to this file; - prints them instead of the usual ones.",
    type=click.Path(path_type=Path, allow_dash=True),
    metavar="FILE",
    group="Output",
)
@option(
    "--html",
    "html_file",
    "Write the tables, enlarged details and moving ones to this page of one file; - prints it.",
    type=_FILE,
    metavar="FILE",
    group="Output",
)
@option(
    "--card",
    "Write the mean scores of each model into the model card of its weights.",
    is_flag=True,
    group="Output",
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
    html_file: Path | None,
    images: Path | None,
    others: tuple[OtherTool, ...],
    vmaf: bool,
    features: bool,
    ffmpeg: str | None,
    card: bool,
    verbose: int,
    **values: Any,
) -> None:
    """Measure the quality of models on CLIPS: shrink, upscale, compare with the original.

    CLIPS are videos, image sequences in folders, and folders of them. Scores are PSNR and SSIM
    of luma, how faithful changes from frame to frame are, flicker where nothing moves, and the time per
    frame, beside bicubic and Lanczos interpolation.
    """
    from dataclasses import replace

    from vsrcli.cli.evaluate_report import ComparisonStrips, EvaluationBar, print_comparison
    from vsrcli.compare.evaluation_page import EvaluationPage
    from vsrcli.evaluate.benchmark import Measuring
    from vsrcli.evaluate.clips import find_clips, find_pairs
    from vsrcli.evaluate.comparison import compare_models
    from vsrcli.evaluate.models import resolve_models
    from vsrcli.evaluate.others import check_others
    from vsrcli.evaluate.perception import open_perception
    from vsrcli.evaluate.tables import evaluation_document, notes

    @functools.cache
    def warn(text: str) -> None:  # each text once
        click.echo(f"warning: {text}", err=True)

    # options
    degradation = _resolve_degradation(degrade, protocol)
    values |= {"truth": truth, "card": card, "crfs": crfs, "ffmpeg": ffmpeg}
    uses = ["existing" if degradation == "none" else "degraded"]
    uses += ["recompressed"] if degradation not in ("video", "none") else []
    uses += ["named"] if not any(model.endswith(SUFFIX) for model in models) else []
    uses += ["vmaf"] if vmaf else []
    check_applicable(click.get_current_context(), values, *uses)
    truth, card, crfs = values["truth"], values["card"], values["crfs"]
    targets = (json_file, markdown_file, html_file)
    for path in targets:
        check_target(path)
    to_stdout = _STDOUT in targets
    if targets.count(_STDOUT) > 1:
        raise UsageError("--json, --markdown and --html cannot all be printed: give - to one of them")
    if images:
        check_folder(images)

    # models, protocols and clips
    evaluated = resolve_models(models, values["scale"], degradation, values["phase"])
    for model in evaluated:
        if model.phase_warning:
            warn(model.phase_warning)
    evaluated = [model.with_look(values["strength"], values["keep_color"]) for model in evaluated]
    if card:
        check_cards(evaluated, degradation)
    base_protocol = evaluated[0].protocol
    protocols = [
        replace(base_protocol, crf=None if isinstance(crf, str) else crf) for crf in dict.fromkeys(crfs)
    ]
    check_others(others, [model.name for model in evaluated], len(protocols))
    clip_files = find_pairs(clips, truth, warn) if degradation == "none" else find_clips(clips, warn)

    # measurement
    engine = {key: values[key] for key in ("device", "precision", "engine")}
    bar = EvaluationBar(len(clip_files))
    strips = ComparisonStrips(images, several=len(evaluated) > 1)
    page = EvaluationPage() if html_file else None
    perception = open_perception(vmaf=vmaf, features=features, ffmpeg=values["ffmpeg"], on_notice=warn)
    comparisons = []

    def on_clip(model: EvaluatedModel, result: ClipResult, frames: StillFrames) -> None:
        strips.add(model, label=bar.label, result=result, frames=frames)
        if page is not None:
            page.add(model.name, label=bar.label, clip=result.name, frames=frames)
        bar.advance()

    with catch_signals(), bar:
        for comparison in compare_models(
            evaluated,
            clip_files,
            protocols,
            open_engine=lambda model: model.open(**engine),
            max_frames=frames,
            others=others,
            measuring=Measuring(perception, moving=page is not None),
            on_start=bar.begin,
            on_clip=on_clip,
            on_notice=warn,
        ):
            bar.end()
            if not to_stdout:
                print_comparison(comparison)
            comparisons.append(comparison)

    # results
    if not to_stdout:
        click.echo(replace_undecodable("\n".join(notes(comparisons[0]))))
    typed = click.get_current_context().meta.get(ARGUMENTS, ())
    command = shlex.join(["vsr", *typed]) if typed else ""
    outputs: list[Callable[[], None]] = []
    if card:
        for index, model in enumerate(evaluated):
            scores = [comparison.evaluations[index] for comparison in comparisons]
            outputs.append(functools.partial(write_card, model, scores))
    texts: list[tuple[Path, Callable[[], str]]] = []
    if json_file:
        reports = [report.as_dict() for comparison in comparisons for report in comparison.evaluations]
        texts.append((json_file, lambda: json.dumps(reports, indent=2) + "\n"))
    if page is not None and html_file:
        texts.append((html_file, lambda: page.render(comparisons, command)))
    if markdown_file:
        texts.append((markdown_file, lambda: evaluation_document(comparisons, command)))
    texts.sort(key=lambda target: target[0] == _STDOUT)  # last, since its reader may be gone
    write_all([*outputs, *(functools.partial(write, *target) for target in texts)])


def check_target(path: Path | None) -> None:
    """Raise ``OutputError`` before hours of work if scores cannot be written to a file; None, ``-``: pass."""
    if path is None or path == _STDOUT:
        return
    folder = path.resolve().parent
    try:
        is_folder, is_inside_folder = path.is_dir(), folder.is_dir()
        is_special = path.exists() and not path.is_file()
    except PermissionError as error:  # below a folder that must not be searched
        raise OutputError(f"{str(path)!r} cannot be written to ({error.strerror}): name another") from error
    if is_folder or not is_inside_folder:
        why = "that is a folder" if is_folder else "there is no such folder"
        raise OutputError(f"cannot write the figures to {str(path)!r}: {why}; name a file in one that exists")
    if is_special:  # a pipe or device is written itself
        if not os.access(path, os.W_OK):
            raise OutputError(f"{str(path)!r} cannot be written to: name another file")
        return
    check_folder(folder)


def check_folder(folder: Path) -> None:
    """Raise ``OutputError`` if no file can be written into a folder, which may have to be created."""
    places = (folder, *folder.absolute().parents)
    place = next(each for each in places if os.path.exists(each))  # noqa: PTH110
    if not place.is_dir():
        raise OutputError(f"{str(place)!r} is no folder: name another one")
    if not os.access(place, os.W_OK | os.X_OK):
        raise OutputError(f"{str(place)!r} cannot be written to: name another folder, or change its rights")


def write_all(outputs: Sequence[Callable[[], None]]) -> None:
    """Call all of them, whichever fail, then raise the first error; the others are warnings.

    So are all of them where the reader of standard output is gone, which is no error to be printed.
    """
    errors: list[VsrError] = []
    raised: VsrError | None = None
    try:
        for output in outputs:
            try:
                output()
            except VsrError as error:
                errors.append(error)
        raised = next(iter(errors), None)
    finally:
        for error in errors:
            if error is not raised:
                click.echo(f"warning: {replace_undecodable(str(error))}", err=True)
    if raised is not None:
        raise raised


def write(path: Path, make_text: Callable[[], str]) -> None:
    """Write scores to a file, or print them (``-``); raise ``OutputError`` if it cannot be written."""
    text = replace_undecodable(make_text())
    if path == _STDOUT:
        click.echo(text, nl=False)
        return
    try:
        atomic_write(path, lambda file: file.write(text.encode()))
    except OSError as error:
        raise OutputError(f"cannot write the figures to {str(path)!r}: {error}; name another file") from error


def check_cards(models: Sequence[EvaluatedModel], degradation: str | None) -> None:
    """Raise if a model's scores cannot be written into its card.

    Raises:
        UsageError: it has none, or its scores are not the card's to state.
        OutputError: the folder of the card is not writable.
    """
    if degradation == "none":
        raise UsageError("--card says how low resolution was made, --degrade none does not: leave one out")
    for model in models:
        if str(model.look) or isinstance(model.choice.weights, MixedWeights):
            raise UsageError(
                f"--card states what {model.name} gives by itself: leave --strength and --keep-color out"
            )
        if not isinstance(model.choice.weights, Weights):
            raise UsageError(
                f"--card needs models with weights of this program: {model.choice.architecture.name} has "
                "no card"
            )
        check_folder(model.choice.weights.card_path.resolve().parent)


def write_card(model: EvaluatedModel, reports: list[Evaluation]) -> None:
    """Write the mean scores of a model into the card of its weights, beside those of other protocols.

    Raises:
        ModelError: the card, as it is now, cannot be read.
        OutputError: it is that of other weights by now, or cannot be written.
    """
    weights = model.choice.weights
    assert isinstance(weights, Weights)
    card = read_weights(weights.path).card  # a training may have replaced it during the measurement
    if card["sha256"] != weights.card["sha256"]:
        raise OutputError(
            f"{str(weights.card_path)!r} keeps its figures: its weights were replaced meanwhile; "
            "measure them again"
        )
    content = {**card, "measured": {**(card.get("measured") or {}), **card_scores(reports)}}
    write(weights.card_path, lambda: json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _resolve_degradation(degrade: str | None, protocol: str | None) -> str | None:
    """Return the one degradation that ``--degrade`` and its older spelling request, None if neither does."""
    requested = highest_precedence(click.get_current_context(), {"degrade": degrade, "protocol": protocol})
    if len(set(requested.values())) > 1:
        raise UsageError(
            f"--degrade {degrade} and --protocol {protocol} contradict each other: leave one out"
        )
    return next(iter(requested.values()), None)
