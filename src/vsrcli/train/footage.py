"""Training footage: a folder of clips and photographs, decoded once into memory-mapped pairs.

Published data sets are recognized by their folders (:mod:`vsrcli.datasets.layouts`). Elsewhere a video is a
clip, numbered images of one shot are one, too, and every other image is a photograph.

Layout of the cache: ``high/NAME.npy`` is the truth, uint8 (T, H, W, 3); ``PRESET-xS/NAME.npy`` holds its
degradations, uint8 (variants, T, H/S, W/S, 3). Both are written to a partial file and renamed, so that a
killed preparation resumes at the file where it stopped.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from vsrcli.datasets.decoding import decode_video, image_files, read_image
from vsrcli.datasets.layouts import (
    Layout,
    LowResolution,
    Split,
    benchmark_truth,
    is_frame_sequence,
    missing_frames,
    own_low_resolution,
    recognize,
    walk_files,
)
from vsrcli.datasets.manifest import read_manifest
from vsrcli.degradations import Degradation, degrade
from vsrcli.errors import DataError
from vsrcli.evaluate.clips import read_frames
from vsrcli.models.weights import file_sha256
from vsrcli.system.files import atomic_write
from vsrcli.system.text import IMAGE_EXTENSIONS, VIDEO_EXTENSIONS, format_bytes
from vsrcli.train.synthesis import HEIGHT, WIDTH, camera_move, defocused, motion_blurred, static_camera

CACHE_VERSION = 3  # raise when the arrays change
PAIRS = "pairs"  # the degradation that takes what the set brings
SIDE_MULTIPLE = 12  # sides are cropped to a multiple of every scale
SHARP_CLIPS_PER_PHOTO = 2
# Each photograph also gets one of these, in turn. The keys are part of clip names, which seed the rendering.
SOFT_RENDERERS = {"shutter": motion_blurred, "focus": defocused, "still": static_camera}


@dataclass(frozen=True)
class Footage:
    """Files of a training or validation folder.

    Attributes:
        root: the folder.
        clips: videos, and folders of frames, sorted.
        photos: single pictures, sorted.
        skipped_count: files left out because the folder's ``manifest.csv`` does not allow shipping weights
            made from them.
        kind: of a published data set, such as ``REDS``; empty for others.
        names: of clips that are folders or parts of a published set; others go by their file name.
        lows: own low resolutions of clips that have some.
    """

    root: Path
    clips: tuple[Path, ...]
    photos: tuple[Path, ...]
    skipped_count: int
    kind: str = ""
    names: Mapping[Path, str] = field(default_factory=dict)
    lows: Mapping[Path, tuple[LowResolution, ...]] = field(default_factory=dict)

    def name_of(self, path: Path) -> str:
        """Return the name of a clip or photograph, which the cache goes by."""
        return self.names.get(path, path.stem)


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


def find_footage(root: Path, *, shippable_only: bool = False, split: Split = "train") -> Footage:
    """List the clips and photographs under a folder.

    Args:
        root: a published data set, or a folder that is searched recursively; hidden files are left out.
        shippable_only: leave out files that the ``ship`` column of the nearest ``manifest.csv`` (in the
            folder or up to two above) does not mark ``yes``.
        split: of a published data set that has several.

    Raises:
        DataError: no such folder, nothing usable in it, frames or clips that are missing, or
            ``shippable_only`` without a manifest.
    """
    if not root.is_dir():
        raise DataError(f"no folder {str(root)!r}: give one that holds clips or photographs")
    layout = recognize(root, split)
    footage = _search(root) if layout is None else _published(root, layout)
    if not footage.clips and not footage.photos:
        raise _nothing_usable(root)
    if not shippable_only:
        return footage
    allowed = _shippable_files(root)
    clips, photos = (
        tuple(path for path in files if path.resolve() in allowed)
        for files in (footage.clips, footage.photos)
    )
    if not clips and not photos:
        raise _nothing_usable(root)
    skipped_count = len(footage.clips) + len(footage.photos) - len(clips) - len(photos)
    return Footage(root, clips, photos, skipped_count, footage.kind, footage.names, footage.lows)


def _nothing_usable(root: Path) -> DataError:
    return DataError(
        f"no clip and no photograph to use in {str(root)!r}: "
        "add videos (.mp4, .mkv, ...) or images (.jpg, .png, ...)"
    )


def _published(root: Path, layout: Layout) -> Footage:
    layout.check()
    names = {clip.path: clip.name for clip in layout.clips}
    lows = {clip.path: clip.lows for clip in layout.clips if clip.lows}
    return Footage(root, tuple(names), (), 0, layout.kind, names, lows)


def _search(root: Path) -> Footage:
    clips: list[Path] = []
    photos: list[Path] = []
    names: dict[Path, str] = {}
    lows: dict[Path, tuple[LowResolution, ...]] = {}
    for folder, files in walk_files(root):
        videos = [path for path in files if path.suffix.lower() in VIDEO_EXTENSIONS]
        images = [path for path in files if path.suffix.lower() in IMAGE_EXTENSIONS]
        found = videos
        if images and not videos and (benchmark_truth(folder, root) or is_frame_sequence(images)):
            if missing := missing_frames(images):
                raise DataError(f"{str(folder)!r} lacks {missing}: copy its frames again, or move it away")
            found, images = [folder], []
            names[folder] = "-".join(folder.relative_to(root).parts) or folder.resolve().name
        for clip in found:
            if own := own_low_resolution(clip, root):
                lows[clip] = own
        clips += found
        photos += images
    return Footage(root, tuple(sorted(clips)), tuple(sorted(photos)), 0, "", names, lows)


def check_no_leakage(training: Footage, evaluated: Footage) -> None:
    """Raise if training and evaluation footage share a file.

    Raises:
        DataError: a file is in both, even under another name; or two different files share a name, which
            would be the same name in the cache. The message names them.
    """
    trained = [*training.clips, *training.photos]
    by_path = {path.resolve(): path for path in trained}
    trained_photos, evaluated_photos = set(training.photos), set(evaluated.photos)
    by_name = {(path in trained_photos, training.name_of(path)): path for path in trained}
    by_size: dict[int, list[Path]] = {}
    for path in trained:
        by_size.setdefault(_first_file(path).stat().st_size, []).append(path)
    for path in (*evaluated.clips, *evaluated.photos):
        twin, first = by_path.get(path.resolve()), _first_file(path)
        same_size = by_size.get(first.stat().st_size, [])
        if twin is None and same_size:  # hash only the few files that could be equal
            digest = file_sha256(first)
            twin = next((other for other in same_size if file_sha256(_first_file(other)) == digest), None)
        if twin is not None:
            raise DataError(
                f"{str(path)!r} is also trained on, as {str(twin)!r}: remove it from one of the folders"
            )
        namesake = by_name.get((path in evaluated_photos, evaluated.name_of(path)))
        if namesake is not None:
            raise DataError(
                f"{str(path)!r} and {str(namesake)!r} share a name, which the cache goes by: rename one"
            )


def _first_file(clip: Path) -> Path:
    """Return a file, or the first frame of a folder: two clips that share it are taken for the same."""
    return image_files(clip)[0] if clip.is_dir() else clip


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
        scale, preset: scale and degradation of the low resolution; with ``pairs``, each clip's own is read.
        blur: render a third clip of every photograph: motion-blurred, out of focus or static, in turn.
        on_progress: called with (done, total) after each clip.

    Raises:
        DataError: a file cannot be decoded, two have the same name, the cache has no room for them, or a clip
            has no low resolution of this scale for ``pairs``; the message names them.
    """
    _check_names(footage)
    folder = cache / f"v{CACHE_VERSION}"
    _check_space(footage, folder, scale, preset)
    own_lows = _lows_by_name(footage, scale, preset) if preset.name == PAIRS else {}
    jobs: list[tuple[str, str, Callable[[np.random.Generator], np.ndarray]]] = [
        (footage.name_of(path), "clip", lambda rng, path=path: _decode_clip(path)) for path in footage.clips
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
        high = _load_or_create(folder / "high" / f"{name}.npy", lambda: create_clip(rng))
        rng = np.random.default_rng([zlib.crc32(name.encode()), scale, zlib.crc32(preset.name.encode())])

        def create_low() -> np.ndarray:
            if name in own_lows:
                return _read_low(own_lows[name], high)[None]
            return np.stack([degrade(high, scale, preset, v, rng) for v in range(preset.variant_count)])

        low = _load_or_create(folder / f"{preset.name}-x{scale}" / f"{name}.npy", create_low)
        return TrainingPair(name, kind, high, low)

    pairs = []
    with ThreadPoolExecutor(2) as pool:
        for done, pair in enumerate(pool.map(prepare_pair, jobs), start=1):
            pairs.append(pair)
            on_progress(done, len(jobs))
    return pairs


def _shippable_files(root: Path) -> set[Path]:
    rows = read_manifest(root)
    if rows is None:
        raise DataError(
            f"no manifest.csv in or above {str(root)!r}: it says which files may be used; or drop --shippable"
        )
    return {path for path, row in rows.items() if row.get("ship") == "yes"}


def _check_names(footage: Footage) -> None:
    paths: dict[tuple[bool, str], Path] = {}
    photos = set(footage.photos)
    for path in (*footage.clips, *footage.photos):
        twin = paths.setdefault((path in photos, footage.name_of(path)), path)
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


def _lows_by_name(footage: Footage, scale: int, preset: Degradation) -> dict[str, LowResolution]:
    """Return the low resolution that each clip of a set brings, by the clip's name."""
    if footage.photos:
        raise DataError(
            f"{str(footage.photos[0])!r} has no low resolution of its own: --degradation {PAIRS} is for sets "
            "that bring it, such as REDS; use another"
        )
    result = {}
    for path in footage.clips:
        own = [low for low in footage.lows.get(path, ()) if low.scale in (scale, 0)]
        if not own:
            raise DataError(
                f"{str(path)!r} has no low resolution of its own at x{scale}: --degradation {PAIRS} is for "
                "sets that bring it, such as REDS at x4; use another"
            )
        fitting = next((low for low in own if low.phase == preset.phase), None)
        if fitting is None:
            raise DataError(
                f"{str(own[0].path)!r} was made by bd, on another pixel grid than --degradation {PAIRS}: use "
                "--degradation bd, which makes the same"
            )
        result[footage.name_of(path)] = fitting
    return result


def _read_low(low: LowResolution, high: np.ndarray) -> np.ndarray:
    """Return low resolution, cropped as its truth was: (T, H/scale, W/scale, 3)."""
    frames = read_frames(low.path)
    count, height, width, _ = high.shape
    scale = low.scale or max(1, round(high.shape[1] / frames.shape[1]))
    rows, columns = height // scale, width // scale
    fits = (
        0 <= side - cropped < SIDE_MULTIPLE
        for side, cropped in zip(frames.shape[1:3], (rows, columns), strict=True)
    )
    if len(frames) != count or not all(fits):
        raise DataError(
            f"{str(low.path)!r} has {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}, its truth "
            f"{count} of at least {width}x{height}: x{scale} needs the same frames and {columns}x{rows}; "
            "replace it"
        )
    return frames[:, :rows, :columns]


def _check_space(footage: Footage, cache: Path, scale: int, preset: Degradation) -> None:
    """Raise ``DataError`` if the frames of a published set do not fit on the disk of the cache.

    Decoded, REDS takes 66 GB and Vimeo-90K 155 GB. Clips of one set have one size, so a look at the first is
    enough.
    """
    folders = [path for path in footage.clips if path.is_dir()]
    waiting = [path for path in folders if not (cache / "high" / f"{footage.name_of(path)}.npy").exists()]
    if not waiting:
        return
    files = image_files(waiting[0])
    if not files:
        return
    with Image.open(files[0]) as image:
        width, height = image.size
    per_clip = len(files) * width * height * 3 * (1 + preset.variant_count / scale**2)
    place = next(path for path in (cache, *cache.absolute().parents) if path.exists())
    needed, free = len(waiting) * per_clip, shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"{len(waiting)} clips take about {format_bytes(needed)} once decoded, {str(place)!r} has "
            f"{format_bytes(free)} left: name another --cache, or use a part of the set"
        )


