"""``benchmarks/campaign.py``: what is kept of long trainings, and what it says of them."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
LIST = """
[common]
arguments = ["--batch", "4"]
[[networks]]
name = "a"
weights = "net-x4-video"
arguments = ["--steps", "200"]
"""


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    if not BENCHMARKS.is_dir():
        pytest.skip("benchmarks are part of the repository only")
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("common", "campaign"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import campaign  # pyright: ignore[reportMissingImports]

    return campaign


def validate(folder: Path, step: int, clean: float, compressed: float) -> None:
    """Write what ``vsr train`` leaves after a validation."""
    scores = {"bi gain_db": clean, "bi worst_gain_db": 0.1, "bi+crf23 gain_db": compressed}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "net-x4-video.weights.h5").write_bytes(f"weights {step}".encode())
    card = {"validation": scores, "training": {"step": step}}
    (folder / "net-x4-video.json").write_text(json.dumps(card))
    log = folder / "log.csv"
    if not log.exists():
        log.write_text("step,loss,learning_rate,seconds,waited,validation\n")
    with log.open("a") as file:
        quoted = json.dumps(scores).replace('"', '""')
        file.write(f'{step},0.02,1e-3,36.0,0.0,"{quoted}"\n')


def test_the_best_weights_stay(campaign: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "list.toml").write_text(LIST)
    (network,) = campaign.read_networks(tmp_path / "list.toml", tmp_path / "runs")
    best = tmp_path / "runs" / "best"
    for step, clean, compressed in ((50, 0.5, 0.3), (100, 0.9, 0.5), (150, 0.8, 0.5)):
        validate(network.folder, step, clean, compressed)
        campaign.keep_best(network, best)
    assert (best / "net-x4-video.weights.h5").read_bytes() == b"weights 100"
    assert json.loads((best / "net-x4-video.json").read_text())["training"]["step"] == 100
    assert not network.is_finished
    capsys.readouterr()
    campaign.print_status([network], best)
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split()[:6] == ["a", "3", "200", "0.0", "+0.800", "+0.500"]
    assert "step 100, +0.700" in line
    campaign.plot([network], tmp_path / "curve.svg")
    assert (tmp_path / "curve.svg").read_text().count("<polyline") == 2
    validate(network.folder, 200, 0.1, 0.1)
    assert network.is_finished


def test_sharp_weights_are_ranked_by_features(campaign: ModuleType) -> None:
    soft = {"bi gain_db": 0.9, "bi features": 0.6, "bi+crf23 features": 0.8}
    sharp = {"bi gain_db": 0.2, "bi features": 0.4, "bi+crf23 features": 0.6}
    assert campaign.value_of(sharp) > campaign.value_of(soft)


def test_a_wrong_list_is_named(campaign: ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "list.toml"
    file.write_text(LIST.replace('"--steps", "200"', '"--model", "duf-s"'))
    with pytest.raises(SystemExit, match=r"list\.toml.*no list of networks"):
        campaign.read_networks(file, tmp_path)


def test_networks_at_a_time_divide_the_cores(campaign: ModuleType) -> None:
    assert campaign.divide([0, 1, 2, 3, 4], 2) == [{0, 1}, {2, 3, 4}]
    assert campaign.divide([3], 2) == [{3}]


def test_all_networks_are_trained_and_a_failure_stops_no_other(
    campaign: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    list_file = tmp_path / "list.toml"
    list_file.write_text(LIST + LIST.partition("[[networks]]")[1] + LIST.partition("[[networks]]")[2])
    networks = [
        replace(network, name=f"n{number}", folder=tmp_path / f"n{number}")
        for number, network in enumerate(campaign.read_networks(list_file, tmp_path))
    ]
    monkeypatch.setattr(campaign, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(campaign.sys, "executable", "/bin/false")
    campaign.train_all(networks, tmp_path, tmp_path, tmp_path / "best", at_once=2)
    assert capsys.readouterr().out.count("vsr train ended with status 1") == len(networks) == 2


def test_a_run_goes_on_when_the_weights_that_it_began_with_were_replaced(
    campaign: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``--publish`` does."""
    list_file = tmp_path / "list.toml"
    list_file.write_text(LIST.replace('"200"', '"200", "--init", "weights/net.weights.h5"'))
    (network,) = campaign.read_networks(list_file, tmp_path)
    monkeypatch.setattr(campaign.sys, "executable", "/bin/echo")
    for is_begun in (False, True):
        campaign.start(network, tmp_path, tmp_path, {0}).child.wait()
        line = (network.folder / "output.txt").read_text().splitlines()[-1]
        assert ("--init" in line) is not is_begun
        assert line.endswith("--steps 200" if is_begun else "net.weights.h5")
        (network.folder / "checkpoint.npz").touch()
