"""A network that is looked at, run on short sequences: by an engine, or by Keras with its layers in sight.

An :class:`EngineNetwork` is what ``vsr upscale`` runs, so it takes every model. A :class:`KerasNetwork` calls
the model itself, many sequences at once, differentiates it, and shows what its layers give. It is used only
where both give the same result (:func:`open_networks` compares them), so a network that is called in
another way than those known here loses gradients and layers, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from vsrcli.errors import ModelError, VsrError
from vsrcli.inference.selection import ModelChoice, open_engine
from vsrcli.inference.types import Engine
from vsrcli.models.costs import TAPS
from vsrcli.models.imported import ImportedModel
from vsrcli.system.signals import raise_if_cancelled

CONTEXT_LIMIT = 32  # source pixels on each side of a crop, at most, however far the network sees
_SAME = 2 / 255  # largest difference between an engine and Keras that is rounding
_BATCH_PIXELS = 120_000  # of all frames of the sequences that are computed at once


class Network(Protocol):
    """Computes results of sequences.

    Attributes:
        scale: upscaling factor.
        levels: frames after a frame that its result depends on.
    """

    scale: int
    levels: int

    def results(self, sequences: np.ndarray, following: int) -> np.ndarray:
        """Return one result for each sequence, as at the start of a shot.

        Args:
            sequences: float32 (B, T, H, W, 3) in [0, 1].
            following: how many frames of a sequence follow the one whose result is returned; where they are
                fewer than ``levels``, the last frame is repeated.

        Returns:
            float32 (B, scale*H, scale*W, 3), clipped to [0, 1].
        """
        ...


class EngineNetwork:
    """A network on an engine, as ``vsr upscale`` runs it; see :class:`Network`."""

    def __init__(self, engine: Engine) -> None:
        self.engine, self.scale, self.levels = engine, engine.scale, engine.lookahead

    def results(self, sequences: np.ndarray, following: int) -> np.ndarray:
        found = []
        for sequence in sequences:
            raise_if_cancelled()
            stream = self.engine.open(*sequence.shape[1:3])
            pushed = [stream.push(np.ascontiguousarray(frame)) for frame in sequence]
            ready = [result for result in pushed if result is not None]
            wanted = len(sequence) - 1 - following
            if wanted >= len(ready):
                ready += stream.flush()
            found.append(ready[wanted])
        return np.stack(found)


@dataclass(eq=False)
class KerasNetwork:
    """A Keras model; see :class:`Network`.

    Attributes:
        model: from ``(B, T, H, W, 3)`` to ``(B, scale*H, scale*W, 3)``, or to the results of all full
            windows, ``(B, T - 2*levels, scale*H, scale*W, 3)``, of which the last counts.
        scale, levels: see :class:`Network`.
        is_recurrent: whether frames before the window matter.
        multiple: sides of frames are multiples of this; others are padded at right and below.
        padding: how, by NumPy's name.
        aligned: whether the frames of a window are aligned by optical flow first, as the engine does.
        layers: names of layers with pictures as outputs, in the order in which they are computed.
    """

    model: Any
    scale: int
    levels: int
    is_recurrent: bool = False
    multiple: int = 1
    padding: str = "edge"
    aligned: bool = False
    layers: tuple[str, ...] = field(default=())

    def window(self, count: int, following: int) -> list[int]:
        """Return which of ``count`` frames the model reads, in order, some of them repeatedly."""
        index = pad_time(np.arange(count)[None], self.levels, following)[0].tolist()
        return index if self.is_recurrent else index[-(2 * self.levels + 1) :]

    def sides(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the frames that the model reads."""
        return height + -height % self.multiple, width + -width % self.multiple

    def results(self, sequences: np.ndarray, following: int) -> np.ndarray:
        from keras import ops

        height, width = sequences.shape[2:4]
        count = max(1, _BATCH_PIXELS // int(np.prod(sequences.shape[1:4])))
        found = []
        for first in range(0, len(sequences), count):
            raise_if_cancelled()
            y = self._call(self._frames(sequences[first : first + count], following))
            y = y[:, : self.scale * height, : self.scale * width]
            found.append(np.asarray(ops.convert_to_numpy(y), np.float32))
        return np.concatenate(found).clip(0.0, 1.0)

    def trace(
        self, sequence: np.ndarray, following: int, names: Sequence[str] | None = None
    ) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Run one sequence and return its result and what layers gave last.

        Args:
            sequence: (T, H, W, 3).
            following: see :meth:`Network.results`.
            names: of layers; None: all that give pictures.

        Returns:
            The result (scale*H, scale*W, 3), not clipped, and arrays by name of the layer, of frames of
            :meth:`sides`.
        """
        from keras import ops

        height, width = sequence.shape[1:3]
        with _watch(self.model, names) as outputs:
            y = self._call(self._frames(sequence[None], following))
        y = y[:, : self.scale * height, : self.scale * width]
        arrays = {name: np.asarray(ops.convert_to_numpy(each)) for name, each in outputs.items()}
        return np.asarray(ops.convert_to_numpy(y), np.float32)[0], arrays

    def gradients(
        self, sequence: np.ndarray, following: int, measure: Callable[[Any], Sequence[Any]]
    ) -> list[np.ndarray] | None:
        """Return the derivatives of each of some numbers with respect to the frames: (T, H, W, 3) each.

        Args:
            sequence: (T, H, W, 3); repeated frames add up.
            following: see :meth:`Network.results`.
            measure: from a tensor (scale*H, scale*W, 3) to the numbers.

        Returns:
            None where Keras runs on another backend than TensorFlow, or the network cuts a derivative.
        """
        import keras

        if keras.backend.backend() != "tensorflow":
            return None
        import tensorflow as tf

        index = self.window(len(sequence), following)
        start: np.ndarray = self._align(sequence[None, index])[0] if self.aligned else sequence
        with tf.GradientTape(persistent=True) as tape:
            frames = tf.Variable(tf.convert_to_tensor(start))
            read = frames if self.aligned else tf.gather(frames, index)
            for axis, places in enumerate(self._places(*sequence.shape[1:3]), 1):
                read = tf.gather(read, places, axis=axis)
            values = measure(self._call(read[None])[0])
        found = [tape.gradient(value, frames) for value in values]
        if any(each is None for each in found):
            return None
        derivatives = [np.asarray(tf.convert_to_tensor(each)) for each in found]
        if not self.aligned:
            return derivatives
        totals = [np.zeros_like(sequence) for _ in derivatives]
        for total, each in zip(totals, derivatives, strict=True):
            np.add.at(total, index, each)
        return totals

    def _frames(self, sequences: np.ndarray, following: int) -> Any:
        """Return what the model reads, as a tensor."""
        from keras import ops

        frames = sequences[:, self.window(sequences.shape[1], following)]
        rows, columns = self._places(*frames.shape[2:4])
        if self.aligned:
            frames = self._align(frames)
        return ops.convert_to_tensor(np.ascontiguousarray(frames[:, :, rows][:, :, :, columns]))

    def _places(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which rows and columns of a frame the padded frame has."""
        rows, columns = (
            np.pad(np.arange(side), (0, whole - side), mode=self.padding)  # type: ignore[call-overload]
            for side, whole in zip((height, width), self.sides(height, width), strict=True)
        )
        return rows, columns

    @staticmethod
    def _align(windows: np.ndarray) -> np.ndarray:
        from vsrcli.frames.flow import align_window

        return np.stack([align_window(window) for window in windows])

    def _call(self, frames: Any) -> Any:
        y = self.model(frames, training=False)
        return y[:, -1] if len(y.shape) == 5 else y


def pad_time(sequences: np.ndarray, levels: int, following: int) -> np.ndarray:
    """Return sequences (B, T, ...) with the first frame repeated ``levels`` times before, and the last as
    often as fewer than ``levels`` frames follow."""
    after = max(levels - following, 0)
    end = sequences.shape[1] - max(following - levels, 0)
    index = [*[0] * levels, *range(end), *[end - 1] * after]
    return sequences[:, index]


@dataclass(frozen=True, eq=False)
class Examined:
    """A model with what can be seen of it.

    Attributes:
        choice: architecture, weights and scale.
        engine: what ``vsr upscale`` runs, in fp32.
        keras: the same with its layers in sight; None where it is not available.
        hidden_reason: why it is not; else empty.
    """

    choice: ModelChoice
    engine: EngineNetwork
    keras: KerasNetwork | None
    hidden_reason: str = ""

    @property
    def fastest(self) -> Network:
        """What computes many small sequences best."""
        return self.keras or self.engine

    @property
    def scale(self) -> int:
        return self.engine.scale

    @property
    def levels(self) -> int:
        return self.engine.levels

    @property
    def is_recurrent(self) -> bool:
        return self.choice.architecture.kind == "recurrent"

    @property
    def radius(self) -> int:
        """Source pixels that a crop has around what is looked at."""
        return min(self.engine.engine.radius, CONTEXT_LIMIT, (self.max_side - 1) // 4)

    @property
    def max_side(self) -> int:
        """Longest side of frames that the network takes."""
        return min(self.choice.architecture.max_size or (1 << 30,))

    @property
    def phase(self) -> str:
        """Where pixels of results lie."""
        weights = self.choice.weights
        return str(weights.card.get("phase", "centre")) if weights else "centre"


def open_networks(choice: ModelChoice, on_notice: Callable[[str], None] = lambda text: None) -> Examined:
    """Load a model onto an engine, and into Keras if that shows the same.

    Raises:
        EngineError: no engine runs it.
        ModelError: its file is damaged.
    """
    engine = EngineNetwork(open_engine(choice, device="cpu", precision="fp32", on_notice=on_notice))
    if choice.weights is None:
        return Examined(choice, engine, None, f"{choice.name} is an interpolation and has no layers")
    try:
        model = _build(choice)
    except ModelError:
        reason = "Keras does not run ONNX" if _is_onnx(choice) else "Keras cannot build it"
        return Examined(choice, engine, None, reason)
    known = choice.architecture
    network = KerasNetwork(
        model,
        engine.scale,
        engine.levels,
        is_recurrent=known.kind == "recurrent",
        multiple=known.multiple,
        padding="reflect" if isinstance(choice.weights, ImportedModel) else "edge",
        aligned=known.aligned,
    )
    frames = max(2 * engine.levels + 1, 1)
    probe = np.random.default_rng(0).random((frames, 24, 32, 3), np.float32)
    try:
        result, layers = network.trace(probe, engine.levels)
        expected = engine.results(probe[None], engine.levels)[0]
        same = result.shape == expected.shape and np.abs(result.clip(0, 1) - expected).max() <= _SAME
    except VsrError as error:
        return Examined(choice, engine, None, str(error))
    except Exception as error:  # a network that is called differently may fail in any way
        return Examined(choice, engine, None, f"Keras cannot call it with frames ({type(error).__name__})")
    if not same:
        return Examined(choice, engine, None, "Keras gives another result for it than the engine")
    network.layers = tuple(name for name, array in layers.items() if array.ndim >= 4)
    return Examined(choice, engine, network)


def filter_layers(network: KerasNetwork) -> tuple[str, str] | None:
    """Return the names of the layers that predict dynamic filters and the residual; None without filters."""
    from vsrcli.models.layers import SubpixelConv

    found = {layer.values: layer.name for layer in _layers(network.model) if isinstance(layer, SubpixelConv)}
    return (found[TAPS * TAPS], found[3]) if TAPS * TAPS in found and 3 in found else None


def middle_of(array: np.ndarray, frames: int, levels: int) -> np.ndarray:
    """Return the picture (H, W, C) that belongs to the frame in question.

    Args:
        array: what a layer gave: (1, H, W, ...), (N, H, W, C) with the frames as a batch, or (1, N, H, W, C).
        frames: that the model read.
        levels: of the network.
    """
    stack = array[0] if array.ndim == 5 and array.shape[1] <= frames else array
    after = levels - (frames - len(stack)) // 2  # valid convolutions have taken as many at each end
    return stack[min(max(len(stack) - 1 - after, 0), len(stack) - 1)]


def _build(choice: ModelChoice) -> Any:
    from vsrcli.inference.keras import computing_in, select_device, silence_native_stderr
    from vsrcli.models.network_files import build_network
    from vsrcli.models.weights import load_model

    weights = choice.weights
    assert weights is not None
    if _is_onnx(choice):
        raise ModelError("ONNX")
    select_device("cpu")
    with silence_native_stderr(), computing_in("fp32"):
        return build_network(weights.path) if isinstance(weights, ImportedModel) else load_model(weights)


def _is_onnx(choice: ModelChoice) -> bool:
    weights = choice.weights
    return isinstance(weights, ImportedModel) and weights.description.format == "onnx"


def _layers(model: Any) -> list[Any]:
    """Return the layers of a model that have no layers of their own."""
    every = model._flatten_layers(include_self=False, recursive=True)
    return [layer for layer in every if not list(layer._flatten_layers(include_self=False, recursive=False))]


@contextmanager
def _watch(model: Any, names: Sequence[str] | None) -> Iterator[Mapping[str, Any]]:
    """Note what layers give while the block runs; of several calls, the last."""
    outputs: dict[str, Any] = {}

    def watch(layer: Any, name: str) -> Callable[[], None]:
        call = layer.call

        def noting(*arguments: Any, **options: Any) -> Any:
            result = call(*arguments, **options)
            if len(getattr(result, "shape", ())) >= 4:
                outputs.pop(name, None)
                outputs[name] = result
            return result

        object.__setattr__(layer, "call", noting)
        return lambda: object.__delattr__(layer, "call")

    with ExitStack() as stack:
        taken: dict[str, int] = {}
        for layer in _layers(model):
            count = taken[layer.name] = taken.get(layer.name, 0) + 1
            name = layer.name if count == 1 else f"{layer.name}-{count}"
            if names is None or name in names:
                stack.callback(watch(layer, name))
        yield outputs
