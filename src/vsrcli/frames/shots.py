"""Shot change detection, frame by frame without lookahead.

A frame starts a new shot if the previous frame does not explain it. Both are reduced to 32x18 thumbnails, and
a thumbnail pixel is explained if its luma lies within the range of the earlier thumbnail in the 3x3 pixels
around it, after the best common shift of up to two pixels. Motion, handheld shake and pans are therefore
explained up to some 9 % of the width per frame, while an unrelated frame is not. The mean unexplained
difference is the frame's *surprise*. It is compared with a limit that

- grows with the surprise of the last frames, so that fast motion hides no cut and causes none;
- shrinks with the contrast of both frames, so that cuts between night scenes are found, too.

A surprising frame is compared twice more: with the earlier frame under other light (a gain and an offset:
flashes, fades) and with the frame before a flash. A hard cut to black is a cut, and so is the first frame
after black. A fade to black is not, nor a dissolve: there is no frame at which it happens.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vsrcli.frames.state import ArraySpec, State, validate_state

THRESHOLD = 0.012  # of full range; see benchmarks/shots.py for precision and recall

_ROWS, _COLUMNS, _SAMPLES = 18, 32, 4  # thumbnail; each of its pixels is the mean of 4x4 samples
_SHIFT = 2  # thumbnail pixels
_INNER = (slice(_SHIFT, -_SHIFT), slice(_SHIFT, -_SHIFT))
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOTION_GAIN, _MOTION_DECAY = 1.5, 0.75
_FULL_CONTRAST, _MIN_CONTRAST_FACTOR = 0.12, 0.3  # standard deviation; smallest factor on the threshold
_MIN_GAIN = 0.2  # a frame darkened further than this at once is a cut to black
_WHITE, _PALE, _PALE_CONTRAST = 0.9, 0.8, 0.06
_DARK, _BLACK = 0.15, 0.02
_SATURATED = 0.85  # above it, thumbnail pixels may hold clipped samples
_FLASH_FRAMES = 6  # how many frames the frame before a flash is held
_STATE_SPECS = {
    "last": ArraySpec((range(2), _ROWS, _COLUMNS)),
    "before_flash": ArraySpec((range(2), _ROWS, _COLUMNS)),
    "age": ArraySpec((), "int64"),
    "motion": ArraySpec((), "float64"),
}


class ShotDetector:
    """Detects for each frame whether it starts a new shot. Holds two thumbnails; takes about 0.4 ms per
    frame.

    State: these thumbnails (``last``, ``before_flash``: none or one each), the ``age`` of the second in
    frames and the recent ``motion``: 5 kB at most, whatever the frame size.

    Args:
        threshold: mean unexplained luma, as a share of the full range, above which a calm, well-lit frame is
            a cut. Higher finds fewer cuts.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._last: np.ndarray | None = None
        self._before_flash: np.ndarray | None = None
        self._flash_age = 0  # frames
        self._motion = 0.0

    def is_cut(self, frame: np.ndarray) -> bool:
        """Return whether ``frame`` belongs to another shot than the previous frame; False for the first.

        Args:
            frame: R'G'B' (H, W, 3), any size; uint8, uint16 (0..65535) or floating point in [0, 1].

        Raises:
            TypeError: another number type.
            ValueError: another shape.
        """
        current = thumbnail(frame)
        last, self._last = self._last, current
        if last is None:
            return False
        self._flash_age += 1
        if self._flash_age > _FLASH_FRAMES:
            self._before_flash = None
        limit = self._limit(last, current)
        surprise = _unexplained(last, current)
        if surprise > limit:
            relit_surprise = _unexplained_relit(last, current)
            is_flash = relit_surprise < surprise and current.mean() > last.mean()
            surprise = min(surprise, relit_surprise)
            before = self._before_flash
            if surprise > limit and before is not None:
                surprise = min(surprise, _unexplained(before, current), _unexplained_relit(before, current))
            elif is_flash and before is None:
                self._before_flash, self._flash_age = last, 0
        if surprise > limit:
            self._before_flash = None
            return True
        self._motion = max(surprise, _MOTION_DECAY * self._motion)
        return False

    def state(self) -> State:
        """Return the detector's state as named arrays; see :meth:`restore`."""
        return {
            "last": _optional_to_array(self._last),
            "before_flash": _optional_to_array(self._before_flash),
            "age": np.array(0 if self._before_flash is None else self._flash_age, np.int64),
            "motion": np.array(self._motion, np.float64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Continue where another detector of the same threshold was.

        Raises:
            EngineError: the state is not a shot detector's.
        """
        validate_state(state, _STATE_SPECS)
        last, before = state["last"].copy(), state["before_flash"].copy()
        self._last = last[0] if len(last) else None
        self._before_flash, self._flash_age = before[0] if len(before) else None, int(state["age"])
        self._motion = float(state["motion"])

    def _limit(self, last: np.ndarray, current: np.ndarray) -> float:
        contrast = max(float(last.std()), float(current.std())) / _FULL_CONTRAST
        return self._threshold * min(1.0, max(_MIN_CONTRAST_FACTOR, contrast)) + _MOTION_GAIN * self._motion


def _optional_to_array(image: np.ndarray | None) -> np.ndarray:
    """Return a thumbnail as float32 (1, 18, 32); (0, 18, 32) for None."""
    return np.zeros((0, _ROWS, _COLUMNS), np.float32) if image is None else image[None].copy()


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Return the luma of ``frame`` in [0, 1], float32 (18, 32): means of 4x4 samples, so large frames cost no
    more."""
    frame = np.asarray(frame)
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"R'G'B' frames have shape (height, width, 3), not {frame.shape}")
    if frame.dtype in (np.uint8, np.uint16):
        peak = float(np.iinfo(frame.dtype).max)
    elif np.issubdtype(frame.dtype, np.floating):
        peak = 1.0
    else:
        raise TypeError(f"frames are uint8, uint16 or floating point, not {frame.dtype}")
    y = _sample_points(frame.shape[0], _ROWS * _SAMPLES)
    x = _sample_points(frame.shape[1], _COLUMNS * _SAMPLES)
    samples = frame[y][:, x].astype(np.float32) @ (_LUMA / np.float32(peak))
    return samples.reshape(_ROWS, _SAMPLES, _COLUMNS, _SAMPLES).mean(axis=(1, 3))


def _sample_points(size: int, count: int) -> np.ndarray:
    return (2 * np.arange(count) + 1) * size // (2 * count)


def _unexplained(
    earlier: np.ndarray,
    later: np.ndarray,
    light: tuple[float, float] = (1.0, 0.0),
    mask: np.ndarray | None = None,
) -> float:
    """Return the mean distance of ``later`` from the local range of ``earlier`` under the best shift.

    ``light`` is a gain and an offset to apply to ``earlier`` first; ``mask``, pixels of ``later`` that count.
    """
    low, high = _local_extreme(np.minimum, earlier), _local_extreme(np.maximum, earlier)
    if light != (1.0, 0.0):
        low, high = np.clip(light[0] * low + light[1], 0, 1), np.clip(light[0] * high + light[1], 0, 1)
    inner = later[_INNER]
    distance = np.maximum(
        sliding_window_view(low, inner.shape) - inner, inner - sliding_window_view(high, inner.shape)
    )
    np.maximum(distance, 0, out=distance)
    if mask is not None:
        distance = distance[..., mask[_INNER]][..., None]
    return float(distance.mean(axis=(2, 3)).min())


def _local_extreme(extreme: np.ufunc, x: np.ndarray) -> np.ndarray:
    """Return the extreme of the 3x3 pixels around each pixel, inside the image."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        y = x.copy()
        extreme(y[1:], x[:-1], out=y[1:])
        extreme(y[:-1], x[1:], out=y[:-1])
        x = np.moveaxis(y, 0, axis)
    return x


def _unexplained_relit(earlier: np.ndarray, later: np.ndarray) -> float:
    """Return the surprise if ``later`` is ``earlier`` under other light; infinite if that is impossible."""
    before, after = float(earlier.mean()), float(later.mean())
    if after > before and (after > _WHITE or (after > _PALE and later.std() < _PALE_CONTRAST)):
        return 0.0  # overexposed: no detail that could contradict
    if after < _BLACK and after < before < _DARK:
        return 0.0  # the last step of a fade to black
    mask = later < (_SATURATED if after > before else np.inf)
    if np.count_nonzero(mask[_INNER]) < mask.size // 8:
        return np.inf
    x, y = earlier[mask], later[mask]
    x_mean, y_mean = float(x.mean()), float(y.mean())
    gain = float(((x - x_mean) * (y - y_mean)).mean()) / (float(x.var()) + 1e-4)
    dimming = y_mean / max(x_mean, 1e-3)  # for frames too flat to fit a line
    lights = ((gain, y_mean - gain * x_mean), (dimming, 0.0))
    surprises = [_unexplained(earlier, later, light, mask) for light in lights if light[0] >= _MIN_GAIN]
    return min(surprises, default=np.inf)
