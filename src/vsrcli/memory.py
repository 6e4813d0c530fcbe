"""How much memory there is, and the tile that fits in it."""

from __future__ import annotations

import math

import psutil

SHARE = 0.5  # of what is free when the job begins; the rest is for the encoder and for others
SMALLEST_TILE = 96


def largest_tile(
    height: int, width: int, bytes_per_pixel: int, overlap: int, free: int | None = None
) -> int | None:
    """The side of the largest square tile that fits in memory.

    Args:
        height, width: of the frame, in low-resolution pixels.
        bytes_per_pixel: what the network needs at its peak, per low-resolution pixel of a tile.
        overlap: context on each side.
        free: bytes; by default what the machine has free now.

    Returns:
        Low-resolution pixels, context included; None if the whole frame fits.
    """
    free = psutil.virtual_memory().available if free is None else free
    pixels = free * SHARE / max(bytes_per_pixel, 1)
    if height * width <= pixels:
        return None
    return max(int(math.sqrt(pixels)), SMALLEST_TILE, 4 * overlap)
