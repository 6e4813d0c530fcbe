"""Transparency through decoder and encoder, and the notice where it cannot be kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import media_samples as media
from vsrcli.media.containers import choose_container
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe
from vsrcli.media.trial import trial_encode

Sample = Callable[..., Path]
ALPHA_RAMP = np.minimum(8 * np.arange(64), 255)  # alpha of the samples, 8 bits


def alpha_of_first_frame(path: Path, ffmpeg: Ffmpeg) -> np.ndarray:
    """In 8 bits."""
    with Decoder(probe(path), alpha=True, ffmpeg=ffmpeg) as decoder:
        alpha = next(iter(decoder)).alpha
    assert alpha is not None
    return alpha / np.iinfo(alpha.dtype).max * 255


@pytest.mark.parametrize(
    "name", ["vp9.webm", "vp8.webm", "prores.mov", "ffv1.mkv", "rgb.mkv", "png.mov", "apng.apng"]
)
def test_decoded_alpha(name: str, sample: Sample, ffmpeg: Ffmpeg) -> None:
    path = sample(media.transparent, name=name)
    assert probe(path).video.has_alpha
    assert np.abs(alpha_of_first_frame(path, ffmpeg) - ALPHA_RAMP).max() <= 3


def test_colours_do_not_depend_on_alpha(sample: Sample, ffmpeg: Ffmpeg) -> None:
    source = probe(sample(media.transparent, name="prores.mov"))
    with Decoder(source, ffmpeg=ffmpeg) as opaque, Decoder(source, alpha=True, ffmpeg=ffmpeg) as transparent:
        for expected, actual in zip(opaque, transparent, strict=True):
            assert expected.alpha is None
            assert actual.alpha is not None
            assert actual.alpha.shape == actual.pixels.shape[:2]
            np.testing.assert_array_equal(expected.pixels, actual.pixels)


def test_gif_alpha_requires_a_transparent_pixel(sample: Sample) -> None:
    assert not probe(sample(media.gif)).video.has_alpha
    assert probe(sample(media.gif, transparent=True)).video.has_alpha


@pytest.fixture
def plan(ffmpeg: Ffmpeg) -> Callable[..., OutputPlan]:
    def make_plan(path: Path, target: Path, **options: object) -> OutputPlan:
        source = probe(path)
        result = plan_output(
            source,
            target,
            choose_container(target, None, ffmpeg),
            width=128,
            height=96,
            options=EncodeOptions(**options),  # type: ignore[arg-type]
            ffmpeg=ffmpeg,
        )
        trial_encode(result, source, ffmpeg=ffmpeg)
        return result

    return make_plan


@pytest.mark.parametrize(
    ("name", "target", "options", "codec", "pix_fmt"),
    [
        ("vp9.webm", "a.webm", {}, "libvpx-vp9", "yuva420p"),
        ("vp9.webm", "a.mkv", {}, "libvpx-vp9", "yuva420p"),
        ("vp8.webm", "a.webm", {"codec": "libvpx"}, "libvpx", "yuva420p"),
        ("prores.mov", "a.mov", {}, "prores_ks", "yuva444p10le"),
        ("prores.mov", "a.mkv", {}, "ffv1", "yuva444p16le"),
        ("ffv1.mkv", "a.mkv", {"codec": "ffv1"}, "ffv1", "yuva444p"),
        ("png.mov", "a.mov", {"codec": "png"}, "png", "rgba"),
        ("png.mov", "a.mov", {"codec": "qtrle"}, "qtrle", "argb"),
        ("png.mov", "a.mp4", {"codec": "hevc"}, "libx265", "yuva420p"),
    ],
)
def test_alpha_is_kept(
    name: str,
    target: str,
    options: dict,
    codec: str,
    pix_fmt: str,
    sample: Sample,
    tmp_path: Path,
    plan: Callable[..., OutputPlan],
) -> None:
    result = plan(sample(media.transparent, name=name), tmp_path / target, **options)
    assert (result.codec, result.pix_fmt, result.alpha) == (codec, pix_fmt, True)
    assert not any("transparency is dropped" in text for text in result.notices)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("a.mp4", {}, "libx264 in MP4 cannot keep it"),
        ("a.mkv", {"codec": "libx264"}, "libx264 in Matroska cannot keep it"),
        ("a.mp4", {"codec": "libvpx-vp9"}, "libvpx-vp9 in MP4 cannot keep it"),
        ("a.webm", {"pix_fmt": "yuv420p"}, "yuv420p was requested"),
    ],
)
def test_dropped_alpha_has_a_notice(
    target: str,
    options: dict,
    message: str,
    sample: Sample,
    tmp_path: Path,
    plan: Callable[..., OutputPlan],
) -> None:
    result = plan(sample(media.transparent), tmp_path / target, **options)
    assert not result.alpha
    assert any("transparency is dropped" in text and message in text for text in result.notices)


def test_losses_of_an_alpha_format_have_a_notice(
    sample: Sample, tmp_path: Path, plan: Callable[..., OutputPlan]
) -> None:
    result = plan(sample(media.transparent, name="prores.mov"), tmp_path / "a.webm")
    assert any("8 of 12 bits, no 4:4:4 chroma" in text for text in result.notices)


class WithoutVpx(Ffmpeg):
    """An ffmpeg without the VP9 decoder that outputs transparency."""

    def decoders(self) -> frozenset[str]:
        return super().decoders() - {"libvpx-vp9"}


def test_missing_decoder_has_a_notice(sample: Sample, tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    source = probe(sample(media.transparent, name="vp9.webm"))
    limited = WithoutVpx(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    result = plan_output(
        source,
        tmp_path / "a.webm",
        choose_container(tmp_path / "a.webm", None, ffmpeg),
        width=64,
        height=48,
        ffmpeg=limited,
    )
    assert not result.alpha
    assert any("lacks the decoder libvpx-vp9" in text for text in result.notices)


def test_hevc_alpha_layer_has_a_notice(tmp_path: Path, plan: Callable[..., OutputPlan]) -> None:
    path = tmp_path / "layers.mp4"
    filters = f"{media.ALPHA_RAMP},format=yuva420p"
    x265 = ("-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none:pools=1")
    media.run_ffmpeg(*media.moving_pattern(3), "-vf", filters, *x265, "-tag:v", "hvc1", path)
    result = plan(path, tmp_path / "a.mkv")
    assert any("second video layer" in text and "dropped" in text for text in result.notices)
