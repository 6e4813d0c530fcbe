"""``vsr batch``: whole batches of tiny films, stopped, killed and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import media_samples as media
from terminal import Outcome, complete, eventually, goes_on, read_until, spawn
from tiny_networks import tiny_weights
from vsrcli.batch import task
from vsrcli.cli.batch import write_document
from vsrcli.media.ffmpeg import find_ffmpeg

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
def films(sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """``films`` with a film and a folder of two more; the current folder is above it."""
    folder = tmp_path / "films"
    (folder / "s1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for name, made in (
        ("a.mp4", sample(media.cfr)),
        ("s1/b.mkv", sample(media.vfr, suffix=".mkv")),
        ("s1/c.mp4", sample(media.cfr, frames=24)),
    ):
        (folder / name).write_bytes(made.read_bytes())
    return folder


def listed(folder: Path) -> list[str]:
    """Every visible file, and what work is left."""
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if not name.endswith(".vsr-batch.jsonl"))


def identities(folder: Path) -> dict[str, tuple[int, int]]:
    """Which files these are: another inode or time means that they have been written again."""
    return {
        name: ((folder / name).stat().st_ino, (folder / name).stat().st_mtime_ns) for name in listed(folder)
    }


def statuses(document: dict[str, Any]) -> dict[str, str]:
    return {film["name"]: film["status"] for film in document["films"]}


def frames(path: Path) -> list[str]:
    """One line for each decoded picture: its time and the MD5 of its pixels."""
    command = [find_ffmpeg().path, "-v", "error", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough"]
    done = subprocess.run([*command, "-f", "framemd5", "-"], capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if not line.startswith("#")]


def test_a_tree_is_mirrored_and_finished_films_are_skipped(films: Path, vsr: Vsr) -> None:
    (films / "notes.txt").write_text("no film")
    first = vsr("batch", "-r", "films", "out", *FAST, "--json", "-")
    assert first.status == 0, first.err
    assert listed(Path("out")) == ["a.mp4", "s1/b.mkv", "s1/c.mp4"]
    assert statuses(json.loads(first.out)) == {"a.mp4": "done", "s1/b.mkv": "done", "s1/c.mp4": "done"}
    before = identities(Path("out"))
    again = vsr("batch", "-r", "films", "out", *FAST, "--json", "-", "-v")
    assert again.status == 0, again.err
    assert set(statuses(json.loads(again.out)).values()) == {"skipped"}
    assert identities(Path("out")) == before
    assert "files passed over that are no films: 1" in again.err
    assert again.err.rstrip().endswith("3 films: 3 skipped")


def test_it_makes_the_films_that_upscale_makes(films: Path, vsr: Vsr) -> None:
    assert vsr("batch", "films/s1", "out", *FAST).status == 0
    assert vsr("upscale", "films/s1/c.mp4", "single.mp4", *FAST).status == 0
    assert frames(Path("out/c.mp4")) == frames(Path("single.mp4"))


def test_a_bad_film_in_the_middle_stops_no_other(films: Path, vsr: Vsr) -> None:
    (films / "s1" / "bad.mp4").write_bytes(b"nonsense" * 99)
    cut = media.truncated(films / "s1" / "c.mp4", fraction=0.7)
    done = vsr("batch", "-r", "films", "out", *FAST, "--json", "result.json")
    assert done.status == 3
    found = json.loads(Path("result.json").read_text(encoding="utf-8"))
    wrong = {film["name"]: film["reason"] for film in found["films"] if film["status"] == "failed"}
    assert set(wrong) == {"s1/bad.mp4", f"s1/{cut.name}"}
    assert "not a video" in wrong["s1/bad.mp4"]
    assert "s1/c.mp4" in listed(Path("out"))
    assert f"s1/{cut.name}" not in listed(Path("out"))
    lines = done.err.splitlines()
    assert any(line.startswith("failed: s1/bad.mp4: ") for line in lines)
    assert "Traceback" not in done.err


def test_a_document_goes_where_its_name_leads(tmp_path: Path) -> None:
    """Into a pipe (or device) itself, through a link, and never leaving something beside them."""
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


def test_a_named_file_that_is_missing_fails_alone_even_when_quiet(films: Path, vsr: Vsr) -> None:
    done = vsr("batch", "nowhere.mp4", "films/a.mp4", "out", *FAST, "-q")
    assert (done.status, done.out) == (3, "")
    assert done.err.splitlines() == ["failed: nowhere.mp4: nowhere.mp4 does not exist; check the name"]
    assert listed(Path("out")) == ["a.mp4"]


def test_fail_fast(films: Path, vsr: Vsr) -> None:
    done = vsr("batch", "nowhere.mp4", "films/a.mp4", "out", *FAST, "--fail-fast", "--json", "-")
    assert done.status == 3
    assert statuses(json.loads(done.out)) == {"nowhere.mp4": "failed", "a.mp4": "waiting"}
    assert not Path("out").exists()


def test_a_changed_source_is_noticed_and_made_anew_only_when_asked(films: Path, vsr: Vsr) -> None:
    assert vsr("batch", "-r", "films", "out", *FAST).status == 0
    before = identities(Path("out"))
    (films / "a.mp4").write_bytes((films / "s1" / "c.mp4").read_bytes())
    told = vsr("batch", "-r", "films", "out", *FAST)
    assert told.status == 3
    assert "was made of another source; -y makes it anew" in told.err
    assert identities(Path("out")) == before
    assert vsr("batch", "-r", "films", "out", *FAST, "-y").status == 0
    after = identities(Path("out"))
    assert after.pop("a.mp4") != before.pop("a.mp4")
    assert after == before  # finished films stay, whatever -y says
    assert len(frames(Path("out/a.mp4"))) == 24


def test_changed_options_are_noticed(films: Path, vsr: Vsr) -> None:
    assert vsr("batch", "films", "out", *FAST).status == 0
    told = vsr("batch", "films", "out", *FAST, "--crf", "30")
    assert told.status == 3
    assert "out/a.mp4 was made with another --crf; -y makes it anew, or move it away" in told.err
    same = vsr("batch", "films", "out", *FAST, "--tile", "32", "--max-memory", "8G", "--no-resume")
    assert same.status == 0, same.err  # these make no other film


def test_a_file_of_unknown_origin_is_never_replaced_nor_taken_for_finished(films: Path, vsr: Vsr) -> None:
    Path("out").mkdir()
    Path("out/a.mp4").write_bytes(b"holiday")
    told = vsr("batch", "films", "out", *FAST)
    assert told.status == 3
    assert "out/a.mp4 exists, but no batch has made it; -y makes it anew, or move it away" in told.err
    assert Path("out/a.mp4").read_bytes() == b"holiday"


def test_a_pattern_in_quotes_a_container_and_a_name(films: Path, vsr: Vsr) -> None:
    line = ("--container", "mkv", "--name", "{stem}_x{scale}")
    assert vsr("batch", "films/**/*.mp4", "out", *FAST, *line).status == 0
    assert listed(Path("out")) == ["a_x2.mkv", "s1/c_x2.mkv"]


def test_an_output_folder_among_the_films_is_no_input(films: Path, vsr: Vsr) -> None:
    for _ in range(2):
        done = vsr("batch", "-r", "films", "films/out", *FAST, "--json", "-")
        assert done.status == 0, done.err
        assert len(json.loads(done.out)["films"]) == 3
    assert listed(films / "out") == ["a.mp4", "s1/b.mkv", "s1/c.mp4"]


def test_two_films_of_one_name_are_refused_before_anything_starts(films: Path, vsr: Vsr) -> None:
    line = ("films/a.mp4", "films/s1/c.mp4", "out", "--name", "same{stem:.0}", *FAST)
    vsr("batch", *line).fails(2, "films/a.mp4", "films/s1/c.mp4")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("line", "word"),
    [
        (("films", "films/a.mp4"), "films/a.mp4 is no folder"),
        (("films/*.avi", "out"), "films/*.avi"),
        (("films", "out", "--name", "{year}"), "{year}"),
        (("films", "out", "--json", "nowhere/x.json"), "nowhere"),
        (("films", "out", "--end", "1", "--start", "2"), "--end"),
        (("films", "out", "-j", "0"), "-j"),
        (("films",), "IN"),
    ],
)
def test_wrong_usage(line: tuple[str, ...], word: str, films: Path, vsr: Vsr) -> None:
    vsr("batch", *line).fails(2, word)
    assert not Path("out").exists()


def test_a_model_that_is_unknown_is_said_once(films: Path, vsr: Vsr) -> None:
    vsr("batch", "-r", "films", "out", "-m", "nonsense").fails(1, "nonsense")


def test_a_dry_run_tells_each_films_fate_and_writes_nothing(films: Path, vsr: Vsr) -> None:
    assert vsr("batch", "films", "out", *FAST).status == 0
    before = identities(Path("out"))
    (films / "s1" / "bad.mp4").write_bytes(b"nonsense" * 99)
    told = vsr("batch", "-r", "films", "out", *FAST, "-n", "--json", "-")
    assert told.status == 3
    document = json.loads(told.out)
    assert document["dry_run"] is True
    expected = {"a.mp4": "skipped", "s1/b.mkv": "waiting", "s1/bad.mp4": "failed", "s1/c.mp4": "waiting"}
    assert statuses(document) == expected
    assert "out/s1/c.mp4" in told.err
    assert "2 of 4 films would be made; nothing was written" in told.err
    assert identities(Path("out")) == before


def test_the_document_is_what_the_manual_says(films: Path, vsr: Vsr) -> None:
    (films / "bad.mp4").write_bytes(b"nonsense" * 99)
    document = json.loads(vsr("batch", "-r", "films", "out", *FAST, "--json", "-").out)
    manual = (Path(__file__).parents[2] / "docs" / "batch.md").read_text(encoding="utf-8")
    for key in (*document, *document["films"][0], *document["counts"]):
        assert f"`{key}`" in manual, key
    assert document["version"] == 1
    assert document["exit_status"] == 3
    assert document["counts"] == {"done": 3, "skipped": 0, "failed": 1, "stopped": 0, "waiting": 0}
    film = document["films"][0]
    assert (film["source"], film["target"]) == (os.path.join("films", "a.mp4"), os.path.join("out", "a.mp4"))
    assert film["frames"] == 12
    assert film["fps"] == pytest.approx(12 / film["seconds"], rel=0.05)


def test_the_model_is_loaded_once(
    films: Path, network: Path, monkeypatch: pytest.MonkeyPatch, vsr: Vsr
) -> None:
    before, loaded = task.open_engine, []

    def load(choice: Any, **asked: Any) -> Any:
        loaded.append(choice.name)
        return before(choice, **asked)

    monkeypatch.setattr(task, "open_engine", load)
    media.encoded(films, "z.mkv", "null", ("-c:v", "libx264", "-pix_fmt", "yuv420p"), size="48x32")
    done = vsr("batch", "-r", "films", "out", "-m", network, "-s", "2", "-g", "cpu", "-e", "preset=ultrafast")
    assert done.status == 0, done.err
    assert len(listed(Path("out"))) == 4
    assert len(loaded) == 1


def test_two_at_a_time_give_the_same_frames(films: Path, network: Path, vsr: Vsr) -> None:
    line = ("-m", network, "-s", "2", "-g", "cpu", "-e", "preset=ultrafast", "--json", "-")
    alone = vsr("batch", "-r", "films", "alone", *line)
    together = vsr("batch", "-r", "films", "together", *line, "-j", "2")
    assert (alone.status, together.status) == (0, 0), together.err
    assert json.loads(together.out)["jobs"] == 2
    for name in ("a.mp4", "s1/b.mkv", "s1/c.mp4"):
        assert frames(Path("together", name)) == frames(Path("alone", name))
    before = identities(Path("together"))
    assert vsr("batch", "-r", "films", "together", *line).status == 0
    assert identities(Path("together")) == before


def test_more_at_a_time_than_memory_allows_are_made_fewer(films: Path, vsr: Vsr) -> None:
    done = vsr("batch", "-r", "films", "out", *FAST, "-j", "3", "--max-memory", "390M", "--json", "-")
    assert done.status == 0, done.err
    assert json.loads(done.out)["jobs"] < 3
    assert "-j 3: 390 MiB of memory are enough for" in done.err


@pytest.fixture
def long_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three films that take far longer than a test reads along."""
    folder = tmp_path / "films"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    first = media.cfr(folder, frames=400, audio=False)
    for name in ("b.mp4", "c.mp4"):
        (folder / name).write_bytes(first.read_bytes())
    first.rename(folder / "a.mp4")
    return folder


