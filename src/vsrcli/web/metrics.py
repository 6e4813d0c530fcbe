"""Figures for Prometheus."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vsrcli.web.records import CANCELLED, DONE, FAILED, QUEUED, RUNNING
from vsrcli.web.settings import Settings
from vsrcli.web.store import Store

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
