"""Several convolutions as one: a strip of rows runs through all of them before the next strip starts.

What lies between the convolutions of a block (the expanded tensor, 4-8 times the channels) then is a few
rows that stay in the cache instead of a picture: layer fusion (M. Alwani et al., "Fused-Layer CNN
Accelerators", 2016), which also cuts peak memory (J. Lin et al., "MCUNetV2", 2021). Rows that the next strip
needs again slide to the start of their strip, so that one thread computes nothing twice; a share of another
thread begins with its own.

This works on the calls of a `Program`: the kernels are the same templates over shorter planes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from mdcompiler.backends.clib.program import Call, Program, View
from mdcompiler.backends.kernels.geometry import Geometry
from mdcompiler.names import block_of

_ALIGNMENT_BYTES = 64


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
        return sum(s.planes * rows * _row_bytes(s) for s, rows in zip(self.sources, kept, strict=False))


ChooseRows = Callable[[Chain], int]
"""Output rows of a strip, or 0: do not fuse."""


def fuse_strips(program: Program, choose: ChooseRows) -> list[str]:
    """Replace chains of calls by calls over strips where `choose` wants it; returns the names of those chains."""
    fused = []
    for chain in chains(program):
        rows = choose(chain)
        if rows:
            _replace(program, chain, rows)
            fused.append(chain.name)
    return fused


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


def _row_bytes(source: StripSource) -> int:
    """Of one row of one plane of the output of `source`."""
    return source.work.geometry.out[1] * source.work.lanes * source.element_bytes


def _replace(program: Program, chain: Chain, strip_rows: int) -> None:
    """Put one call over strips where the chain's calls are."""
    kept = chain.kept_rows(strip_rows)
    sources = [
        source.strip(before, after) for source, before, after in zip(chain.sources, [0, *kept], [*kept, 0], strict=True)
    ]
    links, scratch_bytes = _links(chain, sources, kept)
    scratch = program.buffer(f"{chain.name}:strips", scratch_bytes)
    reads = [chain.calls[0].reads[0], *(name for call in chain.calls for name in call.reads[1:])]
    call = StripCall(
        kernel=chain.name,
        code="",
        reads=tuple(reads),
        writes=chain.calls[-1].writes,
        tasks=-(-chain.rows // strip_rows),
        scratch=scratch,
        links=links,
        strip_rows=strip_rows,
        shares=1,
    )
    start = program.steps.index(chain.calls[0])
    program.steps[start : start + len(chain.calls)] = [call]
    for old, source in zip(chain.calls, sources, strict=True):
        program.declare(source, len(old.reads) + len(old.writes))
    for old in chain.calls[:-1]:
        del program.sizes[old.writes[0]]
    program.forget_unused_functions()


def _links(chain: Chain, sources: Sequence[StripSource], kept: Sequence[int]) -> tuple[tuple[Link, ...], int]:
    """The links of a chain, and the bytes that all strips together take."""
    links, offset, place = [], 0, 1
    for index, source in enumerate(sources):
        places = range(place, place + len(chain.calls[index].reads) - 1)
        rows = kept[index] if index < len(kept) else 0
        links.append(Link(source.symbol, tuple(places), source, rows, offset))
        size = source.planes * rows * _row_bytes(source)
        offset += -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        place = places.stop
    return tuple(links), offset


@dataclass(frozen=True)
class Link:
    """One kernel of a fused chain.

    places: of its constants and residual among the pointers of the call. rows: of its strip, 0 for the last.
    offset_bytes: of its strip in the scratch.
    """

    symbol: str
    places: tuple[int, ...]
    source: StripSource
    rows: int
    offset_bytes: int

    @property
    def row_bytes(self) -> int:
        return _row_bytes(self.source)

    @property
    def groups(self) -> int:
        """How often the kernel's outermost loop runs over all rows."""
        return self.source.tasks // self.source.work.geometry.out[0]


@dataclass(frozen=True)
class StripCall(Call):
    """Iterations are strips of `strip_rows` rows of the last output."""

    links: tuple[Link, ...] = ()
    strip_rows: int = 0

    @property
    def symbols(self) -> tuple[str, ...]:
        return tuple(link.symbol for link in self.links)

    def statement(self, pointers: Sequence[str], scratch: str) -> str:
        """A loop over strips; in it one loop over channel groups for every link."""
        body = [self._bounds(index) for index in reversed(range(len(self.links)))]
        for index in range(len(self.links)):
            body.extend(self._link(index, pointers))
        lines = "\n        ".join(line for lines in body for line in lines.splitlines())
        return (
            f"uint8_t *const strips = {scratch};\n"
            f"    struct mdc_window window[{len(self.links) - 1}] = {{0}};\n"
            f"    for (int32_t strip = begin; strip < end; ++strip) {{\n"
            f"        {lines}\n    }}\n    return 0;"
        )

    def _bounds(self, index: int) -> str:
        """Which rows of the output of a link a strip needs."""
        if index == len(self.links) - 1:
            rows = self.links[index].source.work.geometry.out[0]
            low = f"strip * {self.strip_rows}"
            return _range(index, low, f"mdc_at_most({low} + {self.strip_rows}, {rows})")
        reader = self.links[index + 1].source.work.geometry
        low, high = (f"{name}{index + 1}" for name in ("low", "high"))
        reach = (reader.kernel[0] - 1) * reader.dilation[0] + 1
        return _range(
            index,
            f"mdc_at_least({low} * {reader.stride[0]} - {reader.pad[0]}, 0)",
            f"mdc_at_most(({high} - 1) * {reader.stride[0]} - {reader.pad[0]} + {reach}, {reader.size[0]})",
        )

    def _link(self, index: int, pointers: Sequence[str]) -> Iterator[str]:
        link, rows = self.links[index], self.links[index].source.work.geometry.out[0]
        source = pointers[0] if index == 0 else _row_zero(self.links[index - 1], index - 1)
        if link.rows:
            plane_bytes = link.rows * link.row_bytes
            where = f"strips + {link.offset_bytes}, {link.source.planes}, {plane_bytes}, {link.row_bytes}"
            yield f"const int32_t first{index} = mdc_slide(&window[{index}], {where}, low{index}, high{index});"
            first, target = f"first{index}", _row_zero(link, index)
        else:
            first, target = f"low{index}", pointers[-1]
        arguments = ", ".join([source, *(pointers[place] for place in link.places), target])
        yield f"for (int32_t group = 0; group < {link.groups}; ++group)"
        yield f"    if ({link.symbol}({arguments}, group * {rows} + {first}, group * {rows} + high{index}))"
        yield "        return 1;"


def _range(index: int, low: str, high: str) -> str:
    return f"const int32_t low{index} = {low};\nconst int32_t high{index} = {high};"


def _row_zero(link: Link, index: int) -> str:
    """Where row 0 of a strip's picture would be."""
    return f"strips + {link.offset_bytes} - (ptrdiff_t)low{index} * {link.row_bytes}"
