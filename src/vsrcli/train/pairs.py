"""Pairs of truth and low resolution, made from footage once and memory-mapped from then on.

Layout of the cache: ``high/NAME.DIGEST.npy`` is the truth, uint8 (T, H, W, 3); ``PRESET-xS/NAME.DIGEST.npy``
holds its degradations, uint8 (variants, T, H/S, W/S, 3). The digest is that of the files which an array is
made from, so that other footage under the same name has arrays of its own. All are written to a partial file
and renamed, so that a killed preparation resumes at the file where it stopped.
"""

from __future__ import annotations

import hashlib
import shutil
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vsrcli.datasets.decoding import decode_video, image_files, image_size, read_image
from vsrcli.datasets.layouts import LowResolution
from vsrcli.degradations import Degradation, degrade
from vsrcli.errors import DataError
from vsrcli.evaluate.clips import read_frames
from vsrcli.system.files import atomic_write, sampled_sha256, shorten_name
from vsrcli.system.text import encode_text, format_bytes
from vsrcli.train.footage import Footage
from vsrcli.train.synthesis import HEIGHT, WIDTH, camera_move, defocused, motion_blurred, static_camera

CACHE_VERSION = 4  # raise when the arrays change
PAIRS = "pairs"  # the degradation that takes what the set brings
SIDE_MULTIPLE = 12  # sides are cropped to a multiple of every scale
SHARP_CLIPS_PER_PHOTO = 2
# Each photograph also gets one of these, in turn. The keys are part of clip names, which seed the rendering.
SOFT_RENDERERS = {"shutter": motion_blurred, "focus": defocused, "still": static_camera}
DIGEST_LENGTH = 16  # in file names
_MAX_NAME_BYTES = 200  # of a clip's name in a file's, which may have 255, those of a partial file included


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """A clip's truth and its degradations, memory-mapped.

    Attributes:
        name: name of the clip.
        kind: ``clip`` or ``photo``.
        high: uint8 (T, H, W, 3).
        low: uint8 (variants, T, H/scale, W/scale, 3).
        digest: of the files that it was made from.
    """

    name: str
    kind: str
    high: np.ndarray
    low: np.ndarray
    digest: str = ""


