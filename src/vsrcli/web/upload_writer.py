"""Bytes of an upload on their way to the disk: at their own place, in a thread, a mebibyte at a time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO

import anyio
from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.requests import ClientDisconnect, Request

from vsrcli.web.errors import ApiError

_BATCH = 2**20  # bytes written at once


class UploadWriter:
    """One upload's right to be written: one request has it at a time.

    Args:
        stall: seconds without a byte after which the request is ended.
        received: told how many bytes have been written.
        threads: how many may write at once, for all uploads.
    """

    def __init__(self, stall: float, received: Callable[[int], None], threads: CapacityLimiter) -> None:
        self.lock, self.waiting = asyncio.Lock(), 0
        self._stall, self._received, self._threads = stall, received, threads
        self._scope: anyio.CancelScope | None = None
        self.wanted = False

    def interrupt(self) -> None:
        """End the request that writes, or is about to, if there is one; what it has brought is kept."""
        self.wanted = self.lock.locked()
        if self._scope is not None:
            self._scope.cancel()

    async def receive(self, request: Request, path: Path, size: int, offset: int) -> int:
        """Write a request's body.

        Args:
            request: whose body it is.
            path: of the file.
            size: of the whole upload, in bytes.
            offset: where the body belongs.

        Returns:
            Where it ends; before ``size`` also if the connection has broken.

        Raises:
            Refusal: it is too long, it stalls, another request goes on with the upload, or the disk is full.
        """
        length = request.headers.get("content-length")
        if length is not None and offset + int(length) > size:
            raise _too_much(size)
        batch, end, chunk = bytearray(), offset, b""
        file = await run_sync(_opened, path, offset, limiter=self._threads)
        with file, anyio.CancelScope() as scope:
            self._scope = scope
            if self.wanted:
                scope.cancel()
            stream = request.stream().__aiter__()
            try:
                while True:
                    with anyio.move_on_after(self._stall) as patience:
                        chunk = await anext(stream, None)
                    if patience.cancelled_caught:
                        raise ApiError(
                            503, "stalled", "No more bytes came for a while; the upload can go on."
                        )
                    if chunk is None:
                        break
                    if end + len(batch) + len(chunk) > size:
                        raise _too_much(size)
                    batch += chunk
                    if len(batch) >= _BATCH:
                        end += await self._put(file, batch)
            except ClientDisconnect:
                pass  # nobody hears the answer
            finally:
                self._scope = None
                with anyio.CancelScope(shield=True):
                    end += await self._put(file, batch)
        if scope.cancelled_caught:
            raise ApiError(
                409,
                "offset",
                "The upload goes on in another request.",
                headers={"Connection": "close"},
                offset=end,
            )
        return end

    async def _put(self, file: IO[bytes], batch: bytearray) -> int:
        """Write what has gathered, and how much that was. It is taken out first, so never written twice."""
        data = bytes(batch)
        batch.clear()
        if data:
            try:
                await run_sync(_write_all, file, data, limiter=self._threads)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise ApiError(413, "quota", "The server's disk is full; try again later.", left=0) from error
            self._received(len(data))
        return len(data)


class UploadWriters:
    """Who writes to which upload.

    Args:
        stall, received: see :class:`UploadWriter`.
    """

    def __init__(self, stall: float, received: Callable[[int], None]) -> None:
        self._stall, self._received = stall, received
        self._holds: dict[str, UploadWriter] = {}
        self._threads = CapacityLimiter(16)

    def in_use(self, film: str) -> bool:
        """Whether a request writes to it, or waits to."""
        return film in self._holds

    @contextlib.asynccontextmanager
    async def exclusive(self, film: str) -> AsyncIterator[UploadWriter]:
        """Take an upload over, and have it alone while the block lasts, or until another takes it over."""
        hold = self._holds.setdefault(film, UploadWriter(self._stall, self._received, self._threads))
        hold.waiting += 1
        try:
            hold.interrupt()
            async with hold.lock:
                hold.wanted = False
                yield hold
        finally:
            hold.waiting -= 1
            if not hold.waiting:
                self._holds.pop(film, None)

    async def interrupt(self, film: str) -> None:
        """End a request that still writes, and wait until what it has brought is on the disk."""
        if film in self._holds:
            async with self.exclusive(film):
                pass


def _opened(path: Path, offset: int) -> IO[bytes]:
    file = path.open("r+b", buffering=0)
    file.seek(offset)
    return file


def _write_all(file: IO[bytes], data: bytes) -> None:
    rest = memoryview(data)
    while rest:  # an unbuffered file may take less than it is given
        rest = rest[file.write(rest) :]


def _too_much(size: int) -> ApiError:
    return ApiError(413, "too_large", f"More bytes came than the {size} that were announced.", limit=size)
