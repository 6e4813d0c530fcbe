"""The page of ``vsr compare`` in a real Chromium."""

from __future__ import annotations

import re
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


def test_the_last_bin_of_a_plot_ends_with_the_video(
    browser: Browser, vsr: Vsr, trio: Trio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """11 frames, in bins of four."""
    monkeypatch.setattr("vsrcli.compare.html._MAX_POINTS", 3)
    target = tmp_path / "page.html"
    command = ("compare", *trio[:2], "--reference", trio[2], "--no-vmaf", "--start", "0.03", "-o", target)
    assert vsr(*command).status == 0
    page = browser.new_page()
    page.goto(target.as_uri())
    slider = page.get_by_role("slider", name=re.compile("^PSNR-Y over time"))
    slider.press("Home")
    found = [slider.get_attribute("aria-valuetext") or ""]
    slider.press("End")
    found.append(slider.get_attribute("aria-valuetext") or "")
    assert [text.partition(",")[0] for text in found] == ["frames 0 to 3", "frames 8 to 10"]
    page.close()


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
