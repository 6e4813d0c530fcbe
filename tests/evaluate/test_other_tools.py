"""``vsr evaluate --against``: frames of other tools in the same tables; and ``--html``, a page of all."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from clip_samples import frames, write_image_folder, write_lossless_video
from PIL import Image

from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli.evaluate.benchmark import upscale_frames
from vsrcli.evaluate.protocol import Protocol
from vsrcli.inference.engine import ResampleEngine

Vsr = Callable[..., Outcome]
TRUTH = {name: frames(seed, 7, width=96, height=64) for seed, name in enumerate(("calendar", "city"))}


def enlarged(truth: np.ndarray) -> np.ndarray:
    """What bicubic interpolation makes of a clip, as another tool might."""
    low = Protocol("bi", 4).degrade(truth)
    return np.stack([*upscale_frames(ResampleEngine("bicubic", 4), low)])


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for name, truth in TRUTH.items():
        write_image_folder(folder / name, truth)
    return folder


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clip as a video, one as images."""
    folder = tmp_path_factory.mktemp("enlarged")
    write_lossless_video(folder / "calendar.mkv", enlarged(TRUTH["calendar"]))
    write_image_folder(folder / "city", enlarged(TRUTH["city"]), "{}.png")
    return folder


class Page(HTMLParser):
    """Elements of a page, each a tag and its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_frames_of_another_tool_score_as_those_of_the_method(
    vsr: Vsr, clips: Path, others: Path, tmp_path: Path
) -> None:
    figures, strips = tmp_path / "x.json", tmp_path / "strips"
    models = ("-m", "lanczos", "-m", "bicubic")
    done = vsr(
        "evaluate", clips, *models, "--against", f"tool={others}", "--json", figures, "--images", strips
    )
    assert (done.status, done.err) == (0, "")
    assert "2 models, 1 other tool, 2 clips" in done.out
    reports = json.loads(figures.read_text())
    assert [report["model"] for report in reports] == ["lanczos-x4", "bicubic-x4", "tool"]
    assert [report["folder"] for report in reports] == [None, None, str(others)]
    tool = reports[2]
    assert tool["mean"]["time"]["model"]["frames"] == 0
    for clip in tool["clips"]:
        assert clip["model"] == clip["bicubic"]
    rows = [line.split() for line in done.out.splitlines() if line.startswith(" tool ")]
    assert rows[0][1] == f"{tool['mean']['bicubic']['psnr']:.2f}"
    assert f"tool: frames in '{others}'." in done.out
    with Image.open(strips / "city-bi-x4.png") as strip:
        width, height = strip.size
    assert width > 5 * (height - 60)  # low resolution, bicubic, two models, the tool, truth


def test_a_single_clip_may_be_named_itself(vsr: Vsr, clips: Path, others: Path) -> None:
    for path in (others / "calendar.mkv", others):
        done = vsr("evaluate", clips / "calendar", "-m", "lanczos", "--against", path)
        assert (done.status, done.err) == (0, "")
        name = path.stem
        assert any(line.startswith(f" {name} ") for line in done.out.splitlines())
    several = vsr("evaluate", clips, "-m", "lanczos", "--against", others / "calendar.mkv")
    several.fails(1, "is one clip, there are several")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda images: images[:, :-4],
            ["is 96x60, clip 'calendar' 96x64", "enlarge the low resolution by 4"],
        ),
        (lambda images: images[:-1], ["has 6 frames, clip 'calendar' 7"]),
    ],
    ids=["size", "number"],
)
def test_frames_that_do_not_match(
    change: Callable, words: list[str], vsr: Vsr, clips: Path, tmp_path: Path
) -> None:
    write_image_folder(tmp_path / "calendar", change(TRUTH["calendar"]))
    done = vsr("evaluate", clips / "calendar", "-m", "lanczos", "--against", tmp_path)
    done.fails(1, f"{str(tmp_path / 'calendar')!r} of --against", *words)


def test_what_is_refused_before_anything_is_measured(
    vsr: Vsr, clips: Path, others: Path, tmp_path: Path
) -> None:
    line = ("evaluate", clips, "-m", "lanczos", "--against")
    vsr(*line, tmp_path / "gone").fails(1, "does not exist", "--against")
    vsr(*line, tmp_path).fails(1, "nothing for 'calendar'", "named 'calendar' there")
    vsr(*line, f"lanczos-x4={others}").fails(2, "'lanczos-x4' is in the tables already")
    vsr(*line, others, "--against", others).fails(2, "is in the tables already", "NAME=")
    vsr(*line, f"model={others}").fails(2, "'model' is reserved", "NAME=")
    vsr(*line, others, "--crf", "20", "--crf", "30").fails(2, "one --crf, not several")
    vsr(*line, "=there").fails(2, "'=there' is neither a folder nor NAME=FOLDER")


def test_low_resolution_that_exists_already(vsr: Vsr, others: Path, tmp_path: Path) -> None:
    """Names of pairs lead to the frames of the other tool."""
    for name, truth in TRUTH.items():
        write_image_folder(tmp_path / "HR" / name, truth)
        write_image_folder(tmp_path / "LR" / name, Protocol("bi", 4).degrade(truth))
    done = vsr("evaluate", tmp_path, "-m", "lanczos", "--degrade", "none", "--against", f"tool={others}")
    assert (done.status, done.err) == (0, "")
    rows = {line.split()[0]: line.split() for line in done.out.splitlines()[:9] if line.strip()}
    assert rows["tool"][1:4] == rows["bicubic"][1:4]


def test_the_page_shows_every_method_and_fetches_nothing(
    vsr: Vsr, clips: Path, others: Path, tmp_path: Path
) -> None:
    target = tmp_path / "page.html"
    models = ("-m", tiny_weights(tmp_path, "cached", 4), "-m", "lanczos")
    words = ("--against", f"<b>tool={others}", "--html", target, "--frames", 6, "--gpu", "cpu")
    done = vsr("evaluate", clips, *models, *words)
    assert (done.status, done.err) == (0, "")
    text = target.read_text(encoding="utf-8")
    page = Page(text)
    methods = ["bicubic", "duf-s-x4-video", "lanczos-x4", "<b>tool", "truth"]
    images = page.all("img")
    assert len(images) == 2 * 2 * len(methods)  # still and moving, of each clip
    for image in images:
        assert str(image["src"]).startswith("data:image/")
    alternatives = [str(image["alt"]) for image in images]
    for name in TRUTH:
        for method in methods:
            assert sum(alt.startswith(name) and f"{method}:" in alt for alt in alternatives) == 1
            assert f"{name}, {method}, 6 moving frames: the same detail" in alternatives
    heights = {int(str(image["height"])) for image in images}
    assert heights == {48, 6 * 48}  # 64 rows less the borders; frames below each other
    assert not page.all("script")
    assert not page.all("b")  # names are text
    assert "default-src 'none'" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    headings = [tag for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert headings[0] == "h1"
    assert all(int(b[1]) - int(a[1]) <= 1 for a, b in itertools.pairwise(headings))
    assert len([box for box in page.all("input") if box["type"] == "checkbox"]) == len(TRUTH)
    assert all(attributes.get("tabindex") == "0" for attributes in page.all("pre"))
    for word in ("PSNR-Y", "mean gain", "calendar", "How it was measured"):
        assert any(word in each for each in page.words)


def test_a_page_that_cannot_be_written_is_refused_first(vsr: Vsr, clips: Path, tmp_path: Path) -> None:
    done = vsr("evaluate", clips, "-m", "lanczos", "--html", tmp_path / "no" / "page.html")
    done.fails(1, "there is no such folder")
