"""Which ffmpeg runs, and what it can really encode here: a listed encoder may still need a missing chip."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

from vsrcli.doctor.finding import NOTE, OK, Finding
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg

SOFTWARE = ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")
HARDWARE = tuple(
    f"{codec}_{maker}"
    for maker in ("nvenc", "qsv", "amf", "vaapi", "videotoolbox")
    for codec in ("h264", "hevc", "av1")
)
_PROBE_TIMEOUT = 20  # a driver that hangs must not hang the doctor


def check_encoders() -> Iterator[Finding]:
    """The ffmpeg that would be used."""
    ffmpeg = find_ffmpeg()
    yield Finding("ffmpeg", OK, f"{ffmpeg.version}, {ffmpeg.path}")
    listed = ffmpeg.encoders()
    missing = [name for name in SOFTWARE if name not in listed]
    there = ", ".join(name for name in SOFTWARE if name in listed)
    if missing:
        remedy = "use the bundled ffmpeg (unset VSR_FFMPEG), or a build that has them"
        yield Finding("encoders", NOTE, f"{there or 'none'}; not there: {', '.join(missing)}", remedy)
    else:
        yield Finding("encoders", OK, there)
    usable = [name for name in HARDWARE if name in listed and encoder_works(ffmpeg, name)]
    yield Finding("hardware encoders", OK, f"{', '.join(usable) or 'none that works here'}")


def encoder_works(ffmpeg: Ffmpeg, encoder: str) -> bool:
    """Whether an encoder encodes a few grey frames on this machine."""
    upload = ["-vf", "format=nv12,hwupload"] if encoder.endswith("_vaapi") else []
    device = ["-init_hw_device", "vaapi=v", "-filter_hw_device", "v"] if upload else []
    grey = ["-f", "lavfi", "-i", "color=gray:s=256x256:r=25", "-frames:v", "3"]
    line = [
        ffmpeg.path,
        "-v",
        "error",
        "-nostdin",
        *device,
        *grey,
        *upload,
        "-c:v",
        encoder,
        "-f",
        "null",
        "-",
    ]
    try:
        done = subprocess.run(
            line, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PROBE_TIMEOUT, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
