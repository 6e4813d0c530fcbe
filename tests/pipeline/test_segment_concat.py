"""Concatenated segments equal a video written in one go, except for key frames."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from interruptible_runs import frame_hashes, upscale_until

import media_samples as media
from vsrcli import EncodeOptions, Options, prepare_job
from vsrcli.errors import EncodeError
from vsrcli.media.decoder import Decoder
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg_writer import Destination, SegmentFile
from vsrcli.media.probe import probe
from vsrcli.media.segments import SegmentConcatenator, SegmentDestination, codec_headers, segment_timescale
from vsrcli.media.types import Frame
from vsrcli.pipeline.job import Job

Sample = Callable[..., Path]
OPTIONS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment=5)

VIDEOS = [
    (media.vfr, {"frames": 24}, ".mp4"),
    (media.vfr, {"suffix": ".mkv"}, ".mkv"),
    (media.video_starts_late, {}, ".mov"),
    (media.audio_starts_late, {}, ".mkv"),
    (media.mpegts, {"offset": 7200}, ".mkv"),
    (media.mpegts, {}, ".ts"),
    (media.rich, {"suffix": ".mkv"}, ".mp4"),
    (media.rich, {"suffix": ".mp4"}, ".mkv"),
    (media.anamorphic, {}, ".webm"),
    (media.ten_bit, {}, ".mp4"),
    (media.cfr, {"frames": 1, "audio": False}, ".mp4"),
]


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """Return (time from the container's start, bytes) of all packets, for every stream of a kind."""
    start = probe(path).start
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        by_stream: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams) if streams else ():
            if packet.size and packet.pts is not None:
                by_stream[packet.stream_index].append(
                    (packet.pts * Fraction(packet.time_base) - start, bytes(packet))
                )
        return list(by_stream.values())


def times(path: Path) -> list[Fraction]:
    return sorted(time for time, _ in packets(path, "video")[0])


@pytest.mark.parametrize(("function", "kind", "suffix"), VIDEOS)
def test_streams_equal_those_of_one_go(
    function: Callable[..., Path], kind: dict, suffix: str, sample: Sample, tmp_path: Path
) -> None:
    source = sample(function, **kind)
    reference, segmented = tmp_path / f"reference{suffix}", tmp_path / f"segmented{suffix}"
    upscale_until(source, reference, replace(OPTIONS, segment="none"))
    upscale_until(source, segmented, OPTIONS)
    assert times(segmented) == times(reference)
    assert packets(segmented, "audio") == packets(reference, "audio")
    assert packets(segmented, "subtitle") == packets(reference, "subtitle")
    before, after = probe(reference), probe(segmented)
    for name in (
        "color",
        "sample_aspect_ratio",
        "pix_fmt",
        "width",
        "height",
        "language",
        "title",
        "content_light",
        "mastering_display",
    ):
        assert getattr(after.video, name) == getattr(before.video, name), name
    # A transport stream's clock begins elsewhere; the times since its start are compared above.
    assert [replace(other, start=None) for other in after.other_streams] == [
        replace(other, start=None) for other in before.other_streams
    ]
    assert after.chapters == before.chapters
    assert after.metadata == before.metadata
    if suffix == ".mkv":
        assert after.video.frame_rate == before.video.frame_rate
    if suffix in (".mp4", ".mov") and function is media.cfr:
        assert after.video.duration == before.video.duration


