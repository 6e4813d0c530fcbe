"""Data sets by their published folder structures, recognized by what their folders are called.

- **REDS** (Nah et al., CVPRW 2019): ``train_sharp/000/00000000.png`` and ``val_sharp``, of 100 frames each;
  low resolution by Matlab's bicubic in ``train_sharp_bicubic/X4/000/00000000.png``. They may lie in
  ``train/`` and ``val/``, as the archives have them.
- **Vimeo-90K septuplets** (Xue et al., IJCV 2019): ``sequences/00001/0001/im1.png`` to ``im7.png``, listed in
  ``sep_trainlist.txt`` and ``sep_testlist.txt``.
- **Benchmarks**, such as the usual four clips: ``GT/calendar/*.png``, beside it ``BDx4/`` or ``BIx4/`` (or
  ``lr/``) with the same names.
- **Built sets**, see :mod:`vsrcli.datasets.build`.

A layout lists its clips and everything that is wrong with them. Who uses it calls :meth:`Layout.check`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vsrcli.datasets.decoding import image_files, read_image, visible_entries
from vsrcli.errors import DataError
from vsrcli.frames.shots import ShotDetector
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS

Split = Literal["train", "val"]
BUILT_MARK, BUILT_CLIPS = "dataset.json", "clips"  # file and folder of a built set
LOW_FOLDER = re.compile(r"(?:lr|lq)(?:[-_]?x[234])?|(bd|bi)[-_]?x[234]", re.IGNORECASE)
HIGH_FOLDER_NAMES = ("hr", "gt")  # compared in lower case
_SEPTUPLET = tuple(f"im{number}.png" for number in range(1, 8))
_LISTS = {"train": "sep_trainlist.txt", "val": "sep_testlist.txt"}
_NUMBERED = re.compile(r"(.*?)(\d+)")
_JUDGED_FRAMES = 3  # of a folder of numbered images, to see whether they are one shot
_MIN_FRAMES = 5


@dataclass(frozen=True)
class LowResolution:
    """A clip's own low resolution.

    Attributes:
        path: a folder of frames, or a video.
        scale: its factor; 0: not stated.
        phase: its pixel grid, ``centre`` or ``zero``.
    """

    path: Path
    scale: int
    phase: str


@dataclass(frozen=True)
class DatasetClip:
    """A clip of a data set.

    Attributes:
        path: a folder of frames, or a video.
        name: unique in the set.
        lows: its own low resolution, if the set brings some.
    """

    path: Path
    name: str
    lows: tuple[LowResolution, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A recognized data set.

    Attributes:
        kind: what it is, such as ``REDS``.
        root: the folder.
        clips: those of the split, in order.
        problems: what is wrong, one line each: what, where, remedy.
    """

    kind: str
    root: Path
    clips: tuple[DatasetClip, ...]
    problems: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise ``DataError`` with the first problem, if there are any."""
        if self.problems:
            more = len(self.problems) - 1
            rest = f" (and {more} more: `vsr dataset info` lists them)" if more else ""
            raise DataError(self.problems[0] + rest)


def recognize(root: Path, split: Split = "train") -> Layout | None:
    """Return the published data set in a folder; None if it has no such structure.

    Args:
        root: the data set's folder, one that holds it, or one of its splits.
        split: what is taken where there are two: clips to train on, or to validate and to measure on.

    Raises:
        DataError: a folder cannot be listed.
    """
    if not root.is_dir():
        return None
    if (root / BUILT_MARK).is_file():
        return _built(root)
    if truth := _reds_split(root, split):
        return _reds(root, truth)
    for folder in (root, *(path for path in visible_entries(root) if path.is_dir())):
        if _is_vimeo(folder):
            return _vimeo(folder, split)
    return None


def benchmark_folders(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the folders of low resolution and of truth directly in a folder."""
    folders = [path for path in visible_entries(folder) if path.is_dir()]
    lows = [path for path in folders if LOW_FOLDER.fullmatch(path.name)]
    return lows, [path for path in folders if path.name.lower() in HIGH_FOLDER_NAMES]


