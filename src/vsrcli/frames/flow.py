"""Frames moved onto another by optical flow: the outer frames of a window onto its centre frame.

The flow is that of dense inverse search (Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV
2016) as OpenCV has it, not learnt, on brightness in 8 bits at *low* resolution: there it is known to a
fraction of a pixel, and at full size it would cost ``scale**2`` times as much for motion that is only guessed
between pixels. Frames are then read at the moved places, bilinearly; beyond a border they are repeated.

In training every window of a crop is aligned by the flow within the crop, on the host; in tiles by the flow
within the tile. Both see less of the picture than whole frames do, so the three differ near borders.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from vsrcli.errors import EngineError

LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # BT.601
INSTALL_HINT = "pip install 'vsrcli[flow]'"
_LEAST_SIDE = 16  # pixels; DIS matches patches of 8, at half the size first


def require_flow(name: str) -> None:
    """Raise EngineError if OpenCV, which a network needs, is not installed; imports nothing.

    Args:
        name: of the network.
    """
    if find_spec("cv2") is None:
        raise EngineError(f"{name} needs OpenCV, which is not installed: {INSTALL_HINT}")


def estimate_flow(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return where the pixels of one picture lie in another.

    Args:
        source, target: uint8 (H, W), brightness.

    Returns:
        float32 (H, W, 2): what is at (x, y) in ``source`` is at (x + flow[y, x, 0], y + flow[y, x, 1]) in
        ``target``. Zero where a side has fewer than 16 pixels.
    """
    if min(source.shape) < _LEAST_SIDE:
        return np.zeros((*source.shape, 2), np.float32)
    cv2: Any = import_module("cv2")  # whose stubs lack this class
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return search.calc(np.ascontiguousarray(source), np.ascontiguousarray(target), None)


def warp(frame: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Read a frame at moved places, bilinearly.

    Args:
        frame: float32 (H, W, C).
        flow: float32 (H, W, 2), horizontal and vertical.

    Returns:
        float32 (H, W, C): at (x, y) what ``frame`` has at (x, y) + flow[y, x]; beyond its border, the border.
    """
    height, width = frame.shape[:2]
    x = np.clip(np.arange(width, dtype=np.float32) + flow[..., 0], 0, width - 1)
    y = np.clip(np.arange(height, dtype=np.float32)[:, None] + flow[..., 1], 0, height - 1)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right, bottom = np.minimum(left + 1, width - 1), np.minimum(top + 1, height - 1)
    along, down = (x - left)[..., None], (y - top)[..., None]
    above = frame[top, left] + along * (frame[top, right] - frame[top, left])
    below = frame[bottom, left] + along * (frame[bottom, right] - frame[bottom, left])
    return above + down * (below - above)


def align_window(window: np.ndarray) -> np.ndarray:
    """Return a window whose outer frames have been moved onto its centre frame.

    Args:
        window: float32 (T, H, W, 3) in [0, 1], T odd.

    Returns:
        The same shape; the centre frame is unchanged.
    """
    centre = len(window) // 2
    pictures = [np.rint(np.clip(frame @ LUMA, 0, 1) * 255).astype(np.uint8) for frame in window]
    return np.stack(
        [
            frame if index == centre else warp(frame, estimate_flow(pictures[centre], picture))
            for index, (frame, picture) in enumerate(zip(window, pictures, strict=True))
        ]
    ).astype(np.float32)
