"""What ``vsr doctor`` looks at, from what everything needs to what is nice to have."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from vsrcli.doctor.devices import check_backend
from vsrcli.doctor.encoders import check_encoders
from vsrcli.doctor.finding import NOTE, OK, PROBLEM, Check, Finding
from vsrcli.doctor.selftest import self_test

_OLDEST = (3, 11)
_NEEDED = ("tensorflow", "keras", "numpy", "av", "ffmpeg-python", "imageio", "click", "rich")
_LITTLE_DISK, _LITTLE_MEMORY = 5 * 2**30, 2 * 2**30


def check_python() -> Iterator[Finding]:
    """The interpreter."""
    text = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < _OLDEST:
        yield Finding("Python", PROBLEM, text, f"install Python {'.'.join(map(str, _OLDEST))} or newer")
    else:
        yield Finding("Python", OK, text)


def check_packages() -> Iterator[Finding]:
    """What must be installed."""
    found, missing = [], []
    for name in _NEEDED:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = f"{Path(sys.executable).name} -m pip install {' '.join(missing)}"
        yield Finding("packages", PROBLEM, f"not installed: {', '.join(missing)}", remedy)
    yield Finding("packages", OK, ", ".join(found))


def check_openvino() -> Iterator[Finding]:
    """The faster engine on CPUs."""
    from vsrcli.inference.selection import INSTALL_HINT, cpu_precisions, openvino_installed

    if not openvino_installed():
        text = "not installed: films start later and take longer on this CPU"
        yield Finding("OpenVINO", NOTE, text, INSTALL_HINT)
        return
    yield Finding("OpenVINO", OK, f"{version('openvino')}, computes in {' and '.join(cpu_precisions())}")


def check_weights() -> Iterator[Finding]:
    """Every weight file is what its card says."""
    from vsrcli.models.architectures import DEFAULT_MODEL
    from vsrcli.models.weights import DEFAULT_DEGRADATION, file_sha256, list_weights, weight_folders

    there = list_weights()
    damaged = [each for each in there if file_sha256(each.path) != each.card.get("sha256")]
    for each in damaged:
        yield Finding("weights", PROBLEM, f"{each.path} is damaged", "fetch the file and its .json again")
    good = [each.name for each in there if each not in damaged]
    folders = ", ".join(str(folder) for folder in weight_folders()) or "no folder"
    if not any(
        (each.card["architecture"], each.card["degradation"]) == (DEFAULT_MODEL, DEFAULT_DEGRADATION)
        for each in there
        if each not in damaged
    ):
        yield Finding(
            "weights", PROBLEM, f"none of the default model {DEFAULT_MODEL} in {folders}", "install vsr again"
        )
    if good:
        yield Finding("weights", OK, f"{', '.join(good)}; sums match")


def check_cache() -> Iterator[Finding]:
    """Where compiled graphs are kept."""
    from vsrcli.inference.graph_cache import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}): every start compiles anew"
        yield Finding("cache", NOTE, text, "make it writable, or set VSR_CACHE to another folder")
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Finding("cache", OK, f"{folder}, {_gib(size)}")


def check_config() -> Iterator[Finding]:
    """Files with defaults."""
    from vsrcli.cli import COMMANDS
    from vsrcli.cli.config_files import read_config

    found = read_config(None, COMMANDS)
    files = ", ".join(str(file) for file in found.files)
    yield Finding("settings", OK, files or "no settings files: everything is as built in")


def check_disk() -> Iterator[Finding]:
    """Room for films, and for what lies beside them while they grow."""
    for name, folder in (("disk here", Path.cwd()), ("disk, temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        text = f"{_gib(free)} free in {folder}"
        if free < _LITTLE_DISK:
            yield Finding(name, NOTE, text, "a film takes twice its size while its segments are joined")
        else:
            yield Finding(name, OK, text)


def check_memory() -> Iterator[Finding]:
    """What is free now."""
    from vsrcli.system.resources import available_host_memory

    free = available_host_memory()
    if free < _LITTLE_MEMORY:
        remedy = "close other programs; tiles will be small and slow until then"
        yield Finding("memory", NOTE, f"{_gib(free)} free", remedy)
    else:
        yield Finding("memory", OK, f"{_gib(free)} free")


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**28 else f"{count / 2**20:.1f} MiB"


CHECKS: tuple[tuple[str, Check], ...] = (
    ("Python", check_python),
    ("packages", check_packages),
    ("ffmpeg", check_encoders),
    ("Keras", check_backend),
    ("OpenVINO", check_openvino),
    ("weights", check_weights),
    ("cache", check_cache),
    ("settings", check_config),
    ("disk", check_disk),
    ("memory", check_memory),
    ("self-test", self_test),
)
