"""``benchmarks/laboratory.py``: equal time, what is finished, and its tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LIST = """
degrade = "bi"
[common]
arguments = ["--batch", "4"]
[[entries]]
name = "slow"
group = "networks"
arguments = ["--model", "duf-16l"]
[[entries]]
name = "moving"
group = "areas"
data = "motion"
[[entries]]
name = "on-nature"
group = "categories"
category = "nature"
base = "weights/net-x2-video.weights.h5"
[categories.nature]
train = ["*leaves*"]
val = ["*bee*"]
[categories.people]
train = ["*man*"]
val = ["*crowd*"]
"""


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are part of the repository only")
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("common", "campaign", "laboratory", "laboratory_list", "laboratory_tables"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import laboratory  # pyright: ignore[reportMissingImports]

    return laboratory


class FakeVsr:
    """``vsr`` in place of a child: a step of ``train`` takes two seconds of processor time.

    Attributes:
        lines: command lines so far.
        stop_after: steps after which a training is stopped from outside; 0: never.
    """

    def __init__(self) -> None:
        self.lines: list[list[str]] = []
        self.stop_after, self.seconds = 0, 0.0

    def __call__(
        self, line: Sequence[str], output: Path, watch: Callable[[int], bool] = lambda pid: True
    ) -> Any:
        self.lines.append(list(line))
        if line[0] == "evaluate":
            quality = {"psnr": 30.0, "ssim": 0.9, "flicker": 1.0}
            clips = [
                {"name": "02_bee", "model": {"psnr": 31.0}},
                {"name": "07_crowd", "model": {"psnr": 29.0}},
            ]
            time = {"model": {"us_per_lr_pixel": 2.5}}
            mean = {"model": quality, "bicubic": {"psnr": 28.5}, "gain": 1.5, "time": time}
            Path(line[line.index("--json") + 1]).write_text(json.dumps([{"mean": mean, "clips": clips}]))
            return 0, []
        run = Path(line[line.index("--run") + 1])
        steps = int(line[line.index("--steps") + 1])
        run.mkdir(parents=True, exist_ok=True)
        log = run / "log.csv"
        done = len(log.read_text().splitlines()) - 1 if log.exists() else 0
        rows = ["step,loss,learning_rate,seconds,waited,validation,parts"]
        self.seconds = 10.0  # what starting takes
        for step in range(done + 1, steps + 1):
            self.seconds += 2.0
            every = [f"{number},0.1,1e-3,1.0,0.0,," for number in range(1, step + 1)]
            log.write_text("\n".join([*rows, *every]) + "\n")
            if not watch(1):
                return 143, []
            if step == self.stop_after:
                raise KeyboardInterrupt
        (run / "net-x2-bi.weights.h5").write_bytes(b"weights")
        card = {
            "scale": 2,
            "degradation": "bi",
            "parameters": 84_000,
            "multiply_adds_per_lr_pixel": 1_000_000,
        }
        card |= {"training": {"step": steps}, "validation": {"bi mse": 0.001}}
        (run / "net-x2-bi.json").write_text(json.dumps(card))
        return 0, []


@pytest.fixture
def vsr(laboratory: ModuleType, monkeypatch: pytest.MonkeyPatch) -> FakeVsr:
    fake = FakeVsr()
    monkeypatch.setattr(laboratory, "train_child", fake)
    monkeypatch.setattr(laboratory, "processor_seconds", lambda pid: fake.seconds)
    return fake


def options(tmp_path: Path, **changes: Any) -> SimpleNamespace:
    known = {"minutes": 1.0, "runs": tmp_path / "runs", "validation": tmp_path / "val"}
    return SimpleNamespace(**{**known, "cache": None, "frames": None, **changes})


def read(laboratory: ModuleType, tmp_path: Path) -> Any:
    (tmp_path / "list.toml").write_text(LIST)
    return laboratory.read_list(tmp_path / "list.toml", tmp_path / "runs")


def test_a_budget_becomes_steps_and_a_stop_goes_on(
    laboratory: ModuleType, vsr: FakeVsr, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    content = read(laboratory, tmp_path)
    entry = content.entries[0]
    vsr.stop_after = 20
    with pytest.raises(KeyboardInterrupt):
        laboratory.run_entry(entry, content, {"train": tmp_path}, options(tmp_path))
    assert entry.plan() == {"step_seconds": 2.0, "steps": 30, "processor_seconds": 38.0}
    assert not entry.is_finished
    vsr.stop_after = 0
    assert laboratory.run_entry(entry, content, {"train": tmp_path}, options(tmp_path)) == ""
    assert entry.is_finished
    assert (
        entry.plan()["processor_seconds"] == 38 + 16
    )  # without first steps, which have a start in them, and the last, validated
    kinds = [line[0] for line in vsr.lines]
    assert kinds == ["train", "train", "train", "evaluate"]  # a step was measured once
    before = len(vsr.lines)
    assert laboratory.run_entry(entry, content, {"train": tmp_path}, options(tmp_path)) == ""
    assert len(vsr.lines) == before  # nothing is left to do
    laboratory.run_entry(entry, content, {"train": tmp_path}, options(tmp_path, minutes=2))
    assert entry.plan()["steps"] == 60  # a longer budget goes on
    capsys.readouterr()
    laboratory.print_status(content)
    assert capsys.readouterr().out.splitlines()[1].split()[:5] == ["slow", "networks", "2.000", "60", "60"]


def test_the_tables(laboratory: ModuleType, vsr: FakeVsr, tmp_path: Path) -> None:
    content = read(laboratory, tmp_path)
    footage = tmp_path / "footage"
    footage.mkdir()
    (footage / "leaves.mp4").write_bytes(b"")
    (footage / "man.mp4").write_bytes(b"")
    folders = {"train": footage}
    base = tmp_path / "net-x2-video.weights.h5"
    base.write_bytes(b"")
    (tmp_path / "net-x2-video.json").write_text('{"degradation": "video"}')
    slow, moving, nature = content.entries
    nature = laboratory.Entry(**{**vars(nature), "base": str(base)})
    content = laboratory.Laboratory((slow, moving, nature), content.categories, content.degrade)
    assert laboratory.run_entry(moving, content, folders, options(tmp_path)) == (
        "give its footage by --data motion=FOLDER"
    )
    for entry in (slow, nature):
        assert laboratory.run_entry(entry, content, folders, options(tmp_path)) == ""
    assert [path.name for path in (nature.folder / "footage").iterdir()] == ["leaves.mp4"]
    started = [line[line.index("--init") + 1] for line in vsr.lines if "--init" in line]
    assert started == [str(base)] * 2  # the measured steps, and the training
    rows = [row for entry in content.entries if (row := laboratory.row_of(entry))]
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n<!-- figures: networks -->\n\nold\n\n<!-- end -->\n\nrest\n")
    for _ in range(2):  # written again, it does not grow
        tables = laboratory.markdown(content, rows, tmp_path / "runs", 1.0)
        laboratory.write_markdown(page, tables)
    text = page.read_text()
    assert "old" not in text
    assert "rest" in text
    assert (
        text.count("| `slow` | 84,000 | 1,000,000 | 30 | 30.00 | +1.50 | 0.9000 | 65.0 | 1.00 | 2.50 |") == 1
    )
    assert "| trained on | nature | people | all clips |" in text
    assert "| `as shipped` | 31.00 | 29.00 | 30.00 |" in text
    assert "| `on-nature` | 31.00 | 29.00 | 30.00 |" in text


def test_equal_networks_get_equal_steps(laboratory: ModuleType, vsr: FakeVsr, tmp_path: Path) -> None:
    content = read(laboratory, tmp_path)
    first = content.entries[0]
    second = laboratory.Entry(**{**vars(first), "name": "again", "folder": tmp_path / "runs" / "again"})
    content = laboratory.Laboratory((first, second), content.categories, content.degrade)
    for entry in content.entries:
        assert laboratory.run_entry(entry, content, {"train": tmp_path}, options(tmp_path)) == ""
    assert second.plan()["steps"] == first.plan()["steps"] == 30
    kinds = [line[0] for line in vsr.lines]
    assert kinds == ["train", "train", "evaluate", "train", "evaluate"]  # a step was measured for the first


def test_a_training_that_fails_is_named(
    laboratory: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = read(laboratory, tmp_path)
    monkeypatch.setattr(laboratory, "train_child", lambda *a, **k: (1, ["vsr: no folder"]))
    problem = laboratory.run_entry(content.entries[0], content, {"train": tmp_path}, options(tmp_path))
    assert "vsr train ended with status 1: vsr: no folder; see " in problem


def test_the_list_of_the_repository(laboratory: ModuleType, tmp_path: Path) -> None:
    """Its arguments are understood, its names known, its categories have clips of both kinds."""
    from vsrcli.cli.train import train
    from vsrcli.cli.train_options import training_config
    from vsrcli.train.config import check_sequences

    content = laboratory.read_list(BENCHMARKS / "laboratory.toml", tmp_path)
    sequences = set()
    for entry in content.entries:
        line = [str(tmp_path), "--run", "run", *entry.arguments]
        context = train.make_context("train", line, help_option_names=["-h", "--help"])
        config = training_config(context, context.params)
        if not config.architecture.aligned:  # needs OpenCV
            check_sequences(config, config.architecture)
        if entry.group == "recipes":
            continue
        sequences.add((config.seed, config.batch, config.frames, config.crop, config.scale))
    assert len(sequences) == 1
    assert all(each["train"] and each["val"] for each in content.categories.values())


def test_a_wrong_list_is_named(laboratory: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "list.toml"
    for old, new in (('category = "nature"', 'category = "cars"'), ('name = "moving"', 'name = "slow"')):
        file.write_text(LIST.replace(old, new))
        with pytest.raises(SystemExit, match=r"list\.toml.*no list of trainings"):
            laboratory.read_list(file, tmp_path)
