"""Videos through decoder and encoder: times, audio, subtitles, chapters, aspect ratio."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.stream
import numpy as np
import pytest
from video_inspection import relative_packets, relative_times, tick

import media_samples as media
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times, last_frame
from vsrcli.media.types import Frame, Source

Sample = Callable[..., Path]
Upscale = Callable[..., OutputPlan]
SAMPLES = [
    (media.cfr, {}),
    (media.cfr, {"suffix": ".mkv"}),
    (media.vfr, {}),
    (media.vfr, {"suffix": ".mkv"}),
    (media.video_starts_late, {}),
    (media.video_starts_late, {"suffix": ".mkv"}),
    (media.audio_starts_late, {}),
    (media.audio_starts_late, {"suffix": ".mp4"}),
    (media.mpegts, {}),
    (media.mpegts, {"offset": 7200}),
    (media.mpegts_wrapping, {}),
    (media.interlaced, {}),
    (media.ten_bit, {}),
    (media.avi, {"codec": "mpeg4"}),
    (media.gif, {}),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize(("function", "options"), SAMPLES)
def test_times(
    function: Callable[..., Path],
    options: dict,
    suffix: str,
    sample: Sample,
    tmp_path: Path,
    upscale: Upscale,
) -> None:
    """Equal as rationals in MP4 and QuickTime; to the nearest tick of its clock in Matroska and MPEG-TS."""
    path, target = sample(function, **options), tmp_path / f"out{suffix}"
    upscale(path, target)
    before, after = relative_times(path), relative_times(target)
    assert len(after) == len(before)
    if suffix == ".ts":  # AAC's priming packet lies before zero and is the container's start there
        before, after = [time - before[0] for time in before], [time - after[0] for time in after]
    if suffix in (".mp4", ".mov"):
        assert after == before
    else:
        assert max(abs(a - b) for a, b in zip(after, before, strict=True)) <= tick(target)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize(
    ("function", "options"),
    [
        sample
        for sample in SAMPLES
        if sample[0] not in (media.interlaced, media.ten_bit, media.avi, media.gif)
    ],
)
def test_audio_is_copied_at_the_same_times(
    function: Callable[..., Path],
    options: dict,
    suffix: str,
    sample: Sample,
    tmp_path: Path,
    upscale: Upscale,
) -> None:
    path, target = sample(function, **options), tmp_path / f"out{suffix}"
    upscale(path, target)
    for before, after in zip(relative_packets(path, "audio"), relative_packets(target, "audio"), strict=True):
        if path.suffix == ".ts":  # ADTS headers are taken off
            before = [(time, data[7:]) for time, data in before]
        assert [data for _, data in after] == [data for _, data in before]
        # Relative to the video, to one tick of the coarser clock (1 ms in Matroska).
        tolerance = max(tick(path), tick(target), Fraction(1, 48000))
        assert max(abs(a[0] - b[0]) for a, b in zip(after, before, strict=True)) <= tolerance


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_last_frame_keeps_its_duration(suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale) -> None:
    """1.2 s of slides, and the last one for 0.8 s."""
    target = tmp_path / f"out{suffix}"
    upscale(sample(media.gif), target)
    assert last_frame(probe(target), None) == (Fraction(6, 5), Fraction(4, 5))
    assert probe(target).video.duration == 2
    upscale(target, tmp_path / f"again{suffix}")
    assert probe(tmp_path / f"again{suffix}").video.duration == 2


def test_last_frame_of_a_matroska_file_that_begins_later(
    sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = tmp_path / "later.mkv", tmp_path / "out.mp4"
    media.run_ffmpeg("-itsoffset", "5", "-i", sample(media.cfr, audio=False), "-c", "copy", path)
    assert probe(path).start == 5
    plan = upscale(path, target)
    last, length = last_frame(probe(path), None), probe(target).video.duration
    assert last is not None
    assert abs(last[1] - Fraction(1001, 24000)) < Fraction(2, 1000)
    assert "bf" not in dict(plan.video_options)  # no slide show
    assert length is not None
    assert length < Fraction(6, 10)


def test_frames_without_timestamps(
    sample: Sample, tmp_path: Path, upscale: Upscale, frames: Callable[..., list[Frame]]
) -> None:
    """H.264 in AVI: libavformat guesses times, and gives the second frame that of the third."""
    path = sample(media.avi)
    expected = [Fraction(number, 25) for number in range(12)]
    assert [frame.time for frame in frames(path)] == frame_times(probe(path)) == expected
    assert [frame.time for frame in frames(path, start=Fraction(1, 5), end=Fraction(2, 5))] == expected[5:10]
    upscale(path, tmp_path / "out.mp4")
    assert relative_times(tmp_path / "out.mp4") == expected


def test_recording_between_key_frames(
    tmp_path: Path, upscale: Upscale, frames: Callable[..., list[Frame]]
) -> None:
    path, target = media.mpegts_mid_stream(tmp_path), tmp_path / "out.mp4"
    upscale(path, target)
    start, zero = probe(path).start, probe(target).start
    assert [f.time - zero for f in frames(target)] == [f.time - start for f in frames(path)]


def subtitle_lines(path: Path) -> list[tuple[Fraction, bytes]]:
    return [line for line in relative_packets(path, "subtitle")[0] if len(line[1]) > 2]


@pytest.mark.parametrize("before", [".mkv", ".mp4"])
@pytest.mark.parametrize("after", [".mkv", ".mp4", ".webm"])
def test_all_streams_and_metadata(
    before: str, after: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = sample(media.rich, suffix=before), tmp_path / f"out{after}"
    upscale(path, target)
    source = probe(target)
    assert [(o.kind, o.language) for o in source.other_streams if o.kind != "data"] == [
        ("audio", "eng"),
        ("audio", "deu"),
        ("subtitle", "fra"),
    ]
    assert source.video.language == "eng"
    assert source.other_streams[1].title == "Kommentar"
    assert source.metadata["title"] == "A tiny video"
    marks = [(chapter.start, chapter.end, chapter.metadata["title"]) for chapter in source.chapters]
    assert marks == [(0, Fraction(2, 5), "Opening; part = 1"), (Fraction(2, 5), 1, "Ende")]
    lines = subtitle_lines(target)
    assert [time for time, _ in lines] == [Fraction(1, 10), Fraction(1, 2)]
    assert [text.decode().strip("\0\x05\x06\x0b") for _, text in lines] == ["Hello", "Wörld"]
    if after != ".webm":
        with av.open(str(target)) as container:
            assert container.streams.audio[1].disposition & av.stream.Disposition.comment


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_covers_and_attachments(suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale) -> None:
    for function in (media.attachments, media.with_cover):
        path, target = sample(function), tmp_path / f"{function.__name__}{suffix}"
        upscale(path, target)
        kinds = sorted(other.kind for other in probe(target).other_streams)
        expected = sorted(other.kind for other in probe(path).other_streams)
        if suffix == ".mp4":
            expected = [kind for kind in expected if kind != "attachment"]
        assert kinds == expected
        assert cover_bytes(target) == cover_bytes(path)


def cover_bytes(path: Path) -> bytes:
    from vsrcli.media.mux import cover_data

    source = probe(path)
    found = cover_data(source, next(other.index for other in source.other_streams if other.kind == "cover"))
    assert found
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_aspect_rotation_and_interlacing(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    target = tmp_path / f"anamorphic{suffix}"
    upscale(sample(media.anamorphic), target)
    ratio = probe(target).video.sample_aspect_ratio
    # WebM stores the display size in whole pixels.
    assert (
        ratio == Fraction(16, 11) if suffix != ".webm" else abs(ratio - Fraction(16, 11)) < Fraction(1, 128)
    )
    target = tmp_path / f"rotated{suffix}"
    upscale(sample(media.rotated), target)
    video = probe(target).video
    assert (video.width, video.height, video.rotation) == (96, 128, 0)
    target = tmp_path / f"interlaced{suffix}"
    plan = upscale(sample(media.interlaced), target)
    assert not probe(target).video.is_interlaced
    assert any("deinterlaced" in text for text in plan.notices)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_high_bit_depth_and_hdr_tags(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale, frames: Callable[..., list[Frame]]
) -> None:
    path, target = sample(media.ten_bit), tmp_path / f"out{suffix}"
    upscale(path, target, crf=4)
    before, after = probe(path).video, probe(target).video
    assert after.pix_fmt == "yuv420p10le"
    assert after.color == (before.color if suffix != ".webm" else after.color)
    assert (after.color.matrix, after.color.transfer) == ("bt2020nc", "smpte2084")
    small = frames(target)[0].pixels[::2, ::2].astype(int)
    assert np.abs(small - frames(path)[0].pixels.astype(int)).mean() < 2000
    assert len(np.unique(frames(target)[0].pixels)) > 256


def test_first_times_read_only_the_beginning(tmp_path: Path) -> None:
    """Ten times must not require reading hours of video: here the second half is missing."""
    whole = media.mpegts(tmp_path, frames=400)
    times = frame_times(probe(whole))
    assert len(times) == 400
    data = whole.read_bytes()
    (tmp_path / "half.ts").write_bytes(data[: len(data) // 2 // 188 * 188] + b"\0" * (len(data) // 2))
    half = probe(tmp_path / "half.ts")
    assert frame_times(half, max_count=10) == times[:10]
    assert frame_times(half, start=times[20], max_count=10) == times[20:30]
    assert frame_times(probe(whole), start=times[395], max_count=10) == times[395:]


def test_bursts_of_a_recording_without_a_rate_in_avi(
    sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    """AVI shows a frame a tick, which is one of the recording's clock where that states no rate."""
    times = "33*N-20*eq(mod(N,8),7)"
    path, target = sample(media.without_rate, suffix=".mkv", times=times), tmp_path / "out.avi"
    upscale(path, target, codec="mpeg4")
    assert relative_times(target) == relative_times(path)


