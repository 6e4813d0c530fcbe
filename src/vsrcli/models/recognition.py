"""Which network a set of weights belongs to, by their names and shapes. Importable without Keras.

Weights of PyTorch come without a description of their network; in this field their names tell it. Every
shape is compared with what the network needs, and nothing may be left over: a network that only resembles a
known one is refused and not run wrongly. The names are those of the networks' authors; `spandrel
<https://github.com/chaiNNer-org/spandrel>`_ lists them for many more networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vsrcli.models.tensors import FLOATS, StoredTensor

Tensors = Mapping[str, StoredTensor]
Shapes = dict[str, tuple[int, ...]]

_COLORS = 3
_MOST_CONVOLUTIONS = 4096
_ELSEWHERE = "export it to ONNX, which runs here"


class UnsuitableError(ValueError):
    """The architecture is known, but not this form of it; the message says why."""


@dataclass(frozen=True)
class Recognition:
    """A network that was recognised.

    Attributes:
        module: of this package that builds it: ``compact``, ``span`` or ``rrdb``.
        text: for people.
        scale: upscaling factor.
        parameters: weights of the network that runs.
        options: of the module's ``build``.
        tensors: by the names that ``build`` knows.
        operators: kinds of operators.
    """

    module: str
    text: str
    scale: int
    parameters: int
    options: Mapping[str, Any]
    tensors: Tensors = field(repr=False)
    operators: tuple[str, ...]


def recognise(tensors: Tensors) -> Recognition | None:
    """Return the network that tensors belong to, or None.

    Raises:
        UnsuitableError: it is known, but the file lacks tensors, has others, or has unsupported sizes.
    """
    for find in (_find_rrdb, _find_span, _find_compact):
        if found := find(tensors):
            return found
    return None


def guess(names: list[str]) -> str:
    """Return the name of an architecture that is not supported, from its tensors' names; may be empty."""
    for name, telltales in _TELLTALES.items():
        if all(any(re.search(telltale, each) for each in names) for telltale in telltales):
            return name
    return ""


_TELLTALES = {
    "HAT": (r"residual_group\.overlap_attn\.",),
    "ATD": (r"attn_atd\.",),
    "DRCT": (r"layers\.0\.swin1\.", r"layers\.0\.adjust1\."),
    "DAT": (r"\.attn\.spatial_interaction\.",),
    "RGT": (r"layers\.0\.blocks\.0\.gamma", r"attns\.0\.rpe_biases"),
    "GRL": (r"stripe_attn\.",),
    "Swin2SR": (r"residual_group\.blocks\.0\.attn\.logit_scale", r"patch_embed\.proj"),
    "SRFormer": (r"residual_group\.blocks\.0\.attn\.aligned_relative_position_index",),
    "SwinIR": (r"layers\.0\.residual_group\.blocks\.0\.attn\.",),
    "CRAFT": (r"residual_group\.hf_blocks\.",),
    "OmniSR": (r"residual_layer\.0\.residual_layer\.0\.",),
    "RealPLKSR": (r"feats\.1\.lk\.conv\.", r"feats\.1\.channel?_mixer\."),
    "PLKSR": (r"feats\.1\.lk\.",),
    "SAFMN": (r"feats\.0\.safm\.",),
    "MoSR": (r"gblocks\.1\.fc1\.",),
    "FDAT": (r"groups\.0\.blocks\.0\.inter\.",),
    "DITN": (r"UFONE\.0\.",),
    "RCAN": (r"body\.0\.body\.0\.body\.3\.conv_du\.",),
    "EDSR": (r"^head\.0\.", r"body\.0\.body\.0\.", r"^tail\."),
    "SPANPlus": (r"feats\.\d+\.block_1\.c1_r\.", r"upsampler\."),
    "Real-CUGAN": (r"unet1\.conv1\.conv\.0\.", r"unet2\."),
    "waifu2x": (r"^unet1\.",),
    "NAFNet": (r"middle_blks\.0\.sca\.",),
    "KBNet": (r"middle_blks\.0\.(attgamma|w)",),
    "SCUNet": (r"^m_head\.0\.", r"^m_tail\.0\."),
    "FBCNN": (r"^qf_pred\.",),
    "DRUNet": (r"^m_head\.", r"^m_down1\.0\.res\."),
    "Swift-SRGAN": (r"initial\.cnn\.depthwise\.",),
    "GFPGAN": (r"stylegan_decoder\.",),
    "a discriminator": (r"^features\.0\.", r"^classifier\."),
    "U-Net discriminator": (r"^conv0\.", r"^conv9\.", r"^conv1\.weight_orig"),
    "BasicVSR": (r"^spynet\.", r"backward_trunk\."),
    "EDVR": (r"^pcd_align\.",),
    "DnCNN": (r"^model\.0\.weight", r"^model\.2\.weight", r"^model\.4\.weight"),
}


