"""Errors: one line, details below it, the right exit status, a traceback only with ``-v -v``."""

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


def test_control_characters_in_names_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    console.report_error(errors.InputError("a\nb\x1b[31mc\x07 wörld is missing"))
    assert capsys.readouterr().err == "vsr: error: a b\\x1b[31mc\\x07 wörld is missing\n"


class UnexpectedError(Exception):
    pass


def fail(*arguments: object) -> None:
    raise UnexpectedError("in a probe")


def test_unexpected_errors_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import vsrcli.images.sequence

    monkeypatch.setattr(vsrcli.images.sequence, "probe_source", fail)
    assert run(["info", "x.mp4"]) == 1
    assert capsys.readouterr().err == (
        "vsr: error: unexpected UnexpectedError in a probe; -v -v shows the traceback\n"
    )
    assert run(["info", "x.mp4", "-v", "-v"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("vsr: error: unexpected UnexpectedError in a probe\n")


def test_ctrl_c_before_the_run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import vsrcli.images.sequence

    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vsrcli.images.sequence, "probe_source", interrupt)
    assert run(["info", "x.mp4"]) == 130
    assert capsys.readouterr().err == "vsr: stopped\n"


def test_every_command_has_its_module() -> None:
    modules = {"completion": "config"}
    for name, (location, _) in COMMANDS.items():
        assert location == f"vsrcli.cli.{modules.get(name, name)}:{name}"
