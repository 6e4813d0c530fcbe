"""Colours through both conversions, and the rule for missing tags."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from video_inspection import decoded_planes

import media_samples as media
from vsrcli.media.color import TRANSFERS, decode_filter, encode_filter, output_color, resolve_color
from vsrcli.media.containers import choose_container
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg, find_ffmpeg
from vsrcli.media.output_plan import EncodeOptions
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe
from vsrcli.media.types import Color, Frame

BT709 = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=tv"
PC = "setparams=colorspace=bt709:color_primaries=bt709:color_trc=bt709:range=pc"
BT601 = "setparams=colorspace=smpte170m:color_primaries=smpte170m:color_trc=smpte170m:range=tv"
BT2020 = "setparams=colorspace=bt2020nc:color_primaries=bt2020:color_trc=smpte2084:range=tv"
# All parameters are set: ffmpeg draws unset ones at random, whatever the seed.
GRADIENT = "gradients=c0=0x3050a0:c1=0xc09040:n=2:x0=4:y0=4:x1=60:y1=44:seed=1"
X264 = ("-c:v", "libx264", "-qp", "0")
FFV1 = ("-c:v", "ffv1")

SMOOTH = {
    "bt709": (f"scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,{BT709}", X264, "yuv420p"),
    "full-range": (f"scale=out_color_matrix=bt709:out_range=pc,format=yuv420p,{PC}", X264, "yuv420p"),
    "bt601-422": (f"scale=out_color_matrix=smpte170m:out_range=tv,format=yuv422p,{BT601}", X264, "yuv422p"),
    "bt709-444": (f"scale=out_color_matrix=bt709:out_range=tv,format=yuv444p,{BT709}", X264, "yuv444p"),
    "bt2020-10": (
        f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv420p10le,{BT2020}",
        FFV1,
        "yuv420p10le",
    ),
    "bt2020-12": (
        f"scale=out_color_matrix=bt2020:out_range=tv,format=yuv422p12le,{BT2020}",
        FFV1,
        "yuv422p12le",
    ),
}


class WithoutZimg(Ffmpeg):
    """An ffmpeg as distributions build it: no zimg, and chroma locations as numbers."""

    def help(self, topic: str) -> str:
        return "" if topic in ("filter=zscale", "filter=scale") else super().help(topic)


@pytest.mark.parametrize("zimg", [True, False])
@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_frames_survive_both_conversions(
    name: str, zimg: bool, tmp_path: Path, ffmpeg: Ffmpeg, upscale: Callable[..., object]
) -> None:
    filters, encoder, pix_fmt = SMOOTH[name]
    used_ffmpeg = ffmpeg if zimg else WithoutZimg(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    smooth = f"format=gbrp,gblur=sigma=6,{filters}"
    path = media.encoded(tmp_path, f"{name}.mkv", smooth, encoder, source=GRADIENT)
    target = tmp_path / "out.mkv"
    upscale(path, target, scale=1, codec="ffv1", ffmpeg=used_ffmpeg)
    before, after = probe(path).video, probe(target).video
    assert after.pix_fmt == pix_fmt
    for tag in ("range", "matrix", "primaries", "transfer"):
        assert getattr(after.color, tag) == getattr(before.color, tag)
    for expected, actual in zip(decoded_planes(path), decoded_planes(target), strict=True):
        step = 2 ** (before.bit_depth - 8)
        assert np.abs(expected - actual).max() <= 2 * step
        # swscale rounds full-range chroma down
        bias = 1 if name == "full-range" and not zimg else 0.1
        assert abs((actual - expected).mean()) < bias * step


@pytest.mark.parametrize(
    ("pix_fmt", "axes"),
    [("yuv420p", "hv"), ("nv12", "hv"), ("yuv422p10le", "h"), ("yuv440p", "v"), ("yuv444p12le", "")],
)
def test_older_swscale_moves_only_chroma_that_is_subsampled(pix_fmt: str, axes: str, ffmpeg: Ffmpeg) -> None:
    """Of ffmpeg 6.0 to 7.0; a position moves chroma of full resolution by half a row."""
    older = WithoutZimg(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    color = resolve_color(Color(), pix_fmt, 64, 48)
    for function, side in ((decode_filter, "in"), (encode_filter, "out")):
        conversion = function(color, pix_fmt, (64, 48), high_bit_depth=False, ffmpeg=older)
        for axis in "hv":
            assert (f":{side}_{axis}_chr_pos=" in conversion) == (axis in axes)


def test_pure_green_is_173(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """BT.709: 16 + 219 * 0.7152 = 172.6 (ITU-R BT.709-6, items 3.2 and 3.4); swscale's default says 145."""
    tagged = f"scale=out_color_matrix=bt709,format=yuv420p,{BT709}"
    source = probe(media.encoded(tmp_path, "in.mkv", tagged, X264))
    target = tmp_path / "out.mp4"
    plan = plan_output(
        source,
        target,
        choose_container(target, None, ffmpeg),
        width=64,
        height=48,
        options=EncodeOptions(crf=0),
        ffmpeg=ffmpeg,
    )
    green = np.zeros((48, 64, 3), np.uint8)
    green[..., 1] = 255
    with VideoEncoder(plan, source, ffmpeg=ffmpeg) as encoder:
        encoder.write(Frame(green, 0, source.video.time_base))
    luma = decoded_planes(target)[0]
    assert (luma.min(), luma.max()) == (173, 173)
    assert probe(target).video.color == Color("tv", "bt709", "bt709", "bt709", "left")


