"""Separation of training and evaluation footage, and clips rendered from photographs."""

import os
import shutil

import numpy as np
import pytest
from footage import texture, write_clip
from PIL import Image

from vsrcli.datasets.decoding import decode_video
from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError
from vsrcli.train import synthesis
from vsrcli.train.footage import check_no_leakage, find_footage
from vsrcli.train.pairs import digest_of_files, footage_digest, prepare_pairs


def detail(clip: np.ndarray) -> float:
    """Return the mean difference of neighbouring columns, in codes."""
    return float(np.abs(np.diff(clip.astype(float), axis=2)).mean())


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(np.random.default_rng(4).integers(0, 256, (420, 560, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def short_exposures(monkeypatch):
    monkeypatch.setattr(synthesis, "EXPOSURE_SAMPLES", 4)


def test_evaluation_footage_is_not_trained_on(footage_folder, tmp_path):
    training = find_footage(footage_folder)
    with pytest.raises(DataError, match=r"a\.mkv.* is also trained on"):
        check_no_leakage(training, find_footage(footage_folder))
    shutil.copy(footage_folder / "b.mkv", tmp_path / "renamed.mkv")
    with pytest.raises(DataError, match=r"renamed\.mkv.* is also trained on, as .*b\.mkv"):
        check_no_leakage(training, find_footage(tmp_path))
    (tmp_path / "renamed.mkv").unlink()
    (tmp_path / "link.mkv").symlink_to(footage_folder / "a.mkv")
    with pytest.raises(DataError, match=r"link\.mkv.* is also trained on"):
        check_no_leakage(training, find_footage(tmp_path))


def test_a_cache_is_never_taken_for_that_of_other_files_with_the_same_name(tmp_path):
    for folder, seed in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        write_clip(tmp_path / folder / "clip.mkv", seed)
    pairs = [
        prepare_pairs(find_footage(tmp_path / folder), tmp_path / "cache", 2, PRESETS["bi"])[0]
        for folder in ("one", "two")
    ]
    assert np.abs(np.int16(pairs[0].high) - pairs[1].high).mean() > 10
    assert np.abs(np.int16(pairs[0].low) - pairs[1].low).mean() > 10
    both = prepare_pairs(find_footage(tmp_path), tmp_path / "cache", 2, PRESETS["bi"])
    assert len({pair.digest for pair in both}) == 2

    write_clip(tmp_path / "one" / "clip.mkv", 2)  # replaced by what the other one is
    (replaced,) = prepare_pairs(find_footage(tmp_path / "one"), tmp_path / "cache", 2, PRESETS["bi"])
    assert np.array_equal(replaced.high, pairs[1].high)


def test_an_array_that_a_power_cut_has_emptied_is_made_again(footage_folder, tmp_path):
    first = prepare_pairs(find_footage(footage_folder), tmp_path / "cache", 2, PRESETS["bi"])
    expected = [np.array(pair.high) for pair in first]
    for path in (tmp_path / "cache").rglob("*.npy"):
        path.write_bytes(b"")
    again = prepare_pairs(find_footage(footage_folder), tmp_path / "cache", 2, PRESETS["bi"])
    for pair, high in zip(again, expected, strict=True):
        np.testing.assert_array_equal(pair.high, high)


def test_long_names_fit_into_the_cache(tmp_path):
    names = [f"{'여행' * 40}{number}.mkv" for number in range(2)]  # three bytes a letter, 246 in all
    (tmp_path / "footage").mkdir()
    for seed, name in enumerate(names):
        write_clip(tmp_path / "footage" / name, seed)
    pairs = prepare_pairs(find_footage(tmp_path / "footage"), tmp_path / "cache", 2, PRESETS["bi"])
    assert len({pair.name for pair in pairs}) == len(list((tmp_path / "cache").rglob("high/*.npy"))) == 2


def test_names_that_are_not_utf8_are_trained_on(tmp_path):
    folder = tmp_path / "footage"
    write_clip(tmp_path / "video.mkv", 0)
    frames = next(iter(decode_video(tmp_path / "video.mkv", "")))
    (folder / os.fsdecode(b"sc\xe8ne")).mkdir(parents=True)
    for number in range(7):
        Image.fromarray(frames).save(
            folder / os.fsdecode(b"sc\xe8ne") / os.fsdecode(b"vue\xe9%d.png" % number)
        )
    (tmp_path / "video.mkv").rename(folder / os.fsdecode(b"caf\xe9.mkv"))
    pairs = prepare_pairs(find_footage(folder), tmp_path / "cache", 2, PRESETS["video"])
    assert {pair.name.encode("utf-8", "replace") for pair in pairs} == {b"caf?", b"sc?ne"}
    assert len(footage_digest(pairs)) == 64


def test_a_copy_of_a_folder_uses_the_same_cache(footage_folder, tmp_path):
    first = prepare_pairs(find_footage(footage_folder), tmp_path / "cache", 2, PRESETS["bi"])
    shutil.copytree(footage_folder, tmp_path / "copy", copy_function=shutil.copyfile)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    second = prepare_pairs(find_footage(tmp_path / "copy"), tmp_path / "cache", 2, PRESETS["bi"])
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert footage_digest(first) == footage_digest(second)


def test_a_frame_that_changes_makes_another_clip(tmp_path):
    for number in range(3):
        Image.fromarray(texture(number, 48, 60)).save(tmp_path / f"frame{number}.png")
    before = digest_of_files([tmp_path])
    Image.fromarray(texture(7, 48, 60)).save(tmp_path / "frame1.png")
    assert digest_of_files([tmp_path]) != before


def test_soft_clips_are_added_to_the_sharp_ones(tmp_path):
    for number in range(3):
        Image.fromarray(texture(number, 420, 560)).save(tmp_path / f"{number}.png")
    footage, cache = find_footage(tmp_path), tmp_path / "cache"
    sharp = prepare_pairs(footage, cache, 2, PRESETS["bi"])
    stamps = {path: path.stat().st_mtime_ns for path in cache.rglob("*.npy")}
    everything = prepare_pairs(footage, cache, 2, PRESETS["bi"], blur=True)
    names = {pair.name for pair in everything} - {pair.name for pair in sharp}
    assert names == {"0.shutter", "1.focus", "2.still"}
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())


def test_blurred_clips_are_blurred_and_static_ones_do_not_move(photo):
    sharp = detail(synthesis.camera_move(photo, photo, np.random.default_rng(0)))
    for render in (synthesis.motion_blurred, synthesis.defocused):
        soft = render(photo, photo, np.random.default_rng(0))
        assert detail(soft) < 0.7 * sharp
        assert 110 < soft.mean() < 160  # light is averaged, which is brighter than the mean of codes
    still = synthesis.static_camera(photo, photo, np.random.default_rng(1))
    moved = np.any(still != still[:1], axis=(0, 3))
    assert moved.mean() < 0.5  # the foreground may move, the scene does not


def test_an_instant_exposure_equals_the_sharp_clip(photo):
    """Blurred clips follow the same path as sharp ones: with an instant exposure the two are equal."""
    rng = np.random.default_rng(2)
    clip = synthesis._render_clip(photo, photo, rng, (3.0,), np.repeat(synthesis.FRAME_TIMES, 2))
    np.testing.assert_array_equal(clip[::2], clip[1::2])
    np.testing.assert_array_equal(synthesis._to_codes(synthesis._to_linear(clip[:1])), clip[:1])
