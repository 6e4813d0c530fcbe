"""Carrying on over damage: every frame of the film has its place, and what was replaced is told."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_samples as media
from vsrcli.errors import DecodeError
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.raw_reader import DamageConcealer
from vsrcli.media.safety import find_bad_ts_packets
from vsrcli.media.timing import frame_ticks
from vsrcli.media.types import Frame, Source

Sample = Callable[..., Path]
X264 = ("-c:v", "libx264", "-g", "12", "-threads", "1", "-pix_fmt", "yuv420p")


def mended(
    source: Source, given: list[int], held: list[int], *, damaged: bool = True
) -> tuple[list[Any], Any]:
    """(time, time of the picture shown) for every frame; the file has those at ``held``."""
    frames = [Frame(np.full((1, 1, 3), at % 256, np.uint8), at, Fraction(1, 1000)) for at in given]
    mender = DamageConcealer(source, np.array(held), lambda: damaged)
    return [(frame.pts, int(frame.pixels[0, 0, 0])) for frame in mender.conceal(frames)], mender


@pytest.fixture
def source(sample: Sample) -> Source:
    return probe(sample(media.cfr, suffix=".mkv"))


def test_gaps_show_the_frame_before(source: Source) -> None:
    shown, mender = mended(source, [0, 40, 160, 200], [0, 40, 80, 120, 160, 200])
    assert shown == [(0, 0), (40, 40), (80, 40), (120, 40), (160, 160), (200, 200)]
    assert mender.replaced_ticks == [80, 120]
    assert mender.summary() == (
        "2 damaged frames were replaced by the frame before: at 0:00:00.080 to 0:00:00.120"
    )


def test_ends_are_filled_too(source: Source) -> None:
    shown, mender = mended(source, [80, 120], [0, 40, 80, 120, 160])
    assert shown == [(0, 80), (40, 80), (80, 80), (120, 120), (160, 120)]
    assert mender.summary().endswith("at 0:00:00.000 to 0:00:00.040, 0:00:00.160")


def test_nothing_is_filled_where_nothing_is_damaged(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packets for one picture, as in interlaced H.264, are no gap; later damage does not change that."""
    monkeypatch.setattr("vsrcli.media.raw_reader._CONFIRMATION_SECONDS", 0.05)
    shown, mender = mended(source, [0, 40, 80], [0, 20, 40, 60, 80, 100], damaged=False)
    assert [at for at, _ in shown] == [0, 40, 80]
    assert mender.summary() is None


def test_long_lists_are_cut(source: Source) -> None:
    held = list(range(0, 4000, 40))
    _, mender = mended(source, held[::2], held)
    assert mender.summary().endswith(" and 30 more places")


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("h264.mp4", X264),
        ("mpeg4.avi", ("-c:v", "mpeg4", "-g", "12", "-q:v", "2")),
        ("mjpeg.mov", ("-c:v", "mjpeg", "-q:v", "2")),
        ("av1.mp4", ("-c:v", "libsvtav1", "-g", "12", "-crf", "10")),
    ],
)
def test_as_many_frames_at_their_times(
    name: str, encoder: tuple[str, ...], tmp_path: Path, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "0")
    whole = tmp_path / name
    media.run_ffmpeg(*media.moving_pattern(48, rate="25"), *encoder, whole)
    path = media.damaged(whole, length=600)
    source = probe(path)
    with (
        pytest.raises(DecodeError, match=r"after (12|24) frames.*--keep-going"),
        _reading(source, ffmpeg) as it,
    ):
        list(it)
    with Decoder(source, tolerant=True, ffmpeg=ffmpeg) as decoder:
        got = [frame.pts for frame in decoder]
    assert got == frame_ticks(probe(whole)).tolist()
    assert "replaced by the frame before: at 0:00:0" in decoder.warnings[0]
    assert "damaged" in decoder.warnings[-1]


def _reading(source: Source, ffmpeg: Ffmpeg) -> Decoder:
    return Decoder(source, ffmpeg=ffmpeg)


def test_a_span_of_a_damaged_film(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    whole = tmp_path / "film.mp4"
    media.run_ffmpeg(*media.moving_pattern(48, rate="25"), *X264, whole)
    path = media.damaged(whole, length=600)
    with Decoder(probe(path), start=Fraction(4, 5), tolerant=True, ffmpeg=ffmpeg) as decoder:
        got = [frame.time for frame in decoder]
    assert got == [Fraction(number, 25) for number in range(20, 48)]


def test_an_undamaged_film_is_the_same(sample: Sample, ffmpeg: Ffmpeg) -> None:
    source = probe(sample(media.vfr))
    with Decoder(source, ffmpeg=ffmpeg) as plain, Decoder(source, tolerant=True, ffmpeg=ffmpeg) as other:
        for one, two in zip(plain, other, strict=True):
            assert one.pts == two.pts
            np.testing.assert_array_equal(one.pixels, two.pixels)
    assert other.warnings == []


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_film_that_breaks_off(suffix: str, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    path = media.truncated(media.cfr(tmp_path, frames=48, suffix=suffix))
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        assert 20 <= len(list(decoder)) < 40
    assert any("truncated" in text for text in decoder.warnings)


@pytest.fixture
def torn(tmp_path: Path) -> Path:
    """A transport stream in which three packets are none any more: libavformat says nothing about it."""
    path = media.mpegts(tmp_path)
    data = bytearray(path.read_bytes())
    for packet in range(30, 33):
        data[188 * packet] = 0
    path.write_bytes(data)
    return path


def test_packets_that_are_none(torn: Path, sample: Sample, ffmpeg: Ffmpeg) -> None:
    assert find_bad_ts_packets(torn) == "3 of its transport packets are corrupt, the first at byte 5640"
    assert find_bad_ts_packets(sample(media.mpegts)) is None
    assert find_bad_ts_packets(sample(media.cfr)) is None
    with Decoder(probe(torn), tolerant=True, ffmpeg=ffmpeg) as decoder:
        list(decoder)
    assert any("3 of its transport packets" in text for text in decoder.warnings)
