"""A headless Chromium for tests of pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("playwright.sync_api", reason="pip install playwright")

from playwright.sync_api import Browser, expect, sync_playwright

TIMEOUT_MS = 240_000.0  # for anything, on a machine that is busy with something else
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
expect.set_options(timeout=TIMEOUT_MS)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Launch the system's Chromium, or skip the test where there is none."""
    program = os.environ.get("VSR_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium, or VSR_CHROMIUM=PROGRAM)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, timeout=TIMEOUT_MS)
        try:
            yield browser
        finally:
            browser.close()
