"""What a film takes in memory, and tiles that stay under a limit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import media_samples as media
from terminal import Outcome
from tiny_networks import tiny_weights
from vsrcli import EncodeOptions, Options, Progress, prepare_job, run_job, upscale
from vsrcli.errors import SignalInterruptError, UsageError
from vsrcli.frames.tiling import plan_tiles
from vsrcli.models.architectures import ARCHITECTURES
from vsrcli.pipeline import memory
from vsrcli.pipeline.memory import MemoryBudget, Workload, choose_tiles, estimate_memory, memory_budget
from vsrcli.system import resources
from vsrcli.system.resources import available_gpu_memory, available_host_memory

GIB = 2**30
NETWORKS = [each for each in ARCHITECTURES.values() if each.module]
FULL_HD = Workload(1080, 1920, 2160, 3840, 2, encoder="libx264")


@settings(deadline=None)
@given(
    st.sampled_from(NETWORKS), st.integers(16, 2200), st.integers(16, 4000), st.integers(1, 64), st.booleans()
)
def test_whatever_is_chosen_stays_under_the_limit_or_there_is_none(
    network: memory.Architecture, height: int, width: int, gibibytes: int, deep: bool
) -> None:
    film = Workload(height, width, 2 * height, 2 * width, 2, deep, "libx265")
    limit = MemoryBudget(gibibytes * GIB // 2, explicit=True)
    best = estimate_memory(
        network, film, choose_tiles(network, film, network.radius(), MemoryBudget(limit.host))
    )
    if best.total <= limit.host:
        tiles = choose_tiles(network, film, network.radius(), limit)
        assert estimate_memory(network, film, tiles) == best
    else:
        with pytest.raises(UsageError, match=r"takes about ([\d.]+) (MiB|GiB) with") as told:
            choose_tiles(network, film, network.radius(), limit)
        number, unit = str(told.value).partition("takes about ")[2].split()[:2]
        enough = int(float(number) * (GIB if unit == "GiB" else 2**20))
        choose_tiles(network, film, network.radius(), MemoryBudget(enough, explicit=True))


@pytest.mark.parametrize("name", ["duf-s", "duf-r-xs", "duf-r-s", "duf-r-m", "duf-16l"])
def test_full_hd_in_four_gibibytes(name: str) -> None:
    network = ARCHITECTURES[name]
    tiles = choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(4 * GIB, explicit=True))
    assert len(tiles) > 1
    assert tiles.burst > 1 or network.kind == "window"


def test_patient_encoders_look_further_ahead() -> None:
    whole = plan_tiles(1080, 1920, None, 3)
    fast, slow, slower = (
        estimate_memory(ARCHITECTURES["bicubic"], replace(FULL_HD, preset=preset), whole).ffmpeg
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


def test_what_tiles_keep_counts_however_small_they_are() -> None:
    """Features of the whole frame: small tiles alone do not bring it under 4 GiB, bursts do."""
    network = ARCHITECTURES["duf-s"]
    small = plan_tiles(1080, 1920, 128, network.radius())
    kept = estimate_memory(network, FULL_HD, small)
    assert kept.state > 6 * 48 * 4 * 1080 * 1920
    assert estimate_memory(network, FULL_HD, replace(small, burst=2)).total < kept.total - kept.state / 2


def test_a_limit_that_nobody_named_is_no_error() -> None:
    network = ARCHITECTURES["duf-s"]
    assert choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(1)).burst > 1
    with pytest.raises(UsageError, match=r"--max-memory 1 bytes is too little: duf-s at 1920x1080.* GiB"):
        choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(1, explicit=True))


def test_a_gpu_holds_the_network_and_the_host_the_rest() -> None:
    network = ARCHITECTURES["duf-s"]
    tiles = choose_tiles(network, FULL_HD, network.radius(), MemoryBudget(64 * GIB, 4 * GIB, shared=False))
    peak = estimate_memory(network, FULL_HD, tiles)
    assert peak.network <= 4 * GIB
    assert MemoryBudget(peak.total - peak.network, peak.network, shared=False).allows(peak)
    assert not MemoryBudget(peak.total - peak.network, peak.network).allows(peak)
    assert not MemoryBudget(peak.total, peak.network - 1, shared=False).allows(peak)


def group(folder: Path, limit: str, usage: int, cache: int, names: tuple[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{usage}\n")
    key = "inactive_file" if names[0] == "memory.max" else "total_inactive_file"
    (folder / "memory.stat").write_text(f"anon 5\n{key} {cache}\n")


V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_containers_limit_what_is_free(tmp_path: Path) -> None:
    """Version 2: the group and those around it, the tightest counts; cached files can be given up."""
    proc, mount = tmp_path / "cgroup", tmp_path / "mount"
    proc.write_text("0::/job/step\n")
    group(mount / "job/step", "max", 9_000, 0, V2)
    group(mount / "job", "50000", 30_000, 5_000, V2)
    group(mount, "70000", 30_000, 0, V2)
    assert available_host_memory(proc, mount) == 25_000
    proc.write_text("0::/elsewhere/on/the/host\n")  # as some containers see it
    assert available_host_memory(proc, mount) == 40_000


def test_containers_of_version_1(tmp_path: Path) -> None:
    proc, mount = tmp_path / "cgroup", tmp_path / "mount"
    proc.write_text("5:cpu:/x\n4:memory:/docker/1\n0::/\n")
    group(mount / "memory/docker/1", "40000", 10_000, 1_000, V1)
    group(mount / "memory", str(2**63 - 4096), 10_000, 0, V1)
    assert available_host_memory(proc, mount) == 31_000
    assert available_host_memory(tmp_path / "none", mount) > 2**20  # no groups at all: the machine's


def test_free_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = SimpleNamespace(stdout="40000\n30000\n")
    monkeypatch.setattr(resources.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(resources.subprocess, "run", lambda *line, **options: said)
    assert available_gpu_memory("auto") == 40_000 * 2**20
    assert available_gpu_memory("1") == 30_000 * 2**20
    assert available_gpu_memory("2") is None
    assert available_gpu_memory("cpu") is None
    assert memory_budget("0", 7).gpu == 7
    assert not memory_budget("0", None).shared
    assert memory_budget("auto", None).shared
    monkeypatch.setattr(resources.shutil, "which", lambda name: None)
    assert memory_budget("auto", None).gpu is None


def test_the_default_is_a_share_of_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_host_memory", lambda: 1000)
    assert (memory_budget("cpu", None).host, memory_budget("cpu", None).explicit) == (750, False)
    assert (memory_budget("cpu", 900).host, memory_budget("cpu", 900).explicit) == (900, True)


@pytest.mark.parametrize(
    ("text", "size"), [("4G", 4 * GIB), ("1.5gib", 3 * GIB // 2), ("800M", 800 * 2**20), ("7", 7)]
)
def test_sizes(text: str, size: int, vsr: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch) -> None:
    from vsrcli.cli import upscale as command

    seen: list[Options] = []

    def remember(source: Path, target: Path, options: Options) -> None:
        seen.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "prepare_job", remember)
    vsr("upscale", "in.mp4", "out.mp4", "--max-memory", text)
    assert seen[0].max_memory == size


@pytest.mark.parametrize("text", ["much", "0", "-4G", "4X", ""])
def test_what_is_no_size(text: str, vsr: Callable[..., Outcome]) -> None:
    vsr("upscale", "in.mp4", "out.mp4", f"--max-memory={text}").fails(2, "--max-memory", "4G")


def test_too_little_says_how_much_it_takes(
    vsr: Callable[..., Outcome], sample: Callable[..., Path], tmp_path: Path
) -> None:
    line = ("upscale", sample(media.cfr), tmp_path / "out.mp4", "-m", "lanczos", "--max-memory", "50M")
    vsr(*line).fails(2, "--max-memory 50 MiB is too little", "lanczos at 64x48 to 256x192", "takes about")
    assert list(tmp_path.iterdir()) == []


def test_the_plan_says_what_it_takes(
    vsr: Callable[..., Outcome], sample: Callable[..., Path], tmp_path: Path
) -> None:
    weights = tiny_weights(tmp_path, "cached")
    path, target = sample(media.cfr, frames=12), tmp_path / "out.mkv"
    seen = vsr("upscale", path, target, "-m", weights, "-s", "2", "--dry-run", "--max-memory", "4G")
    assert seen.status == 0
    assert "memory: about " in seen.err
    assert "MiB at the peak (" in seen.err
    assert "of 4.0 GiB allowed" in seen.err


def raw(film: Path, folder: Path) -> bytes:
    path = folder / f"{film.stem}.rgb"
    media.run_ffmpeg("-i", film, "-f", "rawvideo", "-pix_fmt", "rgb24", path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["cached", "recurrent"])
def test_a_film_in_bursts_is_the_film(
    kind: str, sample: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the middle, too, and continued with less memory than it was begun with."""
    weights = str(tiny_weights(tmp_path, kind))
    source = sample(media.cfr, frames=20)
    encode = EncodeOptions(codec="ffv1", pix_fmt="bgr0")
    options = Options(Fraction(2), weights, device="cpu", tile=56, overlap=8, segment=6, encode=encode)
    plain = tmp_path / "plain.mkv"
    upscale(source, plain, options)
    resumed = tmp_path / "resumed.mkv"

    def stop(progress: Progress) -> None:
        if progress.done == 15:
            raise SignalInterruptError("enough")

    with pytest.raises(SignalInterruptError):
        upscale(source, resumed, options, on_progress=stop)
    monkeypatch.setattr(memory, "BURST_SIZES", (4,))
    burst = tmp_path / "burst.mkv"
    tight = replace(options, max_memory=64 * GIB)
    assert prepare_job(source, burst, tight).tiles.burst == 4
    upscale(source, burst, tight)
    assert raw(burst, tmp_path) == raw(plain, tmp_path)

    job = prepare_job(source, resumed, tight)
    less = replace(job, limit=MemoryBudget(job.memory_estimate().total, explicit=True))
    assert not less.fits_budget(replace(job.tiles, burst=1))
    notices: list[str] = []
    result = run_job(less, on_notice=notices.append)
    assert result.resumed == 12
    assert any("to save memory, going on" in notice for notice in notices)
    assert raw(resumed, tmp_path) == raw(plain, tmp_path)
