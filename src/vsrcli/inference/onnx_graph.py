"""Functions in ``keras.ops`` as ONNX nodes, for frames of any height and width.

A function is called with symbols, ``keras.KerasTensor``, of an impossibly large height and width. Keras
records which operations it calls, and each becomes a node or a few. Sides of arrays that are that large are
those that depend on the frame: where an operation needs one, it is computed from the shape of the function's
first argument.

Keras has channels last, ONNX's convolutions have them second. Every array is known in one of the two orders
or in both; operations on single pixels keep the order that they find, so transpositions appear only where
an operation needs the other one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from vsrcli.errors import EngineError

# Of the symbols: primes, and multiples of what networks want; no fraction of one is near one of the other.
HEIGHT, WIDTH = 64 * 10007, 64 * 28351
OPSET, IR_VERSION = 18, 9
LAST, FIRST = "nhwc", "nchw"
_LEAST_FREE = 9000  # sides from here on depend on the frame
_DIVISORS = (1, 2, 3, 4, 6, 8, 16, 32, 64)
_MAX_OFFSET = 256  # pixels by which a side differs from a multiple of the frame's
LARGEST = np.iinfo(np.int64).max


class Value:
    """An array of the graph.

    Args:
        shape: with channels last, of the symbols.
        names: by order of the axes, :data:`LAST` or :data:`FIRST`.
    """

    def __init__(self, shape: Sequence[int], **names: str) -> None:
        self.shape, self.names = tuple(shape), names

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_first(self) -> bool:
        """Whether it is known with channels second, and not as Keras has it."""
        return LAST not in self.names


class GraphBuilder:
    """Nodes and constants of a graph, from functions in ``keras.ops``.

    Attributes:
        nodes: ``onnx.NodeProto``, in order.
        constants: ``onnx.TensorProto``.
    """

    def __init__(self, operations: Mapping[str, Callable[..., Any]]) -> None:
        self._operations = operations
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._prefix, self._count, self._size = "", 0, ""
        self._sides: dict[int, str] = {}

    def add_function(
        self,
        name: str,
        function: Callable[..., Any],
        arguments: Sequence[tuple[str, tuple[int, ...], str]],
        results: Sequence[tuple[str, str]],
    ) -> None:
        """Append the nodes of a function; their names begin with the function's.

        Args:
            name: of the function.
            function: in ``keras.ops``.
            arguments: name, shape (with :data:`HEIGHT` and :data:`WIDTH`) and order of axes of each.
            results: name and order of axes of each.

        Raises:
            EngineError: an operation that has no counterpart here; the message names it.
        """
        import keras

        self._prefix, self._sides = f"{name}/", {}
        symbols = [
            keras.KerasTensor(shape, "float32", name=f"argument{i}")
            for i, (_, shape, _) in enumerate(arguments)
        ]
        with _inlined_layers():
            outputs = function(*symbols)
        outputs = outputs if isinstance(outputs, tuple | list) else (outputs,)
        values: dict[int, Value] = {}
        for symbol, (argument, shape, order) in zip(symbols, arguments, strict=True):
            values[id(symbol)] = Value(shape, **{order: argument})
        first, shape, order = arguments[0]
        self._size = self._spatial_size(first, len(shape), order)
        for node in _ordered_nodes(outputs, set(values)):
            self._convert(node, values)
        for output, (result, order) in zip(outputs, results, strict=True):
            self._emit("Identity", [self.named(values[id(output)], order)], output=result)

    def emit(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Append a node with one output; return the output's name."""
        return self._emit(kind, list(inputs), **attributes)

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        """Append a constant; return its name."""
        from onnx import numpy_helper

        name = self._name("c")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype), name))
        return name

    def named(self, value: Value, order: str) -> str:
        """Return the name of an array in an order of axes, transposed if necessary."""
        if value.rank < 3:
            order = LAST
        if order not in value.names:
            axes = order_of(value.rank, order)
            if order == LAST:
                axes = inverse(order_of(value.rank, FIRST))
            value.names[order] = self.emit("Transpose", *value.names.values(), perm=axes)
        return value.names[order]

    def like(self, value: Value, shape: Sequence[int], make: Callable[[str], str]) -> Value:
        """Return the result of an operation that acts alike in both orders of axes."""
        order = FIRST if value.is_first else LAST
        return Value(shape, **{order: make(self.named(value, order))})

    def side(self, length: int) -> str:
        """Return the name of an array of one integer: a side's length as a function of the frame's size.

        Raises:
            EngineError: it is no such function.
        """
        if length < _LEAST_FREE:
            return self.constant([length], np.int64)
        if length not in self._sides:
            self._sides[length] = self._computed_side(length)
        return self._sides[length]

    def sides(self, shape: Sequence[int]) -> str:
        """Return the name of a shape."""
        if all(length < _LEAST_FREE for length in shape):
            return self.constant(shape, np.int64)
        return self.emit("Concat", *(self.side(length) for length in shape), axis=0)

    def _computed_side(self, length: int) -> str:
        for divisor in _DIVISORS:
            for axis, unit in enumerate((HEIGHT, WIDTH)):
                factor = round(length * divisor / unit)
                offset = length - factor * unit // divisor
                if factor and abs(offset) <= _MAX_OFFSET:
                    side = self.emit("Gather", self._size, self.constant([axis], np.int64), axis=0)
                    for kind, number, neutral in (
                        ("Mul", factor, 1),
                        ("Div", divisor, 1),
                        ("Add", offset, 0),
                    ):
                        if number != neutral:
                            side = self.emit(kind, side, self.constant([number], np.int64))
                    return side
        if length % HEIGHT == 0 and length // HEIGHT >= _LEAST_FREE:
            return self.emit("Mul", self.side(HEIGHT), self.side(length // HEIGHT))
        raise EngineError(f"a side of {length} of arrays does not follow from the frame's size")

    def _spatial_size(self, name: str, rank: int, order: str) -> str:
        """Return the name of the frame's height and width."""
        start = rank - 3 if order == LAST else rank - 2
        shape = self.emit("Shape", name)
        bounds = (self.constant([each], np.int64) for each in (start, start + 2))
        return self.emit("Slice", shape, *bounds)

    def _convert(self, node: Any, values: dict[int, Value]) -> None:
        kind = type(node.operation).__name__
        if kind not in self._operations:
            raise EngineError(f"the operation {kind} has no counterpart in ONNX here")

        def resolve(argument: Any) -> Any:
            import keras

            if isinstance(argument, keras.KerasTensor):
                return values[id(argument)]
            if isinstance(argument, list | tuple):
                return type(argument)(resolve(each) for each in argument)
            return argument

        shapes = [tuple(output.shape) for output in node.outputs]
        arguments = [resolve(each) for each in node.arguments.args]
        options = {name: resolve(each) for name, each in node.arguments.kwargs.items()}
        results = self._operations[kind](self, node.operation, shapes, *arguments, **options)
        results = results if isinstance(results, list) else [results]
        for output, result in zip(node.outputs, results, strict=True):
            values[id(output)] = result

    def emit_many(self, kind: str, inputs: Sequence[str], count: int, **attributes: Any) -> list[str]:
        """Append a node with several outputs; return their names."""
        from onnx import helper

        outputs = [self._name(kind) for _ in range(count)]
        self.nodes.append(helper.make_node(kind, list(inputs), outputs, name=outputs[0], **attributes))
        return outputs

    def _emit(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = self._name(kind)
        self.nodes.append(helper.make_node(kind, inputs, [output or name], name=name, **attributes))
        return output or name

    def _name(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}{kind}{self._count}"


def order_of(rank: int, order: str) -> tuple[int, ...]:
    """Return the axes, as Keras numbers them, in an order."""
    return tuple(range(rank)) if order == LAST else (0, rank - 1, *range(1, rank - 1))


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """Return the permutation that undoes one."""
    return tuple(int(each) for each in np.argsort(axes))


def is_free(length: int) -> bool:
    """Return whether a side of the symbols depends on the frame's size."""
    return length >= _LEAST_FREE


def array_of(value: Any) -> np.ndarray:
    """Return a constant argument of an operation: a number, an array, a weight."""
    from keras import ops

    if isinstance(value, int | float | bool | np.ndarray | np.generic | list | tuple):
        return np.asarray(value)
    return np.asarray(ops.convert_to_numpy(value))


def _ordered_nodes(outputs: Sequence[Any], known: set[int]) -> list[Any]:
    """Return the nodes of Keras' record that outputs depend on, each after those that it needs."""
    ordered: list[Any] = []
    done: set[int] = set()
    stack = [(_node_of(each), False) for each in reversed(outputs) if id(each) not in known]
    while stack:
        node, ready = stack.pop()
        if id(node) in done:
            continue
        if ready:
            done.add(id(node))
            ordered.append(node)
            continue
        stack.append((node, True))
        inputs = [each for each in node.arguments.keras_tensors if id(each) not in known]
        stack += [(_node_of(each), False) for each in reversed(inputs)]
    return ordered


def _node_of(tensor: Any) -> Any:
    history = tensor._keras_history
    return history.operation._inbound_nodes[history.node_index]


@contextmanager
def _inlined_layers() -> Iterator[None]:
    """Let Keras record the operations that layers consist of instead of layers."""
    import keras
    from keras.src.layers.layer import Layer

    original: Any = Layer.__call__

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        leaves = keras.tree.flatten([arguments, options])
        if not any(isinstance(leaf, keras.KerasTensor) for leaf in leaves):
            return original(self, *arguments, **options)
        options.pop("training", None)
        return self.call(*arguments, **options)

    def deferring(method: Any) -> Any:
        def compute(self: Any, other: Any) -> Any:
            return NotImplemented if isinstance(other, keras.KerasTensor) else method(self, other)

        return compute

    names = (
        "__add__",
        "__sub__",
        "__mul__",
        "__truediv__",
    )  # a weight before a symbol: let the symbol record
    methods = {name: getattr(keras.Variable, name) for name in names}
    Layer.__call__ = call
    for name, method in methods.items():
        setattr(keras.Variable, name, deferring(method))
    try:
        yield
    finally:
        Layer.__call__ = original
        for name, method in methods.items():
            setattr(keras.Variable, name, method)
