from __future__ import annotations

import os
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest
from video_inspection import decoded_planes, relative_times

import media_samples as media
from vsrcli.errors import DecodeError
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times
from vsrcli.media.types import Frame

Read = Callable[..., list[Frame]]
Sample = Callable[..., Path]


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (media.cfr, {}),
        (media.cfr, {"suffix": ".mkv"}),
        (media.cfr, {"suffix": ".ts"}),
        (media.vfr, {}),
        (media.vfr, {"suffix": ".mkv"}),
        (media.video_starts_late, {}),
        (media.audio_starts_late, {}),
        (media.mpegts, {"offset": 7200}),
        (media.ten_bit, {}),
        (media.interlaced, {}),
        (media.cfr, {"frames": 1}),
        (media.cfr, {"frames": 3}),
    ],
)
def test_frame_times(function: Callable[..., Path], options: dict, sample: Sample, frames: Read) -> None:
    path = sample(function, **options)
    source = probe(path)
    decoded = frames(path)
    assert [frame.time - source.start for frame in decoded] == relative_times(path)
    assert [frame.time for frame in decoded] == frame_times(source)
    assert all(frame.time_base == source.video.time_base for frame in decoded)
    assert decoded[0].time == source.video.start


def test_pixel_values(tmp_path: Path, frames: Read) -> None:
    """4:4:4, so that the only arithmetic is the matrix: Rec. ITU-R BT.601, 219 and 224 steps."""
    path = media.encoded(tmp_path, "a.mkv", "format=yuv444p", ("-c:v", "ffv1"), frames=3)
    for number, frame in enumerate(frames(path)):
        y, u, v = decoded_planes(path, index=number)
        y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
        red, blue = y + 1.402 * v, y + 1.772 * u
        green = (y - 0.299 * red - 0.114 * blue) / 0.587
        expected = np.clip(255 * np.stack([red, green, blue], -1), 0, 255)
        assert frame.pixels.dtype == np.uint8
        assert np.abs(frame.pixels - expected).max() <= 1


def test_high_bit_depth_gives_16_bits(sample: Sample, frames: Read) -> None:
    pixels = frames(sample(media.ten_bit))[0].pixels
    assert pixels.dtype == np.uint16
    assert pixels.shape == (48, 64, 3)
    assert len(np.unique(pixels)) > 256


@pytest.mark.parametrize(("degrees", "turns"), [(90, 3), (180, 2), (270, 1)])
def test_rotation_is_applied(degrees: int, turns: int, sample: Sample, frames: Read) -> None:
    upright = frames(sample(media.cfr, audio=False))
    rotated = frames(sample(media.rotated, degrees=degrees))
    for one, other in zip(upright, rotated, strict=True):
        assert (np.rot90(one.pixels, turns) == other.pixels).all()


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_mirroring_is_applied(degrees: int, sample: Sample, tmp_path: Path, frames: Read) -> None:
    path, original = tmp_path / "m.mp4", sample(media.cfr, audio=False)
    media.run_ffmpeg(
        "-display_hflip:v:0", "-display_rotation:v:0", degrees, "-i", original, "-c", "copy", path
    )
    upright = tmp_path / "upright.mkv"
    media.run_ffmpeg("-i", path, "-c:v", "ffv1", "-pix_fmt", "bgr0", upright)
    for one, other in zip(frames(path), frames(upright), strict=True):
        assert (
            np.abs(one.pixels.astype(int) - other.pixels).mean() < 12
        )  # ffmpeg's own, less careful with chroma


def test_deinterlacing_is_optional(sample: Sample, frames: Read) -> None:
    path = sample(media.interlaced)

    def combing(deinterlace: bool) -> float:
        pixels = np.stack([f.pixels for f in frames(path, deinterlace=deinterlace)]).astype(int)
        return float(np.abs(2 * pixels[:, 1:-1] - pixels[:, :-2] - pixels[:, 2:]).mean())

    assert combing(True) < combing(False)
    assert len(frames(path)) == 24


