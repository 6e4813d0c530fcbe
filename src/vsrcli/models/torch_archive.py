"""PyTorch's files as data: a zip archive, or the form before version 1.6, of a pickle and raw numbers.

Pickles are read by :mod:`vsrcli.models.torch_pickle`, which runs nothing that they name.
"""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from vsrcli.errors import ModelError
from vsrcli.models.tensors import Storage, StoredTensor, item_bytes
from vsrcli.models.torch_pickle import LateStorage, LateTensor, PickleMachine, RefusedError

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of files that are no archives
_LEGACY_PROTOCOL = 1001
_MOST_PICKLE_BYTES = 8 << 20  # 0.2 MB are usual
_MOST_MEMBERS = 100_000
MOST_NESTED = 4  # dictionaries in dictionaries around the weights
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # of a zip member: signature, lengths of name and extra field


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
    return PickleMachine(find_storage).run(io.BytesIO(file.read(size)))


def _read_legacy(file: BinaryIO) -> Any:
    """Read the form before PyTorch 1.6: five pickles, then for each storage its count and its numbers."""
    length = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = io.BytesIO(file.read(_MOST_PICKLE_BYTES))
    if head.getbuffer()[:1] != b"\x80" or PickleMachine().run(head) != LEGACY_MAGIC:
        raise RefusedError("is no file of weights that PyTorch writes, nor a safetensors file")
    if PickleMachine().run(head) != _LEGACY_PROTOCOL:
        raise RefusedError("has an unknown version of PyTorch's form")
    system = PickleMachine().run(head)
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise RefusedError("was written by a big-endian machine, which is not supported")
    content = PickleMachine(LateStorage).run(head)
    claims = {each.storage.key: each.storage for each in _late_tensors(content)}
    places: dict[str, Storage] = {}
    keys = PickleMachine().run(head)
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


def _late_tensors(content: Any) -> list[LateTensor]:
    """Return the tensors in dictionaries and lists, each of which is looked into once."""
    found, seen, waiting = [], set(), [content]
    while waiting:
        each = waiting.pop()
        if isinstance(each, LateTensor):
            found.append(each)
        elif isinstance(each, dict | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            waiting.extend(each.values() if isinstance(each, dict) else each)
    return found


def _placed(content: Any, places: dict[str, Storage]) -> Any:
    """Return dictionaries with :class:`StoredTensor` in place of :class:`LateTensor`."""
    done: dict[tuple[int, int], Any] = {}  # one dictionary can stand at many places, each of which once more

    def placed(content: Any, depth: int) -> Any:
        if isinstance(content, LateTensor):
            return StoredTensor(places[content.storage.key], content.shape, content.strides, content.offset)
        if not isinstance(content, dict) or depth == MOST_NESTED:
            return content
        if (id(content), depth) not in done:
            copy = {key: placed(value, depth + 1) for key, value in content.items()}
            done[id(content), depth] = copy
        return done[id(content), depth]

    return placed(content, 0)