@pytest.mark.parametrize("color", ["0x1010F0", "0x10F010", "0xF01010"])
@pytest.mark.parametrize(("matrix", "primaries"), [("fcc", "bt470m"), ("smpte240m", "smpte240m")])
def test_saturated_colours_of_old_matrices(
    matrix: str, primaries: str, color: str, tmp_path: Path, upscale: Callable[..., object]
) -> None:
    tags = f"setparams=colorspace={matrix}:color_primaries={primaries}:color_trc={primaries}:range=tv"
    filters = f"format=gbrp,scale=out_color_matrix={matrix}:out_range=tv,format=yuv420p,{tags}"
    path = media.encoded(tmp_path, "in.mkv", filters, FFV1, source=f"color=c={color}")
    target = tmp_path / "out.mkv"
    upscale(path, target, scale=1, codec="ffv1")
    assert probe(target).video.color.matrix == matrix
    for expected, actual in zip(decoded_planes(path), decoded_planes(target), strict=True):
        assert np.abs(expected - actual).max() <= 1


def test_decoded_colours(tmp_path: Path, frames: Callable[..., list[Frame]]) -> None:
    green = f"format=gbrp,scale=out_color_matrix=bt709:out_range=tv,format=yuv444p,{BT709}"
    path = media.encoded(tmp_path, "g.mkv", green, FFV1, source="color=c=0x00FF00")
    pixel = frames(path)[0].pixels[20, 20].astype(int)
    assert np.abs(pixel - [0, 255, 0]).max() <= 2


@pytest.mark.parametrize("pix_fmt", ["gbrp10le", "bgr0"])
def test_rgb_sources_are_decoded_exactly(
    pix_fmt: str, tmp_path: Path, frames: Callable[..., list[Frame]], upscale: Callable[..., object]
) -> None:
    path = media.encoded(tmp_path, "rgb.mkv", f"format={pix_fmt}", FFV1)
    frame = frames(path)[0].pixels
    if pix_fmt == "gbrp10le":
        green, blue, red = decoded_planes(path)
        assert np.abs((frame[..., 0] >> 6) - red).max() <= 1
        assert np.abs((frame[..., 1] >> 6) - green).max() <= 1
        assert np.abs((frame[..., 2] >> 6) - blue).max() <= 1
    target = tmp_path / "out.mkv"
    upscale(path, target, scale=1, codec="ffv1")
    video = probe(target).video
    assert video.pix_fmt == ("yuv444p10le" if pix_fmt == "gbrp10le" else "yuv444p")
    assert (video.color.matrix, video.color.range) == ("bt709", "tv")
    result = frames(target)[0].pixels
    scale = 257 if pix_fmt == "gbrp10le" else 1
    assert np.abs(result.astype(int) - frame.astype(int)).max() <= 3 * scale


