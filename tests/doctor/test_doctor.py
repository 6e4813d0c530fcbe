"""``vsr doctor`` finds problems, names remedies, and reports them by its exit status."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from terminal import Outcome
from vsrcli import doctor
from vsrcli.doctor import Finding, run_checks
from vsrcli.errors import ModelError
from vsrcli.inference.engine import ResampleEngine
from vsrcli.media.ffmpeg import encoder_works, find_ffmpeg
from vsrcli.models import weights as weight_files
from vsrcli.models.architectures import DEFAULT_MODEL
from vsrcli.models.weights import find_weights

Vsr = Callable[..., Outcome]


def test_all_checks(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_CONFIG", "")
    run = vsr("doctor", "--json")
    findings = json.loads(run.out)
    assert {each["name"] for each in findings} >= {name for name, _ in doctor.CHECKS if name not in ("disk",)}
    assert all(set(each) == {"name", "state", "text", "remedy"} for each in findings)
    problems = [each for each in findings if each["state"] == "problem"]
    assert (run.status == 1) == bool(problems)
    (backend,) = [each for each in findings if each["name"] == "Keras"]
    assert backend["state"] == "ok", backend
    (test,) = [each for each in findings if each["name"] == "self-test"]
    assert test["state"] == "ok", test
    assert "10 frames" in test["text"]


def test_remedies_are_printed(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_check():
        yield Finding("thing", "ok", "fine")
        yield Finding("other", "problem", "is missing", "install it")

    monkeypatch.setattr(doctor, "CHECKS", (("things", broken_check),))
    run = vsr("doctor")
    assert run.status == 1
    assert "-> install it" in run.out
    assert "1 problem found" in run.err


def test_words_in_brackets_are_printed_on_a_terminal(vsr: Vsr, monkeypatch: pytest.MonkeyPatch) -> None:
    def check():
        yield Finding("settings", "note", "the table [upscale] is empty", "remove [upscale]")

    monkeypatch.setattr(doctor, "CHECKS", (("settings", check),))
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal
    out = click.unstyle(vsr("doctor").out)
    assert "the table [upscale] is empty" in out
    assert "-> remove [upscale]" in out


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("[upscale]\nqualty = 3\n[batch]\ncrf = 'low'\n[bench]\nframes = 12", ["'qualty'", "crf: 'low'"]),
        ("[upscale\n", ["cannot be read as settings"]),
        ("default-profile = 'fast'", ["no profile 'fast'"]),
        ("[doctor]\njsn = true", ["'jsn'"]),
    ],
)
def test_settings_that_end_a_command_are_problems(
    settings: str, words: list[str], vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.toml").write_text(settings)
    monkeypatch.setenv("VSR_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(doctor, "CHECKS", doctor.CHECKS[:1])
    run = vsr("doctor", "--json")
    states = {(each["name"], each["state"]) for each in json.loads(run.out)}
    assert (run.status, states) == (1, {("Python", "ok"), ("settings", "problem")})
    problems = [each["text"] for each in json.loads(run.out) if each["name"] == "settings"]
    assert len(problems) == len(words)
    for problem, word in zip(problems, words, strict=True):
        assert word in problem
        assert "config.toml" in problem


def test_settings_without_a_fault_are_ok(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.toml").write_text("[doctor]\njson = true\n[upscale]\ncrf = 18\n[dataset.build]\n")
    monkeypatch.setenv("VSR_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setattr(doctor, "CHECKS", doctor.CHECKS[:1])
    findings = json.loads(vsr("doctor").out)
    assert {each["name"]: each["state"] for each in findings} == {"Python": "ok", "settings": "ok"}


def test_check_that_raises_is_a_problem() -> None:
    def raises_vsr_error():
        raise ModelError("no such folder: correct it")
        yield

    def raises_unexpected():
        raise ZeroDivisionError("of nothing")
        yield

    def succeeds():
        yield Finding("c", "ok", "there")

    findings = list(run_checks([("a", raises_vsr_error), ("b", raises_unexpected), ("c", succeeds)]))
    assert [each.state for each in findings] == ["problem", "problem", "ok"]
    assert findings[0].text == "no such folder: correct it"
    assert "ZeroDivisionError" in findings[1].text


def test_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight_files, "list_weights", list)
    (finding,) = doctor.check_weights()
    assert (finding.state, "none of the default model" in finding.text) == ("problem", True)


def test_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = find_weights(DEFAULT_MODEL, 4)
    for path in (weights.path, weights.card_path):
        shutil.copy(path, tmp_path)
    copy = tmp_path / weights.path.name
    content = bytearray(copy.read_bytes())
    content[len(content) // 2] ^= 1
    copy.write_bytes(content)
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    findings = list(doctor.check_weights())
    assert [each.state for each in findings if str(copy) in each.text] == ["problem"]


def test_missing_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VSR_FFMPEG", "/no/ffmpeg")
    (finding,) = run_checks([("ffmpeg", doctor.check_encoders)])
    assert finding.state == "problem"
    assert "/no/ffmpeg" in finding.text


def test_two_packages_of_onnxruntime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxruntime_gpu"):
        folder = tmp_path / f"{name}-1.30.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Name: {name.replace('_', '-')}\nVersion: 1.30.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    (finding,) = doctor.check_onnxruntime()
    assert finding.state == "note"
    assert "onnxruntime and onnxruntime-gpu overwrite each other" in finding.text
    assert "pip uninstall onnxruntime onnxruntime-gpu" in finding.remedy


def test_encoder_works() -> None:
    assert encoder_works(find_ffmpeg(), "libx264")
    assert not encoder_works(find_ffmpeg(), "h264_nosuchchip")


def test_unwritable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "file" / "below"))
    (finding,) = doctor.check_cache()
    assert finding.state == "note"
    assert "VSR_CACHE" in finding.remedy


@pytest.mark.parametrize(
    ("visible_devices", "nvidia_smi", "driver_works", "state", "message"),
    [
        (None, None, True, "ok", "computed on the CPU"),
        ("", "nvidia-smi", True, "note", "hides every GPU"),
        (None, "nvidia-smi", False, "problem", "driver does not answer"),
        (None, "nvidia-smi", True, "problem", "CUDA libraries are missing"),
    ],
)
def test_reason_without_gpu(
    monkeypatch: pytest.MonkeyPatch,
    visible_devices: str | None,
    nvidia_smi: str | None,
    driver_works: bool,
    state: str,
    message: str,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible_devices is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible_devices)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: nvidia_smi)
    monkeypatch.setattr(doctor.Path, "glob", lambda self, pattern: iter(()))
    monkeypatch.setattr(doctor, "_driver_fails", lambda program: not driver_works)
    finding = doctor.check_gpu("tensorflow", [])
    assert (finding.state, message in finding.text) == (state, True)
    assert doctor.check_gpu("tensorflow", ["GPU of some kind"]).state == "ok"


def test_black_frames_fail_the_self_test() -> None:
    class BlackStream:
        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def push(self, frame: np.ndarray) -> np.ndarray | None:
            result = self._stream.push(frame)
            return None if result is None else np.zeros_like(result)

        def flush(self) -> list[np.ndarray]:
            return [np.zeros_like(result) for result in self._stream.flush()]

    engine: Any = ResampleEngine("bicubic", 4)
    open_stream = engine.open
    engine.open = lambda height, width: BlackStream(open_stream(height, width))
    assert doctor.judge(engine, 0.0).state == "problem"
    assert doctor.judge(ResampleEngine("lanczos", 4), 0.0).state == "ok"
