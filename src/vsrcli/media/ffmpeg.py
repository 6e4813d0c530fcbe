"""Find an ffmpeg that can be trusted, and ask it what it can do.

ffmpeg-python builds the command lines (``command``); ``process.py`` runs them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from vsrcli.errors import FfmpegError

MINIMUM_RELEASE = 6
"""Oldest major release whose options (``-fps_mode``, ``-enc_time_base``) this room relies on."""

_QUIET_FLAGS = ("-nostdin", "-hide_banner", "-nostats")


@dataclass(frozen=True)
class Ffmpeg:
    """One ffmpeg executable.

    Attributes:
        path: the executable, absolute.
        version: as it calls itself (``n9.0.2-17-g2a571b6068``).
        release: (major, minor) of the release it corresponds to; minor is 0 for unreleased builds.
    """

    path: str
    version: str
    release: tuple[int, int]

    def encoders(self) -> frozenset[str]:
        """Names of all encoders of this build (``libx264``, ``aac``, ``mov_text``, …)."""
        return _list_names(self.path, "-encoders")

    def decoders(self) -> frozenset[str]:
        """Names of all decoders of this build."""
        return _list_names(self.path, "-decoders")

    def muxers(self) -> frozenset[str]:
        """Names of all container formats that this build can write."""
        return _list_names(self.path, "-muxers")

    def pixel_formats(self, encoder: str) -> tuple[str, ...]:
        """Pixel formats that an encoder takes; empty if it does not say."""
        match = re.search(r"Supported pixel formats:(.*)", self.help(f"encoder={encoder}"))
        return tuple(match.group(1).split()) if match else ()

    def help(self, topic: str) -> str:
        """What ``ffmpeg -h TOPIC`` prints, such as ``encoder=libx264`` or ``long``; cached."""
        return _query(self.path, "-h", topic)

    @property
    def demux_time_base(self) -> str:
        """Value of ``-enc_time_base`` that keeps the demuxer's clock."""
        return "demux" if self.release >= (6, 1) else "-1"


def find_ffmpeg(explicit: str | None = None) -> Ffmpeg:
    """The ffmpeg to use: ``explicit`` or ``$VSR_FFMPEG``, then the bundled one, then the one on PATH.

    An executable that was asked for by name is never silently replaced by another.

    Raises:
        FfmpegError: there is none, it does not run, or it is older than version 6.
    """
    requested = explicit or os.environ.get("VSR_FFMPEG")
    if requested:
        executable = shutil.which(requested)
        if executable is None:
            raise FfmpegError(
                f"no executable ffmpeg at {requested!r}; correct VSR_FFMPEG or --ffmpeg, or leave it out"
            )
        return _check_version(str(Path(executable).absolute()))
    problems: list[str] = []
    for executable in (_find_bundled(), shutil.which("ffmpeg")):
        if executable is not None:
            try:
                return _check_version(executable)
            except FfmpegError as error:
                problems.append(str(error))
    raise FfmpegError(
        "no usable ffmpeg was found; run `pip install imageio-ffmpeg`, or point VSR_FFMPEG to one",
        details="\n".join(problems),
    )


def build_command(
    ffmpeg: Ffmpeg,
    stream: Any,
    target: str,
    options: Mapping[str, str | None],
    *,
    extra_inputs: Sequence[str] = (),
    repeated_options: Sequence[str] = (),
    global_options: Sequence[str] = (),
    loglevel: str = "warning",
) -> list[str]:
    """A command line, built by ffmpeg-python.

    Args:
        ffmpeg: the executable.
        stream: first output stream, such as ``ffmpeg.input("a.mkv")["v:0"]``.
        target: output URL (``pipe:1``, or ``file:`` and a path).
        options: output options without their dash.
        inputs: further inputs as they stand on the command line. They are numbered from 1; ffmpeg-python
            would order them as its graph comes out, and leave out those that give no stream but metadata.
        maps: further output options that may occur more than once, such as ``-map``.
        globals_: global options, as they stand on the command line.
        loglevel: what ffmpeg may say on stderr; lines carry their level.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    prefix = [ffmpeg.path, *_QUIET_FLAGS, "-loglevel", f"level+{loglevel}", *global_options]
    command: list[str] = builder.output(stream, target, **options).compile(cmd=prefix)
    map_index = command.index("-map")
    return [*command[:map_index], *extra_inputs, *command[map_index : map_index + 2], *repeated_options, *command[map_index + 2 :]]


def file_url(path: Path) -> str:
    """The path as a URL that neither a colon, a dash nor a percent sign can turn into something else."""
    return f"file:{path.absolute()}"


def _find_bundled() -> str | None:
    """The executable that the wheel of imageio-ffmpeg carries."""
    try:
        import imageio_ffmpeg

        path = imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError, OSError):
        return None
    return path if Path(path).is_absolute() else shutil.which(path)


@lru_cache(maxsize=8)
def _check_version(path: str) -> Ffmpeg:
    output = _query(path, "-version")
    name = re.search(r"ffmpeg version (\S+)", output)
    libavutil = re.search(r"libavutil\s+(\d+)\.", output)
    if name is None or libavutil is None:
        raise FfmpegError(f"{path} does not answer like ffmpeg; install ffmpeg {MINIMUM_RELEASE} or newer")
    version = name.group(1)
    match = re.match(r"n?(\d+)\.(\d+)", version)
    # Builds from git carry no release number; libavutil 58 belongs to ffmpeg 6, and both count in step.
    release = (int(match[1]), int(match[2])) if match else (int(libavutil[1]) - 52, 0)
    if release[0] < MINIMUM_RELEASE:
        raise FfmpegError(f"{path} is ffmpeg {version}, too old; install ffmpeg {MINIMUM_RELEASE} or newer")
    return Ffmpeg(path, version, release)


@lru_cache(maxsize=64)
def _query(path: str, *arguments: str) -> str:
    try:
        completed = subprocess.run(
            [path, "-hide_banner", *arguments] if arguments != ("-version",) else [path, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FfmpegError(
            f"{path} does not run ({error}); install ffmpeg {MINIMUM_RELEASE} or newer"
        ) from error
    return completed.stdout.decode("utf-8", "replace")


@lru_cache(maxsize=16)
def _list_names(path: str, listing: str) -> frozenset[str]:
    """Second column of ``ffmpeg -encoders``, ``-muxers`` and the like, below the dashed line."""
    text = _query(path, listing)
    rows = re.split(r"^\s*-+\s*$", text, maxsplit=1, flags=re.MULTILINE)[-1].splitlines()
    columns_per_row = (row.split(maxsplit=2) for row in rows)
    return frozenset(name for columns in columns_per_row if len(columns) >= 2 for name in columns[1].split(","))


_TRIAL_TIMEOUT = 20  # seconds; a driver that hangs must not hang the program


def encoder_works(ffmpeg: Ffmpeg, encoder: str) -> bool:
    """Whether an encoder encodes a few grey frames on this machine."""
    upload = ["-vf", "format=nv12,hwupload"] if encoder.endswith("_vaapi") else []
    device = ["-init_hw_device", "vaapi=v", "-filter_hw_device", "v"] if upload else []
    test_input = ["-f", "lavfi", "-i", "color=gray:s=256x256:r=25", "-frames:v", "3"]
    command = [
        ffmpeg.path,
        "-v",
        "error",
        "-nostdin",
        *device,
        *test_input,
        *upload,
        "-c:v",
        encoder,
        "-f",
        "null",
        "-",
    ]
    try:
        completed = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return completed.returncode == 0