@pytest.mark.parametrize("levels", ["tv", "pc"])
def test_grey_sources(levels: str, tmp_path: Path, upscale: Callable[..., object]) -> None:
    filters = f"scale=out_range={levels},format=gray,setparams=range={levels}"
    path = media.encoded(tmp_path, "grey.mkv", filters, FFV1, source=GRADIENT)
    target = tmp_path / "out.mkv"
    upscale(path, target, scale=1, codec="ffv1")
    assert probe(target).video.color.range == levels
    luma, *chroma = decoded_planes(target)
    assert np.abs(luma - decoded_planes(path)[0]).max() <= 1
    assert all(np.abs(plane - 128).max() <= 1 for plane in chroma)


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray12le"])
@pytest.mark.parametrize("levels", ["tv", "pc"])
@pytest.mark.parametrize("zimg", [True, False])
def test_requested_grey_keeps_the_range(
    zimg: bool, levels: str, pix_fmt: str, tmp_path: Path, ffmpeg: Ffmpeg, upscale: Callable[..., object]
) -> None:
    depth = pix_fmt.removeprefix("gray")
    filters = f"scale=out_range={levels},format=yuv444p{depth},setparams=range={levels}"
    path = media.encoded(tmp_path, "ramp.mkv", filters, (*FFV1, "-color_range", levels), source=GRADIENT)
    target = tmp_path / "out.mkv"
    used_ffmpeg = ffmpeg if zimg else WithoutZimg(ffmpeg.path, ffmpeg.version, ffmpeg.release)
    upscale(path, target, scale=1, codec="ffv1", pix_fmt=pix_fmt, ffmpeg=used_ffmpeg)
    video = probe(target).video
    assert (video.pix_fmt, video.color.range) == (pix_fmt, levels)
    step = 2 ** (video.bit_depth - 8)
    assert np.abs(decoded_planes(target)[0] - decoded_planes(path)[0]).max() <= 2 * step


def test_missing_tags() -> None:
    untagged = Color()
    assert resolve_color(untagged, "yuv420p", 720, 576).matrix == "smpte170m"
    assert resolve_color(untagged, "yuv420p", 1280, 720) == Color("tv", "bt709", "bt709", "bt709", None)
    assert resolve_color(untagged, "yuv420p", 720, 1280).matrix == "bt709"
    assert resolve_color(untagged, "yuvj420p", 64, 48).range == "pc"
    assert resolve_color(Color(primaries="bt2020"), "yuv420p10le", 64, 48).matrix == "bt2020nc"
    assert resolve_color(Color(transfer="smpte2084"), "yuv420p10le", 3840, 2160).primaries == "bt2020"
    assert resolve_color(Color(matrix="bt709"), "yuv420p", 64, 48).primaries == "bt709"
    assert output_color(untagged, "gbrp", 64, 48).matrix == "bt709"
    assert output_color(untagged, "gbrp", 64, 48).range == "tv"


def test_assumed_tags_are_written(
    sample: Callable[..., Path], tmp_path: Path, upscale: Callable[..., object]
) -> None:
    target = tmp_path / "out.mp4"
    upscale(sample(media.cfr), target)
    color = probe(target).video.color
    assert (color.matrix, color.primaries, color.range) == ("smpte170m", "smpte170m", "tv")


@pytest.mark.parametrize("name", [*TRANSFERS.values()])
def test_every_transfer_is_known_to_the_filter(name: str) -> None:
    """Gamma 2.8 has another name there than in the encoders' options."""
    tags = Color("tv", "bt709", "bt709", name, "left")
    filters = encode_filter(tags, "yuv420p", (64, 48), high_bit_depth=False, ffmpeg=find_ffmpeg())
    media.run_ffmpeg("-f", "lavfi", "-i", "color=s=64x48:d=0.04", "-vf", filters, "-f", "null", "-")
