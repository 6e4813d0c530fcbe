"""What the commands of the pages find in their folder."""

from __future__ import annotations

import re
from pathlib import Path

import media_samples as media
import ncnn_samples
import torch_samples
from vsrcli.models.library import add_model

VIDEOS = {".mp4", ".mkv", ".mov", ".webm", ".avi", ".nut", ".y4m"}
IMAGES = {".png", ".jpg", ".exr", ".webp", ".tif", ".tiff"}
FRAMES = 8

_MOMENT = re.compile(r"--start|--at|--offset|vsr preview")  # a minute and a half, two seconds a frame
_LARGE = re.compile(r"--size|--height|--width")  # 64x48 would have to grow more than 16 times
_INPUT = r"(?:vsr \w+ |--input |-i |< |sh |-- )"


def provide(here: Path, text: str) -> None:
    """Make the videos, folders and settings that the command ``text`` names as its input."""
    if "--profile archive" in text:
        (here / "vsr.toml").write_text('[profile.archive.upscale]\ncodec = "ffv1"\n', encoding="utf-8")
    names = re.findall(rf"{_INPUT}(-?\w+\.(?:mp4|mkv|mov|dv|jpg|png))\b", text)
    if "vsr compare" in text:
        names = re.findall(r"(?<!-o )(?<![\w.=/-])[\w-]+\.(?:mp4|mkv)\b", text)
    if "videos/" in text:
        names += [f"videos/{name}" for name in ("one.mp4", "below/two.mkv", "below/old.avi")]
    if "frames/" in text:
        stem = "shot" if "shot" in text else "0000"
        names += [f"frames/{stem}{number}.png" for number in range(1, 4)]
    names += [f"{folder}/one.mp4" for folder in ("clips", "VALIDATION") if folder in text]
    for name in dict.fromkeys(names):
        _video(here / name, text)
    for name in re.findall(r"[\w-]+\.param\b", text):
        ncnn_samples.compact(here / name)
    for name in re.findall(r"[\w-]+\.pth\b", text):
        torch_samples.write_pth(here / name, torch_samples.natural(torch_samples.compact(4)))
    if "-m mine" in text:
        add_model(ncnn_samples.compact(here / "network.param"), "mine")
    for name in re.findall(r"vsr models remove (\S+)", text):
        add_model(ncnn_samples.compact(here / "network.param"), name)


def videos(here: Path) -> set[Path]:
    """Every video and image in a folder and those below it."""
    return {each for each in here.rglob("*") if each.suffix in VIDEOS | IMAGES and not each.is_symlink()}


def _video(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True, parents=True)
    rate, frames, seconds = ("1/2", 48, 96.0) if _MOMENT.search(text) else ("25", FRAMES, FRAMES / 25)
    size = "64x48"
    if _LARGE.search(text):
        size, frames = "320x180", min(frames, 2) if rate == "25" else frames
    encoder: tuple[str, ...] = ("-preset", "ultrafast") if path.suffix != ".avi" else ()
    if path.suffix in IMAGES:
        media.run_ffmpeg(*media.moving_pattern(1), "-frames:v", "1", "-update", "1", path)
        return
    if "vsr dataset build" in text:  # clips of 32 frames, areas of 96 pixels or more
        size, frames = "320x240", 34
    if "--crop" in text:
        size = "640x360"
    if path.suffix == ".dv":
        rate, frames, size, encoder = "25", 2, "720x576", ("-c:v", "dvvideo", "-ac", "2")
    image = media.moving_pattern(frames, size=size, rate=rate)
    media.run_ffmpeg(*image, *media.sine_tone(seconds), "-pix_fmt", "yuv420p", *encoder, path)
