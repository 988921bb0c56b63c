"""Ways to damage a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hypothesis import strategies as st

from mdcompiler.errors import WeightsError

Edit = tuple[int, int]
edits: st.SearchStrategy[list[Edit]] = st.lists(
    st.tuples(st.integers(0, 2**24), st.integers(1, 255)), min_size=1, max_size=4
)


def truncations(data: bytes, count: int = 60) -> Iterator[bytes]:
    """`data` cut at `count` points over its whole length, always at the first and the last byte."""
    points = {0, 1, len(data) - 1, *(len(data) * index // count for index in range(count))}
    for point in sorted(points):
        yield data[:point]


def flipped(data: bytes, flips: list[Edit]) -> bytes:
    """`data` with some bytes changed; positions wrap around."""
    changed = bytearray(data)
    for position, mask in flips:
        changed[position % len(data)] ^= mask
    return bytes(changed)


def survives(path: Path, data: bytes, read: Callable[[Path], object]) -> bool:
    """Whether `data` at `path` can still be read; a WeightsError is the only other outcome allowed."""
    path.write_bytes(data)
    message = _refusal(path, read)
    assert message is None or str(path.parent) in message, "the message names the file"
    return message is None


def _refusal(path: Path, read: Callable[[Path], object]) -> str | None:
    try:
        read(path)
    except WeightsError as error:
        return str(error)
    return None