def benchmark_truth(path: Path, root: Path) -> Path | None:
    """Return the folder such as ``GT``, beside low resolution, that a clip under ``root`` is or lies in."""
    for folder in (path, *path.parents):
        if folder.name.lower() in HIGH_FOLDER_NAMES:
            return folder if benchmark_folders(folder.parent)[0] else None
        if folder == root:
            break
    return None


def own_low_resolution(clip: Path, root: Path) -> tuple[LowResolution, ...]:
    """Return what lies in ``BIx4``, ``BDx4`` or ``lr`` beside the truth of a benchmark's clip."""
    truth = benchmark_truth(clip, root)
    if truth is None:
        return ()
    found = []
    for folder in benchmark_folders(truth.parent)[0]:
        low = folder / clip.relative_to(truth)
        if clip.is_file() and not low.exists():  # a video may have another suffix
            low = next((path for path in visible_entries(low.parent) if path.stem == clip.stem), low)
        if low.exists():
            scale = int(folder.name[-1]) if folder.name[-1] in "234" else 0
            phase = "zero" if folder.name.lower().startswith("bd") else "centre"
            found.append(LowResolution(low, scale, phase))
    return tuple(found)


def is_frame_sequence(files: Sequence[Path]) -> bool:
    """Return whether the images of a folder are the frames of a clip, not single pictures.

    They are if they share a name but for its number, the first three are numbered consecutively, have one
    size, and show one shot.

    Raises:
        DataError: one of the first cannot be decoded.
    """
    if len(files) < _MIN_FRAMES:
        return False
    numbered = [_NUMBERED.fullmatch(path.stem) for path in files]
    if not all(numbered) or len({match[1] for match in numbered if match}) > 1:
        return False
    first = [int(match[2]) for match in numbered[:_JUDGED_FRAMES] if match]
    if first != list(range(first[0], first[0] + _JUDGED_FRAMES)):
        return False
    images = [read_image(path, "remove it from the folder")[0] for path in files[:_JUDGED_FRAMES]]
    detector = ShotDetector()
    return len({image.shape for image in images}) == 1 and not any(detector.is_cut(x) for x in images)


def missing_frames(files: Sequence[Path], numbers: range | None = None) -> str:
    """Return text such as ``00000007.png and 2 more`` that names missing frames; empty if there are none.

    Args:
        files: numbered images.
        numbers: expected; None: from the first to the last of ``files``.
    """
    matches = {int(match[2]): match for path in files if (match := _NUMBERED.fullmatch(path.stem))}
    if numbers is None:
        numbers = range(min(matches), max(matches) + 1) if matches else range(0)
    missing = [number for number in numbers if number not in matches]
    if not missing:
        return ""
    model = next(iter(matches.values()), None)
    prefix, digits = (model[1], len(model[2])) if model else ("", 1)
    suffix = files[0].suffix if files else ""
    name = f"{prefix}{missing[0]:0{digits}}{suffix}"
    return name if len(missing) == 1 else f"{name} and {len(missing) - 1} more"


def _built(root: Path) -> Layout:
    folder = root / BUILT_CLIPS
    entries = visible_entries(folder) if folder.is_dir() else []
    videos = [path for path in entries if path.suffix.lower() in VIDEO_EXTENSIONS]
    problems = () if videos else (f"no clip in {str(folder)!r}: run `vsr dataset build` again",)
    return Layout("built set", root, tuple(DatasetClip(path, path.stem) for path in videos), problems)


def _reds_split(root: Path, split: Split) -> Path | None:
    """Return the folder of sharp frames that is meant, or None."""
    names = [f"{split}_sharp", *(f"{other}_sharp" for other in ("val", "train") if other != split)]
    if root.resolve().name in names:
        return root
    found = (root / folder / name for name in names for folder in ("", name.partition("_")[0]))
    return next((path for path in found if path.is_dir()), None)


