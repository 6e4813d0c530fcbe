"""The page with a keyboard only, on a phone, in dark mode, in Korean, with a token; and failing servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_browser import PageUser, expect
from page_contrast import weak_texts
from playwright.sync_api import Browser, Locator, Page
from web_client import LocalServer, ServerProcess

import media_samples as media
from vsrcli.web.errors import DISK_FULL, INTERNAL_ERROR, INTERRUPTED, StatusMessage, without_message
from vsrcli.web.store import FAILED, QUEUED, RUNNING, Store, now

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors

# Words that are the same in Korean.
_UNTRANSLATED = re.compile(
    r"English|vsr|\S+\.mp4|[kMG]B|Q?HD|MP4|H\.26\d|AV1|MKV|FFV1|MOV|ProRes|bicubic|Lanczos|duf-\S+", re.I
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("page") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def converted(browser: Browser, server: ServerProcess, sample: Sample) -> Any:
    """The cookies of a user with a converted video."""
    user = PageUser(browser, server.url)
    row = user.convert(user.upload(sample(media.cfr, frames=24)), "2×")
    expect(row.locator(".badge")).to_have_text("Done")
    state = user.context.storage_state()
    user.leave()
    return state


def tab_to(page: Page, target: Locator) -> None:
    """Press Tab until an element has the focus; check that the focus is visible."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if target.evaluate("element => element === document.activeElement"):
            outline = target.evaluate(
                "e => [e, e.parentElement, e.nextElementSibling].filter(Boolean)"
                ".map(each => parseFloat(getComputedStyle(each).outlineWidth) || 0)"
            )
            assert max(outline) >= 2  # the focus is visible
            return
    raise AssertionError(f"{target} cannot be reached with the Tab key")


def test_second_confirmation_right_after_the_first(
    browser: Browser, server: ServerProcess, sample: Sample
) -> None:
    user = PageUser(browser, server.url)
    card = user.upload(sample(media.cfr, frames=3))
    delete = card.get_by_role("button", name=re.compile("^Delete"))
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    delete.evaluate(
        "button => { button.click(); document.getElementById('confirm').close(); button.click(); }"
    )
    user.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)


