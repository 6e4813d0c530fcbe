"""Uploads from the page, with broken connections, a killed server, and invalid files."""

from __future__ import annotations

import contextlib
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from page_browser import FlakyProxy, PageUser, expect
from playwright.sync_api import APIResponse, Browser, Route
from web_client import LocalServer, ServerProcess

import media_samples as media
from terminal import eventually
from vsrcli.web.uploads import sanitize_name

Sample = Callable[..., Path]
pytestmark = pytest.mark.timeout(900)  # where something else takes the processors


@pytest.fixture(scope="module")
def server(open_server: Callable[..., LocalServer]) -> LocalServer:
    """A server that accepts small and short videos only."""
    return open_server(max_upload=8 * 2**20, max_duration=60.0)


@pytest.fixture
def proxy(server: LocalServer) -> Iterator[FlakyProxy]:
    running = FlakyProxy(server.url)
    yield running
    running.close()


def large(folder: Path) -> Path:
    """A video of 6.6 MiB: 60 uncompressed frames. Buffers of the network hold a part of it."""
    return media.encoded(
        folder, "large.avi", "format=yuv420p", ["-c:v", "rawvideo"], frames=60, size="320x240"
    )


def stored_videos(data: Path) -> list[bytes]:
    """Return the content of all uploads on the server."""
    return [path.read_bytes() for path in sorted((data / "uploads").rglob("video*"))]


def test_broken_connection_and_killed_server(browser: Browser, sample: Sample, tmp_path: Path) -> None:
    video, data = sample(large), tmp_path / "data"
    server = ServerProcess(data)
    proxy = FlakyProxy(server.url)
    user = PageUser(browser, proxy.url)
    try:
        proxy.break_after(800_000)
        user.choose(video)
        card = user.card(video.name)
        expect(card).to_contain_text("Connection lost at")
        eventually(lambda: any(stored_videos(data)), within=60)  # a busy server may still have to write it
        server.kill()
        expect(user.page.get_by_text("The server does not answer")).to_be_visible()
        server = ServerProcess(data)
        proxy.restore(server.url)
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
        expect(user.page.get_by_text("The server does not answer")).not_to_be_visible()
        assert stored_videos(data) == [video.read_bytes()]
        assert int(user.patches()[-1].headers["upload-offset"]) > 0
        user.leave("ERR_")
    finally:
        proxy.close()
        server.stop()


def test_upload_continues_after_its_attempts_are_used_up(
    browser: Browser, proxy: FlakyProxy, sample: Sample
) -> None:
    video, user = sample(large), PageUser(browser, proxy.url)
    few_attempts = "class extends tus.Upload { constructor(file, options) "
    few_attempts += "{ super(file, { ...options, retryDelays: [1] }); } }"
    user.page.evaluate(f"window.tus = {{ ...tus, Upload: {few_attempts} }}")
    proxy.break_after(800_000)
    user.choose(video)
    card = user.card(video.name)
    expect(card).to_contain_text("The connection could not be restored.")
    expect(user.page.get_by_text("The server does not answer")).to_be_visible()
    proxy.restore()
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    assert int(user.patches()[-1].headers["upload-offset"]) > 0
    assert [each.method for each in user.requests].count("POST") == 1
    user.leave("ERR_")


def test_reload_during_an_upload(
    browser: Browser, server: LocalServer, proxy: FlakyProxy, sample: Sample
) -> None:
    video, other = sample(large), sample(media.cfr, frames=24)
    user = PageUser(browser, proxy.url)
    proxy.break_after(800_000)
    user.choose(video)
    card = user.card(video.name)
    expect(card).to_contain_text("Connection lost at")
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("Paused at")
    proxy.restore()
    user.page.reload()
    expect(card).to_contain_text("Interrupted: ")
    choose = card.get_by_label("Choose the file again")
    choose.set_input_files(other)
    expect(card.get_by_role("alert")).to_contain_text(f"Please choose “{video.name}” (6.6 MB)")
    choose.set_input_files(video)
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    assert video.read_bytes() in stored_videos(server.settings.data)
    assert int(user.patches()[-1].headers["upload-offset"]) > 0
    assert [each.method for each in user.requests].count("POST") == 1
    user.leave("ERR_")


@contextlib.contextmanager
def explained(user: PageUser) -> Iterator[None]:
    """Say of a failure what the browser complained of, and which pages were open."""
    try:
        yield
    except AssertionError as error:
        error.add_note(f"console: {user.console_errors}; pages: {user.context.pages}")
        raise


