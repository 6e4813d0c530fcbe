"""Delta and five-parallel: stacks of convolutions side by side, on frames that FSRCNN has enlarged.

Both are networks of a course project on REDS, of which its figures and parameter counts are known: about 84
thousand for Delta, 260 thousand for five-parallel. A 2-D network (:mod:`vsrcli.models.fsrcnn`) enlarges three
frames; several stacks of 2-D convolutions look at each of them; a recurrent 2-D part (a ConvLSTM, Shi et al.,
NIPS 2015) goes through the three in order, and a 3-D part joins them at once; a last convolution joins both.

===============  ======  ========  =====  =========  ===  ==========  =====================================
network          stacks  channels  depth  recurrent  3-D  parameters  result
===============  ======  ========  =====  =========  ===  ==========  =====================================
delta            3       12        3      16         20   83,990      a difference to the enlarged frame
five-parallel    5       16        4      32         32   261,758     between 0 and 1, by a sigmoid
===============  ======  ========  =====  =========  ===  ==========  =====================================

What is chosen, since the project's texts do not say it: three frames, all kernels 3x3 (3x3x3), the sizes in
the table, which fit the parameter counts, ReLU, no batch normalization, and the form of the bound: with y the
sum of the enlarged frame and the difference, the result is ``sigmoid(4*y - 2)``, which has slope 1 at middle
grey and a gradient everywhere.

Three frames become one in the 3-D part, so its 3x3x3 convolution is one of 3x3 on the channels of all three:
the same sums, faster on CPUs.

The project left open to align the frames by optical flow. ``delta-flow`` and ``five-parallel-flow`` are the
same networks on windows whose outer frames have been moved onto the centre frame, at low resolution, before
the network: see :mod:`vsrcli.frames.flow`.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from vsrcli.models.fsrcnn import enlarge, fsrcnn_layers
from vsrcli.models.layers import conv3x3, convlstm_step

FRAMES = 3


class Parallel(keras.Model):
    """The network: ``(B, 3, H, W, 3)`` in [0, 1] -> the upscaled centre frame, ``(B, scale*H, scale*W, 3)``
    float32; not clipped, but between 0 and 1 if ``bounded``.

    Args:
        scale: 2, 3 or 4.
        stacks: of 2-D convolutions side by side.
        width: channels of each.
        blocks: convolutions of each.
        recurrent: channels of the ConvLSTM's state.
        head: channels of the 3-D part.
        bounded: end in a sigmoid.
        phase: of the enlargement, see :class:`~vsrcli.models.layers.Deconvolution`.
    """

    levels, multiple = FRAMES // 2, 1

    def __init__(
        self,
        scale: int,
        *,
        stacks: int = 3,
        width: int = 12,
        blocks: int = 3,
        recurrent: int = 16,
        head: int = 20,
        bounded: bool = False,
        phase: str = "centre",
    ):
        super().__init__(name=f"parallel_x{scale}")
        self.scale, self.bounded = scale, bounded
        self.enlarger = fsrcnn_layers(scale, phase)
        self.stacks = [
            [conv3x3(width, f"stack{i}_{j}", activation="relu") for j in range(blocks)] for i in range(stacks)
        ]
        self.on_input = conv3x3(4 * recurrent, "recurrent_input", "glorot_normal")
        self.on_hidden = conv3x3(4 * recurrent, "recurrent_hidden", "glorot_normal", use_bias=False)
        self.volume = conv3x3(head, "volume", activation="relu")
        near_zero = keras.initializers.VarianceScaling(0.02, mode="fan_in")
        self.difference = conv3x3(3, "difference", near_zero, dtype="float32")

    def call(self, frames):
        enlarged = [enlarge(self.enlarger, frames[:, t]) for t in range(FRAMES)]  # B, sH, sW, 3
        features = [self._stacks(image) for image in enlarged]  # B, sH, sW, stacks*width
        state: Any = None
        for x in features:
            state = convlstm_step(self.on_input, self.on_hidden, x, state)
        volume = self.volume(ops.concatenate(features, axis=-1))
        joined = ops.concatenate([ops.cast(state[0], volume.dtype), volume], axis=-1)
        y = enlarged[FRAMES // 2] + self.difference(joined)
        return ops.sigmoid(4.0 * y - 2.0) if self.bounded else y

    def _stacks(self, image):
        results = []
        for stack in self.stacks:
            x = image
            for layer in stack:
                x = layer(x)
            results.append(x)
        return ops.concatenate(results, axis=-1)


def build(scale: int, **options: Any) -> Parallel:
    """Return the network with fresh random weights, its variables created; options as of
    :class:`Parallel`."""
    model = Parallel(scale, **options)
    model(ops.zeros((1, FRAMES, 4, 4, 3)))
    return model
