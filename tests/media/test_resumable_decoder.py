"""Decoding takes up behind the frame seen last, wherever a file can be entered."""

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
def test_behind_every_frame(
    function: Callable[..., Path], options: dict, sample: Sample, ffmpeg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = probe(sample(function, **options))
    opened: list[ResumePoint | None] = []

    def open_decoder(seen: ResumePoint | None) -> Decoder:
        opened.append(seen)
        start = None if seen is None else seen.pts * source.video.time_base - source.start
        return Decoder(source, start=start, ffmpeg=ffmpeg)

    with ResumableDecoder(source, open_decoder, None) as onward:
        whole = list(frames_of(onward))
    for number in (1, len(whole) // 2, len(whole)):
        last = whole[number - 1]
        with ResumableDecoder(
            source, open_decoder, ResumePoint(number, last.pts, frame_crc32(last))
        ) as onward:
            rest = list(frames_of(onward))
        assert [frame.pts for frame in rest] == [frame.pts for frame in whole[number:]]
        for one, other in zip(rest, whole[number:], strict=True):
            np.testing.assert_array_equal(one.pixels, other.pixels)
    assert opened.count(None) == 1  # it never had to begin at the start


class FakeDecoder:
    """Frames of one grey each; ``wrong`` is added where decoding begins in the middle."""

    def __init__(self, source: Any, greys: list[int], wrong: int = 0) -> None:
        self.closed = False
        self.warnings: list[str] = []
        self._frames = [
            Frame(np.full((4, 4, 3), grey + wrong, np.uint8), pts, source.video.time_base)
            for pts, grey in enumerate(greys)
        ]

    def __iter__(self) -> Iterator[Frame]:
        return iter(self._frames)

    def raise_if_damaged(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def test_a_file_that_cannot_be_entered_is_decoded_from_its_start(sample: Sample) -> None:
    source, opened = probe(sample(media.cfr)), []

    def open_decoder(seen: ResumePoint | None) -> Any:
        opened.append(FakeDecoder(source, [10, 20, 30, 40], wrong=0 if seen is None else 1))
        return opened[-1]

    good = FakeDecoder(source, [10, 20, 30, 40])
    second = list(good)[1]
    with ResumableDecoder(source, open_decoder, ResumePoint(2, 1, frame_crc32(second))) as onward:
        assert [int(frame.pixels[0, 0, 0]) for frame in onward] == [30, 40]
    assert len(opened) == 2
    assert all(decoder.closed for decoder in opened)


@pytest.mark.parametrize("greys", [[10, 99, 30], [10]])
def test_another_film(greys: list[int], sample: Sample) -> None:
    source = probe(sample(media.cfr))
    second = list(FakeDecoder(source, [10, 20, 30]))[1]
    with (
        ResumableDecoder(
            source,
            lambda seen: FakeDecoder(source, greys),  # type: ignore[arg-type,return-value]
            ResumePoint(2, 1, frame_crc32(second)),
        ) as onward,
        pytest.raises(DecodeError, match="differ from those decoded before; use --no-resume"),
    ):
        list(onward)


def test_damage_is_told_at_a_border(sample: Sample, ffmpeg: Any) -> None:
    """Not at the end only: what is made of a damaged source must not be kept as finished."""
    source = probe(sample(media.cfr))
    with Decoder(source, ffmpeg=ffmpeg) as decoder:
        frames = iter(decoder)
        next(frames)
        decoder.raise_if_damaged()
        assert decoder._reader is not None
        decoder._reader.damage_messages.append("corrupt decoded frame")
        with pytest.raises(DecodeError, match="after 1 frame: the file is damaged"):
            decoder.raise_if_damaged()
    with Decoder(source, tolerant=True, ffmpeg=ffmpeg) as decoder:
        next(iter(decoder))
        assert decoder._reader is not None
        decoder._reader.damage_messages.append("corrupt decoded frame")
        decoder.raise_if_damaged()
