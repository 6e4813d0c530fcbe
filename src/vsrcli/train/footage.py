"""Training footage: a folder of clips and photographs, decoded once into memory-mapped pairs.

Layout of the cache: ``high/NAME.npy`` is the truth, uint8 (T, H, W, 3); ``PRESET-xS/NAME.npy`` holds its
degradations, uint8 (variants, T, H/S, W/S, 3). Both are written to a partial file and renamed, so that a
killed preparation resumes at the file where it stopped.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vsrcli.degradations import Degradation, degrade
from vsrcli.errors import DataError
from vsrcli.evaluate.clips import decode_video, read_image
from vsrcli.models.weights import file_sha256
from vsrcli.system.files import atomic_write
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS
from vsrcli.train.synthesis import HEIGHT, WIDTH, camera_move, defocused, motion_blurred, static_camera

CACHE_VERSION = 3  # raise when the arrays change
SIDE_MULTIPLE = 12  # sides are cropped to a multiple of every scale
SHARP_CLIPS_PER_PHOTO = 2
# Each photograph also gets one of these, in turn. The keys are part of clip names, which seed the rendering.
SOFT_RENDERERS = {"shutter": motion_blurred, "focus": defocused, "still": static_camera}


@dataclass(frozen=True)
class Footage:
    """Files of a training or validation folder.

    Attributes:
        root: the folder.
        clips, photos: files in it, sorted.
        skipped_count: files left out because the folder's ``manifest.csv`` does not allow shipping weights
            made from them.
    """

    root: Path
    clips: tuple[Path, ...]
    photos: tuple[Path, ...]
    skipped_count: int


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """A clip's truth and its degradations, memory-mapped.

    Attributes:
        name: name of the clip.
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
        shippable_only: leave out files that the ``ship`` column of the nearest ``manifest.csv`` (in the
            folder or up to two above) does not mark ``yes``.

    Raises:
        DataError: no such folder, nothing usable in it, or ``shippable_only`` without a manifest.
    """
    if not root.is_dir():
        raise DataError(f"no folder {str(root)!r}: give one that holds clips or photographs")
    files = sorted(
        path for path in root.rglob("*") if path.suffix.lower() in VIDEO_EXTENSIONS | IMAGE_EXTENSIONS
    )
    skipped_count = 0
    if shippable_only:
        allowed = _shippable_files(root)
        shippable = [path for path in files if path.resolve() in allowed]
        skipped_count, files = len(files) - len(shippable), shippable
    clips = tuple(path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS)
    photos = tuple(path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS)
    if not clips and not photos:
        raise DataError(
            f"no clip and no photograph to use in {str(root)!r}: "
            "add videos (.mp4, .mkv, ...) or images (.jpg, .png, ...)"
        )
    return Footage(root, clips, photos, skipped_count)


def check_no_leakage(training: Footage, evaluated: Footage) -> None:
    """Raise if training and evaluation footage share a file.

    Raises:
        DataError: a file is in both, even under another name; or two different files share a name, which
            would be the same name in the cache. The message names them.
    """
    trained = [*training.clips, *training.photos]
    by_path = {path.resolve(): path for path in trained}
    by_name = {(path in training.photos, path.stem): path for path in trained}
    by_size: dict[int, list[Path]] = {}
    for path in trained:
        by_size.setdefault(path.stat().st_size, []).append(path)
    for path in (*evaluated.clips, *evaluated.photos):
        twin = by_path.get(path.resolve())
        same_size = by_size.get(path.stat().st_size, [])
        if twin is None and same_size:  # hash only the few files that could be equal
            digest = file_sha256(path)
            twin = next((other for other in same_size if file_sha256(other) == digest), None)
        if twin is not None:
            raise DataError(
                f"{str(path)!r} is also trained on, as {str(twin)!r}: remove it from one of the folders"
            )
        namesake = by_name.get((path in evaluated.photos, path.stem))
        if namesake is not None:
            raise DataError(
                f"{str(path)!r} and {str(namesake)!r} share a name, which the cache goes by: rename one"
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
        footage: files to prepare.
        cache: folder for the arrays; created if missing.
        scale, preset: scale and degradation of the low resolution.
        blur: render a third clip of every photograph: motion-blurred, out of focus or static, in turn.
        on_progress: called with (done, total) after each clip.

    Raises:
        DataError: a file cannot be decoded, or two have the same name; the message names them.
    """
    _check_names(footage)
    jobs: list[tuple[str, str, Callable[[np.random.Generator], np.ndarray]]] = [
        (path.stem, "clip", lambda rng, path=path: _decode_clip(path)) for path in footage.clips
    ]
    for number, path in enumerate(footage.photos):
        other = footage.photos[(number * 7 + 3) % len(footage.photos)]
        jobs += [
            (
                f"{path.stem}.take{index}",
                "photo",
                lambda rng, path=path, other=other: camera_move(_open_photo(path), _open_photo(other), rng),
            )
            for index in range(SHARP_CLIPS_PER_PHOTO)
        ]
        if blur:
            effect, render = list(SOFT_RENDERERS.items())[number % len(SOFT_RENDERERS)]
            jobs.append(
                (
                    f"{path.stem}.{effect}",
                    "photo",
                    lambda rng, path=path, other=other, render=render: render(
                        _open_photo(path), _open_photo(other), rng
                    ),
                )
            )

    def prepare_pair(job: tuple[str, str, Callable[[np.random.Generator], np.ndarray]]) -> TrainingPair:
        name, kind, create_clip = job
        rng = np.random.default_rng(zlib.crc32(name.encode()))  # the same clip on every machine and run
        high = _load_or_create(cache / f"v{CACHE_VERSION}" / "high" / f"{name}.npy", lambda: create_clip(rng))
        rng = np.random.default_rng([zlib.crc32(name.encode()), scale, zlib.crc32(preset.name.encode())])
        low = _load_or_create(
            cache / f"v{CACHE_VERSION}" / f"{preset.name}-x{scale}" / f"{name}.npy",
            lambda: np.stack([degrade(high, scale, preset, v, rng) for v in range(preset.variant_count)]),
        )
        return TrainingPair(name, kind, high, low)

    pairs = []
    with ThreadPoolExecutor(2) as pool:
        for done, pair in enumerate(pool.map(prepare_pair, jobs), start=1):
            pairs.append(pair)
            on_progress(done, len(jobs))
    return pairs


