"""The synthetic motion test of Jo et al., CVPR 2018, section 4.1, for every shipped windowed network."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.models.weights import list_weights

FIGURES: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "explain_figures.py"))
NETWORKS = FIGURES["windowed_networks"]()


def test_every_shipped_windowed_network_is_tested() -> None:
    names = {weights.name for weights in list_weights() if weights.card["architecture"] == "duf-s"}
    assert names <= {choice.name for choice in NETWORKS}
    assert {f"duf-s-x{scale}-video" for scale in ARCHITECTURES["duf-s"].scales} <= names


def test_both_windows_have_the_same_middle_frame_and_no_other() -> None:
    left, right = (FIGURES["moving_bar"](direction, 2) for direction in (-1, 1))
    same = [np.array_equal(a, b) for a, b in zip(left, right, strict=True)]
    assert same == [False, False, False, True, False, False, False]
    np.testing.assert_array_equal(left, right[::-1])


@pytest.mark.parametrize("choice", NETWORKS, ids=lambda choice: choice.name)
def test_filters_agree_and_activations_differ(choice: Any) -> None:
    from vsrcli.explain import networks

    network = networks.KerasNetwork(networks._build(choice), choice.scale, 3)
    frames = FIGURES["moving_bar"](1, 2)
    network.layers = tuple(network.trace(frames, 3)[1])
    found = FIGURES["test_motion"](network, choice.name, 2)
    assert found.filters > 0.95
    assert found.layers["encode"] == pytest.approx(1)  # it sees single frames
    several = {name: value for name, value in found.layers.items() if name != "encode"}
    assert set(several) == set(found.most)
    assert max(several.values()) < found.filters
    assert min(several.values()) < 0.85
    assert found.filter_changes > min(several.values())
