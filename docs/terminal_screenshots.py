"""Make terminal screenshots for the docs: `python docs/terminal_screenshots.py [progress] [batch] [doctor]`.

Each is the screen of a real run, in a terminal of 100 columns, written to docs/images/NAME.svg. The example
video is upscaled by the default network, which takes some minutes.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import pyte
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
EXAMPLE = DOCS.parent / "examples" / "butterfly_240x136.mp4"
COLUMNS, LINES = 100, 40
# without the font that Rich loads from a server
_SVG_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_RICH_COLORS = {"brown": "yellow", "default": ""}


def progress(folder: Path) -> pyte.Screen:
    """Take the screen halfway through a video."""
    encode_example("video.mp4", folder)

    def halfway(screen: pyte.Screen) -> bool:
        match = re.search(r"(\d+)/(\d+) frames", "\n".join(screen.display))
        return bool(match) and int(match[1]) >= 0.55 * int(match[2])

    return run_vsr(["upscale", "video.mp4", "video_x4.mp4"], folder, until=halfway)


def batch(folder: Path) -> pyte.Screen:
    """Take the screen after a batch of four videos: one was finished before, one is empty."""
    videos = folder / "videos"
    (videos / "1998").mkdir(parents=True)
    small = ("-vf", "scale=96:-2", "-t", "1")
    for name in ("harbour.mp4", "1998/garden.mp4", "1998/snow.mkv"):
        encode_example(name, videos, *small)
    run_vsr(["batch", "videos/harbour.mp4", "upscaled/"], folder)
    (videos / "picnic.mp4").touch()  # a download that failed
    return run_vsr(["batch", "-r", "videos/", "upscaled/"], folder)


def doctor(folder: Path) -> pyte.Screen:
    """Take the screen after all checks."""
    return run_vsr(["doctor"], folder)


def encode_example(name: str, folder: Path, *options: str) -> None:
    """Write the example video to ``folder / name``, with options of ffmpeg."""
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(EXAMPLE),
        *options,
        str(folder / name),
    ]
    subprocess.run(command, check=True)


def run_vsr(
    arguments: list[str], folder: Path, *, until: Callable[[pyte.Screen], bool] = lambda screen: False
) -> pyte.Screen:
    """Run ``vsr ARGUMENTS``, until its end or until ``until`` is true, and return the screen."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ vsr {' '.join(arguments)}\r\n".encode())
    terminal, child_side = pty.openpty()
    fcntl.ioctl(child_side, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    home = str(DOCS.parents[1])  # printed as ~
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": home}
    child = subprocess.Popen(
        [sys.executable, "-m", "vsrcli", *arguments],
        cwd=folder, env=env, stdin=child_side, stdout=child_side, stderr=child_side, start_new_session=True,
    )  # fmt: skip
    os.close(child_side)
    with contextlib.suppress(OSError):  # the child has closed its side: it has ended
        while not until(screen):
            stream.feed(os.read(terminal, 65536))
        child.send_signal(signal.SIGINT)
        while True:  # a terminal that is not read would block it
            os.read(terminal, 65536)
    child.wait()
    os.close(terminal)
    return screen


def svg(screen: pyte.Screen, title: str) -> str:
    """Return a screen as SVG, without the empty lines at its end."""
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for number in range(last + 1):
        row, line = screen.buffer[number], Text()
        for column in range(COLUMNS):
            char = row[column]
            color = _RICH_COLORS.get(char.fg, char.fg.replace("bright", "bright_"))
            color = f"#{color}" if re.fullmatch(r"[0-9a-f]{6}", color) else color
            line.append(char.data, style=" ".join(filter(None, (color, "bold" if char.bold else ""))))
        line.rstrip()
        console.print(line, no_wrap=True)
    return console.export_svg(title=title, code_format=_SVG_FORMAT, unique_id=title.replace(" ", "-"))


def main() -> None:
    scenes = {scene.__name__: scene for scene in (progress, batch, doctor)}
    for name in sys.argv[1:] or scenes:
        with tempfile.TemporaryDirectory(dir=DOCS.parents[1], prefix="videos-") as folder:
            screenshot = svg(scenes[name](Path(folder)), f"vsr {'upscale' if name == 'progress' else name}")
        (DOCS / "images").mkdir(exist_ok=True)
        (DOCS / "images" / f"{name}.svg").write_text(screenshot, encoding="utf-8")


if __name__ == "__main__":
    main()
