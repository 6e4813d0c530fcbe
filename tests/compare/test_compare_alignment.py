"""Alignment of videos by time, at a common size."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_samples as media
from vsrcli.compare.alignment import aligned_at, iter_aligned
from vsrcli.compare.inputs import escape_controls, plan_comparison
from vsrcli.errors import DecodeError, InputError, UsageError
from vsrcli.frames.resample import resize
from vsrcli.media.decoder import Decoder
from vsrcli.media.probe import probe

Sample = Callable[..., Path]
Trio = tuple[Path, Path, Path]


def decode(path: Path, ffmpeg: Any) -> list[np.ndarray]:
    with Decoder(probe(path), ffmpeg=ffmpeg) as decoder:
        return [frame.pixels for frame in decoder]


def test_frames_are_unchanged_and_smaller_ones_are_interpolated(trio: Trio, ffmpeg: Any) -> None:
    small, large, truth = trio
    comparison = plan_comparison([small, large], truth)
    assert (comparison.width, comparison.height) == (128, 96)
    assert [video.title for video in comparison.all_videos] == [
        "small.mkv · bicubic x2",
        "large.mkv",
        "truth.mkv",
    ]
    assert any("64x48 and is shown as 128x96" in text for text in comparison.notices)
    aligned_frames = list(iter_aligned(comparison, ffmpeg=ffmpeg))
    assert [aligned.index for aligned in aligned_frames] == list(range(12))
    low, high, true = (decode(path, ffmpeg) for path in trio)
    for index, aligned in enumerate(aligned_frames):
        enlarged = np.rint(resize(low[index], 96, 128, "bicubic")).clip(0, 255)
        np.testing.assert_array_equal(aligned.images[0], enlarged)
        np.testing.assert_array_equal(aligned.images[1], high[index])
        np.testing.assert_array_equal(aligned.images[2], true[index])


def test_seeking_finds_the_same_frames(trio: Trio, ffmpeg: Any) -> None:
    comparison = plan_comparison(trio)
    every = list(iter_aligned(comparison, ffmpeg=ffmpeg))
    times = [every[0].time, every[7].time, every[7].time + Fraction(1, 100)]
    for sought, index in zip(aligned_at(comparison, times, ffmpeg=ffmpeg), (0, 7, 7), strict=True):
        assert sought.time == every[index].time
        for one, other in zip(sought.images, every[index].images, strict=True):
            np.testing.assert_array_equal(one, other)


def test_videos_with_rounded_times_are_aligned_frame_by_frame(sample: Sample, ffmpeg: Any) -> None:
    exact, rounded = sample(media.cfr), sample(media.cfr, suffix=".mkv")  # to milliseconds
    for paths in ([exact, rounded], [rounded, exact]):
        expected = decode(paths[1], ffmpeg)
        aligned_frames = list(iter_aligned(plan_comparison(paths), ffmpeg=ffmpeg))
        assert len(aligned_frames) == len(expected) == 12
        for aligned, image in zip(aligned_frames, expected, strict=True):
            np.testing.assert_array_equal(aligned.images[1], image)


def test_a_video_of_another_rate_shows_what_a_player_would(tmp_path: Path, ffmpeg: Any) -> None:
    slow, fast = tmp_path / "slow.mkv", tmp_path / "fast.mkv"
    for path, rate, count in ((slow, "12", 6), (fast, "24", 12)):
        media.run_ffmpeg(*media.moving_pattern(count, rate=rate), "-c:v", "ffv1", path)
    twice = list(iter_aligned(plan_comparison([fast, slow]), ffmpeg=ffmpeg))
    half = decode(slow, ffmpeg)
    assert len(twice) == 12
    for index, aligned in enumerate(twice):
        np.testing.assert_array_equal(aligned.images[1], half[index // 2])
    every = decode(fast, ffmpeg)
    for index, aligned in enumerate(iter_aligned(plan_comparison([slow, fast]), ffmpeg=ffmpeg)):
        np.testing.assert_array_equal(aligned.images[1], every[2 * index])


def test_videos_may_start_at_different_timestamps(sample: Sample, ffmpeg: Any) -> None:
    early, late = sample(media.mpegts), sample(media.mpegts, offset=7)
    for aligned in iter_aligned(plan_comparison([early, late]), ffmpeg=ffmpeg):
        np.testing.assert_array_equal(aligned.images[0], aligned.images[1])


def test_only_the_common_part_is_compared_with_a_notice(sample: Sample, ffmpeg: Any) -> None:
    long, short = sample(media.cfr, frames=48), sample(media.cfr)
    for paths in ([long, short], [short, long]):
        comparison = plan_comparison(paths)
        assert comparison.end == Fraction(12 * 1001, 24000)
        assert any("only that part is compared" in text for text in comparison.notices)
        assert len(list(iter_aligned(comparison, ffmpeg=ffmpeg))) == 12
    assert not plan_comparison([long, short], seconds=Fraction(1, 4)).notices
    with pytest.raises(InputError, match="nothing to compare from 1 s on"):
        plan_comparison([long, short], start=Fraction(1))


def test_a_preview_is_aligned_with_its_position_in_the_video(tmp_path: Path, ffmpeg: Any) -> None:
    full, part = tmp_path / "full.mkv", tmp_path / "part.mkv"
    media.run_ffmpeg(*media.moving_pattern(48, rate="24"), "-c:v", "ffv1", "-g", "1", full)
    media.run_ffmpeg("-ss", "1", "-i", full, "-frames:v", "12", "-c:v", "ffv1", part)
    comparison = plan_comparison([full, part], full, offset=Fraction(1))
    aligned_frames = list(iter_aligned(comparison, ffmpeg=ffmpeg))
    assert len(aligned_frames) == 12
    for aligned in aligned_frames:
        np.testing.assert_array_equal(aligned.images[0], aligned.images[1])
        np.testing.assert_array_equal(aligned.images[0], aligned.images[2])
    with pytest.raises(InputError, match="ends before --offset"):
        plan_comparison([full, part], offset=Fraction(9))


@pytest.mark.parametrize(
    ("at", "late"),
    [(Fraction(1003, 1000), "0"), (Fraction(1), "0"), (Fraction(1), "0.421"), (Fraction(1, 5), "0.421")],
)
def test_an_offset_starts_with_the_first_frame_of_a_preview_at_that_time(
    at: Fraction, late: str, tmp_path: Path, ffmpeg: Any
) -> None:
    full, truth, part = (tmp_path / f"{name}.mkv" for name in ("full", "truth", "part"))
    pattern, lossless = media.moving_pattern(90, rate="60000/1001"), ("-c:v", "ffv1", "-g", "1")
    tone = [*media.sine_tone(2), "-map", "0", "-map", "1", "-c:a", "flac"]
    media.run_ffmpeg("-itsoffset", late, *pattern, *tone, *lossless, full)
    media.run_ffmpeg(*pattern, *lossless, truth)
    with Decoder(probe(full), start=at, end=at + 1, ffmpeg=ffmpeg) as decoder:  # as `vsr preview --at`
        first = next(iter(decoder)).pixels
    number = next(i for i, pixels in enumerate(decode(truth, ffmpeg)) if np.array_equal(pixels, first))
    media.run_ffmpeg("-i", truth, "-vf", f"select=gte(n\\,{number}),setpts=PTS-STARTPTS", *lossless, part)
    comparison = plan_comparison([full, part], truth, offset=at, seconds=Fraction(1, 5))
    aligned_frames = list(iter_aligned(comparison, ffmpeg=ffmpeg))
    assert len(aligned_frames) == 12
    for aligned in aligned_frames:
        np.testing.assert_array_equal(aligned.images[0], aligned.images[1])
        np.testing.assert_array_equal(aligned.images[0], aligned.images[2])
    np.testing.assert_array_equal(aligned_frames[0].images[0], first)


def test_a_time_range_has_the_same_frames_as_the_full_comparison(sample: Sample, ffmpeg: Any) -> None:
    path = sample(media.cfr, frames=48)
    every = list(iter_aligned(plan_comparison([path, path]), ffmpeg=ffmpeg))
    comparison = plan_comparison([path, path], start=Fraction(1), seconds=Fraction(1, 2))
    part = list(iter_aligned(comparison, ffmpeg=ffmpeg))
    assert [aligned.time for aligned in part] == [
        aligned.time for aligned in every if 1 <= aligned.time < Fraction(3, 2)
    ]
    for aligned, same in zip(part, every[24:], strict=False):
        np.testing.assert_array_equal(aligned.images[1], same.images[1])


def test_high_bit_depth_is_kept_on_request(sample: Sample, ffmpeg: Any) -> None:
    deep, shallow = sample(media.ten_bit), sample(media.cfr, audio=False)
    comparison = plan_comparison([deep, shallow])
    assert any("HDR" in text for text in comparison.notices)
    first = next(iter_aligned(comparison, high_bit_depth=True, ffmpeg=ffmpeg))
    assert [image.dtype for image in first.images] == [np.uint16, np.uint16]
    assert first.images[1].max() > 255
    flat = next(iter_aligned(comparison, ffmpeg=ffmpeg))
    assert [image.dtype for image in flat.images] == [np.uint8, np.uint8]
    np.testing.assert_allclose(flat.images[0], first.images[0] / 257, atol=0.51)


def test_videos_of_any_bit_depth_are_enlarged_in_the_same_range(
    sample: Sample, tmp_path: Path, ffmpeg: Any
) -> None:
    large = tmp_path / "large.mkv"
    media.run_ffmpeg(*media.moving_pattern(6, size="128x96"), "-c:v", "ffv1", "-pix_fmt", "yuv420p", large)
    comparison = plan_comparison([sample(media.ten_bit), sample(media.cfr), large])
    first = next(iter_aligned(comparison, high_bit_depth=True, ffmpeg=ffmpeg))
    flat = next(iter_aligned(comparison, ffmpeg=ffmpeg))
    for deep, shallow in zip(first.images, flat.images, strict=True):
        assert deep.shape == shallow.shape == (96, 128, 3)
        np.testing.assert_allclose(shallow, deep / 257, atol=0.51)
        assert 200 < shallow.max() <= 255


def test_another_aspect_ratio_is_refused(sample: Sample, tmp_path: Path) -> None:
    wide = tmp_path / "wide.mkv"
    media.run_ffmpeg(*media.moving_pattern(size="96x48"), "-c:v", "ffv1", wide)
    with pytest.raises(InputError, match=r"96x48, shown as 2\.000:1.*cut or scale"):
        plan_comparison([sample(media.cfr), wide])
    # non-square pixels compensate
    media.run_ffmpeg("-i", wide, "-vf", "setsar=2/3", "-c:v", "ffv1", tmp_path / "tall.mkv")
    assert plan_comparison([sample(media.cfr), tmp_path / "tall.mkv"]).sample_aspect_ratio == Fraction(2, 3)


def test_a_damaged_video_is_an_error(sample: Sample, ffmpeg: Any) -> None:
    intact = sample(media.cfr, frames=48)
    with pytest.raises(DecodeError):
        list(iter_aligned(plan_comparison([intact, media.damaged(intact)]), ffmpeg=ffmpeg))


def test_labels(trio: Trio, tmp_path: Path) -> None:
    assert [video.label for video in plan_comparison(trio[:2], labels=["before", "after"]).videos] == [
        "before",
        "after",
    ]
    with pytest.raises(UsageError, match="names 1 of 2 videos"):
        plan_comparison(trio[:2], labels=["before"])
    twin = tmp_path / trio[0].name
    twin.write_bytes(trio[0].read_bytes())
    names = [video.label for video in plan_comparison([trio[0], twin]).videos]
    assert names == [f"{path.parent.name}/{path.name}" for path in (trio[0], twin)]
    assert (
        escape_controls("line\nbreak\udcff") == "line\N{REPLACEMENT CHARACTER}break\N{REPLACEMENT CHARACTER}"
    )
