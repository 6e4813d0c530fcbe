"""Spans of videos through decoder and encoder: every stream begins and ends with the span."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import pytest
from video_inspection import absolute_packets, relative_packets, relative_times, tick

import media_samples as media
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times, last_frame

Sample = Callable[..., Path]
Upscale = Callable[..., OutputPlan]
SPAN = (Fraction(1, 4), Fraction(3, 4))


@pytest.mark.parametrize(
    ("end", "duration"), [(Fraction(7, 10), Fraction(1, 10)), (Fraction(6, 5), Fraction(3, 5))]
)
def test_last_frame_ends_with_the_span(
    end: Fraction, duration: Fraction, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    upscale(sample(media.gif), tmp_path / "out.mp4", span=(None, end))
    assert last_frame(probe(tmp_path / "out.mp4"), None) == (Fraction(3, 5), duration)


def test_span_that_ends_between_two_frames_is_no_slide_show(
    sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = sample(media.mpegts), tmp_path / "out.mp4"
    times = relative_times(path)
    end = times[7] + Fraction(1, 100)
    plan = upscale(path, target, span=(None, end))
    assert plan.last_frame_duration is not None
    assert plan.last_frame_duration[1] == Fraction(1, 100)
    assert "bf" not in dict(plan.video_options)
    assert [time - frame_times(probe(target))[0] for time in frame_times(probe(target))] == [
        time - times[0] for time in times[:8]
    ]


@pytest.mark.parametrize("before", [".mkv", ".mp4"])
@pytest.mark.parametrize("after", [".mkv", ".mp4"])
def test_span_trims_all_streams(
    before: str, after: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = sample(media.rich, suffix=before), tmp_path / f"out{after}"
    upscale(path, target, span=SPAN)
    source = probe(path)
    expected = [time - SPAN[0] for time in frame_times(source) if SPAN[0] <= time < SPAN[1]]
    actual = frame_times(probe(target))
    tolerance = max(tick(path), tick(target))
    assert len(actual) == len(expected)
    assert max(abs(a - b) for a, b in zip(actual, expected, strict=True)) <= (
        tolerance if after == ".mkv" else 0
    )
    inside = in_span(relative_packets(path, "audio")[0])
    for track in absolute_packets(target, "audio"):
        assert [data for _, data in track] == [
            data for _, data in in_span(relative_packets(path, "audio")[track_index(target, track)])
        ]
        assert abs(track[0][0] - (inside[0][0] - SPAN[0])) <= Fraction(1, 900)
    # One text is on the screen at the start, the other one at the end. Matroska would get both too late.
    if after == ".mp4":
        assert shown_texts(target) == [(0, Fraction(1, 20)), (Fraction(1, 4), Fraction(1, 2))]
    else:
        assert [begin for begin, _ in shown_texts(target)] == [Fraction(1, 4)]
    marks = [(c.start, c.end) for c in probe(target).chapters]
    assert marks == [(0, Fraction(3, 20)), (Fraction(3, 20), Fraction(1, 2))]


@pytest.mark.parametrize("start", [None, Fraction(1, 20)])
def test_converted_subtitles_end_with_the_span(
    start: Fraction | None, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    target = tmp_path / "out.mp4"
    upscale(sample(media.rich), target, span=(start, Fraction(2, 5)))
    lines = absolute_packets(target, "subtitle")[0]
    shown = [time for time, data in lines if len(data) > 2]
    assert shown == [Fraction(1, 10) - (start or 0)]
    assert max(time for time, _ in lines) < Fraction(2, 5)


def test_texts_stand_in_matroska_where_they_are_shown(tmp_path: Path, upscale: Upscale) -> None:
    """Players read it forwards."""
    times = ("00:10", "01:10", "02:30")
    texts = "".join(f"{n}\n00:{t},000 --> 00:{t},900\nText\n\n" for n, t in enumerate(times, 1))
    (tmp_path / "texts.srt").write_text(texts)
    pattern = ("-f", "lavfi", "-i", "testsrc=size=64x48:rate=2:duration=160")
    sound = ("-f", "lavfi", "-i", "sine=duration=160", "-c:a", "ac3")
    media.run_ffmpeg(*pattern, *sound[:4], "-i", tmp_path / "texts.srt", *sound[4:], tmp_path / "in.mkv")
    upscale(tmp_path / "in.mkv", tmp_path / "out.mkv", span=(Fraction(5), None))
    latest, shown = Fraction(0), []
    with av.open(str(tmp_path / "out.mkv")) as container:
        for packet in container.demux():
            time = None if packet.pts is None else packet.pts * Fraction(packet.time_base)
            if time is not None and packet.stream.type != "subtitle":
                latest = max(latest, time)
            elif time is not None:
                shown.append(time)
                assert latest <= time + 2
    assert shown == [5, 65, 145]


def shown_texts(path: Path) -> list[tuple[Fraction, Fraction]]:
    """Return begin and end of each text in the first subtitle stream."""
    with av.open(str(path)) as container:
        return [
            (
                packet.pts * Fraction(packet.time_base),
                (packet.pts + packet.duration) * Fraction(packet.time_base),
            )
            for packet in container.demux(subtitles=0)
            if packet.size > 2 and packet.pts is not None and packet.duration is not None
        ]


def in_span(track: list[tuple[Fraction, bytes]]) -> list[tuple[Fraction, bytes]]:
    return [(time, data) for time, data in track if SPAN[0] <= time < SPAN[1]]


def track_index(path: Path, track: list[tuple[Fraction, bytes]]) -> int:
    return absolute_packets(path, "audio").index(track)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_span_of_a_clock_that_begins_later(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target, start = sample(media.mpegts), tmp_path / f"out{suffix}", Fraction(2, 5)
    assert probe(path).start > 1
    upscale(path, target, span=(start, None))
    sound = [(time - start, data[7:]) for time, data in relative_packets(path, "audio")[0] if time >= start]
    track = absolute_packets(target, "audio")[0]
    assert [data for _, data in track] == [data for _, data in sound]
    assert abs(track[0][0] - sound[0][0]) <= tick(target) + Fraction(1, 10_000)
    first = min(time - start for time in relative_times(path) if time >= start)
    assert abs(frame_times(probe(target))[0] - first) <= tick(target)


def test_second_video_of_a_span_begins_with_a_key_frame(
    sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = tmp_path / "two.ts", tmp_path / "out.mkv"
    media.run_ffmpeg("-i", sample(media.mpegts), "-map", "0:v", "-map", "0:v", "-c", "copy", path)
    upscale(path, target, span=(Fraction(1, 5), None))
    with av.open(str(target)) as container:
        packets = [packet for packet in container.demux(video=1) if packet.size]
    assert packets[0].is_keyframe
    assert len(packets) == 18  # key frames every six frames


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("span", [(None, Fraction(1)), (Fraction(1, 5), None), (Fraction(1, 5), Fraction(1))])
def test_span_with_negative_start(
    span: tuple[Fraction | None, Fraction | None],
    suffix: str,
    sample: Sample,
    tmp_path: Path,
    upscale: Upscale,
) -> None:
    """Video and audio are trimmed at the same times if the clock begins below zero."""
    path, target = sample(media.mpegts_wrapping), tmp_path / f"out{suffix}"
    assert probe(path).start < Fraction(-1, 2)
    upscale(path, target, span=span)
    begin, end = span[0] or Fraction(0), span[1] or Fraction(9)
    expected = [time - begin for time in relative_times(path) if begin <= time < end]
    actual = frame_times(probe(target))
    assert len(actual) == len(expected)
    assert max(abs(a - b) for a, b in zip(actual, expected, strict=True)) <= tick(target)
    whole, track = relative_packets(path, "audio")[0], absolute_packets(target, "audio")[0]
    audio = [(time - begin, data[7:]) for time, data in whole if begin <= time < end]
    assert abs(len(track) - len(audio)) <= 1  # the last one may begin at the very end
    assert [data for _, data in track][: len(audio)] == [data for _, data in audio][: len(track)]
    assert abs(track[0][0] - audio[0][0]) <= tick(target) + Fraction(1, 10_000)