def test_everything_by_keyboard(
    browser: Browser, server: ServerProcess, sample: Sample, tmp_path: Path
) -> None:
    video, user = sample(media.cfr, frames=24), PageUser(browser, server.url)
    page = user.page
    tab_to(page, page.locator("#files"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space", delay=100)
    chooser.value.set_files(video)
    card = user.card(video.name)
    convert = card.get_by_role("button", name="Convert", exact=True)
    expect(convert).to_be_visible()
    tab_to(page, card.get_by_role("radio", name=re.compile("^4×")))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(card.get_by_role("radio", name=re.compile("^2×"))).to_be_checked()
    tab_to(page, card.locator("summary", has_text="Quality and file format"))
    page.keyboard.press("Enter")
    tab_to(page, card.get_by_label("Upscaling method"))
    page.keyboard.type("No network: soft")
    expect(card.get_by_label("Upscaling method")).to_have_value("bicubic")
    tab_to(page, convert)
    page.keyboard.press("Enter")
    row = card.locator(".job")
    expect(row.locator(".badge")).to_have_text("Done")
    expect(page.locator("#announcer")).to_contain_text(f"“{video.name}” is converted and can be downloaded.")
    page.locator("#videos").focus()
    slider = row.get_by_role("slider", name="Divide between before and after")
    tab_to(page, slider)
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    tab_to(page, row.get_by_role("link", name="Download"))
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "video.mp4")
    assert (tmp_path / "video.mp4").stat().st_size > 0
    page.locator("#videos").focus()
    tab_to(page, card.get_by_role("button", name=f"Delete “{video.name}”"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_have_count(1)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Delete"))
    page.keyboard.press("Enter")
    expect(card).to_have_count(0)
    user.leave()


def test_focus_is_kept_when_its_element_goes(
    browser: Browser, open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    server = open_server()  # no worker: jobs stay queued until they are cancelled
    user = PageUser(browser, server.url)
    page, first = user.page, user.upload(sample(media.cfr, frames=3))
    card = user.upload(sample(media.cfr, frames=24))  # above the first one
    rows, summary = card.locator(".job"), card.get_by_text("Convert with other options")
    card.get_by_role("button", name="Convert", exact=True).press("Enter")
    expect(summary).to_be_focused()
    user.convert(card, "2×")
    rows.first.get_by_role("button", name="Cancel").press("Enter")
    expect(rows.first.get_by_role("button", name="Convert again")).to_be_focused()
    rows.first.get_by_role("button", name="Delete").press("Enter")
    expect(rows).to_have_count(1)
    expect(rows).to_be_focused()
    rows.get_by_role("button", name="Cancel").press("Enter")
    rows.get_by_role("button", name="Delete").press("Enter")
    expect(card.get_by_role("radio", name=re.compile("^2×"))).to_be_focused()
    for deleted, next_one in ((card, first), (first, page.locator("#videos"))):
        deleted.get_by_role("button", name=re.compile("^Delete")).press("Enter")
        page.get_by_role("dialog").get_by_role("button", name="Delete").press("Enter")
        expect(deleted).to_have_count(0)
        expect(next_one).to_be_focused()
    user.leave()


def test_contrast(browser: Browser, server: ServerProcess, converted: Any, tmp_path: Path) -> None:
    invalid = tmp_path / "invalid.mp4"
    invalid.write_text("No video.")
    user = PageUser(browser, server.url, storage_state=converted, reduced_motion="reduce")
    page = user.page
    user.choose(invalid)
    expect(user.card(invalid.name).get_by_role("alert")).to_be_visible()
    page.get_by_text("Convert with other options").click()
    page.get_by_text("Quality and file format").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert weak_texts(page) == []
        page.get_by_role("button", name="Delete “cfr").click()
        assert weak_texts(page) == []
        page.keyboard.press("Escape")
    animations = "() => document.getAnimations().filter(each => each.playState === 'running').length"
    assert page.evaluate(animations) == 0
    user.card(invalid.name).get_by_role("button", name="Delete").click()
    expect(user.card(invalid.name)).to_have_count(0)
    empty = PageUser(browser, server.url, color_scheme="dark")
    expect(empty.page.get_by_text("Nothing here yet")).to_be_visible()
    assert weak_texts(empty.page) == []
    empty.leave()
    user.leave("status of 422")


def test_on_a_phone(browser: Browser, server: ServerProcess, converted: Any) -> None:
    phone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    user = PageUser(browser, server.url, storage_state=converted, **phone)
    expect(user.page.get_by_role("figure")).to_be_visible()
    user.page.get_by_text("Convert with other options").click()
    overflow = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert user.page.evaluate(overflow) == 0
    buttons = user.page.locator("button, .button, summary").all()
    boxes = [box for box in (button.bounding_box() for button in buttons) if box is not None]
    assert len(boxes) >= 4
    assert min(box["height"] for box in boxes) >= 44  # the size of a fingertip
    user.leave()


def test_page_polls_without_events(browser: Browser, server: ServerProcess, sample: Sample) -> None:
    user = PageUser(browser, server.url)
    user.context.route("**/api/events", lambda route: route.abort())
    user.page.reload(wait_until="commit")  # a file that is chosen before the page's scripts have run is taken
    row = user.convert(user.upload(sample(media.cfr, frames=24)), "2×")
    expect(row.locator(".badge")).to_have_text("Done")
    user.leave("ERR_FAILED")


def test_korean_and_remembered_language(
    browser: Browser, open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    server = open_server()  # no worker: the job stays queued until it is cancelled
    video, user = sample(media.cfr, frames=24), PageUser(browser, server.url, locale="ko-KR")
    page = user.page
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.get_by_role("heading", name="내 영상")).to_be_visible()
    user.choose(video)
    card = user.card(video.name)
    card.get_by_role("button", name="변환 시작").click()
    expect(card.locator(".job").get_by_role("heading")).to_have_text("256 × 192 변환")
    card.locator(".job").get_by_role("button", name="취소").click()
    expect(card.locator(".badge")).to_have_text("취소됨")
    content = _UNTRANSLATED.sub("", page.locator("body").inner_text())
    assert re.findall(r"[A-Za-z]{3,}", content) == []
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="Your videos")).to_be_visible()
    expect(card.locator(".badge")).to_have_text("Cancelled")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(card.locator(".badge")).to_have_text("Cancelled")
    user.leave()


def test_page_recovers_from_server_failures(
    browser: Browser, open_server: Callable[..., LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("a temporary failure")

    server = open_server()
    with monkeypatch.context() as patch:
        patch.setattr(Store, "list_uploads", fail)
        user = PageUser(browser, server.url)
        expect(user.page.get_by_text("The server does not answer.")).to_be_visible()
    expect(user.page.get_by_text("Nothing here yet")).to_be_visible()
    expect(user.page.get_by_text("The server does not answer.")).to_be_hidden()
    user.leave("500", "ERR_INCOMPLETE_CHUNKED_ENCODING")


def test_page_reloads_videos_after_a_failure(
    browser: Browser, open_server: Callable[..., LocalServer]
) -> None:
    user = PageUser(browser, open_server().url)
    body = {"error": "A temporary failure.", "code": "error", "values": {}}
    user.page.route("**/api/videos", lambda route: route.fulfill(status=500, json=body), times=2)
    user.page.reload()
    expect(user.page.get_by_text("Nothing here yet")).to_be_visible()
    expect(user.page.get_by_text("The server does not answer.")).to_be_hidden()
    user.leave("500")


def test_page_says_that_the_server_refuses_it(
    browser: Browser, open_server: Callable[..., LocalServer]
) -> None:
    """After a restart with a token, and where cookies are blocked, the page cannot go on by itself."""
    user = PageUser(browser, open_server().url)
    problem = user.page.locator("#offline")
    refusal = {"error": "This server needs a token.", "code": "token", "values": {}}
    user.page.route("**/api/*", lambda route: route.fulfill(status=401, json=refusal))
    user.page.reload()
    expect(problem).to_have_text("This server needs a token. Please reload the page and enter it.")
    user.page.get_by_role("link", name="한국어").click()
    expect(problem).to_have_text(
        "이 서버를 이용하려면 토큰이 필요합니다. 페이지를 새로 고침하고 토큰을 입력하세요."
    )
    user.page.unroute("**/api/*")
    user.page.route("**/api/events", lambda route: route.abort())
    user.page.reload()
    expect(user.page.locator("#empty")).to_be_visible()
    expect(problem).to_be_hidden()
    user.page.route("**/api/videos", lambda route: route.fulfill(status=401, json=refusal))
    expect(problem).to_contain_text("토큰이 필요합니다")
    user.page.unroute("**/api/videos")
    expect(problem).to_be_hidden()
    user.leave("401", "ERR_FAILED")


def test_status_messages_in_korean(
    browser: Browser, open_server: Callable[..., LocalServer], sample: Sample
) -> None:
    server = open_server()  # no worker: the test changes the job
    video, user = sample(media.cfr, frames=24), PageUser(browser, server.url, locale="ko-KR")
    user.choose(video)
    card = user.card(video.name)
    card.get_by_role("button", name="변환 시작").click()
    row = card.locator(".job")
    expect(row).to_contain_text("바로 다음 차례입니다")
    store = Store(server.settings.database)
    (job,) = store.list_jobs()
    for fps, shown in ((0.0423, "0.042"), (3.14, "3.1"), (12.6, "13")):
        store.update_job(job.id, state=RUNNING, done=6, total=24, fps=fps, eta=9.0)
        expect(row).to_contain_text(f"초당 {shown}프레임")
    store.update_job(job.id, state=QUEUED, **INTERRUPTED.job_columns())
    expect(row).to_contain_text("바로 다음 차례입니다 · 서버가 중지된 지점부터 이어집니다")
    store.transition_job(job.id, QUEUED, FAILED, **without_message(-9).job_columns(), finished=now())
    message = "변환하지 못했습니다: 변환이 알 수 없는 이유로 중단되었습니다(상태 -9). 다시 시도하세요."
    expect(row.locator(".error-text").first).to_have_text(message)
    for status_message in (DISK_FULL, INTERNAL_ERROR):
        store.update_job(job.id, **status_message.job_columns())
        expect(row).not_to_contain_text("상태 -9")
        assert re.findall(r"[A-Za-z]{3,}", _UNTRANSLATED.sub("", row.inner_text())) == []
    store.update_job(
        job.id, **StatusMessage("command", "the video ends in the middle of a frame").job_columns()
    )
    message_of_command = row.get_by_text("the video ends in the middle of a frame")
    expect(message_of_command).to_have_attribute("lang", "en")  # not translated
    user.leave()


def test_token(browser: Browser, open_server: Callable[..., LocalServer]) -> None:
    server = open_server(token="open sesame")
    context = browser.new_context(locale="ko-KR")
    page = context.new_page()
    page.goto(server.url)
    page.get_by_label("토큰").fill("wrong token")
    page.get_by_role("button", name="들어가기").click()
    expect(page.get_by_role("alert")).to_have_text("토큰이 올바르지 않습니다.")
    assert weak_texts(page) == []
    page.get_by_label("토큰").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="내 영상")).to_be_visible()
    context.close()
