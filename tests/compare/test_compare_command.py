"""``vsr compare``: outputs, safety of existing files, and refused usage."""

from __future__ import annotations

import base64
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pytest
from PIL import Image

import media_samples as media
from terminal import Outcome, spawn
from vsrcli.compare import snapshots
from vsrcli.compare.writers import write_target
from vsrcli.errors import OutputError
from vsrcli.evaluate.metrics import psnr_y
from vsrcli.media.decoder import Decoder
from vsrcli.media.probe import probe

Vsr = Callable[..., Outcome]
Trio = tuple[Path, Path, Path]
Sample = Callable[..., Path]
QUICK = ("--no-vmaf",)


class Parsed(HTMLParser):
    """Parse the elements and texts of a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self._open, []).append(data)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(self.texts["script"][0])

    def images(self, snapshot: int) -> list[np.ndarray]:
        images = []
        for uri in self.data["snapshots"][snapshot]["images"]:
            content = base64.b64decode(uri.partition(",")[2])
            images.append(np.asarray(Image.open(io.BytesIO(content)).convert("RGB")))
        return images


def decode(path: Path, ffmpeg: Any) -> list[np.ndarray]:
    with Decoder(probe(path), ffmpeg=ffmpeg) as decoder:
        return [frame.pixels for frame in decoder]


def packets(path: Path, kind: str) -> list[tuple[Any, bytes]]:
    with av.open(str(path)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in container.demux(stream)
            if packet.size and packet.pts is not None and packet.time_base is not None
        ]


def test_a_page_holds_the_frames_themselves_and_fetches_nothing(
    vsr: Vsr, trio: Trio, tmp_path: Path, ffmpeg: Any
) -> None:
    page = tmp_path / "page.html"
    run = vsr("compare", *trio[:2], "-o", page, "--at", "0.1", "--at", "0.3")
    assert run.status == 0, run.err
    assert "2 videos, 2 images each (WebP, lossless)" in run.err
    parsed = Parsed(page)
    large = decode(trio[1], ffmpeg)
    np.testing.assert_array_equal(parsed.images(0)[1], large[2])
    np.testing.assert_array_equal(parsed.images(1)[1], large[7])
    for tag, attributes in parsed.elements:
        assert not {"src", "href", "style", "srcset", "action"}.intersection(attributes), tag
        assert not any(name.startswith("on") for name in attributes), tag
        assert tag not in ("link", "iframe", "object", "base")
    text = re.sub(r"data:image/\w+;base64,[\w+/=]*", "", page.read_text("utf-8"))
    assert "http://" not in text.replace("http-equiv", "")
    assert "https://" not in text
    policy = next(each["content"] for tag, each in parsed.elements if "http-equiv" in each) or ""
    assert policy.startswith("default-src 'none'; img-src data:;")
    for part in (parsed.texts["style"][0], parsed.texts["script"][-1]):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


def test_a_reference_adds_scores(vsr: Vsr, trio: Trio, tmp_path: Path, ffmpeg: Any) -> None:
    page = tmp_path / "page.html"
    run = vsr("compare", *trio[:2], "--reference", trio[2], "-o", page, "--moments", "3", *QUICK)
    assert run.status == 0, run.err
    large, truth = decode(trio[1], ffmpeg), decode(trio[2], ffmpeg)
    scores = [psnr_y(one, other) for one, other in zip(large, truth, strict=True)]
    assert f"{np.mean(scores):.2f} / {min(scores):.2f}" in run.out
    parsed = Parsed(page)
    assert parsed.data["plots"]["mean"]["psnr_y"][1] == pytest.approx(scores, abs=1e-4)
    worst = int(np.argmin(scores))
    indices = [snapshot["index"] for snapshot in parsed.data["snapshots"]]
    assert indices == sorted(indices)
    assert worst in indices
    np.testing.assert_array_equal(parsed.images(indices.index(worst))[2], truth[worst])
    plots = [each for tag, each in parsed.elements if tag == "svg" and each.get("role") == "slider"]
    assert len(plots) == len(parsed.data["plots"]["mean"]) >= 2
    assert "not requested (--no-vmaf)" in page.read_text("utf-8")


@pytest.mark.parametrize(("limit", "kind"), [(3_000, "jpeg"), (30_000, "webp")])
def test_all_images_of_a_page_decide_whether_they_are_lossless(
    limit: int, kind: str, vsr: Vsr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Films begin with a black frame, which takes next to nothing."""
    monkeypatch.setattr(snapshots, "MAX_LOSSLESS_BYTES", limit)
    video, target = tmp_path / "film.mkv", tmp_path / "page.html"
    noise = "geq=lum='if(lt(N,4),16,random(1)*255)':cb=128:cr=128"
    media.run_ffmpeg(*media.moving_pattern(rate="10"), "-vf", noise, "-c:v", "ffv1", video)
    assert vsr("compare", video, video, "-o", target, "--at", "0", "--at", "0.6", "--at", "1").status == 0
    found = re.findall(r"data:image/(\w+);base64,([\w+/=]+)", target.read_text("utf-8"))
    assert {each for each, _ in found} == {kind}
    assert len(found) == 6
    sizes = [len(base64.b64decode(content)) for _, content in found]
    assert min(sizes) < max(sizes) / 4
    with Image.open(io.BytesIO(base64.b64decode(found[sizes.index(min(sizes))][1]))) as black:
        assert np.asarray(black.convert("RGB")).max() == 0


