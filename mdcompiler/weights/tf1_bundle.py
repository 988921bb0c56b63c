"""The tensors of a TensorFlow checkpoint (`PREFIX.index` and `PREFIX.data-00000-of-0000N`), without TensorFlow.

Format: tensorflow/core/protobuf/tensor_bundle.proto. The index is a table from a tensor's name to its type,
shape, shard, offset and size; the key "" holds the number of shards and the byte order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mdcompiler.errors import WeightsError
from mdcompiler.foreign import is_file, refusing
from mdcompiler.weights.bounded import MAX_FILE_BYTES, MAX_TENSORS, element_count, read_bounded
from mdcompiler.weights.seeded import Weights
from mdcompiler.weights.sstable import read_table
from mdcompiler.weights.varint import Truncated, fields

_MAX_INDEX_BYTES = 1 << 22
_MAX_SHARDS = 1 << 10
_FLOAT = 1  # DT_FLOAT of tensorflow/core/framework/types.proto


@dataclass(frozen=True)
class Entry:
    """Where a tensor lies: `dtype` is TensorFlow's number, offset and size are in bytes of its shard."""

    dtype: int
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    sliced: bool


@dataclass(frozen=True)
class Bundle:
    """The index of the checkpoint at `prefix`: its tensors by name, in the file's (sorted) order."""

    prefix: Path
    shards: int
    entries: dict[str, Entry]


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is an `.index`, a `.data-…` shard, or the prefix of both."""
    if path.suffix == ".index" or path.suffix.startswith(".data-"):
        return True
    return bool(path.name) and is_file(path.with_name(f"{path.name}.index"))


def checkpoint_prefix(path: Path) -> Path:
    """The prefix that `path` (index, shard or the prefix itself) belongs to."""
    known = path.suffix == ".index" or path.suffix.startswith(".data-")
    return path.with_suffix("") if known else path


def read_bundle(path: Path) -> Bundle:
    """The index of the checkpoint that `path` belongs to. Raises WeightsError when it is damaged or unknown."""
    prefix = checkpoint_prefix(path)
    file = prefix.with_name(f"{prefix.name}.index")
    data = read_bounded(file, _MAX_INDEX_BYTES)
    with refusing(f"reading weights: {file} is no sound checkpoint index", WeightsError, "Copy it again."):
        table = read_table(data)
        shards = _shards(table.pop(b"", b""))
        if len(table) > MAX_TENSORS:
            raise Truncated(f"more than {MAX_TENSORS} tensors")
        return Bundle(prefix, shards, {name.decode(): _entry(value) for name, value in table.items()})


def read_tensors(bundle: Bundle, wanted: Callable[[str], bool]) -> Weights:
    """The float32 tensors of `bundle` whose name `wanted` accepts, in TensorFlow's own layout.

    Raises WeightsError when one has another type, is stored in slices, or lies outside its shard.
    """
    names = [name for name in bundle.entries if wanted(name)]
    total = sum(bundle.entries[name].size for name in names)
    if total > MAX_FILE_BYTES:
        raise WeightsError(f"reading weights: {bundle.prefix} claims {total} bytes; at most {MAX_FILE_BYTES} are read.")
    shards: dict[int, bytes] = {}
    tensors: Weights = {}
    for name in names:
        shard = bundle.entries[name].shard
        if shard not in shards:
            shards[shard] = _read_shard(bundle, shard)
        tensors[name] = _tensor(bundle, name, shards[shard])
    return tensors


def _read_shard(bundle: Bundle, shard: int) -> bytes:
    if shard >= bundle.shards:
        raise WeightsError(
            f"reading weights: {bundle.prefix}.index names shard {shard} of {bundle.shards}. Copy it again."
        )
    return read_bounded(bundle.prefix.with_name(f"{bundle.prefix.name}.data-{shard:05d}-of-{bundle.shards:05d}"))


def _tensor(bundle: Bundle, name: str, shard: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    entry = bundle.entries[name]
    where = f"reading weights: {bundle.prefix}: {name}"
    if entry.dtype != _FLOAT or entry.sliced:
        kind = "stored in slices" if entry.sliced else f"of TensorFlow type {entry.dtype}"
        raise WeightsError(f"{where} is {kind}; whole float32 (type 1) is read. Export an inference checkpoint.")
    count = element_count(entry.shape)
    if count is None or count * 4 != entry.size or entry.offset + entry.size > len(shard):
        raise WeightsError(
            f"{where} claims shape {list(entry.shape)[:8]} in {entry.size} bytes at {entry.offset} "
            f"of a shard of {len(shard)} bytes. The checkpoint is damaged: copy it again."
        )
    return np.frombuffer(shard[entry.offset : entry.offset + entry.size], "<f4").astype(np.float32).reshape(entry.shape)


def _shards(header: bytes) -> int:
    numbers = {number: value for number, value in fields(header) if isinstance(value, int)}
    shards = numbers.get(1, 0)
    if not 1 <= shards <= _MAX_SHARDS:
        raise Truncated(f"{shards} shards; 1 to {_MAX_SHARDS} are read")
    if numbers.get(2, 0) != 0:
        raise Truncated("big-endian data; little-endian is read")
    return shards


def _entry(message: bytes) -> Entry:
    numbers: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    sliced = False
    for number, value in fields(message):
        if isinstance(value, int):
            numbers[number] = value
        elif number == 2:
            shape = _shape(value)
        sliced = sliced or number == 7
    return Entry(numbers.get(1, 0), shape, numbers.get(3, 0), numbers.get(4, 0), numbers.get(5, 0), sliced)


def _shape(message: bytes) -> tuple[int, ...]:
    """TensorShapeProto: repeated dim (field 2), each with its size (field 1, absent for 0)."""
    dims = [value for number, value in fields(message) if number == 2 and isinstance(value, bytes)]
    return tuple(next((size for field, size in fields(dim) if field == 1 and isinstance(size, int)), 0) for dim in dims)
