"""Whatever goes wrong: one line that says so, the documented status, and the target's folder as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.media.truncation import find_truncation

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("-m", "bicubic", "-s", "2")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where targets would be written; at the end it holds what it held: one older video."""
    place = tmp_path / "videos"
    place.mkdir()
    (place / "older.mp4").write_bytes(b"older")
    yield place
    assert [path.name for path in place.iterdir()] == ["older.mp4"]
    assert (place / "older.mp4").read_bytes() == b"older"


def test_no_input(folder: Path, vsr: Vsr) -> None:
    vsr("upscale", folder / "missing.mp4", folder / "out.mp4", *BICUBIC).fails(
        1, "missing.mp4", "does not exist"
    )
    vsr("upscale", folder, folder / "out.mp4", *BICUBIC).fails(1, "is a folder")


def test_no_video(folder: Path, tmp_path: Path, vsr: Vsr) -> None:
    for name, content in (
        ("empty.mp4", b""),
        ("rubbish.mp4", bytes(range(256)) * 40),
        ("text.mkv", b"words\n" * 99),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        vsr("upscale", path, folder / "out.mp4", *BICUBIC).fails(1, name)


def test_sound_only(folder: Path, tmp_path: Path, vsr: Vsr) -> None:
    path = tmp_path / "song.m4a"
    media.run_ffmpeg(*media.sine_tone(), "-c:a", "aac", path)
    vsr("upscale", path, folder / "out.mp4", *BICUBIC).fails(1, "audio only")


def test_a_video_of_an_unknown_codec(folder: Path, tmp_path: Path, sample: Sample, vsr: Vsr) -> None:
    path = tmp_path / "raw.mov"
    data = sample(media.cfr, suffix=".mov").read_bytes()
    path.write_bytes(data.replace(b"avc1", b"brhq").replace(b"avcC", b"free"))
    vsr("upscale", path, folder / "out.mp4", *BICUBIC).fails(1, "raw.mov", "cannot be decoded", "brhq")


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_that_breaks_off(suffix: str, folder: Path, tmp_path: Path, sample: Sample, vsr: Vsr) -> None:
    whole = tmp_path / f"video{suffix}"
    whole.write_bytes(sample(media.cfr, frames=24, suffix=suffix).read_bytes())
    path = media.truncated(whole)
    vsr("upscale", path, folder / "out.mp4", *BICUBIC).fails(1, path.name, "truncated", "--keep-going")
    vsr("upscale", path, folder / "out.mp4", *BICUBIC, "--dry-run").fails(1, path.name, "truncated")


SOUND = ("-c:a", "libvorbis", "-ar", 44100)
OLD_CONTAINERS = {
    "video.flv": ("-c:v", "flv1", "-an"),
    "video.wmv": ("-c:v", "wmv2", "-c:a", "wmav2"),
    "video.ogv": ("-c:v", "libtheora", *SOUND),
    "video.gif": ("-an",),
}


@pytest.mark.parametrize("to_pipe", [False, True], ids=["file", "pipe"])
@pytest.mark.parametrize("name", OLD_CONTAINERS)
def test_older_containers_that_break_off(
    name: str, to_pipe: bool, folder: Path, tmp_path: Path, vsr: Vsr
) -> None:
    """Whole files do not break off, nor with padding, nor where a pipe lets no header state a size."""
    path, target = tmp_path / name, folder / "out.mkv"
    unseekable = ("-flush_packets", 1, "-seekable", 0) if to_pipe else ()
    media.run_ffmpeg(
        *media.moving_pattern(24), *media.sine_tone(1), *OLD_CONTAINERS[name], *unseekable, f"file:{path}"
    )
    assert vsr("upscale", path, target, *BICUBIC, "--dry-run").status == 0
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(99))
    assert find_truncation(path) is None
    if to_pipe and name == "video.wmv":
        return  # its size is stated nowhere
    path.write_bytes(whole[: int(len(whole) * 0.7)])
    vsr("upscale", path, target, *BICUBIC).fails(1, name, "truncated", "--keep-going")


