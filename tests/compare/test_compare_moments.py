"""Which pictures belong together, by time and at one size."""

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


def frames(film: Path, ffmpeg: Any) -> list[np.ndarray]:
    with Decoder(probe(film), ffmpeg=ffmpeg) as decoder:
        return [frame.pixels for frame in decoder]


def test_pictures_are_the_films_own_and_smaller_ones_are_interpolated(trio: Trio, ffmpeg: Any) -> None:
    small, large, truth = trio
    line = plan_comparison([small, large], truth)
    assert (line.width, line.height) == (128, 96)
    assert [film.title for film in line.all] == ["small.mkv · bicubic x2", "large.mkv", "truth.mkv"]
    assert any("64x48 and is shown as 128x96" in text for text in line.notices)
    seen = list(iter_aligned(line, ffmpeg=ffmpeg))
    assert [moment.number for moment in seen] == list(range(12))
    low, high, true = (frames(film, ffmpeg) for film in trio)
    for number, moment in enumerate(seen):
        enlarged = np.rint(resize(low[number], 96, 128, "bicubic")).clip(0, 255)
        np.testing.assert_array_equal(moment.pictures[0], enlarged)
        np.testing.assert_array_equal(moment.pictures[1], high[number])
        np.testing.assert_array_equal(moment.pictures[2], true[number])


def test_a_moment_that_is_looked_up_is_the_same(trio: Trio, ffmpeg: Any) -> None:
    line = plan_comparison(trio)
    every = list(iter_aligned(line, ffmpeg=ffmpeg))
    asked = [every[0].time, every[7].time, every[7].time + Fraction(1, 100)]
    for found, number in zip(aligned_at(line, asked, ffmpeg=ffmpeg), (0, 7, 7), strict=True):
        assert found.time == every[number].time
        for one, other in zip(found.pictures, every[number].pictures, strict=True):
            np.testing.assert_array_equal(one, other)


def test_films_with_other_clocks_are_matched_frame_by_frame(sample: Sample, ffmpeg: Any) -> None:
    exact, rounded = sample(media.cfr), sample(media.cfr, suffix=".mkv")  # to milliseconds
    for films in ([exact, rounded], [rounded, exact]):
        wanted = frames(films[1], ffmpeg)
        seen = list(iter_aligned(plan_comparison(films), ffmpeg=ffmpeg))
        assert len(seen) == len(wanted) == 12
        for moment, picture in zip(seen, wanted, strict=True):
            np.testing.assert_array_equal(moment.pictures[1], picture)


