"""Plans of outputs: encoders, pixel formats, streams, refused targets and options."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_inspection import decoded_planes

import media_samples as media
from vsrcli.errors import OutputError
from vsrcli.media.containers import choose_container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import check_target, plan_output
from vsrcli.media.probe import probe
from vsrcli.media.source_reader import VideoReader
from vsrcli.media.trial import trial_encode

Sample = Callable[..., Path]
Plan = Callable[..., OutputPlan]


@pytest.fixture
def plan(ffmpeg: Ffmpeg) -> Plan:
    def make_plan(
        path: Path, target: Path, *, scale: int = 2, trial: bool = False, **options: object
    ) -> OutputPlan:
        source = probe(path)
        encode = EncodeOptions(**options)  # type: ignore[arg-type]
        check_target(target, overwrite=encode.overwrite, inputs=source.input_files)
        result = plan_output(
            source,
            target,
            choose_container(target, None, ffmpeg),
            width=source.video.width * scale,
            height=source.video.height * scale,
            options=encode,
            span=VideoReader(source).read_span(None, None),
            ffmpeg=ffmpeg,
        )
        if trial:
            trial_encode(result, source, ffmpeg=ffmpeg)
        return result

    return make_plan


def option(plan: OutputPlan, key: str) -> str | None:
    return dict(plan.video_options).get(key)


@pytest.mark.parametrize("name", ["a.mp4", "a.M4V", "a.mov", "a.mkv"])
def test_h264_for_8_bits(name: str, sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.cfr), tmp_path / name)
    assert (result.codec, result.pix_fmt) == ("libx264", "yuv420p")
    assert option(result, "crf") == "17"


def test_hevc_for_more_bits(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.ten_bit), tmp_path / "a.mp4")
    assert (result.codec, result.pix_fmt, option(result, "tag:v:0")) == ("libx265", "yuv420p10le", "hvc1")
    assert option(plan(sample(media.ten_bit), tmp_path / "a.mkv"), "tag:v:0") is None


@pytest.mark.parametrize("name", ["cfr", "ten_bit"])
@pytest.mark.parametrize(
    "encoder", ["h264_vaapi", "hevc_vaapi", "hevc_vulkan", "hevc_nvenc", "hevc_qsv", None]
)
def test_frames_for_a_gpu_are_converted_in_memory(
    encoder: str | None, name: str, sample: Sample, tmp_path: Path, plan: Plan, ffmpeg: Ffmpeg
) -> None:
    options = {"encode_preset": "vaapi"} if encoder is None else {"codec": encoder}
    if (encoder or "hevc_vaapi") not in ffmpeg.encoders():
        pytest.skip("this ffmpeg lacks the encoder")
    result = plan(sample(getattr(media, name)), tmp_path / "a.mkv", **options)
    formats = re.findall(r"format=([\w|]+)", option(result, "filter:v:0") or "")
    assert formats
    assert not ffmpeg.hardware_pixel_formats() & {each for text in formats for each in text.split("|")}
    assert ("10" in result.pix_fmt) == (name == "ten_bit" and encoder != "h264_vaapi")
    if encoder is None:
        assert (option(result, "filter:v:0") or "").endswith("format=nv12|p010le,hwupload")


def test_lost_bits_have_a_notice(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.ten_bit), tmp_path / "a.mkv", codec="libvpx")
    assert result.pix_fmt == "yuv420p"
    assert any("10 bits" in text for text in result.notices)


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
    result = upscale(path, target, scale=3, codec=codec)
    assert (result.pix_fmt == "yuv444p") == codec.startswith("libx26")
    video = probe(target).video
    assert (video.width, video.height) == (195, 147)
    assert any("odd" in text for text in result.notices) == codec.startswith("libx26")


def test_odd_size_in_420(tmp_path: Path, plan: Plan) -> None:
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
def test_stream_actions(name: str, actions: list[str], sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.rich), tmp_path / name, trial=True)
    assert [stream.action for stream in result.streams] == actions
    for stream in result.streams[1:]:
        if stream.action != "copy":
            assert any(f"#{stream.index}" in text for text in result.notices)
    assert all(text in str(result) for text in result.notices)
    assert list(tmp_path.iterdir()) == []


def test_unsupported_audio_is_converted(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "opus.mkv"
    media.run_ffmpeg("-i", sample(media.cfr), "-c:v", "copy", "-c:a", "libopus", path)
    assert plan(path, tmp_path / "a.mov").streams[1].encoder == "aac"
    assert plan(path, tmp_path / "a.webm").streams[1].action == "copy"
    assert plan(path, tmp_path / "a.mp4").streams[1].action == "copy"


def test_dropped_attachments_and_chapters_have_notices(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    assert any("face.ttf" in text for text in plan(sample(media.attachments), tmp_path / "a.mp4").notices)
    assert any("chapters" in text for text in plan(sample(media.rich), tmp_path / "a.ts").notices)


def test_refused_targets(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(sample(media.cfr).read_bytes())

    def assert_refused(target: Path, match: str, **options: object) -> None:
        with pytest.raises(OutputError, match=match):
            plan(source, target, **options)

    assert_refused(tmp_path / "a.xyz", "'.xyz' names no container.*mkv")
    assert_refused(tmp_path / "a", "without an extension")
    assert_refused(tmp_path, "is a folder")
    assert_refused(tmp_path / "none" / "a.mp4", "not a folder")
    assert_refused(source, "is the input itself", overwrite=True)
    os.link(source, tmp_path / "hard.mp4")
    assert_refused(tmp_path / "hard.mp4", "is the input itself", overwrite=True)
    (tmp_path / "soft.mp4").symlink_to(source)
    assert_refused(tmp_path / "soft.mp4", "is the input itself", overwrite=True)
    (tmp_path / "loop.mp4").symlink_to(tmp_path / "loop.mp4")
    assert_refused(tmp_path / "loop.mp4", "symbolic links", overwrite=True)
    (tmp_path / "nowhere.mp4").symlink_to(tmp_path / "none" / "a.mp4")
    assert_refused(tmp_path / "nowhere.mp4", "not a folder", overwrite=True)
    (tmp_path / "old.mp4").write_text("precious")
    assert_refused(tmp_path / "old.mp4", "exists; use --overwrite")
    plan(source, tmp_path / "old.mp4", overwrite=True)
    assert_refused(tmp_path / ("x" * 300 + ".mp4"), "name")
    os.mkfifo(tmp_path / "pipe.mp4")
    assert_refused(tmp_path / "pipe.mp4", "no regular file", overwrite=True)


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
def test_trial_encode_refuses(
    name: str, options: dict, match: str, sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(OutputError, match=match):
        plan(sample(media.cfr), tmp_path / name, trial=True, **options)
    assert list(tmp_path.iterdir()) == []


def test_extra_options_win(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(
        sample(media.cfr), tmp_path / "a.mkv", crf=30, preset="slow", extra=(("crf", "12"), ("tune", "film"))
    )
    assert (option(result, "crf"), option(result, "preset"), option(result, "tune")) == ("12", "slow", "film")


@pytest.mark.parametrize(
    ("codec", "given", "default"),
    [
        ("libvpx", ("b:v", "2M"), "b:v:0"),
        ("libvpx-vp9", ("b", "2M"), "b:v:0"),
        ("mpeg4", ("q:v", "6"), "q:v:0"),
        ("mpeg4", ("qscale:v", "6"), "q:v:0"),
        ("libx265", ("tag:v", "hev1"), "tag:v:0"),
        ("libx265", ("vtag", "hev1"), "tag:v:0"),
        ("libx264", ("color_range:v", "pc"), "color_range:v:0"),
    ],
)
def test_extra_options_win_by_every_name(
    codec: str, given: tuple[str, str], default: str, sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    target = tmp_path / ("a.webm" if codec.startswith("libvpx") else "a.mp4")
    assert option(plan(sample(media.cfr), target, codec=codec), default) is not None
    result = plan(sample(media.cfr), target, codec=codec, extra=(given,))
    assert (option(result, given[0]), option(result, default)) == (given[1], None)


def test_a_bit_rate_replaces_the_default_quality(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    """Encoders prefer the quality if they get both."""
    rate = (("b:v", "2M"),)
    assert option(plan(sample(media.cfr), tmp_path / "a.mp4", extra=rate), "crf") is None
    assert option(plan(sample(media.cfr), tmp_path / "a.mp4", extra=rate, crf=20), "crf") == "20"
    none = (("b:v", "0"),)  # as VP9 is told to keep a quality
    assert option(plan(sample(media.cfr), tmp_path / "a.webm", extra=none), "crf") == "24"


def test_sample_entry_of_the_user(sample: Sample, tmp_path: Path, upscale: Callable[..., OutputPlan]) -> None:
    target = tmp_path / "a.mp4"
    upscale(sample(media.cfr), target, codec="libx265", preset="ultrafast", extra=(("tag:v", "hev1"),))
    assert b"hev1" in target.read_bytes()


@pytest.mark.parametrize("key", ["vf", "filter:v"])
def test_user_filter_does_not_change_colours(key: str, tmp_path: Path, upscale: Callable) -> None:
    """It follows the conversion; in its place, ffmpeg would convert by its own defaults."""
    path = media.encoded(tmp_path, "in.mkv", "format=yuv420p,setparams=colorspace=bt709", ("-c:v", "ffv1"))
    upscale(path, tmp_path / "unfiltered.mkv", codec="ffv1")
    upscale(path, tmp_path / "flipped.mkv", codec="ffv1", extra=((key, "vflip"),))
    unfiltered, flipped = (
        decoded_planes(tmp_path / "unfiltered.mkv"),
        decoded_planes(tmp_path / "flipped.mkv"),
    )
    assert all(np.array_equal(a, b[::-1]) for a, b in zip(unfiltered, flipped, strict=True))


@pytest.mark.parametrize("filters", ["fps=60", "select='not(mod(n,2))'", "setpts=2*PTS", "trim=end_frame=2"])
def test_filter_that_changes_times_is_refused(
    filters: str, sample: Sample, tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(OutputError, match="refuses") as caught:
        plan(sample(media.cfr), tmp_path / "a.mp4", trial=True, extra=(("vf", filters),))
    assert "came out" in caught.value.details


def test_undecodable_output_is_refused(tmp_path: Path, plan: Plan, sample: Sample) -> None:
    """Matroska holds QuickTime's RLE, but not its bit depth."""
    with pytest.raises(OutputError, match="refuses") as caught:
        plan(sample(media.cfr), tmp_path / "a.mkv", trial=True, codec="qtrle")
    assert "decoded" in caught.value.details


