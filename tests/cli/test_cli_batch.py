"""``vsr batch``: complete batches of tiny videos, stopped, killed and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

import media_samples as media
from terminal import Outcome, complete, eventually, is_alive, read_until, spawn
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, prepare_job
from vsrcli.batch import planning, runner, task
from vsrcli.cli import batch
from vsrcli.cli.batch_report import write_document
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.system.files import WorkDir

Vsr = Callable[..., Outcome]
FAST = ("-m", "bicubic", "-s", "2", "-e", "preset=ultrafast")
SLOW = ("-m", "bicubic", "-t", "16", "--overlap", "3", "-e", "preset=ultrafast", "--segment", "12")


@pytest.fixture(autouse=True)
def no_orphans() -> Iterator[None]:
    """No test may leave a worker or an ffmpeg behind."""
    yield
    assert psutil.Process().children(recursive=True) == []


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a tiny x2 network with a memory."""
    return tiny_weights(tmp_path_factory.mktemp("weights"), "recurrent")


@pytest.fixture
def videos(sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``videos`` with a video and a folder of two more, in the current folder."""
    folder = tmp_path / "videos"
    (folder / "s1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name, path in (
        ("a.mp4", sample(media.cfr)),
        ("s1/b.mkv", sample(media.vfr, suffix=".mkv")),
        ("s1/c.mp4", sample(media.cfr, frames=24)),
    ):
        (folder / name).write_bytes(path.read_bytes())
    return folder


def listed(folder: Path) -> list[str]:
    """Return the relative paths of all files but the ledger."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.endswith(".vsr-batch.jsonl"))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of all files, which change when a file is written again."""
    return {
        name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in listed(folder)
    }


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {video["name"]: video["status"] for video in document["videos"]}


def frames(path: Path) -> list[str]:
    """Return a line for each decoded frame: its time and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def test_a_tree_is_mirrored_and_finished_videos_are_skipped(videos: Path, vsr: Vsr) -> None:
    (videos / "notes.txt").write_text("no video")
    first = vsr("batch", "-r", "videos", "out", *FAST, "--json", "-")
    assert first.status == 0, first.err
    assert listed(Path("out")) == ["a.mp4", "s1/b.mkv", "s1/c.mp4"]
    assert statuses(json.loads(first.out)) == {"a.mp4": "done", "s1/b.mkv": "done", "s1/c.mp4": "done"}
    before = identities(Path("out"))
    again = vsr("batch", "-r", "videos", "out", *FAST, "--json", "-", "-v")
    assert again.status == 0, again.err
    assert set(statuses(json.loads(again.out)).values()) == {"skipped"}
    assert identities(Path("out")) == before
    assert "files ignored that are not videos: 1" in again.err
    assert again.err.rstrip().endswith("3 videos: 3 skipped")


def test_outputs_are_those_of_upscale(videos: Path, vsr: Vsr) -> None:
    assert vsr("batch", "videos/s1", "out", *FAST).status == 0
    assert vsr("upscale", "videos/s1/c.mp4", "single.mp4", *FAST).status == 0
    assert frames(Path("out/c.mp4")) == frames(Path("single.mp4"))


def test_a_failure_stops_no_other_video(videos: Path, vsr: Vsr) -> None:
    (videos / "s1" / "bad.mp4").write_bytes(b"nonsense" * 99)
    cut = media.truncated(videos / "s1" / "c.mp4", fraction=0.7)
    done = vsr("batch", "-r", "videos", "out", *FAST, "--json", "result.json")
    assert done.status == 3
    found = json.loads(Path("result.json").read_text(encoding="utf-8"))
    wrong = {video["name"]: video["reason"] for video in found["videos"] if video["status"] == "failed"}
    assert set(wrong) == {"s1/bad.mp4", f"s1/{cut.name}"}
    assert "not a video" in wrong["s1/bad.mp4"]
    assert "s1/c.mp4" in listed(Path("out"))
    assert f"s1/{cut.name}" not in listed(Path("out"))
    lines = done.err.splitlines()
    assert any(line.startswith("failed: s1/bad.mp4: ") for line in lines)
    assert "Traceback" not in done.err


def test_an_unexpected_error_of_one_video_stops_no_other(
    videos: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(source: Path, *arguments: Any) -> Any:
        if source.stem == "a":
            raise IndexError("list index out of range")
        return prepare_job(source, *arguments)

    monkeypatch.setattr(planning, "prepare_job", failing)
    done = vsr("batch", "-r", "videos", "out", *FAST, "--json", "-")
    assert done.status == 3
    found = json.loads(done.out)
    assert statuses(found) == {"a.mp4": "failed", "s1/b.mkv": "done", "s1/c.mp4": "done"}
    assert found["videos"][0]["reason"] == "unexpected IndexError list index out of range"


def test_the_document_is_written_into_pipes_and_through_links(tmp_path: Path) -> None:
    """And no other file is left in the folder."""
    pipe, link, file = tmp_path / "pipe", tmp_path / "link", tmp_path / "file"
    os.mkfifo(pipe)
    link.symlink_to(file)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_document({"version": 1}, str(pipe))
        assert json.loads(os.read(reader, 1000)) == {"version": 1}
    finally:
        os.close(reader)
    write_document({"version": 2}, str(link))
    assert json.loads(file.read_text(encoding="utf-8")) == {"version": 2}
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link", "pipe"]


def test_a_named_file_that_is_missing_fails_alone_even_when_quiet(videos: Path, vsr: Vsr) -> None:
    done = vsr("batch", "nowhere.mp4", "videos/a.mp4", "out", *FAST, "-q")
    assert (done.status, done.out) == (3, "")
    assert done.err.splitlines() == ["failed: nowhere.mp4: nowhere.mp4 does not exist; check the name"]
    assert listed(Path("out")) == ["a.mp4"]


def test_fail_fast(videos: Path, vsr: Vsr) -> None:
    done = vsr("batch", "nowhere.mp4", "videos/a.mp4", "out", *FAST, "--fail-fast", "--json", "-")
    assert done.status == 3
    assert statuses(json.loads(done.out)) == {"nowhere.mp4": "failed", "a.mp4": "waiting"}
    assert not Path("out").exists()


def test_a_changed_source_is_upscaled_again_only_with_y(videos: Path, vsr: Vsr) -> None:
    assert vsr("batch", "-r", "videos", "out", *FAST).status == 0
    before = identities(Path("out"))
    (videos / "a.mp4").write_bytes((videos / "s1" / "c.mp4").read_bytes())
    result = vsr("batch", "-r", "videos", "out", *FAST)
    assert result.status == 3
    assert "was created from another source; -y replaces it" in result.err
    assert identities(Path("out")) == before
    assert vsr("batch", "-r", "videos", "out", *FAST, "-y").status == 0
    after = identities(Path("out"))
    assert after.pop("a.mp4") != before.pop("a.mp4")
    assert after == before  # finished videos stay, whatever -y says
    assert len(frames(Path("out/a.mp4"))) == 24


def test_changed_options_are_noticed(videos: Path, vsr: Vsr) -> None:
    assert vsr("batch", "videos", "out", *FAST).status == 0
    result = vsr("batch", "videos", "out", *FAST, "--crf", "30")
    assert result.status == 3
    assert "out/a.mp4 was created with another --crf; -y replaces it, or move it away" in result.err
    same = vsr("batch", "videos", "out", *FAST, "--tile", "32", "--max-memory", "8G", "--no-resume")
    assert same.status == 0, same.err  # these do not change the output


def test_a_file_of_unknown_origin_is_neither_replaced_nor_finished(videos: Path, vsr: Vsr) -> None:
    Path("out").mkdir()
    Path("out/a.mp4").write_bytes(b"holiday")
    result = vsr("batch", "videos", "out", *FAST)
    assert result.status == 3
    assert "out/a.mp4 exists, but no batch has created it; -y replaces it, or move it away" in result.err
    assert Path("out/a.mp4").read_bytes() == b"holiday"


def test_a_pattern_in_quotes_a_container_and_a_name(videos: Path, vsr: Vsr) -> None:
    line = ("--container", "mkv", "--name", "{stem}_x{scale}")
    assert vsr("batch", "videos/**/*.mp4", "out", *FAST, *line).status == 0
    assert listed(Path("out")) == ["a_x2.mkv", "s1/c_x2.mkv"]


def test_an_output_folder_within_the_input_is_no_input(videos: Path, vsr: Vsr) -> None:
    for _ in range(2):
        done = vsr("batch", "-r", "videos", "videos/out", *FAST, "--json", "-")
        assert done.status == 0, done.err
        assert len(json.loads(done.out)["videos"]) == 3
    assert listed(videos / "out") == ["a.mp4", "s1/b.mkv", "s1/c.mp4"]


def test_two_videos_with_one_target_are_refused(videos: Path, vsr: Vsr) -> None:
    line = ("videos/a.mp4", "videos/s1/c.mp4", "out", "--name", "same{stem:.0}", *FAST)
    vsr("batch", *line).fails(2, "videos/a.mp4", "videos/s1/c.mp4")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (("videos", "videos/a.mp4"), "videos/a.mp4 is not a folder"),
        (("videos/*.avi", "out"), "videos/*.avi"),
        (("videos", "out", "--name", "{year}"), "{year}"),
        (("videos", "out", "--json", "nowhere/x.json"), "nowhere"),
        (("videos", "out", "--json", "videos"), "this is a folder"),
        (("videos", "out", "--end", "1", "--start", "2"), "--end"),
        (("videos", "out", "-j", "0"), "-j"),
        (("videos",), "IN"),
    ],
)
def test_wrong_usage(line: tuple[str, ...], word: str, videos: Path, vsr: Vsr) -> None:
    vsr("batch", *line).fails(2, word)
    assert not Path("out").exists()


def test_an_unknown_model_is_one_error(videos: Path, vsr: Vsr) -> None:
    vsr("batch", "-r", "videos", "out", "-m", "nonsense").fails(1, "nonsense")


def test_a_dry_run_lists_every_video_and_writes_nothing(videos: Path, vsr: Vsr) -> None:
    assert vsr("batch", "videos", "out", *FAST).status == 0
    before = identities(Path("out"))
    (videos / "s1" / "bad.mp4").write_bytes(b"nonsense" * 99)
    result = vsr("batch", "-r", "videos", "out", *FAST, "-n", "--json", "-")
    assert result.status == 3
    document = json.loads(result.out)
    assert document["dry_run"] is True
    expected = {"a.mp4": "skipped", "s1/b.mkv": "waiting", "s1/bad.mp4": "failed", "s1/c.mp4": "waiting"}
    assert statuses(document) == expected
    assert "out/s1/c.mp4" in result.err
    assert "2 of 4 videos would be upscaled; nothing was written" in result.err
    assert identities(Path("out")) == before


def test_the_document_is_as_documented(videos: Path, vsr: Vsr) -> None:
    (videos / "bad.mp4").write_bytes(b"nonsense" * 99)
    document = json.loads(vsr("batch", "-r", "videos", "out", *FAST, "--json", "-").out)
    page = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
    for key in (*document, *document["videos"][0], *document["counts"]):
        assert f"`{key}`" in page, key
    assert document["version"] == 2
    assert document["exit_status"] == 3
    assert document["counts"] == {
        "done": 3, "skipped": 0, "failed": 1, "elsewhere": 0, "stopped": 0, "waiting": 0
    }  # fmt: skip
    video = document["videos"][0]
    assert (video["source"], video["target"]) == (str(Path("videos", "a.mp4")), str(Path("out", "a.mp4")))
    assert video["frames"] == 12
    assert video["fps"] == pytest.approx(12 / video["seconds"], rel=0.05)


def test_the_model_is_loaded_once(
    videos: Path, network: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    before, loaded = task.open_engine, []

    def load(choice: Any, **options: Any) -> Any:
        loaded.append(choice.name)
        return before(choice, **options)

    monkeypatch.setattr(task, "open_engine", load)
    media.encoded(videos, "z.mkv", "null", ("-c:v", "libx264", "-pix_fmt", "yuv420p"), size="48x32")
    done = vsr(
        "batch", "-r", "videos", "out", "-m", network, "-s", "2", "-g", "cpu", "-e", "preset=ultrafast"
    )
    assert done.status == 0, done.err
    assert len(listed(Path("out"))) == 4
    assert len(loaded) == 1


def test_two_at_a_time_give_the_same_frames(videos: Path, network: Path, vsr: Vsr) -> None:
    line = ("-m", network, "-s", "2", "-g", "cpu", "-e", "preset=ultrafast", "--json", "-")
    alone = vsr("batch", "-r", "videos", "alone", *line)
    together = vsr("batch", "-r", "videos", "together", *line, "-j", "2")
    assert (alone.status, together.status) == (0, 0), together.err
    assert json.loads(together.out)["jobs"] == 2
    for name in ("a.mp4", "s1/b.mkv", "s1/c.mp4"):
        assert frames(Path("together", name)) == frames(Path("alone", name))
    before = identities(Path("together"))
    assert vsr("batch", "-r", "videos", "together", *line).status == 0
    assert identities(Path("together")) == before


@pytest.mark.parametrize("segments", [(), ("--segment", "none")])
def test_a_video_that_another_run_is_writing_is_elsewhere(
    segments: tuple[str, ...], videos: Path, vsr: Vsr
) -> None:
    held = WorkDir(Path("out/s1/b.mkv").absolute())
    held.path.parent.mkdir(parents=True)
    held.open()
    outcome = vsr("batch", "-r", "videos", "out", *FAST, *segments, "--json", "report.json")
    assert outcome.status == 4
    assert "b.mkv" in outcome.err
    assert "3 videos: 2 done, 1 elsewhere" in outcome.err
    report = json.loads(Path("report.json").read_text())
    assert report["exit_status"] == 4
    assert report["counts"]["elsewhere"] == 1
    entry = next(each for each in report["videos"] if each["name"] == "s1/b.mkv")
    assert entry["status"] == "elsewhere"
    assert f"process {os.getpid()} on" in entry["reason"]
    held.close()
    outcome = vsr("batch", "-r", "videos", "out", *FAST)  # the other has died
    assert outcome.status == 0
    assert "3 videos: 1 done, 2 skipped" in outcome.err


@pytest.mark.parametrize("died", [True, False])
def test_a_video_elsewhere_is_looked_at_again_at_the_end(
    died: bool, videos: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = WorkDir(Path("out/s1/b.mkv").absolute())
    held.path.parent.mkdir(parents=True)
    held.open()
    upscale_one = runner.upscale_one

    def meanwhile(source: Path, *arguments: Any) -> Any:
        if source.name == "c.mp4":
            monkeypatch.setattr(runner, "upscale_one", upscale_one)
            held.close()
            if not died:
                assert vsr("batch", "-r", "videos", "out", *FAST).status == 0
        return upscale_one(source, *arguments)

    monkeypatch.setattr(runner, "upscale_one", meanwhile)
    outcome = vsr("batch", "-r", "videos", "out", *FAST)
    assert outcome.status == 0, outcome.err
    assert ("3 done" if died else "1 done, 2 skipped") in outcome.err
    assert listed(Path("out")) == ["a.mp4", "s1/b.mkv", "s1/c.mp4"]
    assert vsr("batch", "-r", "videos", "out", *FAST).err.count("skipped") >= 3


@pytest.mark.parametrize("step", ["plan_task", "prepare_in_scratch"])
def test_a_video_that_another_run_finishes_during_planning_is_skipped(
    step: str, videos: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = batch if step == "plan_task" else planning
    planned = getattr(module, step)

    def meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(module, step, planned)
        assert vsr("batch", "-r", "videos", "out", *FAST).status == 0
        return planned(*arguments)

    monkeypatch.setattr(module, step, meanwhile)
    outcome = vsr("batch", "-r", "videos", "out", *FAST)
    assert outcome.status == 0, outcome.err
    assert "3 skipped" in outcome.err


def test_memory_limits_the_number_at_a_time(videos: Path, vsr: Vsr) -> None:
    done = vsr("batch", "-r", "videos", "out", *FAST, "-j", "3", "--max-memory", "390M", "--json", "-")
    assert done.status == 0, done.err
    assert json.loads(done.out)["jobs"] < 3
    assert "-j 3: 390 MiB of memory are enough for" in done.err


def test_memory_is_enough_for_every_kind_of_video(
    sample: Callable[..., Path], videos: Path, vsr: Vsr, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of one size, of which the second takes more: it has 10 bits, so that x265 encodes it."""
    (videos / "b.mkv").write_bytes(sample(media.ten_bit).read_bytes())
    options = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="none")
    less, more = (
        prepare_job(videos / name, Path(name), options).memory_estimate().total for name in ("a.mp4", "b.mkv")
    )
    assert less < more
    monkeypatch.setattr(planning, "_free_memory", lambda device: less + more)
    done = vsr("batch", "videos", "out", *FAST, "--segment", "none", "-j", "2", "--json", "-")
    assert done.status == 0, done.err
    assert json.loads(done.out)["jobs"] == 1
    assert "-j 2: " in done.err


