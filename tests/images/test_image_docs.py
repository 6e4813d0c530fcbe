"""docs/image-sequences.md: its commands do what the page says."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import image_samples
import pytest

import media_samples as media
from terminal import Outcome

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
PAGE = Path(__file__).parents[2] / "docs" / "image-sequences.md"
SHOTS = ["shot1.png", "shot2.png"]
FRAMES = ["00007.png", "00008.png", "00009.png"]
EXPECTED_FILES = {
    "'frames/%05d.png' 'out/%05d.png'": [f"out/{name}" for name in FRAMES],
    "frames/ out/": [f"out/{name}" for name in (*FRAMES, *SHOTS)],
    "'frames/shot*.png' out/": [f"out/{name}" for name in SHOTS],
    "photo.png photo_x4.png": ["photo_x4.png"],
    "'frames/%05d.png' video.mp4 --fps 24000/1001": ["video.mp4"],
    "video.mp4 'stills/%05d.png'": [f"stills/{number:05d}.png" for number in range(1, 13)],
    "video.mp4 still.png --start 0.2 --frames 1": ["still.png"],
}


def commands() -> list[str]:
    block = PAGE.read_text("utf-8").split("```sh\n")[1].split("```")[0]
    return [line.split("#")[0].strip().removeprefix("vsr upscale ") for line in block.splitlines()]


def test_every_command_is_tested() -> None:
    assert commands() == list(EXPECTED_FILES)


@pytest.mark.parametrize("command", EXPECTED_FILES)
def test_a_command(
    vsr: Vsr, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "frames"
    folder.mkdir()
    for seed, name in enumerate((*FRAMES, *SHOTS)):
        image_samples.write_image(folder / name, image_samples.smooth_codes(seed=seed))
    image_samples.write_image(tmp_path / "photo.png", image_samples.smooth_codes())
    if "video.mp4" not in EXPECTED_FILES[command]:
        (tmp_path / "video.mp4").write_bytes(sample(media.cfr).read_bytes())
    before = {file for file in tmp_path.rglob("*") if file.is_file()}
    outcome = vsr("upscale", *shlex.split(command), "-s", "2", "-m", "bicubic")
    assert outcome.status == 0, outcome.err
    made = {file for file in tmp_path.rglob("*") if file.is_file()} - before
    assert sorted(file.relative_to(tmp_path).as_posix() for file in made) == sorted(EXPECTED_FILES[command])


def test_info_and_preview_of_image_sequences(vsr: Vsr, tmp_path: Path) -> None:
    """``vsr info`` and ``vsr preview`` take the same names."""
    source = image_samples.write_sequence(tmp_path / "frames", 4, high_bit_depth=True)
    info = vsr("info", source)
    assert info.status == 0, info.err
    assert "PNG images" in info.out
    assert "16 bit" in info.out
    done = vsr("preview", source, "--seconds", "0.1", "-s", "2", "-m", "bicubic")
    assert done.status == 0, done.err
    assert (tmp_path / "frames-preview.mp4").exists()
    vsr("preview", source, tmp_path / "p.png").fails(2, "a preview is a video")
