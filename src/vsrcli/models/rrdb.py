"""ESRGAN's generator: residual blocks of residual dense blocks (RRDB).

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCVW 2018, section 3.1;
the variant with a pixel-unshuffled input is Real-ESRGAN's (ICCVW 2021, section 3.3), the one with a 1x1
convolution in each dense block ESRGAN+ (Rakotonirina and Rasoanaivo, ICASSP 2020).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from keras import ops

from vsrcli.models.torch_layers import FixedConv, TorchNetwork, double_nearest, pixel_unshuffle

_SLOPE = 0.2  # of LeakyReLU
_RESIDUAL = 0.2  # weight of a block's result


class Rrdb(TorchNetwork):
    """The network; tensors are named by :mod:`vsrcli.models.recognition`.

    Args:
        tensors: weights by name.
        scale: upscaling factor, as a whole.
        shuffle: factor by which the input is unshuffled.
        blocks: residual blocks.
        doublings: of the size, after them.
    """

    def __init__(
        self, tensors: Mapping[str, np.ndarray], *, scale: int, shuffle: int, blocks: int, doublings: int
    ) -> None:
        super().__init__(tensors, scale=scale, multiple=shuffle)
        self.shuffle = shuffle
        pixels = 1 / shuffle**2
        self.first = self.conv("first", pixels)
        self.blocks = [
            [self._dense(f"body.{block}.{number}", pixels) for number in (1, 2, 3)] for block in range(blocks)
        ]
        self.trunk = self.conv("trunk", pixels)
        self.ups: list[FixedConv] = []
        for number in range(doublings):
            pixels *= 4
            self.ups.append(self.conv(f"up.{number + 1}", pixels))
        self.high, self.last = self.conv("high", pixels), self.conv("last", pixels)

    def upscale(self, frame):
        features = self.first(pixel_unshuffle(frame, self.shuffle) if self.shuffle > 1 else frame)
        x = features
        for block in self.blocks:
            y = x
            for convs in block:
                y = _apply_dense(convs, y)
            x = x + _RESIDUAL * y
        x = features + self.trunk(x)
        for up in self.ups:
            x = ops.leaky_relu(up(double_nearest(x)), _SLOPE)
        return self.last(ops.leaky_relu(self.high(x), _SLOPE))

    def _dense(self, name: str, pixels: float) -> list[FixedConv]:
        """Return the five convolutions of a dense block, and the 1x1 one of ESRGAN+."""
        convs = [self.conv(f"{name}.{number}", pixels) for number in range(1, 6)]
        return (
            [*convs, self.conv(f"{name}.plus", pixels)] if f"{name}.plus.weight" in self._tensors else convs
        )


def _apply_dense(convs: list[FixedConv], x):
    """Apply a dense block: every convolution reads all results before it."""
    known = [x]
    for number, conv in enumerate(convs[:4]):
        y = ops.leaky_relu(conv(ops.concatenate(known, axis=-1) if number else x), _SLOPE)
        if len(convs) > 5 and number == 1:
            y = y + convs[5](x)
        if len(convs) > 5 and number == 3:
            y = y + known[2]
        known.append(y)
    return x + _RESIDUAL * convs[4](ops.concatenate(known, axis=-1))
