"""Pictures of the terminal for these pages: `python docs/terminal_pictures.py [progress] [batch] [doctor]`.

Each is the screen of a real run, in a terminal of 100 columns, written to docs/images/NAME.svg. The example
film is upscaled by the default network, so that it takes some minutes.
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

HERE = Path(__file__).resolve().parent
FILM = HERE.parent / "examples" / "butterfly_240x136.mp4"
COLUMNS, LINES = 100, 40
# The reader's own font instead of one from a server.
_FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
_NAMES = {"brown": "yellow", "default": ""}


def progress(folder: Path) -> pyte.Screen:
    """Halfway through a film."""
    cut("film.mp4", folder)

    def halfway(screen: pyte.Screen) -> bool:
        found = re.search(r"(\d+)/(\d+) frames", "\n".join(screen.display))
        return bool(found) and int(found[1]) >= 0.55 * int(found[2])

    return shoot(["upscale", "film.mp4", "film_x4.mp4"], folder, until=halfway)


def batch(folder: Path) -> pyte.Screen:
    """Four films: one is finished already, one is empty."""
    films = folder / "films"
    (films / "1998").mkdir(parents=True)
    small = ("-vf", "scale=96:-2", "-t", "1")
    for name in ("harbour.mp4", "1998/garden.mp4", "1998/snow.mkv"):
        cut(name, films, *small)
    shoot(["batch", "films/harbour.mp4", "upscaled/"], folder)
    (films / "picnic.mp4").touch()  # a download that failed
    return shoot(["batch", "-r", "films/", "upscaled/"], folder)


def doctor(folder: Path) -> pyte.Screen:
    """Everything that it looks at."""
    return shoot(["doctor"], folder)


def cut(name: str, folder: Path, *options: str) -> None:
    """The example film, or a piece of it, under another name."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(FILM), *options, str(folder / name)]
    subprocess.run(command, check=True)


def shoot(
    arguments: list[str], folder: Path, *, until: Callable[[pyte.Screen], bool] = lambda screen: False
) -> pyte.Screen:
    """The screen after ``vsr ARGUMENTS``, or at the moment when ``until`` holds; the run is stopped then."""
    screen = pyte.Screen(COLUMNS, LINES)
    stream = pyte.ByteStream(screen)
    stream.feed(f"$ vsr {' '.join(arguments)}\r\n".encode())
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", LINES, COLUMNS, 0, 0))
    home = str(HERE.parents[1])  # shown as ~
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "HOME": home}
    child = subprocess.Popen(
        [sys.executable, "-m", "vsrcli", *arguments],
        cwd=folder, env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    with contextlib.suppress(OSError):  # the terminal's other side is closed: the end
        while not until(screen):
            stream.feed(os.read(ours, 65536))
        child.send_signal(signal.SIGINT)
        while True:  # a terminal that nobody reads would hold it up
            os.read(ours, 65536)
    child.wait()
    os.close(ours)
    return screen


def svg(screen: pyte.Screen, title: str) -> str:
    """A screen as a picture, down to its last line that is not empty."""
    last = max(number for number, line in enumerate(screen.display) if line.strip())
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    for number in range(last + 1):
        row, line = screen.buffer[number], Text()
        for column in range(COLUMNS):
            char = row[column]
            color = _NAMES.get(char.fg, char.fg.replace("bright", "bright_"))
            color = f"#{color}" if re.fullmatch(r"[0-9a-f]{6}", color) else color
            line.append(char.data, style=" ".join(filter(None, (color, "bold" if char.bold else ""))))
        line.rstrip()
        console.print(line, no_wrap=True)
    return console.export_svg(title=title, code_format=_FORMAT, unique_id=title.replace(" ", "-"))


def main() -> None:
    scenes = {scene.__name__: scene for scene in (progress, batch, doctor)}
    for name in sys.argv[1:] or scenes:
        with tempfile.TemporaryDirectory() as folder:
            picture = svg(scenes[name](Path(folder)), f"vsr {'upscale' if name == 'progress' else name}")
        (HERE / "images").mkdir(exist_ok=True)
        (HERE / "images" / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
