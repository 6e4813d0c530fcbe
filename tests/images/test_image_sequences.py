"""Whole command lines: sequences in and out, single pictures, films of pictures and pictures of films."""

from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import image_samples
from PIL import Image

import media_samples as media
from terminal import Outcome
from vsrcli.frames.resample import resize
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
TWICE = ("-s", "2", "-m", "bicubic")


def names(folder: Path) -> list[str]:
    """Everything in a folder, hidden files too."""
    return sorted(file.name for file in folder.iterdir())


def expected(codes: np.ndarray) -> np.ndarray:
    """What bicubic interpolation makes of codes, rounded."""
    most = np.iinfo(codes.dtype).max
    height, width = codes.shape[:2]
    upscaled = resize(codes / np.float32(most), 2 * height, 2 * width, "bicubic").clip(0, 1)
    return np.rint(upscaled * most).astype(codes.dtype)


def worked(outcome: Outcome) -> str:
    """What a command said that ended well, as one line."""
    assert outcome.status == 0, outcome.err
    return " ".join(outcome.err.split())


@pytest.mark.parametrize("deep", [False, True], ids=["8", "16"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_a_sequence_keeps_numbers_depth_and_colours(
    vsr: Vsr, tmp_path: Path, suffix: str, deep: bool
) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 6, first=98, suffix=suffix, high_bit_depth=deep)
    worked(vsr("upscale", source, tmp_path / "out" / f"x%04d{suffix}", *TWICE))
    assert names(tmp_path / "out") == [f"x{number:04d}{suffix}" for number in range(98, 104)]
    for number in range(98, 104):
        found = image_samples.read_codes(tmp_path / "out" / f"x{number:04d}{suffix}", high_bit_depth=deep)
        wanted = expected(image_samples.smooth_codes(high_bit_depth=deep, seed=number))
        assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1
    assert ("48" in image_samples.stored_pix_fmt(tmp_path / "out" / f"x0098{suffix}")) == deep


@pytest.mark.parametrize("channels", [1, 2, 4], ids=["grey", "grey+a", "rgb+a"])
def test_grey_stays_grey_and_transparency_stays(vsr: Vsr, tmp_path: Path, channels: int) -> None:
    codes = image_samples.smooth_codes(channels, high_bit_depth=True)
    codes[..., -1] = codes[..., -1] // 2 + 30000 if channels > 1 else codes[..., -1]
    source = image_samples.write_image(tmp_path / "in.png", codes)
    worked(vsr("upscale", source, tmp_path / "out.png", *TWICE))
    found = image_samples.read_codes(tmp_path / "out.png", channels, high_bit_depth=True)
    assert np.abs(found.astype(int) - expected(codes).astype(int)).max() <= 1
    assert image_samples.stored_pix_fmt(tmp_path / "out.png").startswith(image_samples.stored_pix_fmt(source))


def test_folders_and_wildcards_keep_the_names(vsr: Vsr, tmp_path: Path) -> None:
    image_samples.write_sequence(tmp_path / "in", 3)
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    (tmp_path / "there").mkdir()
    worked(vsr("upscale", tmp_path / "in", f"{tmp_path}/new/", *TWICE))
    worked(vsr("upscale", tmp_path / "in" / "f*[12].png", tmp_path / "there", *TWICE))
    assert names(tmp_path / "new") == ["f001.png", "f002.png", "f003.png"]
    assert names(tmp_path / "there") == ["f001.png", "f002.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff", ".bmp"])
