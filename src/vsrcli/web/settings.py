"""Settings of ``vsr serve``, shared by the web server and the worker."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

SQLITE = "sqlite"
UPLOADS, JOBS = "uploads", "jobs"  # folders in the data folder


@dataclass(frozen=True)
class Settings:
    """Settings of one server. The defaults are those of the command.

    Attributes:
        data: folder of uploads, results, the database, the queue and the key that signs cookies.
        host, port: address to listen on; port 0: any free one.
        token: secret that users must know, or None.
        allowed_hosts: further host names that are accepted.
        proxies: addresses of reverse proxies whose ``X-Forwarded-*`` headers are trusted.
        queue: ``sqlite`` or a ``redis://`` address.
        devices: ``auto``, ``cpu`` or GPU numbers; each runs one job at a time.
        keep: seconds after the last finished job of an upload at which it is deleted with its results.
        quota: bytes of all uploads and results together.
        max_upload, max_duration, max_pixels: of an upload: bytes, seconds, pixels of a frame.
        max_result: pixels of a result's frame.
        max_videos, max_jobs: videos of one session, and its queued or running jobs.
        preview_count: pairs of frames extracted from every result.
        check_timeout, check_memory: seconds and bytes of address space that checking an upload may take.
        stall_timeout: seconds without a byte after which the connection of an upload is closed.
        cleanup_interval: seconds between two rounds of deleting what has expired.
        nice: niceness of jobs, 0 to 19, so that pages answer while they compute.
        all_models: offer networks of others, too, that ``vsr models`` lists.
        worker: start the worker with the server.
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
    max_videos: int = 50
    max_jobs: int = 10
    preview_count: int = 5
    check_timeout: float = 120.0
    check_memory: int = 6 * 2**30
    stall_timeout: float = 60.0
    cleanup_interval: float = 60.0
    nice: int = 10
    all_models: bool = False
    worker: bool = True
    log: Path | None = None

    @property
    def database(self) -> Path:
        """Path of the database."""
        return self.data / "web.sqlite3"

    def upload_path(self, upload_id: str, suffix: str) -> Path:
        """Return the path of an upload's file, which has a folder of its own."""
        return self.data / UPLOADS / upload_id / f"video{suffix}"

    def job_dir(self, job_id: str) -> Path:
        """Return the folder of a job: its result and its previews."""
        return self.data / JOBS / job_id

    def result_path(self, job_id: str, suffix: str) -> Path:
        """Return the path of a job's result."""
        return self.job_dir(job_id) / f"result{suffix}"

    @property
    def is_public(self) -> bool:
        """Whether other computers can reach the server."""
        return not is_loopback(self.host)


def parse_address(host: str) -> IPv4Address | IPv6Address | None:
    """Return an IP address, None for anything else; IPv4 behind an IPv6 socket (``::ffff:...``) is IPv4."""
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None
    return (address.version == 6 and address.ipv4_mapped) or address


def is_loopback(host: str) -> bool:
    """Return whether an address or a host name means this computer."""
    address = parse_address(host)
    return host == "localhost" or (address is not None and address.is_loopback)
