"""Degradations: named presets that turn high-resolution clips into low-resolution ones.

``bd`` and ``bi`` are the protocols of the literature. ``video`` models real footage: any scaler, a little
noise, H.264 or H.265 at any quality over the full clip, sometimes twice. ``footage`` models a longer history:
a camera and its encoder, then what became of the recording. A weight file states the preset that it was
trained on.
"""

from vsrcli.degradations.compression import recompress
from vsrcli.degradations.presets import PRESETS, Degradation, degrade
from vsrcli.degradations.second_order import SecondOrder

__all__ = ["PRESETS", "Degradation", "SecondOrder", "degrade", "recompress"]
