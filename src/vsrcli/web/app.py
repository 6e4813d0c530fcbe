"""The application: everything put together.

Run the web server, and the worker beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator

import uvicorn
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from vsrcli.errors import OutputError
from vsrcli.web.auth import SecurityMiddleware, Sessions, secret_key
from vsrcli.web.cleanup import delete_expired, delete_orphans
from vsrcli.web.errors import ApiError, error_response, not_found
from vsrcli.web.events import EventRoutes
from vsrcli.web.health import Health
from vsrcli.web.jobs import DownloadRoutes, JobRoutes, VideoRoutes
from vsrcli.web.launcher import with_parent_death_signal
from vsrcli.web.metrics import LOGGER, Metrics, event
from vsrcli.web.options import OptionsRoutes
from vsrcli.web.pages import PageRoutes
from vsrcli.web.serializers import Serializer
from vsrcli.web.settings import FILMS, JOBS, Settings
from vsrcli.web.store import CHECKING, Store
from vsrcli.web.subprocesses import environment, kill_tree, python
from vsrcli.web.uploads import UploadRoutes
from vsrcli.web.worker import Queue


def create_app(settings: Settings) -> Starlette:
    """The web server's application; the worker is another process.

    Args:
        settings: of the server. The data folder is made if it is not there.

    Raises:
        OSError: the data folder cannot be written.
    """
    for folder in (settings.data, settings.data / FILMS, settings.data / JOBS):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = Store(settings.database)
    sessions = Sessions(secret_key(settings.data), settings.token)
    metrics, shown = Metrics(store, settings), Serializer(store, settings)
    uploads, offer = UploadRoutes(store, settings, metrics), OptionsRoutes(store, settings)
    downloads, events = DownloadRoutes(store, settings, metrics), EventRoutes(store, shown, metrics)

    def in_use(kind: str, id: str) -> bool:
        return uploads.in_use(id) if kind == "film" else downloads.in_use(id)

    async def tidy() -> None:
        while True:
            try:
                await run_sync(delete_expired, store, settings, in_use)
                await run_sync(store.last_change)
            except Exception:
                LOGGER.exception("sweeping failed")
            await asyncio.sleep(settings.sweep)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await run_sync(delete_orphans, store, settings)
        for film in await run_sync(store.list_all_uploads):
            if film.state == CHECKING and not film.deleted:  # the server was killed meanwhile
                uploads.start_check(film)
        tasks = [asyncio.create_task(each) for each in (tidy(), events.watch(), offer.options())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, uploads.close(), return_exceptions=True)

    rooms = (
        uploads,
        VideoRoutes(store, shown, uploads),
        JobRoutes(store, settings, shown, Queue(settings)),
        downloads,
    )
    others = (events, offer, Health(store, settings, sessions, metrics), PageRoutes(sessions, offer))
    return Starlette(
        routes=[route for room in (*rooms, *others) for route in room.routes()],
        middleware=[Middleware(SecurityMiddleware, settings=settings, sessions=sessions, metrics=metrics)],
        exception_handlers={ApiError: _refused, HTTPException: _missing},
        lifespan=lifespan,
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return error_response(request, error)


async def _missing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        refusal = ApiError(405, "method", f"{request.method} is not possible here.", headers=error.headers)
    elif error.status_code == 404:
        refusal = not_found()
    else:
        refusal = ApiError(error.status_code, "bad_request", f"{error.detail}.", headers=error.headers)
    return error_response(request, refusal)


_GRACE = 5  # seconds that open requests may take to end
_WORKER_GRACE = 15  # seconds that the worker may take; it gives a job ten of them
_AGAIN = 2.0  # seconds before a worker that has died is started again


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        OutputError: the data folder cannot be written, or the address cannot be had.
    """
    try:
        app = create_app(settings)
    except OSError as error:
        raise OutputError(
            f"{settings.data} cannot be written ({error.strerror}); give another folder with --data"
        ) from error
    listening = _bound(settings)
    host, port = listening.getsockname()[:2]
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with listening, _worker(settings):
            event("listening", url=f"http://{_shown(host)}:{port}/", token=settings.token is not None)
            uvicorn.Server(load_settings(app, settings)).run(sockets=[listening])
        event("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def load_settings(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How the web server runs: our own log, no word about itself, patience with slow ends, no web sockets."""
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=True,
        forwarded_allow_ips=list(settings.proxies),
        ws="none",  # such requests are answered as all others, by the application
        timeout_keep_alive=30,
        timeout_graceful_shutdown=_GRACE,
    )


def _bound(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host.strip("[]"), settings.port))
        listening.listen(1024)
    except OSError as error:
        listening.close()
        raise OutputError(
            f"{settings.host}:{settings.port} cannot be had ({error.strerror}); choose another --port, or "
            "stop what listens there"
        ) from error
    return listening


@contextlib.contextmanager
def _worker(settings: Settings) -> Iterator[None]:
    """The worker, started again if it dies; as long as the block lasts."""
    if not settings.worker:
        yield
        return
    stopping = threading.Event()
    thread = threading.Thread(target=_keep_working, args=(settings, stopping), name="worker")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _keep_working(settings: Settings, stopping: threading.Event) -> None:
    """Of this thread, since the kernel ends the worker with the thread that has started it."""
    while not stopping.is_set():
        child = subprocess.Popen(
            with_parent_death_signal(worker_command(settings), nice=settings.nice),
            stdin=subprocess.DEVNULL,
            env=environment() | {"VSR_SERVE_QUEUE": settings.queue},  # it may hold a password
            process_group=0,  # Ctrl-C in the terminal is ours to pass on
        )
        while child.poll() is None and not stopping.wait(0.2):
            pass
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(_WORKER_GRACE)
            except subprocess.TimeoutExpired:
                kill_tree(child.pid)
                child.wait()
        else:
            event("worker died", level=logging.ERROR, status=child.returncode)
            stopping.wait(_AGAIN)


def worker_command(settings: Settings) -> list[str]:
    """``vsr serve --worker-only`` for the same data folder; the queue comes by the environment."""
    told: list[tuple[str, object]] = [
        ("--data", settings.data),
        ("--keep", f"{settings.keep}s"),
        ("--quota", settings.quota),
        ("--nice", settings.nice),
        *(("--gpu", device) for device in settings.devices),
        *([("--log", settings.log)] if settings.log else []),
    ]
    options = [str(part) for option in told for part in option]
    return python("vsrcli", "serve", "--worker-only", *options)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
