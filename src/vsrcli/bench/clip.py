"""A film to measure with, made by ffmpeg's own test picture."""

from __future__ import annotations

import subprocess
from pathlib import Path

from vsrcli.errors import FfmpegError
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg


def generate_test_clip(
    path: Path, width: int, height: int, frames: int, *, rate: int = 30, ffmpeg: Ffmpeg | None = None
) -> Path:
    """Write a film of a test picture that moves in every frame, without sound, and return its path.

    Args:
        path: a ``.mp4`` or ``.mkv`` file.
        width, height, frames, rate: of the film; an odd side makes it 4:4:4.
        ffmpeg: the executable; by default the one that films are upscaled with.

    Raises:
        FfmpegError: ffmpeg cannot make it.
    """
    program = ffmpeg or find_ffmpeg(None)
    picture = f"testsrc2=s={width}x{height}:r={rate},format=yuv444p,noise=alls=12:allf=t"
    colours = "yuv420p" if width % 2 == height % 2 == 0 else "yuv444p"
    line = [
        program.path,
        "-v",
        "error",
        "-nostdin",
        "-y",
        "-f",
        "lavfi",
        "-i",
        picture,
        "-frames:v",
        str(frames),
    ]
    line += ["-c:v", "libx264", "-preset", "veryfast", "-crf", "18", "-pix_fmt", colours, str(path)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise FfmpegError(
            f"{path}: ffmpeg cannot make a film of {width}x{height}; choose another --size, "
            "or see `vsr doctor`",
            details=done.stderr,
        )
    return path
