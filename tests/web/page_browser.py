"""A person at the page: a real Chromium without a window, and a line to the server that can break."""

from __future__ import annotations

import os
import re
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="pip install playwright")

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect, sync_playwright

PATIENCE = 240_000.0  # milliseconds for anything, on a machine that is busy with something else
_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped where there is none."""
    program = os.environ.get("VSR_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        pytest.skip("there is no Chromium (Debian: apt-get install chromium, or VSR_CHROMIUM=PROGRAM)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


class Person:
    """Somebody with a browser of their own, who notes what it complains of.

    Args:
        browser: that is used.
        url: of the page.
        options: of the browser's context, such as ``locale``.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        options = {"locale": "en-GB", "viewport": {"width": 1100, "height": 900}} | options
        self.url, self.context = url, browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.requests: list[Request] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request))
        self.context.on("console", self._hear)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        self.page: Page = self.context.new_page()
        self.page.on("dialog", lambda dialog: dialog.accept())  # leave the page, whatever it asks
        self.page.goto(url)
        expect(self.page.locator("#limits")).not_to_be_empty()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def choose(self, *files: Path) -> None:
        """Choose files to upload."""
        self.page.locator("#files").set_input_files(list(files))

    def card(self, name: str) -> Locator:
        """What the page shows of a film."""
        return self.page.locator(".film").filter(has=self.page.get_by_role("heading", name=name, exact=True))

    def upload(self, film: Path) -> Locator:
        """Choose a good film; its card, when it is there."""
        self.choose(film)
        card = self.card(film.name)
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
        return card

    def convert(self, card: Locator, size: str, model: str = "bicubic") -> Locator:
        """Ask for a conversion by interpolation; its row."""
        if not card.get_by_role("group", name="New size").is_visible():
            card.get_by_text("Convert with other choices").click()
        card.get_by_role("radio", name=re.compile(f"^{size} ?[0-9]")).check()
        if not card.get_by_label("How it is enlarged").is_visible():
            card.get_by_text("Quality and file format").click()
        card.get_by_label("How it is enlarged").select_option(model)
        card.get_by_label("File format").select_option("web")
        rows = card.locator(".job")
        there = rows.count()
        card.get_by_role("button", name="Convert", exact=True).click()
        expect(rows).to_have_count(there + 1)
        return rows.first

    def patches(self) -> list[Request]:
        """The requests that brought bytes."""
        return [request for request in self.requests if request.method == "PATCH"]

    def leave(self, *expected: str) -> None:
        """Close the browser: all came from the server, and nothing was wrong but what was ``expected``."""
        self.context.close()
        own = urlsplit(self.url).netloc
        foreign = {each.url for each in self.requests} - {
            each.url
            for each in self.requests
            if urlsplit(each.url).netloc == own or each.url.startswith(("blob:", "data:"))
        }
        assert not foreign
        assert [each for each in self.complaints if not any(word in each for word in expected)] == []


class Line:
    """A line to a server on this computer, which can be cut or held after so many bytes of the visitor's.

    Args:
        url: of the server; ``self.url`` is the same through the line.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).port or 80
        self._left: int | None = None
        self._cuts, self._open = False, threading.Event()
        self._open.set()
        self._lock, self._sockets, self._closed = threading.Lock(), set[socket.socket](), False
        self._threads: list[threading.Thread] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)  # little is under way unseen
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._start(self._accept)

    def cut_after(self, count: int) -> None:
        """Everything breaks after ``count`` more bytes, and nobody is let in until it is mended."""
        self._cuts, self._left = True, count

    def hold_after(self, count: int) -> None:
        """The visitor's bytes wait after ``count`` more."""
        self._cuts, self._left = False, count

    def mend(self, url: str | None = None) -> None:
        """Let everything through again; to another server if ``url`` is given."""
        if url is not None:
            self._target = urlsplit(url).port or 80
        with self._lock:
            self._left = None
            self._open.set()

    def close(self) -> None:
        """End, with all connections."""
        self.mend()
        with self._lock:
            self._closed = True
        self._break()
        with self._listening:
            socket.create_connection(self._listening.getsockname()).close()  # wakes who waits there
            while self._threads:
                self._threads.pop().join()

    def _start(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self) -> None:
        while not self._closed:
            self._start(self._carry, self._listening.accept()[0])

    def _carry(self, visitor: socket.socket) -> None:
        """One connection, until it has ended; nobody else closes its sockets."""
        with (
            visitor,
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            with self._lock:
                if self._closed or (self._cuts and not self._open.is_set()):
                    return
                self._sockets |= {visitor, server}
            back = self._start(self._forward, server, visitor, len)
            self._forward(visitor, server, self._take)
            back.join()
            with self._lock:
                self._sockets -= {visitor, server}

    def _forward(self, source: socket.socket, target: socket.socket, take: Callable[[bytes], int]) -> None:
        with suppress(OSError):
            while data := source.recv(16384):
                while data:
                    taken = take(data)
                    target.sendall(data[:taken])
                    data = data[taken:]
                    if data and self._cuts:
                        self._break()
                        return
                    if data:
                        self._open.wait()
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _take(self, data: bytes) -> int:
        """How many of the visitor's bytes may pass now."""
        with self._lock:
            if self._left is None:
                return len(data)
            taken = min(len(data), self._left)
            self._left -= taken
            if not self._left:
                self._open.clear()
            return taken

    def _break(self) -> None:
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
