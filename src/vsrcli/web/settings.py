"""What ``vsr serve`` is told, in one frozen record that the web server and the worker share."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

SQLITE = "sqlite"
FILMS, JOBS = "films", "jobs"  # folders in the data folder


@dataclass(frozen=True)
class Settings:
    """The defaults are the command's.

    Attributes:
        data: folder of films, results, the database, the queue and the key that signs cookies.
        host, port: where the server listens; port 0: any free one.
        token: what visitors must know, or None.
        allowed_hosts: further names by which the server may be called.
        proxies: addresses of reverse proxies whose ``X-Forwarded-*`` headers are believed.
        queue: ``sqlite`` or a ``redis://`` address.
        devices: one job at a time runs on each: ``auto``, ``cpu`` or GPU numbers.
        keep: seconds that films and results stay after the last job is finished.
        quota: bytes that everything together may take.
        max_upload: bytes of a film.
        max_duration: seconds of a film.
        max_pixels: of a film's frame.
        max_result: pixels of a result's frame.
        films, jobs: most that one session may have; of jobs, those that wait or run.
        previews: pairs of frames made from every result.
        check_seconds: how long a look at a film may take.
        check_memory: bytes that such a look may take.
        stall: seconds without a byte after which an upload's connection is closed.
        sweep: seconds between two rounds of tidying up.
        nice: from 0 to 19, how far jobs step back behind the page where the processor is short.
        worker: whether the server starts the worker itself.
        log: file of the log; None: stderr.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    allowed_hosts: tuple[str, ...] = ()
    proxies: tuple[str, ...] = ("127.0.0.1",)
    queue: str = SQLITE
    devices: tuple[str, ...] = ("auto",)
    keep: float = 24 * 3600.0
    quota: int = 20 * 2**30
    max_upload: int = 4 * 2**30
    max_duration: float = 1800.0
    max_pixels: int = 4096 * 2304
    max_result: int = 7680 * 4320
    films: int = 50
    jobs: int = 10
    previews: int = 5
    check_seconds: float = 120.0
    check_memory: int = 6 * 2**30
    stall: float = 60.0
    sweep: float = 60.0
    nice: int = 10
    worker: bool = True
    log: Path | None = None

    @property
    def database(self) -> Path:
        """Films and jobs."""
        return self.data / "web.sqlite3"

    def film(self, film: str, suffix: str) -> Path:
        """Where an upload lies."""
        return self.data / FILMS / film / f"film{suffix}"

    def job(self, job: str) -> Path:
        """Folder of a job: its result, and the frames to compare."""
        return self.data / JOBS / job

    def result(self, job: str, suffix: str) -> Path:
        """Where a job's film will be."""
        return self.job(job) / f"result{suffix}"

    @property
    def public(self) -> bool:
        """Whether others than this computer can reach the server."""
        return not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether an address or name means this computer itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
