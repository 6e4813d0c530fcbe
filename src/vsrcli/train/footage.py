"""Footage on disk, decoded once: a folder of clips and photographs becomes memory-mapped pairs.

Layout of the cache: ``high/NAME.npy`` is the truth, uint8 (T, H, W, 3); ``PRESET-xS/NAME.npy`` holds its
degradations, uint8 (variants, T, H/S, W/S, 3). Both are written beside their final name and renamed, so that
a killed preparation goes on where it stopped.

What is evaluated is never trained on.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from PIL import Image

from vsrcli.degradations import Degradation, degrade
from vsrcli.errors import DataError
from vsrcli.models.weights import file_sha256
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from vsrcli.train.synthesis import HEIGHT, WIDTH, camera_move, defocused, motion_blurred, static_camera

CACHE_VERSION = 1  # raise when the arrays would come out differently
MULTIPLE = 12  # sides are cropped to a multiple of every scale
CROPS_PER_CLIP = 2  # sharp camera moves rendered of every photograph
SOFTENING = {
    "shutter": motion_blurred,
    "focus": defocused,
    "still": static_camera,
}  # one more of each, in turn


@dataclass(frozen=True)
class Footage:
    """A training or validation folder, listed.

    Attributes:
        root: the folder.
        clips, photos: files in it, sorted.
        skipped: files left out because the folder's ``manifest.csv`` does not allow shipping weights made
            from them.
    """

    root: Path
    clips: tuple[Path, ...]
    photos: tuple[Path, ...]
    skipped: int


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """A clip's truth and its degradations, memory-mapped.

    Attributes:
        name: of the clip.
        kind: ``clip`` or ``photo``.
        high: uint8 (T, H, W, 3).
        low: uint8 (variants, T, H/scale, W/scale, 3).
    """

    name: str
    kind: str
    high: np.ndarray
    low: np.ndarray


def find_footage(root: Path, *, shippable_only: bool = False) -> Footage:
    """List the clips and photographs under a folder.

    Args:
        root: searched recursively.
        shippable_only: obey the ``ship`` column of the nearest ``manifest.csv`` (in the folder or up to two
            above): leave out what is not marked ``yes``.

    Raises:
        DataError: no such folder, nothing usable in it, or ``shippable_only`` without a manifest.
    """
    if not root.is_dir():
        raise DataError(f"no folder {str(root)!r}: name one that holds clips or photographs")
    files = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS | IMAGE_EXTENSIONS
    )
    skipped = 0
    if shippable_only:
        allowed = _shippable(root)
        kept = [path for path in files if path.resolve() in allowed]
        skipped, files = len(files) - len(kept), kept
    clips = tuple(path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS)
    photos = tuple(path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS)
    if not clips and not photos:
        raise DataError(
            f"no clip and no photograph to use in {str(root)!r}: add videos (.mp4, .mkv, ...) or images (.jpg, .png, ...)"
        )
    return Footage(root, clips, photos, skipped)


def _shippable(root: Path) -> set[Path]:
    for folder in (root, root.parent, root.parent.parent):
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as file:
                rows = csv.DictReader(file)
                return {(folder / row["path"]).resolve() for row in rows if row.get("ship") == "yes"}
    raise DataError(
        f"no manifest.csv in or above {str(root)!r}: it says which files may be used; or drop --shippable"
    )


def prepare_pairs(
    footage: Footage,
    cache: Path,
    scale: int,
    preset: Degradation,
    *,
    blur: bool = False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[TrainingPair]:
    """Decode, render and degrade everything that the cache does not hold yet, then map it.

    Args:
        footage: what to use.
        cache: folder for the arrays; made if absent.
        scale, preset: how low resolution is made.
        blur: add a third take of every photograph: blurred by motion, out of focus or still, in turn.
        on_progress: told (done, total) after each item.

    Raises:
        DataError: a file cannot be decoded, or two have the same name; the message names them.
    """
    _check_names(footage)
    jobs: list[tuple[str, str, Callable[[np.random.Generator], np.ndarray]]] = [
        (path.stem, "clip", lambda rng, path=path: _decode(path)) for path in footage.clips
    ]
    for number, path in enumerate(footage.photos):
        other = footage.photos[(number * 7 + 3) % len(footage.photos)]
        jobs += [
            (
                f"{path.stem}.take{take}",
                "photo",
                lambda rng, path=path, other=other: camera_move(_photo(path), _photo(other), rng),
            )
            for take in range(CROPS_PER_CLIP)
        ]
        if blur:
            word, move = list(SOFTENING.items())[number % len(SOFTENING)]
            jobs.append(
                (
                    f"{path.stem}.{word}",
                    "photo",
                    lambda rng, path=path, other=other, move=move: move(_photo(path), _photo(other), rng),
                )
            )

    def work(job: tuple[str, str, Callable[[np.random.Generator], np.ndarray]]) -> TrainingPair:
        name, kind, make = job
        rng = np.random.default_rng(zlib.crc32(name.encode()))  # the same film on every machine and run
        high = _cached(cache / f"v{CACHE_VERSION}" / "high" / f"{name}.npy", lambda: make(rng))
        rng = np.random.default_rng([zlib.crc32(name.encode()), scale, zlib.crc32(preset.name.encode())])
        low = _cached(
            cache / f"v{CACHE_VERSION}" / f"{preset.name}-x{scale}" / f"{name}.npy",
            lambda: np.stack([degrade(high, scale, preset, v, rng) for v in range(preset.variant_count)]),
        )
        return TrainingPair(name, kind, high, low)

    pairs = []
    with ThreadPoolExecutor(2) as pool:
        for done, pair in enumerate(pool.map(work, jobs), start=1):
            pairs.append(pair)
            on_progress(done, len(jobs))
    return pairs


def _check_names(footage: Footage) -> None:
    seen: dict[tuple[bool, str], Path] = {}
    for path in (*footage.clips, *footage.photos):
        twin = seen.setdefault((path in footage.photos, path.stem), path)
        if twin is not path:
            raise DataError(
                f"{str(twin)!r} and {str(path)!r} share a name, which the cache goes by: rename one"
            )


def _cached(path: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, make())
        partial.replace(path)
    return np.load(path, mmap_mode="r")


def _decode(path: Path) -> np.ndarray:
    try:
        with av.open(str(path)) as container:
            stream = next(iter(container.streams.video), None)
            frames = (
                [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)] if stream else []
            )
    except av.FFmpegError as error:
        raise DataError(f"cannot decode {str(path)!r}: {error}; remove it from the folder") from error
    if not frames:
        raise DataError(f"no picture in {str(path)!r}: remove it from the folder")
    high = np.stack(frames)
    height, width = (side // MULTIPLE * MULTIPLE for side in high.shape[1:3])
    return high[:, :height, :width]


def _photo(path: Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image = image.convert("RGB")
    except OSError as error:
        raise DataError(f"cannot read {str(path)!r}: {error}; remove it from the folder") from error
    smallest = max(WIDTH * 1.4 / image.width, HEIGHT * 1.4 / image.height)
    if smallest > 1:  # tiny pictures: enlarge rather than show their border
        image = image.resize(
            (round(image.width * smallest), round(image.height * smallest)), Image.Resampling.LANCZOS
        )
    return image


def check_no_leakage(training: Footage, evaluated: Footage) -> None:
    """Refuse folders that share a file.

    Raises:
        DataError: a file lies in both, under whatever name, or two different ones share a name, which decoded
            footage is kept under; the message names them.
    """
    ours = [*training.clips, *training.photos]
    by_path = {path.resolve(): path for path in ours}
    by_name = {(path in training.photos, path.stem): path for path in ours}
    by_size: dict[int, list[Path]] = {}
    for path in ours:
        by_size.setdefault(path.stat().st_size, []).append(path)
    for path in (*evaluated.clips, *evaluated.photos):
        twin = by_path.get(path.resolve())
        same_size = by_size.get(path.stat().st_size, [])
        if twin is None and same_size:  # reading whole files is for the few that could be equal
            digest = file_sha256(path)
            twin = next((other for other in same_size if file_sha256(other) == digest), None)
        if twin is not None:
            raise DataError(
                f"{str(path)!r} is also trained on, as {str(twin)!r}: take it out of one of the folders"
            )
        namesake = by_name.get((path in evaluated.photos, path.stem))
        if namesake is not None:
            raise DataError(
                f"{str(path)!r} and {str(namesake)!r} share a name, which the cache goes by: rename one"
            )
