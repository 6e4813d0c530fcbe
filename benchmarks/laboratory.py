"""Train a list of networks for an equal amount of processor time each, and write one table of all.

    python benchmarks/laboratory.py TRAIN_DIR VAL_DIR --runs DIR [--minutes 20] [--group networks]
    python benchmarks/laboratory.py TRAIN_DIR VAL_DIR --runs DIR --group areas --data motion=A --data centre=B
    python benchmarks/laboratory.py TRAIN_DIR VAL_DIR --runs DIR --status
    python benchmarks/laboratory.py TRAIN_DIR VAL_DIR --runs DIR --markdown docs/laboratory.md --json lab.json

The list is laboratory.toml beside this file; its entries form groups: ``networks`` on equal terms, ``areas``
(areas with motion against centre crops, whose folders ``--data`` names), ``categories`` (a shipped network
fine-tuned on nature, people or text alone, and on all) and ``recipes`` (of ``vsr train --recipe``; ``--plot``
draws how their validation grew).

Equal terms: every entry of a group has the same footage, batches, crops and optimizer, and the same budget of
processor time, user and system time of the training process, so that other work on the machine does not
count. First the cost of a step is measured over a few steps (once for all entries with the same arguments),
then the run is as long as the budget allows, with the full schedule of the learning rate. Starting, preparing
footage and validating are not part of the budget. Networks are trained one after the other at the lowest
priority. Ctrl-C, SIGTERM or a power cut stops them; the same command goes on at the last checkpoint, and what
is finished is not trained again. Then each is measured by ``vsr evaluate``.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from campaign import SUFFIX, lower_priority, plot
from laboratory_list import Entry, Laboratory, matches, read_list
from laboratory_tables import SCORES, base_scores, markdown, print_status, row_of, write_markdown

POLL_SECONDS = 0.2
PROBE_SHARE, LEAST_PROBE_STEPS, WARMUP_STEPS = 0.05, 4, 3  # of the budget; steps measured, and before them
ENDLESS = 10**7  # steps of a probe, which is stopped
VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".y4m")
PROTOCOLS = ("bi", "bd")  # that vsr evaluate makes low resolution by, as it was trained on


def category_folder(source: Path, patterns: Sequence[str], target: Path) -> Path:
    """Fill a folder with links to the clips of a category; exit if there are none."""
    clips = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in VIDEOS]
    clips = [path for path in clips if matches(path.name, patterns)]
    if not clips:
        raise SystemExit(f"no clip of {str(source)!r} is of this category: see benchmarks/laboratory.toml")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for path in clips:
        (target / path.name).symlink_to(path.resolve())
    return target


def processor_seconds(pid: int) -> float:
    """Return user and system time of a process; 0 once it has ended."""
    import psutil

    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return times.user + times.system
    return 0.0


def train_child(
    line: Sequence[str], output: Path, watch: Callable[[int], bool] = lambda pid: True
) -> tuple[int, list[str]]:
    """Run ``vsr`` at the lowest priority; return its status and last lines.

    Args:
        line: its arguments.
        output: file for what it prints.
        watch: called with its process id again and again; it is stopped, and waited for, when False.
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as file:
        command = [sys.executable, "-m", "vsrcli", *line]
        child = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, preexec_fn=lower_priority)
    try:
        while child.poll() is None:
            time.sleep(POLL_SECONDS)
            if child.poll() is None and not watch(child.pid):
                child.terminate()
                child.wait()
    except BaseException:
        child.terminate()
        child.wait()
        raise
    return child.returncode, output.read_text("utf-8", errors="replace").splitlines()[-3:]


