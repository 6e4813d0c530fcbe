"""What every network costs and how far it sees, from its sizes alone. Imports no Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW = 7
TAPS = 5  # side of a dynamic filter, as in the paper


def conv_macs(kernel: tuple[int, ...], inputs: int, outputs: int) -> int:
    """Multiply-adds of one output position of a convolution."""
    return math.prod(kernel) * inputs * outputs


def output_macs(scale: int) -> int:
    """Multiply-adds per low-resolution pixel of applying the filters to three colours."""
    return 3 * scale * scale * TAPS * TAPS


@dataclass(frozen=True)
class Depth:
    """``keeping`` blocks that keep seven frames, then three that shorten; each adds ``growth`` channels."""

    keeping: int
    growth: int


DUF_STEM = 64
DUF_ROWS = 6  # of a frame, computed together: see models/winograd.py
DUF_DEPTHS = {16: Depth(3, 32), 28: Depth(9, 16), 52: Depth(21, 16)}


def duf_radius(depth: int = 16) -> int:
    """Receptive field radius in low-resolution pixels: stem, one per block, head."""
    return DUF_DEPTHS[depth].keeping + 3 + 2


def duf_macs(scale: int, *, depth: int = 16) -> int:
    """Multiply-adds per low-resolution pixel and output frame, the whole window computed anew each time."""
    plan = DUF_DEPTHS[depth]
    total = WINDOW * conv_macs((3, 3), 3, DUF_STEM)
    channels, time = DUF_STEM, WINDOW
    for block in range(plan.keeping + 3):
        total += time * conv_macs((1,), channels, channels)
        time -= 2 if block >= plan.keeping else 0
        total += time * conv_macs((3, 3, 3), channels, plan.growth)
        channels += plan.growth
    total += conv_macs((3, 3), channels, 256)
    total += conv_macs((1,), 256, 256) + conv_macs((1,), 256, 3 * scale**2)
    total += conv_macs((1,), 256, 512) + conv_macs((1,), 512, TAPS**2 * scale**2)
    return total + output_macs(scale)


DUF_S_LEVELS = 3  # valid temporal convolutions, each shortens time by two frames
DUF_S_RADIUS_PER_BLOCK = 2


def duf_s_radius(*, blocks: int = 3, **other_sizes: int) -> int:
    """Receptive field radius in low-resolution pixels: encoder, three fusions, the blocks, the head."""
    return 1 + DUF_S_LEVELS + DUF_S_RADIUS_PER_BLOCK * blocks + 1


def duf_s_macs(scale: int, *, width: int = 48, blocks: int = 3, head: int = 64) -> int:
    """Multiply-adds per low-resolution pixel and frame of a stream."""
    total = conv_macs((3, 3), 3, width) + DUF_S_LEVELS * conv_macs((3, 3), 3 * width, width)
    total += 2 * blocks * conv_macs((3, 3), width, width) + conv_macs((3, 3), width, head)
    total += conv_macs((1,), head, (TAPS**2 + 3) * scale**2)
    return total + output_macs(scale)


def duf_r_radius(*, levels: int = 3, blocks: int = 3, **other_sizes: int) -> int:
    """How far one step sees in its frames, in low-resolution pixels: encoder, fusions, blocks, head.

    The state carries what earlier steps saw, so over many frames the field grows without limit; see
    ``Architecture.radius``.
    """
    return 1 + levels + 2 * blocks + 1


def duf_r_macs(
    scale: int, *, width: int = 44, levels: int = 3, blocks: int = 3, head: int = 56, filters: bool = True
) -> int:
    """Multiply-adds per low-resolution pixel and frame of a stream."""
    total = conv_macs((3, 3), 3, width) + levels * conv_macs((3, 3), 3 * width, width)
    total += conv_macs((3, 3), width + 3 * scale**2, width)
    total += 2 * blocks * conv_macs((3, 3), width, width) + conv_macs((3, 3), width, head)
    values = TAPS**2 + 3 if filters else 3
    return total + conv_macs((1,), head, values * scale**2) + output_macs(scale)
