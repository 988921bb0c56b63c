"""Reading files whose sizes nobody vouches for."""

from __future__ import annotations

from math import prod
from pathlib import Path

from mdcompiler.errors import WeightsError

MAX_FILE_BYTES = 1 << 29
"""Largest weights file, and largest content of a compressed one: 512 MiB, ten times the largest MobileDet."""

MAX_TENSORS = 1 << 16
"""Most tensors one file may declare."""

MAX_RANK = 8
"""Most dimensions a tensor may have."""


def read_bounded(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of `path`. Raises WeightsError when it is absent, no plain file, unreadable or above `limit` bytes."""
    try:
        if not path.is_file():
            raise WeightsError(f"reading weights: {path} is no file. Give the path of a weights file that exists.")
        size = path.stat().st_size
        if size > limit:
            raise WeightsError(
                f"reading weights: {path} has {size} bytes; at most {limit} are read. Is it a weights file?"
            )
        with path.open("rb") as file:
            # a larger number would be allocated at once, whatever the file holds
            return file.read(size)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"reading weights: {path} cannot be read ({error}). Check the path and its permissions."
        ) from None


def element_count(shape: tuple[int, ...]) -> int | None:
    """Number of elements of `shape`, or None when it is no shape: negative, of too high a rank, or too large."""
    if len(shape) > MAX_RANK or any(size < 0 for size in shape):
        return None
    count = prod(shape)
    return count if count <= MAX_FILE_BYTES else None
