"""``vsr dataset build``: what it keeps, drops and writes, and how it stops and continues."""

from __future__ import annotations

import csv
import errno
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import av
import numpy as np
import pytest
from miniatures import frames, write_video
from PIL import Image, ImageFilter

import media_samples as media
from terminal import Outcome, complete, eventually, spawn
from vsrcli.datasets import build, record
from vsrcli.datasets.decoding import decode_video
from vsrcli.datasets.record import SourceVideo, update_record
from vsrcli.errors import OutputError
from vsrcli.train.footage import find_footage

Vsr = Callable[..., Outcome]
SMALL = ("--area", "96x96", "--frames", "8")


def moving(seed: int, count: int = 8) -> np.ndarray:
    return frames(seed, count, 144, 192)


def blurred(clip: np.ndarray) -> np.ndarray:
    smooth = ImageFilter.GaussianBlur(5)
    soft = np.stack([np.asarray(Image.fromarray(pixels).filter(smooth)) for pixels in clip]).astype(float)
    return np.clip(128 + 5 * (soft - 128), 0, 255).astype(np.uint8)


def letterboxed(clip: np.ndarray) -> np.ndarray:
    barred = clip.copy()
    barred[:, :20] = barred[:, -20:] = 16
    return barred


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed in range(2):
        write_video(folder / f"moving-{seed}.mp4", moving(seed))
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_keeps_what_moves_and_says_why_it_drops_the_rest(vsr: Vsr, tmp_path: Path) -> None:
    clips = {
        "moving": moving(0),
        "again": np.clip(moving(0) * 0.9 + 10, 0, 255).astype(np.uint8),
        "still": np.repeat(moving(1)[:1], 8, axis=0),
        "dark": moving(2) // 20,
        "blurred": blurred(frames(3, 16, 144, 192)[::2]),
        "repeated": np.repeat(moving(4, 4), 2, axis=0),
        "barred": letterboxed(moving(5)),
    }
    paths = [write_video(tmp_path / f"{name}.mp4", clip) for name, clip in clips.items()]
    outcome = vsr("dataset", "build", *paths, tmp_path / "set", *SMALL, "--bars", "drop", "--json")
    assert outcome.status == 0, outcome.err
    found = {Path(part["video"]).stem: part["reason"] for part in json.loads(outcome.out)["details"]}
    expected = {"moving": None, "again": "duplicate", "barred": "bars"}
    assert found == {name: expected.get(name, name) for name in clips}
    assert {row["source_file"] for row in rows(tmp_path / "set")} == {"moving.mp4"}
    with Image.open(tmp_path / "set" / "contact-sheet.png") as sheet:
        assert sheet.width > 1000


def test_black_bars_are_cropped(vsr: Vsr, tmp_path: Path) -> None:
    video = write_video(tmp_path / "film.mp4", letterboxed(moving(5)))
    assert vsr("dataset", "build", video, tmp_path / "set", *SMALL, "-q").status == 0
    for row in rows(tmp_path / "set"):
        assert int(row["y"]) >= 20
        assert int(row["y"]) + int(row["height"]) <= 124


@pytest.mark.parametrize("tags", [(1, 1), (5, 1), (1, 2)], ids=["bt709", "bt601", "full-range"])
def test_clips_show_the_same_colours(vsr: Vsr, tmp_path: Path, tags: tuple[int, int]) -> None:
    video = write_video(tmp_path / "film.mp4", moving(0, 12), tags=tags)
    assert vsr("dataset", "build", video, tmp_path / "set", *SMALL, "-q").status == 0
    source = list(decode_video(video, ""))
    for row in rows(tmp_path / "set"):
        clip = np.stack(list(decode_video(tmp_path / "set" / row["path"], ""))).astype(float)
        top, left, first = int(row["y"]), int(row["x"]), round(float(row["start_s"]) * 25)
        truth = np.stack(source[first : first + 8])[:, top : top + 96, left : left + 96]
        assert clip.shape == truth.shape
        assert np.abs(clip - truth).mean() < 2
        assert abs((clip - truth).mean()) < 0.2
        with av.open(str(tmp_path / "set" / row["path"])) as container:
            context = container.streams.video[0].codec_context
            assert (int(context.colorspace), int(context.color_range)) == tags


