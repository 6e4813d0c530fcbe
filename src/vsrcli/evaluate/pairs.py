"""Low resolution that is there already, beside its truth: folders ``lr/`` and ``hr/``, or two of any name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vsrcli.errors import DataError
from vsrcli.evaluate.clips import VIDEOS, ClipFile, clip_name, clips_at, distinct_names, pictures_in

LOW, HIGH = ("lr",), ("hr", "gt")  # names of the folders, in any case
_LAYOUT = "folders 'lr' and 'hr' (or 'LR' and 'GT') that hold clips of the same names, or --truth FOLDER"


def find_pairs(
    paths: Sequence[Path], truth: Path | None = None, on_notice: Callable[[str], None] = lambda text: None
) -> list[ClipFile]:
    """Low-resolution clips with their truth.

    Without ``truth``, wherever a folder holds ``lr`` and ``hr`` (or ``gt``, in any case), these hold the same
    clips twice, or are one clip each. With it, ``paths`` name low-resolution clips as in
    :func:`~vsrcli.evaluate.clips.find_clips`, and each has a namesake under ``truth``.

    Args:
        paths: files or folders.
        truth: folder of the originals; for a single clip also a video or a folder of pictures.
        on_notice: told what is passed over.

    Returns:
        In order; ``path`` is low resolution, ``truth`` is set.

    Raises:
        DataError: no pairs, or a clip without its namesake.
    """
    if truth is None:
        found = [pair for path in paths for pair in _beside(path, on_notice)]
    else:
        found = _under(paths, truth, on_notice)
    unique = list({low.resolve(): (low, high, known) for low, high, known in found}.values())
    known = [path for _, _, path in unique]
    names = distinct_names(known, [clip_name(path) for path in known])
    return [ClipFile(low, name, high) for (low, high, _), name in zip(unique, names, strict=True)]


def _beside(path: Path, on_notice: Callable[[str], None]) -> Iterator[tuple[Path, Path, Path]]:
    """Low resolution, truth, and the path that the clip is known by."""
    roots = list(_roots(path)) if path.is_dir() else []
    if not roots:
        what = "is no folder with pairs" if path.exists() else "is not there"
        raise DataError(f"{str(path)!r} {what}: --degrade none needs {_LAYOUT}")
    for root, low, high in roots:
        lows, highs = _by_key(low, on_notice), _by_key(high, on_notice)
        for alone, here, there in ((lows, low, high), (highs, high, low)):
            missing = next((key for key in alone if key not in (highs if alone is lows else lows)), None)
            if missing is not None:
                raise DataError(
                    f"clip {missing!r} of {str(here)!r} has no namesake in {str(there)!r}: add it, or "
                    "move it away"
                )
        for key, clip in lows.items():
            yield clip, highs[key], root if key == "." else clip


def _under(
    paths: Sequence[Path], truth: Path, on_notice: Callable[[str], None]
) -> list[tuple[Path, Path, Path]]:
    if not truth.exists():
        raise DataError(f"--truth {str(truth)!r} is not there: name the folder of the originals")
    clips = [(root, clip) for root in paths for clip in clips_at(root, on_notice)]
    if truth.is_file() or (len(clips) == 1 and pictures_in(truth)):
        if len(clips) > 1:
            raise DataError(f"--truth {str(truth)!r} is one clip, there are {len(clips)}: name a folder")
        return [(clips[0][1], truth, clips[0][1])]
    return [(clip, _namesake(truth, _key(root, clip), clip), clip) for root, clip in clips]


def _namesake(truth: Path, key: str, clip: Path) -> Path:
    key = clip_name(clip) if key == "." else key
    wanted = truth / key
    found = [wanted] if wanted.is_dir() and pictures_in(wanted) else []
    if wanted.parent.is_dir():
        found += [
            path
            for path in sorted(wanted.parent.iterdir())
            if path.is_file() and path.stem == wanted.name and path.suffix.lower() in VIDEOS
        ]
    if not found:
        raise DataError(
            f"no truth for {str(clip)!r}: {str(wanted)!r} is neither a folder of pictures nor "
            "a video; put it there"
        )
    if len(found) > 1:
        raise DataError(
            f"two truths for {str(clip)!r}: {str(found[0])!r} and {str(found[1])!r}; move one of them away"
        )
    return found[0]


def _roots(folder: Path) -> Iterator[tuple[Path, Path, Path]]:
    """Folders that hold both resolutions, with these."""
    inside = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    lows, highs = ([path for path in inside if path.name.lower() in names] for names in (LOW, HIGH))
    if len(lows) == 1 and len(highs) == 1:
        yield folder, lows[0], highs[0]
        return
    if len(lows) > 1 or (lows and len(highs) > 1):
        several = ", ".join(repr(path.name) for path in [*lows, *highs])
        raise DataError(f"{str(folder)!r} holds {several}: leave one low and one high resolution there")
    for path in inside:
        if not path.is_symlink():  # a link may lead back up
            yield from _roots(path)


def _by_key(folder: Path, on_notice: Callable[[str], None]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for clip in clips_at(folder, on_notice):
        twin = found.setdefault(_key(folder, clip), clip)
        if twin is not clip:
            raise DataError(f"{str(twin)!r} and {str(clip)!r} share a name: move one of them away")
    return found


def _key(root: Path, clip: Path) -> str:
    """Where a clip lies under its root, without its suffix; ``.`` if it is the root."""
    return "." if clip == root else (clip.parent / clip_name(clip)).relative_to(root).as_posix()
