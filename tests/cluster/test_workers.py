"""``--workers N``: the bytes of one process, whatever happens to the workers; no process is left behind."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import psutil
import pytest

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job
from vsrcli.cli.cluster_options import WorkerRequest
from vsrcli.cluster import places, video, worker
from vsrcli.cluster.coordinator import Coordinator
from vsrcli.cluster.driver import Limits
from vsrcli.cluster.places import Place
from vsrcli.cluster.run import run_on_workers
from vsrcli.cluster.tasks import Setup, Task
from vsrcli.errors import EngineError, UsageError
from vsrcli.inference import engine_plan, keras
from vsrcli.media.ffmpeg import find_ffmpeg
from vsrcli.pipeline import pieces
from vsrcli.pipeline.checkpoint import changed_keys, fingerprint
from vsrcli.pipeline.memory import MemoryBudget
from vsrcli.pipeline.options import TunedSetting
from vsrcli.pipeline.plan import Piece, PlanRules
from vsrcli.pipeline.progress import CallbackReporter, Reporter
from vsrcli.pipeline.scan import PieceStart
from vsrcli.system.files import remove_temporary_files, workdir_for
from vsrcli.system.signals import CancelToken

Sample = Callable[..., Path]
RULES = PlanRules(Fraction(1), Fraction(2), warmup_frames=4)
SHOTS = Options(Fraction(2), "bicubic", encode=EncodeOptions(preset="ultrafast"), segment="shots")
WORKER = "vsrcli.cluster.worker"
KERNEL_FILE = Path("/proc/sys/kernel/ostype")


def long_shot(folder: Path) -> Path:
    """A video of 12 s at 10 frames a second, one shot: six pieces."""
    path = folder / "long.mkv"
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=64x48:r=10:d=12", "-c:v", "libx264", path)
    return path


@pytest.fixture(autouse=True)
def short_pieces(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in (pieces, video):
        monkeypatch.setattr(module, "rules_for", lambda job: RULES)
    yield
    left = psutil.Process().children(recursive=True)
    assert left == [], [each.as_dict(["pid", "status", "cmdline"]) for each in left]


def worker_pids() -> list[int]:
    """Return the process ids of this process's workers."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.Error):
            if WORKER in child.cmdline():
                found.append(child.pid)
    return found


def reference(source: Path, folder: Path, options: Options = SHOTS) -> bytes:
    """Return the bytes that one process writes."""
    run_job(prepare_job(source, folder / "reference.mp4", options))
    return (folder / "reference.mp4").read_bytes()


@pytest.mark.parametrize("model", ["bicubic", pytest.param("recurrent", marks=pytest.mark.slow)])
def test_two_workers_write_the_bytes_of_one(model: str, sample: Sample, tmp_path: Path) -> None:
    source, target, options = sample(long_shot), tmp_path / "out.mp4", SHOTS
    if model != "bicubic":
        options = replace(SHOTS, model=str(tiny_weights(tmp_path, model)), engine="keras")
    seen: list[Progress] = []
    result = run_on_workers(prepare_job(source, target, options), 2, CallbackReporter(seen.append, None))
    assert target.read_bytes() == reference(source, tmp_path, options)
    assert (result.frames, result.shots, result.resumed) == (120, 1, 0)
    assert seen[-1].done == 120
    assert not workdir_for(target).exists()


def test_a_killed_worker_costs_its_piece_only(sample: Sample, tmp_path: Path) -> None:
    source, target, killed, notices = sample(long_shot), tmp_path / "out.mp4", list[int](), list[str]()

    def kill_one(progress: Progress) -> None:
        if not killed and progress.done < 100:
            killed.append(worker_pids()[0])
            os.kill(killed[0], signal.SIGKILL)

    job = prepare_job(source, target, SHOTS)
    run_on_workers(job, 2, CallbackReporter(kill_one, notices.append))
    assert target.read_bytes() == reference(source, tmp_path)
    assert killed
    assert any("another one takes its place" in text for text in notices)


def test_a_stopped_run_goes_on_from_its_pieces(sample: Sample, tmp_path: Path) -> None:
    class StopError(Exception):
        pass

    source, target, notices = sample(long_shot), tmp_path / "out.mp4", list[str]()

    def stop(progress: Progress) -> None:
        if progress.saved:
            raise StopError

    with suppress(StopError):
        run_on_workers(prepare_job(source, target, SHOTS), 2, CallbackReporter(stop, None))
    assert worker_pids() == []
    assert not target.exists()
    result = run_on_workers(prepare_job(source, target, SHOTS), 2, CallbackReporter(None, notices.append))
    assert result.resumed > 0
    assert notices[0].startswith("resuming at frame")
    assert target.read_bytes() == reference(source, tmp_path)


