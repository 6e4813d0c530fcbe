"""Compact (SRVGGNetCompact): a row of convolutions whose result is added to the enlarged frame.

Wang et al., "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic Data", ICCV
Workshops 2021, whose program has it for fast models.
"""

from __future__ import annotations

from keras import layers, ops

from vsrcli.models.single_image import Read, SingleImageNetwork, pixel_shuffle, sub_pixels_first


class Compact(SingleImageNetwork):
    """The network.

    Args:
        read: returns a tensor by the names of the original.
        scale: upscaling factor.
        convolutions: between the first and the last one.
    """

    def __init__(self, read: Read, *, scale: int, convolutions: int) -> None:
        super().__init__(scale, name="compact")
        self.convolutions, self.activations = [], []
        for number in range(convolutions + 1):
            layer = f"body.{2 * number}"
            self.convolutions.append(self.conv(read(f"{layer}.weight"), read(f"{layer}.bias")))
            slopes = read(f"body.{2 * number + 1}.weight")
            prelu = layers.PReLU(shared_axes=[1, 2] if len(slopes) > 1 else [1, 2, 3])
            prelu.build((None, None, None, self.convolutions[-1].filters))
            prelu.set_weights([slopes.reshape(1, 1, -1)])
            self.activations.append(prelu)
        last = f"body.{2 * convolutions + 2}"
        self.last = self.conv(
            sub_pixels_first(read(f"{last}.weight"), scale), sub_pixels_first(read(f"{last}.bias"), scale)
        )

    def upscale(self, image):
        x = image
        for conv, activation in zip(self.convolutions, self.activations, strict=True):
            x = activation(conv(x))  # B, H, W, channels
        x = ops.cast(self.last(x), "float32")  # B, H, W, s*s*3
        return pixel_shuffle(x + ops.tile(image, (1, 1, 1, self.scale**2)), self.scale)


build = Compact
