"""Image files: what is read is what was written, in every format and depth."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zlib
from fractions import Fraction
from pathlib import Path
from typing import Any

import image_samples
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, TiffImagePlugin

from vsrcli.errors import InputError
from vsrcli.images.encoding import ImageFormat, encode_image_file
from vsrcli.images.metadata import ImageMetadata, read_metadata
from vsrcli.images.png import insert_chunks
from vsrcli.images.probe import probe_image
from vsrcli.images.reader import conform, read_image

BIT_DEPTHS = pytest.mark.parametrize("high_bit_depth", [False, True], ids=["8", "16"])
CHANNELS = pytest.mark.parametrize("channels", [1, 2, 3, 4], ids=["grey", "grey+a", "rgb", "rgb+a"])


def decode(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    image = read_image(path, probe_image(path))
    return image.pixels, image.alpha


def check(path: Path, codes: np.ndarray) -> None:
    """Assert that a file holds exactly these codes."""
    color_channels = 1 if codes.shape[2] < 3 else 3
    info, (pixels, alpha) = probe_image(path), decode(path)
    assert (info.is_grayscale, info.has_alpha) == (color_channels == 1, codes.shape[2] > color_channels)
    assert pixels.dtype == codes.dtype
    np.testing.assert_array_equal(pixels, np.broadcast_to(codes[..., :color_channels], pixels.shape))
    if alpha is None:
        assert codes.shape[2] == color_channels
    else:
        np.testing.assert_array_equal(alpha, codes[..., color_channels])


@BIT_DEPTHS
@CHANNELS
def test_png_is_read_exactly(tmp_path: Path, channels: int, high_bit_depth: bool) -> None:
    codes = image_samples.smooth_codes(channels, high_bit_depth=high_bit_depth)
    check(image_samples.write_image(tmp_path / "in.png", codes), codes)


@BIT_DEPTHS
@CHANNELS
@pytest.mark.parametrize("compression", ["raw", "packbits", "lzw", "deflate"])
def test_tiff_is_read_exactly(tmp_path: Path, channels: int, high_bit_depth: bool, compression: str) -> None:
    codes = image_samples.smooth_codes(channels, high_bit_depth=high_bit_depth)
    check(image_samples.write_image(tmp_path / "in.tif", codes, "-compression_algo", compression), codes)


@pytest.mark.parametrize("kind", ["bmp", "webp"])
def test_other_formats_without_loss(tmp_path: Path, kind: str) -> None:
    codes = image_samples.smooth_codes()
    Image.fromarray(codes).save(tmp_path / f"in.{kind}", lossless=True)
    check(tmp_path / f"in.{kind}", codes)


def test_a_colour_table_becomes_rgb(tmp_path: Path) -> None:
    codes = image_samples.smooth_codes() // 64 * 64
    image = Image.fromarray(codes).quantize(64)
    image.save(tmp_path / "in.png")
    assert probe_image(tmp_path / "in.png").has_palette
    np.testing.assert_array_equal(decode(tmp_path / "in.png")[0], np.asarray(image.convert("RGB")))


def test_a_transparent_colour_becomes_alpha(tmp_path: Path) -> None:
    codes = np.zeros((4, 4, 3), np.uint8)
    codes[1, 1] = 255
    Image.fromarray(codes).save(tmp_path / "in.png", transparency=(255, 255, 255))
    pixels, alpha = decode(tmp_path / "in.png")
    assert probe_image(tmp_path / "in.png").has_alpha
    assert alpha is not None
    assert (alpha == 0).sum() == 1
    assert alpha[1, 1] == 0
    np.testing.assert_array_equal(pixels, codes)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, kind: str) -> None:
    """Compare with Pillow's ``exif_transpose``."""
    path, codes = tmp_path / f"in.{kind}", image_samples.smooth_codes()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"quality": 100, "subsampling": 0} if kind == "jpg" else {"lossless": True}
    if kind == "tif":
        directory = TiffImagePlugin.ImageFileDirectory_v2()
        directory[0x0112] = orientation
        Image.fromarray(codes).save(path, tiffinfo=directory)
    else:
        Image.fromarray(codes).save(path, exif=exif, **options)
    from PIL import ImageOps

    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    result = probe_image(path)
    assert (result.height, result.width) == upright.shape[:2]
    np.testing.assert_array_equal(decode(path)[0], upright)