def test_a_video_that_workers_began_is_ended_by_one_process(sample: Sample, tmp_path: Path) -> None:
    source, target = sample(long_shot), tmp_path / "out.mp4"

    def stop(progress: Progress) -> None:
        if progress.saved:
            raise KeyError

    with suppress(KeyError):
        run_on_workers(prepare_job(source, target, SHOTS), 2, CallbackReporter(stop, None))
    assert run_job(prepare_job(source, target, SHOTS)).resumed > 0
    assert target.read_bytes() == reference(source, tmp_path)


@pytest.mark.slow
def test_a_worker_that_hangs_is_noticed(sample: Sample, tmp_path: Path) -> None:
    source, target, hung = sample(long_shot), tmp_path / "out.mp4", list[int]()

    def hang(progress: Progress) -> None:
        if not hung and progress.done < 100:
            hung.append(worker_pids()[0])
            os.kill(hung[0], signal.SIGSTOP)

    job = prepare_job(source, target, SHOTS)
    run_on_workers(job, 2, CallbackReporter(hang, None), limits=Limits(silence=5))
    assert target.read_bytes() == reference(source, tmp_path)
    assert not psutil.pid_exists(hung[0])


def test_a_worker_refuses_pieces_of_a_video_that_it_is_not_set_up_for(sample: Sample, tmp_path: Path) -> None:
    job, sent = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS), list[Any]()
    piece, file = Piece(3, 0, 10), tmp_path / "piece-3.mkv"
    with video.PlannedVideo(1, job, Reporter()) as planned:
        tasks = [Task(key, piece, PieceStart(), file) for key in (2, 1)]
        items = iter([tasks[1], planned.setup(Place("here", "here")), *tasks])
        worker.run(items, lambda *message: sent.append(message), CancelToken())
    assert [(kind, *rest[:2]) for kind, *rest in sent if kind in ("failed", "done")] == [
        ("failed", 1, 3),
        ("failed", 2, 3),
        ("done", 1, 3),
    ]
    assert "set up for another video" in sent[0][3]


def greetings(planned: video.PlannedVideo, place: Place) -> list[Any]:
    """Return what a worker in a place answers to the setup of a video."""
    sent: list[Any] = []
    worker.run(iter([planned.setup(place)]), lambda *message: sent.append(message), CancelToken())
    return [message for message in sent if message[0] in ("ready", "refused")]


def test_workers_of_a_tuned_run_take_part_and_go_on_with_an_earlier_one(
    sample: Sample, tmp_path: Path
) -> None:
    source, target, weights = sample(long_shot), tmp_path / "out.mp4", tiny_weights(tmp_path, "cached")
    options = replace(SHOTS, model=str(weights), device="cpu")
    name = weights.name.removesuffix(".weights.h5")
    tuned = replace(options, tuned=(TunedSetting(name, 64, 48, "cpu", "keras", "fp32", 48, "config.toml"),))
    before, after = (prepare_job(source, target, each) for each in (options, tuned))
    assert changed_keys(fingerprint(before), fingerprint(after)) == []
    with video.PlannedVideo(0, after, Reporter()) as planned:
        [(kind, key, greeting)] = greetings(planned, Place("here", "here"))
    assert (kind, key) == ("ready", 0)
    assert "openvino" not in greeting.engine