def _reds(root: Path, truth: Path) -> Layout:
    split = truth.resolve().name
    sequences = [path for path in visible_entries(truth) if path.is_dir()]
    lows = truth.resolve().parent / f"{split}_bicubic"
    low_folders = {
        int(path.name[1:]): path
        for path in (visible_entries(lows) if lows.is_dir() else ())
        if path.is_dir() and re.fullmatch("[Xx][234]", path.name)
    }
    frames = {path: image_files(path) for path in sequences}
    last = max((_frame_numbers(files)[-1:] or [-1] for files in frames.values()), default=[-1])[0]
    remedy = "unpack the archive again, or move the sequence away"
    problems, clips = [], []
    if not sequences:
        problems.append(
            f"no sequence in {str(truth)!r}: REDS has 000, 001, ... there; unpack the archive again"
        )
    for path, files in frames.items():
        if not files:
            problems.append(f"REDS sequence {str(path)!r} is empty: {remedy}")
        elif missing := missing_frames(files, range(last + 1)):
            problems.append(f"REDS sequence {str(path)!r} lacks {missing}: {remedy}")
        own = []
        for scale, folder in low_folders.items():
            low = folder / path.name
            low_files = image_files(low) if low.is_dir() else []
            if missing := missing_frames(low_files, range(last + 1)):
                lacking = f"lacks {missing}" if low_files else "is not there"
                problems.append(f"REDS low resolution {str(low)!r} {lacking}: {remedy}")
            own.append(LowResolution(low, scale, "centre"))
        clips.append(DatasetClip(path, f"{split}-{path.name}", tuple(own)))
    return Layout("REDS", root, tuple(clips), tuple(problems))


def _frame_numbers(files: Sequence[Path]) -> list[int]:
    return sorted(int(match[2]) for path in files if (match := _NUMBERED.fullmatch(path.stem)))


def _is_vimeo(folder: Path) -> bool:
    return (folder / "sequences").is_dir() and (
        any((folder / name).is_file() for name in _LISTS.values())
        or next((folder / "sequences").glob("*/*/im1.png"), None) is not None
    )


def _vimeo(root: Path, split: Split) -> Layout:
    listed = root / _LISTS[split]
    if not listed.is_file():
        what = "train on" if split == "train" else "validate on"
        problem = (
            f"no {listed.name} in {str(root)!r}: it names the septuplets to {what}; unpack the archive again"
        )
        return Layout("Vimeo-90K", root, (), (problem,))
    try:
        lines = listed.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {str(listed)!r}: {error}; unpack the archive again") from error
    problems, clips = [], []
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if not name:
            continue
        where = f"{str(listed)!r}, line {number}: septuplet {name!r}"
        remedy = "unpack the archive again, or remove the line"
        if not re.fullmatch(r"[\w-]+/[\w-]+", name):
            problems.append(f"{where} is not of the form 00001/0001: correct or remove the line")
            continue
        folder = root / "sequences" / name
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else None
        if present is None:
            problems.append(f"{where} is not in {str(root / 'sequences')!r}: {remedy}")
        elif missing := [frame for frame in _SEPTUPLET if frame not in present]:
            problems.append(f"{where} lacks {missing[0]}: {remedy}")
        clips.append(DatasetClip(folder, name.replace("/", "-")))
    if not clips:
        problems.append(f"{str(listed)!r} names no septuplet: unpack the archive again")
    return Layout("Vimeo-90K", root, tuple(clips), tuple(problems))


def walk_files(root: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield the folders under ``root``, itself included, with their videos and images.

    Hidden ones are left out. Where a folder holds a benchmark, its low resolution is left out. A linked
    folder is visited once.
    """
    visited: set[Path] = set()

    def walk(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
        if folder.resolve() in visited:
            return
        visited.add(folder.resolve())
        lows, highs = benchmark_folders(folder)
        entries = visible_entries(folder)
        media = VIDEO_EXTENSIONS | IMAGE_EXTENSIONS
        yield folder, [path for path in entries if path.suffix.lower() in media and path.is_file()]
        for path in entries:
            if path.is_dir() and not (highs and path in lows):
                yield from walk(path)

    yield from walk(root)
