"""A Ray cluster of two raylets on this machine, for tests: protected by a token, ended by process id."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

START_SECONDS = 90.0
_NEITHER = "--include-dashboard=false"


@dataclass
class RayCluster:
    """Raylets that were started.

    Attributes:
        address: of the head.
        folder: of logs.
        variables: of the environment, for programs that use the cluster.
        raylets: processes of ``ray start --block``, the head's first.
    """

    address: str
    folder: Path
    variables: dict[str, str]
    raylets: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> None:
        """Start one more raylet, of one core; the first one is the head."""
        port = self.address.rpartition(":")[2]
        role = ["--head", f"--port={port}", _NEITHER] if not self.raylets else [f"--address={self.address}"]
        count = len(self.raylets)
        log = (self.folder / f"raylet-{count}.log").open("wb")
        ports = [f"--min-worker-port={20_000 + 200 * count}", f"--max-worker-port={20_199 + 200 * count}"]
        command = ["env", "--default-signal=INT", sys.executable, "-m", "ray.scripts.scripts", "start"]
        rest = ["--block", "--num-cpus=1", "--object-store-memory=80000000", *ports]
        if not self.raylets:
            rest.append(f"--temp-dir={self.folder / 'ray'}")
        environment = {**os.environ, **self.variables}
        process = subprocess.Popen(
            [*command, *role, *rest], env=environment, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self.raylets.append(process)

    def processes(self, number: int) -> list[psutil.Process]:
        """Return all processes of a raylet."""
        with suppress(psutil.Error):
            root = psutil.Process(self.raylets[number].pid)
            return [root, *root.children(recursive=True)]
        return []

    def signal(self, number: int, signum: int) -> None:
        """Send a signal to all processes of a raylet: as a machine that dies, or hangs, does to them."""
        for each in self.processes(number):
            with suppress(psutil.Error):
                each.send_signal(signum)

    def replace_last(self) -> None:
        """Start another raylet instead of the last one, which is gone or will be."""
        self._kill(len(self.raylets) - 1)
        self.start()
        self.wait()

    def wait(self) -> None:
        """Wait until the last raylet says that it runs."""
        number, deadline = len(self.raylets) - 1, time.monotonic() + START_SECONDS
        log = self.folder / f"raylet-{number}.log"
        while b"Ray runtime started" not in log.read_bytes():
            if self.raylets[number].poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"raylet {number} does not start:\n{log.read_text()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """End all raylets."""
        for number in range(len(self.raylets)):
            self._kill(number)

    def _kill(self, number: int) -> None:
        for each in self.processes(number):
            with suppress(psutil.Error):
                each.kill()
        self.raylets[number].wait()


@contextmanager
def ray_cluster(folder: Path, nodes: int = 2) -> Iterator[RayCluster]:
    """Start a cluster, and end it.

    Args:
        folder: for logs; with a short path, since sockets are in it.
        nodes: number of raylets.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    }
    cluster = RayCluster(f"127.0.0.1:{port}", folder, variables)
    try:
        for _ in range(nodes):
            cluster.start()
            cluster.wait()
        yield cluster
    finally:
        cluster.stop()
