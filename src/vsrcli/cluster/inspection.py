"""A look at every machine of a cluster: what it has, and whether it would compute the same as this one."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from vsrcli._version import __version__
from vsrcli.cluster.likeness import processor
from vsrcli.doctor import NOTE, OK, PROBLEM, Finding
from vsrcli.errors import VsrError
from vsrcli.inference.engine_plan import onnxruntime_installed, openvino_installed
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.models.weights import own_folders, weights_in_order
from vsrcli.system.resources import available_cores, available_host_memory
from vsrcli.system.text import format_bytes


@dataclass(frozen=True)
class NodeFacts:
    """What a machine has.

    Attributes:
        version: of this program.
        ffmpeg: its version.
        weights: checksums of the program's own networks.
        engines: that are installed.
        python: its version.
        processor: its model.
        cores, memory: what is available, memory in bytes.
        other_weights: checksums of further networks, in ``$VSR_WEIGHTS``.
    """

    version: str
    ffmpeg: str
    weights: str
    engines: str
    python: str
    processor: str
    cores: int
    memory: int
    other_weights: str = ""

    def __str__(self) -> str:
        return (
            f"vsr {self.version}, ffmpeg {self.ffmpeg}, {self.engines}; {self.cores} cores "
            f"({self.processor}), {format_bytes(self.memory)} of memory free; Python {self.python}"
        )


def node_facts() -> NodeFacts:
    """Return what this machine has.

    Raises:
        FfmpegError: there is no ffmpeg.
    """
    own = {each.card["sha256"] for each in weights_in_order(own_folders())}
    others = {each.card["sha256"] for each in weights_in_order()} - own
    engines = [
        *(["openvino"] if openvino_installed() else []),
        *(["onnxruntime"] if onnxruntime_installed() else []),
        f"keras on {os.environ.get('KERAS_BACKEND', 'tensorflow')}",
    ]
    return NodeFacts(
        __version__,
        find_ffmpeg().version,
        " ".join(sorted(own)),
        ", ".join(engines),
        platform.python_version(),
        processor(),
        available_cores(),
        available_host_memory(),
        " ".join(sorted(others)),
    )


def compare_nodes(own: NodeFacts, nodes: Iterable[tuple[str, NodeFacts | VsrError]]) -> Iterator[Finding]:
    """Yield a finding for each machine of a cluster, compared with this one."""
    found = False
    for name, facts in nodes:
        found = True
        if isinstance(facts, VsrError):
            yield Finding(name, PROBLEM, str(facts), "install the same vsr there, in the Python of its Ray")
            continue
        unlike = [
            subject
            for subject, there, here in (
                ("vsr", facts.version, own.version),
                ("ffmpeg", facts.ffmpeg, own.ffmpeg),
                ("weight files", facts.weights, own.weights),
            )
            if there != here
        ]
        differing = [
            text
            for text, there, here in (
                ("other engines", facts.engines, own.engines),
                ("another kind of processor", facts.processor, own.processor),
            )
            if there != here
        ]
        if unlike:
            text = f"not as here: {', '.join(unlike)}, so it cannot take part; {facts}"
            yield Finding(name, PROBLEM, text, "install the same versions on all machines")
            continue
        notes, remedies = [], []
        if differing:
            notes.append(f"{' and '.join(differing)}: frames may differ by rounding")
            remedies.append("--engine and --precision name what all have; --strict refuses")
        if facts.other_weights != own.other_weights:
            notes.append("other networks in VSR_WEIGHTS than here: it cannot take part in runs with these")
            remedies.append("copy them to all machines")
        yield Finding(name, NOTE if notes else OK, "; ".join([*notes, str(facts)]), "; ".join(remedies))
    if not found:
        yield Finding("cluster", PROBLEM, "no machine with a core for work", "start Ray with --num-cpus")


def check_nodes(address: str) -> Iterator[Finding]:
    """Look at all machines of a Ray cluster.

    Raises:
        UsageError: Ray is not installed, does not answer, or has no token.
    """
    from vsrcli.cluster.ray_workers import call_on_each_node

    yield from compare_nodes(node_facts(), call_on_each_node(address, node_facts))
