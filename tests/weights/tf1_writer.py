"""Writes TensorFlow checkpoints (SSTable index, raw shard) for the tests of the reader."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mdcompiler.weights.crc32c import masked_crc32c

_DTYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9}


def write_checkpoint(
    prefix: Path, tensors: dict[str, NDArray[Any]], *, snappy: bool = False, entries_per_block: int = 40
) -> None:
    """`PREFIX.index` and one shard with `tensors`; TensorFlow sorts by name."""
    table: list[tuple[bytes, bytes]] = [(b"", field(1, 1))]
    shard = b""
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        table.append((name.encode(), entry(array, offset=len(shard))))
        shard += array.tobytes()
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(shard)
    prefix.with_name(f"{prefix.name}.index").write_bytes(sstable(table, snappy, entries_per_block))


def entry(array: NDArray[Any], **said: int) -> bytes:
    """A BundleEntryProto for `array`; `said` overrides dtype, shard, offset or size."""
    values = {"dtype": _DTYPES[array.dtype.name], "shard": 0, "offset": 0, "size": array.nbytes} | said
    dims = b"".join(message(2, field(1, size)) for size in array.shape)
    numbers = ((1, "dtype"), (3, "shard"), (4, "offset"), (5, "size"))
    return (
        message(2, dims) + b"".join(field(number, values[name]) for number, name in numbers) + b"\x35\x01\x02\x03\x04"
    )


def sstable(table: list[tuple[bytes, bytes]], snappy: bool = False, entries_per_block: int = 40) -> bytes:
    """A LevelDB table of sorted (key, value) pairs."""
    data, index = b"", []
    for start in range(0, len(table), entries_per_block):
        entries = table[start : start + entries_per_block]
        stored = _stored(_block(entries), snappy)
        index.append((entries[-1][0] + b"\x00", varint(len(data)) + varint(len(stored) - 5)))
        data += stored
    handles = b""
    for block in (_block([]), _block(index)):
        stored = _stored(block, snappy)
        handles += varint(len(data)) + varint(len(stored) - 5)
        data += stored
    return data + handles.ljust(40, b"\x00") + 0xDB4775248B80FB57.to_bytes(8, "little")


def snappy_compress(data: bytes) -> bytes:
    """A snappy block that uses literals of both kinds and copies of two kinds, overlapping ones too."""
    output, position = varint(len(data)), 0
    while position < len(data):
        offset, size = _repeat(data, position)
        if size >= 4:
            output += _copy(offset, size)
            position += size
        else:
            literal = data[position : position + 70]
            size = next((n for n in range(1, len(literal)) if _repeat(data, position + n)[1] >= 4), len(literal))
            output += (bytes([(size - 1) << 2]) if size <= 60 else bytes([60 << 2, size - 1])) + literal[:size]
            position += size
    return output


def varint(value: int) -> bytes:
    """`value` in base 128."""
    output = b""
    while value >= 128:
        output += bytes([value & 127 | 128])
        value >>= 7
    return output + bytes([value])


def field(number: int, value: int) -> bytes:
    """A protocol-buffer number."""
    return varint(number << 3) + varint(value)


def message(number: int, content: bytes) -> bytes:
    """A protocol-buffer message inside another."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def _block(entries: list[tuple[bytes, bytes]]) -> bytes:
    output, last, restarts = b"", b"", [0]
    for index, (key, value) in enumerate(entries):
        shared = 0
        if index % 16 == 0 and index:
            restarts.append(len(output))
        elif index:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        output += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    return output + b"".join(point.to_bytes(4, "little") for point in (*restarts, len(restarts)))


def _stored(block: bytes, snappy: bool) -> bytes:
    content = snappy_compress(block) + b"\x01" if snappy else block + b"\x00"
    return content + masked_crc32c(content).to_bytes(4, "little")


def _repeat(data: bytes, position: int) -> tuple[int, int]:
    start = data.rfind(data[position : position + 4], max(0, position - 3000), position + 3)
    size = 0
    while start >= 0 and size < 64 and position + size < len(data) and data[start + size] == data[position + size]:
        size += 1
    return position - start, size


def _copy(offset: int, size: int) -> bytes:
    if size <= 11 and offset < 2048:
        return bytes([(offset >> 8) << 5 | (size - 4) << 2 | 1, offset & 255])
    return bytes([(size - 1) << 2 | 2]) + offset.to_bytes(2, "little")
