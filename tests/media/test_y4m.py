"""YUV4MPEG2: headers, and reading frames."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import media_samples as media
from vsrcli.errors import InputError
from vsrcli.media.y4m import PIX_FMTS, Y4mHeader, Y4mReader, create_header, parse_header

HEADER = b"YUV4MPEG2 W4 H2 F25:1 Ip A1:1 Cmono\n"  # 8 bytes per frame


def read(data: bytes) -> Y4mReader:
    return Y4mReader(io.BytesIO(data).read)


def test_header() -> None:
    header = parse_header(b"YUV4MPEG2 W720 H576 F30000:1001 It A128:117 C420paldv XCOLORRANGE=FULL Xmine")
    assert (header.width, header.height) == (720, 576)
    assert (header.frame_rate, header.chroma, header.pix_fmt) == (
        Fraction(30000, 1001),
        "420paldv",
        "yuv420p",
    )
    assert header.frame_bytes == 720 * 576 * 3 // 2
    line = b"YUV4MPEG2 W720 H576 F30000:1001 It A128:117 C420paldv XCOLORRANGE=FULL Xmine\n"
    assert header.line() == line


def test_header_defaults() -> None:
    header = parse_header(b"YUV4MPEG2 H3 W5")
    assert (header.frame_rate, header.pix_fmt, header.frame_bytes) == (25, "yuv420p", 15 + 2 * 6)
    assert parse_header(b"YUV4MPEG2 W5 H3 F0:0 A0:0 I?").frame_rate == 25
    assert parse_header(b"YUV4MPEG2 W5 H3 XYSCSS=422").pix_fmt == "yuv422p"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"RIFF W4 H2", "begin"),
        (b"YUV4MPEG2 H2", "width"),
        (b"YUV4MPEG2 W4", "height"),
        (b"YUV4MPEG2 W0 H2", "width"),
        (b"YUV4MPEG2 W-4 H2", "width"),
        (b"YUV4MPEG2 W4 W4 H2", "twice"),
        (b"YUV4MPEG2 W4 H2 F25", "ratio"),
        (b"YUV4MPEG2 W4 H2 F25:0", "ratio"),
        (b"YUV4MPEG2 W4 H2 F99999999999:1", "ratio"),
        (b"YUV4MPEG2 W4 H2 A1", "ratio"),
        (b"YUV4MPEG2 W4 H2 Ix", "field order"),
        (b"YUV4MPEG2 W4 H2 Im", "mixes"),
        (b"YUV4MPEG2 W4 H2 C444alpha", "444alpha"),
        (b"YUV4MPEG2 W999999 H999999", "million"),
    ],
)
def test_invalid_headers(line: bytes, problem: str) -> None:
    with pytest.raises(InputError, match=problem) as caught:
        parse_header(line)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("stdin")


PARAMETERS = st.sampled_from(
    ["F24000:1001", "Ip", "A4:3", "C420p10", "XYSCSS=420P10", "XCOLORRANGE=LIMITED", "Xa"]
)


@given(st.integers(1, 8192), st.integers(1, 8192), st.lists(PARAMETERS, unique=True))
def test_header_round_trip(width: int, height: int, parameters: list[str]) -> None:
    header = Y4mHeader(width, height, tuple(parameters))
    assert parse_header(header.line()) == header
    assert len(header.minimal().line()) <= 96  # the limit of libavformat


def test_with_changes() -> None:
    header = parse_header(b"YUV4MPEG2 W4 H2 F24:1 It A4:3 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL Xmine")
    same = header.with_changes(8, 4, pix_fmt="yuv420p", chroma_location=None, deinterlaced=False)
    assert same.line() == (b"YUV4MPEG2 W8 H4 F24:1 It A4:3 C420jpeg XYSCSS=420JPEG XCOLORRANGE=FULL Xmine\n")
    other = header.with_changes(8, 4, pix_fmt="yuv444p10le", chroma_location="left", deinterlaced=True)
    assert other.line() == b"YUV4MPEG2 W8 H4 F24:1 Ip A4:3 XCOLORRANGE=FULL Xmine C444p10\n"
    back = other.with_changes(8, 4, pix_fmt="yuv420p", chroma_location="topleft", deinterlaced=False)
    assert back.chroma == "420paldv"


@pytest.mark.parametrize("pix_fmt", PIX_FMTS)
def test_ffmpeg_compatibility(pix_fmt: str, tmp_path: Path) -> None:
    """Chroma names, frame sizes (odd ones, too) and created headers agree with libavformat."""
    path = tmp_path / "video.y4m"
    source = media.moving_pattern(2, size="17x13", rate="24000/1001", source="testsrc")
    raw = ("-pix_fmt", pix_fmt, "-chroma_sample_location", "left", "-strict", "-1", "-f", "yuv4mpegpipe")
    media.run_ffmpeg(*source, "-vf", "setsar=4/3", "-c:v", "rawvideo", *raw, path)
    reader = read(path.read_bytes())
    assert (reader.header.width, reader.header.height, reader.header.pix_fmt) == (17, 13, pix_fmt)
    assert [len(planes) for planes in reader] == [reader.header.frame_bytes] * 2
    assert reader.truncation is None
    full_range = "XCOLORRANGE=FULL" in reader.header.parameters
    created = create_header(
        17,
        13,
        frame_rate=Fraction(24000, 1001),
        sample_aspect_ratio=Fraction(4, 3),
        pix_fmt=pix_fmt,
        chroma_location="left",
        full_range=full_range,
        first_field=None,
    )
    parameters = {word for word in reader.header.parameters if not word.startswith("X")}
    assert parameters == {word for word in created.parameters if not word.startswith("X")}


def test_frames() -> None:
    stream = read(HEADER + b"FRAME\n" + b"a" * 8 + b"FRAME Ip Xcomment\n" + b"b" * 8)
    assert [bytes(each) for each in stream] == [b"a" * 8, b"b" * 8]
    assert (stream.frame_count, stream.truncation) == (2, None)
    assert list(stream) == []


@pytest.mark.parametrize(
    ("rest", "position"),
    [(b"FRA", "line of frame 2"), (b"FRAME Ip", "line of frame 2"), (b"FRAME\nbbb", "3 of")],
)
def test_truncated_stream(rest: bytes, position: str) -> None:
    stream = read(HEADER + b"FRAME\n" + b"a" * 8 + rest)
    assert [bytes(each) for each in stream] == [b"a" * 8]
    assert position in (stream.truncation or "")
    assert list(stream) == []
    assert position in (stream.truncation or "")


def test_short_reads() -> None:
    """A pipe may return fewer bytes than requested."""
    data = io.BytesIO(HEADER + b"FRAME\n" + bytes(range(8)))
    stream = Y4mReader(lambda size: data.read(min(size, 3)))
    assert [bytes(each) for each in stream] == [bytes(range(8))]


def test_garbage_between_frames() -> None:
    with pytest.raises(InputError, match="after frame 1"):
        list(read(HEADER + b"FRAME\n" + b"a" * 8 + b"garbage and more"))


@pytest.mark.parametrize("data", [b"YUV4MPEG2 W4 H2", b"YUV4MPEG2 " + b"X" * 10_000])
def test_unterminated_header(data: bytes) -> None:
    with pytest.raises(InputError, match=r"header|without an end"):
        read(data)
