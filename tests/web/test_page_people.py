"""The page for everybody: without a mouse, on a telephone, in the dark, in Korean, with a token."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from page_browser import Person, expect
from page_contrast import weak_texts
from playwright.sync_api import Browser, Locator, Page
from visiting import Running, Site

import media_samples as media
from vsrcli.web.errors import DISK_FULL, INTERNAL_ERROR, INTERRUPTED, from_command_output, without_message
from vsrcli.web.store import FAILED, QUEUED, Store, now

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors

# Words that are the same in Korean.
_NAMES = re.compile(
    r"English|vsr|\S+\.mp4|[kMG]B|Q?HD|MP4|H\.26\d|AV1|MKV|FFV1|MOV|ProRes|bicubic|Lanczos|duf-\S+", re.I
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = Running(tmp_path_factory.mktemp("page") / "data")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def finished(browser: Browser, server: Running, sample: Sample) -> Any:
    """The cookies of somebody who has a converted film there."""
    person = Person(browser, server.url)
    row = person.convert(person.upload(sample(media.cfr, frames=24)), "2×")
    expect(row.locator(".badge")).to_have_text("Done")
    state = person.context.storage_state()
    person.leave()
    return state


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until this has the focus, as somebody without a mouse does."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            outline = wanted.evaluate(
                "e => [e, e.parentElement, e.nextElementSibling].filter(Boolean)"
                ".map(each => parseFloat(getComputedStyle(each).outlineWidth) || 0)"
            )
            assert max(outline) >= 2  # and it is seen where the focus is
            return
    raise AssertionError(f"{wanted} cannot be reached with the Tab key")


def test_who_is_asked_again_at_once_is_heard(browser: Browser, server: Running, sample: Sample) -> None:
    person = Person(browser, server.url)
    card = person.upload(sample(media.cfr, frames=3))
    delete = card.get_by_role("button", name=re.compile("^Delete"))
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    delete.evaluate("button => { button.click(); document.getElementById('ask').close(); button.click(); }")
    person.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(card).to_have_count(0)


def test_everything_by_keyboard(browser: Browser, server: Running, sample: Sample, tmp_path: Path) -> None:
    film, person = sample(media.cfr, frames=24), Person(browser, server.url)
    page = person.page
    tab_to(page, page.locator("#files"))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space", delay=100)
    chooser.value.set_files(film)
    card = person.card(film.name)
    convert = card.get_by_role("button", name="Convert", exact=True)
    expect(convert).to_be_visible()
    tab_to(page, card.get_by_role("radio", name=re.compile("^4×")))
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(card.get_by_role("radio", name=re.compile("^2×"))).to_be_checked()
    tab_to(page, card.locator("summary", has_text="Quality and file format"))
    page.keyboard.press("Enter")
    tab_to(page, card.get_by_label("How it is enlarged"))
    page.keyboard.type("No network: soft")
    expect(card.get_by_label("How it is enlarged")).to_have_value("bicubic")
    tab_to(page, convert)
    page.keyboard.press("Enter")
    row = card.locator(".job")
    expect(row.locator(".badge")).to_have_text("Done")
    expect(page.locator("#said")).to_contain_text(f"“{film.name}” is converted and can be downloaded.")
    page.locator("#films").focus()
    slider = row.get_by_role("slider", name="Divide between before and after")
    tab_to(page, slider)
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    tab_to(page, row.get_by_role("link", name="Download"))
    with page.expect_download() as coming:
        page.keyboard.press("Enter")
    coming.value.save_as(tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").stat().st_size > 0
    page.locator("#films").focus()
    tab_to(page, card.get_by_role("button", name=f"Delete “{film.name}”"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(card).to_have_count(1)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("dialog").get_by_role("button", name="Delete"))
    page.keyboard.press("Enter")
    expect(card).to_have_count(0)
    person.leave()


def test_every_text_can_be_read(browser: Browser, server: Running, finished: Any, tmp_path: Path) -> None:
    bad = tmp_path / "bad.mp4"
    bad.write_text("No film.")
    person = Person(browser, server.url, storage_state=finished, reduced_motion="reduce")
    page = person.page
    person.choose(bad)
    expect(person.card(bad.name).get_by_role("alert")).to_be_visible()
    page.get_by_text("Convert with other choices").click()
    page.get_by_text("Quality and file format").click()
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert weak_texts(page) == []
        page.get_by_role("button", name="Delete “cfr").click()
        assert weak_texts(page) == []
        page.keyboard.press("Escape")
    moving = "() => document.getAnimations().filter(each => each.playState === 'running').length"
    assert page.evaluate(moving) == 0
    person.card(bad.name).get_by_role("button", name="Delete").click()
    expect(person.card(bad.name)).to_have_count(0)
    empty = Person(browser, server.url, color_scheme="dark")
    expect(empty.page.get_by_text("Nothing here yet")).to_be_visible()
    assert weak_texts(empty.page) == []
    empty.leave()
    person.leave("status of 422")


def test_on_a_telephone(browser: Browser, server: Running, finished: Any) -> None:
    telephone = {"viewport": {"width": 360, "height": 740}, "has_touch": True, "is_mobile": True}
    person = Person(browser, server.url, storage_state=finished, **telephone)
    expect(person.page.get_by_role("figure")).to_be_visible()
    person.page.get_by_text("Convert with other choices").click()
    wide = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert person.page.evaluate(wide) == 0
    buttons = person.page.locator("button, .button, summary").all()
    boxes = [box for box in (button.bounding_box() for button in buttons) if box is not None]
    assert len(boxes) >= 4
    assert min(box["height"] for box in boxes) >= 44  # a fingertip
    person.leave()


def test_without_events_the_page_asks(browser: Browser, server: Running, sample: Sample) -> None:
    person = Person(browser, server.url)
    person.context.route("**/api/events", lambda route: route.abort())
    person.page.reload()
    row = person.convert(person.upload(sample(media.cfr, frames=24)), "2×")
    expect(row.locator(".badge")).to_have_text("Done")
    person.leave("ERR_FAILED")


def test_korean_and_the_choice_is_remembered(
    browser: Browser, open_site: Callable[..., Site], sample: Sample
) -> None:
    site = open_site()  # no worker: the conversion waits until it is cancelled
    film, person = sample(media.cfr, frames=24), Person(browser, site.url, locale="ko-KR")
    page = person.page
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    expect(page.get_by_role("heading", name="내 영상")).to_be_visible()
    person.choose(film)
    card = person.card(film.name)
    card.get_by_role("button", name="변환 시작").click()
    expect(card.locator(".job").get_by_role("heading")).to_have_text("256 × 192 변환")
    card.locator(".job").get_by_role("button", name="취소").click()
    expect(card.locator(".badge")).to_have_text("취소됨")
    seen = _NAMES.sub("", page.locator("body").inner_text())
    assert re.findall(r"[A-Za-z]{3,}", seen) == []
    page.get_by_role("link", name="English").click()
    expect(page.get_by_role("heading", name="Your films")).to_be_visible()
    expect(card.locator(".badge")).to_have_text("Cancelled")
    page.reload()
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(card.locator(".badge")).to_have_text("Cancelled")
    person.leave()


def test_the_page_outlasts_a_failure_of_the_server(
    browser: Browser, open_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise RuntimeError("it fails for a while")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "films", fail)
        person = Person(browser, open_site().url)
        expect(person.page.get_by_text("The server does not answer.")).to_be_visible()
    expect(person.page.get_by_text("Nothing here yet")).to_be_visible()
    expect(person.page.get_by_text("The server does not answer.")).to_be_hidden()
    person.leave("500", "ERR_INCOMPLETE_CHUNKED_ENCODING")


def test_films_are_asked_for_again_where_only_events_come(
    browser: Browser, open_site: Callable[..., Site]
) -> None:
    person = Person(browser, open_site().url)
    body = {"error": "It fails for a while.", "code": "error", "values": {}}
    person.page.route("**/api/films", lambda route: route.fulfill(status=500, json=body), times=2)
    person.page.reload()
    expect(person.page.get_by_text("Nothing here yet")).to_be_visible()
    expect(person.page.get_by_text("The server does not answer.")).to_be_hidden()
    person.leave("500")


def test_what_the_server_says_is_korean_too(
    browser: Browser, open_site: Callable[..., Site], sample: Sample
) -> None:
    site = open_site()  # no worker: what becomes of the job is said here
    film, person = sample(media.cfr, frames=24), Person(browser, site.url, locale="ko-KR")
    person.choose(film)
    card = person.card(film.name)
    card.get_by_role("button", name="변환 시작").click()
    row = card.locator(".job")
    expect(row).to_contain_text("바로 다음 차례입니다")
    store = Store(site.settings.database)
    (job,) = store.list_all_jobs()
    store.update_job(job.id, **INTERRUPTED.columns())
    expect(row).to_contain_text("바로 다음 차례입니다 · 서버가 중지된 지점부터 이어집니다")
    store.transition_job(job.id, QUEUED, FAILED, **without_message(-9).columns(), finished=now())
    told = "변환하지 못했습니다: 변환이 알 수 없는 이유로 중단되었습니다(상태 -9). 다시 시도하세요."
    expect(row.locator(".problem").first).to_have_text(told)
    for said in (DISK_FULL, INTERNAL_ERROR):
        store.update_job(job.id, **said.columns())
        expect(row).not_to_contain_text("상태 -9")
        assert re.findall(r"[A-Za-z]{3,}", _NAMES.sub("", row.inner_text())) == []
    store.update_job(job.id, **from_command_output("the film ends in the middle of a frame").columns())
    words = row.get_by_text("the film ends in the middle of a frame")
    expect(words).to_have_attribute("lang", "en")  # the command's own
    person.leave()


def test_the_token(browser: Browser, open_site: Callable[..., Site]) -> None:
    site = open_site(token="open sesame")
    context = browser.new_context(locale="ko-KR")
    page = context.new_page()
    page.goto(site.url)
    page.get_by_label("토큰").fill("wrong token")
    page.get_by_role("button", name="들어가기").click()
    expect(page.get_by_role("alert")).to_have_text("토큰이 올바르지 않습니다.")
    assert weak_texts(page) == []
    page.get_by_label("토큰").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="내 영상")).to_be_visible()
    context.close()