def kept(name: str) -> Path:
    return Path("out", f".{name}.vsr", "journal.json")


@pytest.mark.parametrize(
    ("sent", "status", "jobs"),
    [(signal.SIGINT, 130, 1), (signal.SIGTERM, 143, 2)],
)
def test_stopped_and_gone_on_with(
    sent: signal.Signals, status: int, jobs: int, long_films: Path, vsr: Vsr
) -> None:
    line = ("batch", "films", "out", *SLOW, "--frames", "36", "-j", str(jobs), "--json", "result.json")
    child = spawn(*line, cwd=long_films.parent)

    def begun() -> bool:
        """As many films as jobs, and one is being made: a busy machine may finish the first before that."""
        names = ("a.mp4", "b.mp4", "c.mp4")
        working = [name for name in names if kept(name).exists()]
        finished = [name for name in names if Path("out", name).exists()]
        return bool(working) and len({*working, *finished}) >= jobs

    try:
        eventually(begun, within=120)
        child.send_signal(sent)
        done = complete(child, timeout=120)
    finally:
        child.kill()
        child.communicate()
    assert (done.status, done.out) == (status, ""), done.err
    assert "Traceback" not in done.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert document["exit_status"] == status
    reasons = [film["reason"] for film in document["films"] if film["status"] == "stopped"]
    assert 1 <= len(reasons) <= jobs
    assert any(reason.endswith("frames are kept") for reason in reasons), reasons
    last, finished = done.err.splitlines()[-1], document["counts"]["done"]
    assert last.startswith(f"vsr: stopped; {finished} of 3 films are finished; to go on: vsr batch films out")
    again = vsr(*line)
    assert again.status == 0, again.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert document["counts"]["skipped"] == finished
    assert 1 <= sum(film["resumed"] > 0 for film in document["films"]) <= jobs
    assert listed(Path("out")) == ["a.mp4", "b.mp4", "c.mp4"]
    assert [len(frames(Path("out", name))) for name in listed(Path("out"))] == [36, 36, 36]


