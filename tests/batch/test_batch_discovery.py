"""Finding the videos of a batch, and naming their outputs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from vsrcli.batch.discovery import Naming, TaskList, find_tasks
from vsrcli.errors import UsageError
from vsrcli.media.ffmpeg import Ffmpeg


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``videos`` with a video, episodes in two folders below, and other files."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "s1/e1.mkv", "s1/e10.mkv", "s1/e2.mkv", "s2/e1.mkv", "s1/e1.srt", "s1/.hidden.mkv"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    (tmp_path / "videos" / "code.ts").write_text("export const x = 1")
    (tmp_path / "videos" / "recording.ts").write_bytes(b"G" + bytes(187))
    return tmp_path


def same_name(name: str) -> str:
    return name


def places(found: TaskList, folder: str = "out") -> list[str]:
    return [task.target.relative_to(folder).as_posix() for task in found.tasks]


def test_a_folder_and_its_tree(tree: Path) -> None:
    assert places(find_tasks(["videos"], Path("out"), same_name)) == ["a.mp4", "recording.ts"]
    found = find_tasks(["videos"], Path("out"), same_name, recursive=True)
    assert places(found) == ["a.mp4", "recording.ts", "s1/e1.mkv", "s1/e2.mkv", "s1/e10.mkv", "s2/e1.mkv"]
    assert found.ignored_count == 2  # subtitles and TypeScript; hidden files do not count
    assert [task.name for task in found.tasks] == places(found)


def test_files_go_to_the_top_and_every_video_is_taken_once(tree: Path) -> None:
    found = find_tasks(["videos/s1/e2.mkv", "videos/s1", "videos/s1/../s1/e2.mkv"], Path("out"), same_name)
    assert places(found) == ["e2.mkv", "e1.mkv", "e10.mkv"]


def test_patterns_are_expanded(tree: Path) -> None:
    assert places(find_tasks(["videos/s*/e1.mkv"], Path("out"), same_name)) == ["s1/e1.mkv", "s2/e1.mkv"]
    every = ["s1/e1.mkv", "s1/e2.mkv", "s1/e10.mkv", "s2/e1.mkv"]
    assert places(find_tasks(["videos/**/*.mkv"], Path("out"), same_name)) == every
    assert places(find_tasks([f"{tree}/videos/s1/e?.*"], Path("out"), same_name)) == ["e1.mkv", "e2.mkv"]
    with pytest.raises(UsageError, match=r"no file matches 'videos/\*\.avi'"):
        find_tasks(["videos/*.avi"], Path("out"), same_name)


def test_a_file_name_that_looks_like_a_pattern(tree: Path) -> None:
    (tree / "videos" / "b[1].mp4").write_bytes(b"\0")
    assert places(find_tasks(["videos/b[1].mp4"], Path("out"), same_name)) == ["b[1].mp4"]


def test_named_files_may_be_missing_or_have_any_extension(tree: Path) -> None:
    assert places(find_tasks(["missing.mp4", "videos/s1/e1.srt"], Path("out"), same_name)) == [
        "missing.mp4",
        "e1.srt",
    ]


@pytest.mark.parametrize("inputs", [["videos"], ["videos/**/*.mkv"]])
def test_the_output_folder_is_no_input(inputs: list[str], tree: Path) -> None:
    folder = Path("videos/out")
    before = places(find_tasks(inputs, folder, same_name, recursive=True), "videos/out")
    for place in before:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(b"\0")
    assert places(find_tasks(inputs, folder, same_name, recursive=True), "videos/out") == before


def test_results_in_the_folder_of_their_sources_are_no_input(tree: Path, ffmpeg: Ffmpeg) -> None:
    naming = Naming(ffmpeg, "{stem}_big")
    (tree / "videos" / "a_big.mp4").write_bytes(b"\0")
    found = find_tasks(["videos"], Path("videos"), naming)
    assert places(found, "videos") == ["a_big.mp4", "recording_big.ts"]
    assert found.result_count == 1
    (tree / "videos" / "a.mp4").unlink()  # its source is gone, but the ledger knows it
    known = [Path("videos/a_big.mp4")]
    assert places(find_tasks(["videos"], Path("videos"), naming, finished=known), "videos") == [
        "recording_big.ts"
    ]


def test_two_videos_with_one_target_are_refused(tree: Path) -> None:
    with pytest.raises(UsageError) as refused:
        find_tasks(["videos/s1/e1.mkv", "videos/s2/e1.mkv"], Path("out"), same_name)
    for word in (Path("videos/s1/e1.mkv"), Path("videos/s2/e1.mkv"), Path("out/e1.mkv")):
        assert str(word) in str(refused.value)


def test_a_video_never_replaces_itself(tree: Path) -> None:
    with pytest.raises(UsageError, match="replace itself"):
        find_tasks(["videos"], Path("videos"), same_name)


@pytest.mark.parametrize(("inputs", "word"), [(["empty"], "-r"), (["-"], "stdin")])
def test_nothing_to_do_is_an_error(inputs: list[str], word: str, tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(UsageError, match=word):
        find_tasks(inputs, Path("out"), same_name)


def test_a_folder_that_cannot_be_searched_costs_its_videos(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as the ``lost+found`` of a disk."""
    search = Path.iterdir

    def search_allowed(folder: Path) -> Iterator[Path]:
        if folder.name == "s1":
            raise PermissionError(13, "Permission denied")
        return search(folder)

    monkeypatch.setattr(Path, "iterdir", search_allowed)
    for inputs in (["videos"], ["video*"]):
        found = find_tasks(inputs, Path("out"), same_name, recursive=True)
        assert [task.source.name for task in found.tasks] == ["a.mp4", "recording.ts", "e1.mkv"]
        assert found.notices == ("videos/s1 cannot be searched (Permission denied): its videos are left out",)
    with pytest.raises(UsageError, match=r"^videos/s1 cannot be searched .*; leave it out$"):
        find_tasks(["videos/s1"], Path("out"), same_name, recursive=True)


