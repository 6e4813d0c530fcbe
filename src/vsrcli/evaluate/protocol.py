"""How the low resolution of a test is made: named protocols, and clips prepared by them.

``bd`` is what published figures use (Jo et al., CVPR 2018, section 4.1), ``bi`` what an ordinary scaler makes
of a film. Either may be followed by H.264 over the whole clip, which real films have been through.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError

from vsrcli.errors import DataError, UsageError
from vsrcli.frames.resample import BD_SIGMA, Phase, downsample_bd, resize
from vsrcli.media.recode import recode

SUFFIXES = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".ts", ".y4m"}
SMALLEST = 32  # side of the truth: two crops of 8 pixels, a window of 11, and a little
FEWEST = 5  # frames: two left out at each end, one to score
LARGEST = 3 * 2**30  # bytes of one decoded clip, which is held in memory

_PHASES: dict[str, Phase] = {"bi": "centre", "bd": "zero"}
_NTH = {2: "2nd", 3: "3rd", 4: "4th"}
_TEXTS = {
    "bi": "centred bicubic with antialiasing (a = -0.5)",
    "bd": "Gaussian blur 13x13, sigma {sigma}, then every {nth} pixel from pixel 0",
}


@dataclass(frozen=True)
class Protocol:
    """One way to make low resolution.

    Attributes:
        name: ``bi`` (centred bicubic, antialiased, a = -0.5) or ``bd`` (blur and decimate, phase zero).
        scale: 2, 3 or 4.
        crf: constant rate factor of the H.264 that follows, 0 to 51; None: no compression.

    Raises:
        UsageError: a name, scale or rate factor that does not exist.
    """

    name: str
    scale: int
    crf: int | None = None

    def __post_init__(self) -> None:
        if self.name not in _PHASES:
            raise UsageError(f"unknown protocol {self.name!r}: choose one of {', '.join(_PHASES)}")
        if self.scale not in BD_SIGMA:
            raise UsageError(f"no protocol for scale {self.scale}: use 2, 3 or 4")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise UsageError(f"--crf {self.crf} is out of range: H.264 knows 0 to 51")

    @property
    def phase(self) -> Phase:
        """Where a low-resolution pixel lies on the truth's grid, see :mod:`vsrcli.frames.resample`."""
        return _PHASES[self.name]

    @property
    def label(self) -> str:
        """A few words for headings and file names: ``bi x4``, ``bi x4 crf 23``."""
        return f"{self.name} x{self.scale}" + ("" if self.crf is None else f" crf {self.crf}")

    @property
    def summary(self) -> str:
        """The whole protocol in one line for people."""
        text = _TEXTS[self.name].format(sigma=BD_SIGMA[self.scale], nth=_NTH[self.scale])
        compression = (
            "not compressed" if self.crf is None else f"then H.264 at crf {self.crf} over the whole clip"
        )
        return f"x{self.scale}, {text}, 8 bits, {compression}"

    def low(self, truth: np.ndarray) -> np.ndarray:
        """Low resolution of a whole clip.

        Args:
            truth: uint8 (T, H, W, 3), H and W multiples of the scale.

        Returns:
            uint8 (T, H/scale, W/scale, 3).
        """
        height, width = (side // self.scale for side in truth.shape[1:3])
        low = np.empty((len(truth), height, width, 3), np.uint8)
        for index, frame in enumerate(truth):  # one by one: the work is in float32
            small = downsample_bd(frame, self.scale) if self.name == "bd" else resize(frame, height, width)
            low[index] = np.clip(np.rint(small), 0, 255)
        return low if self.crf is None else recode(low, crf=self.crf)


@dataclass(frozen=True, eq=False)
class Clip:
    """A test: what an upscaler is given, and what it should answer.

    Attributes:
        name: for people.
        truth: uint8 (T, H, W, 3).
        low: uint8 (T, H/scale, W/scale, 3).
        protocol: how ``low`` was made.
    """

    name: str
    truth: np.ndarray
    low: np.ndarray
    protocol: Protocol


@dataclass(frozen=True)
class ClipFile:
    """A clip on disk and the name that tells it from the others of one run."""

    path: Path
    name: str


def find_clips(paths: Sequence[Path]) -> list[ClipFile]:
    """The clips that files and folders name, in order; folders are searched recursively and sorted.

    Raises:
        DataError: a path that does not exist, or a folder without a clip.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix.lower() in SUFFIXES)
            if not inside:
                raise DataError(
                    f"no clip in {str(path)!r}: it should hold {', '.join(sorted(SUFFIXES))} files"
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"no file or folder {str(path)!r}: name clips, or folders that hold some")
    unique = list({path.resolve(): path for path in found}.values())
    stems = [path.stem for path in unique]
    names = [
        path.stem if stems.count(path.stem) == 1 else f"{path.parent.name}/{path.name}" for path in unique
    ]
    return [ClipFile(path, name) for path, name in zip(unique, names, strict=True)]


def read_frames(path: Path, frames: int | None = None) -> np.ndarray:
    """Decode a clip, or its first ``frames``.

    Returns:
        uint8 R'G'B' (T, H, W, 3).

    Raises:
        DataError: not a video, damaged, or too long to be held in memory.
    """
    pictures: list[np.ndarray] = []
    size = 0
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"no video in {str(path)!r}; leave it out or replace it")
            for frame in container.decode(video=0):
                pictures.append(frame.to_ndarray(format="rgb24"))
                size += pictures[-1].nbytes
                if len(pictures) == frames:
                    break
                if size > LARGEST:
                    raise DataError(
                        f"{str(path)!r} is too long to score at once: take its start with --frames"
                    )
                if pictures[-1].shape != pictures[0].shape:
                    raise DataError(f"the pictures of {str(path)!r} change their size: use clips of one size")
    except (FFmpegError, OSError) as error:
        raise DataError(f"cannot decode {str(path)!r}: {error}; leave it out or replace it") from error
    if not pictures:
        raise DataError(f"no picture in {str(path)!r}; leave it out or replace it")
    return np.stack(pictures)


def prepare_clip(file: ClipFile, protocol: Protocol, frames: int | None = None) -> Clip:
    """Decode a clip, crop it (at right and bottom) to a multiple of the scale, and make its low resolution.

    Args:
        file: which clip.
        protocol: how.
        frames: take only so many from its start; None: all.

    Raises:
        DataError: the clip cannot be decoded, or is too small or too short to be scored.
    """
    if frames is not None and frames < FEWEST:
        raise DataError(
            f"--frames {frames} is too few: at least {FEWEST}, since two at each end are not scored"
        )
    truth = read_frames(file.path, frames)
    count, height, width = truth.shape[:3]
    if count < FEWEST or min(height, width) < SMALLEST:
        raise DataError(
            f"{str(file.path)!r} ({width}x{height}, {count} frames) cannot be scored: "
            f"at least {SMALLEST}x{SMALLEST} and {FEWEST} frames"
        )
    truth = truth[:, : height - height % protocol.scale, : width - width % protocol.scale]
    return Clip(file.name, truth, protocol.low(truth), protocol)
