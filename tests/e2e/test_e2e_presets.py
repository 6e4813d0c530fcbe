"""Encoder settings by purpose: the videos that they make, and what wins over them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest

import media_samples as media
from terminal import Outcome
from vsrcli.media.encoder_options import PRESETS, apply_preset
from vsrcli.media.output_plan import EncodeOptions

Vsr = Callable[..., Outcome]
BICUBIC = ("--model", "bicubic", "--scale", "2")


@pytest.mark.parametrize(
    ("preset", "target", "codec", "pix_fmt"),
    [
        ("web", "out.mp4", "h264", "yuv420p"),
        ("hevc", "out.mp4", "hevc", "yuv420p"),
        ("av1", "out.mkv", "av1", "yuv420p"),
        ("archive", "out.mkv", "ffv1", "yuv420p"),
        ("edit", "out.mov", "prores", "yuv422p10le"),
    ],
)
def test_a_preset_makes_what_it_says(
    vsr: Vsr, tmp_path: Path, preset: str, target: str, codec: str, pix_fmt: str
) -> None:
    video = media.cfr(tmp_path, frames=4)
    run = vsr("upscale", video, tmp_path / target, *BICUBIC, "--encode-preset", preset)
    assert run.status == 0, run.err
    with av.open(str(tmp_path / target)) as made:
        stream = made.streams.video[0]
        assert (stream.codec_context.name.removeprefix("lib").split("-")[0][:6], stream.pix_fmt) in [
            (codec[:6], pix_fmt),
            ("dav1d", pix_fmt),  # the decoder's name
        ]
        assert sum(1 for _ in made.decode(video=0)) == 4


def test_ten_bits_stay_ten_bits(vsr: Vsr, tmp_path: Path) -> None:
    video = media.ten_bit(tmp_path)
    assert vsr("upscale", video, tmp_path / "o.mkv", *BICUBIC, "--encode-preset", "hevc").status == 0
    with av.open(str(tmp_path / "o.mkv")) as made:
        assert made.streams.video[0].pix_fmt == "yuv420p10le"


def test_a_video_for_the_web_begins_with_its_index(vsr: Vsr, tmp_path: Path) -> None:
    video = media.cfr(tmp_path, frames=4)
    assert vsr("upscale", video, tmp_path / "o.mp4", *BICUBIC, "--encode-preset", "web").status == 0
    content = (tmp_path / "o.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


@pytest.mark.parametrize("segment", ["auto", "none"])
def test_repeated_options_all_count(vsr: Vsr, tmp_path: Path, segment: str) -> None:
    options = ("x264-params=keyint=7", "x264-params=bframes=0", "metadata=comment=one", "metadata=artist=two")
    arguments = [argument for option in options for argument in ("-e", option)]
    run = vsr("upscale", media.cfr(tmp_path), tmp_path / "o.mkv", *BICUBIC, "--segment", segment, *arguments)
    assert run.status == 0, run.err
    content = (tmp_path / "o.mkv").read_bytes()
    assert b"keyint=7 " in content  # as x264 writes them
    assert b"bframes=0 " in content
    with av.open(str(tmp_path / "o.mkv")) as made:
        assert (made.metadata["COMMENT"], made.metadata["ARTIST"]) == ("one", "two")


def test_options_of_which_one_would_have_no_effect_are_refused(vsr: Vsr, tmp_path: Path) -> None:
    video = media.cfr(tmp_path)
    run = vsr("upscale", video, tmp_path / "o.mkv", *BICUBIC, "-e", "tune=film", "-e", "tune=grain")
    run.fails(2, "tune=film", "tune=grain", "leave one out")
    run = vsr("upscale", video, tmp_path / "o.mkv", *BICUBIC, "-e", "b:v=1M", "-e", "b:v:0=2M")
    run.fails(2, "b:v=1M", "b:v:0=2M", "leave one out")


def test_what_is_said_besides_wins() -> None:
    given = EncodeOptions(crf=11, preset="fast", pix_fmt="yuv444p", extra=(("tune", "grain"),))
    found = apply_preset("web", given)
    assert (found.codec, found.crf, found.preset, found.pix_fmt) == ("libx264", 11, "fast", "yuv444p")
    assert found.extra == (*PRESETS["web"].options.extra, ("tune", "grain"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encode-preset", "web", "--codec", "libx265"), "leave one out"),
        (("--encode-preset", "nothing"), "archive"),
    ],
)
def test_contradictions_are_usage_errors(
    vsr: Vsr, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    run = vsr("upscale", media.cfr(tmp_path, frames=4), tmp_path / "o.mp4", *BICUBIC, *options)
    assert run.status == 2
    assert words in run.err


@pytest.mark.parametrize(("preset", "target"), [("archive", "o.mp4"), ("edit", "o.webm")])
def test_a_container_that_cannot_hold_it_is_told_before_the_first_frame(
    vsr: Vsr, tmp_path: Path, preset: str, target: str
) -> None:
    run = vsr(
        "upscale", media.cfr(tmp_path, frames=4), tmp_path / target, *BICUBIC, "--encode-preset", preset
    )
    assert run.status == 1
    assert "cannot hold" in run.err
    assert not (tmp_path / target).exists()
