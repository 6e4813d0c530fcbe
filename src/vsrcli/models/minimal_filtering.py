"""Winograd's minimal filtering, without Keras: kernels are transformed where graphs are loaded, too.

Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.1.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_POINTS = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5)


@cache
def winograd_matrices(outputs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices of Winograd's F(m, 3): m outputs of a filter with three taps from m + 2 products.

    Returns:
        ``B (m+2, m+2)``, ``G (m+2, 3)``, ``A (m, m+2)``: ``A @ ((G @ taps) * (B @ inputs))`` is the
        correlation. By Toom and Cook's construction, from the values of polynomials at some points and at
        infinity; for a single output, the definition itself.
    """
    if outputs == 1:
        return np.eye(3), np.eye(3), np.ones((1, 3))
    points = np.array(_POINTS[: outputs + 1])
    at_infinity = np.eye(3)[2:], np.eye(outputs)[outputs - 1 :]
    weights = np.concatenate([points[:, None] ** np.arange(3), at_infinity[0]])
    after = np.concatenate([points[:, None] ** np.arange(outputs), at_infinity[1]]).T
    # each output j is the sum over taps k of input j + k: linear equations for B
    system = np.einsum("ji,ik->jki", after, weights).reshape(3 * outputs, outputs + 2)
    target = np.zeros((outputs, 3, outputs + 2))
    for j in range(outputs):
        for k in range(3):
            target[j, k, j + k] = 1
    before = np.linalg.lstsq(system, target.reshape(3 * outputs, outputs + 2), rcond=None)[0]
    return np.round(before, 12), weights, after


def transform_kernel(kernel: np.ndarray, outputs: int) -> np.ndarray:
    """Return a 3x3 kernel ``(3, 3, C, K)`` transformed along its rows, ``(outputs + 2, 3, C, K)`` float32."""
    _, weights, _ = winograd_matrices(outputs)
    return np.tensordot(weights, kernel, 1).astype(np.float32)
