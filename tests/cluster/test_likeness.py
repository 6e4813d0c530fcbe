"""Workers that would not compute the same: refused, or named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tiny_networks import tiny_weights
from vsrcli.cluster.inspection import NodeFacts, compare_nodes, node_facts
from vsrcli.cluster.likeness import Greeting, Likeness
from vsrcli.errors import EngineError

GREETING = Greeting("duf-r-s on CPU, openvino, fp32", "fp32", "CPU, openvino, fp32, a processor")
OTHER = replace(GREETING, kind="CPU, openvino, fp32, another one")
FACTS = NodeFacts("1.0", "n9", "sums", "openvino", "3.12.1", "a processor", 8, 2**33)


def test_equal_workers_take_part_without_a_word() -> None:
    notices: list[str] = []
    likeness = Likeness(strict=True, on_notice=notices.append)
    for name in ("a", "b", "c"):
        likeness.check(name, 0, GREETING)
    assert notices == []


def test_another_precision_is_refused() -> None:
    likeness = Likeness(strict=False, on_notice=lambda text: None)
    likeness.check("a", 0, GREETING)
    with pytest.raises(EngineError, match=r"b computes in bf16, the first worker in fp32.*--precision"):
        likeness.check("b", 0, replace(GREETING, precision="bf16"))


def test_videos_of_one_run_may_have_different_precisions() -> None:
    """With ``--precision auto`` it depends on the weights, and those on the factor of a video."""
    likeness = Likeness(strict=True, on_notice=lambda text: None)
    for video, precision in ((0, "int8"), (1, "bf16"), (0, "int8")):
        for name in ("a", "b"):
            likeness.check(name, video, replace(GREETING, precision=precision))


def test_another_kind_of_processor_is_named_once() -> None:
    notices: list[str] = []
    likeness = Likeness(strict=False, on_notice=notices.append)
    for name, greeting in (("a", GREETING), ("b", OTHER), ("c", OTHER)):
        likeness.check(name, 0, greeting)
    assert len(notices) == 1
    assert notices[0].startswith("b computes on another kind of processor (CPU, openvino, fp32, another one")


def test_strict_refuses_another_kind_of_processor() -> None:
    likeness = Likeness(strict=True, on_notice=lambda text: None)
    likeness.check("a", 0, GREETING)
    with pytest.raises(EngineError, match="another kind of processor"):
        likeness.check("b", 0, OTHER)


def test_the_machines_of_a_cluster_are_compared_with_this_one() -> None:
    nodes = [
        ("same", FACTS),
        ("old", replace(FACTS, version="0.9", weights="others")),
        ("amd", replace(FACTS, processor="another one")),
        ("bare", EngineError("vsr is not installed there for Ray's Python")),
    ]
    findings = list(compare_nodes(FACTS, nodes))
    assert [(each.name, each.state) for each in findings] == [
        ("same", "ok"),
        ("old", "problem"),
        ("amd", "note"),
        ("bare", "problem"),
    ]
    assert "not as here: vsr, weight files" in findings[1].text
    assert "another kind of processor" in findings[2].text
    assert all(each.remedy for each in findings[1:])


def test_networks_of_ones_own_keep_no_machine_from_taking_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VSR_WEIGHTS", raising=False)
    facts = node_facts()
    tiny_weights(tmp_path, "cached", 3)
    monkeypatch.setenv("VSR_WEIGHTS", str(tmp_path))
    for here, there in ((facts, node_facts()), (node_facts(), facts)):
        [finding] = compare_nodes(here, [("machine", there)])
        assert (finding.state, "VSR_WEIGHTS" in finding.text) == ("note", True)
        assert finding.remedy


def test_a_cluster_without_machines_is_a_problem() -> None:
    assert [each.state for each in compare_nodes(FACTS, [])] == ["problem"]