def test_too_large_frame_size(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(OutputError, match=r"256000x192000 pixels .* smaller --scale"):
        plan(sample(media.cfr), tmp_path / "a.mkv", scale=4000)


def test_motion_jpeg_is_full_range(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.cfr), tmp_path / "a.mkv", trial=True, codec="mjpeg")
    assert result.color.range == "pc"


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
def test_camera_telemetry_is_copied(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Callable[..., OutputPlan]
) -> None:
    target = tmp_path / f"a{suffix}"
    upscale(sample(media.telemetry), target)
    assert [(other.kind, other.codec) for other in probe(target).other_streams][:1] == [("data", "gpmd")]


def test_dropped_data_has_a_notice(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    result = plan(sample(media.telemetry), tmp_path / "a.mkv")
    assert any("data #1 (gpmd, eng) is dropped" in text for text in result.notices)


def test_dropped_tags_have_a_notice(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    path = tmp_path / "tags.mkv"
    media.run_ffmpeg(
        "-i", sample(media.cfr), "-c", "copy", "-metadata", "director=Me", "-metadata", "title=X", path
    )
    for name in ("a.mp4", "a.mov"):
        notices = [text for text in plan(path, tmp_path / name).notices if "tags" in text]
        assert notices
        assert notices[0].endswith(": director")
    assert not any("tags" in text for text in plan(path, tmp_path / "a.mkv").notices)


def test_timescale(sample: Sample, tmp_path: Path, plan: Plan) -> None:
    assert plan(sample(media.cfr), tmp_path / "a.mp4").timescale == 24000
    result = plan(sample(media.cfr, suffix=".mkv"), tmp_path / "a.mp4")
    assert result.timescale is not None
    assert result.timescale % 1000 == 0
    assert any("1 ms" in text for text in plan(sample(media.cfr), tmp_path / "a.mkv").notices)
    assert plan(sample(media.mpegts), tmp_path / "a.mp4").time_origin > Fraction(1)
