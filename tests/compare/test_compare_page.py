"""The page of ``vsr compare`` in a real Chromium."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from terminal import Outcome

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

Vsr = Callable[..., Outcome]
Trio = tuple[Path, Path, Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture
def page(browser: Browser, vsr: Vsr, trio: Trio, tmp_path: Path) -> Iterator[Page]:
    target = tmp_path / "page.html"
    assert vsr("compare", *trio[:2], "-o", target, "--at", "0.1").status == 0
    opened = browser.new_page()
    opened.goto(target.as_uri())
    yield opened
    opened.close()


def test_fingers_and_keys_scroll_enlarged_frames(page: Page) -> None:
    """Only the dividing line of frames that fit is dragged sideways by a finger."""
    touch_actions = {}
    for view in ("slider", "side"):
        for size in ("0", "4"):
            page.locator(f"input[name=view][value={view}]").check()
            page.locator(f"input[name=size][value='{size}']").check()
            touch_actions[view, size] = page.locator("#stage").evaluate(
                "stage => getComputedStyle(stage).touchAction"
            )
    assert touch_actions.pop(("slider", "0")) == "pan-y"
    assert set(touch_actions.values()) == {"auto"}
    viewport = page.get_by_role("region", name="Left and right frame")
    viewport.focus()
    assert viewport.evaluate("viewport => viewport === document.activeElement")
