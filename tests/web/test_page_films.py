"""The page in a real Chromium, from the film to the download; once with SQLite, once with Redis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from page_browser import Person, expect
from playwright.sync_api import Browser
from visiting import Running, called

import media_samples as media
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture(scope="module", params=["sqlite", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """``vsr serve`` with its worker, for all tests of one kind of queue."""
    queue = "sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    running = Running(tmp_path_factory.mktemp("page") / "data", "--queue", queue)
    yield running
    running.stop()


def same_times(old: Path, new: Path) -> bool:
    """As many frames, each at its own time."""
    before, after = probe(old), probe(new)
    return [time - before.start for time in frame_times(before)] == [
        time - after.start for time in frame_times(after)
    ]


def test_upload_convert_compare_download_and_nobody_else(
    browser: Browser, server: Running, sample: Sample, tmp_path: Path
) -> None:
    film, person = sample(media.cfr, frames=24), Person(browser, server.url)
    page = person.page
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    card = person.upload(film)
    expect(card).to_contain_text("64 × 48 · 0:01 · 23.976 pictures a second · with sound")
    chosen = card.get_by_role("radio", name="4×")
    expect(chosen).to_be_checked()  # one click would do
    expect(card.locator(".becomes")).to_have_text(re.compile(r"64 × 48\s+becomes\s*256 × 192"))

    row = person.convert(card, "2×")
    expect(row.get_by_role("heading")).to_have_text("To 128 × 96")
    page.reload()
    row = person.card(film.name).locator(".job")  # a new page finds it again
    expect(row.locator(".badge")).to_have_text("Done")
    other = Person(browser, server.url)
    expect(other.page.get_by_text("Nothing here yet")).to_be_visible()
    for part in (row.get_by_role("link", name="Download"), row.locator("img.after")):
        path = part.get_attribute("href") or part.get_attribute("src") or ""
        assert person.context.request.get(server.url.rstrip("/") + path).status == 200
        assert other.context.request.get(server.url.rstrip("/") + path).status == 404  # not his
    other.leave()

    comparison = row.get_by_role("figure")
    for side, size in (("before", (64, 48)), ("after", (128, 96))):
        picture = comparison.get_by_alt_text(re.compile("before$" if side == "before" else "enlarged$"))
        picture.scroll_into_view_if_needed()
        expect(picture).to_have_js_property("naturalWidth", size[0])
        expect(picture).to_have_js_property("naturalHeight", size[1])
        assert picture.evaluate("image => getComputedStyle(image).imageRendering") == "auto"
    first = comparison.get_by_alt_text(re.compile("enlarged$")).get_attribute("src")
    moments = comparison.get_by_role("group", name="Moment").get_by_role("radio")
    expect(moments).to_have_count(5)
    moments.nth(3).check()
    expect(comparison.get_by_alt_text(re.compile("enlarged$"))).not_to_have_attribute("src", first or "")

    after = comparison.locator("img.after")
    slider, stage = comparison.get_by_role("slider"), comparison.locator(".stage")
    box = stage.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    expect(slider).to_have_value("25")
    expect(slider).to_have_attribute("aria-valuetext", "25% of the width shows the film before")
    cut = float(re.findall(r"[\d.]+(?=px\)$)", after.evaluate("e => getComputedStyle(e).clipPath"))[0])
    assert cut == pytest.approx(box["width"] / 4, abs=1)

    expect(row.locator("dl")).to_contain_text("128 × 96")
    expect(row.locator("dl")).to_contain_text("No network: soft enlargement (bicubic)")
    expect(row.locator("dl")).to_contain_text(re.compile(r"Deleted.*in\s2[34]\shours"))
    with page.expect_download() as coming:
        row.get_by_role("link", name="Download").click()
    target = tmp_path / coming.value.suggested_filename
    assert target.name == f"{film.stem}-128x96.mp4"
    coming.value.save_as(target)
    assert same_times(film, target)

    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    person.leave()


def test_progress_cancel_and_again(browser: Browser, server: Running, sample: Sample) -> None:
    film, person = sample(media.cfr, frames=1200, audio=False), Person(browser, server.url)
    card = person.upload(film)
    row = person.convert(card, "HD")
    bar = row.get_by_role("progressbar")
    expect(bar).to_have_accessible_name(f"Conversion of “{film.name}” to 960 × 720")
    expect(bar).to_have_attribute(
        "aria-valuetext", re.compile(r"\d+% · [1-9]\d* of 1,200 pictures · .* a second · .*left")
    )
    (runner,) = called(psutil.Process(server.child.pid), "upscale")
    runner.suspend()  # it is not done before all this has been looked at
    assert 0 < float(bar.get_attribute("value") or 0) < 100
    waiting = person.convert(card, "2×")
    expect(waiting.locator(".badge")).to_have_text("Waiting")
    expect(waiting).to_contain_text("Next in the queue")
    runner.resume()
    running = card.locator(".job").last
    running.get_by_role("button", name="Cancel").click()
    expect(running.locator(".badge")).to_have_text("Cancelled")
    expect(person.page.locator("#said")).to_contain_text(f"The conversion of “{film.name}” was cancelled.")
    waiting.get_by_role("button", name="Cancel").click()
    expect(waiting.locator(".badge")).to_have_text("Cancelled")
    running.get_by_role("button", name="Convert again").click()
    expect(card.locator(".job")).to_have_count(3)
    again = card.locator(".job").first
    expect(again.get_by_role("heading")).to_have_text("To 960 × 720")
    again.get_by_role("button", name="Cancel").click()
    expect(again.locator(".badge")).to_have_text("Cancelled")
    person.leave()
