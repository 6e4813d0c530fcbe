"""Names of files as they are typed: empty ones, and folders that are named by dots."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from terminal import Outcome
from vsrcli.cli.preview import _default_target

Vsr = Callable[..., Outcome]


@pytest.mark.parametrize(
    "line",
    [
        ("upscale", "", "out.mp4"),
        ("upscale", "in.mp4", ""),
        ("upscale", "in.mp4", "--", ""),
        ("preview", ""),
        ("preview", "in.mp4", ""),
        ("batch", "", "out"),
        ("batch", "in.mp4", "", "out"),
        ("batch", "in.mp4", ""),
        ("batch", "in.mp4", "out", "--json", ""),
        ("compare", "in.mp4", ""),
        ("compare", "in.mp4", "out.mp4", "-o", ""),
        ("info", ""),
        ("explain", ""),
        ("evaluate", "clips", ""),
        ("models", "inspect", ""),
        ("dataset", "build", "in.mp4", ""),
    ],
)
def test_an_empty_name_is_a_usage_error(
    line: tuple[str, ...], vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vsr(*line).fails(2, "is empty: name a file or a folder; is a variable of the shell not set?")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_are_named_by_dots(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "frames" / "inner"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert _default_target(Path()) == folder.with_name("inner-preview.mp4")
    assert _default_target(Path("..")) == tmp_path / "frames-preview.mp4"
    assert _default_target(Path("../inner")) == Path("../inner-preview.mp4")
    vsr("preview", ".").fails(1, ". is a folder, but holds no images")
    vsr("models", "inspect", ".").fails(2, "'.' is no network of a known format")
