"""Complete commands: image sequences and single images in and out, from and to videos."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import image_samples
import numpy as np
import pytest
from PIL import Image

import media_samples as media
from terminal import Outcome
from vsrcli.frames.resample import resize
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times
from vsrcli.system.files import WorkDir

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
TWICE = ("-s", "2", "-m", "bicubic")


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(file.name for file in folder.iterdir())


def expected(codes: np.ndarray) -> np.ndarray:
    """Return codes after bicubic interpolation, rounded."""
    most = np.iinfo(codes.dtype).max
    height, width = codes.shape[:2]
    upscaled = resize(codes / np.float32(most), 2 * height, 2 * width, "bicubic").clip(0, 1)
    return np.rint(upscaled * most).astype(codes.dtype)


def stderr_of(outcome: Outcome) -> str:
    """Assert that a command succeeded; return its stderr as one line."""
    assert outcome.status == 0, outcome.err
    return " ".join(outcome.err.split())


@pytest.mark.parametrize("high_bit_depth", [False, True], ids=["8", "16"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_sequence_keeps_numbers_depth_and_colours(
    vsr: Vsr, tmp_path: Path, suffix: str, high_bit_depth: bool
) -> None:
    source = image_samples.write_sequence(
        tmp_path / "in", 6, first=98, suffix=suffix, high_bit_depth=high_bit_depth
    )
    stderr_of(vsr("upscale", source, tmp_path / "out" / f"x%04d{suffix}", *TWICE))
    assert names(tmp_path / "out") == [f"x{number:04d}{suffix}" for number in range(98, 104)]
    for number in range(98, 104):
        result = image_samples.read_codes(
            tmp_path / "out" / f"x{number:04d}{suffix}", high_bit_depth=high_bit_depth
        )
        upscaled = expected(image_samples.smooth_codes(high_bit_depth=high_bit_depth, seed=number))
        assert np.abs(result.astype(int) - upscaled.astype(int)).max() <= 1
    assert ("48" in image_samples.stored_pix_fmt(tmp_path / "out" / f"x0098{suffix}")) == high_bit_depth


@pytest.mark.parametrize("channels", [1, 2, 4], ids=["grey", "grey+a", "rgb+a"])
def test_grey_stays_grey_and_transparency_stays(vsr: Vsr, tmp_path: Path, channels: int) -> None:
    codes = image_samples.smooth_codes(channels, high_bit_depth=True)
    codes[..., -1] = codes[..., -1] // 2 + 30000 if channels > 1 else codes[..., -1]
    source = image_samples.write_image(tmp_path / "in.png", codes)
    stderr_of(vsr("upscale", source, tmp_path / "out.png", *TWICE))
    result = image_samples.read_codes(tmp_path / "out.png", channels, high_bit_depth=True)
    assert np.abs(result.astype(int) - expected(codes).astype(int)).max() <= 1
    assert image_samples.stored_pix_fmt(tmp_path / "out.png").startswith(image_samples.stored_pix_fmt(source))


def test_black_text_has_no_light_fringe(vsr: Vsr, tmp_path: Path) -> None:
    """Where little of a PNG is white inside, and fully transparent, the rest black."""
    codes = np.zeros((24, 32, 4), np.uint8)
    codes[:1, :4, :3] = 255
    codes[8:16, 8:24, 3], codes[10:14, 10:22, 3] = 128, 255
    codes[7, 7:25, :3] = 255
    image_samples.write_image(tmp_path / "in.png", codes)
    stderr_of(vsr("upscale", tmp_path / "in.png", tmp_path / "out.png", *TWICE))
    result = image_samples.read_codes(tmp_path / "out.png", 4)
    visible = result[result[..., 3] > 8]
    assert visible.size
    assert visible[:, :3].max() < 16


def test_folders_and_wildcards_keep_the_names(vsr: Vsr, tmp_path: Path) -> None:
    image_samples.write_sequence(tmp_path / "in", 3)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    (tmp_path / "there").mkdir()
    stderr_of(vsr("upscale", tmp_path / "in", f"{tmp_path}/new/", *TWICE))
    stderr_of(vsr("upscale", tmp_path / "in" / "f*[12].png", tmp_path / "there", *TWICE))
    assert names(tmp_path / "new") == ["f001.png", "f002.png", "f003.png"]
    assert names(tmp_path / "there") == ["f001.png", "f002.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
def test_a_single_image(vsr: Vsr, tmp_path: Path, suffix: str) -> None:
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / f"in{suffix}", quality=95, lossless=True)
    stderr_of(vsr("upscale", tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", *TWICE))
    with Image.open(tmp_path / f"in{suffix}") as old, Image.open(tmp_path / f"out{suffix}") as new:
        assert new.format == old.format
        off = np.abs(np.asarray(new).astype(int) - expected(np.asarray(old)).astype(int))
    assert off.mean() < (1 if suffix == ".jpg" else 0.01)
    assert names(tmp_path) == [f"in{suffix}", f"out{suffix}"]


@pytest.mark.parametrize("target", ["new/", "new/large.png"])
def test_the_folder_of_a_single_image_is_created(vsr: Vsr, tmp_path: Path, target: str) -> None:
    source = image_samples.write_image(tmp_path / "photo.png", image_samples.smooth_codes())
    stderr_of(vsr("upscale", source, f"{tmp_path}/{target}", *TWICE))
    (image,) = (tmp_path / "new").iterdir()
    np.testing.assert_array_equal(image_samples.read_codes(image), expected(image_samples.read_codes(source)))


def test_the_folder_of_a_frame_stays_only_with_the_frame(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    target = tmp_path / "new" / "frame.png"
    failed = vsr("upscale", sample(media.cfr), target, *TWICE, "--frames", "1", "--start", "100")
    failed.fails(1)
    assert names(tmp_path) == []
    stderr_of(vsr("upscale", sample(media.cfr), target, *TWICE, "--frames", "1"))
    assert names(tmp_path / "new") == ["frame.png"]


def test_two_runs_with_one_image(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_image(tmp_path / "in.png", image_samples.smooth_codes())
    held = WorkDir(tmp_path / "out.png")
    held.open()
    vsr("upscale", source, tmp_path / "out.png", *TWICE).fails(1, "out.png: process", "is at work on it")
    held.close()
    stderr_of(vsr("upscale", source, tmp_path / "out.png", *TWICE))
    assert names(tmp_path) == ["in.png", "out.png"]


def test_a_photo_is_stored_upright_and_keeps_its_exif(vsr: Vsr, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in.jpg", exif=exif, quality=95)
    stderr = stderr_of(vsr("upscale", tmp_path / "in.jpg", tmp_path / "out.jpg", *TWICE))
    assert "orientation" in stderr
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (48, 64)
        assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "A camera")


def test_a_palette_becomes_rgb_with_a_notice(vsr: Vsr, tmp_path: Path) -> None:
    Image.fromarray(image_samples.smooth_codes()).quantize(16).save(tmp_path / "in.png")
    assert "palette" in stderr_of(vsr("upscale", tmp_path / "in.png", tmp_path / "out.png", *TWICE))
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"


def test_images_become_a_video_with_exact_times(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 5, first=7)
    target = tmp_path / "out.mp4"
    stderr_of(vsr("upscale", source, target, *TWICE, "--fps", "24000/1001"))
    assert frame_times(probe(target)) == [Fraction(1001 * number, 24000) for number in range(5)]
    video = probe(target).video
    assert (video.width, video.height, video.pix_fmt) == (64, 48, "yuv420p")


def test_the_default_rate_is_a_notice(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 2)
    stderr = stderr_of(vsr("upscale", source, tmp_path / "out.mkv", *TWICE))
    assert "25 images make a second" in stderr
    assert probe(tmp_path / "out.mkv").video.frame_rate == 25


def test_a_video_has_its_own_times(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    video = sample(media.cfr)
    vsr("upscale", video, tmp_path / "out.mp4", "--fps", "24").fails(2, "--fps is for images")
    vsr("upscale", "in.mp4", "out.mp4", "--fps", "0").fails(2, "above 0")


def test_a_video_becomes_images_numbered_from_one(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    video = sample(media.cfr)
    stderr = stderr_of(vsr("upscale", video, tmp_path / "out" / "%05d.png", *TWICE))
    assert "audio left out" in stderr
    assert "24000/1001 of them a second" in stderr
    assert names(tmp_path / "out") == [f"{number:05d}.png" for number in range(1, 13)]
    with Decoder(probe(video), ffmpeg=find_ffmpeg()) as frames:
        for number, frame in enumerate(frames, 1):
            result = image_samples.read_codes(tmp_path / "out" / f"{number:05d}.png").astype(int)
            assert np.abs(result - expected(frame.pixels).astype(int)).max() <= 1


def test_ten_bits_become_sixteen_with_hdr_tags(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    stderr_of(vsr("upscale", sample(media.ten_bit), tmp_path / "%d.png", *TWICE, "--frames", "2"))
    assert names(tmp_path) == ["1.png", "2.png"]
    assert image_samples.stored_pix_fmt(tmp_path / "1.png").startswith("rgb48")
    from vsrcli.images.probe import probe_image

    assert (
        probe_image(tmp_path / "1.png").color.primaries,
        probe_image(tmp_path / "1.png").color.transfer,
    ) == (
        "bt2020",
        "smpte2084",
    )


def test_pixel_aspect_ratio_survives_a_round_trip(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    video = sample(media.anamorphic)
    stderr_of(vsr("upscale", video, tmp_path / "out" / "%d.png", *TWICE))
    stderr_of(vsr("upscale", tmp_path / "out" / "%d.png", tmp_path / "again" / "%d.png", *TWICE))
    stderr_of(vsr("upscale", tmp_path / "again" / "%d.png", tmp_path / "out.mp4", *TWICE))
    assert probe(tmp_path / "out.mp4").video.sample_aspect_ratio == Fraction(16, 11)
    stderr = stderr_of(vsr("upscale", video, tmp_path / "%d.jpg", *TWICE))
    assert "16/11 as wide as high" in stderr


def test_one_frame_of_a_video(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    video = sample(media.cfr)
    vsr("upscale", video, tmp_path / "still.png", *TWICE).fails(2, "still-%05d.png", "--frames 1")
    stderr_of(vsr("upscale", video, tmp_path / "still.png", *TWICE, "--start", "0.2", "--frames", "1"))
    assert names(tmp_path) == ["still.png"]


def test_a_span_of_images(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 6)
    stderr_of(vsr("upscale", source, tmp_path / "a" / "%d.png", *TWICE, "--fps", "10", "--start", "0.2",
               "--end", "0.5"))  # fmt: skip
    assert names(tmp_path / "a") == ["3.png", "4.png", "5.png"]
    stderr_of(vsr("upscale", source, tmp_path / "b" / "%d.png", *TWICE, "--frames", "2"))
    assert names(tmp_path / "b") == ["1.png", "2.png"]
    vsr("upscale", source, tmp_path / "c" / "%d.png", *TWICE, "--start", "9").fails(1, "none of them in")
    assert not (tmp_path / "c").exists()


def test_images_of_two_sizes_are_refused_by_name(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    image_samples.write_image(tmp_path / "in" / "f002.png", image_samples.smooth_codes(size=(20, 32)))
    vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(
        1, "f002.png has 32x20 pixels, f001.png has 32x24"
    )
    assert not (tmp_path / "out").exists()


def test_a_jpeg_named_png_is_an_error(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in" / "f003.png", format="JPEG")
    vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(1, "f003.png is JPEG inside")


def test_nothing_is_replaced_without_overwrite(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f002.png").write_bytes(b"mine")
    vsr("upscale", source, tmp_path / "out", *TWICE).fails(1, "f002.png exists; use --overwrite")
    assert names(tmp_path / "out") == ["f002.png"]
    assert (tmp_path / "out" / "f002.png").read_bytes() == b"mine"
    stderr_of(vsr("upscale", source, tmp_path / "out", *TWICE, "-y"))
    assert image_samples.read_codes(tmp_path / "out" / "f002.png").shape == (48, 64, 3)


def test_images_are_never_their_own_target(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    before = {file.name: file.read_bytes() for file in (tmp_path / "in").iterdir()}
    for target in (tmp_path / "in", source):
        vsr("upscale", source, target, *TWICE, "-y").fails(1, "is the input itself")
    os.link(tmp_path / "in" / "f001.png", tmp_path / "link.png")
    vsr("upscale", tmp_path / "in" / "f001.png", tmp_path / "link.png", *TWICE, "-y").fails(
        1, "the input itself"
    )
    assert {file.name: file.read_bytes() for file in (tmp_path / "in").iterdir()} == before


def test_colliding_names_are_refused(vsr: Vsr, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        image_samples.write_sequence(tmp_path / folder, 1)
    outcome = vsr("upscale", tmp_path / "[ab]" / "*.png", f"{tmp_path}/out/", *TWICE)
    outcome.fails(2, "would both become", "%05d.png")
    stderr_of(vsr("upscale", tmp_path / "[ab]" / "*.png", tmp_path / "out" / "%d.png", *TWICE))
    assert names(tmp_path / "out") == ["1.png", "2.png"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3, high_bit_depth=True)
    stderr = stderr_of(vsr("upscale", source, f"{tmp_path}/out/", *TWICE, "--dry-run"))
    assert "frames: 3" in stderr
    assert "RGB in 16 bits" in stderr
    assert "nothing was written" in stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("suffix", "size"),
    [(".png", (1100, 1100)), (".exr", (1100, 1100)), (".webp", (4, 1024)), (".jpg", (4, 4096))],
)
def test_a_size_that_a_format_cannot_hold_is_an_error_before_the_work(
    vsr: Vsr, tmp_path: Path, suffix: str, size: tuple[int, int]
) -> None:
    Image.new("L", size).save(tmp_path / "in.png")
    options = ("-s", "16", "-m", "bicubic", "--dry-run")
    done = vsr("upscale", tmp_path / "in.png", tmp_path / f"out{suffix}", *options)
    assert (done.status, "pixels are too many for" in done.err, ".tif, which" in done.err) == (1, True, True)
    stderr_of(vsr("upscale", tmp_path / "in.png", tmp_path / "out.tif", *options))


def test_filling_a_frame_with_transparency_names_formats_without(vsr: Vsr, tmp_path: Path) -> None:
    image_samples.write_image(tmp_path / "in.png", image_samples.smooth_codes(4))
    options = ("--size", "48x48", "--fill", "-m", "bicubic")
    done = vsr("upscale", tmp_path / "in.png", tmp_path / "out.png", *options)
    assert done.status == 2
    assert "leave --fill out, or write .jpg or .bmp" in " ".join(done.err.split())
    stderr_of(vsr("upscale", tmp_path / "in.png", tmp_path / "out.jpg", *options))
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (48, 48)


def test_options_of_videos_without_effect_are_a_notice(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_image(tmp_path / "in.png", image_samples.smooth_codes())
    stderr = stderr_of(vsr("upscale", source, tmp_path / "out.png", *TWICE, "--crf", "20", "--codec", "hevc"))
    assert "--codec, --crf: for videos, and without effect on images" in stderr
    vsr("upscale", source, tmp_path / "out.jpg", *TWICE, "-e", "quality=101").fails(2, "from 1 to 100")


def test_losses_of_a_format_are_notices(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_image(
        tmp_path / "in.png", image_samples.smooth_codes(4, high_bit_depth=True)
    )
    stderr = stderr_of(vsr("upscale", source, tmp_path / "out.jpg", *TWICE))
    assert "JPEG has 8 bits" in stderr
    assert "transparency is dropped" in stderr
    assert "loses a little" in stderr


def test_exif_that_jpeg_has_no_room_for_is_left_out(vsr: Vsr, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x010E] = "A camera", "x" * 70_000
    for number in (1, 2):
        options: dict[str, Any] = {"exif": exif} if number == 2 else {}
        Image.fromarray(image_samples.smooth_codes()).save(tmp_path / f"{number}.png", **options)
    err = stderr_of(vsr("upscale", tmp_path / "%d.png", tmp_path / "out" / "%d.jpg", *TWICE))
    assert "EXIF above 64 KiB is left out" in err
    with Image.open(tmp_path / "out" / "2.jpg") as image:
        assert (image.size, len(image.getexif())) == ((64, 48), 0)


def test_images_may_go_to_stdout_as_a_video(vsr: Vsr, tmp_path: Path) -> None:
    """A dry run, since the stdout of a test is no pipe."""
    source = image_samples.write_sequence(tmp_path / "in", 2)
    stderr = stderr_of(vsr("upscale", source, "-", *TWICE, "--dry-run"))
    assert "YUV4MPEG2" in stderr


def test_animations_are_videos(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    video = sample(media.transparent, name="apng.apng")
    moving = tmp_path / "moving.png"
    moving.write_bytes(video.read_bytes())
    stderr_of(vsr("upscale", moving, tmp_path / "out.mkv", *TWICE))
    assert len(frame_times(probe(tmp_path / "out.mkv"))) == 3


def test_patterns_and_folders_without_images(vsr: Vsr, tmp_path: Path) -> None:
    vsr("upscale", tmp_path / "f%03d.png", tmp_path / "out.mp4").fails(1, "no file has such a name")
    (tmp_path / "empty").mkdir()
    vsr("upscale", tmp_path / "empty", tmp_path / "out.mp4").fails(1, "holds no images")


class TestHostileNames:
    """The name and content of a downloaded file must not make a reader open other files."""

    @pytest.mark.parametrize("name", ["f%03d.png", "f*.png", "f[0-9][0-9][0-9].png"])
    def test_a_file_with_a_patterns_name_is_one_image(self, vsr: Vsr, tmp_path: Path, name: str) -> None:
        image_samples.write_sequence(tmp_path / "in", 3)
        odd = tmp_path / "in" / name
        odd.write_bytes((tmp_path / "in" / "f001.png").read_bytes())
        stderr_of(vsr("upscale", odd, tmp_path / "out.png", *TWICE))
        result = image_samples.read_codes(tmp_path / "out.png").astype(int)
        assert np.abs(result - expected(image_samples.smooth_codes(seed=1)).astype(int)).max() <= 1

    def test_inside_a_folder_such_names_are_files_too(self, vsr: Vsr, tmp_path: Path) -> None:
        image_samples.write_sequence(tmp_path / "elsewhere", 3)
        folder = tmp_path / "in"
        folder.mkdir()
        for name in ("f%03d.png", "a..%2f*.png"):
            (folder / name).write_bytes((tmp_path / "elsewhere" / "f001.png").read_bytes())
        stderr_of(vsr("upscale", folder, f"{tmp_path}/out/", *TWICE))
        assert names(tmp_path / "out") == ["a..%2f*.png", "f%03d.png"]

    @pytest.mark.parametrize(
        "content", [b"#EXTM3U\nf001.png\n", b"ffconcat version 1.0\nfile f001.png\n", b"<svg/>", b"%!PS"]
    )
    def test_a_script_named_like_an_image_is_refused(self, vsr: Vsr, tmp_path: Path, content: bytes) -> None:
        source = image_samples.write_sequence(tmp_path / "in", 3)
        (tmp_path / "in" / "f002.png").write_bytes(content)
        vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(1, "f002.png is no still image")
        vsr("upscale", tmp_path / "in" / "f002.png", tmp_path / "out.png", *TWICE).fails(1, "f002.png")
