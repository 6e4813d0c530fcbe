"""PyTorch's files as data: a zip archive, or the form before version 1.6, of a pickle and raw numbers.

A pickle is a program for a small stack machine, and can name any function to be called. :class:`_Machine`
knows the instructions that build dictionaries, lists and numbers, and nothing that calls: the few names that
weights need (ordered dictionaries, tensors, storages) are interpreted here, any other is refused by its name.
"""

from __future__ import annotations

import io
import pickletools
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from vsrcli.errors import ModelError
from vsrcli.models.tensors import MOST_AXES, Storage, StoredTensor, item_bytes

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of files that are no archives
_LEGACY_PROTOCOL = 1001
_MOST_PICKLE_BYTES = 8 << 20  # 0.2 MB are usual
_MOST_MEMBERS = 100_000
_MOST_COPIES = 100_000  # of entries of one list, which a pickle can turn into many dictionaries
MOST_NESTED = 4  # dictionaries in dictionaries around the weights
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of name and extra field

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
class _LateStorage:
    """A storage whose place becomes known after the pickle."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _LateTensor:
    """A tensor of a :class:`_LateStorage`."""

    storage: _LateStorage
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int


def read_pickled(path: Path) -> Any:
    """Return what a PyTorch file holds: dictionaries, lists and numbers, with :class:`StoredTensor` in them.

    Raises:
        ModelError: it is damaged, no such file, or contains code; nothing of it has run.
    """
    try:
        with path.open("rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_archive(file) if is_archive else _read_legacy(file)
    except RefusedError as error:
        raise ModelError(f"{str(path)!r} {error}") from error
    except OSError as error:
        raise ModelError(f"cannot read {str(path)!r}: {error.strerror or error}") from error
    except (
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        EOFError,
        RecursionError,
        NotImplementedError,
        RuntimeError,
        OverflowError,
        MemoryError,
        struct.error,
        zipfile.BadZipFile,
    ) as error:  # all that the parsers of the standard library raise for bytes of any kind
        reason = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
        raise ModelError(f"{str(path)!r} is damaged or no PyTorch file ({reason}): get it again") from error


def _read_archive(file: BinaryIO) -> Any:
    length = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
    if len(members) > _MOST_MEMBERS:
        raise RefusedError("is an archive of very many files, which is no network")
    pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if not pickles:
        raise RefusedError("is an archive without data.pkl: no weights of PyTorch")
    folder = min(pickles, key=len).removesuffix("data.pkl")
    if any(name.startswith(f"{folder}code/") for name in members):
        raise RefusedError("is a TorchScript program, not weights: export the network to ONNX")

    def locate(name: str) -> tuple[int, int, int]:
        """Return position, size and checksum of a member, after checking that it lies in the file as is."""
        info = members[folder + name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise RefusedError("has compressed or encrypted members, which PyTorch does not write")
        file.seek(info.header_offset)
        signature, *lengths = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
        position = info.header_offset + _LOCAL_HEADER.size + sum(lengths)
        if signature != b"PK\x03\x04" or info.file_size != info.compress_size:
            raise ValueError(f"{name} contradicts itself")
        if position + info.file_size > length:
            raise ValueError("the file ends early")
        return position, info.file_size, info.CRC

    if folder + "byteorder" in members:
        position, size, _ = locate("byteorder")
        file.seek(position)
        if size > len("little") or file.read(size) != b"little":
            raise RefusedError("was written by a big-endian machine, which is not supported")

    def find_storage(key: str, dtype: str, count: int) -> Storage:
        position, size, crc = locate(f"data/{key}")
        if count * item_bytes(dtype) != size:
            raise ValueError(f"storage {key} has {size} bytes and claims {count} numbers")
        return Storage(dtype, count, position, crc)

    position, size, _ = locate("data.pkl")
    if size > _MOST_PICKLE_BYTES:
        raise RefusedError(f"has a pickle of {size >> 20} MiB, which no weights need")
    file.seek(position)
    return _Machine(find_storage).run(io.BytesIO(file.read(size)))


def _read_legacy(file: BinaryIO) -> Any:
    """Read the form before PyTorch 1.6: five pickles, then for each storage its count and its numbers."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = io.BytesIO(file.read(_MOST_PICKLE_BYTES))
    if head.getbuffer()[:1] != b"\x80" or _Machine().run(head) != LEGACY_MAGIC:
        raise RefusedError("is no file of weights that PyTorch writes, nor a safetensors file")
    if _Machine().run(head) != _LEGACY_PROTOCOL:
        raise RefusedError("has an unknown version of PyTorch's form")
    system = _Machine().run(head)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise RefusedError("was written by a big-endian machine, which is not supported")
    content = _Machine(_LateStorage).run(head)
    claims = {each.storage.key: each.storage for each in _late_tensors(content)}
    places: dict[str, Storage] = {}
    keys = _Machine().run(head)
    position = head.tell()
    for key in keys:
        file.seek(position)
        (count,) = struct.unpack("<q", file.read(8))
        if key not in claims:  # of something that is no tensor of the weights: its numbers' size is unknown
            raise RefusedError("has storages without tensors: save its weights again, as safetensors")
        claim = claims[key]
        size = count * item_bytes(claim.dtype)
        if count != claim.count or count < 0:
            raise ValueError(f"storage {key} has {count} numbers and claims {claim.count}")
        if position + 8 + size > length:
            raise ValueError("the file ends early")
        places[key] = Storage(claim.dtype, count, position + 8)
        position += 8 + size
    return _placed(content, places)