def test_scores_as_json(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    run = vsr("compare", *trio[:2], "--reference", trio[2], "-o", tmp_path / "p.html", *QUICK, "--json", "-q")
    assert run.err == ""
    document = json.loads(run.out)
    assert document["version"] == 3
    assert document["target"] == str(tmp_path / "p.html")
    assert [len(video["ssim_y"]["frames"]) for video in document["videos"]] == [12, 12]


def test_names_of_videos_cannot_become_markup(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    evil, odd = tmp_path / "<script>alert(1)<script>.mkv", tmp_path / "a\"b&c'$title.mkv"
    for path in (evil, odd):
        path.write_bytes(trio[1].read_bytes())
    page = tmp_path / "page.html"
    label = "</script><img src=x onerror=alert(2)>,</title>"
    assert vsr("compare", evil, odd, "--reference", odd, "-o", page, *QUICK).status == 0
    parsed = Parsed(page)
    assert [tag for tag, _ in parsed.elements].count("script") == 2
    assert parsed.data["names"][:2] == [evil.name, odd.name]
    assert parsed.texts["title"] == [f"{evil.name} and {odd.name}, compared"]
    assert vsr("compare", evil, odd, "-o", page, "-y", "--labels", label, "--at", "0").status == 0
    parsed = Parsed(page)
    assert parsed.data["names"] == label.split(",")
    assert not [each for tag, each in parsed.elements if "onerror" in each]


def test_a_page_is_written_next_to_the_last_video_by_default(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    copies = [tmp_path / path.name for path in trio]
    for copy, path in zip(copies, trio, strict=True):
        copy.write_bytes(path.read_bytes())
    assert vsr("compare", *copies, "--moments", "1").status == 0
    parsed = Parsed(tmp_path / "truth-compare.html")
    assert len(parsed.data["names"]) == 3
    assert len([tag for tag, _ in parsed.elements if tag == "option"]) == 6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_video_has_times_and_audio_of_the_first(
    vsr: Vsr, sample: Sample, tmp_path: Path, suffix: str
) -> None:
    path = sample(media.video_starts_late, suffix=suffix)
    target = tmp_path / f"split{suffix}"
    run = vsr("compare", path, path, "-o", target)
    assert run.status == 0, run.err
    assert packets(target, "audio") == packets(path, "audio")
    times = [sorted(time for time, _ in packets(each, "video")) for each in (target, path)]
    assert times[0] == times[1]


def test_audio_before_the_first_frame_stays_when_the_video_is_cut(
    vsr: Vsr, sample: Sample, tmp_path: Path
) -> None:
    late, short, target = sample(media.video_starts_late), tmp_path / "short.mkv", tmp_path / "cut.mkv"
    media.run_ffmpeg(*media.moving_pattern(6), "-c:v", "ffv1", short)
    run = vsr("compare", late, short, "-o", target)
    assert run.status == 0, run.err
    assert len(packets(target, "video")) == 6
    audio = packets(target, "audio")
    assert audio[0][1] == packets(late, "audio")[0][1]
    assert float(packets(target, "video")[0][0] - audio[0][0]) == pytest.approx(0.423, abs=0.03)
    assert float(audio[-1][0]) < 0.423 + 0.3


def test_variable_frame_rates_are_kept(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    path, target = sample(media.vfr), tmp_path / "side.mp4"
    assert vsr("compare", path, path, "-o", target, "--layout", "stack").status == 0
    times = [sorted(time for time, _ in packets(each, "video")) for each in (target, path)]
    assert times[0] == times[1]


def test_colours_of_a_video_do_not_change(vsr: Vsr, sample: Sample, tmp_path: Path, ffmpeg: Any) -> None:
    for path in (sample(media.cfr), sample(media.ten_bit)):
        target = tmp_path / f"{path.stem}.mkv"
        run = vsr("compare", path, path, "-o", target, "--no-labels", "--codec", "ffv1")
        assert run.status == 0, run.err
        before, after = probe(path).video, probe(target).video
        assert after.bit_depth == before.bit_depth
        assert (after.color.transfer or "bt709") in (before.color.transfer, "smpte170m", "bt709")
        step = 257 if before.is_high_bit_depth else 1
        for old, new in zip(decode(path, ffmpeg), decode(target, ffmpeg), strict=True):
            difference = new.astype(int) - old.astype(int)
            difference[:, 28:36] = 0  # the dividing line
            grey = difference @ [0.2126, 0.7152, 0.0722]
            assert np.abs(grey).mean() < 2 * step  # 4:2:0 and back blurs colours at edges
            assert np.abs(difference.mean(axis=(0, 1))).max() < 1.5 * step  # but shifts none


def test_a_video_shows_the_scores_of_each_frame(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    target = tmp_path / "side.mkv"
    run = vsr(
        "compare", *trio[:2], "--reference", trio[2], "-o", target, "--layout", "side", *QUICK, "--json"
    )
    assert run.status == 0, run.err
    assert len(json.loads(run.out)["videos"][1]["psnr_y"]["frames"]) == 12
    video = probe(target).video
    assert video.width == 3 * 128 + 2 * 4
    assert video.height > 96


def test_part_of_a_video_has_that_part_of_the_audio(vsr: Vsr, sample: Sample, tmp_path: Path) -> None:
    path, target = sample(media.cfr, frames=48), tmp_path / "part.mkv"
    run = vsr("compare", path, path, "-o", target, "--start", "1", "--seconds", "0.5", "--layout", "wipe")
    assert run.status == 0, run.err
    assert len(packets(target, "video")) == 12
    audio = packets(target, "audio")
    assert 0.4 < float(audio[-1][0] - audio[0][0]) < 0.6


def test_an_image_shows_one_frame(vsr: Vsr, trio: Trio, tmp_path: Path, ffmpeg: Any) -> None:
    target = tmp_path / "one.png"
    crop = ("--crop", "8,16,32x24", "--zoom", "2", "--no-labels", "--layout", "stack")
    run = vsr("compare", *trio, "-o", target, "--at", "0.3", *crop)
    assert run.status == 0, run.err
    with Image.open(target) as image:
        canvas = np.asarray(image)
    part = decode(trio[2], ffmpeg)[7][16:40, 8:40].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(canvas[2 * 52 : 2 * 52 + 48, :64], part)
    both = tmp_path / "two.png"
    assert vsr("compare", *trio[:2], "--reference", trio[2], "-o", both).status == 0
    with Image.open(both) as image:
        assert image.width == 3 * 128 + 2 * 4


def test_nothing_is_replaced_without_overwrite(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    for name in ("there.html", "there.png", "there.mkv"):
        target = tmp_path / name
        target.write_text("mine")
        vsr("compare", *trio[:2], "-o", target).fails(1, "there", "--overwrite")
        assert target.read_text() == "mine"
        assert vsr("compare", *trio[:2], "-o", target, "-y", "-q") == Outcome(0, "", "")
        assert target.stat().st_size > 1000
    for path in trio:
        vsr("compare", *trio[:2], "--reference", trio[2], "-o", path, "-y").fails(1, "one of the videos")
    vsr("compare", *trio[:2], "-o", tmp_path / "no" / "page.html").fails(1, "not a folder")


@pytest.mark.parametrize("name", ["page.html", "video.mkv"])
def test_a_failure_midway_leaves_no_file(vsr: Vsr, sample: Sample, tmp_path: Path, name: str) -> None:
    intact = sample(media.cfr, frames=48)
    run = vsr("compare", intact, media.damaged(intact), "--reference", intact, "-o", tmp_path / name, *QUICK)
    assert run.status == 1
    assert not list(tmp_path.iterdir())


def test_an_unfinished_file_is_removed(tmp_path: Path) -> None:
    target = tmp_path / "page.html"

    def broken(error: Exception) -> None:
        def write(file: IO[bytes]) -> None:
            file.write(b"half")
            raise error

        write_target(target, write, overwrite=False)

    with pytest.raises(OutputError, match="No space left"):
        broken(OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(ZeroDivisionError):
        broken(ZeroDivisionError())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["page.html", "video.mkv"])
def test_ctrl_c_leaves_no_file(tmp_path: Path, sample: Sample, name: str) -> None:
    import signal

    path = sample(media.cfr, frames=48)
    # an echoed command shows that ffmpeg has started
    child = spawn(
        *("compare", path, path, "--reference", path, "-o", tmp_path / name, "-v", *QUICK),
        TMPDIR=str(tmp_path),
    )
    assert child.stderr is not None
    while "$ " not in (line := child.stderr.readline()):
        assert line, "ended before ffmpeg was started"
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "vsr: stopped" in err
    assert out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "f.mkv", "--at", "1"), "--start and --seconds"),
        (("-o", "f.png", "--at", "0", "--at", "1"), "one time"),
        (("-o", "-"), "a file, not a stream"),
        (("--layout", "side"), "--layout is for a video or an image"),
        (("--zoom", "2"), "--zoom is for a video or an image"),
        (("--no-labels",), "--no-labels"),
        (("--crf", "20"), "--codec and --crf are for a video"),
        (("--json",), "need --reference"),
        (("--seconds", "0"), "compares nothing"),
        (("--labels", "a"), "names 1 of 2 videos"),
        (("--crop", "1,2,3"), "320,180,160x120"),
        (("--crop", "100,0,64x64"), "not inside"),
        (("-o", "f.png", "--crop", "100,0,64x64"), "not inside"),
    ],
)
def test_wrong_usage(
    vsr: Vsr,
    trio: Trio,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    target = () if "-o" in options else ("-o", "page.html")
    vsr("compare", *trio[:2], *target, *options).fails(2, message)
    assert not list(tmp_path.iterdir())


def test_a_device_is_not_replaced(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.html")
    vsr("compare", *trio[:2], "-o", tmp_path / "pipe.html", "--overwrite").fails(1, "no regular file")
    assert (tmp_path / "pipe.html").is_fifo()


def test_impossible_comparisons_are_refused(vsr: Vsr, trio: Trio, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    vsr("compare", trio[0], "-o", page).fails(2, "name two or more")
    vsr("compare", trio[0], tmp_path / "missing.mkv", "-o", page).fails(1, "missing.mkv")
    vsr("compare", trio[0], ".").fails(1, "is a folder")
    vsr("compare", *trio[:2], "-o", page, "--at", "9").fails(1, "--at 9", "before 0.5")
    vsr("compare", *trio, "-o", tmp_path / "f.mkv", "--layout", "split").fails(2, "two videos, not 3")
    vsr("compare", *trio[:2], "-o", tmp_path / "f.jpg").fails(1, "f.jpg")
    assert not list(tmp_path.iterdir())