def avi_of_times(times: str, tmp_path: Path, vsr: Callable[..., Any]) -> tuple[list[int], int, str]:
    """Upscale 110 frames, given ``times`` of frame ``N`` in 1/90000 s, to AVI with its default encoder.

    Returns:
        Deviations of the frames' places in the AVI (1/90000 s), the number of places, and the messages.
    """
    path, target = tmp_path / "phone.mp4", tmp_path / "out.avi"
    media.run_ffmpeg(
        *media.moving_pattern(110, rate="30"), "-vf", f"settb=1/90000,setpts='{times}'",
        "-fps_mode", "passthrough", "-enc_time_base", "1/90000", "-video_track_timescale", "90000",
        "-c:v", "libx264", "-bf", 0, path,
    )  # fmt: skip
    done = vsr("upscale", path, target, "-m", "bicubic", "-s", "2")
    assert done.status == 0, done.err
    source_times = [round(90_000 * time) for time in relative_times(path)]
    with av.open(str(target)) as container:
        stream = container.streams.video[0]
        packets = [packet.dts for packet in container.demux(stream) if packet.dts is not None]
        places = [round(90_000 * dts * Fraction(stream.time_base or 1)) for dts in packets]
    pairs = zip(places, source_times, strict=True)
    return [abs(place - time) for place, time in pairs], packets[-1] + 1, done.err


