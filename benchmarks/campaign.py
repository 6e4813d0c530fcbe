"""Train the networks of a list, two at a time, for days, on whatever other work leaves.

    python benchmarks/campaign.py TRAIN_DIR VAL_DIR --runs DIR [--networks FILE.toml] [--at-once 2]
    python benchmarks/campaign.py TRAIN_DIR VAL_DIR --runs DIR --status [--plot curve.svg]
    python benchmarks/campaign.py TRAIN_DIR VAL_DIR --runs DIR --publish weights

The trainings run at the lowest priority. Ctrl-C, SIGTERM or a power cut stops them; the same command goes on
at the last checkpoint. After each validation that is better than all before, the weights and their card are
copied to ``DIR/best``, under the name in the list. ``--status`` prints steps, hours and figures.
``--publish`` measures the best weights beside those of the same name in a folder, by ``vsr evaluate`` (clean
and at crf 23), and copies what is better in both, with its card. Of sharp weights (``--adversarial``) the
best are those nearest to the truth in features; whether they are better is for people to see, so they are
copied only where there are none yet.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Table

SUFFIX = ".weights.h5"
CLEAN, COMPRESSED = "gain_db", "+crf23 gain_db"  # endings of validation's keys
POLL_SECONDS = 2.0


@dataclass(frozen=True)
class Network:
    """An entry of the list, see campaign.toml.

    Attributes:
        name: of the run's folder.
        weights: name of the weight file in ``best``, without extension.
        arguments: of ``vsr train``.
        folder: of the run.
    """

    name: str
    weights: str
    arguments: tuple[str, ...]
    folder: Path

    @property
    def steps(self) -> int:
        """Length of the run."""
        return int(self.arguments[self.arguments.index("--steps") + 1])

    def log(self) -> list[dict[str, str]]:
        """Return the lines of the run's log; the last one may be missing while it is written."""
        with suppress(OSError), (self.folder / "log.csv").open(newline="", encoding="utf-8") as file:
            return [
                row for row in csv.DictReader(file) if row.get("step") and row.get("validation") is not None
            ]
        return []

    def validations(self) -> list[tuple[int, dict[str, float]]]:
        """Return steps and scores of all validations."""
        return [(int(row["step"]), json.loads(row["validation"])) for row in self.log() if row["validation"]]

    @property
    def is_finished(self) -> bool:
        """Whether all steps were trained and validated."""
        validations = self.validations()
        return bool(validations) and validations[-1][0] >= self.steps


def read_networks(path: Path, runs: Path) -> list[Network]:
    """Read the list; exit with a line that names what is wrong in it."""
    try:
        content = tomllib.loads(path.read_text("utf-8"))
        common = content.get("common", {}).get("arguments", [])
        networks = [
            Network(
                each["name"],
                each["weights"],
                (*(common if each.get("common", True) else ()), *each["arguments"]),
                runs / each["name"],
            )
            for each in content["networks"]
        ]
        for network in networks:
            _ = network.steps
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as error:
        raise SystemExit(
            f"{str(path)!r} is no list of networks ({error}): see benchmarks/campaign.toml"
        ) from error
    return networks


def gain(scores: dict[str, float], ending: str) -> float:
    """Return a mean gain in dB by the ending of its key; of a clean validation the shortest key has it."""
    keys = [key for key in scores if key.endswith(ending) and "worst" not in key]
    return scores[min(keys, key=len)] if keys else float("nan")


def value_of(scores: dict[str, float]) -> float:
    """Return what decides between weights: the mean of the gains, clean and compressed.

    Of sharp weights it is their distance from the truth in features, negative: their PSNR falls by design.
    """
    if distances := [scores[key] for key in scores if key.endswith(" features")]:
        return -sum(distances) / len(distances)
    gains = [scores[key] for key in scores if key.endswith(CLEAN) and "worst" not in key]
    return sum(gains) / len(gains) if gains else float("-inf")


def lower_priority() -> None:
    """Give this process, a child, the processors that nobody else wants."""
    os.setsid()  # Ctrl-C of the terminal reaches the campaign only, which then stops the training
    with suppress(OSError):
        os.nice(19)
    with suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def keep_best(network: Network, best: Path) -> None:
    """Copy the run's weights to ``best`` if their validation is better than what lies there."""
    cards = sorted(network.folder.glob("*-x*.json"))
    weights = [card.with_name(card.name.removesuffix(".json") + SUFFIX) for card in cards]
    pairs = [(card, file) for card, file in zip(cards, weights, strict=True) if file.is_file()]
    if not pairs:
        return
    card, file = pairs[0]
    try:
        content = json.loads(card.read_text("utf-8"))
    except ValueError:  # being written
        return
    target = best / f"{network.weights}.json"
    known = json.loads(target.read_text("utf-8"))["validation"] if target.is_file() else {}
    if not content.get("validation") or value_of(content["validation"]) <= value_of(known):
        return
    best.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, best / f"{network.weights}{SUFFIX}.part")
    (best / f"{network.weights}{SUFFIX}.part").replace(best / f"{network.weights}{SUFFIX}")
    shutil.copyfile(card, target)
    step = content["training"]["step"]
    print(f"{network.name}: better at step {step}, {value_of(content['validation']):+.3f}", flush=True)


