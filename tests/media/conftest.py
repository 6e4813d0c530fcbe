"""The media room end to end, with "repeat every pixel" as network, and ways to look into the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import psutil
import pytest

from vsrcli.media.decode import Decoder
from vsrcli.media.encode import Encoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.plan import EncodeOptions, OutputPlan, plan_output
from vsrcli.media.probe import probe
from vsrcli.media.types import Frame, Source


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No test may leave an ffmpeg behind."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()]
    assert left == []


def nearest(frame: Frame, scale: int) -> Frame:
    """The smallest upscaler."""
    return replace(frame, pixels=frame.pixels.repeat(scale, 0).repeat(scale, 1))


@pytest.fixture
def upscale(ffmpeg: Ffmpeg) -> Callable[..., OutputPlan]:
    """``upscale(source, target, scale=2, span=…, **options)``: decode, repeat pixels, encode; the plan."""

    def run(
        path: Path,
        target: Path,
        *,
        scale: int = 2,
        span: tuple[Fraction | None, Fraction | None] = (None, None),
        **options: Any,
    ) -> OutputPlan:
        source = probe(path)
        width, height = source.video.width * scale, source.video.height * scale
        plan = plan_output(
            source, target, width=width, height=height, options=EncodeOptions(**options), span=span, ffmpeg=ffmpeg
        )
        with (
            Decoder(source, start=span[0], end=span[1], ffmpeg=ffmpeg) as decoder,
            Encoder(plan, source, ffmpeg=ffmpeg) as encoder,
        ):
            for frame in decoder:
                encoder.write(nearest(frame, scale))
        return plan

    return run


@pytest.fixture
def frames(ffmpeg: Ffmpeg) -> Callable[..., list[Frame]]:
    """``frames(path_or_source, **options)``: all frames that a Decoder gives, copied."""

    def read(path: Path | Source, **options: Any) -> list[Frame]:
        source = path if isinstance(path, Source) else probe(path)
        with Decoder(source, ffmpeg=ffmpeg, **options) as decoder:
            return [replace(frame, pixels=frame.pixels.copy()) for frame in decoder]

    return read


def times(path: Path) -> list[Fraction]:
    """Presentation times of the picture relative to the container's start, by PyAV alone."""
    source = probe(path)
    with av.open(str(path)) as container:
        stream = container.streams[source.video.index]
        base = Fraction(stream.time_base or 1)
        return sorted(p.pts * base - source.start for p in container.demux(stream) if p.pts is not None)


def packets(path: Path, kind: str) -> list[list[tuple[Fraction, bytes]]]:
    """For every stream of a kind: (time relative to the container's start, bytes) of its packets."""
    start = probe(path).start
    with av.open(str(path)) as container:
        streams = [stream for stream in container.streams if stream.type == kind]
        found: dict[int, list[tuple[Fraction, bytes]]] = {stream.index: [] for stream in streams}
        for packet in container.demux(streams):
            if packet.size and packet.pts is not None:
                time = packet.pts * Fraction(packet.time_base) - start
                found[packet.stream_index].append((time, bytes(packet)))
        return [found[stream.index] for stream in streams]


def planes(path: Path, *, index: int = 0) -> list[np.ndarray]:
    """The planes of one decoded picture as coded, by PyAV alone."""
    with av.open(str(path)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == index:
                kind = np.uint16 if frame.format.components[0].bits > 8 else np.uint8
                return [
                    np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width].astype(int)
                    for plane in frame.planes
                ]
    raise AssertionError(f"{path} has no frame {index}")