def _require(name: str, tensors: Tensors, shapes: Shapes) -> dict[str, StoredTensor]:
    """Return the tensors of the given names, having compared their shapes.

    Raises:
        UnsuitableError: one is missing, has another shape, or there are others.
    """
    for key, shape in shapes.items():
        if key not in tensors:
            raise UnsuitableError(f"looks like {name}, but has no {key}: it is damaged or another network")
        found = tensors[key]
        if found.shape != shape or found.storage.dtype not in FLOATS:
            raise UnsuitableError(
                f"looks like {name}, but {key} has shape {list(found.shape)} ({found.storage.dtype}) in "
                f"place of {list(shape)}: it is damaged or another network; {_ELSEWHERE}"
            )
    if others := [key for key in tensors if key not in shapes]:
        raise UnsuitableError(
            f"looks like {name}, but has {len(others)} more tensors such as {others[0][:60]!r}: "
            f"it is another network; {_ELSEWHERE}"
        )
    return {key: tensors[key] for key in shapes}


def _shape(tensors: Tensors, key: str, axes: int, name: str) -> tuple[int, ...]:
    """Return a tensor's shape; raise UnsuitableError if it is missing or has other axes."""
    shape = tensors[key].shape if key in tensors else ()
    if len(shape) != axes or not all(shape):
        raise UnsuitableError(f"looks like {name}, but has no {key}: it is damaged or another network")
    return shape


def _conv(shapes: Shapes, name: str, inputs: int, outputs: int, size: int = 3, bias: bool = True) -> None:
    """Add the shapes of a convolution."""
    shapes[f"{name}.weight"] = (outputs, inputs, size, size)
    if bias:
        shapes[f"{name}.bias"] = (outputs,)


