"""How many films at a time memory allows, and what each of them may take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vsrcli.batch.check import PlannedTask, prepare_in_scratch
from vsrcli.errors import SignalInterruptError, UsageError, VsrError
from vsrcli.pipeline.job import Options
from vsrcli.pipeline.memory import FREE_MEMORY_SHARE, format_bytes
from vsrcli.system.resources import available_gpu_memory, available_host_memory


def share_memory(
    checked: Sequence[PlannedTask], options: Options, jobs: int
) -> tuple[int, Options, str | None]:
    """Options of one of several films at a time.

    Args:
        checked: all films.
        options: as given; ``max_memory`` is for all of them together.
        jobs: how many films at a time the user wants.

    Returns:
        How many it will be, the options of each, and what there is to be said about it.
    """
    waiting = [each for each in checked if each.job is not None]
    asked, jobs = jobs, max(min(jobs, len(waiting)), 1)
    if jobs == 1:
        return 1, options, None
    total = options.max_memory or _free(options.device)
    largest = max(waiting, key=lambda each: each.pixels)
    for count in range(jobs, 1, -1):
        share = replace(options, max_memory=total // count)
        if _fits(largest, share):
            return count, share, _said(count, asked, total) if count < jobs else None
    return 1, options, _said(1, asked, total)


def _free(device: str) -> int:
    """Bytes that all may take together: the network on the GPU, if there is one, the rest on the host."""
    gpu, host = available_gpu_memory(device), available_host_memory()
    return int(FREE_MEMORY_SHARE * (host if gpu is None else min(host, gpu)))


def _fits(checked: PlannedTask, options: Options) -> bool:
    """Whether the largest film can be made with this share: it finds tiles, or there are none."""
    try:
        prepare_in_scratch(checked.task, options)
    except UsageError:
        return False
    except SignalInterruptError:
        raise
    except VsrError:
        return True  # it is no question of memory, and has been asked before
    return True


def _said(count: int, asked: int, total: int) -> str:
    films = "film" if count == 1 else "films"
    return f"-j {asked}: {format_bytes(total)} of memory are enough for {count} {films} at a time"
