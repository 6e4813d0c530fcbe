"""OpenEXR: linear light in, linear light out, with the values that bypass the network."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import image_samples
import numpy as np
import pytest

from terminal import Outcome
from vsrcli.errors import DecodeError, InputError
from vsrcli.frames.resample import resize
from vsrcli.images import exr
from vsrcli.images.encoding import ImageFormat, encode_image_file
from vsrcli.images.metadata import ImageMetadata
from vsrcli.images.probe import probe_image
from vsrcli.images.reader import read_image

Vsr = Callable[..., Outcome]
TWICE = ("-s", "2", "-m", "bicubic")


def write_exr(path: Path, light: np.ndarray, alpha: np.ndarray | None = None, *, grey: bool = False) -> Path:
    path.write_bytes(
        encode_image_file(ImageFormat("EXR", False, grey, alpha is not None), light, alpha, ImageMetadata())
    )
    return path


def read_light(path: Path) -> np.ndarray:
    return read_image(path, probe_image(path)).pixels


def lamp() -> np.ndarray:
    """Soft shapes with a lamp of 40 times white, and a little below black."""
    result = image_samples.smooth_codes().astype(np.float32) / 255
    result[8:16, 8:16] = 40
    result[:4, :4, 0] = -0.25
    return result


def test_the_curve_is_srgbs() -> None:
    """IEC 61966-2-1: the middle of the codes is 0.214 of the light, and 1/12.92 of a code near black."""
    assert exr.srgb_to_linear(np.array([32768], np.uint16))[0] == pytest.approx(0.21404, abs=1e-5)
    assert exr.srgb_to_linear(np.array([10], np.uint8))[0] == pytest.approx(10 / 255 / 12.92, rel=1e-6)


def test_codes_are_as_fine_as_half_floats_from_a_thousandth_on() -> None:
    values = np.linspace(0.001, 1, 5000, dtype=np.float32)
    steps = np.spacing(values.astype(np.float16)).astype(np.float32)
    assert (np.abs(exr.srgb_to_linear(exr.linear_to_srgb(values)) - values) <= 0.7 * steps).all()


@pytest.mark.parametrize("grey", [False, True], ids=["rgb", "grey"])
def test_values_of_any_brightness_are_read_unchanged(tmp_path: Path, grey: bool) -> None:
    original = lamp().mean(axis=-1, keepdims=True).repeat(3, axis=-1) if grey else lamp()
    path = write_exr(tmp_path / "in.exr", original, grey=grey)
    assert (probe_image(path).is_grayscale, probe_image(path).bit_depth, probe_image(path).has_alpha) == (
        grey,
        16,
        False,
    )
    np.testing.assert_allclose(read_light(path), original, rtol=1e-3, atol=1e-3)


def test_a_lamp_stays_as_bright_and_draws_no_dark_ring(vsr: Vsr, tmp_path: Path) -> None:
    write_exr(tmp_path / "in.exr", lamp())
    done = vsr("upscale", tmp_path / "in.exr", tmp_path / "out.exr", *TWICE)
    assert done.status == 0, done.err
    assert "outside 0 to 1, and alpha, bypass it and are interpolated" in " ".join(done.err.split())
    result = read_light(tmp_path / "out.exr")
    assert result.shape == (48, 64, 3)
    np.testing.assert_allclose(result[20:28, 20:28], 40, rtol=2e-3)
    assert result[:4, :4, 0] == pytest.approx(-0.25, abs=2e-3)
    assert result[12:36, 12:36].min() >= 0
    total = lamp()[4:, 4:].sum()
    assert result[8:, 8:].sum() / 4 == pytest.approx(total, rel=0.02)


def test_values_between_black_and_white_come_from_the_network(vsr: Vsr, tmp_path: Path) -> None:
    original = image_samples.smooth_codes().astype(np.float32) / 255
    write_exr(tmp_path / "in.exr", original)
    assert vsr("upscale", tmp_path / "in.exr", tmp_path / "out.exr", *TWICE).status == 0
    coded = exr.linear_to_srgb(read_light(tmp_path / "in.exr")).astype(np.float32) / 65535
    upscaled = resize(coded, 48, 64, "bicubic").clip(0, 1)
    expected = exr.srgb_to_linear(np.rint(upscaled * 65535).astype(np.uint16))
    np.testing.assert_allclose(read_light(tmp_path / "out.exr"), expected, rtol=1e-3, atol=1e-4)


def test_alpha_and_light_without_alpha_are_preserved(vsr: Vsr, tmp_path: Path) -> None:
    """Colours of an EXR are multiplied by alpha; light where alpha is 0 is added to the background."""
    colours, alpha = np.zeros((24, 32, 3), np.float32), np.zeros((24, 32), np.float32)
    alpha[:, 16:] = 0.5
    colours[:, 16:] = 0.25
    colours[:, :16] = 0.125
    write_exr(tmp_path / "in.exr", colours, alpha)
    assert probe_image(tmp_path / "in.exr").has_alpha
    assert vsr("upscale", tmp_path / "in.exr", tmp_path / "out.exr", *TWICE).status == 0
    result = read_image(tmp_path / "out.exr", probe_image(tmp_path / "out.exr"))
    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha[:, 40:], 0.5, atol=1e-3)
    np.testing.assert_allclose(result.alpha[:, :24], 0, atol=1e-3)
    np.testing.assert_allclose(result.pixels[:, 40:], 0.25, atol=1e-3)
    np.testing.assert_allclose(result.pixels[:, :24], 0.125, atol=1e-3)


def test_into_a_png_colours_are_divided_by_alpha(vsr: Vsr, tmp_path: Path) -> None:
    colours, alpha = np.full((24, 32, 3), 0.25, np.float32), np.full((24, 32), 0.5, np.float32)
    write_exr(tmp_path / "in.exr", colours, alpha)
    done = vsr("upscale", tmp_path / "in.exr", tmp_path / "out.png", *TWICE)
    assert done.status == 0, done.err
    assert "are clipped" in done.err
    codes = image_samples.read_codes(tmp_path / "out.png", 4, high_bit_depth=True)
    assert np.abs(codes[..., 3].astype(int) - 32768).max() <= 2
    assert np.abs(codes[..., :3].astype(int) - exr.linear_to_srgb(np.full(1, 0.5, np.float32))[0]).max() <= 40


def test_a_png_becomes_linear_light(vsr: Vsr, tmp_path: Path) -> None:
    image_samples.write_image(tmp_path / "in.png", np.full((24, 32, 4), [188, 188, 188, 128], np.uint8))
    assert vsr("upscale", tmp_path / "in.png", tmp_path / "out.exr", *TWICE).status == 0
    result = read_image(tmp_path / "out.exr", probe_image(tmp_path / "out.exr"))
    assert result.alpha is not None
    np.testing.assert_allclose(result.alpha, 128 / 255, atol=1e-3)
    np.testing.assert_allclose(result.pixels, 0.5029 * 128 / 255, atol=1e-3)


def test_not_a_number_is_black_and_stays_where_it_is(vsr: Vsr, tmp_path: Path) -> None:
    broken = np.full((24, 32, 3), 0.5, np.float32)
    broken[12, 16], broken[4, 4] = np.nan, np.inf
    write_exr(tmp_path / "in.exr", broken)
    assert vsr("upscale", tmp_path / "in.exr", tmp_path / "out.exr", *TWICE).status == 0
    result = read_light(tmp_path / "out.exr")
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result[40:, 48:], 0.5, atol=1e-3)


def test_keep_going_takes_light_and_alpha_of_the_image_before(vsr: Vsr, tmp_path: Path) -> None:
    """Also where a segment begins with damaged images: the writer of each reads the sources anew."""
    (tmp_path / "in").mkdir()
    for number in range(1, 7):
        path = write_exr(
            tmp_path / "in" / f"{number}.exr", lamp() * number, np.full((24, 32), 0.5, np.float32)
        )
        if number in (3, 4, 6):
            path.write_bytes(path.read_bytes()[:-200])
    arguments = (tmp_path / "in" / "%d.exr", tmp_path / "out" / "%d.exr", *TWICE, "--segment", "2")
    vsr("upscale", *arguments).fails(1, "3.exr cannot be decoded")
    done = vsr("upscale", *arguments, "--keep-going")
    assert done.status == 0, done.err
    written = [(tmp_path / "out" / f"{number}.exr").read_bytes() for number in range(1, 7)]
    assert written[1] == written[2] == written[3]
    assert written[4] == written[5]
    assert len(set(written)) == 3


@pytest.mark.parametrize("origin", [(1000, 700), (-7, -40)])
def test_the_display_window_may_begin_anywhere(tmp_path: Path, origin: tuple[int, int]) -> None:
    """Also where only a part of it has pixels: the rest is black."""
    content = bytearray(write_exr(tmp_path / "in.exr", lamp()).read_bytes())
    table = content.index(b"\0\0lavc\0") + 7
    first_block = struct.unpack_from("<Q", content, table)[0]
    for block in struct.unpack_from(f"<{(first_block - table) // 8}Q", content, table):
        struct.pack_into("<i", content, block, struct.unpack_from("<i", content, block)[0] + origin[1])
    for name, border in ((b"displayWindow", 4), (b"dataWindow", 0)):
        left, top, right, bottom = origin[0], origin[1], origin[0] + 31, origin[1] + 23
        at = content.index(name) + len(name) + len(b"\0box2i\0") + 4
        struct.pack_into("<4i", content, at, left - border, top - border, right + border, bottom + border)
    (tmp_path / "in.exr").write_bytes(content)
    expected = np.pad(lamp(), ((4, 4), (4, 4), (0, 0)))
    np.testing.assert_allclose(read_light(tmp_path / "in.exr"), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", [np.float16, np.float32], ids=["half", "float"])
def test_grey_with_alpha(vsr: Vsr, tmp_path: Path, dtype: type) -> None:
    """An uncompressed file of the channels A and Y, which no encoder here writes."""
    light = (image_samples.smooth_codes(2) / 255).astype(dtype)
    height, width = light.shape[:2]
    window, kind = struct.pack("<4i", 0, 0, width - 1, height - 1), 1 if dtype == np.float16 else 2
    attributes = {
        ("channels", "chlist"): b"".join(n + struct.pack("<x4I", kind, 0, 1, 1) for n in (b"A", b"Y"))
        + b"\0",
        ("compression", "compression"): b"\0",
        ("dataWindow", "box2i"): window,
        ("displayWindow", "box2i"): window,
        ("lineOrder", "lineOrder"): b"\0",
        ("pixelAspectRatio", "float"): struct.pack("<f", 1),
        ("screenWindowCenter", "v2f"): bytes(8),
        ("screenWindowWidth", "float"): struct.pack("<f", 1),
    }
    header = b"v/1\x01" + struct.pack("<I", 2)
    for (name, kind_name), value in attributes.items():
        header += f"{name}\0{kind_name}\0".encode() + struct.pack("<I", len(value)) + value
    header += b"\0"
    rows = [row[:, 1].tobytes() + row[:, 0].tobytes() for row in light]
    blocks = [struct.pack("<iI", number, len(row)) + row for number, row in enumerate(rows)]
    first = len(header) + 8 * height
    table = struct.pack(f"<{height}Q", *(first + len(blocks[0]) * number for number in range(height)))
    (tmp_path / "in.exr").write_bytes(header + table + b"".join(blocks))
    image = read_image(tmp_path / "in.exr", probe_image(tmp_path / "in.exr"))
    np.testing.assert_array_equal(image.pixels, light[..., :1].repeat(3, axis=-1))
    np.testing.assert_array_equal(image.alpha, light[..., 1])
    done = vsr("upscale", tmp_path / "in.exr", tmp_path / "out.exr", *TWICE)
    assert done.status == 0, done.err


def test_several_parts_are_refused_by_name(tmp_path: Path) -> None:
    data = bytearray(write_exr(tmp_path / "in.exr", lamp()).read_bytes())
    data[5] |= 0x10
    (tmp_path / "in.exr").write_bytes(data)
    with pytest.raises(InputError, match="is not supported: it has several parts") as error:
        probe_image(tmp_path / "in.exr")
    assert not isinstance(error.value, DecodeError)  # which --keep-going replaces by the image before
