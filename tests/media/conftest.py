"""Fixtures that run decoder and encoder end to end, with nearest-neighbour upscaling as network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Any

import psutil
import pytest
from video_inspection import upscale_nearest

from vsrcli.media.containers import choose_container
from vsrcli.media.decoder import Decoder
from vsrcli.media.encoder import VideoEncoder
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.ffmpeg_writer import Destination
from vsrcli.media.output_plan import EncodeOptions, OutputPlan
from vsrcli.media.planning import plan_output
from vsrcli.media.probe import probe
from vsrcli.media.segments import SegmentConcatenator, SegmentDestination, reason_not_segmentable
from vsrcli.media.source_reader import VideoReader
from vsrcli.media.trial import trial_encode
from vsrcli.media.types import Frame, Source


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """Fail if a test leaves an ffmpeg running."""
    yield
    left = [child for child in psutil.Process().children(recursive=True) if "ffmpeg" in child.name()]
    assert left == []


@pytest.fixture(params=["whole", "segments"])
def upscale(ffmpeg: Ffmpeg, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., OutputPlan]:
    """``upscale(source, target, scale=2, span=…, **options)``: decode, repeat pixels, encode; the plan.

    In one go, and in segments of four frames where that is possible.
    """

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
            choose_container(target, None, ffmpeg),
            width=width,
            height=height,
            options=EncodeOptions(**options),
            span=VideoReader(source).read_span(*span),
            ffmpeg=ffmpeg,
        )
        trial_encode(plan, source, ffmpeg=ffmpeg)
        with Decoder(source, start=span[0], end=span[1], ffmpeg=ffmpeg) as decoder:
            frames = (upscale_nearest(frame, scale) for frame in decoder)
            if request.param == "whole" or reason_not_segmentable(plan, source.video, plan.video_options):
                write(VideoEncoder(plan, source, ffmpeg=ffmpeg), frames)
            else:
                in_segments(plan, source, frames)
        return plan

    def write(encoder: VideoEncoder, frames: Iterable[Frame]) -> None:
        with encoder:
            for frame in frames:
                encoder.write(frame)

    def in_segments(plan: OutputPlan, source: Source, frames: Iterator[Frame]) -> None:
        folder, segments = tmp_path / f"segments-{plan.target.name}", []
        folder.mkdir()
        for first in frames:
            encoder = VideoEncoder(
                plan,
                source,
                SegmentDestination(plan, source, folder / f"{len(segments)}.mov"),
                ffmpeg=ffmpeg,
            )
            write(encoder, [first, *islice(frames, 3)])
            assert encoder.segment is not None
            segments.append(encoder.segment)
        SegmentConcatenator(folder, segments, Destination(plan, source), ffmpeg=ffmpeg).run()
        rmtree(folder)

    return run


@pytest.fixture
def frames(ffmpeg: Ffmpeg) -> Callable[..., list[Frame]]:
    """``frames(path_or_source, **options)``: all frames that a Decoder gives, copied."""

    def read(path: Path | Source, **options: Any) -> list[Frame]:
        source = path if isinstance(path, Source) else probe(path)
        with Decoder(source, ffmpeg=ffmpeg, **options) as decoder:
            return [replace(frame, pixels=frame.pixels.copy()) for frame in decoder]

    return read
