"""Films through networks of others: interrupted, resumed, in windows of several frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from interruptible_runs import FAST, frame_hashes, upscale_until
from onnx import helper

import media_samples as media
from onnx_samples import identity, save
from vsrcli import Options


def centre_of_five(path: Path) -> Path:
    """Write the network of :func:`single` for five frames, of which it takes the third."""
    nodes = [
        helper.make_node("Slice", ["x", "start", "stop", "axis"], ["f"]),
        helper.make_node("Conv", ["f", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    arrays = {"w": identity(3, 2), "start": np.array([6]), "stop": np.array([9]), "axis": np.array([1])}
    return save(path, nodes, arrays, (1, 15, "h", "w"))


def single(path: Path) -> Path:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("DepthToSpace", ["c"], ["y"], blocksize=2, mode="CRD"),
    ]
    return save(path, nodes, {"w": identity(3, 2)}, (1, 3, "h", "w"))


def test_the_centre_of_several_frames_is_the_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At cuts, at both ends, and after an interruption, bit for bit."""
    monkeypatch.setenv("VSR_CACHE", str(tmp_path / "cache"))
    film = tmp_path / "film.mkv"
    scenes = "smptebars=s=48x32:r=25:d=0.4[a];testsrc=s=48x32:r=25:d=0.5[b];[a][b]concat"
    media.run_ffmpeg("-f", "lavfi", "-i", scenes, "-c:v", "ffv1", film)
    hashes = []
    for write in (single, centre_of_five):
        model = write(tmp_path / f"{write.__name__}.onnx")
        options = Options(Fraction(2), str(model), device="cpu", segment=4, encode=FAST)
        target, whole = tmp_path / f"{write.__name__}.mkv", tmp_path / f"{write.__name__}-whole.mkv"
        upscale_until(film, target, options, stop_after=13)
        assert not target.exists()
        result = upscale_until(film, target, options).result
        assert result is not None
        assert result.resumed > 0
        assert result.shots == 2
        upscale_until(film, whole, options)
        hashes += [frame_hashes(target), frame_hashes(whole)]
    assert len(hashes[0]) == 23
    assert all(each == hashes[0] for each in hashes)