def test_a_tuned_run_that_shares_the_memory_goes_on_with_an_earlier_one(tmp_path: Path) -> None:
    source, target, weights = tmp_path / "in.mp4", tmp_path / "out.mp4", tiny_weights(tmp_path, "cached")
    media.run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=640x360:r=10:d=1", "-c:v", "libx264", source)
    options = replace(SHOTS, model=str(weights), device="cpu")
    name = weights.name.removesuffix(".weights.h5")
    setting = TunedSetting(name, 640, 360, "cpu", "keras", "fp32", 640, "config.toml")
    before, tuned = (
        prepare_job(source, target, each) for each in (options, replace(options, tuned=(setting,)))
    )
    memory, notices = tuned.memory_estimate().total, list[str]()
    shared = WorkerRequest(2, None, strict=False).share_memory(
        replace(tuned, memory_budget=MemoryBudget(memory * 4 // 3)),
        lambda each: prepare_job(source, target, each),
        notices.append,
    )
    assert "smaller tiles" in notices[0]
    assert shared.options.precision == "fp32"
    assert changed_keys(fingerprint(before), fingerprint(shared)) == []


def test_a_worker_on_another_device_is_tuned_as_the_run(sample: Sample, tmp_path: Path) -> None:
    source, weights = sample(long_shot), tiny_weights(tmp_path, "cached")
    options = replace(SHOTS, model=str(weights))
    name = weights.name.removesuffix(".weights.h5")
    tuned = replace(options, tuned=(TunedSetting(name, 64, 48, "cpu", "keras", "fp32", 48, "config.toml"),))
    answers = []
    for number, each in enumerate((options, tuned)):
        job = prepare_job(source, tmp_path / f"{number}.mp4", each)
        with video.PlannedVideo(0, job, Reporter()) as planned:
            answers.append(greetings(planned, Place("here", "here", device="cpu")))
    assert answers[0] == answers[1]


@pytest.mark.skipif(not KERNEL_FILE.exists(), reason="needs a folder in which even root makes no file")
def test_a_folder_that_can_only_be_read_is_not_shared(sample: Sample, tmp_path: Path) -> None:
    job, sent = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS), list[Any]()
    with video.PlannedVideo(0, job, Reporter()) as planned:
        setup = replace(planned.setup(Place("here", "here")), marker=(KERNEL_FILE, KERNEL_FILE.read_text()))
        task = Task(0, Piece(0, 0, 4), PieceStart(), tmp_path / "piece-0.mkv")
        worker.run(iter([setup, task]), lambda *message: sent.append(message), CancelToken())
    [(_, _, _, segment, file)] = [message for message in sent if message[0] == "done"]
    assert segment.frame_count == 4
    assert file is not None, "the result is to be fetched"
    assert not task.file.exists()


def test_a_folder_that_removes_no_open_file_is_shared(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network shares are."""

    def open_and_remove(**options: Any) -> Any:
        raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    monkeypatch.setattr("tempfile.TemporaryFile", open_and_remove)
    job, sent = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS), list[Any]()
    with video.PlannedVideo(0, job, Reporter()) as planned:
        planned.open(lambda *piece: None, lambda found: None)
        task = Task(0, Piece(0, 0, 4), PieceStart(), tmp_path / "piece-0.mkv")
        items = iter([planned.setup(Place("here", "here")), task])
        worker.run(items, lambda *message: sent.append(message), CancelToken())
    [(*_, file)] = [message for message in sent if message[0] == "done"]
    assert file is None, "the result is where it belongs"
    assert task.file.exists()


def test_results_are_fetched_from_another_disk(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, rename, setup = (
        sample(long_shot),
        tmp_path / "out.mp4",
        os.rename,
        video.PlannedVideo.setup,
    )

    def rename_on_one_disk(path: Any, other: Any, **options: Any) -> None:
        if "vsr-worker-" in str(path):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        rename(path, other, **options)

    def not_shared(planned: video.PlannedVideo, place: Place) -> Setup:
        return replace(setup(planned, place), marker=(tmp_path / "elsewhere", ""))

    monkeypatch.setattr(os, "rename", rename_on_one_disk)
    monkeypatch.setattr(video.PlannedVideo, "setup", not_shared)
    run_on_workers(prepare_job(source, target, SHOTS), 1)
    assert target.read_bytes() == reference(source, tmp_path)


def test_a_worker_that_leaves_without_cleanup_leaves_no_folder(sample: Sample, tmp_path: Path) -> None:
    folders: list[Path] = []

    def leave_after_a_piece(kind: str, *rest: Any) -> None:
        if kind == "done":
            folders.append(rest[3].parent)
            assert folders[0].is_dir()
            remove_temporary_files()
            assert not folders[0].exists()

    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS)
    with video.PlannedVideo(0, job, Reporter()) as planned:
        setup = replace(planned.setup(Place("here", "here")), marker=(tmp_path / "elsewhere", ""))
        task = Task(0, Piece(0, 0, 4), PieceStart(), tmp_path / "piece-0.mkv")
        worker.run(iter([setup, task]), leave_after_a_piece, CancelToken())
    assert len(folders) == 1


def test_relative_paths_mean_the_same_files_to_a_worker_in_another_folder(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("here", "nets", "else/where"):
        (tmp_path / name).mkdir(parents=True)
    weights = tiny_weights(tmp_path / "nets", "cached")
    (tmp_path / "nets" / "ffmpeg").symlink_to(find_ffmpeg().path)
    monkeypatch.chdir(tmp_path / "here")
    options = replace(SHOTS, model=f"../nets/{weights.name}", ffmpeg="../nets/ffmpeg", device="cpu")
    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", options)
    with video.PlannedVideo(0, job, Reporter()) as planned:
        setup, sent = planned.setup(Place("here", "here")), list[Any]()
        monkeypatch.chdir(tmp_path / "else" / "where")
        worker.run(iter([setup]), lambda *message: sent.append(message), CancelToken())
    assert [message for message in sent if message[0] == "refused"] == []
    assert "ready" in {message[0] for message in sent}


def test_a_video_and_its_first_piece_reach_a_worker_together(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[tuple[type, int]]] = []

    class Recorded(places.LocalWorker):
        def submit(self, *items: Any) -> None:
            calls.append([(type(item), item.key) for item in items])
            super().submit(*items)

    monkeypatch.setattr(places, "LocalWorker", Recorded)
    jobs = [prepare_job(sample(long_shot), tmp_path / name, SHOTS) for name in ("a.mp4", "b.mp4")]
    waiting = [video.PlannedVideo(key, job, Reporter()) for key, job in enumerate(jobs)]
    Coordinator(
        places.LocalWorkers(1, jobs[0]),
        lambda: waiting.pop(0).__enter__() if waiting else None,
        lambda planned, outcome: None,
        CancelToken(),
        on_notice=print,
    ).run()
    assert [(Setup, 0)] in calls  # to an idle worker, which answers before it gets a piece
    assert [(Setup, 1), (Task, 1)] in calls
    assert [(Setup, 1)] not in calls
    assert (tmp_path / "b.mp4").read_bytes() == reference(sample(long_shot), tmp_path)


@pytest.mark.parametrize(
    ("engine", "devices"), [("keras", ["0", "1", "0"]), ("openvino", [None] * 3), ("onnxruntime", [None] * 3)]
)
def test_workers_get_gpus_that_their_engine_can_use(
    engine: str, devices: list[str | None], sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {"openvino", "onnxruntime"} & {engine}:
        pytest.importorskip(name)
    monkeypatch.setattr(engine_plan, "onnxruntime_gpu_installed", lambda: False)
    options = replace(SHOTS, model=str(tiny_weights(tmp_path, "cached")), engine=engine)
    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", options)
    monkeypatch.setattr(engine_plan, "may_have_gpu", lambda: True)
    monkeypatch.setattr(keras, "list_gpus", lambda: ["one", "another"])
    assert [each.device for each in places.LocalWorkers(3, job).places()] == devices


def test_workers_that_cannot_take_part_are_an_error(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "fingerprint", lambda job: {"the version of ffmpeg": "another"})
    job = prepare_job(sample(long_shot), tmp_path / "out.mp4", SHOTS)
    with pytest.raises(EngineError, match="worker 1 cannot take part: the version of ffmpeg"):
        run_on_workers(job, 1)


def test_what_cannot_be_cut_is_refused(sample: Sample, tmp_path: Path, vsr: Callable[..., Outcome]) -> None:
    job = prepare_job(sample(long_shot), tmp_path / "out.avi", SHOTS)
    with pytest.raises(UsageError, match=r"--workers 2: .*out\.avi cannot be cut into pieces"):
        run_on_workers(job, 2)
    line = ("upscale", str(sample(long_shot)), str(tmp_path / "out.mp4"), "-m", "bicubic")
    vsr(*line, "--workers", "2", "--segment", "12").fails(2, "--workers 2", "--segment shots")
    avi = (*line[:2], str(tmp_path / "out.avi"), "-m", "bicubic", "--dry-run")
    for option in (("--workers", "2"), ("--cluster", "auto")):
        vsr(*avi, *option).fails(2, f"{' '.join(option)}: ", "out.avi cannot be cut into pieces")
    batch = ("batch", *line[1:2], str(tmp_path / "out"), "--container", "avi", *line[3:], "--workers", "2")
    assert "1 of 1 videos would be upscaled" in vsr(*batch, "--dry-run").err
