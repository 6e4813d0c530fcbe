"""A user of the page in a headless Chromium, and a proxy that breaks connections on purpose."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright.sync_api", reason="pip install playwright")

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

from chromium import TIMEOUT_MS


class PageUser:
    """A user with a browser context of their own, whose requests and console messages are recorded.

    Args:
        browser: a running one.
        url: of the page.
        options: of the browser's context, such as ``locale``.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        options = {"locale": "en-GB", "viewport": {"width": 1100, "height": 900}} | options
        self.url, self.context = url, browser.new_context(**options)
        self.context.set_default_timeout(TIMEOUT_MS)
        self.requests: list[Request] = []
        self.console_errors: list[str] = []
        self.context.on("request", lambda request: self.requests.append(request))
        self.context.on("console", self._record_message)
        self.context.on("weberror", lambda error: self.console_errors.append(str(error.error)))
        self.page: Page = self.context.new_page()
        self.page.on("dialog", lambda dialog: dialog.accept())  # of "leave the page?"
        self.page.goto(url)
        expect(self.page.locator("#limits")).not_to_be_empty()

    def _record_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console_errors.append(message.text)

    def choose(self, *files: Path) -> None:
        """Choose files to upload."""
        self.page.locator("#files").set_input_files(list(files))

    def card(self, name: str) -> Locator:
        """Return the card of a video."""
        return self.page.locator(".video").filter(has=self.page.get_by_role("heading", name=name, exact=True))

    def upload(self, video: Path) -> Locator:
        """Upload a valid video; return its card when it is ready."""
        self.choose(video)
        card = self.card(video.name)
        expect(card.get_by_role("button", name="Convert", exact=True)).to_be_visible()
        return card

    def convert(self, card: Locator, size: str, model: str = "bicubic") -> Locator:
        """Request a conversion by interpolation; return its row."""
        if not card.get_by_role("group", name="New size").is_visible():
            card.get_by_text("Convert with other options").click()
        card.get_by_role("radio", name=re.compile(f"^{size} ?[0-9]")).check()
        if not card.get_by_label("Upscaling method").is_visible():
            card.get_by_text("Quality and file format").click()
        card.get_by_label("Upscaling method").select_option(model)
        card.get_by_label("File format").select_option("web")
        rows = card.locator(".job")
        count = rows.count()
        card.get_by_role("button", name="Convert", exact=True).click()
        expect(rows).to_have_count(count + 1)
        return rows.first

    def patches(self) -> list[Request]:
        """Return the requests that carried bytes of uploads."""
        return [request for request in self.requests if request.method == "PATCH"]

    def leave(self, *expected: str) -> None:
        """Close the browser; fail on requests to other hosts and on console errors not ``expected``."""
        self.context.close()
        own = urlsplit(self.url).netloc
        foreign = {each.url for each in self.requests} - {
            each.url
            for each in self.requests
            if urlsplit(each.url).netloc == own or each.url.startswith(("blob:", "data:"))
        }
        assert not foreign
        assert [each for each in self.console_errors if not any(word in each for word in expected)] == []


class FlakyProxy:
    """A proxy of a server on this computer, which breaks or stalls after so many bytes of the client.

    Args:
        url: of the server; ``self.url`` is the same through the proxy.
    """

    def __init__(self, url: str) -> None:
        self._target = urlsplit(url).port or 80
        self._left: int | None = None
        self._breaks, self._open = False, threading.Event()
        self._open.set()
        self._lock, self._sockets, self._closed = threading.Lock(), set[socket.socket](), False
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(
            socket.SOL_SOCKET, socket.SO_RCVBUF, 65536
        )  # keeps buffers of the system small
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._start(self._accept)

    def break_after(self, count: int) -> None:
        """Break all connections after ``count`` more bytes, and accept none until :meth:`restore`."""
        self._breaks, self._left = True, count

    def stall_after(self, count: int) -> None:
        """Stop forwarding bytes of the client after ``count`` more."""
        self._breaks, self._left = False, count

    def restore(self, url: str | None = None) -> None:
        """Forward everything again; to another server if ``url`` is given."""
        if url is not None:
            self._target = urlsplit(url).port or 80
        with self._lock:
            self._left = None
            self._open.set()

    def close(self) -> None:
        """Close all connections."""
        self.restore()
        with self._lock:
            self._closed = True
        self._break()
        with self._listener:
            socket.create_connection(self._listener.getsockname()).close()  # wakes the thread that accepts
            while self._threads:
                self._threads.pop().join()

    def _start(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread

    def _accept(self) -> None:
        while not self._closed:
            self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        """Forward one connection until it has ended. Its sockets are closed here only."""
        with (
            client,
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self._target)) as server,
        ):
            with self._lock:
                if self._closed or (self._breaks and not self._open.is_set()):
                    return
                self._sockets |= {client, server}
            responses = self._start(self._forward, server, client, len)
            self._forward(client, server, self._allowance)
            responses.join()
            with self._lock:
                self._sockets -= {client, server}

    def _forward(
        self, source: socket.socket, target: socket.socket, allowance: Callable[[bytes], int]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(16384):
                while data:
                    allowed = allowance(data)
                    target.sendall(data[:allowed])
                    data = data[allowed:]
                    if data and self._breaks:
                        self._break()
                        return
                    if data:
                        self._open.wait()
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _allowance(self, data: bytes) -> int:
        """Return how many bytes of the client may pass now."""
        with self._lock:
            if self._left is None:
                return len(data)
            allowed = min(len(data), self._left)
            self._left -= allowed
            if not self._left:
                self._open.clear()
            return allowed

    def _break(self) -> None:
        with self._lock:
            for each in self._sockets:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
