"""What the networks share, in ``keras.ops``: features merged over time, and DUF's output stage.

Jo et al., "Deep Video Super-Resolution Network Using Dynamic Upsampling Filters Without Explicit Motion
Compensation", CVPR 2018, section 3.1: for every low-resolution pixel the network predicts ``scale**2``
filters of 5x5 taps (softmax over the taps); each produces one output pixel of the block that replaces the
low-resolution pixel, and the same filters apply to R, G and B. A residual image, from a second branch, is
added after depth-to-space (section 3.2).
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from vsrcli.models.costs import TAPS
from vsrcli.models.winograd import concat_conv


class FeatureModel(keras.Model):
    """Base of networks that encode each frame once and merge time by valid convolutions.

    Training on sequences and streaming use the same layers, so they give the same results. Subclasses set
    ``width``, ``encoder`` and ``fusions``.
    """

    def encode(self, frames):
        """Compute features of single frames: ``(B, H, W, 3)`` -> ``(B, H, W, width)``."""
        return self.encoder(frames)

    def fuse(self, level: int, previous, current, following, conv=concat_conv):
        """Merge features of three neighbours, ``(B, H, W, width)`` each, by a valid temporal convolution."""
        return ops.relu(conv(self.fusions[level], previous, current, following) + current)

    def merge_time(self, frames):
        """Encode and fuse a sequence: ``(B, T, H, W, 3)`` -> ``(B, T - 2*levels, H, W, width)``."""
        _, time, height, width, _ = frames.shape
        flat = (-1, height, width)
        x = self.encode(ops.reshape(frames, (*flat, 3)))  # B*T, H, W, width
        x = ops.reshape(x, (-1, time, height, width, self.width))
        for level in range(len(self.fusions)):
            moments = ops.unstack(x, axis=1)  # a slice has a gradient that takes longer than a convolution
            steps = len(moments) - 2
            parts = [
                ops.reshape(ops.stack(moments[i : i + steps], axis=1), (*flat, self.width)) for i in range(3)
            ]
            x = ops.reshape(self.fuse(level, *parts), (-1, steps, height, width, self.width))
        return x


def conv3x3(filters: int, name: str, kernel_initializer: Any = "he_normal", **options) -> layers.Conv2D:
    """Return a 3x3 convolution that keeps the frame's size."""
    return layers.Conv2D(
        filters, 3, padding="same", name=name, kernel_initializer=kernel_initializer, **options
    )


class DynamicUpsampling(layers.Layer):
    """:func:`apply_dynamic_filters` and :func:`depth_to_space` as a layer, for Keras' functional style."""

    def __init__(self, scale: int, **options):
        super().__init__(**options)
        self.scale = scale

    def call(self, image, logits, residual):
        return depth_to_space(apply_dynamic_filters(pad_border(image), logits, residual), self.scale)

    def compute_output_shape(self, image_shape, logits_shape, residual_shape):
        batch, height, width, channels = image_shape
        enlarged = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *enlarged, channels)


