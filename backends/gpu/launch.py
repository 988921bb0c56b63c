"""How a kernel is launched: read off the function itself, in one place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_BODIES = ("body", "then_case", "else_case")


@dataclass(frozen=True)
class Launch:
    """grid: workgroups along x, y, z. block: threads of one workgroup. shared_bytes: memory that they share."""

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared_bytes: int

    @property
    def threads(self) -> int:
        """Of one workgroup."""
        x, y, z = self.block
        return x * y * z

    @property
    def workgroups(self) -> int:
        x, y, z = self.grid
        return x * y * z


def launch_of(function: Any) -> Launch:
    """The launch of a thread-bound PrimFunc: its `thread_extent` attributes and its allocations in shared memory.

    An axis that is not bound is 1. Raises ValueError when one axis has two extents.
    """
    extents: dict[str, int] = {}
    shared_bytes = 0
    for statement in _statements(function.body):
        if getattr(statement, "attr_key", "") == "thread_extent":
            tag, extent = str(statement.node.thread_tag), int(statement.value)
            if extents.setdefault(tag, extent) != extent:
                raise ValueError(f"{tag} runs to {extents[tag]} and to {extent} in one kernel")
        elif type(statement).__name__ == "AllocBuffer" and statement.buffer.ty.storage_scope == "shared":
            shared_bytes += _bytes(statement.buffer)
    return Launch(_extents(extents, "blockIdx"), _extents(extents, "threadIdx"), shared_bytes)


def _extents(found: Mapping[str, int], kind: str) -> tuple[int, int, int]:
    x, y, z = (found.get(f"{kind}.{axis}", 1) for axis in "xyz")
    return x, y, z


def _statements(statement: Any) -> Iterator[Any]:
    """`statement` and all inside it; tirx has no visitor in Python."""
    yield statement
    parts = [*getattr(statement, "seq", ()), *(getattr(statement, name, None) for name in _BODIES)]
    for part in parts:
        if part is not None:
            yield from _statements(part)


def _bytes(buffer: Any) -> int:
    """Of a buffer whose shape is constant."""
    import tvm

    dtype = tvm.DataType(str(buffer.dtype))
    elements = math.prod(int(extent) for extent in buffer.shape)
    return elements * int(dtype.lanes) * int(dtype.bits) // 8