def measure_step(entry: Entry, line: Sequence[str], budget: float) -> float:
    """Return the processor time of a step in seconds, from a run that is thrown away."""
    probe = replace(entry, folder=entry.folder / "probe")
    shutil.rmtree(probe.folder, ignore_errors=True)
    points: list[tuple[int, float]] = []

    def watch(pid: int) -> bool:
        steps, seconds = len(probe.log()), processor_seconds(pid)
        if steps > WARMUP_STEPS and (not points or steps > points[-1][0]):
            points.append((steps, seconds))
        if len(points) < 2:
            return True
        enough = points[-1][1] - points[0][1] >= PROBE_SHARE * budget
        return not (enough and points[-1][0] - points[0][0] >= LEAST_PROBE_STEPS)

    arguments = [*line, "--run", str(probe.folder), "--steps", str(ENDLESS), "--save-every", str(ENDLESS)]
    status, lines = train_child(arguments, entry.folder / "output.txt", watch)
    shutil.rmtree(probe.folder, ignore_errors=True)
    if len(points) < 2:
        raise RuntimeError(f"vsr train ended with status {status}: {' '.join(lines[-1:])}")
    (first, start), (last, end) = points[0], points[-1]
    return (end - start) / (last - first)


def train(
    entry: Entry, laboratory: Laboratory, footage: Path, budget: float, cache: Path, options: Any
) -> None:
    """Train an entry of the list for its budget, in seconds of processor time.

    Args:
        options: the validation folder, and how often entries with a curve are validated.

    Raises:
        RuntimeError: ``vsr train`` failed; with its last line.
    """
    if entry.category:
        footage = entry.folder / "footage"
    line = ["train", str(footage), "--cache", str(cache), *entry.arguments]
    if entry.base:
        line += ["--init", entry.base]
    plan = dict(entry.plan())
    for other in laboratory.entries_like(entry):
        plan.setdefault("step_seconds", other.plan()["step_seconds"])
    if "step_seconds" not in plan:
        print(f"{entry.name}: measuring a step", flush=True)
        plan["step_seconds"] = measure_step(entry, line, budget)
    plan["steps"] = max(int(budget / plan["step_seconds"]), 1)
    plan.setdefault("processor_seconds", 0.0)
    entry.write_plan(plan)
    print(f"{entry.name}: {len(entry.log())} of {plan['steps']} steps", flush=True)
    done, before, started, current = len(entry.log()), plan["processor_seconds"], None, 0.0

    def watch(pid: int) -> bool:
        nonlocal started, current
        rows, seconds = len(entry.log()), processor_seconds(pid)
        if started is None and rows > done:
            started = seconds
        if started is not None and seconds and rows < plan["steps"]:  # the last row comes after validation
            current = seconds - started
        return True

    line += ["--val", str(options.validation), "--metrics", "mse,mae", "--run", str(entry.folder)]
    line += ["--steps", str(plan["steps"]), "--validate-every"]
    line.append(str(-(-int(plan["steps"]) // options.curve_points) if entry.curve else ENDLESS))
    try:
        status, lines = train_child(line, entry.folder / "output.txt", watch)
    finally:
        entry.write_plan({**plan, "processor_seconds": before + current})
    if status:
        raise RuntimeError(f"vsr train ended with status {status}: {' '.join(lines[-1:])}")


def evaluate(weights: Path, target: Path, clips: Path, degrade: str, frames: int | None) -> None:
    """Measure weights by ``vsr evaluate``, unless the file of scores is newer than they are.

    Raises:
        RuntimeError: it failed; with its last line.
    """
    if target.is_file() and target.stat().st_mtime >= weights.stat().st_mtime:
        return
    card = json.loads(weights.with_name(weights.name.removesuffix(SUFFIX) + ".json").read_text("utf-8"))
    degrade = card["degradation"] if card["degradation"] in PROTOCOLS else degrade
    part = target.with_suffix(".part.json")
    line = ["evaluate", str(clips), "-m", str(weights), "--degrade", degrade, "--crf", "none"]
    line += ["--json", str(part), *(["--frames", str(frames)] if frames else [])]
    status, lines = train_child(line, target.with_suffix(".txt"))
    if status:
        raise RuntimeError(f"vsr evaluate ended with status {status}: {' '.join(lines[-1:])}")
    part.replace(target)


def minutes_at(entry: Entry, step: int) -> float:
    """Return the processor time up to a step, in minutes."""
    return step * entry.plan()["step_seconds"] / 60


def named_folder(text: str) -> tuple[str, Path]:
    """Return name and folder of ``NAME=FOLDER``."""
    name, found, folder = text.partition("=")
    if not found or not Path(folder).is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=FOLDER with a folder that exists")
    return name, Path(folder)


def run_entry(entry: Entry, laboratory: Laboratory, folders: Mapping[str, Path], options: Any) -> str:
    """Train and measure an entry; return what failed, or an empty string."""
    if entry.data not in folders:
        return f"give its footage by --data {entry.data}=FOLDER"
    footage, budget, cache = (
        folders[entry.data],
        60 * options.minutes,
        options.cache or options.runs / "cache",
    )
    if entry.category:
        patterns = laboratory.categories[entry.category]["train"]
        category_folder(footage, patterns, entry.folder / "footage")
    try:
        planned = entry.plan()
        longer = "step_seconds" in planned and int(budget / planned["step_seconds"]) > planned.get("steps", 0)
        if not entry.is_finished or longer:
            train(entry, laboratory, footage, budget, cache, options)
        weights = entry.weights
        if weights is not None:
            evaluate(weights, entry.folder / SCORES, options.validation, laboratory.degrade, options.frames)
        if entry.base:
            scores = base_scores(options.runs, entry.base)
            scores.parent.mkdir(parents=True, exist_ok=True)
            evaluate(Path(entry.base), scores, options.validation, laboratory.degrade, options.frames)
    except RuntimeError as error:
        return f"{error}; see {entry.folder / 'output.txt'}"
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="folder for checkpoints, logs and scores")
    parser.add_argument("--minutes", type=float, default=20.0, help="processor time of each training")
    parser.add_argument("--list", type=Path, default=Path(__file__).with_name("laboratory.toml"))
    parser.add_argument("--group", action="append", help="this group only, in tables, too; repeatable")
    parser.add_argument("--only", help="names of entries, separated by commas")
    parser.add_argument("--data", type=named_folder, action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--cache", type=Path, help="folder of decoded footage; default: in --runs")
    parser.add_argument("--curve-points", type=int, default=10, help="validations of an entry with a curve")
    parser.add_argument("--frames", type=int, help="measure the first N frames of each clip only")
    parser.add_argument("--status", action="store_true", help="print where the runs stand, and end")
    parser.add_argument("--markdown", type=Path, help="write the tables into this page, and end")
    parser.add_argument("--json", type=Path, help="write the figures, and end")
    parser.add_argument("--plot", type=Path, help="draw the curves of validation as SVG, and end")
    options = parser.parse_args()
    if options.minutes <= 0:
        parser.error("--minutes must be above 0")
    if options.curve_points < 1:
        parser.error("--curve-points must be at least 1")
    laboratory = read_list(options.list, options.runs)
    if options.status or options.markdown or options.json or options.plot:
        chosen = [e for e in laboratory.entries if not options.group or e.group in options.group]
        rows = [row for entry in chosen if (row := row_of(entry))]
        if options.status:
            print_status(laboratory)
        if options.markdown:
            write_markdown(options.markdown, markdown(laboratory, rows, options.runs, options.minutes))
        if options.plot:
            entries = [entry for entry in laboratory.entries if entry.curve]
            plot(entries, options.plot, minutes_at, "minutes of processor time")
        if options.json:
            options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
        return
    names = [entry.name for entry in laboratory.entries]
    only = options.only.split(",") if options.only else names
    if unknown := [name for name in only if name not in names]:
        parser.error(f"--only: no entry {unknown[0]!r}; there are {', '.join(names)}")
    folders = {"train": options.train, **dict(options.data)}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    failed = False
    try:
        for entry in laboratory.entries:
            if entry.name not in only or (options.group and entry.group not in options.group):
                continue
            if problem := run_entry(entry, laboratory, folders, options):
                failed = True
                print(f"{entry.name}: {problem}; going on", flush=True)
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    print_status(laboratory)
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()