@dataclass
class Training:
    """A running ``vsr train``, on cores of its own."""

    network: Network
    child: subprocess.Popen[bytes]
    cores: set[int]


def start(network: Network, train_folder: Path, validation_folder: Path, cores: set[int]) -> Training:
    """Start to train a network, on some of this process's cores."""
    line = [sys.executable, "-m", "vsrcli", "train", str(train_folder), "--val", str(validation_folder)]
    line += ["--run", str(network.folder), *network.arguments]
    if (network.folder / "checkpoint.npz").exists() and "--init" in line:  # which --publish may have replaced
        at = line.index("--init")
        del line[at : at + 2]
    network.folder.mkdir(parents=True, exist_ok=True)
    count = str(len(cores))
    threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), count)

    def prepare() -> None:
        lower_priority()
        with suppress(OSError, AttributeError):
            os.sched_setaffinity(0, cores)

    print(f"{network.name}: {len(network.log())} of {network.steps} steps", flush=True)
    with (network.folder / "output.txt").open("a", encoding="utf-8") as output:
        child = subprocess.Popen(
            line, stdout=output, stderr=subprocess.STDOUT, preexec_fn=prepare, env={**os.environ, **threads}
        )
    return Training(network, child, cores)


def train_all(
    networks: list[Network], train_folder: Path, validation_folder: Path, best: Path, at_once: int
) -> None:
    """Train networks to their ends, several at a time. A stop is passed on and waited for."""
    waiting = [network for network in networks if not network.is_finished]
    free = divide(sorted(os.sched_getaffinity(0)), at_once)
    running: list[Training] = []
    try:
        while waiting or running:
            while waiting and free:
                running.append(start(waiting.pop(0), train_folder, validation_folder, free.pop()))
            time.sleep(POLL_SECONDS)
            for training in list(running):
                network = training.network
                keep_best(network, best)
                if (status := training.child.poll()) is None:
                    continue
                running.remove(training)
                free.append(training.cores)
                keep_best(network, best)
                if status:
                    log = network.folder / "output.txt"
                    print(f"{network.name}: vsr train ended with status {status}, see {log}", flush=True)
    except KeyboardInterrupt:
        for training in running:
            training.child.terminate()  # SIGINT is ignored where a shell has started this in the background
        for training in running:
            training.child.wait()
        raise