def test_a_worker_that_is_killed_costs_its_film_only(long_films: Path, vsr: Vsr) -> None:
    line = ("batch", "films", "out", *SLOW, "--frames", "36", "-j", "2", "--json", "result.json")
    child = spawn(*line, cwd=long_films.parent)
    try:
        eventually(kept("a.mp4").exists, within=120)
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
    assert "SIGKILL" in document["films"][0]["reason"]
    eventually(lambda: not [each for each in psutil.process_iter() if _mine(each, long_films)])
    again = vsr(*line)
    assert again.status == 0, again.err
    document = json.loads(Path("result.json").read_text(encoding="utf-8"))
    assert statuses(document) == {"a.mp4": "done", "b.mp4": "skipped", "c.mp4": "skipped"}
    assert document["films"][0]["resumed"] > 0


def test_workers_end_with_the_batch_that_started_them(long_films: Path) -> None:
    child = spawn("batch", "films", "out", *SLOW, "-j", "2", cwd=long_films.parent)
    try:
        eventually(kept("a.mp4").exists, within=120)
        workers = psutil.Process(child.pid).children()
    finally:
        child.kill()
        child.communicate()
    assert len(workers) >= 2
    eventually(lambda: not any(goes_on(each) for each in workers))


def test_plain_lines_tell_how_it_goes(films: Path) -> None:
    child = spawn("batch", "-r", "films", "out", *FAST, cwd=films.parent)
    said = read_until(child, "[1/3] a.mp4: begun")
    done = complete(child, already=said)
    assert done.status == 0
    lines = done.err.splitlines()
    assert any(line.startswith("[3/3] s1/c.mp4: done, 24 frames in ") for line in lines)
    assert lines[-1] == "3 films: 3 done"
    assert "\x1b" not in done.err


def _mine(process: psutil.Process, folder: Path) -> bool:
    """Whether it is an ffmpeg of this test's films, which its worker's end takes with it."""
    try:
        return "ffmpeg" in process.name() and any(str(folder.parent) in each for each in process.cmdline())
    except psutil.Error:
        return False