def test_upload_in_another_window(browser: Browser, server: LocalServer, sample: Sample) -> None:
    video, user = sample(large), PageUser(browser, server.url)
    held: list[Route] = []
    user.context.route("**/files/*", lambda route: held.append(route))  # its bytes wait
    user.choose(video)
    while not held:
        user.page.evaluate("0")
    own, second, first = user.card(video.name), user.context.new_page(), user.page
    second.goto(user.url)
    user.page = second
    card = user.card(video.name)
    with explained(user):
        expect(card).to_contain_text("This video is being uploaded in another window")
        expect(card.get_by_role("button")).to_have_count(0)
        expect(card.get_by_label("Choose the file again")).to_be_hidden()
        user.choose(video)  # there is one upload, not two that take the connection from each other
        expect(second.locator("#announcer")).to_have_text(
            "This video is being uploaded in another window of this browser."
        )
        expect(card).to_contain_text("This video is being uploaded in another window")
        assert all(route.request.frame.page == first for route in held)

        own.get_by_role("button", name="Pause").click()
        expect(card).to_contain_text("Interrupted: ")
        expect(card.get_by_role("button", name="Cancel")).to_be_visible()
        card.get_by_label("Choose the file again").set_input_files(video)
        expect(own).to_contain_text("This video is being uploaded in another window")
        expect(own.get_by_role("button")).to_have_count(0)
        card.get_by_role("button", name="Pause").click()
        own.get_by_role("button", name="Resume").click()
        expect(card).to_contain_text("This video is being uploaded in another window")

        first.close()
        expect(card).to_contain_text("Paused at 0")
        expect(card.get_by_role("button", name="Cancel")).to_be_visible()
        user.context.unroute("**/files/*")
        card.get_by_role("button", name="Resume").click()
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    user.leave("ERR_")


def test_window_that_crashes_while_it_uploads(browser: Browser, server: LocalServer) -> None:
    """It can tell nothing; the others notice that it answers no more. The clock is the test's."""
    user = PageUser(browser, server.url)
    user.page.clock.install(time=0)
    user.page.clock.pause_at(3600)  # seconds; from here on it stands still
    script = """async () => {
        const { OtherWindows } = await import("/static/other-windows.js");
        window.changes = 0;
        window.others = new OtherWindows({ listOwn: () => [], onChange: () => window.changes++ });
        const channel = new BroadcastChannel("vsr-uploads");
        await new Promise((resolve) => {
            new BroadcastChannel("vsr-uploads").onmessage = resolve;
            channel.postMessage({ window: "other", ids: ["a"] });
        });
    }"""
    user.page.evaluate(script)
    assert user.page.evaluate("[others.isUploading('a'), changes]") == [True, 1]
    user.page.clock.run_for(6000)
    assert user.page.evaluate("[others.isUploading('a'), changes]") == [
        True,
        3,
    ]  # shown again at each question
    user.page.clock.run_for(3000)
    assert user.page.evaluate("[others.isUploading('a'), changes]") == [False, 4]
    user.page.clock.run_for(9000)
    assert user.page.evaluate("changes") == 4
    user.leave()


def test_file_whose_name_the_server_changes(browser: Browser, server: LocalServer, sample: Sample) -> None:
    """As macOS names recordings of the screen: decomposed, with a narrow space. Its name and size tell."""
    video, user = sample(large), PageUser(browser, server.url)
    name = "화면 기록 2026-01-02 오후 3.04\N{NARROW NO-BREAK SPACE}PM.avi"
    recording = video.with_name(unicodedata.normalize("NFD", name))
    recording.write_bytes(video.read_bytes())
    card = user.card(name.replace("\N{NARROW NO-BREAK SPACE}", ""))
    held: list[Route] = []
    user.context.route("**/files/*", lambda route: held.append(route))  # its bytes wait
    user.choose(recording)
    while not held:
        user.page.evaluate("0")
    user.page.evaluate("localStorage.clear()")
    user.page.reload()
    expect(card).to_contain_text("Interrupted: ")
    user.context.unroute("**/files/*")
    card.get_by_label("Choose the file again").set_input_files(recording)
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    user.leave("ERR_")


def test_names_are_those_of_the_server(browser: Browser, server: LocalServer) -> None:
    names = [
        *(
            "a.mp4",
            "../../etc/passwd.mp4",
            "C:\\videos\\a.mp4",
            "new\nline\x00.mp4",
            "",
            "...",
            " .a. b .mp4.",
        ),
        *(
            "한" * 300 + ".mp4",
            "🎬" * 60 + ".mp4",
            "a" * 300,
            "a." + "b" * 30,
            "a.b.mp4",
            "\u202fa\xa0\u200b.ts",
        ),
        unicodedata.normalize("NFD", "Ünïcode 한글.mov"),
    ]
    user = PageUser(browser, server.url)
    script = """async (names) => {
        const { nameOnServer } = await import("/static/upload.js");
        return names.map(nameOnServer);
    }"""
    assert user.page.evaluate(script, names) == [sanitize_name(name) for name in names]
    user.leave()


