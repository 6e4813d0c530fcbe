"""Architectures that are recognised by the names of their tensors: Compact, SPAN and ESRGAN.

The names are those of the networks' authors. ESRGAN has had three sets of them, which become one here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from vsrcli.errors import ModelError

if TYPE_CHECKING:
    import keras

_TELLTALES = {  # names of tensors of architectures that do not run here
    "layers.0.residual_group.blocks.0.attn.relative_position_bias_table": "SwinIR or a relative of it",
    "layers.0.blocks.0.attn.attns.0.rpe_biases": "DAT",
    "before_RG.1.weight": "DAT",
    "layers.0.residual_group.overlap_attn.relative_position_bias_table": "HAT",
    "residual_layer.0.residual_layer.0.layer.0.fn.0.weight": "OmniSR",
    "feats.0.weight": "RealPLKSR or PLKSR",
    "body.0.body.0.body.0.weight": "RCAN or EDSR",
    "head.0.weight": "EDSR, RCAN or a relative of them",
    "conv_first.0.weight": "a U-Net",
}


@dataclass(frozen=True)
class RecognizedNetwork:
    """A network whose architecture is known.

    Attributes:
        module: file in ``vsrcli.models`` with the class ``name``.
        name: of the class.
        description: for people.
        tensors: by the names that the class expects.
        options: further arguments of the class.
    """

    module: str
    name: str
    description: str
    tensors: Mapping[str, np.ndarray]
    options: Mapping[str, Any]

    def build(self) -> keras.Model:
        """Build the network with its weights. Imports Keras."""
        network = getattr(import_module(f"vsrcli.models.{self.module}"), self.name)
        return network(self.tensors, **self.options)


def recognize(tensors: Mapping[str, np.ndarray], path: str) -> RecognizedNetwork:
    """Recognise the architecture of tensors.

    Args:
        tensors: by name.
        path: of the file, for messages.

    Raises:
        ModelError: it is unknown, or one of its tensors is missing or has another shape.
    """
    try:
        for detect in (_detect_span, _detect_compact, _detect_rrdb):
            if found := detect(tensors):
                return found
    except (KeyError, ValueError, IndexError) as error:
        raise ModelError(
            f"{path!r} cannot be used: a tensor of its network is missing or has another shape ({error})"
        ) from error
    except _UnusableError as error:
        raise ModelError(f"{path!r} cannot be used: {error}") from error
    guess = next((name for key, name in _TELLTALES.items() if key in tensors), "an unknown architecture")
    first = ", ".join(list(tensors)[:3])
    raise ModelError(
        f"{path!r} cannot be used: {guess} ({len(tensors)} tensors: {first}, ...); Compact, SPAN and ESRGAN "
        "run here, and others as .onnx"
    )


class _UnusableError(Exception):
    """Why a network of a known architecture cannot be used."""


def _require_rgb(inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (3, 3):
        raise _UnusableError(f"it takes {inputs} channels and returns {outputs}; frames have 3")


def _factor(channels: int) -> int:
    """Return the factor of a pixel shuffle to three channels."""
    scale = math.isqrt(channels // 3)
    if 3 * scale**2 != channels or scale < 1:
        raise _UnusableError(
            f"its last convolution has {channels} channels, and 3 x factor x factor is needed"
        )
    return scale


def _detect_compact(tensors: Mapping[str, np.ndarray]) -> RecognizedNetwork | None:
    if not all(re.fullmatch(r"body\.\d+\.(weight|bias)", name) for name in tensors):
        return None
    if "body.0.weight" not in tensors or tensors["body.0.weight"].ndim != 4:
        return None
    last = max(int(name.split(".")[1]) for name in tensors)
    scale = _factor(tensors[f"body.{last}.weight"].shape[0])
    width, inputs = tensors["body.0.weight"].shape[:2]
    _require_rgb(inputs, 3)
    text = f"Compact, {width} channels, {last // 2 - 1} inner convolutions, x{scale}"
    return RecognizedNetwork("compact", "Compact", text, tensors, {"scale": scale})


def _detect_span(tensors: Mapping[str, np.ndarray]) -> RecognizedNetwork | None:
    if "block_1.c1_r.eval_conv.weight" not in tensors or "upsampler.0.weight" not in tensors:
        return None
    scale = _factor(tensors["upsampler.0.weight"].shape[0])
    width, inputs = tensors["conv_1.eval_conv.weight"].shape[:2]
    _require_rgb(inputs, 3)
    text = f"SPAN, {width} channels, x{scale}"
    return RecognizedNetwork("span", "Span", text, tensors, {"scale": scale})


_RRDB_NAMES: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    # Real-ESRGAN, and BSRGAN
    (r"conv_first\.(weight|bias)", r"first.\1"),
    (r"(?:body|RRDB_trunk)\.(\d+)\.(?:rdb|RDB)(\d)\.conv(\d)\.(weight|bias)", r"body.\1.\2.\3.\4"),
    (r"(?:conv_body|trunk_conv)\.(weight|bias)", r"trunk.\1"),
    (r"(?:conv_up|upconv)(\d)\.(weight|bias)", r"up.\1.\2"),
    (r"(?:conv_hr|HRconv)\.(weight|bias)", r"high.\1"),
    (r"conv_last\.(weight|bias)", r"last.\1"),
    # the first ESRGAN, and ESRGAN+
    (r"model\.0\.(weight|bias)", r"first.\1"),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.(weight|bias)", r"body.\1.\2.\3.\4"),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv1x1\.weight", r"body.\1.\2.plus.weight"),
    (r"model\.1\.sub\.\d+\.(weight|bias)", r"trunk.\1"),
)


def _detect_rrdb(tensors: Mapping[str, np.ndarray]) -> RecognizedNetwork | None:
    renamed: dict[str, np.ndarray] = {}
    others: dict[int, dict[str, np.ndarray]] = {}  # convolutions after the trunk of the first ESRGAN
    for name, array in tensors.items():
        for pattern, replacement in _RRDB_NAMES:
            if match := re.fullmatch(pattern, name):
                renamed[match.expand(str(replacement))] = array
                break
        else:
            if not (match := re.fullmatch(r"model\.(\d+)\.(weight|bias)", name)):
                return None
            others.setdefault(int(match[1]), {})[match[2]] = array
    if "first.weight" not in renamed or "body.0.1.1.weight" not in renamed:
        return None
    *ups, high, last = sorted(others) if others else (0, 0)
    if others:
        numbers = {"high": high, "last": last, **{f"up.{i + 1}": number for i, number in enumerate(ups)}}
        for name, number in numbers.items():
            renamed |= {f"{name}.{kind}": array for kind, array in others[number].items()}
    doublings = len({name.split(".")[1] for name in renamed if name.startswith("up.")})
    width, inputs = renamed["first.weight"].shape[:2]
    outputs = renamed["last.weight"].shape[0]
    shuffle = math.isqrt(max(inputs // 3, 1))
    if 3 * shuffle**2 == inputs and outputs == 3:
        inputs = 3
    _require_rgb(inputs, outputs)
    scale, remainder = divmod(2**doublings, shuffle)
    if remainder:
        raise _UnusableError(f"it shrinks by {shuffle} and enlarges by {2**doublings}, no whole factor")
    blocks = len({name.split(".")[1] for name in renamed if name.startswith("body.")})
    plus = "+" if any(".plus." in name for name in renamed) else ""
    text = f"ESRGAN{plus}, {width} channels, {blocks} blocks, x{scale}"
    if shuffle > 1:
        text += f", input unshuffled by {shuffle}"
    options = {"scale": scale, "shuffle": shuffle, "blocks": blocks, "doublings": doublings}
    return RecognizedNetwork("rrdb", "Rrdb", text, renamed, options)