def test_workers_share_the_memory(videos: Path, vsr: Vsr) -> None:
    line = ("batch", "-r", "videos", "out", *FAST, "--workers", "3", "--max-memory", "390M")
    done = vsr(*line)
    assert done.status == 0, done.err
    assert "--workers 3: 390 MiB of memory are enough for" in done.err


@pytest.fixture
def long_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three videos that take longer than any test."""
    folder = tmp_path / "videos"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    first = media.cfr(folder, frames=400, audio=False)
    for name in ("b.mp4", "c.mp4"):
        (folder / name).write_bytes(first.read_bytes())
    first.rename(folder / "a.mp4")
    return folder


def journal(name: str) -> Path:
    return Path("out", f".{name}.vsr", "journal.json")


@pytest.mark.parametrize(
    ("sent", "status", "jobs"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)],
)
def test_stop_and_resume(sent: signal.Signals, status: int, jobs: int, long_videos: Path, vsr: Vsr) -> None:
    line = ("batch", "videos", "out", *SLOW, "--frames", "36", "-j", str(jobs), "--json", "result.json")
    child = spawn(*line, cwd=long_videos.parent)

    def started() -> bool:
        """As many videos as jobs have started, one is running: a busy machine may finish the first before."""
        names = ("a.mp4", "b.mp4", "c.mp4")
        working = [name for name in names if journal(name).exists()]
        finished = [name for name in names if Path("out", name).exists()]
        return bool(working) and len({*working, *finished}) >= jobs

    try:
        eventually(started, within=120)
        child.send_signal(sent)
        done = complete(child, timeout=120)
    finally:
        child.kill()
        child.communicate()
    assert (done.status, done.out) == (status, ""), done.err
    assert "Traceback" not in done.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert document["exit_status"] == status
    reasons = [video["reason"] for video in document["videos"] if video["status"] == "stopped"]
    assert 1 <= len(reasons) <= jobs
    assert any(reason.endswith("frames are saved") for reason in reasons), reasons
    last, finished = done.err.splitlines()[-1], document["counts"]["done"]
    assert last.startswith(
        f"vsr: stopped; {finished} of 3 videos are finished; to resume: vsr batch videos out"
    )
    again = vsr(*line)
    assert again.status == 0, again.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert document["counts"]["skipped"] == finished
    assert 1 <= sum(video["resumed"] > 0 for video in document["videos"]) <= jobs
    assert listed(Path("out")) == ["a.mp4", "b.mp4", "c.mp4"]
    assert [len(frames(Path("out", name))) for name in listed(Path("out"))] == [36, 36, 36]


def test_a_killed_worker_costs_its_video_only(long_videos: Path, vsr: Vsr) -> None:
    line = ("batch", "videos", "out", *SLOW, "--frames", "36", "-j", "2", "--json", "result.json")
    child = spawn(*line, cwd=long_videos.parent)
    try:
        eventually(journal("a.mp4").exists, within=120)
        workers = [
            each for each in psutil.Process(child.pid).children() if "vsrcli.batch.worker" in each.cmdline()
        ]
        owner = json.loads(Path("out/.a.mp4.vsr/lock").read_text(encoding="utf-8"))["pid"]
        assert len(workers) == 2
        next(worker for worker in workers if worker.pid == owner).kill()
        done = complete(child, timeout=120)
    finally:
        child.kill()
        child.communicate()
    assert done.status == 3
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert statuses(document) == {"a.mp4": "failed", "b.mp4": "done", "c.mp4": "done"}
    assert "SIGKILL" in document["videos"][0]["reason"]
    eventually(lambda: not [each for each in psutil.process_iter() if _is_ours(each, long_videos)])
    again = vsr(*line)
    assert again.status == 0, again.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert statuses(document) == {"a.mp4": "done", "b.mp4": "skipped", "c.mp4": "skipped"}
    assert document["videos"][0]["resumed"] > 0


def test_workers_end_with_the_batch_that_started_them(long_videos: Path) -> None:
    child = spawn("batch", "videos", "out", *SLOW, "-j", "2", cwd=long_videos.parent)
    try:
        eventually(journal("a.mp4").exists, within=120)
        workers = psutil.Process(child.pid).children()
    finally:
        child.kill()
        child.communicate()
    assert len(workers) >= 2
    eventually(lambda: not any(is_alive(each) for each in workers))


def test_plain_lines(videos: Path) -> None:
    child = spawn("batch", "-r", "videos", "out", *FAST, cwd=videos.parent)
    start = read_until(child, "[1/3] a.mp4: started")
    done = complete(child, stderr=start)
    assert done.status == 0
    lines = done.err.splitlines()
    assert any(line.startswith("[3/3] s1/c.mp4: done, 24 frames in ") for line in lines)
    assert lines[-1] == "3 videos: 3 done"
    assert "\x1b" not in done.err


def _is_ours(process: psutil.Process, folder: Path) -> bool:
    """Return whether a process is an ffmpeg of this test, which ends after its worker."""
    try:
        return "ffmpeg" in process.name() and any(str(folder.parent) in each for each in process.cmdline())
    except psutil.Error:
        return False
