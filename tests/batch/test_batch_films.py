"""Which films are meant, where they go, and what they are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from vsrcli.batch.discovery import Naming, TaskList, find_tasks
from vsrcli.errors import UsageError
from vsrcli.media.ffmpeg import Ffmpeg


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``films`` with a film, three episodes in two folders below, and what is no film."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "s1/e1.mkv", "s1/e10.mkv", "s1/e2.mkv", "s2/e1.mkv", "s1/e1.srt", "s1/.hidden.mkv"):
        path = tmp_path / "films" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\0")
    (tmp_path / "films" / "code.ts").write_text("export const x = 1")
    (tmp_path / "films" / "record.ts").write_bytes(b"G" + bytes(187))
    return tmp_path


def same(name: str) -> str:
    return name


def places(found: TaskList, folder: str = "out") -> list[str]:
    return [task.target.relative_to(folder).as_posix() for task in found.tasks]


def test_a_folder_is_its_films_and_with_r_its_tree(tree: Path) -> None:
    assert places(find_tasks(["films"], Path("out"), same)) == ["a.mp4", "record.ts"]
    found = find_tasks(["films"], Path("out"), same, recursive=True)
    assert places(found) == ["a.mp4", "record.ts", "s1/e1.mkv", "s1/e2.mkv", "s1/e10.mkv", "s2/e1.mkv"]
    assert found.ignored_count == 2  # subtitles and a program; hidden files are not even looked at
    assert [task.name for task in found.tasks] == places(found)


def test_files_go_to_the_top_and_every_film_is_taken_once(tree: Path) -> None:
    found = find_tasks(["films/s1/e2.mkv", "films/s1", "films/s1/../s1/e2.mkv"], Path("out"), same)
    assert places(found) == ["e2.mkv", "e1.mkv", "e10.mkv"]


def test_a_pattern_that_no_shell_has_expanded(tree: Path) -> None:
    assert places(find_tasks(["films/s*/e1.mkv"], Path("out"), same)) == ["s1/e1.mkv", "s2/e1.mkv"]
    every = ["s1/e1.mkv", "s1/e2.mkv", "s1/e10.mkv", "s2/e1.mkv"]
    assert places(find_tasks(["films/**/*.mkv"], Path("out"), same)) == every
    assert places(find_tasks([f"{tree}/films/s1/e?.*"], Path("out"), same)) == ["e1.mkv", "e2.mkv"]
    with pytest.raises(UsageError, match=r"no file matches 'films/\*\.avi'"):
        find_tasks(["films/*.avi"], Path("out"), same)


def test_a_name_that_looks_like_a_pattern_is_the_file(tree: Path) -> None:
    (tree / "films" / "b[1].mp4").write_bytes(b"\0")
    assert places(find_tasks(["films/b[1].mp4"], Path("out"), same)) == ["b[1].mp4"]


def test_a_missing_file_and_one_of_any_extension_are_taken_when_named(tree: Path) -> None:
    assert places(find_tasks(["missing.mp4", "films/s1/e1.srt"], Path("out"), same)) == [
        "missing.mp4",
        "e1.srt",
    ]


@pytest.mark.parametrize("inputs", [["films"], ["films/**/*.mkv"]])
def test_what_lies_in_the_output_folder_is_no_input(inputs: list[str], tree: Path) -> None:
    folder = Path("films/out")
    before = places(find_tasks(inputs, folder, same, recursive=True), "films/out")
    for place in before:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(b"\0")
    assert places(find_tasks(inputs, folder, same, recursive=True), "films/out") == before


def test_results_beside_their_sources_are_no_input(tree: Path, ffmpeg: Ffmpeg) -> None:
    naming = Naming(ffmpeg, "{stem}_big")
    (tree / "films" / "a_big.mp4").write_bytes(b"\0")
    found = find_tasks(["films"], Path("films"), naming)
    assert places(found, "films") == ["a_big.mp4", "record_big.ts"]
    assert found.result_count == 1
    (tree / "films" / "a.mp4").unlink()  # its source is gone, but it is known to be a result
    known = [Path("films/a_big.mp4")]
    assert places(find_tasks(["films"], Path("films"), naming, finished=known), "films") == ["record_big.ts"]


def test_two_films_of_one_target_are_named_before_anything_starts(tree: Path) -> None:
    with pytest.raises(UsageError) as refused:
        find_tasks(["films/s1/e1.mkv", "films/s2/e1.mkv"], Path("out"), same)
    for word in (Path("films/s1/e1.mkv"), Path("films/s2/e1.mkv"), Path("out/e1.mkv")):
        assert str(word) in str(refused.value)


def test_a_film_never_replaces_itself(tree: Path) -> None:
    with pytest.raises(UsageError, match="replace itself"):
        find_tasks(["films"], Path("films"), same)


@pytest.mark.parametrize(("inputs", "word"), [(["empty"], "-r"), (["-"], "stdin")])
def test_nothing_to_do_is_an_error(inputs: list[str], word: str, tree: Path) -> None:
    (tree / "empty").mkdir()
    with pytest.raises(UsageError, match=word):
        find_tasks(inputs, Path("out"), same)


def test_a_link_that_leads_back_up_ends(tree: Path) -> None:
    (tree / "films" / "s1" / "again").symlink_to(tree / "films", target_is_directory=True)
    assert len(find_tasks(["films"], Path("out"), same, recursive=True).tasks) == 6


@pytest.mark.parametrize(
    ("template", "container", "name", "called"),
    [
        ("{stem}", None, "a.mp4", "a.mp4"),
        ("{stem}", None, "a.b.mp4", "a.b.mp4"),
        ("{stem}", None, "a.wmv", "a.mkv"),  # no container that is written
        ("{stem}", None, "a.mov.mp4", "a.mov.mp4"),
        ("{stem}", ".mkv", "a.mp4", "a.mkv"),
        ("{stem}_x{scale}", None, "a.mp4", "a_x2.5.mp4"),
        ("{stem}_x{scale}{suffix}", None, "a.webm", "a_x2.5.webm"),
        ("{model} {stem}", None, "a.mp4", "mine a.mp4"),
        ("{stem}.mov", None, "a.mp4", "a.mov"),
    ],
)
def test_names(template: str, container: str | None, name: str, called: str, ffmpeg: Ffmpeg) -> None:
    naming = Naming(ffmpeg, template, container, "2.5", "runs/mine.weights.h5")
    assert naming(name) == called


@pytest.mark.parametrize(
    ("template", "container", "word"),
    [
        ("{stem", None, "template"),
        ("{year}{stem}", None, "{year}"),
        ("{stem.real}", None, "{stem.real}"),
        ("film", None, "{stem}"),
        ("../{stem}", None, "OUT_DIR"),
        ("{stem}", ".txt", "--container .txt"),
    ],
)
def test_names_that_cannot_be_meant(template: str, container: str | None, word: str, ffmpeg: Ffmpeg) -> None:
    with pytest.raises(UsageError) as refused:
        Naming(ffmpeg, template, container)
    assert word in str(refused.value)
