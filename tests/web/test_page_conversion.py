"""The page in a real Chromium, from upload to download; once with SQLite, once with Redis."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from page_browser import PageUser, expect
from playwright.sync_api import Browser
from web_client import LocalServer, ServerProcess, descendants

import media_samples as media
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times
from vsrcli.web.store import FAILED, QUEUED, RUNNING, Store

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture(scope="module", params=["sqlite", pytest.param("redis", marks=pytest.mark.slow)])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """``vsr serve`` with its worker, for all tests with one kind of queue."""
    queue = "sqlite" if request.param == "sqlite" else request.getfixturevalue("redis_url")
    running = ServerProcess(tmp_path_factory.mktemp("page") / "data", "--queue", queue)
    yield running
    running.stop()


def have_same_times(old: Path, new: Path) -> bool:
    """Return whether two videos have as many frames, at the same times."""
    before, after = probe(old), probe(new)
    return [time - before.start for time in frame_times(before)] == [
        time - after.start for time in frame_times(after)
    ]


def test_upload_convert_compare_download(
    browser: Browser, server: ServerProcess, sample: Sample, tmp_path: Path
) -> None:
    video, user = sample(media.cfr, frames=24), PageUser(browser, server.url)
    page = user.page
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    card = user.upload(video)
    expect(card).to_contain_text("64 × 48 · 0:01 · 23.976 frames per second · with sound")
    selected = card.get_by_role("radio", name="4×")
    expect(selected).to_be_checked()  # preselected
    expect(card.locator(".size-change")).to_have_text(re.compile(r"64 × 48\s+becomes\s*256 × 192"))

    row = user.convert(card, "2×")
    expect(row.get_by_role("heading")).to_have_text("To 128 × 96")
    page.reload()
    row = user.card(video.name).locator(".job")  # after a reload, too
    expect(row.locator(".badge")).to_have_text("Done")
    other = PageUser(browser, server.url)
    expect(other.page.get_by_text("Nothing here yet")).to_be_visible()
    for part in (row.get_by_role("link", name="Download"), row.locator("img.after")):
        path = part.get_attribute("href") or part.get_attribute("src") or ""
        assert user.context.request.get(server.url.rstrip("/") + path).status == 200
        assert other.context.request.get(server.url.rstrip("/") + path).status == 404  # of another session
    other.leave()

    comparison = row.get_by_role("figure")
    for side, size in (("before", (64, 48)), ("after", (128, 96))):
        image = comparison.get_by_alt_text(re.compile("before$" if side == "before" else "upscaled$"))
        image.scroll_into_view_if_needed()
        expect(image).to_have_js_property("naturalWidth", size[0])
        expect(image).to_have_js_property("naturalHeight", size[1])
        assert image.evaluate("image => getComputedStyle(image).imageRendering") == "auto"
    first = comparison.get_by_alt_text(re.compile("upscaled$")).get_attribute("src")
    previews = comparison.get_by_role("group", name="Frame").get_by_role("radio")
    expect(previews).to_have_count(5)
    previews.nth(3).check()
    expect(comparison.get_by_alt_text(re.compile("upscaled$"))).not_to_have_attribute("src", first or "")

    after = comparison.locator("img.after")
    slider, viewport = comparison.get_by_role("slider"), comparison.locator(".viewport")
    box = viewport.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2)
    expect(slider).to_have_value("25")
    expect(slider).to_have_attribute("aria-valuetext", "25% of the width shows the video before")
    divider = float(re.findall(r"[\d.]+(?=px\)$)", after.evaluate("e => getComputedStyle(e).clipPath"))[0])
    assert divider == pytest.approx(box["width"] / 4, abs=1)

    expect(row.locator("dl")).to_contain_text("128 × 96")
    expect(row.locator("dl")).to_contain_text("No network: soft interpolation (bicubic)")
    expect(row.locator("dl")).to_contain_text(re.compile(r"Will be deleted.*in\s2[34]\shours"))
    with page.expect_download() as download:
        row.get_by_role("link", name="Download").click()
    target = tmp_path / download.value.suggested_filename
    assert target.name == f"{video.stem}-128x96.mp4"
    download.value.save_as(target)
    assert have_same_times(video, target)

    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep").click()
    expect(row).to_have_count(1)
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    user.leave()


def test_progress_cancel_repeat(browser: Browser, server: ServerProcess, sample: Sample) -> None:
    video, user = sample(media.cfr, frames=1200, audio=False), PageUser(browser, server.url)
    card = user.upload(video)
    row = user.convert(card, "HD")
    bar = row.get_by_role("progressbar")
    expect(bar).to_have_accessible_name(f"Conversion of “{video.name}” to 960 × 720")
    expect(bar).to_have_attribute(
        "aria-valuetext", re.compile(r"\d+% · [1-9]\d* of 1,200 frames · .* per second · .*left")
    )
    (runner,) = descendants(psutil.Process(server.child.pid), "upscale")
    runner.suspend()  # it must not finish before the checks below
    assert 0 < float(bar.get_attribute("value") or 0) < 100
    queued = user.convert(card, "2×")
    expect(queued.locator(".badge")).to_have_text("Waiting")
    expect(queued).to_contain_text("Next in the queue")
    queued.get_by_role("button", name="Cancel").click()
    expect(queued.locator(".badge")).to_have_text("Cancelled")
    queued.get_by_role("button", name="Convert again").click()
    expect(card.locator(".job")).to_have_count(3)
    repeated = card.locator(".job").first
    expect(repeated.get_by_role("heading")).to_have_text("To 128 × 96")
    repeated.get_by_role("button", name="Cancel").click()
    expect(repeated.locator(".badge")).to_have_text("Cancelled")
    running = card.locator(".job").last
    running.get_by_role("button", name="Cancel").click()
    runner.resume()
    expect(running.locator(".badge")).to_have_text("Cancelled")
    expect(user.page.locator("#announcer")).to_contain_text(
        f"The conversion of “{video.name}” was cancelled."
    )
    user.leave()


def test_convert_again_resumes_a_failed_conversion(
    browser: Browser, open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    """It stays the same one, and so goes on with what it has finished."""
    server = open_server()  # no worker: the test ends the job
    user, store = PageUser(browser, server.url), Store(server.settings.database)
    card = user.upload(sample(media.cfr, frames=3))
    row = user.convert(card, "2×")
    (job,) = store.list_jobs()
    store.transition_job(job.id, QUEUED, RUNNING)
    store.transition_job(job.id, RUNNING, FAILED, message="No space is left.", code="command", disk_bytes=5)
    expect(row).to_contain_text("No space is left.")
    row.get_by_role("button", name="Convert again").click()
    expect(row.locator(".badge")).to_have_text("Waiting")
    expect(card.locator(".job")).to_have_count(1)
    user.leave()
