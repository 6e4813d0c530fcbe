"""Uploads from the page, whatever happens to them on their way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_browser import Line, Person, expect
from playwright.sync_api import Browser
from visiting import Running, Site

import media_samples as media

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture(scope="module")
def site(open_site: Callable[..., Site]) -> Site:
    """A server that takes small and short films only."""
    return open_site(max_upload=8 * 2**20, max_duration=60.0)


@pytest.fixture
def line(site: Site) -> Iterator[Line]:
    found = Line(site.url)
    yield found
    found.close()


def large(folder: Path) -> Path:
    """A film of 6.6 MiB: 60 uncompressed frames. The network itself holds some of it back."""
    return media.encoded(
        folder, "large.avi", "format=yuv420p", ["-c:v", "rawvideo"], frames=60, size="320x240"
    )


def kept(data: Path) -> list[bytes]:
    """The films that lie on the server."""
    return [path.read_bytes() for path in sorted((data / "films").rglob("film*"))]


def test_the_connection_breaks_and_the_server_is_killed(
    browser: Browser, sample: Sample, tmp_path: Path
) -> None:
    film, data = sample(large), tmp_path / "data"
    server = Running(data)
    line = Line(server.url)
    person = Person(browser, line.url)
    try:
        line.cut_after(800_000)
        person.choose(film)
        card = person.card(film.name)
        expect(card).to_contain_text("Connection lost at")
        server.kill()
        expect(person.page.get_by_text("The server does not answer")).to_be_visible()
        server = Running(data)
        line.mend(server.url)
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
        expect(person.page.get_by_text("The server does not answer")).not_to_be_visible()
        assert kept(data) == [film.read_bytes()]
        assert int(person.patches()[-1].headers["upload-offset"]) > 0
        person.leave("ERR_")
    finally:
        line.close()
        server.stop()


def test_the_page_is_reloaded(browser: Browser, site: Site, line: Line, sample: Sample) -> None:
    film, other = sample(large), sample(media.cfr, frames=24)
    person = Person(browser, line.url)
    line.cut_after(800_000)
    person.choose(film)
    card = person.card(film.name)
    expect(card).to_contain_text("Connection lost at")
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("Paused at")
    line.mend()
    person.page.reload()
    expect(card).to_contain_text("Interrupted: ")
    choose = card.get_by_label("Choose the file again")
    choose.set_input_files(other)
    expect(card.get_by_role("alert")).to_contain_text(f"Please choose “{film.name}” (6.6 MB)")
    choose.set_input_files(film)
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    assert film.read_bytes() in kept(site.settings.data)
    assert int(person.patches()[-1].headers["upload-offset"]) > 0
    assert [each.method for each in person.requests].count("POST") == 1
    person.leave("ERR_")


def test_pause_go_on_cancel(browser: Browser, line: Line, sample: Sample) -> None:
    film, person = sample(large), Person(browser, line.url)
    card = person.card(film.name)
    line.hold_after(800_000)
    person.choose(film)
    expect(card.get_by_role("progressbar")).to_have_accessible_name(f"Upload of “{film.name}”")
    expect(card).to_contain_text("of 6.6 MB")
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("Paused at")
    expect(card.get_by_role("button", name="Go on")).to_be_focused()
    line.mend()
    card.get_by_role("button", name="Go on").click()
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()

    line.hold_after(800_000)
    copy = film.with_name("copy.avi")
    copy.write_bytes(film.read_bytes())
    person.choose(copy)
    card = person.card(copy.name)
    expect(card).to_contain_text("of 6.6 MB")
    card.get_by_role("button", name="Pause").click()  # or it might be there before it is cancelled
    expect(card).to_contain_text("Paused at")
    line.mend()
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    person.page.reload()
    expect(person.card(film.name)).to_be_visible()
    expect(card).to_have_count(0)
    person.leave("ERR_")


def test_several_files_some_of_them_bad(browser: Browser, site: Site, sample: Sample, tmp_path: Path) -> None:
    good = sample(media.cfr, frames=24)
    words = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    words.write_text("This is no film.")
    empty, huge = tmp_path / "empty.mp4", tmp_path / "huge.mp4"
    empty.touch()
    with huge.open("wb") as file:
        file.truncate(8 * 2**20 + 1)
    person = Person(browser, site.url)
    person.choose(words, empty, huge, good)
    expect(person.card(good.name).get_by_role("button", name="Convert", exact=True)).to_be_visible()
    for path, sentence in (
        (words, "No film that can be read was found in this file."),
        (empty, "This file is empty."),
        (huge, "This file is too large: at most 8 MB are accepted here."),
    ):
        expect(person.card(path.name).get_by_role("alert")).to_have_text(sentence)
    person.page.reload()  # what the server has refused, it still says
    expect(person.card(words.name).get_by_role("alert")).to_have_text(
        "No film that can be read was found in this file."
    )
    person.card(words.name).get_by_role("button", name="Delete").click()
    expect(person.card(words.name)).to_have_count(0)
    person.leave("status of 422")


def test_refusals_in_korean(browser: Browser, site: Site, sample: Sample) -> None:
    def endless(folder: Path) -> Path:
        return media.encoded(folder, "긴 영상.mkv", "setpts=2*N/TB", ["-c:v", "ffv1"], frames=40)

    film, person = sample(endless), Person(browser, site.url, locale="ko-KR")
    person.choose(film)
    said = "영상이 너무 깁니다. 최대 1분까지 가능합니다. 먼저 잘라서 올리세요."
    expect(person.card(film.name).get_by_role("alert")).to_have_text(said)
    person.page.reload()
    expect(person.card(film.name).get_by_role("alert")).to_have_text(said)
    person.leave("status of 422")