@pytest.mark.parametrize(("height", "matrix"), [(720, 1), (144, 6)], ids=["HD is BT.709", "SD is BT.601"])
def test_clips_of_untagged_videos_keep_the_matrix_of_their_size(
    vsr: Vsr, tmp_path: Path, height: int, matrix: int
) -> None:
    video = write_video(tmp_path / "film.mp4", frames(0, 8, height, 192), tags=(2, 0))
    assert vsr("dataset", "build", video, tmp_path / "set", *SMALL, "--areas", 1, "-q").status == 0
    with av.open(str(tmp_path / "set" / rows(tmp_path / "set")[0]["path"])) as container:
        assert int(container.streams.video[0].codec_context.colorspace) == matrix


def test_trainings_read_the_manifest(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    table = tmp_path / "sources.csv"
    table.write_text("file,licence,source_url,ship\nmoving-0.mp4,CC0-1.0,https://example.org,yes\n")
    assert vsr("dataset", "build", videos, tmp_path / "set", *SMALL, "--sources", table, "-q").status == 0
    every = find_footage(tmp_path / "set")
    shippable = find_footage(tmp_path / "set", shippable_only=True)
    assert len(every.clips) == len(rows(tmp_path / "set"))
    assert {path.name[:8] for path in every.clips} == {"moving-0", "moving-1"}
    assert {path.name[:8] for path in shippable.clips} == {"moving-0"}
    stated = {(row["source_file"], row["licence"], row["source_repo"]) for row in rows(tmp_path / "set")}
    assert ("moving-0.mp4", "CC0-1.0", "https://example.org") in stated


def test_a_dry_run_writes_nothing(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    before = tree(tmp_path)
    outcome = vsr("dataset", "build", videos, tmp_path / "set", *SMALL, "--dry-run")
    assert outcome.status == 0
    assert "would be written" in outcome.out
    assert tree(tmp_path) == before


def test_the_same_command_again_changes_nothing_and_more_videos_are_added(
    vsr: Vsr, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("dataset", "build", videos, tmp_path / "set", *SMALL, "-q")
    assert vsr(*command).status == 0
    before, clips = tree(tmp_path / "set"), len(rows(tmp_path / "set"))
    with monkeypatch.context() as patch:
        patch.setattr(build, "survey_video", None)  # neither decoded again
        patch.setattr(build, "write_clips", None)  # nor written
        assert vsr(*command).status == 0
    assert tree(tmp_path / "set") == before
    write_video(videos / "another.mp4", moving(7))
    assert vsr(*command).status == 0
    assert len(rows(tmp_path / "set")) > clips
    vsr("dataset", "build", videos / "another.mp4", tmp_path / "set", *SMALL).fails(1, "moving-0.mp4")
    vsr(*command, "--crf", 20).fails(1, "--crf")


def test_videos_of_one_name_do_not_overwrite_each_other(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    (videos / "below").mkdir()
    write_video(videos / "below" / "moving-0.mp4", moving(8))
    assert vsr("dataset", "build", videos, tmp_path / "set", *SMALL, "--areas", 1, "-q").status == 0
    assert len({row["path"] for row in rows(tmp_path / "set")}) == 3


def test_another_video_of_the_same_name_is_not_taken_for_the_first(vsr: Vsr, tmp_path: Path) -> None:
    """Cameras number their videos from 1 again; licences must not move from one to the other."""
    for day in (1, 2):
        (tmp_path / f"day{day}").mkdir()
        write_video(tmp_path / f"day{day}" / "IMG_0001.mp4", moving(day))
    build_set = ("dataset", "build", "--license", "CC0-1.0", *SMALL, "--areas", 1, "-q")
    one, two = (tmp_path / f"day{day}" / "IMG_0001.mp4" for day in (1, 2))
    assert vsr(*build_set, one, tmp_path / "set").status == 0
    before = tree(tmp_path / "set")
    vsr(*build_set, two, tmp_path / "set").fails(1, "another 'IMG_0001.mp4'", "name another folder")
    assert tree(tmp_path / "set") == before
    assert vsr(*build_set, one, two, tmp_path / "set").status == 0  # both, under names of their own
    assert len(rows(tmp_path / "set")) == 2

    one.rename(
        tmp_path / "old.mp4"
    )  # what was recorded under its name must not be taken for the second one's
    assert vsr(*build_set, tmp_path / "old.mp4", tmp_path / "old-set").status == 0
    write_video(tmp_path / "moved.mp4", moving(2))
    (tmp_path / "old.mp4").rename(tmp_path / "first.mp4")
    (tmp_path / "moved.mp4").rename(tmp_path / "old.mp4")
    assert vsr(*build_set, tmp_path / "first.mp4", tmp_path / "old.mp4", tmp_path / "old-set").status == 0
    assert vsr(*build_set, tmp_path / "first.mp4", tmp_path / "old.mp4", tmp_path / "new-set").status == 0
    assert tree(tmp_path / "old-set" / "clips") == tree(tmp_path / "new-set" / "clips")


def test_files_that_it_did_not_make_stay(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    command = ("dataset", "build", videos, tmp_path / "set", *SMALL, "--areas", 1, "-q")
    assert vsr(*command).status == 0
    clips, own = tmp_path / "set" / "clips", ("mine.mp4", "moving-0.mp4", "notes.txt")
    for name in own:
        (clips / name).touch()
    (clips / "more").mkdir()
    (clips / "moving-0-000099-0x0.mp4").touch()  # of an earlier run, and no longer chosen
    assert vsr(*command).status == 0
    left = {path.name for path in clips.iterdir()}
    assert {*own, "more"} < left
    assert "moving-0-000099-0x0.mp4" not in left


def test_a_video_with_a_long_name_has_clips(vsr: Vsr, tmp_path: Path) -> None:
    video = write_video(tmp_path / f"{'여행' * 41}.mp4", moving(0))  # 250 bytes
    assert vsr("dataset", "build", video, tmp_path / "set", *SMALL, "--areas", 1, "-q").status == 0
    assert len(rows(tmp_path / "set")) == 1


def test_names_that_are_not_utf8_are_in_the_manifest_with_a_replacement(vsr: Vsr, tmp_path: Path) -> None:
    """As on disks from before; the second and third share their name in the set."""
    videos = tmp_path / "videos"
    videos.mkdir()
    for seed, name in enumerate((b"caf\xe9.mp4", b"caf\xe9\xe9.mp4", b"caf\xe8.mp4")):
        path = write_video(videos / f"{seed}.mp4", moving(seed))
        path.rename(videos / os.fsdecode(name))
    command = ("dataset", "build", videos, tmp_path / "set", *SMALL, "--areas", 1, "-q")
    assert vsr(*command).status == 0
    names = [row["source_file"].replace("\N{REPLACEMENT CHARACTER}", "?") for row in rows(tmp_path / "set")]
    assert sorted(names) == ["caf?.mp4", "caf?.mp4", "caf??.mp4"]
    before = tree(tmp_path / "set" / "clips")
    assert vsr(*command).status == 0  # it goes on with its own set
    assert len(before) == 3
    assert tree(tmp_path / "set" / "clips") == before


def test_a_colon_in_a_name_is_no_protocol(vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "film.mp4", moving(0)).rename("Film: Teil 1.mp4")
    assert vsr("dataset", "build", "Film: Teil 1.mp4", "Satz: 1", *SMALL, "--areas", 1, "-q").status == 0
    assert [row["source_file"] for row in rows(Path("Satz: 1"))] == ["Film: Teil 1.mp4"]
    content = json.loads(vsr("dataset", "info", "Satz: 1", "--json").out)
    assert (content["clips"], content["problems"]) == (1, [])
    content = json.loads(vsr("dataset", "info", ".", "--json").out)
    assert (content["clips"], content["problems"]) == (2, [])


def test_clips_stay_while_their_video_cannot_be_read(tmp_path: Path) -> None:
    clip = tmp_path / "clips" / "film-000000-0x0.mp4"
    clip.parent.mkdir()
    clip.touch()
    for digest in ("one", "", "one"):  # a network drive that is away for a while
        update_record(tmp_path, {}, {"film": SourceVideo("film.mp4", digest)})
        assert clip.exists()
    with pytest.raises(OutputError, match=r"another 'film\.mp4'"):
        update_record(tmp_path, {}, {"film": SourceVideo("film.mp4", "two")})


@pytest.mark.parametrize("start", [40_000, 1.4])
def test_the_clock_of_a_recording_may_start_anywhere(start: float, vsr: Vsr, tmp_path: Path) -> None:
    write_video(tmp_path / "film.mp4", moving(0, 16))
    with av.open(str(tmp_path / "film.mp4")) as source, av.open(str(tmp_path / "film.ts"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None and packet.pts is not None:
                packet.pts += round(start / packet.time_base)
                packet.dts += round(start / packet.time_base)
                packet.stream = stream
                target.mux(packet)
    assert (
        vsr("dataset", "build", tmp_path / "film.ts", tmp_path / "set", *SMALL, "--areas", 1, "-q").status
        == 0
    )
    assert [(float(row["fps"]), float(row["start_s"])) for row in rows(tmp_path / "set")] == [
        (25, 0),
        (25, 0.32),
    ]


def test_a_killed_build_leaves_whole_clips_and_continues(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    for seed in range(2, 6):
        write_video(videos / f"moving-{seed}.mp4", moving(seed, 24))
    command = ("dataset", "build", videos, tmp_path / "set", *SMALL)
    child = spawn(*command)
    eventually(lambda: any((tmp_path / "set" / "clips").glob("[!.]*.mp4")))
    child.send_signal(signal.SIGKILL)
    complete(child)
    for clip in find_footage(tmp_path / "set").clips:
        assert sum(1 for _ in decode_video(clip, "")) == 8
    assert vsr(*command, "-q").status == 0
    assert vsr("dataset", "build", videos, tmp_path / "whole", *SMALL, "-q").status == 0
    assert tree(tmp_path / "set") == tree(tmp_path / "whole")


def test_a_build_on_a_full_disk_continues_when_there_is_space(
    vsr: Vsr, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("dataset", "build", videos, tmp_path / "set", *SMALL, "--areas", 1, "-q")
    with monkeypatch.context() as patch:
        patch.setattr(
            record, "atomic_write", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
        )
        vsr(*command).fails(1, "cannot be written (No space left on device); free some space")
    assert vsr(*command).status == 0
    assert len(rows(tmp_path / "set")) == 2


def test_ctrl_c_has_its_status_and_leaves_no_partial_clip(
    vsr: Vsr, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, command = build.write_clips, ("dataset", "build", videos, tmp_path / "set", *SMALL)

    def stopped(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        write(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(build, "write_clips", stopped)
        outcome = vsr(*command)
    assert outcome.status == 130
    assert "the same command continues" in outcome.err
    assert not list((tmp_path / "set" / "clips").iterdir())
    assert vsr(*command, "-q").status == 0


def test_an_unreadable_video_stops_no_other(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video" * 100)
    outcome = vsr("dataset", "build", videos, tmp_path / "set", *SMALL)
    assert outcome.status == 3
    assert [line for line in outcome.err.splitlines() if "broken.mp4" in line and "left out" in line]
    assert "Traceback" not in outcome.err
    assert len(rows(tmp_path / "set")) >= 2


def test_a_video_in_unusual_colours_stops_no_other(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    media.run_ffmpeg(
        *media.moving_pattern(9, size="192x144"), "-vf", "format=yuv420p,setparams=colorspace=ycgco",
        "-c:v", "ffv1", videos / "a-capture.mkv",
    )  # fmt: skip
    outcome = vsr("dataset", "build", videos, tmp_path / "set", *SMALL)
    assert outcome.status == 3
    assert [line for line in outcome.err.splitlines() if "a-capture.mkv" in line and "left out" in line]
    assert {row["source_file"] for row in rows(tmp_path / "set")} == {"moving-0.mp4", "moving-1.mp4"}
    vsr("evaluate", videos / "a-capture.mkv", "-m", "bicubic").fails(
        1, "cannot convert the colours of", "leave it"
    )


def test_bad_input_is_named(vsr: Vsr, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").touch()
    vsr("dataset", "build", tmp_path / "empty", tmp_path / "set").fails(1, "no video in", "empty")
    vsr("dataset", "build", tmp_path / "none.mp4", tmp_path / "set").fails(1, "none.mp4")
    vsr("dataset", "build", videos, videos / "set").fails(2, "inside each other")
    vsr("dataset", "build", videos, tmp_path).fails(2, "inside each other")
    vsr("dataset", "build", videos, tmp_path / "other", *SMALL).fails(1, "other")
    vsr("dataset", "build", videos, tmp_path / "set", "--area", "97x96").fails(2, "--area")
    vsr("dataset", "build", videos, tmp_path / "set", "--ship").fails(2, "--license")
    assert not (tmp_path / "set").exists()
    still = write_video(tmp_path / "still.mp4", np.repeat(moving(1)[:1], 8, axis=0))
    vsr("dataset", "build", still, tmp_path / "set", *SMALL).fails(1, "1 still", "contact-sheet.png")
