"""Find ffmpeg, query its version and capabilities, and build its command lines.

ffmpeg-python builds the command lines (``build_command``); ``process.py`` runs them.
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
from vsrcli.system.processes import run_process

MINIMUM_RELEASE = 6
"""Oldest supported major release: the first with ``-fps_mode`` and ``-enc_time_base``."""

_QUIET_FLAGS = ("-nostdin", "-hide_banner", "-nostats")
_NOT_TEXT = "\ue000bytes:"  # begins the placeholder of an argument; a private-use character
_TRIAL_TIMEOUT = 20  # seconds; a driver that hangs must not block the program


@dataclass(frozen=True)
class Ffmpeg:
    """One ffmpeg executable.

    Attributes:
        path: the executable, absolute.
        version: as it reports it (``n9.0.2-17-g2a571b6068``).
        release: (major, minor) of the release it corresponds to; minor is 0 for unreleased builds.
    """

    path: str
    version: str
    release: tuple[int, int]

    def encoders(self) -> frozenset[str]:
        """Return the names of all encoders of this build (``libx264``, ``aac``, ``mov_text``, …)."""
        return _list_names(self.path, "-encoders")

    def decoders(self) -> frozenset[str]:
        """Return the names of all decoders of this build."""
        return _list_names(self.path, "-decoders")

    def decodable_codecs(self) -> frozenset[str]:
        """Return the names of all codecs that this build can decode (``dts``, whose decoder is ``dca``)."""
        return _list_names(self.path, "-codecs", flag="D")

    def muxers(self) -> frozenset[str]:
        """Return the names of all container formats that this build can write."""
        return _list_names(self.path, "-muxers")

    def pixel_formats(self, encoder: str) -> tuple[str, ...]:
        """Return the pixel formats that an encoder accepts from memory; empty if it lists none.

        Those of a GPU's memory (``vaapi``, ``cuda``) are left out: only a filter such as hwupload makes them.
        """
        match = re.search(r"Supported pixel formats:(.*)", self.help(f"encoder={encoder}"))
        names = match.group(1).split() if match else ()
        return tuple(name for name in names if name not in self.hardware_pixel_formats())

    def hardware_pixel_formats(self) -> frozenset[str]:
        """Return the pixel formats of frames in the memory of a GPU or other device."""
        return _list_names(self.path, "-pix_fmts", flag="..H")

    def help(self, topic: str) -> str:
        """Return the output of ``ffmpeg -h TOPIC``, such as ``encoder=libx264`` or ``long``; cached."""
        return _query(self.path, "-h", topic)

    @property
    def demux_time_base(self) -> str:
        """Value of ``-enc_time_base`` that keeps the demuxer's clock."""
        return "demux" if self.release >= (6, 1) else "-1"


def find_ffmpeg(explicit: str | None = None) -> Ffmpeg:
    """Return the ffmpeg to use: ``explicit`` or ``$VSR_FFMPEG``, or else the bundled one, or the one on PATH.

    An executable that was requested by name is never silently replaced by another.

    Raises:
        FfmpegError: there is none, it does not run, or it is older than version 6.
    """
    requested = explicit or os.path.expanduser(os.environ.get("VSR_FFMPEG", ""))  # noqa: PTH111
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


def open_input(url: str, options: Mapping[str, Any]) -> Any:
    """Return ffmpeg-python's node of an input, for ``build_command``. File names may be any bytes.

    Args:
        url: address (``pipe:0``, or ``file:`` and a path).
        options: input options without their dash.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    return builder.input(_as_text(url), **options)


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
    """Return a command line, built by ffmpeg-python.

    Args:
        ffmpeg: the executable.
        stream: first output stream, such as ``ffmpeg.input("a.mkv")["v:0"]``.
        target: output URL (``pipe:1``, or ``file:`` and a path).
        options: output options without their dash.
        extra_inputs: arguments of further inputs, which are numbered from 1. (ffmpeg-python would order
            inputs by its graph and omit those that provide metadata only.)
        repeated_options: arguments of output options that may occur more than once, such as ``-map``.
        global_options: arguments.
        loglevel: of messages on stderr; each line is prefixed with its level.
    """
    import ffmpeg as builder  # the package ffmpeg-python

    prefix = [ffmpeg.path, *_QUIET_FLAGS, "-loglevel", f"level+{loglevel}", *global_options]
    texts = {key: value if value is None else _as_text(value) for key, value in options.items()}
    compiled: list[str] = builder.output(stream, _as_text(target), **texts).compile(cmd=prefix)
    command = [_from_text(argument) for argument in compiled]
    at = command.index("-map")
    return [*command[:at], *extra_inputs, *command[at : at + 2], *repeated_options, *command[at + 2 :]]


def _as_text(argument: str) -> str:
    """Return the argument, or a placeholder if it is not Unicode; ffmpeg-python hashes all as UTF-8."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return _NOT_TEXT + os.fsencode(argument).hex()
    return argument