def test_damage_in_the_middle(tmp_path: Path, vsr: Vsr) -> None:
    """The command that goes on from the frames before the damage is given, and does."""
    whole = tmp_path / "video.mkv"
    pattern = media.moving_pattern(160, size="320x240")  # more than ffmpeg decodes ahead
    media.run_ffmpeg(*pattern, "-c:v", "libx264", "-g", "12", "-pix_fmt", "yuv420p", whole)
    command = (
        "upscale",
        media.damaged(whole, at=0.9, length=600),
        tmp_path / "out.mp4",
        *BICUBIC,
        "--segment",
        12,
    )
    done = vsr(*command)
    done.fails(1, "damaged", "--keep-going")
    assert re.search(r" frames are saved.*; to resume: vsr upscale .* --keep-going$", done.err, re.MULTILINE)
    done = vsr(*command, "--keep-going")
    assert done.status == 0
    assert "resuming at frame" in done.err
    assert "replaced by the frame before" in done.err


def test_targets_that_cannot_be(folder: Path, sample: Sample, vsr: Vsr) -> None:
    video = sample(media.cfr)
    vsr("upscale", video, folder / "older.mp4", *BICUBIC).fails(1, "exists", "--overwrite")
    vsr("upscale", video, folder, *BICUBIC).fails(1, "is a folder")
    vsr("upscale", video, folder / "none" / "out.mp4", *BICUBIC).fails(1, "create it first")
    vsr("upscale", video, folder / "older.mp4" / "out.mp4", *BICUBIC).fails(1, "older.mp4")
    vsr("upscale", video, folder / "out.xyz", *BICUBIC).fails(1, ".xyz", ".mkv")
    vsr("upscale", video, folder / "out", *BICUBIC).fails(1, "extension")
    vsr("upscale", video, folder / f"{'x' * 300}.mp4", *BICUBIC).fails(1, "name")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the administrator may write anywhere"
)
def test_a_folder_without_write_permission(folder: Path, sample: Sample, vsr: Vsr) -> None:
    folder.chmod(0o500)
    try:
        vsr("upscale", sample(media.cfr), folder / "out.mp4", *BICUBIC).fails(1, "cannot be written")
    finally:
        folder.chmod(0o700)


def test_the_same_file(tmp_path: Path, sample: Sample, vsr: Vsr) -> None:
    path, link = tmp_path / "video.mp4", tmp_path / "link.mp4"
    content = sample(media.cfr).read_bytes()
    path.write_bytes(content)
    link.hardlink_to(path)
    for target in (path, link, tmp_path / "." / "video.mp4"):
        vsr("upscale", path, target, *BICUBIC, "-y").fails(1, "the input itself")
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--codec", "nonsense"], ["nonsense"]),
        (["--pix-fmt", "nonsense"], ["nonsense"]),
        (["-e", "preset=nonsense"], ["libx264"]),
        (["-e", "nonsense=1"], ["-e"]),
        (["--codec", "prores_ks"], ["MP4"]),
        (["--ffmpeg", "/nowhere/ffmpeg"], ["/nowhere/ffmpeg"]),
        (["--start", "100"], ["span"]),
        (["-m", "nonsense"], ["nonsense", "vsr models", ".onnx"]),
        (["-m", "duf-28l"], ["duf-28l", "vsr train"]),
        (["-m", "nonsense.weights.h5"], ["nonsense.weights.h5"]),
    ],
)
def test_what_cannot_be_done(
    options: list[str], words: list[str], folder: Path, sample: Sample, vsr: Vsr
) -> None:
    vsr("upscale", sample(media.cfr), folder / "out.mp4", *BICUBIC, *options).fails(1, *words)


def test_a_tile_without_room_for_its_context(folder: Path, sample: Sample, vsr: Vsr) -> None:
    options = (*BICUBIC, "-t", "20", "--overlap", "10")
    vsr("upscale", sample(media.cfr), folder / "out.mp4", *options).fails(2, "tile of 20", "overlap")
