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
@option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    group="Access",
    help="Listen on this address.",
)
@option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    group="Access",
    help="Listen on this port; 0: any free one.",
)
@option(
    "--token",
    metavar="TEXT",
    group="Access",
    help="Ask visitors for this token; better set as VSR_SERVE_TOKEN.",
)
@option("--insecure", is_flag=True, group="Access", help="Serve other computers without a token.")
@option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    group="Access",
    help="Accept another name of this server; repeatable.",
)
@option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    default=("127.0.0.1",),
    show_default=True,
    group="Access",
    help="Trust the X-Forwarded headers of this reverse proxy; repeatable.",
)
@option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    group="Storage",
    help="Keep videos and results in this folder.  [default: in your data folder]",
)
@option(
    "--keep",
    type=DurationParam(),
    default="24h",
    show_default=True,
    group="Storage",
    help="Delete videos and results after this time.",
)
@option(
    "--quota",
    type=SizeParam(),
    default="20G",
    show_default=True,
    group="Storage",
    help="Limit the disk space of all videos and results.",
)
@option(
    "--max-upload",
    type=SizeParam(),
    default="4G",
    show_default=True,
    group="Limits",
    help="Accept videos up to this file size.",
)
@option(
    "--max-duration",
    type=DurationParam(),
    default="30m",
    show_default=True,
    group="Limits",
    help="Accept videos up to this length.",
)
@option(
    "--max-pixels",
    type=PixelsParam(),
    default="4096x2304",
    show_default=True,
    metavar="WxH",
    group="Limits",
    help="Accept videos up to this frame size.",
)
@option(
    "--max-result",
    type=PixelsParam(),
    default="7680x4320",
    show_default=True,
    metavar="WxH",
    group="Limits",
    help="Upscale up to this frame size.",
)
@option(
    "-g",
    "--gpu",
    "devices",
    type=DeviceParam(),
    multiple=True,
    metavar="auto|cpu|N",
    group="Jobs",
    help="Run jobs on this GPU or on the CPU, one at a time; repeatable, a job on each.  [default: auto]",
)
@option(
    "--nice",
    type=click.IntRange(0, 19),
    default=10,
    show_default=True,
    metavar="N",
    group="Jobs",
    help="Lower the priority of jobs, so that the page stays responsive.",
)
@option(
    "--queue",
    default="sqlite",
    show_default=True,
    metavar="ADDRESS",
    group="Jobs",
    help="Queue jobs in sqlite or at redis://...",
)
@option(
    "--no-worker", is_flag=True, group="Jobs", help="Serve the page only; `vsr serve --worker-only` computes."
)
@option(
    "--worker-only",
    is_flag=True,
    group="Jobs",
    help="Compute only, for a server with the same --data and --queue.",
)
@option(
    "--log",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    group="Messages",
    help="Append the log (JSON lines) to this file instead of stderr.",
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
