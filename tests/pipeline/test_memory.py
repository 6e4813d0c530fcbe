"""Memory estimates, and tile plans within a budget."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job, upscale
from vsrcli.errors import SignalInterruptError, UsageError
from vsrcli.frames.state import State
from vsrcli.frames.tiling import TilePlan, plan_tiles
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.pipeline import memory, segmented_output
from vsrcli.pipeline.checkpoint import load_state
from vsrcli.pipeline.memory import (
    MemoryBudget,
    Workload,
    choose_tiles,
    estimate_memory,
    memory_budget,
    relative_cost,
)
from vsrcli.pipeline.progress import CallbackReporter

GIB = 2**30
NETWORKS = [each for each in ARCHITECTURES.values() if each.module]
FULL_HD = Workload(1080, 1920, 2160, 3840, 2, encoder="libx264")


@settings(deadline=None)
@given(
    st.sampled_from(NETWORKS), st.integers(16, 2200), st.integers(16, 4000), st.integers(1, 64), st.booleans()
)
def test_chosen_tiles_fit_the_budget_or_none_do(
    network: memory.Architecture, height: int, width: int, gibibytes: int, deep: bool
) -> None:
    video = Workload(height, width, 2 * height, 2 * width, 2, deep, "libx265")
    limit = MemoryBudget(gibibytes * GIB // 2, explicit=True)
    best = estimate_memory(
        network, video, choose_tiles(network, video, network.radius(), MemoryBudget(limit.host))
    )
    if best.total <= limit.host:
        tiles = choose_tiles(network, video, network.radius(), limit)
        assert estimate_memory(network, video, tiles) == best
    else:
        with pytest.raises(UsageError, match=r"takes about ([\d.]+) (MiB|GiB) with") as raised:
            choose_tiles(network, video, network.radius(), limit)
        number, unit = str(raised.value).partition("takes about ")[2].split()[:2]
        enough = int(float(number) * (GIB if unit == "GiB" else 2**20))
        choose_tiles(network, video, network.radius(), MemoryBudget(enough, explicit=True))


@pytest.mark.parametrize("name", ["duf-s", "duf-r-xs", "duf-r-s", "duf-r-m", "duf-16l"])
def test_full_hd_in_four_gibibytes(name: str) -> None:
    network = ARCHITECTURES[name]
    tiles = choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(4 * GIB, explicit=True))
    assert len(tiles) > 1
    assert tiles.burst > 1 or network.kind == "window"


def test_slow_presets_take_more_memory() -> None:
    full_frames = plan_tiles(1080, 1920, None, 3)
    fast, slow, slower = (
        estimate_memory(ARCHITECTURES["bicubic"], replace(FULL_HD, preset=preset), full_frames).ffmpeg
        for preset in ("veryfast", "slow", "veryslow")
    )
    assert fast < slow < slower


def test_more_memory_is_never_slower() -> None:
    for network in NETWORKS:
        costs = []
        for gibibytes in (4, 5, 6, 8, 12, 24, 64):
            tiles = choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(gibibytes * GIB))
            costs.append(memory.relative_cost(network, tiles))
        assert costs == sorted(costs, reverse=True)
        assert costs[-1] <= 1.2


def test_states_count_with_small_tiles() -> None:
    """Tiles keep features of the full frame: small tiles alone do not fit into 4 GiB, bursts do."""
    network = ARCHITECTURES["duf-s"]
    small = plan_tiles(1080, 1920, 128, network.radius())
    estimate = estimate_memory(network, FULL_HD, small)
    assert estimate.state > 6 * 48 * 4 * 1080 * 1920
    assert (
        estimate_memory(network, FULL_HD, replace(small, burst=2)).total < estimate.total - estimate.state / 2
    )


def test_results_that_bursts_hold_count_twice_at_a_checkpoint() -> None:
    """A state has a copy of them."""
    network, video = ARCHITECTURES["duf-s"], replace(FULL_HD, encoder=None)
    small = plan_tiles(1080, 1920, 128, network.radius())
    estimates = [estimate_memory(network, video, replace(small, burst=burst)) for burst in (8, 32)]
    more = (32 - 8) * 2160 * 3840 * 3
    assert estimates[1].total - estimates[0].total > more * (4 + 4)  # float32
    assert estimates[1].network == estimates[0].network


@pytest.mark.parametrize(("multiple", "max_size"), [(64, None), (1, (64, 64)), (16, (128, 96))])
def test_tiles_of_networks_of_others(multiple: int, max_size: tuple[int, int] | None) -> None:
    network = replace(
        ARCHITECTURES["duf-16l"], module="imported", measured=(1000, 8), multiple=multiple, max_size=max_size
    )
    budget = MemoryBudget(300_000_000)
    tiles = choose_tiles(network, Workload(360, 640, 720, 1280, 2), 8, budget)
    assert len(tiles) > 1
    assert tiles.tile_height <= (max_size or (360, 640))[0]
    assert tiles.tile_width <= (max_size or (360, 640))[1]
    assert not (tiles.origins % multiple).any()


def test_frames_of_the_size_that_a_network_takes_are_one_tile() -> None:
    """Each tile takes as long and as much as a frame of that size, however small it is."""
    network = replace(
        ARCHITECTURES["duf-16l"],
        module="imported",
        measured=(1000, 8),
        max_size=(96, 256),
        tile_pixels=96 * 256,
    )

    def choose(height: int, width: int, tile: str | int = "auto") -> TilePlan:
        workload = Workload(height, width, 2 * height, 2 * width, 2)
        return choose_tiles(network, workload, 8, MemoryBudget(1 << 40), tile)

    for height, width in ((96, 256), (96, 100), (30, 256)):
        for tile in ("auto", "none"):
            assert len(choose(height, width, tile)) == 1
    larger = choose(180, 500)
    assert len(larger) == 3 * 3
    assert (larger.tile_height, larger.tile_width) <= (96, 256)
    assert relative_cost(network, choose(96, 256)) == 1
    assert relative_cost(network, choose(96, 256, 64)) == len(choose(96, 256, 64))
    whole, small = (
        estimate_memory(network, Workload(96, 256, 192, 512, 2), choose(96, 256, tile)).tile
        for tile in ("none", 64)
    )
    assert whole == small > 0
    with pytest.raises(
        UsageError, match="--tile none: duf-16l takes frames of 256x96 at most; give --tile 96"
    ):
        choose(97, 256, "none")


def test_only_an_explicit_budget_raises() -> None:
    network = ARCHITECTURES["duf-s"]
    assert choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(1)).burst > 1
    with pytest.raises(UsageError, match=r"--max-memory 1 bytes is too little: duf-s at 1920x1080.* GiB"):
        choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(1, explicit=True))


def test_gpu_and_host_budgets() -> None:
    network = ARCHITECTURES["duf-s"]
    tiles = choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(64 * GIB, 4 * GIB, shared=False))
    peak = estimate_memory(network, FULL_HD, tiles)
    assert peak.network <= 4 * GIB
    assert MemoryBudget(peak.total - peak.network, peak.network, shared=False).allows(peak)
    assert not MemoryBudget(peak.total - peak.network, peak.network).allows(peak)
    assert not MemoryBudget(peak.total, peak.network - 1, shared=False).allows(peak)


def test_too_little_memory_of_a_gpu_is_an_error_of_its_own() -> None:
    network = ARCHITECTURES["duf-s"]
    budget = MemoryBudget(64 * GIB, 2**20, shared=False, explicit=True)
    with pytest.raises(UsageError, match=r"^1.0 MiB of the GPU's memory is too little: duf-s .*--gpu cpu"):
        choose_tiles(network, FULL_HD, network.radius(), budget)
    with pytest.raises(UsageError, match="--max-memory 1 bytes is too little"):
        choose_tiles(network, FULL_HD, network.radius(), replace(budget, host=1))


def test_a_gpu_that_does_not_compute_limits_nothing(
    sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    devices: list[str] = []
    monkeypatch.setattr(memory, "available_gpu_memory", devices.append)
    options = Options(Fraction(2), str(tiny_weights(tmp_path, "cached")), device="auto")
    for engine in ("openvino", "keras"):
        prepare_job(sample(media.cfr), tmp_path / "out.mkv", replace(options, engine=engine))
    assert devices == ["cpu", "auto"]


def test_budgets_with_and_without_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_gpu_memory", lambda device: 40_000 * 2**20)
    assert memory_budget("0", 7).gpu == 7
    assert not memory_budget("0", None).shared
    assert memory_budget("auto", None).shared
    monkeypatch.setattr(memory, "available_gpu_memory", lambda device: None)
    assert memory_budget("auto", None).gpu is None


def test_default_budget_is_a_share_of_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_host_memory", lambda: 1000)
    assert (memory_budget("cpu", None).host, memory_budget("cpu", None).explicit) == (750, False)
    assert (memory_budget("cpu", 900).host, memory_budget("cpu", 900).explicit) == (900, True)


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * GIB), ("1.5gib", 3 * GIB // 2), ("800M", 800 * 2**20), ("7", 7)]
)
def test_max_memory_sizes(
    text: str, size: int, vsr: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vsrcli.cli import upscale as command

    recorded: list[Options] = []

    def record(source: Path, target: Path, options: Options) -> None:
        recorded.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "prepare_job", record)
    vsr("upscale", "in.mp4", "out.mp4", "--max-memory", text)
    assert recorded[0].max_memory == size


@pytest.mark.parametrize("text", ["much", "0", "-4G", "4X", ""])
def test_invalid_max_memory(text: str, vsr: Callable[..., Outcome]) -> None:
    vsr("upscale", "in.mp4", "out.mp4", f"--max-memory={text}").fails(2, "--max-memory", "4G")


def test_too_little_memory_names_the_estimate(
    vsr: Callable[..., Outcome], sample: Callable[..., Path], tmp_path: Path
) -> None:
    line = ("upscale", sample(media.cfr), tmp_path / "out.mp4", "-m", "lanczos", "--max-memory", "50M")
    vsr(*line).fails(2, "--max-memory 50 MiB is too little", "lanczos at 64x48 to 256x192", "takes about")
    assert list(tmp_path.iterdir()) == []


def test_dry_run_shows_the_estimate(
    vsr: Callable[..., Outcome], sample: Callable[..., Path], tmp_path: Path
) -> None:
    weights = tiny_weights(tmp_path, "cached")
    path, target = sample(media.cfr, frames=12), tmp_path / "out.mkv"
    recorded = vsr("upscale", path, target, "-m", weights, "-s", "2", "--dry-run", "--max-memory", "4G")
    assert recorded.status == 0
    assert "memory: about " in recorded.err
    assert "MiB at the peak (" in recorded.err
    assert "of 4.0 GiB allowed" in recorded.err


def raw_frames(video: Path, folder: Path) -> bytes:
    path = folder / f"{video.stem}.rgb"
    media.run_ffmpeg("-i", video, "-f", "rawvideo", "-pix_fmt", "rgb24", path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
def test_bursts_give_identical_output(
    kind: str, sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when interrupted and resumed with less memory."""
    weights = str(tiny_weights(tmp_path, kind))
    source = sample(media.cfr)
    encode = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    options = Options(Fraction(2), weights, device="cpu", tile=56, overlap=8, segment=4, encode=encode)
    plain = tmp_path / "plain.mkv"
    upscale(source, plain, options)
    resumed = tmp_path / "resumed.mkv"

    def stop(progress: Progress) -> None:
        if progress.done == 10:
            raise SignalInterruptError("enough")

    with pytest.raises(SignalInterruptError):
        upscale(source, resumed, options, on_progress=stop)
    monkeypatch.setattr(memory, "BURST_SIZES", (4,))
    burst = tmp_path / "burst.mkv"
    tight = replace(options, max_memory=64 * GIB)
    assert prepare_job(source, burst, tight).tiles[0].burst == 4
    upscale(source, burst, tight)
    assert raw_frames(burst, tmp_path) == raw_frames(plain, tmp_path)

    job = prepare_job(source, resumed, tight)
    less = replace(job, memory_budget=MemoryBudget(job.memory_estimate().total, explicit=True))
    assert not less.can_keep_tiles([replace(job.tiles[0], burst=1)])
    notices: list[str] = []
    result = run_job(less, CallbackReporter(on_notice=notices.append))
    assert result.resumed == 8 if kind == "cached" else result.resumed in range(4, 9)  # some frames repeat
    assert any("to save memory, going on" in notice for notice in notices)
    assert raw_frames(resumed, tmp_path) == raw_frames(plain, tmp_path)