def divide(cores: list[int], parts: int) -> list[set[int]]:
    """Divide cores evenly; no part is empty, so there may be fewer of them."""
    parts = max(min(parts, len(cores)), 1)
    return [
        set(cores[number * len(cores) // parts : (number + 1) * len(cores) // parts])
        for number in range(parts)
    ]


def print_status(networks: list[Network], best: Path) -> None:
    """Print a line for each network."""
    table = Table(["run", "steps", "of", "hours", "clean dB", "crf 23 dB", "best weights"])
    for network in networks:
        log = network.log()
        hours = sum(float(row["seconds"]) for row in log) / 3600
        scores = network.validations()[-1][1] if network.validations() else {}
        card = best / f"{network.weights}.json"
        kept = "-"
        if card.is_file():
            content = json.loads(card.read_text("utf-8"))
            kept = f"step {content['training']['step']}, {value_of(content['validation']):+.3f}"
        clean, compressed = (f"{gain(scores, each):+.3f}" if scores else "-" for each in (CLEAN, COMPRESSED))
        table.row(network.name, len(log), network.steps, f"{hours:.1f}", clean, compressed, kept)
    table.print()


def plot(
    networks: list[Any],
    path: Path,
    position: Callable[[Any, int], float] = lambda network, step: step,
    unit: str = "steps",
) -> None:
    """Write the curves of validation, gain in dB over steps, as SVG.

    Args:
        networks: have ``name`` and ``validations()``.
        path: of the picture.
        position: returns where a network's step lies on the horizontal axis.
        unit: of that axis.
    """
    curves = [
        (
            f"{network.name}, {label}",
            [(position(network, step), gain(scores, ending)) for step, scores in network.validations()],
        )
        for network in networks
        for label, ending in (("clean", CLEAN), ("crf 23", COMPRESSED))
    ]
    curves = [(name, points) for name, points in curves if len(points) > 1 and not math.isnan(points[0][1])]
    if not curves:
        raise SystemExit("no run has two validations yet: nothing to plot")
    width, height, left, bottom = 760, 420, 60, 50
    steps = max(step for _, points in curves for step, _ in points)
    top_gain = max(value for _, points in curves for _, value in points) + 0.05
    least_gain = min(value for _, points in curves for _, value in points) - 0.05
    names_share = 18 * len(curves) / (height - 20 - bottom)  # below all curves
    least_gain -= (top_gain - least_gain) * names_share / (1 - names_share)

    def x(step: float) -> float:
        return left + (width - left - 20) * step / steps

    def y(value: float) -> float:
        return 20 + (height - 20 - bottom) * (top_gain - value) / (top_gain - least_gain)

    colours = ["#1f6feb", "#80b3ff", "#d1242f", "#ff9a9f", "#1a7f37", "#7fd89a", "#8250df", "#c6a5ff"]
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="{width}" height="{height}" fill="#fff"/>'
    ]
    for number in range(6):
        value = least_gain + (top_gain - least_gain) * number / 5
        lines.append(
            f'<line x1="{left}" x2="{width - 20}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#ddd"/>'
            f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.2f}</text>'
            f'<text x="{x(steps * number / 5):.1f}" y="{height - bottom + 20}" text-anchor="middle">'
            f"{round(steps * number / 5)}</text>"
        )
    lines.append(
        f'<text x="{(left + width) / 2}" y="{height - 8}" text-anchor="middle">'
        f"{unit}; gain in dB over the better of bicubic and Lanczos</text>"
    )
    for number, (name, points) in enumerate(curves):
        colour = colours[number % len(colours)]
        path_points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        lines.append(f'<polyline points="{path_points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        row = height - bottom - 12 - 18 * (len(curves) - 1 - number)
        lines.append(f'<text x="{width - 30}" y="{row}" text-anchor="end" fill="{colour}">{name}</text>')
    path.write_text("\n".join([*lines, "</svg>\n"]), encoding="utf-8")


def measured(weights: Path, clips: Path) -> list[float]:
    """Return PSNR-Y of a weight file by ``vsr evaluate``: clean and at crf 23, for bd without compression."""
    crfs = ["--crf", "none"] if "-bd" in weights.name else ["--crf", "none", "--crf", "23"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "scores.json")
        line = [sys.executable, "-m", "vsrcli", "evaluate", str(clips), "-m", str(weights), *crfs]
        done = subprocess.run([*line, "--json", str(file)], capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"vsr evaluate ended with status {done.returncode}:\n{done.stderr[-2000:]}")
        content: Any = json.loads(file.read_text("utf-8"))
    return [each["mean"]["model"]["psnr"] for each in content]


def publish(networks: list[Network], best: Path, target: Path, clips: Path) -> None:
    """Copy the best weights to a folder, where they are better than those of the same name in every table."""
    for name in dict.fromkeys(network.weights for network in networks):
        source, present = best / f"{name}{SUFFIX}", target / f"{name}{SUFFIX}"
        if not source.is_file():
            continue
        if name.endswith("-sharp") and present.is_file():
            print(f"{name}: sharp weights are not exchanged by a figure; compare and copy them yourself")
            continue
        new, old = measured(source, clips), measured(present, clips) if present.is_file() else None
        verdict = f"{name}: {', '.join(f'{value:.3f}' for value in new)} dB"
        if old is not None:
            verdict += f", published {', '.join(f'{value:.3f}' for value in old)} dB"
        if old is not None and any(a <= b for a, b in zip(new, old, strict=True)):
            print(f"{verdict}: kept as it is")
            continue
        shutil.copyfile(source, present)
        shutil.copyfile(best / f"{name}.json", target / f"{name}.json")
        print(f"{verdict}: copied to {target}; measure its card with `vsr evaluate --card`")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("validation", type=Path)
    parser.add_argument(
        "--runs", type=Path, required=True, help="folder for checkpoints, logs and best weights"
    )
    parser.add_argument("--networks", type=Path, default=Path(__file__).with_name("campaign.toml"))
    parser.add_argument(
        "--at-once",
        type=int,
        default=2,
        help="networks at a time, each on cores of its own: two cores that share one small network wait for "
        "each other",
    )
    parser.add_argument("--status", action="store_true", help="print where the runs stand, and end")
    parser.add_argument("--plot", type=Path, help="write the curves of validation as SVG, and end")
    parser.add_argument("--publish", type=Path, metavar="DIR", help="copy weights that are better, and end")
    options = parser.parse_args()
    networks, best = read_networks(options.networks, options.runs), options.runs / "best"
    if options.status or options.plot or options.publish:
        if options.status:
            print_status(networks, best)
        if options.plot:
            plot(networks, options.plot)
        if options.publish:
            publish(networks, best, options.publish, options.validation)
        return

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    try:
        train_all(networks, options.train, options.validation, best, options.at_once)
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
