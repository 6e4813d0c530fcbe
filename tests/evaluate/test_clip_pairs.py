"""Pairs of existing low resolution and truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clip_samples import frames, write_image_folder, write_lossless_video

from media_samples import run_ffmpeg
from vsrcli.errors import DataError, UsageError
from vsrcli.evaluate.benchmark import measure_model, phase_gain
from vsrcli.evaluate.clips import ClipFile, find_pairs
from vsrcli.evaluate.others import OtherTool
from vsrcli.evaluate.protocol import Protocol, exact_truth, prepare_clip
from vsrcli.inference.engine import ResampleEngine

HIGH = frames()[:, :64, :96]
LOW = Protocol("bd", 4).degrade(HIGH)
BD_PAIRS = Protocol("none", 4, phase_override="zero")


def pair_names(*paths: Path, truth: Path | None = None) -> list[tuple[str, str, str]]:
    pairs = find_pairs(paths, truth)
    assert all(pair.truth for pair in pairs)
    return [(pair.name, pair.path.parent.name, pair.truth.parent.name) for pair in pairs if pair.truth]


@pytest.mark.parametrize(("low", "high"), [("lr", "hr"), ("LR", "GT"), ("Lr", "gt")])
def test_folders_of_both_resolutions_in_one_folder(tmp_path: Path, low: str, high: str) -> None:
    for clip in ("b", "a"):
        write_image_folder(tmp_path / "set" / low / clip, LOW)
    write_image_folder(tmp_path / "set" / high / "a", HIGH)
    write_lossless_video(tmp_path / "set" / high / "b.mkv", HIGH)
    expected = [("a", low, high), ("b", low, high)]
    assert pair_names(tmp_path) == pair_names(tmp_path / "set") == expected


def test_both_resolutions_inside_each_clip(tmp_path: Path) -> None:
    for clip in ("walk", "city"):
        write_image_folder(tmp_path / clip / "lr", LOW)
        write_image_folder(tmp_path / clip / "hr", HIGH)
    pairs = find_pairs([tmp_path])
    assert [pair.name for pair in pairs] == ["city", "walk"]
    assert pairs[0].path == tmp_path / "city" / "lr"
    assert pairs[0].truth == tmp_path / "city" / "hr"


def test_truth_in_another_folder(tmp_path: Path) -> None:
    low = write_lossless_video(tmp_path / "small" / "nested" / "one.mkv", LOW)
    write_image_folder(tmp_path / "small" / "two", LOW)
    write_image_folder(tmp_path / "large" / "nested" / "one", HIGH)
    two = write_lossless_video(tmp_path / "large" / "two.mkv", HIGH)
    write_image_folder(tmp_path / "large" / "three", HIGH)
    assert pair_names(tmp_path / "small", truth=tmp_path / "large") == [
        ("one", "nested", "nested"),
        ("two", "small", "large"),
    ]
    assert find_pairs([low], two)[0].truth == two  # one clip: its truth may have any name
    assert find_pairs([low], tmp_path / "large" / "three")[0].truth == tmp_path / "large" / "three"


def test_existing_low_resolution_scores_like_generated(tmp_path: Path) -> None:
    pair = ClipFile(
        write_image_folder(tmp_path / "lr", LOW), "clip", write_image_folder(tmp_path / "hr", HIGH)
    )
    existing, generated = (
        measure_model(ResampleEngine("lanczos", 4, "zero"), prepare_clip(file, protocol))[0]
        for file, protocol in ((pair, BD_PAIRS), (ClipFile(tmp_path / "hr", "clip"), Protocol("bd", 4)))
    )
    assert (existing.bicubic, existing.lanczos, existing.model) == (
        generated.bicubic,
        generated.lanczos,
        generated.model,
    )


def test_colours_of_pairs_and_other_tools_are_those_of_upscale(tmp_path: Path) -> None:
    """Each file is stored in another way, so none may be darker, or decoded with another matrix."""
    high = frames(0, 7, width=1280, height=64)  # untagged, so BT.709 by its size
    high[..., 0] //= 2
    options = "out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_inp"
    write_image_folder(tmp_path / "images", high)
    video, tool = tmp_path / "hr" / "clip.mkv", OtherTool("tool", tmp_path / "images")
    video.parent.mkdir()
    run_ffmpeg(
        "-i", tmp_path / "images" / "Frame %03d.png", "-vf", f"scale={options},format=yuv420p",
        "-c:v", "ffv1", video,
    )  # fmt: skip
    low = ClipFile(write_image_folder(tmp_path / "lr", high[:, ::4, ::4]), "clip", video)
    truths = [prepare_clip(low, Protocol("none", 4)).truth]
    file = ClipFile(video, "clip")
    truths.append(exact_truth(prepare_clip(file, Protocol("bi", 4)), file))
    for truth in truths:
        difference = truth.astype(np.float64) - high
        assert abs(difference.mean(axis=(0, 1, 2))).max() < 0.3
    kept = tool.read(video, prepare_clip(low, Protocol("none", 4)))
    np.testing.assert_array_equal(kept, truths[0])


def test_low_resolution_on_the_other_grid_is_noticed(tmp_path: Path) -> None:
    pair = ClipFile(
        write_image_folder(tmp_path / "lr", LOW), "clip", write_image_folder(tmp_path / "hr", HIGH)
    )
    assert phase_gain(prepare_clip(pair, Protocol("none", 4))) > 1
    assert phase_gain(prepare_clip(pair, BD_PAIRS)) < -1


def test_pairs_that_do_not_match(tmp_path: Path) -> None:
    low, high = write_image_folder(tmp_path / "lr", LOW), write_image_folder(tmp_path / "hr", HIGH)
    with pytest.raises(DataError, match=r"is 24x16, its truth .* 96x64: x3 needs 72x48"):
        prepare_clip(ClipFile(low, "clip", high), Protocol("none", 3))
    (low / "Frame 012.png").unlink()
    with pytest.raises(DataError, match=r"has 11 frames, its truth .* 12"):
        prepare_clip(ClipFile(low, "clip", high), BD_PAIRS)
    assert len(prepare_clip(ClipFile(low, "clip", high), BD_PAIRS, max_frames=11).low) == 11
    with pytest.raises(DataError, match="no truth for"):
        prepare_clip(ClipFile(low, "clip"), BD_PAIRS)


def test_layouts_that_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder with pairs: --degrade none needs folders 'lr' and 'hr'"):
        find_pairs([write_image_folder(tmp_path / "plain", LOW)])
    with pytest.raises(DataError, match="does not exist"):
        find_pairs([tmp_path / "missing"])
    write_image_folder(tmp_path / "set" / "lr" / "a", LOW)
    write_image_folder(tmp_path / "set" / "hr" / "a", HIGH)
    write_image_folder(tmp_path / "set" / "hr" / "b", HIGH)
    with pytest.raises(DataError, match=r"clip 'b' of '.*hr' has no counterpart in '.*lr'"):
        find_pairs([tmp_path / "set"])
    write_image_folder(tmp_path / "set" / "GT" / "a", HIGH)
    with pytest.raises(DataError, match="leave one low and one high resolution"):
        find_pairs([tmp_path / "set"])
    lows = tmp_path / "set" / "lr"
    with pytest.raises(DataError, match=r"--truth .*missing' does not exist"):
        find_pairs([lows], tmp_path / "missing")
    with pytest.raises(DataError, match=r"no truth for .*lr/a': .*plain/../a' is neither"):
        find_pairs([lows], tmp_path / "plain" / "..")
    write_lossless_video(tmp_path / "set" / "hr" / "a.mkv", HIGH[:5])
    with pytest.raises(DataError, match="two truths for"):
        find_pairs([lows], tmp_path / "set" / "hr")


def test_options_of_other_protocols_are_refused() -> None:
    with pytest.raises(UsageError, match="has its own grid: leave --phase zero out"):
        Protocol("bi", 4, phase_override="zero")
    with pytest.raises(UsageError, match="takes low resolution as it is: leave --crf 23 out"):
        Protocol("none", 4, crf=23)
    with pytest.raises(UsageError, match="compresses by itself: leave --crf 23 out"):
        Protocol("video", 4, crf=23)
