"""The pickles in PyTorch's files as data: dictionaries, lists, numbers, and tensors without their numbers.

A pickle is a program for a small stack machine, and can name any function to be called. The machine here
knows the instructions that build dictionaries, lists and numbers, and nothing that calls: the few names
that weights need (ordered dictionaries, tensors, storages) are interpreted, any other is refused by its
name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from vsrcli.models.tensors import MOST_AXES, Storage, StoredTensor

_MOST_COPIES = 100_000  # of entries of one list, which a pickle can turn into many dictionaries

_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}


class RefusedError(ValueError):
    """The pickle holds what no weights need."""


class _Global(NamedTuple):
    """A name in a pickle, as ``module.name``."""

    name: str


@dataclass(frozen=True)
class LateStorage:
    """A storage whose place becomes known after the pickle."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class LateTensor:
    """A tensor of a :class:`LateStorage`."""

    storage: LateStorage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


class PickleMachine:
    """An interpreter of the instructions that weights are made of.

    Args:
        find_storage: returns a storage for its key, number type and count; None if there are none.
    """

    def __init__(self, find_storage: Callable[[str, str, int], Any] | None = None) -> None:
        self._find_storage = find_storage
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[Any, Any] = {}
        self._copies = 0

    def run(self, pickle: BinaryIO) -> Any:
        """Return the value of the pickle that begins at the stream's position; stop behind it.

        Raises:
            RefusedError: it names code, or has instructions that weights do not need.
            ValueError, IndexError, KeyError, TypeError: it is damaged.
        """
        for opcode, argument, _ in pickletools.genops(pickle):
            name = opcode.name
            if name in _PUSHED:
                self._stack.append(argument)
            elif name in _FIXED:
                self._stack.append(_FIXED[name])
            elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
                self._memo[argument] = self._stack[-1]
            elif name in ("GET", "BINGET", "LONG_BINGET"):
                self._stack.append(self._memo[argument])
            elif name in _STEPS:
                _STEPS[name](self, argument)
            elif name not in ("PROTO", "FRAME", "STOP"):
                self._refuse_instruction(name)
        return self._stack.pop()

    def _refuse_instruction(self, name: str) -> None:
        named = [each.name for each in self._stack if isinstance(each, _Global)]
        what = named[-1] if named else name
        raise RefusedError(f"contains code: {what}; refused")

    def _marked(self) -> list[Any]:
        """Take what was pushed since the last mark."""
        mark = self._marks.pop()
        values = self._stack[mark:]
        del self._stack[mark:]
        return values

    def _last(self, count: int) -> tuple[Any, ...]:
        if len(self._stack) < count:
            raise ValueError("the pickle is damaged")
        values = tuple(self._stack[-count:])
        del self._stack[-count:]
        return values

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _tuples(self, count: int) -> None:
        self._stack.append(self._last(count))

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _list(self, _: Any) -> None:
        self._stack.append(self._marked())

    def _dict(self, _: Any) -> None:
        self._stack.append(_pairs(self._marked()))

    def _append(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise ValueError("the pickle is damaged")
        target.extend(values)

    def _set(self, values: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict):
            raise ValueError("the pickle is damaged")
        target.update(_pairs(values))

    def _name(self, name: str) -> None:
        if name not in _REBUILD and name not in _PLAIN and name.removeprefix("torch.") not in _DTYPES:
            raise RefusedError(f"contains code: {name[:100]}; refused")
        self._stack.append(_Global(name))

    def _stack_name(self, _: Any) -> None:
        module, name = self._last(2)
        self._name(f"{module}.{name}")

    def _reduce(self, _: Any) -> None:
        named, arguments = self._last(2)
        if not isinstance(named, _Global) or not isinstance(arguments, tuple):
            raise ValueError("the pickle is damaged")
        if named.name in _REBUILD:
            self._stack.append(_REBUILD[named.name](*arguments))
        elif named.name == "torch.Size":
            self._stack.append(_sides(arguments[0]))
        elif named.name in _PLAIN:  # an ordered dictionary
            pairs = arguments[0] if arguments else []
            self._copies += len(pairs)
            if self._copies > _MOST_COPIES:
                raise RefusedError("has very many entries in dictionaries, which no weights need")
            self._stack.append(_pairs([each for key, value in pairs for each in (key, value)]))
        else:
            raise RefusedError(f"contains code: {named.name}; refused")

    def _build(self, _: Any) -> None:
        target, _state = self._last(2)  # versions of modules, for dictionaries
        if not isinstance(target, dict):
            self._refuse_instruction("BUILD")
        self._stack.append(target)

    def _storage(self, _: Any) -> None:
        (identity,) = self._last(1)
        kind, named, key, _place, count, *view = identity
        dtype = _DTYPES.get(named.name.removeprefix("torch.")) if isinstance(named, _Global) else None
        if kind != "storage" or dtype is None or not isinstance(count, int) or count < 0:
            raise ValueError("the pickle is damaged")
        if any(each is not None for each in view):
            raise RefusedError("has views of storages, of very old versions of PyTorch: save it again")
        if self._find_storage is None:
            raise ValueError("the pickle is damaged")
        self._stack.append(self._find_storage(str(key), dtype, count))


def _pairs(values: list[Any]) -> dict[Any, Any]:
    """Return a dictionary of keys and values in turn; other keys than numbers and texts are left out."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return {key: value for key, value in pairs if isinstance(key, str | int)}


def _sides(values: Any) -> tuple[Any, ...]:
    """Return a copy of a tensor's sides or strides; they are few, as a pickle can ask for many copies."""
    if len(values) > MOST_AXES:
        raise ValueError("a tensor has an impossible shape")
    return tuple(values)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor | LateTensor:
    if isinstance(storage, LateStorage):
        return LateTensor(storage, _sides(shape), _sides(strides), offset)
    if not isinstance(storage, Storage):
        raise ValueError("the pickle is damaged")
    return StoredTensor(storage, _sides(shape), _sides(strides), offset)


_REBUILD: dict[str, Callable[..., Any]] = {
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
}
_PLAIN = ("collections.OrderedDict", "typing.OrderedDict", "torch.Size")

_PUSHED = (
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
)
_FIXED = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_STEPS: dict[str, Callable[[PickleMachine, Any], Any]] = {
    "MARK": PickleMachine._mark,
    "TUPLE": PickleMachine._tuple,
    "TUPLE1": lambda machine, _: machine._tuples(1),
    "TUPLE2": lambda machine, _: machine._tuples(2),
    "TUPLE3": lambda machine, _: machine._tuples(3),
    "EMPTY_LIST": PickleMachine._empty_list,
    "EMPTY_DICT": PickleMachine._empty_dict,
    "LIST": PickleMachine._list,
    "DICT": PickleMachine._dict,
    "APPEND": lambda machine, _: machine._append(list(machine._last(1))),
    "APPENDS": lambda machine, _: machine._append(machine._marked()),
    "SETITEM": lambda machine, _: machine._set(list(machine._last(2))),
    "SETITEMS": lambda machine, _: machine._set(machine._marked()),
    "MEMOIZE": lambda machine, _: machine._memo.update({len(machine._memo): machine._stack[-1]}),
    "POP": lambda machine, _: machine._last(1),
    "POP_MARK": lambda machine, _: machine._marked(),
    "DUP": lambda machine, _: machine._stack.append(machine._stack[-1]),
    "GLOBAL": lambda machine, argument: machine._name(".".join(argument.split(" ", 1))),
    "STACK_GLOBAL": PickleMachine._stack_name,
    "REDUCE": PickleMachine._reduce,
    "BUILD": PickleMachine._build,
    "BINPERSID": PickleMachine._storage,
}
