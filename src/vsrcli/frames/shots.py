"""Shot changes, found frame by frame without looking ahead.

A frame starts a new shot when the frame before cannot explain it. Both are reduced to 32x18 thumbnails, and a
thumbnail pixel counts as explained when its luma lies within what the earlier thumbnail shows in the 3x3
pixels around it, after the best common shift of up to two pixels. Motion, handheld shake and pans are
therefore explained up to some 9 % of the width a frame, while an unrelated picture is not. What is left over,
averaged, is the frame's *surprise*. It is compared with a limit that

- grows with the surprise of the last frames, so that a wild scene has to be interrupted by something wilder;
- shrinks with the contrast of both pictures, so that cuts between night scenes are found too.

A surprising frame is given two more chances: as the earlier frame under other light (a gain and an offset:
flashes, fades) and as the return of the frame before a flash. A hard cut to black is a cut, and so is the
first picture after black. A fade to black is not, nor a dissolve: there is no frame at which it happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from vsrcli.frames.state import ArraySpec, State, validate_state

THRESHOLD = 0.012  # of full range; see benchmarks/shots.py for what it finds and mistakes

_ROWS, _COLUMNS, _SAMPLES = 18, 32, 4  # thumbnail; each of its pixels is the mean of 4x4 samples
_SHIFT = 2  # thumbnail pixels
_INNER = (slice(_SHIFT, -_SHIFT), slice(_SHIFT, -_SHIFT))
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_MOTION_GAIN, _MOTION_DECAY = 1.5, 0.75
_FULL_CONTRAST, _LEAST_CONTRAST = 0.12, 0.3  # standard deviation; smallest factor on the threshold
_LEAST_GAIN = 0.2  # a picture darkened further than this in one frame is gone: a cut to black
_WHITE, _PALE, _PALE_CONTRAST = 0.9, 0.8, 0.06
_DARK, _BLACK = 0.15, 0.02
_SATURATED = 0.85  # above it, thumbnail pixels may hold clipped samples
_FLASH_FRAMES = 6  # how long the frame before a flash is remembered
_STATE = {
    "last": ArraySpec((range(2), _ROWS, _COLUMNS)),
    "before_flash": ArraySpec((range(2), _ROWS, _COLUMNS)),
    "age": ArraySpec((), "int64"),
    "motion": ArraySpec((), "float64"),
}


@dataclass
class _Memory:
    thumbnail: np.ndarray
    age: int = 0


class ShotDetector:
    """Says of each frame whether it starts a new shot. Holds two thumbnails; takes about 0.4 ms a frame.

    Its state is these thumbnails (``last``, ``before_flash``: none or one each), the ``age`` of the second in
    frames and the ``motion`` of late: 5 kB at most, whatever the size of the film.

    Args:
        threshold: mean unexplained luma, as a share of the full range, above which a calm, well-lit frame is
            a cut. Higher finds fewer cuts.
    """

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self._threshold = threshold
        self._last: np.ndarray | None = None
        self._before_flash: _Memory | None = None
        self._motion = 0.0

    def is_cut(self, frame: np.ndarray) -> bool:
        """Whether ``frame`` belongs to another shot than the one before it. False for the first frame.

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
        self._age()
        limit = self._limit(last, current)
        surprise = _unexplained(last, current)
        if surprise > limit:
            relit = _relit(last, current)
            flash = relit < surprise and current.mean() > last.mean()
            surprise = min(surprise, relit)
            if surprise > limit and self._before_flash is not None:
                before = self._before_flash.thumbnail
                surprise = min(surprise, _unexplained(before, current), _relit(before, current))
            elif flash and self._before_flash is None:
                self._before_flash = _Memory(last)
        if surprise > limit:
            self._before_flash = None
            return True
        self._motion = max(surprise, _MOTION_DECAY * self._motion)
        return False

    def state(self) -> State:
        """What the detector remembers, as named arrays; see :meth:`restore`."""
        memory = self._before_flash
        return {
            "last": _none_or_one(self._last),
            "before_flash": _none_or_one(memory and memory.thumbnail),
            "age": np.array(memory.age if memory else 0, np.int64),
            "motion": np.array(self._motion, np.float64),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on where another detector of the same threshold was.

        Raises:
            EngineError: the state is something else's.
        """
        validate_state(state, _STATE)
        last, flash = state["last"].copy(), state["before_flash"].copy()
        self._last = last[0] if len(last) else None
        self._before_flash = _Memory(flash[0], int(state["age"])) if len(flash) else None
        self._motion = float(state["motion"])

    def _age(self) -> None:
        if self._before_flash is not None:
            self._before_flash.age += 1
            if self._before_flash.age > _FLASH_FRAMES:
                self._before_flash = None

    def _limit(self, last: np.ndarray, current: np.ndarray) -> float:
        contrast = max(float(last.std()), float(current.std())) / _FULL_CONTRAST
        return self._threshold * min(1.0, max(_LEAST_CONTRAST, contrast)) + _MOTION_GAIN * self._motion


def _none_or_one(picture: np.ndarray | None) -> np.ndarray:
    """A thumbnail as float32 (1, 18, 32); (0, 18, 32) for None."""
    return np.zeros((0, _ROWS, _COLUMNS), np.float32) if picture is None else picture[None].copy()


def thumbnail(frame: np.ndarray) -> np.ndarray:
    """Luma of ``frame`` in [0, 1], float32 (18, 32): means of 4x4 samples, so large frames cost no more."""
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
    lit: np.ndarray | None = None,
) -> float:
    """Mean distance of ``later`` from the local range of ``earlier`` under the best shift.

    ``light`` is the gain and offset by which the earlier picture is relit first, ``lit`` a mask of the pixels
    of the later one that count.
    """
    low, high = _local(np.minimum, earlier), _local(np.maximum, earlier)
    if light != (1.0, 0.0):
        low, high = np.clip(light[0] * low + light[1], 0, 1), np.clip(light[0] * high + light[1], 0, 1)
    inner = later[_INNER]
    gap = np.maximum(
        sliding_window_view(low, inner.shape) - inner, inner - sliding_window_view(high, inner.shape)
    )
    np.maximum(gap, 0, out=gap)
    if lit is not None:
        gap = gap[..., lit[_INNER]][..., None]
    return float(gap.mean(axis=(2, 3)).min())


def _local(extreme: np.ufunc, x: np.ndarray) -> np.ndarray:
    """Extreme of the 3x3 pixels around each, inside the picture."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        y = x.copy()
        extreme(y[1:], x[:-1], out=y[1:])
        extreme(y[:-1], x[1:], out=y[:-1])
        x = np.moveaxis(y, 0, axis)
    return x


def _relit(earlier: np.ndarray, later: np.ndarray) -> float:
    """Surprise left when ``later`` may be ``earlier`` under another light; infinite where it cannot be."""
    before, after = float(earlier.mean()), float(later.mean())
    if after > before and (after > _WHITE or (after > _PALE and later.std() < _PALE_CONTRAST)):
        return 0.0  # blown out: there is nothing in it that could contradict
    if after < _BLACK and after < before < _DARK:
        return 0.0  # the last step of a fade to black
    lit = later < (_SATURATED if after > before else np.inf)
    if np.count_nonzero(lit[_INNER]) < lit.size // 8:
        return np.inf
    x, y = earlier[lit], later[lit]
    x_mean, y_mean = float(x.mean()), float(y.mean())
    gain = float(((x - x_mean) * (y - y_mean)).mean()) / (float(x.var()) + 1e-4)
    dimming = y_mean / max(x_mean, 1e-3)  # for pictures too flat to fit a line through
    lights = ((gain, y_mean - gain * x_mean), (dimming, 0.0))
    possible = [_unexplained(earlier, later, light, lit) for light in lights if light[0] >= _LEAST_GAIN]
    return min(possible, default=np.inf)
