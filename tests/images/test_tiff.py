"""TIFF: every layout and compression of 16 bits, alpha of both kinds, and several pages."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import image_samples
import numpy as np
import pytest
import tifffile

from vsrcli.errors import InputError
from vsrcli.images import probe
from vsrcli.images.probe import probe_image
from vsrcli.images.reader import read_image
from vsrcli.images.sequence import probe_source


def decode(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    image = read_image(path, probe_image(path))
    return image.pixels, image.alpha


@pytest.mark.parametrize(
    "options",
    [
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"compression": "zlib", "predictor": True},
        {"planarconfig": "separate"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_16_bit_tiffs_of_all_layouts(tmp_path: Path, options: dict[str, Any]) -> None:
    codes = image_samples.smooth_codes(high_bit_depth=True)
    data = np.moveaxis(codes, -1, 0) if "planarconfig" in options else codes
    tifffile.imwrite(tmp_path / "in.tif", data, photometric="rgb", **options)
    np.testing.assert_array_equal(decode(tmp_path / "in.tif")[0], codes)


def pack_bits(data: bytes) -> bytes:
    """Return PackBits data in which nothing is repeated."""
    parts = [data[start : start + 128] for start in range(0, len(data), 128)]
    return b"".join(bytes([len(part) - 1]) + part for part in parts)


@pytest.mark.parametrize(
    "options",
    [{"tile": (16, 16)}, {"planarconfig": "separate"}, {"bigtiff": True}],
    ids=lambda options: next(iter(options)),
)
def test_16_bit_tiffs_in_packbits_of_all_layouts(tmp_path: Path, options: dict[str, Any]) -> None:
    """Made of an uncompressed file: its strips or tiles are packed, and its tags say so."""
    codes, path = image_samples.smooth_codes(high_bit_depth=True), tmp_path / "in.tif"
    data = np.moveaxis(codes, -1, 0) if "planarconfig" in options else codes
    tifffile.imwrite(path, data, photometric="rgb", **options)
    content = path.read_bytes()
    with tifffile.TiffFile(path, mode="r+") as document:
        page: Any = document.pages.first
        raw = zip(page.dataoffsets, page.databytecounts, strict=True)
        packed = [pack_bits(content[offset : offset + size]) for offset, size in raw]
        starts = [len(content) + sum(map(len, packed[:number])) for number in range(len(packed))]
        kind = "Tile" if page.is_tiled else "Strip"
        page.tags[f"{kind}Offsets"].overwrite(starts)
        page.tags[f"{kind}ByteCounts"].overwrite([len(each) for each in packed])
        page.tags["Compression"].overwrite(32773)
    changed = path.read_bytes()
    path.write_bytes(changed[: len(content)] + b"".join(packed))
    np.testing.assert_array_equal(decode(path)[0], codes)
    packed[0] = (b"\x81\0" * len(packed[0]))[: len(packed[0])]  # 129 bytes from two
    path.write_bytes(changed[: len(content)] + b"".join(packed))
    with pytest.raises(InputError, match=r"in\.tif cannot be decoded"):
        decode(path)


@pytest.mark.parametrize(
    ("compression", "options"),
    [
        (5, {"tile": (16, 16)}),
        (5, {"planarconfig": "separate"}),
        (5, {"bigtiff": True}),
        (50000, {}),
        (34925, {}),
    ],
    ids=["lzw-tile", "lzw-planes", "lzw-bigtiff", "zstd", "lzma"],
)
def test_16_bit_tiffs_that_nothing_decodes_are_refused_by_name(
    tmp_path: Path, compression: int, options: dict[str, Any]
) -> None:
    """They would become black, or be taken for damaged."""
    codes = image_samples.smooth_codes(high_bit_depth=True)
    data = np.moveaxis(codes, -1, 0) if "planarconfig" in options else codes
    tifffile.imwrite(tmp_path / "in.tif", data, photometric="rgb", **options)
    with tifffile.TiffFile(tmp_path / "in.tif", mode="r+") as document:
        document.pages.first.tags["Compression"].overwrite(compression)
    name = {5: "LZW", 50000: "ZSTD", 34925: "LZMA"}[compression]
    with pytest.raises(InputError, match=f"16-bit TIFF with {name} compression.*-compress zip"):
        probe_image(tmp_path / "in.tif")


def test_keep_going_replaces_no_image_that_is_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error with its remedy comes before the first frame."""
    codes = image_samples.smooth_codes(high_bit_depth=True)
    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"{number}.tif", codes, photometric="rgb", tile=(16, 16))
    with tifffile.TiffFile(tmp_path / "2.tif", mode="r+") as document:
        document.pages.first.tags["Compression"].overwrite(5)
    with pytest.raises(InputError, match=r"2\.tif: 16-bit TIFF with LZW compression.*-compress zip"):
        probe_source(tmp_path, keep_going=True)

    detect_format = probe.detect_format

    def detect_readable(path: Path) -> str | None:
        if path.name == "2.tif":
            raise PermissionError(errno.EACCES, "Permission denied")
        return detect_format(path)

    monkeypatch.setattr(probe, "detect_format", detect_readable)
    with pytest.raises(InputError, match=r"2\.tif cannot be read \(Permission denied\)"):
        probe_source(tmp_path, keep_going=True)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize(
    ("stored", "straight"),
    [
        (np.array([20000, 10000, 0, 40000], np.uint16), [32768, 16384, 0]),
        (np.array([60, 30, 10, 100], np.uint8), [153, 76, 25]),
        (np.array([60, 100], np.uint8), [153, 153, 153]),
    ],
    ids=["rgb-16", "rgb-8", "grey-8"],
)
def test_a_tiffs_premultiplied_colours_become_straight(
    tmp_path: Path, stored: np.ndarray, straight: list[int], compression: str | None
) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        np.tile(stored, (2, 3, 1)),
        photometric="rgb" if len(stored) == 4 else "minisblack",
        extrasamples=["assocalpha"],
        compression=compression,
    )
    pixels, alpha = decode(tmp_path / "in.tif")
    assert pixels[1, 2].tolist() == straight
    assert alpha is not None
    assert alpha[1, 2] == stored[-1]


def test_a_second_page_is_ignored_with_a_notice(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "in.tif") as writer:
        for seed in (1, 2):
            writer.write(image_samples.smooth_codes(high_bit_depth=True, seed=seed), photometric="rgb")
    assert probe_image(tmp_path / "in.tif").ignored_content == ("1 further page",)
    np.testing.assert_array_equal(
        decode(tmp_path / "in.tif")[0], image_samples.smooth_codes(high_bit_depth=True, seed=1)
    )