@BIT_DEPTHS
@CHANNELS
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_other_programs_read_what_is_written(
    tmp_path: Path, channels: int, high_bit_depth: bool, kind: str
) -> None:
    codes, path = (
        image_samples.smooth_codes(channels, high_bit_depth=high_bit_depth),
        tmp_path / f"out.{kind.lower()}",
    )
    color_channels = 1 if channels < 3 else 3
    alpha = codes[..., color_channels] if channels > color_channels else None
    image_format = ImageFormat(kind, high_bit_depth, color_channels == 1, alpha is not None)
    path.write_bytes(
        encode_image_file(
            image_format,
            codes[..., :color_channels].repeat(3 // color_channels, axis=2),
            alpha,
            ImageMetadata(),
        )
    )
    if kind == "TIFF":
        np.testing.assert_array_equal(tifffile.imread(path).reshape(codes.shape), codes)
    else:
        np.testing.assert_array_equal(
            image_samples.read_codes(path, channels, high_bit_depth=high_bit_depth), codes
        )
        assert (
            "16" in image_samples.stored_pix_fmt(path)
            or "48" in image_samples.stored_pix_fmt(path)
            or "64" in image_samples.stored_pix_fmt(path)
        ) == high_bit_depth


@pytest.mark.parametrize("kind", ["WebP", "BMP", "JPEG"])
def test_16_bits_are_rounded_where_a_format_has_8_bits(tmp_path: Path, kind: str) -> None:
    codes = image_samples.smooth_codes(high_bit_depth=True)
    content = encode_image_file(
        ImageFormat(kind, False, False, False, 100 if kind == "JPEG" else None), codes, None, ImageMetadata()
    )
    with Image.open(io.BytesIO(content)) as image:
        result = np.asarray(image.convert("RGB")).astype(int)
    off = np.abs(result - np.rint(codes / 257)).max()
    assert off <= (5 if kind == "JPEG" else 0)


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("after", ["PNG", "TIFF", "WebP", "JPEG"])
@pytest.mark.parametrize("before", ["png", "tif", "webp", "jpg"])
def test_colour_profiles_are_preserved(tmp_path: Path, before: str, after: str) -> None:
    profile, path = srgb(), tmp_path / f"in.{before}"
    Image.fromarray(image_samples.smooth_codes()).save(path, icc_profile=profile)
    metadata = read_metadata(path, probe_image(path).format, (64, 48))
    assert metadata.icc == profile
    out = tmp_path / f"out.{after.lower()}"
    out.write_bytes(
        encode_image_file(
            ImageFormat(after, False, False, False, None), image_samples.smooth_codes(), None, metadata
        )
    )
    with Image.open(out) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize(
    ("kind", "is_grayscale"),
    [
        ("PNG", False),
        ("PNG", True),
        ("TIFF", False),
        ("TIFF", True),
        ("JPEG", False),
        ("JPEG", True),
        ("WebP", False),
    ],
)
def test_a_profile_of_other_colours_is_left_out(tmp_path: Path, kind: str, is_grayscale: bool) -> None:
    """Grey images become RGB in WebP, and in a sequence where others have colours."""
    profiles = {space: bytearray(srgb()) for space in (b"GRAY", b"RGB ")}
    for space, profile in profiles.items():
        profile[16:20] = space
        Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in.png", icc_profile=bytes(profile))
        metadata = read_metadata(tmp_path / "in.png", "PNG", (32, 24))
        image_format = ImageFormat(kind, False, is_grayscale, False)
        content = encode_image_file(image_format, image_samples.smooth_codes(), None, metadata)
        with Image.open(io.BytesIO(content)) as image:
            assert ("icc_profile" in image.info) == (is_grayscale == (space == b"GRAY"))


def test_png_chunks_are_preserved(tmp_path: Path) -> None:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    chunks.add_text("Title", "A bridge")
    chunks.add(b"gAMA", (45455).to_bytes(4, "big"))
    chunks.add(b"cICP", bytes([9, 16, 0, 1]))
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in.png", pnginfo=chunks, dpi=(300, 300))
    metadata = read_metadata(tmp_path / "in.png", "PNG", (64, 48))
    content = encode_image_file(
        ImageFormat("PNG", True, False, False),
        image_samples.smooth_codes(high_bit_depth=True),
        None,
        metadata,
    )
    assert bytes([9, 16, 0, 1]) in content
    (tmp_path / "out.png").write_bytes(content)
    color = probe_image(tmp_path / "out.png").color
    assert (color.primaries, color.transfer) == ("bt2020", "smpte2084")
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert image.info["Title"] == "A bridge"
        assert image.info["gamma"] == pytest.approx(1 / 2.2, abs=1e-5)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)


