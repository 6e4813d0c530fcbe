"""Networks that others have trained, read and built from files of any format. Importable without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from vsrcli.errors import ModelError
from vsrcli.models.imported import NCNN_SUFFIX, ONNX_SUFFIX, NetworkFile

if TYPE_CHECKING:
    import keras


def read_network_file(path: Path) -> NetworkFile:
    """Read what a file states about its network.

    Raises:
        ModelError: it is damaged, or no network that this program can run; the message says what was found.
    """
    suffix = path.suffix.lower()
    if suffix == ONNX_SUFFIX:
        from vsrcli.models.onnx_files import read_onnx

        return read_onnx(path)
    if suffix == NCNN_SUFFIX:
        from vsrcli.models.ncnn_files import read_ncnn

        return read_ncnn(path)
    from vsrcli.models.torch_files import read_torch

    return read_torch(path)


def build_network(path: Path) -> keras.Model:
    """Build a network with its weights, in ``keras.ops``: ``(B, 1, H, W, 3)`` R'G'B' in [0, 1] to
    ``(B, scale*H - margin, scale*W - margin, 3)``, not clipped. Its attribute ``levels`` is 0.

    Raises:
        ModelError: see :func:`read_network_file`; or the file is ONNX, which is no ``keras.ops``.
    """
    suffix = path.suffix.lower()
    if suffix == ONNX_SUFFIX:
        raise ModelError(f"{str(path)!r}: Keras does not run ONNX; use --engine openvino or onnxruntime")
    if suffix == NCNN_SUFFIX:
        from vsrcli.models.ncnn_network import build_ncnn

        return build_ncnn(path)
    from vsrcli.models.torch_files import build_torch

    return build_torch(path)
