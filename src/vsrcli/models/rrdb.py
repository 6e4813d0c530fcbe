"""RRDBNet, the generator of ESRGAN and Real-ESRGAN: dense blocks with residuals in residuals.

Wang et al., "ESRGAN: Enhanced Super-Resolution Generative Adversarial Networks", ECCV Workshops 2018. With
``plus`` that of Rakotonirina and Rasoanaivo, "ESRGAN+", ICASSP 2020, which has residuals inside of the dense
blocks, too. Real-ESRGAN's networks of x2 and x1 take blocks of pixels as channels and enlarge four times.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from vsrcli.models.single_image import Read, SingleImageNetwork

_SLOPE = 0.2  # of the leaky ReLU
_RESIDUAL = 0.2  # factor of what is added


class Rrdb(SingleImageNetwork):
    """The network.

    Args:
        read: returns a tensor by the names of :mod:`vsrcli.models.recognition`.
        scale: upscaling factor.
        blocks: residual blocks of three dense ones.
        ups: doublings.
        unshuffle: sides of the blocks of pixels that are channels for the network.
        plus: see above.
    """

    def __init__(
        self, read: Read, *, scale: int, blocks: int, ups: int, unshuffle: int = 1, plus: bool = False
    ) -> None:
        super().__init__(scale, multiple=unshuffle, name="rrdb")
        density = 1 / unshuffle**2

        def conv(name: str, density: float, **options):
            return self.conv(read(f"{name}.weight"), read(f"{name}.bias"), density=density, **options)

        # frames in blocks of pixels and a convolution: one convolution of the frame with larger steps
        weight = strided(read("first.weight"), unshuffle)
        self.first = self.conv(weight, read("first.bias"), density=density, strides=unshuffle)
        parts = [f"blocks.{block}.{part}" for block in range(blocks) for part in (1, 2, 3)]
        self.dense = [[conv(f"{part}.conv{number}", density) for number in range(1, 6)] for part in parts]
        self.shortcuts = [
            self.conv(read(f"{part}.conv1x1.weight"), None, density=density) for part in parts if plus
        ]
        self.body = conv("body", density)
        self.ups = [conv(f"up{number}", density * 4**number) for number in range(1, ups + 1)]
        self.hr = conv("hr", density * 4**ups)
        self.last = conv("last", density * 4**ups, dtype="float32")

    def upscale(self, image):
        first = x = self.first(image)  # B, H, W, channels
        for number in range(0, len(self.dense), 3):
            y = x
            for part in range(number, number + 3):
                y = self._dense_block(part, y)
            x = x + y * _RESIDUAL
        x = first + self.body(x)
        for conv in self.ups:
            x = ops.leaky_relu(conv(double(x)), _SLOPE)
        return self.last(ops.leaky_relu(self.hr(x), _SLOPE))

    def _dense_block(self, part: int, x):
        features = [x]
        for number, conv in enumerate(self.dense[part][:-1]):
            y = ops.leaky_relu(conv(ops.concatenate(features, axis=-1) if number else x), _SLOPE)
            if self.shortcuts and number == 1:
                y = y + self.shortcuts[part](x)
            if self.shortcuts and number == 3:
                y = y + features[2]
            features.append(y)
        return x + self.dense[part][-1](ops.concatenate(features, axis=-1)) * _RESIDUAL


def double(x):
    """Repeat every pixel: ``(B, H, W, C)`` -> ``(B, 2*H, 2*W, C)``."""
    return ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)


def strided(weight: np.ndarray, unshuffle: int) -> np.ndarray:
    """Return the weight for frames of a convolution of their blocks of pixels.

    Args:
        weight: ``(outputs, 3 * unshuffle**2, 3, 3)``; channels are colours, rows and columns of a block.
        unshuffle: sides of a block.

    Returns:
        ``(outputs, 3, 3*unshuffle, 3*unshuffle)``, for steps of ``unshuffle``.
    """
    outputs, channels, rows, columns = weight.shape
    split = weight.reshape(outputs, channels // unshuffle**2, unshuffle, unshuffle, rows, columns)
    size = rows * unshuffle, columns * unshuffle
    return split.transpose(0, 1, 4, 2, 5, 3).reshape(outputs, channels // unshuffle**2, *size)


build = Rrdb