def test_a_single_picture(vsr: Vsr, tmp_path: Path, suffix: str) -> None:
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / f"in{suffix}", quality=95, lossless=True)
    worked(vsr("upscale", tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", *TWICE))
    with Image.open(tmp_path / f"in{suffix}") as old, Image.open(tmp_path / f"out{suffix}") as new:
        assert new.format == old.format
        off = np.abs(np.asarray(new).astype(int) - expected(np.asarray(old)).astype(int))
    assert off.mean() < (1 if suffix == ".jpg" else 0.01)
    assert names(tmp_path) == [f"in{suffix}", f"out{suffix}"]


def test_a_photograph_stands_upright_and_keeps_its_words(vsr: Vsr, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in.jpg", exif=exif, quality=95)
    said = worked(vsr("upscale", tmp_path / "in.jpg", tmp_path / "out.jpg", *TWICE))
    assert "orientation" in said
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.size == (48, 64)
        assert (image.getexif()[0x0112], image.getexif()[0x010F]) == (1, "A camera")


def test_a_colour_table_is_told_and_becomes_rgb(vsr: Vsr, tmp_path: Path) -> None:
    Image.fromarray(image_samples.smooth_codes()).quantize(16).save(tmp_path / "in.png")
    assert "palette" in worked(vsr("upscale", tmp_path / "in.png", tmp_path / "out.png", *TWICE))
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"


def test_pictures_become_a_film_with_exact_times(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 5, first=7)
    target = tmp_path / "out.mp4"
    worked(vsr("upscale", source, target, *TWICE, "--fps", "24000/1001"))
    assert frame_times(probe(target)) == [Fraction(1001 * number, 24000) for number in range(5)]
    video = probe(target).video
    assert (video.width, video.height, video.pix_fmt) == (64, 48, "yuv420p")


def test_the_usual_rate_is_said(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 2)
    said = worked(vsr("upscale", source, tmp_path / "out.mkv", *TWICE))
    assert "25 pictures make a second" in said
    assert probe(tmp_path / "out.mkv").video.frame_rate == 25


def test_a_film_has_its_own_times(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    film = sample(media.cfr)
    vsr("upscale", film, tmp_path / "out.mp4", "--fps", "24").fails(2, "--fps is for images")
    vsr("upscale", "in.mp4", "out.mp4", "--fps", "0").fails(2, "above 0")


def test_a_film_becomes_pictures_counted_from_one(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    film = sample(media.cfr)
    said = worked(vsr("upscale", film, tmp_path / "out" / "%05d.png", *TWICE))
    assert "audio left out" in said
    assert "24000/1001 of them a second" in said
    assert names(tmp_path / "out") == [f"{number:05d}.png" for number in range(1, 13)]
    with Decoder(probe(film), ffmpeg=find_ffmpeg()) as frames:
        for number, frame in enumerate(frames, 1):
            found = image_samples.read_codes(tmp_path / "out" / f"{number:05d}.png").astype(int)
            assert np.abs(found - expected(frame.pixels).astype(int)).max() <= 1


def test_ten_bits_become_sixteen_and_say_what_they_mean(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    worked(vsr("upscale", sample(media.ten_bit), tmp_path / "%d.png", *TWICE, "--frames", "2"))
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


def test_the_shape_of_pixels_goes_there_and_back(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    film = sample(media.anamorphic)
    worked(vsr("upscale", film, tmp_path / "out" / "%d.png", *TWICE))
    worked(vsr("upscale", tmp_path / "out" / "%d.png", tmp_path / "again" / "%d.png", *TWICE))
    worked(vsr("upscale", tmp_path / "again" / "%d.png", tmp_path / "out.mp4", *TWICE))
    assert probe(tmp_path / "out.mp4").video.sample_aspect_ratio == Fraction(16, 11)
    said = worked(vsr("upscale", film, tmp_path / "%d.jpg", *TWICE))
    assert "16/11 as wide as high" in said


def test_one_frame_of_a_film(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    film = sample(media.cfr)
    vsr("upscale", film, tmp_path / "still.png", *TWICE).fails(2, "still-%05d.png", "--frames 1")
    worked(vsr("upscale", film, tmp_path / "still.png", *TWICE, "--start", "0.2", "--frames", "1"))
    assert names(tmp_path) == ["still.png"]


def test_a_span_of_pictures(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 6)
    worked(vsr("upscale", source, tmp_path / "a" / "%d.png", *TWICE, "--fps", "10", "--start", "0.2",
               "--end", "0.5"))  # fmt: skip
    assert names(tmp_path / "a") == ["3.png", "4.png", "5.png"]
    worked(vsr("upscale", source, tmp_path / "b" / "%d.png", *TWICE, "--frames", "2"))
    assert names(tmp_path / "b") == ["1.png", "2.png"]
    vsr("upscale", source, tmp_path / "c" / "%d.png", *TWICE, "--start", "9").fails(1, "none of them in")
    assert not (tmp_path / "c").exists()


def test_pictures_of_two_sizes_are_refused_by_name(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    image_samples.write_image(tmp_path / "in" / "f002.png", image_samples.smooth_codes(size=(20, 32)))
    vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(
        1, "f002.png has 32x20 pixels, f001.png has 32x24"
    )
    assert not (tmp_path / "out").exists()


def test_a_jpeg_that_is_called_png_is_found_out(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in" / "f003.png", format="JPEG")
    vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(1, "f003.png is JPEG inside")


def test_nothing_is_replaced_unasked(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f002.png").write_bytes(b"mine")
    vsr("upscale", source, tmp_path / "out", *TWICE).fails(1, "f002.png exists; use --overwrite")
    assert names(tmp_path / "out") == ["f002.png"]
    assert (tmp_path / "out" / "f002.png").read_bytes() == b"mine"
    worked(vsr("upscale", source, tmp_path / "out", *TWICE, "-y"))
    assert image_samples.read_codes(tmp_path / "out" / "f002.png").shape == (48, 64, 3)


def test_pictures_are_never_their_own_target(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3)
    before = {file.name: file.read_bytes() for file in (tmp_path / "in").iterdir()}
    for target in (tmp_path / "in", source):
        vsr("upscale", source, target, *TWICE, "-y").fails(1, "is the input itself")
    os.link(tmp_path / "in" / "f001.png", tmp_path / "link.png")
    vsr("upscale", tmp_path / "in" / "f001.png", tmp_path / "link.png", *TWICE, "-y").fails(
        1, "the input itself"
    )
    assert {file.name: file.read_bytes() for file in (tmp_path / "in").iterdir()} == before


def test_names_that_would_meet_are_refused(vsr: Vsr, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        image_samples.write_sequence(tmp_path / folder, 1)
    outcome = vsr("upscale", tmp_path / "[ab]" / "*.png", f"{tmp_path}/out/", *TWICE)
    outcome.fails(2, "would both become", "%05d.png")
    worked(vsr("upscale", tmp_path / "[ab]" / "*.png", tmp_path / "out" / "%d.png", *TWICE))
    assert names(tmp_path / "out") == ["1.png", "2.png"]


def test_a_dry_run_shows_the_plan_and_makes_nothing(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_sequence(tmp_path / "in", 3, high_bit_depth=True)
    said = worked(vsr("upscale", source, f"{tmp_path}/out/", *TWICE, "--dry-run"))
    assert "frames: 3" in said
    assert "RGB in 16 bits" in said
    assert "nothing was written" in said
    assert not (tmp_path / "out").exists()


def test_options_of_films_are_told_to_have_no_effect(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_image(tmp_path / "in.png", image_samples.smooth_codes())
    said = worked(vsr("upscale", source, tmp_path / "out.png", *TWICE, "--crf", "20", "--codec", "hevc"))
    assert "--codec, --crf: for films, and without effect on pictures" in said
    vsr("upscale", source, tmp_path / "out.jpg", *TWICE, "-e", "quality=101").fails(2, "from 1 to 100")


def test_what_a_format_cannot_hold_is_told(vsr: Vsr, tmp_path: Path) -> None:
    source = image_samples.write_image(
        tmp_path / "in.png", image_samples.smooth_codes(4, high_bit_depth=True)
    )
    said = worked(vsr("upscale", source, tmp_path / "out.jpg", *TWICE))
    assert "JPEG has 8 bits" in said
    assert "transparency is dropped" in said
    assert "loses a little" in said


def test_a_picture_may_go_to_stdout_as_a_film(vsr: Vsr, tmp_path: Path) -> None:
    """One that says what it wants, at least: a terminal is none of it."""
    source = image_samples.write_sequence(tmp_path / "in", 2)
    said = worked(vsr("upscale", source, "-", *TWICE, "--dry-run"))
    assert "YUV4MPEG2" in said


def test_animations_stay_films(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    film = sample(media.transparent, name="apng.apng")
    moving = tmp_path / "moving.png"
    moving.write_bytes(film.read_bytes())
    worked(vsr("upscale", moving, tmp_path / "out.mkv", *TWICE))
    assert len(frame_times(probe(tmp_path / "out.mkv"))) == 3


def test_info_and_bench_of_names_that_say_nothing(vsr: Vsr, tmp_path: Path) -> None:
    vsr("upscale", tmp_path / "f%03d.png", tmp_path / "out.mp4").fails(1, "no file has such a name")
    (tmp_path / "empty").mkdir()
    vsr("upscale", tmp_path / "empty", tmp_path / "out.mp4").fails(1, "holds no pictures")


class TestOnlyItself:
    """A downloaded file must not be able to name others, whatever it is called."""

    @pytest.mark.parametrize("name", ["f%03d.png", "f*.png", "f[0-9][0-9][0-9].png"])
    def test_a_file_with_a_patterns_name_is_one_picture(self, vsr: Vsr, tmp_path: Path, name: str) -> None:
        image_samples.write_sequence(tmp_path / "in", 3)
        odd = tmp_path / "in" / name
        odd.write_bytes((tmp_path / "in" / "f001.png").read_bytes())
        worked(vsr("upscale", odd, tmp_path / "out.png", *TWICE))
        found = image_samples.read_codes(tmp_path / "out.png").astype(int)
        assert np.abs(found - expected(image_samples.smooth_codes(seed=1)).astype(int)).max() <= 1

    def test_inside_a_folder_such_names_are_files_too(self, vsr: Vsr, tmp_path: Path) -> None:
        image_samples.write_sequence(tmp_path / "elsewhere", 3)
        folder = tmp_path / "in"
        folder.mkdir()
        for name in ("f%03d.png", "a..%2f*.png"):
            (folder / name).write_bytes((tmp_path / "elsewhere" / "f001.png").read_bytes())
        worked(vsr("upscale", folder, f"{tmp_path}/out/", *TWICE))
        assert names(tmp_path / "out") == ["a..%2f*.png", "f%03d.png"]

    @pytest.mark.parametrize(
        "content", [b"#EXTM3U\nf001.png\n", b"ffconcat version 1.0\nfile f001.png\n", b"<svg/>", b"%!PS"]
    )
    def test_a_script_in_a_pictures_clothes_is_refused(
        self, vsr: Vsr, tmp_path: Path, content: bytes
    ) -> None:
        source = image_samples.write_sequence(tmp_path / "in", 3)
        (tmp_path / "in" / "f002.png").write_bytes(content)
        vsr("upscale", source, f"{tmp_path}/out/", *TWICE).fails(1, "f002.png is no still picture")
        vsr("upscale", tmp_path / "in" / "f002.png", tmp_path / "out.png", *TWICE).fails(1, "f002.png")
