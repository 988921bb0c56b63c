"""LevelDB tables (SSTables): the sorted key-value file that a TensorFlow checkpoint's `.index` is.

Format: google/leveldb, doc/table_format.md. A footer of 48 bytes points to the index block, whose values point
to the data blocks. A block holds entries that share prefixes of their keys, and ends with the restart
points; behind it stand one byte for the compression and a masked CRC-32C.
"""

from __future__ import annotations

from collections.abc import Iterator

from mdcompiler.weights.crc32c import masked_crc32c
from mdcompiler.weights.snappy import decompress
from mdcompiler.weights.varint import Truncated, take, varint

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TRAILER_BYTES = 5
_MOST_CONTENT_BYTES = 1 << 26


def read_table(data: bytes) -> dict[bytes, bytes]:
    """All keys and values of the table `data`. Raises Truncated when it is damaged."""
    footer = take(data, len(data) - _FOOTER_BYTES, _FOOTER_BYTES)
    if int.from_bytes(footer[-8:], "little") != _MAGIC:
        raise Truncated("no table: the magic number at the end is missing")
    _, position = _handle(footer, 0)
    index, _ = _handle(footer, position)
    table: dict[bytes, bytes] = {}
    content = end = 0
    for _, pointer in _entries(_block(data, index)):
        handle, _ = _handle(pointer, 0)
        if handle[0] < end:
            raise Truncated("blocks overlap")
        end = sum(handle)
        block = _block(data, handle)
        content += len(block)
        if content > _MOST_CONTENT_BYTES:
            raise Truncated(f"more than {_MOST_CONTENT_BYTES} bytes unpacked")
        table.update(_entries(block))
    return table


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    offset, position = varint(data, position)
    size, position = varint(data, position)
    return (offset, size), position


def _block(data: bytes, handle: tuple[int, int]) -> bytes:
    offset, size = handle
    stored = take(data, offset, size + _TRAILER_BYTES)
    checked, checksum = stored[:-4], int.from_bytes(stored[-4:], "little")
    if masked_crc32c(checked) != checksum:
        raise Truncated(f"the block at {offset} does not match its checksum")
    content, compression = checked[:-1], checked[-1]
    if compression > 1:
        raise Truncated(f"compression {compression}; 0 (none) and 1 (snappy) are known")
    return decompress(content) if compression else content


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts = int.from_bytes(take(block, len(block) - 4, 4), "little")
    end = len(block) - 4 * (restarts + 1)
    if end < 0:
        raise Truncated(f"{restarts} restart points in a block of {len(block)} bytes")
    position, key = 0, b""
    while position < end:
        shared, position = varint(block, position)
        fresh, position = varint(block, position)
        size, position = varint(block, position)
        if shared > len(key) or position + fresh + size > end:
            raise Truncated("an entry reaches beyond its block")
        key = key[:shared] + block[position : position + fresh]
        yield key, block[position + fresh : position + fresh + size]
        position += fresh + size
