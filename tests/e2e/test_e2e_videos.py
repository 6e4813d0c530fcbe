"""The frame contract through the whole program: count, times, sound and everything else."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from inspecting import LOSSLESS, packets, pixels, times

import media_samples as media
from terminal import Outcome, complete, spawn
from vsrcli.frames.resample import interpolate
from vsrcli.media.probe import probe

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("-m", "bicubic", "-s", "2")

VIDEOS = [
    (media.cfr, {}),
    (media.cfr, {"frames": 1, "audio": False}),
    (media.cfr, {"frames": 3}),
    (media.vfr, {}),
    (media.vfr, {"suffix": ".mkv"}),
    (media.video_starts_late, {}),
    (media.audio_starts_late, {}),
    (media.mpegts, {}),
    (media.mpegts, {"offset": 7200}),
    (media.rotated, {"degrees": 90}),
    (media.ten_bit, {}),
    (media.anamorphic, {}),
    (media.interlaced, {}),
]


@pytest.mark.parametrize(("function", "options"), VIDEOS)
def test_every_frame_at_its_time(
    function: Callable[..., Path], options: dict, sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    path, target = sample(function, **options), tmp_path / "out.mp4"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    assert times(target) == times(path)
    before, after = probe(path), probe(target)
    assert (after.video.width, after.video.height) == (2 * before.video.width, 2 * before.video.height)
    assert after.video.sample_aspect_ratio == before.video.sample_aspect_ratio
    assert (after.video.is_high_bit_depth, after.video.rotation) == (before.video.is_high_bit_depth, 0)
    sound = packets(path, "audio")
    if path.suffix == ".ts":  # ADTS headers are taken off
        sound = [[packet[7:] for packet in stream] for stream in sound]
    assert packets(target, "audio") == sound
    assert f"{len(times(path))} frames in " in done.err.splitlines()[-1]


@pytest.mark.parametrize(("suffix", "degrees"), [(".mov", 0), (".mkv", 0), (".mov", 90)])
def test_what_the_container_crops_is_cut_off(
    suffix: str, degrees: int, sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    path, target = sample(media.cropped, suffix=suffix, degrees=degrees), tmp_path / "out.mkv"
    visible = pixels(path.with_name("whole.mov"))[:, 0:42, 4:62]
    np.testing.assert_array_equal(pixels(path), np.rot90(visible, -degrees // 90, axes=(1, 2)))
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    video = probe(target).video
    assert sorted((video.width, video.height)) == [84, 116]
    assert len(times(target)) == len(times(path))
    assert f"{video.width // 2}x{video.height // 2}" in vsr("info", path).out


def test_colours_and_depth_survive(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.ten_bit), tmp_path / "out.mkv"
    assert vsr("upscale", path, target, *BICUBIC).status == 0
    before, after = probe(path).video, probe(target).video
    assert (after.color, after.bit_depth, after.pix_fmt) == (before.color, 10, "yuv420p10le")


@pytest.mark.parametrize("before", [".mkv", ".mp4"])
@pytest.mark.parametrize("after", [".mkv", ".mp4"])
def test_everything_goes_along(before: str, after: str, sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.rich, suffix=before), tmp_path / f"out{after}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    source = probe(target)
    kinds = [(other.kind, other.language) for other in source.other_streams if other.kind != "data"]
    assert kinds == [("audio", "eng"), ("audio", "deu"), ("subtitle", "fra")]
    assert [mark.metadata["title"] for mark in source.chapters] == ["Opening; part = 1", "Ende"]
    assert packets(target, "audio") == packets(path, "audio")
    assert ("note: subtitle #3" in done.err) == (before != after)  # where it is converted


def test_the_pixels_are_those_of_the_interpolation(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.cfr, audio=False), tmp_path / "out.mkv"
    assert vsr("upscale", path, target, *BICUBIC, *LOSSLESS).status == 0
    frames = [interpolate(frame / np.float32(255), 2).clip(0, 1) for frame in pixels(path)]
    expected = np.rint(np.stack(frames) * 255)
    assert np.abs(pixels(target) - expected).max() <= 1


def test_between_native_scales(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    target = tmp_path / "out.mp4"
    assert vsr("upscale", sample(media.cfr), target, "-m", "lanczos", "-s", "2.5").status == 0
    assert (probe(target).video.width, probe(target).video.height) == (160, 120)


def test_a_span(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.cfr, audio=False), tmp_path / "out.mkv"
    whole = tmp_path / "whole.mkv"
    assert vsr("upscale", path, whole, *BICUBIC, *LOSSLESS).status == 0
    assert vsr("upscale", path, target, *BICUBIC, *LOSSLESS, "--start", "0.1", "--end", "0:00.4").status == 0
    kept = [number for number, time in enumerate(times(path)) if Fraction(1, 10) <= time < Fraction(2, 5)]
    np.testing.assert_array_equal(pixels(target), pixels(whole)[kept])


def test_a_number_of_frames(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.cfr), tmp_path / "out.mkv"
    whole = tmp_path / "whole.mkv"
    assert vsr("upscale", path, whole, *BICUBIC, *LOSSLESS).status == 0
    assert vsr("upscale", path, target, *BICUBIC, *LOSSLESS, "--start", "0.1", "--frames", "4").status == 0
    first = next(number for number, time in enumerate(times(path)) if time >= Fraction(1, 10))
    np.testing.assert_array_equal(pixels(target), pixels(whole)[first : first + 4])
    length, full_length = probe(target).duration, probe(whole).duration
    assert length is not None
    assert full_length is not None
    assert length < full_length / 2  # the sound stops there, too
    assert vsr("upscale", path, target, *BICUBIC, "-y", "--frames", "100").status == 0
    assert len(times(target)) == 12


def test_a_number_of_frames_of_a_recording(tmp_path: Path, vsr: Vsr) -> None:
    """Packets before the first key frame of a recording show nothing, and do not count."""
    path, target = media.mpegts_mid_stream(tmp_path), tmp_path / "out.mkv"
    assert vsr("upscale", path, tmp_path / "whole.mkv", *BICUBIC).status == 0
    assert vsr("upscale", path, target, *BICUBIC, "--frames", "4").status == 0
    assert times(target) == times(tmp_path / "whole.mkv")[:4]


NAMES = [
    "two words.mp4",
    'it\'s "quoted".mp4',
    "frame-%03d.mp4",
    "ünïcødé 映画.mp4",
    "a:b=c,d;[e].mp4",
    "-dash.mp4",
    "pipe:1.mp4",
]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / name).write_bytes(sample(media.cfr, frames=3).read_bytes())
    monkeypatch.chdir(tmp_path / "in")
    done = vsr("upscale", *BICUBIC, "--", name, f"../out/{name}")
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
    monkeypatch.chdir(tmp_path / "out")
    assert vsr("upscale", *BICUBIC, "-y", "--", f"../in/{name}", name).status == 0


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="their file names are Unicode")
def test_names_that_are_not_unicode(sample: Sample, tmp_path: Path) -> None:
    path, target = (tmp_path / os.fsdecode(name) for name in (b"caf\xe9.mp4", b"caf\xe92.mkv"))
    path.write_bytes(sample(media.cfr, frames=3).read_bytes())
    log = tmp_path / "log.txt"
    done = complete(spawn("upscale", path, target, *BICUBIC, "--progress", "json", "--log", log))
    assert done.status == 0, done.err
    start = json.loads(done.err.splitlines()[0])
    assert (start["message_type"], start["source"], start["target"]) == ("start", str(path), str(target))
    assert len(times(target)) == 3
    assert "caf\\udce92.mkv" in log.read_text("utf-8")
    assert complete(spawn("info", target, PYTHONIOENCODING="utf-8:strict")).status == 0
    shown = complete(spawn("info", target, "--json", PYTHONIOENCODING="utf-8:strict"))
    assert json.loads(shown.out)["path"] == str(target), shown.err


@pytest.mark.skipif(sys.platform in ("darwin", "win32"), reason="their file names are Unicode")
@pytest.mark.parametrize(
    "command",
    [
        ("info", "--json"),
        ("explain", "-m", "bicubic", "--at", "0.05", "-o", "page.html", "--json"),
        ("compare", "other.mkv", "--reference", "other.mkv", "--no-vmaf", "-o", "page.html", "--json"),
        ("evaluate", "-m", "bicubic", "--scale", "2", "--html", "page.html", "--markdown", "page.md"),
        ("evaluate", "-m", "bicubic", "-m", "lanczos", "--scale", "2"),
    ],
    ids=lambda command: f"{command[0]}-{len(command)}",
)
def test_results_about_names_that_are_not_unicode(
    command: tuple[str, ...], sample: Sample, tmp_path: Path
) -> None:
    """They are written to the end: in JSON the byte is spelled as in messages, elsewhere replaced."""
    name, content = os.fsdecode(b"caf\xe9.mp4"), sample(media.cfr, frames=8).read_bytes()
    for each in (name, "other.mkv"):
        (tmp_path / each).write_bytes(content)
    run = spawn(command[0], name, *command[1:], cwd=tmp_path, PYTHONIOENCODING="utf-8:strict")
    done = complete(run)
    assert done.status == 0, done.err
    if "--json" in command:
        assert "caf\\udce9" in done.out
        json.loads(done.out)
    for page in tmp_path.glob("page.*"):
        if page.suffix != ".png":
            assert "caf\N{REPLACEMENT CHARACTER}" in page.read_text("utf-8")


@pytest.mark.parametrize("suffix", [".mkv", ".avi"])
def test_tags_in_another_encoding(suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path = tmp_path / f"tagged{suffix}"
    tags = ("-metadata", "title=Caf#", "-metadata", "artist=#")
    media.run_ffmpeg("-i", sample(media.cfr), "-c:v", "mpeg4", "-bf", 0, "-c:a", "copy", *tags, path)
    path.write_bytes(path.read_bytes().replace(b"Caf#", b"Caf\xe9"))
    target = tmp_path / f"out{suffix}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    assert len(times(target)) == len(times(path))
    assert b"Caf\xe9" in target.read_bytes()


def test_overwrite_replaces(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    target = tmp_path / "out.mp4"
    target.write_text("old")
    assert vsr("upscale", sample(media.cfr), target, *BICUBIC, "--overwrite").status == 0
    assert len(times(target)) == 12
    assert list(tmp_path.iterdir()) == [target]


def test_as_a_process_without_a_path_and_without_tensorflow(sample: Sample, tmp_path: Path) -> None:
    """Interpolation needs neither an ffmpeg of the system nor TensorFlow, whose import would take seconds."""
    (tmp_path / "blocked").mkdir()
    for module in ("tensorflow", "keras"):
        (tmp_path / "blocked" / f"{module}.py").write_text("raise RuntimeError('imported')")
    target = tmp_path / "out.mp4"
    from terminal import environment

    path = f"{tmp_path / 'blocked'}:{environment()['PYTHONPATH']}"
    child = spawn("upscale", sample(media.cfr), target, *BICUBIC, PATH="", PYTHONPATH=path)
    done = complete(child)
    assert (done.status, done.out) == (0, ""), done.err
    assert len(times(target)) == 12
