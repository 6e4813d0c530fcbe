"""The web application: assemble its routes, run the web server, and supervise the worker process."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from vsrcli.errors import OutputError
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.system.processes import python_command
from vsrcli.system.signals import POLL_INTERVAL, catch_signals, current_token
from vsrcli.web.auth import SecurityMiddleware, Sessions, secret_key
from vsrcli.web.cleanup import delete_expired, delete_orphans
from vsrcli.web.errors import ApiError, data_folder_errors, error_response, not_found
from vsrcli.web.events import EventRoutes
from vsrcli.web.health import HealthRoutes
from vsrcli.web.jobs import DownloadRoutes, JobRoutes, VideoRoutes
from vsrcli.web.metrics import LOGGER, Metrics, log_event
from vsrcli.web.options import OptionsRoutes
from vsrcli.web.pages import PageRoutes
from vsrcli.web.serializers import Serializer
from vsrcli.web.settings import JOBS, UPLOADS, Settings
from vsrcli.web.store import Store
from vsrcli.web.subprocesses import kill_process_tree, start_child
from vsrcli.web.uploads import UploadRoutes
from vsrcli.web.worker import JobQueue

_SERVER_SHUTDOWN_TIMEOUT = 3  # seconds for open requests to end, meanwhile the worker ends
_WORKER_SHUTDOWN_TIMEOUT = 7.5  # seconds for the worker to end; it gives its jobs five of them
_RESTART_DELAY = 2.0  # seconds before a worker that died is started again


def serve(settings: Settings) -> None:
    """Run the web server, and the worker if the settings say so, until SIGTERM, SIGINT or SIGHUP.

    Raises:
        OutputError: the data folder or its database cannot be used or belongs to another version, or the
            address is not available.
        FfmpegError: there is no usable ffmpeg.
    """
    find_ffmpeg()
    with data_folder_errors(settings.data):
        app = create_app(settings)
    listener = _listen(settings)
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    with catch_signals(resume_hint=str), listener, _running_worker(settings):
        log_event("listening", url=url, token=settings.token is not None)
        _Server(uvicorn_config(app, settings)).run(sockets=[listener])
    log_event("stopped")


class _Server(uvicorn.Server):
    """A server that ends when this program has to."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    async def on_tick(self, counter: int) -> bool:
        return current_token().is_cancelled or await super().on_tick(counter)


def _check_folder(settings: Settings) -> None:
    """Refuse folders that the server did not make: it deletes what it has no record of.

    Raises:
        OutputError: one is not empty, and there is no database.
    """
    if settings.database.exists():
        return
    for name in (UPLOADS, JOBS):
        folder = settings.data / name
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{folder} is there already, without {settings.database.name} beside it: not from vsr serve; "
                "give another folder with --data, or move it away"
            )


def create_app(settings: Settings) -> Starlette:
    """Return the application of the web server, which creates the data folder; the worker is another process.

    Raises:
        OSError, sqlite3.Error: the data folder or its database cannot be written.
        OutputError: the data folder belongs to another version, or to something else.
    """
    _check_folder(settings)
    for folder in (settings.data, settings.data / UPLOADS, settings.data / JOBS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database)
    sessions = Sessions(secret_key(settings.data), settings.token)
    metrics, serializer = Metrics(store, settings), Serializer(store, settings)
    uploads, options = UploadRoutes(store, settings, metrics), OptionsRoutes(store, settings)
    downloads, events = DownloadRoutes(store, settings, metrics), EventRoutes(store, serializer, metrics)

    def is_in_use(id: str) -> bool:
        return uploads.is_in_use(id) or downloads.is_in_use(id)

    async def clean_up() -> None:
        while True:
            try:
                await run_sync(delete_expired, store, settings, is_in_use)
                await run_sync(store.prune_changes)
            except Exception:
                LOGGER.exception("cleanup failed")
            await asyncio.sleep(settings.cleanup_interval)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await run_sync(delete_orphans, store, settings)
        await uploads.resume_checks()
        tasks = [asyncio.create_task(each) for each in (clean_up(), events.watch(), options.prepare())]
        try:
            yield
        finally:
            uploads.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    groups = (
        uploads,
        VideoRoutes(store, serializer, uploads),
        JobRoutes(store, settings, serializer, JobQueue(settings), downloads),
        downloads,
        events,
        options,
        HealthRoutes(store, settings, sessions, metrics),
        PageRoutes(sessions, options),
    )
    return Starlette(
        routes=[route for group in groups for route in group.routes],
        middleware=[Middleware(SecurityMiddleware, settings=settings, sessions=sessions, metrics=metrics)],
        exception_handlers={ApiError: _handle_error, HTTPException: _handle_error},
        lifespan=lifespan,
    )


def uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """Return the configuration of the web server: our own log, no ``Server`` header, no web sockets."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=[*settings.proxies, *_mapped_addresses(settings.proxies)],
        ws="none",  # such requests are answered as all others, by the application
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_SERVER_SHUTDOWN_TIMEOUT,
    )


def _mapped_addresses(addresses: Iterable[str]) -> Iterator[str]:
    """Yield the IPv4 addresses and networks as a socket for IPv6 sees them: ``::ffff:127.0.0.1/128``."""
    for address in addresses:
        with contextlib.suppress(ValueError):
            network = ipaddress.IPv4Network(address)
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _worker_command(settings: Settings) -> list[str]:
    """Return ``vsr serve --worker-only`` for the same data folder; its environment has the queue."""
    options: list[tuple[str, object]] = [
        ("--data", settings.data),
        ("--keep", f"{settings.keep}s"),
        ("--quota", settings.quota),
        ("--nice", settings.nice),
        *(("--gpu", device) for device in settings.devices),
        *([("--log", settings.log)] if settings.log else []),
    ]
    arguments = [str(part) for option in options for part in option]
    return python_command("vsrcli", "serve", "--worker-only", *arguments)


def _handle_error(request: Request, error: Any) -> Response:
    """Return the response to an ApiError, or to an HTTPException of Starlette."""
    if not isinstance(error, ApiError):
        status, headers = error.status_code, error.headers
        if status == 404:
            error = not_found()
        elif status == 405:
            error = ApiError(405, "method", f"{request.method} is not possible here.", headers=headers)
        else:
            error = ApiError(status, "bad_request", f"{error.detail}.", headers=headers)
    return error_response(request, error)


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host.strip("[]"), settings.port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise OutputError(
            f"{settings.host}:{settings.port} is not available ({error.strerror}); choose another --port, or "
            "stop what listens there"
        ) from error
    return listener


@contextlib.contextmanager
def _running_worker(settings: Settings) -> Iterator[None]:
    """Run the worker during the block, and start it again if it dies."""
    if not settings.worker:
        yield
        return
    ended = threading.Event()
    thread = threading.Thread(target=_supervise_worker, args=(settings, ended), name="worker")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _supervise_worker(settings: Settings, ended: threading.Event) -> None:
    """Run the worker until the server has ended, or has to.

    The kernel kills the worker with the thread that started it: this one.
    """
    cancel = current_token()
    while not (ended.is_set() or cancel.is_cancelled):
        child = start_child(  # Ctrl-C in the terminal reaches the server only, which ends the worker
            _worker_command(settings), nice=settings.nice, environment={"VSR_SERVE_QUEUE": settings.queue}
        )
        while child.poll() is None and not (ended.wait(POLL_INTERVAL) or cancel.is_cancelled):
            pass
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(_WORKER_SHUTDOWN_TIMEOUT)
            except subprocess.TimeoutExpired:
                kill_process_tree(child.pid)
                child.wait()
        else:
            log_event("worker died", level=logging.ERROR, status=child.returncode)
            cancel.wait(_RESTART_DELAY)
