"""Named protocols that make the low resolution of a test, and clips prepared with them.

``bd`` is used for published figures (Jo et al., CVPR 2018, section 4.1), ``bi`` corresponds to an ordinary
scaler; either may be followed by H.264 over the full clip. ``video`` is the preset of ``vsr train
--degradation video``, and ``none`` takes existing low resolution.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from vsrcli.degradations import PRESETS, degrade, recompress
from vsrcli.errors import DataError, UsageError
from vsrcli.evaluate.clips import MIN_FRAMES, ClipFile, read_frames
from vsrcli.frames.resample import BD_SIGMA, Phase, downsample_bd, resize
from vsrcli.system.text import encode_text

MIN_SIDE = 32  # of the truth: two crops of 8 pixels, a window of 11, and a margin

_PHASES: dict[str, Phase] = {"bi": "centre", "bd": "zero", "video": "centre", "none": "centre"}
_ORDINALS = {2: "2nd", 3: "3rd", 4: "4th"}
_SUMMARIES = {
    "bi": "centred bicubic with antialiasing (a = -0.5)",
    "bd": "Gaussian blur 13x13, sigma {sigma}, then every {nth} pixel from pixel 0",
    "video": "training preset 'video', one of its {variants} variants for each clip, drawn with its name as "
    "the seed: variant 0 is clean bicubic, the others {kernels}, half of them with white noise up to "
    "{noise:g} codes; {compressed:.0%} of all H.264 or H.265 at crf {crf[0]}-{crf[1]} over the whole clip",
    "none": "existing low resolution, assumed to lie on the {grid} grid",
}
_GRID_NAMES: dict[Phase, str] = {"centre": "centred", "zero": "phase-zero"}
_VIDEO_PRESET = PRESETS["video"]


@dataclass(frozen=True)
class Protocol:
    """A way to make low resolution.

    Attributes:
        name: ``bi`` (centred bicubic, antialiased, a = -0.5), ``bd`` (blur and decimate, phase zero),
            ``video`` (the training preset of that name) or ``none`` (low resolution exists already).
        scale: 2, 3 or 4.
        crf: constant rate factor of the H.264 that follows ``bi`` or ``bd``, 0 to 51; None: no compression.
        phase_override: with ``none``, the phase of the low resolution; None: ``centre``.

    Raises:
        UsageError: there is no such name, scale, rate factor or combination.
    """

    name: str
    scale: int
    crf: int | None = None
    phase_override: Phase | None = None

    def __post_init__(self) -> None:
        if self.name not in _PHASES:
            raise UsageError(f"unknown protocol {self.name!r}: choose one of {', '.join(_PHASES)}")
        if self.scale not in BD_SIGMA:
            raise UsageError(f"no protocol for scale {self.scale}: use 2, 3 or 4")
        if self.crf is not None and not 0 <= self.crf <= 51:
            raise UsageError(f"--crf {self.crf} is out of range: H.264 knows 0 to 51")
        if self.crf is not None and self.name not in ("bi", "bd"):
            reason = "compresses by itself" if self.name == "video" else "takes low resolution as it is"
            raise UsageError(
                f"--degrade {self.name} {reason}: leave --crf {self.crf} out, or choose --degrade bi or bd"
            )
        if self.phase_override is not None and self.name != "none":
            raise UsageError(
                f"--degrade {self.name} has its own grid: leave --phase {self.phase_override} out"
            )

    @property
    def phase(self) -> Phase:
        """Position of low-resolution pixels on the truth's grid, see :mod:`vsrcli.frames.resample`."""
        return self.phase_override or _PHASES[self.name]

    @property
    def label(self) -> str:
        """Short label for headings and file names: ``bi x4``, ``bi x4 crf 23``."""
        return f"{self.name} x{self.scale}" + ("" if self.crf is None else f" crf {self.crf}")

    @property
    def summary(self) -> str:
        """Description of the protocol in one line."""
        text = _SUMMARIES[self.name].format(
            sigma=BD_SIGMA[self.scale],
            nth=_ORDINALS[self.scale],
            kernels=", ".join(f"{kernel} {share:.0%}" for kernel, share in _VIDEO_PRESET.kernel_shares),
            variants=_VIDEO_PRESET.variant_count,
            noise=_VIDEO_PRESET.max_noise,
            compressed=_VIDEO_PRESET.compressed_share,
            crf=_VIDEO_PRESET.crf_range,
            grid=_GRID_NAMES[self.phase],
        )
        if self.name not in ("bi", "bd"):
            return f"x{self.scale}, {text}"
        compression = (
            "not compressed" if self.crf is None else f"then H.264 at crf {self.crf} over the whole clip"
        )
        return f"x{self.scale}, {text}, 8 bits, {compression}"

    def variant(self, clip_name: str) -> int | None:
        """Return the variant of the preset that ``video`` uses for a clip (0 is clean); else None."""
        if self.name != "video":
            return None
        return int(self._generator(clip_name).integers(_VIDEO_PRESET.variant_count))

    def degrade(self, truth: np.ndarray, clip_name: str = "") -> np.ndarray:
        """Return the low resolution of a clip, uint8 (T, H/scale, W/scale, 3).

        Args:
            truth: uint8 (T, H, W, 3), H and W multiples of the scale.
            clip_name: seeds the choice of kernel, noise and compression by ``video``, so it is reproducible.

        Raises:
            ValueError: the protocol is ``none``.
        """
        if self.name == "none":
            raise ValueError("protocol 'none' makes no low resolution: it exists already")
        if self.name == "video":
            rng = self._generator(clip_name)
            variant = int(rng.integers(_VIDEO_PRESET.variant_count))
            return degrade(truth, self.scale, _VIDEO_PRESET, variant, rng)
        height, width = (side // self.scale for side in truth.shape[1:3])
        low = np.empty((len(truth), height, width, 3), np.uint8)
        for index, frame in enumerate(truth):  # one by one, since resampling works in float32
            small = downsample_bd(frame, self.scale) if self.name == "bd" else resize(frame, height, width)
            low[index] = np.clip(np.rint(small), 0, 255)
        return low if self.crf is None else recompress(low, crf=self.crf)

    def _generator(self, clip_name: str) -> np.random.Generator:
        return np.random.default_rng([zlib.crc32(encode_text(clip_name)), zlib.crc32(b"video"), self.scale])


@dataclass(frozen=True, eq=False)
class Clip:
    """A test clip: low resolution and the truth to compare with.

    Attributes:
        name: display name.
        truth: uint8 (T, H, W, 3).
        low: uint8 (T, H/scale, W/scale, 3).
        protocol: how ``low`` was made.
        variant: of the training preset, with ``video``; else None.
    """

    name: str
    truth: np.ndarray
    low: np.ndarray
    protocol: Protocol
    variant: int | None = None


def prepare_clip(
    file: ClipFile,
    protocol: Protocol,
    max_frames: int | None = None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Clip:
    """Decode a clip, crop it (at right and bottom) to a multiple of the scale, and make its low resolution.

    With protocol ``none`` decode both, and crop neither. ``max_frames`` and ``on_notice`` as for
    :func:`~vsrcli.evaluate.clips.read_frames`.

    Raises:
        DataError: the clip cannot be decoded, is too small or too short to be scored, or does not match its
            low resolution.
    """
    if max_frames is not None and max_frames < MIN_FRAMES:
        raise DataError(
            f"--frames {max_frames} is too few: at least {MIN_FRAMES}, since two at each end are not scored"
        )
    if protocol.name == "none" and file.truth is None:
        raise DataError(
            f"no truth for {str(file.path)!r}: low resolution alone cannot be scored; "
            "name its folder with --truth"
        )
    original = file.truth if protocol.name == "none" and file.truth else file.path
    truth = read_frames(original, max_frames, on_notice, exact=protocol.name == "none")
    count, height, width = truth.shape[:3]
    if count < MIN_FRAMES or min(height, width) < MIN_SIDE:
        raise DataError(
            f"{str(original)!r} ({width}x{height}, {count} frames) cannot be scored: "
            f"it needs at least {MIN_SIDE}x{MIN_SIDE} and {MIN_FRAMES} frames; leave it out"
        )
    if protocol.name == "none":
        low = read_frames(file.path, max_frames, on_notice, exact=True)
        _check_pair(file, low, truth, protocol.scale)
        return Clip(file.name, truth, low, protocol)
    truth = truth[:, : height - height % protocol.scale, : width - width % protocol.scale]
    low = protocol.degrade(truth, file.plain_name)
    return Clip(file.name, truth, low, protocol, protocol.variant(file.plain_name))


def exact_truth(clip: Clip, file: ClipFile, max_frames: int | None = None) -> np.ndarray:
    """Return the truth of a clip decoded exactly, to be compared with frames of another file.

    Raises:
        DataError: it cannot be decoded.
    """
    if clip.protocol.name == "none" or file.path.is_dir():  # it is exact already
        return clip.truth
    height, width = clip.truth.shape[1:3]
    truth = read_frames(file.path, max_frames, exact=True)
    return truth[:, :height, :width]


def _check_pair(file: ClipFile, low: np.ndarray, truth: np.ndarray, scale: int) -> None:
    (height, width), true_size = low.shape[1:3], truth.shape[1:3]
    if true_size != (scale * height, scale * width):
        raise DataError(
            f"{str(file.path)!r} is {width}x{height}, its truth {str(file.truth)!r} {true_size[1]}x"
            f"{true_size[0]}: x{scale} needs {scale * width}x{scale * height}; crop the truth, or choose "
            "another --scale"
        )
    if len(low) != len(truth):
        raise DataError(
            f"{str(file.path)!r} has {len(low)} frames, its truth {str(file.truth)!r} {len(truth)}: both "
            "need the same frames"
        )