SPANS = [
    (Fraction(0), None),
    (None, Fraction(1, 5)),
    (Fraction(3003, 24000), Fraction(8008, 24000)),
    (Fraction(3003, 24000) + Fraction(1, 10**6), Fraction(8008, 24000) + Fraction(1, 10**6)),
    (Fraction(11011, 24000), None),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("span", SPANS)
def test_spans_are_exact(suffix: str, span: tuple, sample: Sample, frames: Read) -> None:
    path = sample(media.cfr, suffix=suffix, frames=24)
    source, (start, end) = probe(path), span
    whole = frames(path)
    expected = [
        frame
        for frame in whole
        if (start is None or frame.time - source.start >= start)
        and (end is None or frame.time - source.start < end)
    ]
    decoded = frames(path, start=start, end=end)
    assert [frame.pts for frame in decoded] == [frame.pts for frame in expected]
    assert all((one.pixels == other.pixels).all() for one, other in zip(decoded, expected, strict=True))


@pytest.mark.parametrize("function", [media.interlaced, media.mpegts, media.ten_bit])
def test_spans_with_inexact_seeking(function: Callable[..., Path], sample: Sample, frames: Read) -> None:
    path = sample(function)
    source, whole = probe(path), frames(path)
    for first in range(1, len(whole)):
        start = whole[first].time - source.start
        decoded = frames(path, start=start, max_frames=2)
        assert [frame.pts for frame in decoded] == [frame.pts for frame in whole[first : first + 2]]
        assert (decoded[0].pixels == whole[first].pixels).all()


def test_max_frames(sample: Sample, frames: Read) -> None:
    assert len(frames(sample(media.cfr), max_frames=5)) == 5
    assert len(frames(sample(media.cfr), max_frames=99)) == 12


def test_empty_span(sample: Sample, frames: Read) -> None:
    with pytest.raises(DecodeError, match=r"no frame.*span"):
        frames(sample(media.cfr), start=Fraction(100))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize("fraction", [0.5, 0.8])
def test_truncation_raises(suffix: str, fraction: float, tmp_path: Path, frames: Read) -> None:
    whole = media.cfr(tmp_path, frames=48, suffix=suffix)
    path = media.truncated(whole, fraction=fraction)
    assert path.stat().st_size % 188 != 0
    with pytest.raises(DecodeError, match=r"after \d+ frames: the file is truncated") as caught:
        frames(path)
    assert str(path) in str(caught.value)


def test_span_before_truncation(tmp_path: Path, frames: Read) -> None:
    path = media.truncated(media.cfr(tmp_path, frames=48), fraction=0.7)
    assert len(frames(path, end=Fraction(1, 4))) == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
def test_damage_raises(suffix: str, tmp_path: Path, frames: Read, ffmpeg: Ffmpeg) -> None:
    path = media.damaged(media.cfr(tmp_path, frames=96, suffix=suffix, audio=False), length=3000)
    with pytest.raises(DecodeError, match=r"after \d+ frames") as caught:
        frames(path)
    assert caught.value.details
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        assert len(list(decoder)) > 48
    assert decoder.warnings


def test_recording_begins_between_key_frames(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    path = media.mpegts_mid_stream(tmp_path)
    with Decoder(probe(path), ffmpeg=ffmpeg) as decoder:
        decoded = list(decoder)
    with Decoder(probe(path), tolerant=True, ffmpeg=ffmpeg) as decoder:
        assert [frame.pts for frame in decoder] == [frame.pts for frame in decoded]
    assert 24 <= len(decoded) < 48
    assert np.diff([frame.pts for frame in decoded]).tolist() == [3600] * (len(decoded) - 1)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_decoder_raises(number: signal.Signals, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    path = media.encoded(tmp_path, "long.mkv", "format=yuv420p", ("-c:v", "ffv1"), frames=300, size="256x192")
    decoder = Decoder(probe(path), ffmpeg=ffmpeg)

    def read() -> None:
        with decoder:
            for index, _ in enumerate(decoder):
                if index == 3:
                    assert decoder.pid is not None
                    os.kill(decoder.pid, number)

    with pytest.raises(DecodeError, match="ffmpeg stopped") as caught:
        read()
    assert f"after {decoder.frame_count} frames" in str(caught.value)
    assert 3 < decoder.frame_count <= 300


def test_early_exit_ends_ffmpeg(sample: Sample, ffmpeg: Ffmpeg) -> None:
    with Decoder(probe(sample(media.cfr)), ffmpeg=ffmpeg) as decoder:
        next(iter(decoder))
        pid = decoder.pid
    assert pid is not None
    assert not psutil.pid_exists(pid)


@pytest.mark.parametrize("second", ["32x32", "48x64"])
def test_size_change_raises(second: str, tmp_path: Path, frames: Read) -> None:
    """Two H.264 streams in one: what a camera writes that is turned or switched while it runs."""
    streams = []
    for size in ("64x48", second):
        file = tmp_path / f"{size}.h264"
        media.run_ffmpeg(
            *media.moving_pattern(6, size=size), "-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", 0, file
        )
        streams.append(file.read_bytes())
    both, path = tmp_path / "both.h264", tmp_path / "both.ts"
    both.write_bytes(b"".join(streams))
    media.run_ffmpeg("-i", both, "-c", "copy", path)
    with pytest.raises(DecodeError, match=rf"the frame size changes from 64x48 to {second}") as caught:
        frames(path)
    assert second == "48x64" or "after 6 frames" in str(caught.value)


def test_no_decodable_frame(tmp_path: Path, frames: Read) -> None:
    whole = media.cfr(tmp_path, audio=False)
    path = media.truncated(whole, fraction=0.2)
    with pytest.raises(DecodeError, match="after 0 frames"):
        frames(path)


def test_special_characters_in_names(sample: Sample, tmp_path: Path, frames: Read) -> None:
    for name in ("-y.mp4", "a%03d.mp4", "file:x.mp4", "a 'b' \"c\" ü|&;$HOME.mp4"):
        path = tmp_path / name
        path.write_bytes(sample(media.cfr).read_bytes())
        assert len(frames(path)) == 12
