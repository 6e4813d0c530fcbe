"""Start of the program."""

from __future__ import annotations

import builtins
from typing import Any

import pytest

from vsrcli import __main__ as program


def test_ctrl_c_during_imports_is_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    original = builtins.__import__

    def interrupted(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "vsrcli.cli.main":
            raise KeyboardInterrupt
        return original(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    with pytest.raises(SystemExit) as end:
        program.main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "vsr: stopped\n"
