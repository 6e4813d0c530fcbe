"""Errors at the edge: one line, details below it, the right status, a traceback only when asked for."""

from __future__ import annotations

import pytest

from vsrcli import errors
from vsrcli.cli import console
from vsrcli.cli.main import COMMANDS, run


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.UsageError("no"), 2),
        (errors.InputError("no"), 1),
        (errors.EncodeError("no"), 1),
        (errors.EngineError("no"), 1),
        (errors.SignalInterruptError("stopped", signum=2), 130),
        (errors.SignalInterruptError("stopped", signum=15), 143),
    ],
)
def test_status(error: errors.VsrError, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert console.report_error(error) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1


def test_details_follow_indented(capsys: pytest.CaptureFixture[str]) -> None:
    console.report_error(errors.EncodeError("disk full", details="first\nsecond\n"))
    assert capsys.readouterr().err == "vsr: error: disk full\n  first\n  second\n"


def test_names_cannot_break_the_line_nor_command_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.report_error(errors.InputError("a\nb\x1b[31mc\x07 wörld is missing"))
    assert capsys.readouterr().err == "vsr: error: a b\\x1b[31mc\\x07 wörld is missing\n"


class SurpriseError(Exception):
    pass


def broken(*arguments: object) -> None:
    raise SurpriseError("at the worst moment")


def test_the_unexpected_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vsrcli.images.probe

    monkeypatch.setattr(vsrcli.images.probe, "source", broken)
    assert run(["info", "x.mp4"]) == 1
    assert capsys.readouterr().err == (
        "vsr: error: unexpected SurpriseError at the worst moment; -v -v shows the traceback\n"
    )
    assert run(["info", "x.mp4", "-v", "-v"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("vsr: error: unexpected SurpriseError at the worst moment\n")


def test_ctrl_c_before_anything_began(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vsrcli.images.probe

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vsrcli.images.probe, "source", interrupt)
    assert run(["info", "x.mp4"]) == 130
    assert capsys.readouterr().err == "vsr: stopped\n"


def test_one_home_for_every_command() -> None:
    assert all(home == f"vsrcli.cli.{name}:{name}" for name, (home, _) in COMMANDS.items())
