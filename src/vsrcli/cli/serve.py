"""``vsr serve``: serve a web page for people who do not use a terminal."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from vsrcli.cli.help import Command, option
from vsrcli.cli.options import highest_precedence, verbose_option
from vsrcli.cli.types import DeviceParam, SizeParam
from vsrcli.errors import OutputError, UsageError, VsrError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class DurationParam(click.ParamType):
    """A time such as ``30m``, ``24h``, ``7d``, or in seconds; a float of seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([smhd]?)", str(value).strip().lower())
        if not match or not float(match[1]):
            self.fail(f"{value!r} is no time: give one such as 90s, 30m, 24h or 7d", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


class PixelsParam(click.ParamType):
    """A frame size such as ``3840x2160``, or a number of pixels; an int of pixels."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        match = re.fullmatch(r"(\d{1,9})(?:x(\d{1,9}))?", str(value).strip().lower())
        if not match or not int(match[1]) * int(match[2] or 1):
            self.fail(f"{value!r} is no size: give one such as 3840x2160", param, ctx)
        return int(match[1]) * int(match[2] or 1)


@click.command(
    cls=Command,
    epilog="Example: vsr serve\n\nFor other computers, which need a token once: "
    "VSR_SERVE_TOKEN=... vsr serve --host 0.0.0.0 --allow-host videos.example.org",
)
@option("--host", "Listen on this address.", default="127.0.0.1", metavar="ADDRESS", group="Access")
@option(
    "--port",
    "Listen on this port; 0: any free one.",
    type=click.IntRange(0, 65535),
    default=8000,
    metavar="N",
    group="Access",
)
@option(
    "--token", "Ask visitors for this token; better set as VSR_SERVE_TOKEN.", metavar="TEXT", group="Access"
)
@option("--insecure", "Serve other computers without a token.", is_flag=True, group="Access")
@option(
    "--allow-host",
    "allowed_hosts",
    "Accept another name of this server; repeatable.",
    multiple=True,
    metavar="NAME",
    group="Access",
)
@option(
    "--proxy",
    "proxies",
    "Trust the X-Forwarded headers of this reverse proxy; repeatable.",
    multiple=True,
    metavar="ADDRESS",
    default=("127.0.0.1",),
    group="Access",
)
@option(
    "--data",
    "Keep videos and results in this folder.  [default: in your data folder]",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    group="Storage",
)
@option(
    "--keep",
    "Delete videos and results after this time.",
    type=DurationParam(),
    default="24h",
    group="Storage",
)
@option(
    "--quota",
    "Limit the disk space of all videos and results.",
    type=SizeParam(),
    default="20G",
    group="Storage",
)
@option("--max-upload", "Accept videos up to this file size.", type=SizeParam(), default="4G", group="Limits")
@option(
    "--max-duration", "Accept videos up to this length.", type=DurationParam(), default="30m", group="Limits"
)
@option(
    "--max-pixels",
    "Accept videos up to this frame size.",
    type=PixelsParam(),
    default="4096x2304",
    metavar="WxH",
    group="Limits",
)
@option(
    "--max-result",
    "Upscale up to this frame size.",
    type=PixelsParam(),
    default="7680x4320",
    metavar="WxH",
    group="Limits",
)
@option(
    "-g",
    "--gpu",
    "devices",
    "Run jobs on this GPU or on the CPU, one at a time; repeatable, a job on each.  [default: auto]",
    type=DeviceParam(),
    multiple=True,
    metavar="auto|cpu|N",
    group="Jobs",
)
@option(
    "--nice",
    "Lower the priority of jobs, so that the page stays responsive.",
    type=click.IntRange(0, 19),
    default=10,
    metavar="N",
    group="Jobs",
)
@option(
    "--all-models",
    "Offer the networks of others that `vsr models` lists, too; some are slow.",
    is_flag=True,
    group="Jobs",
)
@option(
    "--queue", "Queue jobs in sqlite or at redis://...", default="sqlite", metavar="ADDRESS", group="Jobs"
)
@option("--no-worker", "Serve the page only; `vsr serve --worker-only` computes.", is_flag=True, group="Jobs")
@option(
    "--worker-only",
    "Compute only, for a server with the same --data, --queue and --quota.",
    is_flag=True,
    group="Jobs",
)
@option(
    "--log",
    "Append the log (JSON lines) to this file instead of stderr.",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    group="Messages",
)
@verbose_option
def serve(worker_only: bool, no_worker: bool, insecure: bool, verbose: int, **values: Any) -> None:
    """Serve a web page where people upload videos, have them upscaled, and download them.

    Visitors see their own videos only. Only this computer can reach the page, unless --host says otherwise;
    then visitors need a token. Uploads and jobs continue after a restart.
    """
    roles = highest_precedence(
        click.get_current_context(), {"worker_only": worker_only or None, "no_worker": no_worker or None}
    )
    if len(roles) > 1:
        raise UsageError("--worker-only and --no-worker: nothing would be left; give one of them")
    worker_only = "worker_only" in roles
    settings = _build_settings(worker="no_worker" not in roles, **values)
    if settings.is_public and not worker_only and not (settings.token or insecure):
        raise UsageError(
            f"--host {settings.host}: other computers can reach that; give visitors a --token (or "
            "VSR_SERVE_TOKEN), or say --insecure"
        )
    try:
        from vsrcli.web.app import serve as run
        from vsrcli.web.metrics import configure_logging
        from vsrcli.web.worker import run_worker
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("vsrcli"):
            raise
        raise VsrError(f"vsr serve needs {error.name}; install it with: pip install 'vsrcli[web]'") from error
    try:
        configure_logging(settings.log)
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise OutputError(
            f"{error.filename} cannot be written ({error.strerror}); choose another --data or --log"
        ) from error
    (run_worker if worker_only else run)(settings)


def _build_settings(
    *,
    data: Path | None,
    token: str | None,
    devices: tuple[str, ...],
    queue: str,
    log: Path | None,
    **values: Any,
) -> Any:
    from vsrcli.web.settings import SQLITE, Settings

    if queue != SQLITE and not queue.startswith(("redis://", "rediss://", "unix://")):
        raise UsageError(f"--queue {queue}: give sqlite, or an address such as redis://127.0.0.1:6379/0")
    if token is not None and len(token) < 8:
        raise UsageError(
            "--token: too short; eight characters at least, such as those of `openssl rand -hex 16`"
        )
    if data is None:
        import platformdirs

        data = Path(platformdirs.user_data_dir("vsr")) / "web"
    return Settings(
        data=data.absolute(),
        token=token,
        devices=devices or ("auto",),
        queue=queue,
        log=None if log is None else log.absolute(),
        **values,
    )