def read_manifest(root: Path) -> dict[Path, dict[str, str]] | None:
    """Return the rows of the ``manifest.csv`` in a folder or up to two above, by file; None without one."""
    for folder in (root, root.parent, root.parent.parent):
        manifest = folder / "manifest.csv"
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as file:
                return {(folder / row["path"]).resolve(): row for row in csv.DictReader(file)}
    return None


def _shippable_files(root: Path) -> set[Path]:
    rows = read_manifest(root)
    if rows is None:
        raise DataError(
            f"no manifest.csv in or above {str(root)!r}: it says which files may be used; or drop --shippable"
        )
    return {path for path, row in rows.items() if row.get("ship") == "yes"}


def _check_names(footage: Footage) -> None:
    paths: dict[tuple[bool, str], Path] = {}
    for path in (*footage.clips, *footage.photos):
        twin = paths.setdefault((path in footage.photos, path.stem), path)
        if twin is not path:
            raise DataError(
                f"{str(twin)!r} and {str(path)!r} share a name, which the cache goes by: rename one"
            )


def _load_or_create(path: Path, create: Callable[[], np.ndarray]) -> np.ndarray:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        array = create()
        atomic_write(path, lambda file: np.save(file, array), fsync=False)
    return np.load(path, mmap_mode="r")


def _decode_clip(path: Path) -> np.ndarray:
    high = np.stack(list(decode_video(path, "remove it from the folder")))
    height, width = (side // SIDE_MULTIPLE * SIDE_MULTIPLE for side in high.shape[1:3])
    return high[:, :height, :width]


def _open_photo(path: Path) -> Image.Image:
    image = Image.fromarray(read_image(path, "remove it from the folder")[0])
    enlargement = max(WIDTH * 1.4 / image.width, HEIGHT * 1.4 / image.height)
    if enlargement > 1:  # small photographs: enlarge rather than show their border
        image = image.resize(
            (round(image.width * enlargement), round(image.height * enlargement)), Image.Resampling.LANCZOS
        )
    return image
