"""Features computed once a frame and kept for the windows that follow: how DUF-S runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsrcli.inference.backend import Backend
from vsrcli.inference.bands import RowBands, pad_border, plan_bands
from vsrcli.inference.features import FeatureStream, FeatureWindow, feature_window


@dataclass(frozen=True)
class CompiledFeatureModel:
    """A network compiled for one frame size, in three parts.

    Attributes:
        window: frames to merged features.
        refine: merged features -> features for ``paint``.
        paint: a band of these and of the centre frame -> a band of the picture.
        bands: what is painted at a time.
        network: whose arrays these are.
    """

    window: FeatureWindow
    refine: Callable[..., Any]
    paint: Callable[..., Any]
    bands: RowBands
    network: Backend

    def reconstruct(self, features: Any, centre: np.ndarray) -> np.ndarray:
        """Merged features and a frame (H, W, 3) -> its picture, float32 (scale*H, scale*W, 3) in [0, 1]."""
        return self.network.reconstruct(self.paint, self.bands, self.refine(features), pad_border(centre))[0]


def compile_cached(
    network: Backend, height: int, width: int, *, band_pixels: int | None = None
) -> CompiledFeatureModel:
    """Compile a :class:`~vsrcli.models.duf_s.DufS` for frames of one size.

    Args:
        network: on its backend.
        height, width: of the frames.
        band_pixels: about how many low-resolution pixels are painted at a time; None: what suits the backend.
    """
    bands = plan_bands(height, width, band_pixels or network.band_pixels)
    parts = network.compile(height, width, bands)
    window = feature_window(network, parts["advance"], height, width)
    return CompiledFeatureModel(window, parts["refine"], parts["paint"], bands, network)


class CachedStream(FeatureStream):
    """A window of features, and nothing else; see :class:`FeatureStream`.

    Args:
        network: from :func:`compile_cached`.
    """

    def __init__(self, network: CompiledFeatureModel) -> None:
        super().__init__(network.window)
        self._network = network

    def _picture(self, features: Any, centre: np.ndarray) -> np.ndarray:
        return self._network.reconstruct(features, centre)
