"""The checks of ``vsr doctor``, from what everything needs to what is optional.

Each check yields findings: what there is, its state, and a remedy. Keras' backend starts in a child process,
since a broken driver may crash it. Hardware encoders are tried, since ffmpeg lists them even
where the chip is missing.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

import numpy as np

from vsrcli.errors import VsrError
from vsrcli.inference.types import Engine
from vsrcli.media.ffmpeg import encoder_works, find_ffmpeg
from vsrcli.system.processes import run_process
from vsrcli.system.text import format_bytes

OK, NOTE, PROBLEM = "ok", "note", "problem"
SELF_TEST_SIDE, SELF_TEST_FRAMES = 32, 10
SOFTWARE_ENCODERS = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")
HARDWARE_ENCODERS = tuple(
    f"{codec}_{maker}"
    for maker in ("nvenc", "qsv", "amf", "vaapi", "videotoolbox")
    for codec in ("h264", "hevc", "av1")
)
_MIN_PYTHON = (3, 11)
_REQUIRED_PACKAGES = ("tensorflow", "keras", "numpy", "av", "ffmpeg-python", "imageio", "click", "rich")
_LOW_DISK_BYTES, _LOW_MEMORY_BYTES = 5 * 2**30, 2 * 2**30
_MIN_PSNR = 24.0  # dB between the network's result and bicubic interpolation, on a smooth scene
_START_TIMEOUT_SECONDS = 180
_BACKEND_SCRIPT = """
import json
from vsrcli.inference.keras import list_gpus
names = list_gpus()
import keras
print(json.dumps({"backend": keras.backend.backend(), "gpus": names}))
"""


@dataclass(frozen=True)
class Finding:
    """Result of a check.

    Attributes:
        name: subject of the check, in one or two words.
        state: ``ok``; ``note``: works, could be better; ``problem``: something will fail.
        text: the result, in one line.
        remedy: what the user can do; empty if nothing is needed.
    """

    name: str
    state: str
    text: str
    remedy: str = ""


Check = Callable[[], Iterator[Finding]]


def run_checks(checks: Sequence[tuple[str, Check]]) -> Iterator[Finding]:
    """Yield the findings of all checks in order. A check that raises is reported as a problem.

    Args:
        checks: (name, check) of each.
    """
    for name, check in checks:
        try:
            yield from check()
        except VsrError as error:
            yield Finding(name, PROBLEM, str(error))
        except Exception as error:
            yield Finding(name, PROBLEM, f"unexpected {type(error).__name__}: {error}")


def check_python() -> Iterator[Finding]:
    """Check the version of Python."""
    remedy = f"install Python {'.'.join(map(str, _MIN_PYTHON))} or newer"
    text = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    yield _finding("Python", PROBLEM if sys.version_info < _MIN_PYTHON else OK, text, remedy)


def check_packages() -> Iterator[Finding]:
    """Check that the required packages are installed."""
    installed, missing = [], []
    for name in _REQUIRED_PACKAGES:
        try:
            installed.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        remedy = f"{Path(sys.executable).name} -m pip install {' '.join(missing)}"
        yield Finding("packages", PROBLEM, f"not installed: {', '.join(missing)}", remedy)
    yield Finding("packages", OK, ", ".join(installed))


def check_encoders() -> Iterator[Finding]:
    """Check ffmpeg and its encoders; hardware encoders are tried."""
    ffmpeg = find_ffmpeg()
    yield Finding("ffmpeg", OK, f"{ffmpeg.version}, {ffmpeg.path}")
    listed = ffmpeg.encoders()
    missing = [name for name in SOFTWARE_ENCODERS if name not in listed]
    text = ", ".join(name for name in SOFTWARE_ENCODERS if name in listed)
    if missing:
        text = f"{text or 'none'}; missing: {', '.join(missing)}"
    remedy = "use the bundled ffmpeg (unset VSR_FFMPEG), or a build that has them"
    yield _finding("encoders", NOTE if missing else OK, text, remedy)
    usable = [name for name in HARDWARE_ENCODERS if name in listed and encoder_works(ffmpeg, name)]
    yield Finding("hardware encoders", OK, ", ".join(usable) or "none that works here")


def check_backend() -> Iterator[Finding]:
    """Check that Keras starts, and yield its backend and GPUs."""
    try:
        process = run_process(
            [sys.executable, "-P", "-c", _BACKEND_SCRIPT],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_START_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        text = f"does not start within {_START_TIMEOUT_SECONDS} s"
        yield Finding("Keras", PROBLEM, text, "see whether a driver hangs")
        return
    if process.returncode:
        *_, message = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        remedy = "pip install --force-reinstall tensorflow"
        if process.returncode == -4:  # SIGILL
            message, remedy = (
                "built for another processor than this one",
                "install a build for this processor",
            )
        yield Finding("Keras", PROBLEM, f"does not start: {message}", remedy)
        return
    report = json.loads(process.stdout.splitlines()[-1])
    yield Finding("Keras", OK, f"starts on {report['backend']}")
    yield check_gpu(report["backend"], report["gpus"])


def check_gpu(backend: str, gpus: list[str]) -> Finding:
    """Return the GPUs that a backend can use; if there are none, why.

    Args:
        backend: Keras' name of it.
        gpus: their names, as the backend lists them.
    """
    if gpus:
        return Finding("GPU", OK, ", ".join(gpus))
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        remedy = "unset it, unless that is what you want"
        return Finding("GPU", NOTE, "CUDA_VISIBLE_DEVICES hides every GPU", remedy)
    program = shutil.which("nvidia-smi")
    device_nodes = sorted(Path("/dev").glob("nvidia[0-9]*")) if sys.platform.startswith("linux") else []
    if program is None and not device_nodes:
        return Finding("GPU", OK, "none found: videos are computed on the CPU")
    inaccessible = [str(node) for node in device_nodes if not os.access(node, os.R_OK | os.W_OK)]
    if inaccessible:
        text, remedy = f"{', '.join(inaccessible)} cannot be opened by this user", "ask the administrator"
    elif program is None or _driver_fails(program):
        text, remedy = "there is one, and its driver does not answer", "run nvidia-smi, and restart"
    elif backend == "tensorflow":
        text = "TensorFlow does not use it: its CUDA libraries are missing, or newer than the driver"
        remedy = "pip install 'vsrcli[cuda]', or a newer driver"
    else:
        text, remedy = f"there is one, and {backend} does not see it", f"install {backend} with CUDA"
    return Finding("GPU", PROBLEM, text, remedy)


def check_openvino() -> Iterator[Finding]:
    """Check for OpenVINO, the faster engine on CPUs."""
    from vsrcli.inference.engine_plan import OPENVINO_HINT, cpu_precisions, openvino_installed

    if openvino_installed():
        yield Finding("OpenVINO", OK, f"{version('openvino')}, computes in {' and '.join(cpu_precisions())}")
    else:
        text = "not installed: videos start later and take longer on this CPU"
        yield Finding("OpenVINO", NOTE, text, OPENVINO_HINT)


def check_onnxruntime() -> Iterator[Finding]:
    """Check for ONNX Runtime, its providers, and whether it can use a GPU that is there."""
    from vsrcli.inference.engine_plan import may_have_gpu, onnxruntime_gpu_installed, onnxruntime_installed
    from vsrcli.inference.onnxruntime_session import (
        GPU_INSTALL_HINT,
        ONNXRUNTIME_HINT,
        available_providers,
        check_gpu_provider,
    )

    if not onnxruntime_installed():
        text = "not installed: it runs networks on GPUs that TensorFlow does not use, and other ONNX files"
        yield Finding("ONNX Runtime", OK, f"{text} ({ONNXRUNTIME_HINT})")
        return
    providers = available_providers()
    names = ", ".join(each.removesuffix("ExecutionProvider") for each in providers)
    import onnxruntime

    text = f"{onnxruntime.__version__}, providers: {names}"
    if len(twice := _onnxruntime_packages()) > 1:
        packages = " and ".join(twice)
        remedy = f"pip uninstall {' '.join(twice)}, then {ONNXRUNTIME_HINT} or {GPU_INSTALL_HINT}, not both"
        yield Finding("ONNX Runtime", NOTE, f"{text}; {packages} overwrite each other's files", remedy)
    elif not may_have_gpu():
        yield Finding("ONNX Runtime", OK, text)
    elif not onnxruntime_gpu_installed():
        yield Finding("ONNX Runtime", NOTE, f"{text}; it is the package for CPUs", GPU_INSTALL_HINT)
    elif reason := check_gpu_provider():
        remedy = f"{GPU_INSTALL_HINT}, or a newer driver"
        yield Finding("ONNX Runtime", PROBLEM, f"{text}; {reason}", remedy)
    else:
        yield Finding("ONNX Runtime", OK, f"{text}; computes on the GPU")


def _onnxruntime_packages() -> list[str]:
    """Return the installed packages that hold ONNX Runtime; all of them install the same files."""
    return [name for name in ("onnxruntime", "onnxruntime-gpu") if any(distributions(name=name))]


def check_weights() -> Iterator[Finding]:
    """Check every weight file against the SHA-256 of its card."""
    from vsrcli.models.architectures import DEFAULT_MODEL
    from vsrcli.models.weights import (
        DEFAULT_DEGRADATION,
        DEFAULT_LOOK,
        file_sha256,
        list_weights,
        weight_folders,
    )

    available = list_weights()
    damaged = [each for each in available if file_sha256(each.path) != each.card.get("sha256")]
    for each in damaged:
        yield Finding("weights", PROBLEM, f"{each.path} is damaged", "download the file and its .json again")
    intact = [each for each in available if each not in damaged]
    default = (DEFAULT_MODEL, DEFAULT_DEGRADATION, DEFAULT_LOOK)
    if default not in [(each.card["architecture"], each.card["degradation"], each.look) for each in intact]:
        searched = ", ".join(map(str, weight_folders())) or "no folder"
        text = f"none of the default model {DEFAULT_MODEL} in {searched}"
        yield Finding("weights", PROBLEM, text, "install vsr again")
    if intact:
        yield Finding("weights", OK, f"{', '.join(each.name for each in intact)}; checksums match")


def check_cache() -> Iterator[Finding]:
    """Check that the cache of compiled graphs is writable."""
    from vsrcli.inference.graph_cache import cache_folder

    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        text = f"{folder} cannot be written ({error.strerror}): every start compiles again"
        yield Finding("cache", NOTE, text, "make it writable, or set VSR_CACHE to another folder")
        return
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    yield Finding("cache", OK, f"{folder}, {format_bytes(size)}")


def check_disk() -> Iterator[Finding]:
    """Check the free disk space, here and for temporary files."""
    for name, folder in (("disk here", Path.cwd()), ("disk, temporary", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free
        remedy = "a video takes twice its size while its segments are joined"
        text = f"{format_bytes(free)} free in {folder}"
        yield _finding(name, NOTE if free < _LOW_DISK_BYTES else OK, text, remedy)


def check_memory() -> Iterator[Finding]:
    """Check the free memory."""
    from vsrcli.system.resources import available_host_memory

    free = available_host_memory()
    remedy = "close other programs; tiles will be small and slow until then"
    yield _finding("memory", NOTE if free < _LOW_MEMORY_BYTES else OK, f"{format_bytes(free)} free", remedy)


def self_test() -> Iterator[Finding]:
    """Run the default model on the default engine and device."""
    from vsrcli.inference.selection import choose_models, open_engine
    from vsrcli.models.architectures import DEFAULT_MODEL

    started = time.perf_counter()
    engine = open_engine(choose_models(DEFAULT_MODEL, Fraction(4))[0])
    yield judge(engine, started)


def judge(engine: Engine, started: float) -> Finding:
    """Check that an engine upscales a smooth moving scene about as bicubic interpolation does.

    Args:
        engine: the engine to test.
        started: ``time.perf_counter()`` before it was loaded.
    """
    from vsrcli.inference.engine import ResampleEngine

    frames = _upscale_scene(engine)
    seconds = time.perf_counter() - started
    expected = _upscale_scene(ResampleEngine("bicubic", engine.scale))
    mse = float(np.mean((np.stack(frames) - np.stack(expected)) ** 2))
    psnr = 10 * np.log10(1 / max(mse, 1e-12))
    if psnr < _MIN_PSNR:
        text = f"{engine.description} gives wrong frames ({psnr:.0f} dB)"
        remedy = "try --engine keras, --precision fp32 and --gpu cpu, and report what helps"
        return Finding("self-test", PROBLEM, text, remedy)
    return Finding("self-test", OK, f"{len(frames)} frames in {seconds:.1f} s, on {engine.description}")


CHECKS: tuple[tuple[str, Check], ...] = (
    ("Python", check_python),
    ("packages", check_packages),
    ("ffmpeg", check_encoders),
    ("Keras", check_backend),
    ("OpenVINO", check_openvino),
    ("ONNX Runtime", check_onnxruntime),
    ("weights", check_weights),
    ("cache", check_cache),
    ("disk", check_disk),
    ("memory", check_memory),
    ("self-test", self_test),
)


def _finding(name: str, state: str, text: str, remedy: str) -> Finding:
    """Return a finding that has the remedy only if it is not ok."""
    return Finding(name, state, text, "" if state == OK else remedy)


def _driver_fails(program: str) -> bool:
    try:
        null = subprocess.DEVNULL
        return run_process([program, "-L"], stdout=null, stderr=null, timeout=30).returncode != 0
    except (OSError, subprocess.TimeoutExpired):
        return True


def _upscale_scene(engine: Engine) -> list[np.ndarray]:
    stream = engine.open(SELF_TEST_SIDE, SELF_TEST_SIDE)
    results = [stream.push(frame) for frame in _moving_waves()]
    return [result for result in results if result is not None] + stream.flush()


def _moving_waves() -> np.ndarray:
    """Return frames of moving waves, (SELF_TEST_FRAMES, SELF_TEST_SIDE, SELF_TEST_SIDE, 3) in [0, 1]."""
    t, y, x = np.mgrid[:SELF_TEST_FRAMES, :SELF_TEST_SIDE, :SELF_TEST_SIDE]
    phases = [(x * a + y * b) / SELF_TEST_SIDE + t / 30 for a, b in ((1, 0), (0, 1), (1, 1))]
    return (0.5 + 0.4 * np.sin(2 * np.pi * np.stack(phases, axis=-1))).astype(np.float32)
