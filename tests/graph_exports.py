"""Export OpenVINO graphs and probe networks in one process for all tests, and compile each graph once.

    python graph_exports.py < requests > responses

Keras takes two seconds to start, a tiny network's export a quarter of one. What the program does in child
processes, ``main`` of :mod:`vsrcli.inference.openvino_export` and :mod:`vsrcli.inference.probing`, does this
one for each three lines of its standard input: a working folder, a module and a request. An empty line ends
what it writes for each.
Children of tests (``terminal.spawn``) still start children of their own.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from terminal import environment
from vsrcli.system.processes import run_process

_PYTHON = sys.executable
_SHARED = ("vsrcli.inference.openvino_export", "vsrcli.inference.probing")


def share_exporter(patch: pytest.MonkeyPatch) -> None:
    """Have this process's exports and probing done by the shared process, which ends with this one."""
    from vsrcli.system import child

    patch.setattr(child, "run_process", _run)


def share_compiled_graphs(patch: pytest.MonkeyPatch) -> None:
    """Compile each graph once, and run it on one thread.

    To compile a tiny network takes half a second. Where all cores are busy, threads wait for each other.
    """
    from vsrcli.inference import openvino
    from vsrcli.inference.openvino_templates import NetworkGraphs

    create, instantiate = openvino.openvino_core, NetworkGraphs.graph

    def graph(self: NetworkGraphs, name: str, *sizes: Any) -> _Unread:
        parts = [self._files[f"{name}.xml"], self._files[f"{name}.bin"]]
        parts += [array.tobytes() for array in self._arrays.values()]
        real = copy(self)
        real._core = create()
        return _Unread(
            _digests(*parts, repr((name, *sizes)).encode()), lambda: instantiate(real, name, *sizes)
        )

    patch.setattr(openvino, "openvino_core", cache(lambda: _CachingCore(create())))
    patch.setattr(NetworkGraphs, "graph", graph)


@dataclass
class _Unread:
    """A graph that is read if it has not been compiled before."""

    key: tuple[object, ...]
    read: Callable[[], Any]


def _digests(*parts: bytes) -> tuple[bytes, ...]:
    return tuple(sha256(part).digest() for part in parts)


class _CachingCore:
    """An ``openvino.Core`` that returns a graph it has compiled before."""

    def __init__(self, core: Any) -> None:
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
        self._core = core
        self._compiled: dict[object, Any] = {}

    def read_model(self, model: Any, weights: bytes = b"") -> Any:
        if not weights:
            return self._core.read_model(model=model)
        return _Unread(_digests(model, weights), lambda: self._core.read_model(model=model, weights=weights))

    def compile_model(self, graph: Any, device: str, settings: dict[str, str]) -> Any:
        if not isinstance(graph, _Unread):
            return self._core.compile_model(graph, device, settings)
        key = (*graph.key, device, *sorted(settings.items()))
        if key not in self._compiled:
            self._compiled[key] = self._core.compile_model(graph.read(), device, settings)
        return self._compiled[key]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def _run(command: list[str], *, input: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Stand in for ``run_process``, unless it is another module or a test has chosen another interpreter."""
    python, *_, module = command
    if python != _PYTHON or module not in _SHARED:
        return run_process(command, input=input, **options)
    stdin, stdout = _exporter()
    stdin.write(f"{Path.cwd()}\n{module}\n{input}\n")  # weights may be named from here
    stdin.flush()
    lines = iter(stdout.readline, "\n")
    return subprocess.CompletedProcess(command, 0, "".join(takewhile(bool, lines)), "")


@cache
def _exporter() -> tuple[Any, Any]:
    """Start the process; return its standard input and output.

    It is no child of this process, since tests look for children that were left behind.
    """
    orphan = ["sh", "-c", 'exec 3<&0; "$@" <&3 3<&- &', "sh"]
    child = subprocess.Popen(
        [*orphan, sys.executable, __file__],
        env=environment(KERAS_BACKEND="openvino"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
    child.wait()
    return child.stdin, child.stdout


if __name__ == "__main__":
    for folder in iter(sys.stdin.readline, ""):
        os.chdir(folder.rstrip("\n"))
        module = import_module(sys.stdin.readline().rstrip("\n"))
        line = sys.stdin.readline()
        standard_input, sys.stdin = sys.stdin, io.StringIO(line)
        module.main()
        print(flush=True)
        sys.stdin = standard_input
