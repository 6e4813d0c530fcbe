"""Features computed once a frame and kept for the windows that follow: how DUF-S runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.engine.backend import compile_function, fetch
from vsrcli.engine.bands import BAND_PIXELS, Bands, plan_bands
from vsrcli.engine.features import FeatureStream, FeatureWindow, compile_features


@dataclass(frozen=True)
class CachedNetwork:
    """A network compiled for one frame size, in three parts.

    Attributes:
        window: frames to merged features.
        refine: merged features and the centre frame -> features and surroundings for ``paint``.
        paint: a band of these -> a band of the picture.
        bands: what is painted at a time.
    """

    window: FeatureWindow
    refine: Callable[..., Any]
    paint: Callable[..., Any]
    bands: Bands

    def reconstruct(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Merged features and a frame (H, W, 3) -> its picture, float32 (scale*H, scale*W, 3) in [0, 1]."""
        x, surroundings = self.refine(features, centre[None])
        cut = self.bands.cut
        painted = (self.paint(cut(x, rows), cut(surroundings, rows)) for rows in self.bands)
        return self.bands.join(fetch(band)[0] for band in painted)


def compile_cached(model: Any, height: int, width: int, *, band_pixels: int = BAND_PIXELS) -> CachedNetwork:
    """Compile a :class:`~vsrcli.models.duf_s.DufS` for frames of one size.

    Args:
        model: the network.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time.
    """
    from keras import ops

    from vsrcli.models.dynamic import TAPS, neighbourhoods

    def refine(features, centre):
        return model.refine(features), neighbourhoods(centre)

    def paint(x, surroundings):
        return ops.clip(model.paint(x, surroundings), 0.0, 1.0)

    bands, window = plan_bands(height, width, band_pixels), compile_features(model, height, width)
    frame = np.zeros((1, height, width, 3), np.float32)
    band = ops.zeros((1, bands.rows, width, model.head_width), model.head.compute_dtype)
    return CachedNetwork(
        window,
        compile_function(refine, window.empty[0], frame),
        compile_function(paint, band, np.zeros((1, bands.rows, width, TAPS * TAPS, 3), np.float32)),
        bands,
    )


class CachedStream(FeatureStream):
    """A window of features, and nothing else; see :class:`FeatureStream`.

    Args:
        network: from :func:`compile_cached`.
    """

    def __init__(self, network: CachedNetwork) -> None:
        super().__init__(network.window)
        self._network = network

    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        return self._network.reconstruct(features, centre)