@dataclass(frozen=True)
class _Source:
    """A clip to be made: its name, kind, the files it depends on, how, and its own low resolution if any."""

    name: str
    kind: str
    files: tuple[Path, ...]
    create: Callable[[np.random.Generator], np.ndarray]
    own_low: LowResolution | None = None


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
        DataError: a file cannot be decoded, the cache has no room for them, or a clip has no low resolution
            of this scale for ``pairs``; the message names it.
    """
    folder = cache / f"v{CACHE_VERSION}"
    sources = _sources(footage, scale, preset, blur=blur)
    digests = {source.files: digest_of_files(source.files) for source in sources}
    waiting = [
        source.files[0]
        for source in sources
        if source.files[0].is_dir()
        and not _path(folder / "high", source.name, digests[source.files]).exists()
    ]
    _check_space(waiting, folder, scale, preset)

    def prepare_pair(source: _Source) -> TrainingPair:
        name, digest = source.name, digests[source.files]
        seed = zlib.crc32(encode_text(name))  # the same clip on every machine and run
        rng = np.random.default_rng(seed)
        high = _load_or_create(_path(folder / "high", name, digest), lambda: source.create(rng))
        rng = np.random.default_rng([seed, scale, zlib.crc32(preset.name.encode())])

        def create_low() -> np.ndarray:
            if source.own_low is not None:
                return _read_low(source.own_low, high, scale)[None]
            return np.stack([degrade(high, scale, preset, v, rng) for v in range(preset.variant_count)])

        low = _load_or_create(_path(folder / f"{preset.name}-x{scale}", name, digest), create_low)
        return TrainingPair(name, source.kind, high, low, digest)

    pairs = []
    with ThreadPoolExecutor(2) as pool:
        for done, pair in enumerate(pool.map(prepare_pair, sources), start=1):
            pairs.append(pair)
            on_progress(done, len(sources))
    return pairs


def footage_digest(pairs: Sequence[TrainingPair]) -> str:
    """Return a digest of the footage behind pairs, in their order, on which the batches of a run depend."""
    text = "\n".join(f"{pair.name} {pair.digest}" for pair in pairs)
    return hashlib.sha256(encode_text(text)).hexdigest()


def digest_of_files(paths: Sequence[Path]) -> str:
    """Return a digest that changes when a file does, or a folder of frames.

    Of a file, its size and samples of its content; of a folder, the names and sizes of its frames and samples
    of the first, the middle and the last. Times do not count, since copies have others.

    Raises:
        DataError: one cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            files = image_files(path) if path.is_dir() else [path]
            for file in files:
                name = file.name if path.is_dir() else ""
                digest.update(encode_text(f"{name} {file.stat().st_size}\n"))
            for file in dict.fromkeys((*files[:1], *files[len(files) // 2 :][:1], *files[-1:])):
                digest.update(sampled_sha256(file).encode())
        except OSError as error:
            reason = error.strerror or error
            raise DataError(f"cannot read {str(path)!r}: {reason}; remove it from the folder") from error
    return digest.hexdigest()[:DIGEST_LENGTH]


def _sources(footage: Footage, scale: int, preset: Degradation, *, blur: bool) -> list[_Source]:
    own_lows = _own_lows(footage, scale, preset) if preset.name == PAIRS else {}
    sources = []
    for path in footage.clips:
        low = own_lows.get(path)
        files = (path,) if low is None else (path, low.path)
        sources.append(
            _Source(footage.name_of(path), "clip", files, lambda rng, path=path: _decode_clip(path), low)
        )
    for number, path in enumerate(footage.photos):
        other = footage.photos[(number * 7 + 3) % len(footage.photos)]  # moves through the foreground
        renderers = {f"take{index}": camera_move for index in range(SHARP_CLIPS_PER_PHOTO)}
        if blur:
            effect, render = list(SOFT_RENDERERS.items())[number % len(SOFT_RENDERERS)]
            renderers[effect] = render
        for suffix, render in renderers.items():
            sources.append(
                _Source(
                    f"{path.stem}.{suffix}",
                    "photo",
                    (path, other),
                    lambda rng, path=path, other=other, render=render: render(
                        _open_photo(path), _open_photo(other), rng
                    ),
                )
            )
    return sources


def _path(folder: Path, name: str, digest: str) -> Path:
    return folder / f"{shorten_name(name, _MAX_NAME_BYTES)}.{digest}.npy"


def _load_or_create(path: Path, create: Callable[[], np.ndarray]) -> np.ndarray:
    if path.exists():
        try:
            return np.load(path, mmap_mode="r")
        except (OSError, ValueError, EOFError):  # not on the disk when the power failed
            path.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    array = create()
    atomic_write(path, lambda file: np.save(file, array), fsync=False)
    return np.load(path, mmap_mode="r")


def _own_lows(footage: Footage, scale: int, preset: Degradation) -> dict[Path, LowResolution]:
    """Return the low resolution that each clip of a set brings."""
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
        result[path] = fitting
    return result


def _read_low(low: LowResolution, high: np.ndarray, scale: int) -> np.ndarray:
    """Return low resolution, cropped as its truth was: (T, H/scale, W/scale, 3)."""
    frames = read_frames(low.path)
    count, height, width, _ = high.shape
    rows, columns = height // scale, width // scale
    fits = (
        0 <= scale * (side - cropped) <= SIDE_MULTIPLE
        for side, cropped in zip(frames.shape[1:3], (rows, columns), strict=True)
    )
    if len(frames) != count or not all(fits):
        raise DataError(
            f"{str(low.path)!r} has {len(frames)} frames of {frames.shape[2]}x{frames.shape[1]}, its truth "
            f"{count} of at least {width}x{height}: x{scale} needs the same frames and {columns}x{rows}; "
            "replace it, or give another --scale"
        )
    return frames[:, :rows, :columns]


def _check_space(waiting: Sequence[Path], cache: Path, scale: int, preset: Degradation) -> None:
    """Raise ``DataError`` if folders of frames, decoded, do not fit on the disk of the cache.

    Decoded, REDS takes 66 GB and Vimeo-90K 155 GB. Clips of one set have one size, so a look at the first is
    enough.
    """
    if not waiting:
        return
    files = image_files(waiting[0])
    if not files:
        return
    width, height = image_size(files[0], "replace it")
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
