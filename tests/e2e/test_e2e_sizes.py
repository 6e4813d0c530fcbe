"""Output sizes through the whole program: boxes, sides, chains, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from inspecting import LOSSLESS, pixels, shots, times

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import Options, prepare_job, run_job
from vsrcli.frames.geometry import SizeRequest
from vsrcli.frames.resample import interpolate, resize
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.probe import probe
from vsrcli.pipeline.progress import CallbackReporter
from vsrcli.system.files import workdir_for

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("-m", "bicubic")
SQUARE = Fraction(1)


def made(folder: Path, size: str, *, name: str = "made.mkv") -> Path:
    """A lossless video of any size."""
    path = folder / name
    media.run_ffmpeg(
        *media.moving_pattern(2, size=size, source="color=green"), "-pix_fmt", "gbrp", "-c:v", "ffv1", path
    )
    return path


def marked(folder: Path) -> Path:
    """64x48: black, a white cross of 4 pixels through the centre, red edges of 4 pixels left and right."""
    path = folder / "marked.mkv"
    boxes = "30:0:4:48:white", "0:22:64:4:white", "0:0:4:48:red", "60:0:4:48:red"
    drawn = ",".join("drawbox=x={}:y={}:w={}:h={}:c={}:t=fill".format(*box.split(":")) for box in boxes)
    black = media.moving_pattern(2, source="color=black")
    media.run_ffmpeg(*black, "-vf", f"format=gbrp,{drawn}", "-c:v", "ffv1", path)
    return path


VIDEOS = [
    (media.cfr, {}, "--height 130", (174, 130, SQUARE)),
    (media.cfr, {}, "--width 130", (130, 98, SQUARE)),
    (media.cfr, {}, "--size 300x144", (192, 144, SQUARE)),
    (media.cfr, {}, "--size 300x144 --fit", (192, 144, SQUARE)),
    (media.cfr, {}, "--size 300x144 --fill", (300, 144, SQUARE)),
    (media.cfr, {}, "--size 480p", (640, 480, SQUARE)),
    (media.cfr, {}, "--scale 5.5", (352, 264, SQUARE)),
    (media.anamorphic, {}, "--height 130", (174, 130, Fraction(16, 11))),
    (media.anamorphic, {}, "--size 300x155", (300, 154, SQUARE)),
    (media.anamorphic, {}, "--size 200x200 --fill", (200, 200, SQUARE)),
    (media.rotated, {"degrees": 90}, "--height 130", (98, 130, SQUARE)),  # 48x64, as it is shown
    (media.rotated, {"degrees": 90}, "--size 300x144", (108, 144, SQUARE)),
    (media.rotated, {"degrees": 90}, "--size 480p", (480, 640, SQUARE)),  # a screen is turned with it
    (media.rotated, {"degrees": 180}, "--width 130", (130, 98, SQUARE)),
    (media.ten_bit, {}, "--height 130", (174, 130, SQUARE)),
]


@pytest.mark.parametrize(("make", "options", "size", "expected"), VIDEOS)
def test_sizes(
    make: Callable[..., Path],
    options: dict,
    size: str,
    expected: tuple[int, int, Fraction],
    sample: Sample,
    tmp_path: Path,
    vsr: Vsr,
) -> None:
    source, target = sample(make, **options), tmp_path / "out.mp4"
    done = vsr("upscale", source, target, *BICUBIC, *size.split(), "-e", "preset=ultrafast")
    assert done.status == 0, done.err
    video = probe(target).video
    assert (video.width, video.height, video.sample_aspect_ratio) == expected
    assert pixels(target).shape[1:3] == (expected[1], expected[0])
    assert times(target) == times(source)
    assert f"{expected[0]}x{expected[1]}, shown as " in done.err


def test_the_first_frame_of_a_size_is_one_resample_of_the_native_picture(tmp_path: Path, vsr: Vsr) -> None:
    source, target = made(tmp_path, "64x48"), tmp_path / "out.mkv"
    done = vsr("upscale", source, target, *BICUBIC, "--size", "150x100", "--fill", *LOSSLESS)
    assert done.status == 0, done.err
    native = interpolate(pixels(source)[0] / np.float32(255), 3).clip(0, 1)
    expected = resize(native, 100, 150, "lanczos3", visible_share=(1.0, 64 / 72)).clip(0, 1) * 255
    assert np.abs(pixels(target)[0] - expected).max() <= 1


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_fit_keeps_the_edges_and_fill_the_centre(suffix: str, tmp_path: Path, vsr: Vsr) -> None:
    source = marked(tmp_path)
    sizes = {"fit": (256, 192), "fill": (200, 192)}
    for kind, (width, height) in sizes.items():
        box = "300x192" if kind == "fit" else f"{width}x{height}"
        target = tmp_path / f"{kind}{suffix}"
        how = ("--pix-fmt", "yuv444p", "--crf", "1") if suffix == ".mp4" else LOSSLESS
        done = vsr("upscale", source, target, *BICUBIC, "--size", box, f"--{kind}", *how)
        assert done.status == 0, done.err
        frame = pixels(target)[0].astype(int)
        assert frame.shape == (height, width, 3)
        white = frame.min(axis=-1) > 128
        rows, columns = np.flatnonzero(white[:, 20]), np.flatnonzero(white[10])
        assert abs(rows.mean() + 0.5 - height / 2) < 0.6
        assert abs(columns.mean() + 0.5 - width / 2) < 0.6
        red = (frame[10, :, 0] > 128) & (frame[10, :, 1] < 100)
        assert red[:12].all() == red[-12:].all() == (kind == "fit")
        assert kind == "fit" or not red.any()


def test_what_happens_is_said_in_one_line(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    def plan_of(video: Callable[..., Path], options: str) -> str:
        done = vsr("upscale", sample(video), tmp_path / "o.mp4", *BICUBIC, "-n", *options.split())
        assert done.status == 0, done.err
        return done.err

    assert "scale: 64x48 x4: the network's x4, 256x192, shown as 4:3\n" in plan_of(media.cfr, "")
    assert "64x48 x2.5: the network's x3, then resampled to 160x120, shown as 4:3\n" in plan_of(
        media.cfr, "-s 2.5"
    )
    fitted = "the network's x3, 192x144, shown as 4:3, fitted into 300x144 without bars\n"
    assert fitted in plan_of(media.cfr, "--size 300x144")
    cut = "then resampled to 128x72, shown as 16:9, cropped to the middle 75.0% of its height\n"
    assert f"64x48 x2: the network's x2, {cut}" in plan_of(media.cfr, "--size 128x72 --fill")
    wide = plan_of(media.anamorphic, "--size 300x155")
    assert "x4.688 across, x3.223 down: the network's x4" in wide
    assert "note: bicubic-x4 reaches x4; from there to x4.688 frames are only resampled; --chain" in wide
    assert "the network's x4 and x2, then resampled to 384x288" in plan_of(media.cfr, "-s 6 --chain")
    assert "--chain" not in plan_of(media.cfr, "-s 4 --chain")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--scale 2 --height 100", ("--scale and --height",)),
        ("--size 200x100 --width 100", ("--size and --width",)),
        ("--size 1080p --scale 2", ("--scale and --size",)),
        ("--width 200 --height 100", ("--width and --height", "--size 200x100")),
        ("--fill", ("--fill needs --size",)),
        ("--fit --height 100", ("--fit needs --size", "--height")),
        ("--fill --scale 2", ("--fill needs --size", "--scale")),
        ("--size big", ("1920x1080", "4k")),
        ("--size 0x100", ("1920x1080",)),
        ("--size 1080", ("1920x1080",)),
        ("--height 0", ("--height",)),
        ("--height -5", ("--height",)),
        ("--width 1.5", ("--width",)),
        ("--scale 1", ("--same-size", "x1")),
        ("--scale 0.5", ("at least 1", "ffmpeg")),
        ("--scale 17", ("at most 16",)),
        ("--height 48", ("its size already",)),
        ("--height 30", ("smaller", "ffmpeg", "scale=40:30")),
        ("--size 4k", ("45 times", "16 times")),
        ("--size 99999x99999", ("16 times",)),
    ],
)
def test_refused(options: str, words: tuple[str, ...], sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", *BICUBIC, *options.split()).fails(2, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", ["1x1", "2x2", "3x5", "65x49"])
def test_tiny_and_odd_sources(size: str, tmp_path: Path, vsr: Vsr) -> None:
    source, target = made(tmp_path, size), tmp_path / "out.mkv"
    width, height = map(int, size.split("x"))
    done = vsr("upscale", source, target, *BICUBIC, "--height", str(3 * height), *LOSSLESS)
    assert done.status == 0, done.err
    video = probe(target).video
    assert video.height == 3 * height
    assert video.width % 2 == 0
    assert abs(video.width - 3 * width) <= 1


def test_transparency_is_fitted_but_not_cut(tmp_path: Path, vsr: Vsr) -> None:
    source, target = media.transparent(tmp_path), tmp_path / "out.mkv"
    codec = ("--codec", "ffv1")
    done = vsr("upscale", source, target, *BICUBIC, "--size", "150x150", *codec)
    assert done.status == 0, done.err
    video = probe(target).video
    assert video.has_alpha
    assert (video.width, video.height) == (150, 112)
    other = tmp_path / "cut.mkv"
    vsr("upscale", source, other, *BICUBIC, "--size", "150x150", "--fill", *codec).fails(2, "transparency")
    opaque = vsr("upscale", source, other, *BICUBIC, "--size", "150x150", "--fill", "--pix-fmt", "yuv420p")
    assert opaque.status == 0, opaque.err


def test_a_stream_gets_square_pixels_too(tmp_path: Path, vsr: Vsr) -> None:
    source = tmp_path / "in.y4m"
    media.run_ffmpeg(*media.moving_pattern(3), "-vf", "setsar=16/11", "-pix_fmt", "yuv420p", source)
    for options, words in (
        (("--height", "96"), {"W128", "H96", "A16:11"}),
        (("--size", "186x96"), {"W186", "H96", "A1:1"}),
    ):
        done = vsr("upscale", source, "-", *BICUBIC, *options, "-n")
        line = next(line for line in done.err.splitlines() if "header: " in line)
        assert words <= set(line.split()), line


CHAIN = Options(
    Fraction(6),
    "bicubic",
    segment=5,
    chain=True,
    encode=EncodeOptions(codec="ffv1", pix_fmt="bgr0"),
)


def upscaled(source: Path, target: Path, options: Options, until: int | None = None) -> list[str]:
    """Run, or stop after ``until`` frames; return the notices."""
    notices: list[str] = []

    class StopError(Exception):
        pass

    def on_progress(progress: object) -> None:
        if until is not None and progress.done >= until:  # type: ignore[attr-defined]
            raise StopError

    try:
        run_job(prepare_job(source, target, options), CallbackReporter(on_progress, notices.append))
    except StopError:
        assert until is not None
    return notices


def test_a_chain_is_both_steps_by_hand(tmp_path: Path) -> None:
    """With a network that looks at neighbours, over two shots, the second pass in tiles."""
    source, model = shots(tmp_path, "testsrc2", "mandelbrot", frames=4), tiny_weights(tmp_path, "cached")
    once = replace(CHAIN, model=str(model), scale=Fraction(2), device="cpu", engine="keras", segment="none")
    chain = replace(once, scale=Fraction(4), tile=100, overlap=15)
    job = prepare_job(source, tmp_path / "chain.mkv", chain)
    assert [len(tiles) for tiles in job.tiles] == [1, 2]
    upscaled(source, tmp_path / "chain.mkv", chain)
    deep = EncodeOptions(codec="ffv1", pix_fmt="gbrp16le")
    upscaled(source, tmp_path / "once.mkv", replace(once, encode=deep))
    upscaled(tmp_path / "once.mkv", tmp_path / "twice.mkv", once)
    found, expected = (pixels(tmp_path / f"{name}.mkv").astype(int) for name in ("chain", "twice"))
    assert found.shape == (8, 192, 256, 3)
    if expected.max() > 255:
        expected = np.rint(expected / 257).astype(int)
    assert np.abs(found - expected).mean() < 1  # between the steps, one video has been rounded


@pytest.mark.parametrize(
    "options", [CHAIN, replace(CHAIN, size=SizeRequest(300, 200, fill=True), tile=24, overlap=3)]
)
def test_a_chain_and_a_size_go_on_where_they_were(options: Options, sample: Sample, tmp_path: Path) -> None:
    source = sample(media.cfr, frames=24)
    whole, target = tmp_path / "whole.mkv", tmp_path / "out.mkv"
    upscaled(source, whole, options)
    upscaled(source, target, options, until=12)
    assert workdir_for(target).exists()
    assert "resuming at frame 10 of 24" in upscaled(source, target, options)
    np.testing.assert_array_equal(pixels(target), pixels(whole))


def test_another_size_is_another_video(sample: Sample, tmp_path: Path) -> None:
    """An interrupted video goes on only as what it was."""
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mkv"
    before = replace(CHAIN, size=SizeRequest(height=100))
    for other, changed in (
        (replace(before, size=SizeRequest(height=120)), "size"),
        (replace(before, size=SizeRequest(300, 200)), "size"),
        (replace(before, size=SizeRequest(300, 200, fill=True)), "size"),
        (replace(before, size=None), "size"),
        (replace(before, size=None, chain=False), "chain"),
    ):
        upscaled(source, target, before, until=12)
        notices = upscaled(source, target, other)
        assert notices[0].startswith("starting afresh instead of going on from 10 finished frames: "), notices
        assert changed in notices[0], notices
        assert not workdir_for(target).exists()
        target.unlink()
        before = other


def test_memory_of_a_chain_counts_both_passes(sample: Sample, tmp_path: Path) -> None:
    source = sample(media.cfr)
    one = prepare_job(source, tmp_path / "a.mkv", replace(CHAIN, chain=False))
    two = prepare_job(source, tmp_path / "a.mkv", CHAIN)
    assert two.memory_estimate().total > one.memory_estimate().total
    assert two.memory_estimate().tile > one.memory_estimate().tile
    assert [each.model.scale for each in two.passes] == [4, 2]
