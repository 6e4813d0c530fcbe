"""Closing a segment while the next one is computed: no wait, no loss, every error is raised."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from interruptible_runs import FAST, frame_hashes, journal_content, upscale_until

import media_samples as media
from vsrcli import Options, prepare_job
from vsrcli.errors import EncodeError
from vsrcli.media import segments
from vsrcli.media.segments import SegmentDestination

Sample = Callable[..., Path]
OPTIONS = Options(Fraction(2), "bicubic", encode=FAST, segment=5)


@pytest.fixture
def closing(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[SegmentDestination], None]], None]:
    """``closing(before)`` calls ``before`` when a segment closed in the background is to be verified."""
    verify = SegmentDestination.verify

    def patch(before: Callable[[SegmentDestination], None]) -> None:
        def verify_after(self: SegmentDestination, *arguments: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                before(self)
            verify(self, *arguments)

        monkeypatch.setattr(SegmentDestination, "verify", verify_after)

    return patch


def test_next_segment_is_computed_while_closing(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    """Each segment is closed only after three more frames; the last one is not followed by any."""
    source, target = sample(media.cfr, frames=23), tmp_path / "out.mp4"
    reached, moved = 0, threading.Condition()
    waited: list[bool] = []

    def at(progress: object) -> None:
        nonlocal reached
        with moved:
            reached += 1
            moved.notify_all()

    def before(segment: SegmentDestination) -> None:
        goal = 5 * (len(waited) + 1) + 3
        with moved:
            waited.append(moved.wait_for(lambda: reached >= goal, timeout=30))

    closing(before)
    log = upscale_until(source, target, OPTIONS, after_frame=at)
    assert log.result is not None
    assert waited == [True] * 4
    assert len(frame_hashes(target)) == 23


def test_no_background_closing_without_memory(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    """Two encoders take more memory than one; without background closing the output is the same."""
    source, videos, closed = sample(media.cfr, frames=23), [], []
    closing(closed.append)
    estimate = prepare_job(source, tmp_path / "any.mp4", OPTIONS).memory_estimate()
    for name, memory, background_count in (("wide", estimate.total, 4), ("short", estimate.total - 1, 0)):
        videos.append(tmp_path / f"{name}.mp4")
        closed.clear()
        upscale_until(source, videos[-1], replace(OPTIONS, max_memory=memory))
        assert len(closed) == background_count
    assert frame_hashes(videos[0]) == frame_hashes(videos[1])


def test_pending_segment_is_committed_on_interruption(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    source, reference, target = sample(media.cfr, frames=23), tmp_path / "reference.mp4", tmp_path / "out.mp4"
    upscale_until(source, reference, OPTIONS)
    stopped = threading.Event()
    closing(lambda segment: stopped.wait(30) and None)

    def at(progress: object) -> None:
        nonlocal frames
        frames += 1
        if frames == 8:
            threading.Timer(0.2, stopped.set).start()

    frames = 0
    upscale_until(source, target, OPTIONS, stop_after=8, after_frame=at)
    assert sum(each["frame_count"] for each in journal_content(target)["segments"]) == 5
    log = upscale_until(source, target, OPTIONS)
    assert log.notices == ["resuming at frame 5 of 23"]
    assert frame_hashes(target) == frame_hashes(reference)


def test_error_of_background_closing_stops_the_run(
    closing: Callable[..., None], sample: Sample, tmp_path: Path
) -> None:
    source, target = sample(media.cfr, frames=23), tmp_path / "out.mp4"
    begun: list[SegmentDestination] = []

    def before(segment: SegmentDestination) -> None:
        begun.append(segment)
        if len(begun) == 2:
            raise EncodeError("the disk is full")

    closing(before)
    with pytest.raises(EncodeError, match="the disk is full") as caught:
        upscale_until(source, target, OPTIONS)
    assert caught.value.saved_frames == 5
    closing(lambda segment: None)
    assert upscale_until(source, target, replace(OPTIONS)).notices == ["resuming at frame 5 of 23"]
    assert len(frame_hashes(target)) == 23


def test_segments_of_an_earlier_run_with_other_headers(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another version, which chose another level, had written them: the remedy works."""
    source, target = sample(media.cfr, frames=23), tmp_path / "out.mp4"
    upscale_until(source, target, OPTIONS, stop_after=12)
    original = segments.segment_encoder_options
    monkeypatch.setattr(
        segments, "segment_encoder_options", lambda *arguments: [*original(*arguments), ("level", "6.2")]
    )
    with pytest.raises(EncodeError, match=r"an earlier run wrote; use --no-resume to begin anew") as caught:
        upscale_until(source, target, OPTIONS)
    assert caught.value.resume_option is None
    upscale_until(source, target, replace(OPTIONS, resume=False))
    assert len(frame_hashes(target)) == 23
