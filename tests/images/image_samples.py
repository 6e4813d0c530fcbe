"""Small images for tests, written and read back by programs other than those under test.

Images of 16 bits go through the ffmpeg executable as raw pixels; 8-bit ones through Pillow.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image

from media_samples import run_ffmpeg

HEIGHT, WIDTH = 24, 32
_RAW_PIX_FMTS = {
    1: ("gray", "gray16le"),
    2: ("ya8", "ya16le"),
    3: ("rgb24", "rgb48le"),
    4: ("rgba", "rgba64le"),
}


def smooth_codes(
    channels: int = 3, *, high_bit_depth: bool = False, seed: int = 0, size: tuple[int, int] | None = None
) -> np.ndarray:
    """Return soft shapes, different for each seed: codes (H, W, channels); alpha is never 0."""
    height, width = size or (HEIGHT, WIDTH)
    rows, columns = np.mgrid[:height, :width]
    planes = [
        0.5 + 0.45 * np.sin(seed + channel + rows / (4 + channel) + columns / (6 - channel))
        for channel in range(channels)
    ]
    dtype, max_code = (np.uint16, 65535) if high_bit_depth else (np.uint8, 255)
    return np.rint(np.stack(planes, axis=-1) * max_code).astype(dtype)


def write_image(path: Path, codes: np.ndarray, *options: str) -> Path:
    """Write codes (H, W, channels) in the format of the extension; ``options`` are ffmpeg's."""
    height, width, channels = codes.shape
    name = _RAW_PIX_FMTS[channels][codes.dtype == np.uint16]
    raw = path.with_name(f"{path.name}.raw")
    raw.write_bytes(np.ascontiguousarray(codes).tobytes())
    run_ffmpeg(
        "-f", "rawvideo", "-pix_fmt", name, "-s", f"{width}x{height}", "-i", raw, *options,
        "-frames:v", "1", "-update", "1", "-y", f"file:{path}",
    )  # fmt: skip
    raw.unlink()
    return path


def read_codes(path: Path, channels: int = 3, *, high_bit_depth: bool = False) -> np.ndarray:
    """Return the codes that ffmpeg reads from a file: (H, W, channels)."""
    name = _RAW_PIX_FMTS[channels][high_bit_depth]
    line = ["-v", "error", "-noautorotate", "-i", f"file:{path}", "-f", "rawvideo", "-pix_fmt", name, "-"]
    done = subprocess.run([imageio_ffmpeg.get_ffmpeg_exe(), *line], capture_output=True, check=True)
    with Image.open(path) as image:
        width, height = image.size
    codes = np.frombuffer(done.stdout, "<u2" if high_bit_depth else np.uint8)
    return codes.reshape(height, width, channels)


def stored_pix_fmt(path: Path) -> str:
    """Return the pixel format that ffmpeg reports for a file."""
    line = ["-hide_banner", "-i", f"file:{path}"]
    done = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), *line], capture_output=True, text=True, check=False
    )
    stream_line = next(part for part in done.stderr.splitlines() if "Video:" in part)
    return stream_line.split("Video:")[1].split(",")[1].split("(")[0].strip()


def write_sequence(
    folder: Path, count: int = 6, *, first: int = 1, suffix: str = ".png", high_bit_depth: bool = False
) -> Path:
    """Write ``folder/f%03d.png``, numbered from ``first``; return that pattern."""
    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        write_image(
            folder / f"f{number:03d}{suffix}", smooth_codes(high_bit_depth=high_bit_depth, seed=number)
        )
    return folder / f"f%03d{suffix}"
