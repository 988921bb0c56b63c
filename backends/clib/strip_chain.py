"""Chains of convolutions in a `Program`: which calls can run one after the other on each strip of rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.names import block_of


class StripWork(Protocol):
    """What this file asks of a workload."""

    @property
    def geometry(self) -> Geometry: ...

    @property
    def lanes(self) -> int: ...

    @property
    def macs(self) -> int: ...


@runtime_checkable
class StripSource(Protocol):
    """A kernel function that can work on strips of rows. planes: channel blocks of its output."""

    @property
    def symbol(self) -> str: ...

    @property
    def work(self) -> StripWork: ...

    @property
    def planes(self) -> int: ...

    @property
    def tasks(self) -> int: ...

    @property
    def element_bytes(self) -> int: ...

    def strip(self, source_rows: int, target_rows: int) -> StripSource: ...

    def write(self) -> Any: ...


@dataclass(frozen=True)
class Chain:
    """Calls that follow one another, each the only reader of what the one before it writes."""

    calls: tuple[Call, ...]

    @property
    def sources(self) -> list[StripSource]:
        return [_source(call) for call in self.calls]

    @property
    def name(self) -> str:
        """`C2/b1.ibn/expand+dw+project`"""
        block = block_of(self.calls[0].kernel)
        return f"{block}/" + "+".join(call.kernel.removeprefix(f"{block}/") for call in self.calls)

    @property
    def rows(self) -> int:
        """Of the last output."""
        return self.sources[-1].work.geometry.out[0]

    def kept_rows(self, strip_rows: int) -> list[int]:
        """Rows of each intermediate tensor that a strip of `strip_rows` outputs needs."""
        kept: list[int] = []
        for source in reversed(self.sources[1:]):
            geometry = source.work.geometry
            rows = kept[0] if kept else strip_rows
            reach = (rows - 1) * geometry.stride[0] + (geometry.kernel[0] - 1) * geometry.dilation[0] + 1
            kept.insert(0, min(reach, geometry.size[0]))
        return kept

    @property
    def weight_bytes(self) -> int:
        """Of all kernels."""
        return sum(s.work.macs // s.work.geometry.out_pixels * s.element_bytes for s in self.sources)

    def scratch_bytes(self, strip_rows: int) -> int:
        """Bytes of the strips of all intermediate tensors."""
        kept = self.kept_rows(strip_rows)
        return sum(s.planes * rows * row_bytes(s) for s, rows in zip(self.sources, kept, strict=False))


def chains(program: Program) -> list[Chain]:
    """The longest chains of two or more kernels within one block, in order, where there are rows to cut."""
    readers = Counter(name for step in program.steps for name in _touched(step))
    found: list[list[Call]] = [[]]
    for step in program.steps:
        if not isinstance(step, Call) or not isinstance(step.function, StripSource):
            found.append([])
            continue
        if not (found[-1] and _follows(found[-1][-1], step, readers, program)):
            found.append([])
        found[-1].append(step)
    return [chain for calls in found if len(calls) > 1 and (chain := Chain(tuple(calls))).rows > 1]


def _touched(step: Call | View) -> Sequence[str]:
    return (step.part, step.whole) if isinstance(step, View) else (*step.reads, *step.writes)


def _follows(first: Call, second: Call, readers: Counter[str], program: Program) -> bool:
    """Whether `second` reads what `first` writes, and nobody else does."""
    between = first.writes[0]
    own = between in program.sizes and between not in program.outputs and readers[between] == 2
    related = block_of(first.kernel) == block_of(second.kernel) and first.kernel != second.kernel
    return own and second.reads[0] == between and related


def _source(call: Call) -> StripSource:
    assert isinstance(call.function, StripSource)
    return call.function


def row_bytes(source: StripSource) -> int:
    """Of one row of one plane of the output of `source`."""
    return source.work.geometry.out[1] * source.work.lanes * source.element_bytes
