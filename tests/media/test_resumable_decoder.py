"""Decoding resumes after the last frame, wherever seeking in the file is possible."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import media_samples as media
from vsrcli.errors import DecodeError
from vsrcli.media.decoder import Decoder
from vsrcli.media.probe import probe
from vsrcli.media.resumable_decoder import ResumableDecoder, ResumePoint, frame_crc32
from vsrcli.media.types import Frame

Sample = Callable[..., Path]


def frames_of(decoder: Any) -> Iterator[Frame]:
    for frame in decoder:
        yield Frame(frame.pixels.copy(), frame.pts, frame.time_base)


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (media.cfr, {"frames": 24}),
        (media.mpegts, {}),
        (media.interlaced, {}),
        (media.vfr, {"suffix": ".mkv"}),
    ],
)
def test_resume_after_any_frame(
    function: Callable[..., Path], options: dict, sample: Sample, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = probe(sample(function, **options))
    opened: list[ResumePoint | None] = []

    def open_decoder(resume_point: ResumePoint | None) -> Decoder:
        opened.append(resume_point)
        start = None if resume_point is None else resume_point.pts * source.video.time_base - source.start
        return Decoder(source, start=start, ffmpeg=ffmpeg)

    with ResumableDecoder(source, open_decoder, None) as decoder:
        reference = list(frames_of(decoder))
    for number in (1, len(reference) // 2, len(reference)):
        last = reference[number - 1]
        with ResumableDecoder(
            source, open_decoder, ResumePoint(number, last.pts, frame_crc32(last))
        ) as decoder:
            remaining = list(frames_of(decoder))
        assert [frame.pts for frame in remaining] == [frame.pts for frame in reference[number:]]
        for one, other in zip(remaining, reference[number:], strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
    assert opened.count(None) == 1  # it never had to decode from the start


class FakeDecoder:
    """Yields uniform gray frames; ``error`` is added to their values."""

    def __init__(self, source: Any, grays: list[int], error: int = 0) -> None:
        self.closed = False
        self.warnings: list[str] = []
        self._frames = [
            Frame(np.full((4, 4, 3), gray + error, np.uint8), pts, source.video.time_base)
            for pts, gray in enumerate(grays)
        ]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def raise_if_damaged(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_decodes_from_the_start_without_seeking(sample: Sample) -> None:
    source, opened = probe(sample(media.cfr)), []

    def open_decoder(resume_point: ResumePoint | None) -> Any:
        opened.append(FakeDecoder(source, [10, 20, 30, 40], error=0 if resume_point is None else 1))
        return opened[-1]

    good = FakeDecoder(source, [10, 20, 30, 40])
    second = list(good)[1]
    with ResumableDecoder(source, open_decoder, ResumePoint(2, 1, frame_crc32(second))) as decoder:
        assert [int(frame.pixels[0, 0, 0]) for frame in decoder] == [30, 40]
    assert len(opened) == 2
    assert all(decoder.closed for decoder in opened)


@pytest.mark.parametrize("grays", [[10, 99, 30], [10]])
def test_another_video_is_refused(grays: list[int], sample: Sample) -> None:
    source = probe(sample(media.cfr))
    second = list(FakeDecoder(source, [10, 20, 30]))[1]
    with (
        ResumableDecoder(
            source,
            lambda resume_point: FakeDecoder(source, grays),  # type: ignore[arg-type,return-value]
            ResumePoint(2, 1, frame_crc32(second)),
        ) as decoder,
        pytest.raises(DecodeError, match="differ from those decoded before; use --no-resume") as error,
    ):
        list(decoder)
    assert error.value.resume_option is None


def test_damage_is_raised_at_a_checkpoint(sample: Sample, ffmpeg: Any) -> None:
    """Not only at the end: frames of damaged data must not be committed."""
    source = probe(sample(media.cfr))
    with Decoder(source, ffmpeg=ffmpeg) as decoder:
        frames = iter(decoder)
        next(frames)
        decoder.raise_if_damaged()
        assert decoder._reader is not None
        decoder._reader.damage_count += 1
        with pytest.raises(DecodeError, match="after 1 frame: the file is damaged"):
            decoder.raise_if_damaged()
    with Decoder(source, tolerant=True, ffmpeg=ffmpeg) as decoder:
        next(iter(decoder))
        assert decoder._reader is not None
        decoder._reader.damage_count += 1
        decoder.raise_if_damaged()
