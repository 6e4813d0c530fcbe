from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

import media_samples as media
from vsrcli.errors import InputError
from vsrcli.media.probe import probe


def test_constant_rate(sample: Callable[..., Path]) -> None:
    source = probe(sample(media.cfr))
    video = source.video
    assert (video.codec, video.width, video.height, video.pix_fmt) == ("h264", 64, 48, "yuv420p")
    assert video.frame_rate == Fraction(24000, 1001)
    assert video.time_base == Fraction(1, 24000)
    assert (video.frame_count, video.start, source.start, video.field_order) == (12, 0, 0, "progressive")
    assert (video.bit_depth, video.is_high_bit_depth, video.has_alpha, video.sample_aspect_ratio) == (
        8,
        False,
        False,
        1,
    )
    assert [(other.kind, other.codec) for other in source.other_streams] == [("audio", "aac")]
    assert "48000" in source.other_streams[0].summary


@pytest.mark.parametrize("suffix", [".webm", ".mkv"])
def test_variable_rate_that_is_not_stated(suffix: str, sample: Callable[..., Path]) -> None:
    """libavformat calls the rate of the clock, 1000 ticks a second, that of the frames."""
    video = probe(sample(media.without_rate, suffix=suffix)).video
    assert video.time_base == Fraction(1, 1000)
    assert video.frame_rate == Fraction(1000, 33)
    fast = probe(sample(media.without_rate, suffix=suffix, times="N")).video
    assert fast.frame_rate == 1000