def _require_colors(name: str, inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (_COLORS, _COLORS):
        known = {1: "brightness alone", 3: "colour", 4: "colour and transparency"}
        raise UnsuitableError(
            f"is {name} that takes {inputs} channels ({known.get(inputs, 'unknown')}) and returns {outputs}: "
            "networks of three colours run here"
        )


def _shuffle_scale(name: str, inputs: int, values: int) -> int:
    """Return the factor of a pixel shuffle of ``values`` channels, three colours."""
    scale = math.isqrt(values // _COLORS)
    if inputs != _COLORS or scale * scale * _COLORS != values:
        outputs = inputs if inputs and math.isqrt(values // inputs) ** 2 * inputs == values else values
        _require_colors(name, inputs, outputs)
        raise UnsuitableError(f"is {name} with {values} channels before its pixel shuffle: not supported")
    if not 1 <= scale <= 8:
        raise UnsuitableError(f"is {name} that enlarges {scale} times; 1 to 8 are supported")
    return scale


def _count(shapes: Shapes) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def _numbers(tensors: Tensors, pattern: str) -> list[int]:
    """Return the numbers that a pattern's group finds in the names, each once, in order."""
    found = {int(match[1]) for key in tensors if (match := re.match(pattern, key))}
    return sorted(found)


def _find_compact(tensors: Tensors) -> Recognition | None:
    name = "Compact"
    if not {"body.0.weight", "body.0.bias"} <= set(tensors) or not all(
        re.fullmatch(r"body\.\d{1,4}\.(weight|bias)", key) for key in tensors
    ):
        return None
    last = _numbers(tensors, r"body\.(\d+)\.")[-1]
    channels, inputs, *_ = _shape(tensors, "body.0.weight", 4, name)
    values, *_ = _shape(tensors, f"body.{last}.weight", 4, name)
    if last % 2 or last < 2 or last > 2 * _MOST_CONVOLUTIONS:
        raise UnsuitableError(f"looks like {name}, but ends in body.{last}: another network; {_ELSEWHERE}")
    scale = _shuffle_scale(name, inputs, values)
    if "body.1.weight" not in tensors:
        raise UnsuitableError(
            f"is {name} with activations without weights, and no file says which (ReLU or leaky ReLU): "
            f"{_ELSEWHERE}"
        )
    shapes: Shapes = {}
    for number in range(0, last, 2):
        _conv(shapes, f"body.{number}", channels if number else _COLORS, channels)
        slopes = f"body.{number + 1}.weight"
        one_for_all = slopes in tensors and tensors[slopes].shape == (1,)
        shapes[slopes] = (1,) if one_for_all else (channels,)
    _conv(shapes, f"body.{last}", channels, values)
    convolutions = last // 2 - 1
    return Recognition(
        "compact",
        f"Compact, {channels} channels, {convolutions} inner convolutions, x{scale}",
        scale,
        _count(shapes),
        {"scale": scale, "convolutions": convolutions},
        _require(name, tensors, shapes),
        ("Conv2D", "PixelShuffle", "PReLU"),
    )


SPAN_BLOCKS = 6
SPAN_CONVOLUTIONS = (
    "conv_1",
    *(f"block_{block}.c{number}_r" for block in range(1, SPAN_BLOCKS + 1) for number in (1, 2, 3)),
    "conv_2",
)


def _find_span(tensors: Tensors) -> Recognition | None:
    name = "SPAN"
    if "conv_cat.weight" not in tensors or "upsampler.0.weight" not in tensors:
        return None
    if not any(key.startswith("block_1.c1_r.") for key in tensors):
        return None
    is_trained_form = "conv_1.sk.weight" in tensors
    inner = "sk" if is_trained_form else "eval_conv"
    channels, inputs, *_ = _shape(tensors, f"conv_1.{inner}.weight", 4, name)
    values, *_ = _shape(tensors, "upsampler.0.weight", 4, name)
    scale = _shuffle_scale(name, inputs, values)
    shapes: Shapes = {}
    optional: Shapes = {}
    fused: Shapes = {}
    for each in SPAN_CONVOLUTIONS:
        before = _COLORS if each == "conv_1" else channels
        _conv(fused, each, before, channels)
        _conv(optional if is_trained_form else shapes, f"{each}.eval_conv", before, channels)
        if is_trained_form:
            wide, *_ = _shape(tensors, f"{each}.conv.0.weight", 4, name)
            wider, *_ = _shape(tensors, f"{each}.conv.1.weight", 4, name)
            _conv(shapes, f"{each}.sk", before, channels, 1)
            _conv(shapes, f"{each}.conv.0", before, wide, 1)
            _conv(shapes, f"{each}.conv.1", wide, wider)
            _conv(shapes, f"{each}.conv.2", wider, channels, 1)
    for table in (shapes, fused):
        _conv(table, "conv_cat", 4 * channels, channels, 1)
        _conv(table, "upsampler.0", channels, values)
    normalised = "no_norm" not in tensors
    # of the trained form, eval_conv is what was last computed from the others, if at all: not read
    read = {key: tensor for key, tensor in tensors.items() if key != "no_norm" and key not in optional}
    return Recognition(
        "span",
        f"SPAN, {channels} channels, x{scale}{'' if normalised else ', not normalised'}",
        scale,
        _count(fused),
        {"scale": scale, "normalised": normalised},
        _require(name, read, shapes),
        ("Conv2D", "PixelShuffle", "SiLU", "Sigmoid"),
    )


_RRDB_NAMES: tuple[tuple[str, str], ...] = (  # of the three generations of files, and here
    (r"model\.0", "first"),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0", r"blocks.\1.\2.conv\3"),
    (r"model\.1\.sub\.(\d+)\.RDB(\d)\.conv1x1", r"blocks.\1.\2.conv1x1"),
    (r"model\.1\.sub\.(\d+)", "body"),
    (r"conv_first", "first"),
    (r"(?:RRDB_trunk|body)\.(\d+)\.(?:RDB|rdb)(\d)\.conv(\d|1x1)", r"blocks.\1.\2.conv\3"),
    (r"trunk_conv|conv_body", "body"),
    (r"(?:upconv|conv_up)(\d)", r"up\1"),
    (r"HRconv|conv_hr", "hr"),
    (r"conv_last", "last"),
)
_RRDB_TELLTALE = re.compile(r"(model\.1\.sub|RRDB_trunk|body)\.0\.(RDB|rdb)1\.conv1(\.0|x1)?\.weight")


def _find_rrdb(tensors: Tensors) -> Recognition | None:
    name = "ESRGAN"
    if not any(_RRDB_TELLTALE.fullmatch(key) for key in tensors):
        return None
    renamed = _rename_rrdb(tensors)
    channels, unshuffled, *_ = _shape(renamed, "first.weight", 4, name)
    outputs, *_ = _shape(renamed, "last.weight", 4, name)
    growth, *_ = _shape(renamed, "blocks.0.1.conv1.weight", 4, name)
    blocks = _numbers(renamed, r"blocks\.(\d+)\.")[-1] + 1
    ups = len(_numbers(renamed, r"up(\d)\."))
    unshuffle = {12: 2, 48: 4}.get(unshuffled, 1) if outputs == _COLORS else 1
    _require_colors(name, unshuffled // unshuffle**2, outputs)
    if 2**ups % unshuffle or 2**ups > 8 * unshuffle or blocks > _MOST_CONVOLUTIONS:
        raise UnsuitableError(f"is {name} with {ups} doublings and {unshuffled} channels in: not supported")
    scale = 2**ups // unshuffle
    plus = any(key.endswith(".conv1x1.weight") for key in renamed)
    shapes: Shapes = {}
    _conv(shapes, "first", unshuffled, channels)
    for block in range(blocks):
        for part in (1, 2, 3):
            for number in range(1, 6):
                before, after = channels + (number - 1) * growth, channels if number == 5 else growth
                _conv(shapes, f"blocks.{block}.{part}.conv{number}", before, after)
            if plus:
                _conv(shapes, f"blocks.{block}.{part}.conv1x1", channels, growth, 1, bias=False)
    for each in ("body", *(f"up{number}" for number in range(1, ups + 1)), "hr"):
        _conv(shapes, each, channels, channels)
    _conv(shapes, "last", channels, outputs)
    return Recognition(
        "rrdb",
        f"{name}{'+' if plus else ''} (RRDBNet), {channels} channels, {blocks} blocks, x{scale}"
        + (f", input in blocks of {unshuffle}x{unshuffle}" if unshuffle > 1 else ""),
        scale,
        _count(shapes),
        {"scale": scale, "blocks": blocks, "ups": ups, "unshuffle": unshuffle, "plus": plus},
        _require(name, renamed, shapes),
        ("Conv2D", "LeakyReLU", "NearestUpsampling"),
    )


def _rename_rrdb(tensors: Tensors) -> dict[str, StoredTensor]:
    """Return tensors by the names used here; those that fit no rule keep theirs."""
    renamed: dict[str, StoredTensor] = {}
    tail = _numbers(tensors, r"model\.(\d+)\.")[2:]  # of old files: doublings, then two convolutions
    named = [*(f"up{number + 1}" for number in range(len(tail) - 2)), "hr", "last"]
    steps = [3 * (number + 1) for number in range(len(tail) - 2)]
    expected = [*steps, (steps[-1] if steps else 0) + 2, (steps[-1] if steps else 0) + 4]
    by_number = dict(zip(tail, named, strict=True)) if tail == expected else {}
    rules: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
        *_RRDB_NAMES,
        (r"model\.(\d+)", lambda match: by_number.get(int(match[1]), match[0])),
    ]
    for key, tensor in tensors.items():
        layer, _, kind = key.rpartition(".")
        for pattern, name in rules:
            if match := re.fullmatch(pattern, layer):
                layer = match.expand(name) if isinstance(name, str) else name(match)
                break
        new = f"{layer}.{kind}"
        if new in renamed:
            raise UnsuitableError(f"looks like ESRGAN, but has {key[:60]!r} beside another of its meaning")
        renamed[new] = tensor
    return renamed
