"""Commands stopped at random moments, see ``stops.py``."""

from __future__ import annotations

from pathlib import Path

import pytest
from stops import run


def assert_all_well(tmp_path: Path, **options: object) -> None:
    stops = run(folder=tmp_path, **options)  # type: ignore[arg-type]
    assert [stop for stop in stops if stop.problems] == []


@pytest.mark.timeout(600)
def test_a_few_stops(tmp_path: Path) -> None:
    assert_all_well(tmp_path, count=3, seed=1, only=("bicubic", "spooled"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_few_stops_of_a_network(tmp_path: Path) -> None:
    assert_all_well(tmp_path, count=4, seed=1, only=("segments",))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_stops(tmp_path: Path) -> None:
    assert_all_well(tmp_path, count=60, load=4, seed=2)
