"""Where each buffer lies in the arena.

Greedy (Y. Pisarchyk, J. Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020): one buffer
after the other at the lowest offset where it meets no buffer that lives at the same time. The largest first is
mostly best; other orders are tried as well, and the smallest arena is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mdcompiler.backends.clib.alias import Aliases
from mdcompiler.backends.clib.program import Call
from mdcompiler.errors import InternalError


@dataclass(frozen=True)
class Lifetime:
    """A buffer is needed from call `first` to call `last`, both included."""

    name: str
    size_bytes: int
    first: int
    last: int

    def meets(self, other: Lifetime) -> bool:
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """offsets: buffer -> byte offset. lower_bound_bytes: most bytes alive at one call: no plan is smaller."""

    offsets: dict[str, int]
    arena_bytes: int
    lower_bound_bytes: int


_ORDERS: tuple[Callable[[Lifetime], tuple[Any, ...]], ...] = (
    lambda item: (-item.size_bytes, item.first, item.name),
    lambda item: (-item.size_bytes, -item.last, item.name),
    lambda item: (-item.size_bytes * (item.last - item.first + 1), item.first, item.name),
    lambda item: (item.first, -item.size_bytes, item.name),
    lambda item: (-item.last, -item.size_bytes, item.name),
)
"""What is placed first."""


def plan_arena(calls: Sequence[Call], sizes: Mapping[str, int], aliases: Aliases, alignment_bytes: int) -> Plan:
    """Place every buffer of `sizes` that is no alias. Raises InternalError if two would overlap."""
    lifetimes = buffer_lifetimes(calls, sizes, aliases, alignment_bytes)
    placed = min((_placed(sorted(lifetimes, key=order)) for order in _ORDERS), key=_arena)
    _check(placed)
    return Plan({item.name: offset for offset, item in placed}, _arena(placed), _lower_bound(lifetimes, len(calls)))


def _placed(lifetimes: Sequence[Lifetime]) -> list[tuple[int, Lifetime]]:
    """Buffers with their offsets, placed in the order given."""
    placed: list[tuple[int, Lifetime]] = []
    for lifetime in lifetimes:
        placed.append((_lowest_gap(lifetime, placed), lifetime))
    return placed


def _arena(placed: list[tuple[int, Lifetime]]) -> int:
    return max((offset + lifetime.size_bytes for offset, lifetime in placed), default=0)


def buffer_lifetimes(
    calls: Sequence[Call], sizes: Mapping[str, int], aliases: Aliases, alignment_bytes: int
) -> list[Lifetime]:
    """First and last use of every buffer that owns memory, sizes rounded up to the alignment."""
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    for index, call in enumerate(calls):
        for name in (*call.reads, *call.writes, *((call.scratch,) if call.scratch else ())):
            root = aliases.place(name)[0]
            if root in sizes:
                first.setdefault(root, index)
                last[root] = index
    return [
        Lifetime(name, -(-sizes[name] // alignment_bytes) * alignment_bytes, first[name], last[name]) for name in first
    ]


def _lowest_gap(lifetime: Lifetime, placed: list[tuple[int, Lifetime]]) -> int:
    offset = 0
    for start, other in sorted((item for item in placed if item[1].meets(lifetime)), key=lambda item: item[0]):
        if start - offset >= lifetime.size_bytes:
            break
        offset = max(offset, start + other.size_bytes)
    return offset


def _lower_bound(lifetimes: list[Lifetime], calls: int) -> int:
    alive = [0] * calls
    for lifetime in lifetimes:
        for index in range(lifetime.first, lifetime.last + 1):
            alive[index] += lifetime.size_bytes
    return max(alive, default=0)


def _check(placed: list[tuple[int, Lifetime]]) -> None:
    for index, (start, one) in enumerate(placed):
        for other_start, other in placed[:index]:
            apart = start + one.size_bytes <= other_start or other_start + other.size_bytes <= start
            if one.meets(other) and not apart:
                raise InternalError(f"the memory plan lets {one.name} and {other.name} overlap.")
