"""Concealing damage: the number of frames and their times are preserved, replaced frames are listed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import media_samples as media
from vsrcli.errors import DecodeError
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.raw_reader import DamageConcealer
from vsrcli.media.timing import find_jump_back, frame_ticks
from vsrcli.media.truncation import find_bad_ts_packets
from vsrcli.media.types import Frame, Source

Sample = Callable[..., Path]
X264 = ("-c:v", "libx264", "-g", "12", "-threads", "1", "-pix_fmt", "yuv420p")


def concealed(
    source: Source, decoded: list[int], in_file: list[int], *, damaged: bool = True
) -> tuple[list[Any], Any]:
    """(time, time of the frame it repeats) for every output frame; the file has frames at ``in_file``."""
    frames = [Frame(np.full((1, 1, 3), at % 256, np.uint8), at, Fraction(1, 1000)) for at in decoded]
    concealer = DamageConcealer(source, np.array(in_file), lambda: damaged)
    return [(frame.pts, int(frame.pixels[0, 0, 0])) for frame in concealer.conceal(frames)], concealer


@pytest.fixture
def source(sample: Sample) -> Source:
    return probe(sample(media.cfr, suffix=".mkv"))


def test_gaps_repeat_the_frame_before(source: Source) -> None:
    shown, concealer = concealed(source, [0, 40, 160, 200], [0, 40, 80, 120, 160, 200])
    assert shown == [(0, 0), (40, 40), (80, 40), (120, 40), (160, 160), (200, 200)]
    assert concealer.replaced_ticks == [80, 120]
    assert concealer.summary() == (
        "2 damaged frames were replaced by the frame before: at 0:00:00.080 to 0:00:00.120"
    )


def test_gaps_at_both_ends(source: Source) -> None:
    shown, concealer = concealed(source, [80, 120], [0, 40, 80, 120, 160])
    assert shown == [(0, 80), (40, 80), (80, 80), (120, 120), (160, 120)]
    assert concealer.summary().endswith("at 0:00:00.000 to 0:00:00.040, 0:00:00.160")


def test_gap_before_damage_is_reported(source: Source) -> None:
    """ffmpeg may report it only after later frames, if its pipe was full: they are read meanwhile."""
    reports: list[str] = []

    def decoded() -> Iterator[Frame]:
        for at in (0, 80, 120, 160):
            if at == 160:
                reports.append("damaged")
            yield Frame(np.full((1, 1, 3), at, np.uint8), at, Fraction(1, 1000))

    concealer = DamageConcealer(source, np.array([0, 40, 80, 120, 160]), lambda: bool(reports))
    assert [frame.pts for frame in concealer.conceal(decoded())] == [0, 40, 80, 120, 160]
    assert concealer.replaced_ticks == [40]


def test_damage_after_a_harmless_gap(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gap without damage does not keep later ones from being filled."""
    monkeypatch.setattr("vsrcli.media.raw_reader._CONFIRMATION_SECONDS", 0)
    in_file = list(range(0, 2000, 40))
    lost = {80, 1600}
    shown: list[int] = []
    frames = [Frame(np.zeros((1, 1, 3), np.uint8), at, Fraction(1, 1000)) for at in in_file if at not in lost]
    concealer = DamageConcealer(source, np.array(in_file), lambda: len(shown) > 20)
    for frame in concealer.conceal(frames):
        shown.append(frame.pts)
    assert shown == [at for at in in_file if at != 80]


