"""Decisions about a job, from a source that is made up: no file is read and no program runs."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from vsrcli import EncodeOptions, Options
from vsrcli.errors import OutputError, UsageError
from vsrcli.frames.geometry import SizeRequest
from vsrcli.images.naming import ImageTarget, OutputNaming, parse_pattern
from vsrcli.images.plan import ImagePlan
from vsrcli.inference.engine_plan import EnginePlan
from vsrcli.inference.selection import find_models
from vsrcli.media.containers import choose_container
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.media.source_reader import Span, VideoReader
from vsrcli.media.stdin import StdinSource
from vsrcli.media.types import Color, ImageSequence, OtherStream, Source, VideoStream
from vsrcli.media.y4m import STDIO
from vsrcli.pipeline.job import Job
from vsrcli.pipeline.memory import MemoryBudget
from vsrcli.pipeline.preparation import Inspection, decide

MODELS = find_models("bicubic", Fraction(4))
VIDEO = VideoStream(
    index=0,
    codec="h264",
    width=320,
    height=180,
    rotation=0,
    pix_fmt="yuv420p",
    bit_depth=8,
    has_alpha=False,
    time_base=Fraction(1, 12800),
    frame_rate=Fraction(25),
    start=Fraction(0),
    duration=Fraction(4),
    frame_count=100,
    sample_aspect_ratio=Fraction(1),
    color=Color(),
)
SOURCE = Source(
    Path("in.mp4"),
    "mov,mp4,m4a,3gp,3g2,mj2",
    Fraction(0),
    Fraction(4),
    10**6,
    VIDEO,
    (OtherStream(1, "audio", "aac", summary="stereo, 48000 Hz"), OtherStream(2, "subtitle", "mov_text")),
)
SOURCE_FIELDS = {name: value for name, value in vars(SOURCE).items() if name != "path"}
ENCODERS = {
    "libx264": ("yuv420p", "yuv444p"),
    "libx265": ("yuv420p", "yuv420p10le"),
    "libvpx-vp9": ("yuv420p", "yuva420p"),
    "ffv1": ("yuv420p", "yuv444p", "yuv420p10le"),
    "rawvideo": (),
    "srt": (),
}


class ListedFfmpeg(Ffmpeg):
    """An ffmpeg that exists only as lists of what it can do."""

    def encoders(self) -> frozenset[str]:
        return frozenset(ENCODERS)

    def decoders(self) -> frozenset[str]:
        return frozenset(("h264",))

    def decodable_codecs(self) -> frozenset[str]:
        return frozenset(("h264", "aac", "mov_text"))

    def muxers(self) -> frozenset[str]:
        return frozenset(("mp4", "mov", "matroska", "webm", "nut", "yuv4mpegpipe"))

    def pixel_formats(self, encoder: str) -> tuple[str, ...]:
        return ENCODERS[encoder]

    def help(self, topic: str) -> str:
        return ""


FFMPEG = ListedFfmpeg("/nowhere/ffmpeg", "7.1", (7, 1))


@contextmanager
def nothing_outside() -> Iterator[None]:
    """Make reading a file and running a program an error."""

    def refuse(*arguments: Any, **options: Any) -> None:
        raise AssertionError(f"reached outside: {arguments}")

    with pytest.MonkeyPatch.context() as monkeypatch:
        for name in ("open", "stat", "iterdir", "exists", "is_dir", "is_file"):
            monkeypatch.setattr(Path, name, refuse)
        monkeypatch.setattr(subprocess, "Popen", refuse)
        yield


def found(
    target: str | Path, source: Source = SOURCE, span: Span | None = None, **changes: Any
) -> Inspection:
    target = Path(target)
    container = None if "images" in changes else choose_container(target, changes.pop("format", None), FFMPEG)
    inspection = Inspection(
        reader=VideoReader(source),
        target=target,
        container=container,
        span=span or Span(),
        images=None,
        models=(MODELS,),
        engine=EnginePlan("keras", "cpu", "fp32"),
        ffmpeg=FFMPEG,
        memory_budget=MemoryBudget(8 * 2**30),
    )
    return replace(inspection, **changes)


def decided(target: str | Path, options: Options | None = None, **changes: Any) -> Job:
    inspection = found(target, **changes)
    with nothing_outside():
        return decide(inspection, options or Options(Fraction(2)))


@pytest.mark.parametrize("model", [Path("a.onnx"), (Path("a.onnx"),), "a.onnx", ("a.onnx",)])
def test_models_are_names_or_paths(model: Any) -> None:
    assert Options(model=model).models == ("a.onnx",)


def test_a_plain_job() -> None:
    job = decided("out.mp4")
    plan = job.plan
    assert (plan.codec, plan.pix_fmt, plan.width, plan.height) == ("libx264", "yuv420p", 640, 360)
    assert [(stream.kind, stream.action) for stream in plan.streams] == [
        ("video", "encode"),
        ("audio", "copy"),
        ("subtitle", "copy"),
    ]
    assert dict(plan.video_options)["crf"] == "17"
    assert (job.model.scale, job.segmented, job.expected_frames, job.end) == (2, True, 100, None)
    assert job.engine is None  # interpolation needs none
    assert plan.notices == ()


def test_the_span_decides_frames_and_origin() -> None:
    span = Span(Fraction(1), Fraction(2), last_frame=(Fraction(49, 25), Fraction(1, 10)))
    job = decided("out.mkv", Options(Fraction(2), frames=20), span=span)
    assert (job.expected_frames, job.end) == (20, 2)
    assert (job.plan.span, job.plan.time_origin) == ((1, 2), 1)
    assert job.plan.last_frame_duration == (Fraction(49, 25), Fraction(1, 10))


@pytest.mark.parametrize(
    ("options", "scale", "size", "notice"),
    [
        (Options(Fraction(3, 2)), 2, (480, 270), None),
        (Options(size=SizeRequest(1280, 720)), 4, (1280, 720), None),
        (Options(Fraction(8)), 4, (2560, 1440), "reaches x4; from there to x8"),
        (Options(Fraction(8), chain=True), 4, (2560, 1440), "two passes, x4 and x2"),
    ],
)
def test_models_and_passes(options: Options, scale: int, size: tuple[int, int], notice: str | None) -> None:
    job = decided("out.mp4", options)
    assert (job.model.scale, (job.plan.width, job.plan.height)) == (scale, size)
    assert len(job.passes) == 1 + options.chain
    if notice is None:
        assert job.plan.notices == ()
    else:
        assert any(notice in text for text in job.plan.notices)


def test_tiles_follow_the_memory_budget() -> None:
    small = MemoryBudget(2 * 2**30)
    assert (
        decided("out.mkv", Options(Fraction(2), tile="none"), memory_budget=small).tiles[0].tile_width == 320
    )
    assert decided("out.mkv", Options(Fraction(2), tile=64, overlap=4)).tiles[0].tile_width == 64
    with pytest.raises(UsageError, match=r"--max-memory .* is too little"):
        decided("out.mkv", memory_budget=MemoryBudget(2**20, explicit=True))


@pytest.mark.parametrize("names", [("duf-r",), ("duf-r", "duf-r-xs")], ids=["one pass", "two passes"])
def test_tiles_leave_memory_for_what_follows_the_source(names: tuple[str, ...]) -> None:
    models = tuple(find_models(name, Fraction(2)) for name in names)
    source = replace(SOURCE, video=replace(VIDEO, width=1280, height=720))
    changes: dict[str, Any] = {"source": source, "models": models}
    plain = decided("out.mp4", **changes)
    estimate = plain.memory_estimate()  # with a second encoder
    budget = MemoryBudget(estimate.total - estimate.background_closing, explicit=True)
    job = decided(
        "out.mp4", Options(Fraction(2), strength=0.5), memory_budget=budget, strength=0.5, **changes
    )
    assert job.can_keep_tiles(job.tiles)
    assert job.tiles != plain.tiles
    assert not job.can_keep_tiles(plain.tiles)
    few = MemoryBudget(600_000_000, explicit=True)
    with pytest.raises(UsageError, match=r"--max-memory .* is too little"):
        decided("out.mp4", Options(Fraction(2), strength=0.5), memory_budget=few, strength=0.5, **changes)


@pytest.mark.parametrize(
    ("encode", "target", "codec", "left_out"),
    [
        (EncodeOptions(crf=60, optional=frozenset(("crf",))), "out.mp4", "libx264", "--crf 60"),
        (
            EncodeOptions(codec="libx265", optional=frozenset(("codec",))),
            "out.webm",
            "libvpx-vp9",
            "--codec libx265",
        ),
        (
            EncodeOptions(codec="libx265", crf=18, optional=frozenset(("codec", "crf"))),
            "out.webm",
            "libvpx-vp9",
            "--crf 18, --codec libx265",
        ),
        (
            EncodeOptions(codec="ffv1", crf=18, optional=frozenset(("crf",))),
            "out.mkv",
            "ffv1",
            "--crf 18 (ffv1 has no constant quality)",
        ),
    ],
)
def test_optional_options_that_do_not_fit(
    encode: EncodeOptions, target: str, codec: str, left_out: str
) -> None:
    options = Options(Fraction(2), encode=encode)
    plan = decided(target, options).plan
    assert plan.codec == codec
    assert [text for text in plan.notices if text.startswith(f"left out of your settings: {left_out}")]
    with pytest.raises((OutputError, UsageError)):
        decided(target, replace(options, encode=replace(encode, optional=frozenset())))


def test_optional_names_must_exist() -> None:
    for name, value in (("codec", "libx256"), ("pix_fmt", "yuv42")):
        values: dict[str, Any] = {name: value}
        encode = EncodeOptions(**values, optional=frozenset((name,)))
        with pytest.raises((OutputError, UsageError), match=value):
            decided("out.mkv", Options(Fraction(2), encode=encode))


def test_raw_video_on_stdout_needs_a_constant_rate() -> None:
    job = decided(STDIO, span=Span(frame_rate=Fraction(25)))
    assert job.plan.header is not None
    assert job.plan.header.frame_rate == 25
    assert {stream.action for stream in job.plan.streams[1:]} == {"drop"}
    assert not job.segmented
    with pytest.raises(OutputError, match="variable frame rate"):
        decided(STDIO)
    with pytest.raises(OutputError, match="raw video only"):
        decided(STDIO, Options(encode=EncodeOptions(codec="libx264")), span=Span(frame_rate=Fraction(25)))


@pytest.mark.parametrize(("segment", "notices"), [("auto", 0), (240, 1), ("none", 0)])
def test_stdin_is_not_segmented(segment: str | int, notices: int) -> None:
    source = StdinSource(path=Path("copy"), **SOURCE_FIELDS)
    job = decided("out.mkv", Options(Fraction(2), segment=segment), source=source)
    assert not job.segmented
    assert len([text for text in job.plan.notices if "stdin cannot be read twice" in text]) == notices


def test_images_of_stdin_are_not_segmented() -> None:
    source = StdinSource(path=Path("copy"), **SOURCE_FIELDS)
    for segment, notices in (("auto", 0), (240, 1), ("none", 0)):
        options = Options(Fraction(2), segment=segment)
        job = decided("out/%03d.png", options, source=source, images=image_target(0))
        assert not job.segmented
        text = "stdin cannot be read twice: the images are written in one go, and an interruption costs all"
        assert len([each for each in job.plan.notices if each.startswith(text)]) == notices


def image_target(count: int) -> ImageTarget:
    naming = OutputNaming(Path("out"), ".png", parse_pattern("%03d.png"))
    return ImageTarget(naming, tuple(Path(f"out/{number:03}.png") for number in range(1, count + 1)), 2)


def test_images_of_a_video() -> None:
    encode = EncodeOptions(crf=18, codec="ffv1", optional=frozenset(("codec",)))
    job = decided("out/%03d.png", Options(Fraction(2), encode=encode), images=image_target(0))
    assert isinstance(job.plan, ImagePlan)
    assert job.plan.codec == "png"
    assert job.segmented
    assert any(text.startswith("--crf: for videos") for text in job.plan.notices)  # the codec is optional
    assert "2 other images with such names stay in out" in job.plan.notices


def test_a_video_of_images() -> None:
    images = ImageSequence(
        path=Path("frames"),
        **(SOURCE_FIELDS | {"other_streams": (), "video": replace(VIDEO, codec="png", pix_fmt="rgb24")}),
        files=(Path("frames/1.png"), Path("frames/2.png")),
        numbers=(1, 2),
        format="PNG",
        notices=("about the files",),
    )
    plan = decided("out.mp4", source=images).plan
    assert plan.pix_fmt == "yuv420p"  # which players take
    assert plan.notices[0] == "about the files"
    assert plan.notices[1].startswith("25 images make a second by default")
    assert any("--pix-fmt yuv444p keeps each pixel's colour" in text for text in plan.notices)


def test_transparency_is_not_cropped() -> None:
    source = replace(SOURCE, other_streams=(), video=replace(VIDEO, has_alpha=True, pix_fmt="yuva420p"))
    fill = Options(size=SizeRequest(640, 640, fill=True))
    assert decided("out.webm", source=source).plan.alpha
    with pytest.raises(UsageError, match="transparency cannot be cropped"):
        decided("out.webm", fill, source=source)
