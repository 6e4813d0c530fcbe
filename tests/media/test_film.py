"""Whole films through decoder and encoder: times, sound, subtitles, chapters, shapes."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import av.stream
import numpy as np
import pytest
from video_inspection import relative_packets, relative_times

import media_samples as media
from vsrcli.media.output_plan import OutputPlan
from vsrcli.media.probe import probe
from vsrcli.media.timing import frame_times, last_frame
from vsrcli.media.types import Frame, Source

Sample = Callable[..., Path]
Upscale = Callable[..., OutputPlan]
FILMS = [
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


def tick(path: Path) -> Fraction:
    return probe(path).video.time_base


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".ts"])
@pytest.mark.parametrize(("function", "options"), FILMS)
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
    [film for film in FILMS if film[0] not in (media.interlaced, media.ten_bit, media.avi, media.gif)],
)
def test_sound_is_the_same_at_the_same_time(
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
        # Against the picture, to one tick of the coarser clock (1 ms in Matroska).
        coarse = max(tick(path), tick(target), Fraction(1, 48000))
        assert max(abs(a[0] - b[0]) for a, b in zip(after, before, strict=True)) <= coarse


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_the_last_picture_of_a_slide_show_stays_as_long(
    suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    """1.2 s of slides, and the last one for 0.8 s."""
    target = tmp_path / f"out{suffix}"
    upscale(sample(media.gif), target)
    assert last_frame(probe(target), None) == (Fraction(6, 5), Fraction(4, 5))
    assert probe(target).video.duration == 2
    upscale(target, tmp_path / f"again{suffix}")
    assert probe(tmp_path / f"again{suffix}").video.duration == 2


@pytest.mark.parametrize(
    ("end", "lasts"), [(Fraction(7, 10), Fraction(1, 10)), (Fraction(6, 5), Fraction(3, 5))]
)
def test_the_last_picture_of_a_span_ends_with_it(
    end: Fraction, lasts: Fraction, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    upscale(sample(media.gif), tmp_path / "out.mp4", span=(None, end))
    assert last_frame(probe(tmp_path / "out.mp4"), None) == (Fraction(3, 5), lasts)


def test_pictures_without_times_follow_one_another(
    sample: Sample, tmp_path: Path, upscale: Upscale, frames: Callable[..., list[Frame]]
) -> None:
    """H.264 in AVI: libavformat guesses, and puts the second picture where the third belongs."""
    path = sample(media.avi)
    wanted = [Fraction(number, 25) for number in range(12)]
    assert [frame.time for frame in frames(path)] == frame_times(probe(path)) == wanted
    assert [frame.time for frame in frames(path, start=Fraction(1, 5), end=Fraction(2, 5))] == wanted[5:10]
    upscale(path, tmp_path / "out.mp4")
    assert relative_times(tmp_path / "out.mp4") == wanted


def test_a_recording_that_begins_between_key_frames(
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
def test_everything_goes_along(
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
    assert source.metadata["title"] == "A tiny film"
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
        wanted = sorted(other.kind for other in probe(path).other_streams)
        if suffix == ".mp4":
            wanted = [kind for kind in wanted if kind != "attachment"]
        assert kinds == wanted
        assert cover(target) == cover(path)


def cover(path: Path) -> bytes:
    from vsrcli.media.mux import cover_data

    source = probe(path)
    found = cover_data(source, next(other.index for other in source.other_streams if other.kind == "cover"))
    assert found
    return found


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_shape_rotation_and_fields(suffix: str, sample: Sample, tmp_path: Path, upscale: Upscale) -> None:
    target = tmp_path / f"anamorphic{suffix}"
    upscale(sample(media.anamorphic), target)
    ratio = probe(target).video.sample_aspect_ratio
    # WebM knows a display size in whole pixels only.
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
def test_deep_pictures_stay_deep(
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


SPAN = (Fraction(1, 4), Fraction(3, 4))


@pytest.mark.parametrize("before", [".mkv", ".mp4"])
@pytest.mark.parametrize("after", [".mkv", ".mp4"])
def test_a_span_takes_everything_with_it(
    before: str, after: str, sample: Sample, tmp_path: Path, upscale: Upscale
) -> None:
    path, target = sample(media.rich, suffix=before), tmp_path / f"out{after}"
    upscale(path, target, span=SPAN)
    source = probe(path)
    wanted = [time - SPAN[0] for time in frame_times(source) if SPAN[0] <= time < SPAN[1]]
    got = frame_times(probe(target))
    coarse = max(tick(path), tick(target))
    assert len(got) == len(wanted)
    assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= (coarse if after == ".mkv" else 0)
    inside = in_span(relative_packets(path, "audio")[0])
    for track in packets_absolute(target, "audio"):
        assert [data for _, data in track] == [
            data for _, data in in_span(relative_packets(path, "audio")[len_index(target, track)])
        ]
        assert abs(track[0][0] - (inside[0][0] - SPAN[0])) <= Fraction(1, 900)
    lines = [line for line in packets_absolute(target, "subtitle")[0] if len(line[1]) > 2]
    assert [time for time, _ in lines] == [Fraction(1, 4)]
    marks = [(c.start, c.end) for c in probe(target).chapters]
    assert marks == [(0, Fraction(3, 20)), (Fraction(3, 20), Fraction(1, 2))]


def in_span(track: list[tuple[Fraction, bytes]]) -> list[tuple[Fraction, bytes]]:
    return [(time, data) for time, data in track if SPAN[0] <= time < SPAN[1]]


def packets_absolute(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    start = probe(path).start
    return [[(time + start, data) for time, data in track] for track in relative_packets(path, kind)]


def len_index(path: Path, track: list[tuple[Fraction, bytes]]) -> int:
    return packets_absolute(path, "audio").index(track)


def test_the_first_times_are_read_from_the_beginning_alone(tmp_path: Path) -> None:
    """Asking for ten frames must not read a film of hours: of this one, the second half is missing."""
    whole = media.mpegts(tmp_path, frames=400)
    times = frame_times(probe(whole))
    assert len(times) == 400
    data = whole.read_bytes()
    (tmp_path / "half.ts").write_bytes(data[: len(data) // 2 // 188 * 188] + b"\0" * (len(data) // 2))
    half = probe(tmp_path / "half.ts")
    assert frame_times(half, max_count=10) == times[:10]
    assert frame_times(half, start=times[20], max_count=10) == times[20:30]
    assert frame_times(probe(whole), start=times[395], max_count=10) == times[395:]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("span", [(None, Fraction(1)), (Fraction(1, 5), None), (Fraction(1, 5), Fraction(1))])
def test_a_span_before_zero(
    span: tuple[Fraction | None, Fraction | None],
    suffix: str,
    sample: Sample,
    tmp_path: Path,
    upscale: Upscale,
) -> None:
    """The picture and the sound of a film whose clock begins below zero are cut at the same times."""
    path, target = sample(media.mpegts_wrapping), tmp_path / f"out{suffix}"
    assert probe(path).start < Fraction(-1, 2)
    upscale(path, target, span=span)
    begin, end = span[0] or Fraction(0), span[1] or Fraction(9)
    wanted = [time - begin for time in relative_times(path) if begin <= time < end]
    got = frame_times(probe(target))
    assert len(got) == len(wanted)
    assert max(abs(a - b) for a, b in zip(got, wanted, strict=True)) <= tick(target)
    whole, track = relative_packets(path, "audio")[0], packets_absolute(target, "audio")[0]
    kept = [(time - begin, data[7:]) for time, data in whole if begin <= time < end]
    assert abs(len(track) - len(kept)) <= 1  # the last one may begin at the very end
    assert [data for _, data in track][: len(kept)] == [data for _, data in kept][: len(track)]
    assert abs(track[0][0] - kept[0][0]) <= tick(target) + Fraction(1, 10_000)


def test_chapters_of_a_running_clock_begin_at_zero(sample: Sample, tmp_path: Path, upscale: Upscale) -> None:
    """Matroska that starts at 5 s, with chapters there: the new film and its chapters start at 0."""
    path, target = tmp_path / "late.mkv", tmp_path / "out.mkv"
    media.run_ffmpeg("-itsoffset", "5", "-i", sample(media.rich), "-map", "0", "-c", "copy", path)
    source: Source = probe(path)
    assert source.start == 5
    upscale(path, target)
    assert relative_times(target) == relative_times(path)
    assert probe(target).start == 0
    begin = [chapter.start for chapter in source.chapters]
    assert [chapter.start for chapter in probe(target).chapters] == [max(time - 5, 0) for time in begin]
