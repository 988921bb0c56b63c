"""Which memory each step of a generated library may touch, as a C table for `guard.c`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from mdcompiler.backends.clib.c_source import Source
from mdcompiler.backends.clib.program import Call

RED_ZONE_BYTES = 64
"""Between buffers of the arena, constants, and the scratch of two threads."""
_FIRST_TENSOR = 2  # in `struct frame`, behind the arena and the scratch
_CONSTANTS = -1


@dataclass(frozen=True)
class Span:
    """Bytes that a step may touch. place: index of the pointer in `struct frame`, or `_CONSTANTS`."""

    step: int
    place: int
    offset: int
    size_bytes: int
    use: str


def guard_table(source: Source, prefix: str) -> str:
    """`guard_table.h`"""
    spans = [span for step, call in enumerate(source.calls) for span in _Table(source).spans(step, call)]
    rows = ",\n".join(f"    {{{s.step}, {s.place}, {s.offset}, {s.size_bytes}, {s.use}}}" for s in spans)
    ends = [(_FIRST_TENSOR + index, _tensor_bytes(t)) for index, t in enumerate(source.tensors)]
    places = [(0, source.plan.arena_bytes), (_CONSTANTS, source.constants_bytes), *ends]
    return f"""\
#include <stddef.h>
#include <stdint.h>

extern const uint8_t {prefix}_constants[] __attribute__((visibility("hidden")));
#define GUARDED_CONSTANTS {prefix}_constants
#define GUARDED_STEPS {len(source.calls)}
#define GUARDED_SCRATCH_STRIDE {source.scratch_bytes + RED_ZONE_BYTES}
#define GUARDED_SPANS {len(spans)}
#define GUARDED_PLACES {len(places)}

enum {{ ONLY_READ, WRITTEN, FRESH, OWN_SCRATCH }};
static const struct {{
    int step, place;
    size_t offset, bytes;
    int use;
}} spans[] = {{
{rows}
}};
static const struct {{
    int place;
    size_t bytes;
}} places[] = {{ {", ".join(f"{{{place}, {size}}}" for place, size in places)} }};
"""


class _Table:
    def __init__(self, source: Source) -> None:
        self._source = source
        self._ends = {tensor.name: index for index, tensor in enumerate(source.tensors)}

    def spans(self, step: int, call: Call) -> Iterator[Span]:
        """Fresh buffers first: a part of one may be written by this step."""
        yield from (self._whole(step, root) for root in self._roots(call) if self._first_use(root) == step)
        written = [self._span(step, name, "WRITTEN") for name in call.writes]
        for name in call.reads:
            read = self._span(step, name, "ONLY_READ")
            yield self._span(step, name, "WRITTEN") if any(_meet(read, other) for other in written) else read
        yield from written
        if call.scratch:
            yield self._span(step, call.scratch, "OWN_SCRATCH")

    def _roots(self, call: Call) -> list[str]:
        """Owners of memory that the call uses, the network's inputs left out."""
        named = [self._source.aliases.place(name)[0] for name in (*call.reads, *call.writes)]
        inputs = {tensor.name for tensor in self._source.inputs}
        return [root for root in dict.fromkeys(named) if root not in inputs and root not in self._source.constants]

    def _first_use(self, root: str) -> int:
        return next(step for step, call in enumerate(self._source.calls) if root in self._roots(call))

    def _whole(self, step: int, root: str) -> Span:
        return self._span(step, root, "FRESH")

    def _span(self, step: int, name: str, use: str) -> Span:
        source = self._source
        if name in source.constants:
            values = np.ascontiguousarray(source.program.constants[name])
            return Span(step, _CONSTANTS, source.constants[name], values.nbytes, use)
        root, offset = source.aliases.place(name)
        if root in source.plan.offsets:
            return Span(step, 0, source.plan.offsets[root] + offset, source.program.sizes[name], use)
        index = self._ends[root]
        size = source.program.sizes[name] if name in source.program.sizes else _tensor_bytes(source.tensors[index])
        return Span(step, _FIRST_TENSOR + index, offset, size, use)


def _tensor_bytes(tensor: object) -> int:
    return int(tensor.count * np.dtype(tensor.dtype).itemsize)  # type: ignore[attr-defined]


def _meet(one: Span, other: Span) -> bool:
    apart = one.offset + one.size_bytes <= other.offset or other.offset + other.size_bytes <= one.offset
    return one.place == other.place and not apart