def test_a_film_of_another_rate_shows_what_a_player_would(tmp_path: Path, ffmpeg: Any) -> None:
    slow, fast = tmp_path / "slow.mkv", tmp_path / "fast.mkv"
    for path, rate, count in ((slow, "12", 6), (fast, "24", 12)):
        media.run_ffmpeg(*media.moving_pattern(count, rate=rate), "-c:v", "ffv1", path)
    twice = list(iter_aligned(plan_comparison([fast, slow]), ffmpeg=ffmpeg))
    half = frames(slow, ffmpeg)
    assert len(twice) == 12
    for number, moment in enumerate(twice):
        np.testing.assert_array_equal(moment.pictures[1], half[number // 2])
    every = frames(fast, ffmpeg)
    for number, moment in enumerate(iter_aligned(plan_comparison([slow, fast]), ffmpeg=ffmpeg)):
        np.testing.assert_array_equal(moment.pictures[1], every[2 * number])


def test_clocks_that_begin_elsewhere_are_no_matter(sample: Sample, ffmpeg: Any) -> None:
    early, late = sample(media.mpegts), sample(media.mpegts, offset=7)
    for moment in iter_aligned(plan_comparison([early, late]), ffmpeg=ffmpeg):
        np.testing.assert_array_equal(moment.pictures[0], moment.pictures[1])


def test_only_the_common_part_is_compared_and_that_is_said(sample: Sample, ffmpeg: Any) -> None:
    long, short = sample(media.cfr, frames=48), sample(media.cfr)
    for films in ([long, short], [short, long]):
        line = plan_comparison(films)
        assert line.end == Fraction(12 * 1001, 24000)
        assert any("only that part is compared" in text for text in line.notices)
        assert len(list(iter_aligned(line, ffmpeg=ffmpeg))) == 12
    assert not plan_comparison([long, short], seconds=Fraction(1, 4)).notices
    with pytest.raises(InputError, match="nothing to compare from 1 s on"):
        plan_comparison([long, short], start=Fraction(1))


def test_a_preview_is_matched_with_its_place_in_the_film(tmp_path: Path, ffmpeg: Any) -> None:
    whole, part = tmp_path / "whole.mkv", tmp_path / "part.mkv"
    media.run_ffmpeg(*media.moving_pattern(48, rate="24"), "-c:v", "ffv1", "-g", "1", whole)
    media.run_ffmpeg("-ss", "1", "-i", whole, "-frames:v", "12", "-c:v", "ffv1", part)
    line = plan_comparison([whole, part], whole, offset=Fraction(1))
    seen = list(iter_aligned(line, ffmpeg=ffmpeg))
    assert len(seen) == 12
    for moment in seen:
        np.testing.assert_array_equal(moment.pictures[0], moment.pictures[1])
        np.testing.assert_array_equal(moment.pictures[0], moment.pictures[2])
    with pytest.raises(InputError, match="ends before --offset"):
        plan_comparison([whole, part], offset=Fraction(9))


def test_a_span_holds_the_frames_of_the_whole(sample: Sample, ffmpeg: Any) -> None:
    film = sample(media.cfr, frames=48)
    every = list(iter_aligned(plan_comparison([film, film]), ffmpeg=ffmpeg))
    line = plan_comparison([film, film], start=Fraction(1), seconds=Fraction(1, 2))
    part = list(iter_aligned(line, ffmpeg=ffmpeg))
    assert [moment.time for moment in part] == [
        moment.time for moment in every if 1 <= moment.time < Fraction(3, 2)
    ]
    for moment, same in zip(part, every[24:], strict=False):
        np.testing.assert_array_equal(moment.pictures[1], same.pictures[1])


def test_deep_films_keep_their_depth_where_it_is_asked_for(sample: Sample, ffmpeg: Any) -> None:
    deep, shallow = sample(media.ten_bit), sample(media.cfr, audio=False)
    line = plan_comparison([deep, shallow])
    assert any("HDR" in text for text in line.notices)
    first = next(iter_aligned(line, deep=True, ffmpeg=ffmpeg))
    assert [picture.dtype for picture in first.pictures] == [np.uint16, np.uint16]
    assert first.pictures[1].max() > 255
    flat = next(iter_aligned(line, ffmpeg=ffmpeg))
    assert [picture.dtype for picture in flat.pictures] == [np.uint8, np.uint8]
    np.testing.assert_allclose(flat.pictures[0], first.pictures[0] / 257, atol=0.51)


def test_films_of_any_depth_are_enlarged_in_the_same_range(
    sample: Sample, tmp_path: Path, ffmpeg: Any
) -> None:
    large = tmp_path / "large.mkv"
    media.run_ffmpeg(*media.moving_pattern(6, size="128x96"), "-c:v", "ffv1", "-pix_fmt", "yuv420p", large)
    line = plan_comparison([sample(media.ten_bit), sample(media.cfr), large])
    first = next(iter_aligned(line, deep=True, ffmpeg=ffmpeg))
    flat = next(iter_aligned(line, ffmpeg=ffmpeg))
    for deep, shallow in zip(first.pictures, flat.pictures, strict=True):
        assert deep.shape == shallow.shape == (96, 128, 3)
        np.testing.assert_allclose(shallow, deep / 257, atol=0.51)
        assert 200 < shallow.max() <= 255


def test_pictures_of_another_shape_are_refused(sample: Sample, tmp_path: Path) -> None:
    wide = tmp_path / "wide.mkv"
    media.run_ffmpeg(*media.moving_pattern(size="96x48"), "-c:v", "ffv1", wide)
    with pytest.raises(InputError, match=r"96x48, shown as 2\.000:1.*cut or scale"):
        plan_comparison([sample(media.cfr), wide])
    # pixels of another shape make up for it
    media.run_ffmpeg("-i", wide, "-vf", "setsar=2/3", "-c:v", "ffv1", tmp_path / "tall.mkv")
    assert plan_comparison([sample(media.cfr), tmp_path / "tall.mkv"]).shape == Fraction(2, 3)


def test_a_damaged_film_is_an_error(sample: Sample, ffmpeg: Any) -> None:
    whole = sample(media.cfr, frames=48)
    with pytest.raises(DecodeError):
        list(iter_aligned(plan_comparison([whole, media.damaged(whole)]), ffmpeg=ffmpeg))


def test_labels(trio: Trio, tmp_path: Path) -> None:
    assert [film.label for film in plan_comparison(trio[:2], labels=["before", "after"]).films] == [
        "before",
        "after",
    ]
    with pytest.raises(UsageError, match="names 1 of 2 films"):
        plan_comparison(trio[:2], labels=["before"])
    twin = tmp_path / trio[0].name
    twin.write_bytes(trio[0].read_bytes())
    names = [film.label for film in plan_comparison([trio[0], twin]).films]
    assert names == [f"{path.parent.name}/{path.name}" for path in (trio[0], twin)]
    assert (
        escape_controls("line\nbreak\udcff") == "line\N{REPLACEMENT CHARACTER}break\N{REPLACEMENT CHARACTER}"
    )
