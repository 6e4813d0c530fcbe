"""Measures that follow people's choice more closely than PSNR does, taken from finished frames of a clip.

They are optional: VMAF adds 60 % to a run with interpolation on two cores (24 frames of 640x360), the
feature distance takes seconds a frame. They are measured after all frames of a clip are there, so that they
do not share the processor with a network that is timed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from vsrcli.errors import FfmpegError
from vsrcli.evaluate.ffmpeg_metrics import VMAF_MODELS, FfmpegScorer, omitted_metrics
from vsrcli.media.ffmpeg import Ffmpeg
from vsrcli.system.signals import raise_if_cancelled

if TYPE_CHECKING:
    from vsrcli.evaluate.features import EdgeFeatures

VMAF_KEYS = ("vmaf_v1", "vmaf_neg")
FEATURES = "features"
FEATURE_FRAMES = 2  # of each clip; a frame of 640x360 takes seconds on two cores
FEATURE_BLOCKS = 5
_RATE = Fraction(25)  # VMAF does not depend on it


@dataclass(frozen=True)
class Measure:
    """A measure beyond PSNR-Y, SSIM-Y and steady.

    Attributes:
        key: attribute of :class:`~vsrcli.evaluate.results.Quality`, and key in JSON.
        heading: of its column, with line breaks.
        digits: decimals to show.
        note: what it is, in one sentence.
    """

    key: str
    heading: str
    digits: int
    note: str


MEASURES = (
    Measure(
        "vmaf_v1", "VMAF\nv1", 2, f"VMAF v1: libvmaf's {VMAF_MODELS['vmaf_v1']}, 0 to 100; more is better."
    ),
    Measure(
        "vmaf_neg",
        "VMAF\nNEG",
        2,
        f"VMAF NEG: libvmaf's {VMAF_MODELS['vmaf_neg']}, without what sharpening gains; more is better.",
    ),
    Measure(
        FEATURES,
        "VGG16-edge\ndistance",
        3,
        f"VGG16-edge distance: of normalised features, summed over five blocks, {FEATURE_FRAMES} frames of "
        "each clip; less is better.",
    ),
    Measure(
        "flicker",
        "flicker\ncodes",
        2,
        "Flicker: RMS change of luma, in codes, where the truth changes by less than 1 code from frame to "
        "frame; less is better.",
    ),
)


class Perception:
    """Measures VMAF v1, VMAF NEG and the VGG16-edge distance of clips.

    Args:
        ffmpeg: measures VMAF; None: leave VMAF out.
        features: of five blocks; None: leave the distance out.
        on_notice: called with a text for each reason why something is left out.

    Attributes:
        omitted: keys that were not measured, at least of one clip, each with the reason.
    """

    def __init__(
        self,
        ffmpeg: Ffmpeg | None = None,
        features: EdgeFeatures | None = None,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._ffmpeg, self._features, self._on_notice = ffmpeg, features, on_notice
        self.omitted: dict[str, str] = {}
        if ffmpeg is None:
            self.omitted |= dict.fromkeys(VMAF_KEYS, "not requested (--vmaf)")
        if features is None:
            self.omitted[FEATURES] = "not requested (--features)"

    @property
    def is_needed(self) -> bool:
        """Whether anything is to be measured."""
        return self._ffmpeg is not None or self._features is not None

    def measure(self, outputs: np.ndarray, truth: np.ndarray, scored: slice) -> Mapping[str, float]:
        """Return the measures of a clip by key, without those that cannot be measured.

        Args:
            outputs, truth: uint8 (T, H, W, 3).
            scored: the frames whose mean counts; VMAF sees the others, too, since it looks at motion.
        """
        found: dict[str, float] = {}
        if self._ffmpeg is not None:
            found |= self._measure_vmaf(self._ffmpeg, outputs, truth, scored)
        if self._features is not None:
            found[FEATURES] = feature_distance(self._features, outputs[scored], truth[scored])
        return found

    def _measure_vmaf(
        self, ffmpeg: Ffmpeg, outputs: np.ndarray, truth: np.ndarray, scored: slice
    ) -> dict[str, float]:
        height, width = truth.shape[1:3]
        omitted = {
            key: reason for key, reason in omitted_metrics(ffmpeg, width, height).items() if key in VMAF_KEYS
        }
        keys = [key for key in VMAF_KEYS if key not in omitted]
        self._omit(omitted)
        if not keys:
            return {}
        try:
            with FfmpegScorer(width, height, _RATE, keys, ffmpeg=ffmpeg) as scorer:
                for output, original in zip(outputs, truth, strict=True):
                    raise_if_cancelled()
                    scorer.write(output, original)
                scores = scorer.finish()
        except (FfmpegError, OSError) as error:
            self._omit(dict.fromkeys(keys, str(error)))
            return {}
        return {key: float(np.mean(scores[key][scored])) for key in keys}

    def _omit(self, omitted: Mapping[str, str]) -> None:
        """Keep reasons, and say each once."""
        names = {measure.key: measure.heading.replace("\n", " ") for measure in MEASURES}
        for reason in dict.fromkeys(omitted.values()):
            keys = [key for key in omitted if omitted[key] == reason]
            if any(key not in self.omitted for key in keys):
                left_out = " and ".join(names[key] for key in keys)
                self._on_notice(f"{left_out} {'are' if len(keys) > 1 else 'is'} left out: {reason}")
        self.omitted = {**omitted, **self.omitted}


def feature_distance(features: EdgeFeatures, outputs: np.ndarray, truth: np.ndarray) -> float:
    """Return the mean feature distance of ``FEATURE_FRAMES`` frames, spread evenly over a clip.

    Args:
        features: the network.
        outputs, truth: uint8 (T, H, W, 3).
    """
    count = min(FEATURE_FRAMES, len(truth))
    indices = [(2 * number + 1) * len(truth) // (2 * count) for number in range(count)]
    distances = []
    for index in indices:  # one at a time: the features of a frame are many times its size
        raise_if_cancelled()
        pair = (array[index : index + 1].astype(np.float32) / 255 for array in (truth, outputs))
        distances.append(float(features.distance(*pair)))
    return float(np.mean(distances))


def open_perception(
    *,
    vmaf: bool = False,
    features: bool = False,
    ffmpeg: str | None = None,
    on_notice: Callable[[str], None] = lambda text: None,
) -> Perception:
    """Load what is needed to measure.

    Args:
        vmaf: measure VMAF v1 and NEG.
        features: measure the VGG16-edge distance.
        ffmpeg: path of the executable that measures VMAF; None: the usual one.
        on_notice: see :class:`Perception`.

    Raises:
        UsageError: the package with the features is not installed.
        FfmpegError: there is no ffmpeg.
    """
    network = None
    if features:
        from vsrcli.evaluate.features import EdgeFeatures, find_feature_weights

        network = EdgeFeatures(FEATURE_BLOCKS, find_feature_weights("leave --features out"))
    if not vmaf:
        return Perception(None, network, on_notice)
    from vsrcli.media.ffmpeg import find_ffmpeg

    return Perception(find_ffmpeg(ffmpeg), network, on_notice)
