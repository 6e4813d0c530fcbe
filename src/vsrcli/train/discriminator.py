"""The discriminator: a small U-Net that tells three consecutive frames of truth from three upscaled ones.

Three frames, so that what flickers or crawls is told from what moves (Chu et al., "Learning Temporal
Coherence via Self-Supervision for GAN-based Video Generation", TecoGAN, SIGGRAPH 2020). A U-Net, since it
judges each pixel and still sees what is around it, and spectral normalization, which keeps it from running
away from the network that it teaches (Wang et al., Real-ESRGAN, ICCVW 2021, section 3.4; Miyato et al., ICLR
2018).
"""

from __future__ import annotations

import keras
from keras import layers, ops

LEAK = 0.2


class SpectralConv(layers.Layer):
    """A convolution whose kernel, as a matrix, is divided by its largest singular value.

    The value is followed by one power iteration per training step (Miyato et al., section 2.1).

    Args:
        filters: output channels.
        size: side of the kernel.
        strides: step of the kernel; the border is padded by zeros.
    """

    def __init__(self, filters: int, size: int = 3, strides: int = 1, **options):
        super().__init__(**options)
        self.filters, self.size, self.strides = filters, size, strides

    def build(self, shape):
        kernel_shape = (self.size, self.size, shape[-1], self.filters)
        self.kernel = self.add_weight(shape=kernel_shape, initializer="he_normal", name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")
        self.direction = self.add_weight(
            shape=(self.filters, 1), initializer="random_normal", trainable=False, name="direction"
        )

    def call(self, x, frozen: bool = False, iterate: bool = False):
        """Convolve.

        Args:
            x: (N, H, W, C).
            frozen: kernel and bias are constants: no gradient reaches them.
            iterate: do this step's power iteration and keep its result.
        """
        kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
        if frozen:
            kernel, bias = ops.stop_gradient(kernel), ops.stop_gradient(bias)
        matrix = ops.reshape(kernel, (-1, self.filters))
        fixed, right = ops.stop_gradient(matrix), ops.convert_to_tensor(self.direction)
        left = _unit(ops.matmul(fixed, right))
        if iterate:
            right = _unit(ops.matmul(ops.transpose(fixed), left))
            self.direction.assign(right)
        right = ops.stop_gradient(_unit(right))
        left = ops.stop_gradient(left)
        largest = ops.matmul(ops.transpose(left), ops.matmul(matrix, right))  # 1, 1
        return ops.conv(x, kernel / largest, strides=self.strides, padding="same") + bias


class Discriminator(keras.Model):
    """The U-Net: (N, H, W, C) -> (N, H, W, 1), a score of each pixel; higher is more like truth.

    Args:
        width: channels at full size; twice as many at half, four times at a quarter and an eighth.
    """

    def __init__(self, width: int = 24):
        super().__init__(name="discriminator")
        widths = (width, 2 * width, 4 * width, 4 * width)
        self.entry = SpectralConv(width, name="entry")
        self.down = [SpectralConv(n, 4, 2, name=f"down{i}") for i, n in enumerate(widths[1:])]
        self.up = [SpectralConv(n, name=f"up{i}") for i, n in enumerate(widths[2::-1])]
        self.last = SpectralConv(width, name="last")
        self.score = SpectralConv(1, name="score")

    def call(self, x, frozen: bool = False, iterate: bool = False):
        options = {"frozen": frozen, "iterate": iterate}
        x = _activate(self.entry(x, **options))
        skipped = []
        for layer in self.down:
            skipped.append(x)
            x = _activate(layer(x, **options))
        for layer in self.up:
            skip = skipped.pop()
            x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)
            if x.shape[1:3] != skip.shape[1:3]:  # an odd side
                x = x[:, : skip.shape[1], : skip.shape[2]]
            x = _activate(layer(x, **options)) + skip
        return self.score(_activate(self.last(x, **options)), **options)


def _activate(x):
    return ops.leaky_relu(x, LEAK)


def _unit(vector):
    return vector * ops.rsqrt(ops.sum(ops.square(vector)) + 1e-12)