def _late_tensors(content: Any) -> list[_LateTensor]:
    """Return the tensors in dictionaries and lists, each of which is looked into once."""
    found, seen, waiting = [], set(), [content]
    while waiting:
        each = waiting.pop()
        if isinstance(each, _LateTensor):
            found.append(each)
        elif isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found


def _placed(content: Any, places: dict[str, Storage]) -> Any:
    """Return dictionaries with :class:`StoredTensor` in place of :class:`_LateTensor`."""
    done: dict[tuple[int, int], Any] = {}  # one dictionary can stand at many places, each of which once more

    def placed(content: Any, depth: int) -> Any:
        if isinstance(content, _LateTensor):
            return StoredTensor(places[content.storage.key], content.shape, content.strides, content.offset)
        if not isinstance(content, dict) or depth == MOST_NESTED:
            return content
        if (id(content), depth) not in done:
            copy = {key: placed(value, depth + 1) for key, value in content.items()}
            done[id(content), depth] = copy
        return done[id(content), depth]

    return placed(content, 0)


class _Machine:
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


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> StoredTensor | _LateTensor:
    if isinstance(storage, _LateStorage):
        return _LateTensor(storage, _sides(shape), _sides(strides), offset)
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
_STEPS: dict[str, Callable[[_Machine, Any], Any]] = {
    "MARK": _Machine._mark,
    "TUPLE": _Machine._tuple,
    "TUPLE1": lambda machine, _: machine._tuples(1),
    "TUPLE2": lambda machine, _: machine._tuples(2),
    "TUPLE3": lambda machine, _: machine._tuples(3),
    "EMPTY_LIST": _Machine._empty_list,
    "EMPTY_DICT": _Machine._empty_dict,
    "LIST": _Machine._list,
    "DICT": _Machine._dict,
    "APPEND": lambda machine, _: machine._append(list(machine._last(1))),
    "APPENDS": lambda machine, _: machine._append(machine._marked()),
    "SETITEM": lambda machine, _: machine._set(list(machine._last(2))),
    "SETITEMS": lambda machine, _: machine._set(machine._marked()),
    "MEMOIZE": lambda machine, _: machine._memo.update({len(machine._memo): machine._stack[-1]}),
    "POP": lambda machine, _: machine._last(1),
    "POP_MARK": lambda machine, _: machine._marked(),
    "DUP": lambda machine, _: machine._stack.append(machine._stack[-1]),
    "GLOBAL": lambda machine, argument: machine._name(".".join(argument.split(" ", 1))),
    "STACK_GLOBAL": _Machine._stack_name,
    "REDUCE": _Machine._reduce,
    "BUILD": _Machine._build,
    "BINPERSID": _Machine._storage,
}
