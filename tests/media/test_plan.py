from __future__ import annotations

import os
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_inspection import decoded_planes

import media_samples as media
from vsrcli.errors import OutputError
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe

Sample = Callable[..., Path]
Plan = Callable[..., OutputPlan]


@pytest.fixture
def plan(ffmpeg: Ffmpeg) -> Plan:
    def make(
        path: Path, target: Path, *, scale: int = 2, trial: bool = False, **options: object
    ) -> OutputPlan:
        source = probe(path)
        return plan_output(
            source,
            target,
            width=source.video.width * scale,
            height=source.video.height * scale,
            options=EncodeOptions(**options),  # type: ignore[arg-type]
            trial=trial,
            ffmpeg=ffmpeg,
        )

    return make


def option(plan: OutputPlan, key: str) -> str | None:
    return dict(plan.video_options).get(key)


@pytest.mark.parametrize("name", ["a.mp4", "a.M4V", "a.mov", "a.mkv"])
def test_h264_for_8_bits(name: str, sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(sample(media.cfr), tmp_path / name)
    assert (made.codec, made.pix_fmt) == ("libx264", "yuv420p")
    assert option(made, "crf") == "17"


def test_hevc_for_deeper_pictures(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(sample(media.ten_bit), tmp_path / "a.mp4")
    assert (made.codec, made.pix_fmt, option(made, "tag:v:0")) == ("libx265", "yuv420p10le", "hvc1")
    assert option(plan(sample(media.ten_bit), tmp_path / "a.mkv"), "tag:v:0") is None


def test_8_bit_codec_for_a_deep_source_is_told(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(sample(media.ten_bit), tmp_path / "a.mkv", codec="libvpx")
    assert made.pix_fmt == "yuv420p"
    assert any("10 bits" in text for text in made.notices)


def test_subsampling_is_kept(tmp_path: Path, plan: Plan) -> None:
    for pix_fmt in ("yuv422p", "yuv444p"):
        path = media.encoded(tmp_path, f"{pix_fmt}.mkv", f"format={pix_fmt}", ("-c:v", "ffv1"))
        assert plan(path, tmp_path / "a.mp4").pix_fmt == pix_fmt


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libvpx-vp9", "libsvtav1"])
def test_odd_sizes(codec: str, tmp_path: Path, plan: Plan, upscale: Callable[..., OutputPlan]) -> None:
    path = media.encoded(
        tmp_path, "odd.mkv", "format=yuv444p,scale=65:49,format=yuv420p", ("-c:v", "ffv1"), size="128x96"
    )
    target = tmp_path / "a.mkv"
    made = upscale(path, target, scale=3, codec=codec)
    assert (made.pix_fmt == "yuv444p") == codec.startswith("libx26")
    video = probe(target).video
    assert (video.width, video.height) == (195, 147)
    assert any("odd" in text for text in made.notices) == codec.startswith("libx26")


def test_an_odd_size_in_a_format_that_has_none(tmp_path: Path, plan: Plan) -> None:
    path = media.encoded(
        tmp_path, "odd.mkv", "format=yuv444p,scale=65:49,format=yuv420p", ("-c:v", "ffv1"), size="128x96"
    )
    with pytest.raises(OutputError, match=r"odd.*yuv444p"):
        plan(path, tmp_path / "a.mkv", scale=3, pix_fmt="yuv420p")


@pytest.mark.parametrize(
    ("name", "actions"),
    [
        ("a.mkv", ["encode", "copy", "copy", "copy"]),
        ("a.mp4", ["encode", "copy", "copy", "convert"]),
        ("a.mov", ["encode", "copy", "copy", "convert"]),
        ("a.webm", ["encode", "convert", "convert", "convert"]),
        ("a.ts", ["encode", "copy", "copy", "drop"]),
    ],
)
def test_the_fate_of_streams(
    name: str, actions: list[str], sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    made = plan(sample(media.rich), tmp_path / name, trial=True)
    assert [stream.action for stream in made.streams] == actions
    for stream in made.streams[1:]:
        if stream.action != "copy":
            assert any(f"#{stream.index}" in text for text in made.notices)
    assert all(text in str(made) for text in made.notices)
    assert list(tmp_path.iterdir()) == []


def test_sound_that_the_container_cannot_hold(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "opus.mkv"
    media.run_ffmpeg("-i", sample(media.cfr), "-c:v", "copy", "-c:a", "libopus", path)
    assert plan(path, tmp_path / "a.mov").streams[1].encoder == "aac"
    assert plan(path, tmp_path / "a.webm").streams[1].action == "copy"
    assert plan(path, tmp_path / "a.mp4").streams[1].action == "copy"


def test_attachments_and_chapters_are_dropped_by_name(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    assert any("face.ttf" in text for text in plan(sample(media.attachments), tmp_path / "a.mp4").notices)
    assert any("chapters" in text for text in plan(sample(media.rich), tmp_path / "a.ts").notices)


def test_targets_that_cannot_be_meant(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(sample(media.cfr).read_bytes())

    def refused(target: Path, match: str, **options: object) -> None:
        with pytest.raises(OutputError, match=match):
            plan(source, target, **options)

    refused(tmp_path / "a.xyz", "'.xyz' names no container.*mkv")
    refused(tmp_path / "a", "without an extension")
    refused(tmp_path, "is a folder")
    refused(tmp_path / "none" / "a.mp4", "not a folder")
    refused(source, "is the input itself", overwrite=True)
    os.link(source, tmp_path / "hard.mp4")
    refused(tmp_path / "hard.mp4", "is the input itself", overwrite=True)
    (tmp_path / "soft.mp4").symlink_to(source)
    refused(tmp_path / "soft.mp4", "is the input itself", overwrite=True)
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    refused(tmp_path / "loop.mp4", "symbolic links", overwrite=True)
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "none" / "a.mp4")
    refused(tmp_path / "nowhere.mp4", "not a folder", overwrite=True)
    (tmp_path / "old.mp4").write_text("precious")
    refused(tmp_path / "old.mp4", "exists; use --overwrite")
    plan(source, tmp_path / "old.mp4", overwrite=True)
    refused(tmp_path / ("x" * 300 + ".mp4"), "name")
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(tmp_path / "pipe.mp4", "no regular file", overwrite=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        plan(sample(media.cfr), tmp_path / "a.mp4")


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("a.mkv", {"codec": "libx999"}, "no encoder 'libx999'"),
        ("a.webm", {"codec": "libx264"}, "WebM cannot hold h264"),
        ("a.mp4", {"codec": "ffv1"}, "MP4 cannot hold ffv1 .* one of libx264,"),
        ("a.mkv", {"pix_fmt": "yuv999p"}, "cannot write yuv999p"),
        ("a.mkv", {"preset": "warp"}, "ffmpeg refuses"),
        ("a.mkv", {"extra": (("no_such_option", "1"),)}, "ffmpeg refuses"),
        ("a.mkv", {"codec": "h264_nvenc"}, "ffmpeg refuses|no encoder"),
    ],
)
def test_what_the_encoder_refuses_shows_now(
    name: str, options: dict, match: str, sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(OutputError, match=match):
        plan(sample(media.cfr), tmp_path / name, trial=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_explicit_options_win(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(
        sample(media.cfr), tmp_path / "a.mkv", crf=30, preset="slow", extra=(("crf", "12"), ("tune", "film"))
    )
    assert (option(made, "crf"), option(made, "preset"), option(made, "tune")) == ("12", "slow", "film")


@pytest.mark.parametrize("key", ["vf", "filter:v"])
def test_a_filter_of_the_user_leaves_colours_alone(key: str, tmp_path: Path, upscale: Callable) -> None:
    """It comes behind the conversion; in its place, ffmpeg would convert as it likes under the old tags."""
    path = media.encoded(tmp_path, "in.mkv", "format=yuv420p,setparams=colorspace=bt709", ("-c:v", "ffv1"))
    upscale(path, tmp_path / "plain.mkv", codec="ffv1")
    upscale(path, tmp_path / "turned.mkv", codec="ffv1", extra=((key, "vflip"),))
    plain, turned = decoded_planes(tmp_path / "plain.mkv"), decoded_planes(tmp_path / "turned.mkv")
    assert all(np.array_equal(a, b[::-1]) for a, b in zip(plain, turned, strict=True))


@pytest.mark.parametrize("filters", ["fps=60", "select='not(mod(n,2))'", "setpts=2*PTS", "trim=end_frame=2"])
def test_a_filter_that_changes_frames_or_times_shows_now(
    filters: str, sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(OutputError, match="refuses") as caught:
        plan(sample(media.cfr), tmp_path / "a.mp4", trial=True, extra=(("vf", filters),))
    assert "came out" in caught.value.details


def test_pictures_that_cannot_be_read_back_show_now(tmp_path: Path, plan: Plan, sample: Sample) -> None:
    """Matroska takes QuickTime's RLE, but does not say how deep it is."""
    with pytest.raises(OutputError, match="refuses") as caught:
        plan(sample(media.cfr), tmp_path / "a.mkv", trial=True, codec="qtrle")
    assert "decoded" in caught.value.details


def test_a_scale_beyond_all_films(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(OutputError, match=r"256000x192000 pixels .* smaller --scale"):
        plan(sample(media.cfr), tmp_path / "a.mkv", scale=4000)


def test_motion_jpeg_is_of_full_range(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(sample(media.cfr), tmp_path / "a.mkv", trial=True, codec="mjpeg")
    assert made.color.range == "pc"


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_a_cameras_telemetry_goes_along(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Callable[..., OutputPlan]
) -> None:
    target = tmp_path / f"a{suffix}"
    upscale(sample(media.telemetry), target)
    assert [(other.kind, other.codec) for other in probe(target).other_streams][:1] == [("data", "gpmd")]


def test_data_that_has_no_place_is_named(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    made = plan(sample(media.telemetry), tmp_path / "a.mkv")
    assert any("data #1 (gpmd, eng) is dropped" in text for text in made.notices)


def test_tags_without_a_place_are_named(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "tags.mkv"
    media.run_ffmpeg(
        "-i", sample(media.cfr), "-c", "copy", "-metadata", "director=Me", "-metadata", "title=X", path
    )
    for name in ("a.mp4", "a.mov"):
        lost = [text for text in plan(path, tmp_path / name).notices if "tags" in text]
        assert lost
        assert lost[0].endswith(": director")
    assert not any("tags" in text for text in plan(path, tmp_path / "a.mkv").notices)


def test_the_clock_holds_every_time(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    assert plan(sample(media.cfr), tmp_path / "a.mp4").timescale == 24000
    made = plan(sample(media.cfr, suffix=".mkv"), tmp_path / "a.mp4")
    assert made.timescale is not None
    assert made.timescale % 1000 == 0
    assert any("1 ms" in text for text in plan(sample(media.cfr), tmp_path / "a.mkv").notices)
    assert plan(sample(media.mpegts), tmp_path / "a.mp4").time_origin > Fraction(1)