CODECS = [
    ("libx264", ".mp4", (("bf", "3"), ("b-pyramid", "normal"))),
    ("libx264", ".mkv", (("bf", "0"),)),
    ("libx265", ".mp4", ()),
    ("libvpx-vp9", ".webm", (("cpu-used", "8"),)),
    ("libsvtav1", ".mp4", (("preset", "12"),)),
    ("mpeg4", ".mp4", (("bf", "2"),)),
    ("prores_ks", ".mov", ()),
    ("ffv1", ".mkv", ()),
]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_gap_just_before_the_end_does_not_outlast_the_video(suffix: str, tmp_path: Path) -> None:
    """Of frames that are shown in another order than decoded, the gap becomes the duration of a late one."""
    source, target = tmp_path / "gap.mp4", tmp_path / f"out{suffix}"
    times = "settb=1/90000,setpts='N*3000+if(gte(N,61),900000,0)'"
    media.run_ffmpeg(
        *media.moving_pattern(64, rate="30"), *media.sine_tone(12), "-vf", times, "-fps_mode", "passthrough",
        "-enc_time_base", "1/90000", "-video_track_timescale", "90000", "-c:v", "libx264", "-bf", "0", source,
    )  # fmt: skip
    upscale_until(source, target, replace(OPTIONS, encode=EncodeOptions(preset="medium"), segment=64))
    duration, data = probe(target).duration, target.read_bytes()
    if suffix != ".mkv":  # what players show; libavformat counts packets
        timescale, ticks = struct.unpack_from(">II", data, data.index(b"mvhd") + 16)
        duration = Fraction(ticks, timescale)
    assert duration is not None
    assert abs(duration - (12 + Fraction(2, 15))) < Fraction(1, 30)


def segment_encoder(job: Job, file: Path, **options: Any) -> VideoEncoder:
    destination = SegmentDestination(job.plan, job.source, file, **options)
    return VideoEncoder(job.plan, job.source, destination, ffmpeg=job.ffmpeg)


def concatenator(job: Job, folder: Path, segments: list[SegmentFile]) -> SegmentConcatenator:
    return SegmentConcatenator(folder, segments, Destination(job.plan, job.source), ffmpeg=job.ffmpeg)


@pytest.mark.parametrize(("codec", "suffix", "extra"), CODECS)
def test_codecs(codec: str, suffix: str, extra: tuple, sample: Sample, tmp_path: Path) -> None:
    """The concatenated video decodes to the frames of its segments, with the source's timestamps."""
    video, target = sample(media.cfr, frames=14, audio=False), tmp_path / f"out{suffix}"
    job = prepare_job(video, target, replace(OPTIONS, encode=EncodeOptions(codec=codec, extra=extra)))
    assert job.segmented
    with Decoder(job.source, ffmpeg=job.ffmpeg) as decoder:
        frames = [replace(f, pixels=f.pixels.repeat(2, 0).repeat(2, 1)) for f in decoder]
    segments, frame_md5s = [], []
    for begin in (0, 6, 7):
        file = tmp_path / f"{begin}.mov"
        first_segment = tmp_path / "0.mov" if segments else None
        with segment_encoder(job, file, reference=first_segment) as encoder:
            for frame in frames[begin : {0: 6, 6: 7, 7: 14}[begin]]:
                encoder.write(frame)
        segments.append(encoder.segment)
        frame_md5s += [line.split(",")[-1] for line in frame_hashes(file)]
    concatenator(job, tmp_path, segments).run()
    assert [line.split(",")[-1] for line in frame_hashes(target)] == frame_md5s
    exact = [Fraction(int(frame.time * 1000 + Fraction(1, 2)), 1000) for frame in frames]
    assert times(target) == (
        [frame.time for frame in frames] if job.plan.container.custom_timescale else exact
    )


