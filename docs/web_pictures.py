"""Pictures of the page for the documentation, from a real run: ``python docs/web_pictures.py``.

Starts ``vsr serve``, uploads the example film in Chromium, converts it with the page's own choices (the
default network, four times the size), and looks at the page. With ``--state FILE`` and ``--data DIR`` the
visitor's cookies and the films are kept, so that the next run only looks.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

HERE = Path(__file__).parent
FILM = HERE.parent / "examples" / "butterfly_240x136.mp4"
MOST = 200_000  # bytes of a picture
PATIENCE = 3_600_000  # milliseconds
PICTURES: dict[str, dict[str, Any]] = {
    "web-desktop": {"viewport": {"width": 760, "height": 910}, "locale": "en-GB"},
    "web-dark": {"viewport": {"width": 940, "height": 560}, "locale": "en-GB", "color_scheme": "dark"},
    "web-phone": {"viewport": {"width": 360, "height": 800}, "locale": "ko-KR"},
}


def main() -> None:
    """Make all pictures."""
    parser = argparse.ArgumentParser(description="Pictures of the page, from a real run.")
    parser.add_argument("--data", type=Path, help="folder of the server; default: a new one")
    parser.add_argument("--state", type=Path, help="file of the visitor's cookies")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as fresh, sync_playwright() as playwright:
        data, state = given.data or Path(fresh) / "data", given.state or Path(fresh) / "state.json"
        server = subprocess.Popen(
            [sys.executable, "-m", "vsrcli", "serve", "--port", "0", "--data", data],
            stderr=subprocess.PIPE,
            text=True,
        )
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            url = listening(server)
            if not state.exists():
                convert(browser, url, state)
            for name, options in PICTURES.items():
                context = browser.new_context(
                    storage_state=state, timezone_id="Asia/Seoul", reduced_motion="reduce", **options
                )
                page = context.new_page()
                page.goto(url)
                show(page, name)
                write(page.screenshot(), HERE / "images" / f"{name}.png")
                context.close()
        finally:
            browser.close()
            server.terminate()
            server.communicate()


def listening(server: subprocess.Popen[str]) -> str:
    """Where the server is."""
    assert server.stderr is not None
    for line in server.stderr:
        if line.startswith("{") and (said := json.loads(line))["event"] == "listening":
            return said["url"]
    raise SystemExit("vsr serve ended")


def convert(browser: Browser, url: str, state: Path) -> None:
    """Upload the example, convert it as the page suggests, and keep the visitor's cookies."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    page.goto(url)
    page.locator("#files").set_input_files(FILM)
    page.get_by_role("button", name="Convert", exact=True).click()
    page.get_by_role("link", name="Download").wait_for()
    context.storage_state(path=state)
    context.close()


def show(page: Page, name: str) -> None:
    """Bring the page to where the picture is of."""
    page.set_default_timeout(PATIENCE)
    for side in ("before", "after"):
        picture = page.locator(f"img[data-part={side}]")
        picture.scroll_into_view_if_needed()
        picture.evaluate("image => image.decode()")
    page.evaluate("scrollTo(0, 0)")
    if name == "web-dark":  # what can be chosen
        page.locator("summary").first.click()
        page.locator("summary").last.click()
        page.locator(".choices").evaluate("form => scrollTo(0, form.offsetTop - 40)")


def write(picture: bytes, path: Path) -> None:
    """With as many colours as the size allows."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    for colors in (256, 128, 64, 32):
        held = io.BytesIO()
        palette = image.quantize(colors)
        dithered = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        dithered.save(held, "PNG", optimize=True)
        if held.tell() < MOST:
            break
    path.write_bytes(held.getvalue())


if __name__ == "__main__":
    main()
