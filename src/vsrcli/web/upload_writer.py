"""Write the bytes of uploads to disk: in a thread, a mebibyte at a time, by one request at a time."""

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

_BLOCK_BYTES = 2**20


class UploadWriters:
    """The writers of all uploads that are being received.

    Args:
        stall_timeout: seconds without a byte after which a request is ended.
        on_written: called with the number of bytes of every block.
    """

    def __init__(self, stall_timeout: float, on_written: Callable[[int], None]) -> None:
        self.stall_timeout, self.on_written = stall_timeout, on_written
        self.threads = CapacityLimiter(16)
        self._writers: dict[str, UploadWriter] = {}

    def is_in_use(self, upload_id: str) -> bool:
        """Return whether a request writes to the upload, or waits to."""
        return upload_id in self._writers

    @contextlib.asynccontextmanager
    async def exclusive(self, upload_id: str) -> AsyncIterator[UploadWriter]:
        """Interrupt the request that writes to an upload, and own its writer until interrupted likewise."""
        writer = self._writers.setdefault(upload_id, UploadWriter(self))
        writer.request_count += 1
        try:
            writer.interrupt()
            async with writer.lock:
                writer.is_interrupted = False
                yield writer
        finally:
            writer.request_count -= 1
            if not writer.request_count:
                self._writers.pop(upload_id, None)

    async def interrupt(self, upload_id: str) -> None:
        """End a request that writes to the upload, and wait until its bytes are on the disk."""
        if upload_id in self._writers:
            async with self.exclusive(upload_id):
                pass


class UploadWriter:
    """Writer of one upload."""

    def __init__(self, writers: UploadWriters) -> None:
        self._writers = writers
        self.lock, self.request_count, self.is_interrupted = asyncio.Lock(), 0, False
        self._scope: anyio.CancelScope | None = None

    def interrupt(self) -> None:
        """End the request that writes, or is about to, if there is one; the bytes it has sent stay."""
        self.is_interrupted = self.lock.locked()
        if self._scope is not None:
            self._scope.cancel()

    async def receive(self, request: Request, path: Path, size: int, offset: int) -> int:
        """Write the body of a request.

        Args:
            request: whose body is written.
            path: of the file.
            size: bytes of the whole upload.
            offset: position of the body in the file.

        Returns:
            Position after the body; before ``size`` also if the connection broke.

        Raises:
            ApiError: the body is too long or stalls, another request takes over, or the disk is full.
        """
        too_large = ApiError(
            413, "too_large", f"The upload is longer than the {size} bytes announced.", limit=size
        )
        if offset + int(request.headers.get("content-length", 0)) > size:
            raise too_large
        block, end, chunk = bytearray(), offset, b""
        file = await run_sync(_open_at, path, offset, limiter=self._writers.threads)
        with file, anyio.CancelScope() as scope:
            self._scope = scope
            if self.is_interrupted:
                scope.cancel()
            stream = request.stream().__aiter__()
            try:
                while True:
                    with anyio.move_on_after(self._writers.stall_timeout) as stall_scope:
                        chunk = await anext(stream, None)
                    if stall_scope.cancelled_caught:
                        raise ApiError(
                            503, "stalled", "No bytes came for a while; the upload can be resumed."
                        )
                    if chunk is None:
                        break
                    if end + len(block) + len(chunk) > size:
                        raise too_large
                    block += chunk
                    if len(block) >= _BLOCK_BYTES:
                        end += await self._flush(file, block)
            except ClientDisconnect:
                pass  # no response can be sent
            finally:
                self._scope = None
                with anyio.CancelScope(shield=True):
                    end += await self._flush(file, block)
        if scope.cancelled_caught:
            text, headers = "The upload continues in another request.", {"Connection": "close"}
            raise ApiError(409, "offset", text, headers=headers, offset=end)
        return end

    async def _flush(self, file: IO[bytes], block: bytearray) -> int:
        """Write the block and return its size. It is emptied first, so that nothing is written twice."""
        data = bytes(block)
        block.clear()
        if data:
            try:
                await run_sync(_write_all, file, data, limiter=self._writers.threads)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise ApiError(413, "quota", "The server's disk is full; try again later.", left=0) from error
            self._writers.on_written(len(data))
        return len(data)


def _open_at(path: Path, offset: int) -> IO[bytes]:
    file = path.open("r+b", buffering=0)
    file.seek(offset)
    return file


def _write_all(file: IO[bytes], data: bytes) -> None:
    remaining = memoryview(data)
    while remaining:  # an unbuffered file may write less than it is given
        remaining = remaining[file.write(remaining) :]
