"""Clips under paths, and their decoded frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clip_samples import frames, write_16bit_png, write_image_folder, write_lossless_video, write_video
from PIL import Image

from vsrcli.errors import DataError
from vsrcli.evaluate.benchmark import measure_model
from vsrcli.evaluate.clips import ClipFile, distinct_names, find_clips, read_frames
from vsrcli.evaluate.protocol import Protocol, prepare_clip
from vsrcli.inference.engine import ResampleEngine
from vsrcli.system.text import natural_key

TEXTURE = frames(count=11)


def names(*paths: Path) -> list[str]:
    return [file.name for file in find_clips(paths)]


def test_the_layout_of_the_four_clip_benchmark(tmp_path: Path) -> None:
    for clip in ("walk", "calendar"):
        write_image_folder(tmp_path / clip, TEXTURE)
    write_video(tmp_path / "video.MP4", count=5)
    assert names(tmp_path) == ["calendar", "video", "walk"]
    assert names(tmp_path / "walk") == ["walk"]
    assert names(tmp_path / "walk", tmp_path) == ["walk", "calendar", "video"]
    np.testing.assert_array_equal(read_frames(tmp_path / "walk"), TEXTURE)
    np.testing.assert_array_equal(read_frames(tmp_path / "walk", 6), TEXTURE[:6])


@pytest.mark.parametrize("name", ["Frame {}.png", "{:04d}.PNG", "im{}.bmp", "a %03d [{}].webp", "x1_{}.tif"])
def test_frames_come_in_natural_order(tmp_path: Path, name: str) -> None:
    if "webp" in name:
        (tmp_path / "clip").mkdir()
        for number, pixels in enumerate(TEXTURE, start=1):
            Image.fromarray(pixels).save(tmp_path / "clip" / name.format(number), lossless=True)
    else:
        write_image_folder(tmp_path / "clip", TEXTURE, name)
    assert names(tmp_path) == ["clip"]
    np.testing.assert_array_equal(read_frames(tmp_path / "clip"), TEXTURE)


def test_natural_order_of_names() -> None:
    written = ["b2", "a10", "A9", "a10b", "a", "10", "9"]
    assert sorted(written, key=natural_key) == ["9", "10", "a", "A9", "a10", "a10b", "b2"]


def test_images_and_a_lossless_video_score_alike(tmp_path: Path) -> None:
    protocol = Protocol("bi", 4)
    files = (
        ClipFile(write_image_folder(tmp_path / "a", TEXTURE), "x"),
        ClipFile(write_lossless_video(tmp_path / "a.mkv", TEXTURE), "x"),
    )
    results = [measure_model(ResampleEngine("lanczos", 4), prepare_clip(file, protocol))[0] for file in files]
    assert (results[0].width, results[0].height) == (96, 64)
    for method in ("bicubic", "lanczos", "model"):
        assert getattr(results[0], method) == getattr(results[1], method)
    first, second = (prepare_clip(file, Protocol("video", 4)).low for file in files)
    np.testing.assert_array_equal(first, second)  # the same name, so the same draw


def test_hidden_files_are_no_clips(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "clip", TEXTURE)
    (tmp_path / "clip" / "._Frame 001.png").write_bytes(b"not an image")
    (tmp_path / ".clip.mp4").write_bytes(b"not a video")
    write_image_folder(tmp_path / ".cache", TEXTURE)
    assert names(tmp_path) == ["clip"]
    assert len(read_frames(tmp_path / "clip")) == len(TEXTURE)


def test_images_in_a_folder_with_videos_are_ignored_with_a_notice(tmp_path: Path) -> None:
    write_video(tmp_path / "video.mkv", count=5)
    write_image_folder(tmp_path, TEXTURE[:2], "poster{}.jpg")
    notices: list[str] = []
    assert [file.name for file in find_clips([tmp_path], notices.append)] == ["video"]
    assert len(notices) == 1
    assert "2 images are in a folder with videos" in notices[0]


def test_a_link_that_leads_back_is_followed_once(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "real" / "clip", TEXTURE[:5])
    (tmp_path / "real" / "loop").symlink_to(tmp_path / "real", target_is_directory=True)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "real" / "clip", target_is_directory=True)
    assert names(tmp_path / "real") == ["clip"]
    assert names(tmp_path / "set") == ["linked"]


def test_names_that_need_several_folders() -> None:
    paths = [Path(f"/{top}/lr/clip.mp4") for top in "ab"] + [Path("/c/other.mp4")]
    assert distinct_names(paths, [path.stem for path in paths]) == ["a/lr/clip.mp4", "b/lr/clip.mp4", "other"]


def test_sixteen_bits_are_rounded_with_a_notice(tmp_path: Path) -> None:
    high_depth = np.random.default_rng(1).integers(0, 65536, (40, 48, 3)).astype(np.uint16)
    high_depth[0, :3, 0] = 0, 65535, 129  # 129 / 257 is just over a half
    folder = tmp_path / "high_depth"
    folder.mkdir()
    for number in range(5):
        write_16bit_png(folder / f"{number}.png", high_depth)
    notices: list[str] = []
    result = read_frames(folder, on_notice=notices.append)
    np.testing.assert_array_equal(result[3], np.floor(high_depth / 257 + 0.5).astype(np.uint8))
    assert len(notices) == 1
    assert "5 images of 16 bits are rounded to 8" in notices[0]


def test_grey_and_transparent_images_become_rgb(tmp_path: Path) -> None:
    grey = TEXTURE[0, :, :, 0]
    Image.fromarray(grey).save(tmp_path / "1.png")
    Image.fromarray(np.dstack([TEXTURE[1], grey])).save(tmp_path / "2.png")
    result = read_frames(tmp_path)
    np.testing.assert_array_equal(result[0], np.repeat(grey[..., None], 3, axis=2))
    np.testing.assert_array_equal(result[1], TEXTURE[1])


def test_an_image_of_another_size_is_named(tmp_path: Path) -> None:
    write_image_folder(tmp_path / "clip", TEXTURE)
    Image.fromarray(TEXTURE[0, :-2]).save(tmp_path / "clip" / "Frame 007.png")
    with pytest.raises(DataError, match=r"Frame 007.png' has 98x64 pixels, 'Frame 001.png' 98x66"):
        read_frames(tmp_path / "clip")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_a_damaged_image_is_named(tmp_path: Path, suffix: str) -> None:
    write_image_folder(tmp_path / "clip", TEXTURE[:6], "{}." + suffix)
    damaged = tmp_path / "clip" / f"4.{suffix}"
    for content in (damaged.read_bytes()[: damaged.stat().st_size // 2], b"", b"no image"):
        damaged.write_bytes(content)
        with pytest.raises(DataError, match=rf"cannot read '.*4.{suffix}': .*; replace it") as error:
            read_frames(tmp_path / "clip")
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_that_is_too_large_is_named(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image_folder(tmp_path / "clip", TEXTURE[:6], "{}." + suffix)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 50)  # Pillow refuses twice as many
    with pytest.raises(DataError, match=rf"cannot read '.*1.{suffix}': .*exceeds limit.*; replace it"):
        read_frames(tmp_path / "clip")


def test_folders_that_are_no_clips(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no clip in .*\.mp4.*\.png"):
        find_clips([tmp_path])
    clip = write_image_folder(tmp_path / "clip", TEXTURE[:4])
    with pytest.raises(DataError, match="clip of 4 images, too few"):
        find_clips([tmp_path])
    with pytest.raises(DataError, match="is one image: name the folder"):
        find_clips([clip / "Frame 001.png"])
