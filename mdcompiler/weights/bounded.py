"""Reading files whose sizes nobody vouches for."""

from __future__ import annotations

from math import prod
from pathlib import Path

from mdcompiler.errors import WeightsError
from mdcompiler.foreign import is_file, read_file, refusing

MAX_FILE_BYTES = 1 << 29
"""Largest weights file, and largest content of a compressed one: 512 MiB, ten times the largest MobileDet."""

MAX_TENSORS = 1 << 16
"""Most tensors one file may declare."""

MAX_RANK = 8
"""Most dimensions a tensor may have."""


def read_bounded(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of `path`. Raises WeightsError when it is absent, no plain file, unreadable or above `limit` bytes."""
    check_file(path, limit)
    with refusing(f"reading weights: {path} cannot be read", WeightsError, "Check the path and its permissions."):
        return read_file(path, limit)


def check_file(path: Path, limit: int) -> None:
    """Raise WeightsError when `path` is absent, no plain file or above `limit` bytes."""
    if not is_file(path):
        raise WeightsError(f"reading weights: {path} is no file. Give the path of a weights file that exists.")
    size = path.stat().st_size
    if size > limit:
        raise WeightsError(f"reading weights: {path} has {size} bytes; at most {limit} are read. Is it a weights file?")


def element_count(shape: tuple[int, ...]) -> int | None:
    """Number of elements of `shape`, or None when it is no shape: negative, of too high a rank, or too large."""
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        return None
    count = prod(shape)
    return count if count <= MAX_FILE_BYTES else None
