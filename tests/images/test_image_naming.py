"""Files that a name means, and names of output images."""

from __future__ import annotations

from pathlib import Path

import pytest

from vsrcli.errors import InputError, UsageError
from vsrcli.images.naming import (
    NAME_WILDCARD,
    NumberPattern,
    match_files,
    parse_pattern,
    parse_target,
    resolve_naming,
)


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("%05d.png", NumberPattern("", ".png", 5)),
        ("a-%d-b.png", NumberPattern("a-", "-b.png", 0)),
        ("100%%-%03d.png", NumberPattern("100%-", ".png", 3)),
        ("%03d-%%d.png", NumberPattern("", "-%d.png", 3)),
        ("plain.png", None),
        ("100%.png", None),
        ("%s.png", None),
        ("%d-%d.png", None),
        ("%%d.png", None),
    ],
)
def test_a_number_in_a_name(name: str, pattern: NumberPattern | None) -> None:
    assert parse_pattern(name) == pattern


def test_a_pattern_parses_only_names_that_it_formats() -> None:
    pattern = NumberPattern("f", ".png", 3)
    assert [pattern.parse(name) for name in ("f007.png", "f1234.png")] == [7, 1234]
    for other in ("f07.png", "f0007.png", "f-07.png", "f٠٠٧.png", "g007.png", "f007.png.part", "f.png"):
        assert pattern.parse(other) is None


def test_a_sequence_starts_at_its_lowest_number(tmp_path: Path) -> None:
    touch(tmp_path, "f0098.png", "f0099.png", "f0100.png", "f99.png", "g0001.png")
    matched = match_files(tmp_path / "f%04d.png")
    assert matched is not None
    assert matched.numbers == (98, 99, 100)
    assert [file.name for file in matched.files] == ["f0098.png", "f0099.png", "f0100.png"]


def test_a_gap_is_named(tmp_path: Path) -> None:
    touch(tmp_path, "f1.png", "f2.png", "f5.png", "f6.png")
    with pytest.raises(InputError, match=r"f3\.png is missing and 1 more, between 2 and 5"):
        match_files(tmp_path / "f%d.png")


@pytest.mark.parametrize("name", ["%05d.png", "*.png", "missing/%05d.png"])
def test_a_pattern_that_nothing_matches_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"check the|it takes"):
        match_files(tmp_path / name)


def test_a_folder_is_sorted_in_natural_order(tmp_path: Path) -> None:
    touch(tmp_path, "shot10.png", "shot9.PNG", "Shot1.png", "notes.txt", ".hidden.png")
    (tmp_path / "more.png").mkdir()
    matched = match_files(tmp_path)
    assert matched is not None
    assert [file.name for file in matched.files] == ["Shot1.png", "shot9.PNG", "shot10.png"]
    assert matched.numbers is None
    assert not matched.is_single_file


def test_a_pattern_with_wildcards(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "a2.png", "b1.png")
    matched = match_files(tmp_path / "a?.png")
    assert matched is not None
    assert [file.name for file in matched.files] == ["a1.png", "a2.png"]


def test_results_among_their_input_are_no_input(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "a2.png", "a3.png", "x4-001.jpg", "x4-002.jpg")
    results = {tmp_path / "x4-001.jpg", tmp_path / "x4-002.jpg"}
    for source in (tmp_path, tmp_path / "*"):
        matched = match_files(source, results)
        assert matched is not None
        assert [file.name for file in matched.files] == ["a1.png", "a2.png", "a3.png"]
    with pytest.raises(InputError, match=r"x4-001\.jpg is no PNG"):
        match_files(tmp_path)


def test_several_formats_are_an_error_that_names_the_odd_one(tmp_path: Path) -> None:
    touch(tmp_path, "a1.png", "a2.jpg")
    with pytest.raises(InputError, match=r"a2\.jpg is no PNG like a1\.png"):
        match_files(tmp_path)


@pytest.mark.parametrize("name", ["100%d.png", "what?.png", "list[1].png"])
def test_a_file_named_like_a_pattern_is_that_file_only(tmp_path: Path, name: str) -> None:
    touch(tmp_path, name, "1001.png", "whats.png", "list1.png")
    matched = match_files(tmp_path / name)
    assert matched is not None
    assert matched.files == (tmp_path / name,)
    assert matched.is_single_file


def test_a_broken_link_is_no_pattern(tmp_path: Path) -> None:
    touch(tmp_path, "f1.png")
    (tmp_path / "f%d.png").symlink_to(tmp_path / "nowhere")
    assert match_files(tmp_path / "f%d.png") is None


def test_names_of_output_images(tmp_path: Path) -> None:
    old = tmp_path / "in" / "IMG_7.tif"

    def named(target: str, *, single: bool = False, images: bool = True, many: bool = True) -> str | None:
        naming = resolve_naming(
            parse_target(f"{tmp_path}/{target}"),
            old,
            from_images=images,
            is_single_image=single,
            has_many_frames=many,
        )
        return None if naming is None else naming.path_for(7, old).relative_to(tmp_path).as_posix()

    (tmp_path / "there").mkdir()
    assert named("out/%04d.png") == "out/0007.png"
    assert named("out/100%%_%d.png") == "out/100%_7.png"
    assert named("out/") == "out/IMG_7.tif"
    assert named("there") == "there/IMG_7.tif"
    assert named("there", single=True, many=False) == "there/IMG_7.tif"
    assert named("x4.png", single=True, many=False) == "x4.png"
    assert named("video.mp4") is None
    assert named("video.mp4", images=False) is None
    assert named("%d.png", images=False) == "7.png"


def test_one_name_for_many_images_is_refused_with_a_pattern(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"out-%05d\.png \(or one frame: --frames 1\)"):
        resolve_naming(
            tmp_path / "out.png",
            Path("in.mp4"),
            from_images=False,
            is_single_image=False,
            has_many_frames=True,
        )


def test_a_folder_for_a_video_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"in\.mp4, or images, such as"):
        resolve_naming(
            tmp_path / NAME_WILDCARD,
            Path("in.mp4"),
            from_images=False,
            is_single_image=False,
            has_many_frames=True,
        )
