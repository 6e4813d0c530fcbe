"""Screenshots of pages for the documentation, from real runs: ``python docs/web_screenshots.py``.

Upscales the example video, compares it with its truth, and takes a screenshot of that page. Then it starts
``vsr serve``, uploads the example in Chromium, converts it with the preselected options (the default network,
four times the size), and takes the others. With ``--state FILE`` and ``--data DIR``
the cookies and the videos are kept, so that the next run only takes screenshots.
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
VIDEO = HERE.parent / "examples" / "butterfly_240x136.mp4"
TRUTH = VIDEO.with_name("butterfly_960x544.mp4")
MAX_BYTES = 200_000  # of a screenshot
TIMEOUT_MS = 3_600_000
SCREENSHOTS: dict[str, dict[str, Any]] = {
    "web-desktop": {"viewport": {"width": 760, "height": 910}, "locale": "en-GB"},
    "web-dark": {"viewport": {"width": 940, "height": 560}, "locale": "en-GB", "color_scheme": "dark"},
    "web-phone": {"viewport": {"width": 360, "height": 800}, "locale": "ko-KR"},
}


def main() -> None:
    """Take all screenshots."""
    parser = argparse.ArgumentParser(description="Screenshots of the page, from a real run.")
    parser.add_argument("--data", type=Path, help="folder of the server; default: a new one")
    parser.add_argument("--state", type=Path, help="file of the cookies")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        data = arguments.data or Path(temporary) / "data"
        state = arguments.state or Path(temporary) / "state.json"
        server = subprocess.Popen(
            [sys.executable, "-m", "vsrcli", "serve", "--port", "0", "--data", data],
            stderr=subprocess.PIPE,
            text=True,
        )
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        try:
            show_comparison(browser, Path(temporary))
            url = wait_until_listening(server)
            if not state.exists():
                convert(browser, url, state)
            for name, options in SCREENSHOTS.items():
                context = browser.new_context(
                    storage_state=state, timezone_id="Asia/Seoul", reduced_motion="reduce", **options
                )
                page = context.new_page()
                page.goto(url)
                prepare(page, name)
                write(page.screenshot(), HERE / "images" / f"{name}.png")
                context.close()
        finally:
            browser.close()
            server.terminate()
            server.communicate()


def wait_until_listening(server: subprocess.Popen[str]) -> str:
    """Return the URL of the server."""
    assert server.stderr is not None
    for line in server.stderr:
        if line.startswith("{") and (entry := json.loads(line))["event"] == "listening":
            return entry["url"]
    raise SystemExit("vsr serve ended")


def show_comparison(browser: Browser, folder: Path) -> None:
    """Compare 40 frames of the example, by Lanczos and by the default network, and take the screenshot."""
    for name, model in (("lanczos.mp4", ("-m", "lanczos")), ("x4.mp4", ())):
        run_vsr("upscale", VIDEO, folder / name, "--frames", "40", *model)
    videos, page_file = (VIDEO, folder / "lanczos.mp4", folder / "x4.mp4"), folder / "page.html"
    run_vsr("compare", *videos, "--reference", TRUTH, "-o", page_file)
    context = browser.new_context(viewport={"width": 1300, "height": 1990}, reduced_motion="reduce")
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_function("Array.from(document.images).every(image => image.complete)")
    page.wait_for_timeout(1000)  # until canvases are drawn
    page.screenshot(path=HERE / "images" / "compare.jpg", type="jpeg", quality=80)
    context.close()


def run_vsr(*arguments: object) -> None:
    """Run ``vsr`` with these arguments."""
    subprocess.run([sys.executable, "-m", "vsrcli", *map(str, arguments)], check=True)


def convert(browser: Browser, url: str, state: Path) -> None:
    """Upload the example, convert it with the preselected options, and store the cookies."""
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.goto(url)
    page.locator("#files").set_input_files(VIDEO)
    page.get_by_role("button", name="Convert", exact=True).click()
    page.get_by_role("link", name="Download").wait_for()
    context.storage_state(path=state)
    context.close()


def prepare(page: Page, name: str) -> None:
    """Scroll and open the page as the screenshot needs it."""
    page.set_default_timeout(TIMEOUT_MS)
    for side in ("before", "after"):
        image = page.locator(f"img[data-part={side}]")
        image.scroll_into_view_if_needed()
        image.evaluate("image => image.decode()")
    page.evaluate("scrollTo(0, 0)")
    if name == "web-dark":  # the options
        page.locator("summary").first.click()
        page.locator("summary").last.click()
        page.locator(".conversion-form").evaluate("form => scrollTo(0, form.offsetTop - 40)")


def write(screenshot: bytes, path: Path) -> None:
    """Write a PNG with as many colours as the file size allows."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    for colors in (256, 128, 64, 32):
        data = io.BytesIO()
        palette = image.quantize(colors)
        dithered = image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)
        dithered.save(data, "PNG", optimize=True)
        if data.tell() < MAX_BYTES:
            break
    path.write_bytes(data.getvalue())


if __name__ == "__main__":
    main()
