"""Workers that settings ask for are left out where they cannot compute; typed ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome

Vsr = Callable[..., Outcome]
BICUBIC = ("-m", "bicubic", "-s", "2")


@pytest.fixture
def video(sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return sample(media.cfr)


def set_variables(monkeypatch: pytest.MonkeyPatch, command: str, settings: str) -> None:
    for each in settings.split():
        name, value = each.split("=")
        monkeypatch.setenv(f"VSR_{command}_{name}", value)


@pytest.mark.parametrize(
    ("settings", "target", "typed", "left_out"),
    [
        ("WORKERS=2", "out.avi", (), "--workers 2 (out.avi cannot be cut into pieces: AVI counts frames"),
        ("WORKERS=2", "%05d.png", (), "--workers 2 (%05d.png cannot be cut into pieces: images are written"),
        ("CLUSTER=auto", "out.avi", (), "--cluster auto (out.avi cannot be cut into pieces"),
        ("CLUSTER=auto", "out.mp4", ("--gpu", "1"), "--cluster auto (--gpu 1 excludes it)"),
        ("WORKERS=2", "out.mp4", ("--segment", "5"), "--workers 2 (it needs --segment shots, not 5)"),
        ("SEGMENT=shots", "%05d.png", (), "--segment shots (it is for videos)"),
        ("STRICT=1", "out.mp4", (), None),
        ("SEGMENT=5", "out.mp4", ("--workers", "1"), None),
    ],
)
def test_settings_that_do_not_apply_are_left_out(
    settings: str,
    target: str,
    typed: tuple[str, ...],
    left_out: str | None,
    video: Path,
    vsr: Vsr,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, "UPSCALE", settings)
    planned = vsr("upscale", video, target, *BICUBIC, *typed, "-n", "--progress", "json")
    assert planned.status == 0, planned.err
    *others, plan = map(json.loads, planned.err.splitlines())
    notices = [*(each["text"] for each in others), *plan["notices"]]
    found = [each for each in notices if each.startswith("left out of your settings: ")]
    if left_out is None:
        assert found == []
    else:
        (notice,) = found
        assert left_out in notice


@pytest.mark.parametrize(
    ("target", "reason"),
    [("%05d.png", "images are written one by one; "), ("out.avi", "AVI counts frames instead of keeping")],
)
def test_typed_workers_are_refused_for_the_true_reason(
    target: str, reason: str, video: Path, vsr: Vsr
) -> None:
    failed = vsr("upscale", video, target, *BICUBIC, "--workers", "2")
    failed.fails(2, f"--workers 2: {target} cannot be cut into pieces: {reason}")
    assert "rounded to whole frames" not in failed.err


@pytest.mark.parametrize(
    ("settings", "typed", "expected"),
    [
        ("WORKERS=2", ("-j", "2"), "left out of your settings: --workers 2 (-j 2 excludes it)"),
        ("JOBS=2", ("--workers", "1"), "1 of 1 videos would be upscaled"),
        ("STRICT=1", (), "1 of 1 videos would be upscaled"),
        ("WORKERS=2", ("--segment", "none"), "left out of your settings: --workers 2 (it needs"),
    ],
)
def test_settings_of_a_batch_give_way(
    settings: str,
    typed: tuple[str, ...],
    expected: str,
    video: Path,
    vsr: Vsr,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, "BATCH", settings)
    planned = vsr("batch", video, "out", *BICUBIC, *typed, "-n")
    assert planned.status == 0, planned.err
    assert expected in planned.err