def test_no_difference_at_segment_boundaries(sample: Sample, tmp_path: Path) -> None:
    """With a lossless codec, so that frames can be compared."""
    source = sample(media.cfr, frames=24)
    results = []
    for name, segment in (("reference", "none"), ("segmented", 5)):
        lossless = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
        upscale_until(source, tmp_path / f"{name}.mkv", replace(OPTIONS, segment=segment, encode=lossless))
        results.append(frame_hashes(tmp_path / f"{name}.mkv"))
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("encode", "suffix", "reason"),
    [
        (EncodeOptions(codec="utvideo"), ".mkv", "of utvideo cannot be cut into segments"),
        (EncodeOptions(), ".avi", "AVI counts frames"),
        (EncodeOptions(extra=(("vf", "hqdn3d"),)), ".mp4", "-e vf may depend on the "),
        (EncodeOptions(extra=(("force_key_frames", "0:01"),)), ".mp4", "-e force_key_frames"),
        (EncodeOptions(extra=(("x264-params", "pass=1:stats=first.log"),)), ".mp4", "-e x264-params"),
    ],
)
def test_not_segmentable_is_written_in_one_go(
    encode: EncodeOptions,
    suffix: str,
    reason: str,
    sample: Sample,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # the trial encode writes first.log there
    job = prepare_job(sample(media.cfr), tmp_path / f"out{suffix}", replace(OPTIONS, encode=encode))
    assert not job.segmented
    notice = next(text for text in job.plan.notices if reason in text)
    assert notice.endswith("the video is written in one go, and an interruption costs all of it")


def test_segment_none_needs_no_notice(sample: Sample, tmp_path: Path) -> None:
    job = prepare_job(sample(media.cfr), tmp_path / "out.mp4", replace(OPTIONS, segment="none"))
    assert not job.segmented
    assert not any("one go" in notice for notice in job.plan.notices)
    upscale_until(sample(media.cfr), tmp_path / "out.mp4", replace(OPTIONS, segment="none"), stop_after=3)
    assert list(tmp_path.iterdir()) == []


def test_changed_segment_is_refused(sample: Sample, tmp_path: Path) -> None:
    job = prepare_job(sample(media.cfr), tmp_path / "out.mp4", OPTIONS)
    pixels = np.zeros((job.plan.height, job.plan.width, 3), np.uint8)
    segments = []
    for number in range(2):
        with segment_encoder(job, tmp_path / f"{number}.mov") as encoder:
            for pts in range(3):
                encoder.write(Frame(pixels, 1001 * (3 * number + pts), job.source.video.time_base))
        segments.append(encoder.segment)
    (tmp_path / "1.mov").write_bytes((tmp_path / "0.mov").read_bytes())
    with pytest.raises(EncodeError, match=r"out\.mp4: its segment .*1\.mov has been changed"):
        concatenator(job, tmp_path, segments).run()
    assert not (tmp_path / "out.mp4").exists()
    options = (*job.plan.video_options, ("x264-params", "cabac=1"))
    other = replace(job, plan=replace(job.plan, video_options=options))
    with (
        pytest.raises(EncodeError, match="headers are not those"),
        segment_encoder(other, tmp_path / "2.mov", reference=tmp_path / "0.mov") as encoder,
    ):
        encoder.write(Frame(pixels, 0, job.source.video.time_base))
    assert not (tmp_path / "2.mov").exists()


def test_hevc_headers_without_sei(sample: Sample, tmp_path: Path) -> None:
    """x265 writes its number of threads into an SEI, which differs between machines."""
    headers = []
    for threads in (1, 2):
        extra = (("x265-params", f"frame-threads={threads}:pools={threads}"),)
        job = prepare_job(
            sample(media.cfr),
            tmp_path / "out.mp4",
            replace(OPTIONS, encode=EncodeOptions(codec="libx265", preset="ultrafast", extra=extra)),
        )
        file = tmp_path / f"{threads}.mov"
        with segment_encoder(job, file) as encoder:
            pixels = np.zeros((job.plan.height, job.plan.width, 3), np.uint8)
            encoder.write(Frame(pixels, 0, job.source.video.time_base))
        headers.append(codec_headers(file))
    assert headers[0] == headers[1]
    assert 50 < len(headers[0]) < 200


def test_segment_timescales(sample: Sample) -> None:
    video = probe(sample(media.cfr)).video
    for base, rate, ticks in (
        (Fraction(1, 24000), Fraction(24000, 1001), 24000),
        (Fraction(1, 1000), Fraction(24000, 1001), 120000),
        (Fraction(1, 25), Fraction(25), 10000),
        (Fraction(1001, 30000), None, 30000),
        (Fraction(1, 2**31), None, None),
    ):
        assert segment_timescale(replace(video, time_base=base, frame_rate=rate)) == ticks