def test_variable_rate_in_avi(tmp_path: Path, vsr: Callable[..., Any]) -> None:
    """Frames nearer than a tick would be shifted further and further, and were taken for damaged sound."""
    deviations, _, messages = avi_of_times("N*3000+mod(N*N*7,11)*250", tmp_path, vsr)
    assert max(deviations) < 90_000 / 200
    assert "damaged" not in messages
    assert "fps, with empty frames, and times are rounded to 0.008" in messages


def test_a_frame_that_is_early_makes_no_larger_avi(tmp_path: Path, vsr: Callable[..., Any]) -> None:
    deviations, places, messages = avi_of_times("N*3000-1937*eq(N,50)", tmp_path, vsr)
    assert places == 110
    assert sum(deviation > 0 for deviation in deviations) == 1
    assert "times are rounded to whole frames" in messages


def test_bursts_in_avi(tmp_path: Path, vsr: Callable[..., Any]) -> None:
    """Their average rate says nothing of the distance of their frames."""
    deviations, _, _ = avi_of_times("mod(N,10)*1500+floor(N/10)*180000", tmp_path, vsr)
    assert max(deviations) < 90_000 / 100


@pytest.mark.parametrize("codec", ["aac", "libmp3lame", "ac3", "pcm_s16le"])
@pytest.mark.parametrize("start", [None, Fraction(1, 10)])
def test_sound_that_begins_late_is_late_in_avi(
    start: Fraction | None, codec: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    """AVI stores no start of a stream."""
    path, target = tmp_path / "late.mkv", tmp_path / "out.avi"
    media.run_ffmpeg("-i", sample(media.audio_starts_late), "-c:v", "copy", "-c:a", codec, path)
    plan = upscale(path, target, codec="mpeg4", span=(start, None))
    assert plan.streams[1].encoder == ("libmp3lame" if codec == "aac" else codec)
    with av.open(str(target)) as container:
        rate = container.streams.audio[0].rate
        loud = [np.abs(frame.to_ndarray().astype(float)).max(0) for frame in container.decode(audio=0)]
    samples = np.concatenate(loud)
    begin = np.flatnonzero(samples > samples.max() / 4)[0] / rate
    assert abs(begin - (0.25 - float(start or 0))) < 0.06  # the delay of MP3's encoder


def test_late_start_is_shifted_to_zero(sample: Sample, tmp_path: Path, upscale: Upscale) -> None:
    """The output of a Matroska file that starts at 5 s, and its chapters, start at 0."""
    path, target = tmp_path / "late.mkv", tmp_path / "out.mkv"
    media.run_ffmpeg("-itsoffset", "5", "-i", sample(media.rich), "-map", "0", "-c", "copy", path)
    source: Source = probe(path)
    assert source.start == 5
    upscale(path, target)
    assert relative_times(target) == relative_times(path)
    assert probe(target).start == 0
    begin = [chapter.start for chapter in source.chapters]
    assert [chapter.start for chapter in probe(target).chapters] == [max(time - 5, 0) for time in begin]
