"""The coordinator: what becomes of a run when machines come back, go silent, or a video cannot be written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from thread_workers import ThreadWorkers

import media_samples as media
from vsrcli import EncodeOptions, Options, prepare_job, run_job
from vsrcli.cluster import coordinator, video
from vsrcli.cluster.run import run_on_workers
from vsrcli.pipeline import pieces
from vsrcli.pipeline.plan import PlanRules
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.system.signals import CancelToken

Sample = Callable[..., Path]
Send = Callable[..., None]
RULES = PlanRules(Fraction(1), Fraction(2), warmup_frames=4)
SHOTS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="shots")


def long_shot(folder: Path) -> Path:
    """A video of 12 s at 10 frames a second, one shot: six pieces."""
    path = folder / "long.mkv"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=12", "-c:v", "libx264", path)
    return path


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (pieces, video):
        monkeypatch.setattr(module, "rules_for", lambda job: RULES)
    monkeypatch.setattr(coordinator, "_PLACES_SECONDS", 0.0)


def test_a_machine_that_was_refused_comes_back_under_its_name(sample: Sample, tmp_path: Path) -> None:
    def refuse(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        send("refused", next(items).key, "there is no ffmpeg here")
        workers.nodes = {"other": "other", "repaired": "host"}

    def never_answer(items: Iterator[Any], send: Send, token: CancelToken) -> None:
        list(items)

    source, target, notices = sample(long_shot), tmp_path / "out.mp4", list[str]()
    workers = ThreadWorkers({"broken": "host", "other": "other"}, {"broken": refuse, "other": never_answer})
    run_on_workers(prepare_job(source, target, SHOTS), workers, CallbackReporter(None, notices.append))
    assert notices == ["host cannot take part: there is no ffmpeg here"]
    run_job(prepare_job(source, tmp_path / "reference.mp4", SHOTS))
    assert target.read_bytes() == (tmp_path / "reference.mp4").read_bytes()
