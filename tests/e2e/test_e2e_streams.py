"""Every kind of stream and container through the whole program: transparency, HDR, damage, and refusals."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from inspecting import times

import media_samples as media
from terminal import Outcome
from vsrcli.frames.pixels import fill_transparent, resize_alpha
from vsrcli.frames.resample import interpolate
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times
from vsrcli.media.types import Frame
from vsrcli.pipeline.shot_upscaler import ShotUpscaler

Vsr = Callable[..., Outcome]
Sample = Callable[..., Path]
BICUBIC = ("-m", "bicubic", "-s", "2")


def y4m(folder: Path) -> Path:
    return media.encoded(folder, "video.y4m", "format=yuv420p", (), frames=6)


def webm(folder: Path) -> Path:
    path = folder / "video.webm"
    sound = ("-c:a", "libopus", "-c:v", "libvpx-vp9", "-crf", "20", "-b:v", "0", "-pix_fmt", "yuv420p")
    media.run_ffmpeg(*media.moving_pattern(6), *media.sine_tone(0.25), *sound, path)
    return path


INPUTS = [
    (media.cfr, {}),
    (media.cfr, {"suffix": ".mov"}),
    (media.cfr, {"suffix": ".mkv"}),
    (media.mpegts, {}),
    (media.avi, {"codec": "mpeg4"}),
    (media.gif, {}),
    (webm, {}),
    (y4m, {}),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
@pytest.mark.parametrize(("function", "options"), INPUTS)
def test_every_container_into_every_other(
    function: Callable[..., Path], options: dict, suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    path, target = sample(function, **options), tmp_path / f"out{suffix}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    before, after = probe(path), probe(target)
    assert (after.video.width, after.video.height) == (128, 96)
    # Matroska ticks in milliseconds, and Opus begins 6.5 ms before the image.
    late = (
        0
        if suffix in (".mp4", ".mov")
        else Fraction(1, 1000)
        if not after.other_streams
        else Fraction(2, 1000)
    )
    assert len(times(target)) == len(times(path))
    assert max(abs(a - b) for a, b in zip(times(target), times(path), strict=True)) <= late
    assert [other.kind for other in after.other_streams] == [other.kind for other in before.other_streams]
    for old, new in zip(before.other_streams, after.other_streams, strict=True):
        assert old.codec == new.codec or f"note: audio #{old.index}" in done.err


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
@pytest.mark.parametrize(
    ("function", "dropped"),
    [(media.empty_audio, "audio #2"), (media.unknown_audio, "audio #2"), (media.ttml, "subtitle #2")],
)
def test_a_stream_that_cannot_be_used_is_dropped_with_a_notice(
    function: Callable[..., Path], dropped: str, suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    path, target = sample(function), tmp_path / f"out{suffix}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    assert re.search(rf"note: {dropped} \(.*\) is dropped: .*(known|cannot decode ttml)", done.err)
    assert [other.kind for other in probe(target).other_streams] == ["audio"]
    assert len(times(target)) == len(times(path))


def see_through(path: Path, ffmpeg: Ffmpeg) -> list[Frame]:
    with Decoder(probe(path), alpha=True, ffmpeg=ffmpeg) as decoder:
        return list(decoder)


# A soft white disc, black where it is transparent.
SOFT = (
    "format=rgba,geq=r='255*lt(hypot(X-32,Y-24),20)':g='255*lt(hypot(X-32,Y-24),20)'"
    ":b='255*lt(hypot(X-32,Y-24),20)':a='clip(64*(20-hypot(X-32,Y-24)),0,255)'"
)


@pytest.mark.parametrize("suffix", [".webm", ".mov", ".mkv"])
def test_a_white_disc_keeps_white_edges(
    suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr, ffmpeg: Ffmpeg
) -> None:
    path, target = sample(media.transparent, alpha_filter=SOFT), tmp_path / f"out{suffix}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0, done.err
    assert times(target) == times(path)
    for before, after in zip(see_through(path, ffmpeg), see_through(target, ffmpeg), strict=True):
        assert before.alpha is not None
        assert after.alpha is not None
        full = np.iinfo(after.pixels.dtype).max
        colours, opacity = after.pixels / full, after.alpha / full
        wanted = resize_alpha(before.alpha, 96, 128) / 255
        assert np.abs(opacity - wanted).max() < 0.03
        filled = fill_transparent(before.pixels, before.alpha) / np.float32(255)
        image = interpolate(filled, 2).clip(0, 1)
        assert np.abs(colours - image)[wanted > 0.1].max() < 0.06
        on_white = colours * opacity[..., None] + 1 - opacity[..., None]
        assert on_white.min() > 0.95  # no dark fringe


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("vp9.webm", ".webm"), ("prores.mov", ".mov"), ("rgb.mkv", ".mkv"), ("png.mov", ".mov")],
)
def test_transparency_goes_along(
    name: str, suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr, ffmpeg: Ffmpeg
) -> None:
    path, target = sample(media.transparent, name=name), tmp_path / f"out{suffix}"
    assert vsr("upscale", path, target, *BICUBIC).status == 0
    ramp = np.clip(8 * ((np.arange(128) + 0.5) / 2 - 0.5), 0, 255)
    for frame in see_through(target, ffmpeg):
        assert frame.alpha is not None
        assert np.abs(frame.alpha / np.iinfo(frame.alpha.dtype).max * 255 - ramp).max() < 5


class Late:
    """A stream that answers a frame two pushes later."""

    def __init__(self) -> None:
        self._waiting: list[np.ndarray] = []

    def push(self, frame: np.ndarray) -> np.ndarray | None:
        self._waiting.append(frame.repeat(2, 0).repeat(2, 1))
        return self._waiting.pop(0) if len(self._waiting) > 2 else None

    def flush(self) -> list[np.ndarray]:
        return self._waiting


def test_each_picture_keeps_its_own_transparency() -> None:
    shades = [np.full((4, 4), 100 + 10 * number, np.uint8) for number in range(5)]
    frames = [
        Frame(np.full((4, 4, 3), number, np.uint8), number, Fraction(1, 25), shade)
        for number, shade in enumerate(shades)
    ]
    for number, frame in enumerate(ShotUpscaler(Late).upscale(frames)):  # type: ignore[arg-type]
        assert (frame.pts, frame.pixels.max()) == (number, number)
        assert frame.alpha is not None
        np.testing.assert_array_equal(frame.alpha, np.full((8, 8), 100 + 10 * number))


def test_transparency_is_dropped_with_a_word(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    done = vsr("upscale", sample(media.transparent), tmp_path / "out.mp4", *BICUBIC)
    assert done.status == 0
    assert "note: transparency is dropped: libx264 in MP4" in done.err
    opaque = vsr("upscale", sample(media.gif), tmp_path / "gif.mp4", *BICUBIC)
    assert "note: transparency" not in opaque.err


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".webm"])
def test_hdr10(suffix: str, sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    path, target = sample(media.hdr10), tmp_path / f"out{suffix}"
    done = vsr("upscale", path, target, *BICUBIC)
    assert done.status == 0
    before, after = probe(path).video, probe(target).video
    assert (after.mastering_display, after.content_light) == (before.mastering_display, before.content_light)
    assert (after.pix_fmt, after.color.transfer) == ("yuv420p10le", "smpte2084")
    assert "HDR" not in done.err


def test_a_slide_show(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    target = tmp_path / "out.mp4"
    assert vsr("upscale", sample(media.gif), target, *BICUBIC).status == 0
    assert times(target) == [0, Fraction(1, 5), Fraction(3, 5), Fraction(6, 5)]
    assert probe(target).video.duration == 2


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_tags_of_ogg(suffix: str, tmp_path: Path, vsr: Vsr) -> None:
    """They are those of its streams there, and of the file elsewhere."""
    path, target = tmp_path / "video.ogv", tmp_path / f"out{suffix}"
    tags = {"title": "A day = a year", "artist": "Someone", "date": "2024"}
    written = [part for key, value in tags.items() for part in ("-metadata", f"{key}={value}")]
    media.run_ffmpeg(*media.moving_pattern(6), *written, "-c:v", "libtheora", path)
    assert vsr("upscale", path, target, *BICUBIC).status == 0
    found = probe(target).metadata
    assert {key: found.get(key) for key in tags} == tags
    assert "title: A day = a year" in vsr("info", path).out


def test_through_a_link(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    (tmp_path / "disk").mkdir()
    real, link = tmp_path / "disk" / "real.mp4", tmp_path / "link.mp4"
    real.write_text("old")
    link.symlink_to(real)
    vsr("upscale", sample(media.cfr), link, *BICUBIC).fails(1, "exists", "--overwrite")
    assert vsr("upscale", sample(media.cfr), link, *BICUBIC, "-y").status == 0
    assert link.is_symlink()
    assert len(times(real)) == 12
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["real.mp4"]


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    whole = tmp_path / "whole.mp4"
    x264 = ("-c:v", "libx264", "-g", "12", "-threads", "1", "-pix_fmt", "yuv420p")
    media.run_ffmpeg(
        *media.moving_pattern(48, rate="25"), *media.sine_tone(1.92), *x264, "-c:a", "aac", whole
    )
    return media.damaged(whole, at=0.4, length=300)


def test_damage_stops_the_video_or_is_listed(damaged: Path, tmp_path: Path, vsr: Vsr) -> None:
    target = tmp_path / "out.mp4"
    vsr("upscale", damaged, target, *BICUBIC).fails(1, damaged.name, "after ", "frames", "--keep-going")
    assert not target.exists()
    done = vsr("upscale", damaged, target, *BICUBIC, "--keep-going")
    assert done.status == 0, done.err
    assert times(target) == [Fraction(number, 25) for number in range(48)]
    lines = done.err.splitlines()
    assert any(
        line.startswith("  warning: ") and "replaced by the frame before: at" in line for line in lines
    )
    assert lines[-1].startswith("48 frames in ")


def test_a_torn_transport_stream(sample: Sample, tmp_path: Path, vsr: Vsr) -> None:
    """The missing packets would be missing frames, and nobody would say so."""
    path = tmp_path / "torn.ts"
    data = bytearray(sample(media.mpegts).read_bytes())
    data[188 * 30 : 188 * 31] = bytes(188)
    path.write_bytes(data)
    vsr("upscale", path, tmp_path / "out.mp4", *BICUBIC).fails(1, "torn.ts", "byte 5640", "--keep-going")
    done = vsr("upscale", path, tmp_path / "out.mp4", *BICUBIC, "--keep-going")
    assert done.status == 0
    assert "warning: the file is damaged: 1 of its transport packets" in done.err


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (["-e", "t=1"], 2, ["-e t=1", "--end"]),
        (["-e", "frames:v=5"], 2, ["--frames"]),
        (["-e", "map=0:a"], 2, ["which streams"]),
        (["--crf", "99"], 2, ["--crf 99", "libx264", "0 to 51"]),
        (["--codec", "av1", "--crf", "20.5"], 2, ["whole numbers"]),
        (["-e", "vf=fps=60"], 1, ["ffmpeg refuses"]),
        (["--start", "0.49"], 1, ["0.5005 s long", "no frame in the chosen span", "--start 0.49"]),
        (["--start", "0.05", "--end", "0.06"], 1, ["no frame in the chosen span"]),
        (["--start", "100"], 1, ["span"]),
    ],
)
def test_refused_before_the_network_starts(
    options: list[str], status: int, words: list[str], sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    done = vsr("upscale", sample(media.cfr), tmp_path / "out.mp4", *BICUBIC, *options)
    done.fails(status, *words)
    assert "engine:" not in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [media.cfr, media.mpegts, media.vfr, media.avi])
def test_a_span_at_the_very_end(
    function: Callable[..., Path], sample: Sample, tmp_path: Path, vsr: Vsr
) -> None:
    path = sample(function)
    source = probe(path)
    start = float(frame_times(source)[-1] - source.start) - 0.001
    done = vsr("upscale", path, tmp_path / "out.mkv", *BICUBIC, "--start", f"{start:.6f}")
    assert done.status == 0, done.err
    assert len(times(tmp_path / "out.mkv")) == 1
