"""One `.npy` array: what it says of itself, before anything is allocated for it.

`numpy.load` allocates whatever a header claims and reads a header of any length. Here a header has a few hundred
bytes, and the array may only be what the caller has room for. Numbers and truth values are read: no objects, which
are code, and no structures. An array comes out in this machine's byte order.
"""

from __future__ import annotations

import warnings
from io import BytesIO
from math import prod
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MOST_HEADER_BYTES = 4096
"""Of one array. numpy writes 128; only structures need more than a few hundred."""

_MOST_DIMENSIONS = 32
_READERS = {(1, 0): (npy.read_array_header_1_0, 2), (2, 0): (npy.read_array_header_2_0, 4)}


class Header(NamedTuple):
    """Shape and dtype, in the file's byte order. column_major: the first index changes fastest. header_bytes: its own
    size."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    column_major: bool
    header_bytes: int

    @property
    def array_bytes(self) -> int:
        """Bytes of the values."""
        return prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype}{list(self.shape)}"


def read_header(stream: IO[bytes]) -> Header:
    """What stands before the values in `stream`. Any exception may leave it: see `mdcompiler.foreign`."""
    version = npy.read_magic(stream)
    if version not in _READERS:
        raise ValueError(f"the array has format version {version[0]}.{version[1]}; 1.0 and 2.0 are read")
    read, width = _READERS[version]
    length = stream.read(width)
    size = int.from_bytes(length, "little")
    if size > MOST_HEADER_BYTES:
        raise ValueError(f"an array's header claims {size} bytes; at most {MOST_HEADER_BYTES} are read")
    with warnings.catch_warnings():
        # Python's parser, which numpy reads a header with, warns of odd spellings
        warnings.simplefilter("ignore")
        shape, column_major, dtype = read(BytesIO(length + stream.read(size)), max_header_size=MOST_HEADER_BYTES)
    if dtype.kind not in "biuf" or dtype.hasobject:
        raise ValueError(f"it holds {str(dtype)[:80]}; plain numbers are read")
    if len(shape) > _MOST_DIMENSIONS or any(extent < 0 for extent in shape):
        raise ValueError(f"an array claims shape {list(shape)[:8]}")
    return Header(tuple(map(int, shape)), dtype, bool(column_major), npy.MAGIC_LEN + width + size)


def read_values(stream: IO[bytes], header: Header) -> NDArray[Any]:
    """The values that follow `header`, whose size the caller has judged."""
    data = stream.read(header.array_bytes)
    if len(data) != header.array_bytes:
        raise ValueError(f"{header} needs {header.array_bytes} bytes of values and has {len(data)}")
    return as_array(data, header.shape, header.dtype, header.column_major)


def as_array(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any], column_major: bool = False) -> NDArray[Any]:
    """`data` as an array in this machine's byte order."""
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if column_major else "C")
    return array.astype(dtype.newbyteorder("="), copy=False)


def read_npy(stream: IO[bytes], limit_bytes: int) -> NDArray[Any]:
    """The one array in `stream`, of at most `limit_bytes`. Any exception may leave it."""
    header = read_header(stream)
    if header.array_bytes > limit_bytes:
        raise ValueError(f"it claims {header}, {header.array_bytes} bytes, and at most {limit_bytes} are read")
    array = read_values(stream, header)
    if stream.read(1):
        raise ValueError(f"bytes follow the array {header}")
    return array
