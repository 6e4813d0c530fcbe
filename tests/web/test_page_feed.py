"""The page's list of videos, with a stand-in for the server's answers and events."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from page_browser import Browser, Page
from web_client import LocalServer

pytestmark = pytest.mark.timeout(900)  # where something else takes the processors

# A feed whose server sends an event before each of its first ``overtaken`` answers.
# Returns the number of requests at the start and after each tick of its timer.
_FEED = """async ({ overtaken, ticks }) => {
    const { Feed } = await import("/static/feed.js");
    window.EventSource = class { static OPEN = 1; readyState = 1; addEventListener() {} close() {} };
    const timers = [];
    window.setInterval = (action) => timers.push(action);
    let requests = 0;
    window.fetch = async () => {
        requests += 1;
        if (requests <= overtaken) feed.set("video", { id: "new", state: "ready", jobs: [] });
        return new Response(JSON.stringify({ videos: [{ id: "old", state: "ready", jobs: [] }] }));
    };
    const feed = new Feed({ onChange() {}, onProblem() {} });
    await feed.start();
    const counts = [requests];
    for (let tick = 0; tick < ticks; tick++) {
        for (const action of timers) action();
        counts.push(requests);
    }
    return counts;
}"""


@pytest.fixture
def page(browser: Browser, open_server: Callable[..., LocalServer]) -> Iterator[Page]:
    """A page of the server without a feed of its own."""
    opened = browser.new_page()
    opened.goto(f"{open_server().url}/healthz")
    yield opened
    opened.close()


# Streams of a feed on a page that is hidden, and then visible: what is opened and closed, and requests.
_VISIBILITY = """async () => {
    const { Feed } = await import("/static/feed.js");
    const steps = [];
    window.EventSource = class {
        static OPEN = 1; readyState = 1;
        constructor() { steps.push("open"); }
        addEventListener() {}
        close() { steps.push("close"); }
    };
    window.setInterval = () => {};
    window.fetch = async () => {
        steps.push("request");
        return new Response(JSON.stringify({ videos: [] }));
    };
    const setHidden = (hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    };
    await new Feed({ onChange() {}, onProblem() {} }).start();
    for (const hidden of [true, true, false, false]) setHidden(hidden);
    return steps;
}"""


def test_stream_is_closed_while_the_page_is_hidden(page: Page) -> None:
    assert page.evaluate(_VISIBILITY) == ["request", "open", "close", "open", "request"]


@pytest.mark.parametrize(("overtaken", "counts"), [(0, [1, 1]), (1, [2, 2]), (10, [3, 4])])
def test_answers_that_events_overtake(overtaken: int, counts: list[int], page: Page) -> None:
    """A slow answer is asked for again, but not for ever; the timer goes on."""
    assert page.evaluate(_FEED, {"overtaken": overtaken, "ticks": len(counts) - 1}) == counts