def test_pause_resume_cancel(browser: Browser, proxy: FlakyProxy, sample: Sample) -> None:
    video, user = sample(large), PageUser(browser, proxy.url)
    card = user.card(video.name)
    proxy.stall_after(800_000)
    user.choose(video)
    expect(card.get_by_role("progressbar")).to_have_accessible_name(f"Upload of “{video.name}”")
    expect(card).to_contain_text("of 6.6 MB")
    card.get_by_role("button", name="Pause").click()
    expect(card).to_contain_text("Paused at")
    expect(card.get_by_role("button", name="Resume")).to_be_focused()
    proxy.restore()
    card.get_by_role("button", name="Resume").click()
    expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()

    proxy.stall_after(800_000)
    copy = video.with_name("copy.avi")
    copy.write_bytes(video.read_bytes())
    user.choose(copy)
    card = user.card(copy.name)
    expect(card).to_contain_text("of 6.6 MB")
    card.get_by_role("button", name="Pause").click()  # otherwise it could finish before it is cancelled
    expect(card).to_contain_text("Paused at")
    proxy.restore()
    card.get_by_role("button", name="Cancel").click()
    expect(card).to_have_count(0)
    user.page.reload()
    expect(user.card(video.name)).to_be_visible()
    expect(card).to_have_count(0)
    user.leave("ERR_")


def test_events_ahead_of_the_answer_show_one_card(
    browser: Browser, server: LocalServer, sample: Sample
) -> None:
    video, other, user = sample(large), sample(media.cfr, frames=24), PageUser(browser, server.url)
    held: list[tuple[Route, APIResponse]] = []
    # The server creates the upload; its answer waits.
    user.context.route("**/files", lambda route: held.append((route, route.fetch())), times=1)
    user.choose(video)
    while not held:
        user.page.evaluate("0")
    user.upload(other)  # its events come after those of the first upload
    expect(user.card(video.name)).to_have_count(1)
    expect(user.card(video.name)).to_contain_text("Starting the upload")
    route, response = held[0]
    route.fulfill(response=response)
    expect(user.card(video.name).get_by_role("button", name="Convert", exact=True)).to_be_visible()
    user.leave()


@pytest.mark.parametrize("button", ["Pause", "Cancel"])
def test_button_while_the_upload_is_created(
    button: str, browser: Browser, server: LocalServer, sample: Sample
) -> None:
    """The server may create the upload all the same: it is paused or deleted as soon as its id is known."""
    video, user = sample(large), PageUser(browser, server.url)
    held: list[tuple[Route, APIResponse]] = []
    user.context.route("**/files", lambda route: held.append((route, route.fetch())), times=1)
    user.choose(video)
    card = user.card(video.name)
    while not held:
        user.page.evaluate("0")
    card.get_by_role("button", name=button).click()
    if button == "Pause":
        expect(card).to_contain_text("Paused at 0")
    route, response = held[0]
    if button == "Cancel":
        expect(card).to_have_count(0)
        with user.page.expect_response(lambda each: each.request.method == "DELETE"):
            route.fulfill(response=response)
    else:
        route.fulfill(response=response)
        user.page.wait_for_function("Object.keys(localStorage).some((key) => key.startsWith('tus::vsr-'))")
        assert user.patches() == []
        card.get_by_role("button", name="Resume").click()
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
    assert [each.method for each in user.requests].count("POST") == 1
    videos = user.page.request.get(f"{server.url}/api/videos").json()["videos"]
    assert len(videos) == (button == "Pause")
    user.leave()


def test_several_files_some_of_them_invalid(
    browser: Browser, server: LocalServer, sample: Sample, tmp_path: Path
) -> None:
    good = sample(media.cfr, frames=24)
    markup = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    markup.write_text("This is no video.")
    empty, huge = tmp_path / "empty.mp4", tmp_path / "huge.mp4"
    empty.touch()
    with huge.open("wb") as file:
        file.truncate(8 * 2**20 + 1)
    user = PageUser(browser, server.url)
    user.choose(markup, empty, huge, good)
    expect(user.card(good.name).get_by_role("button", name="Convert", exact=True)).to_be_visible()
    for path, message in (
        (markup, "This file is not a readable video."),
        (empty, "This file is empty."),
        (huge, "This file is too large: at most 8 MB are accepted here."),
    ):
        expect(user.card(path.name).get_by_role("alert")).to_have_text(message)
    user.page.reload()  # the server has stored the reason
    expect(user.card(markup.name).get_by_role("alert")).to_have_text("This file is not a readable video.")
    user.card(markup.name).get_by_role("button", name="Delete").click()
    expect(user.card(markup.name)).to_have_count(0)
    user.leave("status of 422")


def test_rejections_in_korean(browser: Browser, server: LocalServer, sample: Sample) -> None:
    def endless(folder: Path) -> Path:
        return media.encoded(folder, "긴 영상.mkv", "setpts=2*N/TB", ["-c:v", "ffv1"], frames=40)

    video, user = sample(endless), PageUser(browser, server.url, locale="ko-KR")
    user.choose(video)
    message = "영상이 너무 깁니다. 최대 1분까지 가능합니다. 먼저 잘라서 올리세요."
    expect(user.card(video.name).get_by_role("alert")).to_have_text(message)
    user.page.reload()
    expect(user.card(video.name).get_by_role("alert")).to_have_text(message)
    user.leave("status of 422")
