"""Properties of videos and pairs of frames, as the process writes them that inspects files for the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import media_samples as media
from vsrcli.media.decoder import Decoder
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.media.probe import probe
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


def test_pixels_that_are_not_square(sample: Sample) -> None:
    video = describe_video(sample(media.anamorphic))
    assert (video["width"], video["height"], video["pixel_aspect"]) == (64, 48, 16 / 11)
