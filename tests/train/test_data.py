"""Footage becomes pairs, pairs become batches."""

from dataclasses import replace

import numpy as np
import pytest
from footage import texture
from PIL import Image

from vsrcli.degradations import PRESETS, degrade, recompress
from vsrcli.errors import DataError
from vsrcli.frames.resample import interpolate
from vsrcli.train.batches import BatchPlan, make_batch, prefetch
from vsrcli.train.footage import find_footage
from vsrcli.train.pairs import TrainingPair, prepare_pairs


@pytest.fixture(scope="module")
def pairs(footage_folder, tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return prepare_pairs(find_footage(footage_folder), cache, 2, PRESETS["video"])


def test_the_manifest_decides_which_files_may_be_shipped(footage_folder):
    everything = find_footage(footage_folder)
    assert [path.name for path in everything.clips] == ["a.mkv", "b.mkv"]
    shippable = find_footage(footage_folder, shippable_only=True)
    assert [path.name for path in shippable.clips] == ["a.mkv"]
    assert shippable.skipped_count == 1


def test_folders_without_footage_are_named(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        find_footage(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no clip and no photograph"):
        find_footage(tmp_path)
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"manifest\.csv"):
        find_footage(tmp_path, shippable_only=True)
    with pytest.raises(DataError, match=r"broken\.mp4"):
        prepare_pairs(find_footage(tmp_path), tmp_path / "cache", 2, PRESETS["bi"])


@pytest.mark.parametrize("folder", [".", "train_sharp/000"], ids=["photographs", "frames"])
def test_an_image_that_is_too_large_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "footage" / folder).mkdir(parents=True)
    for number in range(9):
        Image.fromarray(texture(number, 100, 100)).save(tmp_path / "footage" / folder / f"{number:08}.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 50 * 50)  # Pillow refuses twice as many
    with pytest.raises(DataError, match=r"cannot read '.*0\.png': .*exceeds limit of 5000 pixels.*; re"):
        prepare_pairs(find_footage(tmp_path / "footage"), tmp_path / "cache", 2, PRESETS["bi"])


def test_pairs_are_aligned_and_prepared_once(footage_folder, tmp_path):
    footage = find_footage(footage_folder)
    first = prepare_pairs(footage, tmp_path, 2, PRESETS["bi"])
    assert {pair.kind for pair in first} == {"clip", "photo"}
    for pair in first:
        assert pair.low.shape == (1, pair.high.shape[0], pair.high.shape[1] // 2, pair.high.shape[2] // 2, 3)
        interpolated = interpolate(pair.low[0, 0], 2)
        assert np.abs(interpolated - pair.high[0]).mean() < 6  # codes of 255: not shifted by a pixel
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    prepare_pairs(footage, tmp_path, 2, PRESETS["bi"])
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_presets_keep_size_and_brightness(name, scale):
    rng = np.random.default_rng(5)
    high = np.full((4, 48, 48, 3), 120, np.uint8)
    high[:, ::2, ::2] += 8
    for variant in range(PRESETS[name].variant_count):
        low = degrade(high, scale, PRESETS[name], variant, rng)
        assert low.shape == (4, 48 // scale, 48 // scale, 3)
        assert low.dtype == np.uint8
        assert abs(float(low.mean()) - high.mean()) < 2.5


def test_video_preset_holds_clean_and_compressed_versions(pairs):
    clip = next(pair for pair in pairs if pair.kind == "clip")
    clean, *others = (np.abs(clip.low[v].astype(int) - clip.low[0]).mean() for v in range(5))
    assert clean == 0
    assert max(others) > 1


def test_stronger_compression_is_further_from_the_truth():
    frames = np.random.default_rng(0).integers(0, 256, (6, 34, 50, 3), dtype=np.uint8)
    errors = [np.abs(recompress(frames, crf=crf).astype(int) - frames).mean() for crf in (10, 40)]
    assert errors[0] < errors[1]
    assert recompress(frames[:, :33, :49], codec="hevc", preset="ultrafast").shape == (6, 33, 49, 3)


def test_batches_depend_on_seed_and_step_alone(pairs):
    plan = BatchPlan(batch=3, frames=9, margin=3, crop=16, scale=2)
    low, high = make_batch(pairs, plan, seed=1, step=5)
    assert low.shape == (3, 9, 16, 16, 3)
    assert high.shape == (3, 3, 32, 32, 3)
    assert low.min() >= 0
    assert low.max() <= 1
    streamed = list(prefetch(lambda step: make_batch(pairs, plan, 1, step), 4, 7))
    np.testing.assert_array_equal(streamed[1][0], low)
    np.testing.assert_array_equal(streamed[1][1], high)
    assert not np.array_equal(streamed[0][0], low)


@pytest.mark.parametrize(("share", "compressed"), [(None, 0.6), (0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_share_of_compressed_sequences(pairs, share, compressed):
    """Variants whose pixels are their number."""
    video = PRESETS["video"]
    low = np.stack([np.full_like(pairs[0].low[0], number) for number in range(video.variant_count)])
    numbered = [replace(pair, low=low) for pair in pairs[:1]]
    plan = BatchPlan(
        batch=200,
        frames=7,
        margin=3,
        crop=8,
        scale=2,
        uncompressed=video.uncompressed_count,
        compressed_share=share,
    )
    variants = np.rint(255 * make_batch(numbered, plan, seed=3, step=0)[0][:, 0, 0, 0, 0])
    assert np.mean(variants >= 2) == pytest.approx(compressed, abs=0.1)
    assert set(variants[variants < 2]) <= {0, 1}


def test_crops_of_both_resolutions_show_the_same_place_and_time(footage_folder, tmp_path):
    pairs = prepare_pairs(find_footage(footage_folder), tmp_path, 2, PRESETS["bi"])
    plan = BatchPlan(batch=16, frames=7, margin=3, crop=16, scale=2)
    low, high = make_batch(pairs, plan, seed=2, step=0)
    for sequence, truth in zip(low, high, strict=True):
        errors = [np.abs(interpolate(frame, 2) - truth[0]).mean() for frame in sequence]
        assert errors[3] == min(errors)  # the middle frame; at stride 0 all frames are equal
        assert errors[3] < 0.03


@pytest.mark.parametrize("count", [2, 5, 12])
def test_sequences_longer_than_a_clip_turn_round_at_its_ends(count):
    clip = np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((16, 16, 3), np.uint8)
    pair = TrainingPair("a", "clip", clip, clip[None, :, ::2, ::2])
    plan = BatchPlan(batch=60, frames=18, margin=3, crop=8, scale=2)
    low, high = make_batch([pair], plan, seed=1, step=0)
    times, truth_times = (np.rint(255 * part[..., 0, 0, 0]).astype(int) for part in (low, high))
    assert (truth_times == times[:, 3:-3]).all()
    moving = times[np.ptp(times, axis=1) > 0]
    assert 20 < len(moving) < 60  # the others repeat a frame
    assert (np.abs(np.diff(moving, axis=1)) == 1).all()
    assert np.ptp(moving, axis=1).max() == count - 1


def test_an_error_in_the_batch_thread_is_raised_in_the_loop():
    plan = BatchPlan(batch=1, frames=7, margin=3, crop=16, scale=2)
    with pytest.raises(ValueError, match=r"high <= 0|low >= high"):
        list(prefetch(lambda step: make_batch([], plan, 1, step), 0, 2))