def test_gaps_without_damage_stay(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two packets for one frame, as in interlaced H.264, are no gap; later damage does not change that."""
    monkeypatch.setattr("vsrcli.media.raw_reader._CONFIRMATION_SECONDS", 0.05)
    shown, concealer = concealed(source, [0, 40, 80], [0, 20, 40, 60, 80, 100], damaged=False)
    assert [at for at, _ in shown] == [0, 40, 80]
    assert concealer.summary() is None


def test_summary_is_limited(source: Source) -> None:
    in_file = list(range(0, 4000, 40))
    _, concealer = concealed(source, in_file[::2], in_file)
    assert concealer.summary().endswith(" and 30 more places")


@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("h264.mp4", X264),
        ("mpeg4.avi", ("-c:v", "mpeg4", "-g", "12", "-q:v", "2")),
        ("mjpeg.mov", ("-c:v", "mjpeg", "-q:v", "2")),
        ("av1.mp4", ("-c:v", "libsvtav1", "-g", "12", "-crf", "10")),
    ],
)
def test_frame_count_and_times_are_preserved(
    name: str, encoder: tuple[str, ...], tmp_path: Path, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SVT_LOG", "0")
    whole = tmp_path / name
    media.run_ffmpeg(*media.moving_pattern(48, rate="25"), *encoder, whole)
    path = media.damaged(whole, length=600)
    source = probe(path)
    with (
        pytest.raises(DecodeError, match=r"after (12|24) frames.*--keep-going"),
        _open_decoder(source, ffmpeg) as it,
    ):
        list(it)
    with Decoder(source, tolerant=True, ffmpeg=ffmpeg) as decoder:
        got = [frame.pts for frame in decoder]
    assert got == frame_ticks(probe(whole)).tolist()
    assert "replaced by the frame before: at 0:00:0" in decoder.warnings[0]
    assert "damaged" in decoder.warnings[-1]


def _open_decoder(source: Source, ffmpeg: Ffmpeg) -> Decoder:
    return Decoder(source, ffmpeg=ffmpeg)


def test_span_of_damaged_video(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    whole = tmp_path / "video.mp4"
    media.run_ffmpeg(*media.moving_pattern(48, rate="25"), *X264, whole)
    path = media.damaged(whole, length=600)
    with Decoder(probe(path), start=Fraction(4, 5), tolerant=True, ffmpeg=ffmpeg) as decoder:
        got = [frame.time for frame in decoder]
    assert got == [Fraction(number, 25) for number in range(20, 48)]


def test_undamaged_video_is_identical(sample: Sample, ffmpeg: Ffmpeg) -> None:
    source = probe(sample(media.vfr))
    with Decoder(source, ffmpeg=ffmpeg) as plain, Decoder(source, tolerant=True, ffmpeg=ffmpeg) as other:
        for one, two in zip(plain, other, strict=True):
            assert one.pts == two.pts
            np.testing.assert_array_equal(one.pixels, two.pixels)
    assert other.warnings == []


def test_decoder_that_gets_stuck(tmp_path: Path, ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch) -> None:
    """ffmpeg's decoder of H.264 gives no frame after a lost reference, and at the end one error for ever."""
    monkeypatch.setattr("vsrcli.media.raw_reader._STANDSTILL_SECONDS", 1)
    whole = media.cfr(tmp_path, frames=48, suffix=".mkv", audio=False)
    path = media.without_packet(whole, 6)
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        frames = list(decoder)
    assert [frame.pts for frame in frames] == frame_ticks(probe(whole)).tolist()
    assert any("shown as far as they can be decoded" in text for text in decoder.warnings)
    with Decoder(probe(whole), ffmpeg=ffmpeg) as decoder:
        difference = [
            float(np.abs(one.pixels.astype(float) - other.pixels).mean())
            for one, other in zip(decoder, frames, strict=True)
        ]
    assert max(difference[24:]) < 10  # not a still for the rest of the video


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_truncated_video(suffix: str, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    path = media.truncated(media.cfr(tmp_path, frames=48, suffix=suffix))
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        assert 20 <= len(list(decoder)) < 40
    assert any("truncated" in text for text in decoder.warnings)


@pytest.fixture
def corrupt_ts(tmp_path: Path) -> Path:
    """A transport stream with three corrupt packets, which libavformat skips silently."""
    path = media.mpegts(tmp_path)
    data = bytearray(path.read_bytes())
    for packet in range(30, 33):
        data[188 * packet] = 0
    path.write_bytes(data)
    return path


def test_corrupt_transport_packets(corrupt_ts: Path, sample: Sample, ffmpeg: Ffmpeg) -> None:
    assert find_bad_ts_packets(corrupt_ts) == "3 of its transport packets are corrupt, the first at byte 5640"
    assert find_bad_ts_packets(sample(media.mpegts)) is None
    assert find_bad_ts_packets(sample(media.cfr)) is None
    with Decoder(probe(corrupt_ts), tolerant=True, ffmpeg=ffmpeg) as decoder:
        list(decoder)
    assert any("3 of its transport packets" in text for text in decoder.warnings)


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("suffix", [".ts", ".mpg"])
def test_two_recordings_in_one_file(suffix: str, tolerant: bool, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """Their clocks begin at the same time: an error, whose command makes one recording of them."""
    one, path = (tmp_path / f"{name}{suffix}" for name in ("one", "two"))
    encoder = "-c:v", "mpeg2video", "-q:v", "2", "-bf", "2"
    media.run_ffmpeg(*media.moving_pattern(30, rate="25"), *encoder, one)
    path.write_bytes(one.read_bytes() * 2)
    with (
        pytest.raises(DecodeError, match=r"timestamps jump back by 1\.\d+ s after 0:00:01\.") as caught,
        Decoder(probe(path), tolerant=tolerant, ffmpeg=ffmpeg) as decoder,
    ):
        list(decoder)
    command = shlex.split(str(caught.value).partition("first: ")[2])
    assert command[0] == "ffmpeg"
    joined = tmp_path / command[-1]
    media.run_ffmpeg(*command[1:-1], joined)
    with Decoder(probe(joined), ffmpeg=ffmpeg) as decoder:
        assert len(list(decoder)) == 60


@pytest.mark.parametrize("limit", [{"end": Fraction(1)}, {"max_frames": 20}], ids=str)
def test_what_lies_before_a_jump_can_be_decoded(limit: Any, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    one = tmp_path / "one.ts"
    media.run_ffmpeg(*media.moving_pattern(50, rate="25"), "-c:v", "mpeg2video", "-q:v", "2", one)
    path = tmp_path / "two.ts"
    path.write_bytes(one.read_bytes() * 2)
    source = probe(path)
    frames = []
    for tolerant in (False, True):
        with Decoder(source, tolerant=tolerant, ffmpeg=ffmpeg, **limit) as decoder:
            frames.append(list(decoder))
        assert decoder.warnings == []
    assert len(frames[0]) in (20, 25)
    assert [frame.time for frame in frames[0]] == [frame.time for frame in frames[1]]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(*frames, strict=True))


def test_other_timestamps_do_not_jump_back(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for function in (media.mpegts, media.mpegts_wrapping, media.mpegts_mid_stream, media.vfr, media.avi):
        assert find_jump_back(probe(function(tmp_path))) is None
    source = probe(sample(media.mpegts))
    one_wrong = [3600 * number for number in range(20)]
    one_wrong[8] = 2**32
    packets = [
        SimpleNamespace(dts=ticks, pts=ticks, size=1, is_discard=False, time_base=None) for ticks in one_wrong
    ]
    monkeypatch.setattr("vsrcli.media.timing.packets_of", lambda source: packets)
    assert find_jump_back(source) is None


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("header", [0, 8])
def test_h264_in_avi(bframes: int, header: int, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """It has no timestamps: a lost packet must not move all later frames forward."""
    whole = tmp_path / "video.avi"
    options = "-c:v", "libx264", "-bf", bframes, "-g", "12", "-threads", "1", "-pix_fmt", "yuv420p"
    media.run_ffmpeg(*media.moving_pattern(48, rate="25"), *options, whole)
    with Decoder(probe(whole), ffmpeg=ffmpeg) as decoder:
        expected = list(decoder)
    with Decoder(probe(whole), tolerant=True, ffmpeg=ffmpeg) as decoder:
        assert [frame.pts for frame in decoder] == [frame.pts for frame in expected]
    path = media.without_packet(whole, 15, header=header)
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        frames = list(decoder)
    assert "1 damaged frame was replaced by the frame before: at 0:00:00." in decoder.warnings[0]
    assert [frame.pts for frame in frames] == [frame.pts for frame in expected]
    for one, other in zip(expected[24:], frames[24:], strict=True):
        np.testing.assert_array_equal(one.pixels, other.pixels)