def _from_text(argument: str) -> str:
    """Return the argument that ``_as_text`` was given."""
    if argument.startswith(_NOT_TEXT):
        return os.fsdecode(bytes.fromhex(argument.removeprefix(_NOT_TEXT)))
    return argument


def file_url(path: Path) -> str:
    """Return the path as a URL, so that colons, dashes and percent signs in it have no special meaning."""
    return f"file:{path.absolute()}"


def encoder_works(ffmpeg: Ffmpeg, encoder: str) -> bool | None:
    """Return whether an encoder can encode a few grey frames on this machine; None if that takes too long."""
    upload = ["-vf", "format=nv12,hwupload"] if encoder.endswith("_vaapi") else []
    device = ["-init_hw_device", "vaapi=v", "-filter_hw_device", "v"] if upload else []
    test_input = ["-f", "lavfi", "-i", "color=gray:s=256x256:r=25", "-frames:v", "3"]
    output = [*upload, "-c:v", encoder, "-f", "null", "-"]
    command = [ffmpeg.path, "-v", "error", "-nostdin", *device, *test_input, *output]
    try:
        null = subprocess.DEVNULL
        completed = run_process(command, stdin=null, stdout=null, stderr=null, timeout=_TRIAL_TIMEOUT)
    except subprocess.TimeoutExpired:
        return None
    except OSError:
        return False
    return completed.returncode == 0


def _find_bundled() -> str | None:
    """Return the executable that the wheel of imageio-ffmpeg brings, or None."""
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
        raise FfmpegError(f"{path} is not ffmpeg; install ffmpeg {MINIMUM_RELEASE} or newer")
    version = name.group(1)
    match = re.match(r"n?(\d+)\.(\d+)", version)
    # Builds from git have no release number; libavutil 58 belongs to ffmpeg 6, and both count in step.
    release = (int(match[1]), int(match[2])) if match else (int(libavutil[1]) - 52, 0)
    if release[0] < MINIMUM_RELEASE:
        raise FfmpegError(f"{path} is ffmpeg {version}, too old; install ffmpeg {MINIMUM_RELEASE} or newer")
    return Ffmpeg(path, version, release)


@lru_cache(maxsize=64)
def _query(path: str, *arguments: str) -> str:
    try:
        completed = run_process(
            [path, "-hide_banner", *arguments] if arguments != ("-version",) else [path, "-version"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FfmpegError(
            f"{path} does not run ({error}); install ffmpeg {MINIMUM_RELEASE} or newer"
        ) from error
    return completed.stdout.decode("utf-8", "replace")


@lru_cache(maxsize=16)
def _list_names(path: str, listing: str, flag: str = "") -> frozenset[str]:
    """Return the second column of ``ffmpeg -encoders``, ``-muxers`` and the like, below the dashed line.

    Args:
        path: the executable.
        listing: its option.
        flag: list only rows whose first column begins with it.
    """
    text = _query(path, listing)
    rows = re.split(r"^\s*-+\s*$", text, maxsplit=1, flags=re.MULTILINE)[-1].splitlines()
    columns_per_row = (row.split(maxsplit=2) for row in rows)
    return frozenset(
        name
        for columns in columns_per_row
        if len(columns) >= 2 and columns[0].startswith(flag)
        for name in columns[1].split(",")
    )
