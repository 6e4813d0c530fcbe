"""Figures for Prometheus.

The log: one JSON object a line, without names of films or whole ids: it is read by more people.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vsrcli.web.settings import Settings
from vsrcli.web.store import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Store

_WORDS = {"api", "films", "jobs", "events", "options", "files", "cancel", "download", "frames", "static"}
_NAMES = {"login", "healthz", "metrics", "before.png", "after.png"}
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """One server's figures.

    Args:
        store: whose films and jobs are counted when somebody asks.
        settings: of the server.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "vsr_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "vsr_http_seconds", "Time to answer.", ("route",), buckets=_BUCKETS, registry=registry
        )
        self.received = Counter("vsr_upload_bytes", "Bytes of films received.", registry=registry)
        self.sent = Counter("vsr_downloads", "Downloads begun.", registry=registry)
        self.refused = Counter("vsr_films_refused", "Films refused.", ("code",), registry=registry)
        self.listeners = Gauge("vsr_event_listeners", "Pages that listen to events.", registry=registry)
        registry.register(_Kept(store, settings))

    def request(self, method: str, path: str, status: int, seconds: float) -> None:
        """A request has been answered; 0: nobody waited for the answer."""
        route = self.route(path)
        method = method if method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS") else "other"
        self._requests.labels(method, route, str(status)).inc()
        if route != "/api/events":  # lasts as long as the page is open
            self._seconds.labels(route).observe(seconds)

    @staticmethod
    def route(path: str) -> str:
        """A path without ids: ``/api/films/{}/jobs``."""
        parts = path.split("/")[1:7]
        if parts == [""] or parts[0] not in _WORDS | _NAMES:
            return "/" if parts == [""] else "other"
        if parts[0] == "static":
            return "/static/{}"
        return "/" + "/".join(part if part in _WORDS | _NAMES else "{}" for part in parts)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return re.sub(rb"(?m)^#.*_created .*\n|^\w+_created.*\n", b"", generate_latest(self._registry))


class _Kept(Collector):
    """What the store knows: the same for every process that shares it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings

    def collect(self) -> Iterator[Metric]:
        counts, noted = self._store.counts(), self._store.counters()
        now = GaugeMetricFamily("vsr_jobs", "Jobs that wait or run.", labels=("state",))
        for state in (QUEUED, RUNNING):
            now.add_metric((state,), counts.get(state, 0))
        yield now
        over = CounterMetricFamily("vsr_jobs_finished", "Jobs that are over.", labels=("state",))
        for state in (DONE, FAILED, CANCELLED):
            over.add_metric((state,), noted.get(f"jobs {state}", 0))
        yield over
        yield CounterMetricFamily("vsr_frames", "Frames made.", value=noted.get("frames", 0))
        yield GaugeMetricFamily("vsr_disk_used_bytes", "Films and results.", value=self._store.bytes_used())
        yield GaugeMetricFamily("vsr_disk_quota_bytes", "What they may take.", value=self._settings.quota)
        free = shutil.disk_usage(self._settings.data).free
        yield GaugeMetricFamily("vsr_disk_free_bytes", "Free on the disk.", value=free)
        yield GaugeMetricFamily(
            "vsr_worker_seen_seconds", "When a worker was last seen.", value=noted.get("worker", 0)
        )


LOGGER = logging.getLogger("vsrcli.web")
_OTHERS = ("uvicorn", "huey", "sse_starlette")


def event(name: str, *, level: int = logging.INFO, **values: Any) -> None:
    """One line, such as ``event("job done", job=mark(job.id), frames=240)``."""
    LOGGER.log(level, name, extra={"values": values})


def anonymize_id(secret: str) -> str:
    """An id that may stand in a log: the same for the same id, and nothing can be opened with it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:10]


def configure_logging(file: Path | None = None) -> None:
    """Send this process's log to a file, or to stderr.

    Raises:
        OSError: the file cannot be written.
    """
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, "a", "utf-8")
    handler.setFormatter(_Lines())
    for name, level in ((LOGGER.name, logging.INFO), *((name, logging.WARNING) for name in _OTHERS)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "process": record.process,
            "event": record.getMessage(),
        }
        if record.name != LOGGER.name:
            content["logger"] = record.name
        content.update(getattr(record, "values", {}))
        if record.exc_info:
            content["traceback"] = self.formatException(record.exc_info)
        return json.dumps(content, ensure_ascii=False, default=str)