def test_long_texts_and_profiles_are_no_damage(tmp_path: Path) -> None:
    """As the history of an image editor, or a profile with a table of colours."""
    codes = image_samples.smooth_codes()
    path = image_samples.write_image(tmp_path / "in.png", codes)
    long = zlib.compress(bytes(3 << 20))
    chunks = [(b"zTXt", b"History\0\0" + long), (b"iCCP", b"Printer\0\0" + long)]
    path.write_bytes(insert_chunks(path.read_bytes(), chunks))
    np.testing.assert_array_equal(decode(path)[0], codes)


def test_a_damaged_colour_profile_is_left_out(tmp_path: Path) -> None:
    """Its chunk has the right checksum, but its data cannot be unpacked; the other metadata stays."""
    path, gamma = tmp_path / "in.png", (b"gAMA", (45455).to_bytes(4, "big"))
    Image.fromarray(image_samples.smooth_codes()).save(path)
    profile = (b"iCCP", b"ICC profile\0\0" + b"no deflated data")
    path.write_bytes(insert_chunks(path.read_bytes(), [profile, gamma]))
    assert read_metadata(path, "PNG", (64, 48)) == ImageMetadata(chunks=(gamma,))


@pytest.mark.parametrize("after", ["png", "webp", "jpg"])
def test_exif_is_preserved_upright_and_with_the_new_size(tmp_path: Path, after: str) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "A camera"
    exif.get_ifd(0x8769)[0xA002] = 32
    Image.fromarray(image_samples.smooth_codes()).save(tmp_path / "in.jpg", exif=exif)
    metadata = read_metadata(tmp_path / "in.jpg", "JPEG", (96, 128))
    kind = {"png": "PNG", "webp": "WebP", "jpg": "JPEG"}[after]
    (tmp_path / f"out.{after}").write_bytes(
        encode_image_file(
            ImageFormat(kind, False, False, False), image_samples.smooth_codes(), None, metadata
        )
    )
    with Image.open(tmp_path / f"out.{after}") as image:
        image.load()
        result = image.getexif()
        assert (result[0x0112], result[0x010F]) == (1, "A camera")
        assert result.get_ifd(0x8769)[0xA002] == 96


@pytest.mark.parametrize("quality", [80, 95, 100])
def test_grain_becomes_a_jpeg(quality: int, capfd: pytest.CaptureFixture[str]) -> None:
    """It takes more bytes than Pillow expects."""
    grain = np.random.default_rng(1).integers(0, 256, (300, 400, 3), np.uint8)
    content = encode_image_file(
        ImageFormat("JPEG", False, False, False, quality), grain, None, ImageMetadata()
    )
    with Image.open(io.BytesIO(content)) as image:
        difference = np.abs(np.asarray(image).astype(int) - grain)
    assert difference.mean() < {80: 40, 95: 10, 100: 2}[quality]
    assert capfd.readouterr().err == ""


@BIT_DEPTHS
@pytest.mark.parametrize("kind", ["png", "tif", "bmp", "jpg", "webp", "exr"])
@pytest.mark.parametrize("kept_share", [0.02, 0.5, 0.97])
def test_truncated_images_are_errors(
    tmp_path: Path, kind: str, high_bit_depth: bool, kept_share: float
) -> None:
    complete = tmp_path / f"complete.{kind}"
    if kind in ("png", "tif"):
        image_samples.write_image(complete, image_samples.smooth_codes(high_bit_depth=high_bit_depth))
    elif kind == "exr":
        image_format = ImageFormat("EXR", False, False, False)
        complete.write_bytes(
            encode_image_file(
                image_format, image_samples.smooth_codes().astype(np.float32) / 255, None, ImageMetadata()
            )
        )
    else:
        Image.fromarray(image_samples.smooth_codes()).save(complete, lossless=True)
    data = complete.read_bytes()
    truncated = tmp_path / f"truncated.{kind}"
    truncated.write_bytes(data[: int(len(data) * kept_share)])
    with pytest.raises(InputError, match=r"check the file|complete copy|is no still image"):
        decode(truncated)