def test_a_resumed_run_takes_the_memory_that_is_free_now(
    sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --max-memory; it keeps its tiles as long as all free memory is enough for them."""
    source, plain, target = sample(media.cfr, frames=24), tmp_path / "plain.mkv", tmp_path / "out.mkv"
    encode = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    weights = str(tiny_weights(tmp_path, "cached"))
    options = Options(Fraction(2), weights, device="cpu", segment=4, encode=encode)
    upscale(source, plain, options)

    def stop(progress: Progress) -> None:
        if progress.done == progress.resumed + 10 < 20:
            raise SignalInterruptError("enough")

    monkeypatch.setattr(memory, "BURST_SIZES", (8,))
    job = prepare_job(source, target, options)
    estimate = job.memory_estimate()
    with pytest.raises(SignalInterruptError):
        run_job(job, CallbackReporter(stop))
    monkeypatch.setattr(memory, "BURST_SIZES", (1,))
    notices: list[str] = []
    for host in (estimate.total + 2**16, estimate.total - 2**16):
        monkeypatch.setattr(memory, "available_host_memory", lambda host=host: host)
        with contextlib.suppress(SignalInterruptError):
            run_job(prepare_job(source, target, options), CallbackReporter(stop, notices.append))
    assert notices == [
        "resuming at frame 8 of 24",
        "resuming at frame 12 of 24",
        "to save memory, going on with tiles of 64x48, 2 frames at a time",
    ]
    assert raw_frames(target, tmp_path) == raw_frames(plain, tmp_path)


def test_the_saved_state_takes_no_memory_once_the_run_goes_on(
    sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = sample(media.cfr, frames=24), tmp_path / "out.mp4"
    weights = str(tiny_weights(tmp_path, "recurrent"))
    options = Options(Fraction(2), weights, device="cpu", engine="keras", segment=5)

    def stop(progress: Progress) -> None:
        if progress.done == 12:
            raise SignalInterruptError("enough")

    with pytest.raises(SignalInterruptError):
        upscale(source, target, options, on_progress=stop)
    loaded: list[weakref.ref[np.ndarray]] = []

    def load(file: Path) -> State | None:
        state = load_state(file)
        loaded.extend(weakref.ref(array) for array in (state or {}).values())
        return state

    monkeypatch.setattr(segmented_output, "load_state", load)
    kept: list[int] = []

    def measure(progress: Progress) -> None:
        gc.collect()
        kept.append(sum(array.nbytes for each in loaded if (array := each()) is not None))

    assert upscale(source, target, options, on_progress=measure).resumed > 0
    assert loaded
    assert kept[-1] == 0


def test_shorter_bursts_than_before_the_stop_give_identical_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The picture moves until the run is stopped, and stands still from then on."""
    weights, source = str(tiny_weights(tmp_path, "cached")), tmp_path / "source.mkv"
    graph = "testsrc2=s=48x32:r=25,trim=end_frame=24,loop=30:1:23"
    media.run_ffmpeg("-filter_complex", graph, "-c:v", "ffv1", source)
    encode = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    options = Options(Fraction(2), weights, device="cpu", segment=4, encode=encode, max_memory=64 * GIB)
    outputs, notices = [tmp_path / "whole.mkv", tmp_path / "resumed.mkv"], []

    def stop(progress: Progress) -> None:
        if progress.done == 6:
            raise SignalInterruptError("enough")

    monkeypatch.setattr(memory, "BURST_SIZES", (16,))
    upscale(source, outputs[0], options)
    with pytest.raises(SignalInterruptError):
        upscale(source, outputs[1], options, on_progress=stop)
    monkeypatch.setattr(memory, "BURST_SIZES", (2,))
    job = prepare_job(source, outputs[1], options)
    less = replace(job, memory_budget=MemoryBudget(job.memory_estimate().total, explicit=True))
    result = run_job(less, CallbackReporter(on_notice=notices.append))
    assert (result.resumed, result.frames) == (4, 54)
    assert any("going on with tiles of 48x32, 2 frames at a time" in notice for notice in notices)
    assert raw_frames(outputs[1], tmp_path) == raw_frames(outputs[0], tmp_path)