def test_a_link_to_a_parent_folder(tree: Path) -> None:
    (tree / "videos" / "s1" / "again").symlink_to(tree / "videos", target_is_directory=True)
    assert len(find_tasks(["videos"], Path("out"), same_name, recursive=True).tasks) == 6


@pytest.mark.parametrize(
    ("template", "container", "name", "expected"),
    [
        ("{stem}", None, "a.mp4", "a.mp4"),
        ("{stem}", None, "a.b.mp4", "a.b.mp4"),
        ("{stem}", None, "a.wmv", "a.mkv"),  # not a container that can be written
        ("{stem}", None, "a.mov.mp4", "a.mov.mp4"),
        ("{stem}", ".mkv", "a.mp4", "a.mkv"),
        ("{stem}_x{scale}", None, "a.mp4", "a_x2.5.mp4"),
        ("{stem}_x{scale}{suffix}", None, "a.webm", "a_x2.5.webm"),
        ("{model} {stem}", None, "a.mp4", "mine a.mp4"),
        ("{stem}.mov", None, "a.mp4", "a.mov"),
        ("{stem}.MOV", ".mov", "a.mp4", "a.MOV"),
        ("{stem:.3}_x{scale:0>4}", None, "abcd.mp4", "abc_x02.5.mp4"),
    ],
)
def test_names(template: str, container: str | None, name: str, expected: str, ffmpeg: Ffmpeg) -> None:
    naming = Naming(ffmpeg, template, container, "2.5", "runs/mine.weights.h5")
    assert naming(name) == expected


@pytest.mark.parametrize(
    ("template", "container", "word"),
    [
        ("{stem", None, "template"),
        ("{year}{stem}", None, "{year}"),
        ("{stem.real}", None, "{stem.real}"),
        ("video", None, "{stem}"),
        ("../{stem}", None, "OUT_DIR"),
        ("{stem}", ".txt", "--container .txt"),
        ("{stem}_x{scale:g}", None, "is no template (Unknown format code 'g'"),
        ("{stem:{year}}", None, "is no template"),
        ("{stem:{}}", None, "is no template"),
        ("{stem:{scale.real}}", None, "is no template"),
        ("{stem}.mkv", ".mp4", "ends with .mkv, but --container is .mp4"),
        ("{stem}{suffix}.mkv", ".mp4", "ends with .mkv, but --container is .mp4"),
    ],
)
def test_invalid_names(template: str, container: str | None, word: str, ffmpeg: Ffmpeg) -> None:
    with pytest.raises(UsageError) as refused:
        Naming(ffmpeg, template, container)
    assert word in str(refused.value)