def _decode_clip(path: Path) -> np.ndarray:
    high = read_frames(path) if path.is_dir() else _decode_whole_video(path)
    height, width = (side // SIDE_MULTIPLE * SIDE_MULTIPLE for side in high.shape[1:3])
    if not height or not width:
        raise DataError(
            f"{str(path)!r} is {high.shape[2]}x{high.shape[1]}, too small: sides are {SIDE_MULTIPLE} pixels "
            "or more; remove it from the folder"
        )
    return high[:, :height, :width]


def _decode_whole_video(path: Path) -> np.ndarray:
    frames: list[np.ndarray] = []
    for frame in decode_video(path, "remove it from the folder"):
        if frames and frame.shape != frames[0].shape:
            sizes = [f"{each.shape[1]}x{each.shape[0]}" for each in (frames[0], frame)]
            raise DataError(
                f"the frames of {str(path)!r} change from {sizes[0]} to {sizes[1]}: remove it from the folder"
            )
        frames.append(frame)
    return np.stack(frames)


def _open_photo(path: Path) -> Image.Image:
    image = Image.fromarray(read_image(path, "remove it from the folder")[0])
    enlargement = max(WIDTH * 1.4 / image.width, HEIGHT * 1.4 / image.height)
    if enlargement > 1:  # small photographs: enlarge rather than show their border
        image = image.resize(
            (round(image.width * enlargement), round(image.height * enlargement)), Image.Resampling.LANCZOS
        )
    return image
