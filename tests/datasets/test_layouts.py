"""Published data sets in miniature: recognized, read as clips, and what is wrong with them named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from miniatures import SIDE, frames, shrink, write_benchmark, write_frames, write_reds, write_vimeo
from PIL import Image

from terminal import Outcome
from vsrcli.degradations import PRESETS
from vsrcli.errors import DataError
from vsrcli.evaluate.clips import find_clips, find_pairs
from vsrcli.train.footage import check_no_leakage, find_footage
from vsrcli.train.pairs import prepare_pairs

Vsr = Callable[..., Outcome]
TRAIN = ["--run", "run", "--steps", "1", "--batch", "1", "--crop", "8", "--frames", "7", "--cache", "cache"]


def names(root: Path, **options) -> list[str]:
    footage = find_footage(root, **options)
    assert not footage.photos
    return [footage.name_of(path) for path in footage.clips]


def test_reds_is_split_as_published(tmp_path):
    reds = write_reds(tmp_path / "REDS")
    assert names(reds) == names(reds / "train_sharp") == ["train_sharp-000", "train_sharp-001"]
    assert names(reds, split="val") == ["val_sharp-000", "val_sharp-001"]
    check_no_leakage(find_footage(reds), find_footage(reds, split="val"))
    with pytest.raises(DataError, match="is also trained on"):
        check_no_leakage(find_footage(reds), find_footage(reds))
    for split in ("train", "val"):  # as the archives have them
        (reds / split).mkdir()
        for folder in (f"{split}_sharp", f"{split}_sharp_bicubic"):
            (reds / folder).rename(reds / split / folder)
    assert names(reds) == ["train_sharp-000", "train_sharp-001"]
    assert [clip.path.name for clip in find_clips([reds])] == ["000", "001"]
    assert find_clips([reds])[0].path.parent.name == "val_sharp"


def test_pairs_are_the_low_resolution_of_the_set(tmp_path):
    reds = write_reds(tmp_path / "REDS", sequences=1)
    low = reds / "train_sharp_bicubic" / "X4" / "000"
    write_frames(low, 255 - shrink(frames(0, 9)))  # nothing that a degradation of ours could give
    (pair,) = prepare_pairs(find_footage(reds), tmp_path / "cache", 4, PRESETS["pairs"])
    np.testing.assert_array_equal(pair.high, frames(0, 9))
    np.testing.assert_array_equal(pair.low[0], 255 - shrink(frames(0, 9)))
    with pytest.raises(DataError, match="no low resolution of its own at x2"):
        prepare_pairs(find_footage(reds), tmp_path / "cache", 2, PRESETS["pairs"])
    clips = find_pairs([reds])
    assert [(clip.path.parent.parent.name, clip.truth.parent.name) for clip in clips if clip.truth] == [
        ("val_sharp_bicubic", "val_sharp")
    ]


def test_pairs_that_do_not_fit_are_named(tmp_path):
    bd = write_benchmark(tmp_path / "four")
    with pytest.raises(DataError, match=r"made by bd.*use --degradation bd"):
        prepare_pairs(find_footage(bd), tmp_path / "cache", 4, PRESETS["pairs"])
    bi = write_benchmark(tmp_path / "other", lows=("BDx4", "BIx4"))
    assert len(prepare_pairs(find_footage(bi), tmp_path / "a", 4, PRESETS["pairs"])) == 2
    shutil.rmtree(bi / "BIx4" / "walk")
    write_frames(bi / "BIx4" / "walk", frames(1, 9, 8, 8), "Frame {:03d}.png", start=1)
    with pytest.raises(DataError, match=r"walk' has 9 frames of 8x8, its truth 9 of at least 48x48"):
        prepare_pairs(find_footage(bi), tmp_path / "b", 4, PRESETS["pairs"])
    unnamed = write_benchmark(tmp_path / "third", lows=("lr",))  # whose folder states no scale
    assert len(prepare_pairs(find_footage(unnamed), tmp_path / "d", 4, PRESETS["pairs"])) == 2
    with pytest.raises(DataError, match=r"x2 needs the same frames and 24x24; .*another --scale"):
        prepare_pairs(find_footage(unnamed), tmp_path / "d", 2, PRESETS["pairs"])
    for name in ("calendar", "walk"):
        shutil.rmtree(unnamed / "lr" / name)
        write_frames(unnamed / "lr" / name, frames(1, 9, 24, 24), "Frame {:03d}.png", start=1)
    with pytest.raises(DataError, match=r"x4 needs the same frames and 12x12; .*another --scale"):
        prepare_pairs(find_footage(unnamed), tmp_path / "e", 4, PRESETS["pairs"])
    Image.fromarray(frames(0, 1)[0]).save(tmp_path / "one.png")
    with pytest.raises(DataError, match=r"one\.png.* has no low resolution"):
        prepare_pairs(find_footage(tmp_path), tmp_path / "c", 4, PRESETS["pairs"])


def test_vimeo_septuplets_go_by_their_lists(tmp_path):
    vimeo = write_vimeo(tmp_path / "vimeo_septuplet")
    assert names(tmp_path) == names(vimeo) == ["00001-0001", "00001-0002"]
    assert names(vimeo, split="val") == ["00001-0003"]
    pairs = prepare_pairs(find_footage(vimeo), tmp_path / "cache", 4, PRESETS["bi"])
    assert [pair.high.shape for pair in pairs] == [(7, SIDE, SIDE, 3)] * 2
    assert [clip.path.name for clip in find_clips([vimeo])] == ["0003"]


def test_a_benchmark_gives_its_truth_once(tmp_path):
    four = write_benchmark(tmp_path / "four", lows=("BDx4", "BIx4"))
    assert names(four) == ["GT-calendar", "GT-walk"]
    assert [clip.path.parent.name for clip in find_clips([four])] == ["GT", "GT"]
    with pytest.raises(DataError, match=r"holds 'BDx4', 'BIx4', 'GT'.*--truth"):
        find_pairs([four])
    shutil.rmtree(four / "BIx4")
    assert [clip.path.parent.name for clip in find_pairs([four])] == ["BDx4", "BDx4"]


def test_numbered_images_of_one_shot_are_a_clip_and_others_are_photographs(tmp_path):
    write_frames(tmp_path / "walking", frames(1, 8), "img{:03d}.jpg")
    for number in range(6):
        write_frames(tmp_path / "cats", frames(10 + number, 1, 80, 80), "cat.{}.jpg", start=number)
    (tmp_path / ".hidden").mkdir()
    write_frames(tmp_path / ".hidden", frames(1, 1))
    footage = find_footage(tmp_path)
    assert [footage.name_of(path) for path in footage.clips] == ["walking"]
    assert len(footage.photos) == 6
    (tmp_path / "walking" / "img004.jpg").unlink()
    with pytest.raises(DataError, match=r"walking' lacks img004\.jpg: copy"):
        find_footage(tmp_path)


def _reds_lacks_a_frame(root: Path) -> str:
    (write_reds(root) / "train_sharp" / "001" / "00000004.png").unlink()
    return r"REDS sequence '.*001' lacks 00000004\.png: unpack"


def _reds_lacks_the_end(root: Path) -> str:
    for number in (7, 8):
        (write_reds(root) if number == 7 else root).joinpath(f"train_sharp/000/{number:08d}.png").unlink()
    return r"REDS sequence '.*000' lacks 00000007\.png and 1 more"


def _reds_low_lacks_a_frame(root: Path) -> str:
    (write_reds(root) / "train_sharp_bicubic" / "X4" / "000" / "00000002.png").unlink()
    return r"REDS low resolution '.*X4.000' lacks 00000002\.png"


def _reds_sequence_is_empty(root: Path) -> str:
    (write_reds(root) / "train_sharp" / "002").mkdir()
    return r"REDS sequence '.*002' is empty"


def _vimeo_lists_what_is_not_there(root: Path) -> str:
    with (write_vimeo(root) / "sep_trainlist.txt").open("a") as file:
        file.write("00007/0042\n")
    return r"sep_trainlist\.txt', line 3: septuplet '00007/0042' is not in '.*sequences'"


def _vimeo_lacks_a_frame(root: Path) -> str:
    (write_vimeo(root) / "sequences" / "00001" / "0002" / "im4.png").unlink()
    return r"line 2: septuplet '00001/0002' lacks im4\.png"


def _vimeo_lacks_its_list(root: Path) -> str:
    (write_vimeo(root) / "sep_trainlist.txt").unlink()
    return r"no sep_trainlist\.txt in .*: it names the septuplets to train on"


def _sizes_differ(root: Path) -> str:
    write_frames(write_reds(root) / "train_sharp" / "001", frames(1, 1, 48, 60), start=5)
    return r"00000005\.png' has 60x48 pixels, '00000000\.png' 48x48"


def _nothing_there(root: Path) -> str:
    root.mkdir()
    return "no clip and no photograph to use"


@pytest.mark.parametrize(
    "spoil",
    [
        _reds_lacks_a_frame,
        _reds_lacks_the_end,
        _reds_low_lacks_a_frame,
        _reds_sequence_is_empty,
        _vimeo_lists_what_is_not_there,
        _vimeo_lacks_a_frame,
        _vimeo_lacks_its_list,
        _sizes_differ,
        _nothing_there,
    ],
)
def test_what_is_wrong_with_a_set_is_named(spoil: Callable[[Path], str], tmp_path: Path) -> None:
    expected = spoil(tmp_path / "set")
    with pytest.raises(DataError, match=expected):
        prepare_pairs(find_footage(tmp_path / "set"), tmp_path / "cache", 4, PRESETS["bi"])


def test_a_cache_without_room_is_named_before_anything_is_decoded(tmp_path, monkeypatch):
    footage = find_footage(write_reds(tmp_path / "REDS"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"2 clips take about .* KiB left"):
        prepare_pairs(footage, tmp_path / "cache", 4, PRESETS["bi"])
    assert not (tmp_path / "cache").exists()


def test_commands_end_with_status_1_and_a_line(vsr: Vsr, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    reds = write_reds(tmp_path / "REDS")
    (reds / "val_sharp" / "000" / "00000001.png").unlink()
    (tmp_path / "empty").mkdir()
    for arguments in (
        ["evaluate", reds, "-m", "bicubic"],
        ["train", reds, "--val", reds, *TRAIN],
        ["train", "empty", *TRAIN],
        ["evaluate", "empty", "-m", "bicubic"],
    ):
        result = vsr(*arguments)
        assert result.status == 1
        assert len(result.err.strip().splitlines()) == 1
        assert "lacks 00000001.png" in result.err or "'empty'" in result.err


def test_evaluate_takes_published_sets(vsr: Vsr, tmp_path):
    result = vsr("evaluate", write_vimeo(tmp_path / "vimeo"), "-m", "bicubic", "-s", "2")
    assert result.status == 0, result.err
    assert "0003" in result.out
    four = write_benchmark(tmp_path / "four")
    result = vsr("evaluate", four, "--degrade", "none", "--phase", "zero", "-m", "bicubic")
    assert result.status == 0, result.err
    assert "calendar" in result.out
