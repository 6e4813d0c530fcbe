"""The media room end to end, with "repeat every pixel" as network, and ways to look into the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest
from films import nearest

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


@pytest.fixture
def upscale(ffmpeg: Ffmpeg) -> Callable[..., OutputPlan]:
    """``upscale(source, target, scale=2, span=…, **options)``: decode, repeat pixels, encode; the plan."""

    def run(
        path: Path,
        target: Path,
        *,
        scale: int = 2,
        span: tuple[Fraction | None, Fraction | None] = (None, None),
        ffmpeg: Ffmpeg = ffmpeg,
        **options: Any,
    ) -> OutputPlan:
        source = probe(path)
        width, height = source.video.width * scale, source.video.height * scale
        plan = plan_output(
            source,
            target,
            width=width,
            height=height,
            options=EncodeOptions(**options),
            span=span,
            ffmpeg=ffmpeg,
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