class Deconvolution(layers.Layer):
    """A transposed convolution: ``(B, H, W, C)`` -> ``(B, scale*H, scale*W, filters)``.

    Computed as a convolution that gives all sub-pixels of a pixel at once, and :func:`depth_to_space`: the
    same sums, on every engine, and the middle of the kernel lies on the pixel's own place in the larger grid.

    Args:
        filters: output channels.
        size: side of the kernel, in pixels of the result; odd.
        scale: enlargement.
        phase: see :func:`interpolating_bias`. In ``centre`` with an even scale, the place lies between two
            pixels, and the first one is taken; what half a pixel is worth, the kernel learns.
        kernel_initializer: of the kernel, ``(size, size, C, filters)``.
    """

    def __init__(
        self,
        filters: int,
        size: int,
        scale: int,
        phase: str = "centre",
        kernel_initializer: Any = "he_normal",
        **options,
    ):
        super().__init__(**options)
        self.filters, self.size, self.scale = filters, size, scale
        self._kernel_initializer = kernel_initializer
        self._taps = deconvolution_taps(size, scale, phase)

    def build(self, input_shape):
        shape = (self.size, self.size, input_shape[-1], self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self._kernel_initializer, name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        taps, inputs, sub_pixels = len(self._taps), x.shape[-1], self.scale**2
        both_axes = np.where(
            np.minimum(self._taps[:, None, :, None], self._taps[None, :, None, :]) < 0,
            self.size**2,  # a zero, behind the last tap
            self._taps[:, None, :, None] * self.size + self._taps[None, :, None, :],
        )  # taps, taps, s, s
        kernel = ops.reshape(ops.convert_to_tensor(self.kernel), (self.size**2, inputs * self.filters))
        kernel = ops.pad(kernel, ((0, 1), (0, 0)))
        kernel = ops.take(kernel, both_axes.reshape(-1), axis=0)
        kernel = ops.reshape(kernel, (taps, taps, sub_pixels, inputs, self.filters))
        kernel = ops.transpose(kernel, (0, 1, 3, 4, 2))
        kernel = ops.reshape(kernel, (taps, taps, inputs, self.filters * sub_pixels))
        x = ops.conv(x, ops.cast(kernel, x.dtype), padding="same", data_format="channels_last")
        height, width = frame_size(x)
        x = ops.reshape(x, (-1, height, width, self.filters, sub_pixels))
        return depth_to_space(x + ops.expand_dims(ops.convert_to_tensor(self.bias), -1), self.scale)

    def compute_output_shape(self, input_shape):
        batch, height, width, _ = input_shape
        enlarged = [None if side is None else side * self.scale for side in (height, width)]
        return (batch, *enlarged, self.filters)


def deconvolution_taps(size: int, scale: int, phase: str = "centre") -> np.ndarray:
    """Return which tap of a transposed convolution connects a pixel's neighbours with its sub-pixels.

    Along one axis: int ``(2*r + 1, scale)``, entry ``[r + d, p]`` for sub-pixel p and the neighbour d pixels
    on; -1 where there is none. ``r`` is the largest distance at which there is one.
    """
    shift = (scale - 1) // 2 if phase == "centre" else 0
    distances = np.arange(-size, size + 1)[:, None]
    taps = np.arange(scale)[None] - scale * distances - shift + size // 2
    taps = np.where((taps >= 0) & (taps < size), taps, -1)
    radius = int(np.abs(distances[(taps >= 0).any(axis=1)]).max())
    return taps[size - radius : size + radius + 1]


class ChannelPrelu(layers.Layer):
    """A ReLU with a learnt slope below zero for each channel, at first 0.25 (He et al., ICCV 2015).

    That of Keras is a weight times a tensor, which not every engine can record.
    """

    def build(self, input_shape):
        start = keras.initializers.Constant(0.25)
        self.slope = self.add_weight(shape=(input_shape[-1],), initializer=start, name="slope")

    def call(self, x):
        return ops.relu(x) - ops.relu(-x) * self.slope

    def compute_output_shape(self, input_shape):
        return input_shape


class SubpixelConv(layers.Conv2D):
    """A 1x1 convolution to values for every sub-pixel: ``(B, H, W, C)`` -> ``(B, H, W, values, scale**2)``,
    or ``(B, H, W, scale**2, values)``.

    Kernel and bias have the order of the paper's network, sub-pixels first. Computes in float32 whatever the
    policy: the softmax and the sum with the residual need it.

    Args:
        values: for each sub-pixel.
        scale: upsampling factor.
        sub_pixels_first: return them in the order of the kernel.
        options: of ``Conv2D``.
    """

    def __init__(self, values: int, scale: int, *, sub_pixels_first: bool = False, **options):
        super().__init__(values * scale * scale, 1, dtype="float32", **options)
        self.values, self.sub_pixels, self.sub_pixels_first = values, scale * scale, sub_pixels_first

    def call(self, x):
        if self.sub_pixels_first:
            x = ops.conv(x, self.kernel, padding="valid", data_format="channels_last") + self.bias
            return ops.reshape(x, (-1, *frame_size(x), self.sub_pixels, self.values))
        order = np.arange(self.filters).reshape(self.sub_pixels, self.values).T.reshape(-1)
        x = ops.conv(x, ops.take(self.kernel, order, axis=-1), padding="valid", data_format="channels_last")
        height, width = frame_size(x)
        return ops.reshape(x + ops.take(self.bias, order), (-1, height, width, self.values, self.sub_pixels))

    def compute_output_shape(self, input_shape):
        values = self.values, self.sub_pixels
        return (*input_shape[:3], *(reversed(values) if self.sub_pixels_first else values))


# Keras names saved arrays by class: the files are those of plain convolutions.
SubpixelConv.__name__ = "Conv2D"


def filter_layer(scale: int, phase: str, name: str = "filters", stddev: float = 1e-2) -> SubpixelConv:
    """Return the layer that predicts filters, at first those of :func:`interpolating_bias`."""
    return SubpixelConv(
        TAPS * TAPS,
        scale,
        name=name,
        kernel_initializer=keras.initializers.RandomNormal(stddev=stddev),
        bias_initializer=keras.initializers.Constant(interpolating_bias(scale, phase)),  # type: ignore[arg-type]
    )


def apply_dynamic_filters(padded, logits, residual):
    """Apply predicted filters to a frame and add the residual.

    The arithmetic runs along the sub-pixels, and the softmax's sum comes out of the product with the colours,
    so that the filters, most of a network's memory, are read once: half the time of a softmax and a product
    on CPUs. Logits are clipped to +-40; beyond, weights differ by 10^34 already.

    Args:
        padded: ``(B, H+4, W+4, 3)``: the centre frame, :func:`pad_border`, float32.
        logits: ``(B, H, W, 25, scale**2)``, filters before the softmax over the taps.
        residual: ``(B, H, W, 3, scale**2)``.

    Returns:
        ``(B, H, W, 3, scale**2)``, not clipped: the upscaled frame before :func:`depth_to_space`.
    """
    sums = ops.matmul(extract_patches(padded), ops.exp(ops.clip(logits, -40.0, 40.0)))  # B, H, W, 4, s*s
    colours, total = ops.split(sums, [3], axis=3)
    return colours / total + residual


def bicubic_upsample(padded, scale: int, phase: str = "centre"):
    """Interpolate bicubically (a = -0.5), in place of predicted filters.

    Args:
        padded: ``(B, H+4, W+4, 3)``: the centre frame, :func:`pad_border`, float32.
        scale: upsampling factor.
        phase: see :func:`interpolating_bias`.

    Returns:
        ``(B, H, W, scale**2, 3)``, not clipped: the upscaled frame before :func:`interleave`.
    """
    taps = np.zeros((TAPS, TAPS, 3, scale * scale, 3), np.float32)
    one_axis = _cubic(_distances(scale, phase))  # s, taps
    both_axes = one_axis[:, None, :, None] * one_axis[None, :, None, :]  # s, s, taps, taps
    for colour in range(3):
        taps[:, :, colour, :, colour] = both_axes.transpose(2, 3, 0, 1).reshape(TAPS, TAPS, -1)
    kernel = taps.reshape(TAPS, TAPS, 3, -1)
    upsampled = ops.conv(padded, kernel, padding="valid", data_format="channels_last")  # B, H, W, s*s*3
    return ops.reshape(upsampled, (-1, *frame_size(upsampled), scale * scale, 3))


def extract_patches(padded):
    """Return the 5x5 patch around every pixel: ``(B, H+4, W+4, 3)`` -> ``(B, H, W, 4, 25)``.

    Rows first: tap ``5*i + j`` is the pixel ``i - 2`` below and ``j - 2`` to the right. The fourth channel is
    one everywhere: the product that sums up the colours under a filter sums up the filter, too. Implemented
    as a convolution with ones and zeros, which is faster than slices.
    """
    taps = TAPS * TAPS
    kernel = np.zeros((TAPS, TAPS, 3, 4 * taps), np.float32)
    for colour in range(3):
        for tap in range(taps):
            kernel[tap // TAPS, tap % TAPS, colour, taps * colour + tap] = 1
    ones = np.zeros(4 * taps, np.float32)
    ones[3 * taps :] = 1
    patches = ops.conv(padded, kernel, padding="valid", data_format="channels_last") + ones  # B, H, W, 4*25
    height, width = frame_size(patches)
    return ops.reshape(patches, (-1, height, width, 4, taps))


def depth_to_space(image, scale: int):
    """Convert ``(B, H, W, C, scale**2)`` -> ``(B, scale*H, scale*W, C)``; sub-pixel ``scale*i + j`` goes to
    row i, column j."""
    (height, width), channels = frame_size(image), image.shape[-2]
    image = ops.reshape(image, (-1, height, width, channels, scale, scale))
    image = ops.transpose(image, (0, 1, 4, 2, 5, 3))  # B, H, s, W, s, C
    return ops.reshape(image, (-1, height * scale, width * scale, channels))


def interleave(image, scale: int):
    """Convert ``(B, H, W, scale**2, C)`` -> ``(B, scale*H, scale*W, C)``; sub-pixel ``scale*i + j`` goes to
    row i, column j. On CPUs faster than :func:`depth_to_space`: a row's sub-pixels stay together."""
    (height, width), channels = frame_size(image), image.shape[-1]
    image = ops.reshape(image, (-1, height, width, scale, scale * channels))
    image = ops.transpose(image, (0, 1, 3, 2, 4))  # B, H, s, W, s*C
    return ops.reshape(image, (-1, height * scale, width * scale, channels))


def sub_pixels(x, scale: int):
    """Move channels to space: ``(B, H, W, C*scale**2)`` -> ``(B, scale*H, scale*W, C)``; those of a channel
    follow one another. The pixel shuffle of Shi et al., CVPR 2016."""
    height, width = frame_size(x)
    return depth_to_space(ops.reshape(x, (-1, height, width, x.shape[-1] // scale**2, scale**2)), scale)


def convlstm_step(on_input, on_hidden, x, state=None):
    """Do one step of a ConvLSTM (Shi et al., "Convolutional LSTM Network", NIPS 2015, without peepholes).

    Args:
        on_input: convolution of the input to ``4*width`` channels, with a bias.
        on_hidden: the same of the hidden state, without one.
        x: input, ``(B, H, W, C)``.
        state: ``(hidden, cell)``, ``(B, H, W, width)`` float32 each; None: zeros.

    Returns:
        The new state. The forget gate has one added, so that an untrained cell remembers (Jozefowicz et al.,
        ICML 2015).
    """
    gates = on_input(x)
    if state is not None:
        gates = gates + on_hidden(state[0])
    write, keep, show, content = ops.split(ops.cast(gates, "float32"), 4, axis=-1)
    cell = ops.sigmoid(write) * ops.tanh(content)
    if state is not None:
        cell = cell + ops.sigmoid(keep + 1.0) * state[1]
    return ops.sigmoid(show) * ops.tanh(cell), cell


def pad_border(image):
    """Pad a frame for the filters of its outermost pixels: ``(B, H, W, 3)`` -> ``(B, H+4, W+4, 3)``.

    Edges are replicated. (The authors pad with zeros, which darkens those pixels.)
    """
    amount = TAPS // 2
    image = ops.concatenate([image[:, :1]] * amount + [image] + [image[:, -1:]] * amount, axis=1)
    columns = [image[:, :, :1]] * amount + [image] + [image[:, :, -1:]] * amount
    return ops.concatenate(columns, axis=2)


def interpolating_bias(scale: int, phase: str = "centre", sigma: float = 0.45) -> np.ndarray:
    """Return a bias for the filter layer that makes an untrained network an interpolator.

    The logarithm of a Gaussian around each sub-pixel's position; with a near-zero kernel the softmax of it is
    that Gaussian.

    Args:
        scale: upsampling factor.
        phase: ``centre`` (pixel centres of the two grids share the frame) or ``zero`` (LR pixel i lies on HR
            pixel ``scale*i``, the paper's protocol).
        sigma: width in low-resolution pixels.

    Returns:
        ``(scale**2 * 25,)`` float32, sub-pixel major.
    """
    one_axis = -(_distances(scale, phase) ** 2) / (2 * sigma**2)  # s, taps
    both_axes = one_axis[:, None, :, None] + one_axis[None, :, None, :]  # s, s, taps, taps
    return both_axes.reshape(-1).astype(np.float32)


def frame_size(image) -> tuple:
    """Return height and width of ``(B, H, W, ...)``: integers if known, tensors inside a traced function."""
    known, traced = image.shape[1:3], ops.shape(image)[1:3]
    return tuple(t if k is None else k for k, t in zip(known, traced, strict=True))


def _distances(scale: int, phase: str) -> np.ndarray:
    """Return distances from sub-pixels to taps along one axis, in low-resolution pixels: ``(scale, 5)``."""
    shift = (scale - 1) / 2 if phase == "centre" else 0.0
    positions = (np.arange(scale) - shift) / scale  # relative to the centre of their low-resolution pixel
    return (np.arange(TAPS) - TAPS // 2)[None] - positions[:, None]


def _cubic(x: np.ndarray, a: float = -0.5) -> np.ndarray:
    """Return Keys' kernel at ``x``, "Cubic convolution interpolation for digital image processing", 1981."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))