@pytest.mark.parametrize("place", [0.4, 0.6, 0.8])
def test_a_flipped_bit_is_detected_where_a_format_has_checksums(tmp_path: Path, place: float) -> None:
    light = np.random.default_rng(1).random((64, 64, 3)).astype(np.float32)
    data = bytearray(encode_image_file(ImageFormat("EXR", False, False, False), light, None, ImageMetadata()))
    data[int(len(data) * place)] ^= 0x10
    (tmp_path / "in.exr").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        decode(tmp_path / "in.exr")
    for high_bit_depth in (False, True):
        data = bytearray(
            image_samples.write_image(
                tmp_path / "in.png", image_samples.smooth_codes(high_bit_depth=high_bit_depth)
            ).read_bytes()
        )
        data[int(len(data) * place)] ^= 0x10
        (tmp_path / "in.png").write_bytes(data)
        with pytest.raises(InputError):
            decode(tmp_path / "in.png")


@pytest.mark.parametrize("kind", ["CMYK", "F", "I"])
def test_unsupported_modes_are_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("in.jpg" if kind == "CMYK" else "in.tif")
    Image.new(kind, (8, 8)).save(path)
    with pytest.raises(InputError, match="is not supported; convert it"):
        probe_image(path)


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    Image.new("1", (20000, 20000)).save(tmp_path / "in.png")
    with pytest.raises(InputError, match="20000x20000 pixels, more than"):
        probe_image(tmp_path / "in.png")


@pytest.mark.parametrize("kind", ["jpg", "webp", "bmp"])
def test_a_bomb_that_pillow_refuses_is_the_same_error(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"in.{kind}"
    Image.new("RGB", (32, 24)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 24 // 2 - 1)  # it refuses twice as many
    with pytest.raises(InputError, match=r"has more pixels than the 67 million that are allowed; check the"):
        probe_image(path)


@pytest.mark.parametrize("kind", ["tif", "exr"])
def test_a_bomb_in_the_data_is_not_unpacked(tmp_path: Path, kind: str) -> None:
    """Blocks that would become a thousand times as large as the image has pixels for."""
    path, bomb = tmp_path / f"in.{kind}", zlib.compress(bytes(1 << 26))
    if kind == "tif":
        tifffile.imwrite(
            path, image_samples.smooth_codes(high_bit_depth=True), photometric="rgb", compression="zlib"
        )
        with tifffile.TiffFile(path) as document:
            page = document.pages.first
            at = page.tags["StripByteCounts"].valueoffset
            where = page.tags["StripOffsets"].valueoffset
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, where, len(data))
        struct.pack_into("<I", data, at, len(bomb))
        path.write_bytes(data + bomb)
    else:
        light = np.random.default_rng(1).random((16, 65536, 3)).astype(np.float32)
        data = bytearray(
            encode_image_file(ImageFormat("EXR", False, False, False), light[:, :64], None, ImageMetadata())
        )
        at = data.index(b"\x78", 200)
        data[at : at + len(bomb)] = bomb[: len(data) - at]
        path.write_bytes(data)
    tracemalloc.start()
    with pytest.raises(InputError, match="cannot be decoded"):
        decode(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 23


def test_8_bits_among_16_are_the_same_colours() -> None:
    from vsrcli.images.reader import Image

    codes = np.array([[[0, 128, 255]]], np.uint8)
    result = conform(Image(codes, None), high_bit_depth=True, with_alpha=True)
    assert result.pixels.tolist() == [[[0, 128 * 257, 65535]]]
    assert result.alpha is not None
    assert result.alpha.tolist() == [[65535]]


def test_rates_are_exact() -> None:
    from vsrcli.cli.types import RateParam

    assert RateParam().convert("24000/1001", None, None) == Fraction(24000, 1001)
    assert RateParam().convert("23.976", None, None) == Fraction(2997, 125)
