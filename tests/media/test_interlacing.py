"""Which frames are deinterlaced, and which of their fields counts as the first one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.h264 import may_have_fields
from vsrcli.media.probe import probe
from vsrcli.media.types import MIXED

Sample = Callable[..., Path]
Vsr = Callable[..., Outcome]

MPEG2 = ("-c:v", "mpeg2video", "-q:v", 3, "-bf", 2)
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-bf", 2)
SPARSE = ("-x264-params", "tff=1:keyint=60:scenecut=0", "-flags", "+ildct+ilme")
CODECS = {  # progressive, interlaced
    "mixed.vob": (MPEG2, (*MPEG2, "-flags", "+ildct+ilme")),
    "mixed.ts": (
        (*H264, "-x264-params", "fake-interlaced=1"),
        (*H264, "-flags", "+ildct+ilme", "-x264-params", "tff=1"),
    ),
    "other.ts": (H264, (*H264, *SPARSE)),
    "other.mkv": (H264, (*H264, *SPARSE)),
}


def mixed(folder: Path, *, name: str) -> Path:
    """10 progressive frames, then 30 interlaced ones."""
    progressive, interlaced = (folder / f"{part}.ts" for part in ("progressive", "interlaced"))
    first, second = CODECS[name]
    media.run_ffmpeg(*media.moving_pattern(10, rate="25"), "-pix_fmt", "yuv420p", *first, progressive)
    fields = (*media.moving_pattern(60, rate="50"), "-vf", "tinterlace=interleave_top,fieldorder=tff")
    media.run_ffmpeg(*fields, "-pix_fmt", "yuv420p", *second, interlaced)
    parts = folder / "parts.txt"
    parts.write_text(f"file '{progressive}'\nfile '{interlaced}'\n")
    path = folder / name
    media.run_ffmpeg("-f", "concat", "-safe", 0, "-i", parts, "-c", "copy", path)
    return path


@pytest.mark.parametrize("name", CODECS)
def test_interlaced_frames_behind_progressive_ones(
    name: str, sample: Sample, ffmpeg: Ffmpeg, tmp_path: Path, vsr: Vsr
) -> None:
    path = sample(mixed, name=name)
    source = probe(path)
    assert source.video.field_order == MIXED
    with Decoder(source, ffmpeg=ffmpeg) as decoder:
        frames = list(decoder)
    with Decoder(source, deinterlace=False, ffmpeg=ffmpeg) as decoder:
        woven = list(decoder)
    assert [frame.pts for frame in frames] == [frame.pts for frame in woven]
    changed = [bool((one.pixels != other.pixels).any()) for one, other in zip(frames, woven, strict=True)]
    assert not any(changed[:9])
    assert sum(changed[10:]) > 25  # little moves in some
    done = vsr("upscale", path, tmp_path / "out.mkv", "-m", "bicubic", "-s", "2", "-n")
    assert "progressive and interlaced frames: these are deinterlaced" in done.err
    assert "in parts, interlaced" in vsr("info", path).out


def test_h264_that_can_have_no_fields_is_not_searched(sample: Sample) -> None:
    import av

    def has_fields(path: Path) -> bool:
        with av.open(str(path)) as container:
            return may_have_fields(bytes(container.streams.video[0].codec_context.extradata or b""))

    assert has_fields(sample(mixed, name="mixed.ts"))
    assert not has_fields(sample(media.cfr))
    assert not has_fields(sample(media.mpegts))
    assert not may_have_fields(b"")
    assert not may_have_fields(b"\1nonsense")


def test_a_bottom_field_that_only_the_container_states_is_first(tmp_path: Path, ffmpeg: Ffmpeg) -> None:
    """The frames of HuffYUV state nothing; bwdif would take the top field for the first one."""
    stated, flagged = tmp_path / "stated.mkv", tmp_path / "flagged.mkv"
    fields = (*media.moving_pattern(20, rate="50"), "-vf", "tinterlace=interleave_bottom,setfield=bff")
    for path, codec in ((stated, "huffyuv"), (flagged, "ffv1")):
        media.run_ffmpeg(*fields, "-pix_fmt", "yuv422p", "-c:v", codec, "-flags", "+ilme+ildct", path)
    assert not probe(stated).video.has_flagged_fields
    pixels = []
    for path in (stated, flagged):
        with Decoder(probe(path), ffmpeg=ffmpeg) as decoder:
            pixels.append([frame.pixels for frame in decoder])
    assert all((one == other).all() for one, other in zip(*pixels, strict=True))
