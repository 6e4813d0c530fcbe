"""Metrics for Prometheus, and the log: one JSON object a line, without file names or whole ids."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.metrics import disable_created_metrics
from prometheus_client.registry import Collector

from vsrcli.web.settings import Settings
from vsrcli.web.store import CANCELLED, DONE, FAILED, HEARTBEAT_KEY, QUEUED, RUNNING, Store

LOGGER = logging.getLogger("vsrcli.web")
_LIBRARY_LOGGERS = ("uvicorn", "huey", "sse_starlette")
_PATH_PARTS = {
    *("api", "videos", "jobs", "events", "options", "files", "cancel", "download", "frames", "static"),
    *("login", "healthz", "metrics", "before.png", "after.png"),
}
_METHODS = ("GET", "HEAD", "POST", "PATCH", "DELETE", "OPTIONS")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60)


class Metrics:
    """Metrics of one server, whose uploads and jobs are counted at every scrape."""

    def __init__(self, store: Store, settings: Settings) -> None:
        disable_created_metrics()
        self._registry = CollectorRegistry()
        self._registry.register(_StoreCollector(store, settings))
        counter = partial(Counter, registry=self._registry)
        self._requests = counter("vsr_http_requests", "HTTP requests.", ("method", "route", "status"))
        self._durations = Histogram(
            "vsr_http_request_duration_seconds",
            "Duration of HTTP requests.",
            ("route",),
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self.uploaded_bytes = counter("vsr_upload_bytes", "Bytes of uploads received.")
        self.downloads = counter("vsr_downloads", "Downloads started.")
        self.rejected_videos = counter("vsr_videos_rejected", "Videos rejected.", ("code",))
        self.event_listeners = Gauge(
            "vsr_event_listeners", "Pages that receive server-sent events.", registry=self._registry
        )

    def record_request(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count a request; status 0: the client disconnected before the response."""
        route = self.route(path)
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).inc()
        if route != "/api/events":  # lasts as long as the page is open
            self._durations.labels(route).observe(seconds)

    @staticmethod
    def route(path: str) -> str:
        """Return a path without ids, such as ``/api/videos/{}/jobs``."""
        parts = path.split("/")[1:7]
        if parts == [""]:
            return "/"
        if parts[0] not in _PATH_PARTS:
            return "other"
        if parts[0] == "static":
            return "/static/{}"
        return "/" + "/".join(part if part in _PATH_PARTS else "{}" for part in parts)

    def exposition(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


class _StoreCollector(Collector):
    """Metrics from the database: the same for every process that shares it."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings

    def collect(self) -> Iterator[Metric]:
        job_counts, counters = self._store.job_counts(), self._store.counters()
        pending = GaugeMetricFamily("vsr_jobs", "Queued and running jobs.", labels=("state",))
        for state in (QUEUED, RUNNING):
            pending.add_metric((state,), job_counts.get(state, 0))
        yield pending
        finished = CounterMetricFamily("vsr_jobs_finished", "Finished jobs.", labels=("state",))
        for state in (DONE, FAILED, CANCELLED):
            finished.add_metric((state,), counters.get(f"jobs {state}", 0))
        yield finished
        yield CounterMetricFamily("vsr_frames", "Frames upscaled.", value=counters.get("frames", 0))
        used, free = self._store.bytes_used(), shutil.disk_usage(self._settings.data).free
        yield GaugeMetricFamily("vsr_disk_used_bytes", "Bytes of uploads and results.", value=used)
        yield GaugeMetricFamily("vsr_disk_quota_bytes", "Limit of these bytes.", value=self._settings.quota)
        yield GaugeMetricFamily("vsr_disk_free_bytes", "Free bytes on the disk.", value=free)
        yield GaugeMetricFamily(
            "vsr_worker_heartbeat_timestamp_seconds",
            "Time of the worker's last heartbeat; 0: no worker.",
            value=counters.get(HEARTBEAT_KEY, 0),
        )


def log_event(name: str, *, level: int = logging.INFO, **values: Any) -> None:
    """Log one line, such as ``log_event("job done", job=anonymize_id(job.id), frames=240)``."""
    LOGGER.log(level, name, extra={"values": values})


def anonymize_id(secret: str) -> str:
    """Return a hash of an id for the log: the same for the same id, and nothing can be opened with it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:10]


def configure_logging(file: Path | None = None) -> None:
    """Send the log of this process to a file, or to stderr.

    Raises:
        OSError: the file cannot be written.
    """
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, "a", "utf-8")
    handler.setFormatter(_JsonFormatter())
    for name, level in ((LOGGER.name, logging.INFO), *((name, logging.WARNING) for name in _LIBRARY_LOGGERS)):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False


class _JsonFormatter(logging.Formatter):
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
