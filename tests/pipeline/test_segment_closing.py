"""A segment is closed while the next one is computed: nothing waits or is lost, every error is heard."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from interruptible_runs import FAST, frame_hashes, journal, upscaled

import media_samples as media
from vsrcli import Options, prepare_job
from vsrcli.errors import EncodeError
from vsrcli.media.process import FFmpegProcess
from vsrcli.media.segments import SegmentEncoder

Sample = Callable[..., Path]
OPTIONS = Options(Fraction(2), "bicubic", encode=FAST, segment=5)


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[SegmentEncoder], None]], None]:
    """``closing(before)`` calls ``before`` when a segment is to be checked that is closed beside the next."""
    verify = SegmentEncoder._verify

    def hold_up(before: Callable[[SegmentEncoder], None]) -> None:
        def slowly(self: SegmentEncoder, process: FFmpegProcess) -> None:
            if threading.current_thread() is not threading.main_thread():
                before(self)
            verify(self, process)

        monkeypatch.setattr(SegmentEncoder, "_verify", slowly)

    return hold_up


def test_the_next_segment_is_computed_meanwhile(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    """Each is closed only when three more frames are there; the last one has none to wait for."""
    source, target = sample(media.cfr, frames=23), tmp_path / "out.mp4"
    reached, moved = 0, threading.Condition()
    waited: list[bool] = []

    def at(progress: object) -> None:
        nonlocal reached
        with moved:
            reached += 1
            moved.notify_all()

    def before(segment: SegmentEncoder) -> None:
        goal = 5 * (len(waited) + 1) + 3
        with moved:
            waited.append(moved.wait_for(lambda: reached >= goal, timeout=30))

    closing(before)
    told = upscaled(source, target, OPTIONS, at=at)
    assert told.result is not None
    assert waited == [True] * 4
    assert len(frame_hashes(target)) == 23


def test_short_memory_closes_first(closing: Callable[..., None], sample: Sample, tmp_path: Path) -> None:
    """Two encoders at a time take more than one; where that is too much, the film is the same."""
    source, films, closed = sample(media.cfr, frames=23), [], []
    closing(closed.append)
    peak = prepare_job(source, tmp_path / "any.mp4", OPTIONS).memory_estimate()
    for name, memory, beside in (("wide", peak.total, 4), ("short", peak.total - 1, 0)):
        films.append(tmp_path / f"{name}.mp4")
        closed.clear()
        upscaled(source, films[-1], replace(OPTIONS, max_memory=memory))
        assert len(closed) == beside
    assert frame_hashes(films[0]) == frame_hashes(films[1])


def test_what_is_being_closed_is_kept_when_the_run_is_stopped(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    source, whole, target = sample(media.cfr, frames=23), tmp_path / "whole.mp4", tmp_path / "out.mp4"
    upscaled(source, whole, OPTIONS)
    stopped = threading.Event()
    closing(lambda segment: stopped.wait(30) and None)

    def at(progress: object) -> None:
        nonlocal frames
        frames += 1
        if frames == 8:
            threading.Timer(0.2, stopped.set).start()

    frames = 0
    upscaled(source, target, OPTIONS, until=8, at=at)
    assert sum(each["frame_count"] for each in journal(target)["segments"]) == 5
    told = upscaled(source, target, OPTIONS)
    assert told.notices == ["resuming at frame 5 of 23"]
    assert frame_hashes(target) == frame_hashes(whole)


def test_a_segment_that_cannot_be_closed_stops_the_film(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    source, target = sample(media.cfr, frames=23), tmp_path / "out.mp4"
    begun: list[SegmentEncoder] = []

    def before(segment: SegmentEncoder) -> None:
        begun.append(segment)
        if len(begun) == 2:
            raise EncodeError("the disk is full")

    closing(before)
    with pytest.raises(EncodeError, match="the disk is full") as caught:
        upscaled(source, target, OPTIONS)
    assert caught.value.saved_frames == 5
    closing(lambda segment: None)
    assert upscaled(source, target, replace(OPTIONS)).notices == ["resuming at frame 5 of 23"]
    assert len(frame_hashes(target)) == 23
