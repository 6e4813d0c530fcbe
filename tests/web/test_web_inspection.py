"""Properties of videos and pairs of frames, as the process writes them that inspects files for the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import media_samples as media
from vsrcli.media import timing
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
from vsrcli.media.types import Source
from vsrcli.web.inspection import describe_video, write_previews

Sample = Callable[..., Path]


def test_recording_that_begins_between_key_frames(sample: Sample, tmp_path: Path) -> None:
    """Packets before the first key frame show nothing: they are no frames, and none is paired with one."""
    recording, copy = sample(media.mpegts_mid_stream), tmp_path / "copy.mkv"
    with Decoder(probe(recording), ffmpeg=find_ffmpeg()) as decoder:
        count = sum(1 for _ in decoder)
    media.run_ffmpeg("-i", recording, "-map", "0:v", "-fps_mode", "passthrough", "-c:v", "ffv1", copy)
    assert describe_video(recording)["frames"] == describe_video(copy)["frames"] == count
    write_previews(recording, copy, tmp_path, 5)
    for number in range(5):
        before, after = (
            np.asarray(Image.open(tmp_path / f"{side}-{number}.png")).astype(int)
            for side in ("before", "after")
        )
        assert np.abs(before - after).mean() < 1


@pytest.mark.parametrize("name", ["raw.h264", "raw.hevc", "program-stream.vob"])
def test_frames_without_times(name: str, sample: Sample) -> None:
    """They count, too: raw streams state no times, H.264 in program streams only those of a few frames."""
    encoder = ("libx265", "-x265-params", "log-level=error") if "hevc" in name else ("libx264",)
    path = sample(media.encoded, name=name, filters="format=yuv420p", encoder=("-c:v", *encoder), frames=48)
    video = describe_video(path)
    assert (video["frames"], video["fps"], video["duration"]) == (48, 23.976, 2.002)


@pytest.mark.parametrize("timed_each", [1, 6])
def test_fields_are_no_frames(timed_each: int, sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """libavformat makes a packet of each field, of which the second has no time: H.264 in field pictures."""
    path = sample(media.interlaced, suffix=".ts")
    expected, read_packets = describe_video(path), timing.packets_of

    def packets(source: Source) -> Iterator[Any]:
        for index, packet in enumerate(read_packets(source)):
            field = SimpleNamespace(size=packet.size, is_discard=False, dts=None, pts=None, time_base=None)
            yield packet if index % timed_each == 0 else field
            yield field

    monkeypatch.setattr(timing, "packets_of", packets)
    monkeypatch.setattr(timing, "_last_ticks", None)
    video = describe_video(path)
    last_ones = 0 if timed_each == 1 else timed_each  # after the last time, of which nothing is known
    assert expected["frames"] == 24
    assert expected["frames"] - last_ones <= video["frames"] <= expected["frames"]
    assert video["duration"] <= expected["duration"]


def test_pixels_that_are_not_square(sample: Sample) -> None:
    video = describe_video(sample(media.anamorphic))
    assert (video["width"], video["height"], video["pixel_aspect"]) == (64, 48, 16 / 11)
