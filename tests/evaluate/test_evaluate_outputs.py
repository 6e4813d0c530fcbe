"""Where ``vsr evaluate`` writes: standard output, files and model cards."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.cli import evaluate
from vsrcli.evaluate import clips as clip_files
from vsrcli.system.text import encode_text, replace_undecodable

Vsr = Callable[..., Outcome]


def test_scores_and_page_on_standard_output_are_the_only_output(
    image_clips: Path, vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ("evaluate", image_clips, "-m", "lanczos", "--frames", 5)
    assert [each["model"] for each in json.loads(vsr(*line, "--json", "-").out)] == ["lanczos-x4"]
    page = vsr(*line, "--html", "-").out
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
    vsr(*line, "--json", "-", "--html", "-").fails(2, "cannot all be printed")
    assert list(tmp_path.iterdir()) == []


def test_a_card_keeps_the_figures_of_other_protocols_and_what_was_added_meanwhile(
    image_clips: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tiny_weights(tmp_path, "cached", 4)
    path = weights.with_name(weights.name.replace(".weights.h5", ".json"))
    clip, options = image_clips / "city", ("--degrade", "bi", "--frames", 5, "--gpu", "cpu", "--card")
    line = ("evaluate", clip, "-m", weights, *options)

    def change_card(text: dict[str, Any]) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | text))

    def measure(changes: dict[str, Any]) -> Any:
        def while_measuring(*arguments: Any, **options: Any) -> Any:
            change_card(changes)
            return find_clips(*arguments, **options)

        return while_measuring

    find_clips = clip_files.find_clips
    assert vsr(*line).status == 0
    clean = json.loads(path.read_text())["measured"]
    monkeypatch.setattr(clip_files, "find_clips", measure({"licence": "CC0-1.0"}))
    assert vsr(*line, "--crf", 23).status == 0
    card = json.loads(path.read_text())
    assert card["licence"] == "CC0-1.0"
    assert "bi x4 crf 23 psnr_y" in card["measured"]
    assert {key: card["measured"][key] for key in clean} == clean
    monkeypatch.setattr(clip_files, "find_clips", measure({"sha256": "0" * 64, "measured": {}}))
    replaced = vsr(*line)
    assert replaced.status == 1
    assert "its weights were replaced meanwhile" in replaced.err
    assert json.loads(path.read_text())["measured"] == {}


@pytest.mark.parametrize("option", ["--json", "--html", "--markdown", "--images", "--card"])
def test_folders_without_write_access_are_refused_before_the_work(
    option: str, image_clips: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    locked.mkdir()
    weights = tiny_weights(locked, "cached", 4)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)  # the superuser may do all
    target = {"--card": [], "--images": [locked / "new" / "strips"]}.get(option, [locked / "figures"])
    result = vsr("evaluate", image_clips, "-m", weights, option, *target, "--gpu", "cpu")
    result.fails(1, f"{str(locked)!r} cannot be written to")
    assert "PSNR" not in result.out


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--images", "cannot be written to: name another folder"),
        ("--html", "locked/new/target'"),
    ],
)
def test_folders_that_must_not_be_searched_are_refused_in_one_line(
    option: str, said: str, image_clips: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the superuser, who may search all of them, a test has to pretend."""
    locked, status = tmp_path / "locked", os.stat
    locked.mkdir()

    def stat(path: Any, *arguments: Any, **options: Any) -> os.stat_result:
        if isinstance(path, str | Path) and locked in Path(path).parents:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return status(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked)
    result = vsr("evaluate", image_clips, "-m", "bicubic", option, locked / "new" / "target")
    result.fails(1, said)
    assert "PSNR" not in result.out


def test_one_output_that_cannot_be_written_costs_no_other(
    image_clips: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_full_disk(path: Path, write: Any) -> None:
        if path.suffix in (".json", ".html"):
            raise OSError(errno.ENOSPC, "No space left on device")
        path.touch()

    monkeypatch.setattr(evaluate, "atomic_write", on_full_disk)
    files = [(f"--{option}", tmp_path / f"x.{option}") for option in ("json", "html", "markdown")]
    result = vsr("evaluate", image_clips, "-m", "bicubic", *(word for pair in files for word in pair))
    warning, error = result.err.splitlines()
    assert result.status == 1
    assert warning.startswith("warning: cannot write the figures to")
    assert "x.html" in warning
    assert "x.json': [Errno 28] No space left on device" in error
    assert (tmp_path / "x.markdown").exists()


def test_a_failed_output_is_named_where_the_reader_of_another_is_gone(
    image_clips: Path, tmp_path: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_full_disk(path: Path, write: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def without_reader(text: str, *, err: bool = False, **options: Any) -> None:
        if not err:
            raise BrokenPipeError(errno.EPIPE, "Broken pipe")
        echo(text, err=True, **options)

    echo = evaluate.click.echo
    monkeypatch.setattr(evaluate, "atomic_write", on_full_disk)
    monkeypatch.setattr(evaluate.click, "echo", without_reader)
    page = tmp_path / "page.html"
    result = vsr("evaluate", image_clips, "-m", "bicubic", "--html", page, "--json", "-")
    assert result.status == 141
    (warning,) = result.err.splitlines()
    assert warning.startswith(f"warning: cannot write the figures to {str(page)!r}: [Errno 28]")


def test_names_of_windows_with_half_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    """An emoji of two code units whose name was cut between them."""
    monkeypatch.setattr(sys, "getfilesystemencodeerrors", lambda: "surrogatepass")
    names = "clip\ud83d", "clip\ude00"
    assert len({encode_text(name) for name in names}) == 2
    assert {replace_undecodable(name) for name in names} == {"clip\N{REPLACEMENT CHARACTER}"}


def test_texts_can_be_written_where_the_locale_is_not_utf8() -> None:
    """There, even the dots between the parts of a page are no characters of file names."""
    text = "x4 · caf\udce9 · 여행"
    code = f"from vsrcli.system.text import replace_undecodable as f; print(ascii(f({text!a})))"
    plain = os.environ | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == (
        ascii(text.replace("\udce9", "\N{REPLACEMENT CHARACTER}")),
        "",
    )
