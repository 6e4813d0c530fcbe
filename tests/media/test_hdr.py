"""HDR metadata of the source reaches the output."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import media_samples as media
from vsrcli.media import color
from vsrcli.media.containers import choose_container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe
from vsrcli.media.types import ContentLightLevel, MasteringDisplay

Sample = Callable[..., Path]
P3 = MasteringDisplay(  # values of media.hdr10
    red=(Fraction(17, 25), Fraction(8, 25)),
    green=(Fraction(53, 200), Fraction(69, 100)),
    blue=(Fraction(3, 20), Fraction(3, 50)),
    white=(Fraction(3127, 10000), Fraction(329, 1000)),
    min_luminance=Fraction(1, 200),
    max_luminance=Fraction(1000),
)
FORMATTED = "G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"


def test_probed_metadata(sample: Sample) -> None:
    for suffix in (".mkv", ".mp4", ".webm"):
        video = probe(sample(media.hdr10, suffix=suffix)).video
        assert (video.mastering_display, video.content_light) == (P3, ContentLightLevel(1000, 400))
    assert probe(sample(media.hlg)).video.mastering_display is None


@pytest.mark.parametrize(
    ("target", "codec"),
    [
        ("a.mkv", None),
        ("a.mp4", None),
        ("a.mov", None),
        ("a.webm", None),
        ("a.mkv", "libx264"),
        ("a.mkv", "libsvtav1"),
        ("a.mov", "prores_ks"),
        ("a.mkv", "ffv1"),
    ],
)
def test_metadata_is_kept(
    target: str, codec: str | None, sample: Sample, tmp_path: Path, upscale: Callable[..., Any]
) -> None:
    path = sample(media.hdr10)
    result = upscale(path, tmp_path / target, codec=codec)
    before, after = probe(path).video, probe(tmp_path / target).video
    assert after.bit_depth >= 10
    assert after.content_light == before.content_light
    assert after.mastering_display is not None
    assert color.format_mastering_display(after.mastering_display) is not None
    for expected, actual in zip(
        _values(before.mastering_display), _values(after.mastering_display), strict=True
    ):
        assert abs(expected - actual) <= Fraction(1, 2**14)  # AV1's precision
    assert (after.color.transfer, after.color.matrix) == ("smpte2084", "bt2020nc")
    assert not any("HDR" in text for text in result.notices)


def _values(display: MasteringDisplay | None) -> list[Fraction]:
    assert display is not None
    assert display.min_luminance is not None
    assert display.max_luminance is not None
    points = [display.red, display.green, display.blue, display.white]
    return [
        *(each for point in points if point for each in point),
        display.min_luminance,
        display.max_luminance,
    ]


def test_hlg_keeps_its_tags(sample: Sample, tmp_path: Path, upscale: Callable[..., Any]) -> None:
    upscale(sample(media.hlg), tmp_path / "a.mp4")
    video = probe(tmp_path / "a.mp4").video
    assert (video.pix_fmt, video.color.transfer) == ("yuv420p10le", "arib-std-b67")


class Before81(Ffmpeg):
    """An ffmpeg without the options for HDR metadata."""

    def help(self, topic: str) -> str:
        return "" if topic == "long" else super().help(topic)


def test_older_ffmpeg_uses_the_encoders_options(
    sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg, upscale: Callable[..., Any]
) -> None:
    older = Before81(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    path = sample(media.hdr10)
    for codec in ("libx265", "libsvtav1"):
        result = upscale(path, tmp_path / f"{codec}.mkv", codec=codec, ffmpeg=older)
        video = probe(tmp_path / f"{codec}.mkv").video
        assert video.content_light == ContentLightLevel(1000, 400)
        for expected, actual in zip(_values(P3), _values(video.mastering_display), strict=True):
            assert abs(expected - actual) <= Fraction(1, 2**14)  # AV1's precision
        assert not any("HDR" in text for text in result.notices)
    options = EncodeOptions(codec="ffv1")
    result = plan_output(
        probe(path),
        tmp_path / "b.mkv",
        choose_container(tmp_path / "b.mkv", None, ffmpeg),
        width=64,
        height=48,
        options=options,
        ffmpeg=older,
    )
    assert any("HDR" in text and "lost" in text for text in result.notices)


def test_x265_parameters_of_the_user_are_appended(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    older = Before81(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    options = EncodeOptions(extra=(("x265-params", "aq-mode=3"),))
    result = plan_output(
        probe(sample(media.hdr10)),
        tmp_path / "b.mkv",
        choose_container(tmp_path / "b.mkv", None, ffmpeg),
        width=64,
        height=48,
        options=options,
        ffmpeg=older,
    )
    assert dict(result.video_options)["x265-params"] == (
        f"log-level=error:master-display={FORMATTED}:max-cll=1000,400:aq-mode=3"
    )


def test_format_mastering_display() -> None:
    assert color.format_mastering_display(P3) == FORMATTED
    assert color.format_mastering_display(P3, integers=False) == (
        "G(0.265,0.69)B(0.15,0.06)R(0.68,0.32)WP(0.3127,0.329)L(1000,0.005)"
    )
    assert (
        color.format_mastering_display(MasteringDisplay(None, None, None, None, Fraction(0), Fraction(1)))
        is None
    )


def _frame(*kinds: tuple[str, bytes]) -> Any:
    class Side(bytes):
        type: Any

    sides = []
    for name, data in kinds:
        side = Side(data)
        side.type = SimpleNamespace(name=name)
        sides.append(side)
    return SimpleNamespace(side_data=sides)


def test_unsupported_side_data() -> None:
    frame = _frame(("DOVI_METADATA", b""), ("DOVI_RPU_BUFFER", b""), ("A53_CC", b""), ("STEREO3D", bytes(8)))
    assert color.unsupported_side_data(frame) == ("Dolby Vision", "closed captions inside the video")
    assert color.unsupported_side_data(_frame(("STEREO3D", b"\1\0\0\0"))) == ("the 3D layout",)
    assert color.unsupported_side_data(None) == ()
    assert color.mastering_display(_frame(("MASTERING_DISPLAY_METADATA", bytes(88)))) is None
    assert color.content_light_level(_frame(("CONTENT_LIGHT_LEVEL", bytes(8)))) is None
