"""``vsr doctor``: what is wrong is found, said with a remedy, and told by the exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from terminal import Outcome
from vsrcli import doctor
from vsrcli import doctor as checks
from vsrcli import doctor as devices
from vsrcli import doctor as encoders
from vsrcli import doctor as selftest
from vsrcli.doctor import Finding, run_checks
from vsrcli.errors import ModelError
from vsrcli.inference.engine import ResampleEngine
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.models import weights as registry
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.models.weights import find_weights

Vsr = Callable[..., Outcome]


def test_a_sound_machine_passes_everything(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VSR_CONFIG", "")
    run = vsr("doctor", "--json")
    found = json.loads(run.out)
    assert {each["name"] for each in found} >= {name for name, _ in doctor.CHECKS if name not in ("disk",)}
    assert all(set(each) == {"name", "state", "text", "remedy"} for each in found)
    problems = [each for each in found if each["state"] == "problem"]
    assert (run.status == 1) == bool(problems)
    (test,) = [each for each in found if each["name"] == "self-test"]
    assert test["state"] == "ok", test
    assert "10 frames" in test["text"]


def test_lines_for_people_name_the_remedy(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken():
        yield Finding("thing", "ok", "fine")
        yield Finding("other", "problem", "is missing", "install it")

    monkeypatch.setattr(doctor, "CHECKS", (("things", broken),))
    run = vsr("doctor")
    assert run.status == 1
    assert "-> install it" in run.out
    assert "1 problem found" in run.err


def test_a_check_that_fails_is_a_finding_and_not_the_end() -> None:
    def known():
        raise ModelError("no such folder: correct it")
        yield

    def unknown():
        raise ZeroDivisionError("of nothing")
        yield

    def fine():
        yield Finding("c", "ok", "there")

    found = list(run_checks([("a", known), ("b", unknown), ("c", fine)]))
    assert [each.state for each in found] == ["problem", "problem", "ok"]
    assert found[0].text == "no such folder: correct it"
    assert "ZeroDivisionError" in found[1].text


def test_a_machine_without_weights_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "list_weights", list)
    (found,) = checks.check_weights()
    assert (found.state, "none of the default model" in found.text) == ("problem", True)


def test_damaged_weights_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = find_weights(DEFAULT_MODEL, 4)
    for path in (weights.path, weights.card_path):
        shutil.copy(path, tmp_path)
    copy = tmp_path / weights.path.name
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    found = list(checks.check_weights())
    assert [each.state for each in found if str(copy) in each.text] == ["problem"]


def test_an_ffmpeg_that_is_not_there_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_FFMPEG", "/no/ffmpeg")
    (found,) = run_checks([("ffmpeg", encoders.check_encoders)])
    assert found.state == "problem"
    assert "/no/ffmpeg" in found.text


def test_an_encoder_counts_only_if_it_encodes() -> None:
    assert encoders.encoder_works(find_ffmpeg(), "libx264")
    assert not encoders.encoder_works(find_ffmpeg(), "h264_nosuchchip")


def test_a_cache_that_cannot_be_written_is_worth_a_note(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file" / "below"))
    (found,) = checks.check_cache()
    assert found.state == "note"
    assert "VSR_CACHE" in found.remedy


@pytest.mark.parametrize(
    ("hidden", "program", "answers", "state", "words"),
    [
        (None, None, True, "ok", "computed on the CPU"),
        ("", "nvidia-smi", True, "note", "hides every GPU"),
        (None, "nvidia-smi", False, "problem", "driver does not answer"),
        (None, "nvidia-smi", True, "problem", "CUDA libraries are missing"),
    ],
)
def test_why_a_gpu_is_not_seen(
    monkeypatch: pytest.MonkeyPatch,
    hidden: str | None,
    program: str | None,
    answers: bool,
    state: str,
    words: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if hidden is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    monkeypatch.setattr(devices.shutil, "which", lambda name: program)
    monkeypatch.setattr(devices.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(devices, "_driver_fails", lambda program: not answers)
    found = devices.check_gpu("tensorflow", [])
    assert (found.state, words in found.text) == (state, True)
    assert devices.check_gpu("tensorflow", ["GPU of some kind"]).state == "ok"


def test_a_network_that_paints_black_fails_the_self_test() -> None:
    class Dark:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def push(self, frame: np.ndarray) -> np.ndarray | None:
            picture = self._stream.push(frame)
            return None if picture is None else np.zeros_like(picture)

        def flush(self) -> list[np.ndarray]:
            return [np.zeros_like(picture) for picture in self._stream.flush()]

    black: Any = ResampleEngine("bicubic", 4)
    bright = black.open
    black.open = lambda height, width: Dark(bright(height, width))
    assert selftest.judge(black, 0.0).state == "problem"
    assert selftest.judge(ResampleEngine("lanczos", 4), 0.0).state == "ok"
