"""Multiply-adds and receptive fields of the networks. Importable without Keras.

Multiply-adds are those of convolutions, per low-resolution pixel and frame of a stream, as they are computed;
radii are in low-resolution pixels, at the scale where they are largest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

WINDOW = 7  # frames, of the paper's networks and of DUF-S
TAPS = 5  # side of a dynamic filter, as in the paper
_DECONVOLUTION = 9  # side of FSRCNN's last kernel


def conv_macs(kernel: tuple[int, ...], inputs: int, outputs: int) -> int:
    """Return the multiply-adds of a convolution per output position."""
    return math.prod(kernel) * inputs * outputs


def output_macs(scale: int) -> int:
    """Return the multiply-adds per low-resolution pixel of applying dynamic filters to three colours."""
    return 3 * scale * scale * TAPS * TAPS


@dataclass(frozen=True)
class DufDepth:
    """The blocks of a DUF network: those on all seven frames, before three that shorten time; channels each
    adds."""

    full_window_blocks: int
    growth: int


DUF_STEM = 64
DUF_ROWS = 6  # rows computed together, see models/winograd.py
DUF_DEPTHS = {16: DufDepth(3, 32), 28: DufDepth(9, 16), 52: DufDepth(21, 16)}


def duf_radius(depth: int = 16) -> int:
    """Return the receptive field radius in low-resolution pixels: stem, one per block, head."""
    return DUF_DEPTHS[depth].full_window_blocks + 3 + 2


def duf_macs(scale: int, *, depth: int = 16) -> int:
    """Return the multiply-adds per low-resolution pixel and output frame, with every window computed anew."""
    plan = DUF_DEPTHS[depth]
    total = WINDOW * conv_macs((3, 3), 3, DUF_STEM)
    channels, time = DUF_STEM, WINDOW
    for block in range(plan.full_window_blocks + 3):
        total += time * conv_macs((1,), channels, channels)
        time -= 2 if block >= plan.full_window_blocks else 0
        total += time * conv_macs((3, 3, 3), channels, plan.growth)
        channels += plan.growth
    total += conv_macs((3, 3), channels, 256)
    total += conv_macs((1,), 256, 256) + conv_macs((1,), 256, 3 * scale**2)
    total += conv_macs((1,), 256, 512) + conv_macs((1,), 512, TAPS**2 * scale**2)
    return total + output_macs(scale)


DUF_S_LEVELS = 3  # valid temporal convolutions, each shortens time by two frames


def streaming_radius(*, levels: int = DUF_S_LEVELS, blocks: int = 3, **other_sizes: int) -> int:
    """Return the receptive field radius of one step of DUF-S or DUF-R: encoder, fusions, blocks, head.

    In low-resolution pixels. Through a recurrent state the field grows with every frame; see
    :meth:`~vsrcli.models.architectures.Architecture.radius`.
    """
    return 1 + levels + 2 * blocks + 1


def duf_s_macs(scale: int, *, width: int = 48, blocks: int = 3, head: int = 64) -> int:
    """Return the multiply-adds per low-resolution pixel and frame of a stream."""
    total = conv_macs((3, 3), 3, width) + DUF_S_LEVELS * conv_macs((3, 3), 3 * width, width)
    total += 2 * blocks * conv_macs((3, 3), width, width) + conv_macs((3, 3), width, head)
    return total + conv_macs((1,), head, (TAPS**2 + 3) * scale**2) + output_macs(scale)


def duf_r_macs(
    scale: int,
    *,
    width: int = 44,
    levels: int = 3,
    blocks: int = 3,
    head: int = 56,
    filters: bool = True,
    feedback: bool = True,
) -> int:
    """Return the multiply-adds per low-resolution pixel and frame of a stream."""
    total = duf_s_macs(scale, width=width, blocks=blocks, head=head)
    total += (levels - DUF_S_LEVELS) * conv_macs((3, 3), 3 * width, width)
    total += conv_macs((3, 3), width + 3 * scale**2 * feedback, width)
    return total - (0 if filters else conv_macs((1,), head, TAPS**2 * scale**2))


def fsrcnn_macs(scale: int, *, width: int = 56, head: int = 12, blocks: int = 4) -> int:
    """Return the multiply-adds of FSRCNN, with the zeros that its transposed convolution is computed with."""
    total = conv_macs((5, 5), 3, width) + 2 * width * head + blocks * conv_macs((3, 3), head, head)
    side = 2 * _deconvolution_radius(scale) + 1
    return total + conv_macs((side, side), width, 3 * scale**2)


def fsrcnn_radius(*, blocks: int = 4, **other_sizes: int) -> int:
    """Return the receptive field radius: 5x5 features, mappings, transposed convolution."""
    return 2 + blocks + _deconvolution_radius(2)


def unet_macs(scale: int, *, width: int = 32, poolings: int = 3, residual: bool = False) -> int:
    """Return the multiply-adds of SR-U-Net and RUNet, where no side is padded; rounded up."""
    total, inputs = 0.0, 3
    for level in range(poolings + 1):
        channels = width * 2**level
        block = conv_macs((3, 3), inputs, channels) + conv_macs((3, 3), channels, channels)
        total += (block + residual * inputs * channels) / 4**level
        if level < poolings:
            total += 8 * channels**2 / 4 ** (level + 1)  # from twice as many channels to four sub-pixels
            total += 3 * conv_macs((3, 3), channels, channels) / 4**level
        inputs = channels
    doublings = scale.bit_length() - 1
    total += sum(4 * width**2 * 4**doubling for doubling in range(doublings))
    return math.ceil(total + conv_macs((3, 3), width, 3) * scale**2)


def unet_radius(*, poolings: int = 3, **other_sizes: int) -> int:
    """Return the receptive field radius: at each size two convolutions down and two up, and a pixel that is
    pooled with its neighbour; then the last convolution."""
    radius = 2
    for _ in range(poolings):
        radius = 2 + 2 * radius + 1 + 2
    return radius + 1


def srgan_macs(scale: int, *, width: int = 64, blocks: int = 16) -> int:
    """Return the multiply-adds of SR-ResNet."""
    total = conv_macs((9, 9), 3, width) + (2 * blocks + 1) * conv_macs((3, 3), width, width)
    density = 1
    for factor in (3,) if scale == 3 else (2,) * (scale.bit_length() - 1):
        total += density * conv_macs((3, 3), width, width * factor**2)
        density *= factor**2
    return total + density * conv_macs((9, 9), width, 3)


def srgan_radius(*, blocks: int = 16, **other_sizes: int) -> int:
    """Return the receptive field radius: 9x9, blocks, body, pixel shuffles, 9x9 at twice the size or more."""
    return 4 + 2 * blocks + 1 + 1 + 2


def convlstm_macs(scale: int, *, width: int = 32, blocks: int = 5, cells: int = 2) -> int:
    """Return the multiply-adds of the ConvLSTM network per frame; its interpolation is not counted."""
    total = conv_macs((3, 3), 3, width) + (2 * blocks + 1) * conv_macs((3, 3), width, width)
    total += cells * 2 * conv_macs((3, 3), width, 4 * width)
    return total + width * 3 * scale**2


def convlstm_radius(*, blocks: int = 5, cells: int = 2, **other_sizes: int) -> int:
    """Return the receptive field radius of one step: first, blocks, cells, last."""
    return 1 + 2 * blocks + cells + 1


def parallel_macs(
    scale: int,
    *,
    stacks: int = 3,
    width: int = 12,
    blocks: int = 3,
    recurrent: int = 16,
    head: int = 20,
    bounded: bool = False,
) -> int:
    """Return the multiply-adds of Delta and five-parallel: three frames, most of it at full size."""
    features = stacks * width
    stack = conv_macs((3, 3), 3, width) + (blocks - 1) * conv_macs((3, 3), width, width)
    total = 3 * stacks * stack + 3 * conv_macs((3, 3), features, 4 * recurrent)
    total += 2 * conv_macs((3, 3), recurrent, 4 * recurrent)  # the first frame's state is empty
    total += conv_macs((3, 3), 3 * features, head) + conv_macs((3, 3), recurrent + head, 3)
    return 3 * fsrcnn_macs(scale) + total * scale**2


def parallel_radius(*, blocks: int = 3, **other_sizes: int) -> int:
    """Return the receptive field radius: FSRCNN, and at full size the stacks, three steps of the ConvLSTM and
    the last convolution."""
    return fsrcnn_radius() + -(-(blocks + 3 + 1) // 2)


def _deconvolution_radius(scale: int) -> int:
    """Return how many pixels away a sub-pixel reads, see ``layers.deconvolution_taps``."""
    return 2 if scale == 2 else 1