def test_high_rate_of_a_single_frame(tmp_path: Path) -> None:
    """As of a pipe, of which the first frame is probed."""
    header = b"YUV4MPEG2 W32 H32 F300:1 Ip A1:1 C420jpeg\n"
    (tmp_path / "in.y4m").write_bytes(header + b"FRAME\n" + bytes(32 * 32 * 3 // 2))
    assert probe(tmp_path / "in.y4m").video.frame_rate == 300


def test_frame_count_not_stated(sample: Callable[..., Path]) -> None:
    assert probe(sample(media.cfr, suffix=".mkv")).video.frame_count is None


def test_exact_start_times(sample: Callable[..., Path]) -> None:
    source = probe(sample(media.mpegts))
    assert source.container == "mpegts"
    assert (90000 * source.start).denominator == 1
    assert source.start > 1
    late = probe(sample(media.video_starts_late))
    assert late.start == 0
    assert late.video.start > Fraction(2, 5)
    assert (24000 * late.video.start).denominator == 1


@pytest.mark.parametrize(("degrees", "size"), [(90, (48, 64)), (180, (64, 48)), (270, (48, 64))])
def test_rotation(degrees: int, size: tuple[int, int], sample: Callable[..., Path]) -> None:
    video = probe(sample(media.rotated, degrees=degrees)).video
    assert video.rotation == degrees
    assert (video.width, video.height) == size


def test_aspect_ratio_and_interlacing(sample: Callable[..., Path]) -> None:
    assert probe(sample(media.anamorphic)).video.sample_aspect_ratio == Fraction(16, 11)
    assert probe(sample(media.interlaced)).video.is_interlaced


def test_high_dynamic_range(sample: Callable[..., Path]) -> None:
    video = probe(sample(media.ten_bit)).video
    assert (video.bit_depth, video.is_high_bit_depth) == (10, True)
    assert (video.color.range, video.color.matrix, video.color.primaries) == ("tv", "bt2020nc", "bt2020")
    assert (video.color.transfer, video.color.chroma_location) == ("smpte2084", "topleft")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_other_streams_and_metadata(suffix: str, sample: Callable[..., Path]) -> None:
    source = probe(sample(media.rich, suffix=suffix))
    assert [(o.kind, o.language) for o in source.other_streams][:3] == [
        ("audio", "eng"),
        ("audio", "deu"),
        ("subtitle", "fra"),
    ]
    assert source.video.language == "eng"
    assert source.metadata["title"] == "A tiny video"
    assert [c.metadata["title"] for c in source.chapters] == ["Opening; part = 1", "Ende"]
    assert [(c.start, c.end) for c in source.chapters] == [(0, Fraction(2, 5)), (Fraction(2, 5), 1)]


def test_covers_are_other_streams(sample: Callable[..., Path]) -> None:
    source = probe(sample(media.with_cover))
    assert source.video.width == 64
    assert "cover" in [other.kind for other in source.other_streams]
    kinds = [(o.kind, o.title) for o in probe(sample(media.attachments)).other_streams]
    assert ("attachment", "face.ttf") in kinds
    assert "cover" in [kind for kind, _ in kinds]


def test_stream_without_a_picture_is_not_chosen(sample: Callable[..., Path]) -> None:
    source = probe(sample(media.empty_video))
    assert (source.video.index, source.video.width, source.video.height) == (1, 64, 48)
    (other,) = source.other_streams
    assert (other.index, other.kind, other.is_readable) == (0, "video", False)


def test_names_with_special_meaning(sample: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("-y.mp4", "a%03d.mp4", "file:x.mp4", "a 'b' \"c\" ü|&.mp4", "concat:a.mp4"):
        path = tmp_path / name
        path.write_bytes(sample(media.cfr).read_bytes())
        assert probe(path).video.frame_count == 12


def probe_error(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        probe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value


def test_bad_inputs(sample: Callable[..., Path], tmp_path: Path) -> None:
    def file(name: str, data: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(data)
        return path

    whole = sample(media.cfr).read_bytes()
    assert "does not exist" in str(probe_error(tmp_path / "none.mp4"))
    assert "folder" in str(probe_error(tmp_path))
    assert "empty" in str(probe_error(file("empty.mp4", b"")))
    assert "not a video" in str(probe_error(file("text.mp4", b"hello, this is no video\n" * 50)))
    assert "not a video" in str(probe_error(file("random.mkv", bytes(range(256)) * 16)))
    assert "incomplete" in str(probe_error(file("no-moov.mp4", whole[:2000])))
    assert "playlist" in str(probe_error(file("list.mp4", b"ffconcat version 1.0\nfile other.mp4\n")))
    hls = b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    assert "playlist" in str(probe_error(file("list.m3u8", hls)))


def test_audio_only_and_still_images(sample: Callable[..., Path], tmp_path: Path) -> None:
    audio_file = tmp_path / "sound.m4a"
    media.run_ffmpeg("-i", sample(media.cfr), "-vn", "-c", "copy", audio_file)
    assert "audio only" in str(probe_error(audio_file))
    with_cover = tmp_path / "song.m4a"
    maps = ("-map", "0:a", "-map", "0:v:1", "-c", "copy", "-disposition:v:0", "attached_pic")
    media.run_ffmpeg("-i", sample(media.with_cover), *maps, "-f", "mp4", with_cover)
    assert "audio only" in str(probe_error(with_cover))
    image = tmp_path / "image.png"
    media.run_ffmpeg(*media.moving_pattern(1), "-frames:v", "1", "-update", "1", image)
    assert "still image" in str(probe_error(image))


def test_animated_webp(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 200)]
    animated, still = tmp_path / "animated.webp", tmp_path / "still.webp"
    frames[0].save(animated, save_all=True, append_images=frames[1:])
    frames[0].save(still)
    assert "animated WebP" in str(probe_error(animated))
    assert "still image" in str(probe_error(still))


def heif(folder: Path, *, tiles: int, with_thumbnail: bool) -> Path:
    """A photograph in HEIF (ISO/IEC 23008-12): tiles of 64x64 side by side; no grid if it is one."""

    def box(kind: bytes, *parts: bytes) -> bytes:
        return struct.pack(">I", 8 + len(b"".join(parts))) + kind + b"".join(parts)

    def full_box(kind: bytes, version: int, *parts: bytes) -> bytes:
        return box(kind, struct.pack(">I", version << 24), *parts)

    video = folder / "image.mp4"
    media.run_ffmpeg(
        *media.moving_pattern(1, size="64x64"),
        *("-c:v", "libx265", "-x265-params", "log-level=none", "-tag:v", "hvc1", video),
    )
    content = video.read_bytes()
    at = content.index(b"hvcC") - 4
    decoder_configuration = content[at : at + struct.unpack(">I", content[at : at + 4])[0]]
    at = content.index(b"mdat") - 4
    pixels = content[at + 8 : at + struct.unpack(">I", content[at : at + 4])[0]]

    primary = tiles + 1 if tiles > 1 else 1
    coded = [*range(1, tiles + 1), *([tiles + 2] if with_thumbnail else [])]
    items = dict.fromkeys(coded, b"hvc1") | ({primary: b"grid"} if tiles > 1 else {})
    grid = struct.pack(">4B2H", 0, 0, 0, tiles - 1, 64 * tiles, 64)
    references = []
    if tiles > 1:
        references.append(box(b"dimg", struct.pack(f">{2 + tiles}H", primary, tiles, *range(1, tiles + 1))))
    if with_thumbnail:
        references.append(box(b"thmb", struct.pack(">3H", tiles + 2, 1, primary)))
    sizes = [full_box(b"ispe", 0, struct.pack(">II", width, 64)) for width in (64, 64 * tiles)]
    of_coded = {each: struct.pack(">3B", 2, 0x81, 2) for each in coded}  # number of properties, and which
    properties = {**dict.fromkeys(items, struct.pack(">2B", 1, 3)), **of_coded}

    def meta(offset: int) -> bytes:
        in_file = {each: struct.pack(">2HII", 0, 1, offset, len(pixels)) for each in coded}
        places = {**dict.fromkeys(items, struct.pack(">2HII", 0, 1, 0, len(grid))), **in_file}
        return full_box(
            b"meta",
            0,
            full_box(b"hdlr", 0, bytes(4), b"pict", bytes(13)),
            full_box(b"pitm", 0, struct.pack(">H", primary)),
            full_box(
                b"iloc",
                1,
                struct.pack(">2BH", 0x44, 0, len(items)),
                *[struct.pack(">2H", each, int(each not in coded)) + places[each] for each in items],
            ),
            full_box(
                b"iinf",
                0,
                struct.pack(">H", len(items)),
                *[full_box(b"infe", 2, struct.pack(">2H", e, 0), kind, b"\0") for e, kind in items.items()],
            ),
            full_box(b"iref", 0, *references),
            box(
                b"iprp",
                box(b"ipco", decoder_configuration, *sizes),
                full_box(
                    b"ipma",
                    0,
                    struct.pack(">I", len(items)),
                    *[struct.pack(">H", each) + properties[each] for each in items],
                ),
            ),
            box(b"idat", grid),
        )

    start = box(b"ftyp", b"heic", bytes(4), b"mif1heic")
    path = folder / "photograph.heic"
    path.write_bytes(start + meta(len(start) + len(meta(0)) + 8) + box(b"mdat", pixels))
    return path


@pytest.mark.parametrize("with_thumbnail", [False, True], ids=["alone", "thumbnail"])
def test_tiles_of_a_photograph_are_no_video(tmp_path: Path, with_thumbnail: bool) -> None:
    """Not one of its tiles, and not its thumbnail, is taken for the whole."""
    path = heif(tmp_path, tiles=3, with_thumbnail=with_thumbnail)
    assert "in tiles; convert it to PNG or JPEG first" in str(probe_error(path))
    whole = probe(heif(tmp_path, tiles=1, with_thumbnail=with_thumbnail)).video
    assert (whole.width, whole.height, whole.codec) == (64, 64, "hevc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(sample: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "secret.mp4"
    path.write_bytes(sample(media.cfr).read_bytes())
    path.chmod(0)
    assert "permission" in str(probe_error(path))
